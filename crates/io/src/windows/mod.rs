//! Windows, with Winsock. The names are those of `unix`.
//!
//! A descriptor is the handle of a socket here. Three things are missing, which others have to make up for:
//! nothing interrupts a wait, so that waits are done in steps; a call cannot be told not to wait, which matters
//! on sockets that stay their owner's; and what a peer has acknowledged is known only once our side has ended.

pub(crate) mod channel;
mod delivery;
pub(crate) mod file;
pub(crate) mod fork;
mod key_pipe;
pub(crate) mod lent;
pub mod number;
pub(crate) mod socket;
pub(crate) mod wait;

pub use self::{delivery::unacknowledged, key_pipe::KeyPipe};
