//! ClientHello and ServerHello (RFC 8446 sections 4.1.2 and 4.1.3), read without a TLS library, and how first
//! messages are gathered.
//!
//! It only reads: what is wrong with a hello is for the TLS library to say.

use crate::record::MAX_FRAGMENT;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// More than this is not gathered: OpenSSL's limit for a ClientHello.
const LARGEST: usize = 131_396;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What is of interest of a ClientHello.
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    /// The legacy version.
    pub version: u16,
    /// The legacy session ID.
    pub session_id: &'a [u8],
    suites: &'a [u8],
    extensions: &'a [u8],
}

/// What has come so far of a client's first flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coming {
    /// So many more bytes are needed at least: of a record's header, or of a record.
    More(usize),
    /// The whole message.
    Whole(Vec<u8>),
    /// It is another message, or none.
    Other,
}

impl<'a> ClientHello<'a> {
    /// Reads a handshake message; `None` if it is no whole ClientHello.
    #[must_use]
    pub fn of_message(message: &'a [u8]) -> Option<Self> {
        let (body, _) = split::<3>(message.strip_prefix(&[CLIENT_HELLO])?)?;
        let (version, rest) = number(body)?;
        let (session_id, rest) = split::<1>(rest.get(32..)?)?;
        let (suites, rest) = split::<2>(rest)?;
        let (_compression, rest) = split::<1>(rest)?;
        Some(Self {
            version,
            session_id,
            suites,
            extensions: split::<2>(rest).map_or(&[], |(extensions, _)| extensions),
        })
    }

    /// The content of an extension, if it is there.
    #[must_use]
    pub fn extension(&self, kind: u16) -> Option<&'a [u8]> {
        extension(self.extensions, kind)
    }

    /// The cipher suites that the client offers, the preferred first.
    #[must_use]
    pub fn cipher_suites(&self) -> Vec<u16> {
        let pairs = self.suites.chunks_exact(2);
        pairs
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect()
    }

    /// The name in server_name (RFC 6066 section 3), as it is there.
    #[must_use]
    pub fn server_name(&self) -> Option<&'a str> {
        let (names, _) = split::<2>(self.extension(SERVER_NAME)?)?;
        let (name, _) = split::<2>(names.strip_prefix(&[0])?)?;
        std::str::from_utf8(name).ok()
    }

    /// The application protocols that the client offers (RFC 7301), the preferred first.
    #[must_use]
    pub fn alpn(&self) -> Vec<&'a [u8]> {
        let listed = self.extension(ALPN).and_then(split::<2>);
        let mut rest = listed.map_or(&[][..], |(listed, _)| listed);
        let mut found = Vec::new();
        while let Some((name, behind)) = split::<1>(rest) {
            found.push(name);
            rest = behind;
        }
        found
    }
}

/// What is of interest of a ServerHello (RFC 8446 section 4.1.3).
#[derive(Clone, Copy, Debug)]
pub struct ServerHello<'a> {
    /// The legacy version.
    pub version: u16,
    /// The cipher suite.
    pub suite: u16,
    /// The random.
    pub random: [u8; 32],
    /// The session ID.
    pub session_id: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> ServerHello<'a> {
    /// Reads the body of the message.
    #[must_use]
    pub fn of_body(body: &'a [u8]) -> Option<Self> {
        let (version, rest) = number(body)?;
        let (random, rest) = rest.split_first_chunk::<32>()?;
        let (session_id, rest) = split::<1>(rest)?;
        let (suite, rest) = number(rest)?;
        // The compression method is before the extensions, of which there may be none.
        let (_compression, rest) = rest.split_first()?;
        let extensions = if rest.is_empty() {
            rest
        } else {
            split::<2>(rest)?.0
        };
        Some(Self {
            version,
            suite,
            random: *random,
            session_id,
            extensions,
        })
    }

    /// The content of an extension, if it is there.
    #[must_use]
    pub fn extension(&self, kind: u16) -> Option<&'a [u8]> {
        extension(self.extensions, kind)
    }
}

