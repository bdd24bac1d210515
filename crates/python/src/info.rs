//! What a handshake agreed on, in the types of `polytls.constants` and `polytls.info`.

use polytls_core::config::{ClientAuthentication, Version};
use polytls_core::ech::Status;
use polytls_core::{Connection, Error, Facts, Staple, Stapled};
use pyo3::PyTypeInfo;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyTuple, PyTzInfo};

use crate::calls::CallsOut as _;
use crate::foreign::ForeignBuffer;
use crate::imported::Imported;

static CIPHERS: Imported = Imported::new("polytls.constants", "CipherSuite");
static GROUPS: Imported = Imported::new("polytls.constants", "NamedGroup");
static SCHEMES: Imported = Imported::new("polytls.constants", "SignatureScheme");
static COMPRESSION: Imported =
    Imported::new("polytls.constants", "CertificateCompressionAlgorithm");
static PROTOCOLS: Imported = Imported::new("polytls.constants", "NextProtocol");
static VERSIONS: Imported = Imported::new("polytls.constants", "TLSVersion");
static AUTHENTICATION: Imported = Imported::new("polytls.constants", "ClientAuthentication");
static ECH: Imported = Imported::new("polytls.constants", "ECHStatus");
static INFO: Imported = Imported::new("polytls.info", "ConnectionInfo");
static CERTIFICATE: Imported = Imported::new("polytls.info", "CertificateInfo");
static STAPLE: Imported = Imported::new("polytls.info", "Staple");
static DATETIME: Imported = Imported::new("datetime", "datetime");

/// The member of an enumeration for `value`, or `value` itself where there is none.
pub(crate) fn known<'py>(kind: &Imported, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    match kind.get(py)?.call_out((&value,), None) {
        Ok(member) => Ok(member),
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyValueError>(py) => Ok(value),
        Err(error) => Err(error),
    }
}

pub(crate) fn suite(py: Python<'_>, number: u16) -> PyResult<Bound<'_, PyAny>> {
    known(&CIPHERS, number.into_pyobject(py)?.into_any())
}

pub(crate) fn group(py: Python<'_>, number: u16) -> PyResult<Bound<'_, PyAny>> {
    known(&GROUPS, number.into_pyobject(py)?.into_any())
}

fn scheme(py: Python<'_>, number: u16) -> PyResult<Bound<'_, PyAny>> {
    known(&SCHEMES, number.into_pyobject(py)?.into_any())
}

pub(crate) fn schemes<'py>(py: Python<'py>, numbers: &[u16]) -> PyResult<Bound<'py, PyTuple>> {
    let schemes: Vec<_> = numbers
        .iter()
        .map(|number| scheme(py, *number))
        .collect::<PyResult<_>>()?;
    PyTuple::new(py, schemes)
}

pub(crate) fn suites<'py>(py: Python<'py>, numbers: &[u16]) -> PyResult<Bound<'py, PyTuple>> {
    let suites: Vec<_> = numbers
        .iter()
        .map(|number| suite(py, *number))
        .collect::<PyResult<_>>()?;
    PyTuple::new(py, suites)
}

pub(crate) fn groups<'py>(py: Python<'py>, numbers: &[u16]) -> PyResult<Bound<'py, PyTuple>> {
    let groups: Vec<_> = numbers
        .iter()
        .map(|number| group(py, *number))
        .collect::<PyResult<_>>()?;
    PyTuple::new(py, groups)
}

pub(crate) fn tls_version(py: Python<'_>, version: Version) -> PyResult<Bound<'_, PyAny>> {
    VERSIONS.get(py)?.attribute(match version {
        Version::Tls12 => "TLSv1_2",
        Version::Tls13 => "TLSv1_3",
    })
}

pub(crate) fn client_authentication(
    py: Python<'_>,
    asked: ClientAuthentication,
) -> PyResult<Bound<'_, PyAny>> {
    AUTHENTICATION.get(py)?.attribute(asked.name())
}

