//! The judgement on the peer's certificate, inside the handshake.
//!
//! This is the side that rustls sees; the judgement itself is in `polytls-verdict`, whose terms `judge`
//! puts into rustls's. On macOS and Windows the platform judges a client's system trust (`platform`).
//! The caller's own verifier has its say on resumed sessions too ([`ResumptionCheck`]).

use std::sync::Arc;

use polytls_core::clock::Clock;
use polytls_core::config::ClientAuthentication;
use polytls_verdict::{Case, Policy};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::ech::Sent;
use crate::handshake_signature;
use crate::judge::Judge;
use crate::last_ticket;
use crate::lineage::{Place, not_resumable};
use crate::observe::{self, observing};

/// Judges a peer once more: rustls verifies nothing where a session is resumed.
#[derive(Debug)]
pub(crate) struct ResumptionCheck {
    judge: Arc<Judge>,
    name: Option<ServerName<'static>>,
    clock: Arc<dyn Clock>,
}

impl ResumptionCheck {
    /// `chain`: that of the session's first handshake, leaf first.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let now = self.clock.now().ok_or(Error::FailedToGetCurrentTime)?;
        match Case::of(chain, self.name.as_ref(), now) {
            Some(case) => self.judge.judge(&case),
            None => Ok(()),
        }
    }
}

/// `None` where there is nothing to be asked that a resumed session does not answer.
fn resumption_check(
    judge: &Arc<Judge>,
    name: Option<&ServerName<'static>>,
    clock: &Arc<dyn Clock>,
) -> Option<Box<ResumptionCheck>> {
    if !judge.asks_verifier() {
        return None;
    }
    Some(Box::new(ResumptionCheck {
        judge: Arc::clone(judge),
        name: name.cloned(),
        clock: Arc::clone(clock),
    }))
}

/// Judges servers.
#[derive(Debug)]
pub(crate) struct ServerJudge(Arc<Judge>);

impl ServerJudge {
    pub(crate) fn new(
        policy: &Policy<'_>,
        provider: &Arc<CryptoProvider>,
        schemes: Option<Vec<SignatureScheme>>,
    ) -> Result<Self, polytls_core::Error> {
        Judge::new(policy, provider, schemes).map(|judge| Self(Arc::new(judge)))
    }

    /// For a connection to `name` that may be resumed.
    pub(crate) fn resumption_check(
        &self,
        name: &ServerName<'static>,
        clock: &Arc<dyn Clock>,
    ) -> Option<Box<ResumptionCheck>> {
        resumption_check(&self.0, Some(name), clock)
    }

    /// The whole verdict on the chain of a session that is named for a connection to `name`.
    pub(crate) fn admit(
        &self,
        chain: &[CertificateDer<'static>],
        name: &ServerName<'static>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(), polytls_core::Error> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(not_resumable("its server presented no certificate"));
        };
        let no_time = || polytls_core::Error::Internal("the clock is not set".into());
        let now = clock.now().ok_or_else(no_time)?;
        let case = Case {
            leaf,
            intermediates,
            name: Some(name),
            now,
            vouched: None,
        };
        let mut seen = None;
        let verdict = observing(&mut seen, || self.0.judge(&case));
        verdict.map_err(|error| {
            let failure = seen.and_then(|seen| seen.refusal);
            let why = failure
                .as_ref()
                .map_or_else(|| error.to_string(), |failure| failure.message.clone());
            polytls_core::Error::NotResumable {
                message: format!(
                    "its certificate does not pass verification for this connection: \
                                  {why}"
                ),
                failure: failure.map(Box::new),
            }
        })
    }
}

impl ServerCertVerifier for ServerJudge {
    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        let hints = self.0.hints.as_slice();
        (!hints.is_empty()).then_some(hints)
    }

    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        last_ticket::begin_anew();
        // rustls tells the name in ClientHello, which need not be the one to verify; or the public name, if the
        // server has rejected Encrypted ClientHello (RFC 9849 section 6.1.7).
        let asked = &asked.to_owned();
        let rejected = observe::note(|seen| match &mut seen.ech {
            Some(Sent::Encrypted {
                public_name,
                rejected,
            }) if public_name == asked => {
                let own = seen.place.as_deref().map(Place::asked);
                *rejected = own != Some(asked);
                *rejected
            }
            _ => false,
        });
        let place = observe::look(|seen| seen.place.clone()).flatten();
        let place = place.filter(|_| rejected != Some(true));
        self.0
            .judge_anew(
                &Case {
                    leaf: end_entity,
                    intermediates,
                    name: Some(place.as_ref().map_or(asked, |place| &place.name)),
                    now,
                    vouched: None,
                },
                ocsp_response,
            )
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.check_scheme(dss.scheme)?;
        handshake_signature::verify_tls12(message, cert, dss, &self.0.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.check_scheme(dss.scheme)?;
        handshake_signature::verify_tls13(message, cert, dss, &self.0.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.schemes()
    }
}

/// Judges clients.
#[derive(Debug)]
pub(crate) struct ClientJudge {
    judge: Arc<Judge>,
    mandatory: bool,
}

impl ClientJudge {
    pub(crate) fn new(
        policy: &Policy<'_>,
        authentication: ClientAuthentication,
        provider: &Arc<CryptoProvider>,
        schemes: Option<Vec<SignatureScheme>>,
    ) -> Result<Self, polytls_core::Error> {
        Ok(Self {
            judge: Arc::new(Judge::new(policy, provider, schemes)?),
            mandatory: authentication == ClientAuthentication::Required,
        })
    }

    /// For a connection that may be resumed.
    pub(crate) fn resumption_check(&self, clock: &Arc<dyn Clock>) -> Option<Box<ResumptionCheck>> {
        resumption_check(&self.judge, None, clock)
    }
}

impl ClientCertVerifier for ClientJudge {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.judge.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge
            .judge_anew(
                &Case {
                    leaf: end_entity,
                    intermediates,
                    name: None,
                    now,
                    vouched: None,
                },
                &[],
            )
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.check_scheme(dss.scheme)?;
        handshake_signature::verify_tls12(message, cert, dss, &self.judge.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.check_scheme(dss.scheme)?;
        handshake_signature::verify_tls13(message, cert, dss, &self.judge.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.schemes()
    }
}
