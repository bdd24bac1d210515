//! Somebody else's `TLSBuffer`: its calls, what they raise, and whether what they return can be.

use std::sync::{Arc, OnceLock};

use polytls_core::{Connection, Role};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyAttributeError, PyBaseException, PyException};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};

use super::engine::NAME;
use super::raised::Raised;
use crate::calls::{Arguments, CallsOut as _};
use crate::errors::{is_want_read, is_want_write, misconfigured};
use crate::imported::Imported;

static SERVER: Imported = Imported::new("polytls.configuration", "TLSServerConfiguration");

/// Why a call did not do what was asked.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It needs more from the peer.
    WantRead,
    /// Something has to be sent first.
    WantWrite,
    /// It has raised anything else.
    Raised(PyErr),
    /// The same, where that is no `Exception`.
    Interrupted(PyErr),
    /// It has done what the interface rules out.
    Broken(String),
}

impl Trouble {
    fn of(py: Python<'_>, error: PyErr) -> Self {
        match (is_want_read(py, &error), is_want_write(py, &error)) {
            (Ok(true), _) => Self::WantRead,
            (_, Ok(true)) => Self::WantWrite,
            (Err(failed), _) | (_, Err(failed)) => Self::Raised(failed),
            _ if error.is_instance_of::<PyException>(py) => Self::Raised(error),
            _ => Self::Interrupted(error),
        }
    }
}

/// See the module.
pub(crate) struct ForeignBuffer {
    buffer: Py<PyAny>,
    /// The name of its class, for messages.
    class: String,
    /// What has ended the connection.
    failure: OnceLock<Arc<Raised>>,
}

impl ForeignBuffer {
    pub(crate) fn new(buffer: &Bound<'_, PyAny>) -> PyResult<Self> {
        let class = buffer.get_type();
        let name = class.attribute("__qualname__")?.text()?;
        let module = class.attribute("__module__")?.text()?;
        Ok(Self {
            buffer: buffer.clone().unbind(),
            class: format!("{module}.{name}"),
            failure: OnceLock::new(),
        })
    }

    /// What a connection is made of, if it is one of these.
    pub(crate) fn of(connection: &Connection) -> Option<Arc<Self>> {
        connection.origin()?.downcast().ok()
    }

    /// Which side it is, by its configuration.
    pub(crate) fn role(&self, py: Python<'_>) -> PyResult<Role> {
        let configuration = self.context(py)?.attribute("configuration")?;
        Ok(if configuration.is_instance(SERVER.get(py)?)? {
            Role::Server
        } else {
            Role::Client
        })
    }

    // --- calls for a session ---

    pub(crate) fn call<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        arguments: impl Arguments<'py>,
    ) -> Result<Bound<'py, PyAny>, Trouble> {
        let called = self.buffer.bind(py).method_out(name, arguments);
        called.map_err(|error| Trouble::of(py, error))
    }

    /// `buffer.name`.
    pub(crate) fn told<'py>(
        &self,
        py: Python<'py>,
        name: &str,
    ) -> Result<Bound<'py, PyAny>, Trouble> {
        let found = self.buffer.bind(py).attribute(name);
        found.map_err(|error| Trouble::of(py, error))
    }

    /// Like [`Self::call`], of a method that gives a count, of no more than `most`.
    pub(crate) fn count<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        arguments: impl Arguments<'py>,
        most: usize,
    ) -> Result<usize, Trouble> {
        let found = self.call(py, name, arguments)?;
        let Ok(number) = found.cast::<PyInt>() else {
            return Err(self.wrong_type(name, &found, "int"));
        };
        match number.extract::<usize>() {
            Ok(count) if count <= most => Ok(count),
            _ => {
                let number = number.text().map(|text| text.to_string());
                let number = number.unwrap_or_default();
                Err(self.broken(
                    name,
                    &format!("returned {number}, which must be 0 to {most}"),
                ))
            }
        }
    }

    /// The same, of a method that gives bytes, of which there are no more than `most`.
    pub(crate) fn bytes<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        most: usize,
    ) -> Result<Bound<'py, PyBytes>, Trouble> {
        let found = self.call(py, name, (most,))?;
        let found = match found.cast_into::<PyBytes>() {
            Ok(bytes) => bytes,
            Err(other) => return Err(self.wrong_type(name, &other.into_inner(), "bytes")),
        };
        let length = found.as_bytes().len();
        if length > most {
            let what = format!("returned {length} bytes where {most} were asked for");
            return Err(self.broken(name, &what));
        }
        Ok(found)
    }

    /// What its author is told.
    pub(crate) fn broken(&self, method: &str, what: &str) -> Trouble {
        Trouble::Broken(format!(
            "{}.{method}() {what}: this TLSBuffer breaks PEP 748",
            self.class
        ))
    }

    fn wrong_type(&self, method: &str, found: &Bound<'_, PyAny>, wanted: &str) -> Trouble {
        let kind = found.get_type().name();
        let kind = kind.map_or_else(|_| "something".to_owned(), |name| name.to_string());
        self.broken(method, &format!("returned {kind}, expected {wanted}"))
    }

    /// Notes what ends the connection.
    pub(crate) fn failed(&self, error: &Bound<'_, PyBaseException>) -> Arc<Raised> {
        Arc::clone(self.failure.get_or_init(|| Raised::lasting(error)))
    }

    // --- what it tells by itself ---

    /// Whether it has this attribute.
    pub(crate) fn has(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        match self.buffer.bind(py).attribute(name) {
            Ok(_) => Ok(true),
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `buffer.name`.
    pub(crate) fn fact<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.buffer.bind(py).attribute(name)
    }

    /// `buffer.name(*arguments)`.
    pub(crate) fn ask<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        arguments: impl Arguments<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.buffer.bind(py).method_out(name, arguments)
    }

    /// The same, of a method beyond PEP 748.
    pub(crate) fn optional<'py>(
        &self,
        py: Python<'py>,
        name: &'static str,
        arguments: impl Arguments<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if !self.has(py, name)? {
            let what = format!("{} has no {name}()", self.class);
            return Err(misconfigured(py, NAME, name, what));
        }
        self.ask(py, name, arguments)
    }

    /// The session of the connection, for others to resume.
    pub(crate) fn session<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.has(py, "session")? {
            self.fact(py, "session").map(Some)
        } else {
            Ok(None)
        }
    }

    /// Whether it can do all that some implementations can and others cannot.
    pub(crate) fn is_extended(&self, py: Python<'_>) -> PyResult<bool> {
        for name in [
            "export_keying_material",
            "update_keys",
            "write_early_data",
            "read_early_data",
        ] {
            if !self.has(py, name)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What its implementation is called, as far as it tells.
    pub(crate) fn implementation(&self, py: Python<'_>) -> PyResult<Option<String>> {
        if !self.has(py, "info")? {
            return Ok(None);
        }
        Ok(self
            .fact(py, "info")?
            .attribute("implementation")?
            .extract()
            .ok())
    }

    pub(crate) fn context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.fact(py, "context")
    }

    // --- for the garbage collector ---

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.buffer)?;
        self.failure
            .get()
            .map_or(Ok(()), |failure| failure.traverse(visit))
    }

    pub(crate) fn clear(&self) {
        if let Some(failure) = self.failure.get() {
            failure.clear();
        }
    }
}
