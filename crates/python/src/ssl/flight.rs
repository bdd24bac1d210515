//! What OpenSSL has written or was shown, as far as it is in the clear.

use polytls_core::records;

const HEADER: usize = 5;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// The level of an alert that ends the connection.
const FATAL: u8 = 2;
/// The type of a handshake message (RFC 8446 section 4).
const CLIENT_HELLO: u8 = 1;

/// The longest alert of TLS 1.3 without padding: header, level and number, content type, tag. No flight of
/// a handshake ends in so short a record: Finished has 32 bytes or more.
const LONGEST_SEALED_ALERT: usize = HEADER + 2 + 1 + 16;

/// The number of a fatal alert that is not encrypted; `None` if `record` is anything else. Encrypted alerts are
/// longer than two bytes, in every version.
pub(crate) fn plain_alert(record: &[u8]) -> Option<u8> {
    match record {
        [ALERT, _, _, _, _, FATAL, number] => Some(*number),
        _ => None,
    }
}

/// Whether whole records of a client hold a `ClientHello` and nothing that comes after it. The second
/// `ClientHello`, after `HelloRetryRequest`, follows `ChangeCipherSpec` (RFC 8446 appendix D.4).
pub(crate) fn is_only_hello(flight: &[u8]) -> bool {
    let mut messages = Vec::new();
    for record in records(flight) {
        match record[0] {
            HANDSHAKE => messages.extend_from_slice(&record[HEADER..]),
            CHANGE_CIPHER_SPEC | ALERT => {}
            _ => return false,
        }
    }
    match messages.as_slice() {
        [] => true,
        [CLIENT_HELLO, high, middle, low, rest @ ..] => {
            rest.len() == usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low)
        }
        _ => false,
    }
}

/// The alert, plain or encrypted, that whole records end with; nothing if they do not.
pub(crate) fn last_alert(flight: &[u8]) -> &[u8] {
    let last = records(flight).last().unwrap_or_default();
    match last {
        [ALERT, ..] => last,
        [APPLICATION_DATA, ..] if last.len() <= LONGEST_SEALED_ALERT => last,
        _ => &[],
    }
}

/// Whether `record` begins with a whole `ClientHello` that offers TLS 1.3 (RFC 8446 section 4.2.1): a server
/// that speaks it then speaks no other version. `false` also where that cannot be told.
pub(crate) fn offers_tls13(record: &[u8]) -> bool {
    hello_offers_tls13(record).unwrap_or(false)
}

fn hello_offers_tls13(record: &[u8]) -> Option<bool> {
    const SUPPORTED_VERSIONS: usize = 43;
    const TLS13: [u8; 2] = [3, 4];
    let (HANDSHAKE, mut rest) = (*record.first()?, record.get(HEADER..)?) else {
        return None;
    };
    if take(&mut rest, 1)? != [CLIENT_HELLO] {
        return None;
    }
    let mut hello = prefixed(&mut rest, 3)?;
    take(&mut hello, 2 + 32)?; // Version and random.
    prefixed(&mut hello, 1)?; // The session's id.
    prefixed(&mut hello, 2)?; // Suites.
    prefixed(&mut hello, 1)?; // Compression.
    let mut extensions = prefixed(&mut hello, 2)?;
    while !extensions.is_empty() {
        let kind = number(take(&mut extensions, 2)?);
        let mut content = prefixed(&mut extensions, 2)?;
        if kind == SUPPORTED_VERSIONS {
            let versions = prefixed(&mut content, 1)?;
            return Some(versions.chunks_exact(2).any(|version| version == TLS13));
        }
    }
    Some(false)
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(taken)
}

/// What follows its length, which has so many bytes.
fn prefixed<'a>(from: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let length = number(take(from, size)?);
    take(from, length)
}
