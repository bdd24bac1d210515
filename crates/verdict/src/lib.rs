//! Whether a peer's certificate is accepted: one judge for every TLS library.
//!
//! A [`Judge`] is made once for each context, of what the configuration says ([`Policy`]) and of the
//! caller's cryptography ([`Crypto`]): this crate checks no signature and computes no hash by itself.
//! [`Judge::judge`] then decides each [`Case`]. `anchors` has the certificates that are trusted, `path`
//! builds paths to them (by webpki), `leaf` judges certificates that need no path. [`explain`] makes
//! the words, after the decision, from facts.

mod anchors;
mod errors;
pub mod explain;
mod judge;
mod leaf;
mod path;

pub use anchors::{SystemAnchor, system_anchors};
pub use errors::words;
pub use judge::{Case, Crypto, Judge, MakePlatform, No, Platform, Policy, Verdict};
