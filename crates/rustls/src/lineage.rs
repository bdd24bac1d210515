//! Sessions that are named: the tickets of one connection, and of all that resume it.
//!
//! Tickets that were not offered yet are kept once, in the context's cache, where they carry the number
//! of their line. What a lineage keeps itself is its last ticket, which may be offered again when
//! there is no other.
//!
//! rustls gives a ticket of TLS 1.3 to a store as a value that cannot be cloned, and takes it back as
//! one. So the last ticket is kept as the message it came in, with the rest of the connection that
//! it came to (rustls's kernel connection), which makes another value of the message when there is
//! need of one (`last_ticket`). Without our record layer there is no such rest, and a ticket is offered once.
//!
//! Order of locks: none is taken while another of these is held.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polytls_core::Error;
use polytls_core::fork::PerProcess;
use rustls::client::{ClientConnectionData, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::kernel::KernelConnection;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

/// A number that nothing else in this process has: of a context, or of a line of tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(NonZeroU64);

impl Number {
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MAX))
    }
}

/// Where the sessions of a client's connection belong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The name or address that was asked for; the unspecified address stands for none.
    pub(crate) name: ServerName<'static>,
    /// What besides the name they are remembered by in the cache; `None` keeps them out of it.
    pub(crate) server: Option<Server>,
    /// The name in ClientHello, where it is another.
    pub(crate) server_name: Option<ServerName<'static>>,
    /// Of the context; `None` where that keeps no sessions.
    pub(crate) context: Option<Number>,
}

impl Place {
    /// The name in ClientHello, or the address that is not sent there.
    pub(crate) fn asked(&self) -> &ServerName<'static> {
        self.server_name.as_ref().unwrap_or(&self.name)
    }
}

/// What is known of a server besides its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) port: Option<u16>,
    /// The zone of its address.
    pub(crate) scope: Option<u32>,
}

/// The last ticket of a connection.
#[derive(Clone)]
pub(crate) enum Last {
    /// A session of TLS 1.2, and its end.
    Tls12(Box<(Tls12ClientSessionValue, u64)>),
    Tls13 {
        /// What the message says, if it is kept.
        message: Option<Arc<[u8]>>,
        received: UnixTime,
        end: u64,
    },
}

/// The rest of a connection, which makes values of its tickets' messages.
pub(crate) type Source = Arc<Mutex<KernelConnection<ClientConnectionData>>>;

/// A ticket, and what makes values of it if that is needed.
pub(crate) type StoredTicket = (Last, Option<Source>);

/// See the module.
pub(crate) struct Lineage {
    /// Where its first connection belongs, and so its tickets.
    pub(crate) place: Arc<Place>,
    pub(crate) line: Number,
    /// What the server presented when the session began, the leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// In a child of fork(2) there is none.
    last: PerProcess<Mutex<Option<StoredTicket>>>,
}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lineage")
    }
}

/// What a store is to give to rustls for a connection that names a session.
pub(crate) enum ToOffer {
    /// Nothing is left of it.
    Nothing,
    Tls12(Tls12ClientSessionValue, u64),
    Tls13(Tls13ClientSessionValue, u64),
}

/// The scope in which a value is made anew.
pub(crate) struct Remake {
    /// When the ticket came, which is what its age is counted from.
    pub(crate) received: UnixTime,
    pub(crate) value: Option<Tls13ClientSessionValue>,
}

impl fmt::Debug for ToOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToOffer")
    }
}

impl fmt::Debug for Remake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remake")
    }
}

impl fmt::Debug for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Last")
    }
}

impl Lineage {
    /// A lineage that begins with what the server presented.
    pub(crate) fn new(
        place: Arc<Place>,
        line: Number,
        chain: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self {
            place,
            line,
            chain,
            last: PerProcess::new(Mutex::new(None)),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<StoredTicket>> {
        let kept = self.last.get(|_| Mutex::new(None));
        kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep(&self, last: Last, source: Option<Source>) {
        *self.kept() = Some((last, source));
    }

    /// The last ticket, whether or not it was offered.
    pub(crate) fn last(&self) -> Option<StoredTicket> {
        self.kept().clone()
    }
}

/// A lineage that may be offered to the server of one name.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) lineage: Arc<Lineage>,
    pub(crate) name: ServerName<'static>,
}

pub(crate) fn not_resumable(message: impl Into<String>) -> Error {
    Error::NotResumable {
        message: message.into(),
        failure: None,
    }
}
