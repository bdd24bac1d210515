//! The last ticket of a client's connection: its lineage (`lineage`) keeps it, and offers it again.

use std::sync::{Arc, PoisonError};

use rustls::client::Tls13ClientSessionValue;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::lineage::{Last, Lineage, Number, Remake, Source, ToOffer};
use crate::observe::{self, Observed, observing};

/// The longest ticket that is kept to be offered again, in bytes of its message: a client keeps one
/// for each connection, whatever its server sends.
const LONGEST_KEPT: usize = 16 * 1024;

/// The last ticket of `lineage`, whether or not it was offered, if `goes_on` says so of its end.
pub(crate) fn again(lineage: &Lineage, goes_on: impl Fn(u64) -> bool) -> ToOffer {
    match lineage.last() {
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
        let lineage = Lineage::new(Arc::clone(place), seen.line?, chain());
        seen.lineage = Some(Arc::new(lineage));
    }
    hand_over(seen, source);
    seen.lineage.clone()
}
