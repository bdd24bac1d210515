//! One test, or one row of a table, for each duty that the crate's documentation lists.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use polytls_core::{Alert, Error, MAX_FRAGMENT};
use support::*;

/// What the peer sends, sealed by its [`Sealer`].
type Stream = fn(&mut Sealer) -> Vec<u8>;

/// What has to come of a stream that breaks the protocol.
struct Refusal {
    what: &'static str,
    stream: Stream,
    alert: u8,
}

const fn refusal(what: &'static str, alert: u8, stream: Stream) -> Refusal {
    Refusal {
        what,
        stream,
        alert,
    }
}

/// Each must end a connection that has delivered "before" and been given "after", on both sides,
/// with every cipher, and whether records are opened into the caller's buffer or not.
fn all_are_refused(refusals: &[Refusal]) {
    for Refusal {
        what,
        stream,
        alert,
    } in refusals
    {
        for (cipher, is_client, size) in [
            (CIPHERS[0], true, 1),
            (CIPHERS[0], false, 40_000),
            (CIPHERS[1], false, 1),
            (CIPHERS[1], true, 40_000),
            (CIPHERS[2], true, 1),
            (CIPHERS[2], false, 40_000),
        ] {
            let mut scene = Scene::new(cipher, is_client);
            scene.send(DATA, b"before");
            let bad = stream(&mut scene.peer);
            scene.give(&bad);
            scene.send(DATA, b"after");
            let (read, end) = scene.read_all(size);
            assert_eq!(read, b"before", "{what}");
            let Err(error @ Error::PeerMisbehaved(_)) = end else {
                panic!("{what}: {end:?}");
            };
            assert_eq!(scene.sent(), [fatal(*alert)], "{what}");
            // It is the end.
            assert_eq!(scene.ours.read(&mut [0; 100]), Err(error.clone()), "{what}");
            assert_eq!(scene.ours.write(b"more"), Err(error), "{what}");
            assert_eq!(scene.sent(), [], "{what}");
        }
    }
}

/// Delivers what was sealed and nothing else, and sends nothing.
fn is_delivered(stream: Stream, expected: &[u8]) {
    for cipher in CIPHERS {
        for size in [1, 5, FULL, FULL + 1, 100_000] {
            let mut scene = Scene::new(cipher, true);
            let records = stream(&mut scene.peer);
            scene.give(&records);
            let (read, end) = scene.read_all(size);
            assert_eq!(end, Err(Error::WantRead));
            assert!(read == expected, "{} bytes were read", read.len());
            assert_eq!(scene.sent(), []);
        }
    }
}

// --- nonces, keys, limits ---

#[test]
fn a_nonce_is_the_sequence_number_xored_into_the_iv() {
    for cipher in CIPHERS {
        // The peer makes its nonces in another way.
        for start in [0, 255, 0x0001_0203_0405_0607, 1 << 63] {
            let (sealed, opened) = match cipher {
                polytls_records::Cipher::Chacha20Poly1305 => (start, start),
                // Those may not seal so many.
                _ => (start.min(1 << 20), start),
            };
            let mut scene = Scene::at(cipher, true, sealed, opened);
            for number in 0..300_u16 {
                let message = number.to_be_bytes();
                scene.send(DATA, &message);
                assert_eq!(scene.read_all(10), (message.to_vec(), Err(Error::WantRead)));
                scene.ours.write(&message).unwrap();
                assert_eq!(scene.sent(), [(DATA, message.to_vec())]);
            }
        }
    }
}

#[test]
fn sequence_numbers_start_at_0_with_each_key() {
    for cipher in CIPHERS {
        let mut scene = Scene::at(cipher, false, 77, 99);
        for generation in 1..=5 {
            let update = scene.peer.key_update(true);
            scene.give(&update);
            scene.send(DATA, b"x");
            assert_eq!(
                (scene.peer.generation(), scene.peer.sequence()),
                (generation, 1)
            );
            assert_eq!(scene.read_all(10).0, b"x");
            scene.ours.write(b"y").unwrap();
            assert_eq!(
                scene.sent(),
                [(HANDSHAKE, KEY_UPDATE.to_vec()), (DATA, b"y".to_vec())]
            );
            assert_eq!(
                (scene.opener.generation(), scene.opener.sequence()),
                (generation, 1)
            );
        }
    }
}

