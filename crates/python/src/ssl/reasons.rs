//! Whose fault it was, by OpenSSL's own constants (`reason`, `verify_code`), never by wording, except where
//! `ssl` has no name for an alert: OpenSSL's words are that name then, in other letters.

use polytls_core::{Alert, Error, VerificationFailure};

/// What `ssl` tells of an error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// OpenSSL's name for the reason (openssl/sslerr.h), where `ssl` knows it.
    pub(crate) reason: Option<String>,
    /// The text.
    pub(crate) text: String,
    /// Why it has refused the peer's certificate: the number (openssl/x509_vfy.h), and in words.
    pub(crate) refused: Option<(i64, String)>,
    /// Whether it is one of the system's.
    pub(crate) of_system: bool,
}

/// What an error that ended a connection comes to.
#[derive(Debug)]
pub(crate) enum Fault {
    /// OpenSSL has refused the peer's certificate.
    Refused(VerificationFailure, String),
    /// The client presented none.
    NoCertificate,
    Other(Error),
}

/// What comes of `words` on a connection that has received this alert in the clear, if it has received one.
pub(crate) fn fault(words: &Words, alert: Option<u8>) -> Fault {
    if let Some(alert) = alert.map(Alert).or_else(|| alert_of(&words.name())) {
        return Fault::Other(Error::AlertReceived(alert));
    }
    if let Some((code, said)) = &words.refused {
        return Fault::Refused(reason_of(*code), said.clone());
    }
    let reason = words.reason.as_deref().unwrap_or_default();
    if let "PEER_DID_NOT_RETURN_A_CERTIFICATE" | "NO_CERTIFICATES_RETURNED" = reason {
        return Fault::NoCertificate;
    }
    Fault::Other(other(words))
}

/// An error that does not say anything of certificates.
pub(crate) fn other(words: &Words) -> Error {
    let reason = words.reason.as_deref().unwrap_or_default();
    if reason == "BAD_SIGNATURE" {
        let said = "the handshake signature does not match its certificate";
        return Error::PeerMisbehaved(said.to_owned());
    }
    let said = words.said();
    if NOTHING_IN_COMMON.contains(&reason) {
        return Error::PeerIncompatible(said);
    }
    // A session that was cut short on our side has no peer to blame.
    if words.of_system || matches!(reason, "INTERNAL_ERROR" | "MALLOC_FAILURE" | "LIBRARY_BUG") {
        return Error::Internal(said);
    }
    Error::PeerMisbehaved(said)
}

impl Words {
    /// The reason as people write it: "no shared cipher".
    fn said(&self) -> String {
        match &self.reason {
            Some(reason) => reason.replace('_', " ").to_lowercase(),
            None => {
                let (said, _) = self.text.split_once(" (_ssl.c").unwrap_or((&self.text, ""));
                // OpenSSL's library comes first, as in "[SSL] ".
                let after = said
                    .strip_prefix('[')
                    .and_then(|said| said.split_once("] "));
                after.map_or(said, |(_, said)| said).to_owned()
            }
        }
    }

    /// The reason by its name, also where `ssl` does not know it.
    fn name(&self) -> String {
        self.reason
            .clone()
            .unwrap_or_else(|| self.said().replace(' ', "_").to_uppercase())
    }
}

/// The alert of the peer's that a reason stands for (openssl/sslerr.h: 1000 and the alert's number).
fn alert_of(reason: &str) -> Option<Alert> {
    let name = ["SSLV3_ALERT_", "TLSV1_ALERT_", "TLSV13_ALERT_", "TLSV1_"]
        .iter()
        .find_map(|prefix| reason.strip_prefix(prefix))?;
    // The other way to write it.
    let name = name.replace("CANCELLED", "CANCELED").to_lowercase();
    (0..=u8::MAX)
        .map(Alert)
        .find(|alert| alert.name() == Some(&name))
}

