//! Descriptors that Python has or gets.
//!
//! `unsafe`, since a number says nothing of who owns it. What makes it sound is at each block.
#![allow(unsafe_code)]

use std::fs::File;
use std::time::Instant;

use polytls_io::number::{self, BorrowedFd, Number, OwnedFd};
use polytls_io::{Bell, Error, Interest, Interrupt};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::calls::{CallsOut as _, import};
use crate::system;

const EBADF: i32 = 9;

fn bad_descriptor() -> PyErr {
    PyOSError::new_err((EBADF, "Bad file descriptor"))
}

/// Takes the descriptor out of a `socket.socket`, which is closed then.
pub(crate) fn taken(socket: &Bound<'_, PyAny>) -> PyResult<OwnedFd> {
    // The class's own method: a subclass's may give anything.
    let class = import(socket.py(), "_socket")?.attribute("socket")?;
    let descriptor: Number = class.method_out("detach", (socket,))?.extract()?;
    if descriptor < 0 {
        return Err(bad_descriptor());
    }
    // SAFETY: the socket owned it until just now, and gave it away.
    Ok(unsafe { number::taken(descriptor) })
}

/// Another descriptor of an open file, which stays the caller's.
pub(crate) fn opened(py: Python<'_>, descriptor: i32) -> PyResult<File> {
    if descriptor < 0 {
        return Err(PyValueError::new_err("a file that is closed"));
    }
    system::file(py, descriptor)
}

/// How many bytes of data the peer has not acknowledged of what was sent by the socket with this
/// descriptor; `after_fin`: its sending side has been shut down. 2**64 - 1 where the system does not tell how
/// many; None where it does not tell whether there are any, and for what is no open socket.
#[pyfunction]
pub(crate) fn unacknowledged(descriptor: Number, after_fin: bool) -> Option<u64> {
    if descriptor < 0 {
        return None;
    }
    // SAFETY: it is used for these system calls, which say so if it is not open.
    let borrowed = unsafe { number::borrowed(descriptor) };
    polytls_io::unacknowledged(borrowed, after_fin)
}

/// Runs `call` on the descriptor of a socket that stays its owner's. As with the calls of `socket`, whoever
/// closes it meanwhile in another thread may have `call` fail, or find another file under its number.
pub(crate) fn with_borrowed<R>(descriptor: Number, call: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
    debug_assert!(descriptor >= 0, "the caller has looked");
    // SAFETY: it is not negative, and used for system calls, which say so if it is not open.
    let borrowed = unsafe { number::borrowed(descriptor) };
    call(borrowed)
}

/// Whether a socket that a stream of Python's keeps open takes something now, or fails.
pub(crate) fn is_writable(descriptor: Number) -> bool {
    // SAFETY: it is used for poll(2) only, which says so if it is not open.
    let borrowed = unsafe { number::borrowed(descriptor) };
    polytls_io::is_writable(borrowed)
}

/// Waits for a descriptor that a stream of Python's keeps open.
pub(crate) fn wait(
    descriptor: Number,
    interest: Interest,
    bell: Option<&Bell>,
    until: Option<Instant>,
    interrupt: &mut dyn Interrupt,
) -> Result<bool, Error> {
    // SAFETY: it is used for poll(2) only, which says so if it is not open.
    let borrowed = unsafe { number::borrowed(descriptor) };
    polytls_io::wait_for(borrowed, interest, bell, until, interrupt)
}
