//! What a handshake agreed on, in the types of `polytls.constants` and `polytls.info`.

use polytls_core::Facts;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::errors::Imported;

static CIPHERS: Imported = Imported::new("polytls.constants", "CipherSuite");
static GROUPS: Imported = Imported::new("polytls.constants", "NamedGroup");
static PROTOCOLS: Imported = Imported::new("polytls.constants", "NextProtocol");
static VERSIONS: Imported = Imported::new("polytls.constants", "TLSVersion");
static INFO: Imported = Imported::new("polytls.info", "ConnectionInfo");

/// The member of an enumeration for `value`, or `value` itself where there is none.
fn known<'py>(kind: &Imported, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    match kind.get(py)?.call1((&value,)) {
        Ok(member) => Ok(member),
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyValueError>(py) => Ok(value),
        Err(error) => Err(error),
    }
}

pub(crate) fn cipher<'py>(py: Python<'py>, facts: &Facts) -> PyResult<Bound<'py, PyAny>> {
    suite(py, facts.cipher)
}

pub(crate) fn suite(py: Python<'_>, number: u16) -> PyResult<Bound<'_, PyAny>> {
    known(&CIPHERS, number.into_pyobject(py)?.into_any())
}

pub(crate) fn group(py: Python<'_>, number: u16) -> PyResult<Bound<'_, PyAny>> {
    known(&GROUPS, number.into_pyobject(py)?.into_any())
}

pub(crate) fn version<'py>(py: Python<'py>, facts: &Facts) -> PyResult<Bound<'py, PyAny>> {
    let name = if facts.is_tls13() {
        "TLSv1_3"
    } else {
        "TLSv1_2"
    };
    VERSIONS.get(py)?.getattr(name)
}

pub(crate) fn protocol<'py>(py: Python<'py>, facts: &Facts) -> PyResult<Option<Bound<'py, PyAny>>> {
    facts
        .alpn
        .as_ref()
        .map(|name| known(&PROTOCOLS, PyBytes::new(py, name).into_any()))
        .transpose()
}

pub(crate) fn peer_certificate<'py>(py: Python<'py>, facts: &Facts) -> Option<Bound<'py, PyBytes>> {
    facts.peer_chain.first().map(|der| PyBytes::new(py, der))
}

/// A `ConnectionInfo`; before the handshake is complete all but the implementation is None.
pub(crate) fn connection_info<'py>(
    py: Python<'py>,
    implementation: &str,
    facts: Option<&Facts>,
) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    fields.set_item("implementation", implementation)?;
    fields.set_item(
        "version",
        facts.map(|facts| version(py, facts)).transpose()?,
    )?;
    fields.set_item("cipher", facts.map(|facts| cipher(py, facts)).transpose()?)?;
    let number = facts.and_then(|facts| facts.group);
    fields.set_item("group", number.map(|number| group(py, number)).transpose()?)?;
    let alpn = facts
        .map(|facts| protocol(py, facts))
        .transpose()?
        .flatten();
    fields.set_item("alpn", alpn)?;
    fields.set_item(
        "server_name",
        facts.and_then(|facts| facts.server_name.as_ref()),
    )?;
    fields.set_item("resumed", facts.map(|facts| facts.resumed))?;
    let chain = facts
        .filter(|facts| !facts.peer_chain.is_empty())
        .map(|facts| PyTuple::new(py, facts.peer_chain.iter().map(|der| PyBytes::new(py, der))))
        .transpose()?;
    fields.set_item("peer_chain", chain)?;
    fields.set_item("verified_chain", py.None())?;
    INFO.get(py)?.call((), Some(&fields))
}
