//! Whose fault it was: the one mapping from rustls's and webpki's errors to ours.

use polytls_core::{Alert, CertificateFailure, Error, VerificationFailure};
use polytls_x509::explain::{Refused, explain};
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
            trust_source: "the trust store",
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

/// `NoCipherSuitesInCommon` as people write it: rustls names these cases by identifiers alone.
fn words(identifier: &str) -> String {
    let mut text = String::with_capacity(identifier.len() + 8);
    let mut before = ' ';
    for character in identifier.chars() {
        if character.is_ascii_uppercase() && before.is_ascii_alphanumeric() {
            text.push(' ');
        }
        text.push(character.to_ascii_lowercase());
        before = character;
    }
    text
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

/// What webpki calls an error, without what it has to tell of it: that is read from the certificates.
pub(crate) fn name_of_error(error: &webpki::Error) -> String {
    let told = format!("{error:?}");
    let end = told.find(|character: char| !character.is_ascii_alphanumeric());
    words(&told[..end.unwrap_or(told.len())])
}

/// The closed list of reasons for webpki's errors.
pub(crate) fn reason_of(error: &webpki::Error) -> VerificationFailure {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer => VerificationFailure::UnknownIssuer,
        E::CertExpired { .. } => VerificationFailure::Expired,
        E::CertNotValidYet { .. } => VerificationFailure::NotYetValid,
        E::CertNotValidForName(_) => VerificationFailure::HostnameMismatch,
        E::CertRevoked | E::CertDistrusted => VerificationFailure::Revoked,
        E::InvalidSignatureForPublicKey | E::SignatureAlgorithmMismatch => {
            VerificationFailure::BadSignature
        }
        E::CaUsedAsEndEntity
        | E::EndEntityUsedAsCa
        | E::EmptyEkuExtension
        | E::RequiredEkuNotFoundContext(_) => VerificationFailure::InvalidPurpose,
        E::NameConstraintViolation
        | E::MalformedNameConstraint
        | E::InvalidNetworkMaskConstraint => VerificationFailure::NameConstraintViolation,
        E::PathLenConstraintViolated
        | E::MaximumNameConstraintComparisonsExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded => VerificationFailure::PathTooLong,
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            VerificationFailure::UnsupportedSignatureAlgorithm
        }
        E::UnknownRevocationStatus
        | E::CrlExpired { .. }
        | E::InvalidCrlSignatureForPublicKey
        | E::IssuerNotCrlSigner
        | E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            VerificationFailure::RevocationUnknown
        }
        E::UnsupportedCriticalExtension => VerificationFailure::UnhandledCriticalExtension,
        E::BadDer
        | E::BadDerTime
        | E::ExtensionValueInvalid
        | E::InvalidCertValidity
        | E::InvalidSerialNumber
        | E::MalformedDnsIdentifier
        | E::MalformedExtensions
        | E::TrailingData(_)
        | E::UnsupportedCertVersion => VerificationFailure::BadEncoding,
        _ => VerificationFailure::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_become_words() {
        assert_eq!(
            words("NoCipherSuitesInCommon"),
            "no cipher suites in common"
        );
        assert_eq!(words("Tls12NotOffered"), "tls12 not offered");
        let time = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::ZERO);
        let expired = webpki::Error::CertExpired {
            time,
            not_after: time,
        };
        assert_eq!(name_of_error(&expired), "cert expired");
    }
}
