//! Certificates, keys and lists in the form that `ssl` takes, each read before OpenSSL is shown it: its own
//! errors say neither which is at fault nor why.

use std::sync::Arc;

use polytls_core::config::{Identity, Key, Trust};
use polytls_core::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use polytls_x509::{pkcs8_of_version_1, summarize};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::engine::NAME;
use crate::configuration::Configuration;
use crate::errors::misconfigured;

/// A chain with its key.
pub(super) struct SslIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The DNS names of the leaf.
    pub(super) names: Vec<String>,
}

/// An identity for Python: the chain, DER; the key's label in PEM and its DER.
pub(super) type Shown<'py> = (
    Vec<Bound<'py, PyBytes>>,
    (&'static str, Bound<'py, PyBytes>),
);

impl SslIdentity {
    /// Raises ConfigurationError for a certificate that cannot be read.
    pub(super) fn new(
        configuration: &Configuration<'_, '_>,
        Identity { chain, key, .. }: Identity,
    ) -> PyResult<Self> {
        let wrong = |message: String| {
            let py = configuration.fields.py();
            misconfigured(py, NAME, "certificate_chain", message)
        };
        let Key::Der(key) = key else {
            return Err(wrong("the ssl module does not support signers".to_owned()));
        };
        let mut names = Vec::new();
        for (index, certificate) in chain.iter().enumerate() {
            let summary = summarize(certificate)
                .map_err(|error| wrong(format!("certificate {index} of the chain is {error}")))?;
            if index == 0 {
                names = summary.dns_names;
            }
        }
        Ok(Self { chain, key, names })
    }

    /// The leaf, DER.
    pub(super) fn leaf(&self) -> Arc<[u8]> {
        self.chain.first().map_or(&[][..], AsRef::as_ref).into()
    }

    pub(super) fn shown<'py>(&self, py: Python<'py>) -> Shown<'py> {
        let label = match &self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        let der = self.key.secret_der();
        // OpenSSL 3.0 does not read what the second version adds.
        let first = pkcs8_of_version_1(der);
        let der = first.as_deref().unwrap_or(der);
        (bytes(py, &self.chain), (label, PyBytes::new(py, der)))
    }
}

/// What peers are verified by, as far as OpenSSL is told.
pub(super) struct Trusted {
    /// All that was given in whatever way. To OpenSSL all are anchors; the verdict knows which are not.
    certificates: Vec<CertificateDer<'static>>,
    /// The lists that OpenSSL is asked to judge by: all, or none.
    lists: Vec<CertificateRevocationListDer<'static>>,
}

impl Trusted {
    /// What the verdict has found readable.
    pub(super) fn new(
        trust: Option<&Trust>,
        lists: &[CertificateRevocationListDer<'static>],
    ) -> Self {
        let (anchors, leaves): (&[_], &[_]) = match trust {
            None => (&[], &[]),
            Some(Trust::Store(store)) => (&store.certificates, &store.peers),
            Some(Trust::Pinned(pins)) => (&[], &pins.certificates),
        };
        // OpenSSL asks lists about anchors, too (X509_V_FLAG_CRL_CHECK_ALL). Where one is none of a root, or is
        // a leaf, the verdict is left to judge by lists without OpenSSL.
        let is_root = |certificate: &CertificateDer<'_>| {
            summarize(certificate).is_ok_and(|it| it.is_authority && it.issuer == it.subject)
        };
        let judges = leaves.is_empty() && anchors.iter().all(is_root);
        Self {
            certificates: anchors.iter().chain(leaves).cloned().collect(),
            lists: if judges { lists.to_vec() } else { Vec::new() },
        }
    }

    pub(super) fn certificates<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        bytes(py, &self.certificates)
    }

    pub(super) fn lists<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        bytes(py, &self.lists)
    }
}

fn bytes<'py>(py: Python<'py>, items: &[impl AsRef<[u8]>]) -> Vec<Bound<'py, PyBytes>> {
    let items = items.iter();
    items.map(|der| PyBytes::new(py, der.as_ref())).collect()
}
