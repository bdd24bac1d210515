//! What little DER has to be written: signatures, and the public keys of tokens that do not write them.

use polytls_x509::der::{element, first};

/// An INTEGER that is not negative, from its bytes with the highest first.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0);
    let digits = first.map_or(&[0][..], |first| &bytes[first..]);
    let mut contents = Vec::with_capacity(digits.len() + 1);
    if digits[0] >= 0x80 {
        contents.push(0);
    }
    contents.extend_from_slice(digits);
    element(2, &contents)
}

/// A BIT STRING of whole bytes.
pub(crate) fn bits(bytes: &[u8]) -> Vec<u8> {
    element(3, &[&[0], bytes].concat())
}

/// The contents of an OCTET STRING; what is none is taken as it is, as some tokens give CKA_EC_POINT.
pub(crate) fn octets(der: &[u8]) -> &[u8] {
    match first(der) {
        Some((4, contents, [])) => contents,
        _ => der,
    }
}
