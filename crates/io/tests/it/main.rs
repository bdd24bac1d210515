//! The driver over real sockets on loopback, with a session that hides nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accepting;
mod closing;
mod connecting;
mod delivery;
mod duplex;
mod faults;
mod files;
mod kit;
mod modes;
mod plain;
mod transports;
mod upgrading;
