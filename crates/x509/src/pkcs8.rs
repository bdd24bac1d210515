//! Private keys in PKCS#8.

use crate::der::{all, element, first};

// Tags (ITU-T X.690 section 8.1.2).
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// A key without what the second version of PKCS#8 adds, the public key (RFC 5958 section 2; some tools
/// write it for Ed25519). `None`: it is not of that version.
#[must_use]
pub fn pkcs8_of_version_1(der: &[u8]) -> Option<Vec<u8>> {
    let (SEQUENCE, contents, []) = first(der)? else {
        return None;
    };
    match all(contents)?[..] {
        [(INTEGER, [1]), (SEQUENCE, algorithm), (OCTETS, key), ..] => Some(element(
            SEQUENCE,
            &[
                element(INTEGER, &[0]),
                element(SEQUENCE, algorithm),
                element(OCTETS, key),
            ]
            .concat(),
        )),
        _ => None,
    }
}
