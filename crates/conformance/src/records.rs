//! Ciphertext as an onlooker sees it: records, and the one message that is in the clear.

use std::ops::Range;

/// Record types (RFC 8446 section 5.1).
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

/// Extensions of ClientHello (RFC 8446 section 4.2).
pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
pub(crate) const SUPPORTED_VERSIONS: u16 = 43;
const PRE_SHARED_KEY: u16 = 41;

const HEADER: usize = 5;

/// The records in `flight`, which holds whole ones only.
pub(crate) fn split(flight: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut rest = flight;
    while !rest.is_empty() {
        let length = HEADER + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
        let (record, behind) = rest.split_at(length);
        records.push(record.to_vec());
        rest = behind;
    }
    records
}

/// A record in the clear.
pub(crate) fn plain(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a record's payload fits");
    let mut record = vec![kind, 3, 3];
    record.extend(length.to_be_bytes());
    record.extend(payload);
    record
}

/// The same messages in records of one byte each; records of other types are left as they are.
pub(crate) fn crumble(flight: &[u8]) -> Vec<u8> {
    split(flight)
        .iter()
        .flat_map(|record| {
            if record[0] == HANDSHAKE {
                record[HEADER..]
                    .iter()
                    .flat_map(|byte| plain(HANDSHAKE, &[*byte]))
                    .collect()
            } else {
                record.clone()
            }
        })
        .collect()
}

/// The handshake messages in a flight in the clear.
pub(crate) fn messages(flight: &[u8]) -> Vec<Vec<u8>> {
    let payload: Vec<u8> = split(flight)
        .iter()
        .flat_map(|record| record[HEADER..].to_vec())
        .collect();
    let mut rest = Reader(&payload);
    let mut messages = Vec::new();
    while let [_, a, b, c, ..] = *rest.0 {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        messages.push(rest.bytes(4 + length).to_vec());
    }
    messages
}

/// Where in `flight` the body of this extension of the ClientHello is, which must be in one
/// record (RFC 8446 section 4.1.2).
pub(crate) fn extension(flight: &[u8], wanted: u16) -> Option<Range<usize>> {
    // Message type and length, legacy_version, random.
    let mut hello = Reader(&flight[HEADER + 4 + 2 + 32..]);
    let _session_id = hello.vector(1);
    let _cipher_suites = hello.vector(2);
    let _compression_methods = hello.vector(1);
    let mut extensions = Reader(hello.vector(2));
    while !extensions.0.is_empty() {
        let kind = extensions.number(2);
        let body = extensions.vector(2);
        if kind == usize::from(wanted) {
            // The extensions are the last of the flight.
            let end = flight.len() - extensions.0.len();
            return Some(end - body.len()..end);
        }
    }
    None
}

/// The names of the tickets in the ClientHello that makes up `flight` (RFC 8446 section 4.2.11).
pub(crate) fn tickets_offered(flight: &[u8]) -> Vec<Vec<u8>> {
    let Some(body) = extension(flight, PRE_SHARED_KEY) else {
        return Vec::new();
    };
    let mut identities = Reader(Reader(&flight[body]).vector(2));
    let mut tickets = Vec::new();
    while !identities.0.is_empty() {
        tickets.push(identities.vector(2).to_vec());
        let _obfuscated_age = identities.number(4);
    }
    tickets
}

/// What a flight of our own making is read with; it panics on anything malformed.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self, width: usize) -> usize {
        self.bytes(width)
            .iter()
            .fold(0, |sum, byte| (sum << 8) | usize::from(*byte))
    }

    /// What follows its length, which is `width` bytes wide.
    fn vector(&mut self, width: usize) -> &'a [u8] {
        let length = self.number(width);
        self.bytes(length)
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }
}