#[test]
fn sequence_numbers_never_wrap() {
    for cipher in CIPHERS {
        let mut scene = Scene::at(cipher, false, 0, u64::MAX - 1);
        scene.send(DATA, b"the last");
        scene.send(DATA, b"one too many");
        let (read, end) = scene.read_all(100);
        assert_eq!(read, b"the last");
        assert!(matches!(end, Err(Error::PeerMisbehaved(_))), "{end:?}");
        assert_eq!(scene.sent(), [fatal(80)]);
    }
}

#[test]
fn a_key_is_changed_with_the_last_record_it_may_seal() {
    use polytls_records::Cipher::{Aes128Gcm, Aes256Gcm, Chacha20Poly1305};
    for (cipher, limit) in [
        (Aes128Gcm, 1 << 24),
        (Aes256Gcm, 1 << 24),
        (Chacha20Poly1305, u64::MAX),
    ] {
        // In one write, and in several.
        for size in [5 * FULL, 100] {
            let mut scene = Scene::at(cipher, true, limit - 3, 0);
            let mut written = 0;
            while written < 5 * FULL {
                written += scene.ours.write(&vec![1; size]).unwrap();
                if size < FULL {
                    written += FULL - size;
                }
            }
            let content = (DATA, vec![1; size.min(FULL)]);
            let update = (HANDSHAKE, KEY_UPDATE_ASKING.to_vec());
            assert_eq!(
                scene.sent(),
                [
                    content.clone(),
                    content.clone(),
                    update,
                    content.clone(),
                    content.clone(),
                    content
                ]
            );
            assert_eq!(scene.library().sending, 1);
        }
    }
}

/// Where no key has to be changed, and only there.
#[test]
fn data_is_sealed_into_memory_of_the_callers_exactly() {
    for size in [1, 100, FULL, FULL + 1, 3 * FULL] {
        let records = size.div_ceil(FULL);
        let left = u64::try_from(records).unwrap();
        for (sealed, fits) in [
            (0, true),
            ((1 << 24) - 1 - left, true),
            ((1 << 24) - left, false),
            ((1 << 24) - 2, records == 1),
        ] {
            let mut scene = Scene::at(CIPHERS[0], true, sealed, 0);
            let needed = scene.ours.memory_to_write(size).unwrap();
            let length = size + 22 * records;
            assert_eq!(needed, fits.then_some((size, length)));
            for wrong in [0, length - 1, length + 1] {
                let memory = Box::new(vec![0; wrong]);
                assert_eq!(scene.ours.write_to(&vec![1; size], memory), Ok(false));
            }
            let memory = Box::new(vec![0; length]);
            assert_eq!(scene.ours.write_to(&vec![1; size], memory), Ok(fits));
            let mut contents = Vec::new();
            if fits {
                for part in vec![1; size].chunks(FULL) {
                    contents.push((DATA, part.to_vec()));
                }
            }
            assert_eq!(scene.sent(), contents);
        }
    }
    let mut scene = Scene::new(CIPHERS[0], true);
    let request = scene.peer.key_update(true);
    scene.give(&request);
    scene.read_all(10).1.unwrap_err();
    assert_eq!(scene.ours.memory_to_write(1), Ok(None), "an update is due");
    scene.ours.write(b"x").unwrap();
    assert_eq!(
        scene.sent(),
        [(HANDSHAKE, KEY_UPDATE.to_vec()), (DATA, b"x".to_vec())]
    );
    assert_eq!(scene.ours.memory_to_write(1), Ok(Some((1, 23))));
}

#[test]
fn what_ends_the_connection_fits_below_the_limit() {
    for last in [1 << 24, (1 << 24) - 1] {
        let mut scene = Scene::at(CIPHERS[0], true, last - 1, 0);
        scene.ours.send_close_notify().unwrap();
        assert_eq!(scene.sent(), [(ALERT, CLOSE_NOTIFY.to_vec())]);
    }
    let mut scene = Scene::at(CIPHERS[0], true, (1 << 24) - 1, 0);
    scene.give(&[DATA, 3, 3, 0, 0]);
    scene.read_all(10).1.unwrap_err();
    assert_eq!(scene.sent(), [fatal(20)]);
}

