//! A record layer under test, and its peer, which seals and opens on aws-lc-rs directly and may do
//! all that is forbidden.
//!
//! Keys are made of a side and a number, so that every run is the same.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use polytls_core::config::Version;
use polytls_core::{
    Alert, Connection, Error, Facts, Inbound, Outbound, Progress, Role, Session, Sink,
};
use polytls_records::{Cipher, KeySource, RecordLayer, TrafficKeys};

pub(crate) mod operations;

pub(crate) const HEADER: usize = 5;
pub(crate) const TAG: usize = 16;
/// The most content of one record.
pub(crate) const FULL: usize = 1 << 14;

pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const DATA: u8 = 23;

pub(crate) const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
pub(crate) const KEY_UPDATE_ASKING: [u8; 5] = [24, 0, 0, 1, 1];
pub(crate) const CLOSE_NOTIFY: [u8; 2] = [1, 0];

pub(crate) const CIPHERS: [Cipher; 3] = [
    Cipher::Aes128Gcm,
    Cipher::Aes256Gcm,
    Cipher::Chacha20Poly1305,
];

const fn algorithm(cipher: Cipher) -> &'static Algorithm {
    match cipher {
        Cipher::Aes128Gcm => &AES_128_GCM,
        Cipher::Aes256Gcm => &AES_256_GCM,
        Cipher::Chacha20Poly1305 => &CHACHA20_POLY1305,
    }
}

/// Who seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Theirs,
}

/// The keys that `side` seals with after `generation` key updates.
pub(crate) fn keys(cipher: Cipher, side: Side, generation: u8, sequence: u64) -> TrafficKeys {
    let key = |index: u8| {
        let mixed = index
            .wrapping_mul(31)
            .wrapping_add(generation.wrapping_mul(7));
        mixed ^ (side as u8 + 1) << 6
    };
    TrafficKeys {
        cipher,
        key: (0..)
            .take(algorithm(cipher).key_len())
            .map(key)
            .collect::<Vec<u8>>()
            .into(),
        iv: std::array::from_fn(|index| !key(index as u8)).into(),
        sequence,
    }
}

/// What a library saw and did, and what it is told to do.
#[derive(Debug, Default)]
pub(crate) struct Library {
    pub(crate) tickets: Vec<Vec<u8>>,
    /// Tickets are answered with this.
    pub(crate) refuses_tickets: Option<(Alert, Error)>,
    /// There are no later keys.
    pub(crate) refuses_keys: bool,
    /// How many key updates there were, ours and theirs.
    pub(crate) sending: u8,
    pub(crate) receiving: u8,
    /// The next write begins with a key update, which asks for one or not.
    pub(crate) update_first: Option<bool>,
    /// What the layer keeps of an incomplete message.
    pub(crate) kept: usize,
}

struct Source {
    cipher: Cipher,
    library: Arc<Mutex<Library>>,
}

impl Source {
    fn next(
        &self,
        side: Side,
        count: impl FnOnce(&mut Library) -> &mut u8,
    ) -> Result<TrafficKeys, Error> {
        let mut library = self.library.lock().unwrap();
        if library.refuses_keys {
            return Err(Error::Internal("no more keys".to_owned()));
        }
        let generation = count(&mut library);
        *generation = generation.wrapping_add(1);
        Ok(keys(self.cipher, side, *generation, 0))
    }
}

impl KeySource for Source {
    fn next_sending(&mut self) -> Result<TrafficKeys, Error> {
        self.next(Side::Ours, |library| &mut library.sending)
    }

    fn next_receiving(&mut self) -> Result<TrafficKeys, Error> {
        self.next(Side::Theirs, |library| &mut library.receiving)
    }

    fn ticket(&mut self, body: &[u8]) -> Result<(), (Alert, Error)> {
        let mut library = self.library.lock().unwrap();
        library.tickets.push(body.to_vec());
        library.refuses_tickets.clone().map_or(Ok(()), Err)
    }
}

