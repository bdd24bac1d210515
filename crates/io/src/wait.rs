//! Waiting: poll(2) with a deadline and with signals.

use std::time::Instant;

use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::fd::BorrowedFd;

use crate::error::Error;
use crate::system::wait::{ENDLESS_POLL, LONGEST_POLL, poll_connecting};

/// Asked whenever a signal has interrupted a wait, on the thread that waits, with no lock held.
///
/// It may take its time, and may use other connections; it must not panic: others may be waiting
/// for this thread. Any `FnMut() -> bool` is one. A caller for whom signals mean nothing passes `&mut || false`.
pub trait Interrupt {
    /// Runs what is to be run for signals. `true` ends the call with [`Error::Interrupted`];
    /// `false` lets it wait on, for what is left of its time.
    fn should_stop(&mut self) -> bool;
}

impl<F: FnMut() -> bool> Interrupt for F {
    fn should_stop(&mut self) -> bool {
        self()
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// That something can be received, the end included.
    pub read: bool,
    /// That something can be sent.
    pub write: bool,
}

impl Interest {
    /// Reading only.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
    /// Writing only.
    pub const WRITE: Self = Self {
        read: false,
        write: true,
    };

    pub(crate) const fn is_none(self) -> bool {
        !self.read && !self.write
    }

    pub(crate) fn flags(self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.read);
        flags.set(PollFlags::OUT, self.write);
        flags
    }
}

/// Whether the socket takes something now, or fails.
#[must_use]
pub fn is_writable(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    // What goes wrong shows in the call that sends.
    poll_until(&mut fds, Some(Instant::now()), &mut || false).unwrap_or(true)
}

/// Waits until one of `fds` is ready, whatever for: errors and hang-ups count, the system call that
/// follows says which. `false`: `until` has come before that. Asks the kernel at least once.
///
/// # Errors
///
/// [`Error::Interrupted`], and what poll(2) gives.
pub(crate) fn poll_until(
    fds: &mut [PollFd<'_>],
    until: Option<Instant>,
    interrupt: &mut dyn Interrupt,
) -> Result<bool, Error> {
    poll_with(event::poll, fds, until, interrupt)
}

/// Waits until it is decided what becomes of a connect that is under way. `false`: `until` has come before that.
///
/// # Errors
///
/// Like [`poll_until`].
pub(crate) fn connecting_until(
    socket: BorrowedFd<'_>,
    until: Option<Instant>,
    interrupt: &mut dyn Interrupt,
) -> Result<bool, Error> {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    poll_with(poll_connecting, &mut fds, until, interrupt)
}

fn poll_with(
    mut poll: impl FnMut(&mut [PollFd<'_>], Option<&Timespec>) -> rustix::io::Result<usize>,
    fds: &mut [PollFd<'_>],
    until: Option<Instant>,
    interrupt: &mut dyn Interrupt,
) -> Result<bool, Error> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let step = match left {
            None => ENDLESS_POLL,
            Some(left) => Some(left.min(LONGEST_POLL)),
        };
        let timespec = step.and_then(|step| Timespec::try_from(step).ok());
        if interrupt.should_stop() {
            return Err(Error::Interrupted);
        }
        match poll(fds, timespec.as_ref()) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
            Ok(0) => {}
            Ok(_) => return Ok(true),
            // A signal, which is looked at before the next wait; or the kernel was short of memory.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use rustix::io::Errno;

    /// A poll(2) that gives these results one after the other and notes how long it should wait.
    fn script(
        results: &[rustix::io::Result<usize>],
        asked: &mut Vec<Option<Duration>>,
    ) -> impl FnMut(&mut [PollFd<'_>], Option<&Timespec>) -> rustix::io::Result<usize> {
        let mut results = results.iter();
        move |_, timespec| {
            asked.push(timespec.map(|t| Duration::try_from(*t).unwrap()));
            *results.next().unwrap()
        }
    }

    #[test]
    fn a_signal_stops_the_wait_only_if_the_caller_says_so() {
        let mut asked = Vec::new();
        let poll = script(&[Err(Errno::INTR), Err(Errno::INTR), Ok(1)], &mut asked);
        let mut calls = 0;
        let outcome = poll_with(poll, &mut [], None, &mut || {
            calls += 1;
            calls == 2
        });
        assert!(matches!(outcome, Err(Error::Interrupted)));
        // Asked before each wait, the one that did not come to be included.
        assert_eq!((calls, asked.len()), (2, 1));
    }

    #[test]
    fn the_time_that_is_left_goes_down_over_interruptions() {
        let mut asked = Vec::new();
        let poll = script(&[Err(Errno::INTR), Err(Errno::INTR), Ok(1)], &mut asked);
        let until = Instant::now() + Duration::from_secs(60);
        let outcome = poll_with(poll, &mut [], Some(until), &mut || {
            std::thread::sleep(Duration::from_millis(5));
            false
        });
        assert!(outcome.unwrap());
        assert!(asked[0] > asked[1] && asked[1] > asked[2]);
    }

    #[test]
    fn a_poll_that_ends_early_is_done_again_and_one_at_the_deadline_is_not() {
        let mut asked = Vec::new();
        let mut poll = script(&[Ok(0), Ok(0)], &mut asked);
        let until = Instant::now() + Duration::from_millis(20);
        let outcome = poll_with(
            move |fds, timespec| {
                std::thread::sleep(Duration::from_millis(30));
                poll(fds, timespec)
            },
            &mut [],
            Some(until),
            &mut || false,
        );
        assert!(!outcome.unwrap());
        assert_eq!(asked[1], Some(Duration::ZERO));
    }
}
