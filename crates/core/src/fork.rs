//! fork(2): a child has all of the parent's memory and one of its threads. Locks that other threads
//! held are held for ever there, and state that two processes go on with is worth nothing to
//! either: the same keys and sequence numbers would seal different data.
//!
//! So processes are counted: whoever sees the fork (the drivers do, `polytls-io`) says so with
//! [`entered_child`], and what must not be shared compares [`generation`] with the one it was made
//! in, before it takes any lock. That is one load; nobody asks for a process id.
//!
//! The spare memory of `buffers.rs` needs no such care: it is the thread's own, and the thread that
//! forks is the one that goes on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between the first process and this one.
#[must_use]
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Says that this is a child. To be called there before anything else is; safe in a handler of
/// pthread_atfork(3).
pub fn entered_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// A value that each process has for itself: a child makes its own when it first asks for it.
/// What it inherited is never touched again, and not freed before the whole is.
#[derive(Debug)]
pub struct PerProcess<T> {
    generation: u32,
    value: T,
    child: OnceLock<Box<Self>>,
}

impl<T> PerProcess<T> {
    /// The value of this process.
    pub fn new(value: T) -> Self {
        Self {
            generation: generation(),
            value,
            child: OnceLock::new(),
        }
    }

    /// The value of the first process: for statics.
    pub const fn of_the_first(value: T) -> Self {
        Self {
            generation: 0,
            value,
            child: OnceLock::new(),
        }
    }

    /// The value of this process; `renew` makes it from the parent's, whose locks must not be
    /// waited for.
    pub fn get(&self, renew: impl Fn(&T) -> T) -> &T {
        let now = generation();
        let mut own = self;
        while own.generation != now {
            let parent = &own.value;
            own = own.child.get_or_init(|| Box::new(Self::new(renew(parent))));
        }
        &own.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_makes_its_value_once_from_its_parents() {
        let value = PerProcess::new(1);
        assert_eq!(*value.get(|_| unreachable!()), 1);
        static FIRST: PerProcess<u32> = PerProcess::of_the_first(1);
        assert_eq!(*FIRST.get(|_| unreachable!()), 1);
        // As after a fork; other tests of this process do not look.
        entered_child();
        assert_eq!(*value.get(|parent| parent + 1), 2);
        assert_eq!(*value.get(|_| unreachable!()), 2);
        entered_child();
        entered_child();
        assert_eq!(*value.get(|parent| parent + 1), 3);
        assert_eq!(*FIRST.get(|parent| parent + 1), 2);
    }
}
