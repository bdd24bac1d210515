//! rustls's record protection, where its connection has a hand on it: so that the alert which ends a
//! connection is the right one (`alerts`), sealed as the peer expects it.
//!
//! rustls seals an alert before it says what is wrong, and for some errors none. So its fatal alerts are
//! not sealed here but left in the clear, for the session to take back; it then seals the one that is to
//! be sent, with the same keys and under the number that the alert of rustls would have had.
//!
//! What TLS 1.3 says of the content of a record, and rustls 0.23 lets pass, is looked at here as well.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use polytls_core::{Alert, Error, Outbound, records};
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, OutboundChunks, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload,
    Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::{
    CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, InvalidMessage, ProtocolVersion,
    SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};

use crate::{hkdf, observe};

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

/// Makes the connection that is being called know its new keys.
fn share(encrypter: Box<dyn MessageEncrypter>, is_tls13: bool) -> Box<dyn MessageEncrypter> {
    let before = observe::note(|seen| seen.sealing.take()).flatten();
    let answer = before.map(|before| std::mem::take(&mut lock(&before).answer));
    let sealing = Arc::new(Mutex::new(Sealing {
        encrypter,
        next: 0,
        is_tls13,
        in_use: is_tls13,
        closed: false,
        answer: answer.unwrap_or_default(),
    }));
    observe::note(|seen| seen.sealing = Some(Arc::clone(&sealing)));
    Box::new(Encrypter(sealing))
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

/// A decrypter of TLS 1.3.
struct Decrypter(Box<dyn MessageDecrypter>);

impl MessageDecrypter for Decrypter {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, rustls::Error> {
        let opened = self.0.decrypt(message, number)?;
        match opened.typ {
            // RFC 8446 section 5.4.
            ContentType::Handshake | ContentType::Alert if opened.payload.is_empty() => {
                Err(InvalidMessage::InvalidEmptyPayload.into())
            }
            ContentType::Handshake | ContentType::Alert | ContentType::ApplicationData => {
                Ok(opened)
            }
            // A protected ChangeCipherSpec as well (RFC 8446 section 5).
            _ => Err(InvalidMessage::InvalidContentType.into()),
        }
    }
}

/// An algorithm of rustls's whose keys are shared.
struct Shared<A: ?Sized + 'static>(&'static A);

impl Tls13AeadAlgorithm for Shared<dyn Tls13AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        share(self.0.encrypter(key, iv), true)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Decrypter(self.0.decrypter(key, iv)))
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl Tls12AeadAlgorithm for Shared<dyn Tls12AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        share(self.0.encrypter(key, iv, extra), false)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv, explicit)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

/// All suites of rustls, with keys that are shared; those of TLS 1.3 with the HKDF of `hkdf`.
pub(crate) fn suites() -> &'static [SupportedCipherSuite] {
    static SUITES: LazyLock<Vec<SupportedCipherSuite>> =
        LazyLock::new(|| ALL_CIPHER_SUITES.iter().map(shared).collect());
    &SUITES
}

/// Called once for each suite: what it leaks is there as long as the process is.
fn shared(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    match *suite {
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&suite.common),
                hkdf_provider: hkdf::of_suite(suite),
                aead_alg: Box::leak(Box::new(Shared(suite.aead_alg))),
                quic: None,
            })))
        }
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: Box::leak(Box::new(Shared(suite.aead_alg))),
            })))
        }
    }
}

fn common(common: &CipherSuiteCommon) -> CipherSuiteCommon {
    CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    }
}
