//! The one place where time comes in, so that validity can be tested with a fixed clock.

use std::fmt;
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

/// A clock that stands still, for tests.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub u64);

impl Clock for FixedClock {
    fn now(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}
