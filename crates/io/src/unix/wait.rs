//! Waiting.

use std::time::Duration;

pub(crate) use rustix::event::poll as poll_connecting;

/// No single poll(2) takes longer: some systems count milliseconds in 31 bits.
pub(crate) const LONGEST_POLL: Duration = Duration::from_secs(24 * 3600);
/// One without an end.
pub(crate) const ENDLESS_POLL: Option<Duration> = None;
