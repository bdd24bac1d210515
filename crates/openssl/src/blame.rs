//! Whose fault it was: the one mapping from OpenSSL's errors to ours, by the numbers of sslerr.h, which are
//! the same in all versions.

use std::ffi::{CStr, c_ulong};

use polytls_core::{Alert, CertificateFailure, Error, VerificationFailure};

use crate::api;
use crate::library::Library;

/// What OpenSSL has queued of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The reason of libssl's; 0: it says nothing.
    reason: c_ulong,
    /// Whether a provider has failed, which does the cryptography.
    of_provider: bool,
    /// In words, as in "no shared cipher".
    said: String,
}

/// What a failure comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The client was to present a certificate, and has not.
    NoCertificate,
    /// The peer's certificate was refused, by us or for what OpenSSL makes of it.
    Certificate(String),
    Other(Error),
}

/// An alert of the peer's is told as 1000 and its number.
const ALERTS: std::ops::RangeInclusive<c_ulong> = 1000..=1255;

impl Fault {
    /// Takes this thread's errors: the first one of libssl's says what happened, and those of libcrypto may
    /// come before it.
    pub(crate) fn take(library: &Library) -> Self {
        let mut told = 0;
        let mut of_provider = false;
        // SAFETY: they may be called at any time; the text is a constant of the library.
        let said = unsafe {
            loop {
                let code = library.ERR_get_error();
                if code == 0 {
                    break;
                }
                of_provider |= library_of(code) == api::LIB_PROVIDER;
                if told == 0 || library_of(told) != api::LIB_SSL {
                    told = code;
                }
            }
            let text = library.ERR_reason_error_string(told);
            if text.is_null() {
                String::new()
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        };
        library.clean();
        let of_ssl = told != 0 && library_of(told) == api::LIB_SSL;
        Self {
            reason: if of_ssl { told & 0x7f_ffff } else { 0 },
            of_provider,
            said,
        }
    }

    /// In words.
    pub(crate) fn said(&self) -> String {
        if self.said.is_empty() {
            "OpenSSL gives no reason".to_owned()
        } else {
            self.said.clone()
        }
    }

    /// The peer's alert, if that is what it was.
    pub(crate) fn alert(&self) -> Option<Alert> {
        let number = ALERTS
            .contains(&self.reason)
            .then(|| self.reason - ALERTS.start())?;
        u8::try_from(number).ok().map(Alert)
    }

    /// Whether the handshake was ended as the server has rejected Encrypted ClientHello.
    pub(crate) const fn requires_ech(&self) -> bool {
        self.reason == ECH_REQUIRED
    }

    pub(crate) fn blame(&self) -> Blame {
        if let Some(alert) = self.alert() {
            return Blame::Other(Error::AlertReceived(alert));
        }
        Blame::Other(match self.reason {
            PEER_DID_NOT_RETURN_A_CERTIFICATE => return Blame::NoCertificate,
            CERTIFICATE_VERIFY_FAILED => return Blame::Certificate(self.said()),
            BAD_SIGNATURE => Error::PeerMisbehaved(
                "the handshake signature does not match its certificate".to_owned(),
            ),
            NO_APPLICATION_PROTOCOL => {
                Error::PeerIncompatible("no application protocol (ALPN) in common".to_owned())
            }
            DECRYPTION_FAILED_OR_BAD_RECORD_MAC => Error::PeerMisbehaved(UNOPENED.to_owned()),
            // OpenSSL 3.0 says so of a record of TLS 1.2 that is too short to be one.
            INTERNAL_ERROR if self.of_provider => Error::PeerMisbehaved(UNOPENED.to_owned()),
            HTTP_REQUEST | HTTPS_PROXY_REQUEST => Error::NotTls(self.said()),
            reason if NOTHING_IN_COMMON.contains(&reason) => Error::PeerIncompatible(self.said()),
            INTERNAL_ERROR | LIBRARY_BUG | 0 => Error::Internal(self.said()),
            _ => Error::PeerMisbehaved(self.said()),
        })
    }
}

const UNOPENED: &str =
    "record cannot be decrypted: it was changed in transit, or encrypted with other keys";

const fn library_of(code: c_ulong) -> c_ulong {
    (code >> 23) & 0xff
}

const BAD_SIGNATURE: c_ulong = 123;
const CERTIFICATE_VERIFY_FAILED: c_ulong = 134;
const DECRYPTION_FAILED_OR_BAD_RECORD_MAC: c_ulong = 281;
const ECH_REQUIRED: c_ulong = 424;
const HTTPS_PROXY_REQUEST: c_ulong = 155;
const HTTP_REQUEST: c_ulong = 156;
const INTERNAL_ERROR: c_ulong = 0xc0103;
const LIBRARY_BUG: c_ulong = 274;
const NO_APPLICATION_PROTOCOL: c_ulong = 235;
const PEER_DID_NOT_RETURN_A_CERTIFICATE: c_ulong = 199;

/// Both sides keep to the protocol.
const NOTHING_IN_COMMON: [c_ulong; 20] = [
    101, // NO_SUITABLE_KEY_SHARE
    112, // MISSING_SIGALGS_EXTENSION
    118, // NO_SUITABLE_SIGNATURE_ALGORITHM
    166, // VERSION_TOO_HIGH
    181, // NO_CIPHERS_AVAILABLE
    183, // NO_CIPHERS_SPECIFIED
    185, // NO_CIPHER_MATCH
    193, // NO_SHARED_CIPHER
    252, // UNKNOWN_PROTOCOL
    258, // UNSUPPORTED_PROTOCOL
    259, // UNSUPPORTED_SSL_VERSION
    266, // WRONG_SSL_VERSION
    297, // NO_SUITABLE_DIGEST_ALGORITHM
    315, // UNSUPPORTED_ELLIPTIC_CURVE
    338, // UNSAFE_LEGACY_RENEGOTIATION_DISABLED
    394, // DH_KEY_TOO_SMALL
    376, // NO_SHARED_SIGNATURE_ALGORITHMS
    396, // VERSION_TOO_LOW
    410, // NO_SHARED_GROUPS
    295, // NO_SUITABLE_GROUPS
];

/// The alert for a peer that the verdict refuses (RFC 8446 section 6.2, RFC 6066 section 8).
pub(crate) const fn alert_for(failure: &CertificateFailure) -> Alert {
    use VerificationFailure as F;
    Alert(match failure.reason {
        // bad_certificate.
        F::BadSignature | F::BadEncoding | F::HostnameMismatch => 42,
        F::UnhandledCriticalExtension => 42,
        // unsupported_certificate.
        F::InvalidPurpose | F::UnsupportedSignatureAlgorithm | F::WeakKey => 43,
        // certificate_revoked.
        F::Revoked => 44,
        // certificate_expired.
        F::Expired | F::NotYetValid => 45,
        // unknown_ca.
        F::UnknownIssuer => 48,
        // access_denied.
        F::RefusedByVerifier => 49,
        // bad_certificate_status_response.
        F::RevocationUnknown if failure.of_staple => 113,
        // certificate_unknown.
        _ => 46,
    })
}

/// What OpenSSL is told of a refusal, which decides the alert (statem_lib.c, `x509table`): the number of
/// `X509_V_ERR_*` whose alert is that of [`alert_for`], which takes its place where it can.
pub(crate) const fn verify_error(reason: VerificationFailure) -> i32 {
    use VerificationFailure as F;
    match reason {
        F::UnknownIssuer => 20,            // unknown_ca
        F::Expired | F::NotYetValid => 10, // certificate_expired
        F::HostnameMismatch => 62,
        F::BadSignature | F::BadEncoding | F::UnhandledCriticalExtension => 28,
        F::Revoked => 23, // certificate_revoked
        // unsupported_certificate.
        F::InvalidPurpose | F::UnsupportedSignatureAlgorithm | F::WeakKey => 26,
        // certificate_unknown; there is no way to access_denied.
        _ => 34,
    }
}
