//! One step of a connection: the session is shown one record, and what comes of it is kept.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Connection, INCOMING_LIMIT};
use crate::alert::Alert;
use crate::buffers::Next;
use crate::error::Error;
use crate::plaintext::{Room, Sink};
use crate::record::{self, Front, Stage};
use crate::session::Received;

impl Connection {
    /// A step with no more than what came, and no room for plaintext but our own.
    pub(super) fn step_alone(&mut self) -> Result<(usize, bool), Error> {
        self.step(&mut &[][..], Room::none())
    }

    /// Shows the session one more record, of what came or of what is `behind` it. Says how much
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
            if self.peer_closed || self.failure.is_some() {
                // No record will be looked for any more.
                self.inbound.extend(std::mem::take(&mut left));
            }
            let left = left.len();
            self.kept = kept.with_left(left);
            return stepped;
        }
        let mut sink = Sink::new(into, &mut self.rest, &mut self.early);
        if !behind.is_empty() {
            if self.inbound.len() == 0
                && let Front::Record(length) = record::front(behind, self.stage)
            {
                let (record, after) = behind.split_at(length);
                let received = guarded(|| {
                    self.session
                        .receive_shared(record, &mut sink, &mut self.outbound)
                        .transpose()
                });
                if let Some(received) = received.transpose() {
                    self.inbound.saw_record();
                    *behind = after;
                    let filled = sink.filled();
                    return self.stepped(received, filled);
                }
            }
            // One record at a time: the next may again be opened from where it lies.
            self.inbound.complete_from(behind);
        }
        // A server waits for ClientHello; a client begins, whatever has come by then.
        let records = if self.started {
            match self.inbound.next(self.stage) {
                Next::Records(records) => records,
                Next::Partial => return self.starved(),
                Next::Malformed(what, bytes, first) => {
                    // Whoever does not speak TLS reads no alert.
                    if first && let Some(what) = record::describe_foreign(bytes) {
                        return Err(self.fail(Error::NotTls(what)));
                    }
                    return Err(self.refuse(what.alert(), what.words()));
                }
            }
        } else {
            &mut [][..]
        };
        self.started = true;
        let received = guarded(|| self.session.receive(records, &mut sink, &mut self.outbound));
        let filled = sink.filled();
        if let Ok(received) = &received {
            self.inbound.consume(received.consumed);
        }
        self.stepped(received, filled)
    }

    /// What comes of a call of the session that put `filled` bytes of plaintext into the room.
    fn stepped(
        &mut self,
        received: Result<Received, Error>,
        filled: usize,
    ) -> Result<(usize, bool), Error> {
        self.rest.give_back();
        self.early.give_back();
        if !self.established && received.is_ok() && !self.session.is_handshaking() {
            self.establish();
        }
        match received {
            Ok(received) => {
                self.answerable |= received.answerable;
                self.heard |= filled > 0 || !self.rest.is_empty();
                if received.peer_closed {
                    self.peer_closed = true;
                    // TLS 1.2: answer, and write no more (RFC 5246 section 7.2.1).
                    if !self.closed && !self.is_handshaking() && !self.session.facts().is_tls13() {
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

    /// No whole record is there. If none can ever be, that is the peer's fault.
    fn starved(&mut self) -> Result<(usize, bool), Error> {
        if self.inbound.len() >= INCOMING_LIMIT {
            return Err(self.refuse(
                Alert::DECODE_ERROR,
                "a handshake message in too many pieces",
            ));
        }
        Ok((0, false))
    }

    /// The handshake is complete.
    pub(super) fn establish(&mut self) {
        self.established = true;
        self.stage = if self.session.facts().is_tls13() {
            Stage::Tls13
        } else {
            Stage::Tls12
        };
    }

    /// Ends the connection over something wrong in what came, and tells the peer (RFC 8446 section 6.2):
    /// unless our close_notify is out, behind which there is nothing (6.1).
    fn refuse(&mut self, alert: Alert, what: &str) -> Error {
        let mut error = Error::PeerMisbehaved(what.to_owned());
        if !self.closed {
            let found = self.inbound.all();
            let told = guarded(|| self.session.send_alert(alert, found, &mut self.outbound));
            error = told.err().unwrap_or(error);
        }
        self.fail(error)
    }
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
