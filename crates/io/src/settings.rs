//! What can be set of a listener.

use std::time::Duration;

/// How a [`Listener`](crate::Listener) is to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerSettings {
    /// How many connections the kernel keeps until they are accepted.
    pub backlog: i32,
    /// Whether other sockets may listen at the same address, and share its connections
    /// (SO_REUSEPORT).
    pub reuse_port: bool,
    /// Whether an IPv6 address takes connections over IPv4, too.
    pub dual_stack: bool,
    /// How many connections may be in hand: in their handshakes, or finished and not returned yet.
    /// At this limit the oldest handshake gives way to a connection that comes in, if it is older
    /// than a second; if there is none, further ones stay with the kernel. At least 1.
    pub handshake_limit: usize,
    /// How long one handshake may take. Time in which no thread accepts does not count.
    pub handshake_timeout: Duration,
    /// Whether a blocking `accept` completes handshakes. A non-blocking one never does.
    pub handshake_on_accept: bool,
    /// Whether a step of a handshake may block, as it calls back into the application: each
    /// handshake in progress then has a thread while it has something to do, so that none holds up
    /// another. One that is finished later than its limit of time allows has failed.
    pub handshake_may_block: bool,
    /// Of the connections: [`Stream::accept_truncated_end`](crate::Stream::accept_truncated_end).
    pub accept_truncated_end: bool,
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self {
            backlog: 128,
            reuse_port: false,
            dual_stack: false,
            handshake_limit: 128,
            handshake_timeout: Duration::from_secs(10),
            handshake_on_accept: true,
            handshake_may_block: false,
            accept_truncated_end: false,
        }
    }
}
