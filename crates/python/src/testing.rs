//! Throw-away certificates for tests and demonstrations, made by rcgen. Public as
//! `polytls.testing.CertificateAuthority`; never for real use: keys live in memory and expire soon.

use std::str::FromStr;

use aws_lc_rs::agreement::{self, X25519};
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::{digest, rand};
use polytls_x509::der::element;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CidrSubnet, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints,
    RevokedCertParams, RsaKeySize, SanType, SerialNumber, SigningKey,
};
use time::OffsetDateTime;

/// An issuer of certificates.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct CertificateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own, as DER.
    certificate: Vec<u8>,
}

fn failed(error: &rcgen::Error) -> PyErr {
    PyValueError::new_err(format!("cannot make this certificate: {error}"))
}

fn key(kind: &str) -> PyResult<KeyPair> {
    match kind {
        "ecdsa-p256" => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        "ecdsa-p384" => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        "ed25519" => return ed25519(),
        "rsa-2048" => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        other => {
            return Err(PyValueError::new_err(format!(
                "key_type: unknown type {other:?}; known are ecdsa-p256, ecdsa-p384, ed25519 and \
                 rsa-2048"
            )));
        }
    }
    .map_err(|error| failed(&error))
}

/// In PKCS#8 of the first version: OpenSSL before 3.2 reads no other (RFC 5958 section 2 puts the
/// public key into the second).
fn ed25519() -> PyResult<KeyPair> {
    let none = |_| PyValueError::new_err("key_type: no Ed25519 key could be made");
    let key = Ed25519KeyPair::generate().map_err(none)?;
    let der = key.to_pkcs8v1().map_err(none)?;
    KeyPair::try_from(der.as_ref()).map_err(|error| failed(&error))
}

fn moment(seconds: i64, parameter: &str) -> PyResult<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|_| PyValueError::new_err(format!("{parameter}: {seconds} is out of range")))
}

fn params(
    names: Vec<String>,
    common_name: &str,
    not_before: i64,
    not_after: i64,
) -> PyResult<CertificateParams> {
    let (as_dns, names): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| name.starts_with("DNS:"));
    let mut params = CertificateParams::new(names).map_err(|error| failed(&error))?;
    for name in as_dns {
        let name = name["DNS:".len()..].try_into();
        params.subject_alt_names.push(SanType::DnsName(
            name.map_err(|error: rcgen::Error| failed(&error))?,
        ));
    }
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = moment(not_before, "not_before")?;
    params.not_after = moment(not_after, "not_after")?;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A certificate as version 1: without a version, which is the default, and without extensions, signed
/// anew (RFC 5280 section 4.1). rcgen makes only version 3.
fn version_1(der: &[u8], signer: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let malformed = || rcgen::Error::CouldNotParseCertificate;
    let outer = elements(der).ok_or_else(malformed)?;
    let outer = elements(outer.first().ok_or_else(malformed)?.1).ok_or_else(malformed)?;
    let [(_, to_be_signed, _), (_, _, algorithm), ..] = &outer[..] else {
        return Err(malformed());
    };
    // What is tagged for its context is the version and the extensions.
    let kept = elements(to_be_signed).ok_or_else(malformed)?;
    let kept = kept.iter().filter(|(tag, ..)| tag & 0x80 == 0);
    let to_be_signed = element(
        0x30,
        &kept
            .flat_map(|(.., whole)| *whole)
            .copied()
            .collect::<Vec<_>>(),
    );
    let signature = [&[0][..], &signer.sign(&to_be_signed)?].concat();
    Ok(element(
        0x30,
        &[&to_be_signed, *algorithm, &element(0x03, &signature)].concat(),
    ))
}

/// An element in DER: its tag, its contents, and all of it.
type Element<'a> = (u8, &'a [u8], &'a [u8]);

/// Elements one after the other, with lengths of up to 64 KiB.
fn elements(mut der: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while let [tag, length, ..] = *der {
        let (start, length) = match (length, der) {
            (..=0x7f, _) => (2, usize::from(length)),
            (0x81, [_, _, one, ..]) => (3, usize::from(*one)),
            (0x82, [_, _, one, two, ..]) => (4, usize::from(u16::from_be_bytes([*one, *two]))),
            _ => return None,
        };
        let whole = der.get(..start + length)?;
        found.push((tag, &whole[start..], whole));
        der = &der[whole.len()..];
    }
    Some(found)
}

