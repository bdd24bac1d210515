//! The record header (RFC 8446 section 5.1), as far as framing needs it.

/// The most plaintext one record holds.
pub const MAX_FRAGMENT: usize = 1 << 14;
/// The longest record: header, and a TLS 1.2 ciphertext (RFC 5246 section 6.2.3).
pub const MAX_RECORD: usize = HEADER + MAX_FRAGMENT + 2048;

pub(crate) const HEADER: usize = 5;

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// Not a whole record yet.
    Partial,
    /// A whole record of this length, header included.
    Record(usize),
    /// No record of TLS 1.0 to 1.3 begins like this.
    Malformed,
}

pub(crate) fn front(bytes: &[u8]) -> Front {
    let Some(&[kind, major, _, high, low]) = bytes.first_chunk::<HEADER>() else {
        return Front::Partial;
    };
    let length = HEADER + usize::from(u16::from_be_bytes([high, low]));
    if !(20..=24).contains(&kind) || major != 3 || length > MAX_RECORD {
        Front::Malformed
    } else if bytes.len() < length {
        Front::Partial
    } else {
        Front::Record(length)
    }
}

/// The whole records that `bytes` begins with, each with its header.
pub fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let Front::Record(length) = front(bytes) else {
            return None;
        };
        let (record, rest) = bytes.split_at(length);
        bytes = rest;
        Some(record)
    })
}

/// How much has to follow `bytes` until the header, or else the record that it begins, is whole.
pub(crate) fn lacking(bytes: &[u8]) -> usize {
    let length = match bytes.first_chunk::<HEADER>() {
        Some(&[.., high, low]) => HEADER + usize::from(u16::from_be_bytes([high, low])),
        None => HEADER,
    };
    length.saturating_sub(bytes.len())
}

/// Says what `bytes`, which came first on a connection and do not begin a record, look like.
/// `None`: it is TLS, only wrong.
pub(crate) fn describe_foreign(bytes: &[u8]) -> Option<String> {
    const KNOWN: &[(&[u8], &str)] = &[
        (b"HTTP/", "the peer answered in plain HTTP"),
        (b"GET ", "the peer sent a plain HTTP request"),
        (b"POST ", "the peer sent a plain HTTP request"),
        (b"HEAD ", "the peer sent a plain HTTP request"),
        (b"PUT ", "the peer sent a plain HTTP request"),
        (b"OPTIO", "the peer sent a plain HTTP request"),
        (b"CONNE", "the peer sent a plain HTTP request"),
        (b"PRI *", "the peer sent plain HTTP/2"),
        (b"SSH-", "the peer speaks SSH"),
        (
            b"220 ",
            "the peer greets in plain SMTP or FTP; TLS begins there after STARTTLS or AUTH TLS",
        ),
        (
            b"220-",
            "the peer greets in plain SMTP or FTP; TLS begins there after STARTTLS or AUTH TLS",
        ),
        (
            b"* OK",
            "the peer greets in plain IMAP; TLS begins there after STARTTLS",
        ),
        (
            b"+OK",
            "the peer greets in plain POP3; TLS begins there after STLS",
        ),
    ];
    if let Some((_, what)) = KNOWN.iter().find(|(prefix, _)| bytes.starts_with(prefix)) {
        return Some((*what).to_owned());
    }
    // A handshake or alert record of some length: a TLS peer that got the header wrong.
    if matches!(bytes, [21 | 22, 3, ..]) {
        return None;
    }
    let shown: Vec<String> = bytes
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Some(format!(
        "the peer does not speak TLS; its first bytes are {}",
        shown.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_judged_as_soon_as_it_is_whole() {
        assert_eq!(front(&[22, 3, 1, 0]), Front::Partial);
        assert_eq!(front(&[22, 3, 1, 0, 1]), Front::Partial);
        assert_eq!(front(&[22, 3, 1, 0, 1, 9, 9]), Front::Record(6));
        assert_eq!(front(&[22, 2, 1, 0, 1, 9]), Front::Malformed);
        assert_eq!(front(&[19, 3, 1, 0, 1, 9]), Front::Malformed);
        assert_eq!(front(&[23, 3, 3, 0x48, 0]), Front::Partial);
        assert_eq!(front(&[23, 3, 3, 0x48, 1]), Front::Malformed);
    }

    #[test]
    fn plain_protocols_are_named() {
        assert!(describe_foreign(b"HTTP/1.1 400").is_some_and(|s| s.contains("plain HTTP")));
        assert!(describe_foreign(b"\x00\x01\x02\x03\x04").is_some_and(|s| s.contains("00 01 02")));
        assert_eq!(describe_foreign(&[22, 3, 1, 0xff, 0xff]), None);
    }
}
