//! What Unix has of its own in what Python sees.
//!
//! `unsafe`, as functions of C are declared, and files are known by numbers.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{BorrowedFd, RawFd};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::calls::{CallsOut as _, import};

/// As in `pyo3::ffi`, but for the unwinding.
pub(crate) mod raw {
    use pyo3::ffi::PyObject;

    unsafe extern "C-unwind" {
        pub(crate) fn PyObject_Call(
            callable: *mut PyObject,
            arguments: *mut PyObject,
            keywords: *mut PyObject,
        ) -> *mut PyObject;
        pub(crate) fn PyObject_GetAttr(object: *mut PyObject, name: *mut PyObject)
        -> *mut PyObject;
        pub(crate) fn PyObject_CallMethodObjArgs(
            object: *mut PyObject,
            name: *mut PyObject,
            ...
        ) -> *mut PyObject;
        pub(crate) fn PyObject_Str(object: *mut PyObject) -> *mut PyObject;
        pub(crate) fn PyImport_Import(name: *mut PyObject) -> *mut PyObject;
        pub(crate) fn PyErr_WriteUnraisable(object: *mut PyObject);
    }
}

/// `errno.EAFNOSUPPORT`.
pub(crate) const EAFNOSUPPORT: i32 = if cfg!(target_vendor = "apple") {
    47
} else {
    97
};

/// The exception for an error of the system's: OSError picks its subclass by the number, as for plain sockets.
pub(crate) fn os_error(py: Python<'_>, number: i32) -> PyErr {
    let message: PyResult<String> = import(py, "os")
        .and_then(|os| os.method_out("strerror", (number,)))
        .and_then(|message| message.extract());
    match message {
        Ok(message) => PyOSError::new_err((number, message)),
        Err(error) => error,
    }
}

/// The open file with this number, by another descriptor; it is not negative.
pub(crate) fn file(_: Python<'_>, number: RawFd) -> PyResult<File> {
    // SAFETY: it is used for this one system call, which says so if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(borrowed.try_clone_to_owned()?.into())
}