/// The algorithm of a key's signatures, AlgorithmIdentifier in DER: rcgen writes it into certificates alone.
fn signature_algorithm(key: &KeyPair) -> PyResult<Vec<u8>> {
    let made = CertificateParams::default().self_signed(key);
    let made = made.map_err(|error| failed(&error))?;
    let outer = elements(made.der());
    let inner = outer
        .as_deref()
        .and_then(|outer| elements(outer.first()?.1));
    match inner.as_deref() {
        Some([_, (_, _, algorithm), ..]) => Ok(algorithm.to_vec()),
        _ => Err(PyValueError::new_err("rcgen makes no readable certificate")),
    }
}

/// GeneralizedTime (RFC 5280 section 4.1.2.5.2).
fn generalized_time(seconds: i64, parameter: &str) -> PyResult<Vec<u8>> {
    let at = moment(seconds, parameter)?;
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    Ok(element(0x18, text.as_bytes()))
}

/// CertID (RFC 6960 section 4.1.1) of a certificate with this serial number.
fn certificate_id(issuer: &polytls_x509::PathFacts, serial_number: &[u8], sha256: bool) -> Vec<u8> {
    let (algorithm, oid): (_, &[u8]) = if sha256 {
        (&digest::SHA256, b"\x60\x86\x48\x01\x65\x03\x04\x02\x01")
    } else {
        (&digest::SHA1_FOR_LEGACY_USE_ONLY, b"\x2b\x0e\x03\x02\x1a")
    };
    let hash = |data: &[u8]| element(0x04, digest::digest(algorithm, data).as_ref());
    let key = polytls_x509::public_key(&issuer.spki).unwrap_or_default();
    let null = element(0x05, &[]);
    let parts = [
        element(0x30, &[element(0x06, oid), null].concat()),
        hash(&issuer.subject_der),
        hash(key),
        element(0x02, serial_number),
    ];
    element(0x30, &parts.concat())
}

/// Subtrees for name constraints: DNS names, networks such as 192.0.2.0/24, and directory names such as
/// CN=name.
fn subtrees(names: Vec<String>) -> Vec<GeneralSubtree> {
    let subtree = |name: String| match (CidrSubnet::from_str(&name), name.strip_prefix("CN=")) {
        (Ok(network), _) => GeneralSubtree::IpAddress(network),
        (_, Some(common_name)) => {
            let mut directory = DistinguishedName::new();
            directory.push(DnType::CommonName, common_name);
            GeneralSubtree::DirectoryName(directory)
        }
        _ => GeneralSubtree::DnsName(name),
    };
    names.into_iter().map(subtree).collect()
}

fn is_ca(authority: Option<bool>, path_length: Option<u8>) -> IsCa {
    match authority {
        None => IsCa::NoCa,
        Some(false) => IsCa::ExplicitNoCa,
        Some(true) => IsCa::Ca(path_length.map_or(
            BasicConstraints::Unconstrained,
            BasicConstraints::Constrained,
        )),
    }
}

fn key_usage(name: &str) -> PyResult<KeyUsagePurpose> {
    Ok(match name {
        "digital signature" => KeyUsagePurpose::DigitalSignature,
        "certificate signing" => KeyUsagePurpose::KeyCertSign,
        "CRL signing" => KeyUsagePurpose::CrlSign,
        "key agreement" => KeyUsagePurpose::KeyAgreement,
        other => {
            return Err(PyValueError::new_err(format!(
                "key_usage: unknown use {other:?}"
            )));
        }
    })
}

fn key_usages(names: &[String]) -> PyResult<Vec<KeyUsagePurpose>> {
    names.iter().map(|name| key_usage(name)).collect()
}

fn purposes(server: bool, client: bool, ocsp_signing: bool) -> Vec<ExtendedKeyUsagePurpose> {
    [
        (ocsp_signing, ExtendedKeyUsagePurpose::OcspSigning),
        (server, ExtendedKeyUsagePurpose::ServerAuth),
        (client, ExtendedKeyUsagePurpose::ClientAuth),
    ]
    .into_iter()
    .filter_map(|(is_meant, purpose)| is_meant.then_some(purpose))
    .collect()
}

/// An extension that nobody knows (OIDs below 1.3.6.1.4.1.55738 are for examples), with so many bytes.
fn unknown_extension(critical: bool, length: usize) -> CustomExtension {
    // An octet string with its length in four digits: any length fits.
    let mut content = vec![0x04, 0x84];
    content.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    content.resize(6 + length, 0);
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55738, 1], content);
    extension.set_criticality(critical);
    extension
}

/// The TLS feature status_request, also known as must-staple (RFC 7633 section 4.1).
fn tls_feature() -> CustomExtension {
    let features = element(0x30, &element(0x02, &[5]));
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], features)
}

