//! `TLSBuffer`: a connection in memory (PEP 748, section «Buffer»).
//!
//! The lock is given back before an exception is made: that may run the garbage collector, and so
//! code that uses this very buffer.

use std::sync::{Mutex, MutexGuard};

use polytls_core::{Connection, Error, Facts, Refused};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyBytes;

use crate::bytes::{DETACH_FROM, Destination, Source};
use crate::errors::{poisoned, raised};
use crate::info;

/// One side of a TLS connection, in memory. Made by `create_buffer` of a context.
#[pyclass(frozen, module = "polytls._native", name = "TLSBuffer")]
pub(crate) struct TlsBuffer {
    connection: Mutex<Connection>,
    context: Py<PyAny>,
    implementation: &'static str,
}

impl TlsBuffer {
    pub(crate) const fn new(
        connection: Connection,
        context: Py<PyAny>,
        implementation: &'static str,
    ) -> Self {
        Self {
            connection: Mutex::new(connection),
            context,
            implementation,
        }
    }

    fn lock(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Connection>> {
        self.connection
            .lock_py_attached(py)
            .map_err(|_| poisoned(py, self.implementation))
    }

    fn raised(&self, py: Python<'_>, error: &Error) -> PyErr {
        raised(py, self.implementation, error)
    }

    /// Runs `call` detached; the lock is taken there, so nobody waits for it attached.
    fn detached<R: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Connection) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        py.detach(|| self.locked(call))
            .map_err(|error| self.raised(py, &error))
    }

    fn locked<R>(
        &self,
        call: impl FnOnce(&mut Connection) -> Result<R, Error>,
    ) -> Result<R, Error> {
        match self.connection.lock() {
            Ok(mut connection) => call(&mut connection),
            Err(_) => Err(Error::Internal(
                "an earlier call on this connection panicked".to_owned(),
            )),
        }
    }

    fn facts(&self, py: Python<'_>) -> PyResult<Option<Facts>> {
        Ok(self.lock(py)?.facts())
    }
}

fn count(amount: isize, parameter: &str) -> PyResult<usize> {
    usize::try_from(amount)
        .map_err(|_| PyValueError::new_err(format!("{parameter} must not be negative")))
}

#[pymethods]
impl TlsBuffer {
    /// Reads up to `amt` bytes of plaintext: as bytes, or into `buffer`, giving the count.
    #[pyo3(signature = (amt, buffer=None))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        amt: isize,
        buffer: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let amt = count(amt, "amt")?;
        let mut destination = buffer
            .map(|buffer| Destination::new(buffer, "buffer"))
            .transpose()?;
        let mut connection = self.lock(py)?;
        // What is there decides how much memory and whether to detach: a handshake always does.
        let bound = connection.readable_bound();
        let detach = connection.is_handshaking() || amt.min(bound) >= DETACH_FROM;
        let opened = if let Some(destination) = &mut destination {
            if detach {
                drop(connection);
                destination.detached(amt, |into| self.locked(|connection| connection.read(into)))
            } else {
                let opened = destination.attached(amt, |into| connection.read(into));
                drop(connection);
                opened
            }
            .map(|opened| opened.into_pyobject(py).map(Bound::into_any))
        } else {
            // One byte of room even if nothing is there: asking tells the end and errors.
            let mut into = vec![0; amt.min(bound.max(1))];
            if detach {
                drop(connection);
                py.detach(|| self.locked(|connection| connection.read(&mut into)))
            } else {
                let opened = connection.read(&mut into);
                drop(connection);
                opened
            }
            .map(|opened| Ok(PyBytes::new(py, &into[..opened]).into_any()))
        };
        match opened {
            Ok(object) => Ok(object?),
            Err(error) => Err(self.raised(py, &error)),
        }
    }

    /// Seals `buf`, or as much of it as the output limit allows, and gives the count.
    fn write(&self, py: Python<'_>, buf: &Bound<'_, PyAny>) -> PyResult<usize> {
        let source = Source::new(buf, "buf")?;
        let mut connection = self.lock(py)?;
        if connection.is_handshaking() || source.len() >= DETACH_FROM {
            drop(connection);
            source.detached(|from| self.locked(|connection| connection.write(from)))
        } else {
            let sealed = source.attached(|from| connection.write(from));
            drop(connection);
            sealed
        }
        .map_err(|error| self.raised(py, &error))
    }

    /// Goes on with the handshake.
    fn do_handshake(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, Connection::do_handshake)
    }

    /// Sends close_notify and looks for the peer's.
    fn shutdown(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, Connection::shutdown)
    }

    /// Takes in ciphertext; `b""` is the end of the transport.
    fn process_incoming(
        &self,
        py: Python<'_>,
        data_from_network: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let source = Source::new(data_from_network, "data_from_network")?;
        let mut connection = self.lock(py)?;
        let taken = source.attached(|data| connection.process_incoming(data));
        drop(connection);
        taken.map_err(|refused| match refused {
            Refused::Full => self.raised(py, &Error::WantRead),
            Refused::Ended => PyValueError::new_err(
                "data_from_network: data after the end of the transport was declared",
            ),
        })
    }

    /// How many bytes of ciphertext wait to be opened.
    fn incoming_bytes_buffered(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.incoming_len())
    }

    /// Gives up to `amount_bytes_for_network` bytes of ciphertext to be sent.
    fn process_outgoing<'py>(
        &self,
        py: Python<'py>,
        amount_bytes_for_network: isize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let amount = count(amount_bytes_for_network, "amount_bytes_for_network")?;
        let mut connection = self.lock(py)?;
        let outgoing = connection.outgoing();
        let taken = amount.min(outgoing.len());
        let bytes = PyBytes::new(py, &outgoing[..taken]);
        connection.consume_outgoing(taken);
        Ok(bytes)
    }

    /// How many bytes of ciphertext wait to be sent.
    fn outgoing_bytes_buffered(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.outgoing().len())
    }

    /// How many bytes of plaintext can be read at once without anything from the peer.
    fn pending(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.pending())
    }

    /// The peer's certificate as DER, None before the handshake or without one.
    fn getpeercert<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(self
            .facts(py)?
            .and_then(|facts| info::peer_certificate(py, &facts)))
    }

    /// The cipher suite agreed on.
    fn cipher<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.facts(py)?
            .map(|facts| info::cipher(py, &facts))
            .transpose()
    }

    /// The application protocol agreed on.
    fn negotiated_protocol<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.facts(py)?
            .map_or(Ok(None), |facts| info::protocol(py, &facts))
    }

    /// The version agreed on.
    #[getter]
    fn negotiated_tls_version<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.facts(py)?
            .map(|facts| info::version(py, &facts))
            .transpose()
    }

    /// All that is known of the connection.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        info::connection_info(py, self.implementation, self.facts(py)?.as_ref())
    }

    /// The context this buffer was made by.
    #[getter]
    fn context(&self, py: Python<'_>) -> Py<PyAny> {
        self.context.clone_ref(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let connection = self.lock(py)?;
        let state = if connection.failure().is_some() {
            "failed"
        } else if connection.is_handshaking() {
            "handshaking"
        } else {
            match (connection.has_closed(), connection.peer_has_closed()) {
                (false, false) => "connected",
                (true, true) => "closed",
                _ => "half-closed",
            }
        };
        Ok(format!("<TLSBuffer of {}: {state}>", self.implementation))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a TLS connection cannot be pickled or copied",
        ))
    }
}
