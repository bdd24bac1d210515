//! The core of a TLS connection, independent of the library that does the cryptography.
//!
//! This crate has what every implementation shares: configuration values ([`config`]), what a
//! library supports and whether a configuration requires more ([`capabilities`]), the names of
//! TLS's numbers ([`names`]), errors that show where the fault is ([`Error`]), the [`Session`]
//! trait that a library implements, and the [`Connection`] around it, which owns the buffers and
//! every rule that must not differ between libraries (limits, latched errors, closing, the end of
//! the transport).
//!
//! ```text
//!  ciphertext in --> [ Incoming ] -- Inbound --> Session::receive --> caller's buffer (or Unread)
//!                                                   |
//!  ciphertext out <-- [ Outbound ] <----------------+----- Session::seal <-- plaintext
//! ```
//!
//! It depends on no TLS library, no Python, no socket and no file; the time comes from an injected
//! [`clock::Clock`].

pub mod alert;
pub mod backend;
mod buffers;
pub mod capabilities;
pub mod clock;
pub mod config;
mod connection;
pub mod ech;
mod error;
pub mod events;
mod facts;
pub mod fork;
pub mod hello;
mod host;
mod id;
mod later;
mod lineage;
mod lock;
mod memory;
pub mod messages;
pub mod names;
pub mod pem;
mod plaintext;
pub mod probe;
mod record;
mod session;
pub mod sni;
mod tickets;
mod version;

pub use alert::Alert;
pub use backend::{
    Backend, ClientEngine, Counters, Parameters, ServerEngine, Statistics, Unavailable,
};
pub use buffers::{Inbound, OUTGOING_LIMIT, Outbound};
pub use capabilities::Effective;
pub use connection::{Connection, INCOMING_LIMIT, Ours, Phase, Refused, Role, Theirs, Wants};
pub use error::{
    Cause, CertificateFailure, Error, Responsible, SignerFailure, VerificationFailure,
};
pub use facts::{Course, Facts, Staple, Stapled};
pub use host::{HostName, InvalidHostName};
pub use id::{IdFailure, IdReason};
pub use later::run_later;
pub use lineage::{Lineage, Offer};
pub use lock::{Barred, Entry, Guard, Lock};
pub use memory::Memory;
pub use plaintext::{Room, Sink};
pub use record::{MAX_FRAGMENT, MAX_RECORD, records};
pub use rustls_pki_types as pki_types;
pub use session::{Progress, Session, Shown};
pub use tickets::Tickets;
