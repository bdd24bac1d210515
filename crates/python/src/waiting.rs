//! Calls that wait: for how long, which signal handlers run meanwhile, and the errors they end with.
//!
//! A wait that a signal interrupts attaches, runs Python's handlers and waits on, or ends with what a
//! handler raised.

use std::cell::Cell;
use std::time::Duration;

use polytls_core::{Cause, Error as TlsError};
use polytls_io::{Error, Interrupt, Timeout};
use pyo3::exceptions::{
    PyInterruptedError, PyOSError, PyOverflowError, PyTimeoutError, PyValueError,
};
use pyo3::prelude::*;

use crate::callbacks;
use crate::calls::{CallsOut as _, import};
use crate::errors::{INHERITED, raised};
use crate::foreign::Raised;
use crate::system::os_error;

/// The number everywhere.
const EBADF: i32 = 9;

/// A timeout of `socket`'s.
pub(crate) fn timeout(seconds: Option<f64>) -> PyResult<Timeout> {
    let Some(seconds) = seconds else {
        return Ok(Timeout::Forever);
    };
    if seconds.is_nan() {
        return Err(PyValueError::new_err("timeout is not a number"));
    }
    if seconds < 0.0 {
        return Err(PyValueError::new_err("timeout must not be negative"));
    }
    // What is too small to count still is a timeout, not non-blocking.
    let least = if seconds > 0.0 {
        Duration::from_nanos(1)
    } else {
        Duration::ZERO
    };
    Duration::try_from_secs_f64(seconds)
        .map(|duration| Timeout::from(Some(duration.max(least))))
        .map_err(|_| PyOverflowError::new_err("timeout is too large"))
}

pub(crate) fn seconds(timeout: Timeout) -> Option<f64> {
    match timeout {
        Timeout::Forever => None,
        Timeout::NonBlocking => Some(0.0),
        Timeout::After(duration) => Some(duration.as_secs_f64()),
    }
}

/// Runs signal handlers for a call that waits; keeps what one of them raised.
///
/// Python runs handlers only on its main thread, so the others need not attach for them.
pub(crate) struct Signals {
    on_main_thread: bool,
    raised: Option<PyErr>,
}

impl Signals {
    /// For a call from this thread.
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        Ok(Self {
            on_main_thread: on_main_thread(py)?,
            raised: None,
        })
    }
}

/// Whether this is the thread that Python runs signal handlers on.
pub(crate) fn on_main_thread(py: Python<'_>) -> PyResult<bool> {
    thread_local! {
        static IS_MAIN: Cell<Option<bool>> = const { Cell::new(None) };
    }
    if let Some(known) = IS_MAIN.get() {
        return Ok(known);
    }
    let threading = import(py, "threading")?;
    let main = threading
        .method_out("main_thread", ())?
        .attribute("ident")?;
    let is_main = main.eq(threading.method_out("get_ident", ())?)?;
    // Only what stays so: a forked child's main thread may have been another before.
    IS_MAIN.set(is_main.then_some(true));
    Ok(is_main)
}

impl Interrupt for Signals {
    fn should_stop(&mut self) -> bool {
        // Within a call of `ssl`.
        if callbacks::is_interrupted() {
            return true;
        }
        if !self.on_main_thread {
            return false;
        }
        // What a callback of this call was interrupted by, where that could not end the call.
        if let Some(error) = callbacks::take_interruption() {
            self.raised = Some(error);
            return true;
        }
        // At the end of the interpreter, which a finalizer may wait in, no handlers run any more.
        let handled = Python::try_attach(|py| py.check_signals());
        match handled {
            None | Some(Ok(())) => false,
            Some(Err(error)) => {
                self.raised = Some(error);
                true
            }
        }
    }
}

/// What a call that `signals` were run for comes to.
pub(crate) fn outcome<R>(
    py: Python<'_>,
    implementation: &str,
    result: Result<R, Error>,
    signals: Signals,
) -> PyResult<R> {
    match (callbacks::end_of_call(py), result) {
        (Some(raised), _) => Err(raised),
        (None, Ok(result)) => Ok(result),
        (None, Err(error)) => Err(failed(py, implementation, error, signals)),
    }
}

/// The exception for the error of a call that `signals` were run for.
fn failed(py: Python<'_>, implementation: &str, error: Error, signals: Signals) -> PyErr {
    match error {
        Error::Tls(error) => raised(py, implementation, &error),
        Error::WantRead => raised(py, implementation, &TlsError::WantRead),
        Error::WantWrite => raised(py, implementation, &TlsError::WantWrite),
        Error::TimedOut => PyTimeoutError::new_err("timed out"),
        Error::Undelivered { .. } => PyTimeoutError::new_err(error.to_string()),
        Error::Foreign(cause) => foreign(py, &cause),
        Error::Closed => PyOSError::new_err((EBADF, "the socket has been closed")),
        Error::Inherited => raised(py, implementation, &INHERITED),
        Error::Interrupted => signals
            .raised
            .unwrap_or_else(|| PyInterruptedError::new_err("interrupted")),
        Error::Io(error) => match error.raw_os_error() {
            Some(number) => os_error(py, number),
            None => PyOSError::new_err(error.to_string()),
        },
    }
}

/// What a stream of Python's has raised.
fn foreign(py: Python<'_>, cause: &Cause) -> PyErr {
    let raised = cause.0.downcast_ref::<Raised>();
    raised
        .and_then(|raised| raised.exception(py))
        .unwrap_or_else(|| PyOSError::new_err(Error::Foreign(cause.clone()).to_string()))
}
