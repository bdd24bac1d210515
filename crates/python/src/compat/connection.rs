//! The class that `ssl` calls as `_sslobj`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use polytls_core::hello::{ClientHello, Coming, client_hello};
use polytls_core::{Connection, Error, MAX_FRAGMENT, MAX_RECORD, Role, Room};
use polytls_io::lent;
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyConnectionError, PyTypeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::sync::MutexExt as _;
use pyo3::types::{PyBytes, PyTuple, PyWeakrefReference};

use super::faults::{self, Fault, Found};
use super::wire::{Doing, Line, Patience, Wire};
use crate::buffer::Buffer;
use crate::bytes::{DETACH_FROM, Destination, Source};
use crate::callbacks::end_of_call;
use crate::calls::CallsOut as _;
use crate::engine::{ClientEngine, ServerEngine, Wanted};
use crate::info;
use crate::lineage::Lineage;

/// From so long a record on, what is received may reach into the header of the next: its body is still to come,
/// so whoever waits for the socket is woken; and what is so long is no close_notify, behind which the
/// transport is others'.
const BULK: usize = 8 * 1024;
/// From so much on, what is in memory is taken at once.
const MUCH: usize = 32 * 1024;
/// So much is sealed at a time.
const PART: usize = 256 * 1024;
const HEADER: usize = 5;
/// ChangeCipherSpec, which a TLS 1.3 client sends for the sake of middleboxes (RFC 8446 appendix D.4).
const CHANGE_CIPHER_SPEC: &[u8] = &[20, 3, 3, 0, 1, 1];

/// One side of a connection, over a socket or two `ssl.MemoryBIO`. Python adds what carries no data.
#[pyclass(
    frozen,
    subclass,
    weakref,
    module = "polytls._native",
    name = "SSLConnection"
)]
pub(crate) struct SslConnection {
    wire: Wire,
    role: Role,
    state: Mutex<State>,
    /// Whoever receives from a socket has it until what came is the connection's, so that threads that read at once
    /// leave it in order. It is waited for by nobody, and taken under the connection's lock or without it.
    receiving: Mutex<()>,
    /// How much was sealed of what a non-blocking write has not sent yet.
    sealed: AtomicUsize,
    /// Whether `shutdown` was called.
    closing: AtomicBool,
    /// Whether the end, or the error, was told to the reader.
    told: AtomicBool,
    /// Whether a truncated end is taken for close_notify (SSL_OP_IGNORE_UNEXPECTED_EOF).
    lenient: bool,
    /// Whether the handshake was begun.
    begun: AtomicBool,
}

#[derive(Default)]
struct State {
    /// A server's is made when ClientHello has come.
    buffer: Option<Arc<Buffer>>,
    /// What has come of it.
    hello: Vec<u8>,
}

impl SslConnection {
    fn state<R>(&self, py: Python<'_>, call: impl FnOnce(&mut State) -> R) -> R {
        let state = self.state.lock_py_attached(py);
        call(&mut state.unwrap_or_else(PoisonError::into_inner))
    }

    fn buffer(&self, py: Python<'_>) -> Option<Arc<Buffer>> {
        self.state(py, |state| state.buffer.clone())
    }

    const fn is_server(&self) -> bool {
        matches!(self.role, Role::Server)
    }

    fn install(&self, py: Python<'_>, mut connection: Connection, implementation: &'static str) {
        connection.leave_close_unanswered();
        let buffer = Buffer::new(connection, py.None(), implementation);
        self.state(py, |state| state.buffer = Some(Arc::new(buffer)));
    }

    /// The exception for an error of the connection's, which has ended it unless it is a Want.
    fn exception(&self, py: Python<'_>, buffer: &Buffer, error: &Error) -> PyErr {
        match buffer.lock(py) {
            Ok(connection) => {
                let found = Found {
                    alert: connection.alert(),
                    plaintext: connection.met_plaintext(),
                    is_server: self.is_server(),
                };
                drop(connection);
                faults::exception(py, buffer.implementation(), error, &found)
            }
            Err(error) => error,
        }
    }

