//! Distinguished names in the form in which OpenSSL compares them. Directories of certificates name
//! their files by its hash (`X509_NAME_hash(3)`, `openssl rehash`).

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Unreadable;
use crate::der::{all, element, first};
use crate::unreadable::part;

const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const BMP_STRING: u8 = 0x1e;
const UNIVERSAL_STRING: u8 = 0x1c;
/// PrintableString, T61String, IA5String: one byte is one character.
const OF_BYTES: [u8; 3] = [0x13, 0x14, 0x16];

/// The subject of a certificate in DER, as OpenSSL compares it: the relative distinguished names one after
/// another, each value in UTF-8 with ASCII letters in lower case and white space reduced to single spaces.
///
/// # Errors
///
/// [`Unreadable`].
pub fn canonical_subject(der: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| Unreadable::certificate(part(&error)))?;
    canonical(certificate.subject().as_raw())
        .ok_or_else(|| Unreadable::certificate("its subject is malformed"))
}

fn canonical(name: &[u8]) -> Option<Vec<u8>> {
    let (_, names, _) = first(name)?;
    let mut found = Vec::new();
    for (_, attributes) in all(names)? {
        let mut attributes = all(attributes)?
            .into_iter()
            .map(|(_, attribute)| attribute_of(attribute))
            .collect::<Option<Vec<_>>>()?;
        // The order of a SET OF in DER, which depends on the values.
        attributes.sort();
        found.extend(element(SET, &attributes.concat()));
    }
    Some(found)
}

/// A type and its value.
fn attribute_of(attribute: &[u8]) -> Option<Vec<u8>> {
    let (_, kind, value) = first(attribute)?;
    let (tag, contents, _) = first(value)?;
    let value = match tag {
        UTF8_STRING => reduced(std::str::from_utf8(contents).ok()?),
        BMP_STRING => reduced(&wide::<2>(contents)?),
        UNIVERSAL_STRING => reduced(&wide::<4>(contents)?),
        tag if OF_BYTES.contains(&tag) => {
            reduced(&contents.iter().copied().map(char::from).collect::<String>())
        }
        other => element(other, contents),
    };
    Some(element(SEQUENCE, &[element(OBJECT, kind), value].concat()))
}

/// Characters of N bytes each.
fn wide<const N: usize>(contents: &[u8]) -> Option<String> {
    let characters = contents.chunks(N).map(|one| {
        let one = <[u8; N]>::try_from(one).ok()?;
        char::from_u32(one.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    });
    characters.collect()
}

fn reduced(text: &str) -> Vec<u8> {
    let is_space = |character| matches!(character, ' ' | '\t'..='\r');
    let words = text.split(is_space).filter(|word| !word.is_empty());
    let text = words.collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    element(UTF8_STRING, text.as_bytes())
}
