//! Handshake messages as they pass by (RFC 8446 section 4, RFC 5246 section 7.4): what they are, how long, and the
//! few things of their content that a connection reports.
//!
//! It only reads: what is wrong with a message is for the TLS library to say.

use crate::hello::{ClientHello, ServerHello, number, split};
use crate::version::Version;

/// ClientHello.
pub const CLIENT_HELLO: u8 = 1;
/// ServerHello, and HelloRetryRequest.
pub const SERVER_HELLO: u8 = 2;
/// ServerKeyExchange (TLS 1.2).
const SERVER_KEY_EXCHANGE: u8 = 12;
/// CertificateVerify.
const CERTIFICATE_VERIFY: u8 = 15;

/// CompressedCertificate (RFC 8879 section 4).
const COMPRESSED_CERTIFICATE: u8 = 25;

const COMPRESS_CERTIFICATE: u16 = 27;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// The random of a HelloRetryRequest (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
const HEADER: usize = 4;
/// A longer message is counted, but not read: OpenSSL's limit for a ClientHello.
const LARGEST: usize = 131_396;

/// A message that passed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// HandshakeType.
    pub kind: u8,
    /// The length in bytes, including the header of 4.
    pub length: usize,
    /// What is of interest of its content.
    pub content: Content,
}

/// What a connection reports of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Other,
    /// A ClientHello, and which extensions it has.
    ClientHello(Offers),
    /// A ServerHello.
    ServerHello {
        /// Whether it selects TLS 1.3.
        is_tls13: bool,
        /// Whether it is a HelloRetryRequest (RFC 8446 section 4.1.4).
        is_retry: bool,
    },
    /// The signature scheme that the sender used, in CertificateVerify or ServerKeyExchange.
    Signature(u16),
    /// The algorithm of a CompressedCertificate.
    Compression(u16),
}

/// What a ClientHello offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Early data (RFC 8446 section 4.2.10).
    pub early_data: bool,
    /// To decompress certificates (RFC 8879 section 3).
    pub certificate_compression: bool,
    /// Encrypted ClientHello (RFC 9849 section 5), or GREASE in its form.
    pub ech: bool,
}

impl Message {
    /// Reads a whole message, from its type on; `None` if it is not whole.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        let (body, _) = split::<3>(rest)?;
        let content = match kind {
            CLIENT_HELLO => ClientHello::of_message(bytes).map(|hello| {
                let has = |extension| hello.extension(extension).is_some();
                Content::ClientHello(Offers {
                    early_data: has(EARLY_DATA),
                    certificate_compression: has(COMPRESS_CERTIFICATE),
                    ech: has(ENCRYPTED_CLIENT_HELLO),
                })
            }),
            SERVER_HELLO => ServerHello::of_body(body).map(|hello| Content::ServerHello {
                is_tls13: hello.extension(SUPPORTED_VERSIONS)
                    == Some(&Version::Tls13.wire().to_be_bytes()),
                is_retry: hello.random == RETRY,
            }),
            CERTIFICATE_VERIFY => number(body).map(|(scheme, _)| Content::Signature(scheme)),
            SERVER_KEY_EXCHANGE => key_exchange_scheme(body).map(Content::Signature),
            COMPRESSED_CERTIFICATE => {
                number(body).map(|(algorithm, _)| Content::Compression(algorithm))
            }
            _ => None,
        };
        Some(Self {
            kind,
            length: HEADER + body.len(),
            content: content.unwrap_or(Content::Other),
        })
    }

    const fn is_read(kind: u8, length: usize) -> bool {
        matches!(
            kind,
            CLIENT_HELLO
                | SERVER_HELLO
                | SERVER_KEY_EXCHANGE
                | CERTIFICATE_VERIFY
                | COMPRESSED_CERTIFICATE
        ) && length <= LARGEST
    }
}

/// The signature scheme in a ServerKeyExchange of ECDHE with a named curve (RFC 8422 section 5.4).
fn key_exchange_scheme(body: &[u8]) -> Option<u16> {
    const NAMED_CURVE: u8 = 3;
    let (_curve, rest) = number(body.strip_prefix(&[NAMED_CURVE])?)?;
    let (_point, rest) = split::<1>(rest)?;
    let (scheme, rest) = number(rest)?;
    let (_signature, rest) = split::<2>(rest)?;
    // Otherwise it is of another key exchange.
    rest.is_empty().then_some(scheme)
}

/// The messages of one direction, put together from the records that they come in.
#[derive(Debug, Default)]
pub struct Messages {
    /// What has come of a message that is read, or of a header.
    partial: Vec<u8>,
    /// The message that is not read, and how much of it is still to come.
    skipped: Option<(Message, usize)>,
}

impl Messages {
    /// Takes the content of one record, and says which messages it completes.
    pub fn take(&mut self, mut piece: &[u8], mut found: impl FnMut(Message)) {
        loop {
            if let Some((message, left)) = self.skipped.take() {
                let passed = left.min(piece.len());
                piece = &piece[passed..];
                if passed < left {
                    self.skipped = Some((message, left - passed));
                    return;
                }
                found(message);
            }
            if piece.is_empty() {
                return;
            }
            let joined = !self.partial.is_empty();
            if joined {
                let needed = self.needed().min(piece.len());
                self.partial.extend_from_slice(&piece[..needed]);
                piece = &piece[needed..];
            }
            let bytes = if joined { &self.partial } else { piece };
            let Some(&[kind, a, b, c]) = bytes.first_chunk::<HEADER>() else {
                if !joined {
                    self.partial.extend_from_slice(piece);
                    piece = &[];
                }
                continue;
            };
            let length = HEADER + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
            if !Message::is_read(kind, length) {
                let message = Message {
                    kind,
                    length,
                    content: Content::Other,
                };
                // Of a message that was begun before, the header alone is there.
                let taken = if joined { 0 } else { HEADER };
                piece = &piece[taken..];
                self.skipped = Some((message, length - HEADER));
                self.partial = Vec::new();
            } else if let Some(whole) = bytes.get(..length) {
                Message::of(whole).into_iter().for_each(&mut found);
                piece = &piece[if joined { 0 } else { length }..];
                self.partial = Vec::new();
            } else if !joined {
                self.partial.extend_from_slice(piece);
                piece = &[];
            }
        }
    }

