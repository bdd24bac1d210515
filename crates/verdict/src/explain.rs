//! Why a certificate was not accepted, in words that a person can act on.
//!
//! Every implementation comes here with its library's reason and the chain that was presented, so
//! the same fault reads the same everywhere. Libraries rarely tell which certificate is at fault; what
//! can be found out by reading is found out here, and what cannot stays untold.

use polytls_core::config::TrustSource;
use polytls_core::{CertificateFailure, Responsible, VerificationFailure};
use polytls_x509::{LEAST_RSA_BITS, Summary, summarize};

use crate::anchors::Unfit;
use crate::passed_over::PassedOver;

mod findings;
pub(crate) mod words;

use findings::Finding;
use words::{date, is_address, list, span};

/// What is known of a refusal.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The library's reason.
    pub reason: VerificationFailure,
    /// What the library said, for reasons that need no words of ours.
    pub said: &'a str,
    /// The chain as the peer presented it, leaf first.
    pub chain: &'a [&'a [u8]],
    /// Which of them is at fault, if the decision knows.
    pub index: Option<usize>,
    /// The name that was checked.
    pub hostname: Option<&'a str>,
    /// Whether the peer is a server.
    pub is_server: bool,
    /// What it was judged by.
    pub trust_source: &'a TrustSource,
    /// Certificates of the store that could have ended the path by their names.
    pub passed_over: &'a [PassedOver],
    /// Kinds of names that an authority of the path constrains and that are not checked here: what is
    /// below it is refused for that.
    pub unchecked: &'a [&'static str],
    /// Whether it is about an OCSP response that the peer has stapled, or that it has not.
    pub of_staple: bool,
    /// Seconds since 1970.
    pub now: i64,
}

/// The whole story.
#[must_use]
pub fn explain(refused: Refused<'_>) -> CertificateFailure {
    let read: Vec<Option<Summary>> = refused
        .chain
        .iter()
        .map(|der| summarize(der).ok())
        .collect();
    let reason = refine(refused.reason, &read);
    let mut story = Story {
        reason,
        refused,
        read: &read,
        trust_source: words_of(refused.trust_source),
        finding: None,
    };
    if story.is_the_chains() {
        let path = path(&read);
        let finding = findings::find(reason, refused.chain, &read, &path, refused.is_server);
        story.finding = finding;
    }
    let index = story.index();
    let message = story.message(index);
    let (responsible, details, advice) = story.advice(index);
    let mut party = story.party(responsible);
    if story.is_leaf_of_a_stranger(index) {
        party = format!("{party} or {}", story.party(story.keeper()));
    }
    let mut explanation = format!("{}: {message}\n", story.reason.words());
    let passed_over = refused.passed_over.iter();
    let in_store = passed_over.filter_map(|certificate| certificate.why_not(&story.trust_source));
    for detail in details.into_iter().chain(in_store) {
        explanation += &format!("{detail}\n");
    }
    explanation += &format!("To fix: {party} must {advice}");
    let at_fault = index.and_then(|index| read[index].as_ref());
    let is_about_time = matches!(
        story.reason,
        VerificationFailure::Expired | VerificationFailure::NotYetValid
    );
    let is_about_names = matches!(
        story.reason,
        VerificationFailure::HostnameMismatch | VerificationFailure::NameConstraintViolation
    );
    CertificateFailure {
        reason: story.reason,
        message,
        explanation,
        hostname: refused.hostname.map(str::to_owned),
        chain: refused.chain.iter().map(|der| der.to_vec()).collect(),
        index,
        names: read
            .first()
            .and_then(Option::as_ref)
            .filter(|_| is_about_names)
            .map(Summary::names)
            .unwrap_or_default(),
        validity: at_fault
            .map(|summary| (summary.not_before, summary.not_after))
            .or_else(|| story.anchor().map(|anchor| anchor.validity))
            .filter(|_| is_about_time),
        trust_source: Some(story.trust_source),
        responsible,
        rule: None,
        of_staple: refused.of_staple,
        ocsp_response: None,
        cause: None,
    }
}

/// Libraries that know no minimum call a small key an unsupported one, or a signature by it wrong.
fn refine(reason: VerificationFailure, read: &[Option<Summary>]) -> VerificationFailure {
    match reason {
        VerificationFailure::UnsupportedSignatureAlgorithm | VerificationFailure::BadSignature
            if read.iter().flatten().any(Summary::is_weak) =>
        {
            VerificationFailure::WeakKey
        }
        reason => reason,
    }
}

