//! Our own chains and keys, and the choice among them.

use std::sync::Arc;

use polytls_core::config::Identity;
use polytls_core::sni::NameTable;
use polytls_core::{Error, pki_types};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};

use crate::observe;

/// Loads the key and holds it against the leaf.
pub(crate) fn certified_key(
    identity: &Identity,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, Error> {
    let wrong = |message: String| Error::configuration("certificate_chain", message);
    for (index, certificate) in identity.chain.iter().enumerate() {
        polytls_x509::summarize(certificate)
            .map_err(|error| wrong(format!("certificate {index} of the chain is {error}")))?;
    }
    let key = provider
        .key_provider
        .load_private_key(identity.key.clone_key())
        .map_err(|_| {
            wrong(format!(
                "rustls cannot use this {} private key; it takes RSA of 2048 to 8192 bits, ECDSA \
                 on P-256, P-384 and P-521, and Ed25519",
                encoding(&identity.key)
            ))
        })?;
    let certified = CertifiedKey::new(identity.chain.clone(), key);
    match certified.keys_match() {
        Ok(()) => Ok(Arc::new(certified)),
        Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(wrong(
            "the private key does not belong to the certificate of the leaf".to_owned(),
        )),
        Err(error) => Err(wrong(format!(
            "the private key cannot be held against the certificate of the leaf: {error}"
        ))),
    }
}

fn encoding(key: &pki_types::PrivateKeyDer<'_>) -> &'static str {
    match key {
        pki_types::PrivateKeyDer::Pkcs1(_) => "PKCS#1",
        pki_types::PrivateKeyDer::Sec1(_) => "SEC1",
        _ => "PKCS#8",
    }
}

/// Chooses by name, then by what the client can verify.
#[derive(Debug)]
pub(crate) struct Chooser {
    names: NameTable,
    keys: Vec<Arc<CertifiedKey>>,
}

impl Chooser {
    pub(crate) fn new(keys: Vec<Arc<CertifiedKey>>) -> Result<Self, Error> {
        let mut names = Vec::with_capacity(keys.len());
        for key in &keys {
            let leaf = key.cert.first().map_or(&[][..], |leaf| leaf.as_ref());
            let summary = polytls_x509::summarize(leaf)
                .map_err(|error| Error::configuration("certificate_chain", error.to_string()))?;
            names.push(summary.dns_names);
        }
        Ok(Self {
            names: NameTable::new(names),
            keys,
        })
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        observe::note(|seen| seen.server_name = name.map(str::to_owned));
        let candidates = self.names.candidates(name);
        candidates
            .iter()
            .find(|index| {
                self.keys[**index]
                    .key
                    .choose_scheme(hello.signature_schemes())
                    .is_some()
            })
            // None fits: rustls then finds no signature scheme in common and says
            // handshake_failure, where returning nothing would become access_denied.
            .or_else(|| {
                observe::note(|seen| seen.no_key_fits = true);
                candidates.first()
            })
            .map(|index| {
                let chosen = &self.keys[*index];
                observe::note(|seen| seen.identity = Some(Arc::clone(chosen)));
                Arc::clone(chosen)
            })
    }
}
