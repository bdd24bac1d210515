//! Probes: a ClientHello of any version, with any suites and groups, and what a server answers.
//!
//! A probe asks what a server would choose, and is never continued to a handshake: it has no keys, so it can ask for
//! what no library here implements. In TLS 1.3 it sends no key share, which a server answers with HelloRetryRequest
//! (RFC 8446 section 4.2.8); that names the suite and the group. Nothing is verified, so nothing that is found
//! here says who the server is.

use crate::alert::Alert;
use crate::hello::{Coming, ServerHello, first_message, number, split};
use crate::names::SIGNATURE_SCHEMES;

const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;
const SSL30: u16 = 0x0300;

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const SERVER_KEY_EXCHANGE: u8 = 12;
const SERVER_HELLO_DONE: u8 = 14;
const NAMED_CURVE: u8 = 3;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const EC_POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
const EXTENDED_MASTER_SECRET: u16 = 23;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const RENEGOTIATION_INFO: u16 = 0xff01;

/// Schemes with SHA-1 and SHA-224, and DSA, which [`SIGNATURE_SCHEMES`] has not: old servers have no others.
const OLD_SCHEMES: [u16; 9] = [
    0x0201, 0x0203, 0x0301, 0x0303, 0x0202, 0x0302, 0x0402, 0x0502, 0x0602,
];

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// The one version that is offered; 0x0300 is SSL 3.0.
    pub version: u16,
    /// The cipher suites, in order of preference.
    pub suites: &'a [u16],
    /// The groups, in order of preference; none: nothing is said of groups.
    pub groups: &'a [u16],
    /// The server's name, if it is not an address.
    pub name: Option<&'a str>,
    /// The client's random value, and a session ID.
    pub random: &'a [u8; 64],
}

/// What a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not enough yet.
    More,
    /// What the server chose.
    Chosen {
        /// The version.
        version: u16,
        /// The cipher suite.
        suite: u16,
        /// The group; of TLS 1.2 and below only if it was asked for, and if the suite has one.
        group: Option<u16>,
    },
    /// The alert that refuses it.
    Refused(Alert),
    /// It is not TLS.
    Other,
}

impl Probe<'_> {
    /// The record with the ClientHello; `None` if the suites and groups do not fit into one.
    #[must_use]
    pub fn client_hello(&self) -> Option<Vec<u8>> {
        let (random, session_id) = self.random.split_at(32);
        let mut body = self.version.min(TLS12).to_be_bytes().to_vec();
        body.extend(random);
        // Middleboxes want one in TLS 1.3 (RFC 8446 appendix D.4).
        vector::<1>(
            &mut body,
            if self.version == TLS13 {
                session_id
            } else {
                &[]
            },
        )?;
        vector::<2>(&mut body, &numbers(self.suites))?;
        body.extend([1, 0]); // No compression.
        if self.version > SSL30 {
            vector::<2>(&mut body, &self.extensions()?)?;
        }
        let mut message = vec![CLIENT_HELLO];
        vector::<3>(&mut message, &body)?;
        if message.len() > crate::record::MAX_FRAGMENT {
            return None;
        }
        // TLS 1.0 in the record's header is what every server takes (RFC 8446 section 5.1).
        let mut record = vec![HANDSHAKE, 3, u8::from(self.version > SSL30)];
        vector::<2>(&mut record, &message)?;
        Some(record)
    }

    fn extensions(&self) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        let mut add = |kind: u16, content: &[u8]| {
            all.extend(kind.to_be_bytes());
            vector::<2>(&mut all, content)
        };
        if let Some(name) = self.name {
            let mut entry = vec![0];
            vector::<2>(&mut entry, name.as_bytes())?;
            add(SERVER_NAME, &listed::<2>(&entry)?)?;
        }
        if !self.groups.is_empty() {
            add(SUPPORTED_GROUPS, &listed::<2>(&numbers(self.groups))?)?;
        }
        if self.version >= TLS12 {
            let schemes = SIGNATURE_SCHEMES.iter().map(|(number, _)| *number);
            let schemes: Vec<u16> = schemes.chain(OLD_SCHEMES).collect();
            add(SIGNATURE_ALGORITHMS, &listed::<2>(&numbers(&schemes))?)?;
        }
        if self.version == TLS13 {
            add(SUPPORTED_VERSIONS, &listed::<1>(&TLS13.to_be_bytes())?)?;
            add(KEY_SHARE, &[0, 0])?;
        } else {
            add(EC_POINT_FORMATS, &[1, 0])?;
            add(EXTENDED_MASTER_SECRET, &[])?;
            add(RENEGOTIATION_INFO, &[0])?;
        }
        Some(all)
    }
}

