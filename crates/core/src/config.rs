//! The configuration of a connection, as plain values. Files have already been read and encodings
//! parsed; creating an engine checks whether the library supports the configuration.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroize as _;

use crate::clock::{Clock, SystemClock};
use crate::error::{Cause, SignerFailure};
use crate::events::Tracer;
use crate::record::MAX_FRAGMENT;
pub use crate::version::Version;

/// What client and server configurations have in common.
#[derive(Clone, Debug)]
pub struct Common {
    /// The allowed versions.
    pub versions: Vec<Version>,
    /// Cipher suites by IANA number, an upper bound in order of preference; `None`: the library's
    /// defaults.
    pub cipher_suites: Option<Vec<u16>>,
    /// Key exchange groups by IANA number, likewise.
    pub groups: Option<Vec<u16>>,
    /// Signature schemes of handshakes by number (RFC 8446 section 4.2.3), likewise: those that this
    /// side signs with, and those that it accepts.
    pub signature_schemes: Option<Vec<u16>>,
    /// The names of CAs that the peer is sent, each a Name in DER (RFC 8446 section 4.2.4); `None`:
    /// those of the trust store on a server, and none on a client.
    pub certificate_authorities: Option<Vec<Vec<u8>>>,
    /// Application protocols in order of preference.
    pub alpn: Vec<Vec<u8>>,
    /// The capacity of the session cache; `None`: no resumption.
    pub sessions: Option<usize>,
    /// Receives the secrets of every connection, for debugging; `None`: no key log.
    pub key_log: Option<Arc<dyn KeyLog>>,
    /// Is told what happens on every connection; `None`: nothing is.
    pub tracer: Option<Arc<dyn Tracer>>,
    /// Whether certificates are compressed for peers that decompress them, and compressed ones are
    /// accepted (RFC 8879).
    pub certificate_compression: bool,
    /// How many bytes of plaintext a record that is sent holds at most.
    pub max_fragment: usize,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// CRLs. If there are any, every certificate of a path except the anchor must be covered by a
    /// current one.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
    /// What a client makes of OCSP responses that servers staple.
    pub staples: Staples,
    /// The caller's custom verification.
    pub peer_verifier: Option<Arc<dyn PeerVerifier>>,
    /// Whether early data can be sent (client) or received (server) before the handshake is
    /// complete (RFC 8446 section 2.3). It can be replayed.
    pub early_data: bool,
    /// OpenSSL's rules for the trust store, where they differ.
    pub rules: Rules,
}

/// What a client makes of a stapled OCSP response (RFC 6066 section 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Staples {
    /// It is not looked at, as by `ssl`.
    Ignored,
    /// A server that staples one that is not in order, or none though its certificate requires one (RFC 7633), is
    /// refused.
    #[default]
    Heeded,
    /// A server that staples none is refused, too.
    Required,
}

/// Receives secrets in the NSS key log format.
pub trait KeyLog: fmt::Debug + Send + Sync {
    /// `label` as in that format, such as `CLIENT_TRAFFIC_SECRET_0`. Called on the thread that
    /// calls the connection.
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]);
}

