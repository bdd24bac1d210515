//! Cipher suites, groups and versions: what aws-lc-rs offers, narrowed to what was asked for.

use std::sync::Arc;

use polytls_core::capabilities::{Capabilities, ChannelBinding, CipherChoice, Source};
use polytls_core::config::{Common, Version};
use polytls_core::names::{SIGNATURE_SCHEMES, name};
use polytls_core::{Effective, Error, MAX_FRAGMENT};
use rustls::compress::{
    CertCompressor, CertDecompressor, default_cert_compressors, default_cert_decompressors,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion, version};

use crate::suites;

/// RFC 8446 section 5.1.
const RECORD_HEADER: usize = 5;

/// What rustls can do with them.
pub(crate) fn capabilities() -> Capabilities {
    Capabilities {
        trust_sources: [Source::System, Source::Buffer, Source::File, Source::Pins].into(),
        // Ids name what is in a token: a certificate is read from it, a key becomes a signer.
        certificate_sources: [Source::Buffer, Source::File, Source::Id].into(),
        key_sources: [Source::Buffer, Source::File, Source::Id, Source::Signer].into(),
        versions: vec![Version::Tls12, Version::Tls13],
        cipher_suites: aws_lc_rs::ALL_CIPHER_SUITES.iter().map(number).collect(),
        cipher_choice: CipherChoice::Exact,
        groups: all_groups(),
        client_authentication: true,
        sni_selection: true,
        resumption: true,
        exporter: true,
        channel_bindings: ChannelBinding::ALL.into(),
        key_log: true,
        crl: true,
        peers: true,
        ticket_keys: true,
        ocsp_stapling: true,
        staple_verification: true,
        client_chain_selection: true,
        peer_verifier: true,
        early_data: true,
        named_sessions: true,
        ech: true,
        // rustls 0.23 decrypts it on no server.
        ech_keys: false,
        clock: true,
        certificate_compression: true,
        max_fragment: true,
        certificate_authorities: true,
        signature_schemes: all_schemes(),
        events: true,
    }
}

/// Every signature scheme of handshakes, in the order of rustls.
fn all_schemes() -> Vec<u16> {
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let mut schemes: Vec<u16> = algorithms
        .supported_schemes()
        .into_iter()
        .map(u16::from)
        .collect();
    schemes.retain(|scheme| name(SIGNATURE_SCHEMES, *scheme).is_some());
    schemes
}

/// How long records are at most, as rustls counts: with their headers.
pub(crate) fn max_fragment_size(common: &Common) -> Option<usize> {
    (common.max_fragment < MAX_FRAGMENT).then_some(RECORD_HEADER + common.max_fragment)
}

/// What certificates are compressed and decompressed with (RFC 8879); nothing unless that is asked for. rustls
/// decompresses into as many bytes as the peer has declared, of which it takes 64 KiB.
pub(crate) fn compression(
    common: &Common,
) -> (
    Vec<&'static dyn CertCompressor>,
    Vec<&'static dyn CertDecompressor>,
) {
    if common.certificate_compression {
        (
            default_cert_compressors().to_vec(),
            default_cert_decompressors().to_vec(),
        )
    } else {
        (Vec::new(), Vec::new())
    }
}

/// Every group there is: the default ones in their order, then those that must be asked for.
fn all_groups() -> Vec<u16> {
    let mut groups = default_groups();
    for group in aws_lc_rs::ALL_KX_GROUPS {
        let number = u16::from(group.name());
        if !groups.contains(&number) {
            groups.push(number);
        }
    }
    groups
}

fn default_groups() -> Vec<u16> {
    let groups = aws_lc_rs::DEFAULT_KX_GROUPS.iter();
    groups.map(|group| u16::from(group.name())).collect()
}

fn number(suite: &SupportedCipherSuite) -> u16 {
    u16::from(suite.suite())
}

/// The cryptography one engine uses.
pub(crate) struct Selection {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) effective: Effective,
    /// The signature schemes that were asked for; `None`: all.
    pub(crate) schemes: Option<Vec<SignatureScheme>>,
}

impl Selection {
    /// What `common` comes to, by the judgement of [`Capabilities::negotiable`].
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`].
    pub(crate) fn new(common: &Common) -> Result<Self, Error> {
        let own = aws_lc_rs::default_provider();
        let library = capabilities();
        let effective = library.negotiable(
            &common.versions,
            common.cipher_suites.as_deref(),
            // Those that the library offers by itself are fewer than those it has.
            Some(common.groups.as_deref().unwrap_or(&default_groups())),
        )?;
        let schemes = match &common.signature_schemes {
            None => None,
            asked => {
                let schemes = library.schemes(&effective.versions, asked.as_deref())?;
                Some(schemes.into_iter().map(SignatureScheme::from).collect())
            }
        };
        let provider = CryptoProvider {
            cipher_suites: pick(&effective.cipher_suites, suites::suites(), number),
            kx_groups: pick(&effective.groups, aws_lc_rs::ALL_KX_GROUPS, |group| {
                u16::from(group.name())
            }),
            ..own
        };
        Ok(Self {
            versions: effective
                .versions
                .iter()
                .map(|version| match version {
                    Version::Tls12 => &version::TLS12,
                    Version::Tls13 => &version::TLS13,
                })
                .collect(),
            provider: Arc::new(provider),
            effective,
            schemes,
        })
    }
}

/// Those of `known` with these numbers, in their order.
fn pick<T: Copy>(numbers: &[u16], known: &[T], number: impl Fn(&T) -> u16) -> Vec<T> {
    numbers
        .iter()
        .filter_map(|wanted| known.iter().find(|item| number(item) == *wanted))
        .copied()
        .collect()
}
