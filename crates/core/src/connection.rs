//! One side of one connection, in memory: a [`Session`] and the rules that no library may change.
//!
//! 1. Ciphertext is taken in until [`INCOMING_LIMIT`] is reached on entry; then it is refused
//!    whole, so a caller never has to find out how much was taken.
//! 2. The session sees whole records, each until it has consumed it: one at a time, or many if it wants
//!    them. Bytes behind the peer's close_notify are never consumed.
//! 3. Plaintext that was authenticated is delivered before the error or the end that follows it.
//! 4. A fatal error is latched: every later call but those that drain output gives it again.
//! 5. A panic of the session is such an error: the connection cannot be used any more, the process can.
//! 6. Close is per direction in TLS 1.3, and mutual in TLS 1.2 (RFC 8446 section 6.1).

mod early;
mod given;
mod lent;
mod state;
mod steps;
mod unread;

use std::any::Any;
use std::sync::Arc;

use crate::alert::Alert;
use crate::buffers::{Incoming, OUTGOING_LIMIT, Outbound};
use crate::config::Version;
use crate::error::{Cause, Error};
use crate::lineage::Lineage;
use crate::memory::HeldMemory;
use crate::plaintext::{Room, Unread};
use crate::record::{MAX_FRAGMENT, Stage};
use crate::session::{Facts, Session};
use state::Handshake;
pub use state::{Ours, Phase, Theirs, Wants};
use steps::guarded;

/// Ciphertext is refused while this many bytes wait to be opened.
pub const INCOMING_LIMIT: usize = 128 * 1024;
/// How often keys may be changed with no data in between. OpenSSL and rustls take 32 messages in a
/// row, which our answers to the peer's requests count against, too.
const KEY_UPDATES: u32 = 16;

/// Why [`Connection::process_incoming`] did not take what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The buffer is at its limit; reading makes room.
    Full,
    /// The end of the transport was declared before.
    Ended,
}

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that sends ClientHello.
    Client,
    /// The side that is connected to.
    Server,
}

/// A session with its buffers.
pub struct Connection {
    session: Box<dyn Session>,
    role: Role,
    inbound: Incoming,
    /// Comes behind `inbound`.
    kept: Option<HeldMemory>,
    outbound: Outbound,
    rest: Unread,
    /// Early data that nobody has read yet.
    early: Unread,
    /// Whether data may be sealed although the handshake is not complete.
    answerable: bool,
    handshake: Handshake,
    /// What the handshake agreed on, if the library tells.
    version: Option<Version>,
    /// What the records that come may be.
    stage: Stage,
    /// Whether the peer has sent data: then it has accepted us.
    heard: bool,
    /// How often `update_keys` has changed keys since data was sealed.
    updates: u32,
    transport_ended: bool,
    /// Whether a reader is to take an end of the transport without close_notify for an end of the data.
    accepts_truncated_end: bool,
    theirs: Theirs,
    /// Whether close_notify was queued.
    closed: bool,
    /// The connection is over, and its keys were wiped.
    keys_gone: bool,
    failure: Option<Error>,
    /// What calls give since the caller has given up.
    given_up: Option<Error>,
    sent: u64,
    data_end: u64,
    /// The alert that goes with a failure that was found here.
    alert: Option<Alert>,
    /// Whether the peer's close_notify is answered at once in TLS 1.2.
    answers_close: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("incoming", &self.inbound.len())
            .field("outgoing", &self.outbound.len())
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection at its beginning.
    #[must_use]
    pub fn new(session: Box<dyn Session>, role: Role) -> Self {
        let established = role == Role::Server && !session.is_handshaking();
        let mut connection = Self {
            session,
            role,
            inbound: Incoming::default(),
            kept: None,
            outbound: Outbound::default(),
            rest: Unread::default(),
            early: Unread::default(),
            answerable: false,
            handshake: Handshake::Fresh,
            version: None,
            stage: Stage::Handshake,
            heard: false,
            updates: 0,
            transport_ended: false,
            accepts_truncated_end: false,
            theirs: Theirs::Open,
            closed: false,
            keys_gone: false,
            failure: None,
            given_up: None,
            sent: 0,
            data_end: 0,
            alert: None,
            answers_close: true,
        };
        if established {
            connection.establish();
        }
        connection
    }

    /// Which side of the connection this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// [`Session::origin`].
    #[must_use]
    pub fn origin(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.session.origin()
    }

