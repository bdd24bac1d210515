//! Secrets that rustls gives away while it makes them (`key_log`), and what comes of them: keying material for
//! exporters (RFC 8446 section 7.5, RFC 5705), which its unbuffered API lacks, and the keys of the handshake.
//!
//! What is kept is wiped when the connection goes, and never shown by `Debug`.

use std::fmt;

use polytls_core::Error;
use polytls_records::{Cipher, TrafficKeys};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::tls13::{HkdfExpander, OkmBlock};
use rustls::{CipherSuite, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use zeroize::Zeroizing;

use crate::hello::ServerHello;

/// The secrets that a TLS 1.3 handshake is protected with.
#[derive(Default)]
pub(crate) struct HandshakeSecrets {
    pub(crate) client: Option<OkmBlock>,
    pub(crate) server: Option<OkmBlock>,
}

impl fmt::Debug for HandshakeSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandshakeSecrets")
    }
}

/// The keys that come of a secret (RFC 8446 section 7.3).
pub(crate) fn traffic_keys(
    suite: &Tls13CipherSuite,
    secret: &OkmBlock,
) -> Result<TrafficKeys, Error> {
    let (cipher, length) = match suite.common.suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => (Cipher::Aes128Gcm, 16),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => (Cipher::Aes256Gcm, 32),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => (Cipher::Chacha20Poly1305, 32),
        _ => return Err(Error::Internal("keys of an unknown cipher".to_owned())),
    };
    let expander = suite.hkdf_provider.expander_for_okm(secret);
    let mut keys = TrafficKeys {
        cipher,
        key: vec![0; length].into(),
        iv: [0; 12].into(),
        sequence: 0,
    };
    expand_label(&*expander, b"key", b"", &mut keys.key)?;
    expand_label(&*expander, b"iv", b"", &mut *keys.iv)?;
    Ok(keys)
}

/// What keying material is exported from: the exporter master secret of TLS 1.3, the master secret of
/// TLS 1.2.
pub(crate) struct Exporter {
    pub(crate) secret: OkmBlock,
    pub(crate) client_random: [u8; 32],
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl Exporter {
    /// Fills `into`; `cipher` is the suite agreed on.
    pub(crate) fn export(
        &self,
        cipher: u16,
        hello: Option<&ServerHello>,
        label: &[u8],
        context: Option<&[u8]>,
        into: &mut [u8],
    ) -> Result<(), Error> {
        let suite = aws_lc_rs::ALL_CIPHER_SUITES
            .iter()
            .find(|suite| u16::from(suite.suite()) == cipher);
        match suite {
            Some(SupportedCipherSuite::Tls13(suite)) => {
                self.export_tls13(suite, label, context, into)
            }
            Some(SupportedCipherSuite::Tls12(suite)) => {
                self.export_tls12(suite, hello, label, context, into)
            }
            None => Err(Error::Internal("an unknown cipher suite".to_owned())),
        }
    }

    /// RFC 8446 section 7.5.
    fn export_tls13(
        &self,
        suite: &Tls13CipherSuite,
        label: &[u8],
        context: Option<&[u8]>,
        into: &mut [u8],
    ) -> Result<(), Error> {
        let hash = suite.common.hash_provider;
        let expander = suite.hkdf_provider.expander_for_okm(&self.secret);
        let mut derived = Zeroizing::new([0; OkmBlock::MAX_LEN]);
        let derived = &mut derived[..hash.output_len()];
        expand_label(&*expander, label, hash.hash(&[]).as_ref(), derived)?;
        let secret = OkmBlock::new(derived);
        let expander = suite.hkdf_provider.expander_for_okm(&secret);
        let context = hash.hash(context.unwrap_or_default());
        expand_label(&*expander, b"exporter", context.as_ref(), into)
    }

    /// RFC 5705 section 4; without the extended master secret refused, as two connections may then have
    /// one master secret (RFC 7627 section 5.4).
    fn export_tls12(
        &self,
        suite: &Tls12CipherSuite,
        hello: Option<&ServerHello>,
        label: &[u8],
        context: Option<&[u8]>,
        into: &mut [u8],
    ) -> Result<(), Error> {
        let hello = hello.ok_or_else(|| Error::Internal("no ServerHello was seen".to_owned()))?;
        if !hello.extended_master_secret {
            return Err(Error::Misuse(
                "TLS 1.2 without extended master secret cannot export keying material safely (RFC \
                 7627 section 5.4)",
            ));
        }
        let mut seed = [self.client_random, hello.random].concat();
        if let Some(context) = context {
            let length = u16::try_from(context.len())
                .map_err(|_| Error::Misuse("the context is longer than 65535 bytes"))?;
            seed.extend(length.to_be_bytes());
            seed.extend(context);
        }
        suite
            .prf_provider
            .for_secret(into, self.secret.as_ref(), label, &seed);
        Ok(())
    }
}

/// HKDF-Expand-Label (RFC 8446 section 7.1).
fn expand_label(
    expander: &dyn HkdfExpander,
    label: &[u8],
    context: &[u8],
    into: &mut [u8],
) -> Result<(), Error> {
    const PREFIX: &[u8] = b"tls13 ";
    let (Ok(length), Ok(label_length), Ok(context_length)) = (
        u16::try_from(into.len()),
        u8::try_from(PREFIX.len() + label.len()),
        u8::try_from(context.len()),
    ) else {
        return Err(Error::Misuse("more than an exporter can take or give"));
    };
    let info = [
        &length.to_be_bytes()[..],
        &[label_length],
        PREFIX,
        label,
        &[context_length],
        context,
    ];
    expander
        .expand_slice(&info, into)
        .map_err(|_| Error::Misuse("more than an exporter can give"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or(""), 16))
            .collect::<Result<_, _>>()
            .unwrap_or_default()
    }

