//! Whose fault it is where a path was not found and a signature on the way was wrong.
//!
//! Building tries every issuer that has the right name, and of all that failed tells a wrong signature
//! first: also where that was a namesake's key, and the path by the right key fails for something else. So the
//! signatures are followed once more, here, and the chain they lead along is held against the rules.

use polytls_core::VerificationFailure as F;
use polytls_core::pki_types::SubjectPublicKeyInfoDer;
use polytls_x509::{PathFacts, Signed, Summary, details, signed, summarize};
use webpki::RawPublicKeyEntity;

use crate::anchors::Anchors;
use crate::judge::{Case, Judge, No};
use crate::leaf::{check_key, check_time, facts};

/// No more signatures are checked than by building.
const SIGNATURES: usize = 100;

/// What the signatures lead to.
enum Trace {
    /// To an anchor, by these certificates of the chain.
    Anchored(Vec<usize>),
    /// Nobody with the right name has signed this one.
    Broken(usize),
    /// There are too many to try.
    Endless,
}

impl Judge {
    /// The true reason in the place of a wrong signature.
    pub(crate) fn beyond_signatures(&self, anchors: &Anchors, case: &Case<'_>, no: No) -> No {
        match self.trace(anchors, case) {
            Trace::Broken(index) => No {
                index: Some(index),
                ..no
            },
            Trace::Anchored(path) => self.by_the_rules(&path, case).unwrap_or(no),
            Trace::Endless => no,
        }
    }

    fn trace(&self, anchors: &Anchors, case: &Case<'_>) -> Trace {
        let chain = case.chain();
        let read: Vec<Option<Summary>> = chain.iter().map(|der| summarize(der).ok()).collect();
        let mut left = SIGNATURES;
        let mut path = vec![0];
        loop {
            let at = path[path.len() - 1];
            let (Some(Some(current)), Ok(it)) = (read.get(at), signed(chain[at])) else {
                return Trace::Broken(at);
            };
            let mut has_signed = |spki: &[u8]| {
                left = left.saturating_sub(1);
                left > 0 && self.has_signed(&it, spki)
            };
            if anchors.keys(&current.issuer_der).any(&mut has_signed) {
                return Trace::Anchored(path);
            }
            let next = read.iter().enumerate().position(|(index, issuer)| {
                issuer.as_ref().is_some_and(|issuer| {
                    !path.contains(&index)
                        && issuer.subject_der == current.issuer_der
                        && has_signed(&issuer.spki)
                })
            });
            match next {
                _ if left == 0 => return Trace::Endless,
                Some(next) => path.push(next),
                None => return Trace::Broken(at),
            }
        }
    }

    pub(crate) fn has_signed(&self, it: &Signed<'_>, spki: &[u8]) -> bool {
        let key = SubjectPublicKeyInfoDer::from(spki);
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else {
            return false;
        };
        let algorithms = self.crypto.algorithms.iter();
        algorithms
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == it.algorithm)
            .any(|algorithm| {
                key.verify_signature(*algorithm, it.message, it.signature)
                    .is_ok()
            })
    }

    /// The first rule that this path breaks, in the order in which building tells them.
    fn by_the_rules(&self, path: &[usize], case: &Case<'_>) -> Option<No> {
        let chain = case.chain();
        let facts: Vec<PathFacts> = path
            .iter()
            .filter_map(|at| facts(chain[*at]).ok())
            .collect();
        let no = |reason: F, position: usize, said: &str| No {
            index: Some(path[position]),
            ..No::new(reason, said.to_owned())
        };
        let authorities = || facts.iter().enumerate().skip(1);
        let found = authorities().find_map(|(position, it)| {
            let reason = check_time(it, case.seconds()).err()?.reason;
            Some(no(reason, position, "it is not valid now"))
        });
        found
            .or_else(|| {
                authorities().find_map(|(position, it)| {
                    let is_one = it.is_authority == Some(true) && it.signs_certificates;
                    (!is_one || !self.serves(it))
                        .then(|| no(F::InvalidPurpose, position, "it is not for this use"))
                })
            })
            .or_else(|| {
                authorities().find_map(|(position, it)| {
                    let allowed = usize::try_from(it.path_length?).unwrap_or(usize::MAX);
                    (position - 1 > allowed).then(|| no(F::PathTooLong, position, ""))
                })
            })
            .or_else(|| {
                facts.iter().enumerate().find_map(|(position, it)| {
                    check_key(it).err()?;
                    Some(no(F::WeakKey, position, ""))
                })
            })
            .or_else(|| {
                let mut places = path.iter().enumerate();
                places.find_map(|(position, at)| {
                    let unhandled = details(chain[*at]).ok()?.unhandled;
                    (!unhandled.is_empty()).then(|| no(F::UnhandledCriticalExtension, position, ""))
                })
            })
    }
}
