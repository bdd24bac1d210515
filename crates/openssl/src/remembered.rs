//! What a client context remembers of servers, and sessions that are named.
//!
//! Sessions that were not offered yet are kept once, in the context's cache, where they carry the number of
//! their line: that of the connections that resume each other. A lineage keeps the last one of its line,
//! which may be offered again when there is no other.
//!
//! A child of fork(2) remembers nothing: two processes that resume one session can be linked, and one of
//! TLS 1.3 is to be offered once. Order of locks: none is taken while another of these is held.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use polytls_core::fork::PerProcess;
use polytls_core::{Error, HostName, Tickets};

use crate::objects::SslSession;
use crate::seen::{Before, Presented};

/// A session is kept only if its ticket has no more bytes than this. With a larger one OpenSSL 3.5, whose
/// ClientHello has a share for ML-KEM too, fails to make the next ClientHello.
const LARGEST_TICKET: usize = 48 * 1024;

/// A number that nothing else in this process has: of a context, or of a line of sessions.
fn next_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// Where the sessions of a client's connection belong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The name or address that was asked for.
    pub(crate) host: Option<HostName>,
    pub(crate) port: Option<u16>,
    /// The zone of its address.
    pub(crate) scope: Option<u32>,
}

/// A session, and what is known of the server that it was begun with.
#[derive(Debug)]
struct Stored {
    session: SslSession,
    before: Before,
    line: u64,
}

impl Stored {
    /// `None` if it has ended, or without memory.
    fn copy(&self, now: u64) -> Option<(SslSession, Before)> {
        let copy = || Some((self.session.copy()?, self.before.clone()));
        (now <= self.before.end).then(copy).flatten()
    }
}

#[derive(Debug, Default)]
struct Remembered {
    tls12: Option<Stored>,
    tls13: Tickets<Stored>,
}

/// What one client context remembers; the server that was used least recently is forgotten first.
pub(crate) struct ClientSessions {
    number: u64,
    servers: PerProcess<Mutex<LruCache<Place, Remembered>>>,
    limit: NonZeroUsize,
}

impl std::fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSessions")
    }
}

/// How many servers a cache of `capacity` holds.
pub(crate) fn limit(capacity: usize) -> Result<NonZeroUsize, Error> {
    NonZeroUsize::new(capacity).ok_or_else(|| {
        Error::configuration(
            "sessions",
            "capacity must be at least 1; use sessions=None to turn resumption off",
        )
    })
}

impl ClientSessions {
    pub(crate) fn new(limit: NonZeroUsize) -> Self {
        Self {
            number: next_number(),
            servers: PerProcess::new(Mutex::new(LruCache::new(limit))),
            limit,
        }
    }

    fn at<R>(&self, place: &Place, go: impl FnOnce(&mut Remembered) -> R) -> R {
        let servers = self.servers.get(|_| Mutex::new(LruCache::new(self.limit)));
        let mut servers = servers.lock().unwrap_or_else(PoisonError::into_inner);
        go(servers.get_or_insert_mut(place.clone(), Remembered::default))
    }

    /// A session to offer.
    fn take(&self, place: &Place, now: u64) -> Option<(SslSession, Before, u64)> {
        self.at(place, |server| {
            while let Some(kept) = server.tls13.take() {
                // One that has ended was of no use, and those before it may be.
                if now <= kept.before.end {
                    return Some((kept.session, kept.before, kept.line));
                }
            }
            let kept = server.tls12.as_ref()?;
            let (session, before) = kept.copy(now)?;
            Some((session, before, kept.line))
        })
    }

    /// A session of this line that was not offered yet.
    fn take_of(&self, place: &Place, line: u64, now: u64) -> Option<(SslSession, Before)> {
        self.at(place, |server| {
            loop {
                let kept = server.tls13.take_if(|kept| kept.line == line)?;
                if now <= kept.before.end {
                    return Some((kept.session, kept.before));
                }
            }
        })
    }

    fn put(&self, place: &Place, kept: Stored) {
        self.at(place, |server| {
            if !kept.session.is_tls13() {
                server.tls12 = Some(kept);
                return;
            }
            let length = kept.session.ticket_length();
            server.tls13.put(kept, Some(length));
        });
    }

    /// A session that was offered was of no use.
    fn forget_tls12(&self, place: &Place, line: u64) {
        self.at(place, |server| {
            server.tls12.take_if(|kept| kept.line == line);
        });
    }
}

