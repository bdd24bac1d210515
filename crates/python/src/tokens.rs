//! Private keys and certificates in PKCS#11 tokens.

use std::path::PathBuf;
use std::sync::Arc;

use polytls_core::config::Signer;
use polytls_core::pki_types::CertificateDer;
use polytls_core::{Cause, pem};
use polytls_pkcs11::{AskPin, Error, PinRequest, TokenKey, TokenListing, Uri, certificates, list};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyTypeError, PyUserWarning};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use zeroize::Zeroizing;

use crate::callbacks::{Callback, Callbacks, ENDING, attached, cause};
use crate::calls::{CallsOut as _, import};
use crate::imported::Imported;

static REQUEST: Imported = Imported::new("polytls.tokens", "PinRequest");
static SCHEMES: Imported = Imported::new("polytls.constants", "SignatureScheme");
static TOKEN_ERROR: Imported = Imported::new("polytls.errors", "TokenError");
static TOKEN_FAILURE: Imported = Imported::new("polytls.errors", "TokenFailure");

/// The name of the member of `TokenFailure`.
const fn failure(error: &Error) -> &'static str {
    match error {
        Error::Uri(_) => "INVALID_URI",
        Error::Module { .. } | Error::NoModule(_) => "NO_MODULE",
        Error::Match { several: false, .. } => "NOT_FOUND",
        Error::Match { several: true, .. } => "AMBIGUOUS",
        Error::PinRequired { .. } | Error::NoPin { .. } => "NO_PIN",
        Error::WrongPin { .. } => "WRONG_PIN",
        Error::PinLocked { .. } => "PIN_LOCKED",
        Error::Unusable(_) => "UNUSABLE",
        Error::Token { .. } => "FAILED",
    }
}

/// A TokenError.
pub(crate) fn token_error(py: Python<'_>, reason: &str, message: String) -> PyResult<PyErr> {
    let facts = PyDict::new(py);
    facts.set_item("reason", TOKEN_FAILURE.get(py)?.attribute(reason)?)?;
    let class = TOKEN_ERROR.get(py)?;
    Ok(PyErr::from_value(class.call_out((message,), Some(&facts))?))
}

pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let made = token_error(py, failure(error), error.to_string())?;
        if let Error::NoPin {
            cause: Some(Cause(cause)),
            ..
        } = error
            && let Some(exception) = cause.downcast_ref::<Py<pyo3::exceptions::PyBaseException>>()
        {
            let exception = exception.bind(py).clone().into_any();
            made.set_cause(py, Some(PyErr::from_value(exception)));
        }
        Ok(made)
    };
    made().unwrap_or_else(|failed| failed)
}

/// A `polytls.tokens.PinCallback`.
#[derive(Debug)]
pub(crate) struct PythonPin(Py<PyAny>);

impl Callback for PythonPin {
    fn callable(&self) -> &Py<PyAny> {
        &self.0
    }
}

impl PythonPin {
    fn call(&self, py: Python<'_>, request: &PinRequest) -> PyResult<Zeroizing<Vec<u8>>> {
        let facts = PyDict::new(py);
        facts.set_item("token", &request.token)?;
        facts.set_item("serial", &request.serial)?;
        facts.set_item("manufacturer", &request.manufacturer)?;
        facts.set_item("for_signature", request.for_signature)?;
        facts.set_item("is_final_try", request.is_final_try)?;
        let request = REQUEST.get(py)?.call_out((), Some(&facts))?;
        let pin = self.0.bind(py).call_out((request,), None)?;
        if let Ok(text) = pin.cast::<PyString>() {
            return Ok(Zeroizing::new(text.to_str()?.as_bytes().to_vec()));
        }
        let bytes = pin
            .cast::<PyBytes>()
            .map_err(|_| PyTypeError::new_err("a PIN callback must return str or bytes"))?;
        Ok(Zeroizing::new(bytes.as_bytes().to_vec()))
    }
}

impl AskPin for PythonPin {
    fn ask(&self, request: &PinRequest) -> Result<Zeroizing<Vec<u8>>, (String, Option<Cause>)> {
        let asked = attached(|py| {
            self.call(py, request).map_err(|error| {
                let exception = error.into_value(py);
                let kind = exception.bind(py).get_type().name();
                let kind = kind.map_or_else(
                    |_| "an exception".to_owned(),
                    |name| name.to_string_lossy().into_owned(),
                );
                (
                    format!("the PIN callback raised {kind}"),
                    Some(cause(py, exception.bind(py))),
                )
            })
        });
        asked.unwrap_or_else(|| Err((ENDING.to_owned(), None)))
    }
}

fn parsed(py: Python<'_>, uri: &[u8]) -> PyResult<Uri> {
    let uri = Uri::parse(uri).map_err(|error| raised(py, &error))?;
    for name in &uri.ignored {
        let message =
            format!("pkcs11: URI: the query attribute {name:?} is unknown and has no effect");
        let category = py.get_type::<PyUserWarning>();
        import(py, "warnings")?.method_out("warn", (message, category, 2))?;
    }
    Ok(uri)
}