/// Reads what a server sent after a probe. `with_group`: in TLS 1.2 and below the group is in ServerKeyExchange,
/// which comes later (RFC 8422 section 5.4); it is waited for.
#[must_use]
pub fn answer(records: &[u8], with_group: bool) -> Answer {
    if records.first() == Some(&ALERT) {
        return match records {
            [_, 3, _, 0, 2, _, description, ..] => Answer::Refused(Alert(*description)),
            [_] | [_, 3] | [_, 3, _] | [_, 3, _, 0] | [_, 3, _, 0, 2] | [_, 3, _, 0, 2, _] => {
                Answer::More
            }
            _ => Answer::Other,
        };
    }
    let found = match first_message(records, SERVER_HELLO) {
        Coming::More(_) => return Answer::More,
        Coming::Whole(message) => chosen(&message).unwrap_or(Answer::Other),
        Coming::Other => return Answer::Other,
    };
    match found {
        Answer::Chosen { version, suite, .. } if with_group && version < TLS13 => {
            match exchanged(&handshake(records)) {
                Some(group) => Answer::Chosen {
                    version,
                    suite,
                    group,
                },
                None => Answer::More,
            }
        }
        other => other,
    }
}

/// The content of the handshake records that a server began with, as far as they are whole.
fn handshake(mut records: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some((fragment, rest)) = records
        .strip_prefix(&[HANDSHAKE])
        .and_then(|rest| split::<2>(rest.get(2..)?))
    {
        content.extend_from_slice(fragment);
        records = rest;
    }
    content
}

/// The group in ServerKeyExchange, if its key is on a named curve; `None` if there is more to come.
fn exchanged(mut messages: &[u8]) -> Option<Option<u16>> {
    loop {
        let (kind, rest) = messages.split_first()?;
        let (body, rest) = split::<3>(rest)?;
        match (*kind, body) {
            (SERVER_KEY_EXCHANGE, [NAMED_CURVE, high, low, ..]) => {
                return Some(Some(u16::from_be_bytes([*high, *low])));
            }
            (SERVER_KEY_EXCHANGE | SERVER_HELLO_DONE, _) => return Some(None),
            _ => messages = rest,
        }
    }
}

/// What a ServerHello has chosen.
fn chosen(message: &[u8]) -> Option<Answer> {
    let hello = ServerHello::of_body(message.get(4..)?)?;
    let told = |kind| hello.extension(kind).and_then(number);
    Some(Answer::Chosen {
        version: told(SUPPORTED_VERSIONS).map_or(hello.version, |(version, _)| version),
        suite: hello.suite,
        group: told(KEY_SHARE).map(|(group, _)| group),
    })
}