    /// Runs `call` on the connection, detached.
    fn call<R: Send>(
        py: Python<'_>,
        buffer: &Buffer,
        call: impl FnOnce(&mut Connection) -> Result<R, Error> + Send,
    ) -> PyResult<Result<R, Error>> {
        let called = py.detach(|| buffer.locked(call));
        match end_of_call(py) {
            Some(raised) => Err(raised),
            None => Ok(called),
        }
    }

    // --- what is to be sent ---

    /// Sends all that waits.
    fn flush(
        &self,
        py: Python<'_>,
        buffer: &Buffer,
        line: Option<Line>,
        doing: Doing,
    ) -> PyResult<()> {
        if buffer.lock(py)?.outgoing_len() == 0 {
            return Ok(());
        }
        let Some(line) = line else {
            return self.wire.write(py, buffer.outgoing(py, usize::MAX)?);
        };
        loop {
            let left = line.run(py, doing, true, |descriptor| {
                let sent = buffer.locked(|connection| {
                    let waiting = connection.outgoing();
                    // It waits for Finished: Nagle's algorithm would hold that back until the peer's delayed
                    // acknowledgement.
                    if waiting.is_empty()
                        || (waiting == CHANGE_CIPHER_SPEC && connection.is_handshaking())
                    {
                        return Ok(Ok(Some(0)));
                    }
                    let sent = lent::send(descriptor, waiting);
                    if let Ok(Some(count)) = sent {
                        connection.consume_outgoing(count);
                        return Ok(Ok(Some(connection.outgoing_len())));
                    }
                    Ok(sent)
                });
                sent.unwrap_or(Ok(Some(0)))
            })?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    /// Sends what waits of a handshake. A server puts off that its client has gone: these may be tickets, and what the
    /// client sent before is still to be read. Where it is not, the end that is read next tells.
    fn flush_handshake(&self, py: Python<'_>, buffer: &Buffer, line: Option<Line>) -> PyResult<()> {
        let Err(error) = self.flush(py, buffer, line, Doing::Handshake) else {
            return Ok(());
        };
        // The value: up to Python 3.11, the error's own type is the OSError that was asked for.
        if self.is_server() && error.value(py).is_instance_of::<PyConnectionError>() {
            return Ok(());
        }
        Err(error)
    }

    /// Sends what waits as far as that can be done at once: an alert, for a peer that may be gone.
    fn flush_at_once(&self, py: Python<'_>, buffer: &Buffer, line: Option<Line>) -> PyResult<()> {
        let at_once = line.map(|line| Line {
            patience: Patience::None,
            ..line
        });
        match (self.flush(py, buffer, at_once, Doing::Write), line) {
            // The error that is told is the one that the alert is about.
            (Err(error), Some(_)) if error.is_instance_of::<pyo3::exceptions::PyOSError>(py) => {
                Ok(())
            }
            (done, _) => done,
        }
    }

    // --- what comes ---

    /// Receives what the record that is under way lacks, or its header. `much`: more may be taken, as far as
    /// nobody else may be meant. Gives what came into memory and was not taken in.
    fn receive<'py>(
        &self,
        py: Python<'py>,
        buffer: &Buffer,
        line: Option<Line>,
        doing: Doing,
        much: usize,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if let Some(line) = line {
            if matches!(line.patience, Patience::Endless)
                && self.receive_header(py, buffer, line, much > 0)?
            {
                return Ok(None);
            }
            line.run(py, doing, false, |_| {
                let received = buffer.locked(|connection| match self.receiving() {
                    Some(_receiving) => {
                        let lacking = wanted(connection, much > 0);
                        Ok(take(connection, line, lacking))
                    }
                    None => Ok(Ok(None)),
                });
                // What ends it is what the caller finds.
                received.unwrap_or(Ok(Some(0)))
            })?;
            return Ok(None);
        }
        let (most, nothing) = {
            let connection = buffer.lock(py)?;
            let nothing = connection.incoming_len() == 0;
            (wanted(&connection, much > 0), nothing)
        };
        let came = self.wire.memory(py, |waiting| match doing {
            // Whatever follows the handshake counts as pending.
            Doing::Handshake => most.max(waiting.min(MUCH)),
            _ if much >= MUCH => most.max(waiting.min(much)),
            // Most often one record is there; otherwise the rest goes back where it was.
            Doing::Read if nothing && much > 0 && waiting <= MAX_RECORD => waiting,
            _ => most,
        })?;
        let mut came = came.ok_or_else(|| faults::want_read(py))?;
        if much > 0 && !came.as_bytes().is_empty() {
            if much < MUCH && nothing {
                let behind = first_record(came.as_bytes());
                if behind < came.as_bytes().len() && self.wire.takes_back(py)? {
                    let (record, behind) = came.as_bytes().split_at(behind);
                    self.wire.put_back(py, behind)?;
                    came = PyBytes::new(py, record);
                }
            }
            return Ok(Some(came));
        }
        // It is refused where the end came before, which is what the caller finds then.
        let _ = buffer.lock(py)?.process_incoming(came.as_bytes());
        Ok(None)
    }

    fn receiving(&self) -> Option<MutexGuard<'_, ()>> {
        match self.receiving.try_lock() {
            Ok(receiving) => Some(receiving),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Waits for the header of a record, where none has begun to come, and takes of the record what is there.
    /// `false`: that is for others to wait for, or not by a call of the system that waits.
    fn receive_header(
        &self,
        py: Python<'_>,
        buffer: &Buffer,
        line: Line,
        much: bool,
    ) -> PyResult<bool> {
        let Some(_receiving) = self.receiving() else {
            return Ok(false);
        };
        if buffer.lock(py)?.incoming_len() > 0 {
            return Ok(false);
        }
        let mut header = [0; HEADER];
        let received = line.receive_waiting(py, &mut header, |header| {
            // It is refused where the connection has ended, which is what the caller finds then.
            let _ = buffer.locked(|connection| {
                let taken = connection.process_incoming(header);
                if taken.is_ok() && connection.has_part_at_most() {
                    // Whoever calls next finds an error of the system's.
                    let _ = take(connection, line, wanted(connection, much));
                }
                Ok(())
            });
        })?;
        Ok(received)
    }

    /// Goes on with a read that gave a long record: what the socket has at once, into what is left of the
    /// caller's buffer, a record at a time, so that none is taken that the caller does not get. Gives
    /// how many bytes were read in all.
    fn read_on(
        &self,
        py: Python<'_>,
        buffer: &Buffer,
        line: Line,
        into: &Bound<'_, PyAny>,
        first: usize,
        amount: usize,
    ) -> PyResult<usize> {
        let mut filled = first;
        if buffer.lock(py)?.calls_python() {
            return Ok(filled);
        }
        Destination::new(into, "buffer")?.detached(amount, |room| {
            let memory = room.into_bytes();
            while amount - filled > MAX_FRAGMENT {
                let next = |connection: &mut Connection| match self.receiving() {
                    Some(_receiving) => take_next(connection, line, &mut memory[filled..]),
                    None => Ok(None),
                };
                match buffer.locked(next) {
                    Ok(Some(count)) => filled += count,
                    // An error is latched: the next call gives it.
                    Ok(None) | Err(_) => break,
                }
            }
        });
        Ok(filled)
    }

    /// What came in memory behind the peer's close_notify goes back there.
    fn put_back(&self, py: Python<'_>, buffer: &Buffer) -> PyResult<()> {
        let behind = {
            let mut connection = buffer.lock(py)?;
            let behind = connection.unprocessed().to_vec();
            connection.forget_unprocessed();
            behind
        };
        if behind.is_empty() {
            return Ok(());
        }
        self.wire.put_back(py, &behind)
    }

    // --- a server's ClientHello ---

    /// Waits for ClientHello, and has Python choose the engine by it.
    fn await_hello(slf: &Bound<'_, Self>, line: Option<Line>) -> PyResult<Arc<Buffer>> {
        let py = slf.py();
        let this = slf.get();
        let message = loop {
            let coming = this.state(py, |state| {
                let coming = client_hello(&state.hello);
                (coming, state.hello.clone())
            });
            match coming {
                (Coming::More(lacking), _) => this.receive_hello(py, line, lacking)?,
                (Coming::Whole(message), _) => break Some(message),
                (Coming::Other, came) => {
                    if let Some(reason) = proxy_or_http(&came) {
                        return Err(Fault::reason(reason).exception(py));
                    }
                    break None;
                }
            }
        };
        let hello = message.as_deref().and_then(ClientHello::of_message);
        let told = hello.map(|hello| {
            let protocols = hello.alpn().into_iter();
            let protocols = PyTuple::new(py, protocols.map(|name| PyBytes::new(py, name)));
            protocols.map(|protocols| (hello.server_name(), hello.cipher_suites(), protocols))
        });
        slf.method_out("_configure", (told.transpose()?,))?;
        let buffer = this.buffer(py);
        let buffer = buffer.ok_or_else(|| PyTypeError::new_err("nothing was configured"))?;
        let came = this.state(py, |state| std::mem::take(&mut state.hello));
        let _ = buffer.lock(py)?.process_incoming(&came);
        Ok(buffer)
    }

    fn receive_hello(&self, py: Python<'_>, line: Option<Line>, lacking: usize) -> PyResult<()> {
        let came = if let Some(line) = line {
            let mut memory = vec![0; lacking];
            let count = line.run(py, Doing::Handshake, false, |descriptor| {
                lent::receive(descriptor, &mut memory)
            })?;
            memory.truncate(count);
            memory
        } else {
            let came = self.wire.memory(py, |_| lacking)?;
            let came = came.ok_or_else(|| faults::want_read(py))?;
            came.as_bytes().to_vec()
        };
        if came.is_empty() {
            return Err(faults::end_of_transport(py));
        }
        self.state(py, |state| state.hello.extend(came));
        Ok(())
    }

    /// The connection, its handshake done.
    fn ready(slf: &Bound<'_, Self>) -> PyResult<Arc<Buffer>> {
        let py = slf.py();
        if let Some(buffer) = slf.get().buffer(py)
            && !buffer.lock(py)?.is_handshaking()
        {
            return Ok(buffer);
        }
        // As Python sees it, which takes notes.
        slf.method_out("do_handshake", ())?;
        slf.get()
            .buffer(py)
            .ok_or_else(|| PyTypeError::new_err("nothing was configured"))
    }

    fn end<'py>(&self, py: Python<'py>, into: bool) -> PyResult<Bound<'py, PyAny>> {
        self.told.store(true, Ordering::Relaxed);
        if self.closing.load(Ordering::Relaxed) {
            return Err(faults::closed_by_peer(py));
        }
        Ok(if into {
            0_usize.into_pyobject(py)?.into_any()
        } else {
            PyBytes::new(py, b"").into_any()
        })
    }
}

