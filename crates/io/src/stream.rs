//! A connected TLS socket.

use std::fmt;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use polytls_core::{Connection, Error as TlsError, Facts, Lineage, Lock, Room};
use rustix::io::Errno;

use crate::address::Address;
use crate::deadline::{Deadline, Timeout, TimeoutCell};
use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::fork;
use crate::link::{Guard, Link};
use crate::socket;
use crate::system::file;
use crate::system::number::{AtomicNumber, Number};
use crate::transport::Transport;
use crate::wait::{Interest, Interrupt};

/// How often a long `send_all` that never has to wait checks for signals.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);

/// A piece of a file that is sent.
const FILE_PIECE: usize = 256 * 1024;

/// A connected TLS socket. Created by [`crate::connect`], [`crate::take_over`],
/// [`crate::Listener::accept`], and over a transport of the caller by [`Stream::lent`] and
/// [`Stream::over`].
///
/// Every method can be called from every thread at any time. One thread can read while another
/// writes, at full speed; two readers or two writers are safe, but the order of their bytes is
/// undefined, except that a record stays in one piece.
///
/// Each call waits as long as [`Self::timeout`] said when it started. Unless a method says
/// otherwise, it can be called again after any error, continues where the last call stopped, and
/// returns [`Error::Closed`] during and after [`Self::close`], and a fatal TLS error every time.
///
/// Dropping it closes the descriptor without notifying the peer: a ragged end.
pub struct Stream {
    pub(crate) turn: Mutex<()>,
    pub(crate) link: Lock<Link>,
    /// The result of `fileno()`, without the lock; -1 after closing, and if there is none.
    pub(crate) descriptor: AtomicNumber,
    /// Whether we have to close the descriptor.
    owned: bool,
    pub(crate) closed: AtomicBool,
    timeout: TimeoutCell,
    peer: Address,
    pub(crate) protocol: u32,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("descriptor", &self.descriptor())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// Around a connected descriptor that is as `socket.rs` makes them.
    pub(crate) fn new(
        descriptor: Descriptor,
        connection: Connection,
        peer: Address,
        timeout: Timeout,
    ) -> Self {
        let number = descriptor.number();
        let owned = descriptor.is_ours();
        let mut stream = Self::around(Arc::new(descriptor), number, connection, peer, timeout);
        stream.owned = owned;
        stream.protocol = socket::TCP;
        stream
    }

    pub(crate) fn around(
        transport: Arc<dyn Transport>,
        descriptor: Number,
        connection: Connection,
        peer: Address,
        timeout: Timeout,
    ) -> Self {
        Self {
            turn: Mutex::new(()),
            link: Lock::new(Link::new(connection, transport)),
            descriptor: AtomicNumber::new(descriptor),
            owned: false,
            closed: AtomicBool::new(false),
            timeout: TimeoutCell::new(timeout),
            peer,
            protocol: 0,
        }
    }

    /// From now on [`Self::recv`] treats the end of the transport like close_notify, instead of
    /// returning [`TlsError::RaggedEof`]: it may be a truncation by an attacker on the path. This
    /// does not apply to an end within a record or during the handshake, nor to one that
    /// [`Self::unwrap`] finds.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Inherited`].
    pub fn accept_truncated_end(&self) -> Result<(), Error> {
        self.lock()?.connection.accept_truncated_end();
        Ok(())
    }

    // --- data ---

    /// Completes the handshake and sends its last flight. The other methods do this automatically.
    /// The session tickets of a TLS 1.3 server come after it: the next call sends what the kernel
    /// does not accept at once.
    ///
    /// # Errors
    ///
    /// A fatal error of ours is sent to the peer first, and then the peer is read from until it
    /// ends the connection, for at most 2 seconds and within the timeout: otherwise a reset could
    /// destroy the alert.
    pub fn do_handshake(&self, interrupt: &mut dyn Interrupt) -> Result<(), Error> {
        self.handshake(self.deadline(), interrupt)
    }

    pub(crate) fn handshake(
        &self,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        let link = self.lock()?;
        let was_done = !link.connection.is_handshaking();
        self.drive(link, deadline, interrupt, |link| {
            link.connection.do_handshake()?;
            // What is wrong with sending tickets does not undo a handshake.
            let sends = link.flush().is_ok() || !was_done;
            if sends && link.flight_is_sent() {
                Ok(())
            } else {
                Err(TlsError::WantWrite)
            }
        })
        .map(drop)
    }

