//! Early data (RFC 8446 section 2.3) of one connection: what rustls's unbuffered API does not tell of it.
//!
//! A client is not told whether its early data was accepted, but it shows in what it answers: it sends
//! EndOfEarlyData exactly if the server has accepted (section 4.5), under other keys than its Finished,
//! and so in a record of its own (section 5.1). A client that resumes a session presents no certificate,
//! so that its last flight is otherwise one record.
//!
//! A server that refuses has to skip what the client has sent already (section 4.2.10). rustls 0.23 does so
//! for less than it allows clients to send, as it counts the overhead of records and counts again what it is
//! shown again: records of no length for ever, at the price of all before them. So the records are skipped
//! here, and rustls skips none: whether early data was accepted is in our own EncryptedExtensions, and
//! the first record that opens with the keys of the handshake ends it.

use polytls_core::{Error, records};
use polytls_records::{OVERHEAD, TrafficKeys, open_alone};
use rustls::Tls13CipherSuite;

use crate::hello;
use crate::secrets::{HandshakeSecrets, traffic_keys};

/// The most early data that a server takes on one connection, and skips, in bytes.
pub(crate) const LIMIT: u32 = 16_384;

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

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
    No,
    Skips {
        /// What the next record behind it is sealed with; `None`: a new ClientHello comes behind it.
        behind: Option<Box<TrafficKeys>>,
        /// How much more may be skipped.
        left: usize,
    },
}

