//! A certificate as `ssl.SSLSocket.getpeercert` tells it: field by field in the words of OpenSSL, which
//! programs compare.

use std::net::Ipv4Addr;

use x509_parser::asn1_rs::{Any, Oid, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS, OID_PKIX_ACCESS_DESCRIPTOR_OCSP,
};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use crate::unreadable::part;
use crate::{Unreadable, text};

/// A distinguished name: relative names, each of attributes and values.
pub type Name = Vec<Vec<(String, String)>>;

/// One of the alternative names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// Of most kinds.
    Text(String),
    /// A distinguished name.
    Directory(Name),
}

/// The fields of the dictionary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    /// `subject`.
    pub subject: Name,
    /// `issuer`.
    pub issuer: Name,
    /// `version`.
    pub version: u32,
    /// `serialNumber`, in hexadecimal.
    pub serial_number: String,
    /// `notBefore`, as in "Jan  5 09:34:43 2018 GMT".
    pub not_before: String,
    /// `notAfter`, likewise.
    pub not_after: String,
    /// `subjectAltName`, each with its kind; `None`: it has none.
    pub alternative_names: Option<Vec<(&'static str, AlternativeName)>>,
    /// `OCSP`: none where it is empty.
    pub ocsp: Vec<String>,
    /// `caIssuers`, likewise.
    pub ca_issuers: Vec<String>,
    /// `crlDistributionPoints`, likewise.
    pub crls: Vec<String>,
}

/// Reads them.
///
/// # Errors
///
/// [`Unreadable`].
pub fn dictionary(der: &[u8]) -> Result<Dictionary, Unreadable> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| Unreadable::certificate(part(&error)))?;
    let mut dictionary = Dictionary {
        subject: name(certificate.subject()),
        issuer: name(certificate.issuer()),
        version: certificate.version().0.saturating_add(1),
        serial_number: hexadecimal(certificate.raw_serial()),
        not_before: moment(certificate.validity().not_before),
        not_after: moment(certificate.validity().not_after),
        ..Dictionary::default()
    };
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                let names = names.general_names.iter().map(alternative_name);
                dictionary.alternative_names = Some(names.collect());
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                for one in access.iter() {
                    let GeneralName::URI(uri) = &one.access_location else {
                        continue;
                    };
                    if one.access_method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP {
                        dictionary.ocsp.push((*uri).to_owned());
                    } else if one.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS {
                        dictionary.ca_issuers.push((*uri).to_owned());
                    }
                }
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                let names = points
                    .iter()
                    .filter_map(|point| match &point.distribution_point {
                        Some(DistributionPointName::FullName(names)) => Some(names),
                        _ => None,
                    });
                let uris = names.flatten().filter_map(|name| match name {
                    GeneralName::URI(uri) => Some((*uri).to_owned()),
                    _ => None,
                });
                dictionary.crls = uris.collect();
            }
            _ => {}
        }
    }
    Ok(dictionary)
}

fn name(name: &X509Name<'_>) -> Name {
    let relative = name.iter_rdn().map(|relative| {
        let attributes = relative.iter().map(|attribute| {
            (
                long_name(attribute.attr_type()),
                value(attribute.attr_value()),
            )
        });
        attributes.collect()
    });
    relative.collect()
}

fn alternative_name(name: &GeneralName<'_>) -> (&'static str, AlternativeName) {
    let text = |text: &str| AlternativeName::Text(text.to_owned());
    match name {
        GeneralName::DNSName(name) => ("DNS", text(name)),
        GeneralName::RFC822Name(name) => ("email", text(name)),
        GeneralName::URI(name) => ("URI", text(name)),
        GeneralName::DirectoryName(found) => {
            ("DirName", AlternativeName::Directory(self::name(found)))
        }
        GeneralName::IPAddress(bytes) => ("IP Address", text(&address(bytes))),
        GeneralName::RegisteredID(oid) => ("Registered ID", text(&long_name(oid))),
        GeneralName::OtherName(..) => ("othername", text("<unsupported>")),
        GeneralName::X400Address(_) => ("X400Name", text("<unsupported>")),
        GeneralName::EDIPartyName(_) => ("EdiPartyName", text("<unsupported>")),
        GeneralName::Invalid(tag, bytes) => {
            let kind = match tag.0 {
                1 => "email",
                2 => "DNS",
                6 => "URI",
                7 => "IP Address",
                8 => "Registered ID",
                _ => "othername",
            };
            (kind, text(&String::from_utf8_lossy(bytes)))
        }
    }
}

/// As CPython writes it, which shortens nothing.
fn address(bytes: &[u8]) -> String {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ipv4Addr::from(octets).to_string();
    }
    if bytes.len() != 16 {
        return "<invalid>".to_owned();
    }
    let groups: Vec<String> = bytes
        .chunks_exact(2)
        .map(|pair| format!("{:X}", u16::from_be_bytes([pair[0], pair[1]])))
        .collect();
    groups.join(":")
}

