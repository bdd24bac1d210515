//! All that differs between Unix and other systems, and between its kinds.
//!
//! Every system has a folder with the same names (`system` in the crate). The rest of the crate calls rustix
//! only for what is the same everywhere: poll, calls on sockets, and the types of descriptors, which on Windows
//! are those of sockets.

pub(crate) mod channel;
mod delivery;
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod lent;
pub mod number;
pub(crate) mod socket;
pub(crate) mod wait;

pub use self::delivery::unacknowledged;
