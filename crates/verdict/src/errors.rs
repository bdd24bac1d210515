//! The closed list of reasons for webpki's errors.

use polytls_core::VerificationFailure;

/// What webpki calls an error, without what it has to tell of it: that is read from the certificates.
pub(crate) fn name_of(error: &webpki::Error) -> String {
    let told = format!("{error:?}");
    let end = told.find(|character: char| !character.is_ascii_alphanumeric());
    words(&told[..end.unwrap_or(told.len())])
}

/// `NoCipherSuitesInCommon` as people write it: rustls and webpki name such cases by identifiers alone.
#[must_use]
pub fn words(identifier: &str) -> String {
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

/// The reason that an error stands for.
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
    use polytls_core::pki_types::UnixTime;

    use super::*;

    #[test]
    fn identifiers_become_words() {
        assert_eq!(
            words("NoCipherSuitesInCommon"),
            "no cipher suites in common"
        );
        assert_eq!(words("Tls12NotOffered"), "tls12 not offered");
        let time = UnixTime::since_unix_epoch(std::time::Duration::ZERO);
        let expired = webpki::Error::CertExpired {
            time,
            not_after: time,
        };
        assert_eq!(name_of(&expired), "cert expired");
    }
}
