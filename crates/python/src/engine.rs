//! Engines: what all connections of one context share, and where connections come from.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use polytls_core::{Connection, HostName, Parameters, Role, Statistics};
use polytls_io::ListenerSettings;
use pyo3::exceptions::PyValueError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{Borrowed, PyTraverseError};

use crate::addresses::Address;
use crate::buffer::Buffer;
use crate::callbacks::Callbacks;
use crate::errors::raised;
use crate::handle::{self, Origin, SocketHandle};
use crate::lineage::{Ech, Lineage, Offer};
use crate::{info, names};

fn counts<'py>(py: Python<'py>, statistics: &Statistics) -> PyResult<Bound<'py, PyDict>> {
    let counts = PyDict::new(py);
    counts.set_item("full", statistics.full)?;
    counts.set_item("resumed", statistics.resumed)?;
    counts.set_item("stored", statistics.stored)?;
    counts.set_item("hits", statistics.hits)?;
    counts.set_item("misses", statistics.misses)?;
    Ok(counts)
}

/// What all connections of a client context share.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct ClientEngine {
    pub(crate) engine: Arc<dyn polytls_core::ClientEngine>,
    /// What the engine calls, for the garbage collector.
    pub(crate) callbacks: Callbacks,
    pub(crate) implementation: &'static str,
    /// Whether its library can do more than those of all implementations.
    pub(crate) extended: bool,
}

impl ClientEngine {
    pub(crate) fn connection(
        &self,
        py: Python<'_>,
        parameters: &Parameters,
    ) -> PyResult<Connection> {
        // It makes the ClientHello, and so the keys of the key exchange.
        py.detach(|| self.engine.session(parameters))
            .map(|session| Connection::new(session, Role::Client))
            .map_err(|error| raised(py, self.implementation, &error))
    }
}

fn host(server_hostname: Option<&str>) -> PyResult<Option<HostName>> {
    server_hostname
        .map(|name| names::parse(name, "server_hostname"))
        .transpose()
}

/// Some of the core's `Parameters`, as a tuple: the name to verify, the port, what offers a session, the scope,
/// and what encrypts ClientHello.
pub(crate) struct Wanted(pub(crate) Parameters);

impl<'py> FromPyObject<'_, 'py> for Wanted {
    type Error = PyErr;

    fn extract(tuple: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        type Fields<'py> = (
            Option<String>,
            Option<u16>,
            Option<Bound<'py, Offer>>,
            Option<u32>,
            Option<Bound<'py, Ech>>,
        );
        let (server_hostname, port, offer, scope, ech): Fields<'py> = tuple.extract()?;
        Ok(Self(Parameters {
            host: host(server_hostname.as_deref())?,
            port,
            scope,
            offer: offer.map(|offer| offer.get().0.clone()),
            ech: ech.map(|ech| ech.get().0.clone()),
            ..Parameters::default()
        }))
    }
}

#[pymethods]
impl ClientEngine {
    /// The suites that may be negotiated.
    #[getter]
    fn effective_ciphers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        info::suites(py, &self.engine.effective().cipher_suites)
    }

    /// The groups that may be negotiated.
    #[getter]
    fn effective_groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        info::groups(py, &self.engine.effective().groups)
    }

    /// What has become of its connections so far.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        counts(py, &self.engine.statistics())
    }

    /// Permission to offer a session on a connection to `server_hostname`. Gives the whole verdict on
    /// its certificates for that name now.
    ///
    /// Raises ValueError.
    fn admit(
        &self,
        py: Python<'_>,
        lineage: &Bound<'_, Lineage>,
        server_hostname: Option<&str>,
    ) -> PyResult<Offer> {
        let host = host(server_hostname)?;
        let lineage = &lineage.get().0;
        py.detach(|| self.engine.admit(lineage, host.as_ref()))
            .map(Offer)
            .map_err(|error| raised(py, self.implementation, &error))
    }

    /// Chooses from a list of configurations for Encrypted ClientHello, for a connection to
    /// `server_hostname`.
    ///
    /// Raises ConfigurationError.
    fn ech(&self, py: Python<'_>, list: &[u8], server_hostname: Option<&str>) -> PyResult<Ech> {
        let host = host(server_hostname)?;
        py.detach(|| self.engine.ech(list, host.as_ref()))
            .map(Ech)
            .map_err(|error| raised(py, self.implementation, &error))
    }

    /// A connection in memory, for `context`.
    fn buffer<'py>(
        &self,
        py: Python<'py>,
        context: Py<PyAny>,
        parameters: Wanted,
    ) -> PyResult<Bound<'py, PyAny>> {
        let connection = self.connection(py, &parameters.0)?;
        Buffer::new(connection, context, self.implementation).object(py, self.extended)
    }

    /// A connected socket, for `context`, its handshake done: the first of `addresses` that
    /// answers. `timeout`: seconds for all of it, and per call afterwards; None waits for ever.
    #[pyo3(signature = (context, parameters, addresses, *, timeout, accept_truncated_end))]
    fn connect(
        &self,
        py: Python<'_>,
        context: Py<PyAny>,
        parameters: Wanted,
        addresses: Vec<Address>,
        timeout: Option<f64>,
        accept_truncated_end: bool,
    ) -> PyResult<SocketHandle> {
        let make = || self.engine.session(&parameters.0);
        handle::connect(
            py,
            Origin {
                context,
                implementation: self.implementation,
                extended: self.extended,
            },
            &addresses,
            timeout,
            accept_truncated_end,
            make,
        )
    }

    // A callback may well be a method of the object that keeps the context.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.callbacks.traverse(&visit)
    }
}

