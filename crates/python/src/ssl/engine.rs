//! What the connections of one context share, made of the `ssl.SSLContext`s of a configuration.
//!
//! A server has one SSLContext for each set of chains that can answer to one name, with the keys of all
//! their types: `ssl` cannot see in its callback what a client can verify, but OpenSSL chooses among the
//! types by that.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polytls_core::config::{ClientAuthentication, Common, Staples, Verification, Version};
use polytls_core::events::Tracer;
use polytls_core::sni::NameTable;
use polytls_core::{
    Counters, Effective, Error, HostName, Lineage, Offer, Parameters, Session, Statistics,
};
use polytls_verdict::{Judge, Policy, SystemTrust};
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use super::credentials::{SslIdentity, Trusted};
use super::flight::offers_tls13;
use super::object::{SslObject, attached, cut_short, prepare, unexpected};
use super::peer::Peers;
use super::session::SslSession;
use super::sessions::{Keeper, Lineage as Line, Place, Sessions};
use crate::callbacks::{Callback, Callbacks};
use crate::calls::{CallsOut as _, import};
use crate::capabilities;
use crate::configuration::{Configuration, verification};
use crate::engine::{ClientEngine, ServerEngine};
use crate::errors::{misconfigured, raised};

pub(super) const NAME: &str = "stdlib";

/// Contexts that a server keeps for connections to come.
const SPARES: usize = 8;

/// What `polytls.engines.stdlib` knows of OpenSSL.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct SslFacts {
    /// The suites that can be negotiated.
    ciphers: Vec<u16>,
    /// All suites by OpenSSL's names.
    suites: HashMap<String, u16>,
}

/// What all connections of a context share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) is_server: bool,
    pub(crate) counters: Counters,
    pub(crate) suites: HashMap<String, u16>,
    /// The one group there is to use; `None`: there are several.
    pub(crate) only_group: Option<u16>,
    /// Who judges the peer beyond what OpenSSL does; `None`: nobody.
    pub(crate) peers: Option<Peers>,
    /// Who is told what happens on connections.
    pub(crate) tracer: Option<Arc<dyn Tracer>>,
}

/// What a configuration comes to for a context.
struct Parts {
    shared: Arc<Shared>,
    effective: Effective,
    identities: Vec<SslIdentity>,
    callbacks: Callbacks,
    /// Makes an `ssl.SSLContext` that presents some of the identities, by their indices; and one for a
    /// connection to begin with, if each is to have its own.
    make: Py<PyAny>,
    begin: Option<Py<PyAny>>,
}

impl Parts {
    /// `contexts`: called with the certificates that are trusted beside the system's, the CRLs
    /// that OpenSSL can judge by, and the identities, each as OpenSSL takes it; returns `make` and `begin`.
    fn new(
        configuration: &Configuration<'_, '_>,
        verification: Verification,
        facts: SslFacts,
        contexts: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let py = contexts.py();
        prepare(py)?;
        let judged = configuration.effective;
        let is_server = judged.is_server();
        let mut callbacks = Callbacks::default();
        let unverified = verification == Verification::Nothing
            || (is_server && judged.asked() == ClientAuthentication::None);
        let trust = if unverified {
            None
        } else {
            configuration.trust()?
        };
        let crls = if unverified {
            Vec::new()
        } else {
            configuration.revocation_lists()?
        };
        let common = Common {
            crls,
            // `ssl` does not show them.
            staples: Staples::Ignored,
            peer_verifier: configuration.peer_verifier(&mut callbacks)?,
            ..Common::default()
        };
        // On a server nobody is judged who is not asked for a certificate.
        let judges = trust.is_some() || (!is_server && common.peer_verifier.is_some());
        let policy = Policy {
            trust: trust.as_ref(),
            verification,
            common: &common,
            peer_is_server: !is_server,
        };
        let peers = if judges {
            let judge =
                py.detach(|| Judge::new(&policy, polytls_rustls::crypto(), SystemTrust::Library));
            let judge = judge.map_err(|error| raised(py, NAME, &error))?;
            Some(Peers::new(judge, trust.as_ref()))
        } else {
            None
        };
        let trusted = Trusted::new(trust.as_ref(), &common.crls);
        let identities = configuration.identities(&mut callbacks)?;
        let identities = identities
            .into_iter()
            .map(|identity| SslIdentity::new(configuration, identity))
            .collect::<PyResult<Vec<_>>>()?;
        let shown: Vec<_> = identities.iter().map(|each| each.shown(py)).collect();
        let (make, begin) = contexts
            .call_out((trusted.certificates(py), trusted.lists(py), shown), None)?
            .extract()?;
        let only_group = match judged.core.groups[..] {
            [only] if judged.requirements.groups.is_some() => Some(only),
            _ => None,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                is_server,
                counters: Counters::default(),
                suites: facts.suites,
                only_group,
                peers,
                tracer: configuration.tracer(&mut callbacks)?,
            }),
            effective: Effective {
                cipher_suites: facts.ciphers,
                ..judged.core.clone()
            },
            identities,
            callbacks,
            make,
            begin,
        })
    }
}

