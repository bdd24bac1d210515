//! Errors that show where the fault is: each variant says who has to act.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::alert::Alert;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// More ciphertext has to be received first.
    WantRead,
    /// Ciphertext has to be sent first.
    WantWrite,
    /// The call came at the wrong time; the connection is unchanged.
    Misuse(&'static str),
    /// Our own configuration is at fault.
    Configuration {
        /// The field of the configuration, by its public name.
        field: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// The peer's certificate was not accepted.
    Certificate(Box<CertificateFailure>),
    /// The session that was passed must not be offered on this connection. Nothing was sent.
    NotResumable {
        /// What is wrong, in one sentence.
        message: String,
        /// The verdict on its certificate, if that is the reason.
        failure: Option<Box<CertificateFailure>>,
    },
    /// The peer violated the protocol.
    PeerMisbehaved(String),
    /// What the peer sent is not TLS.
    NotTls(String),
    /// The peer follows the protocol, but the two sides have nothing in common.
    PeerIncompatible(String),
    /// The peer refused us with a fatal alert.
    AlertReceived(Alert),
    /// The transport ended without the peer's close_notify.
    RaggedEof {
        /// Whether the handshake was still in progress.
        during_handshake: bool,
    },
    /// The server rejected Encrypted ClientHello (RFC 9849 section 6.1.6). It was verified for the
    /// public name.
    EchRejected {
        /// That name.
        public_name: String,
        /// The list of configurations that the server sent for another attempt.
        retry_configs: Option<Vec<u8>>,
    },
    /// A fault of polytls or of the TLS library.
    Internal(String),
    /// The signer failed.
    Signer(SignerFailure),
    /// The application's code interrupted a call of the library (a signal handler that raised), so
    /// it is unknown how far that call got.
    CutShort(Option<Cause>),
    /// An error of a third-party implementation, which the caller gets unchanged.
    Foreign {
        /// The error, in a form that the wrapper of that implementation knows. `None` after it was
        /// taken ([`Error::take_cause`]).
        cause: Option<Cause>,
        /// Whether it ends the connection.
        fatal: bool,
    },
    /// The caller aborted the connection ([`crate::Connection::abort`]).
    Aborted,
    /// The handshake or the close took too long ([`crate::Connection::time_out`]).
    TimedOut,
}

/// Why a certificate was refused, and which one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFailure {
    /// The closed list of reasons.
    pub reason: VerificationFailure,
    /// What was found, in one sentence.
    pub message: String,
    /// A few lines that say what happened and how to fix it; the first has the reason and the
    /// message.
    pub explanation: String,
    /// The name the certificate should have been valid for.
    pub hostname: Option<String>,
    /// The chain as the peer presented it, leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// Which certificate of the chain is at fault; `None` if unknown.
    pub index: Option<usize>,
    /// The names that the leaf is valid for, where relevant.
    pub names: Vec<String>,
    /// notBefore and notAfter of the certificate at fault in seconds since 1970, where relevant.
    pub validity: Option<(i64, i64)>,
    /// What the certificate was verified against, in words.
    pub trust_source: Option<String>,
    /// Who can fix it.
    pub responsible: Responsible,
    /// The number of the violated rule, if it is one of [`crate::config::Rules`] (X509_V_ERR_* in
    /// openssl/x509_vfy.h).
    pub rule: Option<u16>,
    /// Whether it is about a stapled OCSP response, or the absence of one (RFC 6066 section 8).
    pub of_staple: bool,
    /// The OCSP response that it is about, as it was stapled.
    pub ocsp_response: Option<Vec<u8>>,
    /// The cause given by the custom verifier.
    pub cause: Option<Cause>,
}

impl CertificateFailure {
    /// Appends to the message, and where the explanation repeats it.
    pub fn add(&mut self, more: &str) {
        let message = format!("{}{more}", self.message);
        self.explanation = self.explanation.replacen(&self.message, &message, 1);
        self.message = message;
    }
}

/// Who can fix the problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Responsible {
    /// Whoever configured this side.
    You,
    /// The operator of the other side.
    #[default]
    Peer,
    /// Whoever maintains this machine.
    Administrator,
}

impl Responsible {
    /// The name of the member in the public enumeration of the same name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::You => "YOU",
            Self::Peer => "PEER",
            Self::Administrator => "ADMINISTRATOR",
        }
    }
}

/// Why a [`crate::config::Signer`] failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerFailure {
    /// Why, in one line.
    pub message: String,
    /// The underlying cause.
    pub cause: Option<Cause>,
}

impl SignerFailure {
    /// It returned a signature that does not match its key.
    #[must_use]
    pub fn of_signature() -> Self {
        Self {
            message: "the signature does not fit the public key".to_owned(),
            cause: None,
        }
    }
}

/// The cause of a callback's failure, in a form that only the callback's owner knows.
#[derive(Clone)]
pub struct Cause(pub Arc<dyn Any + Send + Sync>);

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Cause {}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cause")
    }
}

/// Why a certificate is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VerificationFailure {
    /// No path leads to a trusted certificate.
    UnknownIssuer,
    /// Past its notAfter.
    Expired,
    /// Before its notBefore.
    NotYetValid,
    /// Not valid for the host name.
    HostnameMismatch,
    /// The peer presented no certificate, but one is required.
    NoCertificate,
    /// Revoked by its issuer.
    Revoked,
    /// A signature in the chain is invalid.
    BadSignature,
    /// Not a certificate, or not one that can be parsed.
    BadEncoding,
    /// Not valid for this use (basic constraints, key usage, extended key usage).
    InvalidPurpose,
    /// Outside a name constraint of an issuer.
    NameConstraintViolation,
    /// A path length constraint, or the limit on work for one chain.
    PathTooLong,
    /// Signed with an unsupported algorithm.
    UnsupportedSignatureAlgorithm,
    /// A key that is too small.
    WeakKey,
    /// An unsupported critical extension.
    UnhandledCriticalExtension,
    /// CRLs were given, and no current one covers it; or no stapled OCSP response that is in order does.
    RevocationUnknown,
    /// Neither the certificate nor its key is pinned.
    PinMismatch,
    /// The custom verifier refused the peer.
    RefusedByVerifier,
    /// Anything else; the message says what.
    #[default]
    Other,
}

