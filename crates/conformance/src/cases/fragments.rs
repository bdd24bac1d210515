//! Handshake messages that take several records (RFC 8446 section 5.1), before and after the
//! handshake is complete.
//!
//! Tickets come after the handshake of TLS 1.3. They take several records where a server puts the
//! client's long chain into them; where it does not, these cases see short ones, and pass.

use polytls_core::config::ClientAuthentication;
use polytls_core::{Error, INCOMING_LIMIT, Refused, Role};

use crate::credentials::HOST;
use crate::pair::{Cut, Pair};
use crate::records::{self, HANDSHAKE};
use crate::scene::{Engines, PORT, Scene};

pub(super) fn messages_in_records_of_one_byte_are_read(scene: &Scene<'_>) {
    let engines = scene.plain_engines();
    for cut in [Cut::Whole, Cut::Random(5)] {
        let mut pair = engines.pair(HOST, PORT).cut(cut);
        let mut crumbled = 0;
        let mut clear = [true; 2];
        let outcome = pair.handshake_through(&mut |from, flight| {
            // Only what is in the clear can be cut again; in TLS 1.2 that ends with
            // change_cipher_spec.
            let clear = &mut clear[usize::from(from == Role::Server)];
            records::split(&flight)
                .into_iter()
                .flat_map(|record| {
                    *clear &= record[0] != records::CHANGE_CIPHER_SPEC;
                    if *clear {
                        crumbled += 1;
                        records::crumble(&record)
                    } else {
                        record
                    }
                })
                .collect()
        });
        assert_eq!(
            (outcome.client, outcome.server),
            (Ok(()), Ok(())),
            "{cut:?}"
        );
        assert!(crumbled >= 2, "ClientHello and ServerHello at least");
        let arrived = pair.exchange(b"question", b"answer");
        assert_eq!(arrived, (b"answer".to_vec(), b"question".to_vec()));
    }
}

/// The start of a message of the most a length can say.
fn endless() -> impl Iterator<Item = u8> {
    [1, 0, 0xff, 0xff].into_iter().chain(std::iter::repeat(0))
}

pub(super) fn endless_messages_are_refused(scene: &Scene<'_>) {
    // In the smallest records, what is stored for each byte is the most; a length beyond all
    // sense must not be waited for either.
    let crumbs = endless().flat_map(|byte| records::plain(HANDSHAKE, &[byte]));
    let monster = [1, 0xff, 0xff, 0xff]
        .into_iter()
        .chain(std::iter::repeat(0));
    let monster: Vec<u8> = monster.take(16_000).collect();
    let monsters = std::iter::repeat_with(|| records::plain(HANDSHAKE, &monster)).flatten();
    let streams: [Vec<u8>; 2] = [
        crumbs.take(2 * INCOMING_LIMIT).collect(),
        monsters.take(2 * INCOMING_LIMIT).collect(),
    ];
    for stream in streams {
        for role in [Role::Client, Role::Server] {
            let mut pair = scene.plain_engines().pair(HOST, PORT);
            assert_eq!(pair.side(role).do_handshake(), Err(Error::WantRead));
            let mut pieces = stream.chunks(4000);
            let error = loop {
                let piece = pieces.next().expect("an end before the stream's");
                assert_ne!(
                    pair.side(role).process_incoming(piece),
                    Err(Refused::Full),
                    "stuck"
                );
                match pair.side(role).do_handshake() {
                    Err(Error::WantRead) => {}
                    Err(error) => break error,
                    Ok(()) => panic!("this is no handshake"),
                }
            };
            assert_is!(error, Error::PeerMisbehaved(_), "{role:?}");
        }
    }
}

/// A client whose chain is long, and a server that wants it.
fn long_engines(scene: &Scene<'_>) -> Engines {
    let mut client = scene.client_config();
    client.identities = vec![scene.credentials.long_client()];
    scene.engines(
        &client,
        &scene.asking_config(ClientAuthentication::Required),
    )
}