// --- clients ---

struct SslClient {
    shared: Arc<Shared>,
    /// An `ssl.SSLContext`.
    context: Py<PyAny>,
    sessions: Option<Arc<Sessions>>,
    checks_names: bool,
    effective: Effective,
}

impl fmt::Debug for SslClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SslClient")
    }
}

/// A lineage that may be offered to the server of one name.
struct Admitted {
    lineage: Arc<Line>,
    host: Option<HostName>,
}

/// An engine for client connections. `configuration`: with its files read; `effective`: what it came to.
/// `insecure`: an `InsecureConfiguration` or None. `contexts`: see [`Parts::new`].
///
/// Raises ConfigurationError, naming the field, and what `contexts` raises.
#[pyfunction]
pub(crate) fn ssl_client(
    py: Python<'_>,
    configuration: &Bound<'_, PyAny>,
    effective: &capabilities::Effective,
    insecure: &Bound<'_, PyAny>,
    facts: SslFacts,
    contexts: &Bound<'_, PyAny>,
) -> PyResult<ClientEngine> {
    let configuration = Configuration {
        backend: None,
        fields: configuration,
        effective,
    };
    let verification = verification(insecure)?;
    let parts = Parts::new(&configuration, verification, facts, contexts)?;
    let all: Vec<usize> = (0..parts.identities.len()).collect();
    let sessions = configuration.sessions().and_then(NonZeroUsize::new);
    let engine = SslClient {
        shared: parts.shared,
        context: parts.make.bind(py).call_out((all,), None)?.unbind(),
        sessions: sessions.map(|limit| Arc::new(Sessions::new(limit))),
        checks_names: verification == Verification::Full,
        effective: parts.effective,
    };
    Ok(ClientEngine {
        engine: Arc::new(engine),
        callbacks: parts.callbacks,
        implementation: NAME,
        extended: false,
    })
}

impl SslClient {
    fn check_name(&self, host: Option<&HostName>) -> Result<(), Error> {
        if host.is_none() && self.checks_names {
            return Err(Error::Misuse(
                "server_hostname is required: the name to verify",
            ));
        }
        Ok(())
    }

    fn keeper(&self, parameters: &Parameters) -> Result<Option<Keeper>, Error> {
        let Some(sessions) = &self.sessions else {
            return Ok(None);
        };
        let Parameters {
            host, offer, anew, ..
        } = parameters;
        let place = Place {
            host: host.clone(),
            port: parameters.port,
            scope: parameters.scope,
        };
        let lineage = match offer {
            None => None,
            Some(offer) => {
                let admitted = Arc::clone(&offer.0).downcast::<Admitted>();
                let admitted = admitted.ok().filter(|admitted| {
                    admitted.host == *host && Arc::ptr_eq(&admitted.lineage.sessions, sessions)
                });
                let admitted = admitted
                    .ok_or_else(|| not_resumable("it was verified for another connection"))?;
                Some(Arc::clone(&admitted.lineage))
            }
        };
        let offered = match &lineage {
            Some(lineage) => sessions.take_of(lineage),
            None if host.is_some() && !anew => sessions.take(&place),
            None => None,
        };
        if host.is_some() {
            self.shared.counters.looked_for(offered.is_some());
        }
        Ok(Some(Keeper::new(
            Arc::clone(sessions),
            place,
            lineage,
            offered,
        )))
    }
}

fn not_resumable(message: &str) -> Error {
    Error::NotResumable {
        message: message.to_owned(),
        failure: None,
    }
}

impl polytls_core::ClientEngine for SslClient {
    fn session(&self, parameters: &Parameters) -> Result<Box<dyn Session>, Error> {
        self.check_name(parameters.host.as_ref())?;
        parameters.check_common()?;
        let keeper = self.keeper(parameters)?;
        let offered = keeper.as_ref().and_then(Keeper::offered);
        let host = parameters.host.as_ref().map(ToString::to_string);
        let object = attached(|py| {
            let session = offered.map(|offered| &*offered.session);
            SslObject::new(self.context.bind(py), false, host.as_deref(), session)
                .map_err(|error| unexpected(py, &error))
        })??;
        Ok(Box::new(SslSession::new(
            Arc::clone(&self.shared),
            object,
            parameters.host.clone(),
            keeper,
            None,
        )))
    }

