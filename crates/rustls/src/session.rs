//! One connection: the handshake, and TLS 1.2 as a whole, on rustls; after a TLS 1.3 handshake on our
//! own record layer, which opens records into the caller's buffer and seals from it.

use polytls_core::{Error, Facts, Lineage, Outbound, Received, Session, Sink};
use polytls_records::RecordLayer;
use rustls::pki_types::CertificateDer;
use rustls::unbuffered::UnbufferedConnectionCommon;
use rustls::{AlertDescription, HandshakeKind, PeerIncompatible, PeerMisbehaved};

use crate::early::{self, Early, Seen};
use crate::error::blame;
use crate::kernel::{self, Kernel};
use crate::lineage;
use crate::observe::{self, Observed};
use crate::secrets::ServerHello;
use crate::unbuffered::{self, Side};
use crate::verifier::Again;

/// Who protects the records.
enum Protection<S: Side> {
    Rustls(S),
    Ours(Box<Own<S>>),
    /// On the way from the one to the other; stays so only if that failed, which is fatal.
    Moving,
    /// The peer of a resumed session was refused: the handshake will never be complete.
    Refused,
}

/// Our record layer, and what rustls knew when it handed over.
struct Own<S: Side> {
    layer: RecordLayer<Kernel<S>>,
    facts: Facts,
}

/// A connection, and what its verifier and resolver saw.
pub(crate) struct RustlsSession<S: Side> {
    protection: Protection<S>,
    /// There but while it is lent; with the record layer, once that has taken over.
    observed: Option<Box<Observed>>,
    /// To be asked if the session is resumed; asked once.
    again: Option<Box<Again>>,
    early: Early,
    /// Whether the server has sent HelloRetryRequest: rustls forgets it where a session is resumed.
    retried: bool,
    /// How much of the records that it is shown next was shown before.
    unconsumed: usize,
    /// Whether to go without our own record layer.
    stay_on_rustls: bool,
}

impl<S: Side> RustlsSession<S> {
    pub(crate) fn new(
        connection: S,
        observed: Option<Box<Observed>>,
        again: Option<Box<Again>>,
        early: Early,
    ) -> Self {
        Self {
            protection: Protection::Rustls(connection),
            observed,
            again,
            early,
            retried: false,
            unconsumed: 0,
            stay_on_rustls: kernel::is_switched_off(),
        }
    }

    /// The error that ended the connection at `records`; so much as `before` was to be sent then.
    fn ended(
        &mut self,
        error: rustls::Error,
        records: &[u8],
        before: usize,
        out: &mut Outbound,
    ) -> Error {
        let seen = self.observed.as_deref_mut();
        let (refusal, no_key_fits) = seen.map_or((None, false), |seen| {
            (seen.refusal.take(), seen.no_key_fits)
        });
        if let Some(failure) = self
            .observed
            .as_mut()
            .and_then(|seen| seen.signer_failure.take())
        {
            // rustls says nothing, and what it had prepared was not sent: nothing is encrypted yet
            // that we send (RFC 8446 section 6.2).
            append_alert(INTERNAL_ERROR, out);
            return Error::Signer(failure);
        }
        match error {
            // rustls 0.23 misses an extension that came with TLS 1.2 before it looks at the version.
            rustls::Error::PeerIncompatible(
                PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            ) if offers_at_most_tls11(records) => {
                replace_alert(PROTOCOL_VERSION, before, out);
                Error::PeerIncompatible("the client speaks TLS 1.1 or older".to_owned())
            }
            // rustls 0.23 says so without an alert (RFC 8446 appendix D.3).
            rustls::Error::PeerMisbehaved(
                PeerMisbehaved::OfferedEarlyDataWithOldProtocolVersion,
            ) => {
                append_alert(PROTOCOL_VERSION, out);
                Error::PeerMisbehaved(
                    "the server has gone back to TLS 1.2, though its session allowed early data"
                        .to_owned(),
                )
            }
            // rustls 0.23 says so without an alert in TLS 1.2.
            rustls::Error::General(_) if no_key_fits => {
                replace_alert(HANDSHAKE_FAILURE, before, out);
                Error::PeerIncompatible("no signature scheme in common".to_owned())
            }
            error => blame(error, refusal),
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
            hello_retry_request: Some(self.retried),
        }
    }

    fn observed(&self) -> Option<&Observed> {
        match &self.protection {
            Protection::Ours(own) => own.layer.source().observed.as_deref(),
            _ => self.observed.as_deref(),
        }
    }

    /// Looks for the ServerHello, which is first among what a server sends.
    fn see_server_hello(&mut self, records: &[u8]) {
        if let Some(seen) = &mut self.observed
            && seen.server_hello.is_none()
        {
            seen.server_hello = ServerHello::of(records);
        }
    }

    /// Looks what became of early data once a server has answered a ClientHello with `flight`.
    fn see_client_hello(&mut self, flight: &[u8]) -> Result<(), Error> {
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
            .was_offered(flight, suite, &mut seen.handshake_secrets)
    }

