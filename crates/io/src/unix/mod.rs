//! All that differs between Unix and other systems, and between its kinds.
//!
//! Another system brings a folder of its own with the same names (`system` in the crate). The rest of the crate
//! calls rustix only for what is the same everywhere: poll, and the types of descriptors, which on Windows are
//! those of sockets. There the bell has another form, calls on lent sockets cannot be told one by one not to
//! wait, nobody forks, and nothing tells what a peer has acknowledged.

mod bell;
mod delivery;
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod socket;

pub use self::{bell::Bell, delivery::unacknowledged, fork::watch_forks};
