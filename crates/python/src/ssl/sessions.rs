//! What a client context remembers of servers, and sessions that are named.
//!
//! An `ssl.SSLSession` can be set on any connection of its `SSLContext`, as often as one likes; nothing is
//! verified then. The rules that hold for all are in docs/resumption.md; rustls's counterpart is
//! `crates/rustls/src/remembered.rs` and `lineage.rs`.
//!
//! Order of locks: none is taken while another of these is held, and nothing waits for the GIL under one.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use polytls_core::fork::PerProcess;
use polytls_core::{Error, HostName, Tickets};
use pyo3::prelude::*;

use super::peer::{Accepted, Chain, now};

/// The longest that sessions are resumed after a full handshake, in seconds (RFC 8446 section 4.6.1).
const A_WEEK: u64 = 7 * 24 * 3600;

/// What sessions are remembered by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// `None` keeps them out of the cache.
    pub(crate) host: Option<HostName>,
    pub(crate) port: Option<u16>,
    /// The zone of its address.
    pub(crate) scope: Option<u32>,
}

/// Stands for a line of tickets: those of one connection, and of all that resume it.
pub(crate) type Line = Arc<()>;

/// A session that can be resumed, and what it does not keep of its handshake.
#[derive(Clone)]
pub(crate) struct Established {
    pub(crate) session: Arc<Py<PyAny>>,
    /// What the server presented in the full handshake, leaf first.
    pub(crate) chain: Arc<Chain>,
    /// By which the server was accepted then; `None`: nobody judged.
    pub(crate) accepted: Option<Arc<Accepted>>,
    /// Until when it may be resumed, in seconds since 1970: no longer than the verdict holds, and than
    /// a week after the handshake that it began with (RFC 8446 section 4.6.1).
    ends: u64,
    /// A ticket of TLS 1.3 is used once (RFC 8446 appendix C.4).
    once: bool,
    line: Line,
}

impl Established {
    fn goes_on(&self) -> bool {
        now().is_ok_and(|now| now.as_secs() <= self.ends)
    }
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Established")
    }
}

/// The tickets of one connection, and of all that resume it. Those that were not offered yet are in the
/// cache, known by their line. The last one is kept here, to be offered again when there is no other; a
/// child of fork(2) has none.
#[derive(Debug)]
pub(crate) struct Lineage {
    /// Of the context whose it is.
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) place: Place,
    line: Line,
    /// What the server presented when it began, and how that was judged.
    pub(crate) chain: Arc<Chain>,
    pub(crate) accepted: Option<Arc<Accepted>>,
    last: PerProcess<Mutex<Option<Established>>>,
}

impl Lineage {
    fn last(&self) -> &Mutex<Option<Established>> {
        self.last.get(|_| Mutex::new(None))
    }

    fn keep(&self, last: Established) {
        let before = self
            .last()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(last);
        drop(before);
    }

    /// The last ticket, whether or not it was offered, if it goes on.
    fn again(&self) -> Option<Established> {
        let last = self.last().lock().unwrap_or_else(PoisonError::into_inner);
        last.clone().filter(Established::goes_on)
    }
}

/// What is remembered of a server.
#[derive(Debug, Default)]
struct Remembered {
    tls12: Option<Established>,
    tls13: Tickets<Established>,
}

type Cache = LruCache<Place, Remembered>;

/// What one client context remembers, by host and port; the oldest is forgotten first. A child of fork(2)
/// remembers nothing: a ticket that two processes use is used twice.
#[derive(Debug)]
pub(crate) struct Sessions {
    limit: NonZeroUsize,
    servers: PerProcess<Mutex<Cache>>,
}

impl Sessions {
    pub(crate) fn new(limit: NonZeroUsize) -> Self {
        Self {
            limit,
            servers: PerProcess::new(Mutex::new(LruCache::new(limit))),
        }
    }

