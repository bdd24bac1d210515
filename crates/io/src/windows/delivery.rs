//! What the peer has acknowledged of what was sent.

use rustix::fd::BorrowedFd;

/// How many bytes of data the peer's TCP has not acknowledged: Windows does not tell. (SIO_TCP_INFO has what is
/// under way, without what waits to be sent.)
#[must_use]
pub const fn unacknowledged(_socket: BorrowedFd<'_>, _after_fin: bool) -> Option<u64> {
    None
}
