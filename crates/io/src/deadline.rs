//! How long a call may take: what the caller set, and what that means once a call has begun.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long each call may wait, in total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// As long as it takes.
    Forever,
    /// Not at all: a call that would wait gives [`crate::Error::WantRead`] or
    /// [`crate::Error::WantWrite`].
    NonBlocking,
    /// This long, then [`crate::Error::TimedOut`].
    After(Duration),
}

impl From<Option<Duration>> for Timeout {
    /// As Python's `settimeout`: `None` waits for ever, zero not at all.
    fn from(timeout: Option<Duration>) -> Self {
        match timeout {
            None => Self::Forever,
            Some(Duration::ZERO) => Self::NonBlocking,
            Some(duration) => Self::After(duration),
        }
    }
}

/// A [`Timeout`] that can be changed while another thread waits: that wait goes on as it began.
#[derive(Debug)]
pub(crate) struct TimeoutCell(AtomicU64);

const FOREVER: u64 = u64::MAX;

impl TimeoutCell {
    pub(crate) fn new(timeout: Timeout) -> Self {
        let cell = Self(AtomicU64::new(FOREVER));
        cell.set(timeout);
        cell
    }

    pub(crate) fn set(&self, timeout: Timeout) {
        let nanoseconds = match timeout {
            Timeout::Forever => FOREVER,
            Timeout::NonBlocking => 0,
            // 584 years are enough.
            Timeout::After(duration) => {
                u64::try_from(duration.as_nanos()).map_or(FOREVER - 1, |n| n.clamp(1, FOREVER - 1))
            }
        };
        self.0.store(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Timeout {
        match self.0.load(Ordering::Relaxed) {
            FOREVER => Timeout::Forever,
            0 => Timeout::NonBlocking,
            nanoseconds => Timeout::After(Duration::from_nanos(nanoseconds)),
        }
    }
}

/// When a call that has begun is out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    Never,
    /// The call must not wait.
    NonBlocking,
    At(Instant),
}

impl Deadline {
    pub(crate) fn after(timeout: Timeout) -> Self {
        match timeout {
            Timeout::Forever => Self::Never,
            Timeout::NonBlocking => Self::NonBlocking,
            Timeout::After(duration) => Instant::now()
                .checked_add(duration)
                .map_or(Self::Never, Self::At),
        }
    }

    /// The same, but no later than `limit` from now.
    pub(crate) fn at_most(self, limit: Duration) -> Self {
        match (self, Self::after(Timeout::After(limit))) {
            (Self::NonBlocking, _) => Self::NonBlocking,
            (Self::At(one), Self::At(other)) => Self::At(one.min(other)),
            (_, limit) => limit,
        }
    }

    /// Never true of [`Self::NonBlocking`], which is out of time only where it would wait.
    pub(crate) fn has_passed(self) -> bool {
        self.instant().is_some_and(|at| Instant::now() >= at)
    }

    pub(crate) const fn instant(self) -> Option<Instant> {
        match self {
            Self::At(at) => Some(at),
            Self::Never | Self::NonBlocking => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_comes_back_as_it_was_set() {
        let cell = TimeoutCell::new(Timeout::Forever);
        for timeout in [
            Timeout::Forever,
            Timeout::NonBlocking,
            Timeout::After(Duration::from_nanos(1)),
            Timeout::After(Duration::from_millis(2500)),
        ] {
            cell.set(timeout);
            assert_eq!(cell.get(), timeout);
        }
        cell.set(Timeout::After(Duration::MAX));
        assert!(matches!(cell.get(), Timeout::After(_)));
        cell.set(Timeout::After(Duration::ZERO));
        assert!(matches!(cell.get(), Timeout::After(_)));
    }

    #[test]
    fn a_limit_shortens_every_deadline_but_that_of_a_call_that_does_not_wait() {
        let hour = Duration::from_secs(3600);
        assert!(Deadline::Never.at_most(hour).instant().is_some());
        assert_eq!(Deadline::NonBlocking.at_most(hour), Deadline::NonBlocking);
        let soon = Deadline::after(Timeout::After(Duration::from_secs(1)));
        assert_eq!(soon.at_most(hour), soon);
        assert!(Deadline::Never.at_most(Duration::ZERO).has_passed());
        assert_eq!(
            Deadline::after(Timeout::After(Duration::MAX)),
            Deadline::Never
        );
    }
}