#[test]
fn no_data_is_sealed_when_there_is_no_later_key() {
    let mut scene = Scene::at(CIPHERS[0], true, (1 << 24) - 2, 0);
    scene.library().refuses_keys = true;
    let error = scene.ours.write(&vec![1; 3 * FULL]).unwrap_err();
    assert_eq!(error, Error::Internal("no more keys".to_owned()));
    let stream = scene.ours.outgoing().to_vec();
    let records = support::split(&stream);
    let opened: Vec<_> = records.iter().map(|one| scene.opener.open(one)).collect();
    assert_eq!(
        opened,
        [
            Some((DATA, vec![1; FULL])),
            Some((HANDSHAKE, KEY_UPDATE_ASKING.to_vec()))
        ]
    );
    assert_eq!(scene.ours.write(b"more"), Err(error));
}

// --- sizes and headers ---

#[test]
fn no_record_sent_holds_more_than_a_fragment() {
    for (size, sizes) in [
        (1, vec![1]),
        (FULL, vec![FULL]),
        (FULL + 1, vec![FULL, 1]),
        (100_000, vec![FULL, FULL, FULL, FULL, FULL, FULL, 1696]),
    ] {
        let mut scene = Scene::new(CIPHERS[1], true);
        assert_eq!(scene.ours.write(&vec![3; size]), Ok(size));
        let lengths: Vec<usize> = scene.sent().iter().map(|one| one.1.len()).collect();
        assert_eq!(lengths, sizes);
    }
    assert_eq!(FULL, MAX_FRAGMENT);
}

/// rustls leaves type and version out of what it authenticates, which RFC 8446 section 5.2 does
/// not.
#[test]
fn every_bit_of_the_header_is_authenticated() {
    for cipher in CIPHERS {
        for bit in 0..8 * HEADER {
            let mut scene = Scene::new(cipher, true);
            scene.send(DATA, b"before");
            let mut record = scene.peer.record(DATA, b"secret");
            record[bit / 8] ^= 1 << (bit % 8);
            scene.give(&record);
            // So that a record that is said to be longer is complete.
            scene.give(&vec![0; 40_000]);
            let (read, end) = scene.read_all(100_000);
            assert_eq!(read, b"before");
            assert!(matches!(end, Err(Error::PeerMisbehaved(_))), "{end:?}");
            let alert = match bit {
                // Type; major version.
                0..8 => 10,
                8..16 => 70,
                // 2^15 bytes.
                31 => 22,
                // Minor version; more or fewer bytes than were sealed.
                _ => 20,
            };
            assert_eq!(scene.sent(), [fatal(alert)], "bit {bit}");
        }
    }
}

#[test]
fn what_is_too_long_is_a_record_overflow() {
    all_are_refused(&[
        refusal("one byte of padding too many", 22, |peer| {
            peer.padded(DATA, &[1; FULL], 1)
        }),
        refusal("one byte of content too many", 22, |peer| {
            peer.record(DATA, &[1; FULL + 1])
        }),
        refusal("all of it padding", 22, |peer| {
            peer.padded(DATA, b"", FULL + 1)
        }),
        refusal("the longest ciphertext", 22, |peer| {
            peer.padded(DATA, b"x", FULL + 256 - 16 - 2)
        }),
        refusal("a ciphertext that is too long", 22, |peer| {
            peer.padded(DATA, b"x", FULL + 256 - 16 - 1)
        }),
        refusal(
            "a length that is too long, of what does not open",
            22,
            |_| [&[DATA, 3, 3, 0x41, 0x01][..], &[0; 0x4101]].concat(),
        ),
        refusal("the longest length, without the record", 22, |_| {
            vec![DATA, 3, 3, 0xff, 0xff]
        }),
    ]);
}

#[test]
fn what_is_as_long_as_can_be_is_delivered() {
    is_delivered(|peer| peer.record(DATA, &[1; FULL]), &[1; FULL]);
    is_delivered(|peer| peer.padded(DATA, &[1; 100], FULL - 100), &[1; 100]);
}

// --- opening ---

