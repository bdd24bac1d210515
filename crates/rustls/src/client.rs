//! Client engines.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use polytls_core::clock::Clock;
use polytls_core::config::{ClientConfig, Verification, Version};
use polytls_core::ech::Ech;
use polytls_core::{
    ClientEngine, Effective, Error, HostName, Lineage, Offer, Parameters, Session, Statistics,
};
use polytls_verdict::Policy;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::pki_types::ServerName;

use crate::early::Early;
use crate::ech::{self, Prepared, Sent};
use crate::hello::Hellos;
use crate::identity::{ClientChooser, certified_key};
use crate::lineage::{self, Admitted, Number, Place, Server, ToOffer, not_resumable};
use crate::observe::{Observed, observing};
use crate::provider::{Selection, compression, max_fragment_size};
use crate::remembered::{self, ClientSessions};
use crate::session::{Manner, RustlsSession};
use crate::verifier::ServerJudge;
use crate::{key_log, server};
use polytls_core::Counters;

/// Everything the connections of one client context share.
#[derive(Debug)]
pub(crate) struct Client {
    config: Arc<rustls::ClientConfig>,
    /// The same for connections that send no early data, whatever their session allows.
    without_early_data: Arc<rustls::ClientConfig>,
    verifier: Arc<ServerJudge>,
    clock: Arc<dyn Clock>,
    effective: Effective,
    counters: Arc<Counters>,
    manner: Manner,
    sessions: Option<Arc<ClientSessions>>,
    names_are_checked: bool,
    /// Whether connections that encrypt no ClientHello pretend to.
    grease: bool,
}

impl Client {
    pub(crate) fn new(config: &ClientConfig, without_record_layer: bool) -> Result<Self, Error> {
        let Selection {
            provider,
            versions,
            effective,
            schemes,
        } = Selection::new(&config.common)?;
        let policy = Policy {
            trust: Some(&config.trust),
            verification: config.verification,
            common: &config.common,
            peer_is_server: true,
        };
        let verifier = Arc::new(ServerJudge::new(&policy, &provider, schemes.clone())?);
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
            .map(|identity| certified_key(identity, &provider, schemes.as_deref()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut built = if keys.is_empty() {
            builder.with_no_client_auth()
        } else {
            builder.with_client_cert_resolver(Arc::new(ClientChooser::new(keys)?))
        };
        built.enable_early_data = config.common.early_data;
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
        let sessions =
            remembered::of_client(config.common.sessions, &config.common.clock, &counters)?;
        built.resumption = match &sessions {
            Some(sessions) => Resumption::store(Arc::clone(sessions) as Arc<_>),
            None => Resumption::disabled(),
        };
        if config.ech_grease {
            let verifier = Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>;
            built = ech::with_mode(&built, verifier, ech::grease(&effective)?)?;
        }
        let config_as_built = Arc::new(built);
        let without_early_data = if config_as_built.enable_early_data {
            let mut without = rustls::ClientConfig::clone(&config_as_built);
            without.enable_early_data = false;
            Arc::new(without)
        } else {
            Arc::clone(&config_as_built)
        };
        Ok(Self {
            config: config_as_built,
            without_early_data,
            verifier,
            clock: Arc::clone(&config.common.clock),
            effective,
            counters,
            manner: Manner::of(&config.common, without_record_layer),
            sessions,
            names_are_checked: config.verification == Verification::Full,
            grease: config.ech_grease,
        })
    }
}

impl Client {
    /// The name as rustls wants one; an address never goes into SNI, so nothing is made up for the peer.
    fn name(&self, host: Option<&HostName>) -> Result<ServerName<'static>, Error> {
        if host.is_none() && self.names_are_checked {
            return Err(Error::Misuse(
                "server_hostname is required: the name to verify",
            ));
        }
        Ok(host.map_or(
            ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into()),
            |host| host.as_server_name().clone(),
        ))
    }

    /// The lineage, if it is of this context.
    fn own(&self, lineage: &Lineage) -> Option<Arc<lineage::Lineage>> {
        let lineage = Arc::clone(&lineage.0).downcast::<lineage::Lineage>().ok()?;
        let number = self.sessions.as_ref()?.number;
        (lineage.place.context == Some(number)).then_some(lineage)
    }
}

