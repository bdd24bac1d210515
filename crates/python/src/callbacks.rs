//! Python code that an engine calls.
//!
//! The engine has it, where the garbage collector does not look; the class that has the engine shows it.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::Arc;

use polytls_core::Cause;
use polytls_io::Keep;
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyBaseException, PyException};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use crate::calls::{CallsOut as _, import, raise_soon, raised_now, report};
use crate::waiting::on_main_thread;

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
    if !exception.is_instance_of::<PyException>() {
        if polytls_io::is_worker() {
            end_of_thread(py, exception);
        } else {
            INTERRUPTION.set(Some(exception.clone().unbind()));
        }
    }
    Cause(Arc::new(exception.clone().unbind().clone_ref(py)))
}

/// A thread of a listener has no caller. So what would end any other thread goes where Python sends such:
/// to `threading.excepthook`. The thread goes on with other clients.
fn end_of_thread(py: Python<'_>, exception: &Bound<'_, PyBaseException>) {
    let told = || -> PyResult<()> {
        let threading = import(py, "threading")?;
        let traceback = exception.attribute("__traceback__")?;
        let what = (
            exception.get_type(),
            exception.clone(),
            traceback,
            py.None(),
        );
        let what = threading.method_out("ExceptHookArgs", (what,))?;
        threading.method_out("excepthook", (what,))?;
        Ok(())
    };
    if let Err(error) = told() {
        report(py, error.into_value(py).into_bound(py), exception);
    }
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

thread_local! {
    /// What a callback has raised that is no `Exception`, where no refusal comes of it.
    static TO_RAISE: Cell<Option<PyErr>> = const { Cell::new(None) };
    /// How many callbacks are under way, one in a call of another.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Takes what is to end the call under way, once.
pub(crate) fn take_interruption() -> Option<PyErr> {
    TO_RAISE.take()
}

/// Told of what a callback has raised that decides nothing (a key log). What is no `Exception`
/// (KeyboardInterrupt, SystemExit) interrupts the call, on the main thread: its next wait ends with it, and
/// where it does not wait, it is raised when the call returns. All else Python reports.
pub(crate) fn ignored(py: Python<'_>, error: PyErr, source: &Bound<'_, PyAny>) {
    if !error.is_instance_of::<PyException>(py) && on_main_thread(py).unwrap_or(false) {
        // The first is the one that somebody waits for.
        let first = TO_RAISE.take();
        TO_RAISE.set(Some(first.unwrap_or(error)));
    } else {
        report(py, error.into_value(py).into_bound(py), source);
    }
}

/// Runs a callback. What is to be raised when the call returns must not be raised in the next callback of
/// the same call.
fn one_deeper<R>(py: Python<'_>, call: impl FnOnce(Python<'_>) -> R) -> R {
    extern "C" fn raise(_: *mut c_void) -> c_int {
        raised_now(|| {
            if DEPTH.get() == 0 {
                take_interruption()
            } else {
                None
            }
        })
    }
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    let back = Back;
    let result = call(py);
    drop(back);
    if DEPTH.get() == 0
        && let Some(error) = TO_RAISE.take()
    {
        if raise_soon(py, raise) {
            TO_RAISE.set(Some(error));
        } else {
            report(
                py,
                error.into_value(py).into_bound(py),
                &py.None().into_bound(py),
            );
        }
    }
    result
}

/// What the application's code has raised within a call of a TLS library, as the cause of what comes of
/// that. The call under way raises it as it is.
pub(crate) fn interrupted(exception: &Bound<'_, PyBaseException>) -> Cause {
    INTERRUPTION.set(Some(exception.clone().unbind()));
    Cause(Arc::new(exception.clone().unbind()))
}

/// Takes what [`interrupted`] was told, where nothing comes of it.
pub(crate) fn take_interrupted() -> Option<Py<PyBaseException>> {
    INTERRUPTION.take()
}

/// Whether the call under way has been interrupted.
pub(crate) fn is_interrupted() -> bool {
    let raised = INTERRUPTION.take();
    let is = raised.is_some();
    INTERRUPTION.set(raised);
    is
}

/// Takes what has interrupted the call that ends here, whatever came of it.
pub(crate) fn end_of_call(py: Python<'_>) -> Option<PyErr> {
    let raised = INTERRUPTION.take()?;
    Some(PyErr::from_value(raised.into_bound(py).into_any()))
}

/// Runs code that may make calls of its own: what has interrupted the call under way is none of theirs.
pub(crate) fn apart<R>(run: impl FnOnce() -> R) -> R {
    let before = INTERRUPTION.take();
    let done = run();
    if before.is_some() {
        INTERRUPTION.set(before);
    }
    done
}

/// Why nobody was asked.
pub(crate) const ENDING: &str = "the interpreter is about to end";

/// Runs Python code in the middle of a handshake, attached. `None`: the interpreter ends.
pub(crate) fn attached<R>(call: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    let run = || polytls_rustls::outside(|| Python::try_attach(|py| one_deeper(py, call)));
    polytls_io::in_application(run).flatten()
}

/// What holds one object of Python's, to call it.
pub(crate) trait Callback: Send + Sync {
    fn callable(&self) -> &Py<PyAny>;
}

/// All that one engine calls.
#[derive(Clone, Default)]
pub(crate) struct Callbacks(Vec<Arc<dyn Callback>>);

impl Callbacks {
    /// `callback`, for the engine.
    pub(crate) fn add<C: Callback + 'static>(&mut self, callback: C) -> Arc<C> {
        let callback = Arc::new(callback);
        self.0.push(Arc::<C>::clone(&callback));
        callback
    }

    /// `callback`, which somebody else has too.
    pub(crate) fn share(&mut self, callback: Arc<dyn Callback>) {
        self.0.push(callback);
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0
            .iter()
            .try_for_each(|callback| visit.call(callback.callable()))
    }
}
