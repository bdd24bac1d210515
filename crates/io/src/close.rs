//! The ends of a connection: orderly, forced, and after a fatal error.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polytls_core::{Error as TlsError, MAX_FRAGMENT, Room};

use crate::deadline::{Deadline, Timeout};
use crate::error::Error;
use crate::fork;
use crate::socket;
use crate::stream::Stream;
use crate::transport::Guard;
use crate::wait::{Interest, Interrupt};

/// How long [`Stream::close`] may take where [`Timeout::Forever`] is set.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the peer is read from, at most, after a fatal alert was sent to it: if there is
/// something unread, closing sends a reset, and that overtakes the alert.
pub const LINGER: Duration = Duration::from_secs(2);

impl Stream {
    /// Ends one direction, or both.
    ///
    /// Writing: sends close_notify and no FIN: TLS 1.3 goes on reading (RFC 8446 section 6.1).
    /// Reading: [`Stream::recv`] gives 0 from now on, to threads that wait in it, too. Both: the
    /// TCP connection ends as well, in both directions; the descriptor stays.
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
        let (transport, ()) = self.drive(transport, self.deadline(), interrupt, |transport| {
            transport.connection.send_close_notify()?;
            if transport.connection.outgoing().is_empty() {
                Ok(())
            } else {
                Err(TlsError::WantWrite)
            }
        })?;
        if how == Shutdown::Both
            && let Some(socket) = &transport.socket
        {
            socket::end(socket);
        }
        Ok(())
    }

    /// Ends the connection. Threads that wait on it get [`Error::Closed`]. Closing again does
    /// nothing. A connection that failed, or whose handshake is not complete, is just closed; one
    /// that was inherited through fork(2) as well, with nothing said: it goes on in the parent.
    ///
    /// Without `force`, sends close_notify and waits for the peer's, discarding what data still
    /// comes. With `force`, sends close_notify and asks nothing of the peer; that it could not be
    /// sent because the peer has gone, or takes nothing of what another thread sends, is no error.
    ///
    /// The timeout holds for all of it; [`Timeout::Forever`] means [`CLOSE_TIMEOUT`] here.
    ///
    /// # Errors
    ///
    /// [`Error::WantRead`] and [`Error::WantWrite`] (non-blocking): not closed yet, call again.
    /// With `force`, [`Error::WantWrite`] comes once; the next forced call closes in any case.
    ///
    /// After every other outcome the descriptor is closed: [`Error::TimedOut`],
    /// [`Error::Interrupted`]; without `force` also [`TlsError::RaggedEof`], alerts and errors of
    /// the transport.
    pub fn close(&self, force: bool, interrupt: &mut dyn Interrupt) -> Result<(), Error> {
        if self.check_process().is_err() {
            fork::close_inherited(&self.descriptor);
            return Ok(());
        }
        let outcome = match self.lock() {
            Ok(mut transport) => {
                if transport.connection.is_handshaking() || transport.connection.failure().is_some()
                {
                    if transport.connection.has_begun() {
                        let _ = transport.flush();
                    }
                    Ok(())
                } else {
                    let deadline = Deadline::after(match self.timeout() {
                        Timeout::Forever => Timeout::After(CLOSE_TIMEOUT),
                        timeout => timeout,
                    });
                    if force {
                        self.say_goodbye(transport, deadline, interrupt)
                    } else {
                        self.exchange_goodbyes(transport, deadline, interrupt)
                    }
                }
            }
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

    /// Sends close_notify and reads until the peer's.
    fn exchange_goodbyes<'a>(
        &'a self,
        mut transport: Guard<'a>,
        deadline: Deadline,
        interrupt: &mut dyn Interrupt,
    ) -> Result<(), Error> {
        if let Err(error) = transport.connection.send_close_notify() {
            return Err(self.fatal(transport, error, deadline, interrupt));
        }
        transport.closing = true;
        transport.connection.drop_early();
        let mut late = vec![0; MAX_FRAGMENT];
        let outcome = self.drive(transport, deadline, interrupt, |transport| {
            let _ = transport.flush();
            while transport.read(Room::new(&mut late))? > 0 {}
            if transport.has_unsent() {
                Err(TlsError::WantWrite)
            } else {
                Ok(())
            }
        });
        match outcome {
            // Both have said what there was to say, the peer has only not waited for ours.
            Err(Error::Io(_)) if self.lock_anyway().connection.peer_has_closed() => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Closes the descriptor and wakes everybody who waits.
    fn release(&self) {
        let mut transport = self.lock_anyway();
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
        self.lock_anyway().farewell()
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
