//! Bytes lent by Python for the length of one call.
//!
//! A view pins the memory: it is neither freed nor moved while the view lives. Whether its bytes may change
//! meanwhile is another matter, and decides how far this is sound:
//!
//! - An exact `bytes` object never changes. It is read in place, attached or detached.
//! - Anything else that is read while detached is copied first, while attached.
//! - Anything else that is read while attached is read in place. With a GIL nobody writes to it
//!   then, as no other Python code runs. Without one (free threading) another thread may: by Rust's rules that is
//!   a data race, which no extension that takes buffers can rule out. What is sealed or opened is then some mixture
//!   of old and new bytes; lengths and addresses come from the view and do not change, so no memory
//!   beyond it is touched. A program must not change a buffer in one thread while a call in another uses it.
//!   The same goes for a session on `ssl`, which gives up the GIL while it seals, with what it was given.
//! - A destination is lent by the caller for the call (the contract of `socket.recv_into`), and so is
//!   what `open` takes in.
//!
//! Bytes that are made here have no other owner until they are given away ([`Fresh`]); what a
//! connection keeps for longer is such bytes, or an exact `bytes` object, owned ([`SharedBytes`]).
#![allow(unsafe_code)]

use std::any::Any;
use std::mem::MaybeUninit;
use std::ptr;

use polytls_core::{Memory, Room};
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use crate::calls::CallsOut as _;

/// Calls that touch less than this stay attached: those of one record, for which the cipher takes 1
/// to 2 us. To detach costs 40 ns, and others to attach again and to look whose the memory is: with
/// 16 KiB a tenth of the whole. Waiting for the GIL afterwards costs more.
pub(crate) const DETACH_FROM: usize = polytls_core::MAX_FRAGMENT + 1;

/// Less than this is copied: a small copy costs less than what it takes to go without.
pub(crate) const WHOLE_FROM: usize = 1024;

/// The bytes of an object, pinned while this lives: simple and contiguous, whatever its items are.
pub(crate) struct View<'py> {
    /// In one place, as long as it is filled. Python does that: nothing is zeroed first.
    buffer: Box<MaybeUninit<ffi::Py_buffer>>,
    start: *mut u8,
    length: usize,
    is_readonly: bool,
    /// A view is released while attached.
    py: Python<'py>,
}

impl<'py> View<'py> {
    fn new(object: &Bound<'py, PyAny>, parameter: &str) -> PyResult<Self> {
        let py = object.py();
        let mut buffer = Box::new_uninit();
        let view: *mut ffi::Py_buffer = buffer.as_mut_ptr();
        // SAFETY: the structure is filled if the call succeeds. It stays in place, and is released once then.
        unsafe {
            if ffi::PyObject_GetBuffer(object.as_ptr(), view, ffi::PyBUF_SIMPLE) == 0 {
                return Ok(Self {
                    start: (*view).buf.cast(),
                    length: (*view).len.unsigned_abs(),
                    is_readonly: (*view).readonly != 0,
                    buffer,
                    py,
                });
            }
        }
        let refused = PyErr::fetch(py);
        if refused.is_instance_of::<PyBufferError>(py) {
            return Err(PyBufferError::new_err(format!(
                "{parameter} must be contiguous"
            )));
        }
        let kind = object.get_type().name().map_or_else(
            |_| "an object of unknown type".to_owned(),
            |name| name.to_string(),
        );
        Err(PyTypeError::new_err(format!(
            "{parameter} must be bytes-like, not {kind}"
        )))
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        let _ = self.py;
        // SAFETY: it was filled and is released for the only time; `py` shows that this is attached.
        unsafe { ffi::PyBuffer_Release(self.buffer.as_mut_ptr()) }
    }
}

