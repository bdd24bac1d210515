//! How far a connection has come, and giving up.
//!
//! The handshake has its [`Phase`], each direction its own state: TLS 1.3 closes them one by one (RFC 8446
//! section 6.1), TLS 1.2 both at once (RFC 5246 section 7.2.1). What the transport delivers changes
//! nothing by itself: bytes wait, and the end of the transport behind them, until a call comes to them. So
//! everything that arrived in time is read before what went wrong after it.

use super::steps::guarded;
use super::{Connection, INCOMING_LIMIT, Role};
use crate::alert::Alert;
use crate::config::Version;
use crate::error::Error;
use crate::events::Event;
use crate::plaintext::Unread;

/// How far the handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No call but [`Connection::write_early`] has been made.
    Fresh,
    /// Under way.
    Handshaking,
    /// Complete, and the peer verified.
    Established,
    /// A fatal error, in the handshake or later, which every call gives again.
    Failed,
}

/// Our direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ours {
    /// Data may be written, if the phase allows it.
    Open,
    /// close_notify waits to be sent, behind all data.
    Closing,
    /// close_notify was taken out.
    Closed,
    /// The caller has given up: nothing is sealed any more.
    Aborted,
}

/// The peer's direction, as far as reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theirs {
    /// Data may come.
    Open,
    /// Its close_notify was found.
    Closed,
    /// Its transport ended without close_notify.
    Truncated,
}

/// What the transport can do for a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// More from the peer is of use, and there is room for it. Not behind its close_notify: what comes there
    /// is not TLS any more.
    pub read: bool,
    /// Something waits to be sent.
    pub write: bool,
}

/// How far the handshake has come, whatever became of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    Fresh,
    UnderWay,
    Complete,
}

impl Connection {
    /// How far the handshake has come.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.handshake {
            _ if self.failure.is_some() => Phase::Failed,
            Handshake::Fresh => Phase::Fresh,
            Handshake::UnderWay => Phase::Handshaking,
            Handshake::Complete => Phase::Established,
        }
    }

    /// Whether the handshake has not been completed, whatever became of it.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.handshake != Handshake::Complete
    }

    /// Whether any call but [`Self::write_early`] has been made: before that nothing is to be sent.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.handshake != Handshake::Fresh
    }

    /// The protocol version that the handshake agreed on; `None` until it is complete, and where the
    /// library does not tell.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// The state of our direction.
    #[must_use]
    pub fn ours(&self) -> Ours {
        if self.given_up.is_some() {
            Ours::Aborted
        } else if !self.closed {
            Ours::Open
        } else if self.outbound.is_empty() {
            Ours::Closed
        } else {
            Ours::Closing
        }
    }

    /// The state of the peer's direction.
    #[must_use]
    pub const fn theirs(&self) -> Theirs {
        self.theirs
    }

    /// Whether a read may give data, now or later.
    #[must_use]
    pub fn may_read(&self) -> bool {
        !self.rest.is_empty() || (!self.is_over() && self.theirs == Theirs::Open)
    }

    /// Whether data may be written, now or later.
    #[must_use]
    pub fn may_write(&self) -> bool {
        !self.is_over() && !self.closed
    }

    /// What the transport can do for it.
    #[must_use]
    pub fn wants(&self) -> Wants {
        Wants {
            read: !self.is_over()
                && self.theirs == Theirs::Open
                && !self.transport_ended
                && self.incoming_len() < INCOMING_LIMIT
                && (self.role == Role::Server || self.handshake != Handshake::Fresh),
            write: !self.outbound.is_empty(),
        }
    }

    /// Whether close_notify was queued and the connection is not over: it is to be sent, and the peer's end to
    /// be found.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        let over = self.theirs != Theirs::Open && self.outbound.is_empty();
        self.closed && !self.is_over() && !over
    }

    /// Whether whatever waits to be sent comes after the handshake: what a TLS 1.3 server has left to send then
    /// are session tickets (RFC 8446 section 4.6.1), and answers to early data.
    #[must_use]
    pub fn only_tickets_are_left(&self) -> bool {
        self.role == Role::Server && self.version == Some(Version::Tls13)
    }

    /// Whether the peer has, or will have, what its handshake does not end without: no handshake waits for a
    /// peer to take tickets.
    #[must_use]
    pub fn flight_is_sent(&self) -> bool {
        self.outbound.is_empty() || self.only_tickets_are_left()
    }

    // --- giving up ---

    /// Gives up: nothing is read or written any more, and every call gives [`Error::Aborted`].
    ///
    /// With an `alert`, which is fatal, what waits is still to be sent, and the alert behind it, unless our
    /// close_notify or another alert is its end. Without one, nothing is sent any more.
    pub fn abort(&mut self, alert: Option<Alert>) {
        if self.given_up.is_some() {
            return;
        }
        match alert {
            None => self.outbound.clear(),
            Some(alert)
                if self.failure.is_none() && !self.closed && self.handshake != Handshake::Fresh =>
            {
                let told = guarded(|| self.session.send_alert(alert, &[], &mut self.outbound));
                if let Err(error) = told {
                    self.fail(error);
                }
            }
            Some(_) => {}
        }
        self.give_up(Error::Aborted);
    }

    /// Gives up a handshake or a close that has taken too long: a handshake has failed then, and a close is
    /// over, as all that was expected is the peer's goodbye. Nothing is sent any more, and every call gives
    /// `error`, which is fatal: [`Error::TimedOut`], or the caller's own.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] where data flows: there is no limit to the time that it takes.
    pub fn time_out(&mut self, error: Error) -> Result<(), Error> {
        if !self.is_over() && !self.is_handshaking() && !self.closed {
            return Err(Error::Misuse("only a handshake and a close can time out"));
        }
        if self.is_handshaking() && self.given_up.is_none() {
            self.fail(error.clone());
        }
        self.outbound.clear();
        self.give_up(error);
        Ok(())
    }

    fn give_up(&mut self, error: Error) {
        debug_assert!(error.is_fatal());
        self.trace(Event::Ended(Some(error.clone())));
        self.given_up.get_or_insert(error);
        self.rest = Unread::default();
        self.early = Unread::default();
        self.kept = None;
        self.inbound.clear();
    }

    /// Whether no call does anything any more.
    const fn is_over(&self) -> bool {
        self.given_up.is_some() || self.failure.is_some()
    }

    /// What ended it, if anything did.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.given_up.as_ref().or(self.failure.as_ref()) {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }
}
