//! What a configuration of `polytls.configuration` asks for, as the core judges it.

use polytls_core::capabilities::{
    Bound as VersionBound, ChainRequirements, Origin, Requirements, SideRequirements, Source,
    TrustRequirements,
};
use polytls_core::config::{ClientAuthentication, Version};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::calls::CallsOut as _;
use crate::errors::misconfigured;
use crate::imported::Imported;

static CLIENT: Imported = Imported::new("polytls.configuration", "TLSClientConfiguration");
static SERVER: Imported = Imported::new("polytls.configuration", "TLSServerConfiguration");
static VERSIONS: Imported = Imported::new("polytls.constants", "TLSVersion");
static AUTHENTICATION: Imported = Imported::new("polytls.constants", "ClientAuthentication");
static PROTOCOLS: Imported = Imported::new("polytls.constants", "NextProtocol");

/// What `configuration` asks for; `verifies`: whether the peer's certificate is verified at all.
///
/// Raises TypeError for what is no configuration, ConfigurationError for numbers out of range.
pub(crate) fn of(
    configuration: &Bound<'_, PyAny>,
    implementation: &str,
    verifies: bool,
) -> PyResult<Requirements> {
    let is_server = is_server(configuration)?;
    let field = |name: &str| configuration.attribute(name);
    let is_given = |name: &str| field(name).map(|value| !value.is_none());
    let numbers = |name| numbers(configuration, implementation, name);
    let sessions = field("sessions")?;
    Ok(Requirements {
        lowest_supported_version: optional_bound(&field("lowest_supported_version")?)?,
        highest_supported_version: optional_bound(&field("highest_supported_version")?)?,
        ciphers: numbers("ciphers")?,
        groups: numbers("groups")?,
        inner_protocols: protocols(configuration)?,
        sessions: given(&sessions)
            .map(|sessions| sessions.attribute("capacity").map(|it| saturated(&it)))
            .transpose()?,
        key_log: is_given("key_log")?,
        on_event: is_given("on_event")?,
        peer_verifier: is_given("peer_verifier")?,
        early_data: field("early_data")?.extract()?,
        certificate_compression: field("certificate_compression")?.extract()?,
        max_fragment: given(&field("max_fragment")?).map(saturated),
        clock: is_given("clock")?,
        signature_schemes: numbers("signature_schemes")?,
        certificate_authorities: given(&field("certificate_authorities")?)
            .map(origins)
            .transpose()?,
        trust_store: given(&field("trust_store")?).map(trust).transpose()?,
        verifies,
        side: if is_server {
            SideRequirements::Server {
                certificate_chain: given(&field("certificate_chain")?)
                    .map(chains)
                    .transpose()?
                    .unwrap_or_default(),
                client_authentication: given(&field("client_authentication")?)
                    .map(client_authentication)
                    .transpose()?,
                ticket_keys: is_given("ticket_keys")?,
                ech_keys: !items(&field("ech_keys")?)?.is_empty(),
            }
        } else {
            SideRequirements::Client {
                certificate_chain: given(&field("certificate_chain")?).map(chain).transpose()?,
                alternative_chains: chains(&field("alternative_chains")?)?,
                ech_grease: is_given("ech")?,
                require_staple: field("require_staple")?.extract()?,
            }
        },
    })
}

/// Whether a configuration is a server's.
///
/// Raises TypeError for what is none.
pub(crate) fn is_server(configuration: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = configuration.py();
    if configuration.is_instance(CLIENT.get(py)?)? {
        return Ok(false);
    }
    if configuration.is_instance(SERVER.get(py)?)? {
        return Ok(true);
    }
    Err(PyTypeError::new_err(format!(
        "configuration must be TLSClientConfiguration or TLSServerConfiguration, not {}",
        configuration.get_type().name()?
    )))
}

/// A value unless it is None.
pub(crate) fn given<'a, 'py>(value: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyAny>> {
    (!value.is_none()).then_some(value)
}

/// The items of a tuple.
pub(crate) fn items<'py>(tuple: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    tuple.extract()
}

/// The member of `TLSVersion`; `None`: it is none.
pub(crate) fn bound(value: &Bound<'_, PyAny>) -> PyResult<Option<VersionBound>> {
    let members = [
        ("MINIMUM_SUPPORTED", VersionBound::Minimum),
        ("TLSv1_2", VersionBound::Exactly(Version::Tls12)),
        ("TLSv1_3", VersionBound::Exactly(Version::Tls13)),
        ("MAXIMUM_SUPPORTED", VersionBound::Maximum),
    ];
    member(&VERSIONS, &members, value)
}

