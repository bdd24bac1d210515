//! Sessions: what a client remembers of servers, what a server gives to clients.
//!
//! After fork(2) the child remembers nothing: a session that two processes resume can be linked, and a
//! TLS 1.3 ticket is to be used once. It keeps the keys of tickets, so that pre-forked workers resume
//! each other's sessions. It waits for no lock that a thread of the parent may have held.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use polytls_core::Error;
use polytls_core::fork::PerProcess;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::ServerName;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::{NamedGroup, ServerConfig};

use crate::observe::{self, SessionKey};

/// Tickets kept per server; a TLS 1.3 ticket is used once (RFC 8446 appendix C.4).
const TICKETS_PER_SERVER: usize = 8;

#[derive(Default)]
struct Remembered {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

type Key = (ServerName<'static>, SessionKey);

/// What one client context remembers, by host and port; the oldest server is forgotten first.
///
/// rustls asks by name alone; the port comes from the scope of the call.
struct ClientSessions {
    servers: PerProcess<Mutex<LruCache<Key, Remembered>>>,
    limit: NonZeroUsize,
}

impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSessions")
    }
}

impl ClientSessions {
    fn new(limit: NonZeroUsize) -> Self {
        Self {
            servers: PerProcess::new(Mutex::new(LruCache::new(limit))),
            limit,
        }
    }

    fn with<R>(&self, name: &ServerName<'_>, go: impl FnOnce(&mut Remembered) -> R) -> Option<R> {
        let port = observe::look(|seen| seen.session_key).flatten()?;
        let servers = self.servers.get(|_| Mutex::new(LruCache::new(self.limit)));
        let mut servers = servers.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.with(&server_name, |server| server.tls12 = Some(value));
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.with(server_name, |server| server.tls12.clone())
            .flatten()
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.with(server_name, |server| server.tls12 = None);
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.with(&server_name, |server| {
            if server.tls13.len() == TICKETS_PER_SERVER {
                server.tls13.pop_front();
            }
            server.tls13.push_back(value);
        });
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.with(server_name, |server| server.tls13.pop_back())
            .flatten()
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
pub(crate) fn of_client(capacity: Option<usize>) -> Result<Resumption, Error> {
    Ok(match capacity {
        None => Resumption::disabled(),
        Some(capacity) => Resumption::store(Arc::new(ClientSessions::new(limit(capacity)?))),
    })
}

/// Sessions of TLS 1.2 clients that have no tickets.
#[derive(Debug)]
struct ServerSessions {
    cache: PerProcess<Arc<ServerSessionMemoryCache>>,
    limit: NonZeroUsize,
}

impl ServerSessions {
    fn new(limit: NonZeroUsize) -> Self {
        Self {
            cache: PerProcess::new(ServerSessionMemoryCache::new(limit.get())),
            limit,
        }
    }

    fn cache(&self) -> &ServerSessionMemoryCache {
        self.cache
            .get(|_| ServerSessionMemoryCache::new(self.limit.get()))
    }
}

impl StoresServerSessions for ServerSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.cache().put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache().get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache().take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// What a ticket holds at most: a session, with the client's certificates.
const LONGEST_TICKET: usize = 32 * 1024;

/// rustls's tickets, and how many threads use them right now: in a child none of those goes on, and
/// the lock that they may have held is held for ever.
#[derive(Debug)]
struct InUse {
    tickets: Arc<dyn ProducesTickets>,
    users: AtomicUsize,
}

impl InUse {
    fn new() -> Result<Self, Error> {
        let made = Ticketer::new();
        let tickets = made.map_err(|error| Error::Internal(format!("no ticket keys: {error}")))?;
        // rustls 0.23 opens no ticket that is longer than the longest it has made in this process,
        // which would be none of another worker's.
        let _ = tickets.encrypt(&[0; LONGEST_TICKET]);
        Ok(Self::of(tickets))
    }

    const fn of(tickets: Arc<dyn ProducesTickets>) -> Self {
        Self {
            tickets,
            users: AtomicUsize::new(0),
        }
    }

    /// The same keys; others where a lock of theirs may be held, and no tickets at all where there
    /// are no other ones.
    fn in_child(&self) -> Self {
        if self.users.load(Ordering::Acquire) == 0 {
            return Self::of(Arc::clone(&self.tickets));
        }
        Self::new().unwrap_or_else(|_| Self::of(Arc::new(NoTickets)))
    }
}

/// What is left where no keys can be made.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Tickets under keys that children keep.
#[derive(Debug)]
struct Tickets(PerProcess<InUse>);

impl Tickets {
    fn with<R>(&self, call: impl FnOnce(&dyn ProducesTickets) -> R) -> R {
        let own = self.0.get(InUse::in_child);
        own.users.fetch_add(1, Ordering::AcqRel);
        let outcome = call(&*own.tickets);
        own.users.fetch_sub(1, Ordering::AcqRel);
        outcome
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.with(|tickets| tickets.enabled())
    }

    fn lifetime(&self) -> u32 {
        self.with(|tickets| tickets.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.with(|tickets| tickets.encrypt(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.with(|tickets| tickets.decrypt(cipher))
    }
}

/// Resumption on servers: tickets under keys of this context alone, and a cache of its own for TLS
/// 1.2 clients without tickets. So no session made under other settings is ever accepted.
pub(crate) fn of_server(config: &mut ServerConfig, capacity: Option<usize>) -> Result<(), Error> {
    match capacity {
        None => {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Some(capacity) => {
            config.session_storage = Arc::new(ServerSessions::new(limit(capacity)?));
            config.ticketer = Arc::new(Tickets(PerProcess::new(InUse::new()?)));
        }
    }
    Ok(())
}
