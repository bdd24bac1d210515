//! A lock under which the application's code may run, in the process that made it.
//!
//! Waiting for such a lock can be for ever: in a forked child, where the thread that had it does not
//! exist; and in a callback, for the call that it is in the middle of. So the lock is only had through an
//! [`Entry`], which is only given to who may wait. Nothing is remembered by thread: several calls may be
//! interleaved on one thread in any order, as greenlets do.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LockResult, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::error::Error;
use crate::later::this_thread;
use crate::{fork, later};

/// Why a thread must not wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// This process was forked from the one that made it.
    Inherited,
    /// This thread has it: it is in a callback, or in a signal's handler.
    Within,
}

impl Barred {
    /// What a call gets that finds [`Self::Within`].
    pub const WITHIN: Error = Error::Misuse(
        "this connection is in use by a call in progress: a callback cannot use the connection \
         that called it, and a signal handler cannot use the connection that it interrupted; try \
         again later",
    );
}

/// See the module.
pub struct Lock<T> {
    /// Of the process that made it.
    generation: u32,
    /// The thread that has it, 0 if none does.
    owner: AtomicUsize,
    value: Mutex<T>,
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}

/// The right to wait for a lock, on this thread.
#[must_use]
pub struct Entry<'a, T> {
    lock: &'a Lock<T>,
    /// Of this thread only.
    bound: PhantomData<*const ()>,
}

/// A lock that this thread has.
pub struct Guard<'a, T> {
    owner: &'a AtomicUsize,
    value: MutexGuard<'a, T>,
    /// Is dropped last, when the lock was given back.
    _after: After,
}

/// A lock of this thread.
struct After {
    /// Whether what waits is done then ([`crate::run_later`]).
    runs: bool,
}

impl Drop for After {
    fn drop(&mut self) {
        if later::unlocked() && self.runs && !std::thread::panicking() {
            later::run_later();
        }
    }
}

impl<T> Lock<T> {
    /// One of this process.
    pub fn new(value: T) -> Self {
        Self {
            generation: fork::generation(),
            owner: AtomicUsize::new(0),
            value: Mutex::new(value),
        }
    }

    /// Whether this process was forked from the one that made it.
    pub fn is_inherited(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Looks whether this thread may wait.
    ///
    /// # Errors
    ///
    /// [`Barred`].
    pub fn enter(&self) -> Result<Entry<'_, T>, Barred> {
        if self.is_inherited() {
            return Err(Barred::Inherited);
        }
        // Only this thread can have put its own number there.
        if self.owner.load(Ordering::Relaxed) == this_thread() {
            return Err(Barred::Within);
        }
        Ok(Entry {
            lock: self,
            bound: PhantomData,
        })
    }

    /// The lock if nobody has it, in any process: never waits. For garbage collectors.
    pub fn glance(&self) -> Option<Guard<'_, T>> {
        match self.value.try_lock() {
            Ok(value) => Some(self.guard(value, false)),
            Err(TryLockError::Poisoned(poisoned)) => Some(self.guard(poisoned.into_inner(), false)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether a thread has panicked that had it.
    pub fn is_poisoned(&self) -> bool {
        self.value.is_poisoned()
    }

    /// The value, for the last who holds it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn guard<'a>(&'a self, value: MutexGuard<'a, T>, runs: bool) -> Guard<'a, T> {
        self.owner.store(later::locked(), Ordering::Relaxed);
        Guard {
            owner: &self.owner,
            value,
            _after: After { runs },
        }
    }
}

impl<'a, T> Entry<'a, T> {
    /// Waits for the lock.
    ///
    /// # Errors
    ///
    /// A thread has panicked that had it.
    pub fn lock(self) -> LockResult<Guard<'a, T>> {
        self.lock_by(Mutex::lock)
    }

    /// The same, in the caller's way of waiting.
    ///
    /// # Errors
    ///
    /// Like [`Self::lock`].
    pub fn lock_by(
        self,
        wait: impl FnOnce(&'a Mutex<T>) -> LockResult<MutexGuard<'a, T>>,
    ) -> LockResult<Guard<'a, T>> {
        match wait(&self.lock.value) {
            Ok(value) => Ok(self.lock.guard(value, true)),
            Err(poisoned) => {
                let guard = self.lock.guard(poisoned.into_inner(), true);
                Err(PoisonError::new(guard))
            }
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // Before the lock itself is given back, which comes after this.
        self.owner.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_has_it_is_told_and_others_wait() {
        let lock = Lock::new(0);
        let mut first = lock.enter().unwrap().lock().unwrap();
        assert_eq!(lock.enter().err(), Some(Barred::Within));
        assert!(lock.glance().is_none());
        thread::scope(|scope| {
            let other = scope.spawn(|| *lock.enter().unwrap().lock().unwrap());
            *first = 7;
            drop(first);
            assert_eq!(other.join().unwrap(), 7);
        });
        assert_eq!(*lock.enter().unwrap().lock().unwrap(), 7);
    }

    #[test]
    fn locks_are_given_back_in_any_order() {
        let (one, other) = (Lock::new(()), Lock::new(()));
        let first = one.enter().unwrap().lock().unwrap();
        let second = other.enter().unwrap().lock().unwrap();
        drop(first);
        assert!(one.enter().is_ok());
        assert_eq!(other.enter().err(), Some(Barred::Within));
        drop(second);
        assert!(other.enter().is_ok());
    }

    #[test]
    fn a_panic_poisons_it_and_leaves_it_to_others() {
        let lock = Lock::new(());
        thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let _held = lock.enter().unwrap().lock();
                panic!("on purpose");
            });
            assert!(panicking.join().is_err());
        });
        assert!(lock.is_poisoned());
        assert!(lock.enter().unwrap().lock().is_err());
        assert!(lock.glance().is_some());
    }
}
