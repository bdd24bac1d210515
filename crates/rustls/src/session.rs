//! One connection: the handshake, and TLS 1.2 as a whole, over rustls's unbuffered API, which keeps
//! no buffer of its own; after a TLS 1.3 handshake over our own record layer, which opens records
//! into the caller's buffer and seals from it.

use std::ops::DerefMut;

use polytls_core::{Error, Facts, Outbound, Received, Session, Sink};
use polytls_records::RecordLayer;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedConnectionCommon, UnbufferedStatus,
};
use rustls::{HandshakeKind, PeerIncompatible};

use crate::error::blame;
use crate::kernel::{self, Kernel};
use crate::observe::{self, Observed};

/// What sealing adds to a record at most: header, explicit nonce (TLS 1.2), content type, tag.
const OVERHEAD: usize = 5 + 8 + 1 + 16;
/// Room for what is queued before data: key updates, tickets, alerts.
const QUEUED: usize = 256;

/// The two kinds of connection, which rustls gives the same methods but no common trait.
pub(crate) trait Side:
    DerefMut<Target = UnbufferedConnectionCommon<Self::Data>> + Sized + Send
{
    /// rustls's own name for the side.
    type Data: Send;

    const IS_CLIENT: bool;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8])
    -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn into_kernel(self) -> Result<kernel::Parts<Self>, rustls::Error>;

    /// Keeps a ticket, given by the body of its message.
    fn keep_ticket(
        kernel: &mut KernelConnection<Self::Data>,
        body: &[u8],
    ) -> Result<(), rustls::Error>;
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    const IS_CLIENT: bool = true;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }

    fn into_kernel(self) -> Result<kernel::Parts<Self>, rustls::Error> {
        self.dangerous_into_kernel_connection()
    }

    fn keep_ticket(
        kernel: &mut KernelConnection<Self::Data>,
        body: &[u8],
    ) -> Result<(), rustls::Error> {
        kernel.handle_new_session_ticket(body)
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    const IS_CLIENT: bool = false;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }

    fn into_kernel(self) -> Result<kernel::Parts<Self>, rustls::Error> {
        self.dangerous_into_kernel_connection()
    }

    /// The record layer refuses tickets on servers before it comes to this.
    fn keep_ticket(
        _kernel: &mut KernelConnection<Self::Data>,
        _body: &[u8],
    ) -> Result<(), rustls::Error> {
        Err(rustls::Error::General("a ticket for a server".to_owned()))
    }
}

/// Who protects the records.
enum Protection<S: Side> {
    Rustls(S),
    Ours(Box<Own<S>>),
    /// On the way from the one to the other; stays so only if that failed, which is fatal.
    Moving,
}

/// Our record layer, and what rustls knew when it handed over.
struct Own<S: Side> {
    layer: RecordLayer<Kernel<S>>,
    facts: Facts,
}

/// A connection, and what its verifier and resolver saw.
pub(crate) struct RustlsSession<S: Side> {
    protection: Protection<S>,
    /// There but while it is lent.
    observed: Option<Box<Observed>>,
    /// Whether to go without our own record layer.
    stay_on_rustls: bool,
}

impl<S: Side> RustlsSession<S> {
    pub(crate) fn new(connection: S, observed: Option<Box<Observed>>) -> Self {
        Self {
            protection: Protection::Rustls(connection),
            observed,
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
        match error {
            // rustls 0.23 misses an extension that came with TLS 1.2 before it looks at the version.
            rustls::Error::PeerIncompatible(
                PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            ) if offers_at_most_tls11(records) => {
                replace_alert(PROTOCOL_VERSION, before, out);
                Error::PeerIncompatible("the client speaks TLS 1.1 or older".to_owned())
            }
            // rustls 0.23 says so without an alert in TLS 1.2.
            rustls::Error::General(_) if no_key_fits => {
                replace_alert(HANDSHAKE_FAILURE, before, out);
                Error::PeerIncompatible("no signature scheme in common".to_owned())
            }
            error => blame(error, refusal),
        }
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
        let facts = facts(&**connection, self.observed.as_deref());
        let Protection::Rustls(connection) =
            std::mem::replace(&mut self.protection, Protection::Moving)
        else {
            return Ok(());
        };
        let parts = connection
            .into_kernel()
            .map_err(|error| Error::Internal(error.to_string()))?;
        let layer = kernel::record_layer(parts)?;
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
        }
    }

