//! Early data (RFC 8446 section 2.3) of one connection: what rustls's unbuffered API does not tell of it.
//!
//! A client is not told whether its early data was accepted, but it shows in what it answers: it sends
//! EndOfEarlyData exactly if the server has accepted (section 4.5), under other keys than its Finished,
//! and so in a record of its own (section 5.1). A client that resumes a session presents no certificate,
//! so that its last flight is otherwise one record.
//!
//! A server that refuses has to skip what the client has sent already (section 4.2.10). rustls 0.23 does so
//! for less than it allows clients to send, as it counts the overhead of records and counts again what it is
//! shown again. So the records are skipped here: whether early data was accepted stands in our own
//! EncryptedExtensions, and the first record that opens with the keys of the handshake ends it.

use polytls_core::{Error, records};
use polytls_records::{OVERHEAD, TrafficKeys, open_alone};
use rustls::Tls13CipherSuite;

use crate::secrets::{HandshakeSecrets, traffic_keys};

/// The most early data that a server takes on one connection, and skips, in bytes.
pub(crate) const LIMIT: u32 = 16_384;

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const CLIENT_HELLO: u8 = 1;
const ENCRYPTED_EXTENSIONS: u8 = 8;
const EARLY_DATA: u16 = 42;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Early {
    /// Whether it was asked for.
    configured: bool,
    /// Whether a client has sent any.
    sent: bool,
    accepted: Option<bool>,
    refused: Refused,
}

/// Whether a server has refused early data, so that it may still have to be skipped.
#[derive(Debug, Default)]
enum Refused {
    #[default]
    NotKnown,
    /// Not at all, or all that is to be skipped was.
    No,
    Skips {
        /// What the records behind it are sealed with; `None`: a new ClientHello comes behind it.
        behind: Option<Box<TrafficKeys>>,
        /// How much more may be skipped.
        left: usize,
    },
}

impl Early {
    pub(crate) fn new(configured: bool) -> Self {
        Self {
            configured,
            ..Self::default()
        }
    }

    pub(crate) const fn is_configured(&self) -> bool {
        self.configured
    }

    /// Whether the server took it; `None` if none was sent.
    pub(crate) const fn accepted(&self) -> Option<bool> {
        self.accepted
    }

    // --- clients ---

    /// A client has sent so much with its first flight.
    pub(crate) const fn was_sent(&mut self, count: usize) {
        self.sent |= count > 0;
    }

    /// A client's handshake is complete with `flight`.
    pub(crate) fn was_answered(&mut self, resumed: bool, flight: &[u8]) {
        if self.sent {
            let sealed = records(flight).filter(|record| record[0] == APPLICATION_DATA);
            self.accepted = Some(resumed && sealed.count() > 1);
        }
    }

    // --- servers ---

    /// A server has taken some.
    pub(crate) const fn was_taken(&mut self) {
        self.accepted = Some(true);
    }

    /// A server has answered `hello` with `flight`, in TLS 1.3 if there is a `suite` of it.
    pub(crate) fn was_offered(
        &mut self,
        hello: &[u8],
        flight: &[u8],
        suite: Option<&Tls13CipherSuite>,
        secrets: &mut Option<HandshakeSecrets>,
    ) -> Result<(), Error> {
        let offered = match self.refused {
            Refused::NotKnown => offers(hello),
            // After the second ClientHello there can be none.
            _ => false,
        };
        self.refused = Refused::No;
        let Some(suite) = suite.filter(|_| offered) else {
            *secrets = None;
            return Ok(());
        };
        let first = records(flight).find(|record| record[0] == APPLICATION_DATA);
        let behind = match (first, secrets.take()) {
            // HelloRetryRequest.
            (None, _) => None,
            (
                Some(record),
                Some(HandshakeSecrets {
                    client: Some(client),
                    server: Some(server),
                }),
            ) => {
                if accepts(&traffic_keys(suite, &server)?, record) {
                    return Ok(());
                }
                Some(Box::new(traffic_keys(suite, &client)?))
            }
            // Without them rustls skips what it does.
            (Some(_), _) => return Ok(()),
        };
        self.refused = Refused::Skips {
            behind,
            left: LIMIT as usize,
        };
        Ok(())
    }

    /// Whether a server is done with `shown` without looking at it: a record of early data that was
    /// refused. Beyond the limit none is skipped, and rustls finds that it does not open.
    pub(crate) fn skips(&mut self, shown: &[u8]) -> bool {
        let Refused::Skips { behind, left } = &mut self.refused else {
            return false;
        };
        if shown.first() != Some(&APPLICATION_DATA) || records(shown).count() != 1 {
            return false;
        }
        // An empty record counts as well, so that there is an end to them.
        let length = shown.len().saturating_sub(OVERHEAD).max(1);
        if behind
            .as_ref()
            .is_some_and(|keys| open_alone(keys, shown).is_some())
            || length > *left
        {
            self.refused = Refused::No;
            return false;
        }
        *left -= length;
        self.accepted = Some(false);
        true
    }
}

