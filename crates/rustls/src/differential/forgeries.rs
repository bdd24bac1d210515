//! A peer that has the right keys and seals whatever it likes, against our record layer and
//! rustls's: both judge it alike, but for a table of differences.

use polytls_conformance::{Cut, Random};
use polytls_core::{MAX_FRAGMENT, Role};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundPlainMessage,
};
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite};

use super::{CONFIGS, End, HEADER, Handle, Layer, Protection, Side, Tied, read, records};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// The next keys to seal with, or to open with.
type NextKeys = Box<dyn FnMut(Direction) -> ConnectionTrafficSecrets>;

enum Direction {
    Sealing,
    Opening,
}

/// One side of a connection, whose rustls was taken apart.
struct Forger {
    suite: SupportedCipherSuite,
    sealing: Box<dyn MessageEncrypter>,
    sequence: u64,
    next: NextKeys,
    opening: Box<dyn MessageDecrypter>,
    opened: u64,
}

fn key_and_iv(secrets: ConnectionTrafficSecrets) -> (AeadKey, Iv) {
    use ConnectionTrafficSecrets as Secrets;
    match secrets {
        Secrets::Aes128Gcm { key, iv }
        | Secrets::Aes256Gcm { key, iv }
        | Secrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("a cipher of TLS 1.3"),
    }
}

impl Forger {
    fn new<S: Side + 'static>(handle: &Handle<S>, suite: SupportedCipherSuite) -> Self
    where
        S::Data: 'static,
    {
        let protection =
            std::mem::replace(&mut handle.held().session.protection, Protection::Moving);
        let Protection::Rustls(connection) = protection else {
            panic!("ours cannot be taken apart");
        };
        let (secrets, mut kernel) = connection.into_kernel().expect("after the handshake");
        let aead = suite.tls13().expect("a suite of TLS 1.3").aead_alg;
        let (sequence, sealing) = secrets.tx;
        let (key, iv) = key_and_iv(sealing);
        let mut sealing = aead.encrypter(key, iv);
        // aws-lc takes the first nonce that it sees for that of number 0.
        for number in 0..sequence {
            let nothing = OutboundPlainMessage {
                typ: ContentType::ApplicationData,
                version: ProtocolVersion::TLSv1_2,
                payload: OutboundChunks::new_empty(),
            };
            sealing
                .encrypt(nothing, number)
                .expect("sealing does not fail");
        }
        let (opened, opening) = secrets.rx;
        let (key, iv) = key_and_iv(opening);
        Self {
            suite,
            sealing,
            sequence,
            next: Box::new(move |direction| {
                let secrets = match direction {
                    Direction::Sealing => kernel.update_tx_secret(),
                    Direction::Opening => kernel.update_rx_secret(),
                };
                secrets.expect("a later key").1
            }),
            opening: aead.decrypter(key, iv),
            opened,
        }
    }

    /// A record of this inner plaintext, which is not empty.
    fn seal(&mut self, inner: &[u8]) -> Vec<u8> {
        let (last, front) = inner.split_last().expect("at least a type");
        let record = self.sealing.encrypt(
            OutboundPlainMessage {
                typ: ContentType::from(*last),
                version: ProtocolVersion::TLSv1_2,
                payload: OutboundChunks::Single(front),
            },
            self.sequence,
        );
        self.sequence += 1;
        record.expect("sealing does not fail").encode()
    }

    fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        self.seal(&[content, &[kind]].concat())
    }

    fn update(&mut self) {
        let (key, iv) = key_and_iv((self.next)(Direction::Sealing));
        let aead = self.suite.tls13().expect("a suite of TLS 1.3").aead_alg;
        self.sealing = aead.encrypter(key, iv);
        self.sequence = 0;
    }

    /// The alert in what the other side sent. It may answer a key update first, as rustls does.
    fn alert(&mut self, stream: &[u8]) -> Option<[u8; 2]> {
        let mut alert = None;
        for mut record in records(stream) {
            let message = InboundOpaqueMessage::new(
                ContentType::ApplicationData,
                ProtocolVersion::TLSv1_2,
                &mut record[HEADER..],
            );
            let message = self.opening.decrypt(message, self.opened).expect("genuine");
            self.opened += 1;
            if message.typ == ContentType::Handshake {
                assert_eq!(message.payload, [24, 0, 0, 1, 0]);
                let (key, iv) = key_and_iv((self.next)(Direction::Opening));
                let aead = self.suite.tls13().expect("a suite of TLS 1.3").aead_alg;
                self.opening = aead.decrypter(key, iv);
                self.opened = 0;
                continue;
            }
            assert_eq!(message.typ, ContentType::Alert);
            assert_eq!(alert, None, "two alerts");
            alert = Some(message.payload.try_into().expect("two bytes"));
        }
        alert
    }
}