#[test]
fn what_does_not_open_is_a_bad_record_mac() {
    all_are_refused(&[
        refusal("a changed tag", 20, |peer| {
            let mut record = peer.record(DATA, b"data");
            *record.last_mut().unwrap() ^= 1;
            record
        }),
        refusal("a changed ciphertext", 20, |peer| {
            let mut record = peer.record(DATA, b"data");
            record[HEADER] ^= 0x80;
            record
        }),
        refusal("a record that comes twice", 20, |peer| {
            let record = peer.record(DATA, b"");
            [&record[..], &record].concat()
        }),
        refusal("a record that is left out", 20, |peer| {
            peer.record(DATA, b"left out");
            peer.record(DATA, b"data")
        }),
        refusal("old keys after a key update", 20, |peer| {
            let update = peer.record(HANDSHAKE, &KEY_UPDATE);
            [update, peer.record(DATA, b"data")].concat()
        }),
        refusal("new keys without a key update", 20, |peer| {
            peer.update();
            peer.record(DATA, b"data")
        }),
        refusal("no bytes", 20, |_| vec![DATA, 3, 3, 0, 0]),
        refusal("less than a tag", 20, |_| {
            [&[DATA, 3, 3, 0, 15][..], &[0; 15]].concat()
        }),
        refusal("the longest ciphertext there may be", 20, |_| {
            [&[DATA, 3, 3, 0x41, 0x00][..], &[0; 0x4100]].concat()
        }),
        refusal("only a wrong tag", 20, |_| {
            [&[DATA, 3, 3, 0, 16][..], &[0; 16]].concat()
        }),
    ]);
}

#[test]
fn what_was_never_authenticated_is_not_left_in_the_callers_buffer() {
    for cipher in CIPHERS {
        for at in [HEADER, HEADER + 500, HEADER + 1000, HEADER + 1016] {
            let mut scene = Scene::new(cipher, true);
            let mut record = scene.peer.record(DATA, &[b's'; 1000]);
            record[at] ^= 1;
            scene.give(&record);
            let mut buffer = vec![0xee; 2000];
            scene.ours.read(&mut buffer).unwrap_err();
            assert!(buffer[..1001].iter().all(|byte| *byte == 0));
            assert!(buffer[1001..].iter().all(|byte| *byte == 0xee));
        }
    }
}

/// Ciphertext, or nothing: never what it decrypts to.
#[test]
fn what_was_never_authenticated_is_not_left_in_the_inbound_buffer() {
    for cipher in CIPHERS {
        let mut scene = Scene::new(cipher, true);
        let mut record = scene.peer.record(DATA, &[b's'; 1000]);
        *record.last_mut().unwrap() ^= 1;
        scene.give(&record);
        scene.ours.read(&mut [0]).unwrap_err();
        let left = scene.ours.unprocessed();
        assert!(!left.windows(8).any(|window| window == [b's'; 8]));
    }
}

/// Only whole records are opened where the caller wants them, and not all of those are data.
#[test]
fn what_is_not_delivered_is_not_left_in_the_callers_buffer() {
    let ticket = [&[4, 0, 0, 100][..], &[b's'; 100]].concat();
    for content in [&ticket[..], &ticket[..50]] {
        let mut scene = Scene::new(CIPHERS[0], true);
        scene.send(HANDSHAKE, content);
        let mut buffer = vec![0xee; 2000];
        assert_eq!(scene.ours.read(&mut buffer), Err(Error::WantRead));
        assert!(!buffer.contains(&b's'));
        assert_eq!(scene.library().kept, content.len() % 104);
    }
    // Authentic, and against the rules: too long, and in the middle of a message.
    let mut too_long = Scene::new(CIPHERS[0], true);
    let record = too_long.peer.record(DATA, &[b's'; FULL + 1]);
    too_long.give(&record);
    let mut interleaved = Scene::new(CIPHERS[0], true);
    interleaved.send(HANDSHAKE, &[4]);
    interleaved.send(DATA, &[b's'; 100]);
    for mut scene in [too_long, interleaved] {
        let mut buffer = vec![0xee; 20_000];
        scene.ours.read(&mut buffer).unwrap_err();
        assert!(!buffer.contains(&b's'));
    }
}

