//! What the rules of paths ask of a certificate (RFC 5280 section 6.1): its names, its time, its use.

use x509_parser::asn1_rs::{Tag, oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{
    OID_KEY_TYPE_EC_PUBLIC_KEY, OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE,
    OID_X509_EXT_KEY_USAGE, OID_X509_EXT_NAME_CONSTRAINTS, OID_X509_EXT_POLICY_CONSTRAINTS,
    OID_X509_EXT_SUBJECT_ALT_NAME, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use crate::der;
use crate::unreadable::{part, part_of};
use crate::{LEAST_RSA_BITS, Unreadable, bits};

/// id-pe-tlsfeature (RFC 7633 section 6).
const TLS_FEATURE: Oid<'_> = oid!(1.3.6.1.5.5.7.1.24);

/// What a certificate says of its place in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathFacts {
    /// 1, 2 or 3. Before 3 there are no extensions, so nothing says what it is for.
    pub version: u32,
    /// CA in basic constraints; `None`: there are none.
    pub is_authority: Option<bool>,
    /// How many authorities may be below it.
    pub path_length: Option<u32>,
    /// Whether its key may sign certificates: key usage, where there is any.
    pub signs_certificates: bool,
    /// Whether its key may sign CRLs, likewise.
    pub signs_lists: bool,
    /// Whether its key usage names the signing of certificates, which a leaf's must not (RFC 5280 section
    /// 4.2.1.9).
    pub claims_to_issue: bool,
    /// Whether its key may sign handshakes (RFC 8446 section 4.4.2.2), likewise.
    pub signs_handshakes: bool,
    /// Whether it may be a server's: extended key usage, where there is any.
    pub serves_servers: bool,
    /// Whether it may be a client's, likewise.
    pub serves_clients: bool,
    /// Whether it may sign OCSP responses for its issuer: id-kp-OCSPSigning in its extended key usage (RFC 6960
    /// section 4.2.2.2), which no other purpose includes.
    pub signs_ocsp: bool,
    /// Whether a server that presents it must staple an OCSP response: status_request among its TLS features
    /// (RFC 7633 section 4.2.3.1).
    pub must_staple: bool,
    /// The size of a key that is too small to be trusted with a signature.
    pub weak_bits: Option<u32>,
    /// Whether its key is on an elliptic curve that is given by its numbers and not by its name, which
    /// RFC 5480 section 2.1.1 forbids.
    pub explicit_curve: bool,
    /// The subject, a Name in DER.
    pub subject_der: Vec<u8>,
    /// The issuer, likewise.
    pub issuer_der: Vec<u8>,
    /// SubjectPublicKeyInfo as DER.
    pub spki: Vec<u8>,
    /// Kinds of names that its name constraints speak of, other than DNS names and addresses.
    pub constrained: Vec<ConstrainedNames>,
    /// Its name constraints.
    pub constraints: Constraints,
    /// Whether its policy constraints are critical, as they must be (RFC 5280 section 4.2.1.11); `None`: it has
    /// none.
    pub policy_constraints: Option<bool>,
    /// Whether its only names are alternative ones that are not critical (RFC 5280 section 4.2.1.6).
    pub names_not_critical: bool,
    /// Whether it has a critical extension that RFC 5280 does not speak of.
    pub has_unknown_critical: bool,
    /// notBefore, in seconds since 1970 UTC.
    pub not_before: i64,
    /// notAfter, likewise.
    pub not_after: i64,
}

/// Name constraints (RFC 5280 section 4.2.1.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraints {
    /// There are none.
    None,
    /// They constrain nothing, or a list of theirs is empty, which both are forbidden.
    Empty,
    /// There are some.
    Some,
}

/// Kinds of names in name constraints (RFC 5280 section 4.2.1.10) that are not compared here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstrainedNames {
    /// directoryName.
    Directory,
    /// rfc822Name.
    Email,
    /// uniformResourceIdentifier.
    Uri,
}

impl PathFacts {
    /// Whether it names itself as its issuer.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject_der == self.issuer_der
    }
}

