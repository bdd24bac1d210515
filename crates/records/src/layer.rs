//! The state of both directions, and what each kind of record does to it.

use polytls_core::{Alert, Error, MAX_FRAGMENT, Outbound, Progress, Sink};

use crate::fault::{Ending, Fault};
use crate::keys::{
    ALERT, APPLICATION_DATA, Direction, HANDSHAKE, HEADER, OVERHEAD, TAG, TrafficKeys,
};
use crate::messages::{Message, Messages};

/// Records in a row that say nothing and are put up with.
const EMPTY_RECORDS: u32 = 32;
/// user_canceled alerts without data in between that are put up with: as many as rustls and
/// BoringSSL take.
const WARNINGS: u32 = 4;
/// Key updates without data in between that are put up with, likewise.
const KEY_UPDATES: u32 = 32;
/// Ciphertext longer than this is refused (RFC 8446 section 5.2).
const LONGEST_CIPHERTEXT: usize = MAX_FRAGMENT + 256;

/// What the TLS library goes on to do after it has handed over the keys.
pub trait KeySource: Send {
    /// The next keys to send with (RFC 8446 section 7.2).
    ///
    /// # Errors
    ///
    /// Fatal ones of the library.
    fn next_sending(&mut self) -> Result<TrafficKeys, Error>;

    /// The next keys to receive with.
    ///
    /// # Errors
    ///
    /// Fatal ones of the library.
    fn next_receiving(&mut self) -> Result<TrafficKeys, Error>;

    /// Keeps a ticket, given by the body of its message. Called on clients only.
    ///
    /// # Errors
    ///
    /// What the library finds wrong with it, and the alert that tells the peer: a ticket that cannot be
    /// read is a decode_error, an extension that comes twice an illegal_parameter (RFC 8446 sections
    /// 4.2 and 6.2).
    fn ticket(&mut self, body: &[u8]) -> Result<(), (Alert, Error)>;
}

/// Both directions of a TLS 1.3 connection after the handshake.
pub struct RecordLayer<K> {
    sending: Direction,
    receiving: Direction,
    source: K,
    messages: Messages,
    /// How much plaintext a record of data holds at most.
    max_fragment: usize,
    empty_records: u32,
    warnings: u32,
    key_updates: u32,
    /// The peer asked for new keys of ours.
    update_is_due: bool,
    /// close_notify was sealed: nothing may follow it.
    closed: bool,
    /// What goes with the error that ended the connection.
    alert: Option<Alert>,
}

impl<K: KeySource> RecordLayer<K> {
    /// Goes on with the keys that the handshake arrived at.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] for keys that do not fit their cipher.
    pub fn new(
        source: K,
        sending: &TrafficKeys,
        receiving: &TrafficKeys,
        is_client: bool,
    ) -> Result<Self, Error> {
        Ok(Self {
            sending: Direction::new(sending)?,
            receiving: Direction::new(receiving)?,
            source,
            messages: Messages::new(is_client),
            max_fragment: MAX_FRAGMENT,
            empty_records: 0,
            warnings: 0,
            key_updates: 0,
            update_is_due: false,
            closed: false,
            alert: None,
        })
    }

    /// The same with at most so many bytes of plaintext, and at least one, in each record of data.
    #[must_use]
    pub const fn with_max_fragment(mut self, length: usize) -> Self {
        self.max_fragment = match length {
            0 => 1,
            length if length < MAX_FRAGMENT => length,
            _ => MAX_FRAGMENT,
        };
        self
    }

    /// Where later keys come from.
    #[must_use]
    pub const fn source(&self) -> &K {
        &self.source
    }

    /// Like [`Self::source`], to be changed.
    #[must_use]
    pub const fn source_mut(&mut self) -> &mut K {
        &mut self.source
    }

