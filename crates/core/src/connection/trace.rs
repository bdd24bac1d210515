//! What a tracer is told of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Connection, Role, Theirs};
use crate::alert::Alert;
use crate::error::Error;
use crate::events::{Event, Tracer};
use crate::later;
use crate::session::Shown;

/// Who is told.
pub(super) struct Tracing {
    tracer: Arc<dyn Tracer>,
    /// Of this connection alone.
    number: u64,
    /// Nothing follows.
    has_ended: bool,
}

impl Tracing {
    pub(super) fn new(tracer: Arc<dyn Tracer>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        Self {
            tracer,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            has_ended: false,
        }
    }
}

impl Connection {
    /// Tells of `event` once this thread has no lock any more.
    pub(super) fn trace(&mut self, event: Event) {
        let Some(tracing) = &mut self.tracing else {
            return;
        };
        if tracing.has_ended {
            return;
        }
        tracing.has_ended = matches!(event, Event::Ended(_));
        let (tracer, number) = (Arc::clone(&tracing.tracer), tracing.number);
        let is_client = self.role == Role::Client;
        later::push(move || tracer.event(number, is_client, &event));
    }

    pub(super) fn trace_messages(&mut self, messages: Vec<Shown>) {
        for Shown { is_ours, message } in messages {
            self.trace(Event::Message {
                is_ours,
                kind: message.kind,
                length: message.length,
            });
        }
    }

    /// Tells of the messages behind the handshake that the library shows.
    pub(super) fn trace_shown(&mut self) {
        if self.tracing.is_some() && self.under_way.is_none() && self.failure.is_none() {
            let shown = self.session.take_shown();
            self.trace_messages(shown);
        }
    }

    /// Tells of the failure that was found first, and of the alert that goes with it.
    pub(super) fn trace_failure(&mut self, error: &Error) {
        if self.tracing.is_none() {
            return;
        }
        let alert = match error {
            Error::AlertReceived(alert) => Some((false, *alert)),
            _ => {
                let sent = self.alert.or_else(|| self.session.sent_alert());
                sent.map(|alert| (true, alert))
            }
        };
        if let Some((is_ours, alert)) = alert {
            self.trace(Event::Alert { is_ours, alert });
        }
        self.trace(Event::Ended(Some(error.clone())));
    }

    /// Tells of close_notify, and of the end if that was the second.
    pub(super) fn trace_close(&mut self, is_ours: bool) {
        let alert = Alert::CLOSE_NOTIFY;
        self.trace(Event::Alert { is_ours, alert });
        if self.closed && self.theirs == Theirs::Closed {
            self.trace(Event::Ended(None));
        }
    }
}