/// What came of what a forger sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    data: Vec<u8>,
    end: End,
    alert: Option<u8>,
}

/// Has a forger send something to a `victim` that uses this layer.
fn judge(
    cipher: usize,
    victim: Role,
    layer: Layer,
    forge: &dyn Fn(&mut Forger) -> Vec<u8>,
) -> Verdict {
    let configs = &CONFIGS[cipher];
    let layers = match victim {
        Role::Client => (layer, Layer::Rustls),
        Role::Server => (Layer::Rustls, layer),
    };
    let mut tied = Tied::new(configs, layers, Cut::Whole);
    // Tickets.
    assert_eq!(read(tied.pair.side(Role::Client)), (vec![], End::WantsMore));
    let mut forger = match victim {
        Role::Client => Forger::new(&tied.server, configs.suite),
        Role::Server => Forger::new(&tied.client, configs.suite),
    };
    let stream = forge(&mut forger);
    tied.pair.give(victim, &stream);
    let (data, end) = read(tied.pair.side(victim));
    let alert = forger.alert(&tied.pair.take(victim));
    if let Some([level, _]) = alert {
        assert_eq!(level, 2);
    }
    Verdict {
        data,
        end,
        alert: alert.map(|alert| alert[1]),
    }
}

/// One record, or some that belong together, as a peer may send it or may not.
fn forge_one(random: &mut Random, forger: &mut Forger, victim: Role, is_bad: bool) -> Vec<u8> {
    let padded = |forger: &mut Forger, kind: u8, content: &[u8], padding: usize| {
        forger.seal(&[content, &[kind], &vec![0; padding]].concat())
    };
    let message = |kind: u8, body: &[u8]| {
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        [&[kind], &length[1..], body].concat()
    };
    let split = |random: &mut Random, forger: &mut Forger, message: &[u8]| {
        let piece = random.size(message.len().min(MAX_FRAGMENT));
        // More of them than that are refused where rustls has to be shown them again.
        let piece = piece.max(message.len().div_ceil(4000));
        message
            .chunks(piece)
            .flat_map(|content| forger.record(HANDSHAKE, content))
            .collect::<Vec<u8>>()
    };
    let padding = random.below(3) * random.below(200);
    match (is_bad, random.below(8)) {
        (false, 0) => padded(forger, DATA, b"", padding),
        (false, 1) => {
            let asks = random.below(2) as u8;
            let records = split(random, forger, &message(24, &[asks]));
            forger.update();
            records
        }
        (false, 2) if victim == Role::Client => {
            let ticket = random.size(20_000);
            let ticket = random.bytes(ticket);
            let length = u16::try_from(ticket.len()).expect("short").to_be_bytes();
            let body = [
                &[0, 0, 1, 0, 1, 2, 3, 4, 1, 9][..],
                &length,
                &ticket,
                &[0, 0],
            ]
            .concat();
            split(random, forger, &message(4, &body))
        }
        (false, _) => {
            let length = random.size(MAX_FRAGMENT);
            let data = random.bytes(length);
            padded(forger, DATA, &data, padding.min(MAX_FRAGMENT - length))
        }
        // Closed, told off, or neither.
        (true, 0) => {
            // All but user_canceled, which rustls takes for fatal where that is its level.
            let alert = match random.bits() as u8 {
                90 => 91,
                alert => alert,
            };
            padded(forger, ALERT, &[2, alert], padding)
        }
        (true, 1) => {
            let length = 1 + 2 * random.below(2);
            padded(forger, ALERT, &random.bytes(length), padding)
        }
        (true, 2) => {
            let length = 1 + random.below(MAX_FRAGMENT + 200);
            forger.seal(&vec![0; length])
        }
        (true, 3) => {
            let length = MAX_FRAGMENT - 2 + random.below(200);
            padded(forger, DATA, &vec![1; length], random.below(4))
        }
        // A message of a type that there is not, a malformed ticket, one with an extension twice.
        (true, 4) => {
            let (kind, body) = match (victim, random.below(3)) {
                (Role::Client, 0) => {
                    let length = random.below(8);
                    (4, random.bytes(length))
                }
                (Role::Client, 1) => {
                    let kind = [0, 42, random.bits() as u8][random.below(3)];
                    let extension = match kind {
                        42 => vec![0, 42, 0, 4, 0, 0, 0, 0],
                        kind => vec![0, kind, 0, 0],
                    };
                    let extensions = extension.repeat(2);
                    let length = u8::try_from(extensions.len()).expect("short");
                    let ticket = [0, 0, 1, 0, 1, 2, 3, 4, 1, 9, 0, 1, 7, 0, length];
                    (4, [&ticket[..], &extensions].concat())
                }
                // rustls would read a ticket before it tells a client that none may come.
                _ => {
                    let length = random.below(8);
                    (200, random.bytes(length))
                }
            };
            let message = message(kind, &body);
            split(random, forger, &message)
        }
        // An update of any other shape.
        (true, 5) => {
            let body = random.below(4);
            let mut body = random.bytes(body);
            if let [asks] = body.as_mut_slice() {
                *asks |= 2;
            }
            split(random, forger, &message(24, &body))
        }
        (true, 6) => forger.record(HANDSHAKE, &[24, 0, 0, 1, 0, 24]),
        // Something in the middle of a message.
        (true, _) => {
            let first = forger.record(HANDSHAKE, &[24, 0, 0][..1 + random.below(3)]);
            let kind = [DATA, ALERT][random.below(2)];
            [first, padded(forger, kind, &[1, 0], padding)].concat()
        }
    }
}

