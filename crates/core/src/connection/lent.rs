//! Calls that spare a copy: ciphertext stays in memory of the caller's, on its way in and out.
//!
//! Memory is lent for a call, as a slice, or for longer, as [`Memory`]: then it must not change while
//! the connection has it. What comes in is kept only after the handshake, and only until a read has
//! come to its end; what is left of it then, part of a record, is copied.

use super::steps::guarded;
use super::{Connection, Refused};
use crate::error::Error;
use crate::memory::{HeldMemory, Memory};
use crate::plaintext::Room;

impl Connection {
    // --- in ---

    /// [`Self::process_incoming`] and [`Self::read`] in one: records of `data` are opened from where
    /// they lie, and a copy is stored of what is left of it, whatever the read came to. `data` is
    /// `None` if nothing came, and empty at the end of the transport; the result is `None` if there
    /// is nothing to be read.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] if the buffer is at its limit, and [`Error::Misuse`] after the end of the
    /// transport: `data` was not looked at. Others as [`Self::read`].
    pub fn receive(&mut self, data: Option<&[u8]>, into: Room<'_>) -> Result<Option<usize>, Error> {
        match data {
            None => {}
            Some([]) => self.transport_ended = true,
            Some(_) => self.may_receive().map_err(|refused| match refused {
                Refused::Full => Error::WantRead,
                Refused::Ended => {
                    Error::Misuse("the transport has ended: no more data is accepted")
                }
            })?,
        }
        let mut behind = data.unwrap_or_default();
        if !behind.is_empty() {
            self.store_kept();
        }
        let opened = self.open_from(&mut behind, into);
        self.inbound.extend(behind);
        match opened {
            Err(Error::WantRead) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Like [`Self::process_incoming`], without a copy if that can be.
    ///
    /// # Errors
    ///
    /// Like [`Self::process_incoming`].
    pub fn keep_incoming(&mut self, data: Box<dyn Memory>) -> Result<(), Refused> {
        if data.bytes().is_empty() || self.is_handshaking() || self.peer_has_closed() {
            return self.process_incoming(data.bytes());
        }
        self.may_receive()?;
        self.store_kept();
        self.kept = Some(HeldMemory::new(data));
        Ok(())
    }

    /// Copies what was kept to where something can follow it.
    pub(crate) fn store_kept(&mut self) {
        if let Some(kept) = self.kept.take() {
            self.inbound.extend(kept.left());
        }
    }

    // --- out ---

    /// Seals all of `from`, whatever the output limit, for a caller who drains at once.
    ///
    /// # Errors
    ///
    /// Like [`Self::write`], but for the limit.
    pub fn write_all(&mut self, from: &[u8]) -> Result<(), Error> {
        self.get_ready_to_write()?;
        self.seal(from)
    }

    /// How many bytes would have to be sent if `plaintext` bytes were written now, exactly. `None`:
    /// that cannot be told.
    ///
    /// # Errors
    ///
    /// Like [`Self::write`], but for the limit.
    pub fn sealed_len(&mut self, plaintext: usize) -> Result<Option<usize>, Error> {
        self.get_ready_to_write()?;
        let sealed = self.session.sealed_len(plaintext);
        Ok(sealed.map(|length| self.outgoing_len() + length))
    }

    /// [`Self::write_all`], and a drain of all that has to be sent, into memory of exactly
    /// [`Self::sealed_len`] bytes. `false`: it is of another length by now, and nothing was done.
    ///
    /// # Errors
    ///
    /// Like [`Self::write`], but for the limit. What waited to be sent still waits then.
    pub fn write_into(&mut self, from: &[u8], into: &mut [u8]) -> Result<bool, Error> {
        if self.sealed_len(from.len())? != Some(into.len()) {
            return Ok(false);
        }
        let (before, sealed) = into.split_at_mut(self.outgoing_len());
        self.updates = 0;
        guarded(|| self.session.seal_into(from, sealed)).map_err(|error| self.fail(error))?;
        self.sent += sealed.len() as u64;
        self.drain_into(before);
        if !from.is_empty() {
            self.data_end = self.sent;
        }
        self.trace_shown();
        Ok(true)
    }

    /// Moves what has to be sent to `into`, which is no longer than [`Self::outgoing_len`].
    ///
    /// # Panics
    ///
    /// If it is longer.
    pub fn drain_into(&mut self, mut into: &mut [u8]) {
        assert!(into.len() <= self.outgoing_len(), "more than is buffered");
        while !into.is_empty() {
            let waiting = self.outgoing();
            let (part, behind) = into.split_at_mut(waiting.len().min(into.len()));
            part.copy_from_slice(&waiting[..part.len()]);
            into = behind;
            self.consume_outgoing(part.len());
        }
    }

    /// How much of `length` bytes [`Self::write_to`] would take, and how much memory it needs.
    /// `None`: it is [`Self::write`] that has to be called now.
    ///
    /// # Errors
    ///
    /// Like [`Self::write`].
    pub fn memory_to_write(&mut self, length: usize) -> Result<Option<(usize, usize)>, Error> {
        let taken = self.writable(length)?;
        if taken == 0 || self.outgoing_len() > 0 {
            return Ok(None);
        }
        let sealed = self.session.sealed_len(taken);
        Ok(sealed.map(|sealed| (taken, sealed)))
    }

    /// Seals all of `from` into `into`, which is kept and has to be sent. `false`: it has not the
    /// length that [`Self::memory_to_write`] tells by now, and nothing was done.
    ///
    /// # Errors
    ///
    /// Like [`Self::write`].
    pub fn write_to(&mut self, from: &[u8], mut into: Box<dyn Memory>) -> Result<bool, Error> {
        if self.memory_to_write(from.len())? != Some((from.len(), into.bytes().len())) {
            return Ok(false);
        }
        self.updates = 0;
        let sealed = guarded(|| self.session.seal_into(from, into.bytes_mut()));
        sealed.map_err(|error| self.fail(error))?;
        self.outbound.give(into);
        self.data_end = self.sealed_end();
        self.trace_shown();
        Ok(true)
    }

    /// All that has to be sent, if it is in one piece of memory of its own, as [`Self::write_to`] leaves it,
    /// and no longer than `most`.
    pub fn take_whole(&mut self, most: usize) -> Option<Box<dyn Memory>> {
        let whole = self.outbound.take_whole(most)?;
        self.sent += whole.bytes().len() as u64;
        Some(whole)
    }
}