/// How many bytes to receive, so that no whole record is taken beyond the one that is under way. `much`: more may
/// be taken, as far as nobody else may be meant.
fn wanted(connection: &Connection, much: bool) -> usize {
    let lacking = connection.incoming_needed();
    if much && lacking >= BULK {
        lacking + HEADER
    } else {
        lacking
    }
}

/// How long the record is that these bytes begin with, as far as it is there.
fn first_record(came: &[u8]) -> usize {
    let length = match came.first_chunk::<HEADER>() {
        Some(&[.., high, low]) => HEADER + usize::from(u16::from_be_bytes([high, low])),
        None => HEADER,
    };
    length.min(came.len())
}

/// Receives up to `most` bytes. `None`: nothing has come yet; 0 bytes are the end, or a connection that takes no more.
fn take(
    connection: &mut Connection,
    line: Line,
    most: usize,
) -> Result<Option<usize>, polytls_io::Error> {
    let Ok(space) = connection.space(most) else {
        return Ok(Some(0));
    };
    let received = line.at_once(|descriptor| lent::receive(descriptor, &mut space[..most]));
    match received {
        Ok(Some(count)) => connection.commit(count),
        _ => connection.give_back_space(),
    }
    received
}

/// Receives what the next record lacks, or its header, and opens it if it is whole. `None`: there is not all of
/// it, or an end is to be told.
fn take_next(
    connection: &mut Connection,
    line: Line,
    into: &mut [u8],
) -> Result<Option<usize>, Error> {
    let lacking = wanted(connection, true);
    // The next call finds an error of the system's.
    if !matches!(take(connection, line, lacking), Ok(Some(received)) if received == lacking) {
        return Ok(None);
    }
    if connection.awaits_record() {
        return Ok(Some(0));
    }
    // Of the caller's memory nothing is changed behind what is read.
    let most = connection.readable_bound(&[], into.len() - 1).max(1);
    let spare = into[most];
    let read = connection.receive(None, Room::with_scratch(&mut into[..=most]));
    into[most] = spare;
    match read {
        Ok(_) if connection.peer_has_closed() => Ok(None),
        Ok(read) => Ok(Some(read.unwrap_or_default())),
        Err(error) => Err(error),
    }
}