/// A bytes-like argument to read from.
pub(crate) enum Source<'a, 'py> {
    /// An exact `bytes` object: it needs no view, and nobody can change it.
    Bytes(&'a Bound<'py, PyBytes>),
    View(View<'py>, &'a Bound<'py, PyAny>),
}

impl<'a, 'py> Source<'a, 'py> {
    pub(crate) fn new(object: &'a Bound<'py, PyAny>, parameter: &str) -> PyResult<Self> {
        Ok(match object.cast_exact::<PyBytes>() {
            Ok(bytes) => Self::Bytes(bytes),
            Err(_) => Self::View(View::new(object, parameter)?, object),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// The bytes, for use while attached, or while the caller lends them.
    pub(crate) fn bytes(&self) -> &[u8] {
        let view = match self {
            Self::Bytes(bytes) => return bytes.as_bytes(),
            Self::View(view, _) => view,
        };
        let length = view.length;
        if length == 0 {
            return &[];
        }
        // SAFETY: the view pins `length` contiguous bytes, which are initialised as all memory
        // behind Python's buffers is. They do not change while this slice lives: see the module.
        unsafe { std::slice::from_raw_parts(view.start, length) }
    }

    /// Runs `call` on the bytes while detached; bytes that others could change are copied first.
    pub(crate) fn detached<R: Send>(&self, call: impl FnOnce(&[u8]) -> R + Send) -> R {
        self.part_detached(0..self.len(), call)
    }

    /// The same, on a part of them.
    pub(crate) fn part_detached<R: Send>(
        &self,
        part: std::ops::Range<usize>,
        call: impl FnOnce(&[u8]) -> R + Send,
    ) -> R {
        let (py, immutable) = match self {
            Self::Bytes(bytes) => (bytes.py(), true),
            Self::View(_, object) => (object.py(), is_view_of_bytes(object)),
        };
        let copy;
        let bytes = if immutable {
            &self.bytes()[part]
        } else {
            copy = self.bytes()[part].to_vec();
            &copy
        };
        py.detach(|| call(bytes))
    }

    /// For a connection to keep, if it never changes.
    pub(crate) fn kept(&self) -> Option<Box<dyn Memory>> {
        match self {
            Self::Bytes(bytes) => Some(Box::new(SharedBytes::of(bytes))),
            Self::View(..) => None,
        }
    }
}

/// A view of bytes that are lent for one call of a C function, which keeps none of it.
pub(crate) fn view<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    view_of(py, bytes.as_ptr().cast_mut(), bytes.len(), ffi::PyBUF_READ)
}

/// The same, of memory that the function is to fill.
pub(crate) fn view_to_fill<'py>(py: Python<'py>, into: &mut [u8]) -> PyResult<Bound<'py, PyAny>> {
    view_of(py, into.as_mut_ptr(), into.len(), ffi::PyBUF_WRITE)
}

fn view_of(
    py: Python<'_>,
    start: *mut u8,
    length: usize,
    access: i32,
) -> PyResult<Bound<'_, PyAny>> {
    let length = ffi::Py_ssize_t::try_from(length)?;
    // SAFETY: so much memory belongs to the caller, who lends it for longer than the view lives: nobody but
    // the function that is called next gets it. What is returned is a new reference to a memoryview, or
    // null with an exception set.
    unsafe {
        Bound::from_owned_ptr_or_err(
            py,
            ffi::PyMemoryView_FromMemory(start.cast(), length, access),
        )
    }
}

/// Whether it is a `memoryview` of an exact `bytes` object, which nobody can change.
fn is_view_of_bytes(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<PyMemoryView>()
        && object
            .attribute("obj")
            .is_ok_and(|owner| owner.is_exact_instance_of::<PyBytes>())
}

/// A writable bytes-like argument, lent for the call.
pub(crate) struct Destination<'py> {
    view: View<'py>,
    is_bytearray: bool,
}

impl<'py> Destination<'py> {
    pub(crate) fn new(object: &Bound<'py, PyAny>, parameter: &str) -> PyResult<Self> {
        let view = View::new(object, parameter)?;
        if view.is_readonly {
            return Err(PyTypeError::new_err(format!(
                "{parameter} must be writable"
            )));
        }
        Ok(Self {
            view,
            is_bytearray: object.is_exact_instance_of::<PyByteArray>(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.view.length
    }

    /// Whether some of it is `data` as well.
    pub(crate) fn overlaps(&self, data: &[u8]) -> bool {
        let start = self.view.start as usize;
        let other = data.as_ptr() as usize;
        start < other + data.len() && other < start + self.len()
    }

    /// Room for `length` bytes, or for as many as there are. `borrow`: whether a byte of the
    /// caller's, if one follows, may serve as scratch.
    fn lend(&mut self, length: usize, borrow: bool) -> Lent<'_> {
        let length = length.min(self.len());
        if length == 0 {
            return Lent::default();
        }
        let scratch = usize::from(if length < self.len() {
            borrow
        } else {
            self.is_bytearray
        });
        // SAFETY: the view pins at least `length` contiguous, writable bytes, initialised as all
        // memory behind Python's buffers is; one more if there are more, or if it is a bytearray,
        // behind whose bytes there always is a null byte (PyByteArray_AsString). The caller lends
        // them for the call.
        let memory = unsafe { std::slice::from_raw_parts_mut(self.view.start, length + scratch) };
        Lent { memory, length }
    }

    /// Runs `call` on room for `length` bytes, or for as many as there are, while attached. `alone`: it
    /// does not let go of the GIL, so that nobody else uses what lies behind them.
    pub(crate) fn attached<R>(
        &mut self,
        length: usize,
        alone: bool,
        call: impl FnOnce(Room<'_>) -> R,
    ) -> R {
        self.lend(length, alone).run(call)
    }

    /// Like [`Self::attached`], while detached. Others may use what lies behind the `length` bytes
    /// meanwhile: nothing of it is written to.
    pub(crate) fn detached<R: Send>(
        &mut self,
        length: usize,
        call: impl FnOnce(Room<'_>) -> R + Send,
    ) -> R {
        let py = self.view.py;
        let lent = self.lend(length, false);
        py.detach(|| lent.run(call))
    }
}

/// Memory to be filled, and perhaps a byte of scratch behind.
#[derive(Default)]
struct Lent<'a> {
    memory: &'a mut [u8],
    length: usize,
}

impl Lent<'_> {
    fn run<R>(self, call: impl FnOnce(Room<'_>) -> R) -> R {
        let Some(scratch) = self.memory.get(self.length).copied() else {
            return call(Room::new(self.memory));
        };
        // On every way out: unwinding, too.
        let back = PutBack {
            memory: self.memory,
            at: self.length,
            scratch,
        };
        call(Room::with_scratch(&mut *back.memory))
    }
}

/// Puts the byte that served as scratch back.
struct PutBack<'a> {
    memory: &'a mut [u8],
    at: usize,
    scratch: u8,
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        self.memory[self.at] = self.scratch;
    }
}

/// A `bytes` object that nobody else has seen, to be filled.
pub(crate) struct Fresh<'py> {
    object: Bound<'py, PyBytes>,
    length: usize,
}

