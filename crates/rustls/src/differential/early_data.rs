//! Early data, and answers to it before the handshake is complete: whoever takes over the records then
//! goes on with the right numbers.

use polytls_conformance::{Cut, Pair};
use polytls_core::{Error, Role, records};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerSessionMemoryCache, UnbufferedServerConnection};

use super::{Arc, CONFIGS, Configs, HOST, Handle, Layer, PAIRS};
use crate::early;
use crate::key_log::Listener;
use crate::observe::Observed;

fn configs(of: &Configs) -> Configs {
    let (mut client, mut server) = ((*of.client).clone(), (*of.server).clone());
    client.enable_early_data = true;
    client.resumption = Resumption::in_memory_sessions(8);
    server.session_storage = ServerSessionMemoryCache::new(32);
    server.max_early_data_size = early::LIMIT;
    server.send_half_rtt_data = true;
    server.key_log = Arc::new(Listener(None));
    Configs {
        suite: of.suite,
        client: Arc::new(client),
        server: Arc::new(server),
    }
}

fn pair(configs: &Configs, layers: (Layer, Layer), cut: Cut) -> Pair {
    let name = ServerName::try_from(HOST).expect("a name");
    let client = UnbufferedClientConnection::new(Arc::clone(&configs.client), name);
    let server = UnbufferedServerConnection::new(Arc::clone(&configs.server));
    let client = Handle::new(client.expect("a connection"), layers.0 == Layer::Rustls);
    let server = Handle::new(server.expect("a connection"), layers.1 == Layer::Rustls);
    server.held().session.observed = Some(Box::new(Observed {
        handshake_secrets: Some(Box::default()),
        ..Observed::default()
    }));
    Pair::new(client.share(), server.share()).cut(cut)
}

/// Data both ways, in records enough to go on for a while; the client has its tickets then.
fn carries_data(pair: &mut Pair) {
    let data: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let (at_client, at_server) = pair.exchange(&data, &data[1..]);
    assert!(at_server == data && at_client == data[1..]);
    assert_eq!(pair.read_all(Role::Client), Ok(Vec::new()));
}

