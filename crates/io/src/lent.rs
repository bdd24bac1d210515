//! System calls on a descriptor that stays its owner's, for whoever drives a connection over a socket that it
//! does not own, and whose mode it must not change. They return at once; [`crate::wait_for`] waits.

use std::os::fd::BorrowedFd;

use crate::error::Error;
use crate::system::socket;

/// Receives what is there; `None`: nothing yet. 0 bytes are the end.
///
/// # Errors
///
/// [`Error::Io`].
pub fn receive(descriptor: BorrowedFd<'_>, into: &mut [u8]) -> Result<Option<usize>, Error> {
    at_once(socket::receive(descriptor, into))
}

/// Sends as much as the system takes; `None`: nothing yet.
///
/// # Errors
///
/// [`Error::Io`].
pub fn send(descriptor: BorrowedFd<'_>, data: &[u8]) -> Result<Option<usize>, Error> {
    at_once(socket::send(descriptor, data))
}

fn at_once(result: rustix::io::Result<usize>) -> Result<Option<usize>, Error> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
