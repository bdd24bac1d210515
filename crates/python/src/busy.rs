//! Which objects the calls of this thread are in the middle of.
//!
//! A callback runs on the thread of the call that needs it, which holds the lock of its connection. If
//! the callback uses that connection it would wait for itself for ever: it gets an error instead.

use std::cell::RefCell;

use polytls_core::Error;

thread_local! {
    static CALLS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A call on an object, from here until it is dropped, on this thread.
pub(crate) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        CALLS.with_borrow_mut(Vec::pop);
    }
}

fn address<T>(object: &T) -> usize {
    std::ptr::from_ref(object).addr()
}

/// Runs code of Python's while no lock is held, in the middle of a call: a signal's handler may use
/// the object that waits.
pub(crate) fn outside<R>(run: impl FnOnce() -> R) -> R {
    struct Back(Vec<usize>);
    impl Drop for Back {
        fn drop(&mut self) {
            let calls = std::mem::take(&mut self.0);
            CALLS.with_borrow_mut(|now| *now = calls);
        }
    }
    let _back = Back(CALLS.take());
    run()
}

/// Refuses a call from within another one on the same object.
pub(crate) fn check<T>(object: &T) -> Result<(), Error> {
    let object = address(object);
    if CALLS.with_borrow(|calls| calls.contains(&object)) {
        return Err(Error::Misuse(
            "a callback cannot use the connection that it is called for",
        ));
    }
    Ok(())
}

/// Begins a call on an object that may run callbacks.
pub(crate) fn enter<T>(object: &T) -> Result<Entered, Error> {
    check(object)?;
    CALLS.with_borrow_mut(|calls| calls.push(address(object)));
    Ok(Entered)
}
