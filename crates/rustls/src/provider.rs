//! Cipher suites, groups and versions: what aws-lc-rs offers, narrowed to what was asked for.

use std::sync::Arc;

use polytls_core::config::{Common, Version};
use polytls_core::{Effective, Error};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

use crate::sealing;

/// Every suite there is, in rustls's order.
pub(crate) fn all_suites() -> Vec<u16> {
    aws_lc_rs::ALL_CIPHER_SUITES.iter().map(number).collect()
}

/// Every group there is: the default ones in their order, then those that must be asked for.
pub(crate) fn all_groups() -> Vec<u16> {
    let mut groups: Vec<u16> = Vec::new();
    for group in aws_lc_rs::DEFAULT_KX_GROUPS
        .iter()
        .chain(aws_lc_rs::ALL_KX_GROUPS)
    {
        let number = u16::from(group.name());
        if !groups.contains(&number) {
            groups.push(number);
        }
    }
    groups
}

fn number(suite: &SupportedCipherSuite) -> u16 {
    u16::from(suite.suite())
}

fn version_of(suite: &SupportedCipherSuite) -> Version {
    match suite {
        SupportedCipherSuite::Tls13(_) => Version::Tls13,
        SupportedCipherSuite::Tls12(_) => Version::Tls12,
    }
}

/// The cryptography one engine uses.
pub(crate) struct Selection {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) effective: Effective,
}

impl Selection {
    /// Lists given are upper bounds: what the library does not know narrows them, and nothing
    /// left is an error. Suites bound the versions.
    pub(crate) fn new(common: &Common) -> Result<Self, Error> {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = sealing::suites().to_vec();
        if let Some(wanted) = &common.cipher_suites {
            provider.cipher_suites = pick(wanted, &provider.cipher_suites, number);
        }
        if let Some(wanted) = &common.groups {
            provider.kx_groups = pick(wanted, aws_lc_rs::ALL_KX_GROUPS, |group| {
                u16::from(group.name())
            });
            if provider.kx_groups.is_empty() {
                return Err(Error::configuration(
                    "groups",
                    "rustls has none of these key exchange groups; leave groups out for its own \
                     choice",
                ));
            }
        }
        // A version needs a suite and a group; a suite or group needs a version.
        let mut versions = common.versions.clone();
        versions.sort_unstable();
        versions.dedup();
        versions.retain(|version| {
            let mut suites = provider.cipher_suites.iter();
            suites.any(|suite| version_of(suite) == *version)
        });
        if versions.is_empty() {
            return Err(Error::configuration(
                "ciphers",
                "rustls has none of these cipher suites for the versions allowed; leave ciphers \
                 out for its own choice",
            ));
        }
        versions.retain(|version| {
            let mut groups = provider.kx_groups.iter();
            groups.any(|group| group.usable_for_version(version.wire().into()))
        });
        if versions.is_empty() {
            return Err(Error::configuration(
                "groups",
                "none of these key exchange groups serves the versions allowed; leave groups out \
                 for rustls's own choice",
            ));
        }
        provider
            .cipher_suites
            .retain(|suite| versions.contains(&version_of(suite)));
        provider.kx_groups.retain(|group| {
            let mut versions = versions.iter();
            versions.any(|version| group.usable_for_version(version.wire().into()))
        });
        Ok(Self {
            effective: Effective {
                cipher_suites: provider.cipher_suites.iter().map(number).collect(),
                groups: provider
                    .kx_groups
                    .iter()
                    .map(|group| u16::from(group.name()))
                    .collect(),
                versions: versions.clone(),
            },
            versions: versions
                .into_iter()
                .map(|version| match version {
                    Version::Tls12 => &version::TLS12,
                    Version::Tls13 => &version::TLS13,
                })
                .collect(),
            provider: Arc::new(provider),
        })
    }
}

/// Those of `known` that are wanted, in the order they are wanted in, each once.
fn pick<T: Copy>(wanted: &[u16], known: &[T], number: impl Fn(&T) -> u16) -> Vec<T> {
    let mut picked: Vec<T> = Vec::new();
    for id in wanted {
        if let Some(item) = known.iter().find(|item| number(item) == *id)
            && !picked.iter().any(|other| number(other) == *id)
        {
            picked.push(*item);
        }
    }
    picked
}