impl ClientEngine for Client {
    fn session(&self, parameters: &Parameters) -> Result<Box<dyn Session>, Error> {
        let Parameters {
            host, offer, anew, ..
        } = parameters;
        let host = host.as_ref();
        let name = self.name(host)?;
        let server_name = parameters.server_name.as_ref();
        let server_name = server_name.map(|other| other.as_server_name().clone());
        let asked = server_name.clone().unwrap_or_else(|| name.clone());
        let mut observed = Some(Box::new(Observed {
            place: Some(Arc::new(Place {
                name: name.clone(),
                server: host.map(|_| Server {
                    port: parameters.port,
                    scope: parameters.scope,
                }),
                server_name,
                context: self.sessions.as_ref().map(|sessions| sessions.number),
            })),
            counters: Some(Arc::clone(&self.counters)),
            passing: Some(Box::default()),
            ..Observed::default()
        }));
        let mut config = &self.config;
        if let (Some(sessions), Some(seen)) = (&self.sessions, &mut observed) {
            if let Some(offer) = offer {
                let lineage = admitted(offer, &name, sessions.number)?;
                let (to_offer, again) = sessions.of_lineage(&lineage);
                if again {
                    config = &self.without_early_data;
                }
                seen.to_offer = Some(Box::new(to_offer));
                seen.line = Some(lineage.line);
                seen.lineage = Some(lineage);
            } else {
                seen.line = Some(Number::next());
                if *anew {
                    seen.to_offer = Some(Box::new(ToOffer::Nothing));
                }
            }
        }
        if let Some(ech) = &parameters.ech {
            let prepared = prepared(ech, host)?;
            config = &prepared.config;
            if let Some(seen) = &mut observed {
                seen.ech = Some(Sent::Encrypted {
                    public_name: prepared.public_name.clone(),
                    rejected: false,
                });
            }
        } else if self.grease
            && let Some(seen) = &mut observed
        {
            seen.ech = Some(Sent::Grease);
        }
        let resumption_check = self.verifier.resumption_check(&name, &self.clock);
        let alpn = parameters.alpn.as_ref().unwrap_or(&config.alpn_protocols);
        let connection = observing(&mut observed, || {
            UnbufferedClientConnection::new_with_alpn(Arc::clone(config), asked, alpn.clone())
        })
        .map_err(|error| Error::Internal(error.to_string()))?;
        if self.sessions.is_some() && host.is_some() {
            let offers = observed.as_ref().is_some_and(|seen| seen.offers_session);
            self.counters.looked_for(offers);
        }
        let early = Early::new(self.config.enable_early_data);
        Ok(Box::new(RustlsSession::new(
            connection,
            observed,
            resumption_check,
            early,
            Hellos::new(self.effective.versions.contains(&Version::Tls13)),
            self.manner.clone(),
        )))
    }

    fn admit(&self, lineage: &Lineage, host: Option<&HostName>) -> Result<Offer, Error> {
        let name = self.name(host)?;
        let lineage = self.own(lineage).ok_or_else(|| {
            not_resumable(
                "it belongs to another context; only the context that created a session can \
                 resume it",
            )
        })?;
        if !self.names_are_checked && lineage.place.name != name {
            return Err(not_resumable(
                "it is for another host name, and host names are not verified here; resume it for \
                 its own host name, or do a full handshake",
            ));
        }
        self.verifier.admit(&lineage.chain, &name, &self.clock)?;
        Ok(Offer(Arc::new(Admitted { lineage, name })))
    }

    fn ech(&self, list: &[u8], host: Option<&HostName>) -> Result<Ech, Error> {
        let verifier = Arc::clone(&self.verifier) as Arc<dyn ServerCertVerifier>;
        // No early data: it would go before the server has accepted.
        ech::prepare(
            list,
            host,
            &self.effective,
            &self.without_early_data,
            verifier,
        )
    }

    fn effective(&self) -> &Effective {
        &self.effective
    }

    fn statistics(&self) -> Statistics {
        self.counters.read()
    }
}

/// What was chosen for a connection to `host`.
fn prepared<'a>(ech: &'a Ech, host: Option<&HostName>) -> Result<&'a Prepared, Error> {
    let prepared = ech.0.downcast_ref::<Prepared>();
    prepared
        .filter(|prepared| Some(&prepared.host) == host)
        .ok_or_else(|| {
            Error::Internal("the ECH configuration is for another connection".to_owned())
        })
}

/// The lineage that may be offered to the server of that name, by that context.
fn admitted(
    offer: &Offer,
    name: &ServerName<'static>,
    context: Number,
) -> Result<Arc<lineage::Lineage>, Error> {
    offer
        .0
        .downcast_ref::<Admitted>()
        .filter(|admitted| {
            admitted.name == *name && admitted.lineage.place.context == Some(context)
        })
        .map(|admitted| Arc::clone(&admitted.lineage))
        .ok_or_else(|| {
            Error::Internal("the session was verified for another connection".to_owned())
        })
}
