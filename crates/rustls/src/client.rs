//! Client engines.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use polytls_core::clock::Clock;
use polytls_core::config::{ClientConfig, Verification};
use polytls_core::{ClientEngine, Effective, Error, HostName, Session, Statistics};
use polytls_verdict::Policy;
use rustls::client::UnbufferedClientConnection;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;

use crate::early::Early;
use crate::identity::{ClientChooser, certified_key};
use crate::observe::{Observed, SessionKey, observing};
use crate::provider::Selection;
use crate::resumption::Counters;
use crate::session::RustlsSession;
use crate::verifier::ServerJudge;
use crate::{resumption, secrets, server};

/// Everything the connections of one client context share.
#[derive(Debug)]
pub(crate) struct Client {
    config: Arc<rustls::ClientConfig>,
    verifier: Arc<ServerJudge>,
    clock: Arc<dyn Clock>,
    effective: Effective,
    counters: Arc<Counters>,
    remembers: bool,
    names_are_checked: bool,
}

impl Client {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, Error> {
        let Selection {
            provider,
            versions,
            effective,
        } = Selection::new(&config.common)?;
        let policy = Policy {
            trust: Some(&config.trust),
            verification: config.verification,
            common: &config.common,
            peer_is_server: true,
        };
        let verifier = Arc::new(ServerJudge::new(&policy, &provider)?);
        let builder = rustls::ClientConfig::builder_with_details(
            Arc::clone(&provider),
            Arc::new(server::Time(Arc::clone(&config.common.clock))),
        )
        .with_protocol_versions(&versions)
        .map_err(|error| Error::configuration("ciphers", error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>);
        let keys = config
            .identities
            .iter()
            .map(|identity| certified_key(identity, &provider))
            .collect::<Result<Vec<_>, _>>()?;
        let mut built = if keys.is_empty() {
            builder.with_no_client_auth()
        } else {
            builder.with_client_cert_resolver(Arc::new(ClientChooser::new(keys)?))
        };
        built.enable_early_data = config.common.early_data;
        built.alpn_protocols.clone_from(&config.common.alpn);
        // For our own record layer to take over after the handshake.
        built.enable_secret_extraction = true;
        built.key_log = Arc::new(secrets::Listener(config.common.key_log.clone()));
        let counters = Arc::default();
        built.resumption =
            resumption::of_client(config.common.sessions, &config.common.clock, &counters)?;
        Ok(Self {
            config: Arc::new(built),
            verifier,
            clock: Arc::clone(&config.common.clock),
            effective,
            counters,
            remembers: config.common.sessions.is_some(),
            names_are_checked: config.verification == Verification::Full,
        })
    }
}

impl ClientEngine for Client {
    fn session(
        &self,
        host: Option<&HostName>,
        port: Option<u16>,
    ) -> Result<Box<dyn Session>, Error> {
        if host.is_none() && self.names_are_checked {
            return Err(Error::Misuse(
                "a server_hostname is needed: the name to verify",
            ));
        }
        // rustls wants a name; an address never goes into SNI, so nothing is made up for the peer.
        let name = host.map_or(
            ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into()),
            |host| host.as_server_name().clone(),
        );
        let mut observed = Some(Box::new(Observed {
            // What goes into SNI.
            server_name: host.filter(|host| !host.is_ip()).map(ToString::to_string),
            session_key: host.map(|_| SessionKey(port)),
            counters: Some(Arc::clone(&self.counters)),
            ..Observed::default()
        }));
        let again = self.verifier.again(&name, &self.clock);
        let connection = observing(&mut observed, || {
            UnbufferedClientConnection::new(Arc::clone(&self.config), name)
        })
        .map_err(|error| Error::Internal(error.to_string()))?;
        if self.remembers && host.is_some() {
            let offers = observed.as_ref().is_some_and(|seen| seen.offers_session);
            self.counters.looked_for(offers);
        }
        let early = Early::new(self.config.enable_early_data);
        Ok(Box::new(RustlsSession::new(
            connection, observed, again, early,
        )))
    }

    fn effective(&self) -> &Effective {
        &self.effective
    }

    fn statistics(&self) -> Statistics {
        self.counters.read()
    }
}