fn callback(pin: Option<Py<PyAny>>) -> Option<Arc<PythonPin>> {
    pin.map(|callable| Arc::new(PythonPin(callable)))
}

fn asker(pin: Option<&Arc<PythonPin>>) -> Option<Arc<dyn AskPin>> {
    pin.map(|pin| Arc::clone(pin) as Arc<dyn AskPin>)
}

/// A private key in a token, as a `polytls.Signer`.
#[pyclass(frozen, name = "TokenKey", module = "polytls._native")]
pub(crate) struct Key {
    key: Arc<TokenKey>,
    pin: Option<Arc<PythonPin>>,
    uri: String,
}

impl Key {
    /// The key itself, for an engine: signing with it needs no Python.
    pub(crate) fn shared(&self, callbacks: &mut Callbacks) -> Arc<dyn Signer> {
        if let Some(pin) = &self.pin {
            callbacks.share(Arc::clone(pin) as Arc<dyn Callback>);
        }
        Arc::clone(&self.key) as Arc<dyn Signer>
    }
}

#[pymethods]
impl Key {
    /// Finds the key, and signs once. `certificate`: what it is for, PEM or DER.
    #[new]
    #[pyo3(signature = (uri, *, pin=None, certificate=None))]
    fn new(
        py: Python<'_>,
        uri: &[u8],
        pin: Option<Py<PyAny>>,
        certificate: Option<&[u8]>,
    ) -> PyResult<Self> {
        let uri = parsed(py, uri)?;
        let pin = callback(pin);
        let leaf = certificate.and_then(|data| pem::certificates(data).ok()?.into_iter().next());
        let shown = uri.to_string();
        let asker = asker(pin.as_ref());
        let key = py.detach(|| TokenKey::open(uri, asker, leaf.as_deref()));
        let key = key.map_err(|error| raised(py, &error))?;
        Ok(Self {
            key,
            pin,
            uri: shown,
        })
    }

    #[getter]
    fn uri(&self) -> &str {
        &self.uri
    }

    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.key.public_key())
    }

    #[getter]
    fn algorithms<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let schemes = SCHEMES.get(py)?;
        let numbers = self.key.schemes().iter();
        numbers
            .map(|number| schemes.call_out((*number,), None))
            .collect()
    }

    fn sign<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        algorithm: u16,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let data = data.to_vec();
        let signed = py.detach(|| self.key.signature(&data, algorithm));
        Ok(PyBytes::new(
            py,
            &signed.map_err(|error| raised(py, &error))?,
        ))
    }

    fn __repr__(&self) -> String {
        format!("<TokenKey {}>", self.uri)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.pin
            .as_ref()
            .map_or(Ok(()), |pin| visit.call(pin.callable()))
    }
}

/// The key that an id names, for the certificate `leaf` in DER. Raises TokenError.
pub(crate) fn open(py: Python<'_>, id: &[u8], leaf: Option<&[u8]>) -> PyResult<Arc<dyn Signer>> {
    let uri = parsed(py, id)?;
    let key = py.detach(|| TokenKey::open(uri, None, leaf));
    Ok(key.map_err(|error| raised(py, &error))? as Arc<dyn Signer>)
}

/// The certificate that an id names and its issuers, as far as the token has them. Raises TokenError.
pub(crate) fn chain(
    py: Python<'_>,
    id: &[u8],
    pin: Option<Py<PyAny>>,
) -> PyResult<Vec<CertificateDer<'static>>> {
    let uri = parsed(py, id)?;
    let pin = asker(callback(pin).as_ref());
    let chain = py.detach(|| certificates(&uri, pin));
    let chain = chain.map_err(|error| raised(py, &error))?;
    Ok(chain.into_iter().map(CertificateDer::from).collect())
}

pub(crate) fn is_token_error(py: Python<'_>, error: &PyErr) -> bool {
    TOKEN_ERROR
        .get(py)
        .is_ok_and(|class| error.is_instance(py, class))
}

/// Like [`chain`], in DER.
#[pyfunction]
#[pyo3(signature = (uri, *, pin=None))]
pub(crate) fn token_certificates<'py>(
    py: Python<'py>,
    uri: &[u8],
    pin: Option<Py<PyAny>>,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let chain = chain(py, uri, pin)?;
    Ok(chain.iter().map(|der| PyBytes::new(py, der)).collect())
}

/// The tokens of a module: the URI of each, whether it needs a PIN, and the URIs of what is in it.
#[pyfunction]
#[pyo3(signature = (module=None, *, pin=None))]
pub(crate) fn token_listing(
    py: Python<'_>,
    module: Option<PathBuf>,
    pin: Option<Py<PyAny>>,
) -> PyResult<Vec<(String, bool, Vec<String>)>> {
    let pin = asker(callback(pin).as_ref());
    let listed = py.detach(|| list(module.as_deref(), pin.as_ref()));
    let listed = listed.map_err(|error| raised(py, &error))?;
    let shown = |listing: &TokenListing| {
        let objects = listing.objects.iter().map(Uri::with_module).collect();
        (listing.uri.with_module(), listing.needs_pin, objects)
    };
    Ok(listed.iter().map(shown).collect())
}
