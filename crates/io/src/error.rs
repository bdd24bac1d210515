//! Why a call on a socket failed.

use std::{fmt, io};

use polytls_core as core;

/// One enumeration for the whole crate, so that only one mapping is needed outside.
#[derive(Debug)]
pub enum Error {
    /// TLS's own; never one of its `Want` errors.
    Tls(core::Error),
    /// The operating system's, with its own number in [`io::Error::raw_os_error`].
    Io(io::Error),
    /// The call ran out of time. The connection is unchanged, except by [`crate::connect`] and
    /// [`crate::Stream::close`], which end it.
    TimedOut,
    /// The connection is closed, and the last data may be lost: the peer did not acknowledge it in
    /// time.
    Undelivered {
        /// How many bytes of ciphertext that is.
        bytes: u64,
    },
    /// Non-blocking: try again once the descriptor can be read.
    WantRead,
    /// Non-blocking: try again once the descriptor can be written.
    WantWrite,
    /// A signal arrived and the caller's [`crate::Interrupt`] said to stop.
    Interrupted,
    /// The socket was closed, before or during the call.
    Closed,
    /// This process was forked from the one that the connection belongs to.
    Inherited,
    /// The error of a stream of the caller ([`crate::Fault::Foreign`]).
    Foreign(core::Cause),
}

impl Error {
    /// A panic in a session left the lock poisoned.
    pub(crate) fn poisoned() -> Self {
        Self::Tls(core::Error::Internal(
            "a panic made this connection unusable".to_owned(),
        ))
    }
}

impl From<core::Error> for Error {
    fn from(error: core::Error) -> Self {
        match error {
            core::Error::WantRead => Self::WantRead,
            core::Error::WantWrite => Self::WantWrite,
            error => Self::Tls(error),
        }
    }
}

impl From<core::Barred> for Error {
    fn from(barred: core::Barred) -> Self {
        match barred {
            core::Barred::Inherited => Self::Inherited,
            core::Barred::Within => Self::Tls(core::Barred::WITHIN),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::TimedOut => f.write_str("timed out"),
            Self::Undelivered { bytes } => write!(
                f,
                "the connection is closed, but the peer did not acknowledge the last {bytes} \
                 bytes in time: they may be lost"
            ),
            Self::WantRead => f.write_str("waiting for the socket to become readable"),
            Self::WantWrite => f.write_str("waiting for the socket to become writable"),
            Self::Interrupted => f.write_str("interrupted by a signal"),
            Self::Closed => f.write_str("the socket has been closed"),
            Self::Inherited => {
                f.write_str("inherited through fork(2) from the process that made it")
            }
            Self::Foreign(_) => f.write_str("the underlying stream failed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tls(error) => Some(error),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
