//! A connected TLS socket.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use polytls_core::{Connection, Error as TlsError, Facts};

use crate::deadline::{Deadline, Timeout, TimeoutCell};
use crate::error::Error;
use crate::socket;
use crate::transport::Transport;
use crate::turns::Guard;
use crate::wait::{Interest, Interrupt};

/// In a long `send_all` that never has to wait, signals are looked for this often.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);

/// A connected TLS socket. Made by [`crate::connect`] and [`crate::Listener::accept`].
///
/// Every method may be called from every thread at any time. One thread may read while another
/// writes, at full speed; two readers or two writers are safe, and whose bytes come first is left
/// to chance, a record at least in one piece.
///
/// Each call waits as long as [`Self::timeout`] said when it began. Except where a method says
/// otherwise it may be called again after any error, goes on where the last call stopped, and gives
/// [`Error::Closed`] during and after [`Self::close`], a fatal TLS error again and again.
///
/// Dropping it closes the descriptor without a word to the peer: a ragged end.
pub struct Stream {
    pub(crate) turn: Mutex<()>,
    pub(crate) transport: Mutex<Transport>,
    /// What `fileno()` gives, without the lock; -1 once closed.
    pub(crate) descriptor: AtomicI32,
    timeout: TimeoutCell,
    peer: SocketAddr,
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
        socket: OwnedFd,
        connection: Connection,
        peer: SocketAddr,
        timeout: Timeout,
    ) -> Self {
        Self {
            turn: Mutex::new(()),
            descriptor: AtomicI32::new(socket.as_raw_fd()),
            transport: Mutex::new(Transport::new(connection, socket)),
            timeout: TimeoutCell::new(timeout),
            peer,
        }
    }

    // --- data ---

    /// Completes the handshake and sends its last flight. The other methods do so by themselves.
    ///
    /// # Errors
    ///
    /// A fatal error of ours is told to the peer first, and then the peer is read from until it
    /// ends the connection, for 2 seconds at most and within the timeout: otherwise the alert could
    /// be lost to a reset.
    pub fn do_handshake(&self, interrupt: &mut dyn Interrupt) -> Result<(), Error> {
        self.handshake(self.deadline(), interrupt)
    }

    pub(crate) fn handshake(
        &self,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        let transport = self.lock()?;
        self.drive(transport, deadline, interrupt, |transport| {
            transport.connection.do_handshake()?;
            if transport.connection.outgoing().is_empty() {
                Ok(())
            } else {
                Err(TlsError::WantWrite)
            }
        })
        .map(drop)
    }

    /// Receives what is there, waiting for the first byte; 0 is the peer's close_notify, or an
    /// empty `into`. Sends what waits to be sent if that can be done on the way.
    ///
    /// # Errors
    ///
    /// Everything that was authenticated comes before [`TlsError::RaggedEof`], an alert or the
    /// transport's error, which are then given for ever. Non-blocking: [`Error::WantRead`], with
    /// [`Error::WantWrite`] only in a handshake whose next flight the kernel does not take.
    pub fn recv(&self, into: &mut [u8], interrupt: &mut dyn Interrupt) -> Result<usize, Error> {
        let transport = self.lock()?;
        if into.is_empty() {
            return Ok(0);
        }
        let deadline = self.deadline();
        let (mut transport, count) = self.drive(transport, deadline, interrupt, |transport| {
            transport.read(into)
        })?;
        // A fault in sending is for those who send.
        let _ = transport.flush();
        Ok(count)
    }

    /// Sends some of `from`, up to 256 KiB, and says how much.
    ///
    /// Accepted bytes will be sent, in order and once, and must not be passed again. With
    /// [`Timeout::Forever`] and [`Timeout::After`] the call returns once the kernel has all that it
    /// accepted; if the time is over before that, it returns the count all the same, and the rest
    /// goes out with the next call of any kind. A non-blocking call returns the count at once, and
    /// what the kernel did not take (less than 64 KiB and a little) stays in
    /// [`Self::outgoing_len`]: wait for writability and call anything while that is not 0.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] and the `Want` errors: nothing was accepted. [`Error::Interrupted`]:
    /// what was accepted will be sent. An error of the transport: nobody can know how much
    /// arrived; if the peer sent an alert that says why, that is the error.
    pub fn send(&self, from: &[u8], interrupt: &mut dyn Interrupt) -> Result<usize, Error> {
        let (count, _) = self.send_some(from, self.deadline(), interrupt)?;
        Ok(count)
    }

    /// Sends all of `data` and returns once the kernel has it, within one timeout altogether.
    ///
    /// # Errors
    ///
    /// As [`Self::send`]; after any of them it is not known how much of `data` was sent.
    /// Non-blocking: [`Error::WantWrite`] if not all was accepted.
    pub fn send_all(&self, data: &[u8], interrupt: &mut dyn Interrupt) -> Result<(), Error> {
        let deadline = self.deadline();
        let mut looked = Instant::now();
        let mut rest = data;
        loop {
            let (count, handed_over) = self.send_some(rest, deadline, interrupt)?;
            rest = &rest[count..];
            match (rest.is_empty(), handed_over) {
                (true, true) => return Ok(()),
                (true, false) if deadline == Deadline::NonBlocking => return Ok(()),
                (_, false) if deadline == Deadline::NonBlocking => return Err(Error::WantWrite),
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
                looked = Instant::now();
            }
        }
    }

    /// How much was accepted, and whether the kernel has all of it.
    fn send_some(
        &self,
        from: &[u8],
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(usize, bool), Error> {
        let transport = self.lock()?;
        if from.is_empty() {
            return Ok((0, true));
        }
        let (mut transport, count) = self.drive(transport, deadline, interrupt, |transport| {
            transport.take(from)
        })?;
        let sealed = transport.sealed();
        loop {
            // Found by a thread that reads.
            if let Some(failure) = transport.connection.failure().cloned() {
                return Err(self.fatal(transport, failure, deadline, interrupt));
            }
            if transport.flush().is_err() {
                return Err(self.broken(transport, deadline, interrupt));
            }
            if transport.sent >= sealed {
                return Ok((count, true));
            }
            transport = match self.wait(transport, Interest::WRITE, deadline, interrupt) {
                Ok(transport) => transport,
                Err(Error::TimedOut | Error::WantWrite) => return Ok((count, false)),
                Err(error) => return Err(error),
            };
        }
    }

    /// The error of a call that cannot send: the peer's reason, if it gave one, or the fault.
    pub(crate) fn broken<'a>(
        &'a self,
        mut transport: Guard<'a>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Error {
        transport.look_for_alert();
        if let Some(failure) = transport.connection.failure().cloned() {
            return self.fatal(transport, failure, deadline, interrupt);
        }
        transport.send_fault().map_or(Error::Closed, Error::from)
    }

    // --- what is known ---

    /// How much plaintext [`Self::recv`] gives without waiting; 0 once closed. Not 0 whenever there
    /// is some that the descriptor's readiness does not tell of.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.lock().map_or(0, |mut transport| transport.pending())
    }

    /// How much ciphertext waits to be sent; 0 once closed.
    #[must_use]
    pub fn outgoing_len(&self) -> usize {
        self.lock()
            .map_or(0, |transport| transport.connection.outgoing().len())
    }

    /// What the handshake agreed on; `None` until it is complete. Known after closing, too.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        self.lock_anyway().connection.facts()
    }

    /// What `ask` finds of the connection, also after closing.
    pub fn ask<R>(&self, ask: impl FnOnce(&Connection) -> R) -> R {
        ask(&self.lock_anyway().connection)
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`].
    pub fn local_address(&self) -> Result<SocketAddr, Error> {
        let socket = self.lock()?.socket.clone().ok_or(Error::Closed)?;
        Ok(socket::local_address(&socket)?)
    }

    /// The address of the other end, as it was when the connection was made.
    #[must_use]
    pub const fn peer_address(&self) -> SocketAddr {
        self.peer
    }

    /// The descriptor, for selectors; -1 once closed. Never waits for the lock.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.descriptor.load(Ordering::Acquire)
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

    /// Keeps the descriptor's number from being used again while it is polled.
    pub(crate) fn socket(&self) -> Option<Arc<OwnedFd>> {
        self.lock_anyway().socket.clone()
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout())
    }
}