/// OpenSSL's reason for what is no TLS, where it looks like HTTP (ssl3_get_record in OpenSSL).
fn proxy_or_http(came: &[u8]) -> Option<&'static str> {
    let begins = |word: &[u8]| came.starts_with(word);
    if [&b"GET "[..], b"POST ", b"HEAD ", b"PUT "]
        .iter()
        .any(|word| begins(word))
    {
        Some("HTTP_REQUEST")
    } else if begins(b"CONNE") {
        Some("HTTPS_PROXY_REQUEST")
    } else {
        None
    }
}

#[pymethods]
impl SslConnection {
    /// Over a socket, or over two `ssl.MemoryBIO`.
    #[new]
    #[pyo3(signature = (*, server_side, lenient, socket=None, incoming=None, outgoing=None))]
    fn new(
        server_side: bool,
        lenient: bool,
        socket: Option<&Bound<'_, PyAny>>,
        incoming: Option<Py<PyAny>>,
        outgoing: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let wire = match (socket, incoming, outgoing) {
            (Some(socket), None, None) => Wire::Socket(PyWeakrefReference::new(socket)?.unbind()),
            (None, Some(incoming), Some(outgoing)) => Wire::Memory { incoming, outgoing },
            _ => return Err(PyTypeError::new_err("a socket, or two ssl.MemoryBIO")),
        };
        Ok(Self {
            wire,
            role: if server_side {
                Role::Server
            } else {
                Role::Client
            },
            state: Mutex::default(),
            receiving: Mutex::default(),
            sealed: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            told: AtomicBool::new(false),
            lenient,
            begun: AtomicBool::new(false),
        })
    }

