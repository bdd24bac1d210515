//! Configuration as it comes in: plain values, which become the core's.
//!
//! `polytls.engines` has read files and checked what every implementation checks by then;
//! here the rest is parsed. Each struct is a dictionary of Python's, its type said in `_native.pyi`
//! or `polytls.certificates`.

use std::sync::Arc;
use std::time::Duration;

use polytls_core::config::{
    Common, Identity, Key, KeyLog, PeerVerifier, Pins, Secret, TicketKeys, Trust, TrustStore,
    Verification, Version,
};
use polytls_core::{pem, pki_types};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::callbacks::Callbacks;
use crate::errors::misconfigured;
use crate::key_log::Lines;
use crate::signer::PythonSigner;
use crate::verifier::Hook;

/// What was read: the path that it came from, empty for a buffer, and the bytes.
type Data = (String, Vec<u8>);

/// Certificate files of a chain, leaf first, its key unless that is in the first of the files,
/// and what is stapled to it.
type Chain = (Vec<Data>, Option<KeyData>, Option<Vec<u8>>);

/// A private key as `polytls.certificates` hands it over.
#[derive(FromPyObject)]
enum KeyData {
    File(Data),
    /// The public key, the numbers of the algorithms, what signs.
    Signer((Vec<u8>, Vec<u16>, Py<PyAny>)),
}

/// What is wrong with `data`, with its path.
fn said((path, _): &Data, error: &pem::Malformed) -> String {
    if path.is_empty() {
        error.to_string()
    } else {
        format!("{path}: {error}")
    }
}

/// What both sides are configured with.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct CommonData {
    /// By their numbers on the wire.
    versions: Vec<u16>,
    ciphers: Option<Vec<u16>>,
    groups: Option<Vec<u16>>,
    alpn: Vec<Vec<u8>>,
    /// How many sessions to keep; None: no resumption.
    sessions: Option<usize>,
    /// Takes each line of the NSS key log format.
    key_log: Option<Py<PyAny>>,
    chains: Vec<Chain>,
    /// Whether the peer's certificate is verified, and a server's name.
    verifies: bool,
    checks_hostname: bool,
    /// Has its say after verification.
    peer_verifier: Option<Py<PyAny>>,
    early_data: bool,
}

impl CommonData {
    /// `trust`: what peers are verified by. What the engine will call is added to `callbacks`.
    pub(crate) fn common(
        &self,
        py: Python<'_>,
        implementation: &str,
        trust: Option<&TrustData>,
        callbacks: &mut Callbacks,
    ) -> PyResult<Common> {
        let key_log = self.key_log.as_ref().map(|callable| callable.clone_ref(py));
        let key_log = key_log.map(|callable| callbacks.add(Lines(callable)));
        let verifier = self.peer_verifier.as_ref();
        let verifier = verifier.map(|callable| callbacks.add(Hook(callable.clone_ref(py))));
        let mut common = Common {
            versions: versions(&self.versions)?,
            cipher_suites: self.ciphers.clone(),
            groups: self.groups.clone(),
            alpn: self.alpn.clone(),
            sessions: self.sessions,
            key_log: key_log.map(|lines| lines as Arc<dyn KeyLog>),
            peer_verifier: verifier.map(|hook| hook as Arc<dyn PeerVerifier>),
            early_data: self.early_data,
            ..Common::default()
        };
        if let Some(trust) = trust {
            common.crls = trust.revocation_lists(py, implementation)?;
        }
        Ok(common)
    }

    /// Each chain with its key. The signers are added to `callbacks`.
    pub(crate) fn identities(
        &self,
        py: Python<'_>,
        implementation: &str,
        callbacks: &mut Callbacks,
    ) -> PyResult<Vec<Identity>> {
        self.chains
            .iter()
            .map(|chain| identity(py, implementation, chain, callbacks))
            .collect()
    }

    pub(crate) const fn verification(&self) -> Verification {
        verification(self.verifies, self.checks_hostname)
    }
}

pub(crate) const fn verification(verifies: bool, checks_hostname: bool) -> Verification {
    match (verifies, checks_hostname) {
        (true, true) => Verification::Full,
        (true, false) => Verification::AnyName,
        (false, _) => Verification::Nothing,
    }
}

