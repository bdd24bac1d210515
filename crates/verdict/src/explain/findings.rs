//! What is wrong with one certificate of a chain, found by reading: libraries tell the kind of fault, and
//! rarely whose it is or what is in the certificate.

use polytls_core::VerificationFailure as F;
use polytls_x509::{Constraints, Details, PathFacts, Summary, details, path_facts};

use super::words::list;
use crate::leaf::serves;

/// One certificate, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Finding {
    /// Its place in the chain.
    pub(crate) index: usize,
    /// What is wrong, as the rest of a sentence that begins with the certificate.
    pub(crate) what: String,
    /// What its owner is to do, where that is not plain from the reason.
    pub(crate) advice: Option<String>,
    /// Whether it is in order, and what cannot be done with it is a limit of ours.
    pub(crate) is_our_limit: bool,
}

impl Finding {
    fn new(index: usize, what: impl Into<String>) -> Self {
        Self {
            index,
            what: what.into(),
            advice: None,
            is_our_limit: false,
        }
    }

    fn with(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// One certificate of the path, as far as it can be read.
struct Read<'a> {
    index: usize,
    /// How many authorities stand between it and the leaf.
    below: usize,
    /// How many of those have issued themselves.
    self_issued: usize,
    facts: &'a PathFacts,
    details: &'a Details,
}

/// What bears out `reason`. `read`: the summaries of `chain`. `path`: the places of those that issuers' names
/// lead to from the leaf.
pub(crate) fn find(
    reason: F,
    chain: &[&[u8]],
    read: &[Option<Summary>],
    path: &[usize],
    is_server: bool,
) -> Option<Finding> {
    if reason == F::BadEncoding
        && let Some(found) = malformed(chain)
    {
        return Some(found);
    }
    let facts: Vec<_> = path.iter().map(|at| path_facts(chain[*at]).ok()).collect();
    let told: Vec<_> = path.iter().map(|at| details(chain[*at]).ok()).collect();
    let each = path.iter().enumerate().filter_map(|(position, index)| {
        Some(Read {
            index: *index,
            below: position.saturating_sub(1),
            self_issued: facts[..position]
                .iter()
                .skip(1)
                .flatten()
                .filter(|facts| facts.is_self_issued())
                .count(),
            facts: facts[position].as_ref()?,
            details: told[position].as_ref()?,
        })
    });
    let mut each: Box<dyn Iterator<Item = Read<'_>>> = Box::new(each);
    match reason {
        F::BadEncoding => each.find_map(|it| of_another_form(&it)),
        F::UnhandledCriticalExtension => each.find_map(|it| unhandled(&it)),
        F::InvalidPurpose => each.find_map(|it| purpose(&it, is_server)),
        F::UnsupportedSignatureAlgorithm => each.find_map(|it| algorithm(&it, read)),
        F::BadSignature => each.find_map(|it| {
            let what = "has signature algorithm fields that differ (RFC 5280 section \
                        4.1.1.2)";
            let found = Finding::new(it.index, what).with("have it reissued");
            (!it.details.names_one_signature).then_some(found)
        }),
        F::PathTooLong => each.find_map(|it| too_long(&it)),
        F::NameConstraintViolation => constrained(&mut each),
        _ => None,
    }
}

/// The first that cannot be read at all, also of those that no path needs.
fn malformed(chain: &[&[u8]]) -> Option<Finding> {
    chain.iter().enumerate().find_map(|(index, der)| {
        let error = path_facts(der)
            .map(|_| ())
            .and_then(|()| polytls_x509::summarize(der).map(|_| ()))
            .err()?;
        let found = Finding::new(index, format!("cannot be read: {}", error.why()));
        Some(found.with("have it reissued, as RFC 5280 requires"))
    })
}

fn of_another_form(it: &Read<'_>) -> Option<Finding> {
    let version = it.details.version;
    let new = "have it reissued as version 3, with its names and key usage";
    if version < 3 {
        let what = format!("has X.509 version {version}, which has no extensions to state its use");
        return Some(Finding::new(it.index, what).with(new));
    }
    let what = if it.facts.not_before > it.facts.not_after {
        "has an invalid validity period: notBefore is after notAfter"
    } else if it.index == 0 && it.facts.names_not_critical {
        "has an empty subject, but its subject alternative name is not critical (RFC 5280 section \
         4.2.1.6)"
    } else if it.index > 0 && it.facts.constraints == Constraints::Empty {
        "has empty name constraints (RFC 5280 section 4.2.1.10)"
    } else if it.index > 0 && it.facts.policy_constraints == Some(false) {
        "has policy constraints that are not critical (RFC 5280 section 4.2.1.11)"
    } else {
        return None;
    };
    Some(Finding::new(it.index, what).with("have it reissued, as RFC 5280 requires"))
}

fn unhandled(it: &Read<'_>) -> Option<Finding> {
    let extensions = &it.details.unhandled;
    let (noun, them) = match extensions.len() {
        0 => return None,
        1 => ("a critical extension", "it"),
        _ => ("critical extensions", "them"),
    };
    let what = format!(
        "has {noun} that polytls does not support: {}",
        list(extensions)
    );
    Some(Finding::new(it.index, what).with(format!(
        "have it reissued without {them}, or with {them} not critical"
    )))
}

fn purpose(it: &Read<'_>, is_server: bool) -> Option<Finding> {
    let role = if is_server { "server" } else { "client" };
    let leaf = it.index == 0;
    let found = |what: String, advice: String| Some(Finding::new(it.index, what).with(advice));
    if !serves(it.facts, is_server) {
        let purposes = it.details.purposes.as_deref().unwrap_or_default();
        let what = if purposes.is_empty() {
            "has an empty extended key usage".to_owned()
        } else {
            let purposes = list(purposes);
            format!("is for {purposes} (extended key usage), not for TLS {role}s")
        };
        return found(
            what,
            format!("present one with {role}Auth in its extended key usage"),
        );
    }
    match (leaf, it.facts.is_authority) {
        (true, Some(true)) => {
            return found(
                format!("is a CA certificate (CA:TRUE), not a {role} certificate"),
                "present a leaf certificate (CA:FALSE), or trust this one itself (peers=)"
                    .to_owned(),
            );
        }
        (true, _) if it.facts.claims_to_issue => {
            return found(
                "is not a CA certificate (no CA:TRUE), but its key usage includes keyCertSign \
                 (RFC 5280 section 4.2.1.9)"
                    .to_owned(),
                "have it reissued without keyCertSign in its key usage".to_owned(),
            );
        }
        (true, _) if it.facts.constraints != Constraints::None => {
            return found(
                "is not a CA certificate (no CA:TRUE), but has name constraints (RFC 5280 section \
                 4.2.1.10)"
                    .to_owned(),
                "have it reissued without name constraints".to_owned(),
            );
        }
        (false, None | Some(false)) => {
            let why = if it.facts.is_authority.is_none() {
                "it has no basic constraints"
            } else {
                "its basic constraints say CA:FALSE"
            };
            return found(
                format!("issued another certificate, but is not a CA: {why}"),
                "get one issued by a CA".to_owned(),
            );
        }
        _ => {}
    }
    let (is_missing, wanted) = if leaf {
        (!it.facts.signs_handshakes, "digital signatures")
    } else {
        (!it.facts.signs_certificates, "signing certificates")
    };
    if !is_missing {
        return None;
    }
    let uses = it.details.uses.as_deref().unwrap_or_default();
    let what = if uses.is_empty() {
        "has an empty key usage".to_owned()
    } else {
        let uses: Vec<String> = uses.iter().map(|each| (*each).to_owned()).collect();
        format!(
            "has a key for {} (key usage), not for {wanted}",
            list(&uses)
        )
    };
    found(
        what,
        format!("have it reissued with {wanted} in its key usage"),
    )
}

fn algorithm(it: &Read<'_>, read: &[Option<Summary>]) -> Option<Finding> {
    if it.facts.explicit_curve {
        let what = "uses explicit elliptic curve parameters instead of a named curve, which RFC 5480 \
                    section 2.1.1 forbids";
        return Some(
            Finding::new(it.index, what)
                .with("create a key on a named curve, such as P-256, and get a certificate for it"),
        );
    }
    let signature = &it.details.signature;
    if !ACCEPTED.contains(&signature.as_str()) {
        let mut what = format!("is signed with {signature}, which is not supported");
        if let Some((_, salt)) = PSS.iter().find(|(hash, _)| signature.starts_with(hash)) {
            what += &format!(" (the salt must have {salt} bytes, the size of the hash)");
        }
        return Some(Finding::new(it.index, what).with(
            "have the issuer sign it with a newer algorithm, such as ECDSA or RSA with SHA-256",
        ));
    }
    let key = read[it.index].as_ref()?;
    (it.below > 0 || it.index > 0)
        .then_some(key)
        .filter(|key| !["RSA", "ECDSA", "Ed25519"].contains(&key.key_type.as_str()))
        .map(|key| {
            let what = format!("has a key of an unsupported type ({})", key.key_type);
            Finding::new(it.index, what)
                .with("get a certificate from a CA with another type of key")
        })
}

/// Signatures that are accepted, as `Details` calls them.
const ACCEPTED: [&str; 10] = [
    "RSA with SHA-256",
    "RSA with SHA-384",
    "RSA with SHA-512",
    "RSASSA-PSS with SHA-256 and a salt of 32 bytes",
    "RSASSA-PSS with SHA-384 and a salt of 48 bytes",
    "RSASSA-PSS with SHA-512 and a salt of 64 bytes",
    "ECDSA with SHA-256",
    "ECDSA with SHA-384",
    "ECDSA with SHA-512",
    "Ed25519",
];

/// With RSASSA-PSS the salt has the size of the hash (RFC 8446 section 4.2.3).
const PSS: [(&str, u32); 3] = [
    ("RSASSA-PSS with SHA-256", 32),
    ("RSASSA-PSS with SHA-384", 48),
    ("RSASSA-PSS with SHA-512", 64),
];

fn too_long(it: &Read<'_>) -> Option<Finding> {
    let allowed = it.facts.path_length.filter(|_| it.index > 0)?;
    let is_exceeded = |count: usize| count > usize::try_from(allowed).unwrap_or(usize::MAX);
    if !is_exceeded(it.below) {
        return None;
    }
    let count = match allowed {
        1 => "1 CA".to_owned(),
        more => format!("{more} CAs"),
    };
    let mut what = format!(
        "violates its path length constraint: {count} allowed below it, {} present",
        it.below
    );
    // RFC 5280 section 4.2.1.9: those that issued themselves do not count.
    let is_our_limit = !is_exceeded(it.below - it.self_issued);
    if is_our_limit {
        what += &format!(
            "; polytls also counts self-issued certificates ({} here), which RFC 5280 does not",
            it.self_issued
        );
    }
    let found = Finding::new(it.index, what);
    Some(Finding {
        is_our_limit,
        ..found.with("get a certificate from a CA that is allowed to issue it")
    })
}

/// The authority whose constraints are told, if only one has any.
fn constrained(each: &mut dyn Iterator<Item = Read<'_>>) -> Option<Finding> {
    let mut with = each.filter(|it| it.index > 0 && it.details.constraints.is_some());
    let (it, None) = (with.next()?, with.next()) else {
        return None;
    };
    let (permitted, excluded) = it.details.constraints.as_ref()?;
    let rules = match (&permitted[..], &excluded[..]) {
        ([], []) => return None,
        ([], excluded) => format!("must not issue for {}", list(excluded)),
        (permitted, []) => format!("must only issue for {}", list(permitted)),
        (permitted, excluded) => format!(
            "must only issue for {}, and not for {}",
            list(permitted),
            list(excluded)
        ),
    };
    let what = format!("{rules} (name constraints), and a certificate below it has other names");
    Some(
        Finding::new(it.index, what)
            .with("get one from a CA that is allowed to issue for all of its names"),
    )
}
