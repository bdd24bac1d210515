//! Engines for contexts of `ssl`, of plain values: what `ssl` allows and a configuration of PEP 748 refuses (no
//! verification, an empty store, OpenSSL's rules for stores) has no place in one.

use std::sync::Arc;

use polytls_core::config::{
    ClientAuthentication, ClientConfig, Common, Identity, Key, KeyLog, Rules, ServerConfig,
    Staples, Trust, TrustStore, Verification, Version,
};
use polytls_core::pem;
use polytls_core::pki_types::{CertificateDer, CertificateRevocationListDer};
use pyo3::prelude::*;

use crate::backend::Backend;
use crate::callbacks::Callbacks;
use crate::engine::{ClientEngine, ServerEngine};
use crate::errors::{misconfigured, raised};
use crate::key_log::Lines;

/// What a context of `ssl` was told, as `polytls.compat.settings` hands it over.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Settings {
    /// TLS 1.2 and 1.3, whether each may be spoken.
    versions: (bool, bool),
    ciphers: Option<Vec<u16>>,
    groups: Option<Vec<u16>>,
    alpn: Vec<Vec<u8>>,
    sessions: Option<usize>,
    /// Of a server, in TLS 1.3.
    tickets: usize,
    key_log: Option<Py<PyAny>>,
    /// Each with its key, in PEM.
    chains: Vec<(Vec<Vec<u8>>, Vec<u8>)>,
    verifies: bool,
    checks_hostname: bool,
    /// Of a server: whether a client without a certificate is refused.
    requires: bool,
    system: bool,
    certificates: Vec<Vec<u8>>,
    /// In PEM.
    crls: Vec<Vec<u8>>,
    whole_chains: bool,
    strict: bool,
    needs_lists: bool,
    lists_for_leaf: bool,
}

impl Settings {
    fn common(
        &self,
        py: Python<'_>,
        implementation: &str,
        callbacks: &mut Callbacks,
    ) -> PyResult<Common> {
        let key_log = self.key_log.as_ref();
        let key_log = key_log.map(|callable| callbacks.add(Lines(callable.clone_ref(py))));
        let (tls12, tls13) = self.versions;
        let versions = [(Version::Tls12, tls12), (Version::Tls13, tls13)];
        let mut crls: Vec<CertificateRevocationListDer<'static>> = Vec::new();
        for list in &self.crls {
            crls.extend(pem::revocation_lists(list).map_err(|error| {
                misconfigured(py, implementation, "trust_store", error.to_string())
            })?);
        }
        let spoken = versions.into_iter().filter(|(_, spoken)| *spoken);
        Ok(Common {
            versions: spoken.map(|(version, _)| version).collect(),
            cipher_suites: self.ciphers.clone(),
            groups: self.groups.clone(),
            alpn: self.alpn.clone(),
            sessions: self.sessions,
            key_log: key_log.map(|lines| lines as Arc<dyn KeyLog>),
            crls,
            rules: Rules {
                whole_chains: self.whole_chains,
                strict: self.strict,
                may_be_empty: true,
                needs_lists: self.needs_lists,
                lists_for_leaf: self.lists_for_leaf,
            },
            staples: Staples::Ignored,
            ..Common::default()
        })
    }

    fn identities(&self, py: Python<'_>, implementation: &str) -> PyResult<Vec<Identity>> {
        let identity = |(chain, key): &(Vec<Vec<u8>>, Vec<u8>)| {
            let key = pem::private_key(key).map_err(|error| {
                misconfigured(py, implementation, "certificate_chain", error.to_string())
            })?;
            let chain = chain.iter().map(|der| CertificateDer::from(der.clone()));
            Ok(Identity {
                chain: chain.collect(),
                key: Key::Der(key),
                ocsp_response: None,
            })
        };
        self.chains.iter().map(identity).collect()
    }

    fn trust(&self) -> Trust {
        let certificates = self.certificates.iter();
        Trust::Store(TrustStore {
            system: self.system,
            certificates: certificates
                .map(|der| CertificateDer::from(der.clone()))
                .collect(),
            v1_authorities: true,
            ..TrustStore::default()
        })
    }

    const fn verification(&self) -> Verification {
        match (self.verifies, self.checks_hostname) {
            (true, true) => Verification::Full,
            (true, false) => Verification::AnyName,
            (false, _) => Verification::Nothing,
        }
    }

    /// For clients. What the engine will call is added to `callbacks`.
    fn client(
        &self,
        py: Python<'_>,
        implementation: &str,
        callbacks: &mut Callbacks,
    ) -> PyResult<ClientConfig> {
        Ok(ClientConfig {
            common: self.common(py, implementation, callbacks)?,
            identities: self.identities(py, implementation)?,
            trust: self.trust(),
            verification: self.verification(),
            ech_grease: false,
        })
    }

    /// For servers, likewise.
    fn server(
        &self,
        py: Python<'_>,
        implementation: &str,
        callbacks: &mut Callbacks,
    ) -> PyResult<ServerConfig> {
        Ok(ServerConfig {
            common: self.common(py, implementation, callbacks)?,
            identities: self.identities(py, implementation)?,
            client_authentication: match (self.verifies, self.requires) {
                (false, _) => ClientAuthentication::None,
                (true, false) => ClientAuthentication::Optional,
                (true, true) => ClientAuthentication::Required,
            },
            trust: self.verifies.then(|| self.trust()),
            verification: Verification::Full,
            ticket_keys: None,
            ech_keys: Vec::new(),
            tickets: Some(self.tickets),
        })
    }
}

/// An engine for the client connections of a context of `ssl`.
///
/// Raises ConfigurationError, naming the field.
#[pyfunction]
pub(crate) fn client_of_ssl(
    py: Python<'_>,
    backend: &Backend,
    settings: Settings,
) -> PyResult<ClientEngine> {
    let implementation = backend.0.id();
    let mut callbacks = Callbacks::default();
    let config = settings.client(py, implementation, &mut callbacks)?;
    let engine = py
        .detach(|| backend.0.client(&config))
        .map_err(|error| raised(py, implementation, &error))?;
    Ok(ClientEngine {
        engine,
        callbacks,
        implementation,
        extended: true,
    })
}

/// The same for its server connections.
///
/// Raises ConfigurationError, naming the field.
#[pyfunction]
pub(crate) fn server_of_ssl(
    py: Python<'_>,
    backend: &Backend,
    settings: Settings,
) -> PyResult<ServerEngine> {
    let implementation = backend.0.id();
    let mut callbacks = Callbacks::default();
    let config = settings.server(py, implementation, &mut callbacks)?;
    let engine = py
        .detach(|| backend.0.server(&config))
        .map_err(|error| raised(py, implementation, &error))?;
    Ok(ServerEngine::new(engine, callbacks, implementation, true))
}
