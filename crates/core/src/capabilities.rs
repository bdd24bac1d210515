//! What a TLS library supports, and the check whether a configuration requires more.
//!
//! [`Capabilities::check`] compares a configuration's requirements with a library's capabilities, and returns
//! the effective settings. So the same configuration gets the same answer, in the same words, from every
//! library. Nothing here opens a file or reads a certificate; the engine does that. What a record cannot
//! express, a library refuses with [`Error::configuration`].

use std::collections::BTreeSet;

use crate::config::{ClientAuthentication, Version};
use crate::ech;
use crate::error::Error;
use crate::names::{
    self, CIPHER_SUITES, GROUPS, SIGNATURE_SCHEMES, group_serves, version_of_suite,
};
use crate::record::MAX_FRAGMENT;

/// Where certificates, keys and trust come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Bytes.
    Buffer,
    /// A file, by its path.
    File,
    /// An identifier that only the library understands.
    Id,
    /// Pinned certificates and keys, in place of a trust store.
    Pins,
    /// What signs with a key that is elsewhere.
    Signer,
    /// The operating system's trust store.
    System,
}

impl Source {
    /// All of them, by name.
    pub const ALL: [Self; 6] = [
        Self::Buffer,
        Self::File,
        Self::Id,
        Self::Pins,
        Self::Signer,
        Self::System,
    ];

    /// Its name in capabilities.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Buffer => "buffer",
            Self::File => "file",
            Self::Id => "id",
            Self::Pins => "pins",
            Self::Signer => "signer",
            Self::System => "system",
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Buffer => "a buffer",
            Self::File => "a file",
            Self::Id => "an id",
            Self::Pins => "pins",
            Self::Signer => "a signer",
            Self::System => "the system",
        }
    }
}

/// How cipher suites can be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CipherChoice {
    /// Any list of suites.
    #[default]
    Exact,
    /// By algorithm only: a list that cannot be expressed so is refused when an engine is made.
    Families,
    /// Not at all.
    System,
}

/// A channel binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelBinding {
    /// `tls-exporter` (RFC 9266).
    TlsExporter,
    /// `tls-server-end-point` (RFC 5929 section 4).
    TlsServerEndPoint,
}

impl ChannelBinding {
    /// All of them, by name.
    pub const ALL: [Self; 2] = [Self::TlsExporter, Self::TlsServerEndPoint];

    /// Its registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TlsExporter => "tls-exporter",
            Self::TlsServerEndPoint => "tls-server-end-point",
        }
    }
}

