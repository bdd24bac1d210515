//! What is no TLS, or none any more: it is judged, named where it can be, and never a panic.

use polytls_core::{Error, MAX_RECORD, Role};

use crate::credentials::HOST;
use crate::pair::{Cut, Pair, other};
use crate::random::Random;
use crate::records;
use crate::scene::{PORT, Scene, X25519};

/// A pair whose client has made its first flight.
fn begun(scene: &Scene<'_>) -> Pair {
    let mut pair = scene.plain_engines().pair(HOST, PORT);
    assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
    pair
}

/// What `role` says to `bytes` in the place of the peer's first flight.
fn answer(pair: &mut Pair, role: Role, bytes: &[u8]) -> Result<(), Error> {
    pair.give(role, bytes);
    pair.side(role).do_handshake()
}

pub(super) fn plain_http_is_named(scene: &Scene<'_>) {
    let answers = [
        (Role::Client, &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]),
        (Role::Server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (Role::Server, b"POST / HTTP/1.1\r\n"),
    ];
    for (role, bytes) in answers {
        let mut pair = begun(scene);
        let Err(Error::NotTls(what)) = answer(&mut pair, role, bytes) else {
            panic!("{bytes:?} is not TLS");
        };
        assert!(what.contains("HTTP"), "{what}");
        assert_eq!(pair.failure(role), Error::NotTls(what));
    }
}

pub(super) fn garbage_is_not_tls(scene: &Scene<'_>) {
    let others = [
        &b"\x00\x00\x00\x00\x00\x00"[..],
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        b"\x16\x02\x00\x00\x01\x00",
    ];
    for role in [Role::Client, Role::Server] {
        for bytes in others {
            let mut pair = begun(scene);
            let judged = answer(&mut pair, role, bytes);
            // The last is a record of no version: nearly TLS.
            assert_is!(
                judged,
                Err(Error::NotTls(_) | Error::PeerMisbehaved(_)),
                "{bytes:x?}"
            );
        }
    }
    // Less than a header may yet become one, and the end of the transport decides.
    let mut pair = begun(scene);
    assert_eq!(
        answer(&mut pair, Role::Server, b"HTTP"),
        Err(Error::WantRead)
    );
    pair.end(Role::Server);
    assert_is!(
        pair.failure(Role::Server),
        Error::RaggedEof {
            during_handshake: true
        } | Error::NotTls(_)
    );
}

pub(super) fn oversized_records_are_refused(scene: &Scene<'_>) {
    let length = u16::try_from(MAX_RECORD - 4).expect("a record's length fits");
    let [high, low] = length.to_be_bytes();
    for kind in [records::ALERT, records::HANDSHAKE] {
        for role in [Role::Client, Role::Server] {
            let mut pair = begun(scene);
            // Its header is enough: nobody waits for, or stores, the rest.
            let judged = answer(&mut pair, role, &[kind, 3, 3, high, low]);
            assert_is!(judged, Err(Error::PeerMisbehaved(_)), "{role:?}");
        }
    }
    let mut pair = scene.connected();
    pair.give(Role::Client, &[records::APPLICATION_DATA, 3, 3, high, low]);
    assert_is!(pair.failure(Role::Client), Error::PeerMisbehaved(_));
    pair.pass(Role::Client);
    assert_is!(pair.failure(Role::Server), Error::AlertReceived(_));
}

