//! One connection: the handshake, and TLS 1.2 as a whole, on rustls; after a TLS 1.3 handshake on our
//! own record layer, which opens records into the caller's buffer and seals from it.

use std::sync::Arc;

use polytls_core::config::{Common, Version};
use polytls_core::events::Tracer;
use polytls_core::{
    Alert, Error, Facts, INCOMING_LIMIT, Inbound, Lineage, Outbound, Progress, Session, Shown, Sink,
};
use polytls_records::RecordLayer;
use rustls::pki_types::CertificateDer;
use rustls::unbuffered::UnbufferedConnectionCommon;
use rustls::{HandshakeKind, PeerIncompatible, PeerMisbehaved, ProtocolVersion};

use crate::alerts;
use crate::early::{Early, Seen};
use crate::ech::{self, Sent};
use crate::error::blame;
use crate::hello::{Hellos, Refusal, ServerHello};
use crate::kernel::{self, Kernel};
use crate::last_ticket;
use crate::observe::{self, Observed};
use crate::sealing;
use crate::unbuffered::{self, Side};
use crate::verifier::ResumptionCheck;

/// Who protects the records.
enum Protection<S: Side> {
    /// Elsewhere: most of it is for the handshake, and what is idle keeps nothing of that.
    Rustls(Box<S>),
    Ours(Box<RecordLayered<S>>),
    /// On the way from the one to the other; stays so only if that failed, which is fatal.
    Moving,
    /// The peer of a resumed session was refused: the handshake will never be complete.
    Refused,
    /// The connection is over, and rustls was dropped, which had its keys.
    Over(Box<Facts>),
}

/// Our record layer, and what rustls knew when it handed over.
struct RecordLayered<S: Side> {
    layer: RecordLayer<Kernel<S>>,
    facts: Facts,
}

/// A connection, and what its verifier and resolver saw.
pub(crate) struct RustlsSession<S: Side> {
    protection: Protection<S>,
    /// There but while it is lent; with the record layer, once that has taken over.
    observed: Option<Box<Observed>>,
    /// To be asked if the session is resumed; asked once.
    resumption_check: Option<Box<ResumptionCheck>>,
    early: Early,
    hellos: Hellos,
    /// Whether the server has sent HelloRetryRequest: rustls forgets it where a session is resumed.
    retried: bool,
    /// Records that rustls has seen and not consumed: it remembers where in there a message began that is
    /// not complete, and has to be shown them again in every call.
    incomplete: Vec<u8>,
    /// The encrypted messages of the handshake that were not asked for yet.
    shown: Vec<Shown>,
    manner: Manner,
    /// What goes with the error that ended it.
    alert: Option<Alert>,
}

/// What the sessions of a context have in common.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) tracer: Option<Arc<dyn Tracer>>,
    pub(crate) without_record_layer: bool,
    /// How much plaintext a record that is sent holds at most.
    pub(crate) max_fragment: usize,
}

impl Manner {
    pub(crate) fn of(common: &Common, without_record_layer: bool) -> Self {
        Self {
            tracer: common.tracer.clone(),
            without_record_layer,
            max_fragment: common.max_fragment,
        }
    }
}

impl<S: Side> RustlsSession<S> {
    pub(crate) fn new(
        connection: S,
        observed: Option<Box<Observed>>,
        resumption_check: Option<Box<ResumptionCheck>>,
        early: Early,
        hellos: Hellos,
        manner: Manner,
    ) -> Self {
        Self {
            protection: Protection::Rustls(Box::new(connection)),
            observed,
            resumption_check,
            early,
            hellos,
            retried: false,
            incomplete: Vec::new(),
            shown: Vec::new(),
            manner,
            alert: None,
        }
    }

