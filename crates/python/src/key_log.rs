//! `key_log`: Python's ear for secrets.

use polytls_core::config::KeyLog;
use pyo3::prelude::*;

use crate::callbacks::{Callback, attached, ignored};
use crate::calls::CallsOut as _;

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
        attached(|py| {
            let function = self.0.bind(py);
            if let Err(error) = function.call_out((line,), None) {
                // Debugging must not break what is debugged.
                ignored(py, error, function);
            }
        });
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
