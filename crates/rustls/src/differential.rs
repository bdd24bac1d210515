//! Our record layer against rustls's own: whoever protects the records, on either side, the same
//! bytes arrive, and the same faults end the connection in the same way.
//!
//! Here both sides keep to the rules, and what is between them may not; `forgeries` has a peer that
//! breaks them. Scenarios come from seeds. The quick form is part of `cargo test`; the long one is
//! `make soak`.

#[path = "differential/early_data.rs"]
mod early_data;
#[path = "differential/forgeries.rs"]
mod forgeries;

use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use polytls_conformance::{Cut, Pair, Random, other};
use polytls_core::config::{Common, Version};
use polytls_core::{
    Alert, Connection, Error, Facts, Inbound, MAX_FRAGMENT, Outbound, Progress, Role, Session, Sink,
};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite};

use super::{Early, Hellos, Manner, Protection, RustlsSession};
use crate::unbuffered::Side;

const HOST: &str = "server.example";
const HEADER: usize = 5;

// --- connections ---

struct Configs {
    /// As rustls has it, with keys that nobody shares.
    suite: SupportedCipherSuite,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// For each cipher of TLS 1.3.
static CONFIGS: LazyLock<Vec<Configs>> = LazyLock::new(|| {
    let issued = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let certificate = issued.cert.der();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let configs = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    let configs = configs.map(|suite| {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = crate::suites::suites().to_vec();
        provider.cipher_suites.retain(|one| one.suite() == suite);
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
        let mut own = aws_lc_rs::ALL_CIPHER_SUITES.iter();
        let suite = *own.find(|one| one.suite() == suite).expect("a suite");
        let provider = Arc::new(provider);
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a suite of TLS 1.3")
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        client.resumption = Resumption::in_memory_sessions(8);
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a suite of TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.clone_key().into())
            .expect("a key that fits");
        server.enable_secret_extraction = true;
        Configs {
            suite,
            client: Arc::new(client),
            server: Arc::new(server),
        }
    });
    configs.into()
});

/// A session that the test keeps a hand on.
struct Held<S: Side> {
    session: RustlsSession<S>,
    /// The next write begins with a key update, which asks for one (as rustls's do) or not.
    update_first: Option<bool>,
}

struct Handle<S: Side>(Arc<Mutex<Held<S>>>);

impl<S: Side> Handle<S> {
    fn new(connection: S, without_record_layer: bool) -> Self {
        let (early, hellos) = (Early::new(true), Hellos::new(true));
        let session = RustlsSession::new(
            connection,
            None,
            None,
            early,
            hellos,
            Manner::of(&Common::default(), without_record_layer),
        );
        Self(Arc::new(Mutex::new(Held {
            session,
            update_first: None,
        })))
    }

    fn share(&self) -> Box<dyn Session>
    where
        S: 'static,
    {
        Box::new(Self(Arc::clone(&self.0)))
    }

    fn held(&self) -> MutexGuard<'_, Held<S>> {
        self.0.lock().expect("no test panics in here")
    }
}

impl<S: Side> Held<S> {
    fn update(&mut self, ask: bool, out: &mut Outbound) -> Result<(), Error> {
        match &mut self.session.protection {
            Protection::Ours(own) => own.layer.update_sending(ask, out),
            // rustls always asks.
            _ => self.session.update_keys(out),
        }
    }
}

impl<S: Side> Session for Handle<S> {
    fn is_handshaking(&self) -> bool {
        self.held().session.is_handshaking()
    }

    fn has_early_data(&self) -> bool {
        self.held().session.has_early_data()
    }

