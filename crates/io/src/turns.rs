//! Who may do what when: the lock, waiting without it, and several threads on one stream.
//!
//! A reader and a writer do not meet: each waits for its own direction of the transport. Two threads that wait for the *same* direction would: one could take what both were
//! woken for, leave with half of it, and the other would sleep although its data is here. So one
//! thread leads a direction: only it waits for the transport there, and until it is back nobody
//! else receives (or sends). The others are bystanders; each waits for a bell that the leader rings
//! when it is back, whatever the reason. Since the leader does its work under the lock before a
//! bystander gets it, a bystander finds everything that came, and otherwise waits again, or leads.
//! A bell costs a pipe and exists only while a bystander waits.
//!
//! The lock has two parts, taken in order: who waits for the lock holds the first, so a thread in a
//! loop cannot take the lock twice while another waits for it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use polytls_core::Error as TlsError;

use crate::bell::Bell;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::link::{Guard, Link};
use crate::stream::Stream;
use crate::wait::{Interest, Interrupt};

/// How long a transport that cannot be asked is waited for, to see whether something has come.
const MOMENT: Duration = Duration::from_millis(1);

/// A call that must not wait receives at most this often.
const MOST_ROUNDS: u32 = 16;

impl Stream {
    /// # Errors
    ///
    /// [`Error::Inherited`], [`Error::Closed`]; [`TlsError::Misuse`] in a callback of this connection's;
    /// an internal error after a panic.
    pub(crate) fn lock(&self) -> Result<Guard<'_>, Error> {
        let entry = self.link.enter()?;
        // Also where the lock is poisoned.
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let link = entry.lock().map_err(|_| Error::poisoned())?;
        drop(turn);
        if link.transport.is_none() {
            return Err(Error::Closed);
        }
        Ok(link)
    }

    /// For what has to be done even after closing or a panic.
    ///
    /// # Errors
    ///
    /// [`Error::Inherited`], [`TlsError::Misuse`].
    pub(crate) fn lock_anyway(&self) -> Result<Guard<'_>, Error> {
        let entry = self.link.enter()?;
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
        link: Guard<'a>,
        deadline: Deadline,
    ) -> Result<Guard<'a>, Error> {
        drop(link);
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
        mut link: Guard<'a>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
        mut attempt: impl FnMut(&mut Link) -> Result<T, TlsError>,
    ) -> Result<(Guard<'a>, T), Error> {
        if link.has_to_listen_first() {
            link = match self.wait(link, Interest::READ, deadline.at_most(MOMENT), interrupt) {
                Err(Error::TimedOut) => self.lock()?,
                waited => waited?,
            };
        }
        if let Err(error) = link.begin() {
            return Err(self.fatal(link, error, deadline, interrupt));
        }
        let mut rounds = 0_u32;
        loop {
            let interest = match attempt(&mut link) {
                Ok(done) => return Ok((link, done)),
                // More may be there. A peer that sends what comes to nothing must not keep us.
                Err(TlsError::WantRead)
                    if rounds >= MOST_ROUNDS && deadline == Deadline::NonBlocking =>
                {
                    return Err(Error::WantRead);
                }
                Err(TlsError::WantRead) => {
                    rounds = rounds.saturating_add(1);
                    // A fault is latched; what came before it is read first.
                    let _ = link.flush();
                    if link.receive()? {
                        link = self.pause(link, deadline)?;
                        continue;
                    }
                    Interest {
                        read: true,
                        write: link.has_to_send(),
                    }
                }
                Err(TlsError::WantWrite) => {
                    if link.flush().is_err() {
                        return Err(self.broken(link, deadline, interrupt));
                    }
                    if !link.has_unsent() {
                        continue;
                    }
                    Interest::WRITE
                }
                Err(error) => return Err(self.fatal(link, error, deadline, interrupt)),
            };
            link = self.wait(link, interest, deadline, interrupt)?;
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
        mut link: Guard<'a>,
        interest: Interest,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<Guard<'a>, Error> {
        if deadline == Deadline::NonBlocking {
            // A handshake and a close go on when the peer has got what we said. Otherwise reading
            // needs no writing.
            let write_first = interest.write && (link.closing || link.connection.is_handshaking());
            return Err(if interest.read && !write_first {
                Error::WantRead
            } else {
                Error::WantWrite
            });
        }
        let led = Interest {
            read: interest.read && !link.led.read,
            write: interest.write && !link.led.write,
        };
        let transport = link.transport.clone().ok_or(Error::Closed)?;
        // Who is inside of a stream of the caller's hears no bell; what it waits for itself is enough to look
        // again.
        let bell = if led == interest || (!led.is_none() && !transport.is_selectable()) {
            None
        } else {
            let bell = Arc::new(Bell::new()?);
            link.bystanders.push(Arc::clone(&bell));
            Some(bell)
        };
        link.led.read |= led.read;
        link.led.write |= led.write;
        link.waiters += 1;
        drop(link);

        let outcome = match &bell {
            Some(bell) if led.is_none() => bell.wait(deadline.instant(), interrupt),
            bell => transport.wait(led, bell.as_deref(), deadline.instant(), interrupt),
        };
        drop(transport);

        // A signal's handler may have forked meanwhile.
        let mut link = self.lock_anyway()?;
        link.waiters -= 1;
        link.led.read &= !led.read;
        link.led.write &= !led.write;
        if let Some(bell) = bell {
            link.bystanders.retain(|other| !Arc::ptr_eq(other, &bell));
        }
        if !led.is_none() {
            for bell in link.bystanders.drain(..) {
                bell.ring();
            }
        }
        if link.transport.is_none() {
            let last = if link.waiters == 0 {
                link.leaving.take()
            } else {
                None
            };
            drop(link);
            if let Some(transport) = last {
                // Who has closed it has gone, and got no error.
                let _ = transport.close(false);
            }
            return Err(Error::Closed);
        }
        if self.link.is_poisoned() {
            return Err(Error::poisoned());
        }
        if outcome? {
            Ok(link)
        } else {
            Err(Error::TimedOut)
        }
    }
}