#[pymethods]
impl CertificateAuthority {
    /// A CA with a key of its own, signed by `parent` or by itself. Times are seconds since 1970.
    /// `authority`: CA in basic constraints; None: there are none. `version`: 3, or 1 without extensions.
    #[new]
    #[pyo3(signature = (common_name, names, key_type, not_before, not_after, parent, path_length, permitted, excluded, key_usage, authority, server, client, version))]
    #[allow(
        clippy::too_many_arguments,
        reason = "the Python class has the defaults"
    )]
    fn new(
        py: Python<'_>,
        common_name: &str,
        names: Vec<String>,
        key_type: &str,
        not_before: i64,
        not_after: i64,
        parent: Option<PyRef<'_, Self>>,
        path_length: Option<u8>,
        permitted: Vec<String>,
        excluded: Vec<String>,
        key_usage: Vec<String>,
        authority: Option<bool>,
        server: bool,
        client: bool,
        version: u8,
    ) -> PyResult<Self> {
        let mut params = params(names, common_name, not_before, not_after)?;
        params.is_ca = is_ca(authority, path_length);
        params.key_usages = key_usages(&key_usage)?;
        params.extended_key_usages = purposes(server, client, false);
        if !permitted.is_empty() || !excluded.is_empty() {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: subtrees(permitted),
                excluded_subtrees: subtrees(excluded),
            });
        }
        let key = py.detach(|| key(key_type))?;
        let signer = parent.as_ref().map(|parent| &parent.issuer);
        let issuer = match signer {
            Some(parent) => CertifiedIssuer::signed_by(params, key, parent),
            None => CertifiedIssuer::self_signed(params, key),
        }
        .map_err(|error| failed(&error))?;
        let mut certificate = issuer.der().to_vec();
        if version == 1 {
            let signer = signer.unwrap_or(&issuer).key();
            certificate = version_1(&certificate, signer).map_err(|error| failed(&error))?;
        }
        Ok(Self {
            issuer,
            certificate,
        })
    }

    /// The CA's own certificate as DER.
    #[getter]
    fn certificate<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.certificate)
    }

    /// The CA's own key in PKCS#8.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.issuer.key().serialized_der())
    }

    /// A certificate for `names` (DNS names and addresses) with a new key: both as DER, the key in
    /// PKCS#8. `server` and `client` say what it may be used for; neither means no restriction.
    #[pyo3(signature = (names, common_name, key_type, not_before, not_after, server, client, key_usage, authority, unknown_extension, ocsp_signing, must_staple))]
    #[allow(
        clippy::too_many_arguments,
        reason = "the Python class has the defaults"
    )]
    fn issue<'py>(
        &self,
        py: Python<'py>,
        names: Vec<String>,
        common_name: &str,
        key_type: &str,
        not_before: i64,
        not_after: i64,
        server: bool,
        client: bool,
        key_usage: Vec<String>,
        authority: bool,
        unknown_extension: Option<(bool, usize)>,
        ocsp_signing: bool,
        must_staple: bool,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let mut params = params(names, common_name, not_before, not_after)?;
        params.key_usages = key_usages(&key_usage)?;
        params.extended_key_usages = purposes(server, client, ocsp_signing);
        if must_staple {
            params.custom_extensions.push(tls_feature());
        }
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        if let Some((critical, length)) = unknown_extension {
            params
                .custom_extensions
                .push(self::unknown_extension(critical, length));
        }
        let key = py.detach(|| key(key_type))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|error| failed(&error))?;
        Ok((
            PyBytes::new(py, certificate.der()),
            PyBytes::new(py, key.serialized_der()),
        ))
    }

    /// A certificate as DER for the name and key of `other`, signed by this one.
    fn cross_sign<'py>(
        &self,
        py: Python<'py>,
        other: PyRef<'_, Self>,
        common_name: &str,
        not_before: i64,
        not_after: i64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut params = params(Vec::new(), common_name, not_before, not_after)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .signed_by(other.issuer.key(), &self.issuer)
            .map(|certificate| PyBytes::new(py, certificate.der()))
            .map_err(|error| failed(&error))
    }

    /// A CRL as DER: the certificates with these serial numbers are revoked.
    fn revocation_list<'py>(
        &self,
        py: Python<'py>,
        serial_numbers: Vec<Vec<u8>>,
        this_update: i64,
        next_update: i64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let this_update = moment(this_update, "this_update")?;
        let revoked = serial_numbers
            .into_iter()
            .map(|serial_number| RevokedCertParams {
                serial_number: SerialNumber::from(serial_number),
                revocation_time: this_update,
                reason_code: None,
                invalidity_date: None,
            });
        CertificateRevocationListParams {
            this_update,
            next_update: moment(next_update, "next_update")?,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .map(|list| PyBytes::new(py, list.der()))
        .map_err(|error| failed(&error))
    }

    /// An OCSP response about `certificate` as DER (RFC 6960 section 4.2.1), signed by this CA, or by the
    /// certificate and the key of `responder`, both DER. `status`: "good", "revoked" or "unknown". `sha256`: by
    /// which hashes it identifies the issuer; otherwise SHA-1.
    #[allow(
        clippy::too_many_arguments,
        reason = "the Python class has the defaults"
    )]
    fn ocsp_response<'py>(
        &self,
        py: Python<'py>,
        certificate: &[u8],
        status: &str,
        this_update: i64,
        next_update: Option<i64>,
        sha256: bool,
        responder: Option<(Vec<u8>, Vec<u8>)>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let wrong = |error: String| PyValueError::new_err(error);
        let facts =
            |der: &[u8]| polytls_x509::path_facts(der).map_err(|error| wrong(error.to_string()));
        let issuer = facts(&self.certificate)?;
        let about =
            polytls_x509::summarize(certificate).map_err(|error| wrong(error.to_string()))?;
        let updated = generalized_time(this_update, "this_update")?;
        let status = match status {
            "good" => element(0x80, &[]),
            "revoked" => {
                let key_compromise = element(0xa0, &element(0x0a, &[1]));
                element(0xa1, &[updated.clone(), key_compromise].concat())
            }
            "unknown" => element(0x82, &[]),
            other => return Err(wrong(format!("status: unknown status {other:?}"))),
        };
        let mut single = [
            certificate_id(&issuer, &about.serial_number, sha256),
            status,
            updated.clone(),
        ]
        .concat();
        if let Some(next_update) = next_update {
            single.extend(element(
                0xa0,
                &generalized_time(next_update, "next_update")?,
            ));
        }
        let delegate = match &responder {
            None => None,
            Some((_, key)) => {
                let key = KeyPair::try_from(key.as_slice()).map_err(|error| failed(&error))?;
                Some(key)
            }
        };
        let (signer, name) = match (&delegate, &responder) {
            (Some(key), Some((der, _))) => (key, facts(der)?.subject_der),
            _ => (self.issuer.key(), issuer.subject_der),
        };
        let data = [
            element(0xa1, &name),
            updated,
            element(0x30, &element(0x30, &single)),
        ];
        let data = element(0x30, &data.concat());
        let signature = signer.sign(&data).map_err(|error| failed(&error))?;
        let signature = element(0x03, &[&[0], &*signature].concat());
        let mut basic = [data, signature_algorithm(signer)?, signature].concat();
        if let Some((der, _)) = &responder {
            basic.extend(element(0xa0, &element(0x30, der)));
        }
        let basic = element(0x04, &element(0x30, &basic));
        // id-pkix-ocsp-basic
        let kind = element(0x06, b"\x2b\x06\x01\x05\x05\x07\x30\x01\x01");
        let bytes = element(0xa0, &element(0x30, &[kind, basic].concat()));
        let successful = element(0x0a, &[0]);
        let response = element(0x30, &[successful, bytes].concat());
        Ok(PyBytes::new(py, &response))
    }
}

