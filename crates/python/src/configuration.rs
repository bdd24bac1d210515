//! A configuration of `polytls.configuration`, as the core takes it, when it has been judged
//! ([`crate::capabilities`]) and its files have been read (`polytls.certificates.loaded`): here the encodings
//! are parsed.

use std::sync::Arc;
use std::time::Duration;

use polytls_core::capabilities::{PKCS1, SideRequirements};
use polytls_core::config::{
    Common, EchKey, Identity, Key, KeyLog, PeerVerifier, Pins, Secret, Staples, TicketKeys, Trust,
    TrustStore, Verification, Version,
};
use polytls_core::ech::KEYS;
use polytls_core::events::Tracer;
use polytls_core::pem::{self, Malformed};
use polytls_core::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use polytls_core::{Backend, MAX_FRAGMENT};
use polytls_x509::ocsp_in_force;
use pyo3::prelude::*;
use zeroize::Zeroize as _;

use crate::callbacks::Callbacks;
use crate::calls::CallsOut as _;
use crate::capabilities::Effective;
use crate::clock;
use crate::errors::misconfigured;
use crate::events::Listener;
use crate::ids;
use crate::key_log::Lines;
use crate::requirements::{given, items};
use crate::signer::PythonSigner;
use crate::tokens;
use crate::verifier::Hook;

/// A configuration and what it came down to.
pub(crate) struct Configuration<'a, 'py> {
    /// Who finds keys and certificates by ids of its own, if somebody does.
    pub(crate) backend: Option<&'a dyn Backend>,
    pub(crate) fields: &'a Bound<'py, PyAny>,
    pub(crate) effective: &'a Effective,
}

/// The most bytes of names that the peer is sent: it has to read the message that they are in.
const AUTHORITIES: usize = 32 * 1024;

/// What a source holds.
struct Data {
    /// The file that it is from; `None`: none.
    path: Option<String>,
    bytes: Vec<u8>,
}

impl Data {
    /// `error` with the path.
    fn said(&self, error: &Malformed) -> String {
        match &self.path {
            None => error.to_string(),
            Some(path) => format!("{path}: {error}"),
        }
    }
}

/// How much is verified, by an `InsecureConfiguration` or None.
pub(crate) fn verification(insecure: &Bound<'_, PyAny>) -> PyResult<Verification> {
    let Some(insecure) = given(insecure) else {
        return Ok(Verification::Full);
    };
    let disables = |what: &str| insecure.attribute(what)?.extract::<bool>();
    Ok(
        match (
            disables("disable_verification")?,
            disables("disable_hostname_check")?,
        ) {
            (true, _) => Verification::Nothing,
            (false, true) => Verification::AnyName,
            (false, false) => Verification::Full,
        },
    )
}

