//! `SocketHandle`: what a socket is to be made of, and where it comes from: connecting, taking over,
//! listening, accepting. Only this crate makes one, so that nobody makes sockets by hand.

use std::sync::{Arc, Mutex, PoisonError};

use polytls_core::{Connection, Error as TlsError, Session};
use polytls_io::{Error, Listener, ListenerSettings, Stream, Timeout};
use pyo3::PyTraverseError;
use pyo3::exceptions::PyValueError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use crate::addresses::{Address, socket_addresses};
use crate::carrier::Carrier;
use crate::errors::cause;
use crate::foreign::ForeignBuffer;
use crate::waiting::{self, Signals, outcome, timeout};
use crate::{buffer, descriptors};

pub(crate) enum Kind {
    Stream(Box<Stream>),
    Listener(Listener),
}

/// Whose connection it is.
pub(crate) struct Origin {
    pub(crate) context: Py<PyAny>,
    pub(crate) implementation: &'static str,
    /// Whether its library can do more than those of all implementations.
    pub(crate) extended: bool,
}

/// What a socket is.
pub(crate) struct Parts {
    pub(crate) kind: Kind,
    pub(crate) context: Py<PyAny>,
    pub(crate) implementation: &'static str,
    /// What a connection is made of, if it is somebody else's buffer.
    pub(crate) foreign: Option<Arc<ForeignBuffer>>,
    /// What a listener's connections come from.
    pub(crate) engine: Option<Py<PyAny>>,
    /// Whether its library can do more than those of all implementations.
    pub(crate) extended: bool,
    /// What carries a connection, if it is a byte stream of Python's.
    pub(crate) carrier: Option<Arc<Carrier>>,
}

impl Parts {
    /// What has all that threads of a listener call.
    pub(crate) fn owner(&self, py: Python<'_>) -> Py<PyAny> {
        self.engine.as_ref().unwrap_or(&self.context).clone_ref(py)
    }

    /// Shows the garbage collector what leads back to Python. Connections in the hands of a listener
    /// keep no cause (`polytls_io`).
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.context)?;
        visit.call(&self.engine)?;
        // Whoever has the lock.
        if let Some(buffer) = &self.foreign {
            buffer.traverse(visit)?;
        }
        if let Some(carrier) = &self.carrier {
            carrier.visit(visit)?;
        }
        match &self.kind {
            Kind::Stream(stream) => stream
                .glance(|connection| visit.call(connection.failure().and_then(cause)))
                .unwrap_or(Ok(())),
            Kind::Listener(_) => Ok(()),
        }
    }

    pub(crate) fn clear(&self) {
        if let Some(buffer) = &self.foreign {
            buffer.clear();
        }
        if let Kind::Stream(stream) = &self.kind {
            drop(stream.glance(Connection::take_cause));
        }
    }
}

/// What `ExtendedSocket` of `polytls.streams` has beyond its base.
const OFFERS: [&str; 4] = [
    "export_keying_material",
    "update_keys",
    "write_early_data",
    "read_early_data",
];

/// What one socket is to be made of. Nothing can be done with it but that.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct SocketHandle(Mutex<Option<Parts>>);

impl SocketHandle {
    pub(crate) fn of_stream(py: Python<'_>, stream: Stream, origin: Origin) -> PyResult<Self> {
        let foreign = py.detach(|| stream.ask(ForeignBuffer::of));
        let foreign = outcome(py, origin.implementation, foreign, Signals::new(py)?)?;
        let origin = match &foreign {
            Some(buffer) => Origin {
                context: buffer.context(py)?.unbind(),
                implementation: buffer
                    .implementation(py)?
                    .map_or(origin.implementation, |name| kept(&name)),
                extended: buffer.is_extended(py)?,
            },
            None => origin,
        };
        Ok(Self(Mutex::new(Some(Parts {
            kind: Kind::Stream(Box::new(stream)),
            context: origin.context,
            implementation: origin.implementation,
            extended: origin.extended,
            foreign,
            engine: None,
            carrier: None,
        }))))
    }

    fn carried(self, carrier: Arc<Carrier>) -> Self {
        if let Some(parts) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            parts.carrier = Some(carrier);
        }
        self
    }

    /// What it holds; it holds nothing afterwards.
    pub(crate) fn take(&self) -> Option<Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A name of somebody else's implementation. There are few, and each is kept once, for good.
pub(crate) fn kept(name: &str) -> &'static str {
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.iter().find(|known| **known == name) {
        return known;
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.push(name);
    name
}