    /// Receives what is available, waiting for the first byte; 0 is the peer's close_notify, or an
    /// empty `into`. Also sends what is waiting, if possible.
    ///
    /// # Errors
    ///
    /// All authenticated data comes before [`TlsError::RaggedEof`], an alert or the transport's
    /// error, which every later call returns again. Non-blocking: [`Error::WantRead`], and
    /// [`Error::WantWrite`] only in a handshake whose next flight the kernel does not accept.
    pub fn recv(&self, into: &mut [u8], interrupt: &mut dyn Interrupt) -> Result<usize, Error> {
        self.recv_into(Room::new(into), interrupt)
    }

    /// The same, into any room.
    ///
    /// # Errors
    ///
    /// Like [`Self::recv`].
    pub fn recv_into(
        &self,
        mut into: Room<'_>,
        interrupt: &mut dyn Interrupt,
    ) -> Result<usize, Error> {
        let link = self.lock()?;
        if into.is_empty() {
            return Ok(0);
        }
        let deadline = self.deadline();
        let (mut link, count) =
            self.drive(link, deadline, interrupt, |link| link.read(into.behind(0)))?;
        // A fault in sending is for those who send.
        let _ = link.flush();
        Ok(count)
    }

    /// Sends some of `from`, up to 256 KiB, and says how much.
    ///
    /// Accepted bytes will be sent, in order and once, and must not be passed again. If all of `from` was
    /// accepted, the kernel has it, as with a plain socket: its end is not sealed before there is room for
    /// it. If only a part was, what the kernel did not take of that (less than 64 KiB and a little) stays in
    /// [`Self::outgoing_len`], and goes out with the next call of any kind, which sends the rest of `from`.
    /// A transport that cannot be asked for its room may leave some of the whole there, too.
    ///
    /// A non-blocking call returns the count at once; one with [`Timeout::After`], if the time is over.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] and the `Want` errors: nothing was accepted. [`Error::Interrupted`]:
    /// what was accepted will be sent. An error of the transport: nobody can know how much
    /// arrived; if the peer sent an alert that says why, that is the error.
    pub fn send(&self, from: &[u8], interrupt: &mut dyn Interrupt) -> Result<usize, Error> {
        self.send_part(from, self.deadline(), interrupt)
    }

    /// The same, within this time instead of [`Self::timeout`].
    ///
    /// # Errors
    ///
    /// Like [`Self::send`].
    pub fn send_within(
        &self,
        from: &[u8],
        timeout: Timeout,
        interrupt: &mut dyn Interrupt,
    ) -> Result<usize, Error> {
        self.send_part(from, Deadline::after(timeout), interrupt)
    }

