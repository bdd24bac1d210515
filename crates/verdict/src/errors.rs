//! The closed list of reasons for webpki's errors.

use polytls_core::VerificationFailure;

/// What an error means, as half a sentence. What it is about is read from the certificates.
pub(crate) fn words(error: &webpki::Error) -> &'static str {
    use webpki::Error as E;
    match error {
        E::BadDer | E::MalformedExtensions | E::TrailingData(_) => {
            "it is malformed (not the DER that RFC 5280 specifies)"
        }
        E::BadDerTime => "invalid date",
        E::CaUsedAsEndEntity => "it is a CA certificate (CA:TRUE), not a leaf",
        E::CertDistrusted => "its key is distrusted",
        E::CertExpired { .. } => "it has expired",
        E::CertNotValidForName(_) => "it is not valid for that name",
        E::CertNotValidYet { .. } => "it is not valid yet",
        E::CertRevoked => "it was revoked",
        E::CrlExpired { .. } => "the CRL from its issuer has expired",
        E::EmptyEkuExtension => "its extended key usage is empty",
        E::EndEntityUsedAsCa => "an issuer in its chain is not a CA",
        E::ExtensionValueInvalid => "an extension has an invalid value",
        E::InvalidCertValidity => "its validity period is invalid: notBefore is after notAfter",
        E::InvalidCrlNumber => "invalid or too long CRL number",
        E::InvalidNetworkMaskConstraint => "a name constraint has an invalid network mask",
        E::InvalidSerialNumber => "invalid serial number",
        E::InvalidCrlSignatureForPublicKey => "the CRL from its issuer is not signed by its issuer",
        E::InvalidSignatureForPublicKey => "it is not signed by the key of its issuer",
        E::IssuerNotCrlSigner => {
            "the key usage of its issuer does not allow signing CRLs (cRLSign)"
        }
        E::MalformedDnsIdentifier => "it has a malformed DNS name",
        E::MalformedNameConstraint => "a name constraint is malformed",
        E::MaximumNameConstraintComparisonsExceeded => {
            "comparing its names with the name constraints above it exceeded the limit of 250,000 \
             comparisons"
        }
        E::MaximumPathBuildCallsExceeded => "path building exceeded its limit of 200,000 steps",
        E::MaximumPathDepthExceeded => "there are more than six CAs between it and a trust anchor",
        E::MaximumSignatureChecksExceeded => {
            "path building exceeded its limit of 100 signature checks"
        }
        E::NameConstraintViolation => {
            "a CA above it must not issue for its names (name constraints)"
        }
        E::PathLenConstraintViolated => "it violates the path length constraint of a CA above it",
        E::RequiredEkuNotFoundContext(_) => "its extended key usage does not include this use",
        E::SignatureAlgorithmMismatch => {
            "its signature algorithm fields differ (RFC 5280 section 4.1.1.2)"
        }
        E::UnknownIssuer => "its issuer is unknown",
        E::UnknownRevocationStatus => "there is no CRL from its issuer",
        E::UnsupportedCertVersion => "it is not of X.509 version 3",
        E::UnsupportedCriticalExtension => {
            "it has a critical extension that polytls does not support"
        }
        E::UnsupportedCrlIssuingDistributionPoint
        | E::UnsupportedIndirectCrl
        | E::UnsupportedRevocationReasonsPartitioning => {
            "partitioned and indirect CRLs are not supported"
        }
        E::UnsupportedCrlVersion => "it is not of version 2",
        E::UnsupportedDeltaCrl => "delta CRLs are not supported",
        E::UnsupportedNameType => "it has a name of an unsupported type",
        E::UnsupportedRevocationReason => "it has an unknown revocation reason",
        E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            "the CRL from its issuer is signed with an unsupported algorithm"
        }
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "it is signed with an unsupported algorithm or kind of key"
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
