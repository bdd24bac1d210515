//! Engines: where connections come from.

use std::sync::Arc;

use polytls_core::config::{ClientConfig, ServerConfig};
use polytls_core::ech::Ech;
use polytls_core::{
    ClientEngine, Effective, Error, HostName, Lineage, Offer, Parameters, ServerEngine, Session,
    Statistics, fork,
};
use polytls_verdict::Case;

use crate::context::Context;
use crate::ech::{self, Prepared};
use crate::remembered::{self, Keeper, Place};
use crate::scope::Scope;
use crate::session::OpensslSession;

/// Everything the connections of one client context share.
#[derive(Debug)]
pub(crate) struct Client(Arc<Context>);

/// Everything the connections of one server context share.
#[derive(Debug)]
pub(crate) struct Server(Arc<Context>);

/// A lineage that may be offered to the server of one name.
#[derive(Debug)]
struct Admitted {
    lineage: Arc<remembered::Lineage>,
    host: Option<HostName>,
}

fn not_resumable(message: impl Into<String>) -> Error {
    Error::NotResumable {
        message: message.into(),
        failure: None,
    }
}

impl Client {
    pub(crate) fn new(library: &'static Scope, config: &ClientConfig) -> Result<Self, Error> {
        let _call = fork::undivided();
        Context::client(library, config).map(|context| Self(Arc::new(context)))
    }

    fn check_name(&self, host: Option<&HostName>) -> Result<(), Error> {
        if host.is_none() && self.0.names_are_checked {
            return Err(Error::Misuse(
                "server_hostname is required: the name to verify",
            ));
        }
        Ok(())
    }

    /// The time, in seconds since 1970; without one no session goes on.
    fn now(&self) -> u64 {
        self.0.clock.now().map_or(u64::MAX, |now| now.as_secs())
    }
}

impl ClientEngine for Client {
    fn session(&self, parameters: &Parameters) -> Result<Box<dyn Session>, Error> {
        let Parameters {
            host, offer, anew, ..
        } = parameters;
        self.check_name(host.as_ref())?;
        parameters.check_common()?;
        let place = Place {
            host: host.clone(),
            port: parameters.port,
            scope: parameters.scope,
        };
        let (keeper, offered) = match (&self.0.sessions, offer) {
            (None, _) => (None, None),
            (Some(sessions), None) => {
                let (keeper, offered) = Keeper::new(sessions, place, self.now());
                (Some(keeper), offered.filter(|_| !anew))
            }
            (Some(sessions), Some(offer)) => {
                let admitted = offer.0.downcast_ref::<Admitted>();
                let admitted = admitted
                    .filter(|admitted| admitted.host == *host && admitted.lineage.is_of(sessions))
                    .ok_or_else(|| {
                        Error::Internal(
                            "the session was verified for another connection".to_owned(),
                        )
                    })?;
                let lineage = Arc::clone(&admitted.lineage);
                let (keeper, offered) = Keeper::of_lineage(sessions, place, lineage, self.now());
                (Some(keeper), offered)
            }
        };
        if keeper.is_some() && host.is_some() {
            self.0.counters.looked_for(offered.is_some());
        }
        let ech = parameters.ech.as_ref().map(|ech| {
            let prepared = ech.0.downcast_ref::<Prepared>();
            prepared
                .filter(|prepared| Some(&prepared.host) == host.as_ref())
                .ok_or_else(|| {
                    let what = "the ECH configuration is for another connection";
                    Error::Internal(what.to_owned())
                })
        });
        let ech = ech.transpose()?;
        let session = OpensslSession::client(&self.0, host.clone(), keeper, offered, ech)?;
        Ok(Box::new(session))
    }

    fn admit(&self, lineage: &Lineage, host: Option<&HostName>) -> Result<Offer, Error> {
        self.check_name(host)?;
        let lineage = Arc::clone(&lineage.0)
            .downcast::<remembered::Lineage>()
            .ok();
        let sessions = self.0.sessions.as_ref();
        let lineage = lineage
            .filter(|lineage| sessions.is_some_and(|sessions| lineage.is_of(sessions)))
            .ok_or_else(|| {
                not_resumable(
                    "it belongs to another context; only the context that created a session can \
                     resume it",
                )
            })?;
        if !self.0.names_are_checked && lineage.place.host.as_ref() != host {
            return Err(not_resumable(
                "it is for another host name, and host names are not verified here; resume it for \
                 its own host name, or do a full handshake",
            ));
        }
        if let Some(judge) = &self.0.judge {
            let no_time = || Error::Internal("the clock is not set".to_owned());
            let now = self.0.clock.now().ok_or_else(no_time)?;
            let name = host.map(HostName::as_server_name);
            let case = Case::of(&lineage.chain, name, now)
                .ok_or_else(|| not_resumable("its server presented no certificate"))?;
            judge.judge(&case).map_err(|failure| Error::NotResumable {
                message: format!(
                    "its certificate does not pass verification for this connection: {}",
                    failure.message
                ),
                failure: Some(failure),
            })?;
        }
        Ok(Offer(Arc::new(Admitted {
            lineage,
            host: host.cloned(),
        })))
    }

    fn ech(&self, list: &[u8], host: Option<&HostName>) -> Result<Ech, Error> {
        ech::prepare(self.0.library, list, host, &self.0.effective)
    }

    fn effective(&self) -> &Effective {
        &self.0.effective
    }

    fn statistics(&self) -> Statistics {
        self.0.counters.read()
    }
}

impl Server {
    pub(crate) fn new(library: &'static Scope, config: &ServerConfig) -> Result<Self, Error> {
        let _call = fork::undivided();
        Context::server(library, config).map(|context| Self(Arc::new(context)))
    }
}

impl ServerEngine for Server {
    fn session(&self) -> Result<Box<dyn Session>, Error> {
        Ok(Box::new(OpensslSession::server(&self.0)?))
    }

    fn effective(&self) -> &Effective {
        &self.0.effective
    }

    fn statistics(&self) -> Statistics {
        self.0.counters.read()
    }
}
