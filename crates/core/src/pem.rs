//! Certificates, CRLs and keys out of bytes: PEM or DER, told apart by the preamble (PEP 748,
//! "Certificates").

mod foreign;

use std::fmt;

use rustls_pki_types::pem::{self, PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::config::EchKey;

use foreign::Wanted;

/// Why bytes hold no usable certificate or key. The text says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl Malformed {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// A section of a PEM file of any kind.
struct Section(SectionKind, Vec<u8>);

impl PemObject for Section {
    fn from_pem(kind: SectionKind, der: Vec<u8>) -> Option<Self> {
        Some(Self(kind, der))
    }
}

const ENCRYPTED: &str = "the private key is encrypted; decrypt it first, with \
                         polytls.identity.decrypt(data, password) or with `openssl pkey -in key.pem \
                         -out plain.pem`, and pass the result";

/// All certificates in `bytes`: every CERTIFICATE section of a PEM file, or one in DER. `X509 CERTIFICATE`
/// sections are the same, and so are `TRUSTED CERTIFICATE` ones whose trust settings restrict nothing.
///
/// Text between sections and sections of other kinds are passed over.
///
/// # Errors
///
/// [`Malformed`] if there is none, or if a section is broken.
pub fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Malformed> {
    if bytes.is_empty() {
        return Err(Malformed::new("expected a certificate, got no data"));
    }
    if let Some(length) = der_sequence(bytes) {
        if let Some(instead) = foreign::instead(bytes, Wanted::Certificate) {
            return Err(Malformed::new(instead));
        }
        return match length {
            Some(length) if length == bytes.len() => Ok(vec![bytes.to_vec().into()]),
            Some(length) if length < bytes.len() => Err(Malformed::new(format!(
                "{} bytes of other data follow the DER certificate",
                bytes.len() - length
            ))),
            _ => Err(Malformed::new("the DER certificate is truncated")),
        };
    }
    let (kept, trusted) = certificate_sections(&only(bytes, b"CERTIFICATE-----")?);
    let read = sections(&kept)?
        .into_iter()
        .filter(|section| section.0 == SectionKind::Certificate);
    let found = read
        .zip(trusted)
        .map(|(section, is_trusted)| {
            let der = if is_trusted {
                without_trust_settings(section.1)?
            } else {
                section.1
            };
            Ok(der.into())
        })
        .collect::<Result<Vec<CertificateDer<'static>>, Malformed>>()?;
    if found.is_empty() {
        return Err(Malformed::new(
            foreign::instead(bytes, Wanted::Certificate).unwrap_or_else(|| {
                "neither PEM with a CERTIFICATE section nor a certificate in DER".to_owned()
            }),
        ));
    }
    Ok(found)
}

/// Sections of certificates with the label of today, and of each whether OpenSSL's trust settings may
/// follow its certificate. Others are left out.
///
/// `X509 CERTIFICATE` is what old programs wrote (RFC 7468 section 5.1).
fn certificate_sections(bytes: &[u8]) -> (Vec<u8>, Vec<bool>) {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut trusted = Vec::new();
    let mut label = None;
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some(rest) = line.strip_prefix(b"-----BEGIN ") {
            label = rest.strip_suffix(b"-----").filter(|label| {
                matches!(
                    *label,
                    b"CERTIFICATE" | b"X509 CERTIFICATE" | b"TRUSTED CERTIFICATE"
                )
            });
            if let Some(label) = label {
                trusted.push(label == b"TRUSTED CERTIFICATE");
                kept.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
            }
            continue;
        }
        let Some(open) = label else { continue };
        let end = line.strip_prefix(b"-----END ");
        if end.and_then(|rest| rest.strip_suffix(b"-----")) == Some(open) {
            kept.extend_from_slice(b"-----END CERTIFICATE-----\n");
            label = None;
        } else {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
    }
    (kept, trusted)
}

/// The certificate of a TRUSTED CERTIFICATE section: what OpenSSL puts behind it, a sequence of its own
/// (X509_CERT_AUX), is left out.
///
/// # Errors
///
/// [`Malformed`] where that restricts what the certificate is trusted for: leaving it out would trust it
/// for more.
fn without_trust_settings(mut der: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    let length = der_sequence(&der)
        .flatten()
        .filter(|length| *length <= der.len());
    let length = length
        .ok_or_else(|| Malformed::new("a TRUSTED CERTIFICATE section with no certificate in it"))?;
    let settings = der.split_off(length);
    // Uses that it is trusted for come first (a sequence), then those it is rejected for ([0]).
    match first_inside(&settings) {
        Some(0x30 | 0xa0) => Err(Malformed::new(
            "a TRUSTED CERTIFICATE section with trust settings, which are not supported; write \
             the certificate without them, for example with `openssl x509 -in trusted.pem -out \
             plain.pem`",
        )),
        _ => Ok(der),
    }
}

/// All CRLs in `bytes`: every X509 CRL section of a PEM file, or one in DER.
///
/// # Errors
///
/// [`Malformed`] if there is none, or if a section is broken.
pub fn revocation_lists(
    bytes: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, Malformed> {
    if bytes.is_empty() {
        return Err(Malformed::new("expected a CRL, got no data"));
    }
    if der_sequence(bytes).is_some() {
        return match foreign::instead(bytes, Wanted::RevocationList) {
            Some(instead) => Err(Malformed::new(instead)),
            None => Ok(vec![bytes.to_vec().into()]),
        };
    }
    let found: Vec<CertificateRevocationListDer<'static>> =
        sections(&only(bytes, b"X509 CRL-----")?)?
            .into_iter()
            .filter(|section| section.0 == SectionKind::Crl)
            .map(|section| section.1.into())
            .collect();
    if found.is_empty() {
        return Err(Malformed::new(
            foreign::instead(bytes, Wanted::RevocationList).unwrap_or_else(|| {
                "neither PEM with an X509 CRL section nor a CRL in DER".to_owned()
            }),
        ));
    }
    Ok(found)
}

/// The one private key in `bytes`: PKCS#8, PKCS#1 or SEC1, in PEM (other sections are passed
/// over, so a file may hold the certificate too) or DER.
///
/// # Errors
///
/// [`Malformed`] if there is none or more than one, or if it is encrypted.
pub fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Malformed> {
    if bytes.is_empty() {
        return Err(Malformed::new("expected a private key, got no data"));
    }
    if der_sequence(bytes).is_some() {
        return match foreign::instead(bytes, Wanted::PrivateKey) {
            Some(instead) => Err(Malformed::new(instead)),
            None => PrivateKeyDer::try_from(bytes.to_vec())
                .map_err(|_| Malformed::new("not a private key in PKCS#8, PKCS#1 or SEC1 DER")),
        };
    }
    if contains(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY") || contains(bytes, b"4,ENCRYPTED") {
        return Err(Malformed::new(ENCRYPTED));
    }
    let mut keys = sections(&only(bytes, b"PRIVATE KEY-----")?)?
        .into_iter()
        .filter_map(|section| PrivateKeyDer::from_pem(section.0, section.1));
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(Malformed::new("more than one private key")),
        (None, _) => Err(Malformed::new(
            foreign::instead(bytes, Wanted::PrivateKey).unwrap_or_else(|| {
                "no private key: neither PEM with a PRIVATE KEY section (PKCS#8, PKCS#1, SEC1) nor \
                 DER"
                .to_owned()
            }),
        )),
    }
}

/// The key of Encrypted ClientHello in `bytes`: PEM with a PRIVATE KEY and an ECHCONFIG section (RFC 9934).
///
/// # Errors
///
/// [`Malformed`] unless there is one of each.
pub fn ech_key(bytes: &[u8]) -> Result<EchKey, Malformed> {
    let key = private_key(bytes)?;
    let mut lists = sections(&only(bytes, b"ECHCONFIG-----")?)?
        .into_iter()
        .filter(|section| section.0 == SectionKind::EchConfigList);
    match (lists.next(), lists.next()) {
        (Some(list), None) => Ok(EchKey { key, list: list.1 }),
        (Some(_), Some(_)) => Err(Malformed::new("more than one ECHCONFIG section")),
        (None, _) => Err(Malformed::new(
            "a private key, but no ECHCONFIG section: expected PEM with both (RFC 9934)",
        )),
    }
}

/// The sections whose BEGIN line ends with `label`, without blanks around lines. Others may hold what
/// is no PEM of today, such as keys with headers (RFC 1421), and are none of our business.
///
/// # Errors
///
/// [`Malformed`] if a section begins within a line, as in files put together that lacked their last
/// line's end: it would be passed over otherwise, and be missing in silence. One may be in a
/// comment.
fn only(bytes: &[u8], label: &[u8]) -> Result<Vec<u8>, Malformed> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut kept = Vec::with_capacity(bytes.len());
    let mut inside = false;
    for line in bytes.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let text = line.trim_ascii();
        if text.starts_with(b"-----BEGIN ") {
            inside = text.ends_with(label);
        }
        if begins_within(text) {
            return Err(Malformed::new(
                "a PEM section with other text on its BEGIN line: BEGIN and END must each be on \
                 their own line",
            ));
        }
        if inside {
            kept.extend_from_slice(text);
            kept.push(b'\n');
        }
        inside &= !text.starts_with(b"-----END ");
    }
    Ok(kept)
}