/// Reads them. An extension that cannot be read is no extension that says nothing: it is an error.
///
/// # Errors
///
/// [`Unreadable`], also when something follows the certificate.
pub fn path_facts(der: &[u8]) -> Result<PathFacts, Unreadable> {
    let unreadable = |why: &str| Unreadable::certificate(format!("{why} malformed"));
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|error| Unreadable::certificate(part(&error)))?;
    if !rest.is_empty() {
        let why = format!("{} bytes of other data follow it", rest.len());
        return Err(Unreadable::certificate(why));
    }
    let basic = match extension(&certificate, &OID_X509_EXT_BASIC_CONSTRAINTS)? {
        None => None,
        Some(ParsedExtension::BasicConstraints(basic)) => Some(basic),
        Some(_) => return Err(unreadable("its basic constraints are")),
    };
    let usage = match extension(&certificate, &OID_X509_EXT_KEY_USAGE)? {
        None => None,
        Some(ParsedExtension::KeyUsage(usage)) => Some(usage),
        Some(_) => return Err(unreadable("its key usage is")),
    };
    let purposes = match extension(&certificate, &OID_X509_EXT_EXTENDED_KEY_USAGE)? {
        None => None,
        Some(ParsedExtension::ExtendedKeyUsage(purposes)) => Some(purposes),
        Some(_) => return Err(unreadable("its extended key usage is")),
    };
    Ok(PathFacts {
        version: certificate.version().0.saturating_add(1),
        is_authority: basic.map(|basic| basic.ca),
        path_length: basic.and_then(|basic| basic.path_len_constraint),
        signs_certificates: usage.is_none_or(|usage| usage.key_cert_sign()),
        signs_lists: usage.is_none_or(|usage| usage.crl_sign()),
        claims_to_issue: usage.is_some_and(|usage| usage.key_cert_sign()),
        signs_handshakes: usage.is_none_or(|usage| usage.digital_signature()),
        serves_servers: purposes.is_none_or(|purposes| purposes.server_auth),
        serves_clients: purposes.is_none_or(|purposes| purposes.client_auth),
        signs_ocsp: purposes.is_some_and(|purposes| purposes.ocsp_signing),
        must_staple: must_staple(&certificate)?,
        weak_bits: match certificate.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => {
                Some(bits(key.modulus)).filter(|size| *size < LEAST_RSA_BITS)
            }
            _ => None,
        },
        explicit_curve: has_explicit_curve(&certificate),
        subject_der: certificate.subject().as_raw().to_vec(),
        issuer_der: certificate.issuer().as_raw().to_vec(),
        spki: certificate.public_key().raw.to_vec(),
        constrained: constrained(&certificate),
        constraints: constraints(&certificate),
        policy_constraints: found(&certificate, &OID_X509_EXT_POLICY_CONSTRAINTS)
            .map(|extension| extension.critical),
        names_not_critical: certificate.subject().iter().next().is_none()
            && found(&certificate, &OID_X509_EXT_SUBJECT_ALT_NAME)
                .is_some_and(|extension| !extension.critical),
        has_unknown_critical: certificate
            .extensions()
            .iter()
            .any(|extension| extension.critical && !is_of_the_profile(&extension.oid)),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}

fn has_explicit_curve(certificate: &X509Certificate<'_>) -> bool {
    let algorithm = &certificate.public_key().algorithm;
    // The parameters are an OID, or SpecifiedECDomain, a sequence.
    algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
        && algorithm
            .parameters
            .as_ref()
            .is_some_and(|parameters| parameters.tag() != Tag::Oid)
}

/// Whether RFC 5280 speaks of it (sections 4.2.1 and 4.2.2), or Netscape did.
fn is_of_the_profile(oid: &Oid<'_>) -> bool {
    // 2.5.29, 1.3.6.1.5.5.7.1.1 and 11, 2.16.840.1.113730.1.
    let id = oid.as_bytes();
    id.starts_with(b"\x55\x1d")
        || id == b"\x2b\x06\x01\x05\x05\x07\x01\x01"
        || id == b"\x2b\x06\x01\x05\x05\x07\x01\x0b"
        || id.starts_with(b"\x60\x86\x48\x01\x86\xf8\x42\x01")
}

fn found<'a>(certificate: &'a X509Certificate<'_>, oid: &Oid<'_>) -> Option<&'a X509Extension<'a>> {
    let mut extensions = certificate.extensions().iter();
    extensions.find(|extension| extension.oid == *oid)
}

/// Whether status_request (RFC 6066 section 8) is among the TLS features.
fn must_staple(certificate: &X509Certificate<'_>) -> Result<bool, Unreadable> {
    const STATUS_REQUEST: &[u8] = &[5];
    const INTEGER: u8 = 0x02;
    let Some(extension) = found(certificate, &TLS_FEATURE) else {
        return Ok(false);
    };
    let features = match der::first(extension.value) {
        Some((0x30, features, [])) => der::all(features),
        _ => None,
    };
    let features = features
        .filter(|features| features.iter().all(|(tag, _)| *tag == INTEGER))
        .ok_or_else(|| Unreadable::certificate("its TLS features are malformed"))?;
    let mut features = features.iter();
    Ok(features.any(|(_, feature)| *feature == STATUS_REQUEST))
}