/// A number in two's complement, as i2a_ASN1_INTEGER(3) writes it.
fn hexadecimal(number: &[u8]) -> String {
    let negative = number.first().is_some_and(|first| first & 0x80 != 0);
    let mut digits = number.to_vec();
    if negative {
        let mut carry = true;
        for digit in digits.iter_mut().rev() {
            let (sum, over) = (!*digit).overflowing_add(u8::from(carry));
            *digit = sum;
            carry = over;
        }
    }
    let significant = digits.iter().skip_while(|digit| **digit == 0);
    let written: String = significant.map(|digit| format!("{digit:02X}")).collect();
    match (written.is_empty(), negative) {
        (true, _) => "00".to_owned(),
        (false, true) => format!("-{written}"),
        (false, false) => written,
    }
}

/// As ASN1_TIME_print(3) writes it.
fn moment(time: ASN1Time) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let time = time.to_datetime();
    let month = MONTHS[usize::from(u8::from(time.month())) - 1];
    let (hour, minute, second) = time.to_hms();
    format!(
        "{month} {:2} {hour:02}:{minute:02}:{second:02} {} GMT",
        time.day(),
        time.year()
    )
}

/// As ASN1_STRING_to_UTF8(3) reads it: what has one byte for a character is Latin-1.
fn value(value: &Any<'_>) -> String {
    match value.tag() {
        Tag::NumericString
        | Tag::PrintableString
        | Tag::T61String
        | Tag::Ia5String
        | Tag::VisibleString => value.data.iter().map(|byte| char::from(*byte)).collect(),
        Tag::UniversalString => {
            let characters = value.data.chunks_exact(4).map(|four| {
                let number = u32::from_be_bytes([four[0], four[1], four[2], four[3]]);
                char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
            });
            characters.collect()
        }
        _ => text(value),
    }
}

/// OpenSSL's long name, or the numbers where it has none.
fn long_name(oid: &Oid<'_>) -> String {
    let numbers = oid.to_id_string();
    let known = LONG_NAMES.iter().find(|(known, _)| *known == numbers);
    known.map_or(numbers, |(_, name)| (*name).to_owned())
}

