//! Private keys that Python code signs with.

use polytls_core::SignerFailure;
use polytls_core::config::Signer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::callbacks::{Callback, ENDING, attached, cause};
use crate::calls::CallsOut as _;
use crate::imported::Imported;

static SCHEMES: Imported = Imported::new("polytls.constants", "SignatureScheme");

/// A `polytls.Signer`. It is called attached, on the thread that does the handshake, which is detached
/// otherwise.
#[derive(Debug)]
pub(crate) struct PythonSigner {
    public_key: Vec<u8>,
    schemes: Vec<u16>,
    signer: Py<PyAny>,
}

impl Callback for PythonSigner {
    fn callable(&self) -> &Py<PyAny> {
        &self.signer
    }
}

impl PythonSigner {
    /// Asks a `polytls.Signer` what it has.
    pub(crate) fn new(signer: &Bound<'_, PyAny>) -> PyResult<Self> {
        let algorithms = signer.attribute("algorithms")?;
        Ok(Self {
            public_key: signer.attribute("public_key")?.extract()?,
            schemes: algorithms.extract()?,
            signer: signer.clone().unbind(),
        })
    }

    fn call(&self, py: Python<'_>, message: &[u8], scheme: u16) -> PyResult<Vec<u8>> {
        let scheme = SCHEMES.get(py)?.call_out((scheme,), None)?;
        let signed = self
            .signer
            .bind(py)
            .method_out("sign", (PyBytes::new(py, message), scheme))?;
        Ok(signed.cast_into::<PyBytes>()?.as_bytes().to_vec())
    }
}

impl Signer for PythonSigner {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn schemes(&self) -> &[u16] {
        &self.schemes
    }

    fn sign(&self, message: &[u8], scheme: u16) -> Result<Vec<u8>, SignerFailure> {
        let signed = attached(|py| {
            self.call(py, message, scheme).map_err(|error| {
                let exception = error.into_value(py);
                let kind = exception.bind(py).get_type();
                let kind = kind.name().map_or_else(
                    |_| "an exception".to_owned(),
                    |name| name.to_string_lossy().into_owned(),
                );
                SignerFailure {
                    // Its text may hold anything: it is in the cause.
                    message: format!("it raised {kind}"),
                    cause: Some(cause(py, exception.bind(py))),
                }
            })
        });
        signed.unwrap_or_else(|| {
            Err(SignerFailure {
                message: ENDING.to_owned(),
                cause: None,
            })
        })
    }
}
