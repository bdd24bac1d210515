//! What a judge is made of.

use std::fmt;

use polytls_core::Error;
use polytls_core::config::{Common, Trust, Verification};
use polytls_core::pki_types::SignatureVerificationAlgorithm;

use crate::judge::{Case, No};

/// The caller's cryptography.
#[derive(Clone, Copy)]
pub struct Crypto {
    /// The signature algorithms of certificates and CRLs that are accepted.
    pub algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    /// SHA-1, by which OCSP responses identify issuers (RFC 6960 section 4.1.1); `None`: the library does not have
    /// it.
    pub sha1: &'static (dyn Fn(&[u8]) -> Option<[u8; 20]> + Send + Sync),
    /// SHA-256.
    pub sha256: &'static (dyn Fn(&[u8]) -> [u8; 32] + Send + Sync),
}

impl fmt::Debug for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crypto")
    }
}

/// What peers are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Whom the configuration trusts; `None` where it says nothing.
    pub trust: Option<&'a Trust>,
    /// How much is checked.
    pub verification: Verification,
    /// The CRLs, what is made of staples, and the caller's verifier.
    pub common: &'a Common,
    /// The peers' role.
    pub peer_is_server: bool,
}

/// Who judges by the operating system's certificates, where those are trusted.
#[derive(Clone, Copy)]
pub enum SystemTrust<'a> {
    /// The judge, by the certificates that the system's own tools read.
    Read,
    /// The platform.
    Platform(&'a MakePlatform<'a>),
    /// A TLS library, which says in each [`Case`] at which of them its path ended.
    Library,
}

/// Makes the platform's verifier for a policy, or says why it cannot do what is asked.
pub type MakePlatform<'a> = dyn Fn(&Policy<'_>) -> Result<Box<dyn Platform>, Error> + 'a;

/// What a library asks of a path that was found, beyond what the judge does.
pub trait PathRule: fmt::Debug + Send + Sync {
    /// Judges the path, from the leaf to the anchor, in DER.
    ///
    /// # Errors
    ///
    /// [`No`]: the peer is refused.
    fn check(&self, path: &[Vec<u8>]) -> Result<(), No>;
}

/// The platform's own verifier, for servers.
pub trait Platform: fmt::Debug + Send + Sync {
    /// Judges a chain for the name that was asked for.
    ///
    /// # Errors
    ///
    /// [`No`]: the peer is refused.
    fn verify(&self, case: &Case<'_>) -> Result<(), No>;
}
