//! The signature of a certificate: what is signed, and by what algorithm. Channel bindings are made with its
//! hash function (RFC 5929 section 4.1).

use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::AlgorithmIdentifier;

use crate::Unreadable;
use crate::der::first;
use crate::unreadable::part;

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
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| Unreadable::certificate(part(&error)))?;
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
        .find(|(identifier, ..)| *identifier == name)
        .map(|(.., hash)| *hash))
}

/// A certificate as it was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// What is signed, TBSCertificate in DER.
    pub message: &'a [u8],
    /// The contents of its AlgorithmIdentifier.
    pub algorithm: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// Takes a certificate in DER apart (RFC 5280 section 4.1).
///
/// # Errors
///
/// [`Unreadable`].
pub fn signed(der: &[u8]) -> Result<Signed<'_>, Unreadable> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| Unreadable::certificate(part(&error)))?;
    let message = certificate.tbs_certificate.as_ref().len();
    // The parser has seen all three elements: they are where they must be.
    take_apart(der, message).ok_or_else(|| Unreadable::certificate("its signature is malformed"))
}

fn take_apart(der: &[u8], message: usize) -> Option<Signed<'_>> {
    let (_, outer, _) = first(der)?;
    let (message, rest) = outer.split_at_checked(message)?;
    let (_, algorithm, rest) = first(rest)?;
    let (_, bits, _) = first(rest)?;
    // The bits are behind the number of those that are not used: none.
    match bits.split_first()? {
        (0, signature) => Some(Signed {
            message,
            algorithm,
            signature,
        }),
        _ => None,
    }
}

/// The algorithm of a signature, as people call it; its object identifier where it has no name here.
pub(crate) fn signature_in_words(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let id = algorithm.algorithm.to_id_string();
    if let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(algorithm)
    {
        let hash = parameters.hash_algorithm_oid().to_id_string();
        return format!(
            "RSASSA-PSS with {} and a salt of {} bytes",
            name_of(&hash).unwrap_or(&hash),
            parameters.salt_length()
        );
    }
    name_of(&id).unwrap_or(&id).to_owned()
}

fn name_of(id: &str) -> Option<&'static str> {
    let hashes = HASHES.iter().map(|(known, name, _)| (*known, *name));
    let (_, name) = hashes.chain(OTHERS).find(|(known, _)| *known == id)?;
    Some(name)
}

/// By object identifier (RFC 8017 appendix C, RFC 5758): what it is called, and its hash function.
const HASHES: [(&str, &str, SignatureHash); 14] = [
    (
        "1.2.840.113549.1.1.4",
        "RSA with MD5",
        SignatureHash::Sha256,
    ),
    (
        "1.2.840.113549.1.1.5",
        "RSA with SHA-1",
        SignatureHash::Sha256,
    ),
    (
        "1.2.840.113549.1.1.11",
        "RSA with SHA-256",
        SignatureHash::Sha256,
    ),
    (
        "1.2.840.113549.1.1.12",
        "RSA with SHA-384",
        SignatureHash::Sha384,
    ),
    (
        "1.2.840.113549.1.1.13",
        "RSA with SHA-512",
        SignatureHash::Sha512,
    ),
    (
        "1.2.840.10045.4.1",
        "ECDSA with SHA-1",
        SignatureHash::Sha256,
    ),
    (
        "1.2.840.10045.4.3.2",
        "ECDSA with SHA-256",
        SignatureHash::Sha256,
    ),
    (
        "1.2.840.10045.4.3.3",
        "ECDSA with SHA-384",
        SignatureHash::Sha384,
    ),
    (
        "1.2.840.10045.4.3.4",
        "ECDSA with SHA-512",
        SignatureHash::Sha512,
    ),
    // The hash functions themselves, as RSASSA-PSS names them.
    ("1.3.14.3.2.26", "SHA-1", SignatureHash::Sha256),
    ("2.16.840.1.101.3.4.2.1", "SHA-256", SignatureHash::Sha256),
    ("2.16.840.1.101.3.4.2.2", "SHA-384", SignatureHash::Sha384),
    ("2.16.840.1.101.3.4.2.3", "SHA-512", SignatureHash::Sha512),
    (
        "2.16.840.1.101.3.4.3.2",
        "DSA with SHA-256",
        SignatureHash::Sha256,
    ),
];

/// Signatures without one hash function, or with one that channel bindings are not made with.
const OTHERS: [(&str, &str); 7] = [
    ("1.2.840.113549.1.1.2", "RSA with MD2"),
    ("1.2.840.113549.1.1.10", "RSASSA-PSS"),
    ("1.2.840.113549.1.1.14", "RSA with SHA-224"),
    ("1.2.840.10040.4.3", "DSA with SHA-1"),
    ("1.2.840.10045.4.3.1", "ECDSA with SHA-224"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
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
