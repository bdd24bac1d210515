//! Decides whether a peer's certificate is accepted, for every TLS library.
//!
//! A [`Judge`] is created once for each context, from the configuration ([`Policy`]) and the
//! caller's cryptography ([`Crypto`]): this crate does not check signatures or compute hashes
//! itself. [`Judge::judge`] then decides each [`Case`]. `anchors` has the trusted certificates,
//! `path` builds paths to them (with webpki), `signatures` finds out why there is no path,
//! `profile` has the rules that webpki does not check, `staples` judges OCSP responses, `leaf` verifies certificates that need no
//! path, `lists` reads CRLs, and `binding` has what tickets are bound to. [`explain`] creates the
//! messages, after the decision, from facts; `passed_over` has those about certificates of the
//! store.

mod anchors;
mod binding;
mod errors;
pub mod explain;
mod judge;
mod leaf;
mod lists;
mod passed_over;
mod path;
mod policy;
mod profile;
mod signatures;
mod staples;
mod system;

pub use anchors::{Unfit, system_certificates};
pub use binding::binding;
pub use judge::{Case, Judge, No, Verdict};
pub use passed_over::PassedOver;
pub use policy::{Crypto, MakePlatform, PathRule, Platform, Policy, SystemTrust};
pub use system::system_places;
