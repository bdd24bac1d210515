//! Errors as `ssl` raises them: OpenSSL's names for the reasons (openssl/sslerr.h), numbers and words for
//! certificates (openssl/x509_vfy.h). They are chosen by facts, never by wording: by the alert that goes with an
//! error, by the reason of a refusal, by what the certificates of a chain say.

use polytls_core::{Alert, CertificateFailure, Error, VerificationFailure};
use pyo3::prelude::*;

use crate::calls::CallsOut as _;
use crate::errors::{self, raised};
use crate::imported::Imported;

static MAKE: Imported = Imported::new("polytls.compat.faults", "Fault");
static WANT_READ: Imported = Imported::new("polytls.compat.faults", "SSLWantReadError");
static WANT_WRITE: Imported = Imported::new("polytls.compat.faults", "SSLWantWriteError");

/// The numbers of `ssl.SSLErrorNumber`.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Ssl = 1,
    WantRead = 2,
    WantWrite = 3,
    ZeroReturn = 6,
    Eof = 8,
    NoSocket = 9,
}

/// An exception of `ssl`.
#[derive(Debug)]
pub(super) struct Fault {
    number: i32,
    reason: Option<String>,
    text: String,
    /// `verify_code` and `verify_message`.
    refused: Option<(u16, String)>,
}

impl Fault {
    pub(super) fn new(number: Number, reason: Option<&str>, text: &str) -> Self {
        Self {
            number: number as i32,
            reason: reason.map(str::to_owned),
            text: text.to_owned(),
            refused: None,
        }
    }

    /// One of OpenSSL's reasons, whose text is the reason in other letters.
    pub(super) fn reason(reason: &str) -> Self {
        let text = reason.to_ascii_lowercase().replace('_', " ");
        Self::new(Number::Ssl, Some(reason), &text)
    }

    pub(super) fn exception(self, py: Python<'_>) -> PyErr {
        let made = || {
            MAKE.get(py)?.method_out(
                "exception",
                (self.number, self.reason, self.text, self.refused),
            )
        };
        made().map_or_else(|error| error, PyErr::from_value)
    }
}

/// Every turn of an event loop ends with one: it is made without a call of Python code.
fn want(py: Python<'_>, class: &Imported, number: Number, text: &str) -> PyErr {
    let made = || -> PyResult<_> {
        let made = class.get(py)?.call_out((number as i32, text), None)?;
        made.setattr("library", "SSL")?;
        made.setattr("reason", py.None())?;
        Ok(made)
    };
    made().map_or_else(|error| error, PyErr::from_value)
}

pub(super) fn want_read(py: Python<'_>) -> PyErr {
    let text = "The operation did not complete (read) (polytls)";
    want(py, &WANT_READ, Number::WantRead, text)
}

pub(super) fn want_write(py: Python<'_>) -> PyErr {
    let text = "The operation did not complete (write) (polytls)";
    want(py, &WANT_WRITE, Number::WantWrite, text)
}

pub(super) fn end_of_transport(py: Python<'_>) -> PyErr {
    Fault::new(
        Number::Eof,
        Some("UNEXPECTED_EOF_WHILE_READING"),
        "EOF occurred in violation of protocol",
    )
    .exception(py)
}

pub(super) fn closed_by_peer(py: Python<'_>) -> PyErr {
    Fault::new(
        Number::ZeroReturn,
        None,
        "TLS/SSL connection has been closed (EOF)",
    )
    .exception(py)
}

/// What a connection that has failed knows besides the error.
pub(super) struct Found {
    /// The alert that goes with it.
    pub(super) alert: Option<Alert>,
    /// Whether what came was not a record of TLS.
    pub(super) plaintext: bool,
    pub(super) is_server: bool,
}

/// The exception for an error of a connection, from our own, which explains more.
pub(super) fn exception(
    py: Python<'_>,
    implementation: &str,
    error: &Error,
    found: &Found,
) -> PyErr {
    if let Error::Foreign { .. } = error {
        let cause = raised(py, implementation, error);
        return match ours(py, &cause) {
            Ok(Some(error)) => caused(py, fault(&error, found).exception(py), cause),
            Ok(None) => cause,
            Err(failed) => failed,
        };
    }
    match error {
        Error::WantRead => want_read(py),
        Error::WantWrite => want_write(py),
        _ => {
            let made = fault(error, found).exception(py);
            caused(py, made, raised(py, implementation, error))
        }
    }
}