#[test]
fn nothing_of_a_refused_record_is_delivered_later() {
    let mut scene = Scene::new(CIPHERS[0], true);
    scene.send(HANDSHAKE, &[4]);
    scene.send(DATA, b"in the middle of a message");
    let error = scene.ours.read(&mut [0; 3]).unwrap_err();
    assert_eq!(scene.ours.read(&mut [0; 3]), Err(error));
    assert_eq!(scene.ours.pending(), 0);
}

// --- padding, empty records, types ---

#[test]
fn padding_is_removed() {
    is_delivered(
        |peer| {
            let mut stream = Vec::new();
            for padding in [0, 1, 2, 15, 16, 17, 255, 1000, FULL - 4] {
                stream.extend(peer.padded(DATA, b"data", padding));
            }
            // Zeros of the content stay.
            stream.extend(peer.padded(DATA, &[0; 5], 7));
            stream
        },
        &[&b"data".repeat(9)[..], &[0; 5]].concat(),
    );
}

#[test]
fn a_record_without_a_type_is_unexpected() {
    all_are_refused(&[
        refusal("one zero", 10, |peer| peer.any(DATA, &[0])),
        refusal("many zeros", 10, |peer| peer.any(DATA, &[0; FULL + 1])),
        refusal("nothing at all", 10, |peer| peer.any(DATA, &[])),
    ]);
}

#[test]
fn empty_data_records_are_allowed() {
    is_delivered(
        |peer| {
            let mut stream = Vec::new();
            for _ in 0..3 {
                for padding in 0..32 {
                    stream.extend(peer.padded(DATA, b"", padding));
                }
                stream.extend(peer.record(DATA, b"x"));
            }
            stream
        },
        b"xxx",
    );
}

#[test]
fn a_flood_of_records_that_say_nothing_is_unexpected() {
    all_are_refused(&[
        refusal("empty data", 10, |peer| {
            (0..33).flat_map(|_| peer.record(DATA, b"")).collect()
        }),
        refusal("padding", 10, |peer| {
            (0..33).flat_map(|_| peer.padded(DATA, b"", 100)).collect()
        }),
        refusal("user_canceled", 10, |peer| {
            (0..5).flat_map(|_| peer.record(ALERT, &[1, 90])).collect()
        }),
        refusal("user_canceled and empty data", 10, |peer| {
            (0..5)
                .flat_map(|_| [peer.record(ALERT, &[1, 90]), peer.record(DATA, b"")].concat())
                .collect()
        }),
        refusal("key updates", 10, |peer| {
            (0..33).flat_map(|_| peer.key_update(false)).collect()
        }),
    ]);
}

/// As many as rustls and BoringSSL take in a row.
#[test]
fn a_few_warnings_are_put_up_with_and_data_begins_anew() {
    is_delivered(
        |peer| {
            let mut stream = Vec::new();
            for _ in 0..3 {
                stream.extend((0..4).flat_map(|_| peer.record(ALERT, &[1, 90])));
                stream.extend(peer.record(DATA, b"x"));
            }
            stream
        },
        b"xxx",
    );
}

#[test]
fn empty_handshake_and_alert_records_are_unexpected() {
    all_are_refused(&[
        refusal("handshake", 10, |peer| peer.record(HANDSHAKE, b"")),
        refusal("alert", 10, |peer| peer.record(ALERT, b"")),
        refusal("handshake, padded", 10, |peer| {
            peer.padded(HANDSHAKE, b"", 50)
        }),
    ]);
}

#[test]
fn other_types_are_unexpected() {
    all_are_refused(&[
        refusal("change_cipher_spec inside", 10, |peer| {
            peer.record(CHANGE_CIPHER_SPEC, &[1])
        }),
        refusal("heartbeat inside", 10, |peer| peer.record(24, &[1, 0, 0])),
        refusal("1 inside", 10, |peer| peer.record(1, b"data")),
        refusal("255 inside", 10, |peer| peer.record(255, b"data")),
        refusal("a change_cipher_spec of the handshake", 10, |_| {
            vec![CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1]
        }),
        refusal("an alert in the clear", 10, |_| {
            vec![ALERT, 3, 3, 0, 2, 1, 0]
        }),
        refusal("a handshake message in the clear", 10, |_| {
            [&[HANDSHAKE, 3, 3, 0, 5][..], &KEY_UPDATE].concat()
        }),
        refusal("an empty record in the clear", 10, |_| {
            vec![HANDSHAKE, 3, 3, 0, 0]
        }),
        refusal("handshake outside", 10, |peer| {
            peer.any(HANDSHAKE, &[1, DATA])
        }),
        refusal("heartbeat outside", 10, |peer| peer.any(24, &[1, DATA])),
        refusal("no type that there is", 10, |_| vec![99, 3, 3, 0, 2, 1, 0]),
    ]);
}

