//! What Windows has of its own in what Python sees. The names are those of `unix.rs`.
//!
//! `unsafe`, as files are known by numbers.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::windows::io::{BorrowedHandle, RawHandle};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::calls::{CallsOut as _, import};

/// A finalizing interpreter ends threads without unwinding their stacks.
pub(crate) use pyo3::ffi as raw;

/// `errno.EAFNOSUPPORT`: Winsock's number.
pub(crate) const EAFNOSUPPORT: i32 = 10_047;

/// The exception for an error of the system's: OSError picks its subclass and `errno` by the number, as for plain
/// sockets.
pub(crate) fn os_error(_: Python<'_>, number: i32) -> PyErr {
    let message = io::Error::from_raw_os_error(number).to_string();
    let message = message
        .rsplit_once(" (os error")
        .map_or(&*message, |(text, _)| text);
    let none = None::<i32>;
    PyOSError::new_err((none, message.to_owned(), none, number))
}

/// The open file with this number, which is one of the C library that Python uses, by another handle.
pub(crate) fn file(py: Python<'_>, number: i32) -> PyResult<File> {
    let handle: isize = import(py, "msvcrt")?
        .method_out("get_osfhandle", (number,))?
        .extract()?;
    // SAFETY: it is used for this one system call, which says so if it is not open.
    let borrowed = unsafe { BorrowedHandle::borrow_raw(handle as RawHandle) };
    Ok(borrowed.try_clone_to_owned()?.into())
}