fn caused(py: Python<'_>, made: PyErr, cause: PyErr) -> PyErr {
    // What a callback has raised that is no `Exception` is raised as it is.
    if !cause.is_instance_of::<pyo3::exceptions::PyException>(py) {
        return cause;
    }
    made.set_cause(py, Some(cause));
    made
}

/// What somebody else's implementation has raised, as the core would have told it; `None`: it is no TLSError.
fn ours(py: Python<'_>, raised: &PyErr) -> PyResult<Option<Error>> {
    let value = raised.value(py);
    let is = |class: &Imported| value.is_instance(class.get(py)?);
    let words = || value.text().map(|text| text.to_string());
    Ok(Some(if !is(&errors::TLSError)? {
        return Ok(None);
    } else if is(&errors::CertificateVerificationError)? {
        let reason: String = value.attribute("reason")?.attribute("name")?.extract()?;
        let mut known = VerificationFailure::ALL.into_iter();
        let known = known.find(|known| known.name() == reason);
        Error::Certificate(Box::new(CertificateFailure {
            reason: known.unwrap_or_default(),
            message: words()?,
            hostname: value.attribute("hostname")?.extract()?,
            chain: value.attribute("chain")?.extract()?,
            ..CertificateFailure::default()
        }))
    } else if is(&errors::AlertReceived)? {
        Error::AlertReceived(Alert(value.attribute("alert")?.extract()?))
    } else if is(&errors::RaggedEOF)? {
        Error::RaggedEof {
            during_handshake: value.attribute("during_handshake")?.is_truthy()?,
        }
    } else if is(&errors::NotTLSError)? {
        Error::NotTls(words()?)
    } else if is(&errors::PeerMisbehaved)? {
        Error::PeerMisbehaved(words()?)
    } else if is(&errors::PeerIncompatible)? {
        Error::PeerIncompatible(words()?)
    } else {
        Error::Internal(words()?)
    }))
}

fn fault(error: &Error, found: &Found) -> Fault {
    match error {
        Error::RaggedEof { .. } => Fault::new(
            Number::Eof,
            Some("UNEXPECTED_EOF_WHILE_READING"),
            "EOF occurred in violation of protocol",
        ),
        Error::Certificate(failure)
            if failure.reason == VerificationFailure::NoCertificate && found.is_server =>
        {
            Fault::reason("PEER_DID_NOT_RETURN_A_CERTIFICATE")
        }
        Error::Certificate(failure) => refused(failure),
        Error::AlertReceived(alert) => Fault::reason(&received(*alert)),
        Error::NotTls(_) => Fault::reason("WRONG_VERSION_NUMBER"),
        Error::PeerMisbehaved(_) | Error::PeerIncompatible(_) => Fault::reason(reason_of(found)),
        Error::Misuse(why) => Fault::new(Number::Ssl, Some("INTERNAL_ERROR"), why),
        _ => Fault::new(Number::Ssl, Some("INTERNAL_ERROR"), &error.to_string()),
    }
}

/// OpenSSL's reason for what it would have sent this alert. It looks at a record's version before its type.
fn reason_of(found: &Found) -> &'static str {
    match found.alert.map(|alert| alert.0) {
        Some(10 | 70) if found.plaintext => "WRONG_VERSION_NUMBER",
        Some(10) => "UNEXPECTED_MESSAGE",
        Some(20) => "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
        Some(22) => "DATA_LENGTH_TOO_LONG",
        Some(40) if found.is_server => "NO_SHARED_CIPHER",
        Some(40) => "WRONG_CIPHER_RETURNED",
        Some(47) => "BAD_VALUE",
        Some(50) => "LENGTH_MISMATCH",
        Some(51) => "BAD_SIGNATURE",
        Some(70) => "UNSUPPORTED_PROTOCOL",
        Some(109) => "MISSING_SIGALGS_EXTENSION",
        Some(110) => "BAD_EXTENSION",
        Some(120) => "NO_APPLICATION_PROTOCOL",
        _ => "BAD_RECORD_TYPE",
    }
}

