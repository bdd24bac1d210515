//! The certificates that are trusted: which of them may issue, and which are leaves only.
//!
//! A certificate in a store is two things. As an authority it ends paths, but only if it may issue by its
//! own words: webpki by itself would take its name and key and ask for nothing else, so that any device's
//! self-signed certificate would speak for the whole world. As a leaf it is accepted byte by byte, if a
//! peer presents it. One that may not issue is passed over when paths are built; [`Unfit`] says why.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use polytls_core::Error;
use polytls_core::config::{Rules, TrustStore};
use polytls_core::fork::PerProcess;
use polytls_core::pki_types::{CertificateDer, TrustAnchor};
use polytls_x509::{ConstrainedNames, PathFacts, path_facts};

use crate::errors::words;
use crate::system::{self, Chosen};

/// Why a certificate of a store does not end a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It was given as a peer's: a leaf, and nothing else.
    Peer,
    /// Its version, 1 or 2, has no extensions that could say that it is an authority.
    Version(u32),
    /// It has no basic constraints.
    NoBasicConstraints,
    /// CA is false in its basic constraints.
    NotAnAuthority,
    /// Its key usage does not allow its key to sign certificates.
    KeyUsage,
    /// Its RSA key has so few bits.
    WeakKey(u32),
    /// Its notAfter, in seconds since 1970, is past.
    Expired(i64),
    /// Its notBefore, likewise, is still to come.
    NotYetValid(i64),
    /// So many authorities may be below it, and there were more.
    PathLength(u32),
    /// Its extended key usage leaves out what peers are wanted for.
    Purpose,
    /// It has a critical extension that nobody here knows.
    UnknownCritical,
    /// Its key usage does not allow its key to sign CRLs, and there are some to be asked.
    Lists,
}

/// A certificate that is trusted, and what it may be used for.
#[derive(Debug)]
pub(crate) struct Trusted {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) facts: PathFacts,
    /// Why it ends no path, whatever the path.
    pub(crate) unfit: Option<Unfit>,
}

impl Trusted {
    fn read(der: &CertificateDer<'_>, is_authority: Authorities) -> Result<Self, String> {
        let facts = path_facts(der).map_err(|error| error.why().to_owned())?;
        let unfit = match is_authority {
            Authorities::None => Some(Unfit::Peer),
            Authorities::Version3 => unfit(&facts, false),
            Authorities::Version1Too => unfit(&facts, true),
        };
        Ok(Self {
            der: der.clone().into_owned(),
            facts,
            unfit,
        })
    }
}

/// Which certificates may be authorities.
#[derive(Clone, Copy)]
enum Authorities {
    None,
    Version3,
    Version1Too,
}

impl Authorities {
    const fn given(v1_authorities: bool) -> Self {
        if v1_authorities {
            Self::Version1Too
        } else {
            Self::Version3
        }
    }
}

/// Why a certificate with these facts may not issue (RFC 5280 sections 6.1.4 (k) to (n)).
fn unfit(facts: &PathFacts, takes_version_1: bool) -> Option<Unfit> {
    if let Some(size) = facts.weak_bits {
        return Some(Unfit::WeakKey(size));
    }
    if facts.version < 3 {
        let is_root = takes_version_1 && facts.version == 1 && facts.is_self_issued();
        return (!is_root).then_some(Unfit::Version(facts.version));
    }
    match facts.is_authority {
        None => Some(Unfit::NoBasicConstraints),
        Some(false) => Some(Unfit::NotAnAuthority),
        Some(true) if !facts.signs_certificates => Some(Unfit::KeyUsage),
        Some(true) => None,
    }
}

/// Certificates in the form path building uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Anchors {
    /// Those that may issue.
    pub(crate) roots: Vec<TrustAnchor<'static>>,
    /// What `roots` were made of, in the same order.
    authorities: Vec<Arc<Trusted>>,
    /// All, in the order of their bytes.
    certificates: Vec<Arc<Trusted>>,
    /// What completes paths, and is trusted by nobody's word but its issuer's.
    links: Vec<(CertificateDer<'static>, PathFacts)>,
}

