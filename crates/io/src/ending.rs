//! What the end of a connection takes of its transport: what was delivered, the FIN, and reading out.
//!
//! As all of the transport, under the lock and without waiting; `close.rs` waits.

use std::net::Shutdown;
use std::sync::Arc;

use polytls_core::{Error, MAX_FRAGMENT, Room};

use crate::link::Link;
use crate::transport::{Fault, Transport};

/// How often the kernel is asked for more in one hold of the lock.
const MOST_ROUNDS: u32 = 16;

/// How reading out went.
#[derive(Debug)]
pub(crate) enum Input {
    /// There is nothing more for now, or another thread waits for it.
    Nothing,
    /// There is more.
    More,
    /// The peer's side of the transport has ended.
    End,
    /// The transport has failed.
    Fault(Fault),
    /// The peer has sent a fatal alert.
    Alert(Error),
}

impl Link {
    /// How many bytes of the application's data, as they were sealed, the peer has not acknowledged. Where
    /// the system does not tell, all of it until the peer's end has come.
    pub(crate) fn undelivered(&self) -> u64 {
        let acknowledged = match self.unacknowledged() {
            Some(count) => self.connection.sent().saturating_sub(count),
            None if self.peer_has_ended() => self.connection.sent(),
            None => 0,
        };
        self.connection.data_end().saturating_sub(acknowledged)
    }

    /// Whether the peer has acknowledged all that we had to say, close_notify included.
    pub(crate) fn is_settled(&self) -> bool {
        self.connection.outgoing().is_empty()
            && self
                .unacknowledged()
                .map_or_else(|| self.peer_has_ended(), |count| count == 0)
    }

    /// [`Transport::unacknowledged`]: `None` where the system does not tell.
    pub(crate) fn unacknowledged(&self) -> Option<u64> {
        self.transport.as_ref()?.unacknowledged(self.fin_sent)
    }

    fn peer_has_ended(&self) -> bool {
        self.connection.peer_has_closed() || self.connection.transport_has_ended()
    }

    /// What the end comes to if sending or receiving is over: an error only if data was not delivered.
    pub(crate) fn broken_off(&mut self, input: &Input) -> Option<Result<(), crate::Error>> {
        let fault = match input {
            Input::Alert(alert) => alert.clone().into(),
            Input::Fault(fault) => fault.clone().into(),
            Input::Nothing | Input::More | Input::End => self.send_fault()?.into(),
        };
        if self.undelivered() == 0 {
            return Some(Ok(()));
        }
        // The peer's own reason is the better one.
        Some(Err(match self.connection.failure() {
            Some(alert @ Error::AlertReceived(_)) => alert.clone().into(),
            _ => fault,
        }))
    }

    /// An orderly end without waiting, after close_notify was queued: it is done when the peer's
    /// close_notify has come, or the end of its transport.
    ///
    /// # Errors
    ///
    /// Like [`crate::Stream::close`].
    pub(crate) fn exchange_goodbyes(&mut self) -> Result<(), crate::Error> {
        let _ = self.flush();
        self.finish_sending();
        let input = self.read_out();
        if let Some(outcome) = self.broken_off(&input) {
            outcome
        } else if self.has_unsent() {
            Err(crate::Error::WantWrite)
        } else if self.peer_has_ended() || self.reading_has_ended() {
            Ok(())
        } else {
            Err(crate::Error::WantRead)
        }
    }

    /// Ends our side of TCP, once all is handed over. Not where receiving was ended: the kernel answers
    /// what comes after both with a reset.
    pub(crate) fn finish_sending(&mut self) {
        let is_socket = |transport: &Arc<dyn Transport>| transport.socket().is_some();
        if !self.fin_sent
            && !self.deaf
            && self.connection.outgoing().is_empty()
            && self.transport.as_ref().is_some_and(is_socket)
        {
            self.end_sending();
        }
    }

    pub(crate) fn end_sending(&mut self) {
        if let Some(transport) = &self.transport {
            self.fin_sent |= transport.shutdown(Shutdown::Write);
        }
    }

    /// Whether waiting for the descriptor to become readable makes sense: an end makes it so for good.
    pub(crate) const fn may_become_readable(&self) -> bool {
        !self.deaf && !self.connection.transport_has_ended()
    }

    /// Reads for nobody, for a moment. Records are opened, as long as that can be done: there may be
    /// tickets among them, or an alert.
    pub(crate) fn read_out(&mut self) -> Input {
        let mut scratch = [0; MAX_FRAGMENT];
        for _ in 0..MOST_ROUNDS {
            if self.connection.transport_has_ended() {
                return self.fault().map_or(Input::End, Input::Fault);
            }
            if self.is_open_to_read() {
                match self.connection.read_into(Room::new(&mut scratch)) {
                    // The end included: what comes behind it is discarded as it is.
                    Ok(_) => continue,
                    Err(Error::WantRead) => {}
                    Err(alert @ Error::AlertReceived(_)) => return Input::Alert(alert),
                    // What the peer sends is of no interest any more.
                    Err(_) => continue,
                }
                match self.receive() {
                    Ok(true) => continue,
                    Ok(false) => return Input::Nothing,
                    Err(fault) => return Input::Fault(fault),
                }
            }
            if self.led.read {
                return Input::Nothing;
            }
            match self.discard() {
                Ok(true) => {}
                Err(Fault::WouldBlock) => return Input::Nothing,
                Err(fault) => return Input::Fault(fault),
                // The end of receiving is ours, and hides the peer's.
                Ok(false) if self.deaf => {
                    return self.fault().map_or(Input::Nothing, Input::Fault);
                }
                Ok(false) => self.connection.commit(0),
            }
        }
        Input::More
    }

    fn is_open_to_read(&self) -> bool {
        !self.reading_has_ended()
            && !self.connection.peer_has_closed()
            && self.connection.failure().is_none()
    }

    /// What has befallen the transport, told once: where an end was received, receiving does not tell.
    fn fault(&mut self) -> Option<Fault> {
        let fault = self.transport.as_ref()?.fault()?;
        self.note_send_fault(fault.clone());
        Some(fault)
    }
}
