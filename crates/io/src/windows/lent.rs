//! Calls on sockets that stay their owner's, in whatever mode they are. Winsock's calls wait as the socket does, and
//! none can be told not to: each is made only once WSAPoll says that it will not wait.
//!
//! A socket that is writable takes a whole piece: Winsock copies it while its buffer is not over SO_SNDBUF already.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::io::{Errno, Result};

use super::socket::SURELY_TAKEN;
use crate::socket;

fn ready(socket: BorrowedFd<'_>, flags: PollFlags) -> Result<()> {
    const AT_ONCE: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(
        &mut [PollFd::from_borrowed_fd(socket, flags)],
        Some(&AT_ONCE),
    )? {
        0 => Err(Errno::AGAIN),
        _ => Ok(()),
    }
}

pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
    ready(socket, PollFlags::OUT)?;
    socket::send(socket, &bytes[..bytes.len().min(SURELY_TAKEN)])
}

pub(crate) fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize> {
    ready(socket, PollFlags::IN)?;
    socket::receive(socket, into)
}

/// Does not wait: nothing would end the call.
pub(crate) fn receive_waiting(socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize> {
    receive(socket, into)
}

pub(crate) fn peek(socket: BorrowedFd<'_>) -> Result<usize> {
    ready(socket, PollFlags::IN)?;
    socket::peek(socket)
}
