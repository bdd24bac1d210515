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
use crate::calls::CallsOut as _;
use crate::descriptors;
use crate::errors::cause;
use crate::foreign::ForeignBuffer;
use crate::waiting::{Signals, outcome, timeout};

pub(crate) enum Kind {
    Stream(Box<Stream>),
    Listener(Listener),
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

/// What one socket is to be made of. Nothing can be done with it but that.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct SocketHandle(Mutex<Option<Parts>>);

impl SocketHandle {
    pub(crate) fn of_stream(
        py: Python<'_>,
        stream: Stream,
        context: Py<PyAny>,
        implementation: &'static str,
    ) -> PyResult<Self> {
        let foreign = py.detach(|| stream.ask(ForeignBuffer::of));
        let foreign = outcome(py, implementation, foreign, Signals::new(py)?)?;
        let context = match &foreign {
            Some(buffer) => buffer.context(py)?.unbind(),
            None => context,
        };
        Ok(Self(Mutex::new(Some(Parts {
            kind: Kind::Stream(Box::new(stream)),
            context,
            implementation,
            foreign,
            engine: None,
        }))))
    }

    /// What it holds; it holds nothing afterwards.
    pub(crate) fn take(&self) -> Option<Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl SocketHandle {
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
    context: Py<PyAny>,
    implementation: &'static str,
    addresses: &[Address],
    seconds: Option<f64>,
    accept_truncated_end: bool,
    make: impl FnOnce() -> Result<Box<dyn Session>, TlsError> + Send,
) -> PyResult<SocketHandle> {
    let addresses = socket_addresses(addresses)?;
    let timeout = timeout(seconds)?;
    if timeout == Timeout::NonBlocking {
        return Err(PyValueError::new_err(
            "timeout: connecting takes time; give more than 0, and setblocking(False) afterwards",
        ));
    }
    let mut signals = Signals::new(py)?;
    let connected =
        py.detach(|| polytls_io::connect(&addresses, timeout, timeout, make, &mut signals));
    let connected = connected.and_then(|stream| accepting(stream, accept_truncated_end));
    let stream = outcome(py, implementation, connected, signals)?;
    SocketHandle::of_stream(py, stream, context, implementation)
}

/// Takes over a connected `socket.socket`; `connection` has what was received of it before.
pub(crate) fn take_over(
    py: Python<'_>,
    context: Py<PyAny>,
    implementation: &'static str,
    socket: &Bound<'_, PyAny>,
    connection: Connection,
    accept_truncated_end: bool,
) -> PyResult<SocketHandle> {
    let timeout = timeout(socket.method_out("gettimeout", ())?.extract()?)?;
    let descriptor = descriptors::taken(socket)?;
    let taken = py.detach(|| polytls_io::take_over(descriptor, connection, timeout));
    let taken = taken.and_then(|stream| accepting(stream, accept_truncated_end));
    let stream = outcome(py, implementation, taken, Signals::new(py)?)?;
    SocketHandle::of_stream(py, stream, context, implementation)
}

fn accepting(stream: Stream, truncated_end: bool) -> Result<Stream, Error> {
    if truncated_end {
        stream.accept_truncated_end()?;
    }
    Ok(stream)
}

#[allow(
    clippy::too_many_arguments,
    reason = "as `ServerEngine.listen` has them"
)]
pub(crate) fn listen(
    py: Python<'_>,
    context: Py<PyAny>,
    implementation: &'static str,
    addresses: &[Address],
    settings: ListenerSettings,
    seconds: Option<f64>,
    engine: Py<PyAny>,
    make: impl Fn() -> Result<Box<dyn Session>, TlsError> + Send + Sync + 'static,
) -> PyResult<SocketHandle> {
    let addresses = socket_addresses(addresses)?;
    let timeout = timeout(seconds)?;
    let bound = py.detach(|| Listener::bind(&addresses, settings, make));
    let listener = outcome(py, implementation, bound, Signals::new(py)?)?;
    listener.set_timeout(timeout);
    Ok(SocketHandle(Mutex::new(Some(Parts {
        kind: Kind::Listener(listener),
        context,
        implementation,
        foreign: None,
        engine: Some(engine),
    }))))
}
