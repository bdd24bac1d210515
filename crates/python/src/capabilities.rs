//! What a TLS library can do, as a record that implementations in Python fill too, and the one judge of
//! whether a configuration asks for more.

use std::collections::BTreeSet;

use polytls_core::capabilities::{self as core, ChannelBinding, CipherChoice, Source};
use polytls_core::config::{ClientAuthentication, Version};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyTuple};

use crate::calls::CallsOut as _;
use crate::errors::raised;
use crate::{info, requirements};

/// A field of the record, in Python's types.
trait Field: Sized {
    /// Raises TypeError and ValueError, naming the field.
    fn read(name: &str, given: &Bound<'_, PyAny>) -> PyResult<Self>;

    fn show<'py>(&self, name: &str, py: Python<'py>) -> PyResult<Bound<'py, PyAny>>;
}

fn wrong_type(name: &str, kind: &str, given: &Bound<'_, PyAny>) -> PyErr {
    let got = given.get_type().name().map(|name| name.to_string());
    PyTypeError::new_err(format!(
        "{name} must be {kind}, not {}",
        got.unwrap_or_default()
    ))
}

impl Field for bool {
    fn read(name: &str, given: &Bound<'_, PyAny>) -> PyResult<Self> {
        given.extract().map_err(|_| wrong_type(name, "bool", given))
    }

    fn show<'py>(&self, _: &str, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.into_pyobject(py)?.to_owned().into_any())
    }
}

/// What a set of strings holds of `all`; `kind`: what they are.
fn members<T: Copy + Ord>(
    name: &str,
    given: &Bound<'_, PyAny>,
    all: &[(&'static str, T)],
    kind: &str,
) -> PyResult<BTreeSet<T>> {
    let given: BTreeSet<String> = given
        .extract()
        .map_err(|_| wrong_type(name, "a set of str", given))?;
    let known = |text: &str| all.iter().find(|(name, _)| *name == text);
    let unknown: Vec<&str> = given
        .iter()
        .map(String::as_str)
        .filter(|text| known(text).is_none())
        .collect();
    if !unknown.is_empty() {
        return Err(PyValueError::new_err(format!(
            "{name}: unknown {kind}: {}",
            unknown.join(", ")
        )));
    }
    let found = given.iter().filter_map(|text| known(text));
    Ok(found.map(|(_, member)| *member).collect())
}

impl Field for BTreeSet<Source> {
    fn read(name: &str, given: &Bound<'_, PyAny>) -> PyResult<Self> {
        let elsewhere = |source: &Source| match source {
            Source::Buffer | Source::File | Source::Id => false,
            Source::Pins | Source::System => name != "trust_sources",
            Source::Signer => name != "key_sources",
        };
        let all: Vec<_> = Source::ALL
            .iter()
            .filter(|source| !elsewhere(source))
            .map(|source| (source.name(), *source))
            .collect();
        members(name, given, &all, "source")
    }

    fn show<'py>(&self, _: &str, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let names = self.iter().map(|source| source.name());
        Ok(PyFrozenSet::new(py, names)?.into_any())
    }
}

impl Field for BTreeSet<ChannelBinding> {
    fn read(name: &str, given: &Bound<'_, PyAny>) -> PyResult<Self> {
        let all = ChannelBinding::ALL.map(|binding| (binding.name(), binding));
        members(name, given, &all, "binding")
    }

    fn show<'py>(&self, _: &str, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let names = self.iter().map(|binding| binding.name());
        Ok(PyFrozenSet::new(py, names)?.into_any())
    }
}

impl Field for Vec<Version> {
    fn read(name: &str, given: &Bound<'_, PyAny>) -> PyResult<Self> {
        let kind = "a sequence of TLSVersion";
        let members: Vec<Bound<'_, PyAny>> =
            given.extract().map_err(|_| wrong_type(name, kind, given))?;
        let versions = members.iter().map(|member| match requirements::bound(member)? {
            Some(core::Bound::Exactly(version)) => Ok(version),
            Some(_) => Err(PyValueError::new_err(format!(
                "{name}: give versions; MINIMUM_SUPPORTED and MAXIMUM_SUPPORTED are not versions"
            ))),
            None => Err(wrong_type(name, kind, member)),
        });
        versions.collect()
    }

    fn show<'py>(&self, _: &str, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let versions: Vec<_> = self
            .iter()
            .map(|version| info::tls_version(py, *version))
            .collect::<PyResult<_>>()?;
        Ok(PyTuple::new(py, versions)?.into_any())
    }
}

impl Field for Vec<u16> {
    fn read(name: &str, given: &Bound<'_, PyAny>) -> PyResult<Self> {
        given
            .extract()
            .map_err(|_| wrong_type(name, "a sequence of 16-bit numbers", given))
    }

    fn show<'py>(&self, name: &str, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let members = match name {
            "groups" => info::groups(py, self),
            "signature_schemes" => info::schemes(py, self),
            _ => info::suites(py, self),
        };
        Ok(members?.into_any())
    }
}

