//! The cipher suites of rustls, with keys that the connection has a hand on (`sealing`) and the key schedule of
//! `hkdf`.
//!
//! What TLS 1.3 says of the content of a record, and rustls 0.23 lets pass, is looked at here as well.

use std::sync::LazyLock;

use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, OutboundChunks, OutboundOpaqueMessage, OutboundPlainMessage,
    Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::{
    CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, InvalidMessage, SupportedCipherSuite,
    Tls12CipherSuite, Tls13CipherSuite,
};

use crate::{hkdf, observe, sealing};

/// Makes the connection that is being called know its new keys.
fn share(encrypter: Box<dyn MessageEncrypter>, is_tls13: bool) -> Box<dyn MessageEncrypter> {
    let before = observe::note(|seen| seen.sealing.take()).flatten();
    let (sealed, encrypter) = sealing::sealing(encrypter, is_tls13, before.as_ref());
    observe::note(|seen| seen.sealing = Some(sealed));
    Box::new(Encrypter(encrypter))
}

/// Makes the connection that is being called know what its handshake says, as long as it asks.
fn show(is_ours: bool, content: &[u8]) {
    observe::note(|seen| {
        if let Some(passing) = &mut seen.passing {
            passing.take(is_ours, content);
        }
    });
}

/// An encrypter that shows what it encrypts of the handshake.
struct Encrypter(Box<dyn MessageEncrypter>);

impl MessageEncrypter for Encrypter {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        number: u64,
    ) -> Result<OutboundOpaqueMessage, rustls::Error> {
        if message.typ == ContentType::Handshake {
            match message.payload {
                OutboundChunks::Single(content) => show(true, content),
                ref several => show(true, &several.to_vec()),
            }
        }
        self.0.encrypt(message, number)
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        self.0.encrypted_payload_len(length)
    }
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
            ContentType::Handshake => {
                show(false, opened.payload);
                Ok(opened)
            }
            ContentType::Alert | ContentType::ApplicationData => Ok(opened),
            // A protected ChangeCipherSpec as well (RFC 8446 section 5).
            _ => Err(InvalidMessage::InvalidContentType.into()),
        }
    }
}

/// A decrypter of TLS 1.2.
struct Tls12Decrypter(Box<dyn MessageDecrypter>);

impl MessageDecrypter for Tls12Decrypter {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, rustls::Error> {
        let opened = self.0.decrypt(message, number)?;
        if opened.typ == ContentType::Handshake {
            show(false, opened.payload);
        }
        Ok(opened)
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
        Box::new(Tls12Decrypter(self.0.decrypter(key, iv)))
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
