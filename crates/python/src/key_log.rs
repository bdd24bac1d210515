//! `key_log`: Python's ear for secrets.

use polytls_core::config::KeyLog;
use pyo3::prelude::*;

use crate::callbacks::Callback;

/// A Python function that takes lines of the NSS key log format.
#[derive(Debug)]
pub(crate) struct Lines(pub(crate) Py<PyAny>);

impl Callback for Lines {
    fn callable(&self) -> &Py<PyAny> {
        &self.0
    }
}

impl KeyLog for Lines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}", hex(client_random), hex(secret));
        Python::attach(|py| {
            if let Err(error) = self.0.call1(py, (line,)) {
                // Debugging must not break what is debugged; Python reports it.
                error.write_unraisable(py, Some(self.0.bind(py)));
            }
        });
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