/// Whether a ClientHello, in these records, offers early data.
fn offers(shown: &[u8]) -> bool {
    let mut message = Vec::new();
    for record in records(shown).filter(|record| record[0] == HANDSHAKE) {
        message.extend(&record[5..]);
    }
    extensions_of_hello(&message).is_some_and(has_early_data)
}

fn extensions_of_hello(message: &[u8]) -> Option<&[u8]> {
    let body = message.strip_prefix(&[CLIENT_HELLO])?.get(3..)?;
    // Version and random stand before what has a length.
    let (_, rest) = split::<1>(body.get(34..)?)?;
    let (_, rest) = split::<2>(rest)?;
    let (_, rest) = split::<1>(rest)?;
    Some(split::<2>(rest)?.0)
}

/// Whether our first record under the keys of the handshake accepts early data.
fn accepts(keys: &TrafficKeys, record: &[u8]) -> bool {
    let Some((HANDSHAKE, message)) = open_alone(keys, record) else {
        return false;
    };
    message
        .strip_prefix(&[ENCRYPTED_EXTENSIONS])
        .and_then(|message| split::<2>(message.get(3..)?))
        .is_some_and(|(extensions, _)| has_early_data(extensions))
}

fn has_early_data(mut extensions: &[u8]) -> bool {
    while let Some((&kind, rest)) = extensions.split_first_chunk::<2>() {
        if u16::from_be_bytes(kind) == EARLY_DATA {
            return true;
        }
        let Some((_, rest)) = split::<2>(rest) else {
            return false;
        };
        extensions = rest;
    }
    false
}

/// What stands behind a length of so many bytes, and what behind that.
fn split<const LENGTH: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    let length = length
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let [.., high, low] = content.len().to_be_bytes();
        [&[kind, 3, 3, high, low], content].concat()
    }

    fn hello(extensions: &[u8]) -> Vec<u8> {
        let [.., high, low] = extensions.len().to_be_bytes();
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([2, 9, 9, 0, 2, 0x13, 1, 1, 0, high, low]);
        body.extend(extensions);
        let [.., high, low] = body.len().to_be_bytes();
        [&[CLIENT_HELLO, 0, high, low], &body[..]].concat()
    }

    #[test]
    fn an_offer_is_found_in_a_hello_of_any_pieces_and_in_nothing_else() {
        let with = hello(&[0, 23, 0, 0, 0, 42, 0, 0]);
        // Not in what belongs to another extension.
        let without = hello(&[0, 23, 0, 4, 0, 42, 0, 0]);
        assert!(offers(&record(HANDSHAKE, &with)));
        assert!(!offers(&record(HANDSHAKE, &without)));
        assert!(!offers(&record(APPLICATION_DATA, &with)));
        let pieces: Vec<u8> = with
            .chunks(7)
            .flat_map(|piece| record(HANDSHAKE, piece))
            .collect();
        assert!(offers(&pieces));
        for end in 0..pieces.len() {
            assert!(!offers(&pieces[..end]), "{end}");
        }
        for at in 0..pieces.len() {
            let mut garbled = pieces.clone();
            garbled[at] ^= 0x80;
            // Whatever it says, it does not panic.
            let _ = offers(&garbled);
        }
    }

    fn skipping() -> Early {
        Early {
            refused: Refused::Skips {
                behind: None,
                left: LIMIT as usize,
            },
            ..Early::new(true)
        }
    }

    #[test]
    fn as_much_is_skipped_as_may_be_sent_and_there_is_an_end_to_it() {
        let sealed = |content: usize| record(APPLICATION_DATA, &vec![0; content + OVERHEAD - 5]);
        for size in [1, 128, 16_384] {
            let mut early = skipping();
            for _ in 0..16_384 / size {
                assert!(early.skips(&sealed(size)));
            }
            assert!(!early.skips(&sealed(1)));
            assert_eq!(early.accepted(), Some(false));
        }
        for empty in [sealed(0), record(APPLICATION_DATA, &[])] {
            let mut early = skipping();
            assert_eq!((0..100_000).filter(|_| early.skips(&empty)).count(), 16_384);
        }
        // Other records, and what came together with some that are not done with, are rustls's.
        let mut early = skipping();
        assert!(!early.skips(&record(HANDSHAKE, b"hello")));
        assert!(
            !early.skips(&[record(APPLICATION_DATA, b"one"), record(HANDSHAKE, b"2")].concat())
        );
        assert!(early.skips(&sealed(1)));
    }

    #[test]
    fn a_client_is_told_by_the_records_of_its_last_flight() {
        let finished = record(APPLICATION_DATA, &[0; 53]);
        let end_of_early_data = record(APPLICATION_DATA, &[0; 21]);
        let both = [&end_of_early_data[..], &finished].concat();
        let change = record(20, &[1]);
        for (resumed, flight, expected) in [
            (true, both.clone(), true),
            (true, finished.clone(), false),
            (true, [&change[..], &finished].concat(), false),
            // A certificate takes records of its own.
            (false, both.clone(), false),
        ] {
            let mut early = Early::new(true);
            early.was_answered(resumed, &flight);
            assert_eq!(early.accepted(), None, "none was sent");
            early.was_sent(1);
            early.was_answered(resumed, &flight);
            assert_eq!(early.accepted(), Some(expected));
        }
    }
}