/// OpenSSL's reason for an alert of the peer's: 1000 and its number in openssl/sslerr.h.
fn received(alert: Alert) -> String {
    let named = match alert.0 {
        10 => "SSLV3_ALERT_UNEXPECTED_MESSAGE",
        20 => "SSLV3_ALERT_BAD_RECORD_MAC",
        21 => "TLSV1_ALERT_DECRYPTION_FAILED",
        22 => "TLSV1_ALERT_RECORD_OVERFLOW",
        30 => "SSLV3_ALERT_DECOMPRESSION_FAILURE",
        40 => "SSLV3_ALERT_HANDSHAKE_FAILURE",
        41 => "SSLV3_ALERT_NO_CERTIFICATE",
        42 => "SSLV3_ALERT_BAD_CERTIFICATE",
        43 => "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        44 => "SSLV3_ALERT_CERTIFICATE_REVOKED",
        45 => "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        46 => "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        47 => "SSLV3_ALERT_ILLEGAL_PARAMETER",
        48 => "TLSV1_ALERT_UNKNOWN_CA",
        49 => "TLSV1_ALERT_ACCESS_DENIED",
        50 => "TLSV1_ALERT_DECODE_ERROR",
        51 => "TLSV1_ALERT_DECRYPT_ERROR",
        60 => "TLSV1_ALERT_EXPORT_RESTRICTION",
        70 => "TLSV1_ALERT_PROTOCOL_VERSION",
        71 => "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        80 => "TLSV1_ALERT_INTERNAL_ERROR",
        86 => "TLSV1_ALERT_INAPPROPRIATE_FALLBACK",
        90 => "TLSV1_ALERT_USER_CANCELLED",
        100 => "TLSV1_ALERT_NO_RENEGOTIATION",
        109 => "TLSV13_ALERT_MISSING_EXTENSION",
        110 => "TLSV1_UNSUPPORTED_EXTENSION",
        111 => "TLSV1_CERTIFICATE_UNOBTAINABLE",
        112 => "TLSV1_UNRECOGNIZED_NAME",
        113 => "TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE",
        114 => "TLSV1_BAD_CERTIFICATE_HASH_VALUE",
        115 => "TLSV1_ALERT_UNKNOWN_PSK_IDENTITY",
        116 => "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        120 => "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
        other => return format!("UNKNOWN_ALERT_{other}"),
    };
    named.to_owned()
}

/// A refused certificate.
fn refused(failure: &CertificateFailure) -> Fault {
    let (code, words) = verification(failure);
    Fault {
        number: Number::Ssl as i32,
        reason: Some("CERTIFICATE_VERIFY_FAILED".to_owned()),
        text: format!("certificate verify failed: {words}"),
        refused: Some((code, words)),
    }
}

fn verification(failure: &CertificateFailure) -> (u16, String) {
    use VerificationFailure as F;
    if let Some(rule) = failure.rule {
        return (rule, failure_words(failure));
    }
    let is_self_issued = |der: Option<&Vec<u8>>| {
        der.and_then(|der| polytls_x509::summarize(der).ok())
            .is_some_and(|summary| summary.is_self_issued())
    };
    let (code, words) = match failure.reason {
        F::UnknownIssuer if failure.chain.len() == 1 && is_self_issued(failure.chain.first()) => {
            (18, "self-signed certificate")
        }
        F::UnknownIssuer if is_self_issued(failure.chain.last()) => {
            (19, "self-signed certificate in certificate chain")
        }
        F::UnknownIssuer => (20, "unable to get local issuer certificate"),
        F::Expired => (10, "certificate has expired"),
        F::NotYetValid => (9, "certificate is not yet valid"),
        F::HostnameMismatch => {
            let name = failure.hostname.as_deref().unwrap_or_default();
            return if name.parse::<std::net::IpAddr>().is_ok() {
                let words = "IP address mismatch, certificate is not valid for";
                (64, format!("{words} '{name}'."))
            } else {
                let words = "Hostname mismatch, certificate is not valid for";
                (62, format!("{words} '{name}'."))
            };
        }
        F::Revoked => (23, "certificate revoked"),
        F::BadSignature => (7, "certificate signature failure"),
        F::BadEncoding => (41, "invalid or inconsistent certificate extension"),
        F::InvalidPurpose => (26, "unsuitable certificate purpose"),
        F::NameConstraintViolation => (47, "permitted subtree violation"),
        F::PathTooLong => (25, "path length constraint exceeded"),
        F::UnsupportedSignatureAlgorithm => (76, "unsupported signature algorithm"),
        F::WeakKey => (66, "EE certificate key too weak"),
        F::UnhandledCriticalExtension => (34, "unhandled critical extension"),
        F::RevocationUnknown => (3, "unable to get certificate CRL"),
        // X509_V_ERR_APPLICATION_VERIFICATION.
        F::RefusedByVerifier | F::PinMismatch => (50, "application verification failure"),
        _ => (1, "unspecified certificate verification error"),
    };
    (code, words.to_owned())
}

/// What was found, without what is told around it.
fn failure_words(failure: &CertificateFailure) -> String {
    polytls_x509::strict_words(failure.rule.unwrap_or_default())
        .unwrap_or(&failure.message)
        .to_owned()
}