/// What editors on Windows put before text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether `line` holds the BEGIN of a section, and more than that. Comments may.
fn begins_within(line: &[u8]) -> bool {
    let Some(at) = line.windows(6).position(|word| word == b"BEGIN ") else {
        return false;
    };
    let name = line
        .strip_prefix(b"-----BEGIN ")
        .and_then(|rest| rest.strip_suffix(b"-----"));
    !line.starts_with(b"#")
        && contains(&line[at..], b"-----")
        && !name.is_some_and(|name| !contains(name, b"-----") && !name.ends_with(b"-"))
}

fn sections(bytes: &[u8]) -> Result<Vec<Section>, Malformed> {
    Section::pem_slice_iter(bytes)
        .map(|section| {
            section.map_err(|error| {
                Malformed::new(match error {
                    pem::Error::MissingSectionEnd { .. } => {
                        "a PEM section without an END line: the file is truncated".to_owned()
                    }
                    pem::Error::Base64Decode(_) => {
                        "a PEM section that is not valid base64".to_owned()
                    }
                    pem::Error::IllegalSectionStart { .. } => {
                        "a PEM section with a malformed BEGIN line".to_owned()
                    }
                    _ => "a malformed PEM section".to_owned(),
                })
            })
        })
        .collect()
}

/// Whether `bytes` begin like a DER sequence; then its whole length, if the header is there.
fn der_sequence(bytes: &[u8]) -> Option<Option<usize>> {
    (bytes.first() == Some(&0x30)).then(|| header(bytes).map(|(start, length)| start + length))
}

