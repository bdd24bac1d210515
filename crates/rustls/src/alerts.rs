//! The alert that tells the peer of an error (RFC 8446 section 6.2).
//!
//! rustls 0.23 says nothing about some errors, and about others not what the RFC says. Every error that
//! ends a connection has its alert here, whoever found it.

use polytls_core::Alert;
use rustls::{
    AlertDescription, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved, ProtocolVersion,
};

/// What the peer is told of `error`; `said` is what rustls would say, if anything, and `version` what was
/// agreed on by then. `None`: nothing, as the peer has ended the connection by an alert itself (RFC 8446
/// section 6.2).
pub(crate) fn alert(
    error: &Error,
    said: Option<Alert>,
    version: Option<ProtocolVersion>,
) -> Option<Alert> {
    if matches!(error, Error::AlertReceived(_)) {
        return None;
    }
    let is_tls12 = version == Some(ProtocolVersion::TLSv1_2);
    let fixed = fixed(error, said, is_tls12).map(number);
    Some(fixed.or(said).unwrap_or_else(|| number(usual(error))))
}

fn number(alert: AlertDescription) -> Alert {
    Alert(u8::from(alert))
}

/// Errors for which an RFC names the alert, where rustls says another.
fn fixed(error: &Error, said: Option<Alert>, is_tls12: bool) -> Option<AlertDescription> {
    Some(match error {
        // From a client, which rustls says certificate_required to: that came with TLS 1.3 (RFC 5246 section
        // 7.4.6).
        Error::NoCertificatesPresented if is_tls12 && said.is_some() => {
            AlertDescription::HandshakeFailure
        }
        Error::InvalidMessage(why) => match why {
            // RFC 8446 section 5: a type of record, or a value of change_cipher_spec, that there is not.
            InvalidMessage::InvalidContentType | InvalidMessage::InvalidCcs => {
                AlertDescription::UnexpectedMessage
            }
            // An alert or a handshake record of nothing (RFC 8446 sections 5.1 and 5.4).
            InvalidMessage::InvalidEmptyPayload | InvalidMessage::MissingData("AlertLevel") => {
                AlertDescription::UnexpectedMessage
            }
            // A message that is never sent as such (RFC 8446 section 4).
            InvalidMessage::UnexpectedMessage(_) => AlertDescription::UnexpectedMessage,
            // An extension that was not asked for (RFC 8446 section 4.2).
            InvalidMessage::UnknownCertificateExtension => AlertDescription::UnsupportedExtension,
            // As for the header of a record in core.
            InvalidMessage::UnknownProtocolVersion => AlertDescription::ProtocolVersion,
            // Well-formed, and not among what was offered, or may be said (RFC 8446 sections 6.2 and 4.6.3).
            InvalidMessage::UnsupportedCompression | InvalidMessage::InvalidKeyUpdate => {
                AlertDescription::IllegalParameter
            }
            _ => return None,
        },
        // RFC 8446 section 9.2; TLS 1.2 has no such alert.
        Error::PeerIncompatible(
            PeerIncompatible::KeyShareExtensionRequired
            | PeerIncompatible::NamedGroupsExtensionRequired,
        ) if !is_tls12 => AlertDescription::MissingExtension,
        // RFC 8446 section 4.1.3.
        Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite) => {
            AlertDescription::IllegalParameter
        }
        // Extensions that we know, in a message that they are not for (RFC 8446 section 4.2).
        Error::PeerMisbehaved(
            PeerMisbehaved::DisallowedEncryptedExtension
            | PeerMisbehaved::UnexpectedCleartextExtension,
        ) => AlertDescription::IllegalParameter,
        _ => return None,
    })
}

/// What goes with errors of this kind.
fn usual(error: &Error) -> AlertDescription {
    match error {
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::InvalidMessage(why) => AlertDescription::from(*why),
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        // From a server (RFC 8446 section 4.4.2.4).
        Error::NoCertificatesPresented => AlertDescription::DecodeError,
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        Error::InvalidCertificate(why) => AlertDescription::from(why.clone()),
        Error::PeerIncompatible(why) => incompatible(why),
        Error::PeerMisbehaved(why) => misbehaved(why),
        // Ours.
        _ => AlertDescription::InternalError,
    }
}

fn incompatible(why: &PeerIncompatible) -> AlertDescription {
    use PeerIncompatible as E;
    match why {
        E::ServerDoesNotSupportTls12Or13
        | E::ServerTlsVersionIsDisabledByOurConfig
        | E::SupportedVersionsExtensionRequired
        | E::Tls12NotOffered
        | E::Tls12NotOfferedOrEnabled
        | E::Tls13RequiredForQuic => AlertDescription::ProtocolVersion,
        E::ServerSentHelloRetryRequestWithUnknownExtension
        | E::UnsolicitedCertificateTypeExtension => AlertDescription::UnsupportedExtension,
        E::NullCompressionRequired | E::UncompressedEcPointsRequired => {
            AlertDescription::IllegalParameter
        }
        E::ServerRejectedEncryptedClientHello(_) => AlertDescription::EncryptedClientHelloRequired,
        _ => AlertDescription::HandshakeFailure,
    }
}

fn misbehaved(why: &PeerMisbehaved) -> AlertDescription {
    use PeerMisbehaved as E;
    match why {
        // A type of record, or a message, at the wrong time: RFC 8446 sections 5, 5.1 and 5.4. What comes
        // without end as well, as OpenSSL and BoringSSL have it.
        E::IllegalMiddleboxChangeCipherSpec
        | E::IllegalTlsInnerPlaintext
        | E::KeyEpochWithPendingFragment
        | E::KeyUpdateReceivedInQuicConnection
        | E::MessageInterleavedWithHandshakeMessage
        | E::RejectedEarlyDataInterleavedWithHandshakeMessage
        | E::TooManyEmptyFragments
        | E::TooManyKeyUpdateRequests
        | E::TooManyRenegotiationRequests
        | E::TooManyWarningAlertsReceived
        | E::TooMuchEarlyDataReceived => AlertDescription::UnexpectedMessage,
        E::IncorrectBinder => AlertDescription::DecryptError,
        // RFC 8446 section 4.2.11: at least one.
        E::MissingBinderInPskExtension => AlertDescription::DecodeError,
        // RFC 8879 section 4.
        E::InvalidCertCompression => AlertDescription::BadCertificate,
        E::MissingKeyShare
        | E::MissingPskExtensionInSecondClientHello
        | E::MissingPskModesExtension
        | E::MissingQuicTransportParameters => AlertDescription::MissingExtension,
        // A server that resumes in TLS 1.2 what was given for TLS 1.3 with early data (RFC 8446 appendix
        // D.3).
        E::OfferedEarlyDataWithOldProtocolVersion => AlertDescription::ProtocolVersion,
        // RFC 8446 section 4.2.
        E::UnsolicitedCertExtension
        | E::UnsolicitedEchExtension
        | E::UnsolicitedEncryptedExtension
        | E::UnsolicitedSctList
        | E::UnsolicitedServerHelloExtension => AlertDescription::UnsupportedExtension,
        _ => AlertDescription::IllegalParameter,
    }
}

#[cfg(test)]
mod tests;
