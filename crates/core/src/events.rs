//! What happens on a connection, for a [`Tracer`]: never secrets, and never the content of messages.

use std::fmt;

use crate::alert::Alert;
use crate::error::Error;
use crate::facts::Facts;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A handshake message passed by; in TLS 1.3 also after the handshake. Encrypted ones only if the
    /// library shows them.
    Message {
        /// Whether this side sent it.
        is_ours: bool,
        /// HandshakeType.
        kind: u8,
        /// The length in bytes, including the header of 4.
        length: usize,
    },
    /// A fatal alert, or close_notify.
    Alert {
        /// Whether this side sent it.
        is_ours: bool,
        /// Which.
        alert: Alert,
    },
    /// The handshake is complete.
    Established(Box<Facts>),
    /// The connection is over; with an error, because of that. Nothing follows.
    Ended(Option<Error>),
}

/// Receives the events of connections, each with a number that no other connection of the process
/// has. Called on the thread that calls the connection, after its lock was given back.
pub trait Tracer: fmt::Debug + Send + Sync {
    /// Called with each event, in order; `is_client`: this side's role.
    fn event(&self, connection: u64, is_client: bool, event: &Event);
}
