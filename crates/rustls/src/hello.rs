//! ClientHello and ServerHello (RFC 8446 sections 4.1.2 and 4.1.3) as they pass by: what rustls does not
//! tell of them, and what it lets pass.

use polytls_core::hello::{self, ClientHello, extension, split};
use polytls_core::{Alert, Error};

const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;

const SSL3: u16 = 0x0300;
const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;

const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const EXTENDED_MASTER_SECRET: u16 = 23;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;
const CERTIFICATE_AUTHORITIES: u16 = 47;
const KEY_SHARE: u16 = 51;

/// What is wrong with a hello, and the alert for it.
pub(crate) type Refusal = (Alert, Error);

fn misbehaved(alert: Alert, what: &str) -> Refusal {
    (alert, Error::PeerMisbehaved(what.to_owned()))
}

/// What one side has seen of them.
#[derive(Debug)]
pub(crate) struct Hellos {
    /// Whether this side does.
    speaks_tls13: bool,
    /// What has come of a ClientHello that is not answered; `None`: no other comes. rustls moves what it is
    /// shown, so it is copied from each record as that comes (servers).
    coming: Option<Vec<u8>>,
    /// What our ClientHello had (clients).
    session_id: Option<Vec<u8>>,
}

impl Hellos {
    pub(crate) const fn new(speaks_tls13: bool) -> Self {
        Self {
            speaks_tls13,
            coming: Some(Vec::new()),
            session_id: None,
        }
    }

    // --- servers ---

    /// A record has come, which may be the last of a ClientHello.
    pub(crate) fn comes(&mut self, record: &[u8]) -> Result<(), Refusal> {
        if let Some(message) = &mut self.coming
            && record.first() == Some(&HANDSHAKE)
        {
            message.extend(record.iter().skip(5));
            if let Some(hello) = ClientHello::of_message(message) {
                return judge(&hello, self.speaks_tls13);
            }
        }
        Ok(())
    }

    /// What has come was answered, by HelloRetryRequest or not. Says whether it offered early data.
    pub(crate) fn answered(&mut self, retry: bool) -> bool {
        let hello = std::mem::replace(&mut self.coming, retry.then(Vec::new));
        let hello = hello.as_deref().and_then(ClientHello::of_message);
        hello.is_some_and(|hello| hello.extension(EARLY_DATA).is_some())
    }

    // --- clients ---

    /// Our first flight.
    pub(crate) fn was_sent(&mut self, flight: &[u8]) {
        if self.session_id.is_none() && self.speaks_tls13 {
            let hello = of_record(flight);
            self.session_id = hello.map(|hello| hello.session_id.to_vec());
        }
    }

    /// The server's answer.
    pub(crate) fn was_answered(&self, hello: &ServerHello) -> Result<(), Refusal> {
        let sent = self.session_id.as_deref();
        sent.map_or(Ok(()), |session_id| hello.judge(session_id))
    }
}

/// The ClientHello in the record that `flight` begins with.
fn of_record(flight: &[u8]) -> Option<ClientHello<'_>> {
    ClientHello::of_message(flight.strip_prefix(&[HANDSHAKE])?.get(4..)?)
}

/// What is wrong with a ClientHello, where rustls 0.23 does not say so, or not as the RFC has it;
/// `speaks_tls13` is what the server does.
fn judge(hello: &ClientHello<'_>, speaks_tls13: bool) -> Result<(), Refusal> {
    let versions = hello.extension(SUPPORTED_VERSIONS);
    // RFC 8446 appendix D.5, and D.2: rustls misses an extension first, which came with TLS 1.2.
    if hello.version <= SSL3 || (hello.version < TLS12 && versions.is_none()) {
        let what = "the client supports only TLS 1.1 or older".to_owned();
        return Err((Alert::PROTOCOL_VERSION, Error::PeerIncompatible(what)));
    }
    // RFC 8446 section 4.2.4: at least one.
    if hello.extension(CERTIFICATE_AUTHORITIES) == Some(&[0, 0]) {
        let what = "certificate_authorities is empty";
        return Err(misbehaved(Alert::DECODE_ERROR, what));
    }
    let offers_tls13 = versions
        .and_then(split::<1>)
        .is_some_and(|(listed, _)| listed.chunks(2).any(|one| one == TLS13.to_be_bytes()));
    if speaks_tls13 && offers_tls13 && lacks_an_extension(hello) {
        let what = "an extension required by TLS 1.3 is missing".to_owned();
        return Err((Alert::MISSING_EXTENSION, Error::PeerIncompatible(what)));
    }
    Ok(())
}