impl<'py> Fresh<'py> {
    /// One of so many bytes, not 0. Cheap enough to be made under the connection's lock, and runs
    /// no code of Python's.
    pub(crate) fn new(py: Python<'py>, length: usize) -> PyResult<Self> {
        debug_assert!(length > 0, "the empty bytes object is shared");
        let size = ffi::Py_ssize_t::try_from(length)?;
        // SAFETY: a null pointer asks for bytes that the caller fills; what is returned is a new
        // reference to a bytes object, or null with an exception set.
        let object = unsafe {
            Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(ptr::null(), size))?
                .cast_into_unchecked()
        };
        Ok(Self { object, length })
    }

    /// Its memory and the null byte behind.
    fn memory(&mut self) -> &mut [u8] {
        // SAFETY: `length` bytes and a null byte belong to the object (PyBytes_FromStringAndSize),
        // which has no other owner until `filled` gives it away. They come from a call into another
        // library, which the compiler cannot look into: whatever they hold is bytes to Rust. (Zeroing
        // them would cost a pass over all that is received.) They are written before they are read.
        unsafe {
            let start = ffi::PyBytes_AsString(self.object.as_ptr()).cast();
            std::slice::from_raw_parts_mut(start, self.length + 1)
        }
    }

    fn lend(&mut self) -> Lent<'_> {
        let length = self.length;
        let memory = self.memory();
        Lent { memory, length }
    }

    /// Runs `call` on all of it as room, while attached.
    pub(crate) fn attached<R>(&mut self, call: impl FnOnce(Room<'_>) -> R) -> R {
        self.lend().run(call)
    }

    /// Like [`Self::attached`], while detached.
    pub(crate) fn detached<R: Send>(&mut self, call: impl FnOnce(Room<'_>) -> R + Send) -> R {
        let py = self.object.py();
        let lent = self.lend();
        py.detach(|| lent.run(call))
    }

    /// Its bytes, all of which have to be written.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let length = self.length;
        &mut self.memory()[..length]
    }

    /// The object in the hands of a connection, to be filled there.
    pub(crate) fn into_memory(mut self) -> Box<dyn Memory> {
        let start = self.memory().as_mut_ptr();
        Box::new(SharedBytes {
            start,
            length: self.length,
            writable: true,
            object: self.object.unbind(),
        })
    }

    /// The object, whose first `length` bytes have been filled.
    pub(crate) fn filled(self, length: usize) -> Bound<'py, PyBytes> {
        if length == self.length {
            return self.object;
        }
        PyBytes::new(self.object.py(), &self.object.as_bytes()[..length])
    }
}

/// A `bytes` object that a connection holds.
pub(crate) struct SharedBytes {
    object: Py<PyBytes>,
    start: *mut u8,
    length: usize,
    /// Nobody else has seen it.
    writable: bool,
}

// SAFETY: the object is owned, so its memory stays where it is, and nobody changes it: it is a
// `bytes` object that is complete, or one that has no other owner.
unsafe impl Send for SharedBytes {}

impl SharedBytes {
    pub(crate) fn of(object: &Bound<'_, PyBytes>) -> Self {
        let bytes = object.as_bytes();
        Self {
            start: bytes.as_ptr().cast_mut(),
            length: bytes.len(),
            writable: false,
            object: object.clone().unbind(),
        }
    }

    /// The object that a connection gives back.
    pub(crate) fn into_object(memory: Box<dyn Memory>) -> Option<Py<PyBytes>> {
        let memory: Box<dyn Any> = memory;
        memory.downcast().ok().map(|kept: Box<Self>| kept.object)
    }
}

impl Memory for SharedBytes {
    fn bytes(&self) -> &[u8] {
        // SAFETY: so much memory belongs to the object, which is owned. It does not change while it
        // is shared: see `Send`.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        if !self.writable {
            return &mut [];
        }
        // SAFETY: as above, and there is no other owner.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }
}