/// Certificates as a tuple of DER.
pub(crate) fn chain<'py>(py: Python<'py>, chain: &[Vec<u8>]) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, chain.iter().map(|der| PyBytes::new(py, der)))
}

/// An aware `datetime` in UTC.
pub(crate) fn moment(py: Python<'_>, seconds: i64) -> PyResult<Bound<'_, PyAny>> {
    let utc = PyTzInfo::utc(py)?;
    DATETIME
        .get(py)?
        .method_out("fromtimestamp", (seconds, utc))
}

/// A `CertificateInfo`; None for what cannot be read.
pub(crate) fn certificate<'py>(py: Python<'py>, der: &[u8]) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Ok(summary) = polytls_x509::summarize(der) else {
        return Ok(None);
    };
    let fields = PyDict::new(py);
    let addresses: Vec<String> = summary
        .ip_addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    fields.set_item("der", PyBytes::new(py, der))?;
    fields.set_item("subject", summary.subject)?;
    fields.set_item("issuer", summary.issuer)?;
    fields.set_item("common_name", summary.common_name)?;
    fields.set_item("dns_names", PyTuple::new(py, summary.dns_names)?)?;
    fields.set_item("ip_addresses", PyTuple::new(py, addresses)?)?;
    fields.set_item(
        "email_addresses",
        PyTuple::new(py, summary.email_addresses)?,
    )?;
    fields.set_item("uris", PyTuple::new(py, summary.uris)?)?;
    fields.set_item("not_before", moment(py, summary.not_before)?)?;
    fields.set_item("not_after", moment(py, summary.not_after)?)?;
    let serial = PyBytes::new(py, &summary.serial_number);
    // An INTEGER, so it may be negative, as it must not be (RFC 5280 4.1.2.2).
    let signed = PyDict::new(py);
    signed.set_item("signed", true)?;
    let serial = PyInt::type_object(py)
        .attribute("from_bytes")?
        .call_out((serial, "big"), Some(&signed))?;
    fields.set_item("serial_number", serial)?;
    fields.set_item("key_type", summary.key_type)?;
    fields.set_item("key_bits", summary.key_bits)?;
    fields.set_item("is_authority", summary.is_authority)?;
    fields.set_item("spki", PyBytes::new(py, &summary.spki))?;
    CERTIFICATE.get(py)?.call_out((), Some(&fields)).map(Some)
}

/// A `Staple`.
fn staple<'py>(py: Python<'py>, staple: &Staple) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    fields.set_item("der", PyBytes::new(py, &staple.der))?;
    fields.set_item("signer", &staple.signer)?;
    fields.set_item("produced_at", moment(py, staple.produced_at)?)?;
    fields.set_item("this_update", moment(py, staple.this_update)?)?;
    let next_update = staple.next_update.map(|at| moment(py, at));
    fields.set_item("next_update", next_update.transpose()?)?;
    STAPLE.get(py)?.call_out((), Some(&fields))
}

// --- of one handshake ---

/// What is known of a connection.
#[derive(Clone, Copy)]
pub(crate) enum Known {
    /// The cipher suite.
    Cipher,
    /// The protocol version.
    Version,
    /// The application protocol.
    Protocol,
    /// The peer's certificate in DER.
    Peer,
    /// A `ConnectionInfo`; before the handshake all but the implementation is None.
    Info,
}

/// What the core has found out of a connection; nothing until the handshake is complete.
pub(crate) enum Found {
    Version(Option<Version>),
    Of(Known, Option<Facts>),
    /// Nothing was agreed on, but a handshake failed by this.
    Rejected(Status),
}

