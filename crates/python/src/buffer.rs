//! `TLSBuffer`: a connection in memory (PEP 748, section "Buffer").
//!
//! The lock is given back before an exception is made: that may run the garbage collector, and so
//! code that uses this very buffer.
//!
//! A session that is made of Python's objects (`Connection::calls_python`) keeps the GIL for data: the
//! lock is waited for without it, as by all that are attached, and the calls of `ssl` give it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use polytls_core::{Barred, Connection, Entry, Error, Guard, Lock, MAX_FRAGMENT, Refused, Room};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyBytes;

use crate::bytes::{DETACH_FROM, Destination, Fresh, SharedBytes, Source, WHOLE_FROM};
use crate::callbacks::end_of_call;
use crate::errors::{INHERITED, cause, poisoned, raised};
use crate::exporter::{Binding, ExportRequest};
use crate::foreign::ForeignBuffer;
use crate::handle::Origin;
use crate::info::Known;
use crate::lineage;

/// What both classes have.
pub(crate) struct Buffer {
    connection: Lock<Connection>,
    context: Py<PyAny>,
    implementation: &'static str,
    /// What the connection is made of, if it is somebody else's buffer.
    foreign: Option<Arc<ForeignBuffer>>,
    /// The connection has another owner by now.
    given_away: AtomicBool,
}

impl Buffer {
    pub(crate) fn new(
        connection: Connection,
        context: Py<PyAny>,
        implementation: &'static str,
    ) -> Self {
        Self {
            foreign: ForeignBuffer::of(&connection),
            connection: Lock::new(connection),
            given_away: AtomicBool::new(false),
            context,
            implementation,
        }
    }

    /// Somebody else's buffer that this one has: whoever owns the connection shows it to the garbage collector.
    pub(crate) fn foreign(&self) -> Option<&Arc<ForeignBuffer>> {
        let is_here = !self.given_away.load(Ordering::Acquire);
        self.foreign.as_ref().filter(|_| is_here)
    }