fn forgeries(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut random = Random::new(seed);
        let cipher = random.below(3);
        let victim = [Role::Client, Role::Server][random.below(2)];
        let healthy = random.below(6);
        let random = random;
        let forge = |forger: &mut Forger| {
            let mut random = random.clone();
            let mut stream = Vec::new();
            for _ in 0..healthy {
                stream.extend(forge_one(&mut random, forger, victim, false));
            }
            stream.extend(forge_one(&mut random, forger, victim, true));
            stream
        };
        let [ours, rustls] =
            [Layer::Ours, Layer::Rustls].map(|layer| judge(cipher, victim, layer, &forge));
        assert!(
            ours.data == rustls.data && ours.end == rustls.end,
            "seed {seed}: ours {:?} after {}, rustls {:?} after {}",
            ours.end,
            ours.data.len(),
            rustls.end,
            rustls.data.len()
        );
        assert_eq!(ours.alert, rustls.alert, "seed {seed}");
        let is_told = ours.end == End::PeerMisbehaved;
        assert_eq!(ours.alert.is_some(), is_told, "seed {seed}: {ours:?}");
    }
}

#[test]
fn what_a_peer_with_the_right_keys_sends_is_judged_alike() {
    forgeries(0..1500);
}

#[test]
#[ignore = "minutes: make soak"]
fn what_a_peer_with_the_right_keys_sends_is_judged_alike_again_and_again() {
    forgeries(1_000_000..1_400_000);
}

type Forge = fn(&mut Forger) -> Vec<u8>;

fn data(bytes: &[u8], end: End, alert: Option<u8>) -> Verdict {
    Verdict {
        data: bytes.to_vec(),
        end,
        alert,
    }
}

fn goes_on() -> Verdict {
    data(b"data", End::WantsMore, None)
}

fn refuses(alert: u8) -> Verdict {
    data(b"", End::PeerMisbehaved, Some(alert))
}

