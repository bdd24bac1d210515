//! Backends and engines: configuration comes in here, as plain values.
//!
//! `polytls.implementations` has read files and checked what every implementation checks by then;
//! here the rest is parsed and handed to the core.

use std::sync::Arc;
use std::time::Duration;

use polytls_core::config::{
    ClientAuthentication, ClientConfig, Common, Identity, Key, KeyLog, PeerVerifier, Pins, Secret,
    ServerConfig, TicketKeys, Trust, Verification, Version,
};
use polytls_core::{Connection, Effective, HostName, Role, Statistics, pem, pki_types};
use polytls_io::ListenerSettings;
use polytls_rustls::Rustls;
use pyo3::PyTraverseError;
use pyo3::exceptions::PyValueError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::buffer::TlsBuffer;
use crate::errors::{misconfigured, raised};
use crate::key_log::Lines;
use crate::signer::PythonSigner;
use crate::socket::{self, Address, SocketHandle};
use crate::verifier::Hook;
use crate::{info, names};

/// Certificate files of a chain, leaf first, its key unless that is in the first of the files,
/// and what is stapled to it.
type Chain = (Vec<Vec<u8>>, Option<KeyData>, Option<Vec<u8>>);

/// A private key as `polytls.certificates` hands it over.
#[derive(FromPyObject)]
pub(crate) enum KeyData {
    File(Vec<u8>),
    /// The public key, the numbers of the algorithms, what signs.
    Signer((Vec<u8>, Vec<u16>, Py<PyAny>)),
}

/// The secret that ticket keys are derived from, the one before it, rotation and lifetime in seconds.
type SharedKeys = (Vec<u8>, Option<Vec<u8>>, u64, u64);

/// The backends built into this module.
static BACKENDS: [&dyn polytls_core::Backend; 1] = [&Rustls];

/// A TLS library.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct Backend(&'static dyn polytls_core::Backend);

/// The backend called `id`.
///
/// Raises ValueError for one that is not built in.
#[pyfunction]
pub(crate) fn backend(id: &str) -> PyResult<Backend> {
    BACKENDS
        .iter()
        .find(|backend| backend.id() == id)
        .map(|backend| Backend(*backend))
        .ok_or_else(|| PyValueError::new_err(format!("no backend {id:?} is built in")))
}

/// Whether connections made from now on use polytls's own TLS 1.3 record layer, where a backend can
/// go without it. On by default; off is for tests and for bisecting.
#[pyfunction]
pub(crate) fn use_record_layer(on: bool) {
    polytls_rustls::use_record_layer(on);
}

/// notBefore and notAfter of the first certificate in `data`, PEM or DER, in seconds since 1970.
///
/// Raises ValueError if there is none that can be read.
#[pyfunction]
pub(crate) fn leaf_validity(data: &[u8]) -> PyResult<(i64, i64)> {
    let wrong = |error: String| PyValueError::new_err(format!("the certificate: {error}"));
    let certificates = pem::certificates(data).map_err(|error| wrong(error.to_string()))?;
    let leaf = certificates.first();
    let leaf = leaf.ok_or_else(|| wrong("there is none".to_owned()))?;
    let summary = polytls_x509::summarize(leaf).map_err(|error| wrong(error.to_string()))?;
    Ok((summary.not_before, summary.not_after))
}

fn versions(names: &[String]) -> PyResult<Vec<Version>> {
    names
        .iter()
        .map(|name| match name.as_str() {
            "TLSv1.2" => Ok(Version::Tls12),
            "TLSv1.3" => Ok(Version::Tls13),
            _ => Err(PyValueError::new_err(format!(
                "versions: no version {name:?}"
            ))),
        })
        .collect()
}

fn verification(name: &str) -> PyResult<Verification> {
    match name {
        "full" => Ok(Verification::Full),
        "any name" => Ok(Verification::AnyName),
        "nothing" => Ok(Verification::Nothing),
        _ => Err(PyValueError::new_err(format!(
            "verification: no such thing as {name:?}"
        ))),
    }
}

