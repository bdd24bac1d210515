//! `peer_verifier`: Python's say in the verdict on a peer.

use polytls_core::config::{Peer, PeerVerifier, Refusal};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::callbacks::{Callback, ENDING, attached, cause};
use crate::calls::CallsOut as _;
use crate::imported::Imported;
use crate::info;

static PEER: Imported = Imported::new("polytls.info", "PresentedPeer");

/// A callable of Python's. Whatever it raises is a refusal, and so is whatever it returns but None:
/// a False that was meant as one must not pass.
#[derive(Debug)]
pub(crate) struct Hook(pub(crate) Py<PyAny>);

impl Callback for Hook {
    fn callable(&self) -> &Py<PyAny> {
        &self.0
    }
}

impl Hook {
    fn call(&self, py: Python<'_>, peer: &Peer<'_>) -> PyResult<()> {
        let fields = PyDict::new(py);
        let presented = peer.presented.iter().map(|der| PyBytes::new(py, der));
        fields.set_item("presented_chain", PyTuple::new(py, presented)?)?;
        let verified = peer.verified.map(|chain| info::chain(py, chain));
        fields.set_item("verified_chain", verified.transpose()?)?;
        fields.set_item("hostname", peer.hostname)?;
        fields.set_item("role", if peer.is_server { "server" } else { "client" })?;
        let leaf = peer.presented.first().map_or(&[][..], AsRef::as_ref);
        fields.set_item("certificate", info::certificate(py, leaf)?)?;
        let peer = PEER.get(py)?.call_out((), Some(&fields))?;
        let returned = self.0.bind(py).call_out((peer,), None)?;
        if returned.is_none() {
            return Ok(());
        }
        Err(PyTypeError::new_err(format!(
            "peer_verifier must return None, or raise to refuse the peer; it returned {}",
            returned.get_type().name()?
        )))
    }
}

impl PeerVerifier for Hook {
    fn verify(&self, peer: &Peer<'_>) -> Result<(), Refusal> {
        let verdict = attached(|py| {
            self.call(py, peer).map_err(|error| {
                let exception = error.into_value(py);
                Refusal {
                    message: format!(
                        "peer_verifier refused the certificate: {}",
                        first_line(exception.bind(py))
                    ),
                    cause: Some(cause(py, exception.bind(py))),
                }
            })
        });
        verdict.unwrap_or_else(|| {
            Err(Refusal {
                message: format!("peer_verifier was not called: {ENDING}"),
                cause: None,
            })
        })
    }
}

/// Class and text of an exception in one line; the text may run code, and fail.
fn first_line(exception: &Bound<'_, PyAny>) -> String {
    let kind = exception.get_type();
    let kind = kind
        .name()
        .map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
    let text = exception
        .text()
        .map(|text| text.to_string_lossy().into_owned());
    match text.unwrap_or_default().lines().next() {
        Some(line) => format!("{kind}: {line}"),
        None => kind,
    }
}
