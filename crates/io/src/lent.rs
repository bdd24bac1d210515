//! System calls on a descriptor that stays its owner's, for whoever drives a connection over a socket that it
//! does not own, and whose mode it must not change. They return at once, but for one; [`crate::wait_for`] waits.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::error::Error;
use crate::system::lent as system;
use crate::wait::Interrupt;

/// Receives what is there; `None`: nothing yet. 0 bytes are the end.
///
/// # Errors
///
/// [`Error::Io`].
pub fn receive(descriptor: BorrowedFd<'_>, into: &mut [u8]) -> Result<Option<usize>, Error> {
    at_once(system::receive(descriptor, into))
}

/// Like [`receive`], but waits for it, without an end, if the descriptor is one that waits, and the system's call can
/// be ended by a signal: one call where there would be three.
///
/// # Errors
///
/// [`Error::Io`], and [`Error::Interrupted`] if a signal came and `interrupt` says to stop.
pub fn receive_waiting(
    descriptor: BorrowedFd<'_>,
    into: &mut [u8],
    interrupt: &mut dyn Interrupt,
) -> Result<Option<usize>, Error> {
    loop {
        match system::receive_waiting(descriptor, into) {
            Err(Errno::INTR) if interrupt.should_stop() => return Err(Error::Interrupted),
            Err(Errno::INTR) => {}
            received => return at_once(received),
        }
    }
}

/// Sends as much as the system takes; `None`: nothing yet.
///
/// # Errors
///
/// [`Error::Io`].
pub fn send(descriptor: BorrowedFd<'_>, data: &[u8]) -> Result<Option<usize>, Error> {
    at_once(system::send(descriptor, data))
}

fn at_once(result: rustix::io::Result<usize>) -> Result<Option<usize>, Error> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