impl Found {
    /// As Python has it.
    pub(crate) fn object<'py>(
        self,
        py: Python<'py>,
        implementation: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let found = match &self {
            Self::Version(known) => version(py, *known)?,
            Self::Rejected(status) => {
                Some(connection_info(py, implementation, None, Some(*status))?)
            }
            Self::Of(known, facts) => {
                let facts = facts.as_ref();
                match known {
                    Known::Cipher => cipher(py, facts)?,
                    Known::Protocol => protocol(py, facts)?,
                    Known::Peer => peer_certificate(py, facts),
                    Known::Info => {
                        let ech = facts.and_then(|facts| facts.ech);
                        Some(connection_info(py, implementation, facts, ech)?)
                    }
                    Known::Version => None,
                }
            }
        };
        Ok(found.into_pyobject(py)?.into_any())
    }
}

impl Known {
    /// As the core has found it out.
    pub(crate) fn of(self, connection: &Connection) -> Found {
        match self {
            Self::Version => Found::Version(connection.version()),
            Self::Info if matches!(connection.failure(), Some(Error::EchRejected { .. })) => {
                Found::Rejected(Status::Rejected)
            }
            known => Found::Of(known, connection.facts()),
        }
    }

    /// The same, of what is no connection.
    pub(crate) const fn of_nothing(self) -> Found {
        Found::Of(self, None)
    }

    /// As somebody else's buffer tells it, whose lock this thread has.
    pub(crate) fn told<'py>(
        self,
        py: Python<'py>,
        buffer: &ForeignBuffer,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Cipher => buffer.ask(py, "cipher", ()),
            Self::Version => buffer.fact(py, "negotiated_tls_version"),
            Self::Protocol => buffer.ask(py, "negotiated_protocol", ()),
            Self::Peer => buffer.ask(py, "getpeercert", ()),
            Self::Info if buffer.has(py, "info")? => buffer.fact(py, "info"),
            Self::Info => {
                let fields = PyDict::new(py);
                fields.set_item("implementation", "")?;
                fields.set_item("version", Self::Version.told(py, buffer)?)?;
                fields.set_item("cipher", Self::Cipher.told(py, buffer)?)?;
                fields.set_item("alpn", Self::Protocol.told(py, buffer)?)?;
                INFO.get(py)?.call_out((), Some(&fields))
            }
        }
    }
}

/// What somebody else's buffer, whose lock this thread has, tells of a handshake that is done: the cipher suite,
/// the application protocol, whether a session was resumed, the peer's chain, the path that was verified.
#[allow(clippy::type_complexity, reason = "as Python gets it")]
pub(crate) fn told<'py>(
    py: Python<'py>,
    buffer: &ForeignBuffer,
) -> PyResult<(
    u16,
    Option<Bound<'py, PyAny>>,
    bool,
    Bound<'py, PyAny>,
    Option<Bound<'py, PyAny>>,
)> {
    let info = Known::Info.told(py, buffer)?;
    let cipher: Option<u16> = Known::Cipher.told(py, buffer)?.extract()?;
    let protocol = Known::Protocol.told(py, buffer)?;
    let protocol = if protocol.is_none() {
        None
    } else if protocol.is_instance_of::<PyBytes>() {
        Some(protocol)
    } else {
        Some(protocol.attribute("value")?)
    };
    let mut presented = info.attribute("peer_chain")?;
    if presented.is_none() {
        let leaf = Known::Peer.told(py, buffer)?;
        let leaf = Some(leaf).filter(|leaf| !leaf.is_none());
        presented = PyTuple::new(py, leaf)?.into_any();
    }
    let verified = info.attribute("verified_chain")?;
    Ok((
        cipher.unwrap_or_default(),
        protocol,
        info.attribute("resumed")?.is_truthy()?,
        presented,
        Some(verified).filter(|verified| !verified.is_none()),
    ))
}

fn peer_certificate<'py>(py: Python<'py>, facts: Option<&Facts>) -> Option<Bound<'py, PyAny>> {
    let der = facts?.peer_chain.first()?;
    Some(PyBytes::new(py, der).into_any())
}

fn cipher<'py>(py: Python<'py>, facts: Option<&Facts>) -> PyResult<Option<Bound<'py, PyAny>>> {
    facts.map(|facts| suite(py, facts.cipher)).transpose()
}