/// What a library can do on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// Where trust can come from.
    pub trust_sources: BTreeSet<Source>,
    /// Where certificates can come from.
    pub certificate_sources: BTreeSet<Source>,
    /// Where private keys can come from.
    pub key_sources: BTreeSet<Source>,
    /// The versions it speaks, the lowest first.
    pub versions: Vec<Version>,
    /// Cipher suites by IANA number, in its own order of preference.
    pub cipher_suites: Vec<u16>,
    /// How suites can be chosen.
    pub cipher_choice: CipherChoice,
    /// Key exchange groups by IANA number, those it offers by default first; none if they cannot be chosen.
    pub groups: Vec<u16>,
    /// Whether servers can ask for a certificate, and clients present one.
    pub client_authentication: bool,
    /// Whether a server can choose between several chains by the name asked for (RFC 6066 section 3).
    pub sni_selection: bool,
    /// Whether sessions can be resumed. No resumption is honoured in any case.
    pub resumption: bool,
    /// Whether keying material can be exported (RFC 8446 section 7.5).
    pub exporter: bool,
    /// The channel bindings there are.
    pub channel_bindings: BTreeSet<ChannelBinding>,
    /// Whether secrets can be logged for debugging (the NSS key log format).
    pub key_log: bool,
    /// Whether certificate CRLs are honoured (RFC 5280 section 5).
    pub crl: bool,
    /// Whether leaves can be accepted by themselves.
    pub peers: bool,
    /// Whether servers can be given the keys of their tickets (RFC 5077).
    pub ticket_keys: bool,
    /// Whether servers can pass on what issuers say of revocation (RFC 6066 section 8).
    pub ocsp_stapling: bool,
    /// Whether clients verify OCSP responses that servers staple (RFC 6066 section 8).
    pub staple_verification: bool,
    /// Whether clients can choose between several chains.
    pub client_chain_selection: bool,
    /// Whether custom verification of the peer is possible.
    pub peer_verifier: bool,
    /// Whether early data can be sent and received (RFC 8446 section 2.3).
    pub early_data: bool,
    /// Whether a connection's session can be named for another to resume.
    pub named_sessions: bool,
    /// Whether clients can encrypt ClientHello (RFC 9849).
    pub ech: bool,
    /// Whether servers can be given keys to decrypt ClientHello with (RFC 9849).
    pub ech_keys: bool,
    /// Whether certificates can be compressed (RFC 8879).
    pub certificate_compression: bool,
    /// Whether the length of the records that it sends can be limited.
    pub max_fragment: bool,
    /// Whether it can be given a clock to judge certificates and tickets by.
    pub clock: bool,
    /// Whether the names of CAs that the peer is sent can be chosen (RFC 8446 section 4.2.4), and a
    /// server chooses its chain by those that a client sends.
    pub certificate_authorities: bool,
    /// Signature schemes of handshakes by number, in its own order of preference; none if they cannot
    /// be chosen.
    pub signature_schemes: Vec<u16>,
    /// Whether what happens on its connections can be traced.
    pub events: bool,
}

/// An end of a range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The lowest version that the library has.
    Minimum,
    /// This one.
    Exactly(Version),
    /// The highest version that the library has.
    Maximum,
}

impl Bound {
    const fn name(self) -> &'static str {
        match self {
            Self::Minimum => "MINIMUM_SUPPORTED",
            Self::Exactly(version) => version.name(),
            Self::Maximum => "MAXIMUM_SUPPORTED",
        }
    }
}

/// A certificate, a key, a list or a store, before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What it comes from.
    pub source: Source,
    /// Whether that is there, but empty: no bytes, a path of no characters.
    pub is_empty: bool,
}

/// A chain and its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainRequirements {
    /// Leaf first.
    pub certificates: Vec<Origin>,
    /// `None`: the leaf's data contains it.
    pub key: Option<Origin>,
    /// The OCSP response that is stapled to it.
    pub ocsp_response: Option<Origin>,
}

/// The trust store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRequirements {
    /// The store.
    pub store: Origin,
    /// Additional certificates.
    pub extra: Vec<Origin>,
    /// Trusted leaf certificates.
    pub peers: Vec<Origin>,
    /// Pinned certificates.
    pub pinned: Vec<Origin>,
    /// CRLs.
    pub crls: Vec<Origin>,
}

/// The requirements of one side only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SideRequirements {
    /// A client's.
    Client {
        /// What it presents if the server asks.
        certificate_chain: Option<ChainRequirements>,
        /// What it presents instead if that suits the server better.
        alternative_chains: Vec<ChainRequirements>,
        /// Whether GREASE of Encrypted ClientHello is sent.
        ech_grease: bool,
        /// Whether servers have to staple an OCSP response.
        require_staple: bool,
    },
    /// A server's.
    Server {
        /// One for each identity.
        certificate_chain: Vec<ChainRequirements>,
        /// `None`: required if there is a trust store.
        client_authentication: Option<ClientAuthentication>,
        /// Whether ticket keys are given.
        ticket_keys: bool,
        /// Whether keys of Encrypted ClientHello are given.
        ech_keys: bool,
    },
}

