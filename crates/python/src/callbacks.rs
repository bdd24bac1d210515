//! Python code that an engine calls.
//!
//! The engine has it, where the garbage collector does not look; the class that has the engine shows it.

use std::sync::Arc;

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

/// What holds one object of Python's, to call it.
pub(crate) trait Callback: Send + Sync {
    fn callable(&self) -> &Py<PyAny>;
}

/// All that one engine calls.
#[derive(Default)]
pub(crate) struct Callbacks(Vec<Arc<dyn Callback>>);

impl Callbacks {
    /// `callback`, for the engine.
    pub(crate) fn add<C: Callback + 'static>(&mut self, callback: C) -> Arc<C> {
        let callback = Arc::new(callback);
        self.0.push(Arc::<C>::clone(&callback));
        callback
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0
            .iter()
            .try_for_each(|callback| visit.call(callback.callable()))
    }
}
