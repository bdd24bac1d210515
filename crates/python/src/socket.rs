//! `TLSSocket`: a connection over a stream socket, or a listener (PEP 748, section "Socket").
//!
//! Users get a final subclass of it (`polytls.streams.connection`), which adds what is best said in Python,
//! and what its library can do beyond the others. A socket is made of a [`SocketHandle`]. Every call that may touch the network runs detached.

use std::net::Shutdown;

use polytls_core::MAX_FRAGMENT;
use polytls_io::number::{self, Number, OwnedFd};
use polytls_io::{Address as Place, Error, Listener, Stream};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::addresses::python_address;
use crate::bytes::{Destination, Fresh, Source};
use crate::callbacks::{self, ENDING};
use crate::calls::{CallsOut as _, import};
use crate::descriptors;
use crate::exporter::{Binding, ExportRequest};
use crate::handle::{Kind, Origin, Parts, SocketHandle};
use crate::info::Known;
use crate::lineage;
use crate::waiting::{Signals, outcome, seconds, timeout};

/// `recv` gives at most this much in one piece, whatever is asked for.
const LARGEST_RECV: usize = 256 * 1024;

/// The number of Linux and macOS alike.
const EINVAL: i32 = 22;

/// A TLS connection over a stream socket, or a listener for such. Made by `connect` and
/// `wrap_socket` of a context, and by `accept`.
#[pyclass(frozen, subclass, module = "polytls._native", name = "TLSSocket")]
pub(crate) struct TlsSocket(Parts);

impl std::ops::Deref for TlsSocket {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl TlsSocket {
    fn stream(&self) -> PyResult<&Stream> {
        match &self.kind {
            Kind::Stream(stream) => Ok(stream),
            Kind::Listener(_) => Err(PyOSError::new_err((
                EINVAL,
                "this is a listener; accept() returns connections",
            ))),
        }
    }

    fn listener(&self) -> PyResult<&Listener> {
        match &self.kind {
            Kind::Listener(listener) => Ok(listener),
            Kind::Stream(_) => Err(PyOSError::new_err((
                EINVAL,
                "this is a connection; connect() of a server context returns listeners",
            ))),
        }
    }

