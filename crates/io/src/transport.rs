//! What carries a connection's bytes: a descriptor, or a byte stream of the caller's.
//!
//! Rules for whoever writes one:
//!
//! 1. All calls are made under the stream's lock, and return at once, but for [`Transport::wait`],
//!    [`Transport::close`], and ends of reading and of both directions. What has to block, because the stream
//!    below knows no other way, is done in `wait` ([`crate::BlockingTransport`]).
//! 2. `wait` is called without the lock, by one thread at a time for each direction.
//! 3. A fault is told again by later calls, or latched by the caller: it calls no more for that
//!    direction.

use rustix::fd::BorrowedFd;
use std::any::Any;
use std::fmt;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Instant;

use polytls_core::Cause;
use rustix::io::Errno;

use crate::bell::Bell;
use crate::error::Error;
use crate::system::socket::is_broken_pipe;
use crate::wait::{Interest, Interrupt};

/// See the module.
pub trait Transport: Any + fmt::Debug + Send + Sync {
    /// Receives what is there; 0 is the end.
    ///
    /// # Errors
    ///
    /// [`Fault::WouldBlock`]: nothing is there.
    fn try_recv(&self, into: &mut [u8]) -> Result<usize, Fault>;

    /// Sends some of `from`, which is not empty, and says how much. What was refused is offered
    /// again, first.
    ///
    /// # Errors
    ///
    /// [`Fault::WouldBlock`]: it takes nothing for now.
    fn try_send(&self, from: &[u8]) -> Result<usize, Fault>;

    /// Whether the peer has sent something already: how many of at most so many bytes, 0 for the end.
    /// They need not stay there.
    ///
    /// # Errors
    ///
    /// [`Fault::WouldBlock`]: nothing is there, or that cannot be told without waiting.
    fn peek(&self) -> Result<usize, Fault>;

    /// Waits until there may be something to do for `interest`, or the bell rings; `false`: `until` has
    /// come before that. It may return early.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`], and what befalls the wait itself.
    fn wait(
        &self,
        interest: Interest,
        bell: Option<&Bell>,
        until: Option<Instant>,
        interrupt: &mut dyn Interrupt,
    ) -> Result<bool, Error>;

    /// Ends a direction. Reading: wakes the thread that waits to receive. Both: nothing is expected of
    /// either any more. `true`: the system knows it, so that after writing the peer gets a FIN.
    fn shutdown(&self, how: Shutdown) -> bool;

    /// Closes it, at the end, without the lock. `waited_for`: threads are in [`Self::wait`]. They have to be
    /// woken, and the last of them calls this again; until then no number of a descriptor may become free.
    ///
    /// # Errors
    ///
    /// Those of the underlying stream.
    fn close(&self, waited_for: bool) -> Result<(), Fault>;

    /// Whether there is room for some data to be sent, where that can be asked: for what
    /// [`crate::system::socket::SURELY_TAKEN`] says, if the system tells the truth.
    fn has_room(&self) -> bool {
        true
    }

    /// How much the underlying stream has accepted and keeps.
    fn unsent(&self) -> usize {
        0
    }

    /// Has the underlying stream send what it keeps.
    ///
    /// # Errors
    ///
    /// Like [`Self::try_send`].
    fn flush(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// How many of the accepted bytes the peer has not acknowledged, [`u64::MAX`] if it is not known how many;
    /// `None` where nobody knows whether there are any. `after_fin`: sending has been shut down.
    fn unacknowledged(&self, _after_fin: bool) -> Option<u64> {
        None
    }

    /// What has befallen it since it was last asked, where that can be asked.
    fn fault(&self) -> Option<Fault> {
        None
    }

    /// The socket of the system's that it is, if it is one.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What was received and taken by nobody.
    fn unread(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Whether a wait ends when its time is over.
    fn keeps_time(&self) -> bool {
        true
    }

    /// Whether calls that must not wait get anywhere: something happens outside of [`Self::wait`].
    fn is_selectable(&self) -> bool {
        true
    }

    /// Itself, for those who know what it is.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Why a transport did not do what was asked.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It would have to wait.
    WouldBlock,
    /// The operating system's.
    Os(Errno),
    /// The caller's [`Interrupt`] has said to stop, or code of the application's in the stream.
    Interrupted,
    /// What a stream of the caller's has raised.
    Foreign {
        /// As it was raised.
        cause: Cause,
        /// Whether it says that the peer takes nothing more, as EPIPE does.
        broken_pipe: bool,
    },
}

impl Fault {
    /// Whether it says no more than that the peer takes nothing: that follows a FIN as well.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        match self {
            Self::Os(errno) => is_broken_pipe(*errno),
            Self::Foreign { broken_pipe, .. } => *broken_pipe,
            Self::WouldBlock | Self::Interrupted => false,
        }
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        if errno == Errno::AGAIN {
            Self::WouldBlock
        } else {
            Self::Os(errno)
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            // It is never kept, and never passed on.
            Fault::WouldBlock => Errno::AGAIN.into(),
            Fault::Os(errno) => errno.into(),
            Fault::Interrupted => Self::Interrupted,
            Fault::Foreign { cause, .. } => Self::Foreign(cause),
        }
    }
}
