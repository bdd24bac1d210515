//! Certificates that need no path: pins, and leaves that are trusted themselves.
//!
//! They are read by our own reader, and not by webpki: such a leaf may be what no path would end at, an
//! authority's own certificate or one of version 1.

use polytls_core::VerificationFailure as F;
use polytls_core::config::Pins;
use polytls_core::pki_types::ServerName;
use polytls_x509::names::is_valid_for;
use polytls_x509::{PathFacts, Summary, Unreadable, path_facts, summarize};

use crate::judge::{Case, Judge, No};
use crate::policy::Crypto;

fn unreadable(error: &Unreadable) -> No {
    No::new(
        F::BadEncoding,
        format!("it cannot be read: {}", error.why()),
    )
}

pub(crate) fn facts(der: &[u8]) -> Result<PathFacts, No> {
    path_facts(der).map_err(|error| unreadable(&error))
}

fn read(der: &[u8]) -> Result<Summary, No> {
    summarize(der).map_err(|error| unreadable(&error))
}

/// Checks a leaf by pins.
pub(crate) fn check_pins(
    pins: &Pins,
    case: &Case<'_>,
    name: Option<&ServerName<'_>>,
    crypto: &Crypto,
) -> Result<PathFacts, No> {
    let leaf = read(case.leaf)?;
    let is_pinned = pins.certificates.contains(case.leaf)
        || (!pins.spki_sha256.is_empty()
            && pins.spki_sha256.contains(&(crypto.sha256)(&leaf.spki)));
    if !is_pinned {
        return Err(F::PinMismatch.into());
    }
    let facts = facts(case.leaf)?;
    check_key(&facts)?;
    check_time(&facts, case.seconds())?;
    check_name(&leaf, name)?;
    Ok(facts)
}

impl Judge {
    /// Checks a leaf that is in the store itself: its names, and what else a path would have to pass but for
    /// the path. Of its revocation an unknown status is enough.
    pub(crate) fn check_exact(
        &self,
        facts: &PathFacts,
        case: &Case<'_>,
        name: Option<&ServerName<'_>>,
    ) -> Result<(), No> {
        let leaf = read(case.leaf)?;
        check_key(facts)?;
        check_time(facts, case.seconds())?;
        if self.lists.name(&leaf) {
            return Err(F::Revoked.into());
        }
        if !self.serves(facts) {
            let why = "its extended key usage does not include this use".to_owned();
            return Err(No::new(F::InvalidPurpose, why));
        }
        check_name(&leaf, name)
    }

    /// Whether peers of the role that is judged may have a certificate with these facts, or be below it.
    pub(crate) fn serves(&self, facts: &PathFacts) -> bool {
        serves(facts, self.peer_is_server)
    }
}

/// Whether servers (or clients) may have a certificate with these facts, or be below it.
pub(crate) fn serves(facts: &PathFacts, is_server: bool) -> bool {
    if is_server {
        facts.serves_servers
    } else {
        facts.serves_clients
    }
}

/// The one rule for the strength of keys: on each certificate of a path, and on leaves that need none.
pub(crate) fn check_key(facts: &PathFacts) -> Result<(), No> {
    match facts.weak_bits {
        Some(_) => Err(F::WeakKey.into()),
        None => Ok(()),
    }
}

/// The curve of a key is one that has a name: numbers of the issuer's choice may be of a curve that is none.
pub(crate) fn check_curve(facts: &PathFacts) -> Result<(), No> {
    if facts.explicit_curve {
        return Err(F::UnsupportedSignatureAlgorithm.into());
    }
    Ok(())
}

/// The leaf of a path signs the handshake (RFC 8446 section 4.4.2.2).
pub(crate) fn check_key_usage(leaf: &PathFacts) -> Result<(), No> {
    if leaf.signs_handshakes {
        return Ok(());
    }
    let why = "its key usage does not allow digital signatures".to_owned();
    Err(No::new(F::InvalidPurpose, why))
}

/// Whether it is valid at this time: the last second of notAfter belongs to it (RFC 5280 section 4.1.2.5).
pub(crate) fn check_time(facts: &PathFacts, now: i64) -> Result<(), No> {
    if now < facts.not_before {
        return Err(F::NotYetValid.into());
    }
    if now > facts.not_after {
        return Err(F::Expired.into());
    }
    Ok(())
}

fn check_name(leaf: &Summary, name: Option<&ServerName<'_>>) -> Result<(), No> {
    match name {
        Some(name) if !is_valid_for(leaf, &name.to_str()) => Err(F::HostnameMismatch.into()),
        _ => Ok(()),
    }
}
