//! `_ssl._SSLSocket` over two `ssl.MemoryBIO`s: its calls, and what they raise.

use polytls_core::pki_types::CertificateDer;
use polytls_core::{Cause, Error};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::peer::Chain;
use super::reasons::Words;
use crate::bytes;
use crate::callbacks::{self, ENDING};
use crate::calls::{self, CallsOut as _};
use crate::imported::Imported;

static MEMORY: Imported = Imported::new("ssl", "MemoryBIO");
static SSL_ERROR: Imported = Imported::new("ssl", "SSLError");
static WANT_READ: Imported = Imported::new("ssl", "SSLWantReadError");
static ZERO_RETURN: Imported = Imported::new("ssl", "SSLZeroReturnError");
static SYSCALL: Imported = Imported::new("ssl", "SSLSyscallError");
static NOT_VERIFIED: Imported = Imported::new("ssl", "SSLCertVerificationError");

/// Has at hand what calls need: at the end of the interpreter nothing can be imported.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    [
        &MEMORY,
        &SSL_ERROR,
        &WANT_READ,
        &ZERO_RETURN,
        &SYSCALL,
        &NOT_VERIFIED,
    ]
    .into_iter()
    .try_for_each(|class| class.get(py).map(drop))
}

/// What `public_bytes` of a certificate takes (`X509_FILETYPE_ASN1`).
const DER: i32 = 2;

/// Why a call did not do what was asked.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It has used up what it was fed.
    WantRead,
    /// The peer's `close_notify` has come.
    Closed,
    /// The connection is at its end.
    Failed(Words),
    /// A signal's handler has raised.
    CutShort(PyErr),
    /// None of OpenSSL's.
    Unexpected(PyErr),
}

impl Trouble {
    fn of(py: Python<'_>, error: PyErr) -> Self {
        match Self::read(py, &error) {
            Ok(Some(trouble)) => trouble,
            Ok(None) => Self::CutShort(error),
            Err(failed) => Self::Unexpected(failed),
        }
    }

    fn read(py: Python<'_>, error: &PyErr) -> PyResult<Option<Self>> {
        let is = |kind: &Imported| PyResult::Ok(error.is_instance(py, kind.get(py)?));
        if is(&WANT_READ)? {
            return Ok(Some(Self::WantRead));
        }
        if is(&ZERO_RETURN)? {
            return Ok(Some(Self::Closed));
        }
        if !is(&SSL_ERROR)? {
            return Ok(None);
        }
        let value = error.value(py);
        let text: Option<String> = value.attribute("strerror")?.extract()?;
        let refused = if is(&NOT_VERIFIED)? {
            Some((
                value.attribute("verify_code")?.extract()?,
                value.attribute("verify_message")?.text()?.to_string(),
            ))
        } else {
            None
        };
        Ok(Some(Self::Failed(Words {
            reason: value.attribute("reason")?.extract()?,
            text: text.map_or_else(|| value.text().map(|text| text.to_string()), Ok)?,
            refused,
            of_system: is(&SYSCALL)?,
        })))
    }
}

/// The caller's call raises this as it is, once; whatever comes of the connection.
pub(crate) fn cut_short(py: Python<'_>, error: &PyErr) -> Cause {
    callbacks::interrupted(error.value(py))
}

/// What was raised where nothing can be.
pub(crate) fn unexpected(py: Python<'_>, error: &PyErr) -> Error {
    let text = error.value(py).text();
    Error::Internal(text.map_or_else(|_| "an exception".to_owned(), |text| text.to_string()))
}

