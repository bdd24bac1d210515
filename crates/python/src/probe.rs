//! Probes of what servers accept ([`polytls_core::probe`]).

use polytls_core::probe::{Answer, Probe, answer};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A ClientHello, as a record. `version`: the number of the one version that it offers, 0x0300 for SSL 3.0; `random`:
/// 64 random bytes.
///
/// Raises ValueError for another length, and for more suites and groups than fit into a record.
#[pyfunction]
pub(crate) fn probe_hello<'py>(
    py: Python<'py>,
    version: u16,
    suites: Vec<u16>,
    groups: Vec<u16>,
    name: Option<&str>,
    random: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let probe = Probe {
        version,
        suites: &suites,
        groups: &groups,
        name,
        random: random
            .try_into()
            .map_err(|_| PyValueError::new_err("random must have 64 bytes"))?,
    };
    let hello = probe.client_hello();
    let hello = hello.ok_or_else(|| PyValueError::new_err("too many suites or groups"))?;
    Ok(PyBytes::new(py, &hello))
}

/// What a server answers to a probe.
#[derive(IntoPyObject)]
pub(crate) enum Told {
    /// The alert.
    Refused(u8),
    /// Version, suite and group.
    Chosen((u16, u16, Option<u16>)),
}

/// What a server answered to a probe: what it chose (version, suite, and in TLS 1.3 the group), or the number of the
/// alert that refuses; None if there is more to come. `with_group`: the group of older versions is waited for.
///
/// Raises ValueError for what is not TLS.
#[pyfunction]
pub(crate) fn probe_answer(data: &[u8], with_group: bool) -> PyResult<Option<Told>> {
    match answer(data, with_group) {
        Answer::More => Ok(None),
        Answer::Refused(alert) => Ok(Some(Told::Refused(alert.0))),
        Answer::Chosen {
            version,
            suite,
            group,
        } => Ok(Some(Told::Chosen((version, suite, group)))),
        Answer::Other => Err(PyValueError::new_err("the server's answer is not TLS")),
    }
}
