//! A connection and its transport, under the stream's lock: calls that return at once, and what they
//! found out about the transport.
//!
//! 1. The first fault in each direction is latched. A fault in sending does not stop receiving:
//!    what the peer said before it went away, an alert above all, is still there to be read.
//! 2. While a thread waits for one direction of the transport (`led`), nobody else uses that
//!    direction: what a second thread took away, the first would wait for in vain. See `turns.rs`.
//! 3. Waiting is not done here.

use std::sync::Arc;

use polytls_core::{Connection, Error, MAX_FRAGMENT, Room};
use rustix::io::Errno;

use crate::bell::Bell;
use crate::system::socket::SURELY_TAKEN;
use crate::transport::{Fault, Transport};
use crate::wait::Interest;

/// Sealed and sent at a time: enough to make system calls rare, little enough to stay in the cache.
const CHUNK: usize = 4 * MAX_FRAGMENT;
/// Sealed under one hold of the lock: 16 records.
const BATCH: usize = 16 * MAX_FRAGMENT;

/// Room for ciphertext asked for where little is expected, and where the last receive filled it.
const LITTLE_ROOM: usize = 4 * 1024;
const MUCH_ROOM: usize = 64 * 1024;

/// How far a failed connection has come in telling the peer why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    NotBegun,
    /// The alert is still to be sent.
    Alert,
    /// It is sent, our side of TCP is ended; what the peer still sends is read, so that the kernel
    /// does not answer it with a reset, which would overtake the alert.
    Drain,
    Done,
}

/// A link whose lock this thread has.
pub(crate) type Guard<'a> = polytls_core::Guard<'a, Link>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    /// `None` once closed. Threads that wait hold it, too: the number of a descriptor cannot be given to
    /// another socket before all of them have woken.
    pub(crate) transport: Option<Arc<dyn Transport>>,
    /// How many threads are in [`Transport::wait`].
    pub(crate) waiters: usize,
    /// A transport that is to be closed by the last of them.
    pub(crate) leaving: Option<Arc<dyn Transport>>,
    /// The directions some thread waits for in there.
    pub(crate) led: Interest,
    /// Threads that wait for one of those threads.
    pub(crate) bystanders: Vec<Arc<Bell>>,
    /// Our side of TCP is ended.
    pub(crate) fin_sent: bool,
    /// Receiving was ended in the kernel, too.
    pub(crate) deaf: bool,
    /// An orderly close has begun: what waits to be sent matters more than what may come.
    pub(crate) closing: bool,
    /// A forced close has said that it would block.
    pub(crate) close_tried: bool,
    /// Nothing may have come from the peer before our first flight: it speaks second.
    pub(crate) speaks_first: bool,
    /// No more is received than the record that is under way, so that what the peer sends after
    /// close_notify stays with the kernel.
    pub(crate) exact: bool,
    /// We were told to read no more.
    reading_ended: bool,
    receive_fault: Option<Fault>,
    send_fault: Option<Fault>,
    room: usize,
    farewell: Farewell,
}

impl Link {
    pub(crate) fn new(connection: Connection, transport: Arc<dyn Transport>) -> Self {
        Self {
            connection,
            transport: Some(transport),
            waiters: 0,
            leaving: None,
            led: Interest::default(),
            bystanders: Vec::new(),
            fin_sent: false,
            deaf: false,
            closing: false,
            close_tried: false,
            speaks_first: false,
            exact: false,
            reading_ended: false,
            receive_fault: None,
            send_fault: None,
            room: LITTLE_ROOM,
            farewell: Farewell::NotBegun,
        }
    }

    // --- the beginning and the end of what comes ---

    /// Whether [`Self::begin`] needs a wait before it, as the transport receives nowhere else.
    pub(crate) fn has_to_listen_first(&self) -> bool {
        self.speaks_first && self.keeps_time() && !self.is_selectable()
    }

