//! Sessions that a server keeps itself, and gives away names of: all, where early data is taken, as each is
//! then good for once (RFC 8446 section 8.1); otherwise those of TLS 1.2 clients that have no tickets.
//!
//! A child of fork(2) begins with none: a session that two processes resume is not good for once.

use std::ffi::{c_int, c_uchar};
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use polytls_core::fork::PerProcess;

use crate::api::{SSL, SSL_SESSION};
use crate::callbacks::A_WEEK;
use crate::library::Library;
use crate::objects::SslSession;
use crate::seen::{bytes, called, length};
use crate::tickets::TicketState;

type Named = LruCache<Vec<u8>, (SslSession, TicketState)>;

/// See the module.
pub(crate) struct Store {
    cache: PerProcess<Mutex<Named>>,
    limit: NonZeroUsize,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    pub(crate) fn new(limit: NonZeroUsize) -> Self {
        Self {
            cache: PerProcess::new(Mutex::new(LruCache::new(limit))),
            limit,
        }
    }

    fn cache(&self) -> MutexGuard<'_, Named> {
        let cache = self.cache.get(|_| Mutex::new(LruCache::new(self.limit)));
        cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the session goes by; empty for those that are in tickets.
unsafe fn id(library: &Library, session: *const SSL_SESSION) -> Vec<u8> {
    let mut size = 0;
    // SAFETY: the caller's session, whose id is lent.
    unsafe {
        let id = library.SSL_SESSION_get_id(session, &raw mut size);
        bytes(id, size as usize).to_vec()
    }
}

/// A session was made: `SSL_CTX_sess_set_new_cb(3)`.
pub(crate) unsafe extern "C" fn put(ssl: *mut SSL, session: *mut SSL_SESSION) -> c_int {
    // SAFETY: OpenSSL has called with this connection, and with a reference, which is taken over if that is
    // what is answered.
    unsafe {
        called(ssl, 0, |library, seen| {
            let Some(store) = &seen.context.store else {
                return 0;
            };
            let is_tls13 = library.SSL_SESSION_get_protocol_version(session) == 0x0304;
            let id = id(library, session);
            if id.is_empty() || (is_tls13 && seen.context.tickets.is_some()) {
                return 0;
            }
            let resumed = library.SSL_session_reused(ssl) == 1;
            let Some(kept) = TicketState::of(seen, resumed) else {
                return 0;
            };
            let Some(session) = SslSession::new(library, session) else {
                return 0;
            };
            store.cache().put(id, (session, kept));
            // In TLS 1.3 it was counted when its ticket was made.
            if seen.context.tickets.is_none() && !is_tls13 {
                seen.context.counters.stored();
            }
            1
        })
    }
}

/// A session is asked for: `SSL_CTX_sess_set_get_cb(3)`.
pub(crate) unsafe extern "C" fn get(
    ssl: *mut SSL,
    id: *const c_uchar,
    size: c_int,
    copy: *mut c_int,
) -> *mut SSL_SESSION {
    // SAFETY: OpenSSL has called with this connection, with a name of so many bytes, and with a place for the answer
    // that it gets a reference of its own.
    unsafe {
        called(ssl, ptr::null_mut(), |_, seen| {
            let Some(store) = &seen.context.store else {
                return ptr::null_mut();
            };
            *copy = 0;
            let id = bytes(id, length(size));
            // In TLS 1.3 each is good for once.
            let found = match store.cache().peek(id) {
                Some((session, _)) if session.is_tls13() => None,
                Some((session, kept)) => Some(session.copy().map(|copy| (copy, kept.clone()))),
                None => Some(None),
            };
            let found = found.unwrap_or_else(|| store.cache().pop(id));
            let found = found.filter(|(_, kept)| kept.goes_on(seen, A_WEEK));
            if seen.context.tickets.is_none() {
                seen.context.counters.looked_for(found.is_some());
            }
            found.map_or(ptr::null_mut(), |(session, _)| session.into_raw())
        })
    }
}
