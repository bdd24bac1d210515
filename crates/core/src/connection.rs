//! One side of one connection, in memory: a [`Session`] and the rules that no library can change.
//!
//! 1. Ciphertext is accepted unless [`INCOMING_LIMIT`] was reached before the call; then it is
//!    refused completely, so a caller never has to find out how much was accepted.
//! 2. The session gets whole records, each until it has consumed it: one at a time, or many if it
//!    supports that. Bytes after the peer's close_notify are never consumed.
//! 3. Authenticated plaintext is delivered before the error or the end that follows it.
//! 4. A fatal error is latched: every later call returns it again, except those that drain output.
//! 5. A panic of the session is such an error: the connection cannot be used any more, but the
//!    process can.
//! 6. Each direction closes separately in TLS 1.3, and both together in TLS 1.2 (RFC 8446 section
//!    6.1).

mod course;
mod early;
mod given;
mod lent;
mod state;
mod steps;
mod trace;
mod unread;

use std::any::Any;
use std::sync::Arc;

use crate::alert::Alert;
use crate::buffers::{Incoming, OUTGOING_LIMIT, Outbound};
use crate::config::Version;
use crate::error::{Cause, Error};
use crate::events::Event;
use crate::facts::{Course, Facts};
use crate::lineage::Lineage;
use crate::memory::HeldMemory;
use crate::plaintext::{Room, Unread};
use crate::record::{self, MAX_FRAGMENT, Stage};
use crate::session::Session;
use course::UnderWay;
use state::Handshake;
pub use state::{Ours, Phase, Theirs, Wants};
use steps::guarded;
use trace::Tracing;

/// Ciphertext is refused while this many bytes are waiting to be decrypted.
pub const INCOMING_LIMIT: usize = 128 * 1024;
/// How often keys can be updated with no data in between. OpenSSL and rustls accept 32 messages in
/// a row, which include our answers to the peer's requests.
const KEY_UPDATES: u32 = 16;