/// What peers are judged by, as in "not in {}".
fn words_of(source: &TrustSource) -> String {
    match source {
        TrustSource::Nobody => "nothing".to_owned(),
        TrustSource::System { has_more, chosen } => {
            let chosen = chosen.as_ref().map(|chosen| format!(" ({chosen})"));
            let more = if *has_more {
                " or the certificates added to it"
            } else {
                ""
            };
            format!(
                "the system's trust store{}{more}",
                chosen.unwrap_or_default()
            )
        }
        TrustSource::Given(None) => "the trust store".to_owned(),
        TrustSource::Given(Some(path)) => format!("the trust store {path}"),
        TrustSource::Pins => "the pins".to_owned(),
    }
}

/// The issuer of the last certificate that issuers' names lead to from the leaf, as a Name in DER.
pub(crate) fn issuer_at_the_end(chain: &[&[u8]]) -> Option<Vec<u8>> {
    let read: Vec<Option<Summary>> = chain.iter().map(|der| summarize(der).ok()).collect();
    let last = read.get(end_of_path(&read)?)?.as_ref()?;
    Some(last.issuer_der.clone())
}

/// The last certificate that issuers' names lead to from the leaf.
fn end_of_path(read: &[Option<Summary>]) -> Option<usize> {
    path(read).last().copied()
}

/// The places of the certificates that issuers' names lead to from the leaf, each once.
fn path(read: &[Option<Summary>]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut at = 0;
    let mut seen = vec![false; read.len()];
    loop {
        let Some(Some(current)) = read.get(at) else {
            return places;
        };
        seen[at] = true;
        places.push(at);
        let is_issuer = |(index, summary): (usize, &Option<Summary>)| {
            let found = summary.as_ref();
            (!seen[index] && found.is_some_and(|it| it.subject_der == current.issuer_der))
                .then_some(index)
        };
        match read.iter().enumerate().find_map(is_issuer) {
            Some(next) => at = next,
            None => return places,
        }
    }
}

/// Why a name that a person finds in a certificate does not count.
enum Nameless<'a> {
    /// There is only a common name.
    CommonName(&'a str),
    /// The address that was asked for is there, as a DNS name.
    AddressAsName,
}

impl<'a> Nameless<'a> {
    fn of(leaf: &'a Summary, hostname: Option<&str>) -> Option<Self> {
        if leaf.names().is_empty() {
            return leaf.common_name.as_deref().map(Self::CommonName);
        }
        let is_there = |name: &str| leaf.dns_names.iter().any(|each| each == name);
        (is_address(hostname) && hostname.is_some_and(is_there)).then_some(Self::AddressAsName)
    }
}

struct Story<'a> {
    reason: VerificationFailure,
    refused: Refused<'a>,
    read: &'a [Option<Summary>],
    trust_source: String,
    finding: Option<Finding>,
}

