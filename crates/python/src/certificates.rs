//! What certificates say of themselves.

use std::ffi::OsString;
use std::path::PathBuf;

use polytls_core::pem;
use polytls_core::pki_types::CertificateDer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

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