    /// Opens one whole record from where it lies; what is none is refused.
    ///
    /// # Errors
    ///
    /// Fatal ones only; the alert, if one is due, has then been put into `out`. Nothing may be
    /// called after that.
    pub fn receive(
        &mut self,
        record: &[u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        let consumed = record.len();
        match self.open(record, plaintext) {
            Ok(peer_closed) => Ok(Progress {
                consumed,
                peer_closed,
                ..Progress::default()
            }),
            Err(Ending(alert, error)) => {
                if let Some(alert) = alert {
                    self.send_alert(alert, out)?;
                }
                Err(error)
            }
        }
    }

    /// Seals `plaintext` into as many records as it takes.
    ///
    /// # Errors
    ///
    /// Fatal ones of the library that keys come from.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error> {
        // Now, and not when it was asked for: a side that is silent answers many requests with one
        // update (RFC 8446 section 4.6.3). Peers refuse a flood of answers with no data in between
        // (rustls, BoringSSL), and whoever only reads need not write.
        if self.update_is_due {
            self.update_sending(false, out)?;
        }
        let records = plaintext.len().div_ceil(self.max_fragment);
        // Room for all at once, so that what is there is moved once at most.
        out.space(plaintext.len() + records * OVERHEAD);
        for fragment in plaintext.chunks(self.max_fragment) {
            if self.sending.is_used_up() {
                self.update_sending(true, out)?;
            }
            self.seal_record(APPLICATION_DATA, fragment, out)?;
        }
        Ok(())
    }

    /// How many bytes [`Self::seal`] would make of so many, exactly; `None` if a KeyUpdate has to come
    /// before or among them.
    #[must_use]
    pub fn sealed_len(&self, plaintext: usize) -> Option<usize> {
        let records = plaintext.div_ceil(self.max_fragment);
        let fits = !self.update_is_due && self.sending.has_left(records);
        fits.then(|| plaintext + records * OVERHEAD)
    }

    /// Like [`Self::seal`], into memory of exactly [`Self::sealed_len`] bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] for memory of another length.
    pub fn seal_into(&mut self, plaintext: &[u8], into: &mut [u8]) -> Result<(), Error> {
        if self.sealed_len(plaintext.len()) != Some(into.len()) {
            return Err(Error::Internal(
                "memory of the wrong length to seal into".to_owned(),
            ));
        }
        let mut rest = into;
        for fragment in plaintext.chunks(self.max_fragment) {
            let (record, behind) = rest.split_at_mut(fragment.len() + OVERHEAD);
            self.sending.seal(APPLICATION_DATA, fragment, record)?;
            rest = behind;
        }
        Ok(())
    }

    /// Seals close_notify.
    ///
    /// # Errors
    ///
    /// Like [`Self::seal`].
    pub fn close(&mut self, out: &mut Outbound) -> Result<(), Error> {
        self.closed = true;
        self.seal_record(ALERT, &[1, 0], out)
    }

    /// Seals a fatal alert, after which nothing may be called; nothing if close_notify was sealed, behind
    /// which nothing may come (RFC 8446 section 6.1).
    ///
    /// # Errors
    ///
    /// Like [`Self::seal`].
    pub fn send_alert(&mut self, alert: Alert, out: &mut Outbound) -> Result<(), Error> {
        self.alert = Some(alert);
        if self.closed {
            return Ok(());
        }
        self.seal_record(ALERT, &[2, alert.0], out)
    }

    /// The alert that goes with the error that ended the connection, if one was found.
    #[must_use]
    pub const fn alert(&self) -> Option<Alert> {
        self.alert
    }

    /// Sends a KeyUpdate and seals with new keys from then on (RFC 8446 section 4.6.3). Does not ask a peer
    /// that has just asked: the answer to its update must ask for none.
    ///
    /// # Errors
    ///
    /// Like [`Self::seal`].
    pub fn update_sending(&mut self, ask_peer: bool, out: &mut Outbound) -> Result<(), Error> {
        let asks = ask_peer && !self.update_is_due;
        self.seal_record(HANDSHAKE, &[24, 0, 0, 1, u8::from(asks)], out)?;
        self.sending = Direction::new(&self.source.next_sending()?)?;
        self.update_is_due = false;
        Ok(())
    }

    /// Forgets both keys: nothing can be sealed or opened from now on.
    pub fn forget_keys(&mut self) {
        self.sending.forget();
        self.receiving.forget();
    }

    /// How many bytes of an incomplete handshake message are kept: less than 64 KiB and a header.
    #[must_use]
    pub const fn kept(&self) -> usize {
        self.messages.len()
    }

    fn seal_record(&mut self, kind: u8, content: &[u8], out: &mut Outbound) -> Result<(), Error> {
        let length = content.len() + OVERHEAD;
        self.sending
            .seal(kind, content, &mut out.space(length)[..length])?;
        out.commit(length);
        Ok(())
    }

