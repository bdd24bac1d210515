//! Whose fault it was: the one mapping from rustls's errors to ours.

use polytls_core::config::TrustSource;
use polytls_core::{Alert, CertificateFailure, Error, VerificationFailure};
use polytls_verdict::explain::{Refused, explain};
use polytls_verdict::words;
use rustls::{CertificateError, Error as TlsError};

/// Maps an error of a connection. `refusal` is what our own verifier saw, if it refused.
pub(crate) fn blame(error: TlsError, refusal: Option<CertificateFailure>) -> Error {
    if let Some(refusal) = refusal {
        return Error::Certificate(Box::new(refusal));
    }
    match error {
        TlsError::AlertReceived(alert) => Error::AlertReceived(Alert(u8::from(alert))),
        // That happens to servers alone.
        TlsError::NoCertificatesPresented => Error::Certificate(Box::new(explain(Refused {
            reason: VerificationFailure::NoCertificate,
            said: "",
            chain: &[],
            hostname: None,
            is_server: false,
            trust_source: &TrustSource::Given(None),
            passed_over: &[],
            unchecked: &[],
            now: 0,
        }))),
        // Our verifier's come with their `refusal`.
        TlsError::InvalidCertificate(error) => Error::Certificate(Box::new(CertificateFailure {
            reason: reason_of_rustls(&error),
            message: error.to_string(),
            explanation: error.to_string(),
            ..CertificateFailure::default()
        })),
        TlsError::NoApplicationProtocol => {
            Error::PeerIncompatible("no application protocol (ALPN) in common".to_owned())
        }
        TlsError::PeerIncompatible(why) => Error::PeerIncompatible(words(&format!("{why:?}"))),
        TlsError::PeerMisbehaved(why) => Error::PeerMisbehaved(words(&format!("{why:?}"))),
        TlsError::InvalidMessage(why) => Error::PeerMisbehaved(format!(
            "an invalid message ({})",
            words(&format!("{why:?}"))
        )),
        error @ (TlsError::InappropriateMessage { .. }
        | TlsError::InappropriateHandshakeMessage { .. }
        | TlsError::DecryptError
        | TlsError::PeerSentOversizedRecord) => Error::PeerMisbehaved(error.to_string()),
        other => Error::Internal(other.to_string()),
    }
}

pub(crate) fn reason_of_rustls(error: &CertificateError) -> VerificationFailure {
    match error {
        CertificateError::BadEncoding => VerificationFailure::BadEncoding,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            VerificationFailure::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            VerificationFailure::NotYetValid
        }
        CertificateError::Revoked => VerificationFailure::Revoked,
        CertificateError::UnhandledCriticalExtension => {
            VerificationFailure::UnhandledCriticalExtension
        }
        CertificateError::UnknownIssuer => VerificationFailure::UnknownIssuer,
        CertificateError::BadSignature => VerificationFailure::BadSignature,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            VerificationFailure::HostnameMismatch
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            VerificationFailure::InvalidPurpose
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            VerificationFailure::UnsupportedSignatureAlgorithm
        }
        _ => VerificationFailure::Other,
    }
}
