//! Paths from a leaf to an anchor. webpki builds them; what it leaves out of the rules is checked on each
//! path that it has found, so that building goes on where one is refused.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use polytls_core::VerificationFailure as F;
use polytls_core::pki_types::{CertificateDer, ServerName, UnixTime};
use polytls_x509::{ConstrainedNames, PathFacts, summarize};
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RequiredEkuNotFoundContext, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use crate::anchors::{Anchors, Trusted, Unfit};
use crate::explain::issuer_at_the_end;
use crate::judge::{Case, Judge, No, Verdict};
use crate::leaf::{check_curve, check_key, check_key_usage, check_time, facts};
use crate::passed_over::PassedOver;
use crate::profile::{check_authority, check_leaf};

/// So many certificates that were passed over are told.
const TOLD: usize = 4;

impl Judge {
    /// Looks for a path to one of `anchors`.
    pub(crate) fn path(
        &self,
        anchors: &Anchors,
        case: &Case<'_>,
        name: Option<&ServerName<'_>>,
    ) -> Result<Verdict, No> {
        let refused = RefCell::default();
        let mut no = match self.build(anchors, case, name, &refused) {
            Ok(verdict) => return Ok(verdict),
            Err(no) => no,
        };
        let refused = refused.into_inner();
        if no.reason == F::BadSignature && refused.is_empty() {
            no = self.beyond_signatures(anchors, case, no);
        }
        if no.reason == F::NameConstraintViolation {
            no.unchecked = unchecked(anchors, case);
        }
        no.passed_over = refused;
        if no.passed_over.is_empty() {
            no.passed_over = PassedOver::at_the_end(&case.chain(), anchors);
        }
        Err(no)
    }

