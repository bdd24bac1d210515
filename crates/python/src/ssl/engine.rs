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

use polytls_core::config::{Common, PeerVerifier, Version};
use polytls_core::sni::NameTable;
use polytls_core::{
    Counters, Effective, Error, HostName, Lineage, Offer, Parameters, Session, Statistics,
};
use polytls_verdict::{Judge, Policy, SystemTrust};
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use super::flight::offers_tls13;
use super::object::{SslObject, attached, cut_short, prepare, unexpected};
use super::peer::Peers;
use super::session::SslSession;
use super::sessions::{Keeper, Lineage as Line, Place, Sessions};
use crate::callbacks::{Callback, Callbacks};
use crate::calls::{CallsOut as _, import};
use crate::configuration::{TrustData, verification, versions};
use crate::engine::{ClientEngine, ServerEngine};
use crate::errors::{misconfigured, raised};
use crate::verifier::Hook;

const NAME: &str = "stdlib";

/// Contexts that a server keeps for connections to come.
const SPARES: usize = 8;

/// What a configuration came down to, as `polytls.engines.stdlib` hands it over.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct SslData {
    /// By their numbers on the wire.
    versions: Vec<u16>,
    ciphers: Vec<u16>,
    groups: Vec<u16>,
    /// OpenSSL's names of suites, and of groups in lower case.
    suites: HashMap<String, u16>,
    group_names: HashMap<String, u16>,
    /// The one group there is to use; None: there are several.
    only_group: Option<u16>,
    /// How many sessions to keep; None: no resumption.
    sessions: Option<usize>,
    /// What peers are verified by; None: nothing is verified.
    trust: Option<TrustData>,
    /// Whether peers are judged at all.
    judges: bool,
    checks_hostname: bool,
    peer_verifier: Option<Py<PyAny>>,
}

/// What all connections of a context share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) is_server: bool,
    pub(crate) counters: Counters,
    pub(crate) suites: HashMap<String, u16>,
    pub(crate) group_names: HashMap<String, u16>,
    pub(crate) only_group: Option<u16>,
    /// Who judges the peer beyond what OpenSSL does; `None`: nobody.
    pub(crate) peers: Option<Peers>,
}

impl SslData {
    fn effective(&self) -> PyResult<Effective> {
        let versions: Vec<Version> = versions(&self.versions)?;
        Ok(Effective {
            versions,
            cipher_suites: self.ciphers.clone(),
            groups: self.groups.clone(),
        })
    }

    /// What the engine calls is added to `callbacks`.
    fn shared(
        self,
        py: Python<'_>,
        is_server: bool,
        callbacks: &mut Callbacks,
    ) -> PyResult<Arc<Shared>> {
        let peers = if self.judges {
            Some(self.peers(py, !is_server, callbacks)?)
        } else {
            None
        };
        Ok(Arc::new(Shared {
            is_server,
            counters: Counters::default(),
            suites: self.suites,
            group_names: self.group_names,
            only_group: self.only_group,
            peers,
        }))
    }

