//! Whose certificates are accepted: trust anchors, from the system or given, pins, revocation lists.

use std::collections::{HashMap, HashSet};
use std::env;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use polytls_core::Error;
use polytls_core::fork::PerProcess;
use polytls_core::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor};
use webpki::{CertRevocationList, OwnedCertRevocationList};

/// Certificates in the form path building uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Anchors {
    pub(crate) roots: Vec<TrustAnchor<'static>>,
    /// The certificates that `roots` were made of, in the same order.
    certificates: Vec<CertificateDer<'static>>,
    /// Given certificates themselves: a leaf that is one of them needs no path. It is how a
    /// self-signed device is trusted; webpki alone refuses such leaves (CaUsedAsEndEntity).
    pub(crate) exact: HashSet<CertificateDer<'static>>,
}

impl Anchors {
    /// The system's, and `extra`.
    pub(crate) fn system(extra: &[CertificateDer<'static>]) -> Result<Arc<Self>, Error> {
        let system = system()?;
        if extra.is_empty() {
            return Ok(system);
        }
        let mut anchors = (*system).clone();
        anchors.add_given(extra)?;
        Ok(Arc::new(anchors))
    }

    /// These.
    pub(crate) fn given(certificates: &[CertificateDer<'static>]) -> Result<Arc<Self>, Error> {
        let mut anchors = Self::default();
        anchors.add_given(certificates)?;
        if anchors.roots.is_empty() {
            return Err(Error::configuration(
                "trust_store",
                "the trust store holds no certificate",
            ));
        }
        Ok(Arc::new(anchors))
    }

    fn add(&mut self, certificate: &CertificateDer<'_>) -> Result<(), webpki::Error> {
        let root = webpki::anchor_from_trusted_cert(certificate)?.to_owned();
        self.roots.push(root);
        self.certificates.push(certificate.clone().into_owned());
        Ok(())
    }

    fn add_given(&mut self, certificates: &[CertificateDer<'static>]) -> Result<(), Error> {
        for (index, certificate) in certificates.iter().enumerate() {
            self.add(certificate).map_err(|error| {
                Error::configuration(
                    "trust_store",
                    format!("certificate {index} of the trust store cannot be read: {error}"),
                )
            })?;
            self.exact.insert(certificate.clone());
        }
        Ok(())
    }

    /// The certificate that `root`, one of `roots` by its place in memory, was made of.
    pub(crate) fn certificate_of(
        &self,
        root: &TrustAnchor<'_>,
    ) -> Option<&CertificateDer<'static>> {
        let mut roots = self.roots.iter();
        let index = roots.position(|each| std::ptr::eq(std::ptr::from_ref(each).cast(), root))?;
        self.certificates.get(index)
    }
}

/// Parses revocation lists.
pub(crate) fn revocation_lists(
    lists: &[CertificateRevocationListDer<'_>],
) -> Result<Vec<CertRevocationList<'static>>, Error> {
    let parse = |(index, der): (usize, &CertificateRevocationListDer<'_>)| {
        OwnedCertRevocationList::from_der(der)
            .map(CertRevocationList::from)
            .map_err(|error| {
                Error::configuration(
                    "trust_store",
                    format!("revocation list {index} cannot be used: {error}"),
                )
            })
    };
    lists.iter().enumerate().map(parse).collect()
}

/// The variables the platform's own tools read; they choose other files, so they choose the entry.
type Origin = [Option<OsString>; 2];

type Parsed = Mutex<Option<HashMap<Origin, Arc<Anchors>>>>;

/// The system's roots, parsed once for each value of the variables; a child of fork(2) goes on with what
/// its parent had. Roots that cannot be read are passed over: one odd certificate must not take all
/// trust away.
fn system() -> Result<Arc<Anchors>, Error> {
    static PARSED: PerProcess<Parsed> = PerProcess::of_the_first(Mutex::new(None));
    let origin = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(env::var_os);
    // A thread of the parent that was parsing holds the lock for ever.
    let parsed =
        PARSED.get(|parents| Mutex::new(parents.try_lock().ok().and_then(|known| known.clone())));
    let mut parsed = parsed.lock().unwrap_or_else(PoisonError::into_inner);
    let parsed = parsed.get_or_insert_default();
    if let Some(anchors) = parsed.get(&origin) {
        return Ok(Arc::clone(anchors));
    }
    let loaded = rustls_native_certs::load_native_certs();
    let mut anchors = Anchors::default();
    let mut unreadable = 0;
    for certificate in &loaded.certs {
        unreadable += usize::from(anchors.add(certificate).is_err());
    }
    if anchors.roots.is_empty() {
        let reasons: Vec<String> = loaded.errors.iter().map(ToString::to_string).collect();
        return Err(Error::configuration(
            "trust_store",
            format!(
                "the system's trust store holds no usable certificate ({unreadable} unreadable{}{}); \
                 install the system's CA certificates (ca-certificates on Debian), point \
                 SSL_CERT_FILE to a bundle, or pass a trust_store",
                if reasons.is_empty() { "" } else { "; " },
                reasons.join("; "),
            ),
        ));
    }
    let anchors = Arc::new(anchors);
    parsed.insert(origin, Arc::clone(&anchors));
    Ok(anchors)
}

/// What identifies an anchor of the system's store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SystemAnchor {
    /// Its subject: the contents of a Name in DER.
    pub subject: Vec<u8>,
    /// Its key: the contents of a SubjectPublicKeyInfo in DER.
    pub key: Vec<u8>,
}

/// The anchors of the system's store, in an order that does not depend on how they are kept.
///
/// # Errors
///
/// [`Error::Configuration`]: it holds none that can be used.
pub fn system_anchors() -> Result<Vec<SystemAnchor>, Error> {
    let anchors = system()?;
    let mut roots: Vec<SystemAnchor> = anchors
        .roots
        .iter()
        .map(|root| SystemAnchor {
            subject: root.subject.to_vec(),
            key: root.subject_public_key_info.to_vec(),
        })
        .collect();
    roots.sort_unstable();
    Ok(roots)
}