pub(super) fn a_broken_header_after_the_handshake_is_refused_after_the_data(scene: &Scene<'_>) {
    for role in [Role::Client, Role::Server] {
        let mut pair = scene.connected();
        assert_eq!(pair.side(role).write(b"good"), Ok(4));
        let mut sealed = pair.take(role);
        // A proxy that gives up in the middle of a connection.
        sealed.extend(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
        pair.give(other(role), &sealed);
        let mut buffer = [0; 64];
        assert_eq!(pair.side(other(role)).read(&mut buffer), Ok(4));
        assert_is!(pair.failure(other(role)), Error::PeerMisbehaved(_));
        pair.pass(other(role));
        assert_is!(pair.failure(role), Error::AlertReceived(_));
    }
}

/// A verdict that a peer may provoke. [`Error::Internal`] is none: that is what a panic becomes.
fn assert_verdict(verdict: &Result<(), Error>, context: &str) {
    assert_is!(
        verdict,
        Ok(())
            | Err(Error::WantRead
                | Error::PeerMisbehaved(_)
                | Error::PeerIncompatible(_)
                | Error::NotTls(_)
                | Error::Certificate(_)
                | Error::AlertReceived(_)),
        "{context}"
    );
}

pub(super) fn random_bytes_are_judged_without_panic(scene: &Scene<'_>) {
    let engines = scene.plain_engines();
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let length = random.size(4000);
        let mut bytes = random.bytes(length);
        // Half of them look like a record that is all there, some like a message too.
        if seed % 2 == 0 {
            let kind = records::CHANGE_CIPHER_SPEC + u8::try_from(random.below(5)).unwrap_or(0);
            if seed % 4 == 0 && bytes.len() > 4 {
                bytes[0] = u8::try_from(random.below(26)).unwrap_or(0);
                bytes[1..3].fill(0);
            }
            bytes = records::plain(kind, &bytes);
        }
        for role in [Role::Client, Role::Server] {
            let mut pair = engines.pair(HOST, PORT);
            if role == Role::Client {
                assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
            }
            let verdict = answer(&mut pair, role, &bytes);
            assert!(
                verdict.is_err(),
                "{role:?}, seed {seed}: random bytes are no handshake"
            );
            assert_verdict(&verdict, &format!("{role:?}, seed {seed}"));
        }
    }
}

/// Changes, drops, repeats or inserts a few bytes.
fn damage(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.size(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let end = (at + random.size(16)).min(bytes.len());
        match random.below(5) {
            0 => bytes[at] = u8::try_from(random.below(256)).unwrap_or(0),
            1 => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

pub(super) fn damaged_flights_are_judged_without_panic(scene: &Scene<'_>) {
    let mut client = scene.client_config();
    client.common.groups = Some(vec![X25519]);
    let engines = scene.engines(&client, &scene.server_config());
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let target = random.below(4);
        let mut flights = 0;
        let mut pair = engines.pair(HOST, PORT).cut(Cut::Random(seed));
        let outcome = pair.handshake_through(&mut |_, flight| {
            let hit = flights == target;
            flights += 1;
            if hit {
                damage(&mut random, flight)
            } else {
                flight
            }
        });
        for (role, verdict) in [
            (Role::Client, outcome.client),
            (Role::Server, outcome.server),
        ] {
            assert_verdict(&verdict, &format!("{role:?}, seed {seed}"));
            let read = pair.side(role).read(&mut [0; 64]).map(|_| ());
            assert_verdict(&read, &format!("{role:?} reading, seed {seed}"));
        }
    }
}

pub(super) fn damaged_data_is_judged_without_panic(scene: &Scene<'_>) {
    let engines = scene.plain_engines();
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut pair = engines.pair(HOST, PORT).connected();
        let data: Vec<u8> = (0..=255).cycle().take(20_000).collect();
        assert_eq!(pair.server.write(&data), Ok(data.len()));
        assert_eq!(pair.server.send_close_notify(), Ok(()));
        let sealed = pair.take(Role::Server);
        let damaged = damage(&mut random, sealed);
        pair.give(Role::Client, &damaged);
        let mut read = Vec::new();
        let mut buffer = [0; 999];
        let end = loop {
            match pair.client.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(count) => read.extend_from_slice(&buffer[..count]),
                Err(error) => break Err(error),
            }
        };
        assert_verdict(&end, &format!("seed {seed}"));
        assert!(
            data.starts_with(&read),
            "seed {seed}: something nobody wrote was read"
        );
        if end.is_ok() {
            assert_eq!(
                read.len(),
                data.len(),
                "seed {seed}: a clean end, and data is missing"
            );
        }
    }
}