/// The requirements of a configuration, as far as they are known without opening a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// The lowest version; `None`: the library's.
    pub lowest_supported_version: Option<Bound>,
    /// The highest version; `None`: the library's.
    pub highest_supported_version: Option<Bound>,
    /// Cipher suites by IANA number; `None`: the library's own choice.
    pub ciphers: Option<Vec<u16>>,
    /// Key exchange groups by IANA number, likewise.
    pub groups: Option<Vec<u16>>,
    /// The names of application protocols.
    pub inner_protocols: Vec<Vec<u8>>,
    /// The capacity of the session cache; `None`: no resumption.
    pub sessions: Option<i64>,
    /// Whether secrets are logged.
    pub key_log: bool,
    /// Whether events are traced.
    pub on_event: bool,
    /// Whether there is custom verification.
    pub peer_verifier: bool,
    /// Whether early data is enabled.
    pub early_data: bool,
    /// Whether certificates are compressed.
    pub certificate_compression: bool,
    /// The most plaintext in a record that is sent; `None`: the protocol's limit.
    pub max_fragment: Option<i64>,
    /// Whether a clock is given.
    pub clock: bool,
    /// Signature schemes by number; `None`: the library's own choice.
    pub signature_schemes: Option<Vec<u16>>,
    /// The CAs whose names the peer is sent.
    pub certificate_authorities: Option<Vec<Origin>>,
    /// `None`: the system's on a client, nothing on a server.
    pub trust_store: Option<TrustRequirements>,
    /// Whether the peer's certificate is verified at all.
    pub verifies: bool,
    /// The requirements of this side only.
    pub side: SideRequirements,
}

/// The versions that can be negotiated, the lowest first.
const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// rsa_pkcs1_sha256, rsa_pkcs1_sha384 and rsa_pkcs1_sha512 (RFC 8446 section 4.2.3).
pub const PKCS1: [u16; 3] = [0x0401, 0x0501, 0x0601];

/// Bytes of a protocol's name (RFC 7301 section 3.1), and of the whole extension, which begins with the two
/// bytes that count the list (RFC 8446 section 4.2).
const LONGEST_PROTOCOL: usize = 255;
const LONGEST_EXTENSION: usize = 0xffff;

/// The least that OpenSSL limits records to (SSL_CTX_set_max_send_fragment(3)), and the least that RFC 6066 section 4
/// can ask for.
const SHORTEST_FRAGMENT: usize = 512;

/// Peers that a session cache may remember: a guard against numbers that were meant for bytes.
const LARGEST_CACHE: i64 = 1_000_000;

fn refuse<T>(field: &'static str, message: impl Into<String>) -> Result<T, Error> {
    Err(Error::configuration(field, message))
}

/// What is asked of a server's clients: a certificate by default if it has a trust store.
#[must_use]
pub fn client_authentication(
    asked: Option<ClientAuthentication>,
    has_trust_store: bool,
) -> ClientAuthentication {
    asked.unwrap_or(if has_trust_store {
        ClientAuthentication::Required
    } else {
        ClientAuthentication::None
    })
}

/// What a configuration came down to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The versions that may be negotiated.
    pub versions: Vec<Version>,
    /// The cipher suites that may be negotiated, in order.
    pub cipher_suites: Vec<u16>,
    /// The key exchange groups that may be negotiated, in order.
    pub groups: Vec<u16>,
}

