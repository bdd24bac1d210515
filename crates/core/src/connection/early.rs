//! Early data (RFC 8446 section 2.3): what a client sends with its first flight, before it has heard
//! from the server. Whoever has recorded it can send it again, so it never mixes with other data: it is
//! written and read by calls of its own.

use super::state::Handshake;
use super::steps::guarded;
use super::{Connection, Role};
use crate::buffers::OUTGOING_LIMIT;
use crate::error::Error;
use crate::plaintext::Unread;

impl Connection {
    /// Begins a client's handshake, and sends as much of `from` with its first flight as the session
    /// allows that it offers; nothing if there is none, or the output limit is reached. Says how much
    /// that was.
    ///
    /// Whether the server took it is among the facts. What it refused is not sent again.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where early data was not asked for; [`Error::Misuse`] once any other
    /// call has begun the handshake, and on a server; fatal ones as found.
    pub fn write_early(&mut self, from: &[u8]) -> Result<usize, Error> {
        self.check()?;
        if self.role() == Role::Server {
            return Err(Error::Misuse(
                "only clients send early data, and only servers receive it",
            ));
        }
        self.check_configured()?;
        if self.handshake != Handshake::Fresh {
            return Err(Error::Misuse(
                "the handshake has started: send early data before it",
            ));
        }
        let room = OUTGOING_LIMIT.saturating_sub(self.outgoing_len());
        let from = &from[..from.len().min(room)];
        let outgoing = self.outbound.len();
        let written = guarded(|| self.session.write_early(from, &mut self.outbound));
        self.watch(outgoing, &written);
        written.map_err(|error| self.fail(error))
    }

    /// Gives early data of the client's as it comes, before the handshake is complete; the count is 0
    /// only for an empty `into`, and once no more can come. Drives the handshake as far as that takes.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] if nothing is there; [`Error::WantWrite`] at the output limit;
    /// [`Error::Configuration`] where early data was not asked for; [`Error::Misuse`] on a client; fatal
    /// ones as found, after all data before them.
    pub fn read_early(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        if self.role() == Role::Client {
            return Err(Error::Misuse(
                "only clients send early data, and only servers receive it",
            ));
        }
        self.check_configured()?;
        loop {
            let taken = self.early.take(into);
            if taken > 0 || into.is_empty() {
                return Ok(taken);
            }
            match self.step_handshake() {
                Err(error) if self.early.is_empty() => return Err(error),
                Ok(false) if self.early.is_empty() => return Ok(0),
                _ => {}
            }
        }
    }

    /// How much early data waits to be read.
    #[must_use]
    pub const fn early_pending(&self) -> usize {
        self.early.len()
    }

    /// Nobody will read what early data there is.
    pub fn drop_early(&mut self) {
        self.early = Unread::default();
    }

    /// Other data is not read past early data: it would be lost, or be taken for what cannot be
    /// replayed.
    pub(super) fn check_early_data(&self) -> Result<(), Error> {
        let failed = self.failure.is_some() && self.rest.is_empty();
        if self.early.is_empty() || failed {
            return Ok(());
        }
        Err(Error::Misuse(
            "unread early data remains, which may be a replay: call read_early_data until it \
             returns nothing",
        ))
    }

    fn check_configured(&self) -> Result<(), Error> {
        if self.session.has_early_data() {
            return Ok(());
        }
        Err(Error::configuration(
            "early_data",
            "early data is turned off in this context; set early_data=True (early data can be \
             replayed)",
        ))
    }
}
