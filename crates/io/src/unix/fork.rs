//! fork(2), where C is needed: to see it happen, and to close what a child inherited.
//!
//! What a child may do with a connection is to close its descriptor, with no word to the peer: the
//! connection goes on in the parent. No lock is taken for that, as a thread that has it may not
//! exist any more.
#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use polytls_core::fork;

use crate::error::Error;

extern "C" fn before() {
    fork::about_to_fork();
}

extern "C" fn in_parent() {
    fork::forked();
}

extern "C" fn in_child() {
    fork::entered_child();
}

/// Has every fork(2) from now on counted in [`polytls_core::fork`]. Calling it again does nothing.
///
/// # Errors
///
/// [`Error::Io`]: no memory.
pub fn watch_forks() -> Result<(), Error> {
    static OUTCOME: OnceLock<i32> = OnceLock::new();
    let outcome = *OUTCOME.get_or_init(|| {
        // SAFETY: the handlers read and write atomic numbers and wait, which any handler may; and
        // they are code of this library, with which the C library takes handlers away.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) }
    });
    if outcome == 0 {
        Ok(())
    } else {
        Err(std::io::Error::from_raw_os_error(outcome).into())
    }
}

/// What belongs to the process that made it.
#[derive(Debug)]
pub(crate) struct OwningProcess(AtomicU32);

impl OwningProcess {
    pub(crate) fn here() -> Self {
        Self(AtomicU32::new(fork::generation()))
    }

    /// Whether this process is another one, which inherited it.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.0.load(Ordering::Acquire) != fork::generation()
    }

    /// It is this process's from now on.
    pub(crate) fn adopt(&self) {
        self.0.store(fork::generation(), Ordering::Release);
    }
}

/// Closes the descriptor in `cell`, in a child, and puts -1 there.
///
/// Whoever owns it must then forget it. Owners on the stacks of the parent's other threads never
/// drop it here.
pub(crate) fn close_inherited(cell: &AtomicI32) {
    let descriptor: RawFd = cell.swap(-1, Ordering::AcqRel);
    if descriptor >= 0 {
        // SAFETY: the cell has the number for as long as the descriptor is open, it is taken out of
        // there once, and its owners in this process are forgotten.
        unsafe { rustix::io::close(descriptor) }
    }
}