    /// What ends the connection with this error of rustls's; so much as `before` was to be sent then.
    fn ended(&mut self, error: rustls::Error, before: usize, out: &mut Outbound) -> Ending {
        let said = sealing::take_alert(before, out);
        let (mut refusal, signer_failure, no_key_fits) = match self.observed.as_deref_mut() {
            Some(seen) => (
                seen.refusal.take(),
                seen.signer_failure.take(),
                seen.no_key_fits,
            ),
            None => (None, None, false),
        };
        let ech = self.observed.as_deref().and_then(|seen| seen.ech.as_ref());
        if let (Some(Sent::Encrypted { rejected: true, .. }), Some(refusal)) = (ech, &mut refusal) {
            refusal.add(polytls_core::ech::JUDGED);
        }
        let public_name = match ech {
            Some(Sent::Encrypted { public_name, .. }) => Some(public_name.to_str().into_owned()),
            Some(Sent::Grease) | None => None,
        };
        if let Some(failure) = signer_failure {
            return Error::Signer(failure).into();
        }
        match error {
            rustls::Error::PeerMisbehaved(
                PeerMisbehaved::OfferedEarlyDataWithOldProtocolVersion,
            ) => Ending(
                Some(Alert::PROTOCOL_VERSION),
                Error::PeerMisbehaved(
                    "the server chose TLS 1.2, though its session allowed early data".to_owned(),
                ),
            ),
            rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerRejectedEncryptedClientHello(ref configs),
            ) => Ending(
                alerts::alert(&error, said, self.version_of_rustls()),
                Error::EchRejected {
                    public_name: public_name.unwrap_or_default(),
                    retry_configs: configs.as_ref().map(ech::list),
                },
            ),
            // rustls 0.23 says so in TLS 1.2.
            rustls::Error::General(_) if no_key_fits => Ending(
                Some(Alert::HANDSHAKE_FAILURE),
                Error::PeerIncompatible("no signature scheme in common".to_owned()),
            ),
            error => Ending(
                alerts::alert(&error, said, self.version_of_rustls()),
                blame(error, refusal),
            ),
        }
    }

    /// The version agreed on, as long as rustls protects the records.
    fn version_of_rustls(&self) -> Option<ProtocolVersion> {
        match &self.protection {
            Protection::Rustls(connection) => connection.protocol_version(),
            Protection::Ours(_)
            | Protection::Moving
            | Protection::Refused
            | Protection::Over(_) => None,
        }
    }

    fn facts_of(&self, connection: &UnbufferedConnectionCommon<S::Data>) -> Facts {
        let observed = self.observed.as_deref();
        Facts {
            version: connection.protocol_version().map_or(0, u16::from),
            cipher: connection
                .negotiated_cipher_suite()
                .map_or(0, |suite| u16::from(suite.suite())),
            group: connection
                .negotiated_key_exchange_group()
                .map(|group| u16::from(group.name())),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name: observed.and_then(Observed::name_in_hello),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            peer_chain: presented(connection),
            verified_chain: observed.and_then(|seen| seen.verified_chain.clone()),
            early_data: self.early.accepted(),
            ech: observed
                .and_then(|seen| seen.ech.as_ref())
                .map(Sent::status),
            handshake: None,
            staple: observed.and_then(|seen| seen.staple.clone()),
        }
    }

    fn observed(&self) -> Option<&Observed> {
        match &self.protection {
            Protection::Ours(layered) => layered.layer.source().observed.as_deref(),
            _ => self.observed.as_deref(),
        }
    }

    /// Looks for the ServerHello, which is first among what a server sends.
    fn see_server_hello(&mut self, records: &[u8]) -> Result<(), Ending> {
        let Some(hello) = ServerHello::of(records) else {
            return Ok(());
        };
        if S::IS_CLIENT {
            self.hellos.was_answered(&hello)?;
        }
        if let Some(seen) = &mut self.observed {
            seen.server_hello = Some(hello);
        }
        Ok(())
    }

    /// Looks what became of early data once a server has answered a ClientHello with `flight`.
    fn answered(&mut self, retry: bool, flight: &[u8]) -> Result<(), Error> {
        let offered = self.hellos.answered(retry);
        let Protection::Rustls(connection) = &self.protection else {
            return Ok(());
        };
        let Some(seen) = self.observed.as_deref_mut() else {
            return Ok(());
        };
        let suite = connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.tls13());
        self.early
            .was_offered(offered, flight, suite, &mut seen.handshake_secrets)
    }

    /// The handshake is complete, with our last `flight`.
    fn completed(&mut self, flight: &[u8]) {
        let Protection::Rustls(connection) = &self.protection else {
            return;
        };
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        if let Some(seen) = &mut self.observed
            && let Some(counters) = seen.counters.take()
        {
            counters.finished(resumed);
        }
        if S::IS_CLIENT {
            self.early.was_answered(resumed, flight);
        }
    }

    /// Judges the peer of a session that is being resumed, as soon as that is settled: our answer, which
    /// lies behind the first `before` bytes of `out`, is held back if it is refused.
    fn judge_resumed(&mut self, before: usize, out: &mut Outbound) -> Result<(), Ending> {
        let Protection::Rustls(connection) = &self.protection else {
            return Ok(());
        };
        if self.resumption_check.is_none()
            || connection.handshake_kind() != Some(HandshakeKind::Resumed)
        {
            return Ok(());
        }
        let Some(check) = self.resumption_check.take() else {
            return Ok(());
        };
        let chain = connection.peer_certificates().unwrap_or_default();
        let verdict = observe::observing(&mut self.observed, || check.judge(chain));
        verdict.map_err(|error| {
            let alert = alerts::alert(&error, None, self.version_of_rustls());
            self.alert = alert;
            self.protection = Protection::Refused;
            out.truncate(before);
            // In the clear, as the answer would have been.
            let told = alert.map_or(Ok(()), |alert| sealing::put_alert(None, None, alert, out));
            let seen = self.observed.as_deref_mut();
            let error = blame(error, seen.and_then(|seen| seen.refusal.take()));
            Ending(None, told.err().unwrap_or(error))
        })
    }

    /// Takes over from rustls, if the handshake is complete and everything it has to say is said.
    fn take_over(&mut self) -> Result<(), Error> {
        let Protection::Rustls(connection) = &self.protection else {
            return Ok(());
        };
        if self.manner.without_record_layer
            || connection.is_handshaking()
            || connection.wants_write()
            || connection.protocol_version() != Some(ProtocolVersion::TLSv1_3)
        {
            return Ok(());
        }
        let facts = self.facts_of(&**connection);
        if let Some(seen) = &mut self.observed {
            // They are among the facts now.
            seen.verified_chain = None;
            seen.staple = None;
            seen.sealing = None;
        }
        let Protection::Rustls(connection) =
            std::mem::replace(&mut self.protection, Protection::Moving)
        else {
            return Ok(());
        };
        let parts = connection
            .into_kernel()
            .map_err(|error| Error::Internal(error.to_string()))?;
        let layer = kernel::record_layer(parts, self.observed.take())?;
        let layer = layer.with_max_fragment(self.manner.max_fragment);
        self.protection = Protection::Ours(Box::new(RecordLayered { layer, facts }));
        Ok(())
    }

    /// Has rustls seal something; an error is ours.
    fn emit(
        &mut self,
        out: &mut Outbound,
        seal: impl FnOnce(&mut S, &mut [u8], &mut Outbound) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Protection::Rustls(connection) = &mut self.protection else {
            return Err(moving());
        };
        let incomplete = &mut self.incomplete;
        let sealed = observe::observing(&mut self.observed, || seal(connection, incomplete, out));
        sealed.map_err(|error| self.end(error.into(), out))
    }

    /// Tells the peer, and gives the error.
    fn end(&mut self, Ending(alert, error): Ending, out: &mut Outbound) -> Error {
        self.alert = self.alert.or(alert);
        let told = alert.map_or(Ok(()), |alert| self.send_alert(alert, &[], out));
        told.err().unwrap_or(error)
    }

    /// Goes on with rustls, as [`Session::receive`] has it; the alert is still to be sent.
    fn go_on(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Ending> {
        let before = out.len();
        let was_handshaking = self.is_handshaking();
        let shown = inbound.bytes().len();
        if was_handshaking && !S::IS_CLIENT {
            self.hellos.comes(inbound.bytes())?;
            match self.early.sees(inbound.bytes(), self.incomplete.is_empty()) {
                Seen::Other => {}
                Seen::Skipped => {
                    return Ok(Progress {
                        consumed: shown,
                        ..Progress::default()
                    });
                }
                Seen::TooMuch => {
                    let error = PeerMisbehaved::TooMuchEarlyDataReceived.into();
                    let before = out.len();
                    return Err(self.ended(error, before, out));
                }
            }
        }
        let mut incomplete = std::mem::take(&mut self.incomplete);
        let records = if incomplete.is_empty() {
            inbound.bytes_mut()
        } else {
            incomplete.extend(inbound.bytes());
            &mut incomplete
        };
        if S::IS_CLIENT && was_handshaking {
            self.see_server_hello(records)?;
        }
        let Protection::Rustls(connection) = &mut self.protection else {
            return Err(moving().into());
        };
        let received = observe::observing(&mut self.observed, || {
            unbuffered::process(&mut **connection, records, plaintext, out)
        });
        if let Some(passing) = self
            .observed
            .as_mut()
            .and_then(|seen| seen.passing.as_mut())
        {
            self.shown.append(&mut passing.found);
        }
        let mut received = received.map_err(|error| self.ended(error, before, out))?;
        self.incomplete = records[received.consumed..].to_vec();
        let consumed = std::mem::replace(&mut received.consumed, shown);
        if self.incomplete.len() >= INCOMING_LIMIT {
            return Err(Ending(
                Some(Alert::DECODE_ERROR),
                Error::PeerMisbehaved("handshake message in too many fragments".to_owned()),
            ));
        }
        let retried_before = self.retried;
        if was_handshaking && let Protection::Rustls(connection) = &self.protection {
            self.retried |=
                connection.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
            if S::IS_CLIENT
                && self.retried
                && !retried_before
                && let Some(seen) = &mut self.observed
            {
                // Early data ends here, and so does the use of its keys (RFC 8446 section 4.2.10).
                seen.sealing = None;
            }
        }
        if self.resumption_check.is_some() {
            self.judge_resumed(before, out)?;
        }
        let flight = out.since(before);
        if S::IS_CLIENT && was_handshaking {
            self.hellos.was_sent(flight);
        } else if !S::IS_CLIENT && was_handshaking {
            self.see_server_hello(flight)?;
            if consumed > 0 && !flight.is_empty() {
                self.answered(self.retried && !retried_before, flight)?;
            }
        }
        if received.answerable {
            self.early.was_taken();
        }
        if was_handshaking && !self.is_handshaking() {
            self.completed(out.since(before));
            if self.manner.tracer.is_none()
                && let Some(seen) = &mut self.observed
            {
                seen.passing = None;
            }
        }
        if self.incomplete.is_empty() && !received.peer_closed {
            self.take_over()?;
        }
        Ok(received)
    }
}

