//! fork(2), where C is needed: to see it happen.
#![allow(unsafe_code)]

use polytls_core::fork;

extern "C" fn before() {
    fork::about_to_fork();
}

extern "C" fn in_parent() {
    fork::forked();
}

extern "C" fn in_child() {
    fork::entered_child();
}

/// Has every fork(2) from now on counted. Gives 0, or the number of an error.
pub(crate) fn watch() -> i32 {
    // SAFETY: the handlers read and write atomic numbers and wait, which any handler may; and
    // they are code of this library, with which the C library takes handlers away.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) }
}
