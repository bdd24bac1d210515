//! Sessions that are named: the tickets of one connection, and of all that resume it.
//!
//! Tickets that were not offered yet are kept once, in the context's cache, where they carry the number
//! of their line. What a lineage keeps itself is its last ticket, which may be offered again when
//! there is no other.
//!
//! rustls gives a ticket of TLS 1.3 to a store as a value that cannot be cloned, and takes it back as
//! one. So the last ticket is kept as the message it came in, with the rest of the connection that
//! it came to (rustls's kernel connection), which makes another value of the message when there is
//! need of one. Without our record layer there is no such rest, and a ticket is offered once.
//!
//! Order of locks: none is taken while another of these is held.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use polytls_core::Error;
use polytls_core::fork::PerProcess;
use rustls::client::{ClientConnectionData, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::kernel::KernelConnection;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::observe::{self, Observed, observing};

/// The longest ticket that is kept to be offered again, in bytes of its message: a client keeps one
/// for each connection, whatever its server sends.
const LONGEST_KEPT: usize = 16 * 1024;

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
    pub(crate) port: Option<Port>,
    /// Of the context; `None` where that keeps no sessions.
    pub(crate) context: Option<Number>,
}

/// A server's port, where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Port(pub(crate) Option<u16>);

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
type StoredTicket = (Last, Option<Source>);

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
    fn keep(&self, last: Last, source: Option<Source>) {
        let kept = self.last.get(|_| Mutex::new(None));
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((last, source));
    }

    /// The last ticket, whether or not it was offered, if `goes_on` says so of its end.
    pub(crate) fn again(&self, goes_on: impl Fn(u64) -> bool) -> ToOffer {
        let kept = self.last.get(|_| Mutex::new(None));
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match kept {
            Some((Last::Tls12(last), _)) if goes_on(last.1) => ToOffer::Tls12(last.0, last.1),
            Some((
                Last::Tls13 {
                    message: Some(message),
                    received,
                    end,
                },
                Some(source),
            )) if goes_on(end) => match remade(&source, &message, received) {
                Some(value) => ToOffer::Tls13(value, end),
                None => ToOffer::Nothing,
            },
            _ => ToOffer::Nothing,
        }
    }
}

/// The value that rustls makes of a ticket's message, as it did when that came.
fn remade(source: &Source, message: &[u8], received: UnixTime) -> Option<Tls13ClientSessionValue> {
    let mut scope = Some(Box::new(Observed {
        remake: Some(Box::new(Remake {
            received,
            value: None,
        })),
        ..Observed::default()
    }));
    let made = observing(&mut scope, || {
        let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
        source.handle_new_session_ticket(message)
    });
    made.ok()?;
    scope?.remake?.value
}

/// The connection that is being called presents its certificate: no session that was named is resumed, so
/// what it will receive is the beginning of another line.
pub(crate) fn begin_anew() {
    observe::note(|seen| {
        if seen.lineage.take().is_some() {
            seen.line = Some(Number::next());
        }
    });
}

/// A ticket of TLS 1.3 has come to a connection, whose store has seen it; `source`: the rest of that.
pub(crate) fn keep_message(seen: &mut Observed, message: &[u8], source: &Source) {
    if let Some(Last::Tls13 { message: kept, .. }) = seen.last.as_deref_mut() {
        *kept = (message.len() <= LONGEST_KEPT).then(|| message.into());
    }
    hand_over(seen, Some(source));
}

/// Has the lineage, if there is one, keep the last ticket of this connection.
pub(crate) fn hand_over(seen: &mut Observed, source: Option<&Source>) {
    if let Some(lineage) = &seen.lineage
        && let Some(last) = seen.last.take()
    {
        lineage.keep(*last, source.cloned());
    }
}

/// The lineage of a connection whose handshake is done. `chain`: what its server presented.
pub(crate) fn of_connection(
    seen: &mut Observed,
    chain: impl FnOnce() -> Vec<CertificateDer<'static>>,
    source: Option<&Source>,
) -> Option<Arc<Lineage>> {
    let place = seen.place.as_ref()?;
    place.context?;
    if seen.lineage.is_none() {
        seen.lineage = Some(Arc::new(Lineage {
            place: Arc::clone(place),
            line: seen.line?,
            chain: chain(),
            last: PerProcess::new(Mutex::new(None)),
        }));
    }
    hand_over(seen, source);
    seen.lineage.clone()
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
