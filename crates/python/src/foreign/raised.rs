//! What somebody else's code has raised, on its way to the caller.
//!
//! The first call that fails raises the very object. What is raised again later is a copy each time, without
//! a traceback: the frames in one lead to the caller's variables.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polytls_core::{Cause, Error};
use pyo3::PyTraverseError;
use pyo3::exceptions::PyBaseException;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use crate::calls::{CallsOut as _, import};

/// See the module.
#[derive(Default)]
struct State {
    /// Until it is raised.
    first: Option<Py<PyBaseException>>,
    /// What copies are made of.
    lasting: Option<Py<PyBaseException>>,
}

/// See the module. Only locked while attached, and for no call.
pub(crate) struct Raised(Mutex<State>);

impl Raised {
    /// One that ends a connection, and is raised again and again.
    pub(crate) fn lasting(error: &Bound<'_, PyBaseException>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            first: Some(error.clone().unbind()),
            lasting: Some(copied(error).unwrap_or_else(|| error.clone()).unbind()),
        })))
    }

    /// One that is raised once.
    pub(crate) fn once(error: &Bound<'_, PyBaseException>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            first: Some(error.clone().unbind()),
            lasting: None,
        })))
    }

    /// The error that is told as this.
    pub(crate) fn error(self: Arc<Self>, fatal: bool) -> Error {
        Error::Foreign {
            cause: Some(Cause(self)),
            fatal,
        }
    }

    /// What the caller gets. `None`: the garbage collector has taken it.
    pub(crate) fn exception(&self, py: Python<'_>) -> Option<PyErr> {
        let mut state = self.state();
        let first = state.first.take();
        let lasting = state.lasting.as_ref().map(|lasting| lasting.clone_ref(py));
        drop(state);
        if let Some(first) = first {
            return Some(PyErr::from_value(first.into_bound(py).into_any()));
        }
        let lasting = lasting?.into_bound(py);
        let again = copied(&lasting).unwrap_or_else(|| {
            // It cannot fail.
            drop(lasting.setattr("__traceback__", py.None()));
            lasting
        });
        Some(PyErr::from_value(again.into_any()))
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let state = self.state();
        visit.call(&state.first)?;
        visit.call(&state.lasting)
    }

    pub(crate) fn clear(&self) {
        let state = std::mem::take(&mut *self.state());
        drop(state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another one of the same class with the same facts and cause; `None` where its class makes no copies.
fn copied<'py>(error: &Bound<'py, PyBaseException>) -> Option<Bound<'py, PyBaseException>> {
    let py = error.py();
    let copy = || -> PyResult<Bound<'py, PyBaseException>> {
        let copy = import(py, "copy")?.method_out("copy", (error,))?;
        let copy = copy.cast_into::<PyBaseException>()?;
        for name in ["__cause__", "__suppress_context__"] {
            copy.setattr(name, error.attribute(name)?)?;
        }
        Ok(copy)
    };
    copy()
        .ok()
        .filter(|copy| copy.get_type().is(error.get_type()))
}
