//! Whether a peer's certificate is accepted: one judge for every TLS library.
//!
//! A [`Judge`] is made once for each context, of what the configuration says ([`Policy`]) and of the
//! caller's cryptography ([`Crypto`]): this crate checks no signature and computes no hash by itself.
//! [`Judge::judge`] then decides each [`Case`]. `anchors` has the certificates that are trusted, `path`
//! builds paths to them (by webpki), `signatures` finds out why there is none, `profile` has the rules that webpki leaves
//! out, `leaf` judges certificates that need no path, `lists` reads
//! CRLs; `binding` has what tickets are bound to. [`explain`] makes the words, after the decision, from facts; `passed_over` has
//! those about certificates of the store.

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
mod system;

pub use anchors::{Unfit, system_certificates};
pub use binding::binding;
pub use judge::{Case, Judge, No, Verdict};
pub use passed_over::PassedOver;
pub use policy::{Crypto, MakePlatform, PathRule, Platform, Policy, SystemTrust};
pub use system::system_places;
