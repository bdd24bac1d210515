//! Python code that a connection calls while it is being called: it runs under that connection's
//! lock, so that it must not use the same connection. What would wait for itself gets an error.

use std::cell::RefCell;

use polytls_core::Error;
use polytls_core::config::KeyLog;
use pyo3::prelude::*;

thread_local! {
    /// The connections that this thread is inside of, by address.
    static DRIVEN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

fn address<T>(connection: &T) -> usize {
    std::ptr::from_ref(connection) as usize
}

struct Driving;

impl Drop for Driving {
    fn drop(&mut self) {
        DRIVEN.with_borrow_mut(Vec::pop);
    }
}

/// Runs `call`, which takes the lock of `connection` and may call back.
pub(crate) fn driving<T, R>(connection: &T, call: impl FnOnce() -> R) -> R {
    DRIVEN.with_borrow_mut(|driven| driven.push(address(connection)));
    let _driving = Driving;
    call()
}

/// Refuses a call from inside a callback of the same connection.
pub(crate) fn free<T>(connection: &T) -> Result<(), Error> {
    let address = address(connection);
    if DRIVEN.with_borrow(|driven| driven.contains(&address)) {
        Err(Error::Misuse(
            "a callback of this connection cannot use the connection itself",
        ))
    } else {
        Ok(())
    }
}

/// A Python function that takes lines of the NSS key log format.
#[derive(Debug)]
pub(crate) struct Lines(pub(crate) Py<PyAny>);

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