/// What all connections of a server context share.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct ServerEngine {
    current: Arc<Current>,
    pub(crate) implementation: &'static str,
    /// Whether its library can do more than those of all implementations.
    extended: bool,
}

/// The engine that connections come from, and what it calls, for the garbage collector.
struct Current(RwLock<(Arc<dyn polytls_core::ServerEngine>, Callbacks)>);

impl Current {
    /// Nobody runs any code while having the lock, so nobody waits for long.
    fn engine(&self) -> Arc<dyn polytls_core::ServerEngine> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.0)
    }
}

impl ServerEngine {
    pub(crate) fn new(
        engine: Arc<dyn polytls_core::ServerEngine>,
        callbacks: Callbacks,
        implementation: &'static str,
        extended: bool,
    ) -> Self {
        Self {
            current: Arc::new(Current(RwLock::new((engine, callbacks)))),
            implementation,
            extended,
        }
    }

    pub(crate) fn connection(&self, py: Python<'_>) -> PyResult<Connection> {
        self.current
            .engine()
            .session()
            .map(|session| Connection::new(session, Role::Server))
            .map_err(|error| raised(py, self.implementation, &error))
    }
}

#[pymethods]
impl ServerEngine {
    /// The suites that may be negotiated.
    #[getter]
    fn effective_ciphers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        info::suites(py, &self.current.engine().effective().cipher_suites)
    }

    /// The groups that may be negotiated.
    #[getter]
    fn effective_groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        info::groups(py, &self.current.engine().effective().groups)
    }

    /// What has become of its connections so far.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        counts(py, &self.current.engine().statistics())
    }

    /// Another one with the same connections, which `replace` changes.
    fn replaceable(&self) -> Self {
        let current = self.current.0.read();
        let (engine, callbacks) = &*current.unwrap_or_else(PoisonError::into_inner);
        Self::new(
            Arc::clone(engine),
            callbacks.clone(),
            self.implementation,
            self.extended,
        )
    }

    /// Has connections that begin from now on come from where those of `other` do, which is of the same
    /// implementation. Nothing changes for those that are under way.
    fn replace(&self, other: &Bound<'_, Self>) {
        let other = other.get().replaceable();
        let mut theirs = other
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut ours = self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // What was there goes when no lock is held: letting go of a callback may run code.
        std::mem::swap(&mut *ours, &mut *theirs);
    }

    /// A connection in memory, for `context`.
    fn buffer<'py>(&self, py: Python<'py>, context: Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let connection = self.connection(py)?;
        Buffer::new(connection, context, self.implementation).object(py, self.extended)
    }

    /// A listening socket, for `context`, bound to the first of `addresses` that can be.
    /// `timeout`: how long `accept` waits, in seconds; None waits for ever. The rest: as
    /// `ListenerSettings` has it.
    #[pyo3(signature = (context, addresses, *, timeout, backlog, reuse_port, dual_stack, do_handshake_on_accept, handshake_timeout, handshake_limit, handshake_may_block, accept_truncated_end))]
    #[allow(clippy::too_many_arguments, reason = "keyword-only: one per setting")]
    fn listen(
        this: &Bound<'_, Self>,
        context: Py<PyAny>,
        mut addresses: Vec<Address>,
        timeout: Option<f64>,
        backlog: i32,
        reuse_port: bool,
        dual_stack: bool,
        do_handshake_on_accept: bool,
        handshake_timeout: Option<f64>,
        handshake_limit: isize,
        handshake_may_block: bool,
        accept_truncated_end: bool,
    ) -> PyResult<SocketHandle> {
        let wrong = |message: &'static str| Err(PyValueError::new_err(message));
        if handshake_limit < 1 {
            return wrong("handshake_limit must be at least 1");
        }
        if handshake_timeout.is_some_and(|seconds| seconds.is_nan() || seconds <= 0.0) {
            return wrong("handshake_timeout must be greater than 0, or None");
        }
        if dual_stack {
            addresses.retain(|(host, ..)| host.contains(':'));
            if addresses.is_empty() {
                return wrong("dual_stack needs an IPv6 address, such as ::");
            }
        }
        let py = this.py();
        let server = this.get();
        let current = Arc::clone(&server.current);
        let make = move || current.engine().session();
        let owner = this.clone().into_any().unbind();
        let mut settings = ListenerSettings::default();
        settings.backlog = backlog;
        settings.reuse_port = reuse_port;
        settings.dual_stack = dual_stack;
        settings.handshake_on_accept = do_handshake_on_accept;
        settings.handshake_timeout = handshake_timeout.map_or(Duration::MAX, |seconds| {
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
        });
        settings.handshake_limit = handshake_limit.unsigned_abs();
        settings.handshake_may_block = handshake_may_block;
        settings.accept_truncated_end = accept_truncated_end;
        handle::listen(
            py,
            Origin {
                context,
                implementation: server.implementation,
                extended: server.extended,
            },
            &addresses,
            settings,
            timeout,
            owner,
            make,
        )
    }

    // A callback may well be a method of the object that keeps the context.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.current.0.try_read() {
            Ok(current) => current.1.traverse(&visit),
            Err(_) => Ok(()),
        }
    }
}