fn version<'py>(py: Python<'py>, version: Option<Version>) -> PyResult<Option<Bound<'py, PyAny>>> {
    version.map(|version| tls_version(py, version)).transpose()
}

fn protocol<'py>(py: Python<'py>, facts: Option<&Facts>) -> PyResult<Option<Bound<'py, PyAny>>> {
    facts
        .and_then(|facts| facts.alpn.as_ref())
        .map(|name| known(&PROTOCOLS, PyBytes::new(py, name).into_any()))
        .transpose()
}

/// A `ConnectionInfo`; without `facts` all but the implementation and `ech` is None.
pub(crate) fn connection_info<'py>(
    py: Python<'py>,
    implementation: &str,
    facts: Option<&Facts>,
    ech: Option<Status>,
) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    fields.set_item("implementation", implementation)?;
    let agreed = facts.and_then(|facts| Version::of_wire(facts.version));
    fields.set_item("version", version(py, agreed)?)?;
    fields.set_item("cipher", cipher(py, facts)?)?;
    let number = facts.and_then(|facts| facts.group);
    fields.set_item("group", number.map(|number| group(py, number)).transpose()?)?;
    fields.set_item("alpn", protocol(py, facts)?)?;
    fields.set_item(
        "server_name",
        facts.and_then(|facts| facts.server_name.as_ref()),
    )?;
    fields.set_item("resumed", facts.map(|facts| facts.resumed))?;
    fields.set_item("early_data", facts.and_then(|facts| facts.early_data))?;
    let course = facts.and_then(|facts| facts.handshake);
    if let Some(course) = course {
        if let Some(offered) = course.offered {
            fields.set_item("early_data_offered", offered.early_data)?;
            let compression = offered.certificate_compression;
            fields.set_item("certificate_compression_offered", compression)?;
            fields.set_item("ech_offered", offered.ech)?;
        }
        fields.set_item("hello_retry_request", course.retried)?;
        for (name, kind, number) in [
            ("server_signature_scheme", &SCHEMES, course.server_scheme),
            ("client_signature_scheme", &SCHEMES, course.client_scheme),
            (
                "server_certificate_compression",
                &COMPRESSION,
                course.server_compression,
            ),
            (
                "client_certificate_compression",
                &COMPRESSION,
                course.client_compression,
            ),
        ] {
            let member = number.map(|number| known(kind, number.into_pyobject(py)?.into_any()));
            fields.set_item(name, member.transpose()?)?;
        }
        fields.set_item("handshake_bytes_sent", course.sent)?;
        fields.set_item("handshake_bytes_received", course.received)?;
        fields.set_item("handshake_round_trips", course.round_trips)?;
    }
    let ech = ech.map(|status| ECH.get(py)?.attribute(status.name()));
    fields.set_item("ech", ech.transpose()?)?;
    let presented = facts.filter(|facts| !facts.peer_chain.is_empty());
    let peer = presented.map(|facts| certificate(py, &facts.peer_chain[0]));
    fields.set_item("peer", peer.transpose()?.flatten())?;
    let presented = presented.map(|facts| chain(py, &facts.peer_chain));
    fields.set_item("peer_chain", presented.transpose()?)?;
    let verified = facts.and_then(|facts| facts.verified_chain.as_deref());
    let verified = verified.map(|verified| chain(py, verified));
    fields.set_item("verified_chain", verified.transpose()?)?;
    let stapled = facts.and_then(|facts| facts.staple.as_deref());
    let verified = stapled.and_then(Stapled::verified);
    let verified = verified.map(|verified| staple(py, verified));
    fields.set_item("staple", verified.transpose()?)?;
    let response = stapled.map(|stapled| PyBytes::new(py, stapled.der()));
    fields.set_item("ocsp_response", response)?;
    INFO.get(py)?.call_out((), Some(&fields))
}
