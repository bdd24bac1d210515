//! Backends: the TLS libraries that are built in, and how engines are made of them.

use std::sync::Arc;

use polytls_core::Unavailable;
use polytls_core::config::{ClientAuthentication, ClientConfig, ServerConfig};
use polytls_rustls::Rustls;
use pyo3::exceptions::{PyImportError, PyValueError};
use pyo3::prelude::*;

use crate::callbacks::Callbacks;
use crate::capabilities::Capabilities;
use crate::configuration::{self, CommonData, SharedKeys, TrustData};
use crate::engine::{ClientEngine, ServerEngine};
use crate::errors::raised;

/// How a library's backend is had.
type Load = fn() -> Result<Arc<dyn polytls_core::Backend>, Unavailable>;

/// The backends built into this module, by their ids.
static BACKENDS: [(&str, Load); 1] = [("rustls", load::<Rustls>)];

fn load<B: polytls_core::Backend + 'static>() -> Result<Arc<dyn polytls_core::Backend>, Unavailable>
{
    Ok(Arc::new(B::load()?))
}

/// A TLS library.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct Backend(Arc<dyn polytls_core::Backend>);

/// The backend called `id`.
///
/// Raises ValueError for one that is not built in, and ImportError, which says what is missing, for a
/// library that this machine does not have.
#[pyfunction]
pub(crate) fn backend(py: Python<'_>, id: &str) -> PyResult<Backend> {
    let (_, load) = BACKENDS
        .iter()
        .find(|(known, _)| *known == id)
        .ok_or_else(|| PyValueError::new_err(format!("no backend {id:?} is built in")))?;
    // A library that is looked for on the disk takes its time.
    py.detach(load)
        .map(Backend)
        .map_err(|missing| PyImportError::new_err(missing.to_string()))
}

/// Whether connections made from now on use polytls's own TLS 1.3 record layer, where a backend can
/// go without it. On by default; off is for tests and for bisecting. Returns whether they did until
/// now.
#[pyfunction]
pub(crate) fn use_record_layer(on: bool) -> bool {
    polytls_rustls::use_record_layer(on)
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

    /// An engine for client connections. `trust`: what servers are verified by.
    ///
    /// Raises ConfigurationError, naming the field.
    #[pyo3(signature = (common, *, trust))]
    fn client(
        &self,
        py: Python<'_>,
        common: CommonData,
        trust: TrustData,
    ) -> PyResult<ClientEngine> {
        let implementation = self.0.id();
        let mut callbacks = Callbacks::default();
        let config = ClientConfig {
            common: common.common(py, implementation, Some(&trust), &mut callbacks)?,
            identities: common.identities(py, implementation, &mut callbacks)?,
            trust: trust.trust(py, implementation)?,
            verification: common.verification(),
        };
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

    /// An engine for server connections. `trust`: as for clients; None only without client
    /// authentication. `asks`, `requires`: whether clients are asked for a certificate, and must have one.
    ///
    /// Raises ConfigurationError, naming the field.
    #[pyo3(signature = (common, *, asks, requires, ticket_keys, trust))]
    fn server(
        &self,
        py: Python<'_>,
        common: CommonData,
        asks: bool,
        requires: bool,
        ticket_keys: Option<SharedKeys>,
        trust: Option<TrustData>,
    ) -> PyResult<ServerEngine> {
        let implementation = self.0.id();
        let mut callbacks = Callbacks::default();
        let config = ServerConfig {
            common: common.common(py, implementation, trust.as_ref(), &mut callbacks)?,
            identities: common.identities(py, implementation, &mut callbacks)?,
            client_authentication: match (asks, requires) {
                (false, _) => ClientAuthentication::None,
                (true, false) => ClientAuthentication::Optional,
                (true, true) => ClientAuthentication::Required,
            },
            trust: trust
                .as_ref()
                .map(|trust| trust.trust(py, implementation))
                .transpose()?,
            verification: common.verification(),
            ticket_keys: ticket_keys.map(configuration::ticket_keys),
        };
        let engine = py
            .detach(|| self.0.server(&config))
            .map_err(|error| raised(py, implementation, &error))?;
        Ok(ServerEngine {
            engine,
            callbacks,
            implementation,
            extended: true,
        })
    }
}