impl Capabilities {
    /// What `requirements` come to.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] with the first field that this library cannot honour.
    pub fn check(&self, requirements: &Requirements) -> Result<Effective, Error> {
        let versions = self.versions_in_range(requirements)?;
        let effective = self.negotiable(
            &versions,
            requirements.ciphers.as_deref(),
            requirements.groups.as_deref(),
        )?;
        check_protocols(&requirements.inner_protocols)?;
        self.check_sessions(requirements)?;
        if requirements.key_log && !self.key_log {
            return refuse(
                "key_log",
                "this implementation does not export secrets; leave it None",
            );
        }
        if requirements.on_event && !self.events {
            return refuse(
                "on_event",
                "this implementation does not tell what happens on a connection; leave it None",
            );
        }
        if requirements.certificate_compression && !self.certificate_compression {
            return refuse(
                "certificate_compression",
                "this implementation does not compress certificates; leave it False",
            );
        }
        if let Some(length) = requirements.max_fragment {
            self.check_fragment(length)?;
        }
        if requirements.clock && !self.clock {
            return refuse(
                "clock",
                "the library reads the machine's clock and takes no other; leave it None",
            );
        }
        self.schemes(
            &effective.versions,
            requirements.signature_schemes.as_deref(),
        )?;
        if let Some(authorities) = &requirements.certificate_authorities {
            self.check_authorities(authorities, requirements, &effective.versions)?;
        }
        if requirements.early_data {
            self.check_early_data(requirements)?;
        }
        if let SideRequirements::Client {
            ech_grease: true, ..
        } = requirements.side
        {
            self.check_grease(&effective)?;
        }
        if let SideRequirements::Server { ech_keys: true, .. } = requirements.side {
            self.check_ech_keys(&effective)?;
        }
        self.check_chains(&requirements.side)?;
        self.check_trust(requirements)?;
        self.check_staples(requirements)?;
        if requirements.peer_verifier && !self.peer_verifier {
            return refuse(
                "peer_verifier",
                "this implementation does not support custom verification; leave it None",
            );
        }
        Ok(effective)
    }

    /// What can be negotiated in `versions` with these suites and groups; `None`: all of the library's.
    ///
    /// Lists are upper bounds: what the library does not have narrows them. A version needs a suite and a
    /// group, and a suite or group a version, so each narrows the others.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] with the field that leaves nothing.
    pub fn negotiable(
        &self,
        versions: &[Version],
        ciphers: Option<&[u16]>,
        groups: Option<&[u16]>,
    ) -> Result<Effective, Error> {
        let mut suites = self.cipher_suites.clone();
        let mut left: Vec<Version> = VERSIONS
            .into_iter()
            .filter(|version| versions.contains(version))
            .collect();
        if let Some(asked) = ciphers {
            let field = "ciphers";
            if self.cipher_choice == CipherChoice::System {
                return refuse(
                    field,
                    "the operating system chooses the cipher suites; leave it \
                                      None",
                );
            }
            suites = chosen(field, asked, &self.cipher_suites)?;
            if suites.is_empty() {
                let names = names_of(CIPHER_SUITES, &self.cipher_suites);
                return refuse(
                    field,
                    format!("none of these cipher suites is supported; supported are {names}"),
                );
            }
            let wanted = listed(left.iter().map(|version| version.name()), "or");
            left.retain(|version| {
                let mut suites = suites.iter();
                suites.any(|suite| version_of_suite(*suite) == *version)
            });
            if left.is_empty() {
                return refuse(
                    field,
                    format!(
                        "none of these cipher suites is for {wanted}; add cipher suites of that \
                         version, or widen the range of versions"
                    ),
                );
            }
        }
        let mut exchanges = self.groups.clone();
        if let Some(asked) = groups {
            let field = "groups";
            if self.groups.is_empty() {
                return refuse(
                    field,
                    "this implementation does not support choosing groups; leave it None",
                );
            }
            exchanges = chosen(field, asked, &self.groups)?;
            if exchanges.is_empty() {
                let names = names_of(GROUPS, &self.groups);
                return refuse(
                    field,
                    format!("none of these groups is supported; supported are {names}"),
                );
            }
            left.retain(|version| {
                let mut groups = exchanges.iter();
                groups.any(|group| group_serves(*group, *version))
            });
            if left.is_empty() {
                return refuse(
                    field,
                    "these groups are for TLS 1.3 only; add one for TLS 1.2, or allow TLS 1.3",
                );
            }
        }
        suites.retain(|suite| left.contains(&version_of_suite(*suite)));
        exchanges.retain(|group| left.iter().any(|version| group_serves(*group, *version)));
        Ok(Effective {
            versions: left,
            cipher_suites: suites,
            groups: exchanges,
        })
    }

