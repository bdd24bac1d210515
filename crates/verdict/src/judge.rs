//! The decision: by a store's certificates, by pins, or by the platform; then the caller's own verifier has
//! its say.

use std::borrow::Cow;
use std::sync::Arc;

use polytls_core::config::{
    Peer, PeerVerifier, Pins, Rules, Staples, Trust, TrustSource, Verification,
};
use polytls_core::pki_types::{CertificateDer, ServerName, UnixTime};
use polytls_core::{CertificateFailure, Error, Stapled, VerificationFailure};

use crate::anchors::Anchors;
use crate::errors::{reason_of, words};
use crate::explain::{Refused, explain};
use crate::leaf;
use crate::lists::Lists;
use crate::passed_over::PassedOver;
use crate::policy::{Crypto, PathRule, Platform, Policy, SystemTrust};
use crate::profile;
use crate::system::with_variables;

/// How long a session goes on, in seconds, whose peer was accepted by a platform that tells no path: what
/// is between leaf and anchor may end at any time.
const UNTOLD_PATH: i64 = 4 * 3600;

/// The most bytes of names that clients are given as a hint. Messages are read up to 64 KiB.
const HINTS: usize = 32 * 1024;

/// What a chain is held against.
#[derive(Debug)]
enum Standard {
    /// Whatever is presented will do.
    Nothing,
    Store {
        anchors: Arc<Anchors>,
        /// Is asked about what does not lead to `anchors`.
        platform: Option<Box<dyn Platform>>,
        /// Whether a [`Case`] may bring an anchor of the system's.
        from_library: bool,
    },
    Pins(Pins),
}

/// Judges the peers of one context.
#[derive(Debug)]
pub struct Judge {
    standard: Standard,
    pub(crate) lists: Lists,
    trust_source: TrustSource,
    peer_verifier: Option<Arc<dyn PeerVerifier>>,
    verification: Verification,
    /// What is made of OCSP responses that servers staple.
    pub(crate) staples: Staples,
    /// OpenSSL's, where the store stands for one of its.
    pub(crate) rules: Rules,
    /// The library's own.
    path_rule: Option<Arc<dyn PathRule>>,
    pub(crate) crypto: Crypto,
    pub(crate) peer_is_server: bool,
    /// The names of CAs that the peer is sent, if they were chosen.
    chosen_hints: Option<Vec<Vec<u8>>>,
}

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The peer's certificate.
    pub leaf: &'a CertificateDer<'a>,
    /// What the peer presented besides, in its order.
    pub intermediates: &'a [CertificateDer<'a>],
    /// The name that was asked for (clients); the unspecified address stands for none.
    pub name: Option<&'a ServerName<'a>>,
    /// What time it is.
    pub now: UnixTime,
    /// At which certificate of the system's a library has ended its path, with [`SystemTrust::Library`].
    /// The library vouches that it comes from its store, where it may be beside those of the policy.
    pub vouched: Option<&'a CertificateDer<'a>>,
}

impl<'a> Case<'a> {
    /// A chain as it was presented, leaf first; `None` if there is none.
    #[must_use]
    pub fn of(
        chain: &'a [CertificateDer<'a>],
        name: Option<&'a ServerName<'a>>,
        now: UnixTime,
    ) -> Option<Self> {
        let (leaf, intermediates) = chain.split_first()?;
        Some(Self {
            leaf,
            intermediates,
            name,
            now,
            vouched: None,
        })
    }

    pub(crate) fn chain(&self) -> Vec<&[u8]> {
        std::iter::once(self.leaf)
            .chain(self.intermediates)
            .map(AsRef::as_ref)
            .collect()
    }

    /// The time in seconds since 1970.
    pub(crate) fn seconds(&self) -> i64 {
        i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX)
    }
}

/// Why not, as facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct No {
    /// The reason.
    pub reason: VerificationFailure,
    /// What there is to say of it, half a sentence, for reasons that need more words.
    pub said: String,
    /// Which certificate of the chain is at fault, if that is known.
    pub index: Option<usize>,
    /// Certificates of the store that could have ended the path by their names.
    pub passed_over: Vec<PassedOver>,
    /// Kinds of names that an authority of the path constrains and that are not checked here.
    pub unchecked: Vec<&'static str>,
    /// The rule of OpenSSL's that was broken, if it was one.
    pub rule: Option<u16>,
    /// Whether it is what the peer has stapled, or that it has not.
    pub of_staple: bool,
}

