//! The record header (RFC 8446 section 5.1), as far as framing needs it.

use crate::alert::Alert;

/// The most plaintext one record holds.
pub const MAX_FRAGMENT: usize = 1 << 14;
/// The longest record: header, and a TLS 1.2 ciphertext (RFC 5246 section 6.2.3).
pub const MAX_RECORD: usize = HEADER + MAX_FRAGMENT + 2048;

pub(crate) const HEADER: usize = 5;

/// The first byte of all versions of TLS.
pub(crate) const MAJOR: u8 = 3;

const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;

/// What a connection has come to, as far as the limits of its records depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The handshake: what TLS 1.3 has encrypted says so by its type, and TLS 1.2 encrypts nothing but
    /// Finished.
    Handshake,
    /// After a handshake of TLS 1.2.
    Tls12,
    /// After a handshake of TLS 1.3.
    Tls13,
}

impl Stage {
    /// The most that a record of this type may hold (RFC 8446 sections 5.1 and 5.2, RFC 5246 section
    /// 6.2.3).
    const fn limit(self, kind: u8) -> usize {
        match self {
            Self::Tls12 => MAX_FRAGMENT + 2048,
            Self::Handshake if kind != APPLICATION_DATA => MAX_FRAGMENT,
            Self::Handshake | Self::Tls13 => MAX_FRAGMENT + 256,
        }
    }
}

/// What is at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// Not a whole record yet.
    Partial,
    /// A whole record of this length, header included.
    Record(usize),
    /// No record of TLS 1.0 to 1.3 begins like this.
    Malformed(Malformed),
}

/// What is wrong with the header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The content type is unknown.
    Type,
    /// Not a version of TLS.
    Version,
    /// More than the connection's [`Stage`] allows.
    Length,
}

impl Malformed {
    /// The alert for it: RFC 8446 section 5 for the type, 5.1 and 5.2 for the length.
    pub(crate) const fn alert(self) -> Alert {
        match self {
            Self::Type => Alert::UNEXPECTED_MESSAGE,
            Self::Version => Alert::PROTOCOL_VERSION,
            Self::Length => Alert::RECORD_OVERFLOW,
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Type => "unknown record type",
            Self::Version => "invalid record version",
            Self::Length => "record too large",
        }
    }
}

pub(crate) fn front(bytes: &[u8], stage: Stage) -> Front {
    let Some(&[kind, major, _, high, low]) = bytes.first_chunk::<HEADER>() else {
        return Front::Partial;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !(CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind) {
        Front::Malformed(Malformed::Type)
    } else if major != MAJOR {
        Front::Malformed(Malformed::Version)
    } else if length > stage.limit(kind) {
        Front::Malformed(Malformed::Length)
    } else if bytes.len() < HEADER + length {
        Front::Partial
    } else {
        Front::Record(HEADER + length)
    }
}

/// The most that is shown at once, but for the record that exceeds it.
const BATCH: usize = 8 * MAX_RECORD;

/// How long the whole records are that `bytes` begins with, of which the first has a length of `first`; or
/// that one, if it is not to be `many`.
pub(crate) fn batch(bytes: &[u8], first: usize, stage: Stage, many: bool) -> usize {
    let mut length = first;
    while many
        && length < BATCH
        && let Front::Record(next) = front(&bytes[length..], stage)
    {
        length += next;
    }
    length
}

/// The whole records that `bytes` begins with, each with its header.
pub fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let Front::Record(length) = front(bytes, Stage::Tls12) else {
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
        (b"SSH-", "the peer speaks SSH, not TLS"),
        (
            b"220 ",
            "the peer sent a plaintext SMTP or FTP greeting; start TLS with STARTTLS or AUTH TLS",
        ),
        (
            b"220-",
            "the peer sent a plaintext SMTP or FTP greeting; start TLS with STARTTLS or AUTH TLS",
        ),
        (
            b"* OK",
            "the peer sent a plaintext IMAP greeting; start TLS with STARTTLS",
        ),
        (
            b"+OK",
            "the peer sent a plaintext POP3 greeting; start TLS with STLS",
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
        let front = |bytes: &[u8]| front(bytes, Stage::Handshake);
        assert_eq!(front(&[22, 3, 1, 0]), Front::Partial);
        assert_eq!(front(&[22, 3, 1, 0, 1]), Front::Partial);
        assert_eq!(front(&[22, 3, 1, 0, 1, 9, 9]), Front::Record(6));
        for kind in [0, 19, 24, 255] {
            let found = front(&[kind, 3, 1, 0, 1, 9]);
            assert_eq!(found, Front::Malformed(Malformed::Type), "{kind}");
        }
        for version in [0, 2, 4] {
            let found = front(&[22, version, 1, 0, 1, 9]);
            assert_eq!(found, Front::Malformed(Malformed::Version), "{version}");
        }
    }

    #[test]
    fn a_record_may_be_as_long_as_the_stage_allows() {
        for (stage, kind, most) in [
            (Stage::Handshake, 20, 0x4000),
            (Stage::Handshake, 21, 0x4000),
            (Stage::Handshake, 22, 0x4000),
            (Stage::Handshake, 23, 0x4100),
            (Stage::Tls13, 22, 0x4100),
            (Stage::Tls13, 23, 0x4100),
            (Stage::Tls12, 22, 0x4800),
            (Stage::Tls12, 23, 0x4800_u16),
        ] {
            let begins = |length: u16| {
                let [high, low] = length.to_be_bytes();
                front(&[kind, 3, 3, high, low], stage)
            };
            assert_eq!(begins(most), Front::Partial, "{stage:?} {kind}");
            for length in [most + 1, 0xffff] {
                let found = Front::Malformed(Malformed::Length);
                assert_eq!(begins(length), found, "{stage:?} {kind}");
            }
        }
    }

    #[test]
    fn plain_protocols_are_named() {
        assert!(describe_foreign(b"HTTP/1.1 400").is_some_and(|s| s.contains("plain HTTP")));
        assert!(describe_foreign(b"\x00\x01\x02\x03\x04").is_some_and(|s| s.contains("00 01 02")));
        assert_eq!(describe_foreign(&[22, 3, 1, 0xff, 0xff]), None);
    }
}