    /// What comes is neither to be skipped nor part of the handshake: rustls says so to the peer.
    fn too_much_early_data(&mut self, out: &mut Outbound) -> Error {
        let Protection::Rustls(connection) = &mut self.protection else {
            return moving();
        };
        let mut record = early::too_long();
        let error = observe::observing(&mut self.observed, || {
            unbuffered::refuse(connection, &mut record, out)
        });
        blame(error, None)
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
    fn judge_resumed(&mut self, before: usize, out: &mut Outbound) -> Result<(), Error> {
        let Protection::Rustls(connection) = &self.protection else {
            return Ok(());
        };
        if self.again.is_none() || connection.handshake_kind() != Some(HandshakeKind::Resumed) {
            return Ok(());
        }
        let Some(again) = self.again.take() else {
            return Ok(());
        };
        let chain = connection.peer_certificates().unwrap_or_default();
        let verdict = observe::observing(&mut self.observed, || again.judge(chain));
        verdict.map_err(|error| {
            let description = match &error {
                rustls::Error::InvalidCertificate(error) => {
                    u8::from(AlertDescription::from(error.clone()))
                }
                _ => INTERNAL_ERROR,
            };
            self.protection = Protection::Refused;
            out.truncate(before);
            replace_alert(description, before, out);
            let seen = self.observed.as_deref_mut();
            blame(error, seen.and_then(|seen| seen.refusal.take()))
        })
    }

    /// Takes over from rustls, if the handshake is complete and everything it has to say is said.
    fn take_over(&mut self) -> Result<(), Error> {
        let Protection::Rustls(connection) = &self.protection else {
            return Ok(());
        };
        if self.stay_on_rustls
            || connection.is_handshaking()
            || connection.wants_write()
            || connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3)
        {
            return Ok(());
        }
        let facts = self.facts_of(&**connection);
        if let Some(seen) = &mut self.observed {
            seen.verified_chain = None; // It is among the facts now.
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
        self.protection = Protection::Ours(Box::new(Own { layer, facts }));
        Ok(())
    }
}

fn moving() -> Error {
    Error::Internal("a connection that could not be handed over".to_owned())
}

impl<S: Side> Session for RustlsSession<S> {
    fn is_handshaking(&self) -> bool {
        match &self.protection {
            Protection::Rustls(connection) => connection.is_handshaking(),
            Protection::Ours(_) | Protection::Moving => false,
            Protection::Refused => true,
        }
    }