    fn peers(
        &self,
        py: Python<'_>,
        are_servers: bool,
        callbacks: &mut Callbacks,
    ) -> PyResult<Peers> {
        let verifier = self.peer_verifier.as_ref();
        let hook = verifier.map(|callable| callbacks.add(Hook(callable.clone_ref(py))));
        let data = self.trust.as_ref();
        let crls = data
            .map(|trust| trust.revocation_lists(py, NAME))
            .transpose()?;
        let trust = data.map(|trust| trust.trust(py, NAME)).transpose()?;
        let common = Common {
            crls: crls.unwrap_or_default(),
            peer_verifier: hook.map(|hook| hook as Arc<dyn PeerVerifier>),
            ..Common::default()
        };
        let policy = Policy {
            trust: trust.as_ref(),
            verification: verification(trust.is_some(), self.checks_hostname),
            common: &common,
            peer_is_server: are_servers,
        };
        let judge = py
            .detach(|| Judge::new(&policy, polytls_rustls::crypto(), SystemTrust::Library))
            .map_err(|error| raised(py, NAME, &error))?;
        Ok(Peers::new(judge, trust.as_ref()))
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

/// An engine for client connections. `make`: makes their `ssl.SSLContext`, after what is judged by was
/// found in order. `checks_names`: whether a connection has to have a name.
///
/// Raises ConfigurationError, naming the field, and what `make` raises.
#[pyfunction]
pub(crate) fn ssl_client(
    py: Python<'_>,
    make: &Bound<'_, PyAny>,
    data: SslData,
    checks_names: bool,
) -> PyResult<ClientEngine> {
    prepare(py)?;
    let mut callbacks = Callbacks::default();
    let sessions = match data.sessions {
        None => None,
        Some(capacity) => {
            let limit = NonZeroUsize::new(capacity).ok_or_else(|| {
                misconfigured(
                    py,
                    NAME,
                    "sessions",
                    "a cache for no session at all; say None for no resumption",
                )
            })?;
            Some(Arc::new(Sessions::new(limit)))
        }
    };
    let effective = data.effective()?;
    let engine = SslClient {
        shared: data.shared(py, false, &mut callbacks)?,
        context: make.call_out((), None)?.unbind(),
        sessions,
        checks_names,
        effective,
    };
    Ok(ClientEngine {
        engine: Arc::new(engine),
        callbacks,
        implementation: NAME,
        extended: false,
    })
}

impl SslClient {
    fn check_name(&self, host: Option<&HostName>) -> Result<(), Error> {
        if host.is_none() && self.checks_names {
            return Err(Error::Misuse(
                "a server_hostname is needed: the name to verify",
            ));
        }
        Ok(())
    }

    fn keeper(&self, parameters: &Parameters) -> Result<Option<Keeper>, Error> {
        let Some(sessions) = &self.sessions else {
            return Ok(None);
        };
        let Parameters { host, port, offer } = parameters;
        let place = Place {
            host: host.clone(),
            port: *port,
        };
        let lineage = match offer {
            None => None,
            Some(offer) => {
                let admitted = Arc::clone(&offer.0).downcast::<Admitted>();
                let admitted = admitted.ok().filter(|admitted| {
                    admitted.host == *host && Arc::ptr_eq(&admitted.lineage.sessions, sessions)
                });
                let admitted = admitted
                    .ok_or_else(|| not_resumable("it was admitted for another connection"))?;
                Some(Arc::clone(&admitted.lineage))
            }
        };
        let offered = match &lineage {
            Some(lineage) => sessions.take_of(lineage),
            None if host.is_some() => sessions.take(&place),
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
                "it belongs to another context; a session can be resumed by the context of its \
                 connection alone",
            )
        })?;
        if !self.checks_names && lineage.place.host.as_ref() != host {
            return Err(not_resumable(
                "it was begun under another name, and names are not checked here; resume it under \
                 its own name, or let the handshake be a full one",
            ));
        }
        if let Some(peers) = &self.shared.peers {
            let before = lineage.accepted.as_deref();
            let admitted = peers.admit(&lineage.chain, before, host);
            admitted.map_err(|failure| Error::NotResumable {
                message: format!(
                    "its certificate is not accepted for this connection: {}",
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

/// A context for one connection alone. It is made with the connection, as that runs code of Python's; given
/// back if it is dropped.
pub(crate) struct Beginning {
    context: Option<Py<PyAny>>,
    spares: Arc<Spares>,
    /// Whether the server speaks TLS 1.3 at all.
    speaks_tls13: bool,
}

impl Beginning {
    /// Whether a client that begins with this record gets TLS 1.3, whose sessions are given away alone.
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

/// An engine for server connections. `chains`: of each the DNS names and the leaf, DER. `make`: makes an
/// `ssl.SSLContext` that presents those chains, by their indices, once for all connections.
/// `begin`: makes what a connection of TLS 1.2 begins with, if that is to be another for each.
///
/// Raises ConfigurationError, naming the field, and what `make` raises.
#[pyfunction]
pub(crate) fn ssl_server(
    py: Python<'_>,
    chains: Vec<(Vec<String>, Vec<u8>)>,
    make: &Bound<'_, PyAny>,
    begin: Option<Py<PyAny>>,
    data: SslData,
) -> PyResult<ServerEngine> {
    prepare(py)?;
    let mut callbacks = Callbacks::default();
    let effective = data.effective()?;
    let shared = data.shared(py, true, &mut callbacks)?;
    let names = NameTable::new(chains.iter().map(|(names, _)| names));
    let mut contexts = HashMap::new();
    for chosen in names.choices() {
        if !contexts.contains_key(chosen) {
            let made = make.call_out((chosen.to_vec(),), None)?;
            contexts.insert(chosen.to_vec(), made.unbind());
        }
    }
    let leaves = chains.into_iter().map(|(_, leaf)| leaf.into()).collect();
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
    let maker = begin.map(|callable| callbacks.add(Maker(callable)));
    let engine = SslServer {
        shared,
        spares: Arc::default(),
        context: context.clone_ref(py),
        choice: choice.unbind(),
        maker,
        effective,
    };
    Ok(ServerEngine {
        engine: Arc::new(engine),
        callbacks,
        implementation: NAME,
        extended: false,
    })
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
