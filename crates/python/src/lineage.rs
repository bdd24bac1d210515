//! Sessions that are named, as Python hands them from one connection to another.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::calls::CallsOut as _;
use crate::imported::Imported;

static SESSION: Imported = Imported::new("polytls.sessions", "TLSSession");

/// A session that other connections may resume. Opaque; in `polytls.sessions.TLSSession` only.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct Lineage(pub(crate) polytls_core::Lineage);

#[pymethods]
impl Lineage {
    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<Self>()
            .is_ok_and(|other| self.0 == other.get().0)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Arc::as_ptr(&self.0.0).cast::<()>().hash(&mut hasher);
        hasher.finish()
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a TLS session cannot be pickled or copied",
        ))
    }
}

/// Permission to offer a session on one connection. Opaque.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct Offer(pub(crate) polytls_core::Offer);

/// The configuration that encrypts the ClientHello of one connection. Opaque.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct Ech(pub(crate) polytls_core::ech::Ech);

/// The list of ECH configurations in the data of an HTTPS record, in wire format; None if it has none.
///
/// Raises ValueError for a malformed record.
#[pyfunction]
pub(crate) fn ech_of_record<'py>(
    py: Python<'py>,
    record: &[u8],
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    match polytls_core::ech::of_record(record) {
        Ok(list) => Ok(list.map(|list| PyBytes::new(py, list))),
        Err(what) => Err(PyValueError::new_err(format!(
            "record: {what} (RFC 9460 section 2.2)"
        ))),
    }
}

/// The handle that Python sees of a session of `context`.
pub(crate) fn session<'py>(
    py: Python<'py>,
    context: &Py<PyAny>,
    lineage: Option<polytls_core::Lineage>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    lineage
        .map(|lineage| SESSION.get(py)?.call_out((context, Lineage(lineage)), None))
        .transpose()
}
