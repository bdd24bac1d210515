//! Reads the contents of certificates for display, and for rules outside path building: names,
//! validity, keys.
//!
//! `x509-parser` does the parsing; nothing here decides whether a certificate is trusted. [`names`]
//! compares names if a TLS library leaves that to us.

pub mod der;
pub mod names;

mod canonical;
mod curve;
mod details;
mod dictionary;
mod ocsp;
mod path_facts;
mod pkcs8;
mod revocation;
mod signature;
mod strict;
mod transparency;
mod unreadable;

use std::net::IpAddr;

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{
    AttributeTypeAndValue, RelativeDistinguishedName, SubjectPublicKeyInfo, X509Name,
};

pub use canonical::canonical_subject;
pub use curve::with_named_curve;
pub use details::{Details, details};
pub use dictionary::{AlternativeName, Dictionary, Name, dictionary};
pub use ocsp::{
    CertificateStatus, IssuerHash, OcspAnswer, OcspResponse, OcspStatus, Responder, ocsp_answer,
    ocsp_in_force, public_key,
};
pub use path_facts::{ConstrainedNames, Constraints, PathFacts, path_facts};
pub use pkcs8::pkcs8_of_version_1;
pub use revocation::{RevocationList, check_revocation_list, revocation_list};
pub use signature::{SignatureHash, Signed, signature_hash, signed};
pub use strict::{StrictFault, strict_fault, strict_words};
pub use transparency::{Timestamp, timestamps};
pub use unreadable::Unreadable;

use unreadable::{part, part_of};

/// The contents of a certificate. Its text is not trusted: control characters are escaped in names
/// for display; names for comparison are unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The DNS names in the subject alternative name, unchanged. The common name is never one of
    /// them.
    pub dns_names: Vec<String>,
    /// The IP addresses in the subject alternative name.
    pub ip_addresses: Vec<IpAddr>,
    /// The email addresses in the subject alternative name.
    pub email_addresses: Vec<String>,
    /// The URIs in the subject alternative name, such as SPIFFE identities.
    pub uris: Vec<String>,
    /// The subject's distinguished name, for display; control characters are escaped.
    pub subject: String,
    /// The issuer's, in the same form.
    pub issuer: String,
    /// The subject's common name, if any, in the same form.
    pub common_name: Option<String>,
    /// The subject in DER, for finding issuers.
    pub subject_der: Vec<u8>,
    /// The issuer in DER.
    pub issuer_der: Vec<u8>,
    /// notBefore, in seconds since 1970 UTC.
    pub not_before: i64,
    /// notAfter, in seconds since 1970 UTC.
    pub not_after: i64,
    /// The serial number, big-endian.
    pub serial_number: Vec<u8>,
    /// The type of the key, such as "RSA", "ECDSA" or "Ed25519"; the OID of a type without a name
    /// here.
    pub key_type: String,
    /// The size of the key in bits, as usual for its type; 0 if unknown.
    pub key_bits: u32,
    /// SubjectPublicKeyInfo as DER.
    pub spki: Vec<u8>,
    /// Whether it is a CA certificate (basic constraints).
    pub is_authority: bool,
}

impl Summary {
    /// The names a server's certificate is valid for, DNS names and addresses, for display.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let addresses = self.ip_addresses.iter().map(ToString::to_string);
        let names = self.dns_names.iter().map(|name| printable(name));
        names.chain(addresses).collect()
    }

    /// Whether its key is too small.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.key_type == "RSA" && self.key_bits < LEAST_RSA_BITS
    }

    /// Whether its subject is its issuer.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject_der == self.issuer_der
    }
}