    fn admit(&self, lineage: &Lineage, host: Option<&HostName>) -> Result<Offer, Error> {
        self.check_name(host)?;
        let sessions = self.sessions.as_ref();
        let lineage = Arc::clone(&lineage.0).downcast::<Line>().ok();
        let lineage = lineage.filter(|lineage| {
            sessions.is_some_and(|sessions| Arc::ptr_eq(sessions, &lineage.sessions))
        });
        let lineage = lineage.ok_or_else(|| {
            not_resumable(
                "it belongs to another context; only the context that created a session can \
                 resume it",
            )
        })?;
        if !self.checks_names && lineage.place.host.as_ref() != host {
            return Err(not_resumable(
                "it is for another host name, and host names are not verified here; resume it for \
                 its own host name, or do a full handshake",
            ));
        }
        if let Some(peers) = &self.shared.peers {
            let before = lineage.accepted.as_deref();
            let admitted = peers.admit(&lineage.chain, before, host);
            admitted.map_err(|failure| Error::NotResumable {
                message: format!(
                    "its certificate does not pass verification for this connection: {}",
                    failure.message
                ),
                failure: Some(failure),
            })?;
        }
        Ok(Offer(Arc::new(Admitted {
            lineage,
            host: host.cloned(),
        })))
    }

    fn effective(&self) -> &Effective {
        &self.effective
    }

    fn statistics(&self) -> Statistics {
        self.shared.counters.read()
    }
}

// --- servers ---

/// What a server has chosen for a connection.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// The name in `ClientHello`.
    pub(crate) name: Option<String>,
    /// The certificate that it presents, DER; `None` where `ssl` does not tell which of several.
    pub(crate) leaf: Option<Arc<[u8]>>,
}

thread_local! {
    /// What the call under way has chosen.
    static CHOSEN: RefCell<Option<Chosen>> = const { RefCell::new(None) };
}

/// Runs a step of a handshake; says what it has chosen, if it has.
pub(crate) fn choosing<R>(step: impl FnOnce() -> R) -> (R, Option<Chosen>) {
    // A signal's handler may do a handshake in the middle of another one.
    let before = CHOSEN.take();
    let done = step();
    (done, CHOSEN.replace(before))
}

/// Chooses a server's chains by the name in `ClientHello`, or for want of one: OpenSSL calls it. Not a
/// function of Python's, as that runs under the connection's lock.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct Choice {
    names: NameTable,
    /// The leaves of all chains, DER.
    leaves: Vec<Arc<[u8]>>,
    /// `ssl.SSLContext`s by the chains that they present.
    contexts: HashMap<Vec<usize>, Py<PyAny>>,
}

impl Choice {
    /// The chains that answer to a name, and the context that presents them.
    fn of(&self, name: Option<&str>) -> Option<(&[usize], &Py<PyAny>)> {
        let chains = self.names.candidates(name);
        Some((chains, self.contexts.get(chains)?))
    }
}

#[pymethods]
impl Choice {
    fn __call__(
        &self,
        ssl: &Bound<'_, PyAny>,
        name: Option<String>,
        current: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if let Some((chains, context)) = self.of(name.as_deref()) {
            let leaf = match chains {
                [only] => self.leaves.get(*only).cloned(),
                _ => None,
            };
            CHOSEN.set(Some(Chosen { name, leaf }));
            if !current.is(context) {
                ssl.setattr("context", context)?;
            }
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.contexts
            .values()
            .try_for_each(|context| visit.call(context))
    }
}

/// Has OpenSSL ask `choice` about the clients of a context; not by way of `ssl`, which puts a function
/// of Python's in between.
fn receive_clients(context: &Bound<'_, PyAny>, choice: &Bound<'_, Choice>) -> PyResult<()> {
    let class = import(context.py(), "_ssl")?.attribute("_SSLContext")?;
    let callback = class.attribute("sni_callback")?;
    callback.method_out("__set__", (context, choice)).map(drop)
}

/// Makes an `ssl.SSLContext` for one connection.
struct Maker(Py<PyAny>);

impl Callback for Maker {
    fn callable(&self) -> &Py<PyAny> {
        &self.0
    }
}

struct SslServer {
    shared: Arc<Shared>,
    choice: Py<Choice>,
    /// The context that connections begin with.
    context: Py<PyAny>,
    /// Makes another one for those that must not.
    maker: Option<Arc<Maker>>,
    spares: Arc<Spares>,
    effective: Effective,
}

/// Contexts that were made for a connection and not used.
#[derive(Default)]
struct Spares(Mutex<Vec<Py<PyAny>>>);

impl Spares {
    fn lock(&self) -> MutexGuard<'_, Vec<Py<PyAny>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A context for one connection only. It is made with the connection, as that runs code of Python's; given
/// back if it is dropped.
pub(crate) struct Beginning {
    context: Option<Py<PyAny>>,
    spares: Arc<Spares>,
    /// Whether the server speaks TLS 1.3 at all.
    speaks_tls13: bool,
}

impl Beginning {
    /// Whether a client that begins with this record gets TLS 1.3: only its sessions are given away.
    pub(crate) fn is_tls13(&self, record: &[u8]) -> bool {
        self.speaks_tls13 && offers_tls13(record)
    }