impl Anchors {
    /// What `store` holds, but for the system's certificates where they are not `ours` to read.
    pub(crate) fn of(store: &TrustStore, rules: Rules, ours: bool) -> Result<Arc<Self>, Error> {
        let from_system = store.system && ours;
        if from_system && store.certificates.is_empty() && store.peers.is_empty() {
            return system();
        }
        let mut anchors = if from_system {
            (*system()?).clone()
        } else {
            Self::default()
        };
        let kind = Authorities::given(store.v1_authorities);
        let certificates = if rules.whole_chains {
            anchors.take_links(&store.certificates)
        } else {
            Cow::Borrowed(store.certificates.as_slice())
        };
        anchors.add_given(&certificates, kind, "certificate")?;
        anchors.add_given(&store.peers, Authorities::None, "peer certificate")?;
        if anchors.certificates.is_empty() && !store.system && !rules.may_be_empty {
            return Err(Error::configuration(
                "trust_store",
                "the trust store contains no certificate",
            ));
        }
        anchors.sort();
        Ok(Arc::new(anchors))
    }

    /// Keeps what is not self-issued as links, and gives the rest.
    fn take_links<'a>(
        &mut self,
        certificates: &'a [CertificateDer<'static>],
    ) -> Cow<'a, [CertificateDer<'static>]> {
        let (links, roots): (Vec<_>, Vec<_>) = certificates
            .iter()
            .map(|der| (der, path_facts(der).ok()))
            .partition(|(_, facts)| facts.as_ref().is_some_and(|facts| !facts.is_self_issued()));
        if links.is_empty() {
            return Cow::Borrowed(certificates);
        }
        let links = links.into_iter();
        self.links
            .extend(links.filter_map(|(der, facts)| Some((der.clone(), facts?))));
        Cow::Owned(roots.into_iter().map(|(der, _)| der.clone()).collect())
    }

    /// The links that a path from `leaf` may go through, by their names.
    pub(crate) fn links_above<'a>(
        &'a self,
        leaf: &PathFacts,
        presented: &[CertificateDer<'_>],
    ) -> Vec<&'a CertificateDer<'static>> {
        let mut wanted = HashSet::from([leaf.issuer_der.clone()]);
        wanted.extend(
            presented
                .iter()
                .filter_map(|der| Some(path_facts(der).ok()?.issuer_der)),
        );
        let mut rest: Vec<_> = self.links.iter().collect();
        let mut found = Vec::new();
        loop {
            let (more, others): (Vec<_>, Vec<_>) = rest
                .into_iter()
                .partition(|(_, facts)| wanted.contains(&facts.subject_der));
            if more.is_empty() {
                return found;
            }
            wanted.extend(more.iter().map(|(_, facts)| facts.issuer_der.clone()));
            found.extend(more.into_iter().map(|(der, _)| der));
            rest = others;
        }
    }

    /// Whether it has any.
    pub(crate) const fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    fn add(&mut self, der: &CertificateDer<'_>, kind: Authorities) -> Result<(), String> {
        let trusted = Arc::new(Trusted::read(der, kind)?);
        if trusted.unfit.is_none() {
            let root = webpki::anchor_from_trusted_cert(der)
                .map_err(|error| words(&error).to_owned())?
                .to_owned();
            self.roots.push(root);
            self.authorities.push(Arc::clone(&trusted));
        }
        self.certificates.push(trusted);
        Ok(())
    }

    fn add_given(
        &mut self,
        certificates: &[CertificateDer<'static>],
        kind: Authorities,
        called: &str,
    ) -> Result<(), Error> {
        for (index, certificate) in certificates.iter().enumerate() {
            self.add(certificate, kind).map_err(|error| {
                Error::configuration(
                    "trust_store",
                    format!("{called} {index} of the trust store cannot be read: {error}"),
                )
            })?;
        }
        Ok(())
    }

    fn sort(&mut self) {
        self.certificates
            .sort_by(|one, other| one.der.cmp(&other.der));
        self.certificates
            .dedup_by(|one, other| one.der == other.der);
    }

    /// The very certificate, if it is among them.
    pub(crate) fn find(&self, der: &[u8]) -> Option<&Trusted> {
        let at = self
            .certificates
            .binary_search_by(|trusted| trusted.der.as_ref().cmp(der));
        Some(&self.certificates[at.ok()?])
    }

    /// The certificate that `root`, one of `roots` by its place in memory, was made of.
    pub(crate) fn authority(&self, root: &TrustAnchor<'_>) -> Option<&Arc<Trusted>> {
        let mut roots = self.roots.iter();
        let index = roots.position(|each| std::ptr::eq(std::ptr::from_ref(each).cast(), root))?;
        self.authorities.get(index)
    }

    /// Those of this subject, a Name in DER, that end no path, whatever the path.
    pub(crate) fn unfit(&self, subject: &[u8]) -> impl Iterator<Item = (&Trusted, Unfit)> {
        let certificates = self.certificates.iter();
        certificates
            .filter(move |trusted| trusted.facts.subject_der == subject)
            .filter_map(|trusted| Some((&**trusted, trusted.unfit?)))
    }

    /// The keys of authorities of this subject, a Name in DER, each as SubjectPublicKeyInfo in DER.
    pub(crate) fn keys(&self, subject: &[u8]) -> impl Iterator<Item = &[u8]> {
        let authorities = self.authorities.iter();
        authorities
            .filter(move |trusted| trusted.facts.subject_der == subject)
            .map(|trusted| trusted.facts.spki.as_slice())
    }

    /// Kinds of names that authorities of this subject, a Name in DER, constrain.
    pub(crate) fn constrained(&self, subject: &[u8]) -> impl Iterator<Item = ConstrainedNames> {
        let authorities = self.authorities.iter();
        authorities
            .filter(move |trusted| trusted.facts.subject_der == subject)
            .flat_map(|trusted| trusted.facts.constrained.iter().copied())
    }

    /// What a peer may look for among the issuers of its own certificates: subjects of authorities, and
    /// issuers of leaves; each once, a Name in DER.
    pub(crate) fn hints(&self) -> Vec<Vec<u8>> {
        let names = self.certificates.iter().map(|trusted| match trusted.unfit {
            None => &trusted.facts.subject_der,
            Some(_) => &trusted.facts.issuer_der,
        });
        let names: BTreeSet<&Vec<u8>> = names.collect();
        names.into_iter().cloned().collect()
    }

    /// With one more, which a library trusts by itself.
    pub(crate) fn with_systems(&self, der: &CertificateDer<'_>) -> Result<Self, String> {
        let mut anchors = self.clone();
        anchors.add(der, Authorities::Version1Too)?;
        anchors.sort();
        Ok(anchors)
    }
}