    /// Begins a client's connection, or begins it anew as long as nothing was sent. `parameters`: as for
    /// `ClientEngine.buffer`; only a session that is named there is offered.
    fn _begin(
        &self,
        py: Python<'_>,
        engine: &Bound<'_, ClientEngine>,
        parameters: Wanted,
    ) -> PyResult<()> {
        let mut parameters = parameters.0;
        parameters.anew = true;
        let engine = engine.get();
        let connection = engine.connection(py, &parameters)?;
        self.install(py, connection, engine.implementation);
        Ok(())
    }

    /// Goes on with a server's connection.
    fn _accept(&self, py: Python<'_>, engine: &Bound<'_, ServerEngine>) -> PyResult<()> {
        let engine = engine.get();
        let connection = engine.connection(py)?;
        self.install(py, connection, engine.implementation);
        Ok(())
    }

    /// Refuses a client that nothing was configured for yet, by an alert.
    fn _refuse(&self, py: Python<'_>, alert: u8) -> PyResult<()> {
        let record = [21, 3, 3, 0, 2, 2, alert];
        let Some(line) = self.wire.line(py)? else {
            return self.wire.write(py, PyBytes::new(py, &record));
        };
        let mut at = 0;
        while at < record.len() {
            at += line.run(py, Doing::Handshake, true, |descriptor| {
                lent::send(descriptor, &record[at..])
            })?;
        }
        Ok(())
    }

