//! Sockets by their handles.
#![allow(unsafe_code)]

use std::os::windows::io::{AsRawSocket as _, FromRawSocket as _, IntoRawSocket as _, RawSocket};
use std::sync::atomic::AtomicI64;

pub use std::os::windows::io::{BorrowedSocket as BorrowedFd, OwnedSocket as OwnedFd};

/// What Python's sockets have as their number; -1: none.
pub type Number = i64;

pub(crate) type AtomicNumber = AtomicI64;

/// The number of an open socket.
pub(crate) fn number(socket: BorrowedFd<'_>) -> Number {
    socket.as_raw_socket().cast_signed()
}

/// Gives a socket to somebody else, by its number.
#[must_use]
pub fn given(socket: OwnedFd) -> Number {
    socket.into_raw_socket().cast_signed()
}

const fn handle(number: Number) -> RawSocket {
    number.cast_unsigned()
}

/// The socket with this number, from now on.
///
/// # Safety
///
/// It is an open one that nobody else owns.
#[must_use]
pub unsafe fn taken(number: Number) -> OwnedFd {
    // SAFETY: the caller's.
    unsafe { OwnedFd::from_raw_socket(handle(number)) }
}

/// The socket with this number, which stays its owner's.
///
/// # Safety
///
/// It is not negative, and stays open for as long as it is used, unless all that it is used for are calls of
/// the system, which say so.
#[must_use]
pub unsafe fn borrowed<'a>(number: Number) -> BorrowedFd<'a> {
    // SAFETY: the caller's.
    unsafe { BorrowedFd::borrow_raw(handle(number)) }
}

/// Closes it.
///
/// # Safety
///
/// It is open, and nobody uses it any more.
pub(crate) unsafe fn close(number: Number) {
    // SAFETY: the caller's.
    drop(unsafe { taken(number) });
}
