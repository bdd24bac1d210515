//! What OpenSSL checks of a verified path under X509_V_FLAG_X509_STRICT, item by item and in its order
//! (check_extensions in crypto/x509/x509_vfy.c of OpenSSL 3). Curves with explicit parameters, which are
//! among them, are refused everywhere here.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_SUBJECT_ALT_NAME, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, Oid,
};
use x509_parser::prelude::FromDer;

use crate::Unreadable;
use crate::unreadable::part;

/// What is wrong: OpenSSL's number for it (openssl/x509_vfy.h), and its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrictFault {
    /// `X509_V_ERR_*`.
    pub code: u16,
    /// X509_verify_cert_error_string(3).
    pub words: &'static str,
}

const fn fault(code: u16, words: &'static str) -> StrictFault {
    StrictFault { code, words }
}

/// OpenSSL's words for one of those numbers.
#[must_use]
pub fn strict_words(code: u16) -> Option<&'static str> {
    let mut all = FAULTS.iter().chain([&NEEDS_VERSION_3]);
    let known = all.find(|known| known.code == code);
    known.map(|known| known.words)
}

/// In the order in which they are looked for.
const FAULTS: [StrictFault; 15] = [
    fault(79, "invalid CA certificate"),
    fault(80, "Path length invalid for non-CA cert"),
    fault(81, "Path length given without key usage keyCertSign"),
    fault(89, "Basic Constraints of CA cert not marked critical"),
    fault(92, "CA cert does not include key usage extension"),
    fault(82, "Key usage keyCertSign invalid for non-CA cert"),
    fault(83, "Issuer name empty"),
    fault(84, "Subject name empty"),
    fault(
        88,
        "Subject empty and Subject Alt Name extension not critical",
    ),
    fault(87, "Empty Subject Alternative Name extension"),
    fault(78, "cert info signature and signature algorithm mismatch"),
    fault(90, "Authority Key Identifier marked critical"),
    fault(91, "Subject Key Identifier marked critical"),
    fault(85, "Missing Authority Key Identifier"),
    fault(86, "Missing Subject Key Identifier"),
];

const NEEDS_VERSION_3: StrictFault = fault(93, "Using cert extension requires at least X509v3");

/// What is wrong with a certificate of a path, if anything is. `issues`: it is not the leaf. `is_last`: it ends
/// the path, as its anchor.
///
/// # Errors
///
/// [`Unreadable`].
pub fn strict_fault(
    der: &[u8],
    issues: bool,
    is_last: bool,
) -> Result<Option<StrictFault>, Unreadable> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| Unreadable::certificate(part(&error)))?;
    Ok(check(&certificate, issues, is_last).err())
}

fn check(
    certificate: &X509Certificate<'_>,
    issues: bool,
    is_last: bool,
) -> Result<(), StrictFault> {
    let find = |oid: Oid<'static>| {
        let mut all = certificate.extensions().iter();
        all.find(|extension| extension.oid == oid)
    };
    let basic = find(OID_X509_EXT_BASIC_CONSTRAINTS);
    let (is_authority, has_length) = match basic.map(|basic| basic.parsed_extension()) {
        Some(ParsedExtension::BasicConstraints(basic)) => {
            (basic.ca, basic.path_len_constraint.is_some())
        }
        _ => (false, false),
    };
    let usage = match find(OID_X509_EXT_KEY_USAGE).map(|usage| usage.parsed_extension()) {
        Some(ParsedExtension::KeyUsage(usage)) => Some(usage),
        _ => None,
    };
    let signs_certificates = usage.is_some_and(|usage| usage.key_cert_sign());
    let names = find(OID_X509_EXT_SUBJECT_ALT_NAME);
    let authority_key = find(OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER);
    let subject_key = find(OID_X509_EXT_SUBJECT_KEY_IDENTIFIER);
    let no_subject = certificate.subject().iter_rdn().next().is_none();
    let names_issuer = matches!(
        authority_key.map(|key| key.parsed_extension()),
        Some(ParsedExtension::AuthorityKeyIdentifier(key)) if key.key_identifier.is_some()
    );
    let no_names = matches!(
        names.map(|names| names.parsed_extension()),
        Some(ParsedExtension::SubjectAlternativeName(names)) if names.general_names.is_empty()
    );
    let signs_lists = usage.is_some_and(|usage| usage.crl_sign());
    let is_version_3 = certificate.version().0 >= 2;
    let wrong = [
        issues && !is_authority,
        has_length && !is_authority,
        has_length && !signs_certificates,
        is_authority && basic.is_some_and(|basic| !basic.critical),
        is_authority && usage.is_none(),
        !is_authority && signs_certificates,
        certificate.issuer().iter_rdn().next().is_none(),
        (is_authority || signs_lists || names.is_none()) && no_subject,
        no_subject && names.is_some_and(|names| !names.critical),
        no_names,
        certificate.signature != certificate.signature_algorithm,
        authority_key.is_some_and(|key| key.critical),
        subject_key.is_some_and(|key| key.critical),
        is_version_3 && !is_last && !names_issuer,
        is_version_3 && is_authority && subject_key.is_none(),
    ];
    if let Some(at) = wrong.iter().position(|is_wrong| *is_wrong) {
        return Err(FAULTS[at]);
    }
    if !is_version_3 && !certificate.extensions().is_empty() {
        return Err(NEEDS_VERSION_3);
    }
    Ok(())
}