fn optional_bound(value: &Bound<'_, PyAny>) -> PyResult<Option<VersionBound>> {
    given(value).map_or(Ok(None), bound)
}

fn client_authentication(value: &Bound<'_, PyAny>) -> PyResult<ClientAuthentication> {
    let members = [
        ClientAuthentication::None,
        ClientAuthentication::Optional,
        ClientAuthentication::Required,
    ]
    .map(|member| (member.name(), member));
    member(&AUTHENTICATION, &members, value)?
        .ok_or_else(|| PyValueError::new_err("client_authentication: unknown member"))
}

/// What is in `members` for the member of an enumeration.
fn member<T: Copy>(
    kind: &Imported,
    members: &[(&str, T)],
    value: &Bound<'_, PyAny>,
) -> PyResult<Option<T>> {
    for (name, member) in members {
        if value.is(&kind.get(value.py())?.attribute(name)?) {
            return Ok(Some(*member));
        }
    }
    Ok(None)
}

/// The numbers of suites or groups.
fn numbers(
    configuration: &Bound<'_, PyAny>,
    implementation: &str,
    field: &'static str,
) -> PyResult<Option<Vec<u16>>> {
    let value = configuration.attribute(field)?;
    let Some(value) = given(&value) else {
        return Ok(None);
    };
    let numbers = items(value)?.into_iter().map(|number| {
        number.extract().or_else(|_| {
            let message = format!("{} is not a 16-bit number (0 to 65535)", number.text()?);
            Err(misconfigured(number.py(), implementation, field, message))
        })
    });
    numbers.collect::<PyResult<_>>().map(Some)
}

/// The names of application protocols.
fn protocols(configuration: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<u8>>> {
    let kind = PROTOCOLS.get(configuration.py())?;
    let names = items(&configuration.attribute("inner_protocols")?)?;
    let names = names.into_iter().map(|name| {
        let name = if name.is_instance(kind)? {
            name.attribute("value")?
        } else {
            name
        };
        name.extract()
    });
    names.collect()
}

fn saturated(number: &Bound<'_, PyAny>) -> i64 {
    let below = number.lt(0).unwrap_or_default();
    let end = if below { i64::MIN } else { i64::MAX };
    number.extract().unwrap_or(end)
}

fn chains(value: &Bound<'_, PyAny>) -> PyResult<Vec<ChainRequirements>> {
    items(value)?.iter().map(chain).collect()
}

fn chain(signing: &Bound<'_, PyAny>) -> PyResult<ChainRequirements> {
    let (leaf, key): (Bound<'_, PyAny>, Bound<'_, PyAny>) = signing.attribute("leaf")?.extract()?;
    let mut certificates = vec![origin(&leaf)?];
    certificates.extend(origins(&signing.attribute("chain")?)?);
    Ok(ChainRequirements {
        certificates,
        key: given(&key).map(origin).transpose()?,
        ocsp_response: given(&signing.attribute("ocsp_response")?)
            .map(origin)
            .transpose()?,
    })
}

fn trust(store: &Bound<'_, PyAny>) -> PyResult<TrustRequirements> {
    let pins = store.attribute("pins")?;
    let pinned = given(&pins).map(|pins| origins(&pins.attribute("certificates")?));
    Ok(TrustRequirements {
        store: origin(store)?,
        extra: origins(&store.attribute("extra")?)?,
        peers: origins(&store.attribute("peers")?)?,
        pinned: pinned.transpose()?.unwrap_or_default(),
        crls: origins(&store.attribute("crls")?)?,
    })
}

fn origins(sources: &Bound<'_, PyAny>) -> PyResult<Vec<Origin>> {
    items(sources)?.iter().map(origin).collect()
}

fn origin(item: &Bound<'_, PyAny>) -> PyResult<Origin> {
    let name: String = item.attribute("source")?.extract()?;
    let mut sources = Source::ALL.into_iter();
    let source = sources.find(|source| source.name() == name);
    let empty = |name: &str| -> PyResult<bool> {
        let value = item.attribute(name)?;
        match given(&value) {
            None => Ok(false),
            Some(value) => Ok(value.len()? == 0),
        }
    };
    Ok(Origin {
        source: source.ok_or_else(|| PyValueError::new_err(format!("no such source: {name}")))?,
        is_empty: empty("buffer")? || empty("id")? || empty("path")?,
    })
}