    /// The signature schemes that can be used in `versions`, of those `asked` for and in that order;
    /// `None`: all of the library's.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] with the field.
    pub fn schemes(&self, versions: &[Version], asked: Option<&[u16]>) -> Result<Vec<u16>, Error> {
        let field = "signature_schemes";
        let Some(asked) = asked else {
            return Ok(self.signature_schemes.clone());
        };
        if self.signature_schemes.is_empty() {
            return refuse(
                field,
                "this implementation does not support choosing signature schemes; leave it None",
            );
        }
        let schemes = chosen(field, asked, &self.signature_schemes)?;
        if schemes.is_empty() {
            let names = names_of(SIGNATURE_SCHEMES, &self.signature_schemes);
            return refuse(
                field,
                format!("none of these signature schemes is supported; supported are {names}"),
            );
        }
        if versions.contains(&Version::Tls13) && schemes.iter().all(|one| PKCS1.contains(one)) {
            return refuse(
                field,
                "TLS 1.3 does not allow RSA PKCS#1 v1.5 in handshakes (RFC 8446 section 4.4.3): set \
                 highest_supported_version to TLSVersion.TLSv1_2, or add a scheme of RSA-PSS or ECDSA",
            );
        }
        Ok(schemes)
    }

    fn check_authorities(
        &self,
        authorities: &[Origin],
        requirements: &Requirements,
        versions: &[Version],
    ) -> Result<(), Error> {
        let field = "certificate_authorities";
        if !self.certificate_authorities {
            return refuse(
                field,
                "this implementation does not support choosing the names of CAs that the peer is \
                 sent; leave it None",
            );
        }
        match &requirements.side {
            SideRequirements::Server {
                client_authentication: asked,
                ..
            } if client_authentication(*asked, requirements.trust_store.is_some())
                == ClientAuthentication::None =>
            {
                return refuse(
                    field,
                    "client_authentication is NONE, so clients are not asked and no names are sent; \
                     leave it None",
                );
            }
            SideRequirements::Client { .. } if !versions.contains(&Version::Tls13) => {
                return refuse(
                    field,
                    "a client sends them in TLS 1.3 only (RFC 8446 section 4.2.4); allow TLS 1.3, or \
                     leave it None",
                );
            }
            _ => {}
        }
        check_origins(
            field,
            "a certificate",
            authorities,
            &self.certificate_sources,
        )
    }

    fn versions_in_range(&self, requirements: &Requirements) -> Result<Vec<Version>, Error> {
        let (lowest, highest) = (
            requirements.lowest_supported_version,
            requirements.highest_supported_version,
        );
        let own_highest = self.versions.iter().max().copied();
        let low = match lowest {
            None | Some(Bound::Minimum) => Version::Tls12,
            Some(Bound::Exactly(version)) => version,
            Some(Bound::Maximum) => own_highest.unwrap_or(Version::Tls12),
        };
        let high = match highest {
            // It would change with the library, silently.
            Some(Bound::Minimum) => {
                return refuse(
                    "highest_supported_version",
                    "MINIMUM_SUPPORTED is not allowed here; give a version, or leave it None",
                );
            }
            None | Some(Bound::Maximum) => Version::Tls13,
            Some(Bound::Exactly(version)) => version,
        };
        if let (Some(lowest), Some(highest)) = (lowest, highest)
            && low > high
        {
            return refuse(
                "lowest_supported_version",
                format!(
                    "{} is above highest_supported_version, {}; swap them, or leave one of them \
                     None",
                    lowest.name(),
                    highest.name()
                ),
            );
        }
        let versions: Vec<Version> = VERSIONS
            .into_iter()
            .filter(|version| (low..=high).contains(version) && self.versions.contains(version))
            .collect();
        if versions.is_empty() {
            // One of two versions is missing: the end that insists on it is the one at fault.
            let field = if high == Version::Tls12 {
                "highest_supported_version"
            } else {
                "lowest_supported_version"
            };
            let has = listed(self.versions.iter().map(|version| version.name()), "and");
            return refuse(
                field,
                format!("no version in this range is supported; supported are {has}"),
            );
        }
        Ok(versions)
    }

