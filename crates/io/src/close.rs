//! The ends of a connection: orderly, forced, and after a fatal error.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polytls_core::{Barred, Error as TlsError};

use crate::deadline::Deadline;
use crate::ending::Input;
use crate::error::Error;
use crate::link::Guard;
use crate::stream::Stream;
use crate::wait::{Interest, Interrupt};

/// How long [`Stream::close`] waits for delivery, at most.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the peer is read from, at most, after it was sent a fatal alert: closing with unread
/// data sends a reset, which overtakes the alert.
pub const LINGER: Duration = Duration::from_secs(2);

/// The first and the longest interval between two checks of what the peer has acknowledged: no
/// system reports when the last byte is.
const FIRST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(25);

impl Stream {
    /// Ends one direction, or both.
    ///
    /// Writing: sends close_notify and no FIN: in TLS 1.3, reading continues (RFC 8446 section
    /// 6.1). Reading: [`Stream::recv`] returns 0 from now on, also in waiting threads. Both: our
    /// direction of the TCP connection ends as well; the descriptor stays open.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] (ENOTCONN) before the handshake is complete. Otherwise like [`Stream::send`];
    /// another call continues.
    pub fn shutdown(&self, how: Shutdown, interrupt: &mut dyn Interrupt) -> Result<(), Error> {
        let mut link = self.lock()?;
        if link.connection.is_handshaking() && link.connection.failure().is_none() {
            return Err(rustix::io::Errno::NOTCONN.into());
        }
        if how != Shutdown::Write
            && let Some(waited_for) = link.end_reading()
        {
            drop(link);
            let deaf = waited_for.shutdown(Shutdown::Read);
            drop(waited_for);
            link = self.lock()?;
            link.deaf |= deaf;
        }
        if how == Shutdown::Read {
            return Ok(());
        }
        let deadline = self.deadline();
        let (mut link, ()) = self.drive(link, deadline, interrupt, |link| {
            link.connection.send_close_notify()?;
            if link.connection.outgoing().is_empty() && link.kept() == 0 {
                Ok(())
            } else {
                Err(TlsError::WantWrite)
            }
        })?;
        if how == Shutdown::Both {
            if link.deaf && deadline != Deadline::NonBlocking {
                self.settle(link, deadline.at_most(CLOSE_TIMEOUT), interrupt)?;
                link = self.lock()?;
            }
            let transport = link.transport.clone().ok_or(Error::Closed)?;
            drop(link);
            let fin_sent = transport.shutdown(Shutdown::Both);
            drop(transport);
            self.lock_anyway()?.fin_sent |= fin_sent;
        }
        Ok(())
    }

    /// Ends the connection. Waiting threads get [`Error::Closed`]. Closing again does nothing. A
    /// connection that failed, or whose handshake is not complete, is just closed; so is one that
    /// was inherited through fork(2), without notifying the peer: it continues in the parent.
    ///
    /// Without `force` this is an orderly end: it sends close_notify and a FIN, and waits until the
    /// peer's TCP has acknowledged what was sent, discarding incoming data. That takes at most
    /// [`Self::timeout`] or [`CLOSE_TIMEOUT`], whichever is less, and no time if all data was
    /// acknowledged before. It does not wait for the peer's close_notify.
    ///
    /// With `force` it sends close_notify and does not wait; it is not an error if it could not be
    /// sent because the peer has gone, or accepts nothing of what another thread sends. After
    /// [`Self::shutdown`] for writing, which declares the data complete, it still waits for
    /// delivery, unless it is non-blocking.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] and [`Error::WantWrite`] (non-blocking): not closed yet, call again.
    /// Without `force` they are returned until the peer's close_notify or the end of its transport
    /// has arrived; with `force`, [`Error::WantWrite`] is returned once, and the next forced call
    /// closes in any case.
    ///
    /// After every other outcome the descriptor is closed: [`Error::Interrupted`]; with `force`,
    /// [`Error::TimedOut`]; without, and only if data is unacknowledged: [`Error::Undelivered`]
    /// when the time is over, an error of the transport, or the peer's fatal alert.
    pub fn close(&self, force: bool, interrupt: &mut dyn Interrupt) -> Result<(), Error> {
        match self.link.enter() {
            Ok(_) => {}
            Err(Barred::Inherited) => {
                self.close_inherited();
                return Ok(());
            }
            Err(barred) => return Err(barred.into()),
        }
        let outcome = match self.lock() {
            Ok(link) => self.end(link, force, interrupt),
            // Closed, or unusable after a panic.
            Err(_) => Ok(()),
        };
        match outcome {
            Err(Error::WantRead | Error::WantWrite) => outcome,
            _ => {
                let released = self.release();
                match outcome {
                    // By another thread, meanwhile.
                    Err(Error::Closed) => Ok(()),
                    outcome => outcome.and(released),
                }
            }
        }
    }