/// RFC 8446 section 9.2.
fn lacks_an_extension(hello: &ClientHello<'_>) -> bool {
    let has = |kind| hello.extension(kind).is_some();
    let groups = has(SUPPORTED_GROUPS);
    let authenticates = has(SIGNATURE_ALGORITHMS) && groups;
    (!authenticates && !has(PRE_SHARED_KEY)) || groups != has(KEY_SHARE)
}

/// What is of interest of a ServerHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerHello {
    pub(crate) random: [u8; 32],
    pub(crate) session_id: Vec<u8>,
    /// What supported_versions says.
    pub(crate) selected: Option<Vec<u8>>,
    /// RFC 7627.
    pub(crate) extended_master_secret: bool,
}

impl ServerHello {
    /// Reads it from the records that begin with it; `None` if they do not, or do not hold it whole.
    pub(crate) fn of(mut records: &[u8]) -> Option<Self> {
        let mut message = Vec::new();
        loop {
            let (header, rest) = records.split_first_chunk::<5>()?;
            let &[HANDSHAKE, _, _, high, low] = header else {
                return None;
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            message.extend(rest.get(..length)?);
            if *message.first()? != SERVER_HELLO {
                return None;
            }
            if let Some((body, _)) = split::<3>(&message[1..]) {
                return Self::of_body(body);
            }
            records = &rest[length..];
        }
    }

    fn of_body(body: &[u8]) -> Option<Self> {
        let hello = hello::ServerHello::of_body(body)?;
        Some(Self {
            random: hello.random,
            session_id: hello.session_id.to_vec(),
            selected: hello.extension(SUPPORTED_VERSIONS).map(<[u8]>::to_vec),
            extended_master_secret: hello.extension(EXTENDED_MASTER_SECRET).is_some(),
        })
    }

    /// What is wrong with it, where rustls 0.23 does not say so, or not as the RFC has it: the client speaks
    /// TLS 1.3, and has sent this session id.
    fn judge(&self, session_id: &[u8]) -> Result<(), Refusal> {
        let Some(selected) = &self.selected else {
            return Ok(());
        };
        // RFC 8446 section 4.2.1.
        if *selected != TLS13.to_be_bytes() {
            let what = "the server chose a version that was not offered";
            return Err(misbehaved(Alert::ILLEGAL_PARAMETER, what));
        }
        // RFC 8446 section 4.1.3.
        if self.session_id != session_id {
            let what = "the server did not echo the session ID";
            return Err(misbehaved(Alert::ILLEGAL_PARAMETER, what));
        }
        Ok(())
    }
}

/// Whether EncryptedExtensions, which are this message, have early data.
pub(crate) fn accepts_early_data(message: &[u8]) -> Option<bool> {
    const ENCRYPTED_EXTENSIONS: u8 = 8;
    let message = message.strip_prefix(&[ENCRYPTED_EXTENSIONS])?;
    let (extensions, _) = split::<2>(message.get(3..)?)?;
    Some(extension(extensions, EARLY_DATA).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT_HELLO: u8 = 1;

    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let [.., high, low] = content.len().to_be_bytes();
        [&[kind, 3, 3, high, low], content].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let [.., high, low] = body.len().to_be_bytes();
        [&[kind, 0, high, low], body].concat()
    }

    fn client_hello(version: u16, extensions: &[u8]) -> Vec<u8> {
        let [.., high, low] = extensions.len().to_be_bytes();
        let mut body = version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.extend([2, 9, 9, 0, 2, 0x13, 1, 1, 0, high, low]);
        body.extend(extensions);
        message(CLIENT_HELLO, &body)
    }

    #[test]
    fn an_offer_is_found_in_a_hello_of_any_pieces_and_in_nothing_else() {
        let offers = |hello: &[u8], piece| {
            let mut hellos = Hellos::new(true);
            for piece in hello.chunks(piece) {
                let _ = hellos.comes(&record(HANDSHAKE, piece));
                // Not of what is none of it.
                assert!(hellos.comes(&record(20, &[1])).is_ok());
            }
            hellos.answered(false)
        };
        let with = client_hello(TLS12, &[0, 23, 0, 0, 0, 42, 0, 0]);
        // Not in what belongs to another extension.
        let without = client_hello(TLS12, &[0, 23, 0, 4, 0, 42, 0, 0]);
        for piece in [1, 7, with.len()] {
            assert!(offers(&with, piece));
            assert!(!offers(&without, piece));
        }
        for end in 0..with.len() {
            assert!(!offers(&with[..end], 7), "{end}");
        }
        for at in 0..with.len() {
            let mut garbled = with.clone();
            garbled[at] ^= 0x80;
            // Whatever it says, it does not panic.
            let _ = offers(&garbled, 7);
        }
    }

    #[test]
    fn a_client_hello_is_looked_for_until_it_is_answered() {
        let old = record(HANDSHAKE, &client_hello(0x0302, &[]));
        for retry in [true, false] {
            let mut hellos = Hellos::new(true);
            assert_eq!(
                hellos.comes(&record(HANDSHAKE, &client_hello(TLS12, &[]))),
                Ok(())
            );
            assert!(!hellos.answered(retry));
            assert_eq!(hellos.comes(&old).is_err(), retry);
        }
    }

    #[test]
    fn a_server_hello_answers_the_client_hello() {
        let mut hellos = Hellos::new(true);
        let hello = |session_id: &[u8], selected: Option<u16>| ServerHello {
            session_id: session_id.to_vec(),
            selected: selected.map(|version| version.to_be_bytes().to_vec()),
            ..ServerHello::default()
        };
        hellos.was_sent(&record(HANDSHAKE, &client_hello(TLS12, &[])));
        let judge = |hello| hellos.was_answered(&hello).map_err(|(alert, _)| alert);
        let wrong = Err(Alert::ILLEGAL_PARAMETER);
        assert_eq!(judge(hello(&[9, 9], Some(TLS13))), Ok(()));
        assert_eq!(judge(hello(&[9, 9], Some(TLS12))), wrong);
        assert_eq!(judge(hello(&[9, 8], Some(TLS13))), wrong);
        // TLS 1.2 has ids of its own.
        assert_eq!(judge(hello(&[1], None)), Ok(()));
    }

    /// Extensions of these kinds, with nothing in them but what the kind needs.
    fn of_kinds(kinds: &[u16]) -> Vec<u8> {
        let one = |kind: &u16| {
            let content: &[u8] = match *kind {
                SUPPORTED_VERSIONS => &[2, 3, 4],
                _ => &[],
            };
            let [.., high, low] = content.len().to_be_bytes();
            [&kind.to_be_bytes()[..], &[high, low], content].concat()
        };
        kinds.iter().flat_map(one).collect()
    }

    #[test]
    fn what_tls13_needs_is_missed_in_tls13_alone() {
        const ALL: [u16; 4] = [
            SUPPORTED_VERSIONS,
            SUPPORTED_GROUPS,
            SIGNATURE_ALGORITHMS,
            KEY_SHARE,
        ];
        let judge = |kinds: &[u16], speaks_tls13| {
            let hello = client_hello(TLS12, &of_kinds(kinds));
            let hello = ClientHello::of_message(&hello).expect("a hello");
            super::judge(&hello, speaks_tls13).map_err(|(alert, _)| alert)
        };
        let missing = Err(Alert::MISSING_EXTENSION);
        assert_eq!(judge(&ALL, true), Ok(()));
        for (index, left_out) in ALL.iter().enumerate().skip(1) {
            let mut kinds = ALL.to_vec();
            kinds.remove(index);
            assert_eq!(judge(&kinds, true), missing, "{left_out}");
            assert_eq!(judge(&kinds, false), Ok(()));
            assert_eq!(judge(&kinds[1..], true), Ok(()));
            // A pre-shared key needs no signature, but a group needs a key.
            kinds.push(PRE_SHARED_KEY);
            let has_pairs = *left_out == SIGNATURE_ALGORITHMS;
            let expected = if has_pairs { Ok(()) } else { missing };
            assert_eq!(judge(&kinds, true), expected, "{left_out}");
        }
        let alone = [SUPPORTED_VERSIONS, PRE_SHARED_KEY];
        assert_eq!(judge(&alone, true), Ok(()));
    }

    #[test]
    fn a_server_hello_is_read_in_pieces_and_malformed_ones_are_none() {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(2);
        body.extend([9, 9, 0xc0, 0x2b, 0, 0, 9, 0xff, 1, 0, 1, 0, 0, 0x17, 0, 0]);
        let message = message(SERVER_HELLO, &body);
        let found = ServerHello {
            random: [7; 32],
            session_id: vec![9, 9],
            selected: None,
            extended_master_secret: true,
        };
        assert_eq!(
            ServerHello::of(&record(HANDSHAKE, &message)),
            Some(found.clone())
        );
        let pieces: Vec<u8> = message
            .chunks(7)
            .flat_map(|piece| record(HANDSHAKE, piece))
            .collect();
        assert_eq!(ServerHello::of(&pieces), Some(found));
        for end in 0..pieces.len() {
            assert_eq!(ServerHello::of(&pieces[..end]), None);
        }
        for at in 0..pieces.len() {
            let mut garbled = pieces.clone();
            garbled[at] ^= 0x80;
            // Whatever it says, it does not panic.
            let _ = ServerHello::of(&garbled);
        }
    }
}