const CHOICES: [(&str, CipherChoice); 3] = [
    ("exact", CipherChoice::Exact),
    ("families", CipherChoice::Families),
    ("system", CipherChoice::System),
];

impl Field for CipherChoice {
    fn read(name: &str, given: &Bound<'_, PyAny>) -> PyResult<Self> {
        let text: String = given
            .extract()
            .map_err(|_| wrong_type(name, "str", given))?;
        let mut choices = CHOICES.iter();
        let found = choices.find(|(choice, _)| *choice == text);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            PyValueError::new_err(format!(
                "{name}: unknown choice: {text}; known are exact, families and system"
            ))
        })
    }

    fn show<'py>(&self, _: &str, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut choices = CHOICES.iter();
        let found = choices.find(|(_, choice)| choice == self);
        Ok(found.map(|(name, _)| *name).into_pyobject(py)?)
    }
}

/// What an implementation can do on this machine: an immutable record, compared by value.
///
/// Where things can come from, each a set of "buffer", "file" and "id":
/// `trust_sources`: trust; "system" as well, and "pins" where pinned certificates and keys are accepted.
/// `certificate_sources`: certificates and CRLs.
/// `key_sources`: private keys; "signer" as well.
///
/// What can be negotiated:
/// `versions`: the versions, the lowest first; never the open-ended members of `TLSVersion`.
/// `cipher_suites`: the numbers of the library's cipher suites, in the order in which it prefers them.
/// `cipher_choice`: how ciphers can be chosen. "exact": any list of suites. "families": by algorithm only;
/// a list that cannot be expressed so is refused when a context is made. "system": not at all.
/// `groups`: the numbers of the library's key exchange groups, the preferred first; none if they cannot be
/// chosen.
///
/// Whether this is there:
/// `client_authentication`: servers can ask for a certificate, and clients present one.
/// `sni_selection`: a server can choose between several chains by the name asked for (RFC 6066 3).
/// `resumption`: sessions can be resumed. `sessions=None` is honoured in any case.
/// `exporter`: keying material can be exported (RFC 8446 7.5).
/// `channel_bindings`: the channel bindings there are, of "tls-exporter" and "tls-server-end-point".
/// `key_log`: secrets can be logged for debugging (the NSS key log format).
/// `crl`: certificate CRLs are honoured (RFC 5280 5).
/// `peers`: leaves can be accepted by themselves (`peers` of a `TrustStore`).
/// `ticket_keys`: servers can be given the keys of their tickets (RFC 5077).
/// `ocsp_stapling`: servers can pass on what issuers say of revocation (RFC 6066 8).
/// `staple_verification`: clients verify OCSP responses that servers staple (RFC 6066 8).
/// `client_chain_selection`: clients can choose between several chains.
/// `peer_verifier`: custom verification of the peer is possible.
/// `early_data`: early data can be sent and received (RFC 8446 2.3).
/// `named_sessions`: a connection's session can be named for another to resume (`session=`).
/// `ech`: clients can encrypt ClientHello (RFC 9849).
/// `ech_keys`: servers can be given keys to decrypt ClientHello with (RFC 9849).
/// `certificate_compression`: certificates can be compressed (RFC 8879).
/// `max_fragment`: the length of the records that are sent can be limited.
/// `clock`: certificates and sessions can be judged by a clock that a configuration gives.
/// `certificate_authorities`: the names of CAs that the peer is sent can be chosen (RFC 8446 4.2.4), and a
/// server chooses its chain by those that a client sends.
/// `events`: what happens on its connections can be traced (`on_event`).
/// `signature_schemes`: the numbers of the library's signature schemes of handshakes, the preferred first;
/// none if they cannot be chosen.
///
/// Raises ValueError for the name of a source, a choice or a binding that does not exist, TypeError for
/// wrong types.
#[pyclass(frozen, eq, hash, module = "polytls")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Capabilities(pub(crate) core::Capabilities);

