//! What is to be done once this thread has no [`crate::Lock`] any more: the application's code, which may
//! take its time, and use any connection.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr;

type Task = Box<dyn FnOnce()>;

/// What a thread knows of itself: in one place, as each call of a connection looks there.
struct Here {
    /// How many locks it has.
    held: Cell<usize>,
    /// How many tasks wait.
    waiting: Cell<usize>,
}

impl Here {
    /// Whether something waits to be done now.
    const fn is_due(&self) -> bool {
        self.held.get() == 0 && self.waiting.get() > 0
    }
}

thread_local! {
    static HERE: Here = const {
        Here {
            held: Cell::new(0),
            waiting: Cell::new(0),
        }
    };
    static TASKS: RefCell<VecDeque<Task>> = const { RefCell::new(VecDeque::new()) };
}

/// A number that no other living thread has; not 0.
#[inline]
pub(crate) fn this_thread() -> usize {
    HERE.with(|here| ptr::from_ref(here).addr())
}

/// Does it later, behind what waits already.
pub(crate) fn push(task: impl FnOnce() + 'static) {
    TASKS.with_borrow_mut(|tasks| {
        tasks.push_back(Box::new(task));
        HERE.with(|here| here.waiting.set(tasks.len()));
    });
}

/// Takes the next one out.
fn pop() -> Option<Task> {
    TASKS.with_borrow_mut(|tasks| {
        let task = tasks.pop_front();
        HERE.with(|here| here.waiting.set(tasks.len()));
        task
    })
}

/// This thread has taken a lock; gives [`this_thread`].
#[inline]
pub(crate) fn locked() -> usize {
    HERE.with(|here| {
        here.held.set(here.held.get() + 1);
        ptr::from_ref(here).addr()
    })
}

/// It has given it back. Whether something waits to be done now.
#[inline]
pub(crate) fn unlocked() -> bool {
    HERE.with(|here| {
        here.held.set(here.held.get().saturating_sub(1));
        here.is_due()
    })
}

/// Does what waits, unless this thread has a lock. Called when a lock was given back; a caller that
/// drives connections without one has to call it.
pub fn run_later() {
    // Each is taken out first: it may come here again.
    while HERE.with(Here::is_due)
        && let Some(task) = pop()
    {
        task();
    }
}
