//! Certificates that need no path: pins, and leaves that are trusted themselves.

use polytls_core::VerificationFailure;
use polytls_core::config::Pins;
use polytls_core::pki_types::UnixTime;
use polytls_x509::{Summary, Unreadable, key_use, summarize};

use crate::judge::{Case, Crypto, No};

pub(crate) fn read(leaf: &[u8]) -> Result<Summary, No> {
    summarize(leaf).map_err(|error| No(VerificationFailure::BadEncoding, error.to_string()))
}

pub(crate) fn check_pins(pins: &Pins, case: &Case<'_>, crypto: &Crypto) -> Result<(), No> {
    let summary = read(case.leaf)?;
    let is_pinned = pins.certificates.contains(case.leaf)
        || pins.spki_sha256.contains(&(crypto.sha256)(&summary.spki));
    if !is_pinned {
        return Err(No(VerificationFailure::PinMismatch, String::new()));
    }
    check_validity(&summary, case.now)
}

/// The leaf signs the handshake.
pub(crate) fn check_key_use(leaf: &[u8]) -> Result<(), No> {
    let bad = |error: Unreadable| No(VerificationFailure::BadEncoding, error.to_string());
    let usage = key_use(leaf).map_err(bad)?;
    if usage.is_weak {
        return Err(No(VerificationFailure::WeakKey, String::new()));
    }
    if !usage.handshakes {
        let why = "its key usage does not allow digital signatures".to_owned();
        return Err(No(VerificationFailure::InvalidPurpose, why));
    }
    Ok(())
}

/// What path building checks and a trusted leaf, which needs no path, must pass too.
pub(crate) fn check_validity(leaf: &Summary, now: UnixTime) -> Result<(), No> {
    if leaf.is_weak() {
        return Err(No(VerificationFailure::WeakKey, String::new()));
    }
    let now = i64::try_from(now.as_secs()).map_err(|_| webpki::Error::BadDerTime)?;
    if now < leaf.not_before {
        return Err(No(VerificationFailure::NotYetValid, String::new()));
    }
    if now > leaf.not_after {
        return Err(No(VerificationFailure::Expired, String::new()));
    }
    Ok(())
}
