//! The end of the process, which threads of listeners must not outlast.
//!
//! An interpreter that ends cuts off whoever runs its code. So listeners' threads do no step of a
//! handshake from then on, and those in one finish it, unless the application's code keeps them: nobody
//! waits for that. What is left of them then never comes back.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polytls_core::fork::PerProcess;

/// How long [`end_workers`] waits at most. A step takes milliseconds, unless a system's library asks
/// servers about a certificate.
const PATIENCE: Duration = Duration::from_secs(2);

struct Workers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ending: bool,
    /// Threads that do a step, those in the application's code left out.
    at_work: usize,
}

impl Workers {
    const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                ending: false,
                at_work: 0,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of this process: a child has none of its parent's threads.
    fn here() -> &'static Self {
        static WORKERS: PerProcess<Workers> = PerProcess::of_the_first(Workers::new());
        WORKERS.get(|_| Self::new())
    }

    /// Counts the calling thread in; `false`: the process ends.
    fn enter(&self) -> bool {
        let mut state = self.lock();
        if !state.ending {
            state.at_work += 1;
        }
        !state.ending
    }

    /// Whatever has begun by now: a thread that comes back is not sent away.
    fn enter_again(&self) {
        self.lock().at_work += 1;
    }

    fn leave(&self) {
        self.lock().at_work -= 1;
        self.changed.notify_all();
    }

    fn end(&self) {
        let mut state = self.lock();
        state.ending = true;
        let busy = |state: &mut State| state.at_work > 0;
        let waited = self.changed.wait_timeout_while(state, PATIENCE, busy);
        drop(waited);
    }
}

thread_local! {
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
    static WORKER: Cell<bool> = const { Cell::new(false) };
}

/// A step of a thread of a listener's, on this thread, until it is dropped.
pub(crate) struct AtWork(());

/// Begins one; `None`: the process ends.
pub(crate) fn begin_work() -> Option<AtWork> {
    Workers::here().enter().then(|| {
        AT_WORK.set(true);
        WORKER.set(true);
        AtWork(())
    })
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.set(false);
        Workers::here().leave();
    }
}

/// Whether this is a thread of a listener's, in the middle of a step, or in the application's code there.
#[must_use]
pub fn is_worker() -> bool {
    WORKER.get()
}

pub(crate) fn is_ending() -> bool {
    Workers::here().lock().ending
}

/// Runs the application's code in the middle of a handshake. `None`: the process ends, and this is a
/// thread that nobody waits for.
pub fn in_application<R>(call: impl FnOnce() -> R) -> Option<R> {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            AT_WORK.set(true);
            Workers::here().enter_again();
        }
    }
    if !AT_WORK.get() {
        return Some(call());
    }
    let workers = Workers::here();
    if workers.lock().ending {
        return None;
    }
    AT_WORK.set(false);
    workers.leave();
    let _back = Back;
    Some(call())
}

/// To be called before the process ends, once: no thread of a listener does anything from then on, but
/// for those that the application's code keeps. Those that accept do the steps of handshakes themselves.
pub fn end_workers() {
    Workers::here().end();
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn the_end_waits_for_steps_that_have_begun_and_lets_none_begin() {
        static WORKERS: Workers = Workers::new();
        assert!(WORKERS.enter());
        let (ended, has_ended) = mpsc::channel();
        let ending = thread::spawn(move || {
            WORKERS.end();
            ended.send(()).unwrap();
        });
        while !WORKERS.lock().ending {
            thread::yield_now();
        }
        assert!(!WORKERS.enter());
        assert!(has_ended.try_recv().is_err());
        WORKERS.leave();
        has_ended.recv_timeout(PATIENCE).unwrap();
        ending.join().unwrap();
    }

    #[test]
    fn the_end_does_not_wait_for_the_application() {
        let at_work = begin_work().unwrap();
        assert_eq!(Workers::here().lock().at_work, 1);
        let asked = in_application(|| {
            assert_eq!(Workers::here().lock().at_work, 0);
            // Another connection's, on the same thread.
            in_application(|| Workers::here().lock().at_work).unwrap()
        });
        assert_eq!(asked, Some(0));
        assert_eq!(Workers::here().lock().at_work, 1);
        drop(at_work);
        assert_eq!(Workers::here().lock().at_work, 0);
    }
}
