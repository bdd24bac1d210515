//! fork(2): which process something belongs to, and what becomes of it in a child.
//!
//! What a child may do with a connection is to close its descriptor, with no word to the peer: the
//! connection goes on in the parent. No lock is taken for that, as a thread that has it may not
//! exist any more.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use polytls_core::fork;

use crate::error::Error;
use crate::system::fork::watch;
use crate::system::number::{AtomicNumber, close};

/// Has every fork(2) from now on counted in [`polytls_core::fork`]. Calling it again does nothing.
///
/// # Errors
///
/// [`Error::Io`]: no memory.
pub fn watch_forks() -> Result<(), Error> {
    static OUTCOME: OnceLock<i32> = OnceLock::new();
    match *OUTCOME.get_or_init(watch) {
        0 => Ok(()),
        errno => Err(std::io::Error::from_raw_os_error(errno).into()),
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
#[allow(unsafe_code)]
pub(crate) fn close_inherited(cell: &AtomicNumber) {
    let descriptor = cell.swap(-1, Ordering::AcqRel);
    if descriptor >= 0 {
        // SAFETY: the cell has the number for as long as the descriptor is open, it is taken out of
        // there once, and its owners in this process are forgotten.
        unsafe { close(descriptor) }
    }
}