pub(super) fn long_chains_and_tickets_take_several_records(scene: &Scene<'_>) {
    let engines = long_engines(scene);
    let presented = scene.credentials.long_client().chain.len();
    for (round, cut) in [Cut::Whole, Cut::Random(1), Cut::Bytes]
        .into_iter()
        .enumerate()
    {
        let mut pair = engines.pair(HOST, PORT).cut(cut).connected();
        let arrived = pair.exchange(b"question", b"answer");
        assert_eq!(
            arrived,
            (b"answer".to_vec(), b"question".to_vec()),
            "{cut:?}"
        );
        let facts = pair.facts(Role::Server);
        assert_eq!(facts.peer_chain.len(), presented, "{cut:?}");
        assert_eq!(facts.resumed, round > 0, "{cut:?}");
    }
}

/// A pair whose client's handshake is complete, and the tickets, which it has not been given.
fn before_tickets(engines: &Engines) -> (Pair, Vec<u8>) {
    let mut pair = engines.pair(HOST, PORT);
    assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
    pair.pass(Role::Client);
    assert_eq!(pair.server.do_handshake(), Err(Error::WantRead));
    pair.pass(Role::Server);
    assert_eq!(pair.client.do_handshake(), Ok(()));
    for piece in pair.take(Role::Client).chunks(4096) {
        pair.give(Role::Server, piece);
    }
    assert_eq!(pair.server.do_handshake(), Ok(()));
    let tickets = pair.take(Role::Server);
    (pair, tickets)
}

pub(super) fn writing_at_every_byte_of_the_tickets(scene: &Scene<'_>) {
    let (mut pair, mut stream) = before_tickets(&long_engines(scene));
    assert_eq!(pair.server.write(b"data behind"), Ok(11));
    stream.extend(pair.take(Role::Server));
    let mut written = Vec::new();
    let mut read = Vec::new();
    let mut buffer = [0; 64];
    for (index, byte) in stream.iter().enumerate() {
        let text = [*byte];
        assert_eq!(pair.client.write(&text), Ok(1), "before byte {index}");
        written.push(*byte);
        pair.give(Role::Client, &text);
        match pair.client.read(&mut buffer) {
            Ok(count) => read.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error, Error::WantRead, "at byte {index}"),
        }
        if index % 1000 == 999 {
            pair.pass(Role::Client);
            let arrived = pair.read_all(Role::Server).expect("data");
            assert!(arrived == written, "before byte {index}");
            written.clear();
        }
    }
    assert_eq!(read, b"data behind");
    pair.pass(Role::Client);
    assert!(pair.read_all(Role::Server).expect("data") == written);
    let arrived = pair.exchange(b"still", b"well");
    assert_eq!(arrived, (b"well".to_vec(), b"still".to_vec()));
}

pub(super) fn closing_inside_the_tickets(scene: &Scene<'_>) {
    let engines = long_engines(scene);
    let (_, tickets) = before_tickets(&engines);
    let mut edge = 0;
    let edges: Vec<usize> = records::split(&tickets)
        .iter()
        .flat_map(|record| {
            edge += record.len();
            [edge - 1, edge, edge + 1, edge + 5, edge + 2000]
        })
        .collect();
    for at in edges {
        let (mut pair, tickets) = before_tickets(&engines);
        let (before, after) = tickets.split_at(at.min(tickets.len()));
        pair.give(Role::Client, before);
        assert_eq!(
            pair.client.read(&mut [0; 1]),
            Err(Error::WantRead),
            "at {at}"
        );
        assert_eq!(pair.client.shutdown(), Err(Error::WantRead), "at {at}");
        pair.give(Role::Client, after);
        assert_eq!(
            pair.client.read(&mut [0; 1]),
            Err(Error::WantRead),
            "at {at}"
        );
        pair.pass(Role::Client);
        assert_eq!(pair.server.read(&mut [0; 1]), Ok(0), "at {at}");
        assert_eq!(pair.server.shutdown(), Ok(()), "at {at}");
        pair.pass(Role::Server);
        assert_eq!(pair.client.shutdown(), Ok(()), "at {at}");
    }
}
