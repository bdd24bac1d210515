//! Descriptors by their numbers.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, RawFd};
use std::sync::atomic::AtomicI32;

pub use std::os::fd::{BorrowedFd, OwnedFd};

/// What Python's sockets have as their number; -1: none.
pub type Number = RawFd;

pub(crate) type AtomicNumber = AtomicI32;

/// The number of an open descriptor.
pub(crate) fn number(descriptor: BorrowedFd<'_>) -> Number {
    descriptor.as_raw_fd()
}

/// Gives a descriptor to somebody else, by its number.
#[must_use]
pub fn given(descriptor: OwnedFd) -> Number {
    descriptor.into_raw_fd()
}

/// The descriptor with this number, from now on.
///
/// # Safety
///
/// It is an open one that nobody else owns.
#[must_use]
pub unsafe fn taken(number: Number) -> OwnedFd {
    // SAFETY: the caller's.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// The descriptor with this number, which stays its owner's.
///
/// # Safety
///
/// It is not negative, and stays open for as long as it is used, unless all that it is used for are calls of
/// the system, which say so.
#[must_use]
pub unsafe fn borrowed<'a>(number: Number) -> BorrowedFd<'a> {
    // SAFETY: the caller's.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Closes it.
///
/// # Safety
///
/// It is open, and nobody uses it any more.
pub(crate) unsafe fn close(number: Number) {
    // SAFETY: the caller's.
    unsafe { rustix::io::close(number) }
}