    /// Whether the handshake was begun.
    #[getter]
    fn _begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// What was agreed on, after the handshake: version, cipher suite, application protocol, whether a session
    /// was resumed, the peer's chain, the path that was verified.
    fn _facts<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some(buffer) = self.buffer(py) else {
            return Ok(None);
        };
        let connection = buffer.lock(py)?;
        let Some(facts) = connection.facts() else {
            return Ok(None);
        };
        if let Some(foreign) = buffer.foreign() {
            let (cipher, protocol, resumed, presented, verified) = info::told(py, foreign)?;
            return (
                facts.version,
                cipher,
                protocol,
                resumed,
                presented,
                verified,
            )
                .into_pyobject(py)
                .map(Some);
        }
        drop(connection);
        let alpn = facts.alpn.as_ref().map(|name| PyBytes::new(py, name));
        let verified = facts.verified_chain.as_deref();
        let verified = verified.map(|chain| info::chain(py, chain)).transpose()?;
        let presented = info::chain(py, &facts.peer_chain)?;
        (
            facts.version,
            facts.cipher,
            alpn,
            facts.resumed,
            presented,
            verified,
        )
            .into_pyobject(py)
            .map(Some)
    }

    /// The session of this connection, for others to resume; None before the handshake, and on servers.
    fn _lineage(&self, py: Python<'_>) -> PyResult<Option<Lineage>> {
        match self.buffer(py) {
            Some(buffer) => Ok(buffer.lock(py)?.lineage().map(Lineage)),
            None => Ok(None),
        }
    }

    /// Goes on with the handshake.
    fn do_handshake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.begun.store(true, Ordering::Relaxed);
        let line = this.wire.line(py)?;
        let buffer = match this.buffer(py) {
            Some(buffer) => buffer,
            None if this.is_server() => Self::await_hello(slf, line)?,
            None => return Err(PyTypeError::new_err("nothing was configured")),
        };
        loop {
            match Self::call(py, &buffer, Connection::do_handshake)? {
                Ok(()) => return this.flush_handshake(py, &buffer, line),
                Err(Error::WantRead) => {
                    this.flush_handshake(py, &buffer, line)?;
                    this.receive(py, &buffer, line, Doing::Handshake, 0)?;
                }
                Err(Error::WantWrite) => this.flush(py, &buffer, line, Doing::Handshake)?,
                Err(error) => {
                    this.flush_at_once(py, &buffer, line)?;
                    return Err(this.exception(py, &buffer, &error));
                }
            }
        }
    }

    /// Reads up to `len` bytes: as bytes, or into `buffer`, giving the count.
    #[pyo3(signature = (len=1024, buffer=None, /))]
    fn read<'py>(
        slf: &Bound<'py, Self>,
        len: isize,
        buffer: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let amount = match buffer {
            Some(into) => {
                let room = Destination::new(into, "buffer")?.len();
                match usize::try_from(len) {
                    Ok(amount) if amount > 0 && amount < room => amount,
                    _ => room,
                }
            }
            None => usize::try_from(len)
                .map_err(|_| PyValueError::new_err("size should not be negative"))?,
        };
        if amount == 0 {
            return Ok(match buffer {
                Some(_) => 0_usize.into_pyobject(py)?.into_any(),
                None => PyBytes::new(py, b"").into_any(),
            });
        }
        let connection = Self::ready(slf)?;
        let line = this.wire.line(py)?;
        let into = buffer.is_some();
        let mut came: Option<Bound<'py, PyBytes>> = None;
        if this.wire.line_is_memory() && !connection.lock(py)?.has_something() {
            came = this.receive(py, &connection, line, Doing::Read, amount)?;
        }
        loop {
            if came.is_none() && line.is_some() && connection.lock(py)?.awaits_record() {
                this.receive(py, &connection, line, Doing::Read, amount)?;
                continue;
            }
            let data = came.take().map(|came| came.into_any());
            let source = data
                .as_ref()
                .map(|data| Source::new(data, "data"))
                .transpose()?;
            let read = connection.received(py, source.as_ref(), amount, buffer, true)?;
            let count = |read: &Bound<'py, PyAny>| -> PyResult<usize> {
                if into {
                    read.extract()
                } else {
                    Ok(read.cast::<PyBytes>()?.as_bytes().len())
                }
            };
            match read {
                Ok(Some(read)) => {
                    let count = count(&read)?;
                    let mut read = read;
                    if count >= BULK
                        && let (Some(line), Some(buffer)) = (line, buffer)
                    {
                        let count = this.read_on(py, &connection, line, buffer, count, amount)?;
                        read = count.into_pyobject(py)?.into_any();
                    }
                    this.flush_at_once(py, &connection, line)?;
                    if count == 0 {
                        this.put_back(py, &connection)?;
                        return this.end(py, into);
                    }
                    return Ok(read);
                }
                Ok(None) => {
                    this.flush_at_once(py, &connection, line)?;
                    came = this.receive(py, &connection, line, Doing::Read, amount)?;
                }
                Err(Error::RaggedEof { .. }) if this.lenient => return this.end(py, into),
                Err(error) => {
                    this.told.store(true, Ordering::Relaxed);
                    this.flush_at_once(py, &connection, line)?;
                    return Err(this.exception(py, &connection, &error));
                }
            }
        }
    }

    /// Writes all of `data`, and gives the count.
    #[pyo3(signature = (data, /))]
    fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = slf.py();
        let this = slf.get();
        let source = Source::new(data, "data")?;
        let buffer = Self::ready(slf)?;
        let total = source.len();
        if total == 0 {
            return Ok(0);
        }
        let Some(line) = this.wire.line(py)? else {
            let sealed = buffer.sealed(py, buffer.lock(py)?, &source)?;
            let sealed = sealed.map_err(|error| this.written(py, &buffer, &error))?;
            this.wire.write(py, sealed)?;
            return Ok(total);
        };
        let mut at = this.sealed.swap(0, Ordering::Relaxed);
        if at > total {
            return Err(Fault::reason("BAD_WRITE_RETRY").exception(py));
        }
        let flush = |at: usize| {
            let flushed = this.flush(py, &buffer, Some(line), Doing::Write);
            flushed.inspect_err(|_| {
                if matches!(line.patience, Patience::None) {
                    this.sealed.store(at, Ordering::Relaxed);
                }
            })
        };
        flush(at)?;
        while at < total {
            let part = at..total.min(at + PART);
            let written = if total < DETACH_FROM && !buffer.lock(py)?.calls_python() {
                buffer.lock(py)?.write(&source.bytes()[part])
            } else {
                source.part_detached(part, |from| {
                    buffer.locked(|connection| connection.write(from))
                })
            };
            if let Some(raised) = end_of_call(py) {
                return Err(raised);
            }
            at += written.map_err(|error| this.written(py, &buffer, &error))?;
            flush(at)?;
        }
        Ok(total)
    }

    /// Sends close_notify and waits for the peer's; gives the socket, if there is one.
    fn shutdown<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let this = slf.get();
        let line = this.wire.line(py)?;
        let in_init = || Fault::reason("SHUTDOWN_WHILE_IN_INIT").exception(py);
        let buffer = this.buffer(py).ok_or_else(in_init)?;
        if buffer.lock(py)?.is_handshaking() {
            return Err(in_init());
        }
        this.closing.store(true, Ordering::Relaxed);
        loop {
            let done = Self::call(py, &buffer, Connection::shutdown)?;
            let ended = buffer.lock(py)?.peer_has_closed();
            if buffer.lock(py)?.pending() > 0 {
                this.flush_at_once(py, &buffer, line)?;
                let reason = "APPLICATION_DATA_AFTER_CLOSE_NOTIFY";
                return Err(Fault::reason(reason).exception(py));
            }
            match done {
                Ok(()) => {
                    this.flush(py, &buffer, line, Doing::Write)?;
                    break;
                }
                Err(Error::WantRead | Error::Misuse(_)) if !ended => {
                    this.flush(py, &buffer, line, Doing::Write)?;
                    this.receive(py, &buffer, line, Doing::Read, 0)?;
                }
                Err(Error::RaggedEof { .. }) if this.lenient => break,
                Err(error) => {
                    this.flush_at_once(py, &buffer, line)?;
                    return Err(this.exception(py, &buffer, &error));
                }
            }
        }
        this.put_back(py, &buffer)?;
        this.wire.socket(py)
    }

    /// How many bytes can be read without more from the peer; 1 where an end or an error is still to be told.
    fn pending(&self, py: Python<'_>) -> PyResult<usize> {
        let Some(buffer) = self.buffer(py) else {
            return Ok(0);
        };
        let mut connection = buffer.lock(py)?;
        if connection.is_handshaking() {
            return Ok(0);
        }
        if connection.failure().is_none() && !connection.peer_has_closed() {
            return Ok(connection.readable_bound(&[], usize::MAX));
        }
        let untold = usize::from(!self.told.load(Ordering::Relaxed));
        Ok(connection.pending().max(untold))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.state.try_lock() {
            Ok(state) => match &state.buffer {
                Some(buffer) => buffer.traverse(&visit),
                None => Ok(()),
            },
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let buffer = self.state.try_lock().ok();
        let buffer = buffer.and_then(|state| state.buffer.clone());
        if let Some(buffer) = buffer {
            buffer.clear();
        }
    }
}

