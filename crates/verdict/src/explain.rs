//! Why a certificate was not accepted, in words that a person can act on.
//!
//! Every implementation comes here with its library's reason and the chain that was presented, so
//! the same fault reads the same everywhere. Libraries rarely tell which certificate is at fault; what
//! can be found out by reading is found out here, and what cannot stays untold.

use polytls_core::{CertificateFailure, Turn, VerificationFailure};
use polytls_x509::{LEAST_RSA_BITS, Summary, summarize};
use time::OffsetDateTime;

/// At most this many names of a stranger's certificate are told in words.
const NAMES_TOLD: usize = 8;

/// What is known of a refusal.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The library's reason.
    pub reason: VerificationFailure,
    /// What the library said, for reasons that need no words of ours.
    pub said: &'a str,
    /// The chain as the peer presented it, leaf first.
    pub chain: &'a [&'a [u8]],
    /// The name that was checked.
    pub hostname: Option<&'a str>,
    /// Whether the peer is a server.
    pub is_server: bool,
    /// Where trust comes from, as in "not in {}".
    pub trust_source: &'a str,
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
    let story = Story {
        reason: refine(refused.reason, &read),
        refused,
        read: &read,
    };
    let index = story.index();
    let message = story.message(index);
    let (turn, details, advice) = story.advice(index);
    let party = match turn {
        Turn::You => "you".to_owned(),
        Turn::Peer => format!("the {}'s operator", story.peer()),
        Turn::Administrator => "your administrator".to_owned(),
    };
    let mut explanation = format!("{}: {message}\n", story.reason.words());
    for detail in details {
        explanation += &format!("{detail}\n");
    }
    explanation += &format!("whose turn it is: {party}; {advice}");
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
            .filter(|_| is_about_time)
            .map(|summary| (summary.not_before, summary.not_after)),
        trust_source: Some(refused.trust_source.to_owned()),
        turn,
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