impl Backend {
    /// Sections of `chain`'s files, put together (SEMANTICS: the first file's first certificate is
    /// the leaf, its further ones come next; without a key file the key stands in the first).
    /// A signer of it is added to `signers`.
    fn identity(
        &self,
        py: Python<'_>,
        (files, key, staple): &Chain,
        signers: &mut Vec<Arc<PythonSigner>>,
    ) -> PyResult<Identity> {
        let wrong = |message: String| misconfigured(py, self.0.id(), "certificate_chain", message);
        let mut chain = Vec::new();
        for file in files {
            chain.extend(pem::certificates(file).map_err(|error| wrong(error.to_string()))?);
        }
        let key = match (key, files.first()) {
            (Some(KeyData::Signer((public_key, schemes, signer))), _) => {
                let signer = Arc::new(PythonSigner {
                    public_key: public_key.clone(),
                    schemes: schemes.clone(),
                    signer: signer.clone_ref(py),
                });
                signers.push(Arc::clone(&signer));
                Key::Signer(signer)
            }
            (Some(KeyData::File(key)), _) => {
                Key::Der(pem::private_key(key).map_err(|error| wrong(error.to_string()))?)
            }
            (None, Some(leaf)) => Key::Der(pem::private_key(leaf).map_err(|error| {
                wrong(format!(
                    "no key was given, and the leaf's own data holds none that can be used: {error}"
                ))
            })?),
            (None, None) => return Err(wrong("a chain without a certificate".to_owned())),
        };
        Ok(Identity {
            chain,
            key,
            ocsp_response: staple.clone(),
        })
    }

    fn trust(&self, py: Python<'_>, given: &TrustData) -> PyResult<Trust> {
        let wrong = |message: String| misconfigured(py, self.0.id(), "trust_store", message);
        let mut certificates = Vec::new();
        for data in &given.certificates {
            let found = pem::certificates(data).map_err(|error| wrong(error.to_string()))?;
            certificates.extend(found);
        }
        match given.source.as_str() {
            "system" => Ok(Trust::System {
                extra: certificates,
            }),
            "given" => Ok(Trust::Certificates(certificates)),
            "pinned" => Ok(Trust::Pinned(Pins {
                certificates,
                spki_sha256: given.spki_sha256.clone(),
                any_name: given.any_name,
            })),
            other => Err(PyValueError::new_err(format!(
                "trust: no such source as {other:?}"
            ))),
        }
    }

    fn crls(
        &self,
        py: Python<'_>,
        given: Option<&TrustData>,
    ) -> PyResult<Vec<pki_types::CertificateRevocationListDer<'static>>> {
        let mut lists = Vec::new();
        for data in given.into_iter().flat_map(|given| &given.crls) {
            lists.extend(pem::revocation_lists(data).map_err(|error| {
                misconfigured(py, self.0.id(), "trust_store", error.to_string())
            })?);
        }
        Ok(lists)
    }
}

/// What a peer is verified by, as `polytls.certificates` hands it over.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct TrustData {
    /// "system", "given" or "pinned".
    source: String,
    /// Each a PEM bundle or DER.
    certificates: Vec<Vec<u8>>,
    spki_sha256: Vec<[u8; 32]>,
    any_name: bool,
    /// Each a PEM bundle or DER.
    crls: Vec<Vec<u8>>,
    /// Where it comes from, in words.
    description: String,
}

fn description(trust: Option<&TrustData>) -> String {
    trust.map_or_else(
        || Common::default().trust_source,
        |trust| trust.description.clone(),
    )
}