const NOTHING_IN_COMMON: [&str; 21] = [
    "DH_KEY_TOO_SMALL",
    "INAPPROPRIATE_FALLBACK",
    "MISSING_SIGALGS_EXTENSION",
    "NO_APPLICATION_PROTOCOL",
    "NO_CIPHERS_AVAILABLE",
    "NO_CIPHER_MATCH",
    "NO_SHARED_CIPHER",
    "NO_SHARED_GROUPS",
    "NO_SHARED_SIGNATURE_ALGORITHMS",
    "NO_SUITABLE_DIGEST_ALGORITHM",
    "NO_SUITABLE_GROUPS",
    "NO_SUITABLE_KEY_SHARE",
    "NO_SUITABLE_SIGNATURE_ALGORITHM",
    "UNKNOWN_PROTOCOL",
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
    "UNSUPPORTED_ELLIPTIC_CURVE",
    "UNSUPPORTED_PROTOCOL",
    "UNSUPPORTED_SSL_VERSION",
    "VERSION_TOO_HIGH",
    "VERSION_TOO_LOW",
    "WRONG_SSL_VERSION",
];

/// `X509_V_ERR_*` by their numbers (openssl/x509_vfy.h), which are stable across versions.
pub(crate) const fn reason_of(code: i64) -> VerificationFailure {
    use VerificationFailure as F;
    match code {
        // UNABLE_TO_GET_ISSUER_CERT, DEPTH_ZERO_SELF_SIGNED_CERT, SELF_SIGNED_CERT_IN_CHAIN,
        // UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNABLE_TO_VERIFY_LEAF_SIGNATURE, CERT_UNTRUSTED,
        // SUBJECT_ISSUER_MISMATCH, AKID_SKID_MISMATCH, AKID_ISSUER_SERIAL_MISMATCH, PATH_LOOP
        2 | 18..=21 | 27 | 29..=31 | 55 => F::UnknownIssuer,
        // UNABLE_TO_GET_CRL, UNABLE_TO_DECRYPT_CRL_SIGNATURE, CRL_SIGNATURE_FAILURE, CRL_NOT_YET_VALID,
        // CRL_HAS_EXPIRED, ERROR_IN_CRL_LAST_UPDATE_FIELD, ERROR_IN_CRL_NEXT_UPDATE_FIELD,
        // UNABLE_TO_GET_CRL_ISSUER, KEYUSAGE_NO_CRL_SIGN, UNHANDLED_CRITICAL_CRL_EXTENSION,
        // DIFFERENT_CRL_SCOPE, CRL_PATH_VALIDATION_ERROR
        3 | 5 | 8 | 11 | 12 | 15 | 16 | 33 | 35 | 36 | 44 | 54 => F::RevocationUnknown,
        // UNABLE_TO_DECRYPT_CERT_SIGNATURE, CERT_SIGNATURE_FAILURE, SIGNATURE_ALGORITHM_MISMATCH,
        // SIGNATURE_ALGORITHM_INCONSISTENCY
        4 | 7 | 77 | 78 => F::BadSignature,
        // UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY, ERROR_IN_CERT_NOT_BEFORE_FIELD,
        // ERROR_IN_CERT_NOT_AFTER_FIELD, INVALID_EXTENSION
        6 | 13 | 14 | 41 => F::BadEncoding,
        9 => F::NotYetValid,
        10 => F::Expired,
        // CERT_CHAIN_TOO_LONG, PATH_LENGTH_EXCEEDED
        22 | 25 => F::PathTooLong,
        23 => F::Revoked,
        // INVALID_CA before OpenSSL 3, INVALID_PURPOSE, CERT_REJECTED, KEYUSAGE_NO_CERTSIGN, INVALID_NON_CA,
        // KEYUSAGE_NO_DIGITAL_SIGNATURE, INVALID_CA, PATHLEN_INVALID_FOR_NON_CA,
        // KU_KEY_CERT_SIGN_INVALID_FOR_NON_CA
        24 | 26 | 28 | 32 | 37 | 39 | 79 | 80 | 82 => F::InvalidPurpose,
        34 => F::UnhandledCriticalExtension,
        // PERMITTED_VIOLATION, EXCLUDED_VIOLATION, SUBTREE_MINMAX, UNSUPPORTED_CONSTRAINT_TYPE,
        // UNSUPPORTED_CONSTRAINT_SYNTAX, UNSUPPORTED_NAME_SYNTAX
        47..=49 | 51..=53 => F::NameConstraintViolation,
        // HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH
        62 | 64 => F::HostnameMismatch,
        // EE_KEY_TOO_SMALL, CA_KEY_TOO_SMALL
        66 | 67 => F::WeakKey,
        // CA_MD_TOO_WEAK, UNSUPPORTED_SIGNATURE_ALGORITHM, EC_KEY_EXPLICIT_PARAMS
        68 | 76 | 94 => F::UnsupportedSignatureAlgorithm,
        _ => F::Other,
    }
}
