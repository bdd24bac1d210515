//! The ends of a connection: orderly, forced, and after a fatal error.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polytls_core::{Barred, Error as TlsError};

use crate::deadline::Deadline;
use crate::ending::Input;
use crate::error::Error;
use crate::fork;
use crate::socket;
use crate::stream::Stream;
use crate::transport::Guard;
use crate::wait::{Interest, Interrupt};

/// How long [`Stream::close`] waits for what was accepted to be delivered, at most.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the peer is read from, at most, after a fatal alert was sent to it: if there is
/// something unread, closing sends a reset, and that overtakes the alert.
pub const LINGER: Duration = Duration::from_secs(2);

/// The first and the longest wait between two looks at what the peer has acknowledged: no system
/// tells when the last byte has been.
const FIRST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(25);

impl Stream {
    /// Ends one direction, or both.
    ///
    /// Writing: sends close_notify and no FIN: TLS 1.3 goes on reading (RFC 8446 section 6.1).
    /// Reading: [`Stream::recv`] gives 0 from now on, to threads that wait in it, too. Both: our side
    /// of the TCP connection ends as well; the descriptor stays.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] (ENOTCONN) before the handshake is complete. Otherwise as [`Stream::send`];
    /// calling again goes on.
    pub fn shutdown(&self, how: Shutdown, interrupt: &mut dyn Interrupt) -> Result<(), Error> {
        let mut transport = self.lock()?;
        if transport.connection.is_handshaking() && transport.connection.failure().is_none() {
            return Err(rustix::io::Errno::NOTCONN.into());
        }
        if how != Shutdown::Write {
            transport.end_reading();
        }
        if how == Shutdown::Read {
            return Ok(());
        }
        let deadline = self.deadline();
        let (mut transport, ()) = self.drive(transport, deadline, interrupt, |transport| {
            transport.connection.send_close_notify()?;
            if transport.connection.outgoing().is_empty() {
                Ok(())
            } else {
                Err(TlsError::WantWrite)
            }
        })?;
        if how == Shutdown::Both {
            if transport.deaf && deadline != Deadline::NonBlocking {
                self.settle(transport, deadline.at_most(CLOSE_TIMEOUT), interrupt)?;
                transport = self.lock()?;
            }
            transport.end_sending();
        }
        Ok(())
    }

    /// Ends the connection. Threads that wait on it get [`Error::Closed`]. Closing again does
    /// nothing. A connection that failed, or whose handshake is not complete, is just closed; one
    /// that was inherited through fork(2) as well, with nothing said: it goes on in the parent.
    ///
    /// Without `force` this is an orderly end: it sends close_notify and a FIN, and waits until the
    /// peer's TCP has acknowledged what was sent, reading out and discarding what comes meanwhile.
    /// That takes [`Self::timeout`] or [`CLOSE_TIMEOUT`] at most, whichever is less, and no time if
    /// all data was acknowledged before. It does not wait for the peer's close_notify.
    ///
    /// With `force` it sends close_notify and waits for nothing; that it could not be sent because
    /// the peer has gone, or takes nothing of what another thread sends, is no error. After
    /// [`Self::shutdown`] for writing, which says that the data is complete, it waits for delivery
    /// all the same, unless it is non-blocking.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] and [`Error::WantWrite`] (non-blocking): not closed yet, call again.
    /// Without `force` they come until the peer's close_notify or the end of its transport has come;
    /// with `force`, [`Error::WantWrite`] comes once, and the next forced call closes in any case.
    ///
    /// After every other outcome the descriptor is closed: [`Error::Interrupted`]; with `force`,
    /// [`Error::TimedOut`]; without, and only if data is unacknowledged: [`Error::Undelivered`] when
    /// the time is over, an error of the transport, or the peer's fatal alert.
    pub fn close(&self, force: bool, interrupt: &mut dyn Interrupt) -> Result<(), Error> {
        match self.transport.enter() {
            Ok(_) => {}
            Err(Barred::Inherited) => {
                fork::close_inherited(&self.descriptor);
                return Ok(());
            }
            Err(barred) => return Err(barred.into()),
        }
        let outcome = match self.lock() {
            Ok(transport) => self.end(transport, force, interrupt),
            // Closed, or unusable after a panic.
            Err(_) => Ok(()),
        };
        match outcome {
            Err(Error::WantRead | Error::WantWrite) => outcome,
            _ => {
                self.release();
                match outcome {
                    // By another thread, meanwhile.
                    Err(Error::Closed) => Ok(()),
                    outcome => outcome,
                }
            }
        }
    }

