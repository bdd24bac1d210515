//! What a server asks of its clients, in one hash, which the keys of its tickets are bound to: a ticket of a
//! server that asks something else must not open here. No library checks that when it resumes a session.
//!
//! Servers of one fleet may be of several versions of polytls, which must all say the same.

use polytls_core::Error;
use polytls_core::config::{ClientAuthentication, ServerConfig, Trust, Verification};

use crate::system_certificates;

/// The hash of what `config` asks. `sha256`: the caller's.
///
/// # Errors
///
/// [`Error::Configuration`] if the system's certificates are asked for and cannot be read.
pub fn binding(
    config: &ServerConfig,
    sha256: impl Fn(&[u8]) -> [u8; 32],
) -> Result<[u8; 32], Error> {
    let mut asked_for = Vec::new();
    let mut item = |kind: &[u8], data: &[u8]| {
        for part in [kind, data] {
            asked_for.extend((part.len() as u64).to_be_bytes());
            asked_for.extend_from_slice(part);
        }
    };
    item(b"asks", asked(config.client_authentication));
    item(b"checks", checked(config.verification));
    if config.client_authentication != ClientAuthentication::None {
        match &config.trust {
            None => {}
            Some(Trust::Store(store)) => {
                if store.system {
                    for certificate in sorted(&system_certificates()?) {
                        item(b"trusts", certificate);
                    }
                }
                for certificate in sorted(&store.certificates) {
                    item(b"trusts", certificate);
                }
                for certificate in sorted(&store.peers) {
                    item(b"knows", certificate);
                }
                if store.v1_authorities {
                    item(b"trusts version", b"1");
                }
            }
            Some(Trust::Pinned(pins)) => {
                for certificate in sorted(&pins.certificates) {
                    item(b"pins", certificate);
                }
                for hash in sorted(&pins.spki_sha256) {
                    item(b"pins the key", hash);
                }
            }
        }
        for list in sorted(&config.common.crls) {
            item(b"heeds", list);
        }
    }
    Ok(sha256(&asked_for))
}

/// What represents each requirement in the keys of a fleet. Every version of polytls must say the same.
const fn asked(authentication: ClientAuthentication) -> &'static [u8] {
    match authentication {
        ClientAuthentication::None => b"none",
        ClientAuthentication::Optional => b"optional",
        ClientAuthentication::Required => b"required",
    }
}

/// Likewise.
const fn checked(verification: Verification) -> &'static [u8] {
    match verification {
        Verification::Full => b"full",
        Verification::AnyName => b"any name",
        Verification::Nothing => b"nothing",
    }
}

/// As bytes, in an order that does not depend on how they were given.
fn sorted<T: AsRef<[u8]>>(items: &[T]) -> Vec<&[u8]> {
    let mut items: Vec<&[u8]> = items.iter().map(AsRef::as_ref).collect();
    items.sort_unstable();
    items
}