    fn send_part(
        &self,
        from: &[u8],
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<usize, Error> {
        let comes_back = deadline != Deadline::Never;
        let (count, _) = self.send_some(from, comes_back, deadline, interrupt)?;
        Ok(count)
    }

    /// Sends all of `data` and returns when the kernel has it, within one timeout for the whole
    /// call.
    ///
    /// # Errors
    ///
    /// Like [`Self::send`]; after any of them it is unknown how much of `data` was sent.
    /// Non-blocking: [`Error::WantWrite`] if not everything, or nothing, was accepted.
    pub fn send_all(&self, data: &[u8], interrupt: &mut dyn Interrupt) -> Result<(), Error> {
        let mut looked = Instant::now();
        self.send_whole(data, self.deadline(), interrupt, &mut looked, &mut 0)
    }

    /// Sends a file from `offset`, to its end or up to `count` bytes, within one timeout for the
    /// whole call, and adds the number of accepted bytes to `sent`, also after an error.
    ///
    /// # Errors
    ///
    /// Like [`Self::send_all`], and those of reading the file.
    pub fn send_file(
        &self,
        file: &File,
        offset: u64,
        count: Option<u64>,
        sent: &mut u64,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        let deadline = self.deadline();
        let mut looked = Instant::now();
        let mut piece = vec![0; FILE_PIECE];
        loop {
            let left = count.map_or(u64::MAX, |count| count - *sent);
            let room = usize::try_from(left).map_or(FILE_PIECE, |left| left.min(FILE_PIECE));
            let position = offset.saturating_add(*sent);
            let read = file::read_at(file, &mut piece[..room], position)?;
            if read == 0 {
                return Ok(());
            }
            self.send_whole(&piece[..read], deadline, interrupt, &mut looked, sent)?;
        }
    }

    fn send_whole(
        &self,
        data: &[u8],
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
        looked: &mut Instant,
        sent: &mut u64,
    ) -> Result<(), Error> {
        let mut rest = data;
        loop {
            let at_once = deadline == Deadline::NonBlocking;
            let (count, handed_over) = self.send_some(rest, at_once, deadline, interrupt)?;
            rest = &rest[count..];
            *sent += count as u64;
            match (rest.is_empty(), handed_over) {
                (true, true) => return Ok(()),
                (true, false) if at_once => return Ok(()),
                (_, false) if at_once => return Err(Error::WantWrite),
                (_, false) => return Err(Error::TimedOut),
                (false, true) => {}
            }
            if deadline.has_passed() {
                return Err(Error::TimedOut);
            }
            if looked.elapsed() >= SIGNALS_EVERY {
                if interrupt.should_stop() {
                    return Err(Error::Interrupted);
                }
                *looked = Instant::now();
            }
        }
    }

    /// Queues a client's early data for its first flight; returns how much of it is allowed. Never
    /// waits.
    ///
    /// # Errors
    ///
    /// Like [`Connection::write_early`].
    pub fn write_early(&self, from: &[u8]) -> Result<usize, Error> {
        Ok(self.lock()?.connection.write_early(from)?)
    }

    /// Receives a client's early data, waiting for the first byte; 0 when no more can arrive, or
    /// for an empty `into`.
    ///
    /// # Errors
    ///
    /// Like [`Connection::read_early`] and [`Self::do_handshake`].
    pub fn read_early(
        &self,
        into: &mut [u8],
        interrupt: &mut dyn Interrupt,
    ) -> Result<usize, Error> {
        let link = self.lock()?;
        let deadline = self.deadline();
        let (mut link, count) = self.drive(link, deadline, interrupt, |link| {
            link.connection.read_early(into)
        })?;
        // A fault in sending is for those who send.
        let _ = link.flush();
        Ok(count)
    }

    /// Updates the keys for sending, and requests the same from the peer. The KeyUpdate is sent
    /// with the next call at the latest. Never waits for the peer, except for the handshake.
    ///
    /// # Errors
    ///
    /// [`TlsError::Misuse`] before the handshake is complete, after closing and in TLS 1.2;
    /// [`Error::WantWrite`] if far too much is waiting to be sent.
    pub fn update_keys(&self) -> Result<(), Error> {
        let mut link = self.lock()?;
        link.connection.update_keys()?;
        // A fault is latched, and for those who send.
        let _ = link.flush();
        Ok(())
    }

    /// How much was accepted, and whether the kernel has all of it. `to_the_end`: as [`Link::take`] has it.
    fn send_some(
        &self,
        from: &[u8],
        to_the_end: bool,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(usize, bool), Error> {
        let mut link = self.lock()?;
        if from.is_empty() {
            return Ok((0, true));
        }
        let count = loop {
            let count;
            (link, count) = self.drive(link, deadline, interrupt, |link| {
                link.take(from, to_the_end)
            })?;
            if count > 0 {
                break count;
            }
            link = self.wait(link, Interest::WRITE, deadline, interrupt)?;
        };
        let sealed = link.connection.sealed_end();
        loop {
            // Found by a thread that reads.
            if let Some(failure) = link.connection.failure().cloned() {
                return Err(self.fatal(link, failure, deadline, interrupt));
            }
            if link.flush().is_err() {
                return Err(self.broken(link, deadline, interrupt));
            }
            if link.connection.sent() >= sealed {
                return Ok((count, true));
            }
            link = match self.wait(link, Interest::WRITE, deadline, interrupt) {
                Ok(link) => link,
                Err(Error::TimedOut | Error::WantWrite) => return Ok((count, false)),
                Err(error) => return Err(error),
            };
        }
    }

    /// The error of a call that cannot send: the peer's reason, if it gave one, or the fault.
    pub(crate) fn broken<'a>(
        &'a self,
        mut link: Guard<'a>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Error {
        link.look_for_alert();
        if let Some(failure) = link.connection.failure().cloned() {
            return self.fatal(link, failure, deadline, interrupt);
        }
        link.send_fault().map_or(Error::Closed, Error::from)
    }

    // --- what is known ---

    /// How much plaintext [`Self::recv`] returns without waiting; 0 after closing. Not 0 whenever
    /// there is some that the descriptor's readiness does not show.
    ///
    /// # Errors
    ///
    /// [`Error::Inherited`]; [`TlsError::Misuse`] in a callback of this connection.
    pub fn pending(&self) -> Result<usize, Error> {
        self.unless_closed(|link| link.pending())
    }

    /// How much ciphertext is waiting to be sent; 0 after closing.
    ///
    /// # Errors
    ///
    /// Like [`Self::pending`].
    pub fn outgoing_len(&self) -> Result<usize, Error> {
        self.unless_closed(|link| link.connection.outgoing_len() + link.kept())
    }

    fn unless_closed(&self, ask: impl FnOnce(&mut Link) -> usize) -> Result<usize, Error> {
        match self.lock() {
            Ok(mut link) => Ok(ask(&mut link)),
            Err(Error::Closed) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// What was negotiated; `None` until the handshake is complete. Available after closing, too.
    ///
    /// # Errors
    ///
    /// [`Error::Inherited`].
    pub fn facts(&self) -> Result<Option<Facts>, Error> {
        Ok(self.lock_anyway()?.connection.facts())
    }

    /// The session of this connection, for others to resume ([`Connection::lineage`]). Available
    /// after closing, too.
    ///
    /// # Errors
    ///
    /// [`Error::Inherited`].
    pub fn lineage(&self) -> Result<Option<Lineage>, Error> {
        Ok(self.lock_anyway()?.connection.lineage())
    }

    /// What `ask` finds of the connection, also after closing.
    ///
    /// # Errors
    ///
    /// Like [`Self::pending`].
    pub fn ask<R>(&self, ask: impl FnOnce(&Connection) -> R) -> Result<R, Error> {
        Ok(ask(&self.lock_anyway()?.connection))
    }

    /// What `look` finds of the connection if nobody has the lock just now: never waits. For garbage
    /// collectors, which come at any time and in any process.
    pub fn glance<R>(&self, look: impl FnOnce(&mut Connection) -> R) -> Option<R> {
        let mut link = self.link.glance()?;
        Some(look(&mut link.connection))
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn local_address(&self) -> Result<Address, Error> {
        let link = self.lock()?;
        let transport = link.transport.as_ref().ok_or(Error::Closed)?;
        let socket = transport.socket().ok_or(Errno::NOTSOCK)?;
        Ok(socket::local_address(socket)?)
    }

    /// The address of the other end, as it was when the connection was made.
    #[must_use]
    pub const fn peer_address(&self) -> Address {
        self.peer
    }

    /// The numbers of its address family and protocol; known after closing, too.
    #[must_use]
    pub const fn family_and_protocol(&self) -> (u16, u32) {
        (self.peer.family(), self.protocol)
    }

    /// The descriptor, for selectors; -1 once closed, and over a transport that has none. Never waits for the
    /// lock.
    #[must_use]
    pub fn descriptor(&self) -> Number {
        self.descriptor.load(Ordering::Acquire)
    }

    /// Whether it has been closed, or has given its transport away. Never waits for the lock.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Inherited`].
    pub fn check_open(&self) -> Result<(), Error> {
        self.lock().map(drop)
    }

    /// How long calls that begin now may wait.
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        self.timeout.get()
    }

    /// For calls that begin later. Never waits for the lock.
    pub fn set_timeout(&self, timeout: Timeout) {
        self.timeout.set(timeout);
    }

    /// # Errors
    ///
    /// [`Error::Inherited`] in a process forked from the one that made it.
    pub fn check_process(&self) -> Result<(), Error> {
        if self.link.is_inherited() {
            Err(Error::Inherited)
        } else {
            Ok(())
        }
    }

    /// Keeps the descriptor's number from being used again while it is polled.
    pub(crate) fn transport(&self) -> Option<Arc<dyn Transport>> {
        self.lock_anyway().ok()?.transport.clone()
    }

    /// Closes the descriptor in a forked child, if it is ours.
    pub(crate) fn close_inherited(&self) {
        if self.owned {
            fork::close_inherited(&self.descriptor);
        } else {
            self.descriptor.store(-1, Ordering::Release);
        }
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.link.is_inherited() {
            self.close_inherited();
            // Closed by now, whoever else holds it.
            std::mem::forget(self.link.get_mut().transport.take());
        }
    }
}