/// Parses one certificate in DER.
///
/// # Errors
///
/// [`Unreadable`], also if data follows the certificate.
pub fn summarize(der: &[u8]) -> Result<Summary, Unreadable> {
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|error| Unreadable::certificate(part(&error)))?;
    if !rest.is_empty() {
        let why = format!("{} bytes of other data follow it", rest.len());
        return Err(Unreadable::certificate(why));
    }
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| match error {
            X509Error::DuplicateExtensions => Unreadable::certificate(part_of(&error)),
            _ => Unreadable::certificate("its alternative names are malformed"),
        })?;
    let mut dns_names = Vec::new();
    let mut ip_addresses = Vec::new();
    let mut email_addresses = Vec::new();
    let mut uris = Vec::new();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => ip_addresses.extend(address(bytes)),
            GeneralName::RFC822Name(name) => email_addresses.push((*name).to_owned()),
            GeneralName::URI(name) => uris.push((*name).to_owned()),
            _ => {}
        }
    }
    let subject = certificate.subject();
    let common_name = subject
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .map(printable);
    let (key_type, key_bits) = key(certificate.public_key());
    Ok(Summary {
        dns_names,
        ip_addresses,
        email_addresses,
        uris,
        subject: name_in_words(subject),
        issuer: name_in_words(certificate.issuer()),
        common_name,
        subject_der: subject.as_raw().to_vec(),
        issuer_der: certificate.issuer().as_raw().to_vec(),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        serial_number: certificate.raw_serial().to_vec(),
        key_type,
        key_bits,
        spki: certificate.public_key().raw.to_vec(),
        is_authority: certificate
            .basic_constraints()
            .ok()
            .flatten()
            .is_some_and(|constraints| constraints.value.ca),
    })
}

/// The distinguished name of the issuer, DER, as in the lists of accepted CAs that servers send
/// (RFC 8446 section 4.2.4).
///
/// # Errors
///
/// Like [`summarize`].
pub fn issuer(der: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| Unreadable::certificate(part(&error)))?;
    Ok(certificate.issuer().as_raw().to_vec())
}

/// The name of the subject of a certificate, in DER (RFC 5280 section 4.1.2.6).
///
/// # Errors
///
/// Like [`summarize`].
pub fn subject(der: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| Unreadable::certificate(part(&error)))?;
    Ok(certificate.subject().as_raw().to_vec())
}

/// The minimum size of an accepted RSA key (NIST SP 800-131A).
pub const LEAST_RSA_BITS: u32 = 2048;

/// An address as it is in a certificate; of any other length it is none.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// The named curves (RFC 5480 section 2.1.1.1, RFC 5639) and other keys without parameters of their
/// own (RFC 8410), by OID, with their sizes.
const KEYS: [(&str, &str, u32); 9] = [
    ("1.2.840.10045.3.1.7", "ECDSA", 256),
    ("1.3.132.0.34", "ECDSA", 384),
    ("1.3.132.0.35", "ECDSA", 521),
    ("1.3.132.0.10", "ECDSA", 256),
    ("1.3.36.3.3.2.8.1.1.7", "ECDSA", 256),
    ("1.3.36.3.3.2.8.1.1.11", "ECDSA", 384),
    ("1.3.36.3.3.2.8.1.1.13", "ECDSA", 512),
    ("1.3.101.112", "Ed25519", 256),
    ("1.3.101.113", "Ed448", 456),
];

fn key(info: &SubjectPublicKeyInfo<'_>) -> (String, u32) {
    let algorithm = info.algorithm.algorithm.to_id_string();
    let curve = info.algorithm.parameters.as_ref();
    let curve = curve.and_then(|parameters| parameters.as_oid().ok());
    let id = curve.map_or_else(|| algorithm.clone(), |oid| oid.to_id_string());
    if let Some((_, name, bits)) = KEYS.iter().find(|(known, ..)| *known == id) {
        return ((*name).to_owned(), *bits);
    }
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => ("RSA".to_owned(), bits(key.modulus)),
        Ok(PublicKey::EC(_)) => ("ECDSA".to_owned(), 0),
        Ok(PublicKey::DSA(key)) => ("DSA".to_owned(), bits(key)),
        _ => (algorithm, 0),
    }
}

/// How many bits a big-endian number has.
fn bits(number: &[u8]) -> u32 {
    let mut digits = number.iter().skip_while(|digit| **digit == 0);
    let first = digits.next().map_or(0, |digit| 8 - digit.leading_zeros());
    u32::try_from(digits.count() * 8).map_or(u32::MAX, |rest| first.saturating_add(rest))
}

