//! Who may do what when: the lock, waiting without it, and several threads on one stream.
//!
//! A reader and a writer do not meet: each waits for its own direction of the descriptor in
//! poll(2). Two threads that wait for the *same* direction would: one could take what both were
//! woken for, leave with half of it, and the other would sleep although its data is here. So one
//! thread leads a direction: it alone waits for the descriptor there, and until it is back nobody
//! else receives (or sends). The others are bystanders; each waits for a bell that the leader rings
//! when it is back, whatever the reason. Since the leader does its work under the lock before a
//! bystander gets it, a bystander finds everything that came, and otherwise waits again, or leads.
//! A bell costs a pipe and exists only while a bystander waits.
//!
//! The lock has two parts, taken in order: who waits for the lock holds the first, so a thread in a
//! loop cannot take the lock twice while another waits for it.

use std::sync::{Arc, PoisonError};

use polytls_core::Error as TlsError;
use rustix::event::PollFd;

use crate::deadline::Deadline;
use crate::error::Error;
use crate::stream::Stream;
use crate::transport::{Guard, Transport};
use crate::wait::{Bell, Interest, Interrupt, poll_until};

/// A call that must not wait receives at most this often.
const MOST_ROUNDS: u32 = 16;

impl Stream {
    /// # Errors
    ///
    /// [`Error::Inherited`], [`Error::Closed`]; [`TlsError::Misuse`] in a callback of this connection's;
    /// an internal error after a panic.
    pub(crate) fn lock(&self) -> Result<Guard<'_>, Error> {
        let entry = self.transport.enter()?;
        // Also where the lock is poisoned.
        if self.descriptor() < 0 {
            return Err(Error::Closed);
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let transport = entry.lock().map_err(|_| Error::poisoned())?;
        drop(turn);
        if transport.socket.is_none() {
            return Err(Error::Closed);
        }
        Ok(transport)
    }

    /// For what has to be done even after closing or a panic.
    ///
    /// # Errors
    ///
    /// [`Error::Inherited`], [`TlsError::Misuse`].
    pub(crate) fn lock_anyway(&self) -> Result<Guard<'_>, Error> {
        let entry = self.transport.enter()?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(entry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets others have the lock, between two steps of one call.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]: a peer that keeps us busy does not prolong the call. As [`Self::lock`].
    pub(crate) fn pause<'a>(
        &'a self,
        transport: Guard<'a>,
        deadline: Deadline,
    ) -> Result<Guard<'a>, Error> {
        drop(transport);
        if deadline.has_passed() {
            return Err(Error::TimedOut);
        }
        self.lock()
    }

    /// Calls `attempt` until it succeeds or fails, receiving and sending for it, and waiting in
    /// between.
    ///
    /// # Errors
    ///
    /// As every public method: of TLS, of the transport, of time.
    pub(crate) fn drive<'a, T>(
        &'a self,
        mut transport: Guard<'a>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
        mut attempt: impl FnMut(&mut Transport) -> Result<T, TlsError>,
    ) -> Result<(Guard<'a>, T), Error> {
        if let Err(error) = transport.begin() {
            return Err(self.fatal(transport, error, deadline, interrupt));
        }
        let mut rounds = 0_u32;
        loop {
            let interest = match attempt(&mut transport) {
                Ok(done) => return Ok((transport, done)),
                // More may be there. A peer that sends what comes to nothing must not keep us.
                Err(TlsError::WantRead)
                    if rounds >= MOST_ROUNDS && deadline == Deadline::NonBlocking =>
                {
                    return Err(Error::WantRead);
                }
                Err(TlsError::WantRead) => {
                    rounds = rounds.saturating_add(1);
                    // A fault is latched; what came before it is read first.
                    let _ = transport.flush();
                    if transport.receive()? {
                        transport = self.pause(transport, deadline)?;
                        continue;
                    }
                    Interest {
                        read: true,
                        write: transport.has_unsent(),
                    }
                }
                Err(TlsError::WantWrite) => {
                    if transport.flush().is_err() {
                        return Err(self.broken(transport, deadline, interrupt));
                    }
                    if !transport.has_unsent() {
                        continue;
                    }
                    Interest::WRITE
                }
                Err(error) => return Err(self.fatal(transport, error, deadline, interrupt)),
            };
            transport = self.wait(transport, interest, deadline, interrupt)?;
        }
    }

    /// Gives the lock back, waits until there may be something to do for `interest`, and takes the
    /// lock again.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] and [`Error::WantWrite`] at once if the call must not wait,
    /// [`Error::TimedOut`], [`Error::Interrupted`]; as [`Self::lock`].
    pub(crate) fn wait<'a>(
        &'a self,
        mut transport: Guard<'a>,
        interest: Interest,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<Guard<'a>, Error> {
        if deadline == Deadline::NonBlocking {
            // A handshake and a close go on when the peer has got what we said. Otherwise reading
            // needs no writing.
            let write_first =
                interest.write && (transport.closing || transport.connection.is_handshaking());
            return Err(if interest.read && !write_first {
                Error::WantRead
            } else {
                Error::WantWrite
            });
        }
        let led = Interest {
            read: interest.read && !transport.led.read,
            write: interest.write && !transport.led.write,
        };
        let bell = if led == interest {
            None
        } else {
            let bell = Arc::new(Bell::new()?);
            transport.bystanders.push(Arc::clone(&bell));
            Some(bell)
        };
        transport.led.read |= led.read;
        transport.led.write |= led.write;
        let socket = transport.socket.clone();
        drop(transport);

        let outcome = {
            let mut fds = Vec::with_capacity(2);
            if let Some(socket) = socket.as_deref()
                && !led.is_none()
            {
                fds.push(PollFd::new(socket, led.flags()));
            }
            if let Some(bell) = bell.as_deref() {
                fds.push(PollFd::new(bell, Interest::READ.flags()));
            }
            poll_until(&mut fds, deadline.instant(), interrupt)
        };
        drop(socket);

        // A signal's handler may have forked meanwhile.
        let mut transport = self.lock_anyway()?;
        transport.led.read &= !led.read;
        transport.led.write &= !led.write;
        if let Some(bell) = bell {
            transport
                .bystanders
                .retain(|other| !Arc::ptr_eq(other, &bell));
        }
        if !led.is_none() {
            for bell in transport.bystanders.drain(..) {
                bell.ring();
            }
        }
        if transport.socket.is_none() {
            return Err(Error::Closed);
        }
        if self.transport.is_poisoned() {
            return Err(Error::poisoned());
        }
        if outcome? {
            Ok(transport)
        } else {
            Err(Error::TimedOut)
        }
    }
}
