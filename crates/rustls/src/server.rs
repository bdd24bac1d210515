//! Server engines.

use std::sync::Arc;

use polytls_core::clock::Clock;
use polytls_core::config::{ClientAuthentication, ServerConfig, Version};
use polytls_core::{Effective, Error, ServerEngine, Session, Statistics};
use polytls_verdict::Policy;
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{UnbufferedServerConnection, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;

use crate::early::{self, Early};
use crate::hello::Hellos;
use crate::identity::{Chooser, certified_key};
use crate::observe::{self, Observed};
use crate::provider::{Selection, compression, max_fragment_size};
use crate::session::{Manner, RustlsSession};
use crate::verifier::ClientJudge;
use crate::{key_log, resumption};
use polytls_core::Counters;

/// Our clock in rustls's terms.
#[derive(Debug)]
pub(crate) struct Time(pub(crate) Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        // What a ticket's age is counted from, where a value is made anew for it.
        let received = observe::look(|seen| Some(seen.remake.as_ref()?.received));
        received.flatten().or_else(|| self.0.now())
    }
}

/// Everything the connections of one server context share.
#[derive(Debug)]
pub(crate) struct Server {
    config: Arc<rustls::ServerConfig>,
    verifier: Option<Arc<ClientJudge>>,
    clock: Arc<dyn Clock>,
    effective: Effective,
    counters: Arc<Counters>,
    manner: Manner,
}

impl Server {
    pub(crate) fn new(config: &ServerConfig, without_record_layer: bool) -> Result<Self, Error> {
        let Selection {
            provider,
            versions,
            effective,
            schemes,
        } = Selection::new(&config.common)?;
        if config.identities.is_empty() {
            return Err(Error::configuration(
                "certificate_chain",
                "a server needs at least one signing chain",
            ));
        }
        let keys = config
            .identities
            .iter()
            .map(|identity| certified_key(identity, &provider, schemes.as_deref()))
            .collect::<Result<Vec<_>, _>>()?;
        let verifier = verifier(config, &provider, schemes)?;
        let mut built = rustls::ServerConfig::builder_with_details(
            Arc::clone(&provider),
            Arc::new(Time(Arc::clone(&config.common.clock))),
        )
        .with_protocol_versions(&versions)
        .map_err(|error| Error::configuration("ciphers", error.to_string()))?
        .with_client_cert_verifier(match &verifier {
            Some(verifier) => Arc::clone(verifier) as Arc<dyn ClientCertVerifier>,
            None => WebPkiClientVerifier::no_client_auth(),
        })
        .with_cert_resolver(Arc::new(Chooser::new(
            keys,
            Arc::clone(&config.common.clock),
        )?));
        // An order that was asked for is kept.
        built.ignore_client_order = config.common.cipher_suites.is_some();
        built.alpn_protocols.clone_from(&config.common.alpn);
        built.max_fragment_size = max_fragment_size(&config.common);
        // As the features of rustls are there, they would be on by themselves.
        let (compressors, decompressors) = compression(&config.common);
        built.cert_compressors = compressors;
        built.cert_decompressors = decompressors;
        // For our own record layer to take over after the handshake.
        built.enable_secret_extraction = true;
        built.key_log = Arc::new(key_log::Listener(config.common.key_log.clone()));
        let counters = Arc::default();
        resumption::of_server(&mut built, config, &counters)?;
        if config.common.early_data {
            built.max_early_data_size = early::LIMIT;
            // So that it can be answered as soon as it comes.
            built.send_half_rtt_data = true;
        }
        Ok(Self {
            config: Arc::new(built),
            verifier,
            clock: Arc::clone(&config.common.clock),
            effective,
            counters,
            manner: Manner::of(&config.common, without_record_layer),
        })
    }
}

/// `None`: clients are not asked.
fn verifier(
    config: &ServerConfig,
    provider: &Arc<CryptoProvider>,
    schemes: Option<Vec<SignatureScheme>>,
) -> Result<Option<Arc<ClientJudge>>, Error> {
    if config.client_authentication == ClientAuthentication::None {
        return Ok(None);
    }
    let policy = Policy {
        trust: config.trust.as_ref(),
        verification: config.verification,
        common: &config.common,
        peer_is_server: false,
    };
    ClientJudge::new(&policy, config.client_authentication, provider, schemes)
        .map(|judge| Some(Arc::new(judge)))
}

impl ServerEngine for Server {
    fn session(&self) -> Result<Box<dyn Session>, Error> {
        let connection = UnbufferedServerConnection::new(Arc::clone(&self.config))
            .map_err(|error| Error::Internal(error.to_string()))?;
        let observed = Observed {
            counters: Some(Arc::clone(&self.counters)),
            passing: Some(Box::default()),
            handshake_secrets: Some(Box::default()),
            ..Observed::default()
        };
        let verifier = self.verifier.as_ref();
        let resumption_check = verifier.and_then(|verifier| verifier.resumption_check(&self.clock));
        Ok(Box::new(RustlsSession::new(
            connection,
            Some(Box::new(observed)),
            resumption_check,
            Early::new(self.config.max_early_data_size > 0),
            Hellos::new(self.effective.versions.contains(&Version::Tls13)),
            self.manner.clone(),
        )))
    }

    fn effective(&self) -> &Effective {
        &self.effective
    }

    fn statistics(&self) -> Statistics {
        self.counters.read()
    }
}