/// A distinguished name, as people read it: "CN=name, O=organisation". The parser does that too, but shows its
/// own identifiers where a name is odd.
fn name_in_words(name: &X509Name<'_>) -> String {
    let attribute = |attribute: &AttributeTypeAndValue<'_>| {
        let kind = attribute.attr_type();
        let kind = oid2abbrev(kind, oid_registry())
            .map_or_else(|_| kind.to_id_string(), ToOwned::to_owned);
        format!("{kind}={}", text(attribute.attr_value()))
    };
    let attributes = |part: &RelativeDistinguishedName<'_>| {
        let attributes: Vec<String> = part.iter().map(attribute).collect();
        attributes.join(" + ")
    };
    let parts: Vec<String> = name.iter_rdn().map(attributes).collect();
    printable(&parts.join(", "))
}

/// What is text, whatever its kind; in hexadecimal what is none (RFC 4514 section 2.4).
fn text(value: &Any<'_>) -> String {
    let units = value
        .data
        .chunks_exact(2)
        .map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
    match value.tag() {
        Tag::BmpString => char::decode_utf16(units)
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
        Tag::NumericString
        | Tag::VisibleString
        | Tag::PrintableString
        | Tag::GeneralString
        | Tag::ObjectDescriptor
        | Tag::GraphicString
        | Tag::T61String
        | Tag::VideotexString
        | Tag::Utf8String
        | Tag::Ia5String => String::from_utf8_lossy(value.data).into_owned(),
        _ => value.data.iter().fold("#".to_owned(), |hexadecimal, byte| {
            format!("{hexadecimal}{byte:02x}")
        }),
    }
}

/// Names come from strangers: nothing in them may steer a terminal.
fn printable(name: &str) -> String {
    name.chars()
        .flat_map(|character| {
            // Controls, ends of lines and paragraphs, marks that turn the direction of what follows
            // (Unicode, UAX 9), and what is not seen at all.
            let escape = character.is_control()
                || matches!(
                    character,
                    '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
                );
            character
                .escape_unicode()
                .filter(move |_| escape)
                .chain((!escape).then_some(character))
                .collect::<Vec<char>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_validity_and_key_are_read() {
        let mut params =
            rcgen::CertificateParams::new(vec!["a.example".into(), "127.0.0.1".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 2);
        params.subject_alt_names.push(rcgen::SanType::URI(
            "spiffe://example/service".try_into().unwrap(),
        ));
        params.subject_alt_names.push(rcgen::SanType::Rfc822Name(
            "a@b.example".try_into().unwrap(),
        ));
        params.serial_number = Some(rcgen::SerialNumber::from(vec![0x12, 0x34]));
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let summary = summarize(certificate.der()).unwrap();
        assert_eq!(summary.dns_names, ["a.example"]);
        assert_eq!(summary.ip_addresses, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(summary.names(), ["a.example", "127.0.0.1"]);
        assert_eq!(summary.uris, ["spiffe://example/service"]);
        assert_eq!(summary.email_addresses, ["a@b.example"]);
        assert_eq!(summary.not_before, 1_767_225_600);
        assert_eq!(summary.not_after - summary.not_before, 86_400);
        assert_eq!(summary.serial_number, [0x12, 0x34]);
        assert_eq!(
            (summary.key_type.as_str(), summary.key_bits),
            ("ECDSA", 256)
        );
        assert_eq!(
            summary.common_name.as_deref(),
            Some("rcgen self signed cert")
        );
        assert_eq!(
            summary.spki,
            rcgen::PublicKeyData::subject_public_key_info(&key)
        );
        assert!(summary.is_self_issued());
        assert!(!summary.is_authority);
    }

    #[test]
    fn names_of_strangers_do_not_steer_the_terminal() {
        assert_eq!(
            printable("CN=a\u{1b}[31m\nb \u{e9}\u{202e}"),
            "CN=a\\u{1b}[31m\\u{a}b \u{e9}\\u{202e}"
        );
        for hidden in [
            '\u{85}', '\u{61c}', '\u{2028}', '\u{2029}', '\u{2060}', '\u{feff}',
        ] {
            assert!(printable(&hidden.to_string()).is_ascii(), "{hidden:?}");
        }
    }

    #[test]
    fn sizes_are_counted_in_bits() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 0x80, 0]), 16);
        assert_eq!(bits(&[0x7f, 0xff]), 15);
    }

    #[test]
    fn what_is_no_certificate_and_no_list_is_refused() {
        for der in [&b""[..], b"garbage", b"\x30\x03\x02\x01\x01"] {
            assert!(summarize(der).is_err());
            assert!(check_revocation_list(der).is_err());
        }
    }
}
