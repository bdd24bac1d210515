//! Engines of anybody's contexts: each connection is a buffer that the context makes.

use std::fmt;
use std::sync::Arc;

use polytls_core::{Effective, Error, HostName, Lineage, Offer, Parameters, Session, Statistics};
use pyo3::prelude::*;

use super::object::ForeignBuffer;
use super::raised::Raised;
use super::session::ForeignSession;
use crate::callbacks::{self, Callback, Callbacks, ENDING};
use crate::calls::CallsOut as _;
use crate::engine::{ClientEngine, ServerEngine};
use crate::handle::kept;

/// What implementations are called that this module does not know.
pub(crate) const NAME: &str = "third-party";

/// Makes a `TLSBuffer` for one connection.
struct Maker(Py<PyAny>);

impl Callback for Maker {
    fn callable(&self) -> &Py<PyAny> {
        &self.0
    }
}

/// See the module.
struct PythonEngine {
    make: Arc<Maker>,
    /// Nothing is known of it.
    effective: Effective,
}

impl fmt::Debug for PythonEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PythonEngine")
    }
}

impl PythonEngine {
    fn new(make: &Bound<'_, PyAny>) -> (Arc<Self>, Callbacks) {
        let mut callbacks = Callbacks::default();
        let make = callbacks.add(Maker(make.clone().unbind()));
        let effective = Effective {
            versions: Vec::new(),
            cipher_suites: Vec::new(),
            groups: Vec::new(),
        };
        (Arc::new(Self { make, effective }), callbacks)
    }

    /// What the context raises is told as it is.
    fn connection(&self) -> Result<Box<dyn Session>, Error> {
        let made = callbacks::attached(|py| {
            callbacks::apart(|| {
                let buffer = self.make.0.bind(py).call_out((), None)?;
                ForeignSession::new(py, Arc::new(ForeignBuffer::new(&buffer)?))
            })
            .map_err(|error: PyErr| Raised::once(error.value(py)).error(false))
        });
        let session = made.ok_or_else(|| Error::Internal(ENDING.to_owned()))??;
        Ok(Box::new(session))
    }
}

impl polytls_core::ClientEngine for PythonEngine {
    fn session(&self, parameters: &Parameters) -> Result<Box<dyn Session>, Error> {
        parameters.check_common()?;
        self.connection()
    }

    fn admit(&self, _: &Lineage, _: Option<&HostName>) -> Result<Offer, Error> {
        Err(Error::NotResumable {
            message: "it belongs to another context".to_owned(),
            failure: None,
        })
    }

    fn effective(&self) -> &Effective {
        &self.effective
    }

    fn statistics(&self) -> Statistics {
        Statistics::default()
    }
}

impl polytls_core::ServerEngine for PythonEngine {
    fn session(&self) -> Result<Box<dyn Session>, Error> {
        self.connection()
    }

    fn effective(&self) -> &Effective {
        &self.effective
    }

    fn statistics(&self) -> Statistics {
        Statistics::default()
    }
}

/// An engine for client connections of anybody's context. `make`: makes a `TLSBuffer` for one of them; name,
/// session and the like are its affair, so that parameters are not looked at.
#[pyfunction]
pub(crate) fn foreign_client(make: &Bound<'_, PyAny>) -> ClientEngine {
    let (engine, callbacks) = PythonEngine::new(make);
    ClientEngine {
        engine,
        callbacks,
        implementation: NAME,
        extended: false,
    }
}

/// The same, for server connections; `implementation`: what it is called.
#[pyfunction]
pub(crate) fn foreign_server(make: &Bound<'_, PyAny>, implementation: &str) -> ServerEngine {
    let (engine, callbacks) = PythonEngine::new(make);
    ServerEngine::new(engine, callbacks, kept(implementation), false)
}