    fn check_sessions(&self, requirements: &Requirements) -> Result<(), Error> {
        if let Some(capacity) = requirements.sessions
            && !(1..=LARGEST_CACHE).contains(&capacity)
        {
            return refuse(
                "sessions",
                format!(
                    "the capacity must be 1 to {LARGEST_CACHE}, not {capacity}; use sessions=None \
                     to turn resumption off"
                ),
            );
        }
        let field = "ticket_keys";
        match requirements.side {
            SideRequirements::Server {
                ticket_keys: true, ..
            } if !self.ticket_keys => refuse(
                field,
                "this implementation does not support shared ticket keys; leave it None",
            ),
            SideRequirements::Server {
                ticket_keys: true, ..
            } if requirements.sessions.is_none() => refuse(
                field,
                "sessions=None turns resumption off; set only one of them",
            ),
            _ => Ok(()),
        }
    }

    fn check_fragment(&self, length: i64) -> Result<(), Error> {
        let field = "max_fragment";
        if !self.max_fragment {
            return refuse(
                field,
                "this implementation cannot limit the records that it sends; leave it None",
            );
        }
        let (least, most) = (SHORTEST_FRAGMENT, MAX_FRAGMENT);
        if usize::try_from(length).is_ok_and(|length| (least..=most).contains(&length)) {
            return Ok(());
        }
        refuse(
            field,
            format!("a record must hold {least} to {most} bytes, not {length}"),
        )
    }

    fn check_early_data(&self, requirements: &Requirements) -> Result<(), Error> {
        let field = "early_data";
        if !self.early_data {
            return refuse(
                field,
                "this implementation does not support early data; leave it False",
            );
        }
        if requirements.sessions.is_none() {
            return refuse(
                field,
                "early data requires resumption, which sessions=None turns off; set only one of \
                 them",
            );
        }
        match &requirements.side {
            SideRequirements::Client { .. } if requirements.peer_verifier => refuse(
                field,
                "early data would be sent before peer_verifier is called; set only one of them",
            ),
            SideRequirements::Server {
                ticket_keys: true, ..
            } => refuse(
                field,
                "early data requires single-use sessions: every server with the same ticket_keys \
                 would accept a replay; set only one of them",
            ),
            SideRequirements::Server {
                client_authentication: asked,
                ..
            } if client_authentication(*asked, requirements.trust_store.is_some())
                != ClientAuthentication::None =>
            {
                refuse(
                    field,
                    "early data would arrive before the client is verified; set \
                     client_authentication to NONE",
                )
            }
            _ => Ok(()),
        }
    }

    fn check_grease(&self, effective: &Effective) -> Result<(), Error> {
        if !self.ech {
            return refuse(ech::FIELD, ech::UNSUPPORTED);
        }
        // Libraries that offer it offer no other version then.
        if effective.versions != [Version::Tls13] {
            return refuse(
                ech::FIELD,
                "Encrypted ClientHello requires TLS 1.3, and this configuration allows TLS 1.2; set \
                 lowest_supported_version to TLSVersion.TLSv1_3",
            );
        }
        Ok(())
    }

    fn check_ech_keys(&self, effective: &Effective) -> Result<(), Error> {
        if !self.ech_keys {
            return refuse(
                ech::KEYS,
                "this implementation does not support Encrypted ClientHello on servers; leave it \
                 empty",
            );
        }
        ech::require_tls13(ech::KEYS, "configuration", &effective.versions)
    }

