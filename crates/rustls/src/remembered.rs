//! What a client context remembers of servers.
//!
//! rustls asks only by name. Where the sessions of a connection belong, and which one is named for it,
//! comes from the scope of the call (`observe`).

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use polytls_core::clock::Clock;
use polytls_core::fork::PerProcess;
use polytls_core::{Counters, Error, Tickets};
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use crate::last_ticket;
use crate::lineage::{Last, Lineage, Number, Place, Server, ToOffer};
use crate::observe;
use crate::resumption::limit;
use crate::session_lifetime::SessionLifetime;

#[derive(Default)]
struct Remembered {
    group: Option<NamedGroup>,
    /// Each session with its end.
    tls12: Option<(Tls12ClientSessionValue, u64)>,
    tls13: Tickets<Ticket>,
}

struct Ticket {
    value: Tls13ClientSessionValue,
    end: u64,
    /// The line that it belongs to.
    line: Option<Number>,
}

type Key = (ServerName<'static>, Option<ServerName<'static>>, Server);

/// What one client context remembers, by host and port; the oldest server is forgotten first.
pub(crate) struct ClientSessions {
    /// Of the context.
    pub(crate) number: Number,
    servers: PerProcess<Mutex<LruCache<Key, Remembered>>>,
    limit: NonZeroUsize,
    term: SessionLifetime,
    counters: Arc<Counters>,
}

impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSessions")
    }
}

impl ClientSessions {
    fn new(limit: NonZeroUsize, term: SessionLifetime, counters: Arc<Counters>) -> Self {
        Self {
            number: Number::next(),
            servers: PerProcess::new(Mutex::new(LruCache::new(limit))),
            limit,
            term,
            counters,
        }
    }

    /// Goes to what is remembered where the sessions of the connection belong that is being called.
    fn with<R>(&self, go: impl FnOnce(&mut Remembered) -> R) -> Option<R> {
        let place = observe::look(|seen| match &seen.lineage {
            Some(lineage) => Some(Arc::clone(&lineage.place)),
            None => seen.place.clone(),
        });
        self.at(&*place.flatten()?, go)
    }

    fn at<R>(&self, place: &Place, go: impl FnOnce(&mut Remembered) -> R) -> Option<R> {
        let key = (place.name.clone(), place.server_name.clone(), place.server?);
        let servers = self.servers.get(|_| Mutex::new(LruCache::new(self.limit)));
        let mut servers = servers.lock().unwrap_or_else(PoisonError::into_inner);
        Some(go(servers.get_or_insert_mut(key, Remembered::default)))
    }

    /// What to offer of a session that is named: a ticket that was not offered yet, else the last one.
    /// Says whether it is the latter.
    pub(crate) fn of_lineage(&self, lineage: &Lineage) -> (ToOffer, bool) {
        let of_line = |ticket: &Ticket| ticket.line == Some(lineage.line);
        let next = || {
            self.at(&lineage.place, |server| server.tls13.take_if(of_line))
                .flatten()
        };
        match std::iter::from_fn(next).find(|ticket| self.term.allows(ticket.end)) {
            Some(ticket) => (ToOffer::Tls13(ticket.value, ticket.end), false),
            None => (
                last_ticket::again(lineage, |end| self.term.allows(end)),
                true,
            ),
        }
    }

    /// A session that is to be offered; `None` if it has ended.
    fn offered<T>(&self, session: T, end: u64) -> Option<T> {
        if !self.term.goes_on(end) {
            return None;
        }
        observe::note(|seen| seen.offers_session = true);
        Some(session)
    }
}

impl ClientSessionStore for ClientSessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.with(|server| server.group = Some(group));
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.with(|server| server.group).flatten()
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        let Some(end) = self.term.end() else { return };
        observe::note(|seen| {
            seen.last = Some(Box::new(Last::Tls12(Box::new((value.clone(), end)))));
            last_ticket::hand_over(seen, None);
        });
        if asks_for_the_name_of_its_line() {
            let kept = self.with(|server| server.tls12 = Some((value, end)));
            kept.inspect(|()| self.counters.stored());
        }
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        if let Some(offered) = left_to_offer() {
            return match offered {
                ToOffer::Tls12(session, end) => self.offered(session, end),
                ToOffer::Tls13(..) | ToOffer::Nothing => None,
            };
        }
        let (session, end) = self.with(|server| server.tls12.clone()).flatten()?;
        self.offered(session, end)
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.with(|server| server.tls12 = None);
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let Some(value) = not_remade(value) else {
            return;
        };
        let (Some(end), Some(received)) = (self.term.end(), self.term.0.now()) else {
            return;
        };
        let noted = observe::note(|seen| {
            seen.last = Some(Box::new(Last::Tls13 {
                message: None,
                received,
                end,
            }));
            (seen.line, seen.ticket_length.take())
        });
        let (line, length) = noted.unwrap_or_default();
        if !asks_for_the_name_of_its_line() {
            return;
        }
        let kept = self.with(|server| {
            server.tls13.put(Ticket { value, end, line }, length);
        });
        kept.inspect(|()| self.counters.stored());
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if let Some(offered) = left_to_offer() {
            return match offered {
                ToOffer::Tls13(ticket, end) => self.offered(ticket, end),
                // It is asked for next.
                ToOffer::Tls12(..) => {
                    observe::note(|seen| seen.to_offer = Some(Box::new(offered)));
                    None
                }
                ToOffer::Nothing => None,
            };
        }
        // One that has ended was of no use, and those before it may be.
        let next = || self.with(|server| server.tls13.take()).flatten();
        std::iter::from_fn(next).find_map(|ticket| self.offered(ticket.value, ticket.end))
    }
}

/// What is left to offer on a connection that names a session; `None` on others. No other session may
/// be offered there: the verdict was on this one.
fn left_to_offer() -> Option<ToOffer> {
    let take = |left: &mut Box<ToOffer>| std::mem::replace(&mut **left, ToOffer::Nothing);
    observe::note(|seen| seen.to_offer.as_mut().map(take)).flatten()
}

/// The ticket, unless its value was made anew for a lineage, which has it then.
fn not_remade(value: Tls13ClientSessionValue) -> Option<Tls13ClientSessionValue> {
    let mut value = Some(value);
    observe::note(|seen| {
        if let Some(remake) = &mut seen.remake {
            remake.value = value.take();
        }
    });
    value
}

/// Whether the connection that is being called has asked for the name that its line of tickets belongs to:
/// servers tie tickets to names, so the others stay with the lineage.
fn asks_for_the_name_of_its_line() -> bool {
    let same = observe::look(|seen| match (&seen.lineage, &seen.place) {
        (Some(lineage), Some(place)) => lineage.place.asked() == place.asked(),
        _ => true,
    });
    same == Some(true)
}

/// What clients remember; `None`: nothing.
pub(crate) fn of_client(
    capacity: Option<usize>,
    clock: &Arc<dyn Clock>,
    counters: &Arc<Counters>,
) -> Result<Option<Arc<ClientSessions>>, Error> {
    Ok(match capacity {
        None => None,
        Some(capacity) => Some(Arc::new(ClientSessions::new(
            limit(capacity)?,
            SessionLifetime(Arc::clone(clock)),
            Arc::clone(counters),
        ))),
    })
}