/// A session that is named.
#[derive(Debug)]
pub(crate) struct Lineage {
    context: u64,
    /// Where its first connection belongs, and so its sessions.
    pub(crate) place: Place,
    line: u64,
    /// What the server presented when it began.
    pub(crate) chain: Presented,
    /// In a child of fork(2) there is none.
    last: PerProcess<Mutex<Option<Stored>>>,
}

impl Lineage {
    fn last(&self) -> &Mutex<Option<Stored>> {
        self.last.get(|_| Mutex::new(None))
    }

    /// Whether it is of this context.
    pub(crate) fn is_of(&self, sessions: &ClientSessions) -> bool {
        self.context == sessions.number
    }
}

/// Keeps the sessions of one client's connection.
#[derive(Debug)]
pub(crate) struct Keeper {
    sessions: Arc<ClientSessions>,
    place: Place,
    line: u64,
    /// The one that was named, or that was asked for.
    lineage: Option<Arc<Lineage>>,
    /// The last session that has come, until there is a lineage to keep it.
    last: Option<Stored>,
}

impl Keeper {
    /// For a connection to `place` that names no session; with what is to be offered.
    pub(crate) fn new(
        sessions: &Arc<ClientSessions>,
        place: Place,
        now: u64,
    ) -> (Self, Option<(SslSession, Before)>) {
        let found = place.host.is_some().then(|| sessions.take(&place, now));
        let found = found.flatten();
        let line = found
            .as_ref()
            .map_or_else(next_number, |(_, _, line)| *line);
        let keeper = Self {
            sessions: Arc::clone(sessions),
            place,
            line,
            lineage: None,
            last: None,
        };
        (keeper, found.map(|(session, before, _)| (session, before)))
    }

    /// For a connection that names one. Early data goes with a session that was not offered before, and to
    /// the name that it was begun under.
    pub(crate) fn of_lineage(
        sessions: &Arc<ClientSessions>,
        place: Place,
        lineage: Arc<Lineage>,
        now: u64,
    ) -> (Self, Option<(SslSession, Before)>) {
        let fresh = sessions.take_of(&lineage.place, lineage.line, now);
        let offered = match fresh {
            Some((session, before)) if lineage.place.host == place.host => Some((session, before)),
            Some((session, before)) => session
                .copy()
                .map(|session| (session.without_early_data(), before)),
            None => {
                let last = lineage
                    .last()
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let again = last.as_ref().and_then(|kept| kept.copy(now));
                again.map(|(session, before)| (session.without_early_data(), before))
            }
        };
        let keeper = Self {
            sessions: Arc::clone(sessions),
            place,
            line: lineage.line,
            lineage: Some(lineage),
            last: None,
        };
        (keeper, offered)
    }

    /// The server has begun a session of its own: what comes is the beginning of another line.
    pub(crate) fn begin_anew(&mut self) {
        self.sessions.forget_tls12(&self.place, self.line);
        self.lineage = None;
        self.line = next_number();
    }

    /// Keeps a session that has come; says whether others may find it.
    pub(crate) fn keep(&mut self, session: SslSession, before: Before) -> bool {
        if !session.is_resumable() || session.ticket_length() > LARGEST_TICKET {
            return false;
        }
        let last = session.share().map(|session| Stored {
            session,
            before: before.clone(),
            line: self.line,
        });
        self.last = last;
        self.hand_over();
        // Servers tie sessions to names, so those of another name stay with the lineage.
        let place = self
            .lineage
            .as_ref()
            .map_or(&self.place, |lineage| &lineage.place);
        if place.host.is_none() || place.host != self.place.host {
            return false;
        }
        let kept = Stored {
            session,
            before,
            line: self.line,
        };
        self.sessions.put(place, kept);
        true
    }

    /// What the lineage has is a copy: the other is offered, and no more to be resumed where that fails.
    fn hand_over(&mut self) {
        if let Some(lineage) = &self.lineage
            && let Some(last) = self.last.take()
            && let Some(session) = last.session.copy()
        {
            *lineage
                .last()
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(Stored { session, ..last });
        }
    }

    /// The session of the connection, for others to name; `chain`: what its server presented.
    pub(crate) fn lineage(&mut self, chain: &Presented) -> Arc<Lineage> {
        let lineage = self.lineage.get_or_insert_with(|| {
            Arc::new(Lineage {
                context: self.sessions.number,
                place: self.place.clone(),
                line: self.line,
                chain: Arc::clone(chain),
                last: PerProcess::new(Mutex::new(None)),
            })
        });
        let lineage = Arc::clone(lineage);
        self.hand_over();
        lineage
    }
}