/// Runs calls of Python's objects, attached.
pub(crate) fn attached<R>(call: impl FnOnce(Python<'_>) -> R) -> Result<R, Error> {
    calls::attached(call).ok_or_else(|| Error::Internal(ENDING.to_owned()))
}

/// See the module. The methods that are called often are bound once.
pub(crate) struct SslObject {
    ssl: Py<PyAny>,
    read: Py<PyAny>,
    write: Py<PyAny>,
    feed: Py<PyAny>,
    drain: Py<PyAny>,
}

impl SslObject {
    /// One side of a connection of `context`, an `ssl.SSLContext`.
    pub(crate) fn new(
        context: &Bound<'_, PyAny>,
        serves: bool,
        host: Option<&str>,
        session: Option<&Py<PyAny>>,
    ) -> PyResult<Self> {
        let py = context.py();
        let memory = MEMORY.get(py)?;
        let (incoming, outgoing) = (memory.call_out((), None)?, memory.call_out((), None)?);
        let keywords = PyDict::new(py);
        keywords.set_item("session", session)?;
        let make = context.attribute("_wrap_bio")?;
        let ssl = make.call_out((&incoming, &outgoing, serves, host), Some(&keywords))?;
        Ok(Self {
            read: ssl.attribute("read")?.unbind(),
            write: ssl.attribute("write")?.unbind(),
            feed: incoming.attribute("write")?.unbind(),
            drain: outgoing.attribute("read")?.unbind(),
            ssl: ssl.unbind(),
        })
    }

    /// Shows it ciphertext of the peer's.
    pub(crate) fn feed(&self, py: Python<'_>, ciphertext: &[u8]) -> PyResult<()> {
        let view = bytes::view(py, ciphertext)?;
        self.feed.bind(py).call_out((view,), None).map(drop)
    }

    /// Takes all that it has written.
    pub(crate) fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(self.drain.bind(py).call_out((), None)?.cast_into()?)
    }

    /// Opens what it was shown into `into`, which is not empty, and gives the count; 0 at the peer's end.
    pub(crate) fn read(&self, py: Python<'_>, into: &mut [u8]) -> Result<usize, Trouble> {
        let length = into.len();
        bytes::view_to_fill(py, into)
            .and_then(|view| self.read.bind(py).call_out((length, view), None)?.extract())
            .map_err(|error| Trouble::of(py, error))
    }

    /// Seals all of `plaintext`.
    pub(crate) fn write(&self, py: Python<'_>, plaintext: &[u8]) -> Result<(), Trouble> {
        bytes::view(py, plaintext)
            .and_then(|view| self.write.bind(py).call_out((view,), None))
            .map(drop)
            .map_err(|error| Trouble::of(py, error))
    }

    /// Goes on with the handshake; done where it returns.
    pub(crate) fn do_handshake(&self, py: Python<'_>) -> Result<(), Trouble> {
        loop {
            let called = self.ssl.bind(py).method_out("do_handshake", ());
            match called.map_err(|error| Trouble::of(py, error)) {
                // How far it has come is known to OpenSSL, which is asked again.
                Err(Trouble::CutShort(error)) => drop(cut_short(py, &error)),
                done => return done.map(drop),
            }
        }
    }

    /// Writes `close_notify`.
    pub(crate) fn shutdown(&self, py: Python<'_>) -> Result<(), Trouble> {
        let called = self.ssl.bind(py).method_out("shutdown", ());
        called.map(drop).map_err(|error| Trouble::of(py, error))
    }

    /// What it tells of the connection.
    pub(crate) fn fact<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.ssl.bind(py).attribute(name)
    }

    /// The same, where it is told by a method.
    pub(crate) fn told<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.ssl.bind(py).method_out(name, ())
    }

    /// Whether it tells that at all.
    pub(crate) fn tells(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        self.ssl.bind(py).hasattr(name)
    }

    /// What the peer presented, leaf first, as far as `ssl` tells. On a client OpenSSL 3 keeps it even if it
    /// was refused; on a server, and where the session was resumed from a ticket, it does not
    /// (SSL_get_peer_cert_chain(3)).
    pub(crate) fn presented(&self, py: Python<'_>) -> PyResult<Chain> {
        self.chain(py, "get_unverified_chain")
    }

    /// The path by which OpenSSL accepted the peer, as far as `ssl` tells.
    pub(crate) fn verified(&self, py: Python<'_>) -> PyResult<Chain> {
        self.chain(py, "get_verified_chain")
    }

    fn chain(&self, py: Python<'_>, method: &str) -> PyResult<Chain> {
        let found = self.told(py, method)?;
        if found.is_none() {
            return Ok(Chain::new());
        }
        let mut chain = Chain::new();
        for each in found.cast_into::<PyList>()? {
            if !each.is_none() {
                chain.push(certificate(&each.method_out("public_bytes", (DER,))?)?);
            }
        }
        Ok(chain)
    }

    /// The peer's certificate, once the handshake is done.
    pub(crate) fn leaf(&self, py: Python<'_>) -> PyResult<Option<CertificateDer<'static>>> {
        let found = self.ssl.bind(py).method_out("getpeercert", (true,))?;
        if found.is_none() {
            return Ok(None);
        }
        certificate(&found).map(Some)
    }
}

fn certificate(der: &Bound<'_, PyAny>) -> PyResult<CertificateDer<'static>> {
    let der = der.cast::<PyBytes>()?.as_bytes().to_vec();
    Ok(CertificateDer::from(der))
}