    fn receive(
        &mut self,
        records: &mut [u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Received, Error> {
        let before = out.len();
        let was_handshaking = self.is_handshaking();
        if was_handshaking && !S::IS_CLIENT {
            let before_it = std::mem::take(&mut self.unconsumed);
            match self.early.sees(&records[before_it..], before_it == 0) {
                Seen::Other => {}
                Seen::Skipped => {
                    return Ok(Received {
                        consumed: records.len(),
                        ..Received::default()
                    });
                }
                Seen::TooMuch => return Err(self.too_much_early_data(out)),
            }
        }
        if S::IS_CLIENT && was_handshaking {
            self.see_server_hello(records);
        }
        let received = match &mut self.protection {
            Protection::Ours(own) => return own.layer.receive(records, plaintext, out),
            Protection::Rustls(connection) => observe::observing(&mut self.observed, || {
                unbuffered::process(connection, records, plaintext, out)
            }),
            Protection::Moving | Protection::Refused => return Err(moving()),
        };
        let received = received.map_err(|error| self.ended(error, records, before, out))?;
        self.unconsumed = records.len() - received.consumed;
        if was_handshaking && let Protection::Rustls(connection) = &self.protection {
            self.retried |=
                connection.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
        }
        if self.again.is_some() {
            self.judge_resumed(before, out)?;
        }
        if !S::IS_CLIENT {
            let flight = &out.bytes()[before..];
            self.see_server_hello(flight);
            if was_handshaking && received.consumed > 0 && !flight.is_empty() {
                self.see_client_hello(flight)?;
            }
        }
        if received.answerable {
            self.early.was_taken();
        }
        if was_handshaking && !self.is_handshaking() {
            self.completed(&out.bytes()[before..]);
        }
        // rustls remembers where in the records an incomplete message began, so it goes on with it.
        if received.consumed == records.len() && !received.peer_closed {
            self.take_over()?;
        }
        Ok(received)
    }

    fn has_early_data(&self) -> bool {
        self.early.is_configured()
    }

    fn write_early(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<usize, Error> {
        let Protection::Rustls(connection) = &mut self.protection else {
            return Err(moving());
        };
        let written = observe::observing(&mut self.observed, || {
            unbuffered::write_early(connection, plaintext, out)
        });
        let written = written.map_err(|error| blame(error, None))?;
        self.early.was_sent(written);
        Ok(written)
    }

    fn seal(
        &mut self,
        shown: &mut [u8],
        plaintext: &[u8],
        out: &mut Outbound,
    ) -> Result<(), Error> {
        match &mut self.protection {
            Protection::Ours(own) => own.layer.seal(plaintext, out),
            Protection::Rustls(connection) => unbuffered::seal(connection, shown, plaintext, out),
            Protection::Moving | Protection::Refused => Err(moving()),
        }
    }

    fn receive_shared(
        &mut self,
        record: &[u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Option<Result<Received, Error>> {
        let Protection::Ours(own) = &mut self.protection else {
            return None;
        };
        Some(own.layer.receive(record, plaintext, out))
    }

    fn overhead(&self) -> usize {
        match &self.protection {
            Protection::Ours(_) => polytls_records::OVERHEAD,
            // TLS 1.2 with ChaCha20, or TLS 1.3.
            Protection::Rustls(_) | Protection::Moving | Protection::Refused => 5 + 16,
        }
    }

    fn sealed_len(&self, plaintext: usize) -> Option<usize> {
        match &self.protection {
            Protection::Ours(own) => own.layer.sealed_len(plaintext),
            Protection::Rustls(_) | Protection::Moving | Protection::Refused => None,
        }
    }

    fn seal_into(&mut self, plaintext: &[u8], into: &mut [u8]) -> Result<(), Error> {
        match &mut self.protection {
            Protection::Ours(own) => own.layer.seal_into(plaintext, into),
            Protection::Rustls(_) | Protection::Moving | Protection::Refused => Err(moving()),
        }
    }

    fn close(&mut self, shown: &mut [u8], out: &mut Outbound) -> Result<(), Error> {
        match &mut self.protection {
            Protection::Ours(own) => own.layer.close(out),
            Protection::Rustls(connection) => unbuffered::close(connection, shown, out),
            Protection::Moving | Protection::Refused => Err(moving()),
        }
    }

    fn export(&self, label: &[u8], context: Option<&[u8]>, into: &mut [u8]) -> Result<(), Error> {
        let cipher = match &self.protection {
            Protection::Rustls(connection) => connection
                .negotiated_cipher_suite()
                .map_or(0, |suite| u16::from(suite.suite())),
            Protection::Ours(own) => own.facts.cipher,
            Protection::Moving | Protection::Refused => return Err(moving()),
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
            Protection::Ours(own) => {
                let Own { layer, facts } = &mut **own;
                let (seen, source) = layer.source_mut().with_source();
                let chain = || certificates(facts.peer_chain.clone());
                lineage::of_connection(seen?, chain, source.as_ref())
            }
            Protection::Rustls(connection) => {
                let chain = || certificates(presented(&**connection));
                lineage::of_connection(self.observed.as_deref_mut()?, chain, None)
            }
            Protection::Moving | Protection::Refused => None,
        };
        lineage.map(|lineage| Lineage(lineage))
    }

    fn own_certificate(&self) -> Option<Vec<u8>> {
        let identity = self.observed()?.identity.as_ref()?;
        identity.cert.first().map(|leaf| leaf.to_vec())
    }

    fn update_keys(&mut self, shown: &mut [u8], out: &mut Outbound) -> Result<(), Error> {
        match &mut self.protection {
            Protection::Ours(own) => own.layer.update_sending(true, out),
            Protection::Rustls(connection) => unbuffered::update_keys(connection, shown, out),
            Protection::Moving | Protection::Refused => Err(moving()),
        }
    }

    fn facts(&self) -> Facts {
        match &self.protection {
            Protection::Rustls(connection) => self.facts_of(&**connection),
            Protection::Ours(own) => own.facts.clone(),
            Protection::Moving | Protection::Refused => Facts::default(),
        }
    }
}

fn presented<Data>(connection: &UnbufferedConnectionCommon<Data>) -> Vec<Vec<u8>> {
    let chain = connection.peer_certificates().unwrap_or_default();
    chain.iter().map(|one| one.to_vec()).collect()
}

const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;
const INTERNAL_ERROR: u8 = 80;

/// Says goodbye in other words, or at all: what was put behind the first `before` bytes of `out` is an
/// alert in the clear, as nothing was encrypted yet, or nothing.
fn replace_alert(description: u8, before: usize, out: &mut Outbound) {
    let alert = alert(description);
    if out.len() == before {
        append_alert(description, out);
    } else if let Some(last) = out.tail_mut(alert.len()) {
        last.copy_from_slice(&alert);
    }
}

fn append_alert(description: u8, out: &mut Outbound) {
    let alert = alert(description);
    out.space(alert.len())[..alert.len()].copy_from_slice(&alert);
    out.commit(alert.len());
}

/// A fatal alert in a record of its own, in the clear.
const fn alert(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

/// Whether a ClientHello, in its first record, has a version below TLS 1.2 where TLS 1.2 and 1.3 have
/// theirs (RFC 8446 section 4.1.2).
fn offers_at_most_tls11(records: &[u8]) -> bool {
    matches!(records, [22, _, _, _, _, 1, _, _, _, 3, minor, ..] if *minor < 3)
}

#[cfg(test)]
#[path = "differential.rs"]
mod differential;
