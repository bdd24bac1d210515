//! rustls's unbuffered API, which keeps no buffer of its own: records are opened where they lie, and
//! sealed records go to where they are sent from.

use std::ops::DerefMut;
use std::sync::{Arc, Mutex};

use polytls_core::{Error, Outbound, Progress, Sink};
use rustls::ExtractedSecrets;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    ReadEarlyData, TransmitTlsData, UnbufferedConnectionCommon, UnbufferedStatus, WriteTraffic,
};

use crate::error::blame;
use crate::lineage::Source;

/// What sealing adds to a record at most: header, explicit nonce (TLS 1.2), content type, tag.
const OVERHEAD: usize = 5 + 8 + 1 + 16;
/// Room for what is queued before data: key updates, tickets, alerts.
const QUEUED: usize = 256;

/// What rustls hands over (`kernel`).
pub(crate) type Parts<S> = (ExtractedSecrets, KernelConnection<<S as Side>::Data>);

/// The two kinds of connection, which rustls gives the same methods but no common trait.
pub(crate) trait Side:
    DerefMut<Target = UnbufferedConnectionCommon<Self::Data>> + Sized + Send
{
    /// rustls's own name for the side.
    type Data: Send;

    const IS_CLIENT: bool;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8])
    -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn into_kernel(self) -> Result<Parts<Self>, rustls::Error>;

    /// Seals early data with the first flight, as much of `plaintext` as is allowed; says how much of
    /// `into` that took. Only clients have any.
    fn seal_early(
        _transmit: &mut TransmitTlsData<'_, Self::Data>,
        _plaintext: &[u8],
        _into: &mut [u8],
    ) -> Result<usize, rustls::Error> {
        Ok(0)
    }

    /// Opens early data. Only servers are sent any.
    fn open_early(_early: ReadEarlyData<'_, '_, Self::Data>, _plaintext: &mut Sink<'_>) {}

    /// Keeps a ticket, given by the body of its message.
    fn keep_ticket(
        kernel: &mut KernelConnection<Self::Data>,
        body: &[u8],
    ) -> Result<(), rustls::Error>;

    /// What makes values of tickets, on clients.
    fn source(_kernel: &Arc<Mutex<KernelConnection<Self::Data>>>) -> Option<Source> {
        None
    }
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

    fn into_kernel(self) -> Result<Parts<Self>, rustls::Error> {
        self.dangerous_into_kernel_connection()
    }

    fn seal_early(
        transmit: &mut TransmitTlsData<'_, Self::Data>,
        plaintext: &[u8],
        into: &mut [u8],
    ) -> Result<usize, rustls::Error> {
        let Some(mut early) = transmit.may_encrypt_early_data() else {
            return Ok(0);
        };
        let sealed = early.encrypt(plaintext, into);
        sealed.map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn keep_ticket(
        kernel: &mut KernelConnection<Self::Data>,
        body: &[u8],
    ) -> Result<(), rustls::Error> {
        kernel.handle_new_session_ticket(body)
    }

    fn source(kernel: &Arc<Mutex<KernelConnection<Self::Data>>>) -> Option<Source> {
        Some(Arc::clone(kernel))
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

    fn into_kernel(self) -> Result<Parts<Self>, rustls::Error> {
        self.dangerous_into_kernel_connection()
    }

    fn open_early(mut early: ReadEarlyData<'_, '_, Self::Data>, plaintext: &mut Sink<'_>) {
        // It was opened already: none is an error.
        while let Some(Ok(record)) = early.next_record() {
            plaintext.put_early(record.payload);
        }
    }

    /// The record layer refuses tickets on servers before it comes to this.
    fn keep_ticket(
        _kernel: &mut KernelConnection<Self::Data>,
        _body: &[u8],
    ) -> Result<(), rustls::Error> {
        Err(rustls::Error::General("a ticket for a server".to_owned()))
    }
}

/// Runs rustls until it wants more records.
pub(crate) fn process<S: Side>(
    connection: &mut S,
    records: &mut [u8],
    plaintext: &mut Sink<'_>,
    out: &mut Outbound,
) -> Result<Progress, rustls::Error> {
    let mut received = Progress::default();
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
            ConnectionState::ReadEarlyData(early) => {
                S::open_early(early, plaintext);
                received.answerable = true;
                true
            }
            ConnectionState::WriteTraffic(_)
            | ConnectionState::BlockedHandshake
            | ConnectionState::Closed => false,
            state => return Err(rustls::Error::General(format!("unexpected {state:?}"))),
        };
        received.consumed += discard;
        if !more {
            return Ok(received);
        }
    }
}

