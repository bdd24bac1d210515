//! What a ClientHello says (RFC 8446 section 4.1.2), as far as it decides anything here. OpenSSL judges
//! whether it is right.

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const CERTIFICATE_AUTHORITIES: u16 = 47;

/// A ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The name that is asked for.
    pub(crate) name: Option<String>,
    pub(crate) suites: Vec<u16>,
    pub(crate) groups: Vec<u16>,
    /// Signature schemes.
    pub(crate) schemes: Vec<u16>,
    /// The names of CAs that the client trusts, in DER.
    pub(crate) authorities: Vec<Vec<u8>>,
}

/// Bytes that are read from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `size` bytes.
    fn number(&mut self, size: usize) -> Option<usize> {
        let bytes = self.take(size)?;
        Some(
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    }

    /// What follows its length, which has `size` bytes.
    fn vector(&mut self, size: usize) -> Option<Self> {
        let length = self.number(size)?;
        self.take(length).map(Self)
    }

    /// All that is left, as numbers of two bytes.
    fn numbers(&self) -> Vec<u16> {
        let pairs = self.0.chunks_exact(2);
        pairs
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect()
    }
}

impl Hello {
    /// Reads the message, from its type on; `None` if it is none.
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let mut message = Reader(message);
        if message.number(1)? != 1 {
            return None;
        }
        let mut body = message.vector(3)?;
        body.take(2 + 32)?;
        body.vector(1)?; // The session's id.
        let mut hello = Self {
            suites: body.vector(2)?.numbers(),
            ..Self::default()
        };
        body.vector(1)?; // Compression.
        if body.0.is_empty() {
            return Some(hello);
        }
        let mut extensions = body.vector(2)?;
        while !extensions.0.is_empty() {
            let kind = u16::try_from(extensions.number(2)?).ok()?;
            hello.extension(kind, extensions.vector(2)?)?;
        }
        Some(hello)
    }

    /// A message that OpenSSL has taken apart: its cipher suites, and what finds an extension by number.
    pub(crate) fn of<'a>(
        suites: &[u8],
        extension: impl Fn(u16) -> Option<&'a [u8]>,
    ) -> Option<Self> {
        let mut hello = Self {
            suites: Reader(suites).numbers(),
            ..Self::default()
        };
        for kind in [
            SERVER_NAME,
            SUPPORTED_GROUPS,
            SIGNATURE_ALGORITHMS,
            CERTIFICATE_AUTHORITIES,
        ] {
            if let Some(content) = extension(kind) {
                hello.extension(kind, Reader(content))?;
            }
        }
        Some(hello)
    }

    fn extension(&mut self, kind: u16, mut content: Reader<'_>) -> Option<()> {
        match kind {
            SERVER_NAME => self.name = name(content),
            SUPPORTED_GROUPS => self.groups = content.vector(2)?.numbers(),
            SIGNATURE_ALGORITHMS => self.schemes = content.vector(2)?.numbers(),
            CERTIFICATE_AUTHORITIES => {
                let mut names = content.vector(2)?;
                while !names.0.is_empty() {
                    self.authorities.push(names.vector(2)?.0.to_vec());
                }
            }
            _ => {}
        }
        Some(())
    }
}

/// The DNS name of a server_name extension (RFC 6066 section 3).
fn name(mut content: Reader<'_>) -> Option<String> {
    let mut names = content.vector(2)?;
    if names.number(1)? != 0 {
        return None;
    }
    let name = names.vector(2)?.0;
    let name = std::str::from_utf8(name).ok()?;
    (!name.is_empty() && name.is_ascii()).then(|| name.to_owned())
}

/// The certificates of a Certificate message, from its type on, leaf first (RFC 8446 section 4.4.2, RFC 5246
/// section 7.4.2), as far as they are whole.
pub(crate) fn certificates(message: &[u8], is_tls13: bool) -> Option<Vec<Vec<u8>>> {
    let mut message = Reader(message);
    if message.number(1)? != 11 {
        return None;
    }
    let mut body = message.vector(3)?;
    if is_tls13 {
        body.vector(1)?; // The request's context.
    }
    let mut entries = body.vector(3)?;
    let mut found = Vec::new();
    while !entries.0.is_empty() {
        found.push(entries.vector(3)?.0.to_vec());
        if is_tls13 {
            entries.vector(2)?; // Extensions.
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(size: usize, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32).to_be_bytes();
        [&length[4 - size..], content].concat()
    }

    fn hello() -> Vec<u8> {
        let extension =
            |kind: u16, content: &[u8]| [&kind.to_be_bytes()[..], &vector(2, content)].concat();
        let name = [&[0][..], &vector(2, b"a.example")].concat();
        let extensions = [
            extension(SERVER_NAME, &vector(2, &name)),
            extension(SUPPORTED_GROUPS, &vector(2, &[0, 29, 0, 23])),
            extension(99, b"?"),
            extension(SIGNATURE_ALGORITHMS, &vector(2, &[4, 3])),
            extension(CERTIFICATE_AUTHORITIES, &vector(2, &vector(2, &[0x30, 0]))),
        ]
        .concat();
        let body = [
            vec![3; 34],
            vector(1, &[7; 32]),
            vector(2, &[0x13, 1, 0xc0, 0x2b]),
            vector(1, &[0]),
            vector(2, &extensions),
        ]
        .concat();
        [&[1][..], &vector(3, &body)].concat()
    }

    #[test]
    fn what_a_client_hello_asks_for_is_read() {
        let expected = Hello {
            name: Some("a.example".to_owned()),
            suites: vec![0x1301, 0xc02b],
            groups: vec![29, 23],
            schemes: vec![0x0403],
            authorities: vec![vec![0x30, 0]],
        };
        assert_eq!(Hello::read(&hello()), Some(expected));
    }

    #[test]
    fn what_is_cut_is_nothing() {
        let whole = hello();
        for end in 0..whole.len() {
            assert_eq!(Hello::read(&whole[..end]), None, "{end}");
        }
    }

    #[test]
    fn certificates_are_read_in_both_forms() {
        let old = vector(3, &[vector(3, b"leaf"), vector(3, b"issuer")].concat());
        let entry = |der: &[u8]| [vector(3, der), vector(2, b"")].concat();
        let new = [
            vector(1, b""),
            vector(3, &[entry(b"leaf"), entry(b"issuer")].concat()),
        ]
        .concat();
        for (body, is_tls13) in [(old, false), (new, true)] {
            let message = [&[11][..], &vector(3, &body)].concat();
            let found = certificates(&message, is_tls13);
            assert_eq!(found, Some(vec![b"leaf".to_vec(), b"issuer".to_vec()]));
            assert_eq!(certificates(&message[..message.len() - 1], is_tls13), None);
        }
    }
}
