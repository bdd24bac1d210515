//! Host names.

use polytls_core::HostName;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Reads a host name argument.
pub(crate) fn parse(text: &str, parameter: &str) -> PyResult<HostName> {
    HostName::parse(text).map_err(|error| PyValueError::new_err(format!("{parameter}: {error}")))
}

/// The form in which TLS uses a host name: A-labels in lower case without a trailing dot, or an
/// address; and whether it is an address.
///
/// Raises ValueError, naming `parameter`, for what is no host name.
#[pyfunction]
#[pyo3(signature = (text, parameter="server_hostname"))]
pub(crate) fn host_name(text: &Bound<'_, PyString>, parameter: &str) -> PyResult<(String, bool)> {
    let text = text
        .to_str()
        .map_err(|_| PyValueError::new_err(format!("{parameter}: lone surrogates are no text")))?;
    let name = parse(text, parameter)?;
    Ok((name.to_string(), name.is_ip()))
}