fn hook(callable: Option<Py<PyAny>>) -> (Option<Arc<Hook>>, Option<Arc<dyn PeerVerifier>>) {
    let hook = callable.map(Hook::new);
    let verifier = hook.clone().map(|hook| hook as Arc<dyn PeerVerifier>);
    (hook, verifier)
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

    /// Cipher suites by IANA number, in the library's order.
    #[getter]
    fn cipher_suites(&self) -> Vec<u16> {
        self.0.capabilities().cipher_suites
    }

    /// Key exchange groups by IANA number, in the library's order.
    #[getter]
    fn groups(&self) -> Vec<u16> {
        self.0.capabilities().groups
    }

    /// An engine for client connections. `trust`: what servers are verified by. `sessions`: how many
    /// servers to remember. `key_log`: takes each line of the NSS key log format. `peer_verifier`: has
    /// its say after verification.
    ///
    /// Raises ConfigurationError, naming the field.
    #[pyo3(signature = (*, versions, ciphers, groups, alpn, sessions, key_log, chains, trust, verification, peer_verifier))]
    #[allow(clippy::too_many_arguments, reason = "keyword-only: one per field")]
    fn client(
        &self,
        py: Python<'_>,
        versions: Vec<String>,
        ciphers: Option<Vec<u16>>,
        groups: Option<Vec<u16>>,
        alpn: Vec<Vec<u8>>,
        sessions: Option<usize>,
        key_log: Option<Py<PyAny>>,
        chains: Vec<Chain>,
        trust: TrustData,
        verification: &str,
        peer_verifier: Option<Py<PyAny>>,
    ) -> PyResult<ClientEngine> {
        let mut signers = Vec::new();
        let lines = key_log.map(Lines::new);
        let (hook, peer_verifier) = hook(peer_verifier);
        let config = ClientConfig {
            common: Common {
                versions: self::versions(&versions)?,
                cipher_suites: ciphers,
                groups,
                alpn,
                sessions,
                key_log: lines.clone().map(|lines| lines as Arc<dyn KeyLog>),
                trust_source: description(Some(&trust)),
                crls: self.crls(py, Some(&trust))?,
                peer_verifier,
                ..Common::default()
            },
            identities: chains
                .iter()
                .map(|chain| self.identity(py, chain, &mut signers))
                .collect::<PyResult<_>>()?,
            trust: self.trust(py, &trust)?,
            verification: self::verification(verification)?,
        };
        let engine = py
            .detach(|| self.0.client(&config))
            .map_err(|error| raised(py, self.0.id(), &error))?;
        Ok(ClientEngine {
            engine,
            lines,
            hook,
            signers,
            implementation: self.0.id(),
        })
    }

    /// An engine for server connections. `trust`: as for clients; None only without client
    /// authentication.
    ///
    /// Raises ConfigurationError, naming the field.
    #[pyo3(signature = (*, versions, ciphers, groups, alpn, sessions, key_log, chains, client_authentication, ticket_keys, trust, verification, peer_verifier))]
    #[allow(clippy::too_many_arguments, reason = "keyword-only: one per field")]
    fn server(
        &self,
        py: Python<'_>,
        versions: Vec<String>,
        ciphers: Option<Vec<u16>>,
        groups: Option<Vec<u16>>,
        alpn: Vec<Vec<u8>>,
        sessions: Option<usize>,
        key_log: Option<Py<PyAny>>,
        chains: Vec<Chain>,
        client_authentication: &str,
        ticket_keys: Option<SharedKeys>,
        trust: Option<TrustData>,
        verification: &str,
        peer_verifier: Option<Py<PyAny>>,
    ) -> PyResult<ServerEngine> {
        let mut signers = Vec::new();
        let lines = key_log.map(Lines::new);
        let (hook, peer_verifier) = hook(peer_verifier);
        let config = ServerConfig {
            common: Common {
                versions: self::versions(&versions)?,
                cipher_suites: ciphers,
                groups,
                alpn,
                sessions,
                key_log: lines.clone().map(|lines| lines as Arc<dyn KeyLog>),
                trust_source: description(trust.as_ref()),
                crls: self.crls(py, trust.as_ref())?,
                peer_verifier,
                ..Common::default()
            },
            identities: chains
                .iter()
                .map(|chain| self.identity(py, chain, &mut signers))
                .collect::<PyResult<_>>()?,
            client_authentication: match client_authentication {
                "none" => ClientAuthentication::None,
                "optional" => ClientAuthentication::Optional,
                "required" => ClientAuthentication::Required,
                other => {
                    return Err(PyValueError::new_err(format!(
                        "client_authentication: no such thing as {other:?}"
                    )));
                }
            },
            trust: trust
                .as_ref()
                .map(|trust| self.trust(py, trust))
                .transpose()?,
            verification: self::verification(verification)?,
            ticket_keys: ticket_keys.map(|(secret, previous, rotation, lifetime)| TicketKeys {
                secret: Secret::new(secret),
                previous: previous.map(Secret::new),
                rotation: Duration::from_secs(rotation),
                lifetime: Duration::from_secs(lifetime),
            }),
        };
        let engine = py
            .detach(|| self.0.server(&config))
            .map_err(|error| raised(py, self.0.id(), &error))?;
        Ok(ServerEngine {
            engine,
            lines,
            hook,
            signers,
            implementation: self.0.id(),
        })
    }
}