    fn exporter(secret: &str) -> Exporter {
        Exporter {
            secret: OkmBlock::new(&bytes(secret)),
            client_random: [1; 32],
        }
    }

    /// The exporter master secret is that of RFC 8448 section 3; the values that are exported from it
    /// were worked out step by step of RFC 8446 section 7.5 with Python's `hmac`.
    #[test]
    fn tls13_gives_known_values() {
        let exporter = exporter(
            "fe 22 f8 81 17 6e da 18 eb 8f 44 52 9e 67 92 c5 0c 9a 3f 89 45 2f 68 d8 ae 31 1b 43 09 d3 \
             cf 50",
        );
        let mut got = [0; 32];
        for (context, expected) in [
            (None, NO_CONTEXT),
            (Some(&b""[..]), NO_CONTEXT),
            (Some(&b"context"[..]), WITH_CONTEXT),
        ] {
            let done = exporter.export(0x1301, None, b"EXPORTER-test", context, &mut got);
            assert_eq!(done, Ok(()));
            assert_eq!(got.to_vec(), bytes(expected));
        }
    }

    const NO_CONTEXT: &str = "4451f6322284bad9d59028c38f3c1f0fc63b092726ce8223ee5cd645c6573fdf";
    const WITH_CONTEXT: &str = "d98f7eb35bae6789e22c04a84294d6f921d8807a878c9ed6f04d2a3d8c96d8d7";

    #[test]
    fn tls12_needs_the_extended_master_secret() {
        let exporter = exporter(&"5a".repeat(48));
        let mut got = [0; 20];
        let mut export = |ems, context| {
            let hello = ServerHello {
                random: [2; 32],
                extended_master_secret: ems,
                ..ServerHello::default()
            };
            exporter
                .export(0xc02b, Some(&hello), b"EXPORTER-test", context, &mut got)
                .map(|()| got.to_vec())
        };
        assert!(matches!(export(false, None), Err(Error::Misuse(_))));
        assert_eq!(
            export(true, None),
            Ok(bytes("e02ea4369d03e6fe639ca6454fe4198fc470a938"))
        );
        assert_eq!(
            export(true, Some(b"")),
            Ok(bytes("37cdda3955b19dcc2dc149c79b5bfa6733dfa740"))
        );
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!("{:?}", exporter("5a5a"));
        assert_eq!(shown, "Exporter");
    }
}