    /// [`Session::calls_python`].
    #[must_use]
    pub fn calls_python(&self) -> bool {
        self.session.calls_python()
    }

    // --- ciphertext in ---

    /// Stores a copy of `data`; all of it or, at the limit, nothing. Empty data declares the end
    /// of the transport.
    ///
    /// # Errors
    ///
    /// [`Refused`]; never a protocol error.
    pub fn process_incoming(&mut self, data: &[u8]) -> Result<(), Refused> {
        if data.is_empty() {
            self.transport_ended = true;
            return Ok(());
        }
        self.may_receive()?;
        self.store_kept();
        self.inbound.extend(data);
        Ok(())
    }

    /// At least `room` bytes for ciphertext, in place; [`Self::commit`] says how many came.
    ///
    /// # Errors
    ///
    /// As [`Self::process_incoming`].
    pub fn space(&mut self, room: usize) -> Result<&mut [u8], Refused> {
        self.may_receive()?;
        self.store_kept();
        Ok(self.inbound.space(room))
    }

    /// Declares `received` bytes of the last [`Self::space`] to have come from the peer; 0 is the
    /// end of the transport.
    pub fn commit(&mut self, received: usize) {
        if received == 0 {
            self.transport_ended = true;
        }
        self.inbound.commit(received);
    }

    /// Nothing came: a connection that waits for its peer keeps no memory for what may come.
    pub fn give_back_space(&mut self) {
        self.inbound.give_back();
    }

    fn may_receive(&self) -> Result<(), Refused> {
        if self.transport_ended {
            Err(Refused::Ended)
        } else if self.incoming_len() >= INCOMING_LIMIT {
            Err(Refused::Full)
        } else {
            Ok(())
        }
    }

    /// Whether the end of the transport was declared.
    #[must_use]
    pub const fn transport_has_ended(&self) -> bool {
        self.transport_ended
    }

    /// How many bytes of ciphertext wait to be opened.
    #[must_use]
    pub fn incoming_len(&self) -> usize {
        self.inbound.len() + self.kept.as_ref().map_or(0, |kept| kept.left().len())
    }

    /// How many more bytes the next record takes to be whole: of its header first. Whoever receives
    /// no more than that at a time leaves what stands behind the peer's close_notify alone.
    #[must_use]
    pub fn incoming_needed(&self) -> usize {
        self.inbound.needed()
    }

    /// Whether a whole record waits to be opened.
    #[must_use]
    pub fn has_record(&self) -> bool {
        self.inbound.is_whole()
    }

    // --- ciphertext out ---

