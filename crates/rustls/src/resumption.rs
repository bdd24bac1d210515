//! Sessions: how they are counted, and what a server gives to clients. How long they may be resumed is in
//! `session_lifetime`, what a client remembers in `remembered`.
//!
//! After fork(2) the child remembers nothing: a session that two processes resume can be linked, and a
//! TLS 1.3 ticket is to be used once. It keeps the keys of tickets, so that pre-forked workers resume
//! each other's sessions, whenever keys change. It waits for no lock that a thread of the parent may have
//! held.
//!
//! rustls does not look at the peer's certificate again where a session is resumed, and gives new tickets
//! for it then: so each session carries its [`SessionLifetime`].

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use lru::LruCache;
use polytls_core::config::{Secret, ServerConfig, TicketKeys};
use polytls_core::fork::PerProcess;
use polytls_core::{Counters, Error};
use rustls::server::{NoServerSessionStorage, ProducesTickets, StoresServerSessions};

use crate::session_lifetime::SessionLifetime;
use crate::tickets::{Binding, FleetTicketer};

/// The most bytes of a ticket that is given. It holds the client's chain, and must fit into the extensions of
/// the next ClientHello with everything else, which are 64 KiB at most (RFC 8446 section 4.1.2).
const LARGEST_TICKET: usize = 56 * 1024;

/// A server's ticketer, counted; sessions have their term.
#[derive(Debug)]
struct Counting {
    ticketer: FleetTicketer,
    term: SessionLifetime,
    counters: Arc<Counters>,
}

impl ProducesTickets for Counting {
    fn enabled(&self) -> bool {
        self.ticketer.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.ticketer.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let ticket = self.ticketer.encrypt(&self.term.put_before(plain)?)?;
        if ticket.len() > LARGEST_TICKET {
            return None;
        }
        self.counters.stored();
        Some(ticket)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let session = self.ticketer.decrypt(cipher);
        let session = session.and_then(|session| self.term.take_off(session));
        self.counters.looked_for(session.is_some());
        session
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

/// Sessions that a server keeps itself, and gives away names of: all, where early data is taken, as each
/// is then good for once (RFC 8446 section 8.1); otherwise those of TLS 1.2 clients that have no tickets.
struct ServerSessions {
    cache: PerProcess<Mutex<Named>>,
    limit: NonZeroUsize,
    term: SessionLifetime,
    /// `None` where tickets are what is counted.
    counters: Option<Arc<Counters>>,
}

/// Sessions by their names; not rustls's own cache, which looks through all of it for each that is taken.
type Named = LruCache<Vec<u8>, Vec<u8>>;

impl fmt::Debug for ServerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerSessions")
    }
}

impl ServerSessions {
    fn new(limit: NonZeroUsize, term: SessionLifetime, counters: Option<Arc<Counters>>) -> Self {
        Self {
            cache: PerProcess::new(Mutex::new(LruCache::new(limit))),
            limit,
            term,
            counters,
        }
    }

    fn found(&self, session: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let session = session.and_then(|session| self.term.take_off(session));
        if let Some(counters) = &self.counters {
            counters.looked_for(session.is_some());
        }
        session
    }

    fn cache(&self) -> MutexGuard<'_, Named> {
        let cache = self.cache.get(|_| Mutex::new(LruCache::new(self.limit)));
        cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoresServerSessions for ServerSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let Some(value) = self.term.put_before(&value) else {
            return false;
        };
        self.cache().put(key, value);
        if let Some(counters) = &self.counters {
            counters.stored();
        }
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.cache().get(key).cloned();
        self.found(session)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.cache().pop(key);
        self.found(session)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// How long a key of one context only is used; a ticket is accepted for twice as long.
const ROTATION: Duration = Duration::from_secs(6 * 3600);

/// Keys from a secret that nobody has but this context and the processes that were forked with it:
/// they change by the clock in all of them alike, with no lock and nothing kept.
fn keys_of_its_own() -> Result<TicketKeys, Error> {
    let mut secret = vec![0; 32];
    rand::fill(&mut secret).map_err(|_| Error::Internal("no random bytes".to_owned()))?;
    Ok(TicketKeys {
        secret: Secret::new(secret),
        previous: None,
        rotation: ROTATION,
        lifetime: 2 * ROTATION,
    })
}

/// Resumption on servers: where early data is taken, from a store of this context, process by process,
/// which gives each session once; otherwise tickets under keys of this context only or, if it shares them, of those
/// that ask the same of their clients; and a cache of its own for TLS 1.2 clients without tickets. So
/// no session made under other settings is ever accepted.
pub(crate) fn of_server(
    built: &mut rustls::ServerConfig,
    config: &ServerConfig,
    counters: &Arc<Counters>,
) -> Result<(), Error> {
    match config.common.sessions {
        None => {
            built.session_storage = Arc::new(NoServerSessionStorage {});
            built.send_tls13_tickets = 0;
        }
        Some(capacity) => {
            if let Some(tickets) = config.tickets {
                built.send_tls13_tickets = tickets;
            }
            let term = || SessionLifetime(Arc::clone(&config.common.clock));
            let early = config.common.early_data;
            let counted = early.then(|| Arc::clone(counters));
            built.session_storage =
                Arc::new(ServerSessions::new(limit(capacity)?, term(), counted));
            if early {
                return Ok(());
            }
            let (keys, binding) = match &config.ticket_keys {
                Some(keys) => (keys.clone(), Binding::of(config)?),
                None => (keys_of_its_own()?, Binding::of_one_context()),
            };
            let clock = Arc::clone(&config.common.clock);
            built.ticketer = Arc::new(Counting {
                ticketer: FleetTicketer::new(&keys, &binding, clock)?,
                term: term(),
                counters: Arc::clone(counters),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use polytls_core::clock::SystemClock;

    use super::*;

    fn store(limit: usize) -> ServerSessions {
        let limit = NonZeroUsize::new(limit).unwrap();
        ServerSessions::new(limit, SessionLifetime(Arc::new(SystemClock)), None)
    }

    #[test]
    fn the_session_that_was_used_least_recently_is_forgotten_first() {
        let store = store(2);
        for name in [b"a", b"b"] {
            assert!(store.put(name.to_vec(), b"session".to_vec()));
        }
        assert_eq!(store.get(b"a"), Some(b"session".to_vec()));
        assert!(store.put(b"c".to_vec(), b"other".to_vec()));
        assert_eq!(store.get(b"b"), None);
        assert_eq!(store.take(b"a"), Some(b"session".to_vec()));
        assert_eq!(store.take(b"a"), None);
        assert_eq!(store.take(b"c"), Some(b"other".to_vec()));
    }
}
