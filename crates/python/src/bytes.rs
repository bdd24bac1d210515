//! Bytes lent by Python for the length of one call.
//!
//! The only `unsafe` of this crate. What makes it sound: a buffer view pins the memory, so it is
//! neither freed nor moved while the view lives; and nobody writes to it meanwhile as long as no
//! other Python code runs, that is, while this thread stays attached, or if the object is an exact
//! `bytes`, which never changes. A destination lent for the call is the caller's duty (the same
//! contract as `socket.recv_into`).
#![allow(unsafe_code)]

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Calls that touch less than this stay attached: detaching costs about as much as the cipher
/// takes for a few kilobytes.
pub(crate) const DETACH_FROM: usize = 8 * 1024;

fn view(object: &Bound<'_, PyAny>, parameter: &str) -> PyResult<PyUntypedBuffer> {
    let view = PyUntypedBuffer::get(object).map_err(|_| {
        let kind = object.get_type().name().map_or_else(
            |_| "an object of unknown type".to_owned(),
            |name| name.to_string(),
        );
        PyTypeError::new_err(format!("{parameter} must be bytes-like, not {kind}"))
    })?;
    if !view.is_c_contiguous() {
        return Err(PyBufferError::new_err(format!(
            "{parameter} must be contiguous"
        )));
    }
    Ok(view)
}

/// A bytes-like argument to read from.
pub(crate) struct Source<'py> {
    view: PyUntypedBuffer,
    /// Whether nobody can change it, attached or not.
    immutable: bool,
    py: Python<'py>,
}

impl<'py> Source<'py> {
    pub(crate) fn new(object: &Bound<'py, PyAny>, parameter: &str) -> PyResult<Self> {
        Ok(Self {
            view: view(object, parameter)?,
            immutable: object.is_exact_instance_of::<PyBytes>(),
            py: object.py(),
        })
    }

    fn bytes(&self) -> &[u8] {
        let length = self.view.len_bytes();
        if length == 0 {
            return &[];
        }
        // SAFETY: the view pins `length` contiguous bytes, which are initialised as all memory
        // behind Python's buffers is. They do not change while this slice lives: see the module.
        unsafe { std::slice::from_raw_parts(self.view.buf_ptr().cast(), length) }
    }

    /// Runs `call` on the bytes while attached.
    pub(crate) fn attached<R>(&self, call: impl FnOnce(&[u8]) -> R) -> R {
        call(self.bytes())
    }

    /// Runs `call` on the bytes while detached; bytes that others could change are copied first.
    pub(crate) fn detached<R: Send>(&self, call: impl FnOnce(&[u8]) -> R + Send) -> R {
        let copy;
        let bytes = if self.immutable {
            self.bytes()
        } else {
            copy = self.bytes().to_vec();
            &copy
        };
        self.py.detach(|| call(bytes))
    }

    pub(crate) fn len(&self) -> usize {
        self.view.len_bytes()
    }
}

/// A writable bytes-like argument, lent for the call.
pub(crate) struct Destination<'py> {
    view: PyUntypedBuffer,
    py: Python<'py>,
}

impl<'py> Destination<'py> {
    pub(crate) fn new(object: &Bound<'py, PyAny>, parameter: &str) -> PyResult<Self> {
        let view = view(object, parameter)?;
        if view.readonly() {
            return Err(PyTypeError::new_err(format!(
                "{parameter} must be writable"
            )));
        }
        Ok(Self {
            view,
            py: object.py(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.view.len_bytes()
    }

    /// The first `length` bytes, or as many as there are.
    fn bytes(&mut self, length: usize) -> &mut [u8] {
        let length = length.min(self.len());
        if length == 0 {
            return &mut [];
        }
        // SAFETY: the view pins at least `length` contiguous, writable bytes, initialised as all
        // memory behind Python's buffers is. The caller lends them for the call.
        unsafe { std::slice::from_raw_parts_mut(self.view.buf_ptr().cast(), length) }
    }

    /// Runs `call` on the first `length` bytes while attached.
    pub(crate) fn attached<R>(&mut self, length: usize, call: impl FnOnce(&mut [u8]) -> R) -> R {
        call(self.bytes(length))
    }

    /// Runs `call` on the first `length` bytes while detached.
    pub(crate) fn detached<R: Send>(
        &mut self,
        length: usize,
        call: impl FnOnce(&mut [u8]) -> R + Send,
    ) -> R {
        let py = self.py;
        let bytes = self.bytes(length);
        py.detach(|| call(bytes))
    }
}