pub(crate) fn versions(numbers: &[u16]) -> PyResult<Vec<Version>> {
    numbers
        .iter()
        .map(|number| {
            [Version::Tls12, Version::Tls13]
                .into_iter()
                .find(|version| version.wire() == *number)
                .ok_or_else(|| PyValueError::new_err(format!("versions: no version {number:#06x}")))
        })
        .collect()
}

/// Sections of the chain's files, put together (SEMANTICS: the first file's first certificate is
/// the leaf, its further ones come next; without a key file the key stands in the first).
fn identity(
    py: Python<'_>,
    implementation: &str,
    (files, key, staple): &Chain,
    callbacks: &mut Callbacks,
) -> PyResult<Identity> {
    let wrong = |message: String| misconfigured(py, implementation, "certificate_chain", message);
    let mut chain = Vec::new();
    for file in files {
        chain.extend(pem::certificates(&file.1).map_err(|error| wrong(said(file, &error)))?);
    }
    let key = match (key, files.first()) {
        (Some(KeyData::Signer((public_key, schemes, signer))), _) => {
            Key::Signer(callbacks.add(PythonSigner {
                public_key: public_key.clone(),
                schemes: schemes.clone(),
                signer: signer.clone_ref(py),
            }))
        }
        (Some(KeyData::File(key)), _) => {
            Key::Der(pem::private_key(&key.1).map_err(|error| wrong(said(key, &error)))?)
        }
        (None, Some(leaf)) => Key::Der(pem::private_key(&leaf.1).map_err(|error| {
            wrong(format!(
                "no key was given, and the leaf's own data holds none that can be used: {}",
                said(leaf, &error)
            ))
        })?),
        (None, None) => return Err(wrong("a chain without a certificate".to_owned())),
    };
    Ok(Identity {
        chain,
        key,
        ocsp_response: staple.clone(),
    })
}

/// What a peer is verified by, as `polytls.certificates` hands it over.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct TrustData {
    /// Whether the system's certificates are trusted.
    system: bool,
    /// Each a PEM bundle or DER.
    certificates: Vec<Data>,
    /// Likewise.
    peers: Vec<Data>,
    v1_authorities: bool,
    /// The file that `certificates` are from.
    path: Option<String>,
    /// What alone is accepted: certificates, hashes of keys, whether any name will do.
    pins: Option<PinsData>,
    /// Each a PEM bundle or DER.
    crls: Vec<Data>,
}

type PinsData = (Vec<Data>, Vec<[u8; 32]>, bool);

impl TrustData {
    pub(crate) fn trust(&self, py: Python<'_>, implementation: &str) -> PyResult<Trust> {
        let read = |data: &[Data]| -> PyResult<Vec<_>> {
            let mut certificates = Vec::new();
            for each in data {
                certificates.extend(pem::certificates(&each.1).map_err(|error| {
                    misconfigured(py, implementation, "trust_store", said(each, &error))
                })?);
            }
            Ok(certificates)
        };
        if let Some((certificates, spki_sha256, any_name)) = &self.pins {
            return Ok(Trust::Pinned(Pins {
                certificates: read(certificates)?,
                spki_sha256: spki_sha256.clone(),
                any_name: *any_name,
            }));
        }
        Ok(Trust::Store(TrustStore {
            system: self.system,
            certificates: read(&self.certificates)?,
            peers: read(&self.peers)?,
            v1_authorities: self.v1_authorities,
            path: self.path.clone(),
        }))
    }

    pub(crate) fn revocation_lists(
        &self,
        py: Python<'_>,
        implementation: &str,
    ) -> PyResult<Vec<pki_types::CertificateRevocationListDer<'static>>> {
        let mut lists = Vec::new();
        for data in &self.crls {
            lists.extend(pem::revocation_lists(&data.1).map_err(|error| {
                misconfigured(py, implementation, "trust_store", said(data, &error))
            })?);
        }
        Ok(lists)
    }
}

/// The secret that ticket keys are derived from, the one before it, rotation and lifetime in seconds.
pub(crate) type SharedKeys = (Vec<u8>, Option<Vec<u8>>, u64, u64);

pub(crate) fn ticket_keys((secret, previous, rotation, lifetime): SharedKeys) -> TicketKeys {
    TicketKeys {
        secret: Secret::new(secret),
        previous: previous.map(Secret::new),
        rotation: Duration::from_secs(rotation),
        lifetime: Duration::from_secs(lifetime),
    }
}
