//! How long the sessions of a connection may be resumed.

use std::fmt;
use std::sync::Arc;

use polytls_core::clock::Clock;
use rustls::pki_types::UnixTime;

use crate::observe;

/// The most time between a full handshake and the last that resumes it, by however many tickets in a
/// row (RFC 8446 section 4.6.1).
const A_WEEK: u64 = 7 * 24 * 60 * 60;

/// Until when, in seconds since 1970, sessions may be resumed whose full handshake is `now`.
pub(crate) fn last_end(now: UnixTime) -> u64 {
    now.as_secs().saturating_add(A_WEEK)
}

/// Until when sessions may be resumed: no longer than the certificate of the peer is valid that they
/// began with, and [`last_end`]. It passes on to the sessions of each connection that resumes one.
pub(crate) struct SessionLifetime(pub(crate) Arc<dyn Clock>);

impl SessionLifetime {
    /// The end of sessions of the connection that is being called.
    pub(crate) fn end(&self) -> Option<u64> {
        let known = observe::look(|seen| seen.sessions_end).flatten();
        known.or_else(|| self.0.now().map(last_end))
    }

    /// Whether a session with this end may be resumed.
    pub(crate) fn allows(&self, end: u64) -> bool {
        self.0.now().is_some_and(|now| now.as_secs() <= end)
    }

    /// Like [`Self::allows`], by the connection that is being called.
    pub(crate) fn goes_on(&self, end: u64) -> bool {
        let goes_on = self.allows(end);
        if goes_on {
            observe::note(|seen| seen.sessions_end = Some(end));
        }
        goes_on
    }

    /// A server's session, with its end before it.
    pub(crate) fn put_before(&self, session: &[u8]) -> Option<Vec<u8>> {
        Some([&self.end()?.to_be_bytes()[..], session].concat())
    }

    /// What [`Self::put_before`] was given, if it goes on.
    pub(crate) fn take_off(&self, mut session: Vec<u8>) -> Option<Vec<u8>> {
        let end = u64::from_be_bytes(*session.first_chunk()?);
        session.drain(..size_of::<u64>());
        self.goes_on(end).then_some(session)
    }
}

impl fmt::Debug for SessionLifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionLifetime")
    }
}