#[test]
fn what_is_no_record_is_refused() {
    all_are_refused(&[refusal("version 2", 70, |_| {
        [&[DATA, 2, 0, 0, 20][..], &[0; 20]].concat()
    })]);
    // With nothing behind it.
    let mut scene = Scene::new(CIPHERS[0], true);
    scene.send(DATA, b"before");
    scene.give(&[&[DATA, 2, 0, 0, 20][..], &[0; 20]].concat());
    assert_eq!(scene.read_all(100).0, b"before");
    assert_eq!(scene.sent(), [fatal(70)]);
}

// --- handshake messages ---

fn ticket(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[4][..], &length[1..], body].concat()
}

#[test]
fn tickets_go_to_the_library_whatever_pieces_they_come_in() {
    let bodies = [vec![], b"abc".to_vec(), vec![7; 0xffff], vec![9; 30_000]];
    let messages: Vec<u8> = bodies.iter().flat_map(|body| ticket(body)).collect();
    for piece in [1, 2, 3, 4, 5, 100, FULL] {
        let mut scene = Scene::new(CIPHERS[0], true);
        for content in messages.chunks(piece) {
            scene.send(HANDSHAKE, content);
            assert_eq!(scene.read_all(100).1, Err(Error::WantRead));
            assert!(scene.library().kept < 4 + 0xffff);
        }
        assert_eq!(scene.library().tickets, bodies);
        assert_eq!(scene.library().kept, 0);
        scene.send(DATA, b"data");
        assert_eq!(scene.read_all(100).0, b"data");
        assert_eq!(scene.sent(), []);
    }
}

#[test]
fn a_ticket_the_library_refuses_ends_the_connection() {
    for (error, alert) in [
        (Error::PeerMisbehaved("a bad ticket".to_owned()), 50),
        (Error::PeerMisbehaved("an extension twice".to_owned()), 47),
        (Error::Internal("no clock".to_owned()), 80),
    ] {
        let mut scene = Scene::new(CIPHERS[0], true);
        scene.library().refuses_tickets = Some((Alert(alert), error.clone()));
        scene.send(HANDSHAKE, &ticket(b"abc"));
        assert_eq!(scene.read_all(100).1, Err(error));
        assert_eq!(scene.sent(), [fatal(alert)]);
    }
}

#[test]
fn tickets_are_for_clients() {
    // Judged by its header.
    for content in [&ticket(b"abc")[..], &[4, 0, 0xff, 0xff]] {
        let mut scene = Scene::new(CIPHERS[0], false);
        scene.send(HANDSHAKE, content);
        let (_, end) = scene.read_all(100);
        assert!(matches!(end, Err(Error::PeerMisbehaved(_))), "{end:?}");
        assert_eq!(scene.sent(), [fatal(10)]);
        assert_eq!(scene.library().tickets, [b""; 0]);
        assert_eq!(scene.library().kept, 0);
    }
}

