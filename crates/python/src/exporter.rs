//! Keying material, and what ties an exchange of the application's to one connection (RFC 5705,
//! RFC 8446 section 7.5, RFC 5929, RFC 9266).

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use polytls_core::config::Version;
use polytls_core::{Connection, Error};
use polytls_x509::{SignatureHash, signature_hash};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::bytes::Source;
use crate::errors::raised;

/// All that HKDF gives with its shortest hash: 255 times SHA-256.
const LONGEST: usize = 255 * 32;
/// What is left of 255 bytes beside "tls13 ".
const LONGEST_LABEL: usize = 249;
const LONGEST_CONTEXT: usize = 0xffff;

/// What TLS 1.2 itself derives by (RFC 5705 section 4).
const RESERVED: [&[u8]; 5] = [
    b"client finished",
    b"server finished",
    b"master secret",
    b"extended master secret",
    b"key expansion",
];

/// What is to be exported.
pub(crate) struct ExportRequest {
    label: Vec<u8>,
    context: Option<Vec<u8>>,
    length: usize,
}

impl ExportRequest {
    /// From the arguments of a call.
    pub(crate) fn new(
        label: &Bound<'_, PyAny>,
        context: Option<&Bound<'_, PyAny>>,
        length: isize,
    ) -> PyResult<Self> {
        let label = match label.cast::<PyString>() {
            Ok(text) => text.to_str()?.as_bytes().to_vec(),
            Err(_) => label
                .cast::<PyBytes>()
                .map_err(|_| PyTypeError::new_err("label must be str or bytes"))?
                .as_bytes()
                .to_vec(),
        };
        if label.len() > LONGEST_LABEL || !label.is_ascii() {
            return Err(PyValueError::new_err(format!(
                "label must be ASCII with at most {LONGEST_LABEL} characters"
            )));
        }
        if RESERVED.contains(&&*label) {
            return Err(PyValueError::new_err(
                "label is reserved for TLS (RFC 5705 section 4); use one that starts with \
                 \"EXPORTER-\"",
            ));
        }
        let context = context
            .map(|context| Source::new(context, "context"))
            .transpose()?
            .map(|context| context.bytes().to_vec());
        if context
            .as_ref()
            .is_some_and(|context| context.len() > LONGEST_CONTEXT)
        {
            return Err(PyValueError::new_err(format!(
                "context must have at most {LONGEST_CONTEXT} bytes"
            )));
        }
        let length = usize::try_from(length)
            .ok()
            .filter(|length| (1..=LONGEST).contains(length))
            .ok_or_else(|| PyValueError::new_err(format!("length must be 1 to {LONGEST} bytes")))?;
        Ok(Self {
            label,
            context,
            length,
        })
    }

    /// The keying material of `connection`.
    pub(crate) fn of(&self, connection: &Connection) -> Result<Vec<u8>, Refused> {
        let mut material = vec![0; self.length];
        // RFC 8446 section 7.1 has labels of 7 bytes at least, 6 of them "tls13 ". RFC 5705 sets no limit.
        if self.label.is_empty() && connection.version() == Some(Version::Tls13) {
            return Err(Refused::EmptyLabel);
        }
        connection.export(&self.label, self.context.as_deref(), &mut material)?;
        Ok(material)
    }
}

/// Why nothing was exported.
pub(crate) enum Refused {
    /// TLS 1.3 has no such label.
    EmptyLabel,
    Core(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

impl Refused {
    /// The exception, raised on behalf of `implementation`.
    pub(crate) fn raised(&self, py: Python<'_>, implementation: &str) -> PyErr {
        match self {
            Self::EmptyLabel => PyValueError::new_err(
                "label must have at least 1 character in TLS 1.3 (RFC 8446 section 7.1)",
            ),
            Self::Core(error) => raised(py, implementation, error),
        }
    }
}

/// A type of channel binding.
#[derive(Clone, Copy)]
pub(crate) enum Binding {
    Exporter,
    ServerEndPoint,
    Unique,
}

impl Binding {
    /// By its registered name.
    pub(crate) fn named(name: &str) -> PyResult<Self> {
        match name {
            "tls-exporter" => Ok(Self::Exporter),
            "tls-server-end-point" => Ok(Self::ServerEndPoint),
            "tls-unique" => Ok(Self::Unique),
            _ => Err(PyValueError::new_err(format!(
                "kind: unknown channel binding {name:?}; known are \"tls-exporter\" and \
                 \"tls-server-end-point\""
            ))),
        }
    }

    /// The binding of `connection`.
    pub(crate) fn of(self, connection: &Connection) -> Result<Vec<u8>, Error> {
        match self {
            // RFC 9266 section 2.
            Self::Exporter => {
                let mut binding = vec![0; 32];
                connection.export(b"EXPORTER-Channel-Binding", Some(b""), &mut binding)?;
                Ok(binding)
            }
            Self::ServerEndPoint => end_point(&connection.server_certificate()?),
            Self::Unique => Err(Error::Misuse(
                "tls-unique does not exist in TLS 1.3 (RFC 9266 section 3) and is not unique in \
                 TLS 1.2 without extended master secret; use tls-exporter",
            )),
        }
    }
}

/// RFC 5929 section 4.1.
fn end_point(certificate: &[u8]) -> Result<Vec<u8>, Error> {
    let algorithm = match signature_hash(certificate) {
        Ok(Some(SignatureHash::Sha256)) => &SHA256,
        Ok(Some(SignatureHash::Sha384)) => &SHA384,
        Ok(Some(SignatureHash::Sha512)) => &SHA512,
        Ok(None) => {
            return Err(Error::Misuse(
                "tls-server-end-point is not defined for this certificate: its signature \
                 algorithm has no single hash function (RFC 5929 section 4.1); use tls-exporter",
            ));
        }
        Err(_) => return Err(Error::Misuse("the server's certificate cannot be read")),
    };
    Ok(digest::digest(algorithm, certificate).as_ref().to_vec())
}