impl No {
    /// A reason, and what there is to say of it.
    #[must_use]
    pub const fn new(reason: VerificationFailure, said: String) -> Self {
        Self {
            reason,
            said,
            index: None,
            passed_over: Vec::new(),
            unchecked: Vec::new(),
            rule: None,
            of_staple: false,
        }
    }
}

impl From<VerificationFailure> for No {
    fn from(reason: VerificationFailure) -> Self {
        Self::new(reason, String::new())
    }
}

impl From<webpki::Error> for No {
    fn from(error: webpki::Error) -> Self {
        Self::new(reason_of(&error), words(&error).to_owned())
    }
}

/// A yes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The path that was verified, from the leaf to the anchor, DER; `None` where there is none.
    pub path: Option<Vec<Vec<u8>>>,
    /// The last second, since 1970, in which all of it holds that was judged: the certificates of the path,
    /// the anchor included, the CRLs and the staple. `None`: nothing was judged that could end.
    pub ends: Option<u64>,
    /// The OCSP response that was stapled.
    pub staple: Option<Box<Stapled>>,
}

impl Verdict {
    pub(crate) fn new(path: Option<Vec<Vec<u8>>>, ends: impl IntoIterator<Item = i64>) -> Self {
        let ends = ends.into_iter().min();
        Self {
            path,
            ends: ends.map(|end| u64::try_from(end).unwrap_or(0)),
            staple: None,
        }
    }
}

impl Judge {
    /// `system`: who judges by the operating system's certificates.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`], with the field at fault.
    pub fn new(
        policy: &Policy<'_>,
        crypto: Crypto,
        system: SystemTrust<'_>,
    ) -> Result<Self, Error> {
        let standard = standard(policy, system)?;
        let source = policy
            .trust
            .filter(|_| !matches!(standard, Standard::Nothing));
        Ok(Self {
            standard,
            lists: Lists::read(&policy.common.crls)?,
            trust_source: with_variables(source.map_or(TrustSource::Nobody, Trust::source)),
            peer_verifier: policy.common.peer_verifier.clone(),
            verification: policy.verification,
            staples: policy.common.staples,
            rules: policy.common.rules,
            path_rule: None,
            crypto,
            peer_is_server: policy.peer_is_server,
            chosen_hints: policy.common.certificate_authorities.clone(),
        })
    }

    /// The same, who holds each path that is found to `rule` as well.
    #[must_use]
    pub fn with_rule(mut self, rule: Arc<dyn PathRule>) -> Self {
        self.path_rule = Some(rule);
        self
    }

    /// The names by which the peer may tell that it has a fitting certificate, each a Name in DER (RFC 8446
    /// section 4.2.4): those that were chosen, or those that clients are judged by. There are none where
    /// they would take more than 32 KiB: they are optional, and a message with too many is one that peers
    /// cannot read.
    #[must_use]
    pub fn hints(&self) -> Vec<Vec<u8>> {
        let hints = match (&self.chosen_hints, &self.standard) {
            (Some(chosen), _) => return chosen.clone(),
            (None, Standard::Store { anchors, .. }) if !self.peer_is_server => anchors.hints(),
            _ => Vec::new(),
        };
        // Each is put behind its length.
        let size: usize = hints.iter().map(|hint| hint.len() + 2).sum();
        if size > HINTS { Vec::new() } else { hints }
    }

    /// Whether the caller has a verifier of its own, who is asked about resumed sessions too.
    #[must_use]
    pub fn asks_verifier(&self) -> bool {
        self.peer_verifier.is_some()
    }

    /// Whether certificates are verified at all.
    pub(crate) const fn verifies(&self) -> bool {
        !matches!(self.standard, Standard::Nothing)
    }

    /// Judges a peer, the caller's own verifier included, but for what it staples ([`Self::stapled`]).
    ///
    /// # Errors
    ///
    /// [`CertificateFailure`]: the peer is refused.
    pub fn judge(&self, case: &Case<'_>) -> Result<Verdict, Box<CertificateFailure>> {
        let verdict = self.verify(case)?;
        self.ask(case, verdict.path.as_deref())?;
        Ok(verdict)
    }

