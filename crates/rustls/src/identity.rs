//! Our own chains and keys, and the choice among them.

use std::sync::Arc;

use polytls_core::clock::Clock;
use polytls_core::config::{Identity, Key};
use polytls_core::sni::NameTable;
use polytls_core::{Error, pki_types};
use polytls_x509::{ocsp_in_force, summarize, with_named_curve};
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::observe;
use crate::signer::RemoteKey;

/// Loads the key and holds it against the leaf.
/// `schemes`: those that it may sign with, in order of preference; `None`: all.
pub(crate) fn certified_key(
    identity: &Identity,
    provider: &CryptoProvider,
    schemes: Option<&[SignatureScheme]>,
) -> Result<Arc<CertifiedKey>, Error> {
    let wrong = |message: String| Error::configuration("certificate_chain", message);
    for (index, certificate) in identity.chain.iter().enumerate() {
        summarize(certificate)
            .map_err(|error| wrong(format!("certificate {index} of the chain is {error}")))?;
    }
    let key: Arc<dyn SigningKey> = match (&identity.key, identity.chain.first()) {
        (Key::Signer(signer), Some(_)) => Arc::new(RemoteKey::new(Arc::clone(signer), provider)?),
        (Key::Signer(_), None) => return Err(wrong("a chain without certificates".to_owned())),
        (Key::Opened(_), _) => return Err(wrong("rustls opens no keys".to_owned())),
        (Key::Der(key), _) => provider
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(|_| {
                wrong(format!(
                    "rustls cannot use this {} private key; it takes RSA of 2048 to 8192 bits, \
                     ECDSA on P-256, P-384 and P-521, and Ed25519",
                    encoding(key)
                ))
            })?,
    };
    if !belongs(identity.chain.first(), key.as_ref()) {
        return Err(wrong(
            "the private key does not match the leaf certificate".to_owned(),
        ));
    }
    let key = match schemes {
        None => key,
        Some(schemes) => Limited::of(key, schemes)?,
    };
    let mut certified = CertifiedKey::new(identity.chain.clone(), key);
    certified.ocsp.clone_from(&identity.ocsp_response);
    Ok(Arc::new(certified))
}

/// A key that signs with some schemes only, in an order of preference.
#[derive(Debug)]
struct Limited {
    key: Arc<dyn SigningKey>,
    schemes: Vec<SignatureScheme>,
}

impl Limited {
    fn of(
        key: Arc<dyn SigningKey>,
        schemes: &[SignatureScheme],
    ) -> Result<Arc<dyn SigningKey>, Error> {
        if key.choose_scheme(schemes).is_none() {
            return Err(Error::configuration(
                "signature_schemes",
                "a private key of certificate_chain signs with none of these schemes",
            ));
        }
        let schemes = schemes.to_vec();
        Ok(Arc::new(Self { key, schemes }))
    }
}

impl SigningKey for Limited {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut wanted = self.schemes.iter().filter(|one| offered.contains(one));
        wanted.find_map(|scheme| self.key.choose_scheme(&[*scheme]))
    }

    fn public_key(&self) -> Option<pki_types::SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

fn belongs(leaf: Option<&pki_types::CertificateDer<'_>>, key: &dyn SigningKey) -> bool {
    let leaf = leaf.and_then(|leaf| summarize(leaf).ok());
    leaf.zip(key.public_key()).is_some_and(|(leaf, own)| {
        leaf.spki == own.as_ref()
            || with_named_curve(&leaf.spki).is_some_and(|named| named == own.as_ref())
    })
}

/// Whether a private key belongs to a certificate; `None` for a key that cannot be used here.
#[must_use]
pub fn key_belongs(
    leaf: &pki_types::CertificateDer<'_>,
    key: &pki_types::PrivateKeyDer<'_>,
) -> Option<bool> {
    let keys = rustls::crypto::aws_lc_rs::default_provider().key_provider;
    let key = keys.load_private_key(key.clone_key()).ok()?;
    Some(belongs(Some(leaf), key.as_ref()))
}