/// The variables the platform's own tools read choose other files, so they choose the entry.
type Parsed = Mutex<Option<HashMap<Chosen, Arc<Anchors>>>>;

/// The system's certificates, parsed once for each value of the variables; a child of fork(2) goes on with
/// what its parent had. Those that cannot be read are passed over: one odd certificate must not take all
/// trust away.
fn system() -> Result<Arc<Anchors>, Error> {
    static PARSED: PerProcess<Parsed> = PerProcess::of_the_first(Mutex::new(None));
    let origin = system::chosen();
    // A thread of the parent that was parsing holds the lock for ever.
    let parsed =
        PARSED.get(|parents| Mutex::new(parents.try_lock().ok().and_then(|known| known.clone())));
    let mut parsed = parsed.lock().unwrap_or_else(PoisonError::into_inner);
    let parsed = parsed.get_or_insert_default();
    if let Some(anchors) = parsed.get(&origin) {
        return Ok(Arc::clone(anchors));
    }
    let loaded = system::load(&origin)?;
    let mut anchors = Anchors::default();
    let mut unreadable = 0;
    for certificate in &loaded.certs {
        let added = anchors.add(certificate, Authorities::Version1Too);
        unreadable += usize::from(added.is_err());
    }
    if anchors.certificates.is_empty() {
        let reasons: Vec<String> = loaded.errors.iter().map(ToString::to_string).collect();
        return Err(Error::configuration(
            "trust_store",
            format!(
                "the system's trust store{} contains no usable certificate ({unreadable} \
                 unreadable{}{}); \
                 install the system's CA certificates (ca-certificates on Debian), point \
                 SSL_CERT_FILE to a bundle, or pass a trust_store",
                system::described(&origin)
                    .map(|chosen| format!(" ({chosen})"))
                    .unwrap_or_default(),
                if reasons.is_empty() { "" } else { "; " },
                reasons.join("; "),
            ),
        ));
    }
    anchors.sort();
    let anchors = Arc::new(anchors);
    parsed.insert(origin, Arc::clone(&anchors));
    Ok(anchors)
}

/// The certificates of the system's store, in an order that does not depend on how they are kept.
///
/// # Errors
///
/// [`Error::Configuration`]: it holds none that can be used.
pub fn system_certificates() -> Result<Vec<CertificateDer<'static>>, Error> {
    let anchors = system()?;
    let certificates = anchors.certificates.iter();
    Ok(certificates.map(|trusted| trusted.der.clone()).collect())
}
