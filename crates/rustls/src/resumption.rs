//! Sessions: what a client remembers of servers, what a server gives to clients.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use polytls_core::Error;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
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
struct ClientSessions(Mutex<LruCache<Key, Remembered>>);

impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSessions")
    }
}

impl ClientSessions {
    fn with<R>(&self, name: &ServerName<'_>, go: impl FnOnce(&mut Remembered) -> R) -> Option<R> {
        let port = observe::look(|seen| seen.session_key).flatten()?;
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        Some(capacity) => Resumption::store(Arc::new(ClientSessions(Mutex::new(LruCache::new(
            limit(capacity)?,
        ))))),
    })
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
            config.session_storage = ServerSessionMemoryCache::new(limit(capacity)?.get());
            config.ticketer = Ticketer::new()
                .map_err(|error| Error::Internal(format!("no ticket keys: {error}")))?;
        }
    }
    Ok(())
}