    fn with<R>(&self, go: impl FnOnce(&mut Cache) -> R) -> R {
        let servers = self.servers.get(|_| Mutex::new(LruCache::new(self.limit)));
        go(&mut servers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `length`: in how many bytes it has come.
    fn keep(&self, place: &Place, found: Established, length: usize) {
        self.with(|servers| {
            let known = servers.get_or_insert_mut(place.clone(), Remembered::default);
            if found.once {
                known.tls13.put(found, Some(length));
            } else {
                known.tls12 = Some(found);
            }
        });
    }

    /// The newest that goes on; a ticket of TLS 1.3 is then gone.
    pub(crate) fn take(&self, place: &Place) -> Option<Established> {
        self.with(|servers| {
            let known = servers.get_mut(place)?;
            // One that has ended was of no use, and those before it may be.
            std::iter::from_fn(|| known.tls13.take())
                .find(Established::goes_on)
                .or_else(|| known.tls12.clone().filter(Established::goes_on))
        })
    }

    /// What to offer of a session that is named: its newest ticket that was not offered yet, which is then
    /// gone; else its last one.
    pub(crate) fn take_of(&self, lineage: &Lineage) -> Option<Established> {
        let ours = |each: &Established| Arc::ptr_eq(&each.line, &lineage.line);
        let unused = self.with(|servers| {
            let known = servers.get_mut(&lineage.place)?;
            std::iter::from_fn(|| known.tls13.take_if(ours)).find(Established::goes_on)
        });
        unused.or_else(|| lineage.again())
    }
}

/// What one client connection does with the sessions that come to it.
#[derive(Debug)]
pub(crate) struct Keeper {
    sessions: Arc<Sessions>,
    place: Place,
    lineage: Option<Arc<Lineage>>,
    /// What is resumed, until it is known that nothing is.
    resumed: Option<Established>,
    line: Line,
    last: Option<Established>,
}

impl Keeper {
    pub(crate) fn new(
        sessions: Arc<Sessions>,
        place: Place,
        lineage: Option<Arc<Lineage>>,
        offered: Option<Established>,
    ) -> Self {
        let line = lineage.as_ref().map(|lineage| Arc::clone(&lineage.line));
        Self {
            sessions,
            place,
            lineage,
            resumed: offered,
            line: line.unwrap_or_default(),
            last: None,
        }
    }

    /// What was offered to the server, until it is known that it was not taken.
    pub(crate) const fn offered(&self) -> Option<&Established> {
        self.resumed.as_ref()
    }

    /// Whether a session has come.
    pub(crate) const fn has_any(&self) -> bool {
        self.last.is_some()
    }

    /// The handshake was a full one: no session is resumed.
    pub(crate) fn begin_anew(&mut self) {
        self.resumed = None;
        if self.lineage.take().is_some() {
            self.line = Line::default();
        }
    }

    /// Keeps a session that has come in `length` bytes, and says whether later connections may find it. One that was resumed
    /// passes on its verdict and its end. Servers tie sessions to the name that was asked for: where it is
    /// not that of the lineage, the session is only for that.
    pub(crate) fn keep(
        &mut self,
        session: Py<PyAny>,
        chain: &Arc<Chain>,
        accepted: Option<&Arc<Accepted>>,
        once: bool,
        length: usize,
    ) -> Result<bool, Error> {
        let (accepted, ends) = self.terms(accepted)?;
        let found = Established {
            session: Arc::new(session),
            chain: Arc::clone(chain),
            accepted,
            ends,
            once,
            line: Arc::clone(&self.line),
        };
        self.last = Some(found.clone());
        let mut place = &self.place;
        if let Some(lineage) = &self.lineage {
            lineage.keep(found.clone());
            if lineage.place.host != place.host {
                return Ok(false);
            }
            place = &lineage.place;
        }
        if place.host.is_some() {
            self.sessions.keep(place, found, length);
        }
        Ok(place.host.is_some())
    }

    /// The verdict by which the session began, and until when it may be resumed.
    fn terms(
        &self,
        accepted: Option<&Arc<Accepted>>,
    ) -> Result<(Option<Arc<Accepted>>, u64), Error> {
        if let Some(resumed) = &self.resumed {
            return Ok((resumed.accepted.clone(), resumed.ends));
        }
        let ends = now()?.as_secs().saturating_add(A_WEEK);
        let holds = accepted.and_then(|accepted| accepted.ends);
        Ok((
            accepted.cloned(),
            holds.map_or(ends, |holds| holds.min(ends)),
        ))
    }

    /// The connection's lineage; `chain`: that of its session.
    pub(crate) fn lineage(
        &mut self,
        chain: &Arc<Chain>,
        accepted: Option<&Arc<Accepted>>,
    ) -> Arc<Lineage> {
        if let Some(lineage) = &self.lineage {
            return Arc::clone(lineage);
        }
        let accepted = self
            .resumed
            .as_ref()
            .map_or_else(|| accepted.cloned(), |resumed| resumed.accepted.clone());
        let lineage = Arc::new(Lineage {
            sessions: Arc::clone(&self.sessions),
            place: self.place.clone(),
            line: Arc::clone(&self.line),
            chain: Arc::clone(chain),
            accepted,
            last: PerProcess::new(Mutex::new(None)),
        });
        if let Some(last) = &self.last {
            lineage.keep(last.clone());
        }
        self.lineage = Some(Arc::clone(&lineage));
        lineage
    }
}
