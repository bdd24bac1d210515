//! What a TLS library can do, so that everything else can be refused by name.

use crate::config::Version;

/// One library's abilities. Where a file or a buffer comes from is the caller's business; what
/// stands here is what the library itself decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Versions it speaks.
    pub versions: Vec<Version>,
    /// Cipher suites by IANA number, in its own order of preference.
    pub cipher_suites: Vec<u16>,
    /// Key exchange groups by IANA number, those it offers by default first.
    pub groups: Vec<u16>,
}