macro_rules! fields {
    (required: $($required:ident),*; optional: $($optional:ident),*; flags: $($flag:ident),*) => {
        #[pymethods]
        impl Capabilities {
            #[new]
            #[pyo3(signature = (*, $($required,)* $($optional = None,)* $($flag = false),*))]
            #[allow(clippy::too_many_arguments, reason = "a record's fields, by keyword")]
            fn new(
                $($required: Bound<'_, PyAny>,)*
                $($optional: Option<Bound<'_, PyAny>>,)*
                $($flag: bool,)*
            ) -> PyResult<Self> {
                let mut made = core::Capabilities::default();
                $(made.$required = Field::read(stringify!($required), &$required)?;)*
                $(if let Some(given) = $optional {
                    made.$optional = Field::read(stringify!($optional), &given)?;
                })*
                $(made.$flag = $flag;)*
                Ok(Self(made))
            }

            $(#[getter]
            fn $required<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                self.0.$required.show(stringify!($required), py)
            })*

            $(#[getter]
            fn $optional<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                self.0.$optional.show(stringify!($optional), py)
            })*

            $(#[getter]
            const fn $flag(&self) -> bool {
                self.0.$flag
            })*

            /// A copy with some fields changed, by the constructor.
            ///
            /// Raises TypeError for what is no field.
            #[pyo3(signature = (**changes))]
            fn replace<'py>(
                slf: &Bound<'py, Self>,
                changes: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<Bound<'py, PyAny>> {
                let fields = slf.get().fields(slf.py())?;
                if let Some(changes) = changes {
                    fields.update(changes.as_mapping())?;
                }
                slf.get_type().call_out((), Some(&fields))
            }

            /// `copy.replace` of Python 3.13 looks for this.
            #[pyo3(signature = (**changes))]
            fn __replace__<'py>(
                slf: &Bound<'py, Self>,
                changes: Option<&Bound<'py, PyDict>>,
            ) -> PyResult<Bound<'py, PyAny>> {
                Self::replace(slf, changes)
            }

            fn __getnewargs_ex__<'py>(
                &self,
                py: Python<'py>,
            ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
                Ok((PyTuple::empty(py), self.fields(py)?))
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                let fields = self.fields(py)?.iter();
                let shown: Vec<String> = fields
                    .map(|(name, value)| Ok(format!("{name}={}", value.method_out("__repr__", ())?)))
                    .collect::<PyResult<_>>()?;
                Ok(format!("Capabilities({})", shown.join(", ")))
            }
        }

        impl Capabilities {
            fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                let fields = PyDict::new(py);
                $(fields.set_item(stringify!($required), self.0.$required.show(stringify!($required), py)?)?;)*
                $(fields.set_item(stringify!($optional), self.0.$optional.show(stringify!($optional), py)?)?;)*
                $(fields.set_item(stringify!($flag), self.0.$flag)?;)*
                Ok(fields)
            }
        }
    };
}

fields! {
    required: trust_sources, certificate_sources, key_sources, versions, cipher_suites, cipher_choice,
        groups, client_authentication, sni_selection, resumption;
    optional: channel_bindings, signature_schemes;
    flags: exporter, key_log, crl, peers, ticket_keys, ocsp_stapling, staple_verification, client_chain_selection,
        peer_verifier, early_data, named_sessions, ech, clock, certificate_authorities, events,
        certificate_compression, max_fragment, ech_keys
}

/// What a configuration comes to with an implementation.
#[pyclass(frozen, module = "polytls.capabilities")]
pub(crate) struct Effective {
    pub(crate) core: polytls_core::Effective,
    pub(crate) requirements: core::Requirements,
    /// Who judged.
    pub(crate) implementation: String,
}

impl Effective {
    pub(crate) const fn is_server(&self) -> bool {
        matches!(
            self.requirements.side,
            core::SideRequirements::Server { .. }
        )
    }

    /// Whether a client sends GREASE of Encrypted ClientHello.
    pub(crate) const fn sends_grease(&self) -> bool {
        matches!(
            self.requirements.side,
            core::SideRequirements::Client {
                ech_grease: true,
                ..
            }
        )
    }

    /// What a server asks of its clients; nothing on a client.
    pub(crate) fn asked(&self) -> ClientAuthentication {
        match self.requirements.side {
            core::SideRequirements::Client { .. } => ClientAuthentication::None,
            core::SideRequirements::Server {
                client_authentication,
                ..
            } => core::client_authentication(
                client_authentication,
                self.requirements.trust_store.is_some(),
            ),
        }
    }
}

#[pymethods]
impl Effective {
    /// The versions that can be negotiated, the lowest first.
    #[getter]
    fn versions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.core.versions.show("versions", py)
    }

    /// The suites that can be negotiated, of those asked for and in that order, else the library's own.
    #[getter]
    fn ciphers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        info::suites(py, &self.core.cipher_suites)
    }

    /// The key exchange groups that can be negotiated, likewise.
    #[getter]
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        info::groups(py, &self.core.groups)
    }

    /// What a server asks of its clients: REQUIRED by default if it has a trust store. NONE on a client.
    #[getter]
    fn client_authentication<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        info::client_authentication(py, self.asked())
    }
}

/// Refuse a configuration that `implementation` cannot honour, as far as is known without files; return
/// what it comes to.
///
/// `verification`: False where `polytls.insecure` has switched verification off; trust is then not demanded.
///
/// Raises ConfigurationError with the first parameter found at fault, and TypeError if the configuration is
/// none.
#[pyfunction]
#[pyo3(signature = (configuration, capabilities, implementation, *, verification = true))]
pub(crate) fn check(
    py: Python<'_>,
    configuration: &Bound<'_, PyAny>,
    capabilities: &Capabilities,
    implementation: &str,
    verification: bool,
) -> PyResult<Effective> {
    let requirements = requirements::of(configuration, implementation, verification)?;
    let core = capabilities
        .0
        .check(&requirements)
        .map_err(|error| raised(py, implementation, &error))?;
    Ok(Effective {
        core,
        requirements,
        implementation: implementation.to_owned(),
    })
}