impl Story<'_> {
    fn peer(&self) -> &'static str {
        if self.refused.is_server {
            "server"
        } else {
            "client"
        }
    }

    fn find(&self, is_at_fault: impl Fn(&Summary) -> bool) -> Option<usize> {
        let mut read = self.read.iter();
        read.position(|summary| summary.as_ref().is_some_and(&is_at_fault))
    }

    /// Whether it is a certificate of the chain that is at fault, and not one of the store, or nobody's.
    fn is_the_chains(&self) -> bool {
        self.anchor().is_none() && self.unchecked().is_none()
    }

    /// Which certificate is at fault, as far as the decision and reading tell.
    fn index(&self) -> Option<usize> {
        use VerificationFailure as F;
        let now = self.refused.now;
        if let Some(finding) = &self.finding {
            return Some(finding.index);
        }
        // It was told with the reason that the decision found: another one, found by reading, may be another's.
        let is_told = self.is_the_chains() && self.reason == self.refused.reason;
        let known = self.refused.index.filter(|_| is_told);
        if known.is_some_and(|index| index < self.read.len()) {
            return known;
        }
        match self.reason {
            F::Expired | F::NotYetValid if self.anchor().is_some() => None,
            // Libraries differ in whether the last second belongs to it.
            F::Expired => self.find(|summary| summary.not_after <= now),
            F::NotYetValid => self.find(|summary| summary.not_before > now),
            F::WeakKey => self.find(Summary::is_weak),
            F::UnknownIssuer => end_of_path(self.read),
            F::BadEncoding => self.read.iter().position(Option::is_none),
            F::HostnameMismatch | F::PinMismatch | F::RefusedByVerifier => {
                (!self.read.is_empty()).then_some(0)
            }
            F::NoCertificate => None,
            _ if !self.is_the_chains() => None,
            // One of them, or one between them and the anchor; by itself it is the leaf.
            _ => (self.read.len() == 1).then_some(0),
        }
    }

    /// How a certificate of the chain is called.
    fn called(&self, index: usize) -> String {
        let subject = self.read[index].as_ref().map(|summary| &summary.subject);
        let subject = match subject {
            Some(subject) if !subject.is_empty() => format!(" of {subject}"),
            _ => String::new(),
        };
        if index == 0 {
            format!("the certificate{subject}")
        } else {
            format!("the certificate{subject} (intermediate {index})")
        }
    }

    /// The kinds of names that are constrained and not checked, if that is why.
    fn unchecked(&self) -> Option<String> {
        let is_why = self.reason == VerificationFailure::NameConstraintViolation;
        let kinds = self.refused.unchecked;
        (is_why && !kinds.is_empty()).then(|| kinds.join(", "))
    }

    /// The certificate of the store that is at fault, if the path was fine up to there.
    fn anchor(&self) -> Option<&PassedOver> {
        use VerificationFailure as F;
        let is_at_fault = |passed_over: &&PassedOver| {
            matches!(
                (self.reason, passed_over.why),
                (F::Expired, Unfit::Expired(_))
                    | (F::NotYetValid, Unfit::NotYetValid(_))
                    | (F::PathTooLong, Unfit::PathLength(_))
                    | (F::InvalidPurpose, Unfit::Purpose)
                    | (F::UnhandledCriticalExtension, Unfit::UnknownCritical)
                    | (F::RevocationUnknown, Unfit::Lists)
            )
        };
        self.refused.passed_over.iter().find(is_at_fault)
    }

    fn at(&self, index: Option<usize>) -> Option<(usize, &Summary)> {
        let index = index?;
        Some((index, self.read.get(index)?.as_ref()?))
    }

    /// What was found, in one sentence.
    fn message(&self, index: Option<usize>) -> String {
        use VerificationFailure as F;
        let Refused {
            said,
            hostname,
            now,
            ..
        } = self.refused;
        let trust_source = &self.trust_source;
        if let Some(anchor) = self.anchor() {
            return anchor.message(self.peer(), trust_source, now);
        }
        if let Some(kinds) = self.unchecked() {
            return format!(
                "a CA in the chain has name constraints on {kinds}, which polytls cannot check: polytls \
                 rejects all certificates below such a CA"
            );
        }
        if let Some(finding) = &self.finding {
            return format!("{} {}", self.called(finding.index), finding.what);
        }
        match (self.reason, self.at(index)) {
            (F::HostnameMismatch, Some((_, leaf))) => {
                let asked = hostname.unwrap_or("another name");
                match Nameless::of(leaf, hostname) {
                    Some(Nameless::CommonName(name)) => format!(
                        "the certificate has no subject alternative name, and its common name \
                         {name} is ignored; you asked for {asked}"
                    ),
                    Some(Nameless::AddressAsName) => format!(
                        "the certificate has {asked} only as a DNS name; you asked for the IP \
                         address {asked}"
                    ),
                    None => format!(
                        "the certificate is valid for {}; you asked for {asked}",
                        list(&leaf.names())
                    ),
                }
            }
            (F::UnknownIssuer, Some((0, leaf))) if leaf.is_self_issued() => format!(
                "the certificate of {} is self-signed and not in {trust_source}",
                leaf.subject
            ),
            (F::UnknownIssuer, Some((_, last))) if last.is_self_issued() => format!(
                "the chain ends at the self-signed certificate of {}, which is not in {trust_source}",
                last.subject
            ),
            (F::UnknownIssuer, Some((index, last))) if self.refused.passed_over.is_empty() => {
                format!(
                    "{} was issued by {}, which is not in {trust_source}",
                    self.called(index),
                    last.issuer
                )
            }
            (F::UnknownIssuer, Some((index, last))) => format!(
                "{} was issued by {}, which must not issue certificates",
                self.called(index),
                last.issuer
            ),
            (F::Expired, Some((index, summary))) => format!(
                "{} expired {} ago, {}",
                self.called(index),
                span(now.saturating_sub(summary.not_after)),
                date(summary.not_after)
            ),
            (F::NotYetValid, Some((index, summary))) => format!(
                "{} will be valid in {}, {}",
                self.called(index),
                span(summary.not_before.saturating_sub(now)),
                date(summary.not_before)
            ),
            (F::Expired, None) => format!(
                "a CA certificate has expired, and the {} did not send it",
                self.peer()
            ),
            (F::WeakKey, Some((index, summary))) => format!(
                "{} has a {}-bit {} key; at least {LEAST_RSA_BITS} bits are required",
                self.called(index),
                summary.key_bits,
                summary.key_type
            ),
            (F::PinMismatch, _) => "neither the certificate nor its key is pinned".to_owned(),
            (F::NoCertificate, _) => {
                "the peer presented no certificate, but one is required".to_owned()
            }
            (F::RefusedByVerifier, _) => said.to_owned(),
            (F::Revoked, Some((index, summary))) if self.refused.of_staple => format!(
                "{} was revoked by {} at {said}, as the stapled OCSP response says",
                self.called(index),
                summary.issuer
            ),
            (F::Revoked, Some((index, summary))) => {
                format!("{} was revoked by {}", self.called(index), summary.issuer)
            }
            (F::Revoked, None) => "a certificate in the chain was revoked".to_owned(),
            (F::RevocationUnknown, _) if self.refused.of_staple => {
                format!("the certificate is not covered by a stapled OCSP response: {said}")
            }
            (F::RevocationUnknown, _) => {
                format!("a certificate in the chain is not covered by a current CRL: {said}")
            }
            (F::BadSignature, Some((index, summary))) if self.refused.index.is_some() => format!(
                "the signature on {} does not verify with the known key of {}: the certificate \
                 was changed, or a different key with that name signed it",
                self.called(index),
                summary.issuer
            ),
            (_, Some((index, _))) => format!("{} was not accepted: {said}", self.called(index)),
            (_, None) => format!("the certificate was not accepted: {said}"),
        }
    }

    /// Who keeps the trust store.
    fn keeper(&self) -> Responsible {
        match self.refused.trust_source {
            TrustSource::System { .. } => Responsible::Administrator,
            _ => Responsible::You,
        }
    }

    fn party(&self, responsible: Responsible) -> String {
        match responsible {
            Responsible::You => "you".to_owned(),
            Responsible::Peer => format!("the {}'s operator", self.peer()),
            Responsible::Administrator => "your administrator".to_owned(),
        }
    }

    /// Whether the leaf's issuer is neither here nor presented: an intermediate, or a root.
    fn is_leaf_of_a_stranger(&self, index: Option<usize>) -> bool {
        self.reason == VerificationFailure::UnknownIssuer
            && self.anchor().is_none()
            && matches!(self.at(index), Some((0, leaf)) if !leaf.is_self_issued())
    }

    /// Who can fix it, more to know, and what to do.
    fn advice(&self, index: Option<usize>) -> (Responsible, Vec<String>, String) {
        use VerificationFailure as F;
        let Refused { hostname, now, .. } = self.refused;
        let trust_source = &self.trust_source;
        let store = self.keeper();
        let none = Vec::new;
        let clock = || vec![format!("this machine's clock says {}", date(now))];
        if let Some(anchor) = self.anchor() {
            return (store, anchor.details(now), anchor.advice());
        }
        let is_our_limit = self.finding.as_ref().is_some_and(|it| it.is_our_limit);
        if self.unchecked().is_some() || is_our_limit {
            return (
                Responsible::You,
                vec![format!(
                    "this is a limitation of polytls (webpki), not a fault of the {}",
                    self.peer()
                )],
                "trust the certificate itself (peers=), or a CA below that has no such constraints"
                    .to_owned(),
            );
        }
        if let Some(Finding {
            advice: Some(advice),
            ..
        }) = &self.finding
        {
            return (Responsible::Peer, none(), advice.clone());
        }
        match (self.reason, self.at(index)) {
            (F::UnknownIssuer, Some((_, last))) if !self.refused.passed_over.is_empty() => (
                store,
                Vec::new(),
                format!("trust a certificate of {} that is a CA certificate", last.issuer),
            ),
            (F::UnknownIssuer, Some((_, last))) if last.is_self_issued() => (
                store,
                vec![self.sent()],
                format!("add the certificate of {} to the trust store, if you trust it", last.subject),
            ),
            (F::UnknownIssuer, Some((0, leaf))) => (
                Responsible::Peer,
                vec![format!(
                    "{}: either the {}'s chain is incomplete, or {} is a root that is not in the \
                     trust store",
                    self.sent(),
                    self.peer(),
                    leaf.issuer
                )],
                format!(
                    "send the certificate of {issuer} as well (if it is an intermediate), or add \
                     it to the trust store (if it is a root that you trust)",
                    issuer = leaf.issuer
                ),
            ),
            (F::UnknownIssuer, Some((_, last))) => (
                store,
                vec![self.sent()],
                format!("add the certificate of {} to the trust store, if you trust it", last.issuer),
            ),
            (F::UnknownIssuer, None) => (
                Responsible::Peer,
                none(),
                format!("present a certificate that chains to one in {trust_source}"),
            ),
            (F::Expired, _) => (
                Responsible::Peer,
                clock(),
                "renew the certificate (if the clock is wrong, set it)".to_owned(),
            ),
            (F::NotYetValid, _) => (
                Responsible::Peer,
                clock(),
                "present a certificate that is already valid (if the clock is wrong, set \
                 it)".to_owned(),
            ),
            (F::HostnameMismatch, Some((_, leaf))) if Nameless::of(leaf, hostname).is_some() => (
                Responsible::Peer,
                none(),
                format!(
                    "have it reissued with {} {} in its subject alternative name (RFC 9525)",
                    hostname.unwrap_or("the name"),
                    if is_address(hostname) {
                        "as an IP address"
                    } else {
                        "as a DNS name"
                    }
                ),
            ),
            (F::HostnameMismatch, Some((_, leaf)))
                if is_address(hostname) && !leaf.dns_names.is_empty() =>
            {
                (
                    Responsible::You,
                    none(),
                    "connect with a name in the certificate, if necessary with \
                     server_hostname=".to_owned(),
                )
            }
            (F::HostnameMismatch, _) => (
                Responsible::Peer,
                none(),
                "present a certificate for that name (or connect with a name in the \
                 certificate)".to_owned(),
            ),
            (F::NoCertificate, _) => (
                Responsible::Peer,
                none(),
                "present a certificate".to_owned(),
            ),
            (F::Revoked, _) => (
                Responsible::Peer,
                none(),
                "get a new certificate, with a new key".to_owned(),
            ),
            (F::RevocationUnknown, _) if self.refused.of_staple => (
                Responsible::Peer,
                none(),
                "staple a current OCSP response about its certificate, signed by the issuer or \
                 a responder of the issuer"
                    .to_owned(),
            ),
            (F::RevocationUnknown, _) => (
                Responsible::You,
                none(),
                "give a current CRL from the issuer of every certificate in the chain (crls=), or no CRL"
                    .to_owned(),
            ),
            (F::PinMismatch, Some((_, leaf))) => (
                Responsible::You,
                vec![format!(
                    "the peer presented the certificate of {}, with an {} key",
                    leaf.subject, leaf.key_type
                )],
                "ask its owner whether the key was changed, and pin the new key only if it was"
                    .to_owned(),
            ),
            (F::PinMismatch, None) => (
                Responsible::You,
                none(),
                "find out which certificate was presented, and by whom".to_owned(),
            ),
            (F::RefusedByVerifier, _) => (
                Responsible::You,
                none(),
                "check the exception that peer_verifier raised: the error's __cause__".to_owned(),
            ),
            (F::BadSignature, Some((_, summary))) if self.refused.index.is_some() => (
                Responsible::Peer,
                none(),
                format!(
                    "present the certificate as {issuer} signed it, and send the certificate of \
                     {issuer} that has that key",
                    issuer = summary.issuer
                ),
            ),
            (F::PathTooLong, _) => (
                Responsible::Peer,
                none(),
                "send only the certificates of one short path, in order".to_owned(),
            ),
            (F::NameConstraintViolation, _) => (
                Responsible::Peer,
                none(),
                "get one from a CA that is allowed to issue for all of its names".to_owned(),
            ),
            (F::WeakKey | F::UnsupportedSignatureAlgorithm, _) => (
                Responsible::Peer,
                none(),
                "get a certificate with a larger key or a newer signature".to_owned(),
            ),
            _ => (
                Responsible::Peer,
                none(),
                "present a well-formed certificate for this use".to_owned(),
            ),
        }
    }

    /// "the server sent 1 certificate and no intermediate".
    fn sent(&self) -> String {
        let peer = self.peer();
        match self.read.len() {
            1 => format!("the {peer} sent 1 certificate and no intermediate"),
            count => format!("the {peer} sent {count} certificates"),
        }
    }
}

#[cfg(test)]
mod tests;
