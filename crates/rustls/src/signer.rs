//! Private keys that are elsewhere, as rustls wants them.
//!
//! rustls knows no reason for a failed signature, so it is in the scope of the connection
//! (`observe`) until the session ends. What a signer gives is checked before it is sent: it would
//! otherwise be the peer who finds out, and a faulty RSA signature can give the key away.

use std::fmt;
use std::sync::Arc;

use polytls_core::Error;
use polytls_core::SignerFailure;
use polytls_core::config::Signer;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer as RustlsSigner, SigningKey};
use rustls::{Error as TlsError, SignatureAlgorithm, SignatureScheme};

use crate::handshake_signature::{key_of, verify_by_key};
use crate::observe;

/// A signer with what its signatures are checked by.
struct Remote {
    signer: Arc<dyn Signer>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A key of which only the public half is here.
pub(crate) struct RemoteKey {
    remote: Arc<Remote>,
    schemes: Vec<SignatureScheme>,
    algorithm: SignatureAlgorithm,
}

impl fmt::Debug for RemoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKey")
            .field("schemes", &self.schemes)
            .finish_non_exhaustive()
    }
}

/// The kind of key that a scheme is for; `None` for those that TLS no longer has.
const fn kind(scheme: SignatureScheme) -> Option<SignatureAlgorithm> {
    use SignatureScheme as S;
    match scheme {
        S::RSA_PKCS1_SHA256
        | S::RSA_PKCS1_SHA384
        | S::RSA_PKCS1_SHA512
        | S::RSA_PSS_SHA256
        | S::RSA_PSS_SHA384
        | S::RSA_PSS_SHA512 => Some(SignatureAlgorithm::RSA),
        S::ECDSA_NISTP256_SHA256 | S::ECDSA_NISTP384_SHA384 | S::ECDSA_NISTP521_SHA512 => {
            Some(SignatureAlgorithm::ECDSA)
        }
        S::ED25519 => Some(SignatureAlgorithm::ED25519),
        _ => None,
    }
}

impl RemoteKey {
    pub(crate) fn new(signer: Arc<dyn Signer>, provider: &CryptoProvider) -> Result<Self, Error> {
        let wrong = |message: &str| Error::configuration("certificate_chain", message);
        let algorithms = provider.signature_verification_algorithms;
        let mut schemes: Vec<_> = signer
            .schemes()
            .iter()
            .map(|number| SignatureScheme::from(*number))
            .collect();
        schemes.retain(|scheme| {
            let mut known = algorithms.mapping.iter();
            kind(*scheme).is_some() && known.any(|(known, _)| known == scheme)
        });
        let algorithm = schemes
            .first()
            .and_then(|scheme| kind(*scheme))
            .ok_or_else(|| wrong("the signer offers no algorithm that rustls supports"))?;
        if schemes
            .iter()
            .any(|scheme| kind(*scheme) != Some(algorithm))
        {
            return Err(wrong(
                "the signer offers algorithms for several kinds of keys",
            ));
        }
        let remote = Arc::new(Remote { signer, algorithms });
        Ok(Self {
            remote,
            schemes,
            algorithm,
        })
    }
}

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn RustlsSigner>> {
        let scheme = *self
            .schemes
            .iter()
            .find(|scheme| offered.contains(scheme))?;
        Some(Box::new(Signing {
            remote: Arc::clone(&self.remote),
            scheme,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.remote.signer.public_key().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

/// One signature.
struct Signing {
    remote: Arc<Remote>,
    scheme: SignatureScheme,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl Signing {
    fn fits(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = key_of(self.remote.signer.public_key().to_vec());
        let signed = verify_by_key(
            &key,
            self.scheme,
            message,
            signature,
            &self.remote.algorithms,
        );
        signed.is_ok()
    }
}

impl RustlsSigner for Signing {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TlsError> {
        let signed = self.remote.signer.sign(message, self.scheme.into());
        let signed = signed.and_then(|signature| {
            if self.fits(message, &signature) {
                Ok(signature)
            } else {
                Err(SignerFailure::of_signature())
            }
        });
        signed.map_err(|failure| {
            observe::note(|seen| seen.signer_failure = Some(failure));
            TlsError::General("the signer returned no signature".to_owned())
        })
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
