//! The `MemoryBIO` of a Python that has no OpenSSL: bytes on their way between a connection and its owner.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt as _;
use pyo3::types::PyBytes;

use super::faults::{Fault, Number};
use crate::bytes::Source;

/// Bytes that are written at one end and read at the other, and the end of them.
#[pyclass(frozen, module = "_ssl", name = "MemoryBIO")]
#[derive(Default)]
pub(crate) struct MemoryBio(Mutex<Held>);

#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// How many of them were read.
    read: usize,
    ended: bool,
}

impl Held {
    const fn pending(&self) -> usize {
        self.bytes.len() - self.read
    }

    fn append(&mut self, data: &[u8]) {
        // What was read gives way before more is taken, so that what is held does not grow by itself.
        if self.read > 0 && self.bytes.len() + data.len() > self.bytes.capacity() {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(data);
    }
}

impl MemoryBio {
    fn held<R>(&self, py: Python<'_>, call: impl FnOnce(&mut Held) -> R) -> R {
        let held = self.0.lock_py_attached(py);
        call(&mut held.unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl MemoryBio {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Read up to `size` bytes; all of them if it is negative.
    #[pyo3(signature = (size=-1, /), text_signature = "($self, size=-1, /)")]
    fn read<'py>(&self, py: Python<'py>, size: isize) -> Bound<'py, PyBytes> {
        self.held(py, |held| {
            let count =
                usize::try_from(size).map_or(held.pending(), |size| size.min(held.pending()));
            let taken = PyBytes::new(py, &held.bytes[held.read..held.read + count]);
            held.read += count;
            if held.pending() == 0 {
                held.bytes.clear();
                held.read = 0;
            }
            taken
        })
    }

    /// Add bytes, and give their number.
    ///
    /// Raises SSLError after `write_eof`.
    #[pyo3(signature = (b, /))]
    fn write(&self, py: Python<'_>, b: &Bound<'_, PyAny>) -> PyResult<usize> {
        let source = Source::new(b, "b")?;
        let was_open = self.held(py, |held| {
            if !held.ended {
                held.append(source.bytes());
            }
            !held.ended
        });
        if was_open {
            Ok(source.len())
        } else {
            let why = "cannot write() after write_eof()";
            Err(Fault::new(Number::Ssl, None, why).exception(py))
        }
    }

    /// Say that nothing more comes.
    fn write_eof(&self, py: Python<'_>) {
        self.held(py, |held| held.ended = true);
    }

    /// How many bytes are held.
    #[getter]
    fn pending(&self, py: Python<'_>) -> usize {
        self.held(py, |held| held.pending())
    }

    /// Whether all was read, and nothing more comes.
    #[getter]
    fn eof(&self, py: Python<'_>) -> bool {
        self.held(py, |held| held.ended && held.pending() == 0)
    }
}