    fn write_early(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<usize, Error> {
        self.held().session.write_early(plaintext, out)
    }

    fn receive(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        self.held().session.receive(inbound, plaintext, out)
    }

    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error> {
        let mut held = self.held();
        if let Some(ask) = held.update_first.take() {
            held.update(ask, out)?;
        }
        held.session.seal(plaintext, out)
    }

    fn overhead(&self) -> usize {
        self.held().session.overhead()
    }

    fn sealed_len(&self, plaintext: usize) -> Option<usize> {
        let held = self.held();
        let update_is_due = held.update_first.is_some();
        (!update_is_due).then(|| held.session.sealed_len(plaintext))?
    }

    fn seal_into(&mut self, plaintext: &[u8], into: &mut [u8]) -> Result<(), Error> {
        self.held().session.seal_into(plaintext, into)
    }

    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error> {
        self.held().session.close(out)
    }

    fn send_alert(&mut self, alert: Alert, found: &[u8], out: &mut Outbound) -> Result<(), Error> {
        self.held().session.send_alert(alert, found, out)
    }

    fn version(&self) -> Option<Version> {
        self.held().session.version()
    }

    fn facts(&self) -> Facts {
        self.held().session.facts()
    }
}

/// Whose record layers the client and the server use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Ours,
    Rustls,
}

const PAIRS: [(Layer, Layer); 4] = [
    (Layer::Rustls, Layer::Rustls),
    (Layer::Ours, Layer::Rustls),
    (Layer::Rustls, Layer::Ours),
    (Layer::Ours, Layer::Ours),
];

struct Tied {
    pair: Pair,
    client: Handle<UnbufferedClientConnection>,
    server: Handle<UnbufferedServerConnection>,
}

impl Tied {
    fn new(configs: &Configs, layers: (Layer, Layer), cut: Cut) -> Self {
        let name = ServerName::try_from(HOST).expect("a name");
        let client = UnbufferedClientConnection::new(Arc::clone(&configs.client), name)
            .expect("a connection");
        let server =
            UnbufferedServerConnection::new(Arc::clone(&configs.server)).expect("a connection");
        let client = Handle::new(client, layers.0 == Layer::Rustls);
        let server = Handle::new(server, layers.1 == Layer::Rustls);
        let tied = Self {
            pair: Pair::new(client.share(), server.share())
                .cut(cut)
                .connected(),
            client,
            server,
        };
        // Nobody may test rustls against itself and think it is ours.
        assert_eq!(tied.client.layer(), layers.0);
        assert_eq!(tied.server.layer(), layers.1);
        tied
    }

    fn update_first(&self, role: Role, ask: bool) {
        match role {
            Role::Client => self.client.held().update_first = Some(ask),
            Role::Server => self.server.held().update_first = Some(ask),
        }
    }
}

impl<S: Side> Handle<S> {
    fn layer(&self) -> Layer {
        match self.held().session.protection {
            Protection::Ours { .. } => Layer::Ours,
            Protection::Rustls(_) => Layer::Rustls,
            Protection::Moving | Protection::Refused | Protection::Over(_) => {
                panic!("not handed over")
            }
        }
    }
}

// --- what can be seen from outside ---

/// An error, or the end, without the words.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    WantsMore,
    Closed,
    AlertReceived(u8),
    PeerMisbehaved,
    Ragged,
}

/// Reads until something ends it.
fn read(connection: &mut Connection) -> (Vec<u8>, End) {
    let mut all = Vec::new();
    let mut buffer = vec![0; 20_000];
    let end = loop {
        match connection.read(&mut buffer) {
            Ok(0) => break End::Closed,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(Error::WantRead) => break End::WantsMore,
            Err(Error::AlertReceived(alert)) => break End::AlertReceived(alert.0),
            Err(Error::PeerMisbehaved(_)) => break End::PeerMisbehaved,
            Err(Error::RaggedEof { .. }) => break End::Ragged,
            Err(error) => panic!("{error:?}"),
        }
    };
    (all, end)
}

fn records(stream: &[u8]) -> Vec<Vec<u8>> {
    let records: Vec<_> = polytls_core::records(stream).map(<[u8]>::to_vec).collect();
    assert_eq!(records.concat(), stream, "a record is not whole");
    records
}

