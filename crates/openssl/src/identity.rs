//! Our own chains and keys, and the choice among them.

use std::sync::Arc;

use polytls_core::config::{Identity, Key, Signer, Version};
use polytls_core::names::version_of_suite;
use polytls_core::pki_types::PrivateKeyDer;
use polytls_core::sni::NameTable;
use polytls_core::{Error, pki_types};
use polytls_x509::{Summary, issuer, ocsp_in_force, summarize};
use zeroize::Zeroizing;

use crate::api::{NID_EC, NID_ED448, NID_ED25519, NID_RSA, NID_RSA_PSS};
use crate::compression::Compressed;
use crate::crypto::element;
use crate::hello::Hello;
use crate::objects::{Certificate, Chain, PrivateKey};
use crate::scope::Scope;
use crate::tables::{Selection, signs_with_ecdsa};
use crate::{provider, remote};

/// What kind of key an identity has, as far as it decides what can be signed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rsa,
    RsaPss,
    P256,
    P384,
    P521,
    Ed25519,
    Ed448,
}

impl Kind {
    pub(crate) fn of(key: &PrivateKey) -> Option<Self> {
        Some(match (key.kind(), key.bits()) {
            (NID_RSA, _) => Self::Rsa,
            (NID_RSA_PSS, _) => Self::RsaPss,
            (NID_EC, 256) => Self::P256,
            (NID_EC, 384) => Self::P384,
            (NID_EC, 521) => Self::P521,
            (NID_ED25519, _) => Self::Ed25519,
            (NID_ED448, _) => Self::Ed448,
            _ => return None,
        })
    }

    /// The signature schemes that go with it (RFC 8446 section 4.2.3). A curve goes with one hash, in TLS 1.2
    /// too.
    pub(crate) const fn schemes(self, version: Version) -> &'static [u16] {
        match (self, version) {
            (Self::Rsa, Version::Tls13) => &[0x0804, 0x0805, 0x0806],
            (Self::Rsa, Version::Tls12) => &[0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601],
            (Self::RsaPss, _) => &[0x0809, 0x080a, 0x080b],
            (Self::P256, _) => &[0x0403],
            (Self::P384, _) => &[0x0503],
            (Self::P521, _) => &[0x0603],
            (Self::Ed25519, _) => &[0x0807],
            (Self::Ed448, _) => &[0x0808],
        }
    }

    /// What a key that is elsewhere is to the provider; `None`: it has none of this kind.
    const fn elsewhere(self) -> Option<remote::Kind> {
        match self {
            Self::Rsa => Some(remote::Kind::Rsa),
            Self::P256 | Self::P384 | Self::P521 => Some(remote::Kind::Ec),
            Self::Ed25519 => Some(remote::Kind::Ed25519),
            Self::RsaPss | Self::Ed448 => None,
        }
    }

    const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa | Self::RsaPss)
    }
}

/// A chain with its key, as OpenSSL has them.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) leaf: Certificate,
    pub(crate) key: Arc<PrivateKey>,
    /// What follows the leaf.
    pub(crate) chain: Chain,
    pub(crate) leaf_der: Vec<u8>,
    pub(crate) ocsp_response: Option<Vec<u8>>,
    /// The last second, since 1970, in which that is in force: after it, it is not stapled.
    pub(crate) ocsp_end: Option<u64>,
    /// What is sent instead of it to a client that decompresses.
    pub(crate) compressed: Vec<Compressed>,
    kind: Kind,
    /// The signature schemes that it signs by, of those of its kind.
    schemes: Vec<u16>,
    dns_names: Vec<String>,
    /// The names of all issuers in the chain, in DER.
    issuers: Vec<Vec<u8>>,
}

fn wrong(message: impl Into<String>) -> Error {
    Error::configuration("certificate_chain", message)
}