/// The tag of the first element inside a DER sequence.
fn first_inside(bytes: &[u8]) -> Option<u8> {
    header(bytes).and_then(|(start, _)| bytes.get(start).copied())
}

/// Where the content of the first DER element starts, and how long it is.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        short @ 0..=0x7f => Some((2, usize::from(short))),
        long @ 0x81..=0x84 => {
            let count = usize::from(long & 0x7f);
            let digits = bytes.get(2..2 + count)?;
            let length = digits
                .iter()
                .fold(0_usize, |sum, digit| (sum << 8) | usize::from(*digit));
            Some((2 + count, length))
        }
        _ => None,
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        for (bytes, part) in [
            (&b""[..], "no data"),
            (b"garbage", "neither PEM"),
            (b"\x30\x82\x01", "truncated"),
            (b"\x30\x02\x05\x00junk", "4 bytes of other data"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "END line"),
            (
                b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "base64",
            ),
            (
                b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE----------BEGIN \
                  CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
                "their own line",
            ),
            (
                b"-----BEGIN CERTIFICATE-----MAA=-----END CERTIFICATE-----\n",
                "their own line",
            ),
        ] {
            let error = certificates(bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn sections_of_other_kinds_are_passed_over() {
        let file = b"notes\n-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n!\n\
            -----END RSA PRIVATE KEY-----\r\n-----BEGIN CERTIFICATE-----\r\nMAA=\r\n\
            -----END CERTIFICATE-----\r\nmore notes";
        assert_eq!(certificates(file).unwrap()[0].as_ref(), b"\x30\x00");
        assert_eq!(private_key(file).unwrap_err().to_string(), ENCRYPTED);
    }

    #[test]
    fn certificates_under_other_labels_are_taken_and_settings_that_restrict_are_refused() {
        let section = |label: &str, body: &str| {
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        let first = section("CERTIFICATE", "MAA=");
        for (label, body) in [
            ("X509 CERTIFICATE", "MAA="),
            ("TRUSTED CERTIFICATE", "MAA="),
            // Settings with an alias only: 30 03 0c 01 61.
            ("TRUSTED CERTIFICATE", "MAAwAwwBYQ=="),
        ] {
            let file = first.clone() + &section(label, body) + &first;
            let found = certificates(file.as_bytes()).unwrap();
            assert_eq!(found.len(), 3, "{label}");
            assert!(found.iter().all(|der| der.as_ref() == b"\x30\x00"));
        }
        // Trusted for one use, 30 02 30 00, and rejected for one, 30 02 a0 00.
        for body in ["MAAwAjAA", "MAAwAqAA"] {
            let file = first.clone() + &section("TRUSTED CERTIFICATE", body);
            let error = certificates(file.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("trust settings"), "{error}");
        }
    }

    #[test]
    fn encrypted_keys_are_named_as_such() {
        for bytes in [
            &b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
                [..],
            b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
            b"\x30\x06\x30\x01\x00\x04\x01\x00",
        ] {
            assert_eq!(private_key(bytes).unwrap_err().to_string(), ENCRYPTED);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let certificates = certificates(&bytes);
            let key = private_key(&bytes);
            prop_assert!(certificates.is_err() || bytes.first() == Some(&0x30));
            prop_assert!(key.is_err() || bytes.first() == Some(&0x30));
        }
    }
}
