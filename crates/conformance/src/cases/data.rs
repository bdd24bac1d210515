//! Plaintext, once the handshake is complete.

use polytls_core::{Error, MAX_FRAGMENT, MAX_RECORD, Role};

use crate::credentials::HOST;
use crate::pair::{Cut, other};
use crate::random::Random;
use crate::scene::{PORT, Scene};

pub(super) fn of_any_size_arrives_whole_both_ways(scene: &Scene<'_>) {
    let engines = scene.plain_engines();
    for seed in 0..24 {
        let mut random = Random::new(seed);
        let cut = if seed % 8 == 0 {
            Cut::Whole
        } else {
            Cut::Random(seed)
        };
        let mut pair = engines.pair(HOST, PORT).cut(cut).connected();
        // The ends of the range, and the edges of a record, are tried for certain.
        let sizes = match seed {
            0 => [0, 300 * 1024],
            1 => [MAX_FRAGMENT, MAX_FRAGMENT + 1],
            2 => [1, MAX_FRAGMENT - 1],
            _ => [random.size(300 * 1024), random.size(300 * 1024)],
        };
        let [from_client, from_server] = sizes.map(|size| random.bytes(size));
        let (at_client, at_server) = pair.exchange(&from_client, &from_server);
        assert!(
            at_client == from_server,
            "seed {seed}: the client got something else"
        );
        assert!(
            at_server == from_client,
            "seed {seed}: the server got something else"
        );
    }
    let mut pair = engines.pair(HOST, PORT).cut(Cut::Bytes).connected();
    let data = Random::new(99).bytes(3 * MAX_FRAGMENT);
    assert!(pair.exchange(&data, &data) == (data.clone(), data));
}

pub(super) fn empty_reads_and_writes_do_nothing(scene: &Scene<'_>) {
    let mut pair = scene.connected();
    for role in [Role::Client, Role::Server] {
        let _ = pair.take(role);
        assert_eq!(pair.side(role).write(b""), Ok(0));
        assert_eq!(pair.side(role).outgoing(), b"");
        assert_eq!(pair.side(role).read(&mut []), Ok(0));
        assert_eq!(pair.side(role).read(&mut [0; 8]), Err(Error::WantRead));
    }
}

pub(super) fn never_looks_like_the_plaintext_on_the_wire(scene: &Scene<'_>) {
    let mut pair = scene.connected();
    let secret = b"attack at dawn, attack at dawn";
    for role in [Role::Client, Role::Server] {
        assert_eq!(pair.side(role).write(secret), Ok(secret.len()));
        let sealed = pair.take(role);
        assert!(sealed.len() > secret.len());
        assert!(
            !sealed
                .windows(8)
                .any(|window| secret.windows(8).any(|part| part == window))
        );
        pair.give(other(role), &sealed);
        assert_eq!(pair.read_all(other(role)), Ok(secret.to_vec()));
    }
}

/// As a socket driver does it: ciphertext goes straight into the connection's own buffer.
pub(super) fn the_largest_records_arrive_in_place(scene: &Scene<'_>) {
    let mut pair = scene.connected();
    let data = Random::new(7).bytes(5 * MAX_FRAGMENT);
    assert_eq!(pair.server.write(&data), Ok(data.len()));
    let sealed = pair.take(Role::Server);
    let mut arrived = Vec::new();
    for piece in sealed.chunks(MAX_RECORD) {
        let space = pair.client.space(MAX_RECORD).expect("room for a record");
        assert!(space.len() >= MAX_RECORD);
        space[..piece.len()].copy_from_slice(piece);
        pair.client.commit(piece.len());
        arrived.extend(pair.read_all(Role::Client).expect("data or nothing"));
    }
    assert!(arrived == data);

    pair.client.commit(0);
    assert_is!(pair.client.read(&mut [0; 1]), Err(Error::RaggedEof { .. }));
}