    fn build(
        &self,
        anchors: &Anchors,
        case: &Case<'_>,
        name: Option<&ServerName<'_>>,
        refused: &RefCell<Vec<PassedOver>>,
    ) -> Result<Verdict, No> {
        let leaf = EndEntityCert::try_from(case.leaf)?;
        let completed = completed(case, anchors)?;
        let case = &Case {
            intermediates: completed.as_deref().unwrap_or(case.intermediates),
            ..*case
        };
        let between = between(case, anchors)?;
        let lists = self.lists.parsed();
        // Without lists nothing is asked about revocation; with some, a certificate that none of
        // them speaks of is refused.
        let depth = if self.rules.lists_for_leaf {
            RevocationCheckDepth::EndEntity
        } else {
            RevocationCheckDepth::Chain
        };
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(depth)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let check = |path: &VerifiedPath<'_>| {
            let authorities = authorities(path)?;
            let Some(anchor) = anchors.authority(path.anchor()) else {
                return Err(webpki::Error::UnknownIssuer);
            };
            self.check_anchor(anchor, &authorities, case.seconds())
                .map_err(|why| {
                    let mut refused = refused.borrow_mut();
                    // A peer may show many ways to the same anchor.
                    if refused.len() < TOLD {
                        refused.push(PassedOver::new(anchor, why));
                    }
                    self.error(why, case)
                })
        };
        let path = leaf.verify_for_usage(
            self.crypto.algorithms,
            &anchors.roots,
            &between,
            case.now,
            self.usage(),
            revocation,
            Some(&check),
        )?;
        let leaf_facts = facts(case.leaf)?;
        check_key(&leaf_facts)?;
        check_curve(&leaf_facts)?;
        check_key_usage(&leaf_facts)?;
        check_leaf(&leaf_facts)?;
        if let Some(name) = name {
            leaf.verify_is_valid_for_subject_name(name)?;
        }
        let anchor = anchors.authority(path.anchor());
        let mut certificates = vec![case.leaf.to_vec()];
        let mut ends = vec![leaf_facts.not_after];
        ends.extend(self.lists.end(&leaf_facts.issuer_der, case.seconds()));
        for between in path.intermediate_certificates() {
            let facts = facts(&between.der())?;
            ends.push(facts.not_after);
            ends.extend(self.lists.end(&facts.issuer_der, case.seconds()));
            certificates.push(between.der().to_vec());
        }
        if let Some(anchor) = anchor {
            ends.push(anchor.facts.not_after);
            certificates.push(anchor.der.to_vec());
        }
        Ok(Verdict::new(Some(certificates), ends))
    }

    /// Heeds what an anchor says of itself as what an authority below it says.
    fn check_anchor(
        &self,
        anchor: &Trusted,
        authorities: &[PathFacts],
        now: i64,
    ) -> Result<(), Unfit> {
        let facts = &anchor.facts;
        match check_time(facts, now).map_err(|no| no.reason) {
            Ok(()) => {}
            Err(F::NotYetValid) => return Err(Unfit::NotYetValid(facts.not_before)),
            Err(_) => return Err(Unfit::Expired(facts.not_after)),
        }
        if !self.serves(facts) {
            return Err(Unfit::Purpose);
        }
        if facts.has_unknown_critical {
            return Err(Unfit::UnknownCritical);
        }
        // The list that speaks of whatever is directly below is its own (RFC 5280 section 6.3.3 (f)).
        if !self.lists.is_empty() && !facts.signs_lists {
            return Err(Unfit::Lists);
        }
        if let Some(allowed) = facts.path_length {
            // RFC 5280 section 4.2.1.9: those that issued themselves do not count.
            let below = authorities.iter().filter(|facts| !facts.is_self_issued());
            if below.count() > usize::try_from(allowed).unwrap_or(usize::MAX) {
                return Err(Unfit::PathLength(allowed));
            }
        }
        Ok(())
    }

    fn usage(&self) -> KeyUsage {
        if self.peer_is_server {
            KeyUsage::server_auth()
        } else {
            KeyUsage::client_auth()
        }
    }

    /// webpki's error for an anchor that is passed over: by it paths that failed are told apart.
    fn error(&self, why: Unfit, case: &Case<'_>) -> webpki::Error {
        let time = case.now;
        match why {
            Unfit::Expired(at) => webpki::Error::CertExpired {
                time,
                not_after: moment(at),
            },
            Unfit::NotYetValid(at) => webpki::Error::CertNotValidYet {
                time,
                not_before: moment(at),
            },
            Unfit::PathLength(_) => webpki::Error::PathLenConstraintViolated,
            Unfit::UnknownCritical => webpki::Error::UnsupportedCriticalExtension,
            Unfit::Lists => webpki::Error::IssuerNotCrlSigner,
            Unfit::Purpose => {
                webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
                    required: self.usage(),
                    present: Vec::new(),
                })
            }
            _ => webpki::Error::UnknownIssuer,
        }
    }
}

/// What was presented, with what the store has to complete it; `None`: it has nothing.
fn completed<'a>(
    case: &Case<'a>,
    anchors: &'a Anchors,
) -> Result<Option<Vec<CertificateDer<'a>>>, No> {
    if !anchors.has_links() {
        return Ok(None);
    }
    let links = anchors.links_above(&facts(case.leaf)?, case.intermediates);
    let all = case.intermediates.iter().chain(links);
    Ok(Some(
        all.map(|der| CertificateDer::from(der.as_ref())).collect(),
    ))
}

/// With so few, looking through all of them costs next to nothing, whatever their names are.
const FEW: usize = 4;
/// So many certificates are looked through for a path. The ways to try grow exponentially with them, and
/// webpki, which allows 200,000 steps, reads all of them in each.
const LOOKED_THROUGH: usize = 24;