// --- healthy traffic, and what may end it ---

#[derive(Debug)]
enum Ending {
    /// One side closes, the other goes on for a while, then closes as well.
    HalfClose(usize),
    BothClose,
    /// One bit of the payload of a record is changed.
    Flip {
        record: usize,
        bit: usize,
    },
    Drop(usize),
    Repeat(usize),
    Swap,
    /// The transport ends so many bytes before the end of the last record.
    Cut(usize),
}

/// Bytes both ways, with key updates in front of them.
struct Round {
    updates: [Option<bool>; 2],
    data: [Vec<u8>; 2],
}

struct Scenario {
    cipher: usize,
    cut: u64,
    /// Whether memory is lent to the connections.
    lends: bool,
    rounds: Vec<Round>,
    /// Who sends last.
    sender: Role,
    last: Vec<u8>,
    ending: Ending,
}

impl Scenario {
    fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let data = |random: &mut Random| {
            let length = match random.below(6) {
                0 => 0,
                1 => MAX_FRAGMENT - 1 + random.below(3),
                _ => random.size(100_000),
            };
            random.bytes(length)
        };
        let update = |random: &mut Random| match random.below(6) {
            0 => Some(true),
            1 => Some(false),
            _ => None,
        };
        let rounds = (0..1 + random.below(4)).map(|_| Round {
            updates: [update(random), update(random)],
            data: [data(random), data(random)],
        });
        let rounds = rounds.collect();
        let length = random.size(100_000);
        let last = random.bytes(length);
        let sealed = last.len().div_ceil(MAX_FRAGMENT);
        let record = random.below(sealed);
        let ending = match random.below(9) {
            0 => Ending::HalfClose(random.size(50_000)),
            1 => Ending::BothClose,
            2 => Ending::Drop(record),
            3 => Ending::Repeat(record),
            4 => Ending::Swap,
            5 => Ending::Cut(random.below(30)),
            _ => Ending::Flip {
                record,
                bit: random.below(1 << 20),
            },
        };
        Self {
            cipher: random.below(3),
            cut: random.bits(),
            lends: random.below(2) == 0,
            rounds,
            sender: [Role::Client, Role::Server][random.below(2)],
            last,
            ending,
        }
    }

    /// Runs it, and says how it ended: what each side read in the end, in order.
    fn run(&self, layers: (Layer, Layer)) -> Vec<(Role, Vec<u8>, End)> {
        let mut tied = Tied::new(&CONFIGS[self.cipher], layers, Cut::Random(self.cut));
        tied.pair.lends = self.lends;
        for Round { updates, data } in &self.rounds {
            for (role, update) in [Role::Client, Role::Server].into_iter().zip(updates) {
                if let Some(ask) = update {
                    tied.update_first(role, *ask);
                }
            }
            let (at_client, at_server) = tied.pair.exchange(&data[0], &data[1]);
            assert!(at_server == data[0] && at_client == data[1]);
        }
        let pair = &mut tied.pair;
        let (sender, receiver) = (self.sender, other(self.sender));
        assert_eq!(pair.write(sender, &self.last), Ok(self.last.len()));
        let mut flight = records(&pair.take(sender));
        let sealed = self.last.len().div_ceil(MAX_FRAGMENT);
        let first = flight.len() - sealed;
        let mut seen = Vec::new();
        let mut look = |pair: &mut Pair, role: Role| {
            let (data, end) = read(pair.side(role));
            seen.push((role, data, end));
        };
        let mut ends = false;
        match self.ending {
            Ending::HalfClose(_) | Ending::BothClose => {
                pair.side(sender).send_close_notify().expect("healthy");
                flight.extend(records(&pair.take(sender)));
            }
            Ending::Flip { record, bit } => {
                let record = &mut flight[first + record];
                let bit = 8 * HEADER + bit % (8 * (record.len() - HEADER));
                record[bit / 8] ^= 1 << (bit % 8);
            }
            Ending::Drop(record) => drop(flight.remove(first + record)),
            Ending::Repeat(record) => {
                flight.insert(first + record, flight[first + record].clone());
            }
            Ending::Swap => {
                let last = flight.len() - 1;
                flight.swap(first, last);
            }
            Ending::Cut(bytes) => {
                let last = flight.last_mut().expect("data");
                last.truncate(last.len().saturating_sub(1 + bytes));
                ends = true;
            }
        }
        if matches!(self.ending, Ending::BothClose) {
            pair.side(receiver).send_close_notify().expect("healthy");
        }
        pair.give(receiver, &flight.concat());
        if ends {
            pair.end(receiver);
        }
        look(pair, receiver);
        if let Ending::HalfClose(length) = self.ending {
            let late = vec![7; length];
            assert_eq!(pair.side(receiver).write(&late), Ok(length));
            pair.side(receiver).send_close_notify().expect("healthy");
        }
        pair.pass(receiver);
        look(pair, sender);
        seen
    }

    /// What must be seen, whoever protects the records.
    fn expected(&self) -> Vec<(Role, Vec<u8>, End)> {
        let (sender, receiver) = (self.sender, other(self.sender));
        let upto = |record: usize| self.last[..record * MAX_FRAGMENT].to_vec();
        let sealed = self.last.len().div_ceil(MAX_FRAGMENT);
        let whole = self.last.clone();
        let (data, end, late, answer) = match self.ending {
            Ending::HalfClose(length) => (whole, End::Closed, vec![7; length], End::Closed),
            Ending::BothClose => (whole, End::Closed, vec![], End::Closed),
            Ending::Flip { record, .. } => (
                upto(record),
                End::PeerMisbehaved,
                vec![],
                End::AlertReceived(20),
            ),
            Ending::Drop(record) if record + 1 == sealed => {
                (upto(record), End::WantsMore, vec![], End::WantsMore)
            }
            Ending::Drop(record) => (
                upto(record),
                End::PeerMisbehaved,
                vec![],
                End::AlertReceived(20),
            ),
            Ending::Repeat(record) => (
                if record + 1 == sealed {
                    whole
                } else {
                    upto(record + 1)
                },
                End::PeerMisbehaved,
                vec![],
                End::AlertReceived(20),
            ),
            Ending::Swap if sealed == 1 => (whole, End::WantsMore, vec![], End::WantsMore),
            Ending::Swap => (vec![], End::PeerMisbehaved, vec![], End::AlertReceived(20)),
            Ending::Cut(_) => (upto(sealed - 1), End::Ragged, vec![], End::WantsMore),
        };
        vec![(receiver, data, end), (sender, late, answer)]
    }
}

fn traffic(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let scenario = Scenario::new(seed);
        let expected = scenario.expected();
        for layers in PAIRS {
            assert!(
                scenario.run(layers) == expected,
                "seed {seed}, client and server {layers:?}, cipher {}, ending {:?}",
                scenario.cipher,
                scenario.ending
            );
        }
    }
}

#[test]
fn the_same_arrives_whoever_protects_the_records() {
    traffic(0..400);
}

#[test]
#[ignore = "minutes: make soak"]
fn the_same_arrives_whoever_protects_the_records_again_and_again() {
    traffic(1_000_000..1_250_000);
}

/// As an answer would, which nobody waits for here: rustls takes no more than 32 without data.
#[test]
fn a_silent_side_may_be_asked_for_new_keys_again_and_again() {
    for layers in PAIRS {
        let mut tied = Tied::new(&CONFIGS[0], layers, Cut::Whole);
        for _ in 0..100 {
            tied.update_first(Role::Server, true);
            let (at_client, _) = tied.pair.exchange(b"", b"data");
            assert_eq!(at_client, b"data");
        }
        let (_, at_server) = tied.pair.exchange(b"at last", b"");
        assert_eq!(at_server, b"at last");
    }
}