    /// Shows what the garbage collector must know of.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.context)?;
        // Whoever has the lock.
        if let Some(buffer) = self.foreign() {
            buffer.traverse(visit)?;
        }
        match self.connection.glance() {
            Some(connection) => visit.call(connection.failure().and_then(cause)),
            None => Ok(()),
        }
    }

    /// Lets go of it.
    pub(crate) fn clear(&self) {
        if let Some(buffer) = self.foreign() {
            buffer.clear();
        }
        let cause = self
            .connection
            .glance()
            .and_then(|mut connection| connection.take_cause());
        drop(cause);
    }

    /// Whether this is one of ours.
    pub(crate) fn is_one(object: &Bound<'_, PyAny>) -> bool {
        object.is_exact_instance_of::<TlsBuffer>()
            || object.is_exact_instance_of::<ExtendedTlsBuffer>()
    }

    /// The object that Python gets.
    pub(crate) fn object(self, py: Python<'_>, extended: bool) -> PyResult<Bound<'_, PyAny>> {
        Ok(if extended {
            Bound::new(py, ExtendedTlsBuffer(self))?.into_any()
        } else {
            Bound::new(py, TlsBuffer(self))?.into_any()
        })
    }

    /// The right to wait for the lock.
    fn enter(&self) -> Result<Entry<'_, Connection>, Error> {
        self.connection.enter().map_err(|barred| match barred {
            Barred::Inherited => INHERITED,
            Barred::Within => Barred::WITHIN,
        })
    }

    pub(crate) fn lock(&self, py: Python<'_>) -> PyResult<Guard<'_, Connection>> {
        self.enter()
            .map_err(|error| self.raised(py, &error))?
            .lock_by(|connection| connection.lock_py_attached(py))
            .map_err(|_| poisoned(py, self.implementation))
    }

    pub(crate) fn raised(&self, py: Python<'_>, error: &Error) -> PyErr {
        raised(py, self.implementation, error)
    }

    /// Runs `call` detached; the lock is taken there, so nobody waits for it attached.
    fn detached<R: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Connection) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        let called = py.detach(|| self.locked(call));
        self.outcome(py, called)
    }

    /// Whether the handshake is complete, as far as can be told at once.
    pub(crate) fn is_established(&self) -> bool {
        let connection = self.connection.glance();
        connection.is_some_and(|connection| !connection.is_handshaking())
    }

    /// Which library it is.
    pub(crate) const fn implementation(&self) -> &'static str {
        self.implementation
    }

    /// What a call comes to that may have run the application's code.
    fn outcome<R>(&self, py: Python<'_>, result: Result<R, Error>) -> PyResult<R> {
        match end_of_call(py) {
            Some(raised) => Err(raised),
            None => result.map_err(|error| self.raised(py, &error)),
        }
    }

    pub(crate) fn locked<R>(
        &self,
        call: impl FnOnce(&mut Connection) -> Result<R, Error>,
    ) -> Result<R, Error> {
        match self.enter()?.lock() {
            Ok(mut connection) => call(&mut connection),
            Err(_) => Err(Error::Internal(
                "an earlier call on this connection panicked".to_owned(),
            )),
        }
    }

    /// The same, where it is known whether the application's code can have `ran`.
    fn end<R>(&self, py: Python<'_>, ran: bool, result: Result<R, Error>) -> PyResult<R> {
        if ran {
            self.outcome(py, result)
        } else {
            result.map_err(|error| self.raised(py, &error))
        }
    }

    /// Takes in `data`, if any came, and reads; None if there is nothing to be read.
    fn receive<'py>(
        &self,
        py: Python<'py>,
        data: Option<&Source<'_, 'py>>,
        amt: usize,
        buffer: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.received(py, data, amt, buffer, false)?
            .map_err(|error| self.raised(py, &error))
    }

    /// The same, with the connection's own error. `exact`: of `buffer` nothing is to be changed behind what is
    /// read, as far as records are not padded.
    pub(crate) fn received<'py>(
        &self,
        py: Python<'py>,
        data: Option<&Source<'_, 'py>>,
        amt: usize,
        buffer: Option<&Bound<'py, PyAny>>,
        exact: bool,
    ) -> PyResult<Result<Option<Bound<'py, PyAny>>, Error>> {
        let mut destination = buffer
            .map(|buffer| Destination::new(buffer, "buffer"))
            .transpose()?;
        let amt = destination.as_ref().map_or(amt, |into| amt.min(into.len()));
        let data = data.map(Source::bytes);
        if let (Some(into), Some(data)) = (&destination, data)
            && into.overlaps(data)
        {
            return Err(PyValueError::new_err(
                "buffer must not be the memory of data_from_network",
            ));
        }
        let mut connection = self.lock(py)?;
        if connection.transport_has_ended() && data.is_some_and(|data| !data.is_empty()) {
            return Err(PyValueError::new_err(AFTER_THE_END));
        }
        // What is there decides how much memory and whether to detach: a handshake always does.
        let bound = connection.readable_bound(data.unwrap_or_default(), amt);
        // Where there is no room behind a record's content, its type goes elsewhere.
        let amt = if exact { amt.min(bound.max(1)) } else { amt };
        let calls_python = connection.calls_python();
        let handshaking = connection.is_handshaking();
        let detach = handshaking || (bound >= DETACH_FROM && !calls_python);
        let ran = handshaking || calls_python;
        let locked = |into: Room<'_>| self.locked(|connection| connection.receive(data, into));
        let received = if let Some(destination) = &mut destination {
            if detach {
                drop(connection);
                destination.detached(amt, locked)
            } else {
                let received =
                    destination.attached(amt, !calls_python, |into| connection.receive(data, into));
                drop(connection);
                received
            }
            .map(|count| count.map(|count| count.into_pyobject(py).map(Bound::into_any)))
        } else if amt == 0 {
            let received = connection.receive(data, Room::none());
            drop(connection);
            received.map(|count| count.map(|_| Ok(PyBytes::new(py, b"").into_any())))
        } else {
            // A byte of room even if nothing is there: asking tells the end and errors.
            let mut into = Fresh::new(py, bound.max(1))?;
            if detach {
                drop(connection);
                into.detached(locked)
            } else {
                let received = into.attached(|into| connection.receive(data, into));
                drop(connection);
                received
            }
            .map(|count| count.map(|count| Ok(into.filled(count).into_any())))
        };
        if ran && let Some(raised) = end_of_call(py) {
            return Err(raised);
        }
        match received {
            Ok(read) => Ok(Ok(read.transpose()?)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Seals all of `source` on the locked `connection` of this buffer, after the handshake, and gives all that is
    /// to be sent.
    pub(crate) fn sealed<'a, 'py>(
        &'a self,
        py: Python<'py>,
        mut connection: Guard<'a, Connection>,
        source: &Source<'_, 'py>,
    ) -> PyResult<Result<Bound<'py, PyBytes>, Error>> {
        let length = match connection.sealed_len(source.len()) {
            Ok(length) => length,
            Err(error) => {
                let ran = connection.calls_python();
                drop(connection);
                return match end_of_call(py).filter(|_| ran) {
                    Some(raised) => Err(raised),
                    None => Ok(Err(error)),
                };
            }
        };
        if let Some(length) = length.filter(|length| *length > 0) {
            let mut sealed = Fresh::new(py, length)?;
            let into = sealed.bytes();
            let done = if source.len() >= DETACH_FROM {
                drop(connection);
                source.detached(|from| self.locked(|connection| connection.write_into(from, into)))
            } else {
                let done = connection.write_into(source.bytes(), into);
                drop(connection);
                done
            };
            match done {
                Ok(true) => return Ok(Ok(sealed.filled(length))),
                Ok(false) => {}
                Err(error) => return Ok(Err(error)),
            }
            connection = self.lock(py)?;
        }
        let calls_python = connection.calls_python();
        let written = if calls_python {
            let written = connection.write_all(source.bytes());
            drop(connection);
            written
        } else {
            drop(connection);
            source.detached(|from| self.locked(|connection| connection.write_all(from)))
        };
        if calls_python && let Some(raised) = end_of_call(py) {
            return Err(raised);
        }
        match written {
            Ok(()) => self.outgoing(py, usize::MAX).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Up to `amount` bytes of ciphertext to be sent.
    pub(crate) fn outgoing<'py>(
        &self,
        py: Python<'py>,
        amount: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut connection = self.lock(py)?;
        if let Some(whole) = connection
            .take_whole(amount)
            .and_then(SharedBytes::into_object)
        {
            return Ok(whole.into_bound(py));
        }
        let taken = amount.min(connection.outgoing_len());
        if taken == 0 {
            return Ok(PyBytes::new(py, b""));
        }
        let mut bytes = Fresh::new(py, taken)?;
        connection.drain_into(bytes.bytes());
        Ok(bytes.filled(taken))
    }

    fn known<'py>(&self, py: Python<'py>, fact: Known) -> PyResult<Bound<'py, PyAny>> {
        let connection = self.lock(py)?;
        if let Some(buffer) = self.foreign() {
            return fact.told(py, buffer);
        }
        let found = fact.of(&connection);
        drop(connection);
        found.object(py, self.implementation)
    }
}