fn suites<'py>(py: Python<'py>, effective: &Effective) -> PyResult<Bound<'py, PyTuple>> {
    let suites = effective.cipher_suites.iter();
    let suites: Vec<_> = suites
        .map(|suite| info::suite(py, *suite))
        .collect::<PyResult<_>>()?;
    PyTuple::new(py, suites)
}

fn groups<'py>(py: Python<'py>, effective: &Effective) -> PyResult<Bound<'py, PyTuple>> {
    let groups = effective.groups.iter();
    let groups: Vec<_> = groups
        .map(|group| info::group(py, *group))
        .collect::<PyResult<_>>()?;
    PyTuple::new(py, groups)
}

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
    engine: Arc<dyn polytls_core::ClientEngine>,
    /// The key log that the engine has, for the garbage collector.
    lines: Option<Arc<Lines>>,
    /// The verifier that the engine has, for the garbage collector.
    hook: Option<Arc<Hook>>,
    /// Its signers, likewise.
    signers: Vec<Arc<PythonSigner>>,
    implementation: &'static str,
}

impl ClientEngine {
    fn connection(
        &self,
        py: Python<'_>,
        host: Option<&HostName>,
        port: Option<u16>,
    ) -> PyResult<Connection> {
        // It makes the ClientHello, and so the keys of the key exchange.
        py.detach(|| self.engine.session(host, port))
            .map(|session| Connection::new(session, Role::Client))
            .map_err(|error| raised(py, self.implementation, &error))
    }
}

fn host(server_hostname: Option<&str>) -> PyResult<Option<HostName>> {
    server_hostname
        .map(|name| names::parse(name, "server_hostname"))
        .transpose()
}

#[pymethods]
impl ClientEngine {
    /// The suites that may be negotiated.
    #[getter]
    fn effective_ciphers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        suites(py, self.engine.effective())
    }

    /// The groups that may be negotiated.
    #[getter]
    fn effective_groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        groups(py, self.engine.effective())
    }

    /// What has become of its connections so far.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        counts(py, &self.engine.statistics())
    }

    /// A connection in memory, for `context`.
    fn buffer(
        &self,
        py: Python<'_>,
        context: Py<PyAny>,
        server_hostname: Option<&str>,
    ) -> PyResult<TlsBuffer> {
        let connection = self.connection(py, host(server_hostname)?.as_ref(), None)?;
        Ok(TlsBuffer::new(connection, context, self.implementation))
    }

    /// A connected socket, for `context`, its handshake done: the first of `addresses` that
    /// answers. `timeout`: seconds for all of it, and per call afterwards; None waits for ever.
    fn connect(
        &self,
        py: Python<'_>,
        context: Py<PyAny>,
        addresses: Vec<Address>,
        server_hostname: Option<&str>,
        timeout: Option<f64>,
    ) -> PyResult<SocketHandle> {
        let host = host(server_hostname)?;
        let port = addresses.first().map(|address| address.1);
        let make = || self.engine.session(host.as_ref(), port);
        socket::connect(py, context, self.implementation, &addresses, timeout, make)
    }

    /// A connection over a connected `socket.socket`, for `context`, its handshake not done. The
    /// socket is detached.
    fn take_over(
        &self,
        py: Python<'_>,
        context: Py<PyAny>,
        socket: &Bound<'_, PyAny>,
        server_hostname: Option<&str>,
        port: Option<u16>,
    ) -> PyResult<SocketHandle> {
        let connection = self.connection(py, host(server_hostname)?.as_ref(), port)?;
        socket::take_over(py, context, self.implementation, socket, connection)
    }

    // A callback may well be a method of the object that keeps the context.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.lines
            .as_ref()
            .map_or(Ok(()), |lines| lines.traverse(&visit))?;
        self.hook
            .as_ref()
            .map_or(Ok(()), |hook| hook.traverse(&visit))?;
        self.signers
            .iter()
            .try_for_each(|signer| signer.traverse(&visit))
    }
}