    /// What has to be sent to the peer next; empty only if nothing has to be.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        self.outbound.next()
    }

    /// How many bytes have to be sent to the peer. [`Self::outgoing`] has all of them, but for what
    /// is sealed after a [`Self::write_to`].
    #[must_use]
    pub fn outgoing_len(&self) -> usize {
        self.outbound.len()
    }

    /// The first `sent` bytes of [`Self::outgoing`] are on their way.
    pub fn consume_outgoing(&mut self, sent: usize) {
        self.outbound.consume(sent);
        self.sent += sent as u64;
    }

    /// How many bytes of ciphertext have been taken out since the beginning.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// What [`Self::sent`] will be once all that is sealed now has been taken out.
    #[must_use]
    pub fn sealed_end(&self) -> u64 {
        self.sent + self.outgoing_len() as u64
    }

    /// What [`Self::sent`] is once the last data of the application has been taken out: it is delivered once
    /// the peer has acknowledged that much. Session tickets and close_notify are no data of the application.
    #[must_use]
    pub const fn data_end(&self) -> u64 {
        self.data_end
    }

    // --- the handshake ---

    /// Goes on with the handshake as far as what came in allows. It may succeed with its last
    /// flight still to be sent.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] until it is complete; [`Error::WantWrite`] at the output limit; fatal
    /// ones as found.
    pub fn do_handshake(&mut self) -> Result<(), Error> {
        while self.step_handshake()? {}
        Ok(())
    }

    /// Goes one record on with the handshake; `false`: it is complete.
    fn step_handshake(&mut self) -> Result<bool, Error> {
        self.check()?;
        if !self.is_handshaking() {
            return Ok(false);
        }
        if self.outgoing_len() >= OUTGOING_LIMIT {
            return Err(Error::WantWrite);
        }
        if self.step_alone()?.1 {
            return Ok(true);
        }
        Err(if self.transport_ended {
            self.fail(Error::RaggedEof {
                during_handshake: true,
            })
        } else {
            Error::WantRead
        })
    }

    /// What the handshake agreed on; `None` until it is complete.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        (!self.is_handshaking()).then(|| self.session.facts())
    }

    /// The session of this connection, for others to resume; `None` until the handshake is complete,
    /// after a failure, on a server, and where no sessions are kept.
    pub fn lineage(&mut self) -> Option<Lineage> {
        if self.phase() != Phase::Established {
            return None;
        }
        self.session.lineage()
    }

    /// Wipes the keys: the connection is over, and nobody reads, writes or exports any more. Facts and the
    /// session stay known.
    pub fn forget_keys(&mut self) {
        self.session.forget_keys();
        self.keys_gone = true;
    }

    /// Fills `into` with keying material of this connection (RFC 8446 section 7.5, RFC 5705).
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] until the handshake is complete, and where the library or the connection
    /// cannot; fatal ones as latched.
    pub fn export(
        &self,
        label: &[u8],
        context: Option<&[u8]>,
        into: &mut [u8],
    ) -> Result<(), Error> {
        self.check()?;
        if self.is_handshaking() {
            return Err(Error::Misuse(
                "the handshake is not complete: keying material is not available yet",
            ));
        }
        if self.keys_gone {
            return Err(Error::Misuse(
                "the connection is closed and its keys were wiped: export before closing",
            ));
        }
        self.session.export(label, context, into)
    }

    /// The server's certificate, on either side, as channel bindings need it (RFC 5929 section 4).
    ///
    /// # Errors
    ///
    /// As [`Self::export`].
    pub fn server_certificate(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        const UNTOLD: Error = Error::Misuse(
            "this TLS library does not report the server's \
                                             certificate",
        );
        if self.is_handshaking() {
            return Err(Error::Misuse(
                "channel bindings are available only after the handshake",
            ));
        }
        let found = match self.role {
            Role::Client => self.session.facts().peer_chain.into_iter().next(),
            Role::Server => self.session.own_certificate()?,
        };
        found.ok_or(UNTOLD)
    }

    // --- plaintext ---

    /// Opens into `into` as much as is there and fits; the count is 0 only for an empty `into`
    /// and after the peer's close_notify. Drives the handshake first.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] if nothing is there; [`Error::RaggedEof`] for ever once the transport
    /// ended without close_notify; fatal ones as found, after all data before them.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.read_into(Room::new(into))
    }

    /// As [`Self::read`], into any room.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn read_into(&mut self, into: Room<'_>) -> Result<usize, Error> {
        self.open_from(&mut &[][..], into)
    }

    /// A read of what came, and of what is `behind` it.
    fn open_from(&mut self, behind: &mut &[u8], mut into: Room<'_>) -> Result<usize, Error> {
        if into.is_empty() {
            return Ok(0);
        }
        self.check_early_data()?;
        let mut filled = self.rest.take(into.content());
        if filled == 0 {
            if self.is_handshaking() {
                self.inbound.extend(std::mem::take(behind));
                let done = self.do_handshake();
                self.check_early_data()?;
                done?;
            }
            self.check()?;
            filled = self.rest.take(into.content());
        }
        while filled < into.len() && self.rest.is_empty() && self.theirs != Theirs::Closed {
            if filled > 0 && self.failure.is_some() {
                break;
            }
            match self.step(behind, into.behind(filled)) {
                Ok((opened, true)) => filled += opened,
                Ok((_, false)) if filled > 0 => break,
                // An end within a record stays an error: data is missing for certain.
                Ok((_, false)) if self.accepts_truncated_end && self.was_truncated(behind) => break,
                Ok((_, false)) => return Err(self.starved()),
                // What ends this call, and not the connection, leaves what it read to the next one.
                Err(error @ Error::Foreign { fatal: false, .. }) => {
                    self.rest.put_back(&into.content()[..filled]);
                    return Err(error);
                }
                // It is latched: the next call gives it.
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// From now on an end of the transport without close_notify is for those who read what close_notify is, in
    /// place of [`Error::RaggedEof`]: nobody can tell it from a cut that was made on the path. Not an end
    /// within a record or a handshake, nor one that [`Self::shutdown`] finds.
    pub const fn accept_truncated_end(&mut self) {
        self.accepts_truncated_end = true;
    }

    /// Whether the transport has ended between two records; that is known then.
    fn was_truncated(&mut self, behind: &[u8]) -> bool {
        let ended = self.transport_ended && behind.is_empty() && self.incoming_len() == 0;
        if ended {
            self.theirs = Theirs::Truncated;
        }
        ended
    }

    /// Nothing is there after the handshake, and no close_notify.
    const fn starved(&mut self) -> Error {
        if !self.transport_ended {
            return Error::WantRead;
        }
        self.theirs = Theirs::Truncated;
        Error::RaggedEof {
            during_handshake: false,
        }
    }

    /// How many bytes of plaintext a read gives without more from the peer.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.rest.len()
    }

    /// No more plaintext than this comes of what is there now and of what is `behind` it; exactly
    /// this much if all of it is data that is not padded. Beyond `enough` it is not counted.
    #[must_use]
    pub fn readable_bound(&mut self, behind: &[u8], enough: usize) -> usize {
        if !behind.is_empty() {
            self.store_kept();
        }
        let mut bound = self.rest.len();
        let overhead = if self.is_handshaking() {
            0
        } else {
            self.session.overhead()
        };
        let kept = self.kept.as_ref().map_or(behind, HeldMemory::left);
        let mut records = self.inbound.lengths_with(kept);
        while bound < enough
            && let Some(length) = records.next()
        {
            bound += length.saturating_sub(overhead);
        }
        bound.min(enough)
    }

    /// Seals as much of `from` as the output limit allows, at least a record's worth, and says how
    /// much that was. Drives the handshake first.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] until the handshake is complete, [`Error::WantWrite`] at the output
    /// limit: nothing was taken then. [`Error::Misuse`] after our close. Fatal ones as found.
    pub fn write(&mut self, from: &[u8]) -> Result<usize, Error> {
        let taken = self.writable(from.len())?;
        self.seal(&from[..taken])?;
        Ok(taken)
    }

    /// How much of `length` bytes can be written now.
    fn writable(&mut self, length: usize) -> Result<usize, Error> {
        self.get_ready_to_write()?;
        match OUTGOING_LIMIT.saturating_sub(self.outgoing_len()) {
            0 => Err(Error::WantWrite),
            room => Ok(length.min(room.max(MAX_FRAGMENT))),
        }
    }

    /// What has to be so before anything is sealed; called by all that seal.
    ///
    /// # Errors
    ///
    /// As [`Self::write`], but for the limit.
    pub fn get_ready_to_write(&mut self) -> Result<(), Error> {
        const CLOSED: Error = Error::Misuse("the connection is shut down for sending");
        match self.do_handshake() {
            Err(Error::WantRead) if self.answerable => {}
            done => done?,
        }
        if self.closed {
            return Err(CLOSED);
        }
        // In TLS 1.3 a server refuses our certificate after the handshake has ended here: what came
        // since then may be its alert.
        while !self.heard
            && self.incoming_len() > 0
            && self.theirs != Theirs::Closed
            && !self.closed
            && self.step_alone()?.1
        {}
        if self.closed {
            return Err(CLOSED);
        }
        Ok(())
    }

    fn seal(&mut self, plaintext: &[u8]) -> Result<(), Error> {
        if plaintext.is_empty() {
            return Ok(());
        }
        self.updates = 0;
        let sealed = guarded(|| self.session.seal(plaintext, &mut self.outbound));
        sealed.map_err(|error| self.fail(error))?;
        self.data_end = self.sealed_end();
        Ok(())
    }

    /// Changes the keys for sending, and asks the peer to do the same (RFC 8446 section 4.6.3). The
    /// message that says so is queued.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] while the handshake is not complete, after our close, in TLS 1.2, and if
    /// so often called with no data sealed in between that the peer would take it for an attack;
    /// [`Error::WantWrite`] at the output limit: nothing was done then. Fatal ones as found.
    pub fn update_keys(&mut self) -> Result<(), Error> {
        self.check()?;
        if self.is_handshaking() {
            return Err(Error::Misuse(
                "the handshake is not complete: there are no keys to update",
            ));
        }
        if self.closed {
            return Err(Error::Misuse("the connection is shut down for sending"));
        }
        if self.version == Some(Version::Tls12) {
            return Err(Error::Misuse("TLS 1.2 has no key updates"));
        }
        if self.updates >= KEY_UPDATES {
            return Err(Error::Misuse(
                "the keys were updated 16 times without sending data, and peers close connections \
                 that exceed this; send data first",
            ));
        }
        if self.outbound.len() >= OUTGOING_LIMIT {
            return Err(Error::WantWrite);
        }
        self.updates += 1;
        guarded(|| self.session.update_keys(&mut self.outbound)).map_err(|error| self.fail(error))
    }

    // --- the end ---

    /// Queues close_notify, once, and looks for the peer's. Data before it is kept.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] until the peer's close_notify has come; [`Error::Misuse`] if nothing more
    /// has to come, but data has to be read first; [`Error::RaggedEof`] if the transport ended without
    /// close_notify; [`Error::Misuse`] while the handshake is not complete.
    pub fn shutdown(&mut self) -> Result<(), Error> {
        const UNREAD: Error =
            Error::Misuse("unread data remains: read it, then call shutdown again");
        self.send_close_notify()?;
        while self.theirs != Theirs::Closed && self.rest.len() < INCOMING_LIMIT {
            if self.step_alone()?.1 {
                continue;
            }
            return Err(if self.transport_ended && !self.rest.is_empty() {
                UNREAD
            } else {
                self.starved()
            });
        }
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(UNREAD)
        }
    }

    /// Queues close_notify, once, and asks nothing of the peer.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] while the handshake is not complete; fatal ones as latched.
    pub fn send_close_notify(&mut self) -> Result<(), Error> {
        self.check()?;
        if self.is_handshaking() {
            return Err(Error::Misuse(
                "the handshake is not complete: there is no TLS connection to shut down",
            ));
        }
        if !self.closed {
            let closed = guarded(|| self.session.close(&mut self.outbound));
            let progress = closed.map_err(|error| self.fail(error))?;
            self.closed = true;
            if progress.peer_closed {
                self.theirs = Theirs::Closed;
            }
        }
        Ok(())
    }

    /// Ends our direction: queues close_notify, once, and looks in what has come for what ended the
    /// connection before. The peer's own end and data that nobody has read are for those who read on.
    ///
    /// # Errors
    ///
    /// As [`Self::send_close_notify`].
    pub fn end_sending(&mut self) -> Result<(), Error> {
        self.send_close_notify()?;
        match self.shutdown() {
            Err(Error::WantRead | Error::Misuse(_) | Error::RaggedEof { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Whether the peer's close_notify has been seen.
    #[must_use]
    pub fn peer_has_closed(&self) -> bool {
        self.theirs == Theirs::Closed
    }

    /// Whether our close_notify has been queued.
    #[must_use]
    pub const fn has_closed(&self) -> bool {
        self.closed
    }

    /// What came behind the peer's close_notify and belongs to whoever uses the transport next;
    /// nothing before that, and nothing of a connection that failed.
    #[must_use]
    pub fn unprocessed(&self) -> &[u8] {
        if self.peer_has_closed() && self.failure.is_none() {
            self.inbound.bytes()
        } else {
            &[]
        }
    }

    /// Drops it: it was given to whom it belongs.
    pub fn forget_unprocessed(&mut self) {
        let length = self.unprocessed().len();
        self.inbound.forget(length);
    }

    /// Whether a read would find something without more from the peer, or part of a record.
    #[must_use]
    pub fn has_something(&self) -> bool {
        self.pending() > 0
            || self.incoming_len() > 0
            || self.theirs != Theirs::Open
            || self.failure.is_some()
    }

    /// The error that ended this connection, if one did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// The alert that goes with [`Self::failure`], where this side found it and the library tells.
    #[must_use]
    pub fn alert(&self) -> Option<Alert> {
        self.failure.as_ref()?;
        self.alert.or_else(|| self.session.alert())
    }

    /// In TLS 1.2, leaves the answer to the peer's close_notify to whoever calls [`Self::shutdown`], and
    /// writing possible until then, as OpenSSL does (RFC 5246 section 7.2.1 wants an answer at once).
    pub fn leave_close_unanswered(&mut self) {
        self.answers_close = false;
    }

    /// Forgets what is behind [`Self::failure`], and gives it: a cause may lead back to whoever holds
    /// this connection. To be dropped where no lock is held.
    pub fn take_cause(&mut self) -> Option<Cause> {
        let given_up = self.given_up.as_mut().and_then(Error::take_cause);
        self.failure
            .as_mut()
            .and_then(Error::take_cause)
            .or(given_up)
    }

    /// Ends the connection with an error of the caller's, the same way one of ours would.
    pub fn poison(&mut self, error: Error) {
        self.fail(error);
    }

    // --- inside ---

    /// Latches `error`, if it is fatal.
    fn fail(&mut self, error: Error) -> Error {
        if !error.is_fatal() {
            return error;
        }
        self.failure.get_or_insert(error).clone()
    }
}