fn encoding(key: &pki_types::PrivateKeyDer<'_>) -> &'static str {
    match key {
        pki_types::PrivateKeyDer::Pkcs1(_) => "PKCS#1",
        pki_types::PrivateKeyDer::Sec1(_) => "SEC1",
        _ => "PKCS#8",
    }
}

/// The names of all issuers in a chain, in DER.
fn issuers(key: &CertifiedKey) -> Result<Vec<Vec<u8>>, Error> {
    let issuers = key.cert.iter().map(|certificate| {
        polytls_x509::issuer(certificate)
            .map_err(|error| Error::configuration("certificate_chain", error.to_string()))
    });
    issuers.collect()
}

/// Chooses by name, then by what the client can verify and, as far as it says, trusts.
#[derive(Debug)]
pub(crate) struct Chooser {
    names: NameTable,
    /// Each with the names of its issuers.
    keys: Vec<(Arc<CertifiedKey>, Vec<Vec<u8>>)>,
    /// For each the last second, since 1970, in which its OCSP response is in force, and what is presented after
    /// that: the same without it.
    unstapled: Vec<Option<(u64, Arc<CertifiedKey>)>>,
    clock: Arc<dyn Clock>,
}

impl Chooser {
    pub(crate) fn new(keys: Vec<Arc<CertifiedKey>>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let mut names = Vec::with_capacity(keys.len());
        let mut unstapled = Vec::with_capacity(keys.len());
        for key in &keys {
            let leaf = key.cert.first().map_or(&[][..], |leaf| leaf.as_ref());
            let staple = key.ocsp.as_deref();
            let in_force = staple.and_then(|staple| ocsp_in_force(staple, leaf).ok());
            unstapled.push(in_force.map(|in_force| {
                let mut without = CertifiedKey::clone(key);
                without.ocsp = None;
                let last = u64::try_from(*in_force.end()).unwrap_or(0);
                (last, Arc::new(without))
            }));
            let summary = summarize(leaf)
                .map_err(|error| Error::configuration("certificate_chain", error.to_string()))?;
            names.push(summary.dns_names);
        }
        let keys = keys.into_iter().map(|key| {
            let issuers = issuers(&key)?;
            Ok((key, issuers))
        });
        Ok(Self {
            names: NameTable::new(names),
            keys: keys.collect::<Result<_, Error>>()?,
            unstapled,
            clock,
        })
    }

    /// What is presented now.
    fn at(&self, index: usize) -> &Arc<CertifiedKey> {
        match &self.unstapled[index] {
            Some((last, without)) if self.clock.now().is_some_and(|now| now.as_secs() > *last) => {
                without
            }
            _ => &self.keys[index].0,
        }
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        observe::note(|seen| seen.server_name = name.map(str::to_owned));
        let candidates = self.names.candidates(name);
        let verifiable = |index: &&usize| {
            let (key, _) = &self.keys[**index];
            key.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let authorities = hello.certificate_authorities().unwrap_or_default();
        let trusted = |index: &&usize| {
            let (_, issuers) = &self.keys[**index];
            let mut names = authorities.iter();
            names.any(|name| issuers.iter().any(|issuer| issuer == name.as_ref()))
        };
        candidates
            .iter()
            .filter(verifiable)
            .find(trusted)
            // They are a hint (RFC 8446 section 4.2.4).
            .or_else(|| candidates.iter().find(verifiable))
            // None fits: rustls then finds no signature scheme in common and says
            // handshake_failure, where returning nothing would become access_denied.
            .or_else(|| {
                observe::note(|seen| seen.no_key_fits = true);
                candidates.first()
            })
            .map(|index| {
                let chosen = self.at(*index);
                observe::note(|seen| seen.identity = Some(Arc::clone(chosen)));
                Arc::clone(chosen)
            })
    }
}

/// A client's chains: chooses by what the server trusts, as far as it says, and can verify.
#[derive(Debug)]
pub(crate) struct ClientChooser {
    /// Each with the names of all issuers in the chain, in DER.
    keys: Vec<(Arc<CertifiedKey>, Vec<Vec<u8>>)>,
}

impl ClientChooser {
    pub(crate) fn new(keys: Vec<Arc<CertifiedKey>>) -> Result<Self, Error> {
        let keys = keys.into_iter().map(|key| {
            let issuers = issuers(&key)?;
            Ok((key, issuers))
        });
        Ok(Self {
            keys: keys.collect::<Result<_, Error>>()?,
        })
    }
}

impl ResolvesClientCert for ClientChooser {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let verifiable = |key: &CertifiedKey| key.key.choose_scheme(sigschemes).is_some();
        let trusted = |issuers: &[Vec<u8>]| {
            issuers
                .iter()
                .any(|issuer| root_hint_subjects.contains(&issuer.as_slice()))
        };
        let chosen = self
            .keys
            .iter()
            .find(|(key, issuers)| trusted(issuers) && verifiable(key))
            // The hint may be incomplete or missing (RFC 8446 section 4.2.4).
            .or_else(|| self.keys.iter().find(|(key, _)| verifiable(key)))
            .or_else(|| self.keys.first());
        chosen.map(|(key, _)| Arc::clone(key))
    }

    fn has_certs(&self) -> bool {
        !self.keys.is_empty()
    }
}
