//! Several threads on one stream.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use polytls_core::Error as TlsError;
use polytls_io::{Error, ListenerSettings, Stream};

use crate::kit::*;
use crate::plain;

const MEBIBYTE: usize = 1 << 20;

fn write_hashed(stream: &Arc<Stream>, mebibytes: usize, piece: usize) -> JoinHandle<u64> {
    let stream = Arc::clone(stream);
    thread::spawn(move || {
        let data = pattern(mebibytes * MEBIBYTE);
        let mut hash = DefaultHasher::new();
        hash.write(&data);
        for piece in data.chunks(piece) {
            send_all(&stream, piece).unwrap();
        }
        stream
            .shutdown(std::net::Shutdown::Write, &mut || false)
            .unwrap();
        hash.finish()
    })
}

fn read_hashed(stream: &Arc<Stream>, room: usize) -> JoinHandle<u64> {
    let stream = Arc::clone(stream);
    thread::spawn(move || {
        let mut all = Vec::new();
        let mut buffer = vec![0; room];
        loop {
            match stream.recv(&mut buffer, &mut || false).unwrap() {
                0 => break,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
        // In one go: a hasher need not treat pieces as it treats the whole.
        let mut hash = DefaultHasher::new();
        hash.write(&all);
        hash.finish()
    })
}

#[test]
fn fifty_mebibytes_go_each_way_at_once() {
    within_limits(|| {
        let (client, server) = pair();
        let sent = [
            write_hashed(&client, 50, MEBIBYTE),
            write_hashed(&server, 50, 100_000),
        ];
        let read = [read_hashed(&server, 70_000), read_hashed(&client, MEBIBYTE)];
        assert_eq!(
            sent.map(|thread| thread.join().unwrap()),
            read.map(|thread| thread.join().unwrap())
        );
        close(&client, false).unwrap();
        close(&server, false).unwrap();
    });
}

/// Changes the keys, unless there were so many changes with no data in between that it is refused: the
/// other thread of this end may wait meanwhile.
fn change_keys(end: &Stream) {
    match end.update_keys() {
        Ok(()) | Err(Error::Tls(TlsError::Misuse(_))) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Both ends send and receive at full speed and change their keys all the while; every byte is
/// checked.
fn keys_change_under_full_load(rounds: usize) {
    const PIECE: usize = 300_000;
    let (client, server) = pair();
    let ends = [Arc::clone(&client), Arc::clone(&server)];
    let writers = ends.clone().map(|end| {
        thread::spawn(move || {
            let data = pattern(PIECE);
            for round in 0..rounds {
                send_all(&end, &data).unwrap();
                if round % 3 == 0 {
                    change_keys(&end);
                }
            }
        })
    });
    let readers = ends.map(|end| {
        thread::spawn(move || {
            let expected = pattern(PIECE);
            let mut buffer = vec![0; 100_000];
            let mut at = 0;
            for _ in 0..rounds {
                while at < PIECE {
                    let room = buffer.len().min(PIECE - at);
                    let count = end.recv(&mut buffer[..room], &mut || false).unwrap();
                    assert!(count > 0 && buffer[..count] == expected[at..at + count]);
                    at += count;
                    if at % 7 == 0 {
                        change_keys(&end);
                    }
                }
                at = 0;
            }
        })
    });
    for thread in writers.into_iter().chain(readers) {
        thread.join().unwrap();
    }
    let other = thread::spawn(move || close(&server, false));
    close(&client, false).unwrap();
    other.join().unwrap().unwrap();
}

#[test]
fn keys_change_while_both_ends_read_and_write() {
    within_limits(|| keys_change_under_full_load(100));
}

#[test]
#[ignore = "minutes: `make soak`"]
fn keys_change_while_both_ends_read_and_write_for_long() {
    keys_change_under_full_load(30_000);
}

#[test]
fn a_writer_that_is_stuck_does_not_stop_a_reader() {
    within_limits(|| {
        let (client, server) = pair();
        fill(&client);
        let stuck = {
            let client = Arc::clone(&client);
            thread::spawn(move || send_all(&client, &[7; 100]))
        };
        for round in 0..100_u8 {
            send_all(&server, &[round]).unwrap();
            assert_eq!(recv(&client, 10).unwrap(), [round]);
        }
        assert!(!stuck.is_finished());
        let reader = thread::spawn(move || recv_all(&server));
        stuck.join().unwrap().unwrap();
        close(&client, true).unwrap();
        reader.join().unwrap().unwrap();
    });
}

#[test]
fn a_reader_takes_what_another_reader_received_and_left() {
    within_limits(|| {
        for _ in 0..50 {
            let (client, server) = pair();
            let readers = [(); 4].map(|()| {
                let client = Arc::clone(&client);
                // Each wants one byte, and all four come in one segment.
                thread::spawn(move || recv(&client, 1).unwrap())
            });
            send_all(&server, b"abcd").unwrap();
            let mut seen = readers.map(|reader| reader.join().unwrap());
            seen.sort();
            assert_eq!(seen.concat(), b"abcd");
        }
    });
}

#[test]
fn a_reader_and_a_writer_share_the_handshake() {
    within_limits(|| {
        let mut settings = ListenerSettings::default();
        settings.handshake_on_accept = false;
        let listener = listener_with(settings);
        let address = listener.local_address().unwrap();
        for _ in 0..50 {
            let client = thread::spawn(move || {
                let client = dial(address).unwrap();
                send_all(&client, b"ping").unwrap();
                assert_eq!(recv(&client, 10).unwrap(), b"pong");
            });
            let server = Arc::new(accept(&listener).unwrap());
            let writer = {
                let server = Arc::clone(&server);
                thread::spawn(move || send_all(&server, b"pong").unwrap())
            };
            assert_eq!(recv(&server, 10).unwrap(), b"ping");
            writer.join().unwrap();
            client.join().unwrap();
        }
    });
}

#[test]
fn several_writers_and_readers_lose_nothing() {
    const WRITERS: u8 = 4;
    const PIECES: usize = 400;
    const PIECE: usize = 10_000;
    within_limits(|| {
        let (client, server) = pair();
        let readers = [(); 3].map(|()| {
            let server = Arc::clone(&server);
            thread::spawn(move || recv_all(&server).unwrap())
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let client = Arc::clone(&client);
                thread::spawn(move || {
                    for _ in 0..PIECES {
                        send_all(&client, &[writer; PIECE]).unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        close(&client, true).unwrap();
        let mut counts = [0; WRITERS as usize];
        for reader in readers {
            for byte in reader.join().unwrap() {
                counts[usize::from(byte)] += 1;
            }
        }
        assert_eq!(counts, [PIECES * PIECE; WRITERS as usize]);
    });
}

#[test]
fn a_panic_in_a_session_is_an_error_of_that_connection_for_everybody() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        let record = plain::record(plain::DATA, plain::PANIC);
        std::io::Write::write_all(&mut peer, &record).unwrap();
        for _ in 0..2 {
            for outcome in [recv(&client, 10).map(drop), send_all(&client, b"x")] {
                assert!(
                    matches!(
                        outcome,
                        Err(polytls_io::Error::Tls(polytls_core::Error::Internal(_)))
                    ),
                    "{outcome:?}"
                );
            }
        }
        close(&client, false).unwrap();
    });
}