impl Loaded {
    /// Loads the key and holds it against the leaf.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`].
    pub(crate) fn new(library: &'static Scope, identity: &Identity) -> Result<Self, Error> {
        let mut summaries = Vec::new();
        let mut certificates = Vec::new();
        for (index, der) in identity.chain.iter().enumerate() {
            let summary = summarize(der)
                .map_err(|error| wrong(format!("certificate {index} of the chain is {error}")))?;
            let certificate = Certificate::read(library, der).ok_or_else(|| {
                wrong(format!(
                    "OpenSSL cannot read certificate {index} of the chain"
                ))
            })?;
            summaries.push(summary);
            certificates.push(certificate);
        }
        library.clean();
        if certificates.is_empty() {
            return Err(wrong("a chain without certificates"));
        }
        let leaf = certificates.remove(0);
        let unfit = || wrong(format!("{NOT_FOR_TLS}{}", library.approval()));
        let (key, kind, schemes) = match &identity.key {
            Key::Der(key) => {
                let key = read_key(library, key)?;
                let kind = Kind::of(&key).ok_or_else(unfit)?;
                // All of them.
                (Arc::new(key), kind, kind.schemes(Version::Tls12).to_vec())
            }
            Key::Opened(key) => {
                let key = Arc::clone(key).downcast::<PrivateKey>();
                let key =
                    key.map_err(|_| wrong("the private key was opened by another library"))?;
                let kind = Kind::of(&key).ok_or_else(unfit)?;
                (key, kind, kind.schemes(Version::Tls12).to_vec())
            }
            Key::Signer(signer) => key_elsewhere(library, signer)?,
        };
        // SAFETY: both are ours.
        let belongs = unsafe { library.X509_check_private_key(leaf.as_ptr(), key.as_ptr()) == 1 };
        library.clean();
        if !belongs {
            return Err(wrong("the private key does not match the leaf certificate"));
        }
        let issuers = identity.chain.iter().map(|der| issuer(der));
        let issuers = issuers
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(error.to_string()))?;
        let response = identity.ocsp_response.as_deref();
        let ocsp_end = response
            .and_then(|response| ocsp_in_force(response, &identity.chain[0]).ok())
            .map(|in_force| u64::try_from(*in_force.end()).unwrap_or(0));
        let chain = Chain::new(library, certificates)
            .ok_or_else(|| Error::Internal("OpenSSL is out of memory".to_owned()))?;
        Ok(Self {
            leaf,
            key,
            chain,
            leaf_der: identity.chain[0].to_vec(),
            ocsp_response: identity.ocsp_response.clone(),
            ocsp_end,
            compressed: Vec::new(),
            kind,
            schemes,
            dns_names: summaries
                .into_iter()
                .next()
                .map(|leaf: Summary| leaf.dns_names)
                .unwrap_or_default(),
            issuers,
        })
    }

    /// Whether one of these is among its issuers.
    fn is_issued_by(&self, names: &[Vec<u8>]) -> bool {
        self.issuers.iter().any(|issuer| names.contains(issuer))
    }

    /// Whether the peer, which knows these signature schemes, can verify what it signs.
    fn signs(&self, version: Version, schemes: &[u16]) -> bool {
        let mut own = self.kind.schemes(version).iter();
        own.any(|scheme| self.schemes.contains(scheme) && schemes.contains(scheme))
    }
}

const NOT_FOR_TLS: &str = "OpenSSL cannot use this private key for TLS; it takes RSA, ECDSA on P-256, \
                           P-384 and P-521, Ed25519 and Ed448";

