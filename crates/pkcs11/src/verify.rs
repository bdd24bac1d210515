//! Whether a signature is one by that public key: for the one signature that is made when a key is opened.

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};

/// Whether `signature` over `message` was made with `scheme` (RFC 8446 section 4.2.3) by the private key of
/// `public_key`, SubjectPublicKeyInfo in DER.
pub(crate) fn verifies(public_key: &[u8], scheme: u16, message: &[u8], signature: &[u8]) -> bool {
    let algorithm: &'static dyn VerificationAlgorithm = match scheme {
        0x0403 => &signature::ECDSA_P256_SHA256_ASN1,
        0x0503 => &signature::ECDSA_P384_SHA384_ASN1,
        0x0603 => &signature::ECDSA_P521_SHA512_ASN1,
        0x0804 => &signature::RSA_PSS_2048_8192_SHA256,
        0x0401 => &signature::RSA_PKCS1_2048_8192_SHA256,
        0x0807 => &signature::ED25519,
        _ => return false,
    };
    let key = ParsedPublicKey::new(algorithm, public_key);
    key.is_ok_and(|key| key.verify_sig(message, signature).is_ok())
}