    fn check_chains(&self, side: &SideRequirements) -> Result<(), Error> {
        let field = "certificate_chain";
        let chains: Vec<&ChainRequirements> = match side {
            SideRequirements::Server {
                certificate_chain, ..
            } => {
                if certificate_chain.is_empty() {
                    return refuse(field, "a server needs at least one SigningChain");
                }
                if certificate_chain.len() > 1 && !self.sni_selection {
                    return refuse(
                        field,
                        "this implementation does not support certificate selection by SNI; give \
                         one chain",
                    );
                }
                certificate_chain.iter().collect()
            }
            SideRequirements::Client {
                certificate_chain: None,
                alternative_chains,
                ..
            } => {
                if !alternative_chains.is_empty() {
                    return refuse(
                        "alternative_chains",
                        "alternative_chains requires certificate_chain",
                    );
                }
                return Ok(());
            }
            SideRequirements::Client {
                certificate_chain: Some(first),
                alternative_chains,
                ..
            } => {
                if !self.client_authentication {
                    return refuse(
                        field,
                        "this implementation does not support client authentication; leave it None",
                    );
                }
                if !alternative_chains.is_empty() && !self.client_chain_selection {
                    return refuse(
                        "alternative_chains",
                        "this implementation does not support alternative chains; leave it empty",
                    );
                }
                std::iter::once(first).chain(alternative_chains).collect()
            }
        };
        for chain in chains {
            if chain.ocsp_response.is_some() && !self.ocsp_stapling {
                return refuse(
                    field,
                    "this implementation does not support OCSP stapling; leave ocsp_response None",
                );
            }
            check_origins(
                field,
                "a certificate",
                &chain.certificates,
                &self.certificate_sources,
            )?;
            check_origins(
                field,
                "a private key",
                chain.key.as_slice(),
                &self.key_sources,
            )?;
            check_origins(
                field,
                "an OCSP response",
                chain.ocsp_response.as_slice(),
                &self.sources_of_data(),
            )?;
        }
        Ok(())
    }

    fn check_trust(&self, requirements: &Requirements) -> Result<(), Error> {
        let field = "trust_store";
        if let Some(store) = &requirements.trust_store {
            self.check_store(store)?;
            let narrows = store.store.source == Source::Pins
                || !store.peers.is_empty()
                || !store.crls.is_empty();
            if !requirements.verifies && narrows {
                return refuse(
                    field,
                    "verification is turned off, so pins, peers and crls have no effect; remove \
                     them",
                );
            }
        }
        let has_store = requirements.trust_store.is_some();
        match &requirements.side {
            SideRequirements::Server {
                client_authentication: asked,
                ..
            } => {
                let asked = client_authentication(*asked, has_store);
                if asked == ClientAuthentication::None {
                    return Ok(());
                }
                if !self.client_authentication {
                    return refuse(
                        "client_authentication",
                        "this implementation does not support client authentication; set it to \
                         NONE",
                    );
                }
                if !has_store && requirements.verifies {
                    return refuse(
                        field,
                        format!(
                            "client_authentication is {}, but there is no trust store to verify \
                             clients with; give a TrustStore",
                            asked.name()
                        ),
                    );
                }
            }
            SideRequirements::Client { .. } => {
                if !has_store
                    && requirements.verifies
                    && !self.trust_sources.contains(&Source::System)
                {
                    return refuse(
                        field,
                        "this implementation does not support the system's trust store; give a \
                         TrustStore",
                    );
                }
            }
        }
        Ok(())
    }