/// By its bytes: the parser takes an empty list for none.
fn constraints(certificate: &X509Certificate<'_>) -> Constraints {
    let Some(extension) = found(certificate, &OID_X509_EXT_NAME_CONSTRAINTS) else {
        return Constraints::None;
    };
    let lists = match der::first(extension.value) {
        Some((0x30, lists, [])) => der::all(lists),
        _ => None,
    };
    match lists {
        Some(lists) if !lists.is_empty() && lists.iter().all(|(_, list)| !list.is_empty()) => {
            Constraints::Some
        }
        _ => Constraints::Empty,
    }
}

fn constrained(certificate: &X509Certificate<'_>) -> Vec<ConstrainedNames> {
    let Ok(Some(found)) = certificate.name_constraints() else {
        return Vec::new();
    };
    let permitted = found.value.permitted_subtrees.iter().flatten();
    let excluded = found.value.excluded_subtrees.iter().flatten();
    permitted
        .chain(excluded)
        .filter_map(|subtree| match subtree.base {
            GeneralName::DirectoryName(_) => Some(ConstrainedNames::Directory),
            GeneralName::RFC822Name(_) => Some(ConstrainedNames::Email),
            GeneralName::URI(_) => Some(ConstrainedNames::Uri),
            _ => None,
        })
        .collect()
}

fn extension<'a>(
    certificate: &'a X509Certificate<'_>,
    oid: &Oid<'_>,
) -> Result<Option<&'a ParsedExtension<'a>>, Unreadable> {
    certificate
        .get_extension_unique(oid)
        .map(|found| found.map(|extension| extension.parsed_extension()))
        .map_err(|error| Unreadable::certificate(part_of(&error)))
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, KeyUsagePurpose,
    };

    use super::*;

    fn read(change: impl FnOnce(&mut CertificateParams)) -> Result<PathFacts, Unreadable> {
        let mut params = CertificateParams::default();
        change(&mut params);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        path_facts(certificate.der())
    }

    #[test]
    fn what_is_not_restricted_may_be_anything_but_an_authority() {
        let read = read(|_| ()).unwrap();
        assert_eq!((read.version, read.is_authority), (3, None));
        assert!(read.signs_certificates && read.signs_handshakes);
        assert!(read.serves_servers && read.serves_clients);
        assert_eq!((read.path_length, read.weak_bits), (None, None));
        assert!(read.is_self_issued());
    }

    #[test]
    fn restrictions_are_read() {
        let found = read(|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(2));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
        .unwrap();
        assert_eq!(
            (found.is_authority, found.path_length),
            (Some(true), Some(2))
        );
        assert!(found.signs_certificates && !found.signs_handshakes);
        assert!(!found.serves_servers && found.serves_clients);
        let found = read(|params| {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        })
        .unwrap();
        assert_eq!(found.is_authority, Some(false));
        assert!(!found.signs_certificates && found.signs_handshakes);
        assert!(!found.serves_servers && !found.serves_clients);
    }

    #[test]
    fn what_is_about_ocsp_is_read() {
        let found = read(|_| ()).unwrap();
        assert!(!found.signs_ocsp && !found.must_staple);
        let feature = |numbers: &[u8]| {
            let oid = [1, 3, 6, 1, 5, 5, 7, 1, 24];
            let integers: Vec<u8> = numbers
                .iter()
                .flat_map(|number| [0x02, 0x01, *number])
                .collect();
            CustomExtension::from_oid_content(&oid, der::element(0x30, &integers))
        };
        for (numbers, must_staple) in [(&[5][..], true), (&[17, 5], true), (&[17], false)] {
            let found = read(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
                params.custom_extensions.push(feature(numbers));
            })
            .unwrap();
            assert!(found.signs_ocsp);
            assert_eq!(found.must_staple, must_staple, "{numbers:?}");
        }
    }

    /// Taken for absent, each of them would lift the restriction that it was meant to be.
    #[test]
    fn an_extension_that_cannot_be_read_is_an_error() {
        let tls_features = [1, 3, 6, 1, 5, 5, 7, 1, 24];
        for oid in [
            &[2, 5, 29, 15][..],
            &[2, 5, 29, 37],
            &[2, 5, 29, 19],
            &tls_features,
        ] {
            let found = read(|params| {
                let garbage = CustomExtension::from_oid_content(oid, vec![0x05, 0x00]);
                params.custom_extensions.push(garbage);
            });
            assert!(found.is_err(), "{oid:?} {found:?}");
        }
    }
}
