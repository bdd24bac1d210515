//! One step of a connection: the session is shown one record, and what comes of it is kept.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::state::Handshake;
use super::{Connection, Role, Theirs};
use crate::alert::Alert;
use crate::buffers::{Inbound, Next, Outbound};
use crate::config::Version;
use crate::error::Error;
use crate::events::Event;
use crate::plaintext::{Room, Sink};
use crate::record::{self, Stage};
use crate::session::{Progress, Session};

impl Connection {
    /// A step with no more than what came, and no room for plaintext but our own.
    pub(super) fn step_alone(&mut self) -> Result<(usize, bool), Error> {
        self.step(&mut &[][..], Room::none())
    }

    /// Shows the session what comes next, of what came or of what is `behind` it. Says how much
    /// plaintext it put into `into`, and whether there was anything to do.
    pub(super) fn step(
        &mut self,
        behind: &mut &[u8],
        into: Room<'_>,
    ) -> Result<(usize, bool), Error> {
        self.check()?;
        if behind.is_empty()
            && let Some(kept) = self.kept.take()
        {
            let mut left = kept.left();
            let stepped = self.step(&mut left, into);
            if self.peer_has_closed() || self.failure.is_some() {
                // No record will be looked for any more.
                self.inbound.extend(std::mem::take(&mut left));
            }
            let left = left.len();
            self.kept = kept.with_left(left);
            return stepped;
        }
        let many = !self.is_handshaking() && self.session.takes_batches();
        let mut sink = Sink::new(into, &mut self.rest, &mut self.early);
        let outgoing = self.outbound.len();
        if !behind.is_empty() {
            if let Some(mut inbound) = self.inbound.next_lent(behind, self.stage, many) {
                if let Some(under_way) = &mut self.under_way {
                    under_way.received(self.role, inbound.bytes());
                }
                let received = lend(
                    &mut *self.session,
                    &mut inbound,
                    &mut sink,
                    &mut self.outbound,
                    many,
                );
                let filled = sink.filled();
                // The copy, if the session has made one.
                self.inbound.clear();
                *behind = &behind[received.consumed..];
                return self.stepped(received.came_to, filled, outgoing);
            }
            // No more than that: the next may again be opened from where it lies.
            self.inbound.complete_from(behind);
        }
        // A server waits for ClientHello; a client begins, whatever has come by then.
        let before = self.handshake;
        let begins = self.role == Role::Client && before == Handshake::Fresh;
        if before == Handshake::Fresh {
            self.handshake = Handshake::UnderWay;
        }
        let mut inbound = if begins {
            Inbound::nothing()
        } else {
            match self.inbound.next(self.stage, many) {
                Next::Records(inbound) => inbound,
                Next::Partial => return Ok((0, false)),
                Next::Malformed(what, bytes, first) => {
                    // Whoever does not speak TLS reads no alert.
                    if first && let Some(what) = record::describe_foreign(bytes) {
                        return Err(self.fail(Error::NotTls(what)));
                    }
                    return Err(self.refuse(what.alert(), what.words()));
                }
            }
        };
        if let Some(under_way) = &mut self.under_way {
            under_way.received(self.role, inbound.bytes());
        }
        let received = lend(
            &mut *self.session,
            &mut inbound,
            &mut sink,
            &mut self.outbound,
            many,
        );
        let filled = sink.filled();
        self.inbound.consume(received.consumed);
        if matches!(&received.came_to, Err(error) if !error.is_fatal()) {
            // It is to be called again in the same way.
            self.handshake = before;
        }
        self.stepped(received.came_to, filled, outgoing)
    }

