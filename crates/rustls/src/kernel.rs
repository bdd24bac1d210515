//! What rustls goes on to do after our record layer has taken over: later keys, and tickets. rustls
//! calls this a kernel connection, as it was made for TLS in the kernel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polytls_core::messages::{Content, Message};
use polytls_core::{Alert, Error, Shown, fork};
use polytls_records::{Cipher, KeySource, RecordLayer, TrafficKeys};
use rustls::kernel::KernelConnection;
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

use crate::alerts;
use crate::error::blame;
use crate::last_ticket;
use crate::lineage::Source;
use crate::observe::{self, Observed};
use crate::unbuffered::{Parts, Side};

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// The lengths of a KeyUpdate's body, and of a message's header (RFC 8446 section 4).
const KEY_UPDATE_BODY: usize = 1;
const HEADER: usize = 4;

/// The rest of a rustls connection.
pub(crate) struct Kernel<S: Side> {
    /// A lineage may have it as well (`lineage.rs`), which makes values of tickets by it.
    connection: Arc<Mutex<KernelConnection<S::Data>>>,
    /// There but while it is lent.
    pub(crate) observed: Option<Box<Observed>>,
    /// The process that it belongs to (`fork::generation`).
    generation: u32,
}

impl<S: Side> Kernel<S> {
    fn connection(&self) -> MutexGuard<'_, KernelConnection<S::Data>> {
        let locked = self.connection.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// A message has passed by that our record layer has read or made.
    fn show(&mut self, is_ours: bool, kind: u8, body: usize) {
        let seen = self.observed.as_deref_mut();
        if let Some(passing) = seen.and_then(|seen| seen.passing.as_deref_mut()) {
            passing.found.push(Shown {
                is_ours,
                message: Message {
                    kind,
                    length: HEADER + body,
                    content: Content::Other,
                },
            });
        }
    }

    /// The connection is over, but for its tickets: what protected its records is replaced by what would have
    /// come next, from which that cannot be found (RFC 8446 section 7.2), and nothing more is exported.
    pub(crate) fn forget_keys(&mut self) {
        if let Some(seen) = self.observed.as_deref_mut() {
            seen.forget_keys();
        }
        if self.generation == fork::generation() {
            let mut connection = self.connection();
            // Either may fail only where there are no such secrets.
            let _ = connection.update_tx_secret();
            let _ = connection.update_rx_secret();
        }
    }

    /// What was observed, and what makes values of the tickets that came.
    pub(crate) fn with_source(&mut self) -> (Option<&mut Observed>, Option<Source>) {
        (self.observed.as_deref_mut(), S::source(&self.connection))
    }
}

impl<S: Side> KeySource for Kernel<S> {
    fn next_sending(&mut self) -> Result<TrafficKeys, Error> {
        self.show(true, KEY_UPDATE, KEY_UPDATE_BODY);
        let secrets = self.connection().update_tx_secret();
        traffic_keys(&secrets.map_err(|error| blame(error, None))?)
    }

    fn next_receiving(&mut self) -> Result<TrafficKeys, Error> {
        self.show(false, KEY_UPDATE, KEY_UPDATE_BODY);
        let secrets = self.connection().update_rx_secret();
        traffic_keys(&secrets.map_err(|error| blame(error, None))?)
    }

    fn ticket(&mut self, body: &[u8]) -> Result<(), (Alert, Error)> {
        self.show(false, NEW_SESSION_TICKET, body.len());
        let connection = &self.connection;
        let kept = observe::observing(&mut self.observed, || {
            observe::note(|seen| seen.ticket_length = Some(body.len()));
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            S::keep_ticket(&mut connection, body)
        });
        kept.map_err(|error| {
            let alert = alerts::alert(&error, None, Some(ProtocolVersion::TLSv1_3))
                .unwrap_or(Alert::INTERNAL_ERROR);
            (alert, blame(error, None))
        })?;
        if let (Some(seen), Some(source)) = self.with_source() {
            last_ticket::keep_message(seen, body, &source);
        }
        Ok(())
    }
}

impl<S: Side> Drop for Kernel<S> {
    /// If a lineage goes on with it, it is to have no keys of recorded data.
    fn drop(&mut self) {
        self.observed = None;
        if Arc::strong_count(&self.connection) > 1 {
            self.forget_keys();
        }
    }
}

/// The record layer that goes on where rustls stopped.
pub(crate) fn record_layer<S: Side>(
    (secrets, connection): Parts<S>,
    observed: Option<Box<Observed>>,
) -> Result<RecordLayer<Kernel<S>>, Error> {
    RecordLayer::new(
        Kernel {
            connection: Arc::new(Mutex::new(connection)),
            observed,
            generation: fork::generation(),
        },
        &traffic_keys(&secrets.tx)?,
        &traffic_keys(&secrets.rx)?,
        S::IS_CLIENT,
    )
}

fn traffic_keys(
    (sequence, secrets): &(u64, ConnectionTrafficSecrets),
) -> Result<TrafficKeys, Error> {
    use ConnectionTrafficSecrets as S;
    let (cipher, key, iv) = match secrets {
        S::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
        S::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
        S::Chacha20Poly1305 { key, iv } => (Cipher::Chacha20Poly1305, key, iv),
        _ => return Err(Error::Internal("keys of an unknown cipher".to_owned())),
    };
    let iv = <[u8; 12]>::try_from(iv.as_ref())
        .map_err(|_| Error::Internal("an IV of the wrong length".to_owned()))?;
    Ok(TrafficKeys {
        cipher,
        key: key.as_ref().to_vec().into(),
        iv: iv.into(),
        sequence: *sequence,
    })
}