/// What rustls 0.23 by itself would take, or say nothing about, or something else.
#[test]
fn these_are_refused_by_the_same_alert() {
    let rows: Vec<(&str, Forge, Verdict)> = vec![
        (
            "a length over 2^14 + 256 (5.2)",
            |_| vec![DATA, 3, 3, 0xff, 0xff],
            refuses(22),
        ),
        (
            "the same, which does not open either",
            |_| [&[DATA, 3, 3, 0x41, 1][..], &[0; 0x4101]].concat(),
            refuses(22),
        ),
        (
            "a record without content type (5.4)",
            |forger| forger.seal(&[0; 10]),
            refuses(10),
        ),
        (
            "an empty handshake record (5.1)",
            |forger| {
                let record = forger.record(HANDSHAKE, b"");
                [record, forger.record(DATA, b"data")].concat()
            },
            refuses(10),
        ),
        (
            "an empty alert",
            |forger| forger.record(ALERT, b""),
            refuses(10),
        ),
        (
            "a type that there is not",
            |forger| forger.record(99, b"data"),
            refuses(10),
        ),
        (
            "a flood of empty records",
            |forger| (0..33).flat_map(|_| forger.record(DATA, b"")).collect(),
            refuses(10),
        ),
        (
            "a flood of key updates",
            |forger| {
                let update = |_| {
                    let record = forger.record(HANDSHAKE, &[24, 0, 0, 1, 0]);
                    forger.update();
                    record
                };
                (0..33).flat_map(update).collect()
            },
            refuses(10),
        ),
        (
            "something in the middle of a message (5.1)",
            |forger| {
                let first = forger.record(HANDSHAKE, &[24]);
                [first, forger.record(DATA, b"data")].concat()
            },
            refuses(10),
        ),
        (
            "five times user_canceled",
            |forger| {
                let mut stream: Vec<u8> = (0..5)
                    .flat_map(|_| forger.record(ALERT, &[1, 90]))
                    .collect();
                stream.extend(forger.record(DATA, b"data"));
                stream
            },
            refuses(10),
        ),
        (
            "a warning, which is an error as well",
            |forger| forger.record(ALERT, &[1, 40]),
            data(b"", End::AlertReceived(40), None),
        ),
    ];
    for (what, forge, verdict) in rows {
        for victim in [Role::Client, Role::Server] {
            for layer in [Layer::Ours, Layer::Rustls] {
                let judged = judge(0, victim, layer, &forge);
                assert_eq!(judged, verdict, "{layer:?}: {what}");
            }
        }
    }
}

/// Where we keep to the letter of RFC 8446 and rustls 0.23 does not, or the other way round. If one
/// of them changes, so may the other.
#[test]
fn these_are_the_differences() {
    let rows: Vec<(&str, Forge, Verdict, Verdict)> = vec![
        (
            "the type of the record is another, which is authenticated (5.2)",
            |forger| {
                let mut record = forger.record(DATA, b"data");
                record[0] = HANDSHAKE;
                record
            },
            refuses(10),
            goes_on(),
        ),
        (
            "so is its version",
            |forger| {
                let mut record = forger.record(DATA, b"data");
                record[2] = 1;
                record
            },
            refuses(20),
            goes_on(),
        ),
        (
            "an alert in the clear",
            |_| vec![ALERT, 3, 3, 0, 2, 2, 40],
            refuses(10),
            refuses(20),
        ),
        (
            "a message that may not come, by its header",
            |forger| forger.record(HANDSHAKE, &[1, 0, 1, 0]),
            refuses(10),
            data(b"", End::WantsMore, None),
        ),
        (
            "user_canceled as a fatal alert (6: the level is of no meaning)",
            |forger| {
                let record = forger.record(ALERT, &[2, 90]);
                [record, forger.record(DATA, b"data")].concat()
            },
            goes_on(),
            data(b"", End::AlertReceived(90), None),
        ),
        (
            "close_notify of no level that there is",
            |forger| forger.record(ALERT, &[3, 0]),
            data(b"", End::Closed, None),
            data(b"", End::AlertReceived(0), None),
        ),
    ];
    for (what, forge, ours, rustls) in rows {
        for victim in [Role::Client, Role::Server] {
            let judged = judge(0, victim, Layer::Ours, &forge);
            assert_eq!(judged, ours, "ours: {what}");
            let judged = judge(0, victim, Layer::Rustls, &forge);
            assert_eq!(judged, rustls, "rustls: {what}");
        }
    }
}
