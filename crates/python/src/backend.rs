//! Backends: the TLS libraries that are built in, and how engines are made of them.

use std::path::PathBuf;
use std::sync::Arc;

use polytls_core::Unavailable;
use polytls_core::config::{ClientConfig, ServerConfig};
use polytls_openssl::{Openssl, Options};
use polytls_rustls::Rustls;
use pyo3::exceptions::{PyImportError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::callbacks::Callbacks;
use crate::capabilities::{Capabilities, Effective};
use crate::configuration::{Configuration, verification};
use crate::engine::{ClientEngine, ServerEngine};
use crate::errors::raised;
use crate::ids;

/// How a library's backend is had.
type Load = fn() -> Result<Arc<dyn polytls_core::Backend>, Unavailable>;

/// The backends built into this module, by their ids.
static BACKENDS: [(&str, Load); 2] = [("rustls", load::<Rustls>), ("openssl", load::<Openssl>)];

fn load<B: polytls_core::Backend + 'static>() -> Result<Arc<dyn polytls_core::Backend>, Unavailable>
{
    Ok(Arc::new(B::load()?))
}

/// A TLS library.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct Backend(pub(crate) Arc<dyn polytls_core::Backend>);

/// The backend called `id`. `record_layer`: whether its engines use polytls's own TLS 1.3 record layer, where a
/// backend can go without it; False is for tests and for bisecting.
///
/// Raises ValueError for one that is not built in, and ImportError, which says what is missing, for a
/// library that this machine does not have.
#[pyfunction]
#[pyo3(signature = (id, *, record_layer = true))]
pub(crate) fn backend(py: Python<'_>, id: &str, record_layer: bool) -> PyResult<Backend> {
    if id == "rustls" && !record_layer {
        return Ok(Backend(Arc::new(Rustls::without_record_layer())));
    }
    let (_, load) = BACKENDS
        .iter()
        .find(|(known, _)| *known == id)
        .ok_or_else(|| PyValueError::new_err(format!("there is no backend {id:?}")))?;
    // A library that is looked for on the disk takes its time.
    py.detach(load)
        .map(Backend)
        .map_err(|missing| PyImportError::new_err(missing.to_string()))
}

/// Has the backend `openssl` use this libssl instead of the one that would be found; to be called before it is
/// asked for first.
///
/// Raises RuntimeError if another one is in use already.
#[pyfunction]
pub(crate) fn use_openssl(path: PathBuf) -> PyResult<()> {
    polytls_openssl::use_library(path).map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// The backend `openssl` with what an application asks of OpenSSL beyond configurations; the same one for the
/// same options.
///
/// Raises ConfigurationError, naming the option, and ImportError as `backend`.
#[pyfunction]
#[pyo3(signature = (*, properties, security_level, providers, library_context, configuration_file))]
pub(crate) fn openssl_backend(
    py: Python<'_>,
    properties: Option<String>,
    security_level: Option<i64>,
    providers: Vec<String>,
    library_context: bool,
    configuration_file: Option<PathBuf>,
) -> PyResult<Backend> {
    let options = Options {
        properties,
        // What is no level is told by its field.
        security_level: security_level.map(|level| u8::try_from(level).unwrap_or(u8::MAX)),
        providers,
        library_context,
        configuration_file,
    };
    let loaded = py.detach(|| {
        <Openssl as polytls_core::Backend>::load().map(|openssl| openssl.with(&options))
    });
    match loaded {
        Ok(Ok(openssl)) => Ok(Backend(Arc::new(openssl))),
        Ok(Err(error)) => Err(raised(py, "openssl", &error)),
        Err(missing) => Err(PyImportError::new_err(missing.to_string())),
    }
}

#[pymethods]
impl Backend {
    /// The id by which it is asked for.
    #[getter]
    fn id(&self) -> &'static str {
        self.0.id()
    }

    /// The library and its version.
    #[getter]
    fn version(&self) -> String {
        self.0.version()
    }

    /// What it can do on this machine.
    #[getter]
    fn capabilities(&self) -> Capabilities {
        Capabilities(self.0.capabilities())
    }

    /// Refuses ids in a configuration that name nothing, with nothing opened.
    ///
    /// Raises ConfigurationError, naming the field.
    fn check_ids(&self, configuration: &Bound<'_, PyAny>) -> PyResult<()> {
        ids::check(configuration, &*self.0)
    }

    /// An engine for client connections. `configuration`: with its files read; `effective`: what it came to.
    /// `insecure`: an `InsecureConfiguration` or None. `key_log`: takes each line of the NSS key log format.
    ///
    /// Raises ConfigurationError, naming the field.
    #[pyo3(signature = (configuration, effective, insecure, *, key_log))]
    fn client(
        &self,
        py: Python<'_>,
        configuration: &Bound<'_, PyAny>,
        effective: &Effective,
        insecure: &Bound<'_, PyAny>,
        key_log: &Bound<'_, PyAny>,
    ) -> PyResult<ClientEngine> {
        let configuration = Configuration {
            backend: Some(&*self.0),
            fields: configuration,
            effective,
        };
        let mut callbacks = Callbacks::default();
        let config = ClientConfig {
            common: configuration.common(key_log, &mut callbacks)?,
            identities: configuration.identities(&mut callbacks)?,
            trust: configuration.trust()?.ok_or_else(|| {
                PyValueError::new_err("configuration: expected a client configuration")
            })?,
            verification: verification(insecure)?,
            ech_grease: effective.sends_grease(),
        };
        let implementation = self.0.id();
        let engine = py
            .detach(|| self.0.client(&config))
            .map_err(|error| raised(py, implementation, &error))?;
        Ok(ClientEngine {
            engine,
            callbacks,
            implementation,
            extended: true,
        })
    }

    /// An engine for server connections, likewise.
    ///
    /// Raises ConfigurationError, naming the field.
    #[pyo3(signature = (configuration, effective, insecure, *, key_log))]
    fn server(
        &self,
        py: Python<'_>,
        configuration: &Bound<'_, PyAny>,
        effective: &Effective,
        insecure: &Bound<'_, PyAny>,
        key_log: &Bound<'_, PyAny>,
    ) -> PyResult<ServerEngine> {
        let configuration = Configuration {
            backend: Some(&*self.0),
            fields: configuration,
            effective,
        };
        let mut callbacks = Callbacks::default();
        let config = ServerConfig {
            common: configuration.common(key_log, &mut callbacks)?,
            identities: configuration.identities(&mut callbacks)?,
            client_authentication: effective.asked(),
            trust: configuration.trust()?,
            verification: verification(insecure)?,
            ticket_keys: configuration.ticket_keys()?,
            ech_keys: configuration.ech_keys()?,
            tickets: None,
        };
        let implementation = self.0.id();
        let engine = py
            .detach(|| self.0.server(&config))
            .map_err(|error| raised(py, implementation, &error))?;
        Ok(ServerEngine::new(engine, callbacks, implementation, true))
    }
}
