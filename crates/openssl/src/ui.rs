//! Nobody is asked for anything on a terminal. Where OpenSSL or one of its providers wants a PIN or a password, it
//! asks by a UI (UI_create(3)); ours has no answer, and notes that there was a question.
//!
//! A store is opened with ours. A provider that asks later, or by itself, takes the one that is set for the
//! process: so ours is set there while keys of providers are looked for or sign, and whoever else asks meanwhile
//! gets no answer either.

use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::api::{UI, UI_METHOD, UI_STRING};
use crate::library::Library;

thread_local! {
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// Whether OpenSSL has asked for something on this thread since it was last asked here.
pub(crate) fn take_asked() -> bool {
    ASKED.take()
}

/// `UI_method_set_reader(3)`.
unsafe extern "C" fn read(_: *mut UI, _: *mut UI_STRING) -> c_int {
    ASKED.set(true);
    0
}

/// A method of OpenSSL's, which is not changed any more.
struct Method(*const UI_METHOD);

// SAFETY: see there.
unsafe impl Send for Method {}
// SAFETY: as above.
unsafe impl Sync for Method {}

/// Ours; null without memory. It is there for ever.
fn ours(library: &Library) -> *const UI_METHOD {
    static OURS: OnceLock<Method> = OnceLock::new();
    let ours = OURS.get_or_init(|| {
        // SAFETY: a new method, which nobody has yet; our function has the type asked for.
        unsafe {
            let made = library.UI_create_method(c"polytls".as_ptr());
            if !made.is_null() && library.UI_method_set_reader(made, read) != 0 {
                library.UI_destroy_method(made);
                return Method(ptr::null());
            }
            Method(made)
        }
    });
    ours.0
}

/// How many are silent, and what was set before the first.
static SILENT: Mutex<(usize, Method)> = Mutex::new((0, Method(ptr::null())));

/// While it is there, nobody is asked.
pub(crate) struct Silence(&'static Library);

impl Silence {
    /// `None` without memory.
    pub(crate) fn new(library: &'static Library) -> Option<Self> {
        let ours = Some(ours(library)).filter(|ours| !ours.is_null())?;
        let mut silent = SILENT.lock().unwrap_or_else(PoisonError::into_inner);
        if silent.0 == 0 {
            // SAFETY: both methods are there for ever, or whoever takes theirs away sets another.
            unsafe {
                silent.1 = Method(library.UI_get_default_method());
                library.UI_set_default_method(ours);
            }
        }
        silent.0 += 1;
        Some(Self(library))
    }

    /// What a store is opened with.
    pub(crate) fn method(&self) -> *const UI_METHOD {
        ours(self.0)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let mut silent = SILENT.lock().unwrap_or_else(PoisonError::into_inner);
        silent.0 -= 1;
        if silent.0 == 0 {
            // SAFETY: as in `new`.
            unsafe { self.0.UI_set_default_method(silent.1.0) };
        }
    }
}