/// What paths are looked for in: all that was presented, or, if that is more than a few, what is by its names
/// between the leaf and an authority of `anchors`. Without that there is no path, and webpki would try all ways
/// to find none.
fn between<'a>(case: &Case<'a>, anchors: &Anchors) -> Result<Cow<'a, [CertificateDer<'a>]>, No> {
    if case.intermediates.len() <= FEW {
        return Ok(Cow::Borrowed(case.intermediates));
    }
    let mut presented: Vec<Presented<'a>> = Vec::new();
    for der in case.intermediates {
        if let Ok(facts) = facts(der)
            && !presented.iter().any(|(other, _)| *other == der)
        {
            presented.push((der, facts));
        }
    }
    let leaf = facts(case.leaf)?;
    let mut wanted = HashSet::from([leaf.issuer_der.as_slice()]);
    let above = all_that(presented.iter().collect(), |facts| {
        let is_wanted = wanted.contains(facts.subject_der.as_slice());
        if is_wanted {
            wanted.insert(&facts.issuer_der);
        }
        is_wanted
    });
    let issuers = above.iter().map(|(_, facts)| facts.issuer_der.as_slice());
    let mut leading: HashSet<&[u8]> = issuers
        .filter(|issuer| anchors.keys(issuer).next().is_some())
        .collect();
    let between = all_that(above, |facts| {
        let leads = leading.contains(facts.issuer_der.as_slice());
        if leads {
            leading.insert(&facts.subject_der);
        }
        leads
    });
    if between.len() > LOOKED_THROUGH {
        let why = format!(
            "{} of the presented certificates could be part of the path; the limit is \
             {LOOKED_THROUGH}",
            between.len()
        );
        return Err(No::new(F::PathTooLong, why));
    }
    let chosen = between
        .into_iter()
        .map(|(der, _)| CertificateDer::from((*der).as_ref()));
    Ok(Cow::Owned(chosen.collect()))
}
/// An intermediate certificate, and what it says.
type Presented<'a> = (&'a CertificateDer<'a>, PathFacts);

/// Those that `takes` takes, which may take more because of what it has taken.
fn all_that<'f, 'a>(
    mut rest: Vec<&'f Presented<'a>>,
    mut takes: impl FnMut(&'f PathFacts) -> bool,
) -> Vec<&'f Presented<'a>> {
    let mut taken = Vec::new();
    loop {
        let (more, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|(_, facts)| takes(facts));
        if more.is_empty() {
            return taken;
        }
        taken.extend(more);
        rest = others;
    }
}

/// Kinds of names that authorities of a chain constrain, and that webpki refuses because it does not compare
/// them: directory names always, others where the leaf has such names.
fn unchecked(anchors: &Anchors, case: &Case<'_>) -> Vec<&'static str> {
    let Ok(leaf) = summarize(case.leaf) else {
        return Vec::new();
    };
    let between = case.intermediates.iter().filter_map(|der| facts(der).ok());
    let mut kinds: Vec<ConstrainedNames> = between.flat_map(|facts| facts.constrained).collect();
    if let Some(issuer) = issuer_at_the_end(&case.chain()) {
        kinds.extend(anchors.constrained(&issuer));
    }
    [
        (ConstrainedNames::Directory, true),
        (ConstrainedNames::Email, !leaf.email_addresses.is_empty()),
        (ConstrainedNames::Uri, !leaf.uris.is_empty()),
    ]
    .into_iter()
    .filter(|(kind, is_there)| *is_there && kinds.contains(kind))
    .map(|(kind, _)| match kind {
        ConstrainedNames::Directory => "directory names",
        ConstrainedNames::Email => "mail addresses",
        ConstrainedNames::Uri => "URIs",
    })
    .collect()
}

fn moment(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The facts of the authorities between leaf and anchor, and what webpki leaves out of them: whether their
/// keys are for signing certificates, and large enough.
fn authorities(path: &VerifiedPath<'_>) -> Result<Vec<PathFacts>, webpki::Error> {
    let read = |issuer: &webpki::Cert<'_>| {
        let facts = facts(&issuer.der()).map_err(|_| webpki::Error::BadDer)?;
        // `explain` finds the weak key.
        check_key(&facts).map_err(|_| webpki::Error::InvalidSignatureForPublicKey)?;
        if !facts.signs_certificates {
            return Err(webpki::Error::EndEntityUsedAsCa);
        }
        check_authority(&facts)?;
        Ok(facts)
    };
    path.intermediate_certificates().map(read).collect()
}
