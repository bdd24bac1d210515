//! Sessions: what a client remembers of servers, what a server gives to clients.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use polytls_core::config::ServerConfig;
use polytls_core::{Error, Statistics};
use rustls::NamedGroup;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache};

use crate::observe::{self, SessionKey};
use crate::tickets::{Binding, FleetTicketer};

/// Tickets kept per server; a TLS 1.3 ticket is used once (RFC 8446 appendix C.4).
const TICKETS_PER_SERVER: usize = 8;

#[derive(Default)]
struct Remembered {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

type Key = (ServerName<'static>, SessionKey);

/// What became of the connections of one engine, and of the sessions for them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    full: AtomicU64,
    resumed: AtomicU64,
    stored: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Counters {
    /// A handshake is done.
    pub(crate) fn finished(&self, resumed: bool) {
        let counter = if resumed { &self.resumed } else { &self.full };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A session was looked for.
    pub(crate) fn looked_for(&self, found: bool) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn stored(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Statistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            full: read(&self.full),
            resumed: read(&self.resumed),
            stored: read(&self.stored),
            hits: read(&self.hits),
            misses: read(&self.misses),
        }
    }
}

/// A server's ticketer, counted.
#[derive(Debug)]
struct Counting {
    ticketer: Arc<dyn ProducesTickets>,
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
        let ticket = self.ticketer.encrypt(plain)?;
        self.counters.stored();
        Some(ticket)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let session = self.ticketer.decrypt(cipher);
        self.counters.looked_for(session.is_some());
        session
    }
}

/// What one client context remembers, by host and port; the oldest server is forgotten first.
///
/// rustls asks by name alone; the port comes from the scope of the call.
struct ClientSessions {
    servers: Mutex<LruCache<Key, Remembered>>,
    counters: Arc<Counters>,
}

impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSessions")
    }
}

impl ClientSessions {
    fn with<R>(&self, name: &ServerName<'_>, go: impl FnOnce(&mut Remembered) -> R) -> Option<R> {
        let port = observe::look(|seen| seen.session_key).flatten()?;
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        Some(go(servers.get_or_insert_mut(
            (name.to_owned(), port),
            Remembered::default,
        )))
    }
}

impl ClientSessionStore for ClientSessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.with(&server_name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.with(server_name, |server| server.group).flatten()
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        let kept = self.with(&server_name, |server| server.tls12 = Some(value));
        kept.inspect(|()| self.counters.stored());
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.with(server_name, |server| server.tls12.clone())
            .flatten()
            .inspect(|_| observe::note(|seen| seen.offers_session = true))
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.with(server_name, |server| server.tls12 = None);
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        let kept = self.with(&server_name, |server| {
            if server.tls13.len() == TICKETS_PER_SERVER {
                server.tls13.pop_front();
            }
            server.tls13.push_back(value);
        });
        kept.inspect(|()| self.counters.stored());
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.with(server_name, |server| server.tls13.pop_back())
            .flatten()
            .inspect(|_| observe::note(|seen| seen.offers_session = true))
    }
}

/// How many servers a cache of `capacity` holds.
fn limit(capacity: usize) -> Result<NonZeroUsize, Error> {
    NonZeroUsize::new(capacity).ok_or_else(|| {
        Error::configuration(
            "sessions",
            "a cache for no session at all; say sessions=None for no resumption",
        )
    })
}

/// Resumption on clients.
pub(crate) fn of_client(
    capacity: Option<usize>,
    counters: &Arc<Counters>,
) -> Result<Resumption, Error> {
    Ok(match capacity {
        None => Resumption::disabled(),
        Some(capacity) => Resumption::store(Arc::new(ClientSessions {
            servers: Mutex::new(LruCache::new(limit(capacity)?)),
            counters: Arc::clone(counters),
        })),
    })
}

/// Resumption on servers: tickets under keys of this context alone or, if it shares them, of those
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
            built.session_storage = ServerSessionMemoryCache::new(limit(capacity)?.get());
            let ticketer = match &config.ticket_keys {
                Some(keys) => Arc::new(FleetTicketer::new(
                    keys,
                    &Binding::of(config)?,
                    Arc::clone(&config.common.clock),
                )?),
                None => Ticketer::new()
                    .map_err(|error| Error::Internal(format!("no ticket keys: {error}")))?,
            };
            built.ticketer = Arc::new(Counting {
                ticketer,
                counters: Arc::clone(counters),
            });
        }
    }
    Ok(())
}