/// Looks for the ClientHello in the records that a client began with.
#[must_use]
pub fn client_hello(records: &[u8]) -> Coming {
    first_message(records, CLIENT_HELLO)
}

/// Looks for a handshake message of type `wanted` in the records that a peer began with.
pub(crate) fn first_message(mut records: &[u8], wanted: u8) -> Coming {
    let mut message = Vec::new();
    loop {
        if records.first().is_some_and(|kind| *kind != HANDSHAKE) {
            return Coming::Other;
        }
        let Some((header, rest)) = records.split_first_chunk::<5>() else {
            return Coming::More(5 - records.len());
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[1] != 3 || length == 0 || length > MAX_FRAGMENT {
            return Coming::Other;
        }
        let Some((fragment, rest)) = rest.split_at_checked(length) else {
            return Coming::More(length - rest.len());
        };
        message.extend_from_slice(fragment);
        if message[0] != wanted || message.len() > LARGEST {
            return Coming::Other;
        }
        if let Some((body, _)) = split::<3>(&message[1..]) {
            message.truncate(4 + body.len());
            return Coming::Whole(message);
        }
        records = rest;
    }
}

/// The content of an extension among `extensions`, if it is there.
#[must_use]
pub fn extension(mut extensions: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (kind, rest) = number(extensions)?;
        let (content, rest) = split::<2>(rest)?;
        if kind == wanted {
            return Some(content);
        }
        extensions = rest;
    }
}

/// A number of two bytes, and what follows it.
#[must_use]
pub fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*number), rest))
}

/// What follows a length of so many bytes, and what follows that.
#[must_use]
pub fn split<const LENGTH: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    let length = length
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Vec<u8> {
        let extensions = [
            &[0, 0, 0, 14, 0, 12, 0, 0, 9][..],
            b"localhost",
            &[0, 16, 0, 14, 0, 12, 2],
            b"h2",
            &[8],
            b"http/1.1",
        ]
        .concat();
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([1, 9, 0, 4, 0x13, 1, 0xc0, 0x2f, 1, 0]);
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        let [.., high, low] = body.len().to_be_bytes();
        [&[CLIENT_HELLO, 0, high, low], &body[..]].concat()
    }

    fn records(message: &[u8], piece: usize) -> Vec<u8> {
        let record = |piece: &[u8]| {
            let [.., high, low] = piece.len().to_be_bytes();
            [&[HANDSHAKE, 3, 1, high, low], piece].concat()
        };
        message.chunks(piece).flat_map(record).collect()
    }

    #[test]
    fn a_client_hello_is_read() {
        let message = hello();
        let hello = ClientHello::of_message(&message).unwrap();
        assert_eq!(hello.server_name(), Some("localhost"));
        assert_eq!(hello.alpn(), [&b"h2"[..], b"http/1.1"]);
        assert_eq!(hello.cipher_suites(), [0x1301, 0xc02f]);
    }

    #[test]
    fn it_is_gathered_from_any_pieces_and_nothing_is_asked_for_beyond_it() {
        let message = hello();
        for piece in [1, 7, message.len()] {
            let records = records(&message, piece);
            let mut at = 0;
            loop {
                match client_hello(&records[..at]) {
                    Coming::More(needed) => at += needed,
                    Coming::Whole(found) => {
                        assert_eq!((found, at), (message.clone(), records.len()));
                        break;
                    }
                    Coming::Other => panic!("{at}"),
                }
            }
        }
    }

    #[test]
    fn what_is_no_client_hello_is_told_at_once() {
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            &[22, 3, 1, 0, 1, 2],
            &[22, 3, 1, 0xff, 0xff],
            &[22, 9, 1, 0, 1],
            &[21, 3, 1, 0, 2, 2, 40],
        ] {
            assert_eq!(client_hello(other), Coming::Other);
        }
    }

    #[test]
    fn garbled_ones_do_no_harm() {
        let whole = hello();
        for at in 0..whole.len() {
            let mut garbled = whole.clone();
            garbled[at] ^= 0x80;
            if let Some(hello) = ClientHello::of_message(&garbled) {
                let _ = (hello.server_name(), hello.alpn(), hello.cipher_suites());
            }
        }
    }
}
