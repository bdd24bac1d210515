//! Reading certificates for what people and rules outside path building need: names and validity.
//!
//! The parsing is `x509-parser`'s; nothing here decides whether a certificate is trusted.

mod signature;

use std::fmt;
use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

pub use signature::{SignatureHash, signature_hash};

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The DNS names among the subject's alternative names, as they stand there. The common name
    /// is never one of them.
    pub dns_names: Vec<String>,
    /// The IP addresses among them.
    pub ip_addresses: Vec<IpAddr>,
    /// The subject's distinguished name, for people; control characters are escaped.
    pub subject: String,
    /// The issuer's, likewise.
    pub issuer: String,
    /// notBefore, in seconds since 1970 UTC.
    pub not_before: i64,
    /// notAfter, likewise.
    pub not_after: i64,
}

/// Bytes that are no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoCertificate(String);

impl fmt::Display for NoCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a certificate that can be read: {}", self.0)
    }
}

impl std::error::Error for NoCertificate {}

/// Reads one certificate in DER.
///
/// # Errors
///
/// [`NoCertificate`], also when something follows the certificate.
pub fn summarize(der: &[u8]) -> Result<Summary, NoCertificate> {
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|error| NoCertificate(error.to_string()))?;
    if !rest.is_empty() {
        return Err(NoCertificate(format!("{} bytes follow it", rest.len())));
    }
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| NoCertificate(error.to_string()))?;
    let mut dns_names = Vec::new();
    let mut ip_addresses = Vec::new();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => ip_addresses.extend(address(bytes)),
            _ => {}
        }
    }
    Ok(Summary {
        dns_names,
        ip_addresses,
        subject: printable(&certificate.subject().to_string()),
        issuer: printable(&certificate.issuer().to_string()),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}

/// The distinguished name of the issuer, DER, as servers hint which they accept (RFC 8446 section
/// 4.2.4).
///
/// # Errors
///
/// [`NoCertificate`].
pub fn issuer(der: &[u8]) -> Result<Vec<u8>, NoCertificate> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| NoCertificate(error.to_string()))?;
    Ok(certificate.issuer().as_raw().to_vec())
}

/// An address as it stands in a certificate; of any other length it is none.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// Names come from strangers: nothing in them may steer a terminal.
fn printable(name: &str) -> String {
    name.chars()
        .flat_map(|character| {
            let escape = character.is_control();
            character
                .escape_debug()
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
    fn names_and_validity_are_read() {
        let mut params =
            rcgen::CertificateParams::new(vec!["a.example".into(), "127.0.0.1".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let summary = summarize(certificate.der()).unwrap();
        assert_eq!(summary.dns_names, ["a.example"]);
        assert_eq!(summary.ip_addresses, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(summary.not_before, 1_767_225_600);
        assert_eq!(summary.not_after - summary.not_before, 86_400);
    }

    #[test]
    fn names_of_strangers_do_not_steer_the_terminal() {
        assert_eq!(
            printable("CN=a\u{1b}[31m\nb \u{e9}"),
            "CN=a\\u{1b}[31m\\nb \u{e9}"
        );
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for der in [&b""[..], b"garbage", b"\x30\x03\x02\x01\x01"] {
            assert!(summarize(der).is_err());
        }
    }
}