impl<'py> Configuration<'_, 'py> {
    fn py(&self) -> Python<'py> {
        self.fields.py()
    }

    fn field(&self, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.fields.attribute(name)
    }

    fn wrong(&self, field: &'static str, message: impl Into<String>) -> PyErr {
        misconfigured(self.py(), &self.effective.implementation, field, message)
    }

    fn data(&self, source: &Bound<'py, PyAny>, field: &'static str) -> PyResult<Data> {
        let bytes: Option<Vec<u8>> = source.attribute("buffer")?.extract()?;
        let unread = || self.wrong(field, "ids are not supported here; give a buffer or a file");
        Ok(Data {
            path: source.attribute("path")?.extract()?,
            bytes: bytes.ok_or_else(unread)?,
        })
    }

    /// What both sides have. What the engine will call is added to `callbacks`; `key_log`: what takes each
    /// line of the NSS key log format, or None.
    pub(crate) fn common(
        &self,
        key_log: &Bound<'py, PyAny>,
        callbacks: &mut Callbacks,
    ) -> PyResult<Common> {
        let requirements = &self.effective.requirements;
        let key_log =
            given(key_log).map(|callable| callbacks.add(Lines(callable.clone().unbind())));
        Ok(Common {
            versions: self.effective.core.versions.clone(),
            cipher_suites: requirements.ciphers.clone(),
            groups: requirements.groups.clone(),
            alpn: requirements.inner_protocols.clone(),
            sessions: self.sessions(),
            key_log: key_log.map(|lines| lines as Arc<dyn KeyLog>),
            early_data: requirements.early_data,
            crls: self.revocation_lists()?,
            tracer: self.tracer(callbacks)?,
            peer_verifier: self.peer_verifier(callbacks)?,
            clock: clock::of(&self.field("clock")?)?,
            signature_schemes: requirements.signature_schemes.clone(),
            certificate_authorities: self.certificate_authorities()?,
            certificate_compression: requirements.certificate_compression,
            max_fragment: self.max_fragment(),
            staples: self.staples(),
            ..Common::default()
        })
    }

    /// The subjects of the CAs whose names the peer is sent, each once.
    fn certificate_authorities(&self) -> PyResult<Option<Vec<Vec<u8>>>> {
        let field = "certificate_authorities";
        let sources = self.field(field)?;
        let Some(sources) = given(&sources) else {
            return Ok(None);
        };
        let mut names = Vec::new();
        for source in items(sources)? {
            for certificate in self.certificates(&source, field)? {
                let name = polytls_x509::subject(&certificate)
                    .map_err(|error| self.wrong(field, error.to_string()))?;
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        // Each is put behind its length.
        let size: usize = names.iter().map(|name| name.len() + 2).sum();
        if size > AUTHORITIES {
            let message =
                format!("their names take {size} bytes; at most {AUTHORITIES} are allowed");
            return Err(self.wrong(field, message));
        }
        Ok(Some(names))
    }

    fn staples(&self) -> Staples {
        match self.effective.requirements.side {
            SideRequirements::Client {
                require_staple: true,
                ..
            } => Staples::Required,
            _ => Staples::Heeded,
        }
    }

    fn max_fragment(&self) -> usize {
        let length = self.effective.requirements.max_fragment;
        let length = length.and_then(|length| length.try_into().ok());
        length.unwrap_or(MAX_FRAGMENT)
    }

    /// How many sessions to remember; `None`: no resumption.
    pub(crate) fn sessions(&self) -> Option<usize> {
        let sessions = self.effective.requirements.sessions;
        sessions.and_then(|capacity| capacity.try_into().ok())
    }

    /// The caller's own verification, which is added to `callbacks`.
    pub(crate) fn peer_verifier(
        &self,
        callbacks: &mut Callbacks,
    ) -> PyResult<Option<Arc<dyn PeerVerifier>>> {
        let verifier = self.field("peer_verifier")?;
        let hook = given(&verifier).map(|callable| callbacks.add(Hook(callable.clone().unbind())));
        Ok(hook.map(|hook| hook as Arc<dyn PeerVerifier>))
    }

    /// Who is told what happens on connections, which is added to `callbacks`.
    pub(crate) fn tracer(&self, callbacks: &mut Callbacks) -> PyResult<Option<Arc<dyn Tracer>>> {
        let listener = self.field("on_event")?;
        let listener = given(&listener).map(|callable| {
            callbacks.add(Listener {
                callable: callable.clone().unbind(),
                implementation: self.effective.implementation.clone(),
            })
        });
        Ok(listener.map(|listener| listener as Arc<dyn Tracer>))
    }

    /// Each chain with its key, the first choice first. The signers are added to `callbacks`.
    pub(crate) fn identities(&self, callbacks: &mut Callbacks) -> PyResult<Vec<Identity>> {
        let chains = self.field("certificate_chain")?;
        let chains = match given(&chains) {
            None => Vec::new(),
            Some(chains) if self.effective.is_server() => items(chains)?,
            Some(first) => {
                let mut chains = vec![first.clone()];
                chains.extend(items(&self.field("alternative_chains")?)?);
                chains
            }
        };
        chains
            .iter()
            .map(|chain| self.identity(chain, callbacks))
            .collect()
    }

    /// What a chain's sources hold, put together: the first certificate of the first source is the leaf, its
    /// further ones come next. Without a key of its own the key is there as well.
    fn identity(
        &self,
        signing: &Bound<'py, PyAny>,
        callbacks: &mut Callbacks,
    ) -> PyResult<Identity> {
        let field = "certificate_chain";
        let (leaf, key): (Bound<'py, PyAny>, Bound<'py, PyAny>) =
            signing.attribute("leaf")?.extract()?;
        let mut chain = self.certificates(&leaf, field)?;
        for source in items(&signing.attribute("chain")?)? {
            chain.extend(self.certificates(&source, field)?);
        }
        let key = match given(&key) {
            None => Key::Der(self.private_key(
                &self.data(&leaf, field)?,
                "no private key was given, and the leaf's data contains no usable one: ",
            )?),
            Some(key) => self.key(key, chain.first(), callbacks)?,
        };
        if let Key::Signer(signer) = &key
            && self.effective.core.versions.contains(&Version::Tls13)
            && signer.schemes().iter().all(|scheme| PKCS1.contains(scheme))
        {
            return Err(self.wrong(
                field,
                "the key signs only with RSA PKCS#1 v1.5, which TLS 1.3 does not allow in \
                 handshakes (RFC \
                 8446 section 4.4.3): set highest_supported_version to TLSVersion.TLSv1_2, or use a key that signs with RSA-PSS",
            ));
        }
        let response = signing.attribute("ocsp_response")?;
        let response = given(&response).map(|source| self.ocsp_response(source, chain.first()));
        Ok(Identity {
            ocsp_response: response.transpose()?,
            chain,
            key,
        })
    }

    /// The OCSP response that goes with `leaf`, in DER.
    fn ocsp_response(
        &self,
        source: &Bound<'py, PyAny>,
        leaf: Option<&CertificateDer<'_>>,
    ) -> PyResult<Vec<u8>> {
        let field = "certificate_chain";
        let data = self.data(source, field)?;
        let leaf = leaf.map(|leaf| &**leaf).unwrap_or_default();
        match ocsp_in_force(&data.bytes, leaf) {
            Ok(_) => Ok(data.bytes),
            Err(what) => {
                let from = data.path.map(|path| format!(" in {path}"));
                let from = from.unwrap_or_default();
                Err(self.wrong(field, format!("the OCSP response{from} is {what}")))
            }
        }
    }

    fn key(
        &self,
        key: &Bound<'py, PyAny>,
        leaf: Option<&CertificateDer<'_>>,
        callbacks: &mut Callbacks,
    ) -> PyResult<Key> {
        let field = "certificate_chain";
        if let Some(id) = self.id(key)? {
            let opened = ids::key(self.py(), self.backend, &id, leaf.map(|leaf| &**leaf));
            return opened.map_err(|error| self.of_token(field, error));
        }
        let signer = key.attribute("signer")?;
        let Some(signer) = given(&signer) else {
            return Ok(Key::Der(self.private_key(&self.data(key, field)?, "")?));
        };
        if let Ok(token) = signer.cast::<tokens::Key>() {
            return Ok(Key::Signer(token.get().shared(callbacks)));
        }
        Ok(Key::Signer(callbacks.add(PythonSigner::new(signer)?)))
    }

    fn id(&self, source: &Bound<'py, PyAny>) -> PyResult<Option<Vec<u8>>> {
        source.attribute("id")?.extract()
    }

    /// A ConfigurationError from the TokenError `error`.
    fn of_token(&self, field: &'static str, error: PyErr) -> PyErr {
        let py = self.py();
        if !tokens::is_token_error(py, &error) {
            return error;
        }
        let refused = self.wrong(field, error.value(py).to_string());
        refused.set_cause(py, Some(error));
        refused
    }

    fn private_key(&self, data: &Data, missing: &str) -> PyResult<PrivateKeyDer<'static>> {
        pem::private_key(&data.bytes).map_err(|error| {
            self.wrong(
                "certificate_chain",
                format!("{missing}{}", data.said(&error)),
            )
        })
    }

    fn certificates(
        &self,
        source: &Bound<'py, PyAny>,
        field: &'static str,
    ) -> PyResult<Vec<CertificateDer<'static>>> {
        if let Some(id) = self.id(source)? {
            let found = ids::certificates(self.py(), self.backend, &id);
            return found.map_err(|error| self.of_token(field, error));
        }
        let data = self.data(source, field)?;
        pem::certificates(&data.bytes).map_err(|error| self.wrong(field, data.said(&error)))
    }

    /// What peers are verified by: a client's is the system's if there is no store.
    pub(crate) fn trust(&self) -> PyResult<Option<Trust>> {
        let store = self.field("trust_store")?;
        match given(&store) {
            Some(store) => self.trust_of(store).map(Some),
            None if self.effective.is_server() => Ok(None),
            None => Ok(Some(Trust::Store(TrustStore {
                system: true,
                ..TrustStore::default()
            }))),
        }
    }

    fn trust_of(&self, store: &Bound<'py, PyAny>) -> PyResult<Trust> {
        let field = "trust_store";
        let read = |sources: &[Bound<'py, PyAny>]| -> PyResult<Vec<_>> {
            let mut certificates = Vec::new();
            for source in sources {
                certificates.extend(self.certificates(source, field)?);
            }
            Ok(certificates)
        };
        let all = |owner: &Bound<'py, PyAny>, name| read(&items(&owner.attribute(name)?)?);
        let pins = store.attribute("pins")?;
        if let Some(pins) = given(&pins) {
            let checks_hostname: bool = pins.attribute("check_hostname")?.extract()?;
            return Ok(Trust::Pinned(Pins {
                certificates: all(pins, "certificates")?,
                spki_sha256: pins.attribute("spki_sha256")?.extract()?,
                any_name: !checks_hostname,
            }));
        }
        let system = store.attribute("buffer")?.is_none() && store.attribute("path")?.is_none();
        let mut certificates = if system {
            Vec::new()
        } else {
            read(std::slice::from_ref(store))?
        };
        certificates.extend(all(store, "extra")?);
        Ok(Trust::Store(TrustStore {
            system,
            certificates,
            peers: all(store, "peers")?,
            v1_authorities: store.attribute("v1_authorities")?.extract()?,
            path: store.attribute("path")?.extract()?,
        }))
    }

    /// The CRLs of the trust store.
    pub(crate) fn revocation_lists(&self) -> PyResult<Vec<CertificateRevocationListDer<'static>>> {
        let store = self.field("trust_store")?;
        let Some(store) = given(&store) else {
            return Ok(Vec::new());
        };
        let field = "trust_store";
        let mut lists = Vec::new();
        for source in items(&store.attribute("crls")?)? {
            let data = self.data(&source, field)?;
            lists.extend(
                pem::revocation_lists(&data.bytes)
                    .map_err(|error| self.wrong(field, data.said(&error)))?,
            );
        }
        Ok(lists)
    }

    /// What a server decrypts ClientHello with.
    pub(crate) fn ech_keys(&self) -> PyResult<Vec<EchKey>> {
        let keys = items(&self.field(KEYS)?)?;
        keys.iter()
            .map(|source| {
                let mut data = self.data(source, KEYS)?;
                let read = pem::ech_key(&data.bytes);
                data.bytes.zeroize();
                read.map_err(|error| self.wrong(KEYS, data.said(&error)))
            })
            .collect()
    }

    /// The keys of a server's tickets, if they were given.
    pub(crate) fn ticket_keys(&self) -> PyResult<Option<TicketKeys>> {
        let keys = self.field("ticket_keys")?;
        let Some(keys) = given(&keys) else {
            return Ok(None);
        };
        let previous: Option<Vec<u8>> = keys.attribute("previous")?.extract()?;
        Ok(Some(TicketKeys {
            secret: Secret::new(keys.attribute("secret")?.extract()?),
            previous: previous.map(Secret::new),
            rotation: Duration::from_secs(keys.attribute("rotation")?.extract()?),
            lifetime: Duration::from_secs(keys.attribute("lifetime")?.extract()?),
        }))
    }
}
