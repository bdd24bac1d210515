//! The clock that a configuration can give, for tests of what time does to certificates and sessions.

use std::sync::Arc;

use polytls_core::clock::{Clock as Shows, ManualClock, SystemClock};
use pyo3::prelude::*;

use crate::requirements::given;

/// A clock that moves only when it is told to; for the `clock` of configurations, in tests.
///
/// Validity of certificates and CRLs, and the age of sessions and tickets, are judged by it in
/// every connection of a context that has it. Timeouts are not. Threads may share it.
///
/// `now`: what it shows at first, in seconds since 1970-01-01 00:00 UTC; by default the machine's time.
///
/// Raises OverflowError for a negative time, TypeError for what is no int.
#[pyclass(frozen, module = "polytls.testing")]
pub(crate) struct Clock(Arc<ManualClock>);

#[pymethods]
impl Clock {
    #[new]
    #[pyo3(signature = (now = None))]
    fn new(now: Option<u64>) -> Self {
        let machine = || SystemClock.now().map_or(0, |now| now.as_secs());
        Self(Arc::new(ManualClock::new(now.unwrap_or_else(machine))))
    }

    /// What it shows, in seconds since 1970-01-01 00:00 UTC.
    #[getter]
    fn now(&self) -> u64 {
        self.0.seconds()
    }

    #[setter]
    fn set_now(&self, now: u64) {
        self.0.set(now);
    }

    /// Moves it on by whole seconds.
    ///
    /// Raises OverflowError for a negative number, TypeError for what is no int.
    fn advance(&self, seconds: u64) {
        self.0.advance(seconds);
    }

    fn __repr__(&self) -> String {
        format!("Clock({})", self.0.seconds())
    }
}

/// The clock of a configuration's field.
///
/// Raises TypeError for what is no `Clock`.
pub(crate) fn of(field: &Bound<'_, PyAny>) -> PyResult<Arc<dyn Shows>> {
    match given(field) {
        None => Ok(Arc::new(SystemClock)),
        Some(clock) => Ok(Arc::clone(&clock.cast::<Clock>()?.get().0) as Arc<dyn Shows>),
    }
}