/// A key that is elsewhere, with its kind and the schemes that it signs by.
fn key_elsewhere(
    library: &'static Scope,
    signer: &Arc<dyn Signer>,
) -> Result<(Arc<PrivateKey>, Kind, Vec<u16>), Error> {
    if library.keeps_to_fips() {
        return Err(wrong(
            "OpenSSL is configured for FIPS-approved algorithms only (fips=yes), which excludes \
             signers and keys in PKCS#11 tokens; use a key that the FIPS provider supports",
        ));
    }
    let public = PrivateKey::read_public(library, signer.public_key());
    library.clean();
    let public = public.ok_or_else(|| wrong("OpenSSL cannot read the public key of the signer"))?;
    let kind = Kind::of(&public).ok_or_else(|| wrong(NOT_FOR_TLS))?;
    let elsewhere = kind.elsewhere().ok_or_else(|| {
        wrong(
            "a signer must have an RSA key (rsaEncryption), an ECDSA key on P-256, P-384 or \
               P-521, or an Ed25519 key",
        )
    })?;
    let of_kind = kind.schemes(Version::Tls12);
    let schemes = signer.schemes().iter().copied();
    let schemes: Vec<u16> = schemes.filter(|scheme| of_kind.contains(scheme)).collect();
    if schemes.is_empty() {
        return Err(wrong(
            "the signer offers no algorithm that OpenSSL supports for its type of key",
        ));
    }
    let key = provider::key(
        library,
        Arc::clone(signer),
        schemes.clone(),
        public,
        elsewhere,
    )?;
    Ok((Arc::new(key), kind, schemes))
}

fn read_key(library: &'static Scope, key: &PrivateKeyDer<'static>) -> Result<PrivateKey, Error> {
    let read = match key {
        PrivateKeyDer::Pkcs8(der) => {
            let first = version_1(der.secret_pkcs8_der());
            let bytes = first
                .as_deref()
                .map_or(der.secret_pkcs8_der(), Vec::as_slice);
            PrivateKey::read(library, bytes)
        }
        other => PrivateKey::read(library, other.secret_der()),
    };
    library.clean();
    read.ok_or_else(|| {
        wrong(format!(
            "OpenSSL cannot read this {} private key{}",
            encoding(key),
            library.approval()
        ))
    })
}

