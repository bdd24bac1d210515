//! What is to be done once this thread has no [`crate::Lock`] any more: the application's code, which may
//! take its time, and use any connection.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

type Task = Box<dyn FnOnce()>;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static TASKS: RefCell<VecDeque<Task>> = const { RefCell::new(VecDeque::new()) };
}

/// Does it later, behind what waits already.
pub(crate) fn push(task: impl FnOnce() + 'static) {
    TASKS.with_borrow_mut(|tasks| tasks.push_back(Box::new(task)));
}

/// This thread has taken a lock.
pub(crate) fn locked() {
    HELD.set(HELD.get() + 1);
}

/// It has given it back.
pub(crate) fn unlocked() {
    HELD.set(HELD.get().saturating_sub(1));
}

/// Does what waits, unless this thread has a lock. Called when a lock was given back; a caller that
/// drives connections without one has to call it.
pub fn run_later() {
    // Each is taken out first: it may come here again.
    while HELD.get() == 0
        && let Some(task) = TASKS.with_borrow_mut(VecDeque::pop_front)
    {
        task();
    }
}