    /// The connection.
    pub(crate) fn object(mut self) -> Result<SslObject, Error> {
        let context = self.context.take();
        let context = context.ok_or_else(|| Error::Internal("used twice".to_owned()))?;
        attached(|py| {
            SslObject::new(context.bind(py), true, None, None)
                .map_err(|error| unexpected(py, &error))
        })?
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        let mut spares = self.spares.lock();
        if spares.len() < SPARES {
            spares.extend(self.context.take());
        }
    }
}

impl fmt::Debug for SslServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SslServer")
    }
}

/// An engine for server connections, likewise.
///
/// Raises ConfigurationError, naming the field, and what `contexts` raises.
#[pyfunction]
pub(crate) fn ssl_server(
    py: Python<'_>,
    configuration: &Bound<'_, PyAny>,
    effective: &capabilities::Effective,
    insecure: &Bound<'_, PyAny>,
    facts: SslFacts,
    contexts: &Bound<'_, PyAny>,
) -> PyResult<ServerEngine> {
    let configuration = Configuration {
        backend: None,
        fields: configuration,
        effective,
    };
    let parts = Parts::new(&configuration, verification(insecure)?, facts, contexts)?;
    let mut callbacks = parts.callbacks;
    let names = NameTable::new(parts.identities.iter().map(|identity| &identity.names));
    let mut contexts = HashMap::new();
    for chosen in names.choices() {
        if !contexts.contains_key(chosen) {
            let made = parts.make.bind(py).call_out((chosen.to_vec(),), None)?;
            contexts.insert(chosen.to_vec(), made.unbind());
        }
    }
    let leaves = parts.identities.iter().map(SslIdentity::leaf).collect();
    let choice = Bound::new(
        py,
        Choice {
            names,
            leaves,
            contexts,
        },
    )?;
    let made = choice.get().of(None);
    let (_, context) = made.ok_or_else(|| {
        misconfigured(
            py,
            NAME,
            "certificate_chain",
            "a server needs a certificate",
        )
    })?;
    receive_clients(context.bind(py), &choice)?;
    let maker = parts.begin.map(|callable| callbacks.add(Maker(callable)));
    let engine = SslServer {
        shared: parts.shared,
        spares: Arc::default(),
        context: context.clone_ref(py),
        choice: choice.unbind(),
        maker,
        effective: parts.effective,
    };
    Ok(ServerEngine::new(Arc::new(engine), callbacks, NAME, false))
}

impl SslServer {
    /// What a connection begins with that turns out not to be TLS 1.3, if that has to be of its own.
    fn beginning(&self, py: Python<'_>) -> PyResult<Option<Beginning>> {
        let Some(maker) = &self.maker else {
            return Ok(None);
        };
        let spare = self.spares.lock().pop();
        let context = match spare {
            Some(spare) => spare,
            None => {
                let made = maker.0.bind(py).call_out((), None)?;
                receive_clients(&made, self.choice.bind(py))?;
                made.unbind()
            }
        };
        Ok(Some(Beginning {
            context: Some(context),
            spares: Arc::clone(&self.spares),
            speaks_tls13: self.effective.versions.contains(&Version::Tls13),
        }))
    }
}

impl polytls_core::ServerEngine for SslServer {
    fn session(&self) -> Result<Box<dyn Session>, Error> {
        let (object, beginning) = attached(|py| {
            let object = SslObject::new(self.context.bind(py), true, None, None);
            // Code of Python's may be cut short by a signal's handler.
            object
                .and_then(|object| Ok((object, self.beginning(py)?)))
                .map_err(|error| Error::CutShort(Some(cut_short(py, &error))))
        })??;
        Ok(Box::new(SslSession::new(
            Arc::clone(&self.shared),
            object,
            None,
            None,
            beginning,
        )))
    }

    fn effective(&self) -> &Effective {
        &self.effective
    }

    fn statistics(&self) -> Statistics {
        self.shared.counters.read()
    }
}
