//! What has come and nobody has read: opened ahead of those who will read it, or discarded.

use super::{Connection, INCOMING_LIMIT, Theirs};
use crate::error::Error;
use crate::plaintext::Room;
use crate::record::MAX_FRAGMENT;

impl Connection {
    /// Opens what has come before anybody asks for it, [`INCOMING_LIMIT`] or so at most. Says whether
    /// plaintext waits: the next reads get it, and then the end or the error that was found behind it.
    pub fn look_ahead(&mut self) -> bool {
        while !self.is_handshaking()
            && self.theirs == Theirs::Open
            && self.rest.len() < INCOMING_LIMIT
            && matches!(self.step_alone(), Ok((_, true)))
        {}
        !self.rest.is_empty()
    }

    /// Takes in `data`, if any came, and reads all that can be read, for nobody: of a connection for whose
    /// end somebody waits. `true`: the peer's end was found, with close_notify or without.
    ///
    /// # Errors
    ///
    /// Fatal ones as found.
    pub fn discard(&mut self, mut data: Option<&[u8]>) -> Result<bool, Error> {
        self.drop_early();
        let mut scratch = [0; MAX_FRAGMENT + 1];
        loop {
            match self.read_into(Room::with_scratch(&mut scratch)) {
                Ok(0)
                | Err(Error::RaggedEof {
                    during_handshake: false,
                }) => return Ok(true),
                Ok(_) => {}
                Err(Error::WantRead) => {
                    let Some(data) = data.take() else {
                        return Ok(false);
                    };
                    // All whole records have been opened, so there is room.
                    let taken = self.process_incoming(data);
                    debug_assert!(taken.is_ok(), "{taken:?}");
                }
                Err(error) => return Err(error),
            }
        }
    }
}