/// Why [`Connection::process_incoming`] did not accept the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The buffer is at its limit; read to make room.
    Full,
    /// The end of the transport was already reported.
    Ended,
}

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that sends ClientHello.
    Client,
    /// The side that accepts the connection.
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
    /// What the records of the handshake tell, until it is complete.
    under_way: Option<Box<UnderWay>>,
    /// The same, since then.
    course: Option<Course>,
    /// Who is told what happens.
    tracing: Option<Box<Tracing>>,
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
    /// A new connection.
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
            under_way: None,
            course: None,
            tracing: None,
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
        let tracer = connection.session.tracer();
        connection.tracing = tracer.map(|tracer| Box::new(Tracing::new(tracer)));
        if established {
            connection.establish();
        } else {
            let under_way = connection.under_way.insert(Box::default());
            under_way.untold = connection.tracing.is_some().then(Vec::new);
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

    /// Stores a copy of `data`; all of it or, at the limit, nothing. Empty data reports the end of
    /// the transport.
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

    /// At least `room` bytes for ciphertext, in place; [`Self::commit`] reports how many were
    /// received.
    ///
    /// # Errors
    ///
    /// Like [`Self::process_incoming`].
    pub fn space(&mut self, room: usize) -> Result<&mut [u8], Refused> {
        self.may_receive()?;
        self.store_kept();
        Ok(self.inbound.space(room))
    }

    /// Reports that the peer sent `received` bytes into the last [`Self::space`]; 0 is the end of
    /// the transport.
    pub fn commit(&mut self, received: usize) {
        if received == 0 {
            self.transport_ended = true;
        }
        self.inbound.commit(received);
    }

    /// Nothing was received: a connection that waits for its peer keeps no memory.
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

    /// Whether the end of the transport was reported.
    #[must_use]
    pub const fn transport_has_ended(&self) -> bool {
        self.transport_ended
    }

    /// How many bytes of ciphertext are waiting to be decrypted.
    #[must_use]
    pub fn incoming_len(&self) -> usize {
        self.inbound.len() + self.kept.as_ref().map_or(0, |kept| kept.left().len())
    }

    /// How many more bytes complete the next record, or first its header. A caller that receives no
    /// more than that at a time leaves the data after the peer's close_notify in the transport.
    #[must_use]
    pub fn incoming_needed(&self) -> usize {
        self.inbound.needed()
    }

    /// Whether no more than the beginning of a record is there, or nothing.
    #[must_use]
    pub fn has_part_at_most(&self) -> bool {
        self.kept.is_none() && self.inbound.is_partial(self.stage)
    }

    /// Whether a read could do nothing but ask for more: there is no whole record, and neither an end nor an error
    /// is to be told.
    #[must_use]
    pub fn awaits_record(&self) -> bool {
        self.has_part_at_most()
            && self.rest.is_empty()
            && !self.transport_ended
            && self.theirs == Theirs::Open
            && self.failure.is_none()
            && !self.is_handshaking()
    }

    // --- ciphertext out ---

    /// What has to be sent to the peer next; empty only if there is nothing.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        self.outbound.next()
    }

    /// How many bytes have to be sent to the peer. [`Self::outgoing`] has all of them, except what
    /// is encrypted after a [`Self::write_to`].
    #[must_use]
    pub fn outgoing_len(&self) -> usize {
        self.outbound.len()
    }

    /// The first `sent` bytes of [`Self::outgoing`] have been sent.
    pub fn consume_outgoing(&mut self, sent: usize) {
        self.outbound.consume(sent);
        self.sent += sent as u64;
    }

    /// How many bytes of ciphertext have been sent since the start.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// The value of [`Self::sent`] when everything that is encrypted now has been sent.
    #[must_use]
    pub fn sealed_end(&self) -> u64 {
        self.sent + self.outgoing_len() as u64
    }

    /// The value of [`Self::sent`] when the last data of the application has been sent: it is
    /// delivered when the peer has acknowledged that much. Session tickets and close_notify are not
    /// data of the application.
    #[must_use]
    pub const fn data_end(&self) -> u64 {
        self.data_end
    }

    // --- the handshake ---

    /// Continues the handshake as far as the received data allows. It may succeed with its last
    /// flight still to be sent.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] until it is complete; [`Error::WantWrite`] at the output limit; fatal
    /// errors as found.
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

    /// What was negotiated; `None` until the handshake is complete.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        (!self.is_handshaking()).then(|| Facts {
            handshake: self.course,
            ..self.session.facts()
        })
    }

    /// The session of this connection, for others to resume; `None` until the handshake is
    /// complete, after a failure, on a server, and if no sessions are kept.
    pub fn lineage(&mut self) -> Option<Lineage> {
        if self.phase() != Phase::Established {
            return None;
        }
        self.session.lineage()
    }

    /// Wipes the keys: the connection is over, and is no longer read, written or exported from.
    /// Facts and the session remain available.
    pub fn forget_keys(&mut self) {
        self.session.forget_keys();
        self.keys_gone = true;
        self.trace(Event::Ended(None));
    }

    /// Fills `into` with keying material of this connection (RFC 8446 section 7.5, RFC 5705).
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] until the handshake is complete, and if the library or the connection does
    /// not support it; latched fatal errors.
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

    /// The server's certificate, on either side, for channel bindings (RFC 5929 section 4).
    ///
    /// # Errors
    ///
    /// Like [`Self::export`].
    pub fn server_certificate(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        const UNTOLD: Error =
            Error::Misuse("this TLS library does not report the server's certificate");
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

    /// Decrypts into `into` as much as is available and fits; the count is 0 only for an empty
    /// `into` and after the peer's close_notify. Drives the handshake first.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] if nothing is available; [`Error::RaggedEof`], on this and every later
    /// call, after the transport ended without close_notify; fatal errors as found, after all data
    /// before them.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.read_into(Room::new(into))
    }

    /// Like [`Self::read`], into any room.
    ///
    /// # Errors
    ///
    /// Like [`Self::read`].
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

    /// From now on, readers treat an end of the transport without close_notify like close_notify,
    /// instead of getting [`Error::RaggedEof`]: it may be a truncation by an attacker on the path.
    /// This does not apply to an end within a record or during the handshake, nor to one that
    /// [`Self::shutdown`] finds.
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

    /// How many bytes of plaintext a read returns without more data from the peer.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.rest.len()
    }

    /// An upper bound for the plaintext of what is buffered and of what is `behind` it; exact if
    /// all of it is data without padding. Counting stops at `enough`.
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

    /// Encrypts as much of `from` as the output limit allows, at least a record's worth, and
    /// returns how much that was. Drives the handshake first.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] until the handshake is complete, [`Error::WantWrite`] at the output
    /// limit: nothing was accepted then. [`Error::Misuse`] after our close. Fatal errors as found.
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

    /// Checks and prepares everything before encryption; called by all methods that encrypt.
    ///
    /// # Errors
    ///
    /// Like [`Self::write`], except for the limit.
    pub fn get_ready_to_write(&mut self) -> Result<(), Error> {
        const CLOSED: Error = Error::Misuse("the connection is shut down for sending");
        if self.is_handshaking() {
            match self.do_handshake() {
                Err(Error::WantRead) if self.answerable => {}
                done => done?,
            }
        }
        self.check()?;
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
        self.trace_shown();
        Ok(())
    }

    /// Updates the keys for sending, and requests the same from the peer (RFC 8446 section 4.6.3).
    /// The KeyUpdate is queued.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] while the handshake is not complete, after our close, in TLS 1.2, and if
    /// it was called so often with no data in between that the peer would treat it as an attack;
    /// [`Error::WantWrite`] at the output limit: nothing was done then. Fatal errors as found.
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
        let updated = guarded(|| self.session.update_keys(&mut self.outbound));
        updated.map_err(|error| self.fail(error))?;
        self.trace_shown();
        Ok(())
    }

    // --- the end ---

    /// Queues close_notify, once, and looks for the peer's. Data before it is kept.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] until the peer's close_notify has arrived; [`Error::Misuse`] if it has
    /// arrived but unread data remains; [`Error::RaggedEof`] if the transport ended without
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

    /// Queues close_notify, once, and requires nothing from the peer.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] while the handshake is not complete; latched fatal errors.
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
            self.trace_close(true);
            if progress.peer_closed {
                self.theirs = Theirs::Closed;
                self.trace_close(false);
            }
        }
        Ok(())
    }

    /// Ends our direction: queues close_notify, once, and checks whether the received data has
    /// ended the connection. The peer's own end and unread data remain available to later reads.
    ///
    /// # Errors
    ///
    /// Like [`Self::send_close_notify`].
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

    /// The data after the peer's close_notify, for the next user of the transport; nothing before
    /// that, and nothing of a failed connection.
    #[must_use]
    pub fn unprocessed(&self) -> &[u8] {
        if self.peer_has_closed() && self.failure.is_none() {
            self.inbound.bytes()
        } else {
            &[]
        }
    }

    /// Drops that data: its owner has it.
    pub fn forget_unprocessed(&mut self) {
        let length = self.unprocessed().len();
        self.inbound.forget(length);
    }

    /// Whether a read would find something without more data from the peer, or part of a record.
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

    /// The alert that goes with [`Self::failure`], if this side found the fault and the library
    /// reports it.
    #[must_use]
    pub fn alert(&self) -> Option<Alert> {
        self.failure.as_ref()?;
        self.alert.or_else(|| self.session.alert())
    }

    /// Whether this connection ended over data that is not a record of any version of TLS, such as
    /// plaintext between records.
    #[must_use]
    pub fn met_plaintext(&self) -> bool {
        let is_major = |major: &u8| *major == record::MAJOR;
        self.failure.is_some() && self.inbound.bytes().get(1).is_some_and(|it| !is_major(it))
    }

    /// In TLS 1.2, leaves the answer to the peer's close_notify to the caller of
    /// [`Self::shutdown`], and allows writing until then, like OpenSSL (RFC 5246 section 7.2.1
    /// requires an immediate answer).
    pub fn leave_close_unanswered(&mut self) {
        self.answers_close = false;
    }

    /// Returns the cause of [`Self::failure`], and forgets it: a cause may refer to the owner of
    /// this connection. Drop it where no lock is held.
    pub fn take_cause(&mut self) -> Option<Cause> {
        let given_up = self.given_up.as_mut().and_then(Error::take_cause);
        self.failure
            .as_mut()
            .and_then(Error::take_cause)
            .or(given_up)
    }

    /// Ends the connection with an error of the caller, like one of ours.
    pub fn poison(&mut self, error: Error) {
        self.fail(error);
    }

    // --- inside ---

    /// Latches `error`, if it is fatal.
    fn fail(&mut self, error: Error) -> Error {
        if !error.is_fatal() {
            return error;
        }
        let is_first = self.failure.is_none();
        let error = self.failure.get_or_insert(error).clone();
        if is_first {
            self.trace_failure(&error);
        }
        error
    }
}