impl Default for Common {
    fn default() -> Self {
        Self {
            versions: vec![Version::Tls12, Version::Tls13],
            cipher_suites: None,
            groups: None,
            signature_schemes: None,
            certificate_authorities: None,
            alpn: Vec::new(),
            sessions: Some(256),
            key_log: None,
            tracer: None,
            certificate_compression: false,
            max_fragment: MAX_FRAGMENT,
            clock: Arc::new(SystemClock),
            crls: Vec::new(),
            staples: Staples::default(),
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
    /// The OCSP response for the leaf (RFC 6960), which servers staple.
    pub ocsp_response: Option<Vec<u8>>,
}

/// A private key.
#[derive(Debug)]
pub enum Key {
    /// The key itself.
    Der(PrivateKeyDer<'static>),
    /// A signer.
    Signer(Arc<dyn Signer>),
    /// One that the library has opened by itself ([`crate::backend::Backend::private_key`]), in a form that
    /// only it knows.
    Opened(Arc<dyn Any + Send + Sync>),
}

impl Clone for Key {
    fn clone(&self) -> Self {
        match self {
            Self::Der(key) => Self::Der(key.clone_key()),
            Self::Signer(signer) => Self::Signer(Arc::clone(signer)),
            Self::Opened(key) => Self::Opened(Arc::clone(key)),
        }
    }
}

/// A private key outside this process or library: in a token, an agent, another process.
pub trait Signer: fmt::Debug + Send + Sync {
    /// Its public key, as SubjectPublicKeyInfo in DER.
    fn public_key(&self) -> &[u8];

    /// The signature schemes it supports, by number (RFC 8446 section 4.2.3), in order of
    /// preference.
    fn schemes(&self) -> &[u16];

    /// Signs `message`, which is not hashed yet. It may block.
    ///
    /// # Errors
    ///
    /// [`SignerFailure`]: the handshake fails.
    fn sign(&self, message: &[u8], scheme: u16) -> Result<Vec<u8>, SignerFailure>;
}

/// Which certificates are accepted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Paths to the certificates of a store, and these certificates themselves.
    Store(TrustStore),
    /// Only these leaves, without a path.
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

    /// The source of trust, for explanations.
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

/// Trusted certificates.
#[derive(Clone, Debug, Default)]
pub struct TrustStore {
    /// Whether the operating system's are included.
    pub system: bool,
    /// Each is a CA, if it is allowed to issue, and is accepted itself as a leaf.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Accepted themselves as leaves, and never as CAs.
    pub peers: Vec<CertificateDer<'static>>,
    /// Whether self-issued version 1 certificates among `certificates`, which cannot state that
    /// they may issue, are CAs. Those of the system are.
    pub v1_authorities: bool,
    /// The file that `certificates` came from, if any.
    pub path: Option<String>,
}

/// Rules of OpenSSL for a store that differ from ours; all are off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Certificates among `certificates` that are not self-issued are trusted only if their issuer
    /// is: they complete paths, but are neither trust anchors nor accepted themselves as leaves
    /// (without X509_V_FLAG_PARTIAL_CHAIN).
    pub whole_chains: bool,
    /// The checks of X509_V_FLAG_X509_STRICT for each certificate of a path.
    pub strict: bool,
    /// A store may be empty; then no peer is accepted.
    pub may_be_empty: bool,
    /// No peer is accepted without a CRL (X509_V_FLAG_CRL_CHECK).
    pub needs_lists: bool,
    /// Only leaves are looked up in CRLs (without X509_V_FLAG_CRL_CHECK_ALL).
    pub lists_for_leaf: bool,
}

/// What a peer was verified against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustSource {
    /// Nothing.
    Nobody,
    /// The operating system's certificates.
    System {
        /// Whether other certificates were added to them.
        has_more: bool,
        /// What selected them, in words, if it was not the system.
        chosen: Option<String>,
    },
    /// Given certificates, from this file or from memory.
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
    /// Whether the host name is not checked.
    pub any_name: bool,
}

/// Custom verification of a peer: it can only refuse the peer.
pub trait PeerVerifier: fmt::Debug + Send + Sync {
    /// Called inside the handshake with a peer that presented a certificate, after all other checks
    /// have passed; also for resumed handshakes. It may block.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the handshake fails.
    fn verify(&self, peer: &Peer<'_>) -> Result<(), Refusal>;
}

/// The peer, for a [`PeerVerifier`].
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The chain as the peer presented it, leaf first; never empty.
    pub presented: &'a [CertificateDer<'a>],
    /// The verified path, from the leaf to the anchor; `None` if there is none.
    pub verified: Option<&'a [Vec<u8>]>,
    /// The requested name, on a client.
    pub hostname: Option<&'a str>,
    /// Whether the peer is a server.
    pub is_server: bool,
}

/// The refusal of a [`PeerVerifier`].
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why, in one line.
    pub message: String,
    /// The underlying cause.
    pub cause: Option<Cause>,
}

/// How much of the peer's certificate is verified. Only `polytls.insecure` uses less than
/// [`Self::Full`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// Path, validity, purpose and host name.
    #[default]
    Full,
    /// Everything except the host name.
    AnyName,
    /// Only the handshake's own signature.
    Nothing,
}

/// Whether a server asks for the client's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// It does not ask.
    #[default]
    None,
    /// It asks, and continues without one.
    Optional,
    /// It asks, and refuses a client without one.
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
    /// What servers have, too.
    pub common: Common,
    /// What the client presents if asked: the first that the server can verify, as far as the
    /// server says.
    pub identities: Vec<Identity>,
    /// Which servers it trusts.
    pub trust: Trust,
    /// How much it verifies.
    pub verification: Verification,
    /// Whether connections without Encrypted ClientHello send a random extension in its form (RFC
    /// 9849 section 6.2).
    pub ech_grease: bool,
}

/// A server's configuration.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What clients have, too.
    pub common: Common,
    /// What the server presents; the first one by default, the others by name.
    pub identities: Vec<Identity>,
    /// Whether it asks for the client's certificate.
    pub client_authentication: ClientAuthentication,
    /// Which clients it trusts, if it asks.
    pub trust: Option<Trust>,
    /// How much it verifies.
    pub verification: Verification,
    /// Ticket keys; `None`: random keys for this engine only.
    pub ticket_keys: Option<TicketKeys>,
    /// What ClientHello is decrypted with (RFC 9849). The configurations of the first are sent to
    /// clients whose ClientHello cannot be decrypted.
    pub ech_keys: Vec<EchKey>,
    /// How many tickets a TLS 1.3 handshake issues to a client; `None`: the library's default.
    pub tickets: Option<usize>,
}

/// Ticket keys that several servers share.
#[derive(Clone, Debug)]
pub struct TicketKeys {
    /// The secret that keys are derived from.
    pub secret: Secret,
    /// Another secret whose tickets are still accepted.
    pub previous: Option<Secret>,
    /// How long one key is used.
    pub rotation: Duration,
    /// How long a ticket is accepted.
    pub lifetime: Duration,
}

/// A key of Encrypted ClientHello with its configurations.
#[derive(Debug)]
pub struct EchKey {
    /// The private key; its `Debug` shows no key bytes.
    pub key: PrivateKeyDer<'static>,
    /// The list of configurations that have its public key (RFC 9849 section 4).
    pub list: Vec<u8>,
}

impl Clone for EchKey {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone_key(),
            list: self.list.clone(),
        }
    }
}

/// Bytes that are not shown, and are wiped when dropped.
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
