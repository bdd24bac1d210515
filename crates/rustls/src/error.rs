//! Whose fault it was: the one mapping from rustls's and webpki's errors to ours.

use polytls_core::{Alert, CertificateFailure, Error, VerificationFailure};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, Error as TlsError};
use time::OffsetDateTime;

/// Maps an error of a connection. `refusal` is what our own verifier saw, if it refused.
pub(crate) fn blame(error: TlsError, refusal: Option<CertificateFailure>) -> Error {
    if let Some(refusal) = refusal {
        return Error::Certificate(Box::new(refusal));
    }
    let certificate = |reason, message: String| {
        Error::Certificate(Box::new(CertificateFailure {
            reason,
            message,
            hostname: None,
            chain: Vec::new(),
        }))
    };
    match error {
        TlsError::AlertReceived(alert) => Error::AlertReceived(Alert(u8::from(alert))),
        TlsError::NoCertificatesPresented => certificate(
            VerificationFailure::NoCertificate,
            "the peer presented no certificate, and one is required".to_owned(),
        ),
        // Ours go through `refusal`; what is left comes of the handshake's own signature and of
        // platform verifiers.
        TlsError::InvalidCertificate(error) => {
            certificate(reason_of_rustls(&error), error.to_string())
        }
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

fn reason_of_rustls(error: &CertificateError) -> VerificationFailure {
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

/// What was found, in one sentence. `name` is there if the host name was checked.
pub(crate) fn describe_refusal(
    error: &webpki::Error,
    leaf: &[u8],
    name: Option<&ServerName<'_>>,
) -> String {
    let summary = polytls_x509::summarize(leaf);
    match (error, summary) {
        (webpki::Error::CertNotValidForName(_), Ok(summary)) => {
            let addresses = summary.ip_addresses.iter().map(ToString::to_string);
            let names: Vec<String> = summary.dns_names.into_iter().chain(addresses).collect();
            format!(
                "the certificate is valid for {}, not for {}",
                list(&names),
                name.map_or_else(|| "the name asked for".into(), ServerName::to_str)
            )
        }
        (webpki::Error::UnknownIssuer, Ok(summary)) if summary.issuer == summary.subject => {
            format!(
                "the certificate of {} is self-signed and not in the trust store",
                summary.subject
            )
        }
        (webpki::Error::UnknownIssuer, Ok(summary)) => format!(
            "the certificate was issued by {}, and nothing leads from there to a trusted \
             certificate",
            summary.issuer
        ),
        (webpki::Error::CertExpired { time, not_after }, _) => format!(
            "a certificate of the chain expired on {} (it is {} now)",
            date(*not_after),
            date(*time)
        ),
        (webpki::Error::CertNotValidYet { time, not_before }, _) => format!(
            "a certificate of the chain is not valid before {} (it is {} now)",
            date(*not_before),
            date(*time)
        ),
        (other, _) => format!("the certificate was not accepted: {other}"),
    }
}

/// At most this many names of a stranger's certificate are told.
const NAMES_TOLD: usize = 8;

fn list(names: &[String]) -> String {
    let told: Vec<String> = names
        .iter()
        .take(NAMES_TOLD)
        .map(|name| name.escape_debug().to_string())
        .collect();
    match (told.as_slice(), names.len()) {
        ([], _) => "no name at all".to_owned(),
        (told, count) if count > NAMES_TOLD => {
            format!("{} and {} more", told.join(", "), count - NAMES_TOLD)
        }
        ([one], _) => one.clone(),
        ([first @ .., last], _) => format!("{} and {last}", first.join(", ")),
    }
}

fn date(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map_or_else(
            || format!("{} seconds after 1970", time.as_secs()),
            |at| {
                format!(
                    "{}-{:02}-{:02} {:02}:{:02} UTC",
                    at.year(),
                    u8::from(at.month()),
                    at.day(),
                    at.hour(),
                    at.minute()
                )
            },
        )
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
    }

    #[test]
    fn lists_read_like_sentences_and_end() {
        let names: Vec<String> = (0..10).map(|index| format!("n{index}")).collect();
        assert_eq!(list(&[]), "no name at all");
        assert_eq!(list(&names[..1]), "n0");
        assert_eq!(list(&names[..3]), "n0, n1 and n2");
        assert_eq!(list(&names), "n0, n1, n2, n3, n4, n5, n6, n7 and 2 more");
    }

    #[test]
    fn dates_are_written_in_utc() {
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        assert_eq!(date(at(1_700_000_000)), "2023-11-14 22:13 UTC");
        assert_eq!(
            date(at(u64::MAX)),
            "18446744073709551615 seconds after 1970"
        );
    }
}