    fn receive(
        &mut self,
        records: &mut [u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Received, Error> {
        let before = out.len();
        let received = match &mut self.protection {
            Protection::Ours(own) => {
                return observe::observing(&mut self.observed, || {
                    own.layer.receive(records, plaintext, out)
                });
            }
            Protection::Rustls(connection) => observe::observing(&mut self.observed, || {
                process(connection, records, plaintext, out)
            }),
            Protection::Moving => return Err(moving()),
        };
        let received = received.map_err(|error| self.ended(error, records, before, out))?;
        // rustls remembers where in the records an incomplete message began, so it goes on with it.
        if received.consumed == records.len() && !received.peer_closed {
            self.take_over()?;
        }
        Ok(received)
    }

    fn seal(
        &mut self,
        shown: &mut [u8],
        plaintext: &[u8],
        out: &mut Outbound,
    ) -> Result<(), Error> {
        match &mut self.protection {
            Protection::Ours(own) => own.layer.seal(plaintext, out),
            Protection::Rustls(connection) => {
                let records = plaintext.len().div_ceil(polytls_core::MAX_FRAGMENT);
                let room = plaintext.len() + records * OVERHEAD + QUEUED;
                emit(connection, shown, out, room, |traffic, space| {
                    traffic.encrypt(plaintext, space)
                })
            }
            Protection::Moving => Err(moving()),
        }
    }

    fn close(&mut self, shown: &mut [u8], out: &mut Outbound) -> Result<(), Error> {
        match &mut self.protection {
            Protection::Ours(own) => own.layer.close(out),
            Protection::Rustls(connection) => {
                emit(connection, shown, out, QUEUED, |traffic, space| {
                    traffic.queue_close_notify(space)
                })
            }
            Protection::Moving => Err(moving()),
        }
    }

    fn facts(&self) -> Facts {
        match &self.protection {
            Protection::Rustls(connection) => facts(&**connection, self.observed.as_deref()),
            Protection::Ours(own) => own.facts.clone(),
            Protection::Moving => Facts::default(),
        }
    }
}

fn facts<Data>(
    connection: &UnbufferedConnectionCommon<Data>,
    observed: Option<&Observed>,
) -> Facts {
    Facts {
        version: connection.protocol_version().map_or(0, u16::from),
        cipher: connection
            .negotiated_cipher_suite()
            .map_or(0, |suite| u16::from(suite.suite())),
        group: connection
            .negotiated_key_exchange_group()
            .map(|group| u16::from(group.name())),
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        server_name: observed.and_then(|seen| seen.server_name.clone()),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        peer_chain: connection
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.to_vec())
            .collect(),
    }
}

const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;

/// Says goodbye in other words, or at all: what was put behind the first `before` bytes of `out` is an
/// alert in the clear, as nothing was encrypted yet, or nothing.
fn replace_alert(description: u8, before: usize, out: &mut Outbound) {
    let alert = [21, 3, 3, 0, 2, 2, description];
    if out.len() == before {
        out.space(alert.len());
        out.commit(alert.len());
    }
    if let Some(last) = out.tail_mut(alert.len()) {
        last.copy_from_slice(&alert);
    }
}

/// Whether a ClientHello, in its first record, has a version below TLS 1.2 where TLS 1.2 and 1.3 have
/// theirs (RFC 8446 section 4.1.2).
fn offers_at_most_tls11(records: &[u8]) -> bool {
    matches!(records, [22, _, _, _, _, 1, _, _, _, 3, minor, ..] if *minor < 3)
}

/// Runs rustls until it wants more records.
fn process<S: Side>(
    connection: &mut S,
    records: &mut [u8],
    plaintext: &mut Sink<'_>,
    out: &mut Outbound,
) -> Result<Received, rustls::Error> {
    let mut received = Received::default();
    loop {
        let UnbufferedStatus { mut discard, state } =
            connection.process(&mut records[received.consumed..]);
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                drain(connection, out);
                return Err(error);
            }
        };
        let more = match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    plaintext.put(record.payload);
                }
                true
            }
            ConnectionState::EncodeTlsData(message) => {
                encode(message, out)?;
                true
            }
            ConnectionState::TransmitTlsData(transmit) => {
                transmit.done();
                true
            }
            ConnectionState::PeerClosed => {
                received.peer_closed = true;
                false
            }
            ConnectionState::WriteTraffic(_)
            | ConnectionState::BlockedHandshake
            | ConnectionState::Closed => false,
            // Early data is never enabled.
            state => return Err(rustls::Error::General(format!("unexpected {state:?}"))),
        };
        received.consumed += discard;
        if !more {
            return Ok(received);
        }
    }
}

/// After an error: what is left to send is the alert. As long as something waits to be sent,
/// rustls looks at nothing else, so it need not be shown the records again.
fn drain<S: Side>(connection: &mut S, out: &mut Outbound) {
    while connection.wants_write() {
        match connection.process(&mut []).state {
            Ok(ConnectionState::EncodeTlsData(message)) => {
                if encode(message, out).is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

fn encode<Data>(
    mut message: EncodeTlsData<'_, Data>,
    out: &mut Outbound,
) -> Result<(), rustls::Error> {
    let mut room = 0;
    loop {
        match message.encode(&mut out.space(room)[..room]) {
            Ok(written) => {
                out.commit(written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size }))
                if required_size > room =>
            {
                room = required_size;
            }
            Err(error) => return Err(rustls::Error::General(error.to_string())),
        }
    }
}

/// Gets rustls to the state in which it seals, and has it seal into `out`.
///
/// `shown` must be what it was shown and did not consume: it remembers where in there a handshake
/// message began, and panics where that is missing.
fn emit<S: Side>(
    connection: &mut S,
    shown: &mut [u8],
    out: &mut Outbound,
    mut room: usize,
    seal: impl Fn(
        &mut rustls::unbuffered::WriteTraffic<'_, S::Data>,
        &mut [u8],
    ) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    loop {
        match connection.process(shown).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                match seal(&mut traffic, out.space(room)) {
                    Ok(written) => {
                        out.commit(written);
                        return Ok(());
                    }
                    Err(EncryptError::InsufficientSize(InsufficientSizeError {
                        required_size,
                    })) if required_size > room => room = required_size,
                    Err(error) => return Err(Error::Internal(error.to_string())),
                }
            }
            Ok(ConnectionState::EncodeTlsData(message)) => {
                encode(message, out).map_err(|error| blame(error, None))?;
            }
            Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
            Ok(state) => {
                return Err(Error::Internal(format!("rustls cannot seal in {state:?}")));
            }
            Err(error) => return Err(blame(error, None)),
        }
    }
}

#[cfg(test)]
#[path = "differential.rs"]
mod differential;