    /// Judges a peer as far as certificates tell; the caller's own verifier is not asked.
    ///
    /// # Errors
    ///
    /// [`CertificateFailure`]: the peer is refused.
    pub fn verify(&self, case: &Case<'_>) -> Result<Verdict, Box<CertificateFailure>> {
        let decided = self.decide(case).and_then(|verdict| {
            if let (Some(rule), Some(path)) = (&self.path_rule, &verdict.path) {
                rule.check(path)?;
            }
            Ok(verdict)
        });
        decided.map_err(|no| self.refuse(&no, case))
    }

    fn decide(&self, case: &Case<'_>) -> Result<Verdict, No> {
        let name = self.checked_name(case);
        match &self.standard {
            Standard::Nothing => Ok(Verdict::default()),
            Standard::Pins(pins) => {
                let facts = leaf::check_pins(pins, case, name, &self.crypto)?;
                Ok(Verdict::new(
                    Some(vec![case.leaf.to_vec()]),
                    [facts.not_after],
                ))
            }
            Standard::Store {
                anchors,
                platform,
                from_library,
            } => {
                let anchors = vouched(anchors, case.vouched.filter(|_| *from_library))?;
                let decided = self.by_store(&anchors, case, name);
                match (
                    decided.and_then(|verdict| self.be_strict(verdict)),
                    platform,
                ) {
                    (Err(no), Some(platform)) => by_platform(&**platform, case, no),
                    (decided, _) => decided,
                }
            }
        }
    }

    /// By the certificates of a store: the leaf is one of them, or a path leads to one.
    fn by_store(
        &self,
        anchors: &Anchors,
        case: &Case<'_>,
        name: Option<&ServerName<'_>>,
    ) -> Result<Verdict, No> {
        let Some(trusted) = anchors.find(case.leaf) else {
            return self.path(anchors, case, name);
        };
        let facts = &trusted.facts;
        self.check_exact(facts, case, name)?;
        let ends = self.lists.end(&facts.issuer_der, case.seconds());
        Ok(Verdict::new(
            Some(vec![case.leaf.to_vec()]),
            ends.into_iter().chain([facts.not_after]),
        ))
    }

    /// OpenSSL's rules, where they are asked for.
    fn be_strict(&self, verdict: Verdict) -> Result<Verdict, No> {
        if self.rules.needs_lists && self.lists.is_empty() {
            return Err(VerificationFailure::RevocationUnknown.into());
        }
        let path = verdict.path.as_deref().filter(|_| self.rules.strict);
        for (index, der) in path.unwrap_or_default().iter().enumerate() {
            let is_last = verdict
                .path
                .as_ref()
                .is_some_and(|path| index + 1 == path.len());
            let found = polytls_x509::strict_fault(der, index > 0, is_last);
            let found = found.map_err(|error| {
                No::new(VerificationFailure::BadEncoding, error.why().to_owned())
            })?;
            if let Some(fault) = found {
                let mut no = No::new(VerificationFailure::Other, fault.words.to_owned());
                no.rule = Some(fault.code);
                return Err(no);
            }
        }
        Ok(verdict)
    }

    fn checked_name<'a>(&self, case: &Case<'a>) -> Option<&'a ServerName<'a>> {
        let is_checked = match &self.standard {
            Standard::Pins(pins) => !pins.any_name,
            Standard::Nothing => false,
            Standard::Store { .. } => true,
        };
        case.name
            .filter(|_| is_checked && self.verification == Verification::Full)
    }

    /// The caller's own say, about a peer that was found in order; `verified`: the path.
    ///
    /// # Errors
    ///
    /// [`CertificateFailure`]: the peer is refused.
    pub fn ask(
        &self,
        case: &Case<'_>,
        verified: Option<&[Vec<u8>]>,
    ) -> Result<(), Box<CertificateFailure>> {
        let Some(verifier) = &self.peer_verifier else {
            return Ok(());
        };
        let presented: Vec<CertificateDer<'_>> = std::iter::once(case.leaf)
            .chain(case.intermediates)
            .map(|certificate| CertificateDer::from(certificate.as_ref()))
            .collect();
        let hostname = asked_for(case);
        let peer = Peer {
            presented: &presented,
            verified,
            hostname: hostname.as_deref(),
            is_server: self.peer_is_server,
        };
        verifier.verify(&peer).map_err(|refusal| {
            let no = No::new(VerificationFailure::RefusedByVerifier, refusal.message);
            let mut failure = self.refuse(&no, case);
            failure.cause = refusal.cause;
            failure
        })
    }

    /// The whole story of a refusal.
    #[must_use]
    pub fn refuse(&self, no: &No, case: &Case<'_>) -> Box<CertificateFailure> {
        let hostname = match no.reason {
            VerificationFailure::RefusedByVerifier => asked_for(case),
            _ => self
                .checked_name(case)
                .map(|name| name.to_str().into_owned()),
        };
        let chain = case.chain();
        Box::new(self.story(no, &chain, hostname.as_deref(), case.seconds()))
    }

    /// The story of a peer that has presented nothing that could be told.
    #[must_use]
    pub fn refuse_unseen(&self, no: &No) -> CertificateFailure {
        self.story(no, &[], None, 0)
    }

    fn story(
        &self,
        no: &No,
        chain: &[&[u8]],
        hostname: Option<&str>,
        now: i64,
    ) -> CertificateFailure {
        let mut failure = explain(Refused {
            reason: no.reason,
            said: &no.said,
            chain,
            index: no.index,
            hostname,
            is_server: self.peer_is_server,
            trust_source: &self.trust_source,
            passed_over: &no.passed_over,
            unchecked: &no.unchecked,
            of_staple: no.of_staple,
            now,
        });
        failure.rule = no.rule;
        failure
    }
}

