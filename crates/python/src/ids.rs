//! Keys and certificates by id. A `pkcs11:` URI names what is in a token, and polytls itself opens that, whatever
//! the library (`tokens`). All other ids are the library's.

use polytls_core::config::Key;
use polytls_core::pki_types::CertificateDer;
use polytls_core::{Backend, IdFailure, IdReason};
use polytls_pkcs11::Uri;
use pyo3::prelude::*;

use crate::calls::CallsOut as _;
use crate::errors::misconfigured;
use crate::requirements::{given, items};
use crate::tokens;

/// The name of the member of `TokenFailure`.
const fn failure(reason: IdReason) -> &'static str {
    match reason {
        IdReason::Invalid => "INVALID_URI",
        IdReason::NoProvider => "NO_MODULE",
        IdReason::NotFound => "NOT_FOUND",
        IdReason::Several => "AMBIGUOUS",
        IdReason::NoPin => "NO_PIN",
        IdReason::WrongPin => "WRONG_PIN",
        IdReason::PinLocked => "PIN_LOCKED",
        IdReason::Unusable => "UNUSABLE",
        IdReason::Failed => "FAILED",
    }
}

fn raised(py: Python<'_>, error: IdFailure) -> PyErr {
    tokens::token_error(py, failure(error.reason), error.message).unwrap_or_else(|failed| failed)
}

/// Asks the library, detached: it may take its time.
fn asked<T: Send>(
    py: Python<'_>,
    backend: Option<&dyn Backend>,
    ask: impl Fn(&dyn Backend) -> Result<T, IdFailure> + Sync,
) -> PyResult<T> {
    let found = py.detach(|| backend.map_or_else(|| Err(IdFailure::none_here()), &ask));
    found.map_err(|error| raised(py, error))
}

/// The key that an id names, for the certificate `leaf` in DER. Raises TokenError.
pub(crate) fn key(
    py: Python<'_>,
    backend: Option<&dyn Backend>,
    id: &[u8],
    leaf: Option<&[u8]>,
) -> PyResult<Key> {
    if Uri::is_one(id) {
        return tokens::open(py, id, leaf).map(Key::Signer);
    }
    asked(py, backend, |backend| backend.private_key(id, leaf))
}

/// The certificates that an id names, the leaf first. Raises TokenError.
pub(crate) fn certificates(
    py: Python<'_>,
    backend: Option<&dyn Backend>,
    id: &[u8],
) -> PyResult<Vec<CertificateDer<'static>>> {
    if Uri::is_one(id) {
        return tokens::chain(py, id, None);
    }
    asked(py, backend, |backend| backend.certificates(id))
}

/// Refuses ids in a configuration that name nothing, with nothing opened. Raises ConfigurationError.
pub(crate) fn check(configuration: &Bound<'_, PyAny>, backend: &dyn Backend) -> PyResult<()> {
    let chains = configuration.attribute("certificate_chain")?;
    let chains = match given(&chains) {
        None => Vec::new(),
        Some(first) if first.hasattr("leaf")? => {
            let mut chains = vec![first.clone()];
            chains.extend(items(&configuration.attribute("alternative_chains")?)?);
            chains
        }
        Some(chains) => items(chains)?,
    };
    let mut sources = Vec::new();
    for chain in chains {
        let (leaf, key): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
            chain.attribute("leaf")?.extract()?;
        sources.extend([leaf, key]);
        sources.extend(items(&chain.attribute("chain")?)?);
    }
    check_sources(&sources, backend, "certificate_chain")?;
    let store = configuration.attribute("trust_store")?;
    let Some(store) = given(&store) else {
        return Ok(());
    };
    let mut trusted = items(&store.attribute("extra")?)?;
    trusted.extend(items(&store.attribute("peers")?)?);
    let pins = store.attribute("pins")?;
    if let Some(pins) = given(&pins) {
        trusted.extend(items(&pins.attribute("certificates")?)?);
    }
    check_sources(&trusted, backend, "trust_store")
}

fn check_sources(
    sources: &[Bound<'_, PyAny>],
    backend: &dyn Backend,
    field: &'static str,
) -> PyResult<()> {
    for source in sources.iter().filter_map(given) {
        let id: Option<Vec<u8>> = source.attribute("id")?.extract()?;
        let Some(id) = id else { continue };
        let py = source.py();
        let wrong = if Uri::is_one(&id) {
            Uri::parse(&id)
                .err()
                .map(|error| tokens::raised(py, &error))
        } else {
            backend.check_id(&id).err().map(|error| raised(py, error))
        };
        if let Some(wrong) = wrong {
            let refused = misconfigured(py, backend.id(), field, wrong.value(py).to_string());
            refused.set_cause(py, Some(wrong));
            return Err(refused);
        }
    }
    Ok(())
}