    /// Runs a call of the driver detached.
    fn run<R: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Signals) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        let mut signals = Signals::new(py)?;
        let called = py.detach(|| call(&mut signals));
        outcome(py, self.implementation, called, signals)
    }

    /// Of a listener nothing is known.
    fn known<'py>(&self, py: Python<'py>, fact: Known) -> PyResult<Bound<'py, PyAny>> {
        let found = match (&self.kind, &self.foreign) {
            (Kind::Stream(stream), Some(buffer)) => {
                return self.told(py, stream, |py| fact.told(py, buffer));
            }
            (Kind::Stream(stream), None) => {
                self.run(py, |_| stream.ask(|connection| fact.of(connection)))?
            }
            (Kind::Listener(_), _) => fact.of_nothing(),
        };
        found.object(py, self.implementation)
    }

    /// What somebody else's buffer tells, under the lock.
    fn told<'py>(
        &self,
        py: Python<'py>,
        stream: &Stream,
        ask: impl for<'a> FnOnce(Python<'a>) -> PyResult<Bound<'a, PyAny>> + Send,
    ) -> PyResult<Bound<'py, PyAny>> {
        let told = self.run(py, |_| {
            stream.ask(|_| callbacks::attached(|py| ask(py).map(Bound::unbind)))
        })?;
        let told = told.ok_or_else(|| PyRuntimeError::new_err(ENDING))?;
        Ok(told?.into_bound(py))
    }

    /// In a forked child, a stream of Python's closes what is the child's of it.
    fn close_inherited(&self, py: Python<'_>) -> PyResult<()> {
        match &self.carrier {
            Some(carrier) if self._inherited() && !self._is_closed() => {
                carrier.object(py).method_out("close_inherited", ())?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The number of a descriptor for the caller to close; -1 if there is none to give.
fn given(descriptor: Option<OwnedFd>) -> Number {
    descriptor.map_or(-1, number::given)
}

#[pymethods]
impl TlsSocket {
    /// The socket that `handle` is for; each is for one.
    #[new]
    fn new(handle: &SocketHandle) -> PyResult<Self> {
        handle
            .take()
            .map(Self)
            .ok_or_else(|| PyTypeError::new_err("sockets are created by contexts"))
    }

    /// Receives up to `bufsize` bytes, waiting for the first.
    fn recv<'py>(&self, py: Python<'py>, bufsize: isize) -> PyResult<Bound<'py, PyBytes>> {
        let size = usize::try_from(bufsize)
            .map_err(|_| PyValueError::new_err("bufsize must not be negative"))?;
        let stream = self.stream()?;
        if size == 0 {
            self.run(py, |signals| stream.recv(&mut [], signals))?;
            return Ok(PyBytes::new(py, b""));
        }
        let mut into = Fresh::new(py, size.min(LARGEST_RECV))?;
        let mut signals = Signals::new(py)?;
        let received = into.detached(|into| stream.recv_into(into, &mut signals));
        let received = outcome(py, self.implementation, received, signals)?;
        Ok(into.filled(received))
    }

    /// Receives into `buffer`, up to `nbytes` (0: as many as fit), and gives the count.
    #[pyo3(signature = (buffer, nbytes=0, /))]
    fn recv_into(
        &self,
        py: Python<'_>,
        buffer: &Bound<'_, PyAny>,
        nbytes: isize,
    ) -> PyResult<usize> {
        let wanted = usize::try_from(nbytes)
            .map_err(|_| PyValueError::new_err("nbytes must not be negative"))?;
        let stream = self.stream()?;
        let mut destination = Destination::new(buffer, "buffer")?;
        let room = destination.len();
        if wanted > room {
            return Err(PyValueError::new_err("buffer is smaller than nbytes"));
        }
        let size = if wanted == 0 { room } else { wanted };
        let mut signals = Signals::new(py)?;
        let called = destination.detached(size, |into| stream.recv_into(into, &mut signals));
        outcome(py, self.implementation, called, signals)
    }

    /// Sends `bytes`, or a part of them, and gives the count.
    fn send(&self, py: Python<'_>, bytes: &Bound<'_, PyAny>) -> PyResult<usize> {
        let stream = self.stream()?;
        let source = Source::new(bytes, "bytes")?;
        let mut signals = Signals::new(py)?;
        let called = source.detached(|from| stream.send(from, &mut signals));
        outcome(py, self.implementation, called, signals)
    }

    /// Sends all of `data`.
    #[pyo3(signature = (data, /))]
    fn sendall(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let stream = self.stream()?;
        let source = Source::new(data, "data")?;
        let mut signals = Signals::new(py)?;
        let called = source.detached(|from| stream.send_all(from, &mut signals));
        outcome(py, self.implementation, called, signals)
    }

    /// Queues data to leave with a client's first flight, and gives the count of what may.
    fn _write_early_data(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let stream = self.stream()?;
        let source = Source::new(data, "data")?;
        let signals = Signals::new(py)?;
        let called = source.detached(|from| stream.write_early(from));
        outcome(py, self.implementation, called, signals)
    }

    /// Receives up to `amt` bytes that a client sent with its first flight, waiting for the first.
    fn _read_early_data<'py>(&self, py: Python<'py>, amt: isize) -> PyResult<Bound<'py, PyBytes>> {
        let amt = usize::try_from(amt)
            .map_err(|_| PyValueError::new_err("amt must not be negative"))?
            .min(MAX_FRAGMENT);
        let stream = self.stream()?;
        let mut data = Fresh::new(py, amt.max(1))?;
        let mut signals = Signals::new(py)?;
        let received =
            data.detached(|into| stream.read_early(&mut into.into_bytes()[..amt], &mut signals));
        let received = outcome(py, self.implementation, received, signals)?;
        Ok(data.filled(received))
    }

    /// Completes the handshake of a connection that was accepted without it.
    fn do_handshake(&self, py: Python<'_>) -> PyResult<()> {
        let stream = self.stream()?;
        self.run(py, |signals| stream.do_handshake(signals))
    }

    /// Sends a part of `data` within `seconds`, whatever the timeout is, and gives the count.
    fn _send_within(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        seconds: Option<f64>,
    ) -> PyResult<usize> {
        let stream = self.stream()?;
        let timeout = timeout(seconds)?;
        let source = Source::new(data, "data")?;
        let mut signals = Signals::new(py)?;
        let called = source.detached(|from| stream.send_within(from, timeout, &mut signals));
        outcome(py, self.implementation, called, signals)
    }

    /// Sends the open file with this descriptor from `offset`, `count` bytes or all of it. Gives how
    /// much was sent, and the error that ended it, if one did.
    fn _send_file(
        &self,
        py: Python<'_>,
        file: i32,
        offset: u64,
        count: Option<u64>,
    ) -> PyResult<(u64, Option<PyErr>)> {
        let stream = self.stream()?;
        let file = descriptors::opened(py, file)?;
        let mut sent = 0;
        let outcome = self.run(py, |signals| {
            stream.send_file(&file, offset, count, &mut sent, signals)
        });
        Ok((sent, outcome.err()))
    }

    /// Changes the keys for sending, and asks the peer to do the same.
    fn _update_keys(&self, py: Python<'_>) -> PyResult<()> {
        let stream = self.stream()?;
        self.run(py, |_| stream.update_keys())
    }

    /// Ends one direction of a connection, or both, as the constants of `socket` say.
    #[pyo3(signature = (how, /))]
    fn shutdown(&self, py: Python<'_>, how: i32) -> PyResult<()> {
        let how = match how {
            0 => Shutdown::Read,
            1 => Shutdown::Write,
            2 => Shutdown::Both,
            _ => {
                return Err(PyValueError::new_err(
                    "how must be SHUT_RD, SHUT_WR or SHUT_RDWR",
                ));
            }
        };
        self.run(py, |signals| match &self.kind {
            Kind::Stream(stream) => stream.shutdown(how, signals),
            Kind::Listener(listener) => listener.shutdown(),
        })
    }

    /// Ends TLS in both directions; gives the descriptor, and what came behind the peer's end.
    fn _unwrap<'py>(&self, py: Python<'py>) -> PyResult<(Number, Bound<'py, PyBytes>)> {
        let stream = self.stream()?;
        let (descriptor, behind) = self.run(py, |signals| stream.unwrap(signals))?;
        Ok((given(descriptor), PyBytes::new(py, &behind)))
    }

    /// Gives the descriptor away, with nothing said to the peer; -1 if it was closed before, and over a byte
    /// stream, which is let go of.
    fn detach(&self, py: Python<'_>) -> PyResult<Number> {
        if self._is_closed() {
            return Ok(-1);
        }
        let detached = self.run(py, |_| match &self.kind {
            Kind::Stream(stream) => stream.detach(),
            Kind::Listener(listener) => listener.detach().map(Some),
        });
        detached.map(given)
    }

    /// What carries the connection, if it is a byte stream of Python's.
    #[getter]
    fn _carrier(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.carrier
            .as_ref()
            .map(|carrier| carrier.object(py).clone().unbind())
    }

    /// Whether it has been closed, or given away.
    #[getter]
    fn _is_closed(&self) -> bool {
        match &self.kind {
            Kind::Stream(stream) => stream.is_closed(),
            Kind::Listener(listener) => listener.descriptor() < 0,
        }
    }

    /// Whether this process was forked from the one that it belongs to.
    #[getter]
    fn _inherited(&self) -> bool {
        let checked = match &self.kind {
            Kind::Stream(stream) => stream.check_process(),
            Kind::Listener(listener) => listener.check_process(),
        };
        matches!(checked, Err(Error::Inherited))
    }

    /// The numbers of its address family and protocol; known after closing, too.
    #[getter]
    fn _family_and_protocol(&self) -> (u16, u32) {
        match &self.kind {
            Kind::Stream(stream) => stream.family_and_protocol(),
            Kind::Listener(listener) => listener.family_and_protocol(),
        }
    }

    /// Another descriptor of the same socket, for the caller to close.
    fn _duplicate(&self, py: Python<'_>) -> PyResult<Number> {
        let duplicated: PyResult<OwnedFd> = self.run(py, |_| match &self.kind {
            Kind::Stream(stream) => stream.duplicate(),
            Kind::Listener(listener) => listener.duplicate(),
        });
        duplicated.map(number::given)
    }

    /// Ends the connection: sends close_notify and, unless `force`, waits until all is delivered.
    /// Closes a listener, with the handshakes it has in progress.
    #[pyo3(signature = (force=false))]
    fn close(&self, py: Python<'_>, force: bool) -> PyResult<()> {
        self.close_inherited(py)?;
        self.run(py, |signals| match &self.kind {
            Kind::Stream(stream) => stream.close(force, signals),
            Kind::Listener(listener) => {
                listener.close();
                Ok(())
            }
        })
    }

    /// As `close` without `force`, with no error that asks for another call.
    fn _end(&self, py: Python<'_>) -> PyResult<()> {
        self.close_inherited(py)?;
        self.run(py, |signals| match &self.kind {
            Kind::Stream(stream) => stream.leave(signals),
            Kind::Listener(listener) => {
                listener.close();
                Ok(())
            }
        })
    }

    /// Changes how many connections may wait to be accepted.
    fn listen(&self, py: Python<'_>, backlog: i32) -> PyResult<()> {
        let listener = self.listener()?;
        self.run(py, |_| listener.listen(backlog))
    }

    /// Returns the next connection, its handshake done, and the client's address.
    fn accept<'py>(this: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String, u16))> {
        let py = this.py();
        let socket = this.get();
        let listener = socket.listener()?;
        let default: Option<f64> = import(py, "socket")?
            .method_out("getdefaulttimeout", ())?
            .extract()?;
        let timeout = timeout(default)?;
        let keep = callbacks::keep(socket.owner(py));
        let stream = socket.run(py, |signals| listener.accept(timeout, Some(&keep), signals))?;
        let address = python_address(stream.peer_address())?;
        let origin = Origin {
            context: socket.context.clone_ref(py),
            implementation: socket.implementation,
            extended: socket.extended,
        };
        let handle = SocketHandle::of_stream(py, stream, origin)?;
        let made = import(py, "polytls.streams.connection")?.method_out("made_of", (handle,))?;
        Ok((made, address))
    }

    /// The local address.
    fn getsockname(&self, py: Python<'_>) -> PyResult<(String, u16)> {
        if let (Some(carrier), Kind::Stream(stream)) = (&self.carrier, &self.kind) {
            self.run(py, |_| stream.check_open())?;
            return carrier.object(py).method_out("getsockname", ())?.extract();
        }
        self.run(py, |_| match &self.kind {
            Kind::Stream(stream) => stream.local_address(),
            Kind::Listener(listener) => listener.local_address().map(Place::Ip),
        })
        .and_then(python_address)
    }

    /// The peer's address.
    fn getpeername(&self) -> PyResult<(String, u16)> {
        python_address(self.stream()?.peer_address())
    }

    /// The descriptor; -1 once closed.
    fn fileno(&self) -> Number {
        match &self.kind {
            Kind::Stream(stream) => stream.descriptor(),
            Kind::Listener(listener) => listener.descriptor(),
        }
    }

    /// Sets how long each call may wait: seconds, None for ever, 0 not at all.
    #[pyo3(signature = (value, /))]
    fn settimeout(&self, py: Python<'_>, value: Option<f64>) -> PyResult<()> {
        let timeout = timeout(value)?;
        if let Some(carrier) = self.carrier.as_ref().filter(|_| !self._is_closed()) {
            carrier.object(py).method_out("check_timeout", (value,))?;
        }
        match &self.kind {
            Kind::Stream(stream) => stream.set_timeout(timeout),
            Kind::Listener(listener) => listener.set_timeout(timeout),
        }
        Ok(())
    }

    /// How long each call may wait.
    fn gettimeout(&self) -> Option<f64> {
        seconds(match &self.kind {
            Kind::Stream(stream) => stream.timeout(),
            Kind::Listener(listener) => listener.timeout(),
        })
    }

    /// The same as `settimeout(None)` or `settimeout(0)`.
    #[pyo3(signature = (flag, /))]
    fn setblocking(&self, py: Python<'_>, flag: bool) -> PyResult<()> {
        self.settimeout(py, if flag { None } else { Some(0.0) })
    }

    /// Whether calls wait at all.
    fn getblocking(&self) -> bool {
        self.gettimeout() != Some(0.0)
    }

    /// How many bytes of plaintext can be received without the network.
    fn pending(&self, py: Python<'_>) -> PyResult<usize> {
        let stream = self.stream()?;
        self.run(py, |_| stream.pending())
    }

    /// How many bytes of ciphertext wait for the descriptor to be writable.
    fn outgoing_bytes_buffered(&self, py: Python<'_>) -> PyResult<usize> {
        let stream = self.stream()?;
        self.run(py, |_| stream.outgoing_len())
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

    /// The session of this connection, for others to resume; None for a listener.
    #[getter]
    fn session<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let found = match (&self.kind, &self.foreign) {
            (Kind::Stream(stream), Some(buffer)) => {
                let told = self.told(py, stream, |py| {
                    Ok(buffer.session(py)?.into_pyobject(py)?.into_any())
                });
                return told.map(Some);
            }
            (Kind::Stream(stream), None) => self.run(py, |_| stream.lineage())?,
            (Kind::Listener(_), _) => None,
        };
        lineage::session(py, &self.context, found)
    }

    /// Exports keying material of this connection.
    fn _export_keying_material<'py>(
        &self,
        py: Python<'py>,
        label: &Bound<'py, PyAny>,
        context: Option<&Bound<'py, PyAny>>,
        length: isize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let stream = self.stream()?;
        if let Some(buffer) = &self.foreign {
            let label = label.clone().unbind();
            let context = context.map(|context| context.clone().unbind());
            return self.told(py, stream, |py| {
                buffer.optional(py, "export_keying_material", (label, context, length))
            });
        }
        let request = ExportRequest::new(label, context, length)?;
        self.run(py, |_| stream.ask(|connection| request.of(connection)))?
            .map(|bytes| PyBytes::new(py, &bytes).into_any())
            .map_err(|refused| refused.raised(py, self.implementation))
    }

    /// What ties an exchange of the application's to this connection.
    fn channel_binding<'py>(&self, py: Python<'py>, kind: &str) -> PyResult<Bound<'py, PyAny>> {
        let stream = self.stream()?;
        if let Some(buffer) = &self.foreign {
            return self.told(py, stream, |py| {
                buffer.optional(py, "channel_binding", (kind,))
            });
        }
        let kind = Binding::named(kind)?;
        self.run(py, |_| Ok(stream.ask(|connection| kind.of(connection))??))
            .map(|bytes| PyBytes::new(py, &bytes).into_any())
    }

    /// The context this socket was made by.
    #[getter]
    fn context(&self, py: Python<'_>) -> Py<PyAny> {
        self.context.clone_ref(py)
    }

    /// How many clients of this listener failed in their handshakes.
    #[getter]
    fn failed_handshakes(&self) -> PyResult<u64> {
        Ok(self.listener()?.failed_handshakes())
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let fd = self.fileno();
        let (what, address) = match &self.kind {
            Kind::Stream(stream) => ("connection with", Some(stream.peer_address())),
            Kind::Listener(listener) => {
                let address = py.detach(|| listener.local_address());
                ("listener at", address.ok().map(Place::Ip))
            }
        };
        let address = address.map_or_else(String::new, |address| format!(" {address}"));
        format!(
            "<TLSSocket of {}: {what}{address}, fd={fd}>",
            self.implementation
        )
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(&visit)
    }

    fn __clear__(&self) {
        self.0.clear();
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a TLS connection cannot be pickled or copied",
        ))
    }
}
