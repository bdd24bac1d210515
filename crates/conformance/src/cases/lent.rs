//! Calls that spare a copy: what they do is what the others do.

use polytls_core::{
    Connection, Error, INCOMING_LIMIT, MAX_FRAGMENT, OUTGOING_LIMIT, Refused, Role, Room,
};

use crate::pair::Pair;
use crate::random::Random;
use crate::scene::Scene;

fn keep(connection: &mut Connection, data: &[u8]) -> Result<(), Refused> {
    connection.keep_incoming(Box::new(data.to_vec()))
}

/// Writes into memory of its own if the connection can, and says how much was taken.
fn write_to(connection: &mut Connection, data: &[u8]) -> Result<usize, Error> {
    let Some((taken, length)) = connection.memory_to_write(data.len())? else {
        return connection.write(data);
    };
    let memory = Box::new(vec![0xee; length]);
    assert_eq!(connection.write_to(&data[..taken], memory), Ok(true));
    Ok(taken)
}

fn drain(connection: &mut Connection) -> Vec<u8> {
    if let Some(whole) = connection.take_whole(usize::MAX) {
        assert_eq!(connection.outgoing_len(), 0);
        return whole.bytes().to_vec();
    }
    let mut all = vec![0; connection.outgoing_len()];
    connection.drain_into(&mut all);
    assert_eq!(connection.outgoing(), b"");
    all
}

/// The client's side with nothing of the handshake left.
fn settled(scene: &Scene<'_>) -> Pair {
    let mut pair = scene.connected();
    assert_eq!(pair.client.read(&mut [0; 1]), Err(Error::WantRead));
    pair
}

/// Opens into room with a byte of scratch behind, or with none.
fn receive(
    connection: &mut Connection,
    data: Option<&[u8]>,
    size: usize,
    scratch: bool,
) -> Result<Option<Vec<u8>>, Error> {
    let mut memory = vec![0; size + usize::from(scratch)];
    let room = if scratch {
        Room::with_scratch(&mut memory)
    } else {
        Room::new(&mut memory)
    };
    let count = connection.receive(data, room)?;
    Ok(count.map(|count| memory[..count].to_vec()))
}

pub(super) fn whatever_way_it_comes_and_goes_the_same_arrives(scene: &Scene<'_>) {
    for seed in 0..24 {
        let random = &mut Random::new(seed);
        let mut pair = settled(scene);
        let data = random.bytes(200_000);
        let mut arrived = Vec::new();
        let mut rest = &data[..];
        while !rest.is_empty() {
            let size = (1 + random.size(50_000)).min(rest.len());
            let server = &mut pair.server;
            let taken = match random.below(3) {
                0 => server.write(&rest[..size]),
                1 => write_to(server, &rest[..size]),
                _ => server.write_all(&rest[..size]).map(|()| size),
            };
            rest = &rest[taken.expect("below the limit")..];
            if random.below(3) == 0 {
                continue;
            }
            let stream = drain(server);
            let mut wire = &stream[..];
            while !wire.is_empty() {
                let size = (1 + random.size(40_000)).min(wire.len());
                let (piece, behind) = wire.split_at(size);
                let room = random.size(20_000) + 1;
                let scratch = random.below(2) == 0;
                let client = &mut pair.client;
                let came = match random.below(4) {
                    0 => client.process_incoming(piece).map(|()| None),
                    1 => keep(client, piece).map(|()| None),
                    _ if client.incoming_len() >= INCOMING_LIMIT => Err(Refused::Full),
                    _ => Ok(receive(client, Some(piece), room, scratch).expect("healthy")),
                };
                match came {
                    Ok(came) => {
                        arrived.extend(came.unwrap_or_default());
                        wire = behind;
                    }
                    Err(refused) => assert_eq!(refused, Refused::Full),
                }
                if random.below(2) == 0 {
                    let more = receive(client, None, room, scratch);
                    arrived.extend(more.expect("healthy").unwrap_or_default());
                }
            }
            if pair.client.incoming_len() >= INCOMING_LIMIT / 2 {
                arrived.extend(pair.read_all(Role::Client).expect("data"));
            }
        }
        let left = drain(&mut pair.server);
        if !left.is_empty() {
            assert_eq!(keep(&mut pair.client, &left), Ok(()));
        }
        arrived.extend(pair.read_all(Role::Client).expect("data"));
        assert!(arrived == data, "seed {seed}: something else arrived");
        assert_eq!(pair.client.incoming_len(), 0);
    }
}