    /// Ends the connection like [`Self::close`] without `force`, but in one call: where a
    /// non-blocking call would have to be repeated, the descriptor is closed anyway. The kernel
    /// continues to send what it has accepted.
    ///
    /// # Errors
    ///
    /// Like [`Self::close`], except for the `Want` errors. [`Error::Undelivered`] also if it is
    /// non-blocking and the kernel has not accepted all data.
    pub fn leave(&self, interrupt: &mut dyn Interrupt) -> Result<(), Error> {
        match self.close(false, interrupt) {
            Err(Error::WantRead | Error::WantWrite) => {
                let link = self.lock_anyway()?;
                let taken = link.connection.sent().saturating_sub(link.kept() as u64);
                let bytes = link.connection.data_end().saturating_sub(taken);
                drop(link);
                self.release()?;
                if bytes > 0 {
                    Err(Error::Undelivered { bytes })
                } else {
                    Ok(())
                }
            }
            outcome => outcome,
        }
    }

    fn end<'a>(
        &'a self,
        mut link: Guard<'a>,
        force: bool,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        let mut deadline = self.deadline();
        if link.keeps_time() {
            deadline = deadline.at_most(CLOSE_TIMEOUT);
        }
        let has_answered = link.connection.data_end() > 0;
        if has_answered
            && !force
            && link.connection.is_handshaking()
            && link.connection.failure().is_none()
        {
            // A server that has answered early data: close_notify comes after the handshake.
            drop(link);
            self.handshake(deadline, interrupt)?;
            link = self.lock()?;
        }
        if link.connection.is_handshaking() || link.connection.failure().is_some() {
            if link.connection.has_begun() {
                let _ = link.flush();
            }
            return Ok(());
        }
        if !force {
            return self.end_in_order(link, deadline, interrupt);
        }
        let is_complete = link.connection.has_closed() && !link.led.write;
        if !is_complete || deadline == Deadline::NonBlocking {
            return self.say_goodbye(link, deadline, interrupt);
        }
        match self.settle(link, deadline, interrupt) {
            Err(Error::Undelivered { .. }) => Err(Error::TimedOut),
            Err(Error::Interrupted) => Err(Error::Interrupted),
            // It is done, or the peer has gone.
            _ => Ok(()),
        }
    }

    /// Sends close_notify.
    fn say_goodbye<'a>(
        &'a self,
        mut link: Guard<'a>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        let _ = link.connection.send_close_notify();
        loop {
            let _ = link.flush();
            if !link.has_unsent() {
                return Ok(());
            }
            if deadline == Deadline::NonBlocking && std::mem::replace(&mut link.close_tried, true) {
                return Ok(());
            }
            // Another thread waits for a peer that takes nothing, and no goodbye comes before its data.
            if link.led.write {
                return Ok(());
            }
            link = self.wait(link, Interest::WRITE, deadline, interrupt)?;
        }
    }

    /// Sends close_notify and a FIN, and waits if there is a reason to.
    fn end_in_order<'a>(
        &'a self,
        mut link: Guard<'a>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        let is_idle = link.undelivered() == 0;
        if let Err(error) = link.connection.send_close_notify() {
            return Err(self.fatal(link, error, deadline, interrupt));
        }
        link.closing = true;
        link.connection.drop_early();
        if deadline == Deadline::NonBlocking {
            return link.exchange_goodbyes();
        }
        // A wait that nothing limits could last for ever: what the transport has accepted it delivers.
        if !link.keeps_time() || (is_idle && !link.is_selectable()) {
            return self.say_goodbye(link, deadline, interrupt);
        }
        if is_idle {
            let _ = link.flush();
            link.finish_sending();
            // It takes in the tickets that are there.
            let _ = link.read_out();
            return Ok(());
        }
        self.settle(link, deadline, interrupt)
    }

    /// Waits until the peer has acknowledged all that there was to say, and reads out meanwhile: a
    /// peer that is not read from may never come to read.
    fn settle<'a>(
        &'a self,
        mut link: Guard<'a>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        let mut nap = FIRST_NAP;
        loop {
            let _ = link.flush();
            link.finish_sending();
            let input = link.read_out();
            if link.is_settled() {
                return Ok(());
            }
            if let Some(outcome) = link.broken_off(&input) {
                return outcome;
            }
            if deadline.has_passed() {
                return match link.undelivered() {
                    0 => Ok(()),
                    bytes => Err(Error::Undelivered { bytes }),
                };
            }
            if matches!(input, Input::More) {
                drop(link);
                link = self.lock()?;
                continue;
            }
            let interest = Interest {
                read: link.may_become_readable(),
                write: link.has_unsent(),
            };
            // Some systems tell only after the FIN.
            let tells = link.fin_sent || link.unacknowledged().is_some();
            let until = if interest.write || (interest.read && !tells) {
                deadline
            } else {
                deadline.at_most(nap)
            };
            nap = (2 * nap).min(LONGEST_NAP);
            link = match self.wait(link, interest, until, interrupt) {
                Err(Error::TimedOut) => self.lock()?,
                waited => waited?,
            };
        }
    }

    /// Closes the transport and wakes everybody who waits.
    fn release(&self) -> Result<(), Error> {
        let Ok(mut link) = self.lock_anyway() else {
            return Ok(());
        };
        // Unread data (TLS 1.3 tickets nobody has read for, say) would turn the end into a reset,
        // and on some systems that takes from the peer what it has not read yet.
        let _ = link.discard();
        let Some(transport) = link.transport.take() else {
            return Ok(());
        };
        let waited_for = link.waiters > 0;
        if waited_for {
            link.leaving = Some(Arc::clone(&transport));
        }
        link.connection.forget_keys();
        self.note_closed(link);
        transport.close(waited_for).map_err(Error::from)
    }

    /// The transport is taken: wakes those who wait for threads that wait for it.
    pub(crate) fn note_closed(&self, mut link: Guard<'_>) {
        self.descriptor.store(-1, Ordering::Release);
        self.closed.store(true, Ordering::Release);
        for bell in link.bystanders.drain(..) {
            bell.ring();
        }
    }

    /// Goes on telling the peer of a failed handshake why; says what it waits for, `None` when done.
    pub(crate) fn farewell(&self) -> Option<Interest> {
        self.lock_anyway().ok()?.farewell()
    }

    /// Gives `error` back; if it is one of ours that ends the connection, the peer is told before.
    pub(crate) fn fatal<'a>(
        &'a self,
        mut link: Guard<'a>,
        error: TlsError,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Error {
        if link.connection.failure().is_none() {
            return error.into();
        }
        // The peer may be in the middle of sending its first data, and only a handshake is worth
        // waiting for: later it has the alert in its stream of records anyway.
        let in_handshake = link.connection.is_handshaking();
        // Later calls only try.
        let limit = if link.begin_farewell() {
            deadline.at_most(LINGER)
        } else {
            Deadline::NonBlocking
        };
        while let Some(interest) = link.farewell() {
            if limit.has_passed() || (interest.read && !(in_handshake && link.keeps_time())) {
                break;
            }
            link = match self.wait(link, interest, limit, interrupt) {
                Ok(link) => link,
                Err(Error::Interrupted) => return Error::Interrupted,
                Err(_) => break,
            };
        }
        error.into()
    }
}
