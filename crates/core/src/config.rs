//! What a connection shall be like, as plain values. Files have been read and encodings parsed
//! by the time they stand here; whether a library can do it is judged when an engine is made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroize as _;

use crate::clock::{Clock, SystemClock};
use crate::error::{Cause, SignerFailure};

/// A protocol version that may be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    /// The number on the wire.
    #[must_use]
    pub const fn wire(self) -> u16 {
        match self {
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }

    /// The version of this number on the wire.
    #[must_use]
    pub const fn of_wire(number: u16) -> Option<Self> {
        match number {
            0x0303 => Some(Self::Tls12),
            0x0304 => Some(Self::Tls13),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

/// What client and server configurations have in common.
#[derive(Clone, Debug)]
pub struct Common {
    /// Versions that may be spoken.
    pub versions: Vec<Version>,
    /// Cipher suites by IANA number, an upper bound in the order of preference; `None`: the
    /// library's own choice.
    pub cipher_suites: Option<Vec<u16>>,
    /// Key exchange groups by IANA number, likewise.
    pub groups: Option<Vec<u16>>,
    /// Application protocols in the order of preference.
    pub alpn: Vec<Vec<u8>>,
    /// How many sessions to remember; `None`: no resumption.
    pub sessions: Option<usize>,
    /// Who is told the secrets of every connection, for debugging; `None`: nobody.
    pub key_log: Option<Arc<dyn KeyLog>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Revocation lists. With any, every certificate of a path but the anchor must be spoken of by
    /// one that is in force.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
    /// The caller's custom verification.
    pub peer_verifier: Option<Arc<dyn PeerVerifier>>,
    /// Whether data may go before the handshake is complete (RFC 8446 section 2.3): a client may send
    /// it, a server takes it. It can be replayed.
    pub early_data: bool,
    /// How trust is read where it stands for a store of OpenSSL's.
    pub rules: Rules,
}

/// Is told secrets in the NSS key log format.
pub trait KeyLog: fmt::Debug + Send + Sync {
    /// `label` as in that format, such as `CLIENT_TRAFFIC_SECRET_0`. Called on the thread that calls
    /// the connection.
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]);
}

impl Default for Common {
    fn default() -> Self {
        Self {
            versions: vec![Version::Tls12, Version::Tls13],
            cipher_suites: None,
            groups: None,
            alpn: Vec::new(),
            sessions: Some(256),
            key_log: None,
            clock: Arc::new(SystemClock),
            crls: Vec::new(),
            peer_verifier: None,
            early_data: false,
            rules: Rules::default(),
        }
    }
}

/// A chain and the key of its leaf.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key; its `Debug` shows no key bytes.
    pub key: Key,
    /// What the issuer says of the leaf's revocation (RFC 6960), for servers to pass on.
    pub ocsp_response: Option<Vec<u8>>,
}

/// A private key.
#[derive(Debug)]
pub enum Key {
    /// The key itself.
    Der(PrivateKeyDer<'static>),
    /// One that is elsewhere.
    Signer(Arc<dyn Signer>),
}

impl Clone for Key {
    fn clone(&self) -> Self {
        match self {
            Self::Der(key) => Self::Der(key.clone_key()),
            Self::Signer(signer) => Self::Signer(Arc::clone(signer)),
        }
    }
}

/// A private key that is elsewhere: in a token, an agent, another process.
pub trait Signer: fmt::Debug + Send + Sync {
    /// Its public key, as SubjectPublicKeyInfo in DER.
    fn public_key(&self) -> &[u8];

    /// The signature schemes it can do, by their numbers (RFC 8446 section 4.2.3), the preferred first.
    fn schemes(&self) -> &[u16];

    /// Signs `message`, which is not hashed yet. It may block.
    ///
    /// # Errors
    ///
    /// [`SignerFailure`]: the handshake fails.
    fn sign(&self, message: &[u8], scheme: u16) -> Result<Vec<u8>, SignerFailure>;
}

/// Whose certificates are accepted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Paths to the certificates of a store, and these themselves.
    Store(TrustStore),
    /// These leaves alone, and no path.
    Pinned(Pins),
}

impl Trust {
    /// These certificates, from memory.
    #[must_use]
    pub fn given(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self::Store(TrustStore {
            certificates,
            ..TrustStore::default()
        })
    }

    /// Where trust comes from, for explanations.
    #[must_use]
    pub fn source(&self) -> TrustSource {
        match self {
            Self::Store(store) if store.system => TrustSource::System {
                has_more: !store.certificates.is_empty() || !store.peers.is_empty(),
                chosen: None,
            },
            Self::Store(store) => TrustSource::Given(store.path.clone()),
            Self::Pinned(_) => TrustSource::Pins,
        }
    }
}

