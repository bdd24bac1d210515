//! Throw-away certificates for tests and demonstrations, made by rcgen. Public as
//! `polytls.testing.CertificateAuthority`; never for real use: keys live in memory and expire soon.

use aws_lc_rs::signature::Ed25519KeyPair;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    RsaKeySize,
};
use time::OffsetDateTime;

/// An issuer of certificates.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct CertificateAuthority(CertifiedIssuer<'static, KeyPair>);

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
                "key_type: no such type as {other:?}; there are ecdsa-p256, ecdsa-p384, ed25519 \
                 and rsa-2048"
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
    let mut params = CertificateParams::new(names).map_err(|error| failed(&error))?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = moment(not_before, "not_before")?;
    params.not_after = moment(not_after, "not_after")?;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

#[pymethods]
impl CertificateAuthority {
    /// A CA with a key of its own, signed by `parent` or by itself. Times are seconds since 1970.
    #[new]
    #[pyo3(signature = (common_name, key_type, not_before, not_after, parent, path_length, permitted))]
    #[allow(
        clippy::too_many_arguments,
        reason = "the Python class has the defaults"
    )]
    fn new(
        py: Python<'_>,
        common_name: &str,
        key_type: &str,
        not_before: i64,
        not_after: i64,
        parent: Option<PyRef<'_, Self>>,
        path_length: Option<u8>,
        permitted: Vec<String>,
    ) -> PyResult<Self> {
        let mut params = params(Vec::new(), common_name, not_before, not_after)?;
        params.is_ca = IsCa::Ca(path_length.map_or(
            BasicConstraints::Unconstrained,
            BasicConstraints::Constrained,
        ));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        if !permitted.is_empty() {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: permitted.into_iter().map(GeneralSubtree::DnsName).collect(),
                excluded_subtrees: Vec::new(),
            });
        }
        let key = py.detach(|| key(key_type))?;
        match parent {
            Some(parent) => CertifiedIssuer::signed_by(params, key, &parent.0),
            None => CertifiedIssuer::self_signed(params, key),
        }
        .map(Self)
        .map_err(|error| failed(&error))
    }

    /// The CA's own certificate as DER.
    #[getter]
    fn certificate<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.der())
    }

    /// A certificate for `names` (DNS names and addresses) with a new key: both as DER, the key in
    /// PKCS#8. `server` and `client` say what it may be used for; neither means no restriction.
    #[pyo3(signature = (names, common_name, key_type, not_before, not_after, server, client))]
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
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let mut params = params(names, common_name, not_before, not_after)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if server {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if client {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        let key = py.detach(|| key(key_type))?;
        let certificate = params
            .signed_by(&key, &self.0)
            .map_err(|error| failed(&error))?;
        Ok((
            PyBytes::new(py, certificate.der()),
            PyBytes::new(py, key.serialized_der()),
        ))
    }
}

/// A self-signed certificate for `names` and its key, as `CertificateAuthority.issue` gives them.
/// With `authority` it claims to be a CA, as many devices' certificates do.
#[pyfunction]
pub(crate) fn self_signed<'py>(
    py: Python<'py>,
    names: Vec<String>,
    common_name: &str,
    key_type: &str,
    not_before: i64,
    not_after: i64,
    authority: bool,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let mut params = params(names, common_name, not_before, not_after)?;
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = py.detach(|| key(key_type))?;
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    Ok((
        PyBytes::new(py, certificate.der()),
        PyBytes::new(py, key.serialized_der()),
    ))
}