/// What a server has to do with a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing: it was early data that was refused.
    Skipped,
    /// To refuse it: it is neither to be skipped nor part of the handshake.
    TooMuch,
    /// What it does with any.
    Other,
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

    /// Whether the server took it; `None` if a client sent none, or a server was offered none.
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

    /// A server has answered a ClientHello, which offered some or not, with `flight`, in TLS 1.3 if there is a
    /// `suite` of it.
    pub(crate) fn was_offered(
        &mut self,
        offered: bool,
        flight: &[u8],
        suite: Option<&Tls13CipherSuite>,
        secrets: &mut Option<Box<HandshakeSecrets>>,
    ) -> Result<(), Error> {
        self.refused = Refused::No;
        if offered {
            // Until it shows that it was accepted.
            self.accepted = Some(false);
        }
        let Some(suite) = suite.filter(|_| offered) else {
            *secrets = None;
            return Ok(());
        };
        let first = records(flight).find(|record| record[0] == APPLICATION_DATA);
        let behind = match (first, secrets.take().map(|kept| *kept)) {
            // HelloRetryRequest.
            (None, _) => None,
            (
                Some(record),
                Some(HandshakeSecrets {
                    client: Some(client),
                    server: Some(server),
                }),
            ) => {
                if accepts(&traffic_keys(suite, &server)?, record)? {
                    // There may be none: what was offered need not be sent.
                    self.accepted = Some(true);
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

    /// Looks at a record that has come to a server, `alone` if no part of a message is before it.
    pub(crate) fn sees(&mut self, record: &[u8], alone: bool) -> Seen {
        let (behind, left) = match &mut self.refused {
            Refused::Skips { behind, left } => (behind, left),
            Refused::No => return Seen::Other,
        };
        if record.first() != Some(&APPLICATION_DATA) || records(record).count() != 1 {
            return Seen::Other;
        }
        if let Some(keys) = behind
            && open_alone(keys, record).is_some()
        {
            keys.sequence += 1;
            *left = 0;
            return Seen::Other;
        }
        if !alone {
            // rustls refuses what comes between the parts.
            return Seen::Other;
        }
        // An empty record counts as well, so that there is an end to them.
        let length = record.len().saturating_sub(OVERHEAD).max(1);
        if length > *left {
            return Seen::TooMuch;
        }
        *left -= length;
        Seen::Skipped
    }
}

/// Whether our first record under the keys of the handshake accepts early data.
fn accepts(keys: &TrafficKeys, record: &[u8]) -> Result<bool, Error> {
    open_alone(keys, record)
        .filter(|(kind, _)| *kind == HANDSHAKE)
        .and_then(|(_, message)| hello::accepts_early_data(&message))
        // Early data that was accepted must not be skipped.
        .ok_or_else(|| Error::Internal("a flight without EncryptedExtensions".to_owned()))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use polytls_records::Cipher;

    use super::*;

    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let [.., high, low] = content.len().to_be_bytes();
        [&[kind, 3, 3, high, low], content].concat()
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
                assert_eq!(early.sees(&sealed(size), true), Seen::Skipped);
            }
            assert_eq!(early.sees(&sealed(1), true), Seen::TooMuch);
        }
        for empty in [sealed(0), record(APPLICATION_DATA, &[])] {
            let mut early = skipping();
            let skipped = |_: &u32| early.sees(&empty, true) == Seen::Skipped;
            assert_eq!((0..100_000).filter(skipped).count(), 16_384);
        }
        // Other records, and what came behind part of a message, are rustls's.
        let mut early = skipping();
        assert_eq!(early.sees(&record(HANDSHAKE, b"hello"), true), Seen::Other);
        assert_eq!(early.sees(&sealed(1), false), Seen::Other);
        assert_eq!(early.sees(&sealed(1), true), Seen::Skipped);
    }

    fn keys() -> TrafficKeys {
        TrafficKeys {
            cipher: Cipher::Aes128Gcm,
            key: vec![7; 16].into(),
            iv: [0; 12].into(),
            sequence: 0,
        }
    }

    /// A record under [`keys`] of this content and, last, its type.
    fn sealed(sequence: u8, content: &[u8]) -> Vec<u8> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &keys().key).unwrap());
        let mut nonce = [0; 12];
        nonce[11] = sequence;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let mut content = content.to_vec();
        let [.., high, low] = (content.len() + 16).to_be_bytes();
        let header = Aad::from([APPLICATION_DATA, 3, 3, high, low]);
        key.seal_in_place_append_tag(nonce, header, &mut content)
            .unwrap();
        record(APPLICATION_DATA, &content)
    }

    #[test]
    fn what_was_accepted_is_read_or_is_an_error() {
        let accepts = |content: &[u8]| accepts(&keys(), &sealed(0, content)).ok();
        assert_eq!(accepts(&[8, 0, 0, 6, 0, 4, 0, 42, 0, 0, 22]), Some(true));
        assert_eq!(accepts(&[8, 0, 0, 6, 0, 4, 0, 43, 0, 0, 22]), Some(false));
        assert_eq!(accepts(&[8, 0, 0, 2, 0, 0, 22]), Some(false));
        for other in [&[8, 0, 0, 2, 0, 0, 21][..], &[8, 0, 22], &[11, 0, 0, 22]] {
            assert_eq!(accepts(other), None);
        }
        let not_ours = sealed(1, &[8, 0, 0, 2, 0, 0, 22]);
        assert!(super::accepts(&keys(), &not_ours).is_err());
    }

    #[test]
    fn once_the_handshake_goes_on_nothing_is_skipped() {
        // A warning, which says nothing about what follows.
        let sealed = |sequence| sealed(sequence, &[1, 90, 21]);
        let mut early = skipping();
        early.refused = Refused::Skips {
            behind: Some(Box::new(keys())),
            left: LIMIT as usize,
        };
        assert_eq!(early.sees(&sealed(1), true), Seen::Skipped);
        for (sequence, alone) in [(0, true), (1, true), (2, false)] {
            assert_eq!(early.sees(&sealed(sequence), alone), Seen::Other);
            assert_eq!(early.sees(&sealed(sequence), true), Seen::TooMuch);
            let empty = record(APPLICATION_DATA, &[]);
            assert_eq!(early.sees(&empty, true), Seen::TooMuch);
        }
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
