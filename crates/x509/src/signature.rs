//! The hash function of a certificate's signature, which channel bindings are made with
//! (RFC 5929 section 4.1).

use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::SignatureAlgorithm;

use crate::Unreadable;

/// A hash function, with what RFC 5929 puts in the place of MD5 and SHA-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureHash {
    /// SHA-256, also for MD5 and SHA-1.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// The hash function of the signature on the certificate `der`; `None` where there is no one such
/// (Ed25519) or it is not known here.
///
/// # Errors
///
/// [`Unreadable`].
pub fn signature_hash(der: &[u8]) -> Result<Option<SignatureHash>, Unreadable> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|error| Unreadable("certificate", error.to_string()))?;
    let algorithm = &certificate.signature_algorithm;
    let pss = match SignatureAlgorithm::try_from(algorithm) {
        Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) => {
            Some(parameters.hash_algorithm_oid().to_id_string())
        }
        _ => None,
    };
    let name = pss.unwrap_or_else(|| algorithm.algorithm.to_id_string());
    Ok(HASHES
        .iter()
        .find(|(identifier, _)| *identifier == name)
        .map(|(_, hash)| *hash))
}

/// By object identifier: RFC 8017 appendix C, RFC 5758.
const HASHES: [(&str, SignatureHash); 14] = [
    // With RSA, PKCS#1 v1.5: MD5, SHA-1, SHA-2.
    ("1.2.840.113549.1.1.4", SignatureHash::Sha256),
    ("1.2.840.113549.1.1.5", SignatureHash::Sha256),
    ("1.2.840.113549.1.1.11", SignatureHash::Sha256),
    ("1.2.840.113549.1.1.12", SignatureHash::Sha384),
    ("1.2.840.113549.1.1.13", SignatureHash::Sha512),
    // With ECDSA: SHA-1, SHA-2.
    ("1.2.840.10045.4.1", SignatureHash::Sha256),
    ("1.2.840.10045.4.3.2", SignatureHash::Sha256),
    ("1.2.840.10045.4.3.3", SignatureHash::Sha384),
    ("1.2.840.10045.4.3.4", SignatureHash::Sha512),
    // The hash functions themselves, as RSASSA-PSS names them.
    ("1.3.14.3.2.26", SignatureHash::Sha256),
    ("2.16.840.1.101.3.4.2.1", SignatureHash::Sha256),
    ("2.16.840.1.101.3.4.2.2", SignatureHash::Sha384),
    ("2.16.840.1.101.3.4.2.3", SignatureHash::Sha512),
    // DSA with SHA-256.
    ("2.16.840.1.101.3.4.3.2", SignatureHash::Sha256),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn signed_with(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key of a known kind");
        let parameters = rcgen::CertificateParams::new(vec!["name.example".to_owned()]);
        let certificate = parameters.expect("a name").self_signed(&key);
        certificate.expect("a certificate").der().to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let hash = |algorithm| signature_hash(&signed_with(algorithm));
        assert_eq!(
            hash(&rcgen::PKCS_ECDSA_P256_SHA256),
            Ok(Some(SignatureHash::Sha256))
        );
        assert_eq!(
            hash(&rcgen::PKCS_ECDSA_P384_SHA384),
            Ok(Some(SignatureHash::Sha384))
        );
        assert_eq!(
            hash(&rcgen::PKCS_RSA_SHA512),
            Ok(Some(SignatureHash::Sha512))
        );
        assert_eq!(hash(&rcgen::PKCS_ED25519), Ok(None));
        assert!(signature_hash(b"no certificate").is_err());
    }
}