fn read_early(pair: &mut Pair) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 1000];
    loop {
        match pair.server.read_early(&mut buffer) {
            Ok(0) | Err(Error::WantRead) => return all,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn the_records_go_on_behind_early_data_and_answers_to_it() {
    let early: Vec<u8> = (0..early::LIMIT).map(|at| at.to_le_bytes()[1]).collect();
    for of in CONFIGS.iter() {
        let configs = configs(of);
        for layers in PAIRS {
            for (cut, answer) in [
                (Cut::Whole, 0),
                (Cut::Whole, 1),
                (Cut::Random(7), 70_000),
                (Cut::Bytes, 20_000),
            ] {
                // The tickets that earlier rounds have left are as good.
                carries_data(&mut pair(&configs, layers, Cut::Whole).connected());
                let mut pair = pair(&configs, layers, cut);
                assert_eq!(pair.client.write_early(&early), Ok(early.len()));
                assert_eq!(pair.client.write_early(b"more"), Ok(0));
                assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
                let flight = pair.take(Role::Client);
                let mut came = Vec::new();
                for piece in flight.chunks(if matches!(cut, Cut::Bytes) { 1 } else { 5000 }) {
                    pair.give(Role::Server, piece);
                    came.extend(read_early(&mut pair));
                }
                assert!(came == early);
                let answer = vec![7; answer];
                assert_eq!(pair.server.write(&answer), Ok(answer.len()));
                assert!(pair.server.is_handshaking());
                let mut pair = pair.connected();
                assert_eq!(pair.read_all(Role::Client), Ok(answer));
                for role in [Role::Client, Role::Server] {
                    assert_eq!(pair.facts(role).early_data, Some(true));
                }
                carries_data(&mut pair);
            }
        }
    }
}

#[test]
fn early_data_that_is_refused_is_skipped_whatever_its_records() {
    for of in CONFIGS.iter() {
        let (old, new) = (configs(of), configs(of));
        let forgetful = Configs {
            client: Arc::clone(&old.client),
            ..new
        };
        for layers in PAIRS {
            for size in [100, 3000, early::LIMIT as usize] {
                carries_data(&mut pair(&old, layers, Cut::Whole).connected());
                let mut pair = pair(&forgetful, layers, Cut::Random(3));
                for piece in vec![9; early::LIMIT as usize].chunks(size) {
                    assert_eq!(pair.client.write_early(piece), Ok(piece.len()));
                }
                let mut pair = pair.connected();
                for role in [Role::Client, Role::Server] {
                    assert_eq!(pair.facts(role).early_data, Some(false));
                    assert!(!pair.facts(role).resumed);
                }
                assert!(read_early(&mut pair).is_empty());
                carries_data(&mut pair);
            }
        }
    }
}

/// A client's first flight with early data, record by record, for a server that refuses it.
fn refused(of: &Configs, layers: (Layer, Layer)) -> (Pair, Vec<Vec<u8>>) {
    let (old, new) = (configs(of), configs(of));
    let forgetful = Configs {
        client: Arc::clone(&old.client),
        ..new
    };
    carries_data(&mut pair(&old, layers, Cut::Whole).connected());
    let mut pair = pair(&forgetful, layers, Cut::Whole);
    assert_eq!(pair.client.write_early(b"early"), Ok(5));
    assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
    let flight = pair.take(Role::Client);
    (pair, records(&flight).map(<[u8]>::to_vec).collect())
}

#[test]
fn there_is_an_end_to_what_a_server_skips() {
    for of in CONFIGS.iter() {
        for layers in PAIRS {
            for (length, most) in [
                (0, 16_384),
                (1, 16_384),
                (17, 16_384),
                (117, 163),
                (3017, 5),
            ] {
                let (mut pair, flight) = refused(of, layers);
                pair.give(Role::Server, &flight[0]);
                assert_eq!(pair.server.do_handshake(), Err(Error::WantRead));
                let record = [
                    &[23, 3, 3][..],
                    &u16::to_be_bytes(length),
                    &vec![0; length.into()],
                ];
                let record = record.concat();
                let _ = pair.take(Role::Server);
                let mut skipped = 0;
                let end = loop {
                    pair.give(Role::Server, &record);
                    match pair.server.do_handshake() {
                        Err(Error::WantRead) => skipped += 1,
                        end => break end,
                    }
                    assert!(pair.server.incoming_len() == 0 && skipped <= most);
                };
                assert_eq!(skipped, most);
                assert!(matches!(end, Err(Error::PeerMisbehaved(_))), "{end:?}");
                // An alert, under the keys of the handshake.
                let last = pair.take(Role::Server);
                assert_eq!(last[..5], [23, 3, 3, 0, 19]);
            }
        }
    }
}

#[test]
fn a_handshake_in_pieces_goes_on_behind_early_data_that_was_refused() {
    for of in CONFIGS.iter() {
        for layers in PAIRS {
            let mut client = (*of.client).clone();
            client.max_fragment_size = Some(40);
            let of = Configs {
                suite: of.suite,
                client: Arc::new(client),
                server: Arc::clone(&of.server),
            };
            let (mut pair, flight) = refused(&of, layers);
            assert!(flight.iter().filter(|record| record[0] == 22).count() > 1);
            for record in &flight {
                pair.give(Role::Server, record);
                assert_eq!(pair.server.do_handshake(), Err(Error::WantRead));
            }
            let mut pair = pair.connected();
            assert_eq!(pair.facts(Role::Server).early_data, Some(false));
            carries_data(&mut pair);
        }
    }
}

#[test]
fn more_early_data_than_a_server_takes_ends_the_connection() {
    let lavish = configs(&CONFIGS[0]);
    // The same sessions, of which the client knows more is allowed.
    let mut server = (*lavish.server).clone();
    server.max_early_data_size = 100;
    let frugal = Configs {
        suite: lavish.suite,
        client: Arc::clone(&lavish.client),
        server: Arc::new(server),
    };
    for layers in PAIRS {
        carries_data(&mut pair(&lavish, layers, Cut::Whole).connected());
        let mut pair = pair(&frugal, layers, Cut::Whole);
        for piece in [60, 40, 1] {
            assert_eq!(pair.client.write_early(&vec![3; piece]), Ok(piece));
        }
        assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
        pair.pass(Role::Client);
        let mut buffer = [0; 1000];
        let mut came = 0;
        let end = loop {
            match pair.server.read_early(&mut buffer) {
                Ok(count) => came += count,
                Err(error) => break error,
            }
        };
        assert_eq!(came, 100);
        assert!(matches!(end, Error::PeerMisbehaved(_)), "{end:?}");
        assert_eq!(pair.failure(Role::Server), end);
    }
}
