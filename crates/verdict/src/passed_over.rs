//! Certificates of a store that could have ended a path by their name, and why they did not.

use polytls_x509::{details, summarize};

use crate::anchors::{Anchors, Trusted, Unfit};
use crate::explain::issuer_at_the_end;
use crate::explain::words::{date, list, span};

/// A certificate that a path was not ended at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its subject, for people.
    pub subject: String,
    /// Why.
    pub why: Unfit,
    /// notBefore and notAfter, in seconds since 1970.
    pub validity: (i64, i64),
    /// Its critical extensions that paths are not verified by, in words.
    pub unhandled: Vec<String>,
}

impl PassedOver {
    pub(crate) fn new(trusted: &Trusted, why: Unfit) -> Self {
        Self {
            subject: summarize(&trusted.der).map_or_else(|_| String::new(), |read| read.subject),
            why,
            validity: (trusted.facts.not_before, trusted.facts.not_after),
            unhandled: match why {
                Unfit::UnknownCritical => {
                    details(&trusted.der).map_or_else(|_| Vec::new(), |told| told.unhandled)
                }
                _ => Vec::new(),
            },
        }
    }

    /// Those that have the name of whoever issued the last certificate of the path that a chain shows.
    pub(crate) fn at_the_end(chain: &[&[u8]], anchors: &Anchors) -> Vec<Self> {
        let Some(issuer) = issuer_at_the_end(chain) else {
            return Vec::new();
        };
        anchors
            .unfit(&issuer)
            .map(|(trusted, why)| Self::new(trusted, why))
            .collect()
    }
}

/// The words of explanations.
impl PassedOver {
    /// What was found, in one sentence, where only this certificate is at fault.
    pub(crate) fn message(&self, peer: &str, trust_source: &str, now: i64) -> String {
        let subject = &self.subject;
        let called = format!("the certificate of {subject} in {trust_source}");
        match self.why {
            Unfit::Expired(at) => {
                let ago = span(now.saturating_sub(at));
                format!("{called} expired {ago} ago, {}", date(at))
            }
            Unfit::NotYetValid(at) => {
                let left = span(at.saturating_sub(now));
                format!("{called} will be valid in {left}, {}", date(at))
            }
            Unfit::PathLength(allowed) => format!(
                "{called} has a path length constraint of {allowed}, and the chain has more CAs below it"
            ),
            Unfit::Purpose => {
                format!("{called} must not issue for a {peer} (extended key usage)")
            }
            Unfit::UnknownCritical => format!(
                "{called} has a critical extension that polytls does not support: {}",
                list(&self.unhandled)
            ),
            Unfit::Lists => format!(
                "{called} must not sign CRLs (its key usage lacks cRLSign), so its CRL is ignored"
            ),
            _ => format!("{called} must not issue certificates"),
        }
    }

    /// More to know, likewise.
    pub(crate) fn details(&self, now: i64) -> Vec<String> {
        match self.why {
            Unfit::Expired(_) | Unfit::NotYetValid(_) => {
                vec![format!("this machine's clock says {}", date(now))]
            }
            _ => Vec::new(),
        }
    }

    /// What to do, likewise.
    pub(crate) fn advice(&self) -> String {
        let subject = &self.subject;
        match self.why {
            Unfit::Expired(_) | Unfit::NotYetValid(_) => format!(
                "replace it with the current certificate of {subject} (if the clock is wrong, set \
                 it)"
            ),
            Unfit::UnknownCritical => format!(
                "use a certificate of {subject} without that extension, or trust a CA below it"
            ),
            _ => format!("use a certificate of {subject} that allows this"),
        }
    }

    /// Why it is not taken for the issuer that its name says it is, whatever the path.
    pub(crate) fn why_not(&self, trust_source: &str) -> Option<String> {
        let why = match self.why {
            Unfit::Peer => "in peers=, which only holds leaf certificates".to_owned(),
            Unfit::Version(1) => "an X.509 version 1 certificate, which cannot state that it is a \
                                  CA (to accept it as a CA: v1_authorities=True)"
                .to_owned(),
            Unfit::Version(version) => {
                format!("an X.509 version {version} certificate, not version 3")
            }
            Unfit::NoBasicConstraints => "not a CA: it has no basic constraints".to_owned(),
            Unfit::NotAnAuthority => "not a CA: its basic constraints say CA:FALSE".to_owned(),
            Unfit::KeyUsage => "not for issuing: its key usage lacks keyCertSign".to_owned(),
            Unfit::WeakKey(size) => format!("too weak: its RSA key has {size} bits"),
            Unfit::Expired(_)
            | Unfit::NotYetValid(_)
            | Unfit::PathLength(_)
            | Unfit::Purpose
            | Unfit::UnknownCritical
            | Unfit::Lists => return None,
        };
        let subject = &self.subject;
        Some(format!(
            "the certificate of {subject} in {trust_source} is {why}"
        ))
    }
}