fn encoding(key: &pki_types::PrivateKeyDer<'_>) -> &'static str {
    match key {
        PrivateKeyDer::Pkcs1(_) => "PKCS#1",
        PrivateKeyDer::Sec1(_) => "SEC1",
        _ => "PKCS#8",
    }
}

/// The key without what the second version of PKCS#8 adds (RFC 5958 section 2: attributes and the public key
/// behind it), which OpenSSL reads from 3.1 on (openssl issue 10468). `None` where there is none of that.
fn version_1(der: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (0x30, content, []) = first(der)? else {
        return None;
    };
    let (2, [1], rest) = first(content)? else {
        return None;
    };
    let (0x30, _, after_algorithm) = first(rest)? else {
        return None;
    };
    let (4, _, after_key) = first(after_algorithm)? else {
        return None;
    };
    let kept = &rest[..rest.len() - after_key.len()];
    let content = Zeroizing::new([&element(2, &[0]), kept].concat());
    Some(Zeroizing::new(element(0x30, &content)))
}

/// The tag of the first element of DER, its content, and what follows it.
fn first(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, short], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match short {
        ..=0x7f => (usize::from(short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = digits.iter().try_fold(0_usize, |sum, digit| {
                sum.checked_mul(256)?.checked_add(usize::from(*digit))
            })?;
            (length, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// All identities of a context.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    names: NameTable,
    all: Vec<Loaded>,
}

impl Identities {
    pub(crate) fn new(library: &'static Scope, identities: &[Identity]) -> Result<Self, Error> {
        let mut all = identities
            .iter()
            .map(|identity| Loaded::new(library, identity))
            .collect::<Result<Vec<_>, _>>()?;
        // OpenSSL chooses a scheme by the kind of the key: what only some keys of a kind can do, none does.
        let shared: Vec<Vec<u16>> = all
            .iter()
            .map(|one| {
                let mut schemes = one.schemes.clone();
                let others = all.iter().filter(|other| other.kind == one.kind);
                for other in others {
                    schemes.retain(|scheme| other.schemes.contains(scheme));
                }
                schemes
            })
            .collect();
        for (one, schemes) in all.iter_mut().zip(shared) {
            if schemes.is_empty() {
                return Err(wrong(
                    "two signers for the same type of key have no signature algorithm in common, \
                     and OpenSSL cannot choose between them; use a separate context for each",
                ));
            }
            one.schemes = schemes;
        }
        Ok(Self {
            names: NameTable::new(all.iter().map(|one| &one.dns_names)),
            all,
        })
    }

    pub(crate) fn all(&self) -> &[Loaded] {
        &self.all
    }

    pub(crate) fn all_mut(&mut self) -> &mut [Loaded] {
        &mut self.all
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Loaded> {
        self.all.get(index)
    }

    /// Whether OpenSSL may sign by a scheme, as far as it is for the keys here to say.
    pub(crate) fn may_sign(&self, scheme: u16) -> bool {
        self.all.iter().all(|one| {
            one.schemes.contains(&scheme) || !one.kind.schemes(Version::Tls12).contains(&scheme)
        })
    }

    /// Whether each key signs with one of the schemes of `selection`.
    pub(crate) fn all_sign(&self, selection: &Selection) -> bool {
        let versions = &selection.effective.versions;
        let signs = |one: &Loaded, version| one.signs(version, selection.signature_schemes());
        let mut all = self.all.iter();
        all.all(|one| versions.iter().any(|version| signs(one, *version)))
    }

    /// What a server presents to this client: the first that answers to the name, that the client can
    /// verify and, as far as it says, trusts (RFC 8446 section 4.2.4). `suites`: those of the server.
    /// `None`: the client can verify none.
    pub(crate) fn for_client(
        &self,
        hello: &Hello,
        version: Version,
        suites: &[u16],
    ) -> Option<usize> {
        let candidates = self.names.candidates(hello.name.as_deref());
        let verifiable = |index: &usize| {
            self.all.get(*index).is_some_and(|one| {
                let fits = |suite: &u16| {
                    version_of_suite(*suite) == Version::Tls12
                        && signs_with_ecdsa(*suite) != one.kind.is_rsa()
                        && suites.contains(suite)
                };
                one.signs(version, &hello.schemes)
                    && (version == Version::Tls13 || hello.suites.iter().any(fits))
            })
        };
        let trusted = |index: &usize| {
            let one = self.all.get(*index);
            one.is_some_and(|one| one.is_issued_by(&hello.authorities))
        };
        let mut all = candidates.iter().copied();
        all.find(|index| trusted(index) && verifiable(index))
            .or_else(|| candidates.iter().copied().find(verifiable))
    }

    /// What a client presents to a server that names these issuers and knows these signature schemes; the
    /// names are a hint, which may be incomplete or missing (RFC 8446 section 4.2.4).
    pub(crate) fn for_server(
        &self,
        issuers: &[Vec<u8>],
        schemes: &[u16],
        version: Version,
    ) -> Option<usize> {
        let verifiable = |one: &Loaded| one.signs(version, schemes);
        let mut all = self.all.iter();
        all.position(|one| one.is_issued_by(issuers) && verifiable(one))
            .or_else(|| self.all.iter().position(verifiable))
            .or_else(|| (!self.all.is_empty()).then_some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_version_2_adds_is_left_out() {
        let algorithm = element(0x30, &[6, 3, 0x2b, 0x65, 0x70]);
        let key = element(4, &element(4, &[7; 32]));
        let of = |version: u8, more: &[u8]| {
            element(
                0x30,
                &[&element(2, &[version]), &algorithm, &key, more].concat(),
            )
        };
        let first = of(0, &[]);
        for more in [vec![], element(0xa1, &[0; 33])] {
            let made = version_1(&of(1, &more)).expect("a key of version 2");
            assert_eq!(*made, first);
        }
        assert_eq!(version_1(&first), None);
        for end in 0..first.len() {
            assert_eq!(version_1(&of(1, &[])[..end]), None);
        }
    }
}