#[test]
fn messages_that_may_not_come_are_refused() {
    all_are_refused(&[
        refusal("a HelloRequest", 10, |peer| {
            peer.record(HANDSHAKE, &[0, 0, 0, 0])
        }),
        refusal("a ClientHello, by its header", 10, |peer| {
            peer.record(HANDSHAKE, &[1, 0, 2, 0])
        }),
        refusal("a ServerHello", 10, |peer| {
            peer.record(HANDSHAKE, &[2, 0, 0, 1, 0])
        }),
        refusal("a CertificateRequest", 10, |peer| {
            peer.record(HANDSHAKE, &[13, 0, 0, 3, 0, 0, 0])
        }),
        refusal("a Finished", 10, |peer| {
            peer.record(HANDSHAKE, &[20, 0, 0, 1, 0])
        }),
        refusal("a message of no type that there is", 10, |peer| {
            peer.record(HANDSHAKE, &[255, 255, 255, 255])
        }),
        refusal("a KeyUpdate without a body", 50, |peer| {
            peer.record(HANDSHAKE, &[24, 0, 0, 0])
        }),
        refusal("a KeyUpdate of two bytes", 50, |peer| {
            peer.record(HANDSHAKE, &[24, 0, 0, 2, 0, 0])
        }),
        refusal("a KeyUpdate that asks for 2", 47, |peer| {
            peer.record(HANDSHAKE, &[24, 0, 0, 1, 2])
        }),
        refusal("two KeyUpdates in one record", 10, |peer| {
            peer.record(HANDSHAKE, &[KEY_UPDATE, KEY_UPDATE].concat())
        }),
        refusal("a byte behind a KeyUpdate", 10, |peer| {
            peer.record(HANDSHAKE, &[24, 0, 0, 1, 0, 24])
        }),
        refusal("a byte behind the rest of a KeyUpdate", 10, |peer| {
            let first = peer.record(HANDSHAKE, &KEY_UPDATE[..3]);
            [first, peer.record(HANDSHAKE, &[1, 0, 24])].concat()
        }),
    ]);
    // On clients only: servers take no ticket at all.
    for (content, alert) in [(&[4, 1, 0, 0][..], 50), (&[4, 0xff, 0xff, 0xff], 50)] {
        let mut scene = Scene::new(CIPHERS[0], true);
        scene.send(HANDSHAKE, content);
        scene.read_all(100).1.unwrap_err();
        assert_eq!(scene.sent(), [fatal(alert)]);
    }
}

#[test]
fn nothing_may_stand_between_the_pieces_of_a_message() {
    all_are_refused(&[
        refusal("data", 10, |peer| {
            let first = peer.record(HANDSHAKE, &KEY_UPDATE[..1]);
            [first, peer.record(DATA, b"data")].concat()
        }),
        refusal("empty data", 10, |peer| {
            let first = peer.record(HANDSHAKE, &KEY_UPDATE[..4]);
            [first, peer.record(DATA, b"")].concat()
        }),
        refusal("close_notify", 10, |peer| {
            let first = peer.record(HANDSHAKE, &KEY_UPDATE[..4]);
            [first, peer.record(ALERT, &CLOSE_NOTIFY)].concat()
        }),
        refusal("user_canceled", 10, |peer| {
            let first = peer.record(HANDSHAKE, &KEY_UPDATE[..4]);
            [first, peer.record(ALERT, &[1, 90])].concat()
        }),
    ]);
}

// --- key updates ---

#[test]
fn new_receiving_keys_are_used_at_once() {
    is_delivered(
        |peer| {
            let mut stream = Vec::new();
            for generation in 0..100_u8 {
                stream.extend(peer.record(DATA, &[generation]));
                stream.extend(peer.key_update(false));
            }
            stream
        },
        &(0..100).collect::<Vec<u8>>(),
    );
}

#[test]
fn a_key_update_may_come_in_pieces() {
    is_delivered(
        |peer| {
            let first = peer.record(HANDSHAKE, &KEY_UPDATE[..2]);
            let second = peer.record(HANDSHAKE, &KEY_UPDATE[2..]);
            peer.update();
            [first, second, peer.record(DATA, b"data")].concat()
        },
        b"data",
    );
}

#[test]
fn many_requests_for_new_keys_have_one_answer_before_the_next_data() {
    let mut scene = Scene::new(CIPHERS[0], true);
    for _ in 0..20 {
        let update = scene.peer.key_update(true);
        scene.give(&update);
        assert_eq!(scene.read_all(10).1, Err(Error::WantRead));
    }
    // A side that is silent stays so.
    assert_eq!(scene.sent(), []);
    scene.ours.write(b"data").unwrap();
    scene.ours.write(b"more").unwrap();
    assert_eq!(
        scene.sent(),
        [
            (HANDSHAKE, KEY_UPDATE.to_vec()),
            (DATA, b"data".to_vec()),
            (DATA, b"more".to_vec())
        ]
    );
}