const AFTER_THE_END: &str = "data_from_network: the end of the transport was already reported \
                             with b\"\"";

fn count(amount: isize, parameter: &str) -> PyResult<usize> {
    usize::try_from(amount)
        .map_err(|_| PyValueError::new_err(format!("{parameter} must not be negative")))
}

/// A class of buffers. Not one that inherits from the other: that costs each call a look at the bases.
/// Takes the connection out of a buffer, which is of no use then.
pub(crate) fn given_away(object: &Bound<'_, PyAny>) -> PyResult<(Connection, Origin)> {
    let py = object.py();
    let take = |buffer: &Buffer, extended| {
        let taken = buffer.lock(py)?.take();
        let connection = taken.map_err(|error| buffer.raised(py, &error))?;
        buffer.given_away.store(true, Ordering::Release);
        let origin = Origin {
            context: buffer.context.clone_ref(py),
            implementation: buffer.implementation,
            extended,
        };
        Ok((connection, origin))
    };
    if let Ok(buffer) = object.cast::<ExtendedTlsBuffer>() {
        take(&buffer.get().0, true)
    } else {
        take(&object.cast::<TlsBuffer>()?.get().0, false)
    }
}

macro_rules! class_of_buffers {
    ($(#[$documented:meta])* $class:ident, $name:tt, { $($further:tt)* }) => {
$(#[$documented])*
#[pyclass(frozen, module = "polytls._native", name = $name)]
pub(crate) struct $class(Buffer);

impl std::ops::Deref for $class {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        &self.0
    }
}

#[pymethods]
impl $class {
    /// Reads up to `amt` bytes of plaintext: as bytes, or into `buffer`, giving the count.
    #[pyo3(signature = (amt, buffer=None))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        amt: isize,
        buffer: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.receive(py, None, count(amt, "amt")?, buffer)? {
            Some(read) => Ok(read),
            None => Err(self.raised(py, &Error::WantRead)),
        }
    }

    /// Takes in ciphertext, if any came, and reads: None if there is nothing to be read.
    #[pyo3(signature = (data_from_network, amt, buffer=None, /))]
    fn open<'py>(
        &self,
        py: Python<'py>,
        data_from_network: Option<&Bound<'py, PyAny>>,
        amt: isize,
        buffer: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let data = data_from_network
            .map(|data| Source::new(data, "data_from_network"))
            .transpose()?;
        self.receive(py, data.as_ref(), count(amt, "amt")?, buffer)
    }

    /// Seals all of `buf`, and gives all that is to be sent.
    #[pyo3(signature = (buf, /))]
    fn seal<'py>(&self, py: Python<'py>, buf: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let source = Source::new(buf, "buf")?;
        let mut connection = self.lock(py)?;
        if connection.is_handshaking() {
            drop(connection);
            self.detached(py, Connection::do_handshake)?;
            connection = self.lock(py)?;
        }
        self.sealed(py, connection, &source)?
            .map_err(|error| self.raised(py, &error))
    }

    /// Seals `buf`, or as much of it as the output limit allows, and gives the count.
    fn write(&self, py: Python<'_>, buf: &Bound<'_, PyAny>) -> PyResult<usize> {
        let source = Source::new(buf, "buf")?;
        let mut connection = self.lock(py)?;
        if connection.is_handshaking() {
            drop(connection);
            let written = source.detached(|from| self.locked(|connection| connection.write(from)));
            return self.outcome(py, written);
        }
        // Into bytes that are given away as they are, if nothing waits yet.
        let memory = if source.len() < WHOLE_FROM {
            Ok(None)
        } else {
            connection.memory_to_write(source.len())
        };
        let memory = match memory {
            Ok(Some((taken, length))) => Some((taken, Fresh::new(py, length)?.into_memory())),
            Ok(None) => None,
            Err(error) => {
                let ran = connection.calls_python();
                drop(connection);
                return self.end(py, ran, Err(error));
            }
        };
        let write = |connection: &mut Connection, from: &[u8]| {
            if let Some((taken, memory)) = memory
                && connection.write_to(&from[..taken], memory)?
            {
                return Ok(taken);
            }
            connection.write(from)
        };
        let calls_python = connection.calls_python();
        let written = if source.len() >= DETACH_FROM && !calls_python {
            drop(connection);
            source.detached(|from| self.locked(|connection| write(connection, from)))
        } else {
            let sealed = write(&mut connection, source.bytes());
            drop(connection);
            sealed
        };
        self.end(py, calls_python, written)
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
        let kept = if source.len() < WHOLE_FROM {
            None
        } else {
            source.kept()
        };
        let taken = match kept {
            Some(data) => connection.keep_incoming(data),
            None => connection.process_incoming(source.bytes()),
        };
        drop(connection);
        taken.map_err(|refused| match refused {
            Refused::Full => self.raised(py, &Error::WantRead),
            Refused::Ended => PyValueError::new_err(AFTER_THE_END),
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
        self.outgoing(
            py,
            count(amount_bytes_for_network, "amount_bytes_for_network")?,
        )
    }

    /// How many bytes of ciphertext wait to be sent.
    fn outgoing_bytes_buffered(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.outgoing_len())
    }

    /// How many bytes of plaintext can be read at once without anything from the peer.
    fn pending(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.pending())
    }

    // --- what drivers that wait by events ask as well ---

    /// Goes on with the handshake: whether it is complete.
    fn _handshake(&self, py: Python<'_>) -> PyResult<bool> {
        self.detached(py, |connection| match connection.do_handshake() {
            Err(Error::WantRead | Error::WantWrite) => Ok(false),
            done => done.map(|()| true),
        })
    }

    /// Opens what has come before anybody asks for it: whether plaintext waits.
    fn _look_ahead(&self, py: Python<'_>) -> PyResult<bool> {
        self.detached(py, |connection| Ok(connection.look_ahead()))
    }

    /// Takes in ciphertext, if any came, and reads for nobody: whether the peer's end was found.
    fn _discard(&self, py: Python<'_>, data: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let Some(data) = data else {
            return self.detached(py, |connection| connection.discard(None));
        };
        let found = Source::new(data, "data")?
            .detached(|from| self.locked(|connection| connection.discard(Some(from))));
        self.outcome(py, found)
    }

    /// Sends close_notify, once; raises only what has ended the connection.
    fn _end_sending(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, Connection::end_sending)
    }

    /// Whether close_notify was sent.
    #[getter]
    fn _has_closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.lock(py)?.has_closed())
    }

    /// Whether the peer has, or will have, what its handshake does not end without.
    #[getter]
    fn _flight_is_sent(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.lock(py)?.flight_is_sent())
    }

    /// How many bytes were taken out to be sent, since the beginning.
    #[getter]
    fn _sent(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.lock(py)?.sent())
    }

    /// What `_sent` is behind the last data of the application; 0 if there was none.
    #[getter]
    fn _data_end(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.lock(py)?.data_end())
    }

    /// From now on an end of the transport without close_notify is an end of the data.
    fn _accept_truncated_end(&self, py: Python<'_>) -> PyResult<()> {
        self.lock(py)?.accept_truncated_end();
        Ok(())
    }

    /// Gives up, and wipes the keys, unless some thread is in a call: it never waits. Nothing is read,
    /// written or sent any more; facts stay known.
    fn _abort(&self) {
        if let Some(mut connection) = self.connection.glance() {
            connection.abort(None);
            connection.forget_keys();
        }
    }

    /// The peer's certificate as DER, None before the handshake or without one.
    fn getpeercert<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.known(py, Known::Peer)
    }

    /// The cipher suite agreed on.
    fn cipher<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.known(py, Known::Cipher)
    }

    /// The application protocol agreed on.
    fn negotiated_protocol<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.known(py, Known::Protocol)
    }

    /// The version agreed on.
    #[getter]
    fn negotiated_tls_version<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.known(py, Known::Version)
    }

    /// All that is known of the connection.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.known(py, Known::Info)
    }

    /// The session of this connection, for others to resume.
    #[getter]
    fn session<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut connection = self.lock(py)?;
        if let Some(buffer) = self.foreign() {
            return buffer.session(py);
        }
        let found = connection.lineage();
        drop(connection);
        lineage::session(py, &self.context, found)
    }

    /// What ties an exchange of the application's to this connection.
    fn channel_binding<'py>(&self, py: Python<'py>, kind: &str) -> PyResult<Bound<'py, PyAny>> {
        let connection = self.lock(py)?;
        if let Some(buffer) = self.foreign() {
            return buffer.optional(py, "channel_binding", (kind,));
        }
        let found = Binding::named(kind).map(|kind| kind.of(&connection))?;
        drop(connection);
        found
            .map(|bytes| PyBytes::new(py, &bytes).into_any())
            .map_err(|error| self.raised(py, &error))
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

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.traverse(&visit)
    }

    fn __clear__(&self) {
        self.clear();
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a TLS connection cannot be pickled or copied",
        ))
    }

    $($further)*
}
    };
}

