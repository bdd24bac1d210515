//! The one mapping from the core's errors to the exceptions of `polytls.errors`.

use polytls_core::{Alert, Error};
use pyo3::exceptions::{PyBaseException, PyException, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::callbacks::interruption;
use crate::calls::CallsOut as _;
use crate::foreign::Raised;
use crate::imported::Imported;
use crate::info;

macro_rules! exceptions {
    ($($name:ident),+ $(,)?) => {
        $(#[allow(non_upper_case_globals, reason = "the names are Python's")]
        pub(crate) static $name: Imported = Imported::new("polytls.errors", stringify!($name));)+
    };
}

exceptions!(
    AlertReceived,
    CertificateVerificationError,
    ConfigurationError,
    ECHRejected,
    NotTLSError,
    PeerIncompatible,
    PeerMisbehaved,
    PeerRejectedCertificate,
    RaggedEOF,
    TLSError,
    VerificationFailure,
    WantReadError,
    WantWriteError,
);

static RESPONSIBLE: Imported = Imported::new("polytls.errors", "Responsible");
static ALERTS: Imported = Imported::new("polytls.constants", "AlertDescription");

/// The exception for `error`, raised on behalf of `implementation`.
pub(crate) fn raised(py: Python<'_>, implementation: &str, error: &Error) -> PyErr {
    exception(py, implementation, error).unwrap_or_else(|failed| failed)
}

fn exception(py: Python<'_>, implementation: &str, error: &Error) -> PyResult<PyErr> {
    if let Error::NotResumable { failure, .. } = error {
        // A wrong value, which belongs to one connection: nothing has gone wrong in TLS.
        let made = PyValueError::new_err(error.to_string());
        if let Some(failure) = failure {
            let verdict = raised(py, implementation, &Error::Certificate(failure.clone()));
            if !verdict.is_instance_of::<PyException>(py) {
                return Ok(verdict); // Of the caller's verifier: Ctrl-C, say.
            }
            made.set_cause(py, Some(verdict));
        }
        return Ok(made);
    }
    if let Some(raised) = foreign(error)
        && let Some(raised) = raised.exception(py)
    {
        return Ok(raised);
    }
    if *error == Error::TimedOut {
        return Ok(PyTimeoutError::new_err(error.to_string()));
    }
    let facts = PyDict::new(py);
    let class = match error {
        Error::WantRead => &WantReadError,
        Error::WantWrite => &WantWriteError,
        Error::Configuration { field, .. } => {
            facts.set_item("field", field)?;
            facts.set_item("implementation", implementation)?;
            &ConfigurationError
        }
        Error::Certificate(failure) => {
            let reason = VerificationFailure
                .get(py)?
                .attribute(failure.reason.name())?;
            facts.set_item("reason", reason)?;
            facts.set_item("hostname", &failure.hostname)?;
            facts.set_item("chain", info::chain(py, &failure.chain)?)?;
            facts.set_item("index", failure.index)?;
            facts.set_item("names", PyTuple::new(py, &failure.names)?)?;
            if let Some((not_before, not_after)) = failure.validity {
                facts.set_item("not_before", info::moment(py, not_before)?)?;
                facts.set_item("not_after", info::moment(py, not_after)?)?;
            }
            facts.set_item("trust_source", &failure.trust_source)?;
            let response = failure.ocsp_response.as_ref();
            facts.set_item("ocsp_response", response.map(|der| PyBytes::new(py, der)))?;
            facts.set_item(
                "responsible",
                RESPONSIBLE.get(py)?.attribute(failure.responsible.name())?,
            )?;
            facts.set_item("explanation", &failure.explanation)?;
            &CertificateVerificationError
        }
        Error::PeerMisbehaved(_) => &PeerMisbehaved,
        Error::NotTls(_) => &NotTLSError,
        Error::PeerIncompatible(_) => &PeerIncompatible,
        Error::AlertReceived(Alert(number)) => {
            // An unassigned number stays one.
            let alert = ALERTS.get(py)?.call_out((*number,), None);
            let alert = alert.or_else(|_| number.into_pyobject(py).map(Bound::into_any))?;
            facts.set_item("alert", alert)?;
            if Alert(*number).rejects_certificate() {
                &PeerRejectedCertificate
            } else {
                &AlertReceived
            }
        }
        Error::EchRejected {
            public_name,
            retry_configs,
        } => {
            facts.set_item("public_name", public_name)?;
            let list = retry_configs.as_ref().map(|list| PyBytes::new(py, list));
            facts.set_item("retry_configs", list)?;
            &ECHRejected
        }
        Error::RaggedEof { during_handshake } => {
            facts.set_item("during_handshake", during_handshake)?;
            &RaggedEOF
        }
        // Misuse, our own faults, and whatever the core learns to say before this file does.
        _ => &TLSError,
    };
    let message = match error {
        Error::Configuration { .. } => format!("{implementation}: {error}"),
        other => other.to_string(),
    };
    let made = PyErr::from_value(class.get(py)?.call_out((message,), Some(&facts))?);
    if let Some(exception) = cause(error) {
        if let Some(interruption) = interruption(py, exception) {
            return Ok(interruption);
        }
        made.set_cause(
            py,
            Some(PyErr::from_value(exception.bind(py).clone().into_any())),
        );
    }
    Ok(made)
}

/// What a callback raised, where that is behind `error`.
///
/// A connection that keeps such an error keeps the exception, and with its traceback the frames that
/// called it: the class that has the connection shows it to the garbage collector.
pub(crate) fn cause(error: &Error) -> Option<&Py<PyBaseException>> {
    error.cause()?.0.downcast_ref()
}

/// What somebody else's implementation has raised, where that is the error. Its buffer shows it to the garbage
/// collector.
fn foreign(error: &Error) -> Option<&Raised> {
    error.cause()?.0.downcast_ref()
}

/// Whether it is a WantReadError.
pub(crate) fn is_want_read(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    Ok(error.is_instance(py, WantReadError.get(py)?))
}

/// Whether it is a WantWriteError.
pub(crate) fn is_want_write(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    Ok(error.is_instance(py, WantWriteError.get(py)?))
}

/// Whether it is a TLSError and nothing more: that of a call at the wrong time.
pub(crate) fn is_misuse(py: Python<'_>, error: &PyErr) -> bool {
    TLSError
        .get(py)
        .is_ok_and(|class| error.get_type(py).is(class))
}

/// A ConfigurationError that names `field`.
pub(crate) fn misconfigured(
    py: Python<'_>,
    implementation: &str,
    field: &'static str,
    message: impl Into<String>,
) -> PyErr {
    raised(py, implementation, &Error::configuration(field, message))
}

/// What a call in a child process gets, for what its parent made.
pub(crate) const INHERITED: Error = Error::Misuse(
    "this connection or listener was inherited through fork(), and belongs to the process that \
     created it: close it here, and connect or accept again in this process; a listener created \
     before the fork can be used if accept was not called on it before the fork",
);

/// What a call gets when an earlier one panicked while it held the lock.
pub(crate) fn poisoned(py: Python<'_>, implementation: &str) -> PyErr {
    let error = Error::Internal("an earlier call on this connection panicked".to_owned());
    raised(py, implementation, &error)
}
