//! Whose fault it was: the one mapping from rustls's errors to ours.

use polytls_core::config::TrustSource;
use polytls_core::{Alert, CertificateFailure, Error, VerificationFailure};
use polytls_verdict::explain::{Refused, explain};
use rustls::{CertificateError, Error as TlsError};

use crate::words;

/// Maps an error of a connection. `refusal` is what our own verifier saw, if it refused.
pub(crate) fn blame(error: TlsError, refusal: Option<CertificateFailure>) -> Error {
    if let Some(refusal) = refusal {
        return Error::Certificate(Box::new(refusal));
    }
    match error {
        TlsError::AlertReceived(alert) => Error::AlertReceived(Alert(u8::from(alert))),
        // That happens only to servers.
        TlsError::NoCertificatesPresented => Error::Certificate(Box::new(explain(Refused {
            reason: VerificationFailure::NoCertificate,
            said: "",
            chain: &[],
            index: None,
            hostname: None,
            is_server: false,
            trust_source: &TrustSource::Given(None),
            passed_over: &[],
            unchecked: &[],
            of_staple: false,
            now: 0,
        }))),
        // Refusals of our verifier come with their `refusal`: this is about the handshake's signature (RFC
        // 8446 section 4.4.3).
        TlsError::InvalidCertificate(error) => Error::PeerMisbehaved(
            match error {
                CertificateError::BadSignature => {
                    "the handshake signature does not match its certificate"
                }
                _ => {
                    "the handshake signature uses an algorithm that does not suit the key of its \
                     certificate, or that rustls does not support"
                }
            }
            .to_owned(),
        ),
        TlsError::NoApplicationProtocol => {
            Error::PeerIncompatible("no application protocol (ALPN) in common".to_owned())
        }
        TlsError::PeerIncompatible(why) => {
            Error::PeerIncompatible(words::incompatible(&why).to_owned())
        }
        TlsError::PeerMisbehaved(why) => Error::PeerMisbehaved(words::misbehaved(&why).to_owned()),
        TlsError::InvalidMessage(why) => {
            Error::PeerMisbehaved(format!("an invalid message ({})", words::invalid(&why)))
        }
        TlsError::InappropriateHandshakeMessage { got_type, .. } => {
            Error::PeerMisbehaved(words::out_of_turn(got_type))
        }
        TlsError::InappropriateMessage { .. } => {
            Error::PeerMisbehaved("unexpected record type".to_owned())
        }
        TlsError::DecryptError => Error::PeerMisbehaved(
            "record cannot be decrypted: it was changed in transit, or encrypted with other keys"
                .to_owned(),
        ),
        TlsError::PeerSentOversizedRecord => Error::PeerMisbehaved("record too large".to_owned()),
        other => Error::Internal(other.to_string()),
    }
}