/// Makes a client's first flight, unless that was done, and seals early data behind it; says how much
/// of `plaintext` that was. The handshake goes on with [`process`].
pub(crate) fn write_early<S: Side>(
    connection: &mut S,
    plaintext: &[u8],
    max_fragment: usize,
    out: &mut Outbound,
) -> Result<usize, rustls::Error> {
    loop {
        match connection.process(&mut []).state? {
            ConnectionState::EncodeTlsData(message) => encode(message, out)?,
            ConnectionState::TransmitTlsData(mut transmit) => {
                // rustls counts what it is given even if it then has no room for it, so it has enough.
                let records = plaintext.len().div_ceil(max_fragment);
                let into = out.space(plaintext.len() + records * OVERHEAD);
                let written = S::seal_early(&mut transmit, plaintext, into)?;
                // How much it has taken is not told, but by how long it has become.
                let sealed = polytls_core::records(&into[..written]);
                let taken = sealed.map(|record| record.len() - polytls_records::OVERHEAD);
                let taken = taken.sum();
                out.commit(written);
                return Ok(taken);
            }
            state => return Err(rustls::Error::General(format!("unexpected {state:?}"))),
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

pub(crate) fn encode<Data>(
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

/// Seals all of `plaintext`.
pub(crate) fn seal<S: Side>(
    connection: &mut S,
    shown: &mut [u8],
    plaintext: &[u8],
    max_fragment: usize,
    out: &mut Outbound,
) -> Result<(), Error> {
    let records = plaintext.len().div_ceil(max_fragment);
    let mut room = plaintext.len() + records * OVERHEAD + QUEUED;
    emit(connection, shown, out, |mut traffic, out| {
        let sealed = traffic.encrypt(plaintext, out.space(room));
        commit(sealed, &mut room, out)
    })
}

/// Seals close_notify.
pub(crate) fn close<S: Side>(
    connection: &mut S,
    shown: &mut [u8],
    out: &mut Outbound,
) -> Result<(), Error> {
    let mut room = QUEUED;
    emit(connection, shown, out, |mut traffic, out| {
        let sealed = traffic.queue_close_notify(out.space(room));
        commit(sealed, &mut room, out)
    })
}

/// Seals a KeyUpdate, and goes on with the next keys.
pub(crate) fn update_keys<S: Side>(
    connection: &mut S,
    shown: &mut [u8],
    out: &mut Outbound,
) -> Result<(), Error> {
    let mut asked = false;
    emit(connection, shown, out, |traffic, _| {
        // rustls queues the message, and comes back here once that is out.
        if !std::mem::replace(&mut asked, true) {
            let updated = traffic.refresh_traffic_keys();
            updated.map_err(|error| blame(error, None))?;
            return Ok(false);
        }
        Ok(true)
    })
}

/// Whether that was enough room; if not, `room` is what it takes.
fn commit(
    sealed: Result<usize, EncryptError>,
    room: &mut usize,
    out: &mut Outbound,
) -> Result<bool, Error> {
    match sealed {
        Ok(written) => {
            out.commit(written);
            Ok(true)
        }
        Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size }))
            if required_size > *room =>
        {
            *room = required_size;
            Ok(false)
        }
        Err(error) => Err(Error::Internal(error.to_string())),
    }
}

/// Gets rustls to the state in which it seals, and has `seal` do so until that says it is done.
///
/// `shown` must be what it was shown and did not consume: it remembers where in there a handshake
/// message began, and panics where that is missing.
fn emit<S: Side>(
    connection: &mut S,
    shown: &mut [u8],
    out: &mut Outbound,
    mut seal: impl FnMut(WriteTraffic<'_, S::Data>, &mut Outbound) -> Result<bool, Error>,
) -> Result<(), Error> {
    loop {
        match connection.process(shown).state {
            Ok(ConnectionState::WriteTraffic(traffic)) => {
                if seal(traffic, out)? {
                    return Ok(());
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
