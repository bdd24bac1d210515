//! Private keys and certificates in PKCS#11 tokens: smart cards, HSMs, TPMs, agents.
//!
//! A key never leaves its token: [`TokenKey`] is a [`polytls_core::config::Signer`], which any TLS
//! library here can use. URIs name objects ([`Uri`], RFC 7512).
//!
//! Rules of this crate:
//!
//! - Each file is loaded as one module per process; a child of fork(2) initializes it again and
//!   abandons its parent's sessions.
//! - No lock is held while a token signs, logs in or asks for a PIN.
//! - A PIN is wiped after use, and never appears in a message. A PIN that the token has rejected is
//!   not tried again.
//! - An operation that fails because a session, a login or the token is gone is tried once more,
//!   from the start.

mod certificate;
mod der;
mod error;
mod key;
mod listing;
mod login;
mod module;
mod one_shot;
mod session;
mod signing;
mod token;
mod uri;
mod verify;

pub use certificate::certificates;
pub use error::Error;
pub use key::TokenKey;
pub use listing::{TokenListing, list};
pub use login::{AskPin, PinRequest};
pub use uri::{ModuleReference, ObjectType, PinReference, Uri};