    /// Ends the connection as [`Self::close`] without `force` does, but in one call: where a
    /// non-blocking one would have to be repeated, the descriptor is closed all the same. What the
    /// kernel has been given by then it goes on sending.
    ///
    /// # Errors
    ///
    /// As [`Self::close`], but for the `Want` errors. [`Error::Undelivered`] also if it is
    /// non-blocking and the kernel has not taken all data.
    pub fn leave(&self, interrupt: &mut dyn Interrupt) -> Result<(), Error> {
        match self.close(false, interrupt) {
            Err(Error::WantRead | Error::WantWrite) => {
                let transport = self.lock_anyway()?;
                let bytes = transport.data_end.saturating_sub(transport.sent);
                drop(transport);
                self.release();
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
        mut transport: Guard<'a>,
        force: bool,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        let deadline = self.deadline().at_most(CLOSE_TIMEOUT);
        let has_answered = transport.data_end > 0;
        if has_answered
            && !force
            && transport.connection.is_handshaking()
            && transport.connection.failure().is_none()
        {
            // A server that has answered early data: close_notify comes after the handshake.
            drop(transport);
            self.handshake(deadline, interrupt)?;
            transport = self.lock()?;
        }
        if transport.connection.is_handshaking() || transport.connection.failure().is_some() {
            if transport.connection.has_begun() {
                let _ = transport.flush();
            }
            return Ok(());
        }
        if !force {
            return self.end_in_order(transport, deadline, interrupt);
        }
        let is_complete = transport.connection.has_closed() && !transport.led.write;
        if !is_complete || deadline == Deadline::NonBlocking {
            return self.say_goodbye(transport, deadline, interrupt);
        }
        match self.settle(transport, deadline, interrupt) {
            Err(Error::Undelivered { .. }) => Err(Error::TimedOut),
            Err(Error::Interrupted) => Err(Error::Interrupted),
            // It is done, or the peer has gone.
            _ => Ok(()),
        }
    }

    /// Sends close_notify.
    fn say_goodbye<'a>(
        &'a self,
        mut transport: Guard<'a>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        let _ = transport.connection.send_close_notify();
        loop {
            let _ = transport.flush();
            if !transport.has_unsent() {
                return Ok(());
            }
            if deadline == Deadline::NonBlocking
                && std::mem::replace(&mut transport.close_tried, true)
            {
                return Ok(());
            }
            // Another thread waits for a peer that takes nothing, and no goodbye comes before its data.
            if transport.led.write {
                return Ok(());
            }
            transport = self.wait(transport, Interest::WRITE, deadline, interrupt)?;
        }
    }

    /// Sends close_notify and a FIN, and waits if there is a reason to.
    fn end_in_order<'a>(
        &'a self,
        mut transport: Guard<'a>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        let is_idle = transport.undelivered() == 0;
        if let Err(error) = transport.connection.send_close_notify() {
            return Err(self.fatal(transport, error, deadline, interrupt));
        }
        transport.closing = true;
        transport.connection.drop_early();
        if deadline == Deadline::NonBlocking {
            return transport.exchange_goodbyes();
        }
        if is_idle {
            let _ = transport.flush();
            transport.finish_sending();
            // It takes in the tickets that are there.
            let _ = transport.read_out();
            return Ok(());
        }
        self.settle(transport, deadline, interrupt)
    }

    /// Waits until the peer has acknowledged all that there was to say, and reads out meanwhile: a
    /// peer that is not read from may never come to read.
    fn settle<'a>(
        &'a self,
        mut transport: Guard<'a>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        let mut nap = FIRST_NAP;
        loop {
            let _ = transport.flush();
            transport.finish_sending();
            let input = transport.read_out();
            if transport.is_settled() {
                return Ok(());
            }
            if let Some(outcome) = transport.broken_off(&input) {
                return outcome;
            }
            if deadline.has_passed() {
                return match transport.undelivered() {
                    0 => Ok(()),
                    bytes => Err(Error::Undelivered { bytes }),
                };
            }
            if matches!(input, Input::More) {
                drop(transport);
                transport = self.lock()?;
                continue;
            }
            let interest = Interest {
                read: transport.may_become_readable(),
                write: transport.has_unsent(),
            };
            let until = if interest.write {
                deadline
            } else {
                deadline.at_most(nap)
            };
            nap = (2 * nap).min(LONGEST_NAP);
            transport = match self.wait(transport, interest, until, interrupt) {
                Err(Error::TimedOut) => self.lock()?,
                waited => waited?,
            };
        }
    }

    /// Closes the descriptor and wakes everybody who waits.
    fn release(&self) {
        let Ok(mut transport) = self.lock_anyway() else {
            return;
        };
        if transport.socket.is_none() {
            return;
        }
        // Unread data (TLS 1.3 tickets nobody has read for, say) would turn the end into a reset,
        // and on some systems that takes from the peer what it has not read yet.
        let _ = transport.discard();
        let Some(socket) = transport.socket.take() else {
            return;
        };
        self.descriptor.store(-1, Ordering::Release);
        transport.connection.forget_keys();
        // Only then: this ends the connection for other processes that have the descriptor, too.
        if Arc::strong_count(&socket) > 1 {
            socket::end(&socket);
        }
        for bell in transport.bystanders.drain(..) {
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
        mut transport: Guard<'a>,
        error: TlsError,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Error {
        if transport.connection.failure().is_none() {
            return error.into();
        }
        // The peer may be in the middle of sending its first data, and only a handshake is worth
        // waiting for: later it has the alert in its stream of records anyway.
        let in_handshake = transport.connection.is_handshaking();
        // Later calls only try.
        let limit = if transport.begin_farewell() {
            deadline.at_most(LINGER)
        } else {
            Deadline::NonBlocking
        };
        while let Some(interest) = transport.farewell() {
            if limit.has_passed() || (interest.read && !in_handshake) {
                break;
            }
            transport = match self.wait(transport, interest, limit, interrupt) {
                Ok(transport) => transport,
                Err(Error::Interrupted) => return Error::Interrupted,
                Err(_) => break,
            };
        }
        error.into()
    }
}
