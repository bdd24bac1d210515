//! Threads for handshakes that may block.
//!
//! Where a step of a handshake calls back into the application (its verifier, its signer), one that
//! takes long must not hold up another, nor the thread that accepts. So threads of the listener's own
//! take what is ready to go on out of the [`Pool`]. They start on demand, no more of them than
//! handshakes may be in hand, end when they have had nothing to do for a while, and when the listener
//! is closed; one that is in a callback then ends as soon as that returns, and drops its connection.

use rustix::fd::OwnedFd;
use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::exit;
use crate::pool::{Pending, Pool, Step};
use crate::settings::ListenerSettings;

/// How long a thread with nothing to do stays.
const STAYS: Duration = Duration::from_secs(5);
/// As the main thread has it: the application's code runs on it.
const STACK: usize = 8 * 1024 * 1024;

/// What must live for as long as a thread may run the application's code: whatever that needs, where
/// the thread itself has no share in it.
pub type Keep = Arc<dyn Any + Send + Sync>;

/// What a listener shares with its threads.
pub(crate) struct Shared {
    pub(crate) pool: Mutex<Pool>,
    /// There is something to do for a thread, or the listener is closed.
    wanted: Condvar,
    pub(crate) failed: AtomicU64,
    settings: ListenerSettings,
}

impl Shared {
    pub(crate) fn new(pool: Pool, settings: ListenerSettings) -> Self {
        Self {
            pool: Mutex::new(pool),
            wanted: Condvar::new(),
            failed: AtomicU64::new(0),
            settings,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that threads work on what is ready; each has a share in `keep`. `false`: none can be
    /// had.
    pub(crate) fn hire(self: &Arc<Self>, pool: &mut Pool, keep: Option<&Keep>) -> bool {
        if exit::is_ending() {
            return false;
        }
        let mut missing = pool.ready.len().saturating_sub(pool.idle);
        while missing > 0 && pool.workers < self.settings.handshake_limit {
            let shared = Arc::clone(self);
            let keep = keep.cloned();
            let started = thread::Builder::new()
                .name("polytls handshake".to_owned())
                .stack_size(STACK)
                .spawn(move || {
                    shared.run();
                    drop(keep);
                });
            if let Err(error) = started {
                log::debug!("cannot start a thread for a handshake: {error}");
                break;
            }
            pool.workers += 1;
            pool.idle += 1;
            missing -= 1;
        }
        if !pool.ready.is_empty() {
            self.wanted.notify_all();
        }
        pool.workers > 0
    }

    /// The life of one thread.
    fn run(&self) {
        let mut pool = self.lock();
        pool.idle -= 1;
        while pool.socket.is_some() {
            let Some(at_work) = exit::begin_work() else {
                break;
            };
            if let Some(pending) = pool.begin_work() {
                drop(pool);
                pool = self.work(pending);
                continue;
            }
            drop(at_work);
            pool.idle += 1;
            let waited = self.wanted.wait_timeout(pool, STAYS);
            let timed_out;
            (pool, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            pool.idle -= 1;
            if timed_out.timed_out() && pool.ready.is_empty() {
                break;
            }
        }
        pool.workers -= 1;
    }

    /// One step of one handshake, without the lock; gives the lock.
    pub(crate) fn work(&self, mut pending: Pending) -> MutexGuard<'_, Pool> {
        let step = pending.step();
        polytls_core::run_later();
        let mut pool = self.lock();
        if pool.socket.is_none() {
            return pool;
        }
        let strict = self.settings.handshake_may_block;
        let step = pool.in_time(&mut pending, step, strict);
        if let Step::Failed(error) = &step {
            self.note_failure(&pending, error);
        }
        let mut look = pool.done(pending, &step, self.settings.handshake_limit);
        if strict {
            // This thread is none that accepts.
            pool.pass_on();
            look = pool.led;
        }
        if look {
            pool.ring();
        }
        pool
    }

    pub(crate) fn note_failure(&self, pending: &Pending, error: &dyn fmt::Display) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        log::debug!("a handshake with {} failed: {error}", pending.peer());
    }

    /// Closes the pool, and has the threads end; gives the listening socket.
    pub(crate) fn close(&self) -> Option<Arc<OwnedFd>> {
        let socket = self.lock().close();
        self.dismiss();
        socket
    }

    /// Has the threads look whether the listener is closed.
    pub(crate) fn dismiss(&self) {
        self.wanted.notify_all();
    }
}
