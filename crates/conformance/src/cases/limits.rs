//! How much is held, and that nobody gets stuck at a limit.

use polytls_core::{
    Error, INCOMING_LIMIT, MAX_FRAGMENT, MAX_RECORD, OUTGOING_LIMIT, Refused, Role,
};

use crate::pair::Pair;
use crate::scene::Scene;

/// A pair and ciphertext of the server, more than the incoming limit.
fn plenty(scene: &Scene<'_>) -> (Pair, Vec<u8>) {
    let mut pair = scene.connected();
    let mut sealed = Vec::new();
    while sealed.len() < INCOMING_LIMIT + 2 * MAX_RECORD {
        assert_eq!(pair.server.write(&[b'x'; 1000]), Ok(1000));
        sealed.extend(pair.take(Role::Server));
    }
    // What the handshake left is out of the way.
    assert_eq!(pair.client.read(&mut [0; 1]), Err(Error::WantRead));
    (pair, sealed)
}

pub(super) fn incoming_is_refused_only_at_the_limit(scene: &Scene<'_>) {
    let (mut pair, sealed) = plenty(scene);
    let (below, rest) = sealed.split_at(INCOMING_LIMIT - 1);
    pair.give(Role::Client, below);
    let (last, rest) = rest.split_at(1);
    pair.give(Role::Client, last);
    assert_eq!(pair.client.incoming_len(), INCOMING_LIMIT);
    assert_eq!(pair.client.process_incoming(rest), Err(Refused::Full));
    assert_eq!(pair.client.space(1).err(), Some(Refused::Full));
    assert_eq!(
        pair.client.incoming_len(),
        INCOMING_LIMIT,
        "nothing of it was stored"
    );
}

pub(super) fn one_delivery_is_taken_whole(scene: &Scene<'_>) {
    let (mut pair, sealed) = plenty(scene);
    let (first, rest) = sealed.split_at(INCOMING_LIMIT - 1);
    pair.give(Role::Client, first);
    pair.give(Role::Client, rest);
    assert_eq!(pair.client.incoming_len(), sealed.len());
    assert_eq!(pair.client.process_incoming(b"x"), Err(Refused::Full));
    let all = pair.read_all(Role::Client).expect("data");
    assert!(all.iter().all(|byte| *byte == b'x'));
    assert!(all.len() > sealed.len() * 9 / 10);
    assert_eq!(pair.client.incoming_len(), 0);
}

pub(super) fn progress_is_possible_at_the_incoming_limit(scene: &Scene<'_>) {
    let (mut pair, sealed) = plenty(scene);
    pair.give(Role::Client, &sealed[..INCOMING_LIMIT]);
    let mut rest = &sealed[INCOMING_LIMIT..];
    let mut read = 0;
    // Reads of one byte are the hardest: each may open a record and hand out almost none of it.
    while !rest.is_empty() {
        match pair.client.process_incoming(&rest[..1]) {
            Ok(()) => rest = &rest[1..],
            Err(refused) => {
                assert_eq!(refused, Refused::Full);
                assert_eq!(pair.client.read(&mut [0; 1]), Ok(1), "stuck");
                read += 1;
            }
        }
    }
    read += pair.read_all(Role::Client).expect("data").len();
    assert_eq!(read % 1000, 0, "a part of a record is missing");
    assert_eq!(pair.client.incoming_len(), 0);
}

pub(super) fn outgoing_is_refused_at_the_limit_until_drained(scene: &Scene<'_>) {
    let mut pair = scene.connected();
    let data = vec![b'y'; 100_000];
    for role in [Role::Client, Role::Server] {
        let side = pair.side(role);
        let mut sent = 0;
        let refusal = loop {
            match side.write(&data) {
                Ok(0) => panic!("neither taken nor refused"),
                Ok(taken) => sent += taken,
                Err(error) => break error,
            }
            assert!(sent < 2 * OUTGOING_LIMIT, "there is no limit");
        };
        assert_eq!(refusal, Error::WantWrite);
        assert!(side.outgoing().len() >= OUTGOING_LIMIT);
        // At most the last record is beyond it.
        assert!(side.outgoing().len() < OUTGOING_LIMIT + OUTGOING_LIMIT / 16 + MAX_RECORD);
        assert_eq!(side.write(&data), Err(Error::WantWrite), "and again");

        let whole = side.outgoing().len();
        side.consume_outgoing(whole - OUTGOING_LIMIT + 1);
        assert_is!(side.write(&data), Ok(taken) if taken > 0);
        let rest = side.outgoing().len();
        side.consume_outgoing(rest);
        assert_eq!(side.write(b"z"), Ok(1));
    }
}

pub(super) fn one_huge_write_is_short(scene: &Scene<'_>) {
    let mut pair = scene.connected();
    let data = vec![b'y'; 2 * 1024 * 1024];
    let taken = pair.client.write(&data).expect("some of it");
    assert!((MAX_FRAGMENT..=OUTGOING_LIMIT).contains(&taken), "{taken}");
    let sealed = pair.take(Role::Client);
    let mut arrived = 0;
    for piece in sealed.chunks(INCOMING_LIMIT) {
        pair.give(Role::Server, piece);
        arrived += pair.read_all(Role::Server).expect("data").len();
    }
    assert_eq!(arrived, taken);
}

pub(super) fn nothing_comes_after_the_end_of_the_transport(scene: &Scene<'_>) {
    let (mut pair, sealed) = plenty(scene);
    pair.give(Role::Client, &sealed);
    // The end is no data: it is taken at the limit too, and as often as it is declared.
    pair.end(Role::Client);
    pair.end(Role::Client);
    assert_eq!(pair.client.process_incoming(b"x"), Err(Refused::Ended));
    assert_eq!(pair.client.space(1).err(), Some(Refused::Ended));
    assert_is!(pair.client.read(&mut [0; 8]), Ok(8));
}
