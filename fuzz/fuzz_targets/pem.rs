//! Files of certificates, keys and revocation lists.
//!
//! Contract: every file is read or refused in words; nothing panics; there are no more certificates than
//! sections; what was read and is written again is read as the same.

#![no_main]

use std::fmt::Write;

use libfuzzer_sys::fuzz_target;
use polytls_conformance::Input;
use polytls_core::pem::{certificates, private_key, revocation_lists};

const LABELS: [&str; 9] = [
    "CERTIFICATE",
    "X509 CERTIFICATE",
    "TRUSTED CERTIFICATE",
    "X509 CRL",
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "PKCS7",
];
const ENDS: [&str; 4] = ["\n", "\r\n", "\r", " \n"];
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fuzz_target!(|input: &[u8]| {
    let mut file = Vec::new();
    let _ = compose(Input::new(input), &mut file);
    judge(&file);
    judge(input);
});

/// A file out of what files are made of.
fn compose(mut input: Input<'_>, file: &mut Vec<u8>) -> Option<()> {
    loop {
        let kind = input.byte()?;
        let label = LABELS[usize::from(kind >> 2) % LABELS.len()];
        match kind & 3 {
            0 => file.extend(format!("-----BEGIN {label}-----").bytes()),
            1 => file.extend(format!("-----END {label}-----").bytes()),
            2 => file.extend(base64(input.bytes()?).bytes()),
            _ => file.extend(input.bytes()?),
        }
        file.extend(ENDS[usize::from(input.byte()?) % ENDS.len()].bytes());
    }
}

fn judge(file: &[u8]) {
    let refusals = [
        certificates(file).err(),
        revocation_lists(file).err(),
        private_key(file).err(),
    ];
    for refusal in refusals.into_iter().flatten() {
        assert!(!refusal.to_string().is_empty());
    }
    let Ok(read) = certificates(file) else { return };
    assert!(!read.is_empty());
    let sections = file.windows(10).filter(|place| *place == b"-----BEGIN").count();
    assert!(read.len() <= sections.max(1));
    let mut again = String::new();
    for der in &read {
        let _ = write!(again, "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64(der));
    }
    assert_eq!(certificates(again.as_bytes()), Ok(read));
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            text.push(if at <= group.len() {
                char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize])
            } else {
                '='
            });
        }
    }
    text
}
