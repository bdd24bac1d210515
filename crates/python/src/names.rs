//! Host names, and the names of TLS's numbers.

use polytls_core::config::Version;
use polytls_core::{Alert, HostName, names as tables};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

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
    let text = text.to_str().map_err(|_| {
        PyValueError::new_err(format!("{parameter}: lone surrogates are not valid text"))
    })?;
    let name = parse(text, parameter)?;
    Ok((name.to_string(), name.is_ip()))
}

/// The numbers that a table of the core's has for names; `table`: "cipher_suites", "groups",
/// "openssl_groups", "signature_schemes", "certificate_compression_algorithms", "handshake_types", "alerts",
/// or for probes "probed_suites_1_3", "probed_suites_1_2" (and below) or "probed_groups".
///
/// Raises ValueError for another table.
#[pyfunction]
pub(crate) fn numbers<'py>(py: Python<'py>, table: &str) -> PyResult<Bound<'py, PyDict>> {
    let rows: Vec<(u16, &str)> = match table {
        "cipher_suites" => tables::CIPHER_SUITES.to_vec(),
        "groups" => tables::GROUPS.to_vec(),
        "probed_suites_1_3" => probed_suites(Version::Tls13),
        "probed_suites_1_2" => probed_suites(Version::Tls12),
        "probed_groups" => [tables::GROUPS, tables::OTHER_GROUPS].concat(),
        "openssl_groups" => tables::OPENSSL_GROUPS.to_vec(),
        "signature_schemes" => tables::SIGNATURE_SCHEMES.to_vec(),
        "certificate_compression_algorithms" => tables::COMPRESSION_ALGORITHMS.to_vec(),
        "handshake_types" => {
            let rows = tables::HANDSHAKE_TYPES.iter();
            rows.map(|(number, name)| ((*number).into(), *name))
                .collect()
        }
        "alerts" => (0..=u8::MAX)
            .filter_map(|number| Some((number.into(), Alert(number).name()?)))
            .collect(),
        _ => {
            return Err(PyValueError::new_err(format!(
                "table: there is no {table:?}"
            )));
        }
    };
    let numbers = PyDict::new(py);
    for (number, name) in rows {
        numbers.set_item(name, number)?;
    }
    Ok(numbers)
}

/// Every suite of a version, those of today first.
fn probed_suites(version: Version) -> Vec<(u16, &'static str)> {
    [tables::CIPHER_SUITES, tables::OTHER_CIPHER_SUITES]
        .concat()
        .into_iter()
        .filter(|(number, _)| tables::version_of_suite(*number) == version)
        .collect()
}