    /// How much completes the header, or then the message.
    fn needed(&self) -> usize {
        let length = match self.partial.first_chunk::<HEADER>() {
            Some(&[_, a, b, c]) => {
                HEADER + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
            }
            None => HEADER,
        };
        length - self.partial.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let [.., a, b, c] = body.len().to_be_bytes();
        [&[kind, a, b, c], body].concat()
    }

    fn client_hello(extensions: &[u8]) -> Vec<u8> {
        let [.., high, low] = extensions.len().to_be_bytes();
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([2, 9, 9, 0, 2, 0x13, 1, 1, 0, high, low]);
        body.extend(extensions);
        message(CLIENT_HELLO, &body)
    }

    fn server_hello(random: [u8; 32], extensions: &[u8]) -> Vec<u8> {
        let [.., high, low] = extensions.len().to_be_bytes();
        let mut body = vec![3, 3];
        body.extend(random);
        body.extend([0, 0x13, 1, 0, high, low]);
        body.extend(extensions);
        message(SERVER_HELLO, &body)
    }

    fn key_exchange(behind: &[u8]) -> Vec<u8> {
        let body = [&[3, 0, 29, 3, 7, 7, 7, 4, 3, 0, 2, 9, 9], behind].concat();
        message(SERVER_KEY_EXCHANGE, &body)
    }

    #[test]
    fn what_is_of_interest_is_read() {
        let early = &[0, 23, 0, 0, 0, 42, 0, 0];
        // Not what belongs to another extension.
        let other = &[0, 23, 0, 4, 0, 42, 0, 0];
        let tls13 = &[0, 43, 0, 2, 3, 4];
        let hello = Content::ClientHello;
        let nothing = Offers::default();
        let all = &[0, 27, 0, 3, 2, 0, 1, 0xfe, 0x0d, 0, 1, 1, 0, 42, 0, 0];
        let answer = |is_tls13, is_retry| Content::ServerHello { is_tls13, is_retry };
        for (bytes, content) in [
            (
                client_hello(early),
                hello(Offers {
                    early_data: true,
                    ..nothing
                }),
            ),
            (client_hello(other), hello(nothing)),
            (
                client_hello(all),
                hello(Offers {
                    early_data: true,
                    certificate_compression: true,
                    ech: true,
                }),
            ),
            (server_hello([7; 32], tls13), answer(true, false)),
            (server_hello([7; 32], &[]), answer(false, false)),
            (server_hello(RETRY, tls13), answer(true, true)),
            (
                message(CERTIFICATE_VERIFY, &[8, 4, 0, 1, 9]),
                Content::Signature(0x0804),
            ),
            (
                message(COMPRESSED_CERTIFICATE, &[0, 1, 0, 0, 9]),
                Content::Compression(1),
            ),
            (key_exchange(&[]), Content::Signature(0x0403)),
            (key_exchange(&[0]), Content::Other),
            (message(14, &[]), Content::Other),
        ] {
            let read = Message::of(&bytes).expect("a whole message");
            assert_eq!(read.content, content, "{bytes:?}");
            assert_eq!((read.kind, read.length), (bytes[0], bytes.len()));
            for end in 0..bytes.len() {
                assert_eq!(Message::of(&bytes[..end]), None);
            }
            for at in 0..bytes.len() {
                let mut garbled = bytes.clone();
                garbled[at] ^= 0x80;
                // Whatever it says, it does not panic.
                let _ = Message::of(&garbled);
            }
        }
    }

    #[test]
    fn messages_are_put_together_from_any_pieces() {
        let sent = [
            server_hello([7; 32], &[]),
            message(11, &[9; 300]),
            key_exchange(&[]),
            message(14, &[]),
            message(CERTIFICATE_VERIFY, &[4, 3, 0, 0]),
            message(20, &[]),
        ];
        let expected: Vec<_> = sent.iter().map(|one| Message::of(one).unwrap()).collect();
        let stream = sent.concat();
        for piece in 1..=stream.len() {
            let mut messages = Messages::default();
            let mut found = Vec::new();
            for part in stream.chunks(piece) {
                messages.take(part, |message| found.push(message));
            }
            assert_eq!(found, expected, "{piece}");
            assert!(messages.partial.is_empty() && messages.skipped.is_none());
        }
    }

    #[test]
    fn nothing_is_kept_of_what_is_not_read() {
        let mut messages = Messages::default();
        let mut found = Vec::new();
        for kind in [11, CLIENT_HELLO] {
            messages.take(&[kind, 0xff, 0xff, 0xff], |message| found.push(message));
            messages.take(&vec![0; 0xff_fffe], |message| found.push(message));
            assert_eq!(messages.partial.capacity(), 0);
            assert!(found.is_empty());
            messages.take(&[0], |message| found.push(message));
            assert_eq!(found.pop().map(|one| one.length), Some(0x100_0003));
        }
    }
}