    /// What comes of a call of the session that put `filled` bytes of plaintext into the room, and
    /// something behind the first `outgoing` bytes that were to be sent.
    fn stepped(
        &mut self,
        received: Result<Progress, Error>,
        filled: usize,
        outgoing: usize,
    ) -> Result<(usize, bool), Error> {
        self.rest.give_back();
        self.early.give_back();
        self.watch(outgoing, &received);
        if self.is_handshaking() && received.is_ok() && !self.session.is_handshaking() {
            self.establish();
            if self.tracing.is_some()
                && let Some(facts) = self.facts()
            {
                self.trace(Event::Established(Box::new(facts)));
            }
        } else if received.is_ok() {
            self.trace_shown();
        }
        match received {
            Ok(received) => {
                self.answerable |= received.answerable;
                self.heard |= filled > 0 || !self.rest.is_empty();
                if received.peer_closed {
                    if self.theirs != Theirs::Closed {
                        self.theirs = Theirs::Closed;
                        self.trace_close(false);
                    }
                    // TLS 1.2: answer, and write no more (RFC 5246 section 7.2.1).
                    if self.answers_close && !self.closed && self.version == Some(Version::Tls12) {
                        self.send_close_notify()?;
                    }
                }
                Ok((filled, true))
            }
            Err(error) => {
                let error = self.fail(error);
                // What was opened before it is delivered before it.
                if filled > 0 {
                    Ok((filled, true))
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Takes what a call of the session in the handshake has sent, and shown. `came_to`: what came of
    /// the call; nothing of the session is called after a failure.
    pub(super) fn watch<R>(&mut self, outgoing: usize, came_to: &Result<R, Error>) {
        let Some(under_way) = &mut self.under_way else {
            return;
        };
        if matches!(came_to, Err(error) if !error.is_fatal()) {
            under_way.repeats();
        }
        let is_done = came_to.is_ok() && !self.session.is_handshaking();
        let shown = if came_to.is_ok() {
            self.session.take_shown()
        } else {
            Vec::new()
        };
        for one in shown.iter().filter(|one| !one.is_ours) {
            under_way.shown(self.role, one);
        }
        for flight in self.outbound.pieces_since(outgoing) {
            under_way.sent(self.role, flight, is_done);
        }
        for one in shown.iter().filter(|one| one.is_ours) {
            under_way.shown(self.role, one);
        }
        let untold = under_way.untold.as_mut().map(std::mem::take);
        if is_done {
            self.course = Some(under_way.course());
            self.under_way = None;
        }
        self.trace_messages(untold.unwrap_or_default());
    }

    /// The handshake is complete.
    pub(super) fn establish(&mut self) {
        self.handshake = Handshake::Complete;
        self.version = self.session.version();
        self.stage = match self.version {
            Some(Version::Tls13) => Stage::Tls13,
            // The larger limit where it is not known.
            Some(Version::Tls12) | None => Stage::Tls12,
        };
    }

    /// Ends the connection over something wrong in what came, and tells the peer (RFC 8446 section 6.2):
    /// unless our close_notify is out, behind which there is nothing (6.1).
    fn refuse(&mut self, alert: Alert, what: &str) -> Error {
        let mut error = Error::PeerMisbehaved(what.to_owned());
        self.alert = Some(alert);
        if !self.closed {
            let found = self.inbound.bytes();
            let told = guarded(|| self.session.send_alert(alert, found, &mut self.outbound));
            error = told.err().unwrap_or(error);
        }
        self.fail(error)
    }
}

/// What a session did with what it was lent.
struct Received {
    /// How much of that is not shown again.
    consumed: usize,
    came_to: Result<Progress, Error>,
}

/// Lends a session a record, or `many`, and holds it to what it has to be done with.
fn lend(
    session: &mut dyn Session,
    inbound: &mut Inbound<'_>,
    plaintext: &mut Sink<'_>,
    out: &mut Outbound,
    many: bool,
) -> Received {
    let shown = inbound.bytes().len();
    let came_to = guarded(|| {
        let progress = session.receive(inbound, plaintext, out)?;
        let consumed = progress.consumed;
        let is_enough = if many {
            consumed > 0
        } else {
            consumed == shown
        };
        if is_enough && consumed <= shown {
            Ok(progress)
        } else {
            Err(Error::Internal(format!(
                "the TLS library consumed {consumed} of {shown} bytes"
            )))
        }
    });
    let consumed = match &came_to {
        Ok(progress) => progress.consumed,
        Err(error) if error.is_fatal() => shown,
        Err(_) => 0,
    };
    Received { consumed, came_to }
}

/// Runs a call of the session; a panic becomes an error. What the panic left half-done is never
/// looked at again: the error is latched, and no session is called after it.
pub(super) fn guarded<R>(call: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Error::Internal(format!("the TLS library panicked: {what}")))
    })
}