    fn check_staples(&self, requirements: &Requirements) -> Result<(), Error> {
        let field = "require_staple";
        let SideRequirements::Client {
            require_staple: true,
            ..
        } = &requirements.side
        else {
            return Ok(());
        };
        if !self.staple_verification {
            return refuse(
                field,
                "this implementation does not report stapled OCSP responses; leave it False",
            );
        }
        if !requirements.verifies {
            return refuse(
                field,
                "verification is turned off, so staples have no effect; leave it False",
            );
        }
        let store = requirements.trust_store.as_ref();
        if store.is_some_and(|store| store.store.source == Source::Pins || !store.peers.is_empty())
        {
            return refuse(
                field,
                "pins and peers are accepted without an issuer, so no OCSP response can be \
                 verified for them; use another context for these servers",
            );
        }
        Ok(())
    }

    fn check_store(&self, store: &TrustRequirements) -> Result<(), Error> {
        let field = "trust_store";
        check_origins(field, "a trust store", &[store.store], &self.trust_sources)?;
        if !store.peers.is_empty() && !self.peers {
            return refuse(
                field,
                "this implementation does not support trusted leaf certificates; leave peers empty",
            );
        }
        for certificates in [&store.extra, &store.peers, &store.pinned] {
            check_origins(
                field,
                "a certificate",
                certificates,
                &self.certificate_sources,
            )?;
        }
        if !store.crls.is_empty() && !self.crl {
            return refuse(
                field,
                "this implementation does not support CRLs; leave crls empty",
            );
        }
        check_origins(field, "a CRL", &store.crls, &self.sources_of_data())
    }

    /// Where CRLs and OCSP responses can come from: ids name certificates and keys.
    fn sources_of_data(&self) -> BTreeSet<Source> {
        let mut sources = self.certificate_sources.clone();
        sources.remove(&Source::Id);
        sources
    }
}

/// Those of `asked` that are `available`, in the order asked for, each once.
fn chosen(field: &'static str, asked: &[u16], available: &[u16]) -> Result<Vec<u16>, Error> {
    if asked.is_empty() {
        return refuse(
            field,
            "the list is empty; use None for the library's defaults",
        );
    }
    let mut left: Vec<u16> = Vec::new();
    for number in asked {
        if available.contains(number) && !left.contains(number) {
            left.push(*number);
        }
    }
    Ok(left)
}

fn check_protocols(protocols: &[Vec<u8>]) -> Result<(), Error> {
    let field = "inner_protocols";
    let mut total = 2;
    for name in protocols {
        if !(1..=LONGEST_PROTOCOL).contains(&name.len()) {
            return refuse(
                field,
                format!(
                    "a protocol name must have 1 to {LONGEST_PROTOCOL} bytes, not {} (RFC 7301 \
                     section 3.1)",
                    name.len()
                ),
            );
        }
        total += 1 + name.len();
    }
    if total > LONGEST_EXTENSION {
        return refuse(
            field,
            format!(
                "the protocol names take {total} bytes in total; at most {LONGEST_EXTENSION} \
                     are allowed"
            ),
        );
    }
    Ok(())
}

fn check_origins(
    field: &'static str,
    what: &str,
    items: &[Origin],
    supported: &BTreeSet<Source>,
) -> Result<(), Error> {
    for Origin { source, is_empty } in items {
        let from = source.in_words();
        if !supported.contains(source) {
            let others = listed(supported.iter().map(|other| other.in_words()), "or");
            return refuse(
                field,
                format!("{what} cannot come from {from}, only from {others}"),
            );
        }
        if *is_empty {
            return refuse(field, format!("{what} comes from {from}, which is empty"));
        }
    }
    Ok(())
}

fn names_of(table: &[(u16, &'static str)], numbers: &[u16]) -> String {
    let names = numbers
        .iter()
        .map(|number| names::name_or_number(table, *number));
    listed(names, "and")
}

/// A list in words: "a, b and c".
fn listed(names: impl IntoIterator<Item = impl Into<String>>, last: &str) -> String {
    let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
    match names.pop() {
        None => "nothing".to_owned(),
        Some(only) if names.is_empty() => only,
        Some(end) => format!("{} {last} {end}", names.join(", ")),
    }
}