/// Why a connection ends, and the alert that tells the peer, if one is still to be sent.
struct Ending(Option<Alert>, Error);

/// A fault of ours.
impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        Self(Some(Alert::INTERNAL_ERROR), error)
    }
}

/// A hello that is wrong.
impl From<Refusal> for Ending {
    fn from((alert, error): Refusal) -> Self {
        Self(Some(alert), error)
    }
}

fn moving() -> Error {
    Error::Internal("a connection that could not be handed over".to_owned())
}

impl<S: Side> Session for RustlsSession<S> {
    fn is_handshaking(&self) -> bool {
        match &self.protection {
            Protection::Rustls(connection) => connection.is_handshaking(),
            Protection::Ours(_) | Protection::Moving | Protection::Over(_) => false,
            Protection::Refused => true,
        }
    }

    fn receive(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        if let Protection::Ours(layered) = &mut self.protection {
            return layered.layer.receive(inbound.bytes(), plaintext, out);
        }
        let received = self.go_on(inbound, plaintext, out);
        received.map_err(|ending| self.end(ending, out))
    }

    fn has_early_data(&self) -> bool {
        self.early.is_configured()
    }

    fn write_early(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<usize, Error> {
        let before = out.len();
        let Protection::Rustls(connection) = &mut self.protection else {
            return Err(moving());
        };
        let max_fragment = self.manner.max_fragment;
        let written = observe::observing(&mut self.observed, || {
            unbuffered::write_early(&mut **connection, plaintext, max_fragment, out)
        });
        let written = written.map_err(|error| {
            let ending = self.ended(error, before, out);
            self.end(ending, out)
        })?;
        self.early.was_sent(written);
        self.hellos.was_sent(out.since(before));
        Ok(written)
    }

    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error> {
        if let Protection::Ours(layered) = &mut self.protection {
            return layered.layer.seal(plaintext, out);
        }
        let max_fragment = self.manner.max_fragment;
        self.emit(out, |connection, shown, out| {
            unbuffered::seal(connection, shown, plaintext, max_fragment, out)
        })
    }

    fn overhead(&self) -> usize {
        match &self.protection {
            Protection::Ours(_) => polytls_records::OVERHEAD,
            // TLS 1.2 with ChaCha20, or TLS 1.3.
            Protection::Rustls(_)
            | Protection::Moving
            | Protection::Refused
            | Protection::Over(_) => 5 + 16,
        }
    }

    fn sealed_len(&self, plaintext: usize) -> Option<usize> {
        match &self.protection {
            Protection::Ours(layered) => layered.layer.sealed_len(plaintext),
            Protection::Rustls(_)
            | Protection::Moving
            | Protection::Refused
            | Protection::Over(_) => None,
        }
    }

    fn seal_into(&mut self, plaintext: &[u8], into: &mut [u8]) -> Result<(), Error> {
        match &mut self.protection {
            Protection::Ours(layered) => layered.layer.seal_into(plaintext, into),
            Protection::Rustls(_)
            | Protection::Moving
            | Protection::Refused
            | Protection::Over(_) => Err(moving()),
        }
    }

    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error> {
        match &mut self.protection {
            Protection::Ours(layered) => layered.layer.close(out)?,
            _ => self.emit(out, unbuffered::close)?,
        }
        Ok(Progress::default())
    }

    fn send_alert(&mut self, alert: Alert, _: &[u8], out: &mut Outbound) -> Result<(), Error> {
        match &mut self.protection {
            Protection::Ours(layered) => layered.layer.send_alert(alert, out),
            Protection::Rustls(connection) => {
                let seen = self.observed.as_deref();
                let sealing = seen.and_then(|seen| seen.sealing.as_ref());
                sealing::put_alert(sealing, connection.protocol_version(), alert, out)
            }
            // The peer was told; or there is nothing to seal with, and an error that says why.
            Protection::Refused | Protection::Moving => Ok(()),
            Protection::Over(_) => Err(moving()),
        }
    }

    fn alert(&self) -> Option<Alert> {
        match &self.protection {
            Protection::Ours(own) => own.layer.alert(),
            _ => self.alert,
        }
    }

    fn export(&self, label: &[u8], context: Option<&[u8]>, into: &mut [u8]) -> Result<(), Error> {
        let cipher = match &self.protection {
            Protection::Rustls(connection) => connection
                .negotiated_cipher_suite()
                .map_or(0, |suite| u16::from(suite.suite())),
            Protection::Ours(layered) => layered.facts.cipher,
            Protection::Moving | Protection::Refused | Protection::Over(_) => {
                return Err(moving());
            }
        };
        let seen = self.observed();
        let hello = seen.and_then(|seen| seen.server_hello.as_ref());
        seen.and_then(|seen| seen.exporter.as_deref())
            .ok_or_else(|| Error::Internal("rustls gave no exporter secret".to_owned()))?
            .export(cipher, hello, label, context, into)
    }

    fn lineage(&mut self) -> Option<Lineage> {
        let certificates =
            |chain: Vec<Vec<u8>>| chain.into_iter().map(CertificateDer::from).collect();
        let lineage = match &mut self.protection {
            Protection::Ours(layered) => {
                let RecordLayered { layer, facts } = &mut **layered;
                let (seen, source) = layer.source_mut().with_source();
                let chain = || certificates(facts.peer_chain.clone());
                last_ticket::of_connection(seen?, chain, source.as_ref())
            }
            Protection::Rustls(connection) => {
                let chain = || certificates(presented(&**connection));
                last_ticket::of_connection(self.observed.as_deref_mut()?, chain, None)
            }
            Protection::Over(facts) => {
                let chain = || certificates(facts.peer_chain.clone());
                last_ticket::of_connection(self.observed.as_deref_mut()?, chain, None)
            }
            Protection::Moving | Protection::Refused => None,
        };
        lineage.map(|lineage| Lineage(lineage))
    }

    fn forget_keys(&mut self) {
        if let Some(seen) = self.observed.as_deref_mut() {
            seen.forget_keys();
        }
        if let Protection::Ours(layered) = &mut self.protection {
            layered.layer.forget_keys();
            let kernel = layered.layer.source_mut();
            kernel.forget_keys();
            // On a client it goes on to make values of tickets.
            if !S::IS_CLIENT {
                self.observed = kernel.observed.take();
                self.protection = Protection::Over(Box::new(layered.facts.clone()));
            }
        } else if let Protection::Rustls(connection) = &self.protection
            && !connection.is_handshaking()
        {
            self.protection = Protection::Over(Box::new(self.facts()));
        }
    }

    fn own_certificate(&self) -> Result<Option<Vec<u8>>, Error> {
        let identity = self.observed().and_then(|seen| seen.identity.as_ref());
        let leaf = identity.and_then(|identity| identity.cert.first());
        Ok(leaf.map(|leaf| leaf.to_vec()))
    }

    fn update_keys(&mut self, out: &mut Outbound) -> Result<(), Error> {
        if let Protection::Ours(layered) = &mut self.protection {
            return layered.layer.update_sending(true, out);
        }
        self.emit(out, unbuffered::update_keys)
    }

    fn tracer(&self) -> Option<Arc<dyn Tracer>> {
        self.manner.tracer.clone()
    }

    fn take_shown(&mut self) -> Vec<Shown> {
        let mut shown = std::mem::take(&mut self.shown);
        let seen = match &mut self.protection {
            Protection::Ours(layered) => layered.layer.source_mut().observed.as_deref_mut(),
            _ => self.observed.as_deref_mut(),
        };
        if let Some(passing) = seen.and_then(|seen| seen.passing.as_deref_mut()) {
            shown.append(&mut passing.found);
        }
        shown
    }

    fn version(&self) -> Option<Version> {
        Version::of_wire(match &self.protection {
            Protection::Rustls(connection) => connection.protocol_version()?.into(),
            Protection::Ours(layered) => layered.facts.version,
            Protection::Over(facts) => facts.version,
            Protection::Moving | Protection::Refused => return None,
        })
    }

    fn facts(&self) -> Facts {
        match &self.protection {
            Protection::Rustls(connection) => self.facts_of(&**connection),
            Protection::Ours(layered) => layered.facts.clone(),
            Protection::Over(facts) => (**facts).clone(),
            Protection::Moving | Protection::Refused => Facts::default(),
        }
    }
}

fn presented<Data>(connection: &UnbufferedConnectionCommon<Data>) -> Vec<Vec<u8>> {
    let chain = connection.peer_certificates().unwrap_or_default();
    chain.iter().map(|one| one.to_vec()).collect()
}

#[cfg(test)]
#[path = "differential.rs"]
mod differential;
