//! Calls on sockets that stay their owner's, in whatever mode they are.

use std::os::fd::BorrowedFd;

use rustix::io::Result;
use rustix::net::{self, RecvFlags};

// Each asks not to wait, as on our own.
pub(crate) use crate::socket::{peek, receive, send};

/// Like [`receive`], in one call that waits if the descriptor does; a signal ends it.
pub(crate) fn receive_waiting(socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize> {
    net::recv(socket, into, RecvFlags::empty()).map(|(count, _)| count)
}