#[pymethods]
impl SocketHandle {
    /// The methods of the socket that not every library can serve, and this one can.
    #[getter]
    fn offers(&self, py: Python<'_>) -> PyResult<Vec<&'static str>> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((foreign, extended)) = parts
            .as_ref()
            .map(|parts| (parts.foreign.clone(), parts.extended))
        else {
            return Ok(Vec::new());
        };
        drop(parts);
        let mut offers = Vec::new();
        for name in OFFERS {
            let offered = match &foreign {
                Some(buffer) => buffer.has(py, name)?,
                None => extended,
            };
            if offered {
                offers.push(name);
            }
        }
        Ok(offers)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.0.try_lock().as_deref() {
            Ok(Some(parts)) => parts.traverse(&visit),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        drop(self.take());
    }
}

pub(crate) fn connect(
    py: Python<'_>,
    origin: Origin,
    addresses: &[Address],
    seconds: Option<f64>,
    accept_truncated_end: bool,
    make: impl FnOnce() -> Result<Box<dyn Session>, TlsError> + Send,
) -> PyResult<SocketHandle> {
    let addresses = socket_addresses(addresses)?;
    let timeout = timeout(seconds)?;
    if timeout == Timeout::NonBlocking {
        return Err(PyValueError::new_err(
            "timeout: connect() needs a timeout above 0; call setblocking(False) afterwards",
        ));
    }
    let mut signals = Signals::new(py)?;
    let connected =
        py.detach(|| polytls_io::connect(&addresses, timeout, timeout, make, &mut signals));
    let connected = connected.and_then(|stream| accepting(stream, accept_truncated_end));
    let stream = outcome(py, origin.implementation, connected, signals)?;
    SocketHandle::of_stream(py, stream, origin)
}

/// Takes over a connected `socket.socket` with the connection of `buffer`, which is given away. `leftover`: what
/// was received of the peer's TLS already.
#[pyfunction]
#[pyo3(signature = (buffer, socket, leftover, *, timeout, accept_truncated_end))]
pub(crate) fn over_socket(
    py: Python<'_>,
    buffer: &Bound<'_, PyAny>,
    socket: &Bound<'_, PyAny>,
    leftover: &[u8],
    timeout: Option<f64>,
    accept_truncated_end: bool,
) -> PyResult<SocketHandle> {
    let timeout = waiting::timeout(timeout)?;
    let (connection, origin) = given_away(py, buffer, leftover)?;
    let descriptor = descriptors::taken(socket)?;
    let taken = py.detach(|| polytls_io::take_over(descriptor, connection, timeout));
    let taken = taken.and_then(|stream| accepting(stream, accept_truncated_end));
    let stream = outcome(py, origin.implementation, taken, Signals::new(py)?)?;
    SocketHandle::of_stream(py, stream, origin)
}

/// The same, over a byte stream: a `Carrier` of `polytls.streams`.
#[pyfunction]
#[pyo3(signature = (buffer, carrier, leftover, *, timeout, accept_truncated_end))]
pub(crate) fn over_stream(
    py: Python<'_>,
    buffer: &Bound<'_, PyAny>,
    carrier: &Bound<'_, PyAny>,
    leftover: &[u8],
    timeout: Option<f64>,
    accept_truncated_end: bool,
) -> PyResult<SocketHandle> {
    let timeout = waiting::timeout(timeout)?;
    let carrier = Carrier::new(carrier)?;
    let known = carrier.known(py)?;
    let (connection, origin) = given_away(py, buffer, leftover)?;
    let transport = carrier.transport();
    let descriptor = carrier.descriptor();
    let made = py.detach(|| {
        let stream = Stream::over(transport, descriptor, connection, known, timeout)?;
        accepting(stream, accept_truncated_end)
    });
    let stream = outcome(py, origin.implementation, made, Signals::new(py)?)?;
    Ok(SocketHandle::of_stream(py, stream, origin)?.carried(carrier))
}

/// The connection of a buffer that a socket drives from now on.
fn given_away(
    py: Python<'_>,
    buffer: &Bound<'_, PyAny>,
    leftover: &[u8],
) -> PyResult<(Connection, Origin)> {
    let (mut connection, origin) = buffer::given_away(buffer)?;
    if !leftover.is_empty() {
        let taken = py.detach(|| connection.process_incoming(leftover));
        taken.map_err(|_| PyValueError::new_err("leftover: larger than any handshake"))?;
    }
    Ok((connection, origin))
}

fn accepting(stream: Stream, truncated_end: bool) -> Result<Stream, Error> {
    if truncated_end {
        stream.accept_truncated_end()?;
    }
    Ok(stream)
}

pub(crate) fn listen(
    py: Python<'_>,
    origin: Origin,
    addresses: &[Address],
    settings: ListenerSettings,
    seconds: Option<f64>,
    engine: Py<PyAny>,
    make: impl Fn() -> Result<Box<dyn Session>, TlsError> + Send + Sync + 'static,
) -> PyResult<SocketHandle> {
    let addresses = socket_addresses(addresses)?;
    let timeout = timeout(seconds)?;
    let bound = py.detach(|| Listener::bind(&addresses, settings, make));
    let listener = outcome(py, origin.implementation, bound, Signals::new(py)?)?;
    listener.set_timeout(timeout);
    Ok(SocketHandle(Mutex::new(Some(Parts {
        kind: Kind::Listener(listener),
        context: origin.context,
        implementation: origin.implementation,
        extended: origin.extended,
        foreign: None,
        engine: Some(engine),
        carrier: None,
    }))))
}
