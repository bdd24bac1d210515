//! One connection over rustls's unbuffered API, which keeps no buffer of its own: records are
//! opened where they lie, and sealed records go to where they are sent from.

use std::ops::DerefMut;

use polytls_core::{Error, Facts, Outbound, Received, Session, Sink};
use rustls::HandshakeKind;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedConnectionCommon, UnbufferedStatus,
};

use crate::error::blame;
use crate::observe::{self, Observed};

/// What sealing adds to a record at most: header, explicit nonce (TLS 1.2), content type, tag.
const OVERHEAD: usize = 5 + 8 + 1 + 16;
/// Room for what is queued before data: key updates, tickets, alerts.
const QUEUED: usize = 256;

/// The two kinds of connection, which rustls gives the same methods but no common trait.
pub(crate) trait Side:
    DerefMut<Target = UnbufferedConnectionCommon<Self::Data>> + Send
{
    /// rustls's own name for the side.
    type Data;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8])
    -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

/// A connection, and what its verifier and resolver saw.
pub(crate) struct RustlsSession<S> {
    connection: S,
    /// There but while it is lent.
    observed: Option<Box<Observed>>,
}

impl<S: Side> RustlsSession<S> {
    pub(crate) const fn new(connection: S, observed: Option<Box<Observed>>) -> Self {
        Self {
            connection,
            observed,
        }
    }
}

impl<S: Side> Session for RustlsSession<S> {
    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn receive(
        &mut self,
        records: &mut [u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Received, Error> {
        let Self {
            connection,
            observed,
        } = self;
        observe::observing(observed, || process(connection, records, plaintext, out)).map_err(
            |error| {
                blame(
                    error,
                    self.observed.as_mut().and_then(|seen| seen.refusal.take()),
                )
            },
        )
    }

    fn seal(
        &mut self,
        shown: &mut [u8],
        plaintext: &[u8],
        out: &mut Outbound,
    ) -> Result<(), Error> {
        let records = plaintext.len().div_ceil(polytls_core::MAX_FRAGMENT);
        let room = plaintext.len() + records * OVERHEAD + QUEUED;
        emit(&mut self.connection, shown, out, room, |traffic, space| {
            traffic.encrypt(plaintext, space)
        })
    }

    fn close(&mut self, shown: &mut [u8], out: &mut Outbound) -> Result<(), Error> {
        emit(
            &mut self.connection,
            shown,
            out,
            QUEUED,
            |traffic, space| traffic.queue_close_notify(space),
        )
    }

    fn facts(&self) -> Facts {
        let connection = &*self.connection;
        Facts {
            version: connection.protocol_version().map_or(0, u16::from),
            cipher: connection
                .negotiated_cipher_suite()
                .map_or(0, |suite| u16::from(suite.suite())),
            group: connection
                .negotiated_key_exchange_group()
                .map(|group| u16::from(group.name())),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name: self
                .observed
                .as_ref()
                .and_then(|seen| seen.server_name.clone()),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            peer_chain: connection
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|certificate| certificate.to_vec())
                .collect(),
        }
    }
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
