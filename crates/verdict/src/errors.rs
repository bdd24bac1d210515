//! The closed list of reasons for webpki's errors.

use polytls_core::VerificationFailure;

/// What an error means, as half a sentence. What it is about is read from the certificates.
pub(crate) fn words(error: &webpki::Error) -> &'static str {
    use webpki::Error as E;
    match error {
        E::BadDer | E::MalformedExtensions | E::TrailingData(_) => {
            "it is malformed (no DER of the form that RFC 5280 gives)"
        }
        E::BadDerTime => "a time in it is no date",
        E::CaUsedAsEndEntity => "it is an authority's (CA:TRUE), and not a peer's own",
        E::CertDistrusted => "its key is distrusted",
        E::CertExpired { .. } => "it has expired",
        E::CertNotValidForName(_) => "it is not for that name",
        E::CertNotValidYet { .. } => "it is not valid yet",
        E::CertRevoked => "it was revoked",
        E::CrlExpired { .. } => "the list of its issuer has expired",
        E::EmptyEkuExtension => "its extended key usage names no purpose",
        E::EndEntityUsedAsCa => "an issuer in its chain is no authority",
        E::ExtensionValueInvalid => "an extension has a value that it must not have",
        E::InvalidCertValidity => "it ends before it begins (notBefore is after notAfter)",
        E::InvalidCrlNumber => "the number of a list is no number, or too long",
        E::InvalidNetworkMaskConstraint => "a name constraint has a network that is none",
        E::InvalidSerialNumber => "its serial number is no number",
        E::InvalidCrlSignatureForPublicKey => "the list of its issuer is not signed by its issuer",
        E::InvalidSignatureForPublicKey => "it is not signed by the key of its issuer",
        E::IssuerNotCrlSigner => {
            "the key usage of its issuer does not allow signing revocation lists (cRLSign)"
        }
        E::MalformedDnsIdentifier => "a DNS name in it is malformed",
        E::MalformedNameConstraint => "a name constraint is malformed",
        E::MaximumNameConstraintComparisonsExceeded => {
            "its names and the name constraints above it are too many to compare (250,000 comparisons)"
        }
        E::MaximumPathBuildCallsExceeded => "there are too many ways to try (200,000 steps)",
        E::MaximumPathDepthExceeded => {
            "there are more than six authorities between it and a trusted one"
        }
        E::MaximumSignatureChecksExceeded => {
            "there are too many ways to try (100 checks of signatures)"
        }
        E::NameConstraintViolation => {
            "an authority above it may not issue for its names (name constraints)"
        }
        E::PathLenConstraintViolated => {
            "an authority above it allows fewer authorities below (path length)"
        }
        E::RequiredEkuNotFoundContext(_) => "its extended key usage is for something else",
        E::SignatureAlgorithmMismatch => {
            "it names one signature algorithm inside and another outside (RFC 5280 section 4.1.1.2)"
        }
        E::UnknownIssuer => "nobody known has issued it",
        E::UnknownRevocationStatus => "there is no list of its issuer",
        E::UnsupportedCertVersion => "it is not of X.509 version 3",
        E::UnsupportedCriticalExtension => "it has a critical extension that is not known here",
        E::UnsupportedCrlIssuingDistributionPoint
        | E::UnsupportedIndirectCrl
        | E::UnsupportedRevocationReasonsPartitioning => {
            "it speaks of a part of its issuer's certificates only, or of others', which is not \
             supported"
        }
        E::UnsupportedCrlVersion => "it is not of version 2",
        E::UnsupportedDeltaCrl => {
            "it has only what has changed (a delta list), which is not supported"
        }
        E::UnsupportedNameType => "a name in it is of a kind that is not known here",
        E::UnsupportedRevocationReason => {
            "it gives a reason for a revocation that is not known here"
        }
        E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            "the list of its issuer is signed with an algorithm that is not accepted"
        }
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "it is signed with an algorithm, or by a kind of key, that is not accepted"
        }
        _ => "it is not accepted",
    }
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
