//! The path of a named pipe, for keys that OpenSSL in Python's `ssl` reads (Windows).

use std::sync::{Mutex, PoisonError};

use polytls_io::KeyPipe;
use pyo3::prelude::*;
use zeroize::Zeroizing;

/// Serves `data` to one reader of this process, until `close`.
#[pyclass(frozen, name = "KeyPipe", module = "polytls._native")]
pub(crate) struct PythonKeyPipe {
    path: String,
    pipe: Mutex<KeyPipe>,
}

#[pymethods]
impl PythonKeyPipe {
    #[new]
    fn new(data: &[u8]) -> PyResult<Self> {
        let pipe = KeyPipe::serve(Zeroizing::new(data.to_vec()))?;
        Ok(Self {
            path: pipe.path().to_owned(),
            pipe: Mutex::new(pipe),
        })
    }

    /// What to open for reading.
    #[getter]
    fn path(&self) -> &str {
        &self.path
    }

    /// Ends the pipe; returns the number of the process that opened it, if that was another one.
    fn close(&self, py: Python<'_>) -> PyResult<Option<u32>> {
        let pipe = &self.pipe;
        Ok(py.detach(|| pipe.lock().unwrap_or_else(PoisonError::into_inner).end())?)
    }
}
