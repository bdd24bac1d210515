//! Which of a process's interpreters this module is for: the main one.
//!
//! `unsafe`, as only C tells.
#![allow(unsafe_code)]

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Refuses all interpreters but the main one.
///
/// Classes are made once for the process, and belong to the interpreter that made them: in a second one
/// they would be strangers, which `except` does not catch, and would be gone for all with the first. So
/// this comes before anything is made, which is why PyO3's own check, of one interpreter for a module, is
/// not enough: what Python 3.11 calls comes past it.
pub(crate) fn refuse_others(_py: Python<'_>) -> PyResult<()> {
    // SAFETY: a thread that is attached has a current interpreter.
    let number = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    if number == 0 {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "polytls does not support subinterpreters: use it in the main interpreter, or in a \
         separate process",
    ))
}
