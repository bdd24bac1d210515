//! One connection on `ssl`. What OpenSSL needs, beside what `polytls_core::Connection` sees to:
//!
//! 1. It is shown one whole record at a time, and all plaintext is taken out at once. So its own buffers are
//!    empty whenever it is called; and `shutdown`, which reads behind its `close_notify`, where data is an
//!    error (APPLICATION_DATA_AFTER_CLOSE_NOTIFY, SSL_shutdown(3)), finds nothing.
//! 2. `ssl` has no callback for a peer's certificate. So while there is a verdict to come, nothing that
//!    OpenSSL writes leaves without a look at it ([`SslSession::decide`]): what answers a certificate
//!    is held back until this handshake's has been judged. Which one that is, the handshake's state
//!    tells, and never the chain that the library shows: with a session set, OpenSSL 3.5 shows the
//!    session's before the server has said anything.
//! 3. The end of the transport is never shown to it.
//! 4. What `ssl` tells of the handshake is read once, when that is done.

use std::sync::Arc;

use polytls_core::config::Version;
use polytls_core::events::Tracer;
use polytls_core::names::group_of_openssl;
use polytls_core::{
    Alert, Error, Facts, HostName, Inbound, Outbound, Progress, Session, Sink, VerificationFailure,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::engine::{Beginning, Chosen, Shared, choosing};
use super::flight::{is_only_hello, last_alert, plain_alert};
use super::object::{SslObject, Trouble, attached, cut_short, unexpected};
use super::peer::{Accepted, Chain, Peers};
use super::reasons::{Fault, Words, fault, other};
use super::sessions::Keeper;
use crate::bytes::{SharedBytes, WHOLE_FROM};
use crate::calls::CallsOut as _;

/// How often a connection looks for a new session. Each look loses the memory of a session, 6 kB or so,
/// before CPython 3.12.8 and 3.13.1 (gh-116810); and a peer can make us look.
const LOOKS: u8 = 4;

/// A session is kept only if its ticket came in no more bytes than this. With a larger one OpenSSL 3.5, whose
/// `ClientHello` has a share for ML-KEM too, fails to make the next `ClientHello`.
const LARGEST_TICKET: usize = 48 * 1024;

/// Header, content type, tag.
const HEADER: usize = 5;

/// What sessions are kept by, on a client that keeps them.
struct Keeping {
    keeper: Keeper,
    /// How often a new one may still be looked for, and the id of the one that was kept last.
    looks: u8,
    kept: Vec<u8>,
    /// How many bytes of records have come since the last data or session.
    quiet: usize,
}

/// See the module.
pub(crate) struct SslSession {
    shared: Arc<Shared>,
    object: SslObject,
    /// The name to be verified and asked for, on a client that has one.
    host: Option<HostName>,
    keeping: Option<Box<Keeping>>,
    /// What a server begins with instead, if it cannot be TLS 1.3.
    beginning: Option<Beginning>,
    /// What a server has chosen by the name in `ClientHello`.
    chosen: Option<Chosen>,
    /// What the peer presented; in the handshake, what was judged and accepted of it.
    presented: Option<Arc<Chain>>,
    /// What the judge said; `None`: nothing, so far.
    accepted: Option<Arc<Accepted>>,
    /// What was agreed, but for the chains. `None` until the handshake is done.
    facts: Option<Box<Facts>>,
    overhead: usize,
    /// Whether what OpenSSL writes may leave as it is: no verdict is to come any more.
    settled: bool,
}

/// What a step of the handshake came to.
struct Step {
    /// What OpenSSL has written.
    written: Py<PyBytes>,
    /// There once it is done, with how much longer a record is than its content.
    facts: Option<(Facts, usize)>,
    /// What has to be judged, and how OpenSSL has verified it.
    due: Option<(Arc<Chain>, Chain)>,
}

impl SslSession {
    pub(crate) fn new(
        shared: Arc<Shared>,
        object: SslObject,
        host: Option<HostName>,
        keeper: Option<Keeper>,
        beginning: Option<Beginning>,
    ) -> Self {
        Self {
            beginning,
            settled: shared.peers.is_none(),
            keeping: keeper.map(|keeper| {
                Box::new(Keeping {
                    keeper,
                    looks: LOOKS,
                    kept: Vec::new(),
                    quiet: 0,
                })
            }),
            shared,
            object,
            host,
            chosen: None,
            presented: None,
            accepted: None,
            facts: None,
            overhead: HEADER + 16,
        }
    }

    fn is_server(&self) -> bool {
        self.shared.is_server
    }

    // --- the handshake ---

    fn shake(&mut self, record: &[u8], out: &mut Outbound) -> Result<(), Error> {
        if let Some(beginning) = self.beginning.take()
            && !beginning.is_tls13(record)
        {
            self.object = beginning.object()?;
        }
        let object = &self.object;
        let (shaken, chosen) = choosing(|| {
            attached(|py| {
                if !record.is_empty() {
                    object.feed(py, record).map_err(Trouble::Unexpected)?;
                }
                object.do_handshake(py)
            })
        });
        self.chosen = chosen.or(self.chosen.take());
        let done = match shaken? {
            Ok(()) => true,
            Err(Trouble::WantRead) => false,
            Err(trouble) => return Err(self.ended(trouble, Some(record), out)),
        };
        let step = attached(|py| self.step(py, done).map_err(|error| unexpected(py, &error)))??;
        self.decide(step, out)
    }

    /// What OpenSSL has come to, by calling it.
    fn step(&self, py: Python<'_>, done: bool) -> PyResult<Step> {
        let facts = done.then(|| self.told(py)).transpose()?;
        let written = self.object.drain(py)?;
        let resumed = facts.as_ref().is_some_and(|(facts, _)| facts.resumed);
        let due = if done && self.settled && self.is_server() {
            None // It has not asked for a certificate.
        } else if done {
            Some(self.peer_chain(py, resumed)?)
        } else if !self.settled && !self.is_server() && !is_only_hello(written.as_bytes()) {
            Some(Arc::new(self.object.presented(py)?))
        } else {
            None
        };
        let asks = self.shared.peers.as_ref().is_some_and(Peers::asks_for_path);
        let verified = if asks && due.is_some() && !self.settled && !resumed {
            self.object.verified(py)?
        } else {
            Chain::new()
        };
        Ok(Step {
            written: written.unbind(),
            facts,
            due: due.map(|due| (due, verified)),
        })
    }

    /// Lets out what OpenSSL has written, once the certificate that it answers is accepted.
    ///
    /// A client of TLS 1.2 answers a full handshake's certificate before the handshake is done: by all that
    /// is no `ClientHello`. Otherwise a certificate is answered by the flight that ends the handshake here,
    /// or later. By then it is settled whether the session was resumed; then the chain is the one that the
    /// session was made with.
    fn decide(&mut self, step: Step, out: &mut Outbound) -> Result<(), Error> {
        let Step {
            written,
            facts,
            due,
        } = step;
        if let Some((chain, verified)) = due {
            let resumed = facts.as_ref().is_some_and(|(facts, _)| facts.resumed);
            if !self.settled && self.presented.as_ref() != Some(&chain) {
                self.accepted = self.judge(&chain, &verified, resumed)?;
            }
            self.presented = Some(chain);
        }
        attached(|py| pass_on(written.bind(py), out))?;
        if let Some((facts, overhead)) = facts {
            self.settled = true;
            self.overhead = overhead;
            self.done(facts)?;
        }
        Ok(())
    }

    /// Has the peer judged by what it presented; a client may have presented nothing.
    fn judge(
        &self,
        presented: &Chain,
        verified: &Chain,
        resumed: bool,
    ) -> Result<Option<Arc<Accepted>>, Error> {
        let Some(peers) = &self.shared.peers else {
            return Ok(None);
        };
        if presented.is_empty() && self.is_server() {
            return Ok(None);
        }
        let host = self.host.as_ref();
        if !resumed {
            return peers.judge(presented, verified, host).map(Some);
        }
        let offered = self
            .keeping
            .as_ref()
            .and_then(|keeping| keeping.keeper.offered());
        let before = offered.and_then(|offered| offered.accepted.as_ref());
        peers.judge_again(presented, before, host).map(Some)
    }

    fn done(&mut self, facts: Facts) -> Result<(), Error> {
        self.shared.counters.finished(facts.resumed);
        let is_tls13 = facts.is_tls13();
        if let Some(keeping) = &mut self.keeping {
            if !facts.resumed {
                keeping.keeper.begin_anew();
            }
            if !is_tls13 {
                keeping.looks = 1;
            }
        }
        self.facts = Some(Box::new(facts));
        if !is_tls13 {
            self.remember()?;
        }
        Ok(())
    }

    // --- what was agreed ---

    /// What the peer presented, once the handshake is done; when it began, if resumed.
    fn peer_chain(&self, py: Python<'_>, resumed: bool) -> PyResult<Arc<Chain>> {
        if resumed
            && let Some(keeping) = &self.keeping
            && let Some(offered) = keeping.keeper.offered()
        {
            return Ok(Arc::clone(&offered.chain));
        }
        let mut chain = self.object.presented(py)?;
        if chain.is_empty() {
            chain.extend(self.object.leaf(py)?);
        }
        Ok(Arc::new(chain))
    }

    /// The facts of a handshake that is done, without chains.
    fn told(&self, py: Python<'_>) -> PyResult<(Facts, usize)> {
        let object = &self.object;
        let (suite, ..): (String, String, i64) = object.told(py, "cipher")?.extract()?;
        let version: String = object.told(py, "version")?.extract()?;
        let version = match version.as_str() {
            "TLSv1.3" => 0x0304,
            "TLSv1.2" => 0x0303,
            other => {
                return Err(PyValueError::new_err(format!("unknown version {other:?}")));
            }
        };
        let resumed: bool = object.fact(py, "session_reused")?.extract()?;
        let alpn: Option<String> = object.told(py, "selected_alpn_protocol")?.extract()?;
        let cipher = self.shared.suites.get(&suite).copied();
        let name = match &self.chosen {
            Some(chosen) => chosen.name.clone(),
            // Addresses are never asked for (RFC 6066 section 3).
            None => self
                .host
                .as_ref()
                .filter(|host| !host.is_ip())
                .map(ToString::to_string),
        };
        // TLS 1.3 always exchanges keys, as `ssl` uses it; TLS 1.2 by ECDHE, unless it is resumed.
        let exchanged = version == 0x0304 || (suite.contains("ECDHE") && !resumed);
        let group = if object.tells(py, "group")? {
            let name: Option<String> = object.told(py, "group")?.extract()?; // Python 3.15 (gh-136306).
            name.as_deref().and_then(group_of_openssl)
        } else {
            self.shared.only_group.filter(|_| exchanged)
        };
        let overhead = overhead(&suite, version == 0x0304);
        let facts = Facts {
            version,
            cipher: cipher
                .ok_or_else(|| PyValueError::new_err(format!("unknown cipher suite {suite:?}")))?,
            group,
            alpn: alpn.map(String::into_bytes),
            server_name: name,
            resumed,
            ..Facts::default()
        };
        Ok((facts, overhead))
    }

    // --- sessions for later connections ---

    /// Keeps the session for later, if there is a new one (in TLS 1.3 that comes after the handshake).
    fn remember(&mut self) -> Result<(), Error> {
        if let Some(keeping) = &mut self.keeping
            && keeping.looks > 0
        {
            keeping.looks -= 1;
            return self.look();
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), Error> {
        let (Some(keeping), Some(facts)) = (&mut self.keeping, &self.facts) else {
            return Ok(());
        };
        let once = facts.is_tls13();
        let object = &self.object;
        let found = attached(|py| {
            new_session(py, object, &keeping.kept, once).map_err(|error| unexpected(py, &error))
        })??;
        let Some((session, id)) = found else {
            return Ok(());
        };
        keeping.kept = id;
        let length = std::mem::take(&mut keeping.quiet);
        if length > LARGEST_TICKET {
            return Ok(());
        }
        let chain = self.presented.get_or_insert_default();
        let stored = keeping
            .keeper
            .keep(session, chain, self.accepted.as_ref(), once, length)?;
        if stored {
            self.shared.counters.stored();
        }
        Ok(())
    }

    // --- data ---

    /// Opens a record. `true`: it was the peer's `close_notify`.
    fn open(
        &mut self,
        record: &[u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<bool, Error> {
        let object = &self.object;
        // No content is longer: one read takes all of it.
        let most = record.len().saturating_sub(self.overhead).max(1);
        let read = attached(|py| {
            object.feed(py, record).map_err(Trouble::Unexpected)?;
            object.read(py, plaintext.space(most))
        })?;
        match read {
            Ok(0) | Err(Trouble::Closed) => Ok(true),
            Ok(count) => {
                plaintext.came(most, count);
                if let Some(keeping) = &mut self.keeping {
                    keeping.quiet = 0;
                }
                Ok(false)
            }
            Err(Trouble::WantRead) => {
                attached(|py| drain(py, object, out))??;
                if let Some(keeping) = &mut self.keeping {
                    keeping.quiet += record.len();
                }
                self.remember()?;
                Ok(false)
            }
            Err(trouble) => Err(self.ended(trouble, Some(record), out)),
        }
    }

    // --- the end ---

    /// The error that ends the connection. `record`: what OpenSSL was shown last, if it was shown something
    /// in this call; what OpenSSL has to say to the peer goes out.
    fn ended(&mut self, trouble: Trouble, record: Option<&[u8]>, out: &mut Outbound) -> Error {
        let object = &self.object;
        let settled = std::mem::replace(&mut self.settled, true);
        let known = attached(|py| {
            pass_on_alert(py, object, settled, out)?;
            Ok(match trouble {
                Trouble::Failed(words) => {
                    let chain = object.presented(py);
                    Ok((words, chain.map_err(|error| unexpected(py, &error))?))
                }
                // `close_notify` instead of an answer: OpenSSL goes no further.
                Trouble::Closed => Err(Error::RaggedEof {
                    during_handshake: self.facts.is_none(),
                }),
                Trouble::WantRead => Err(Error::Internal("OpenSSL wants to read".to_owned())),
                Trouble::CutShort(error) => Err(Error::CutShort(Some(cut_short(py, &error)))),
                Trouble::Unexpected(error) => Err(unexpected(py, &error)),
            })
        });
        match known.and_then(|known| known) {
            Ok(Ok((words, chain))) => self.blame(&words, &chain, record.and_then(plain_alert)),
            Ok(Err(error)) | Err(error) => error,
        }
    }

    /// Whose fault an error of OpenSSL's is. `chain`: what the peer presented, as far as `ssl` tells.
    fn blame(&self, words: &Words, chain: &Chain, alert: Option<u8>) -> Error {
        let found = fault(words, alert);
        if let Fault::Other(error) = found {
            return error;
        }
        let Some(peers) = &self.shared.peers else {
            return other(words);
        };
        match found {
            Fault::Refused(reason, said) => peers.refusal(reason, said, chain, self.host.as_ref()),
            _ => peers.explain(VerificationFailure::NoCertificate, String::new(), &[], None),
        }
    }
}

/// Passes on what OpenSSL has written.
fn pass_on(written: &Bound<'_, PyBytes>, out: &mut Outbound) {
    if written.as_bytes().len() < WHOLE_FROM {
        out.extend(written.as_bytes());
    } else {
        out.give(Box::new(SharedBytes::of(written)));
    }
}

fn drain(py: Python<'_>, object: &SslObject, out: &mut Outbound) -> Result<(), Error> {
    let written = object.drain(py).map_err(|error| unexpected(py, &error))?;
    pass_on(&written, out);
    Ok(())
}

/// Passes on what a connection that fails has to say. Where there is no verdict yet, there will be none: the
/// peer may know why, and nothing else.
fn pass_on_alert(
    py: Python<'_>,
    object: &SslObject,
    settled: bool,
    out: &mut Outbound,
) -> Result<(), Error> {
    if settled {
        return drain(py, object, out);
    }
    let written = object.drain(py).map_err(|error| unexpected(py, &error))?;
    out.extend(last_alert(written.as_bytes()));
    Ok(())
}

/// The session that has come, and its id, if it is not the one that was `kept`.
fn new_session(
    py: Python<'_>,
    object: &SslObject,
    kept: &[u8],
    once: bool,
) -> PyResult<Option<(Py<PyAny>, Vec<u8>)>> {
    let session = match object.fact(py, "session") {
        // With a ticket that is too large for OpenSSL to copy (i2d_SSL_SESSION(3)).
        Err(error) if error.is_instance_of::<PyValueError>(py) => return Ok(None),
        found => found?,
    };
    if session.is_none() {
        return Ok(None);
    }
    let id: Vec<u8> = session.attribute("id")?.extract()?;
    if id.is_empty() || id == kept || (once && !session.attribute("has_ticket")?.is_truthy()?) {
        return Ok(None);
    }
    Ok(Some((session.unbind(), id)))
}

/// How much longer a record is than its content, at the least.
fn overhead(suite: &str, is_tls13: bool) -> usize {
    let tag = if suite.contains("CCM8") || suite.contains("CCM_8") {
        8
    } else {
        16
    };
    match (is_tls13, suite.contains("GCM")) {
        (true, _) => HEADER + 1 + tag,
        (false, true) => HEADER + 8 + tag,
        (false, false) => HEADER + 16,
    }
}

impl Session for SslSession {
    fn is_handshaking(&self) -> bool {
        self.facts.is_none()
    }

    fn receive(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        out.limit_answers()?;
        let record = inbound.bytes();
        let peer_closed = if self.is_handshaking() {
            self.shake(record, out)?;
            false
        } else {
            self.open(record, plaintext, out)?
        };
        Ok(Progress {
            consumed: record.len(),
            peer_closed,
            answerable: false,
        })
    }

    fn overhead(&self) -> usize {
        self.overhead
    }

    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error> {
        let object = &self.object;
        let sealed = attached(|py| {
            let sealed = match object.write(py, plaintext) {
                // It is sealed by then.
                Err(Trouble::CutShort(error)) => {
                    drop(cut_short(py, &error));
                    Ok(())
                }
                sealed => sealed,
            };
            sealed.map(|()| drain(py, object, out))
        })?;
        sealed.unwrap_or_else(|trouble| Err(self.ended(trouble, None, out)))
    }

    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error> {
        let object = &self.object;
        let closed = attached(|py| match object.shutdown(py) {
            Ok(()) | Err(Trouble::WantRead | Trouble::Closed) => Ok(drain(py, object, out)),
            Err(trouble) => Err(trouble),
        })?;
        closed.unwrap_or_else(|trouble| Err(self.ended(trouble, None, out)))?;
        Ok(Progress::default())
    }

    fn send_alert(&mut self, _: Alert, found: &[u8], out: &mut Outbound) -> Result<(), Error> {
        let (object, handshaking) = (&self.object, self.is_handshaking());
        let settled = std::mem::replace(&mut self.settled, true);
        attached(|py| {
            let fed = object.feed(py, found);
            fed.map_err(|error| unexpected(py, &error))?;
            // It finds the fault by itself, if it is one by its rules, and has no other alert to send.
            let seen = if handshaking {
                object.do_handshake(py)
            } else {
                object.read(py, &mut [0]).map(drop)
            };
            if let Err(Trouble::CutShort(error)) = seen {
                drop(cut_short(py, &error));
            }
            pass_on_alert(py, object, settled, out)
        })?
    }

    fn tracer(&self) -> Option<Arc<dyn Tracer>> {
        self.shared.tracer.clone()
    }

    fn version(&self) -> Option<Version> {
        Version::of_wire(self.facts.as_ref()?.version)
    }

    fn facts(&self) -> Facts {
        let known = self.facts.as_deref().cloned().unwrap_or_default();
        let presented = self.presented.iter().flat_map(|chain| chain.iter());
        Facts {
            peer_chain: presented.map(|certificate| certificate.to_vec()).collect(),
            verified_chain: self
                .accepted
                .as_ref()
                .and_then(|accepted| accepted.path.clone()),
            ..known
        }
    }

    fn export(&self, _: &[u8], _: Option<&[u8]>, _: &mut [u8]) -> Result<(), Error> {
        Err(Error::configuration(
            "channel_binding",
            "the ssl module does not export keying material",
        ))
    }

    fn lineage(&mut self) -> Option<polytls_core::Lineage> {
        let has_any = self.keeping.as_ref()?.keeper.has_any();
        if !has_any {
            self.look().ok()?;
        }
        let chain = Arc::clone(self.presented.get_or_insert_default());
        let keeping = self.keeping.as_mut()?;
        let lineage = keeping.keeper.lineage(&chain, self.accepted.as_ref());
        Some(polytls_core::Lineage(lineage))
    }

    fn own_certificate(&self) -> Result<Option<Vec<u8>>, Error> {
        let leaf = self.chosen.as_ref().and_then(|chosen| chosen.leaf.as_ref());
        leaf.map(|leaf| Some(leaf.to_vec())).ok_or_else(|| {
            Error::configuration(
                "channel_binding",
                "with several chains for one name, the ssl module does not report which one it \
                 chose",
            )
        })
    }

    fn calls_python(&self) -> bool {
        true
    }
}
