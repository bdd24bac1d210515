//! The one place where time comes in, so that validity can be tested with a fixed clock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustls_pki_types::UnixTime;

/// Says what time it is.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time certificates and tickets are judged by; `None` if the machine cannot tell.
    fn now(&self) -> Option<UnixTime>;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Option<UnixTime> {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_unix_epoch)
    }
}

/// A clock that moves only when it is set, for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `seconds` since 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        Self(AtomicU64::new(seconds))
    }

    /// What it shows, in seconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it to `seconds` since 1970-01-01 00:00 UTC.
    pub fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    /// Moves it on.
    pub fn advance(&self, seconds: u64) {
        let moved = |now: u64| Some(now.saturating_add(seconds));
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            self.seconds(),
        )))
    }
}
