//! What certificates say of themselves.

use std::ffi::OsString;
use std::path::PathBuf;

use polytls_core::pem;
use polytls_core::pki_types::CertificateDer;
use polytls_x509::{CertificateStatus, OcspAnswer, Timestamp, Unreadable};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::info;

/// What a certificate in DER says of itself, as a `CertificateInfo`.
///
/// Raises ValueError for what cannot be read.
#[pyfunction]
pub(crate) fn read_certificate<'py>(py: Python<'py>, der: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match info::certificate(py, der)? {
        Some(certificate) => Ok(certificate),
        None => Err(PyValueError::new_err(
            polytls_x509::summarize(der)
                .err()
                .map_or_else(String::new, |error| error.to_string()),
        )),
    }
}

/// The subject of a certificate in DER, in the form whose hash OpenSSL names files by.
///
/// Raises ValueError for what cannot be read.
#[pyfunction]
pub(crate) fn canonical_subject<'py>(py: Python<'py>, der: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    match polytls_x509::canonical_subject(der) {
        Ok(subject) => Ok(PyBytes::new(py, &subject)),
        Err(error) => Err(PyValueError::new_err(error.to_string())),
    }
}

/// notBefore and notAfter of the first certificate in `data`, PEM or DER, in seconds since 1970.
///
/// Raises ValueError if there is none that can be read.
#[pyfunction]
pub(crate) fn leaf_validity(data: &[u8]) -> PyResult<(i64, i64)> {
    let summary = polytls_x509::summarize(&leaf(data)?).map_err(unusable)?;
    Ok((summary.not_before, summary.not_after))
}

fn unusable(error: impl ToString) -> PyErr {
    PyValueError::new_err(format!("the certificate: {}", error.to_string()))
}

/// The first certificate in `data`.
fn leaf(data: &[u8]) -> PyResult<CertificateDer<'static>> {
    let certificates = pem::certificates(data).map_err(unusable)?;
    let first = certificates.into_iter().next();
    first.ok_or_else(|| unusable("there is none"))
}

/// The first and the last second, since 1970, in which an OCSP response counts for the first certificate in `data`,
/// PEM or DER.
///
/// Raises ValueError, half a sentence about the response, if it never does.
#[pyfunction]
pub(crate) fn staple_validity(response: &[u8], data: &[u8]) -> PyResult<(i64, i64)> {
    let in_force = polytls_x509::ocsp_in_force(response, &leaf(data)?);
    let in_force = in_force.map_err(PyValueError::new_err)?;
    Ok((*in_force.start(), *in_force.end()))
}

/// What logs have promised about a certificate in DER: the version (0: v1); for v1 also the ID of the log, the time in
/// milliseconds since 1970, and the number of the signature scheme. Not verified.
///
/// Raises ValueError for what cannot be read.
#[pyfunction]
pub(crate) fn certificate_timestamps(py: Python<'_>, der: &[u8]) -> PyResult<Vec<Promise>> {
    match polytls_x509::timestamps(der) {
        Ok(found) => Ok(promises(py, &found)),
        Err(error) => Err(PyValueError::new_err(error.to_string())),
    }
}

type Promise = (u8, Option<(Py<PyBytes>, u64, u16)>);

fn promises(py: Python<'_>, found: &[Timestamp]) -> Vec<Promise> {
    let promise = |timestamp: &Timestamp| match timestamp {
        Timestamp::V1 { log_id, at, scheme } => {
            (0, Some((PyBytes::new(py, log_id).unbind(), *at, *scheme)))
        }
        Timestamp::Other(version) => (*version, None),
    };
    found.iter().map(promise).collect()
}

/// What an OCSP response in DER says of the certificate `leaf` in DER, by its serial number; nothing is verified.
/// "status" is "good", "revoked", "unknown", or None if the response is about another certificate.
///
/// Raises ValueError for what cannot be read, and for an error of the responder.
#[pyfunction]
pub(crate) fn ocsp_facts<'py>(
    py: Python<'py>,
    response: &[u8],
    leaf: &[u8],
) -> PyResult<Bound<'py, PyDict>> {
    let wrong = |error: Unreadable| PyValueError::new_err(error.to_string());
    let response = match polytls_x509::ocsp_answer(response).map_err(wrong)? {
        OcspAnswer::Response(response) => response,
        OcspAnswer::Error(name) => {
            let said = format!("an error of the responder: {name}");
            return Err(PyValueError::new_err(said));
        }
    };
    let leaf = polytls_x509::summarize(leaf).map_err(wrong)?;
    let facts = PyDict::new(py);
    facts.set_item("produced_at", info::moment(py, response.produced_at)?)?;
    let about = response.about(&leaf.serial_number);
    let (status, revoked) = match about.map(|about| about.status) {
        None => (None, None),
        Some(CertificateStatus::Good) => (Some("good"), None),
        Some(CertificateStatus::Revoked { at, reason }) => (Some("revoked"), Some((at, reason))),
        Some(CertificateStatus::Unknown) => (Some("unknown"), None),
    };
    facts.set_item("status", status)?;
    let moment = |seconds: Option<i64>| seconds.map(|at| info::moment(py, at)).transpose();
    facts.set_item("revoked_at", moment(revoked.map(|(at, _)| at))?)?;
    facts.set_item("reason", revoked.and_then(|(_, reason)| reason))?;
    facts.set_item("this_update", moment(about.map(|about| about.this_update))?)?;
    let next_update = about.and_then(|about| about.next_update);
    facts.set_item("next_update", moment(next_update)?)?;
    let listed = about.map_or(Ok(Vec::new()), polytls_x509::OcspStatus::timestamps);
    match listed {
        Ok(found) => facts.set_item("timestamps", promises(py, &found))?,
        Err(error) => facts.set_item("timestamps", error.to_string())?,
    }
    Ok(facts)
}

/// All certificates in `data`, PEM or DER, as DER.
///
/// Raises ValueError that says what is wrong and what to do.
#[pyfunction]
pub(crate) fn certificates<'py>(
    py: Python<'py>,
    data: &[u8],
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let found =
        pem::certificates(data).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(found.iter().map(|der| PyBytes::new(py, der)).collect())
}

/// Whether a private key, PEM or DER, belongs to a certificate in DER; None for a key of a kind that cannot be
/// used.
///
/// Raises ValueError for what is no key.
#[pyfunction]
pub(crate) fn key_belongs(leaf: &[u8], key: &[u8]) -> PyResult<Option<bool>> {
    let key = pem::private_key(key).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(polytls_rustls::key_belongs(
        &CertificateDer::from(leaf),
        &key,
    ))
}

/// The file and the folder of the system's certificates; an empty text for what there is not.
#[pyfunction]
pub(crate) fn system_places() -> (OsString, OsString) {
    let (file, folder) = polytls_verdict::system_places();
    let text = |path: Option<PathBuf>| path.unwrap_or_default().into_os_string();
    (text(file), text(folder))
}
