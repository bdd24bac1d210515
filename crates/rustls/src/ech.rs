//! Encrypted ClientHello (RFC 9849) on clients.
//!
//! rustls takes its mode with a configuration of all connections, and no other version than TLS 1.3 with it. A list
//! belongs to one connection, so that has a copy of the context's configuration.

use std::sync::Arc;

use polytls_core::config::Version;
use polytls_core::ech::{self, Ech, Suite};
use polytls_core::{Effective, Error, HostName};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{EchConfig, EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs::hpke::{ALL_SUPPORTED_SUITES, DH_KEM_X25519_HKDF_SHA256_AES_128};
use rustls::crypto::hpke::{Hpke, HpkePublicKey};
use rustls::internal::msgs::codec::Codec as _;
use rustls::internal::msgs::handshake::EchConfigPayload;
use rustls::pki_types::ServerName;

/// What one connection is encrypted with.
pub(crate) struct Prepared {
    /// The context's configuration with it.
    pub(crate) config: Arc<rustls::ClientConfig>,
    /// The name that the connection is for.
    pub(crate) host: HostName,
    pub(crate) public_name: ServerName<'static>,
}

/// What a connection sends, for the verdict and for facts.
#[derive(Debug)]
pub(crate) enum Sent {
    Grease,
    Encrypted {
        public_name: ServerName<'static>,
        /// Whether the server was verified for that name: it has rejected.
        rejected: bool,
    },
}

impl Sent {
    /// What became of it once the handshake is complete: rustls completes none that was rejected.
    pub(crate) const fn status(&self) -> ech::Status {
        match self {
            Self::Grease => ech::Status::Grease,
            Self::Encrypted { .. } => ech::Status::Accepted,
        }
    }
}

/// Chooses from a list, for connections of a context that has `base`.
pub(crate) fn prepare(
    list: &[u8],
    host: Option<&HostName>,
    effective: &Effective,
    base: &rustls::ClientConfig,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<Ech, Error> {
    let chosen = ech::choose(list, host, &effective.versions, |suite, key| {
        // Sealing is set up once before anything is sent: a key that is none would fail there.
        hpke(suite).is_some_and(|hpke| hpke.setup_sealer(&[], &HpkePublicKey(key.to_vec())).is_ok())
    })?;
    let config = EchConfig::new(chosen.list.into(), ALL_SUPPORTED_SUITES)
        .map_err(|error| Error::configuration(ech::FIELD, error.to_string()))?;
    let host = host.ok_or_else(|| Error::Internal("a connection without a name".to_owned()))?;
    Ok(Ech(Arc::new(Prepared {
        config: Arc::new(with_mode(base, verifier, config.into())?),
        host: host.clone(),
        public_name: chosen.public_name,
    })))
}

fn hpke(suite: Suite) -> Option<&'static dyn Hpke> {
    let mut all = ALL_SUPPORTED_SUITES.iter().copied();
    all.find(|hpke| {
        let known = hpke.suite();
        let (kdf, aead) = (known.sym.kdf_id, known.sym.aead_id);
        let known = (u16::from(known.kem), u16::from(kdf), u16::from(aead));
        known == (suite.kem, suite.kdf, suite.aead)
    })
}

/// The mode that sends a random extension, in the form that browsers send most.
pub(crate) fn grease(effective: &Effective) -> Result<EchMode, Error> {
    // The core refuses it; rustls would leave out TLS 1.2 without a word.
    if effective.versions != [Version::Tls13] {
        return Err(Error::Internal("GREASE with TLS 1.2".to_owned()));
    }
    let hpke = DH_KEM_X25519_HKDF_SHA256_AES_128;
    let (placeholder, _) = hpke
        .generate_key_pair()
        .map_err(|error| Error::Internal(error.to_string()))?;
    Ok(EchGreaseConfig::new(hpke, placeholder).into())
}

/// A copy of a configuration with this mode. `verifier`: that of the configuration, which does not show it.
pub(crate) fn with_mode(
    base: &rustls::ClientConfig,
    verifier: Arc<dyn ServerCertVerifier>,
    mode: EchMode,
) -> Result<rustls::ClientConfig, Error> {
    let builder = rustls::ClientConfig::builder_with_details(
        Arc::clone(base.crypto_provider()),
        Arc::clone(&base.time_provider),
    );
    let mut config = builder
        .with_ech(mode)
        .map_err(|error| Error::configuration(ech::FIELD, error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::clone(&base.client_auth_cert_resolver));
    config.alpn_protocols.clone_from(&base.alpn_protocols);
    config.check_selected_alpn = base.check_selected_alpn;
    config.resumption = base.resumption.clone();
    config.max_fragment_size = base.max_fragment_size;
    config.enable_sni = base.enable_sni;
    config.key_log = Arc::clone(&base.key_log);
    config.enable_secret_extraction = base.enable_secret_extraction;
    config.enable_early_data = base.enable_early_data;
    config.require_ems = base.require_ems;
    config
        .cert_decompressors
        .clone_from(&base.cert_decompressors);
    config.cert_compressors.clone_from(&base.cert_compressors);
    config.cert_compression_cache = Arc::clone(&base.cert_compression_cache);
    config
        .send_ticket_request
        .clone_from(&base.send_ticket_request);
    Ok(config)
}

/// The list that a server sent for another attempt.
pub(crate) fn list(configs: &Vec<EchConfigPayload>) -> Vec<u8> {
    let mut list = Vec::new();
    configs.encode(&mut list);
    list
}
