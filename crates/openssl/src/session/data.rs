//! Records of a connection whose handshake is done, in both directions.

use polytls_core::{Error, MAX_FRAGMENT, Outbound, Progress, Sink};

use super::OpensslSession;
use super::trouble::Trouble;
use crate::api::{self, SSL};
use crate::library::Library;

impl OpensslSession {
    /// Opens what the records hold, as long as there is room.
    pub(super) fn open(
        &mut self,
        records: &[u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        let (opened, left) = self.call(records, out, |library, ssl| {
            let wire = &self.seen().wire;
            loop {
                // No content is longer. Small reads reach the caller's buffer if this is no more than they want.
                let most = wire.next().saturating_sub(self.overhead).max(1);
                let mut count = 0;
                let memory = plaintext.space(most);
                // SAFETY: the connection is ours; so much memory is there, and a place for the count.
                let (result, more) = unsafe {
                    let into = memory.as_mut_ptr().cast();
                    let result = library.SSL_read_ex(ssl, into, most, &raw mut count);
                    (result, library.SSL_has_pending(ssl) == 1)
                };
                if result != 1 {
                    break Err(self.trouble(library, ssl, result));
                }
                plaintext.came(most, count.min(most));
                if !more && (wire.left() == 0 || plaintext.is_full()) {
                    break Ok(());
                }
            }
        })?;
        let mut received = Progress {
            consumed: records.len() - left,
            ..Progress::default()
        };
        match opened {
            Ok(()) | Err(Trouble::Wants) => {}
            Err(Trouble::Closed) => received.peer_closed = true,
            Err(Trouble::Failed(error)) => return Err(error),
            Err(Trouble::Refused(failure) | Trouble::RefusedSession(failure)) => {
                return Err(Error::Certificate(failure));
            }
        }
        self.remember();
        if !self.waiting.is_empty() || self.closing {
            self.go_on(out)?;
        }
        Ok(received)
    }

    /// Whether a message of the peer's has come in part.
    pub(super) fn is_amid_message(&self) -> Result<bool, Error> {
        let (library, ssl) = (self.library(), self.ssl()?);
        // SAFETY: the connection is ours.
        Ok(self.facts.is_some() && unsafe { library.SSL_in_init(ssl) } != 0)
    }

    /// Whether the peer has asked for new keys: OpenSSL sends that answer in front of the next data.
    pub(super) fn has_to_answer(&self) -> Result<bool, Error> {
        let (library, ssl) = (self.library(), self.ssl()?);
        // SAFETY: the connection is ours.
        Ok(unsafe { library.SSL_get_key_update_type(ssl) } != api::KEY_UPDATE_NONE)
    }

    /// Seals what had to wait, if it has no more to.
    fn go_on(&mut self, out: &mut Outbound) -> Result<(), Error> {
        if self.is_amid_message()? {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            self.write(&waiting, out)?;
        }
        if std::mem::take(&mut self.closing) {
            self.shut_down(out)?;
        }
        Ok(())
    }

    pub(super) fn write(&self, data: &[u8], out: &mut Outbound) -> Result<(), Error> {
        let (written, _) = self.call(&[], out, |library, ssl| self.put(library, ssl, data))?;
        written
    }

    /// Has OpenSSL seal all of it. A client's max_fragment_length (RFC 6066 section 4), if it has sent one, counts for
    /// OpenSSL instead of the context's.
    pub(super) fn put(
        &self,
        library: &'static Library,
        ssl: *mut SSL,
        data: &[u8],
    ) -> Result<(), Error> {
        let most = self.context().max_fragment;
        if most == MAX_FRAGMENT {
            return self.put_piece(library, ssl, data);
        }
        let mut pieces = data.chunks(most);
        pieces.try_for_each(|piece| self.put_piece(library, ssl, piece))
    }

    fn put_piece(
        &self,
        library: &'static Library,
        ssl: *mut SSL,
        data: &[u8],
    ) -> Result<(), Error> {
        let mut count = 0;
        // SAFETY: the connection is ours; the data is read, and there is a place for the count.
        let result = unsafe {
            let from = data.as_ptr().cast();
            if self.facts.is_some() {
                library.SSL_write_ex(ssl, from, data.len(), &raw mut count)
            } else {
                library.SSL_write_early_data(ssl, from, data.len(), &raw mut count)
            }
        };
        if result == 1 && count == data.len() {
            return Ok(());
        }
        match self.trouble(library, ssl, result) {
            Trouble::Failed(error) => Err(error),
            _ => Err(Error::Internal(
                "OpenSSL did not encrypt everything".to_owned(),
            )),
        }
    }

    pub(super) fn shut_down(&self, out: &mut Outbound) -> Result<(), Error> {
        let (closed, _) = self.call(&[], out, |library, ssl| {
            // SAFETY: the connection is ours.
            let result = unsafe { library.SSL_shutdown(ssl) };
            if result < 0 {
                Err(self.trouble(library, ssl, result))
            } else {
                Ok(())
            }
        })?;
        match closed {
            Err(Trouble::Failed(error)) => Err(error),
            _ => Ok(()),
        }
    }
}
