//! Python code that an engine calls.
//!
//! The engine has it, where the garbage collector does not look; the class that has the engine shows it.

use std::cell::Cell;
use std::sync::Arc;

use polytls_core::Cause;
use polytls_io::Keep;
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyBaseException, PyException};
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

thread_local! {
    /// What a callback of the call under way has raised that is no `Exception`.
    static INTERRUPTION: Cell<Option<Py<PyBaseException>>> = const { Cell::new(None) };
}

/// What a callback has raised, as the cause of its refusal. What is no `Exception` (KeyboardInterrupt,
/// SystemExit) is no verdict: the call raises it as it is, instead of what came of the refusal.
pub(crate) fn cause(py: Python<'_>, exception: &Bound<'_, PyBaseException>) -> Cause {
    // A thread of a listener has no caller.
    if !exception.is_instance_of::<PyException>() && !polytls_io::is_worker() {
        INTERRUPTION.set(Some(exception.clone().unbind()));
    }
    Cause(Arc::new(exception.clone().unbind().clone_ref(py)))
}

/// Takes what has interrupted the call that `cause` is behind the error of; later calls get that error.
pub(crate) fn interruption(py: Python<'_>, cause: &Py<PyBaseException>) -> Option<PyErr> {
    let interruption = INTERRUPTION.take()?;
    if !interruption.is(cause) {
        INTERRUPTION.set(Some(interruption));
        return None;
    }
    Some(PyErr::from_value(interruption.into_bound(py).into_any()))
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
