//! Somebody on the way changes, repeats or drops records.

use polytls_core::config::Verification;
use polytls_core::{Alert, Error, Role};

use crate::credentials::HOST;
use crate::pair::{Pair, other};
use crate::records::{self, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};
use crate::scene::{PORT, Scene};

const SERVER_KEY_EXCHANGE: u8 = 12;
const BAD_RECORD_MAC: Alert = Alert(20);

/// That `role` refuses what it was given, and its peer is told.
fn assert_refused(pair: &mut Pair, role: Role, context: &str) {
    assert_is!(pair.failure(role), Error::PeerMisbehaved(_), "{context}");
    pair.pass(role);
    let told = pair.failure(other(role));
    assert_eq!(told, Error::AlertReceived(BAD_RECORD_MAC), "{context}");
}

fn flip(record: &mut [u8]) {
    let last = record.len() - 1;
    record[last] ^= 1;
}

/// Flips a bit in the `target`th encrypted record that `role` sends during the handshake; whether
/// there was one.
fn tampered(pair: &mut Pair, role: Role, target: usize, is_tls13: bool) -> bool {
    let mut seen = 0;
    let mut encrypted = false;
    let mut done = false;
    let _ = pair.handshake_through(&mut |from, flight| {
        if from != role || done {
            return flight;
        }
        let mut records = records::split(&flight);
        for record in &mut records {
            // TLS 1.3 hides the type of what is encrypted; TLS 1.2 switches at change_cipher_spec.
            if (is_tls13 && record[0] == APPLICATION_DATA) || encrypted {
                done |= seen == target;
                if seen == target {
                    flip(record);
                }
                seen += 1;
            }
            encrypted |= !is_tls13 && record[0] == CHANGE_CIPHER_SPEC;
        }
        records.concat()
    });
    done
}

pub(super) fn with_any_encrypted_handshake_record(scene: &Scene<'_>) {
    let engines = scene.plain_engines();
    for role in [Role::Client, Role::Server] {
        let mut count = 0;
        loop {
            let mut pair = engines.pair(HOST, PORT);
            if !tampered(&mut pair, role, count, scene.is_tls13()) {
                break;
            }
            assert_refused(
                &mut pair,
                other(role),
                &format!("record {count} of the {role:?}"),
            );
            count += 1;
        }
        assert!(count > 0, "the {role:?} encrypts its Finished at least");
    }
}

/// The signature over the key exchange is what binds it to the certificate; it is checked where
/// nothing else is (RFC 5246 section 7.4.3).
pub(super) fn with_the_signature_of_the_key_exchange(scene: &Scene<'_>) {
    for verification in [Verification::Full, Verification::Nothing] {
        let mut client = scene.client_config();
        client.verification = verification;
        let mut pair = scene.pair(&client, &scene.server_config());
        let mut flipped = false;
        let _ = pair.handshake_through(&mut |from, flight| {
            if from == Role::Client || flipped {
                return flight;
            }
            let mut messages = records::messages(&flight);
            for message in &mut messages {
                if message[0] == SERVER_KEY_EXCHANGE {
                    flip(message);
                    flipped = true;
                }
            }
            records::plain(HANDSHAKE, &messages.concat())
        });
        assert!(flipped, "no ServerKeyExchange was seen");
        assert_is!(
            pair.failure(Role::Client),
            Error::Certificate(_) | Error::PeerMisbehaved(_),
            "{verification:?}"
        );
        pair.pass(Role::Client);
        assert_is!(
            pair.failure(Role::Server),
            Error::AlertReceived(_),
            "{verification:?}"
        );
    }
}

pub(super) fn with_data_after_data_that_was_whole(scene: &Scene<'_>) {
    for role in [Role::Client, Role::Server] {
        let mut pair = scene.connected();
        assert_eq!(pair.side(role).write(&[1; 20_000]), Ok(20_000));
        let mut records = records::split(&pair.take(role));
        let last = records.len() - 1;
        flip(&mut records[last]);
        // All at once, into a buffer that would take all of it.
        pair.give(other(role), &records.concat());
        let mut buffer = vec![0; 40_000];
        let opened = pair
            .side(other(role))
            .read(&mut buffer)
            .expect("what was whole");
        assert!(opened > 0 && opened < 20_000, "{opened}");
        assert!(buffer[..opened].iter().all(|byte| *byte == 1));
        assert!(
            buffer[opened..].iter().all(|byte| *byte == 0),
            "what was not, leaked"
        );
        assert_refused(&mut pair, other(role), "data");
    }
}

pub(super) fn with_close_notify(scene: &Scene<'_>) {
    for role in [Role::Client, Role::Server] {
        let mut pair = scene.connected();
        assert_eq!(pair.side(role).send_close_notify(), Ok(()));
        let mut sealed = pair.take(role);
        flip(&mut sealed);
        pair.give(other(role), &sealed);
        assert_refused(&mut pair, other(role), "close_notify");
        assert!(!pair.side(other(role)).peer_has_closed());
    }
}

pub(super) fn by_replay_reordering_or_loss(scene: &Scene<'_>) {
    for order in [&[0, 0][..], &[1], &[1, 0]] {
        for role in [Role::Client, Role::Server] {
            let mut pair = scene.connected();
            // Read what the handshake left, so that only this is in the way.
            assert_eq!(pair.read_all(other(role)), Ok(Vec::new()));
            let sealed = [b"first.", b"second"].map(|text| {
                assert_eq!(pair.side(role).write(text), Ok(6));
                pair.take(role)
            });
            for index in order {
                pair.give(other(role), &sealed[*index]);
            }
            let mut buffer = [0; 64];
            if order[0] == 0 {
                assert_eq!(pair.side(other(role)).read(&mut buffer), Ok(6));
                assert_eq!(&buffer[..6], b"first.");
            }
            assert_refused(&mut pair, other(role), &format!("records {order:?}"));
        }
    }
}