impl VerificationFailure {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::UnknownIssuer,
        Self::Expired,
        Self::NotYetValid,
        Self::HostnameMismatch,
        Self::NoCertificate,
        Self::Revoked,
        Self::BadSignature,
        Self::BadEncoding,
        Self::InvalidPurpose,
        Self::NameConstraintViolation,
        Self::PathTooLong,
        Self::UnsupportedSignatureAlgorithm,
        Self::WeakKey,
        Self::UnhandledCriticalExtension,
        Self::RevocationUnknown,
        Self::PinMismatch,
        Self::RefusedByVerifier,
        Self::Other,
    ];

    /// The reason in words: the value of the member of the public enumeration.
    #[must_use]
    pub fn words(self) -> String {
        self.name().to_ascii_lowercase().replace('_', " ")
    }

    /// The name of the reason in the public enumeration of the same name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownIssuer => "UNKNOWN_ISSUER",
            Self::Expired => "EXPIRED",
            Self::NotYetValid => "NOT_YET_VALID",
            Self::HostnameMismatch => "HOSTNAME_MISMATCH",
            Self::NoCertificate => "NO_CERTIFICATE",
            Self::Revoked => "REVOKED",
            Self::BadSignature => "BAD_SIGNATURE",
            Self::BadEncoding => "BAD_ENCODING",
            Self::InvalidPurpose => "INVALID_PURPOSE",
            Self::NameConstraintViolation => "NAME_CONSTRAINT_VIOLATION",
            Self::PathTooLong => "PATH_TOO_LONG",
            Self::UnsupportedSignatureAlgorithm => "UNSUPPORTED_SIGNATURE_ALGORITHM",
            Self::WeakKey => "WEAK_KEY",
            Self::UnhandledCriticalExtension => "UNHANDLED_CRITICAL_EXTENSION",
            Self::RevocationUnknown => "REVOCATION_UNKNOWN",
            Self::PinMismatch => "PIN_MISMATCH",
            Self::RefusedByVerifier => "REFUSED_BY_VERIFIER",
            Self::Other => "OTHER",
        }
    }
}

impl Error {
    /// A [`Error::Configuration`].
    pub fn configuration(field: &'static str, message: impl Into<String>) -> Self {
        Self::Configuration {
            field,
            message: message.into(),
        }
    }

    /// The cause of a callback's failure, or the foreign error itself, if this error has one.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Certificate(failure) => failure.cause.as_ref(),
            Self::Signer(failure) => failure.cause.as_ref(),
            Self::CutShort(cause) | Self::Foreign { cause, .. } => cause.as_ref(),
            _ => None,
        }
    }

    /// Returns the cause, and forgets it.
    pub fn take_cause(&mut self) -> Option<Cause> {
        match self {
            Self::Certificate(failure) => failure.cause.take(),
            Self::Signer(failure) => failure.cause.take(),
            Self::CutShort(cause) | Self::Foreign { cause, .. } => cause.take(),
            _ => None,
        }
    }

    /// Whether the only thing left to do after this error is to send what is queued.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Self::WantRead | Self::WantWrite | Self::Misuse(_) | Self::Foreign { fatal: false, .. }
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WantRead => f.write_str("waiting for data from the peer"),
            Self::WantWrite => f.write_str("buffered data must be sent first"),
            Self::Misuse(why) => f.write_str(why),
            Self::Configuration { field, message } => write!(f, "{field}: {message}"),
            Self::Certificate(failure) => f.write_str(&failure.message),
            Self::NotResumable { message, .. } => write!(f, "session: {message}"),
            Self::PeerMisbehaved(why) => write!(f, "the peer violated the protocol: {why}"),
            Self::NotTls(why) => f.write_str(why),
            Self::PeerIncompatible(why) => write!(f, "nothing in common with the peer: {why}"),
            Self::AlertReceived(alert) if alert.rejects_certificate() => {
                write!(f, "the peer refused our certificate: {alert}")
            }
            Self::AlertReceived(alert) => write!(f, "the peer sent a fatal alert: {alert}"),
            Self::RaggedEof {
                during_handshake: true,
            } => f.write_str("the peer ended the connection during the handshake"),
            Self::RaggedEof {
                during_handshake: false,
            } => f.write_str("the peer ended the connection without close_notify"),
            Self::EchRejected {
                public_name,
                retry_configs: Some(_),
            } => write!(
                f,
                "the server, verified as {public_name}, rejected Encrypted ClientHello and sent other \
                 configurations: connect again with retry_configs of this error as ech, once"
            ),
            Self::EchRejected {
                public_name,
                retry_configs: None,
            } => write!(
                f,
                "the server, verified as {public_name}, rejected Encrypted ClientHello and sent no \
                 configuration: it no longer supports it, and would see the host name without it"
            ),
            Self::Internal(why) => write!(f, "internal error: {why}"),
            Self::Signer(failure) => write!(f, "the signer failed: {}", failure.message),
            Self::CutShort(_) => {
                f.write_str("internal error: a signal handler raised during a call")
            }
            Self::Foreign { .. } => f.write_str("the implementation raised its own error"),
            Self::Aborted => f.write_str("the connection was aborted"),
            Self::TimedOut => f.write_str("timed out"),
        }
    }
}

impl std::error::Error for Error {}