/// A session that never had a handshake.
struct Established {
    layer: RecordLayer<Source>,
    library: Arc<Mutex<Library>>,
}

impl Session for Established {
    fn is_handshaking(&self) -> bool {
        false
    }

    fn receive(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        let received = self.layer.receive(inbound.bytes(), plaintext, out);
        self.library.lock().unwrap().kept = self.layer.kept();
        received
    }

    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error> {
        let update_first = self.library.lock().unwrap().update_first.take();
        if let Some(ask_peer) = update_first {
            self.layer.update_sending(ask_peer, out)?;
        }
        self.layer.seal(plaintext, out)
    }

    fn overhead(&self) -> usize {
        polytls_records::OVERHEAD
    }

    fn sealed_len(&self, plaintext: usize) -> Option<usize> {
        let update_is_due = self.library.lock().unwrap().update_first.is_some();
        (!update_is_due).then(|| self.layer.sealed_len(plaintext))?
    }

    fn seal_into(&mut self, plaintext: &[u8], into: &mut [u8]) -> Result<(), Error> {
        self.layer.seal_into(plaintext, into)
    }

    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error> {
        self.layer.close(out)?;
        Ok(Progress::default())
    }

    fn send_alert(&mut self, alert: Alert, _: &[u8], out: &mut Outbound) -> Result<(), Error> {
        self.layer.send_alert(alert, out)
    }

    fn version(&self) -> Option<Version> {
        Some(Version::Tls13)
    }

    fn facts(&self) -> Facts {
        Facts {
            version: 0x0304,
            ..Facts::default()
        }
    }
}

/// One direction's keys in the hands of the peer.
pub(crate) struct Sealer {
    keys: TrafficKeys,
    side: Side,
    generation: u8,
}

impl Sealer {
    fn new(cipher: Cipher, side: Side, sequence: u64) -> Self {
        Self {
            keys: keys(cipher, side, 0, sequence),
            side,
            generation: 0,
        }
    }

    pub(crate) const fn sequence(&self) -> u64 {
        self.keys.sequence
    }

    pub(crate) const fn generation(&self) -> u8 {
        self.generation
    }

    /// Changes the keys.
    pub(crate) fn update(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.keys = keys(self.keys.cipher, self.side, self.generation, 0);
    }

    fn next(&mut self) -> (LessSafeKey, Nonce) {
        let key = UnboundKey::new(algorithm(self.keys.cipher), &self.keys.key).unwrap();
        // RFC 8446 section 5.3, not the way the crate does it.
        let iv = self
            .keys
            .iv
            .iter()
            .fold(0_u128, |iv, byte| iv << 8 | u128::from(*byte));
        let nonce = iv ^ u128::from(self.keys.sequence);
        self.keys.sequence = self.keys.sequence.wrapping_add(1);
        let nonce = Nonce::try_assume_unique_for_key(&nonce.to_be_bytes()[4..]).unwrap();
        (LessSafeKey::new(key), nonce)
    }

    /// A record with any header type and any inner plaintext.
    pub(crate) fn any(&mut self, outer: u8, inner: &[u8]) -> Vec<u8> {
        let (key, nonce) = self.next();
        let length = u16::try_from(inner.len() + TAG).unwrap();
        let mut record = vec![outer, 3, 3];
        record.extend(length.to_be_bytes());
        let mut sealed = inner.to_vec();
        key.seal_in_place_append_tag(nonce, Aad::from(&record), &mut sealed)
            .unwrap();
        record.extend(sealed);
        record
    }

    /// A record of content, its type and padding.
    pub(crate) fn padded(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let inner = [content, &[kind], &vec![0; padding]].concat();
        self.any(DATA, &inner)
    }