fn numbers(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

/// Some bytes behind their length.
fn listed<const LENGTH: usize>(content: &[u8]) -> Option<Vec<u8>> {
    let mut made = Vec::new();
    vector::<LENGTH>(&mut made, content)?;
    Some(made)
}

/// Appends bytes behind their length; `None` if they are too many for it.
fn vector<const LENGTH: usize>(out: &mut Vec<u8>, content: &[u8]) -> Option<()> {
    let length = u32::try_from(content.len()).ok()?.to_be_bytes();
    let (zeros, length) = length.split_at(4 - LENGTH);
    if zeros.iter().any(|byte| *byte != 0) {
        return None;
    }
    out.extend(length);
    out.extend(content);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::{ClientHello, client_hello};

    fn probe<'a>(version: u16, suites: &'a [u16], groups: &'a [u16]) -> Probe<'a> {
        Probe {
            version,
            suites,
            groups,
            name: Some("server.example"),
            random: &[7; 64],
        }
    }

    fn message(record: &[u8]) -> Vec<u8> {
        let Coming::Whole(message) = client_hello(record) else {
            panic!("no ClientHello");
        };
        message
    }

    #[test]
    fn a_probe_is_a_client_hello_of_its_version() {
        for version in 0x0300..=0x0304 {
            let record = probe(version, &[0x1301, 0x002f], &[29, 23])
                .client_hello()
                .unwrap();
            let message = message(&record);
            let hello = ClientHello::of_message(&message).unwrap();
            assert_eq!(hello.version, version.min(0x0303));
            assert_eq!(hello.cipher_suites(), [0x1301, 0x002f]);
            assert_eq!(
                hello.session_id.len(),
                if version == 0x0304 { 32 } else { 0 }
            );
            let has = |kind| hello.extension(kind).is_some();
            assert_eq!(
                (
                    has(SERVER_NAME),
                    has(SIGNATURE_ALGORITHMS),
                    has(SUPPORTED_VERSIONS)
                ),
                (version > 0x0300, version >= 0x0303, version == 0x0304)
            );
            if version > 0x0300 {
                assert_eq!(hello.server_name(), Some("server.example"));
                assert_eq!(
                    hello.extension(SUPPORTED_GROUPS),
                    Some(&[0, 4, 0, 29, 0, 23][..])
                );
            }
        }
        let record = probe(0x0304, &[0x1301], &[29]).client_hello().unwrap();
        let message = message(&record);
        let hello = ClientHello::of_message(&message).unwrap();
        assert_eq!(hello.extension(KEY_SHARE), Some(&[0, 0][..]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(probe(0x0303, &[1; 9_000], &[]).client_hello(), None);
        assert_eq!(probe(0x0303, &[1; 40_000], &[]).client_hello(), None);
        assert_eq!(probe(0x0303, &[1], &[1; 40_000]).client_hello(), None);
    }

    fn server_hello(version: u16, suite: u16, extensions: &[u8]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([9; 32]);
        body.extend([1, 5]);
        body.extend(suite.to_be_bytes());
        body.push(0);
        if !extensions.is_empty() {
            vector::<2>(&mut body, extensions).unwrap();
        }
        let mut message = vec![SERVER_HELLO];
        vector::<3>(&mut message, &body).unwrap();
        message
    }

    fn records(message: &[u8], piece: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in message.chunks(piece) {
            all.extend([HANDSHAKE, 3, 3]);
            vector::<2>(&mut all, piece).unwrap();
        }
        all
    }

    #[test]
    fn what_a_server_chose_is_read_from_any_pieces() {
        let retry = [0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0x11, 0xec];
        for (message, version, suite, group) in [
            (server_hello(0x0300, 0x000a, &[]), 0x0300, 0x000a, None),
            (
                server_hello(0x0303, 0x1302, &retry),
                0x0304,
                0x1302,
                Some(0x11ec),
            ),
        ] {
            for piece in [1, 7, message.len()] {
                let mut records = records(&message, piece);
                for end in 0..records.len() {
                    assert_eq!(answer(&records[..end], false), Answer::More, "{end}");
                }
                let chosen = Answer::Chosen {
                    version,
                    suite,
                    group,
                };
                assert_eq!(answer(&records, false), chosen);
                records.extend(b"what follows");
                assert_eq!(answer(&records, false), chosen);
            }
        }
    }

    fn message_of(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        vector::<3>(&mut message, body).unwrap();
        message
    }

    #[test]
    fn the_group_of_an_older_version_is_waited_for() {
        let certificate = message_of(11, &[0; 300]);
        for (exchange, expected) in [
            (message_of(SERVER_KEY_EXCHANGE, &[3, 0, 29, 1, 2]), Some(29)),
            (message_of(SERVER_KEY_EXCHANGE, &[0, 1, 5]), None),
            (message_of(SERVER_HELLO_DONE, &[]), None),
        ] {
            let flight = [
                server_hello(0x0303, 0xc02f, &[]),
                certificate.clone(),
                exchange,
            ]
            .concat();
            for piece in [50, flight.len()] {
                let records = records(&flight, piece);
                for end in 0..records.len() {
                    assert_eq!(answer(&records[..end], true), Answer::More, "{end}");
                }
                let chosen = Answer::Chosen {
                    version: 0x0303,
                    suite: 0xc02f,
                    group: expected,
                };
                assert_eq!(answer(&records, true), chosen);
            }
        }
    }

    #[test]
    fn an_alert_is_read_and_what_is_not_tls_is_told() {
        let alert = [21, 3, 1, 0, 2, 2, 40];
        for end in 0..alert.len() {
            assert_eq!(answer(&alert[..end], false), Answer::More);
        }
        assert_eq!(answer(&alert, false), Answer::Refused(Alert(40)));
        for other in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"220 mail.example\r\n",
            &[21, 9, 1],
            &[21, 3, 1, 1],
            &[22, 3, 3, 0, 4, CLIENT_HELLO, 0, 0, 0],
            &[22, 3, 3, 0, 5, SERVER_HELLO, 0, 0, 1, 3],
        ] {
            assert_eq!(answer(other, false), Answer::Other, "{other:?}");
        }
    }

    #[test]
    fn garbled_answers_do_no_harm() {
        let message = server_hello(0x0303, 0x1302, &[0, 43, 0, 2, 3, 4]);
        let whole = records(&message, message.len());
        for at in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut garbled = whole.clone();
                garbled[at] ^= flip;
                let _ = (answer(&garbled, false), answer(&garbled, true));
            }
        }
    }
}
