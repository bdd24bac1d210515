//! rustls's record protection, where its connection has a hand on it: so that the alert which ends a
//! connection is the right one (`alerts`), sealed as the peer expects it.
//!
//! rustls seals an alert before it says what is wrong, and for some errors none. So its fatal alerts are
//! not sealed here but left in the clear, for the session to take back; it then seals the one that is to
//! be sent, with the same keys and under the number that the alert of rustls would have had. `suites` puts it
//! around rustls's encrypters.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polytls_core::{Alert, Error, Outbound, records};
use rustls::crypto::cipher::{
    MessageEncrypter, OutboundChunks, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload,
};
use rustls::{ContentType, ProtocolVersion};

/// The level of a fatal alert.
const FATAL: u8 = 2;
/// A KeyUpdate that asks for none (RFC 8446 section 4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// The keys that a connection seals with now.
pub(crate) struct Sealing {
    encrypter: Box<dyn MessageEncrypter>,
    /// The number of the next record.
    next: u64,
    is_tls13: bool,
    /// Whether records are sealed with them: TLS 1.2 makes them before ChangeCipherSpec, and uses them
    /// for Finished right behind that.
    in_use: bool,
    /// close_notify was sealed.
    closed: bool,
    /// The answer to a KeyUpdate, sealed with the keys before these: rustls keeps it until it seals
    /// something else.
    answer: Vec<u8>,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealing")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// The same, as the session has it.
pub(crate) type Sealed = Arc<Mutex<Sealing>>;

fn lock(sealing: &Sealed) -> MutexGuard<'_, Sealing> {
    sealing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a fatal alert into `out`, protected as the peer expects it; nothing behind close_notify. `version`
/// is the one agreed on.
pub(crate) fn put_alert(
    sealing: Option<&Sealed>,
    version: Option<ProtocolVersion>,
    alert: Alert,
    out: &mut Outbound,
) -> Result<(), Error> {
    let mut told = vec![21, 3, 3, 0, 2, FATAL, alert.0];
    if let Some(sealing) = sealing {
        let mut sealing = lock(sealing);
        if sealing.closed {
            return Ok(());
        }
        // A client has keys for early data before the server has said that it speaks TLS 1.3.
        let is_known = !sealing.is_tls13 || version == Some(ProtocolVersion::TLSv1_3);
        if sealing.in_use && is_known {
            let message = OutboundPlainMessage {
                typ: ContentType::Alert,
                version: ProtocolVersion::TLSv1_2,
                payload: OutboundChunks::Single(&[FATAL, alert.0]),
            };
            let number = sealing.next;
            let sealed = sealing.encrypter.encrypt(message, number);
            sealing.next += 1;
            let sealed = sealed.map_err(|error| Error::Internal(error.to_string()))?;
            told = std::mem::take(&mut sealing.answer);
            told.extend(sealed.encode());
        }
    }
    out.space(told.len())[..told.len()].copy_from_slice(&told);
    out.commit(told.len());
    Ok(())
}

/// Takes back the fatal alert of rustls that lies behind the first `before` bytes of `out`, if one does,
/// and gives what it says.
pub(crate) fn take_alert(before: usize, out: &mut Outbound) -> Option<Alert> {
    let &[21, 3, _, 0, 2, FATAL, alert] = records(out.since(before)).last()? else {
        return None;
    };
    out.truncate(out.len() - (5 + 2));
    Some(Alert(alert))
}

/// The keys of `encrypter`, and what seals with them. What was to go `before` them still goes first.
pub(crate) fn sealing(
    encrypter: Box<dyn MessageEncrypter>,
    is_tls13: bool,
    before: Option<&Sealed>,
) -> (Sealed, Box<dyn MessageEncrypter>) {
    let answer = before.map(|before| std::mem::take(&mut lock(before).answer));
    let sealing = Arc::new(Mutex::new(Sealing {
        encrypter,
        next: 0,
        is_tls13,
        in_use: is_tls13,
        closed: false,
        answer: answer.unwrap_or_default(),
    }));
    (Arc::clone(&sealing), Box::new(Encrypter(sealing)))
}

/// An encrypter as rustls has it.
struct Encrypter(Sealed);

impl MessageEncrypter for Encrypter {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        number: u64,
    ) -> Result<OutboundOpaqueMessage, rustls::Error> {
        let mut sealing = lock(&self.0);
        sealing.in_use = true;
        sealing.next = number;
        sealing.answer.clear();
        if message.typ == ContentType::Alert {
            let alert = message.payload.to_vec();
            if alert.first() == Some(&FATAL) {
                return Ok(in_the_clear(&alert));
            }
            sealing.closed |= alert == [1, 0];
        }
        sealing.next += 1;
        let is_answer =
            message.typ == ContentType::Handshake && message.payload.to_vec() == KEY_UPDATE;
        let sealed = sealing.encrypter.encrypt(message, number)?;
        if is_answer {
            sealing.answer = sealed.clone().encode();
        }
        Ok(sealed)
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        lock(&self.0).encrypter.encrypted_payload_len(length)
    }
}

fn in_the_clear(alert: &[u8]) -> OutboundOpaqueMessage {
    let mut payload = PrefixedPayload::with_capacity(alert.len());
    payload.extend_from_slice(alert);
    OutboundOpaqueMessage::new(ContentType::Alert, ProtocolVersion::TLSv1_2, payload)
}