/// What all connections of a server context share.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct ServerEngine {
    engine: Arc<dyn polytls_core::ServerEngine>,
    /// The key log that the engine has, for the garbage collector.
    lines: Option<Arc<Lines>>,
    /// The verifier that the engine has, for the garbage collector.
    hook: Option<Arc<Hook>>,
    /// Its signers, likewise.
    signers: Vec<Arc<PythonSigner>>,
    implementation: &'static str,
}

impl ServerEngine {
    fn connection(&self, py: Python<'_>) -> PyResult<Connection> {
        self.engine
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
        suites(py, self.engine.effective())
    }

    /// The groups that may be negotiated.
    #[getter]
    fn effective_groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        groups(py, self.engine.effective())
    }

    /// What has become of its connections so far.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        counts(py, &self.engine.statistics())
    }

    /// A connection in memory, for `context`.
    fn buffer(&self, py: Python<'_>, context: Py<PyAny>) -> PyResult<TlsBuffer> {
        let connection = self.connection(py)?;
        Ok(TlsBuffer::new(connection, context, self.implementation))
    }

    /// A listening socket, for `context`, bound to the first of `addresses` that can be.
    /// `timeout`: how long `accept` waits, in seconds; None waits for ever. The rest: as
    /// `ListenerSettings` has it.
    #[pyo3(signature = (context, addresses, *, timeout, backlog, reuse_port, dual_stack, do_handshake_on_accept, handshake_timeout, handshake_limit, handshake_may_block))]
    #[allow(clippy::too_many_arguments, reason = "keyword-only: one per setting")]
    fn listen(
        &self,
        py: Python<'_>,
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
    ) -> PyResult<SocketHandle> {
        let wrong = |message: &'static str| Err(PyValueError::new_err(message));
        if handshake_limit < 1 {
            return wrong("handshake_limit must be at least 1");
        }
        if handshake_timeout.is_some_and(|seconds| seconds.is_nan() || seconds <= 0.0) {
            return wrong("handshake_timeout must be more than 0, or None");
        }
        if dual_stack {
            addresses.retain(|(host, ..)| host.contains(':'));
            if addresses.is_empty() {
                return wrong("dual_stack needs an IPv6 address, such as ::");
            }
        }
        let engine = Arc::clone(&self.engine);
        let make = move || engine.session();
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
        socket::listen(
            py,
            context,
            self.implementation,
            &addresses,
            settings,
            timeout,
            make,
        )
    }

    /// A connection over a connected `socket.socket`, for `context`, its handshake not done. The
    /// socket is detached. `leftover`: what was received of the client's handshake already.
    fn take_over(
        &self,
        py: Python<'_>,
        context: Py<PyAny>,
        socket: &Bound<'_, PyAny>,
        leftover: &[u8],
    ) -> PyResult<SocketHandle> {
        let mut connection = self.connection(py)?;
        if !leftover.is_empty() {
            let taken = connection.process_incoming(leftover);
            taken.map_err(|_| PyValueError::new_err("leftover: more than a handshake"))?;
        }
        socket::take_over(py, context, self.implementation, socket, connection)
    }

    // A callback may well be a method of the object that keeps the context.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.lines
            .as_ref()
            .map_or(Ok(()), |lines| lines.traverse(&visit))?;
        self.hook
            .as_ref()
            .map_or(Ok(()), |hook| hook.traverse(&visit))?;
        self.signers
            .iter()
            .try_for_each(|signer| signer.traverse(&visit))
    }
}