impl SslConnection {
    /// The exception for an error of a write.
    fn written(&self, py: Python<'_>, buffer: &Buffer, error: &Error) -> PyErr {
        if self.closing.load(Ordering::Relaxed) && matches!(error, Error::Misuse(_)) {
            return Fault::reason("PROTOCOL_IS_SHUTDOWN").exception(py);
        }
        self.exception(py, buffer, error)
    }

    /// Takes away what came and was not read: a client's tickets, whose rest in the system would have it
    /// answer with a reset, which destroys what the peer has not read yet. `ssl.SSLSocket` lets go of this
    /// object right before it closes the descriptor.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let Some(line) = self.wire.line(py)? else {
            return Ok(());
        };
        let mut memory = vec![0; 16 * 1024];
        crate::descriptors::with_borrowed(line.descriptor, |descriptor| {
            for _ in 0..4 {
                if !matches!(lent::receive(descriptor, &mut memory), Ok(Some(count)) if count > 0) {
                    break;
                }
            }
        });
        Ok(())
    }
}

impl Drop for SslConnection {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let buffer = state.buffer.as_deref();
        let is_done = buffer.is_some_and(Buffer::is_established);
        if self.is_server()
            || self.closing.load(Ordering::Relaxed)
            || !matches!(self.wire, Wire::Socket(_))
            || !is_done
        {
            return;
        }
        Python::try_attach(|py| {
            let pending = PyErr::take(py);
            // A socket that is gone or closed needs none of it.
            let _ = self.drain(py);
            if let Some(pending) = pending {
                pending.restore(py);
            }
        });
    }
}