class_of_buffers!(
    /// One side of a TLS connection, in memory. Made by `create_buffer` of a context.
    TlsBuffer,
    "TLSBuffer",
    {}
);

class_of_buffers!(
    /// One whose library can do more than those of all implementations.
    ExtendedTlsBuffer,
    "ExtendedTLSBuffer",
    {
    /// Queues data to leave with a client's first flight, and gives the count of what may.
    fn write_early_data(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let written = Source::new(data, "data")?
            .detached(|from| self.locked(|connection| connection.write_early(from)));
        self.outcome(py, written)
    }

    /// Reads up to `amt` bytes that a client sent with its first flight.
    fn read_early_data<'py>(&self, py: Python<'py>, amt: isize) -> PyResult<Bound<'py, PyBytes>> {
        let amt = count(amt, "amt")?.min(MAX_FRAGMENT);
        let mut data = Fresh::new(py, amt.max(1))?;
        let read = data.detached(|into| {
            let into = &mut into.into_bytes()[..amt];
            self.locked(|connection| connection.read_early(into))
        });
        Ok(data.filled(self.outcome(py, read)?))
    }

    /// Changes the keys for sending, and asks the peer to do the same.
    fn update_keys(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, Connection::update_keys)
    }

    /// Exports keying material of this connection.
    fn export_keying_material<'py>(
        &self,
        py: Python<'py>,
        label: &Bound<'py, PyAny>,
        context: Option<&Bound<'py, PyAny>>,
        length: isize,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(buffer) = self.foreign() {
            let _held = self.lock(py)?;
            return buffer.optional(py, "export_keying_material", (label, context, length));
        }
        let request = ExportRequest::new(label, context, length)?;
        let exported = request.of(&*self.lock(py)?);
        exported
            .map(|bytes| PyBytes::new(py, &bytes).into_any())
            .map_err(|refused| refused.raised(py, self.implementation))
    }
    }
);