    pub(crate) fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        self.padded(kind, content, 0)
    }

    /// A key update; what is sealed from then on is sealed with new keys.
    pub(crate) fn key_update(&mut self, asks: bool) -> Vec<u8> {
        let record = self.record(
            HANDSHAKE,
            if asks {
                &KEY_UPDATE_ASKING
            } else {
                &KEY_UPDATE
            },
        );
        self.update();
        record
    }

    /// Opens one record; `None` if it does not open.
    pub(crate) fn open(&mut self, record: &[u8]) -> Option<(u8, Vec<u8>)> {
        let (key, nonce) = self.next();
        let (header, sealed) = record.split_at(HEADER);
        let mut inner = sealed.to_vec();
        let inner = key
            .open_in_place(nonce, Aad::from(header), &mut inner)
            .ok()?;
        let end = inner.iter().rposition(|byte| *byte != 0)?;
        Some((inner[end], inner[..end].to_vec()))
    }
}

/// Cuts whole records out of a stream.
pub(crate) fn split(stream: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let length = HEADER + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
        let (record, behind) = rest.split_at(length);
        records.push(record);
        rest = behind;
    }
    records
}

/// A connection over our record layer, and its peer.
pub(crate) struct Scene {
    pub(crate) ours: Connection,
    pub(crate) library: Arc<Mutex<Library>>,
    /// Seals for us.
    pub(crate) peer: Sealer,
    /// Opens what we sealed.
    pub(crate) opener: Sealer,
}

impl Scene {
    pub(crate) fn new(cipher: Cipher, is_client: bool) -> Self {
        Self::at(cipher, is_client, 0, 0)
    }

    /// The same, with so many records sealed and opened before.
    pub(crate) fn at(cipher: Cipher, is_client: bool, sealed: u64, opened: u64) -> Self {
        let library = Arc::new(Mutex::new(Library::default()));
        let source = Source {
            cipher,
            library: Arc::clone(&library),
        };
        let layer = RecordLayer::new(
            source,
            &keys(cipher, Side::Ours, 0, sealed),
            &keys(cipher, Side::Theirs, 0, opened),
            is_client,
        )
        .unwrap();
        let session = Established {
            layer,
            library: Arc::clone(&library),
        };
        // Whatever the layer is: a connection of a client asks for a first flight.
        let ours = Connection::new(Box::new(session), Role::Server);
        Self {
            ours,
            library,
            peer: Sealer::new(cipher, Side::Theirs, opened),
            opener: Sealer::new(cipher, Side::Ours, sealed),
        }
    }

    pub(crate) fn give(&mut self, stream: &[u8]) {
        if !stream.is_empty() {
            self.ours.process_incoming(stream).unwrap();
        }
    }

    /// One record from the peer.
    pub(crate) fn send(&mut self, kind: u8, content: &[u8]) {
        let record = self.peer.record(kind, content);
        self.give(&record);
    }

    /// Reads into buffers of `size` until something ends it, and says what.
    pub(crate) fn read_all(&mut self, size: usize) -> (Vec<u8>, Result<(), Error>) {
        let mut all = Vec::new();
        loop {
            let mut buffer = vec![0xee; size];
            match self.ours.read(&mut buffer) {
                Ok(0) => return (all, Ok(())),
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(error) => return (all, Err(error)),
            }
        }
    }

    /// What we sent, record by record; the keys are changed where it says so.
    pub(crate) fn sent(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut stream = vec![0; self.ours.outgoing_len()];
        self.ours.drain_into(&mut stream);
        let mut contents = Vec::new();
        for record in split(&stream) {
            assert_eq!(record[..3], [DATA, 3, 3], "the header of all records");
            let (kind, content) = self.opener.open(record).expect("the next sequence number");
            if kind == HANDSHAKE {
                assert!(content == KEY_UPDATE || content == KEY_UPDATE_ASKING);
                self.opener.update();
            }
            contents.push((kind, content));
        }
        contents
    }

    pub(crate) fn library(&self) -> std::sync::MutexGuard<'_, Library> {
        self.library.lock().unwrap()
    }
}

/// The record that a fatal alert is.
pub(crate) fn fatal(alert: u8) -> (u8, Vec<u8>) {
    (ALERT, vec![2, alert])
}