/// A self-signed certificate for `names` and its key, as `CertificateAuthority.issue` gives them.
/// `authority`: as of a `CertificateAuthority`; many devices' certificates claim to be one.
#[pyfunction]
pub(crate) fn self_signed<'py>(
    py: Python<'py>,
    names: Vec<String>,
    common_name: &str,
    key_type: &str,
    not_before: i64,
    not_after: i64,
    authority: Option<bool>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let mut params = params(names, common_name, not_before, not_after)?;
    params.is_ca = is_ca(authority, None);
    let key = py.detach(|| key(key_type))?;
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    Ok((
        PyBytes::new(py, certificate.der()),
        PyBytes::new(py, key.serialized_der()),
    ))
}

/// A private key of X25519 and its public key, 32 bytes each (RFC 7748 section 5).
#[pyfunction]
pub(crate) fn x25519<'py>(py: Python<'py>) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let none = |_| PyValueError::new_err("no X25519 key could be made");
    let mut secret = [0; 32];
    rand::fill(&mut secret).map_err(none)?;
    let public = agreement::PrivateKey::from_private_key(&X25519, &secret)
        .map_err(|_| PyValueError::new_err("no X25519 key could be made"))?
        .compute_public_key()
        .map_err(none)?;
    Ok((PyBytes::new(py, &secret), PyBytes::new(py, public.as_ref())))
}
