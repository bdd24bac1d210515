//! What explanations tell of a certificate: facts in words, where a decision has been made already.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE};
use x509_parser::prelude::FromDer;

use crate::signature::signature_in_words;
use crate::unreadable::part;
use crate::{Unreadable, address, name_in_words, printable};

/// Facts in words. What cannot be read of them is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// 1, 2 or 3.
    pub version: u32,
    /// Critical extensions that paths are not verified by, as in "1.3.6.1.5.5.7.1.24 (TLS features)".
    pub unhandled: Vec<String>,
    /// What its extended key usage allows, as in "TLS servers"; `None`: it has none.
    pub purposes: Option<Vec<String>>,
    /// What its key usage allows, as in "digital signatures"; `None`: it has none.
    pub uses: Option<Vec<&'static str>>,
    /// The algorithm of its signature, as in "RSASSA-PSS with SHA-256 and a salt of 20 bytes".
    pub signature: String,
    /// Whether what is signed names the same algorithm, as RFC 5280 section 4.1.1.2 wants.
    pub names_one_signature: bool,
    /// The names that an authority may issue for and may not issue for; `None`: it has no constraints.
    pub constraints: Option<(Vec<String>, Vec<String>)>,
}

/// Reads them.
///
/// # Errors
///
/// [`Unreadable`].
pub fn details(der: &[u8]) -> Result<Details, Unreadable> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| Unreadable::certificate(part(&error)))?;
    let unhandled = certificate.extensions().iter().filter(|extension| {
        extension.critical && !HANDLED.contains(&extension.oid.to_id_string().as_str())
    });
    Ok(Details {
        version: certificate.version().0.saturating_add(1),
        unhandled: unhandled
            .map(|extension| named(&extension.oid.to_id_string(), &EXTENSIONS))
            .collect(),
        purposes: purposes(&certificate),
        uses: uses(&certificate),
        signature: signature_in_words(&certificate.signature_algorithm),
        names_one_signature: certificate.signature == certificate.signature_algorithm,
        constraints: constraints(&certificate),
    })
}

/// Extensions that paths are judged by: key usage, alternative names, basic constraints, name constraints,
/// distribution points of CRLs, extended key usage (RFC 5280 section 4.2.1).
const HANDLED: [&str; 6] = [
    "2.5.29.15",
    "2.5.29.17",
    "2.5.29.19",
    "2.5.29.30",
    "2.5.29.31",
    "2.5.29.37",
];

/// Others, as people call them.
const EXTENSIONS: [(&str, &str); 21] = [
    ("2.5.29.9", "subject directory attributes"),
    ("2.5.29.14", "subject key identifier"),
    ("2.5.29.16", "private key usage period"),
    ("2.5.29.18", "issuer alternative name"),
    ("2.5.29.32", "certificate policies"),
    ("2.5.29.33", "policy mappings"),
    ("2.5.29.35", "authority key identifier"),
    ("2.5.29.36", "policy constraints"),
    ("2.5.29.46", "freshest CRL"),
    ("2.5.29.54", "inhibit any policy"),
    ("1.3.6.1.5.5.7.1.1", "authority information access"),
    ("1.3.6.1.5.5.7.1.3", "qualified certificate statements"),
    ("1.3.6.1.5.5.7.1.7", "IP address blocks"),
    ("1.3.6.1.5.5.7.1.8", "autonomous system numbers"),
    ("1.3.6.1.5.5.7.1.11", "subject information access"),
    ("1.3.6.1.5.5.7.1.14", "proxy certificate"),
    ("1.3.6.1.5.5.7.1.24", "TLS features"),
    ("1.3.6.1.4.1.11129.2.4.2", "Certificate Transparency SCTs"),
    (
        "1.3.6.1.4.1.11129.2.4.3",
        "Certificate Transparency poison: a precertificate",
    ),
    ("2.16.840.1.113730.1.1", "Netscape certificate type"),
    ("2.16.840.1.113730.1.13", "Netscape comment"),
];

/// Purposes that x509-parser has no name for (RFC 4945, RFC 4556, Microsoft's).
const PURPOSES: [(&str, &str); 7] = [
    ("1.3.6.1.5.5.7.3.5", "IPsec end systems"),
    ("1.3.6.1.5.5.7.3.6", "IPsec tunnels"),
    ("1.3.6.1.5.5.7.3.7", "IPsec users"),
    ("1.3.6.1.5.5.7.3.17", "IKE"),
    ("1.3.6.1.5.2.3.5", "Kerberos servers"),
    ("1.3.6.1.4.1.311.20.2.2", "smart card logon"),
    ("1.3.6.1.4.1.311.10.3.4", "file system encryption"),
];

fn named(oid: &str, names: &[(&str, &str)]) -> String {
    let known = names.iter().find(|(known, _)| *known == oid);
    known.map_or_else(|| oid.to_owned(), |(_, name)| format!("{oid} ({name})"))
}

fn purposes(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let found = certificate
        .get_extension_unique(&OID_X509_EXT_EXTENDED_KEY_USAGE)
        .ok()??;
    let ParsedExtension::ExtendedKeyUsage(usage) = found.parsed_extension() else {
        return None;
    };
    let known = [
        (usage.server_auth, "TLS servers"),
        (usage.client_auth, "TLS clients"),
        (usage.code_signing, "code signing"),
        (usage.email_protection, "email protection"),
        (usage.time_stamping, "time stamping"),
        (usage.ocsp_signing, "OCSP signing"),
        (usage.any, "any purpose (anyExtendedKeyUsage)"),
    ];
    let known = known
        .into_iter()
        .filter(|(is_there, _)| *is_there)
        .map(|(_, name)| name.to_owned());
    let other = usage
        .other
        .iter()
        .map(|oid| named(&oid.to_id_string(), &PURPOSES));
    Some(known.chain(other).collect())
}

fn uses(certificate: &X509Certificate<'_>) -> Option<Vec<&'static str>> {
    let found = certificate
        .get_extension_unique(&OID_X509_EXT_KEY_USAGE)
        .ok()??;
    let ParsedExtension::KeyUsage(usage) = found.parsed_extension() else {
        return None;
    };
    let names = [
        (usage.digital_signature(), "digital signatures"),
        (usage.non_repudiation(), "non-repudiation"),
        (usage.key_encipherment(), "key encipherment"),
        (usage.data_encipherment(), "data encipherment"),
        (usage.key_agreement(), "key agreement"),
        (usage.key_cert_sign(), "signing certificates"),
        (usage.crl_sign(), "signing CRLs"),
    ];
    let names = names.into_iter().filter(|(is_there, _)| *is_there);
    Some(names.map(|(_, name)| name).collect())
}

fn constraints(certificate: &X509Certificate<'_>) -> Option<(Vec<String>, Vec<String>)> {
    let found = certificate.name_constraints().ok()??;
    let words = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            printable(name)
        }
        GeneralName::DirectoryName(name) => name_in_words(name),
        GeneralName::IPAddress(bytes) => network(bytes),
        _ => "names of another type".to_owned(),
    };
    let permitted = found.value.permitted_subtrees.iter().flatten();
    let excluded = found.value.excluded_subtrees.iter().flatten();
    Some((
        permitted.map(|subtree| words(&subtree.base)).collect(),
        excluded.map(|subtree| words(&subtree.base)).collect(),
    ))
}

/// A network as name constraints have it: an address, and a mask of the same length.
fn network(bytes: &[u8]) -> String {
    let (first, mask) = bytes.split_at(bytes.len() / 2);
    let size: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    address(first).map_or_else(
        || "an invalid network".to_owned(),
        |address| format!("{address}/{size}"),
    )
}