struct Story<'a> {
    reason: VerificationFailure,
    refused: Refused<'a>,
    read: &'a [Option<Summary>],
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

    /// Which certificate is at fault, as far as reading tells.
    fn index(&self) -> Option<usize> {
        use VerificationFailure as F;
        let now = self.refused.now;
        match self.reason {
            F::Expired => self.find(|summary| summary.not_after < now),
            F::NotYetValid => self.find(|summary| summary.not_before > now),
            F::WeakKey => self.find(Summary::is_weak),
            F::UnknownIssuer => self.last_of_path(),
            F::BadEncoding => self.read.iter().position(Option::is_none),
            F::HostnameMismatch | F::PinMismatch | F::RefusedByVerifier => {
                (!self.read.is_empty()).then_some(0)
            }
            F::NoCertificate => None,
            // One of them, or one between them and the anchor; alone it is the leaf.
            _ => (self.read.len() == 1).then_some(0),
        }
    }

    /// The last certificate that issuers' names lead to from the leaf.
    fn last_of_path(&self) -> Option<usize> {
        let mut at = 0;
        let mut seen = vec![false; self.read.len()];
        loop {
            let current = self.read.get(at)?.as_ref()?;
            seen[at] = true;
            if current.is_self_issued() {
                return Some(at);
            }
            let is_issuer = |(index, summary): (usize, &Option<Summary>)| {
                let found = summary.as_ref();
                (!seen[index] && found.is_some_and(|it| it.subject_der == current.issuer_der))
                    .then_some(index)
            };
            match self.read.iter().enumerate().find_map(is_issuer) {
                Some(next) => at = next,
                None => return Some(at),
            }
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
            format!(
                "the certificate{subject} (number {index} behind the {}'s own)",
                self.peer()
            )
        }
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
            trust_source,
            now,
            ..
        } = self.refused;
        match (self.reason, self.at(index)) {
            (F::HostnameMismatch, Some((_, leaf))) => format!(
                "the certificate is valid for {}, you asked for {}",
                list(&leaf.names()),
                hostname.unwrap_or("another name")
            ),
            (F::UnknownIssuer, Some((0, leaf))) if leaf.is_self_issued() => format!(
                "the certificate of {} is self-signed, and not in {trust_source}",
                leaf.subject
            ),
            (F::UnknownIssuer, Some((index, last))) if last.is_self_issued() => {
                let leads = self.called(index);
                format!(
                    "the chain ends at {leads}, which signed itself and is not in {trust_source}"
                )
            }
            (F::UnknownIssuer, Some((index, last))) => format!(
                "{} was issued by {}, which is not in {trust_source}",
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
                "an authority's certificate has expired, and the {} did not send it",
                self.peer()
            ),
            (F::WeakKey, Some((index, summary))) => format!(
                "{} has an {} key of {} bits; {LEAST_RSA_BITS} are the least",
                self.called(index),
                summary.key_type,
                summary.key_bits
            ),
            (F::PinMismatch, _) => {
                "neither the certificate nor its key is among the pins".to_owned()
            }
            (F::NoCertificate, _) => {
                "the peer presented no certificate, and one is required".to_owned()
            }
            (F::RefusedByVerifier, _) => said.to_owned(),
            (F::Revoked, Some((index, summary))) => {
                format!("{} was revoked by {}", self.called(index), summary.issuer)
            }
            (F::Revoked, None) => "a certificate of the chain was revoked".to_owned(),
            (F::RevocationUnknown, _) => format!(
                "no revocation list that is in force speaks of a certificate of the chain: {said}"
            ),
            (_, Some((index, _))) => format!("{} was not accepted: {said}", self.called(index)),
            (_, None) => format!("the certificate was not accepted: {said}"),
        }
    }

    /// Whose turn it is, more to know, and what to do.
    fn advice(&self, index: Option<usize>) -> (Turn, Vec<String>, String) {
        use VerificationFailure as F;
        let Refused {
            hostname,
            trust_source,
            now,
            ..
        } = self.refused;
        let is_system = trust_source.contains("system");
        let store = if is_system {
            Turn::Administrator
        } else {
            Turn::You
        };
        let none = Vec::new;
        let clock = || vec![format!("this machine's clock says {}", date(now))];
        match (self.reason, self.at(index)) {
            (F::UnknownIssuer, Some((_, last))) if last.is_self_issued() => (
                store,
                vec![self.sent()],
                format!("if {} is to be trusted, add its certificate to the trust store", last.subject),
            ),
            (F::UnknownIssuer, Some((0, leaf))) => (
                Turn::Peer,
                vec![format!(
                    "{}: the {}'s chain is incomplete",
                    self.sent(),
                    self.peer()
                )],
                format!(
                    "send the intermediate certificates as well (or, if {} is an authority of your own, \
                     add its certificate to the trust store)",
                    leaf.issuer
                ),
            ),
            (F::UnknownIssuer, Some((_, last))) => (
                store,
                vec![self.sent()],
                format!("if {} is to be trusted, add its certificate to the trust store", last.issuer),
            ),
            (F::UnknownIssuer, None) => (
                Turn::Peer,
                none(),
                format!("present a certificate that leads to one in {trust_source}"),
            ),
            (F::Expired, _) => (
                Turn::Peer,
                clock(),
                "renew the certificate (if the clock is wrong, set it)".to_owned(),
            ),
            (F::NotYetValid, _) => (
                Turn::Peer,
                clock(),
                "present a certificate that is valid by now (if the clock is wrong, set it)".to_owned(),
            ),
            (F::HostnameMismatch, Some((_, leaf)))
                if is_address(hostname) && !leaf.dns_names.is_empty() =>
            {
                (
                    Turn::You,
                    none(),
                    "connect by a name of the certificate, with server_hostname= if need be".to_owned(),
                )
            }
            (F::HostnameMismatch, _) => (
                Turn::Peer,
                none(),
                "present a certificate for that name (or connect by one that it has)".to_owned(),
            ),
            (F::NoCertificate, _) => (
                Turn::Peer,
                none(),
                "present a certificate".to_owned(),
            ),
            (F::Revoked, _) => (
                Turn::Peer,
                none(),
                "get a new certificate, with a new key".to_owned(),
            ),
            (F::RevocationUnknown, _) => (
                Turn::You,
                none(),
                "give a list that is in force from the issuer of every certificate of the chain \
                 (crls=), or none at all"
                    .to_owned(),
            ),
            (F::PinMismatch, Some((_, leaf))) => (
                Turn::You,
                vec![format!(
                    "presented was the certificate of {}, an {} key",
                    leaf.subject, leaf.key_type
                )],
                "find out from its owner whether the key was changed, and pin the new one only then"
                    .to_owned(),
            ),
            (F::PinMismatch, None) => (
                Turn::You,
                none(),
                "find out what was presented, and by whom".to_owned(),
            ),
            (F::RefusedByVerifier, _) => (
                Turn::You,
                none(),
                "see what peer_verifier raised: it is the error's __cause__".to_owned(),
            ),
            (F::WeakKey | F::UnsupportedSignatureAlgorithm, _) => (
                Turn::Peer,
                none(),
                "get a certificate with a larger key or a newer signature".to_owned(),
            ),
            _ => (
                Turn::Peer,
                none(),
                "present a certificate that is made for this use and well-formed".to_owned(),
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

fn is_address(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.parse::<std::net::IpAddr>().is_ok())
}

fn list(names: &[String]) -> String {
    let (told, rest) = names.split_at(names.len().min(NAMES_TOLD));
    match (told, rest.len()) {
        ([], _) => "no name at all".to_owned(),
        ([one], 0) => one.clone(),
        ([first @ .., last], 0) => format!("{} and {last}", first.join(", ")),
        (told, more) => format!("{} and {more} more", told.join(", ")),
    }
}

/// A span of time as people say it, in its largest unit.
fn span(seconds: i64) -> String {
    let units = [
        (365 * 86_400, "year"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let (count, unit) = units
        .iter()
        // Two years and more are told in years.
        .find(|(size, unit)| seconds >= size * if *unit == "year" { 2 } else { 1 })
        .map_or((seconds.max(0), "second"), |(size, unit)| {
            (seconds / size, *unit)
        });
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn date(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).map_or_else(
        |_| format!("{seconds} seconds after 1970"),
        |at| {
            format!(
                "{}-{:02}-{:02} {:02}:{:02} UTC",
                at.year(),
                u8::from(at.month()),
                at.day(),
                at.hour(),
                at.minute()
            )
        },
    )
}

#[cfg(test)]
mod tests;