    /// Opens a record and does what it says; gives whether it was the peer's close_notify.
    fn open(&mut self, record: &[u8], plaintext: &mut Sink<'_>) -> Result<bool, Ending> {
        let Some((&[kind, major, _, high, low], sealed)) = record.split_first_chunk::<HEADER>()
        else {
            return Err(Fault::MALFORMED_HEADER.into());
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != APPLICATION_DATA {
            return Err(Fault::WRONG_TYPE.into());
        }
        // Judged by the header: of a record that is too long not everything need be there.
        if length > LONGEST_CIPHERTEXT {
            return Err(Fault::OVERFLOW.into());
        }
        if major != 3 {
            return Err(Fault::WRONG_VERSION.into());
        }
        if length != sealed.len() {
            return Err(Fault::MALFORMED_HEADER.into());
        }
        let Some(inner) = length.checked_sub(TAG) else {
            return Err(Fault::TOO_SHORT.into());
        };
        let into = plaintext.memory(inner);
        let (kind, length) = self.receiving.open_into(record, into)?;
        if kind == APPLICATION_DATA {
            // First: what may not come must not be delivered, nor some of it be kept.
            self.count_data(length).inspect_err(|_| into.fill(0))?;
            plaintext.opened(inner, length);
            return Ok(false);
        }
        let content = into[..length].to_vec();
        // Not for the caller to see.
        into.fill(0);
        self.take_other(kind, &content)
    }

    fn count_data(&mut self, length: usize) -> Result<(), Fault> {
        if self.messages.is_incomplete() {
            return Err(Fault::INTERLEAVED);
        }
        if length == 0 {
            return self.count_empty();
        }
        self.empty_records = 0;
        self.warnings = 0;
        self.key_updates = 0;
        Ok(())
    }

    const fn count_empty(&mut self) -> Result<(), Fault> {
        self.empty_records += 1;
        if self.empty_records > EMPTY_RECORDS {
            return Err(Fault::EMPTY_FLOOD);
        }
        Ok(())
    }

    const fn count_warning(&mut self) -> Result<(), Fault> {
        self.warnings += 1;
        if self.warnings > WARNINGS {
            return Err(Fault::WARNING_FLOOD);
        }
        Ok(())
    }

    fn take_other(&mut self, kind: u8, content: &[u8]) -> Result<bool, Ending> {
        match kind {
            HANDSHAKE | ALERT if content.is_empty() => Err(Fault::EMPTY.into()),
            HANDSHAKE => {
                for message in self.messages.take(content)? {
                    self.take_message(message)?;
                }
                Ok(false)
            }
            ALERT if self.messages.is_incomplete() => Err(Fault::INTERLEAVED.into()),
            ALERT => {
                let closes = take_alert(content)?;
                if !closes {
                    self.count_warning()?;
                }
                Ok(closes)
            }
            _ => Err(Fault::WRONG_TYPE.into()),
        }
    }

    fn take_message(&mut self, message: Message) -> Result<(), Ending> {
        let ours = |error| Ending(Some(Alert::INTERNAL_ERROR), error);
        match message {
            Message::Ticket(body) => {
                let kept = self.source.ticket(&body);
                kept.map_err(|(alert, error)| Ending(Some(alert), error))
            }
            Message::KeyUpdate(asks) => {
                self.key_updates += 1;
                if self.key_updates > KEY_UPDATES {
                    return Err(Fault::KEY_UPDATE_FLOOD.into());
                }
                let keys = self.source.next_receiving().map_err(ours)?;
                self.receiving = Direction::new(&keys).map_err(ours)?;
                self.update_is_due |= asks;
                Ok(())
            }
        }
    }
}

/// Gives whether it was close_notify.
fn take_alert(content: &[u8]) -> Result<bool, Ending> {
    const CLOSE_NOTIFY: u8 = 0;
    const USER_CANCELED: u8 = 90;
    match content {
        [_, CLOSE_NOTIFY] => Ok(true),
        // Announces a close_notify, and means nothing by itself (RFC 8446 section 6.1).
        [_, USER_CANCELED] => Ok(false),
        [_, alert] => Err(Ending(None, Error::AlertReceived(Alert(*alert)))),
        _ => Err(Fault::MALFORMED_ALERT.into()),
    }
}