/// Attributes of names (openssl/obj_mac.h).
const LONG_NAMES: [(&str, &str); 117] = [
    ("0.9.2342.19200300.100.1.1", "userId"),
    ("0.9.2342.19200300.100.1.2", "textEncodedORAddress"),
    ("0.9.2342.19200300.100.1.3", "rfc822Mailbox"),
    ("0.9.2342.19200300.100.1.4", "info"),
    ("0.9.2342.19200300.100.1.5", "favouriteDrink"),
    ("0.9.2342.19200300.100.1.6", "roomNumber"),
    ("0.9.2342.19200300.100.1.7", "photo"),
    ("0.9.2342.19200300.100.1.8", "userClass"),
    ("0.9.2342.19200300.100.1.9", "host"),
    ("0.9.2342.19200300.100.1.10", "manager"),
    ("0.9.2342.19200300.100.1.11", "documentIdentifier"),
    ("0.9.2342.19200300.100.1.12", "documentTitle"),
    ("0.9.2342.19200300.100.1.13", "documentVersion"),
    ("0.9.2342.19200300.100.1.14", "documentAuthor"),
    ("0.9.2342.19200300.100.1.15", "documentLocation"),
    ("0.9.2342.19200300.100.1.20", "homeTelephoneNumber"),
    ("0.9.2342.19200300.100.1.21", "secretary"),
    ("0.9.2342.19200300.100.1.22", "otherMailbox"),
    ("0.9.2342.19200300.100.1.23", "lastModifiedTime"),
    ("0.9.2342.19200300.100.1.24", "lastModifiedBy"),
    ("0.9.2342.19200300.100.1.25", "domainComponent"),
    ("0.9.2342.19200300.100.1.26", "aRecord"),
    ("0.9.2342.19200300.100.1.27", "pilotAttributeType27"),
    ("0.9.2342.19200300.100.1.28", "mXRecord"),
    ("0.9.2342.19200300.100.1.29", "nSRecord"),
    ("0.9.2342.19200300.100.1.30", "sOARecord"),
    ("0.9.2342.19200300.100.1.31", "cNAMERecord"),
    ("0.9.2342.19200300.100.1.37", "associatedDomain"),
    ("0.9.2342.19200300.100.1.38", "associatedName"),
    ("0.9.2342.19200300.100.1.39", "homePostalAddress"),
    ("0.9.2342.19200300.100.1.40", "personalTitle"),
    ("0.9.2342.19200300.100.1.41", "mobileTelephoneNumber"),
    ("0.9.2342.19200300.100.1.42", "pagerTelephoneNumber"),
    ("0.9.2342.19200300.100.1.43", "friendlyCountryName"),
    ("0.9.2342.19200300.100.1.44", "uniqueIdentifier"),
    ("0.9.2342.19200300.100.1.45", "organizationalStatus"),
    ("0.9.2342.19200300.100.1.46", "janetMailbox"),
    ("0.9.2342.19200300.100.1.47", "mailPreferenceOption"),
    ("0.9.2342.19200300.100.1.48", "buildingName"),
    ("0.9.2342.19200300.100.1.49", "dSAQuality"),
    ("0.9.2342.19200300.100.1.50", "singleLevelQuality"),
    ("0.9.2342.19200300.100.1.51", "subtreeMinimumQuality"),
    ("0.9.2342.19200300.100.1.52", "subtreeMaximumQuality"),
    ("0.9.2342.19200300.100.1.53", "personalSignature"),
    ("0.9.2342.19200300.100.1.54", "dITRedirect"),
    ("0.9.2342.19200300.100.1.55", "audio"),
    ("0.9.2342.19200300.100.1.56", "documentPublisher"),
    ("1.2.643.3.131.1.1", "INN"),
    ("1.2.643.100.1", "OGRN"),
    ("1.2.643.100.3", "SNILS"),
    ("1.2.643.100.5", "OGRNIP"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
    ("1.2.840.113549.1.9.7", "challengePassword"),
    ("1.2.840.113549.1.9.8", "unstructuredAddress"),
    ("1.2.840.113549.1.9.20", "friendlyName"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionLocalityName"),
    (
        "1.3.6.1.4.1.311.60.2.1.2",
        "jurisdictionStateOrProvinceName",
    ),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionCountryName"),
    ("2.5.4.3", "commonName"),
    ("2.5.4.4", "surname"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "countryName"),
    ("2.5.4.7", "localityName"),
    ("2.5.4.8", "stateOrProvinceName"),
    ("2.5.4.9", "streetAddress"),
    ("2.5.4.10", "organizationName"),
    ("2.5.4.11", "organizationalUnitName"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.14", "searchGuide"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.16", "postalAddress"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.18", "postOfficeBox"),
    ("2.5.4.19", "physicalDeliveryOfficeName"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.21", "telexNumber"),
    ("2.5.4.22", "teletexTerminalIdentifier"),
    ("2.5.4.23", "facsimileTelephoneNumber"),
    ("2.5.4.24", "x121Address"),
    ("2.5.4.25", "internationaliSDNNumber"),
    ("2.5.4.26", "registeredAddress"),
    ("2.5.4.27", "destinationIndicator"),
    ("2.5.4.28", "preferredDeliveryMethod"),
    ("2.5.4.29", "presentationAddress"),
    ("2.5.4.30", "supportedApplicationContext"),
    ("2.5.4.31", "member"),
    ("2.5.4.32", "owner"),
    ("2.5.4.33", "roleOccupant"),
    ("2.5.4.34", "seeAlso"),
    ("2.5.4.35", "userPassword"),
    ("2.5.4.36", "userCertificate"),
    ("2.5.4.37", "cACertificate"),
    ("2.5.4.38", "authorityRevocationList"),
    ("2.5.4.39", "certificateRevocationList"),
    ("2.5.4.40", "crossCertificatePair"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "givenName"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.47", "enhancedSearchGuide"),
    ("2.5.4.48", "protocolInformation"),
    ("2.5.4.49", "distinguishedName"),
    ("2.5.4.50", "uniqueMember"),
    ("2.5.4.51", "houseIdentifier"),
    ("2.5.4.52", "supportedAlgorithms"),
    ("2.5.4.53", "deltaRevocationList"),
    ("2.5.4.54", "dmdName"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.72", "role"),
    ("2.5.4.97", "organizationIdentifier"),
    ("2.5.4.98", "countryCode3c"),
    ("2.5.4.99", "countryCode3n"),
    ("2.5.4.100", "dnsName"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_openssl_does() {
        for (number, expected) in [
            (&[][..], "00"),
            (&[0], "00"),
            (&[0, 0x9f], "9F"),
            (&[0x12, 0x34], "1234"),
            (&[0xff], "-01"),
            (&[0x80, 0], "-8000"),
        ] {
            assert_eq!(hexadecimal(number), expected);
        }
    }

    #[test]
    fn addresses_are_not_shortened() {
        assert_eq!(address(&[127, 0, 0, 1]), "127.0.0.1");
        let mut loopback = [0; 16];
        loopback[15] = 1;
        assert_eq!(address(&loopback), "0:0:0:0:0:0:0:1");
        assert_eq!(address(&[1]), "<invalid>");
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        assert!(dictionary(b"garbage").is_err());
    }
}
