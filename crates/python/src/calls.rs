//! Calls of Python code, which the end of the interpreter may cut off.
//!
//! Up to Python 3.13 a thread that wants the GIL while the interpreter is finalized is ended with
//! `pthread_exit`, wherever it is. glibc then unwinds its stack. Rust's functions are not made for that:
//! where they have called C, which does not unwind, the process is aborted. So each call that may run
//! Python code, and let go of the GIL while it does, is declared as one that may unwind, with
//! [`Hang`] around it: the thread stops there for good, as Python 3.14 does it by itself. PyO3 does the
//! same where a thread attaches and where it comes back from `detach`.
//!
//! clippy.toml refuses PyO3's own methods for these calls. What is left is code that the interpreter runs
//! by itself: a finalizer at a deallocation, `__index__` and `__buffer__` of an argument's class.
//!
//! `unsafe`, as the functions of C are called directly: with borrowed references of living objects, while
//! attached; each gives a new reference, or null with an exception set.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use pyo3::exceptions::PyBaseException;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule, PyString, PyTuple};

use crate::system::raw;

/// Stops the thread for ever where its stack is unwound.
struct Hang;

impl Drop for Hang {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// Runs a call of C that may be cut off.
#[inline(never)]
fn may_end_here<R>(call: impl FnOnce() -> R) -> R {
    let hang = Hang;
    let result = call();
    std::mem::forget(hang);
    result
}

/// Runs `call` attached. `None`: the interpreter ends, and this thread has no part in that.
///
/// PyO3 attaches nobody from then on. But finalizers run then, on the thread that ends it, and what they call
/// may have detached that: it may attach again, as when it comes back from `detach`. Another thread of
/// Python's stops for good there.
pub(crate) fn attached<R>(call: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    let mut call = Some(call);
    let done = Python::try_attach(|py| call.take().map(|call| call(py)));
    if let Some(done) = done {
        return done;
    }
    // SAFETY: it only looks.
    if unsafe { ffi::PyGILState_GetThisThreadState() }.is_null() {
        return None;
    }
    // SAFETY: this thread has a state of the interpreter's, which it gave up in `detach`.
    unsafe { Python::attach_unchecked(|py| call.map(|call| call(py))) }
}

/// What `call` returns: a new reference, or null with an exception set.
fn object<'py>(
    py: Python<'py>,
    call: impl FnOnce() -> *mut ffi::PyObject,
) -> PyResult<Bound<'py, PyAny>> {
    let made = may_end_here(call);
    // SAFETY: see the module.
    unsafe { Bound::from_owned_ptr_or_err(py, made) }
}

/// Arguments by position: a tuple.
pub(crate) trait Arguments<'py> {
    fn tuple(self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>>;
}

impl<'py, T> Arguments<'py> for T
where
    T: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>>,
    PyErr: From<T::Error>,
{
    fn tuple(self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        Ok(self.into_pyobject(py)?)
    }
}

/// Calls of an object's own code.
pub(crate) trait CallsOut<'py> {
    /// `object(*arguments, **keywords)`.
    fn call_out(
        &self,
        arguments: impl Arguments<'py>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>>;

    /// `object.name`.
    fn attribute(&self, name: &str) -> PyResult<Bound<'py, PyAny>>;

    /// `object.name(*arguments)`.
    fn method_out(
        &self,
        name: &str,
        arguments: impl Arguments<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.attribute(name)?.call_out(arguments, None)
    }

    /// `object.name`, by a name that is kept.
    fn plain_attribute(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>>;

    /// `object.name()` or `object.name(argument)`, by a name that is kept, and without an object for the method in
    /// between.
    fn plain_method(
        &self,
        name: &Bound<'py, PyString>,
        argument: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>>;

    /// `str(object)`.
    fn text(&self) -> PyResult<Bound<'py, PyString>>;
}

impl<'py, T> CallsOut<'py> for Bound<'py, T> {
    fn call_out(
        &self,
        arguments: impl Arguments<'py>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py();
        let arguments = arguments.tuple(py)?;
        let keywords = keywords.map_or(std::ptr::null_mut(), Bound::as_ptr);
        // SAFETY: see the module.
        object(py, || unsafe {
            raw::PyObject_Call(self.as_ptr(), arguments.as_ptr(), keywords)
        })
    }

    fn attribute(&self, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.plain_attribute(&PyString::intern(self.py(), name))
    }

    fn plain_attribute(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: see the module.
        object(self.py(), || unsafe {
            raw::PyObject_GetAttr(self.as_ptr(), name.as_ptr())
        })
    }

    fn plain_method(
        &self,
        name: &Bound<'py, PyString>,
        argument: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let none = std::ptr::null_mut::<ffi::PyObject>();
        let argument = argument.map_or(none, Bound::as_ptr);
        // SAFETY: see the module; a null pointer ends the arguments.
        object(self.py(), || unsafe {
            raw::PyObject_CallMethodObjArgs(self.as_ptr(), name.as_ptr(), argument, none)
        })
    }

    fn text(&self) -> PyResult<Bound<'py, PyString>> {
        // SAFETY: see the module.
        let text = object(self.py(), || unsafe { raw::PyObject_Str(self.as_ptr()) })?;
        Ok(text.cast_into()?)
    }
}

/// `import name`.
pub(crate) fn import<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyModule>> {
    let name = PyString::new(py, name);
    // SAFETY: see the module.
    let module = object(py, || unsafe { raw::PyImport_Import(name.as_ptr()) })?;
    Ok(module.cast_into()?)
}

/// Has Python raise on its main thread what `take` gives, as soon as that runs Python code again. `false`: too
/// much of that kind waits already. Attached.
pub(crate) fn raise_soon(_: Python<'_>, take: extern "C" fn(*mut c_void) -> c_int) -> bool {
    // SAFETY: it only queues the function, which takes no argument.
    unsafe { ffi::Py_AddPendingCall(Some(take), std::ptr::null_mut()) == 0 }
}

/// What a function given to [`raise_soon`] returns: Python runs it attached, and raises what it leaves.
pub(crate) fn raised_now(take: impl FnOnce() -> Option<PyErr>) -> c_int {
    match take() {
        None => 0,
        Some(error) => {
            // SAFETY: Python calls pending calls with its main thread attached.
            error.restore(unsafe { Python::assume_attached() });
            -1
        }
    }
}

/// Has Python report what nobody can be told (`sys.unraisablehook`); `source`: where it came from.
pub(crate) fn report(py: Python<'_>, error: Bound<'_, PyBaseException>, source: &Bound<'_, PyAny>) {
    PyErr::from_value(error.into_any()).restore(py);
    // SAFETY: see the module; it takes the exception that is set.
    may_end_here(|| unsafe { raw::PyErr_WriteUnraisable(source.as_ptr()) });
}
