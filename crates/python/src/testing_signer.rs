//! Signatures with throw-away keys, for `polytls.testing.KeySigner`.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

fn rejected(error: KeyRejected) -> PyErr {
    PyValueError::new_err(format!("key: {error}"))
}

fn failed(_: Unspecified) -> PyErr {
    PyValueError::new_err("the key cannot do that")
}

const ECDSA: [(u16, &EcdsaSigningAlgorithm); 2] = [
    (0x0403, &ECDSA_P256_SHA256_ASN1_SIGNING),
    (0x0503, &ECDSA_P384_SHA384_ASN1_SIGNING),
];
const RSA: [(u16, &dyn RsaEncoding); 6] = [
    (0x0804, &RSA_PSS_SHA256),
    (0x0805, &RSA_PSS_SHA384),
    (0x0806, &RSA_PSS_SHA512),
    (0x0401, &RSA_PKCS1_SHA256),
    (0x0501, &RSA_PKCS1_SHA384),
    (0x0601, &RSA_PKCS1_SHA512),
];
const ED25519: u16 = 0x0807;

/// The public key of a private one in PKCS#8, as SubjectPublicKeyInfo, and the numbers of the
/// signature algorithms that it can do.
///
/// Raises ValueError.
#[pyfunction]
pub(crate) fn public_half<'py>(
    py: Python<'py>,
    key: &[u8],
) -> PyResult<(Bound<'py, PyBytes>, Vec<u16>)> {
    let public = |public: Result<PublicKeyX509Der<'_>, Unspecified>, algorithms| {
        let public = public.map_err(failed)?;
        Ok((PyBytes::new(py, public.as_ref()), algorithms))
    };
    for (number, algorithm) in ECDSA {
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(algorithm, key) {
            return public(key.public_key().as_der(), vec![number]);
        }
    }
    if let Ok(key) = RsaKeyPair::from_pkcs8(key) {
        let numbers = RSA.iter().map(|(number, _)| *number);
        return public(key.public_key().as_der(), numbers.collect());
    }
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).map_err(rejected)?;
    public(key.public_key().as_der(), vec![ED25519])
}

/// The signature over `data` with a private key in PKCS#8.
///
/// Raises ValueError for another key than `algorithm`, a number, is for.
#[pyfunction]
pub(crate) fn sign<'py>(
    py: Python<'py>,
    key: &[u8],
    data: &[u8],
    algorithm: u16,
) -> PyResult<Bound<'py, PyBytes>> {
    let random = SystemRandom::new();
    if let Some((_, algorithm)) = ECDSA.iter().find(|(number, _)| *number == algorithm) {
        let key = EcdsaKeyPair::from_pkcs8(algorithm, key).map_err(rejected)?;
        let signature = key.sign(&random, data).map_err(failed)?;
        return Ok(PyBytes::new(py, signature.as_ref()));
    }
    if let Some((_, encoding)) = RSA.iter().find(|(number, _)| *number == algorithm) {
        let key = RsaKeyPair::from_pkcs8(key).map_err(rejected)?;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(*encoding, &random, data, &mut signature)
            .map_err(failed)?;
        return Ok(PyBytes::new(py, &signature));
    }
    if algorithm != ED25519 {
        return Err(PyValueError::new_err(format!(
            "algorithm: {algorithm:#06x} is none of these"
        )));
    }
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).map_err(rejected)?;
    Ok(PyBytes::new(py, key.sign(data).as_ref()))
}