pub(super) fn what_is_kept_counts(scene: &Scene<'_>) {
    let mut pair = settled(scene);
    assert_eq!(pair.server.write_all(&[7; 2 * INCOMING_LIMIT]), Ok(()));
    let sealed = drain(&mut pair.server);
    let (first, rest) = sealed.split_at(INCOMING_LIMIT - 1);
    let (second, rest) = rest.split_at(1);
    let client = &mut pair.client;
    assert_eq!(keep(client, first), Ok(()));
    assert_eq!(client.incoming_len(), first.len());
    assert_eq!(keep(client, second), Ok(()));
    assert_eq!(client.incoming_len(), INCOMING_LIMIT);
    assert_eq!(keep(client, rest), Err(Refused::Full));
    assert_eq!(client.process_incoming(rest), Err(Refused::Full));
    assert_eq!(
        receive(client, Some(rest), 10, true),
        Err(Error::WantRead),
        "refused whole, though something could be read"
    );
    assert_eq!(client.incoming_len(), INCOMING_LIMIT);
    assert_eq!(receive(client, None, 10, true), Ok(Some(vec![7; 10])));
    assert_eq!(client.process_incoming(b""), Ok(()));
    assert_eq!(keep(client, rest), Err(Refused::Ended));
    assert_is!(receive(client, Some(rest), 10, true), Err(Error::Misuse(_)));
}

pub(super) fn bytes_behind_close_notify_are_not_lost(scene: &Scene<'_>) {
    for all_at_once in [true, false] {
        let mut pair = settled(scene);
        assert_eq!(pair.server.write(b"data"), Ok(4));
        assert_eq!(pair.server.send_close_notify(), Ok(()));
        let mut sealed = drain(&mut pair.server);
        sealed.extend(b"and something else");
        let client = &mut pair.client;
        let mut arrived = Vec::new();
        if all_at_once {
            let opened = receive(client, Some(&sealed), 100, true);
            arrived.extend(opened.expect("healthy").expect("data"));
        } else {
            assert_eq!(keep(client, &sealed), Ok(()));
        }
        arrived.extend(pair.read_all(Role::Client).expect("data and the end"));
        assert_eq!(arrived, b"data");
        assert_eq!(pair.client.read(&mut [0; 1]), Ok(0));
        assert_eq!(pair.client.unprocessed(), b"and something else");
        assert_eq!(keep(&mut pair.client, b" behind"), Ok(()));
        assert_eq!(pair.client.unprocessed(), b"and something else behind");
    }
}

pub(super) fn what_waits_goes_out_first(scene: &Scene<'_>) {
    let mut pair = settled(scene);
    assert_eq!(write_to(&mut pair.server, b"one "), Ok(4));
    let first = pair.server.outgoing_len();
    assert!(first > 4);
    assert!(pair.server.take_whole(first - 1).is_none());
    pair.server.consume_outgoing(3);
    assert!(pair.server.take_whole(usize::MAX).is_none(), "in part");
    assert_eq!(pair.server.write(b"two "), Ok(4));
    let before = pair.server.outgoing_len();
    assert_eq!(write_to(&mut pair.server, b"three "), Ok(6));
    assert!(pair.server.outgoing_len() > before);
    let mut into = vec![0; 5];
    pair.server.drain_into(&mut into);
    if let Some(length) = pair.server.sealed_len(4).expect("ready") {
        let mut memory = vec![0; length];
        assert_eq!(pair.server.write_into(b"four", &mut []), Ok(false));
        assert_eq!(pair.server.write_into(b"four", &mut memory), Ok(true));
        into.extend(memory);
    } else {
        assert_eq!(pair.server.write(b"four"), Ok(4));
    }
    into.extend(drain(&mut pair.server));
    // The first three bytes are the same in every record of data.
    pair.give(Role::Client, &[23, 3, 3]);
    pair.give(Role::Client, &into);
    assert_eq!(
        pair.read_all(Role::Client),
        Ok(b"one two three four".to_vec())
    );
}

pub(super) fn the_outgoing_limit_holds_for_memory_of_others(scene: &Scene<'_>) {
    let mut pair = settled(scene);
    let data = vec![1; 4 * OUTGOING_LIMIT];
    let taken = write_to(&mut pair.server, &data).expect("some of it");
    assert!((MAX_FRAGMENT..=OUTGOING_LIMIT).contains(&taken), "{taken}");
    assert!(pair.server.outgoing_len() >= OUTGOING_LIMIT);
    assert_eq!(pair.server.write(b"more"), Err(Error::WantWrite));
    assert_eq!(write_to(&mut pair.server, b"more"), Err(Error::WantWrite));
    let sealed = drain(&mut pair.server);
    assert_eq!(keep(&mut pair.client, &sealed), Ok(()));
    assert_eq!(pair.read_all(Role::Client).map(|all| all.len()), Ok(taken));
}