/// `anchors` with the one of the system's that a library vouches for. What the policy itself speaks of stays
/// what the policy says: a library may have a peer's certificate in the same store.
fn vouched<'a>(
    anchors: &'a Anchors,
    vouched: Option<&CertificateDer<'_>>,
) -> Result<Cow<'a, Anchors>, No> {
    match vouched {
        Some(der) if anchors.find(der).is_none() => anchors
            .with_systems(der)
            .map(Cow::Owned)
            .map_err(|error| No::new(VerificationFailure::BadEncoding, error)),
        _ => Ok(Cow::Borrowed(anchors)),
    }
}

/// What does not lead to a certificate of the policy needs the platform's yes, and keeps to the rules that can
/// be asked only of the leaf. `no`: why it does not.
fn by_platform(platform: &dyn Platform, case: &Case<'_>, no: No) -> Result<Verdict, No> {
    platform
        .verify(case)
        .map_err(|theirs| match theirs.reason {
            VerificationFailure::UnknownIssuer => no,
            _ => theirs,
        })?;
    let facts = leaf::facts(case.leaf)?;
    leaf::check_key(&facts)?;
    leaf::check_curve(&facts)?;
    leaf::check_key_usage(&facts)?;
    profile::check_leaf(&facts)?;
    Ok(Verdict::new(
        None,
        [facts.not_after, case.seconds().saturating_add(UNTOLD_PATH)],
    ))
}

fn standard(policy: &Policy<'_>, system: SystemTrust<'_>) -> Result<Standard, Error> {
    if policy.verification == Verification::Nothing {
        return Ok(Standard::Nothing);
    }
    let store = match policy.trust {
        None => {
            return Err(Error::configuration(
                "client_authentication",
                "client certificates are requested, but there is no trust_store to verify them \
                 with",
            ));
        }
        Some(Trust::Pinned(pins)) => {
            if pins.certificates.is_empty() && pins.spki_sha256.is_empty() {
                return Err(Error::configuration("trust_store", "no pin is given"));
            }
            return Ok(Standard::Pins(pins.clone()));
        }
        Some(Trust::Store(store)) => store,
    };
    Ok(Standard::Store {
        anchors: Anchors::of(
            store,
            policy.common.rules,
            matches!(system, SystemTrust::Read),
        )?,
        platform: match system {
            SystemTrust::Platform(_)
                if store.system && policy.common.staples == Staples::Required =>
            {
                return Err(Error::configuration(
                    "require_staple",
                    "the operating system verifies servers and does not report the path, so OCSP \
                     responses cannot be verified; give a TrustStore with CA certificates",
                ));
            }
            SystemTrust::Platform(make) if store.system => Some(make(policy)?),
            _ => None,
        },
        from_library: store.system && matches!(system, SystemTrust::Library),
    })
}

/// The name that was asked for: the unspecified address stands for none.
fn asked_for(case: &Case<'_>) -> Option<String> {
    case.name
        .filter(|name| !matches!(name, ServerName::IpAddress(ip) if std::net::IpAddr::from(*ip).is_unspecified()))
        .map(|name| name.to_str().into_owned())
}
