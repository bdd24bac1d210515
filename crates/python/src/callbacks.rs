//! Python code that an engine calls.
//!
//! The engine has it, where the garbage collector does not look; the class that has the engine shows it.

use std::sync::Arc;

use polytls_io::Keep;
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

/// What threads of a listener's hold of its `context`, which has all that they call: the garbage
/// collector knows nothing of them, and would clear what they are about to call.
pub(crate) fn keep(context: Py<PyAny>) -> Keep {
    struct Context(Option<Py<PyAny>>);
    impl Drop for Context {
        fn drop(&mut self) {
            // Now, rather than when somebody attaches next; at the end of the interpreter never.
            let context = self.0.take();
            Python::try_attach(|_| drop(context));
        }
    }
    Arc::new(Context(Some(context)))
}

/// Why nobody was asked.
pub(crate) const ENDING: &str = "the interpreter is about to end";

/// Runs Python code in the middle of a handshake, attached. `None`: the interpreter ends.
pub(crate) fn attached<R>(call: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    let run = || polytls_rustls::outside(|| Python::try_attach(call));
    polytls_io::in_application(run).flatten()
}

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
