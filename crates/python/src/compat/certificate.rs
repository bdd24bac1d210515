//! The dictionary of `ssl.SSLSocket.getpeercert`.

use polytls_x509::{AlternativeName, Name};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

fn name<'py>(py: Python<'py>, name: &Name) -> PyResult<Bound<'py, PyTuple>> {
    let relative = name.iter().map(|relative| PyTuple::new(py, relative));
    PyTuple::new(py, relative.collect::<PyResult<Vec<_>>>()?)
}

/// A certificate in DER as `ssl.SSLSocket.getpeercert` tells it.
///
/// Raises ValueError for what cannot be read.
#[pyfunction]
pub(crate) fn certificate_dictionary<'py>(
    py: Python<'py>,
    der: &[u8],
) -> PyResult<Bound<'py, PyDict>> {
    let found =
        polytls_x509::dictionary(der).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let fields = PyDict::new(py);
    fields.set_item("subject", name(py, &found.subject)?)?;
    fields.set_item("issuer", name(py, &found.issuer)?)?;
    fields.set_item("version", found.version)?;
    fields.set_item("serialNumber", found.serial_number)?;
    fields.set_item("notBefore", found.not_before)?;
    fields.set_item("notAfter", found.not_after)?;
    if let Some(names) = &found.alternative_names {
        let names = names.iter().map(|(kind, value)| {
            let value = match value {
                AlternativeName::Text(text) => text.into_pyobject(py)?.into_any(),
                AlternativeName::Directory(found) => name(py, found)?.into_any(),
            };
            (kind, value).into_pyobject(py)
        });
        fields.set_item(
            "subjectAltName",
            PyTuple::new(py, names.collect::<PyResult<Vec<_>>>()?)?,
        )?;
    }
    for (key, uris) in [
        ("OCSP", &found.ocsp),
        ("caIssuers", &found.ca_issuers),
        ("crlDistributionPoints", &found.crls),
    ] {
        if !uris.is_empty() {
            fields.set_item(key, PyTuple::new(py, uris)?)?;
        }
    }
    Ok(fields)
}