/// Certificates that are trusted.
#[derive(Clone, Debug, Default)]
pub struct TrustStore {
    /// Whether those of the operating system are among them.
    pub system: bool,
    /// Each is an authority, if it may issue by its own words, and is accepted itself as a leaf.
    pub certificates: Vec<CertificateDer<'static>>,
    /// These are accepted themselves as leaves, and speak for nobody else.
    pub peers: Vec<CertificateDer<'static>>,
    /// Whether self-issued certificates of version 1 among `certificates`, which cannot say that they
    /// may issue, are authorities. Those of the system are.
    pub v1_authorities: bool,
    /// The file that `certificates` came from, if it was one.
    pub path: Option<String>,
}

/// Rules of OpenSSL's for a store that differ from ours: all are off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What is not self-issued among `certificates` is trusted by nobody's word but its issuer's: it completes
    /// paths, and is neither an authority that ends them nor a leaf that is accepted itself (without
    /// X509_V_FLAG_PARTIAL_CHAIN).
    pub whole_chains: bool,
    /// What X509_V_FLAG_X509_STRICT asks of each certificate of a path.
    pub strict: bool,
    /// A store may be empty; nobody is accepted then.
    pub may_be_empty: bool,
    /// Nobody is accepted without a revocation list (X509_V_FLAG_CRL_CHECK).
    pub needs_lists: bool,
    /// Only a leaf is looked for in revocation lists (without X509_V_FLAG_CRL_CHECK_ALL).
    pub lists_for_leaf: bool,
}

/// What a peer was judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustSource {
    /// Nothing.
    Nobody,
    /// The operating system's certificates.
    System {
        /// Whether others were added to them.
        has_more: bool,
        /// What chose them, in words, if it was not the system.
        chosen: Option<String>,
    },
    /// Certificates that were given, from this file or from memory.
    Given(Option<String>),
    /// Pins.
    Pins,
}

/// The leaves that are accepted without a path.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    /// Certificates, byte by byte.
    pub certificates: Vec<CertificateDer<'static>>,
    /// SHA-256 over SubjectPublicKeyInfo (RFC 7469 section 2.4).
    pub spki_sha256: Vec<[u8; 32]>,
    /// Whether the host name is left unchecked.
    pub any_name: bool,
}

/// Custom verification of a peer: it can only refuse.
pub trait PeerVerifier: fmt::Debug + Send + Sync {
    /// Called inside the handshake with a peer that presented a certificate, after everything else
    /// was found right; resumed handshakes included. It may block.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the handshake fails.
    fn verify(&self, peer: &Peer<'_>) -> Result<(), Refusal>;
}

/// What a [`PeerVerifier`] is shown.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The chain as the peer presented it, leaf first; never empty.
    pub presented: &'a [CertificateDer<'a>],
    /// The path that was verified, from the leaf to the anchor; `None` where there is none.
    pub verified: Option<&'a [Vec<u8>]>,
    /// The name that was asked for, on a client.
    pub hostname: Option<&'a str>,
    /// Whether the peer is a server.
    pub is_server: bool,
}

/// A [`PeerVerifier`]'s no.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why, in one line.
    pub message: String,
    /// What is behind it.
    pub cause: Option<Cause>,
}

/// How much of the peer's certificate is checked. Less than [`Self::Full`] is asked for through
/// `polytls.insecure` alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// Path, validity, purpose and host name.
    #[default]
    Full,
    /// All but the host name.
    AnyName,
    /// Nothing but the handshake's own signature.
    Nothing,
}

/// Whether a server asks for the client's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// It does not.
    #[default]
    None,
    /// It does, and goes on without.
    Optional,
    /// It does, and refuses a client without.
    Required,
}

impl ClientAuthentication {
    /// The name of the member in the public enumeration of the same name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Optional => "OPTIONAL",
            Self::Required => "REQUIRED",
        }
    }
}

/// A client's configuration.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// What servers have too.
    pub common: Common,
    /// What the client presents if asked: the first one that the server can verify, as far as it says.
    pub identities: Vec<Identity>,
    /// Whom it trusts.
    pub trust: Trust,
    /// How much it checks.
    pub verification: Verification,
}

/// A server's configuration.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What clients have too.
    pub common: Common,
    /// What the server presents; the first one by default, the others by name.
    pub identities: Vec<Identity>,
    /// Whether it asks for the client's certificate.
    pub client_authentication: ClientAuthentication,
    /// Whom it trusts, if it asks.
    pub trust: Option<Trust>,
    /// How much it checks.
    pub verification: Verification,
    /// Ticket encryption keys; `None`: random keys of this engine alone.
    pub ticket_keys: Option<TicketKeys>,
    /// How many tickets a handshake of TLS 1.3 gives a client, if any; `None`: as many as the library does.
    pub tickets: Option<usize>,
}

/// Ticket keys that several servers share.
#[derive(Clone, Debug)]
pub struct TicketKeys {
    /// What keys are derived from.
    pub secret: Secret,
    /// A secret whose tickets are still accepted.
    pub previous: Option<Secret>,
    /// How long one key is used.
    pub rotation: Duration,
    /// How long a ticket is accepted.
    pub lifetime: Duration,
}

/// Bytes that are not shown, and are wiped when they are dropped.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