    /// Before a client's first flight, on a connection that was somebody else's: what can be
    /// received now was sent before TLS, by an attacker who hopes that it will be taken for a part
    /// of it, or by a peer that did not wait (CVE-2021-23222).
    ///
    /// # Errors
    ///
    /// The connection is of no use then.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        if !self.speaks_first {
            return Ok(());
        }
        let Some(transport) = &self.transport else {
            return Ok(());
        };
        let error = match transport.peek() {
            Err(Fault::WouldBlock) => None,
            Ok(0) => Some(Error::RaggedEof {
                during_handshake: true,
            }),
            Ok(_) => Some(Error::PeerMisbehaved(
                "it sent plaintext before TLS started, which an attacker may have injected"
                    .to_owned(),
            )),
            // It is there for the first call that receives.
            Err(fault) => {
                self.receive_fault = Some(fault);
                None
            }
        };
        self.speaks_first = false;
        error.map_or(Ok(()), |error| {
            self.connection.poison(error.clone());
            Err(error)
        })
    }

    /// From now on there is nothing to read, whatever comes. Gives what is to be told so, which is without
    /// the lock, and only where that has to wake a thread: once our side is ended as well, the system answers
    /// what comes with a reset.
    pub(crate) fn end_reading(&mut self) -> Option<Arc<dyn Transport>> {
        self.reading_ended = true;
        self.transport.clone().filter(|_| self.led.read)
    }

    pub(crate) const fn reading_has_ended(&self) -> bool {
        self.reading_ended
    }

    // --- ciphertext ---

    /// Whether there is something that can be sent one day.
    pub(crate) fn has_unsent(&self) -> bool {
        self.send_fault.is_none() && (!self.connection.outgoing().is_empty() || self.kept() > 0)
    }

    /// Whether what waits to be sent matters to who waits to receive. Where one thread cannot wait for both it
    /// sends first, what belongs to a handshake or an end. The rest, such as tickets, goes out with the next
    /// call that sends, as the peer may take nothing before it is received from.
    pub(crate) fn has_to_send(&self) -> bool {
        self.has_unsent() && (self.closing || self.connection.is_handshaking() || self.keeps_time())
    }

    /// [`Transport::keeps_time`].
    pub(crate) fn keeps_time(&self) -> bool {
        self.transport
            .as_ref()
            .is_none_or(|transport| transport.keeps_time())
    }

    /// [`Transport::is_selectable`].
    pub(crate) fn is_selectable(&self) -> bool {
        self.transport
            .as_ref()
            .is_none_or(|transport| transport.is_selectable())
    }

    /// How much the underlying stream has accepted and keeps.
    pub(crate) fn kept(&self) -> usize {
        self.transport
            .as_ref()
            .map_or(0, |transport| transport.unsent())
    }

    fn has_room(&self) -> bool {
        self.transport
            .as_ref()
            .is_none_or(|transport| transport.has_room())
    }

    pub(crate) fn send_fault(&self) -> Option<Fault> {
        self.send_fault.clone()
    }

    pub(crate) fn note_send_fault(&mut self, fault: Fault) {
        self.send_fault.get_or_insert(fault);
    }

    /// [`Connection::flight_is_sent`], by the underlying stream as well.
    pub(crate) fn flight_is_sent(&self) -> bool {
        self.connection.flight_is_sent()
            && (self.kept() == 0 || self.connection.only_tickets_are_left())
    }

    /// Sends as much of what is sealed as the kernel takes; nothing while another thread waits to
    /// do so.
    ///
    /// # Errors
    ///
    /// The fault that ended sending, again and again.
    pub(crate) fn flush(&mut self) -> Result<(), Fault> {
        if self.led.write {
            return self.send_fault.clone().map_or(Ok(()), Err);
        }
        self.flush_now()
    }

    fn flush_now(&mut self) -> Result<(), Fault> {
        if let Some(fault) = &self.send_fault {
            return Err(fault.clone());
        }
        let transport = self.transport.as_ref().ok_or(Fault::Os(Errno::BADF))?;
        let flushed = loop {
            if self.connection.outgoing().is_empty() {
                break if transport.unsent() > 0 {
                    transport.flush()
                } else {
                    Ok(())
                };
            }
            match transport.try_send(self.connection.outgoing()) {
                Ok(count) => {
                    self.connection.consume_outgoing(count);
                }
                Err(fault) => break Err(fault),
            }
        };
        match flushed {
            Ok(()) | Err(Fault::WouldBlock) => Ok(()),
            Err(Fault::Interrupted) => Err(Fault::Interrupted),
            Err(fault) => {
                self.send_fault = Some(fault.clone());
                Err(fault)
            }
        }
    }

    /// Takes in what the kernel has, once. `true`: there is news, the end included. `false`:
    /// nothing is there, or another thread waits for it.
    ///
    /// # Errors
    ///
    /// The fault that ended receiving, again and again.
    pub(crate) fn receive(&mut self) -> Result<bool, Fault> {
        if self.led.read {
            return self.receive_fault.clone().map_or(Ok(false), Err);
        }
        self.receive_now()
    }

    fn receive_now(&mut self) -> Result<bool, Fault> {
        if let Some(fault) = &self.receive_fault {
            return Err(fault.clone());
        }
        let transport = self.transport.as_ref().ok_or(Fault::Os(Errno::BADF))?;
        // Refused: it is full or has ended, and the session has something to do.
        let limit = if self.exact {
            self.connection.incoming_needed()
        } else {
            MUCH_ROOM
        };
        let Ok(space) = self.connection.space(self.room.min(limit)) else {
            return Ok(false);
        };
        let asked = space.len().min(limit);
        // A fault of the transport is told once, and may have been told to a send: then an end that is found
        // here is none. EPIPE says no such thing, as it follows a FIN as well.
        let told = self
            .send_fault
            .as_ref()
            .filter(|fault| !fault.is_broken_pipe());
        match (transport.try_recv(&mut space[..asked]), told) {
            (Ok(0), Some(fault)) => {
                self.receive_fault = Some(fault.clone());
                Err(fault.clone())
            }
            (Ok(count), _) => {
                self.connection.commit(count);
                if count == asked {
                    self.room = MUCH_ROOM;
                } else if count < LITTLE_ROOM {
                    self.room = LITTLE_ROOM;
                }
                Ok(true)
            }
            (Err(Fault::WouldBlock), _) => {
                self.connection.give_back_space();
                Ok(false)
            }
            (Err(Fault::Interrupted), _) => Err(Fault::Interrupted),
            (Err(fault), _) => {
                self.receive_fault = Some(fault.clone());
                Err(fault)
            }
        }
    }

    // --- plaintext ---

    /// Like [`Connection::read_into`], unless we were told to read no more.
    pub(crate) fn read(&mut self, into: Room<'_>) -> Result<usize, Error> {
        if self.reading_ended {
            return Ok(0);
        }
        self.connection.read_into(into)
    }

    /// Seals of `from` as much as the kernel takes at once, at least a chunk and at most a batch.
    /// Nothing is taken while earlier ciphertext waits, so that a peer that does not read is
    /// noticed, and memory stays bounded.
    ///
    /// `to_the_end`: the end of `from` is taken only if the kernel has room for it, so that who is told that
    /// all was taken need not come back; 0 if there is no room for any.
    ///
    /// # Errors
    ///
    /// Like [`Connection::write`]; a fault in sending shows as [`Error::WantWrite`].
    pub(crate) fn take(&mut self, from: &[u8], to_the_end: bool) -> Result<usize, Error> {
        self.connection.get_ready_to_write()?;
        if self.flush().is_err() || self.has_unsent() {
            return Err(Error::WantWrite);
        }
        let batch = from.len().min(BATCH);
        let mut taken = 0;
        while taken < batch {
            let rest = &from[taken..];
            let mut chunk = CHUNK.min(batch - taken);
            if to_the_end && chunk == rest.len() {
                if chunk > SURELY_TAKEN {
                    chunk = (chunk - 1) / SURELY_TAKEN * SURELY_TAKEN;
                } else if !self.has_room() {
                    break;
                }
            }
            match self.connection.write(&rest[..chunk]) {
                Ok(count) => taken += count,
                Err(error) if taken == 0 => return Err(error),
                // It is latched.
                Err(_) => break,
            }
            if self.flush().is_err() || self.has_unsent() {
                break;
            }
        }
        Ok(taken)
    }

    /// How much plaintext there is without the kernel's help. Opens what has come if that takes it: who asks
    /// is about to wait for the descriptor, which knows nothing of records we hold.
    pub(crate) fn pending(&mut self) -> usize {
        if self.reading_ended {
            return 0;
        }
        // Early data comes first: nothing is read past it.
        if self.connection.pending() == 0 && self.connection.early_pending() == 0 {
            self.connection.look_ahead();
        }
        self.connection.pending()
    }

    /// After a fault in sending: looks through all that has come for an alert that says why. Data
    /// before it stays readable. It is of no interest here whether another thread waits to
    /// receive: the fault has woken it.
    pub(crate) fn look_for_alert(&mut self) {
        loop {
            // What goes wrong is latched.
            let _ = self.connection.do_handshake();
            self.connection.look_ahead();
            if !self.connection.wants().read || !matches!(self.receive_now(), Ok(true)) {
                return;
            }
        }
    }

    // --- after a fatal error ---

    /// Whether there is an alert to be sent, which is known once.
    pub(crate) fn begin_farewell(&mut self) -> bool {
        let first = self.farewell == Farewell::NotBegun;
        if first {
            self.farewell = if self.has_unsent() {
                Farewell::Alert
            } else {
                Farewell::Done
            };
        }
        first
    }

    /// Goes on telling the peer why; says what it waits for, `None` when it is done.
    pub(crate) fn farewell(&mut self) -> Option<Interest> {
        if self.farewell == Farewell::Alert {
            // Other threads that wait for the descriptor are woken by its end.
            let sent = self.flush_now();
            if self.has_unsent() {
                return Some(Interest::WRITE);
            }
            self.end_sending();
            self.farewell = if sent.is_ok() {
                Farewell::Drain
            } else {
                Farewell::Done
            };
        }
        if self.farewell == Farewell::Drain {
            match self.discard() {
                Ok(true) | Err(Fault::WouldBlock) => return Some(Interest::READ),
                Ok(false) | Err(_) => self.farewell = Farewell::Done,
            }
        }
        None
    }

    /// Reads some of what the transport has for nobody; `false` at the end.
    pub(crate) fn discard(&self) -> Result<bool, Fault> {
        let transport = self.transport.as_ref().ok_or(Fault::Os(Errno::BADF))?;
        let mut scratch = [0; 8 * 1024];
        for _ in 0..16 {
            if transport.try_recv(&mut scratch)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
