//! fork(2): a child has all of the parent's memory and one of its threads. Locks that other threads
//! held are held for ever there, and state that two processes go on with is worth nothing to
//! either: the same keys and sequence numbers would seal different data.
//!
//! So processes are counted: whoever sees the fork (the drivers do, `polytls-io`) says so with
//! [`entered_child`], and what must not be shared compares [`generation`] with the one it was made
//! in, before it takes any lock. That is one load; nobody asks for a process id.
//!
//! Cryptographic libraries have locks of their own, which nobody here can make anew: aws-lc's random
//! generator waits in a child for one that a thread of the parent held at the fork. Calls that may
//! hold such locks are [`undivided`], and a fork waits a little for those in progress.
//!
//! The spare memory of `buffers.rs` needs no such care: it is the thread's own, and the thread that
//! forks is the one that goes on.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Threads in calls that a fork should not divide.
static UNDIVIDED: AtomicUsize = AtomicUsize::new(0);
/// Threads that are about to fork.
static FORKING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How many such calls this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// How long a fork and such calls wait for each other at most. A step of a handshake is done in a
/// fraction of it, unless it is in a callback, which must not hold up forks for longer.
const PATIENCE: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_micros(20);

/// Waits until `done`; `false`: patience came to its end before.
fn wait_until(done: impl Fn() -> bool) -> bool {
    if done() {
        return true;
    }
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        thread::sleep(PAUSE);
        if done() {
            return true;
        }
    }
    false
}

/// A call that a fork should not divide, on this thread, until it is dropped.
#[derive(Debug)]
pub struct Undivided(PhantomData<*const ()>);

/// Begins a call that may hold a library's lock.
#[must_use]
pub fn undivided() -> Undivided {
    if DEPTH.replace(DEPTH.get() + 1) == 0 {
        let entered = wait_until(|| {
            UNDIVIDED.fetch_add(1, Ordering::SeqCst);
            let alone = FORKING.load(Ordering::SeqCst) == 0;
            if !alone {
                UNDIVIDED.fetch_sub(1, Ordering::SeqCst);
            }
            alone
        });
        if !entered {
            UNDIVIDED.fetch_add(1, Ordering::SeqCst);
        }
    }
    Undivided(PhantomData)
}

impl Drop for Undivided {
    fn drop(&mut self) {
        if DEPTH.replace(DEPTH.get() - 1) == 1 {
            UNDIVIDED.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Threads of this one kind that a fork here does not wait for: the caller, if it is one.
fn own() -> usize {
    usize::from(DEPTH.get() > 0)
}

/// To be called on the thread that forks, before it does.
pub fn about_to_fork() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    let own = own();
    wait_until(|| UNDIVIDED.load(Ordering::SeqCst) <= own);
}

/// To be called on the thread that has forked, in the parent.
pub fn forked() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

/// How many forks lie between the first process and this one.
#[must_use]
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Says that this is a child. To be called there before anything else is; safe in a handler of
/// pthread_atfork(3).
pub fn entered_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    FORKING.store(0, Ordering::SeqCst);
    UNDIVIDED.store(own(), Ordering::SeqCst);
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
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_fork_waits_for_calls_of_other_threads_and_those_for_it() {
        let (begun, has_begun) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let other = thread::spawn(move || {
            let _call = undivided();
            begun.send(()).unwrap();
            ends.recv().unwrap();
        });
        has_begun.recv().unwrap();
        assert_eq!(UNDIVIDED.load(Ordering::SeqCst), 1);
        // The other never ends: patience does.
        let begin = Instant::now();
        about_to_fork();
        assert!(begin.elapsed() >= PATIENCE);
        forked();
        end.send(()).unwrap();
        other.join().unwrap();
        // Its own calls are not waited for.
        let outer = undivided();
        let inner = undivided();
        about_to_fork();
        assert_eq!(UNDIVIDED.load(Ordering::SeqCst), 1);
        drop(inner);
        let late = thread::spawn(|| drop(undivided()));
        forked();
        late.join().unwrap();
        drop(outer);
        assert_eq!(UNDIVIDED.load(Ordering::SeqCst), 0);
    }
}
