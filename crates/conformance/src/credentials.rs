//! What the cases need to know of certificates. This crate reads and makes none: whoever runs the
//! cases gives them, with the properties listed here.

use polytls_core::config::Identity;
use polytls_core::pki_types::CertificateDer;

/// The name [`Credentials::server`] and its twins are valid for.
pub const HOST: &str = "server.example";
/// The address [`Credentials::server`] is valid for too.
pub const ADDRESS: &str = "192.0.2.1";
/// The name [`Credentials::exact`] is valid for.
pub const EXACT_HOST: &str = "www.wild.example";
/// The name [`Credentials::wildcard`] is valid for.
pub const WILDCARD_HOST: &str = "*.wild.example";
/// The name the self-signed certificates are valid for.
pub const DEVICE: &str = "device.example";

/// Certificates and keys, all valid at [`Self::now`].
///
/// Every identity is issued by [`Self::root`] directly unless it says otherwise, and has a chain
/// of one certificate, ECDSA on P-256 unless it says otherwise.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The time of all cases, in seconds since 1970.
    pub now: u64,
    /// A time before every notBefore.
    pub before: u64,
    /// The notAfter of all but the root's.
    pub until: u64,
    /// A time after every notAfter.
    pub after: u64,
    /// The only trust anchor.
    pub root: CertificateDer<'static>,
    /// For [`HOST`] and [`ADDRESS`].
    pub server: Identity,
    /// For [`HOST`], with an RSA key.
    pub rsa: Identity,
    /// For [`HOST`], with an Ed25519 key.
    pub ed25519: Identity,
    /// For [`EXACT_HOST`].
    pub exact: Identity,
    /// For [`WILDCARD_HOST`].
    pub wildcard: Identity,
    /// A client's.
    pub client: Identity,
    /// For [`HOST`], fit for clients too, issued by a root nobody knows.
    pub stranger: Identity,
    /// For [`DEVICE`], self-signed, no CA.
    pub self_signed: Identity,
    /// For [`DEVICE`], self-signed, and a CA.
    pub self_signed_ca: Identity,
}

impl Credentials {
    /// [`Self::client`] with a chain so long that messages which carry it, and tickets which hold
    /// it, take more than one record.
    #[must_use]
    pub fn long_client(&self) -> Identity {
        let mut identity = self.client.clone();
        while identity.chain.iter().map(|der| der.len()).sum::<usize>() < 24 * 1024 {
            identity.chain.push(self.root.clone());
        }
        identity
    }
}