#[test]
fn an_update_of_ours_answers_a_request() {
    let mut scene = Scene::new(CIPHERS[0], true);
    scene.ours.write(b"first").unwrap();
    let update = scene.peer.key_update(true);
    scene.give(&update);
    assert_eq!(scene.read_all(10).1, Err(Error::WantRead));
    scene.library().update_first = Some(true);
    scene.ours.write(b"second").unwrap();
    assert_eq!(
        scene.sent(),
        [
            (DATA, b"first".to_vec()),
            // RFC 8446 section 4.6.3: what answers a request asks for nothing. The peer has new keys.
            (HANDSHAKE, KEY_UPDATE.to_vec()),
            (DATA, b"second".to_vec())
        ]
    );
}

#[test]
fn the_next_keys_failing_is_our_fault() {
    for asks in [false, true] {
        let mut scene = Scene::new(CIPHERS[0], true);
        scene.library().refuses_keys = true;
        let update = scene.peer.key_update(asks);
        scene.give(&update);
        assert_eq!(
            scene.read_all(10).1,
            Err(Error::Internal("no more keys".to_owned()))
        );
        assert_eq!(scene.sent(), [fatal(80)]);
    }
}

// --- alerts and the end ---

#[test]
fn alerts_are_fatal_whatever_their_level() {
    for alert in (0..=255).filter(|alert| ![0, 90].contains(alert)) {
        for level in [0, 1, 2, 3, 255] {
            let mut scene = Scene::new(CIPHERS[0], true);
            scene.send(DATA, b"data");
            scene.send(ALERT, &[level, alert]);
            scene.send(DATA, b"after");
            assert_eq!(
                scene.read_all(100),
                (b"data".to_vec(), Err(Error::AlertReceived(Alert(alert))))
            );
            // An alert is not answered.
            assert_eq!(scene.sent(), []);
        }
    }
}

#[test]
fn alerts_are_two_bytes_long() {
    all_are_refused(&[
        refusal("one byte", 50, |peer| peer.record(ALERT, &[1])),
        refusal("three bytes", 50, |peer| peer.record(ALERT, &[1, 0, 0])),
        refusal("two alerts", 50, |peer| peer.record(ALERT, &[1, 90, 1, 0])),
    ]);
}

#[test]
fn close_notify_is_the_end_of_data_whatever_its_level() {
    for level in [0, 1, 2, 255] {
        let mut scene = Scene::new(CIPHERS[0], true);
        scene.send(DATA, b"data");
        scene.send(ALERT, &[1, 90]);
        scene.send(ALERT, &[level, 0]);
        scene.give(b"and something else");
        assert_eq!(scene.read_all(100), (b"data".to_vec(), Ok(())));
        assert_eq!(scene.ours.unprocessed(), b"and something else");
        // The other direction is not closed.
        scene.ours.write(b"still here").unwrap();
        assert_eq!(scene.sent(), [(DATA, b"still here".to_vec())]);
    }
}

#[test]
fn nothing_is_sent_after_close_notify_and_data_is_still_received() {
    let mut scene = Scene::new(CIPHERS[0], true);
    scene.ours.send_close_notify().unwrap();
    assert_eq!(scene.sent(), [(ALERT, CLOSE_NOTIFY.to_vec())]);
    let update = scene.peer.key_update(true);
    scene.give(&update);
    scene.send(DATA, b"late");
    assert_eq!(
        scene.read_all(100),
        (b"late".to_vec(), Err(Error::WantRead))
    );
    assert!(matches!(scene.ours.write(b"x"), Err(Error::Misuse(_))));
    scene.send(CHANGE_CIPHER_SPEC, &[1]);
    scene.read_all(100).1.unwrap_err();
    assert_eq!(scene.sent(), []);
}

#[test]
fn a_peer_that_just_stops_is_told_from_one_that_closes() {
    let mut scene = Scene::new(CIPHERS[0], true);
    scene.send(DATA, b"data");
    let record = scene.peer.record(DATA, b"cut");
    scene.give(&record[..record.len() - 1]);
    scene.ours.process_incoming(b"").unwrap();
    assert_eq!(
        scene.read_all(100),
        (
            b"data".to_vec(),
            Err(Error::RaggedEof {
                during_handshake: false
            })
        )
    );
}
