//! The end of the transport without close_notify.

use polytls_core::{Error, Role};

use crate::credentials::HOST;
use crate::pair::other;
use crate::records;
use crate::scene::{Engines, PORT, Scene, X25519};

const AFTERWARDS: Error = Error::RaggedEof {
    during_handshake: false,
};
const INSIDE: Error = Error::RaggedEof {
    during_handshake: true,
};

pub(super) fn the_end_comes_after_the_data(scene: &Scene<'_>) {
    for role in [Role::Client, Role::Server] {
        let mut pair = scene.connected();
        let data = vec![b'd'; 40_000];
        assert_eq!(pair.side(role).write(&data), Ok(data.len()));
        pair.pass(role);
        pair.end(other(role));
        let peer = pair.side(other(role));
        let mut read = 0;
        let end = loop {
            match peer.read(&mut [0; 777]) {
                Ok(0) => panic!("this was no clean end"),
                Ok(count) => read += count,
                Err(error) => break error,
            }
        };
        assert_eq!(read, data.len());
        assert_eq!(end, AFTERWARDS);
        for _ in 0..3 {
            assert_eq!(peer.read(&mut [0; 1]), Err(AFTERWARDS));
        }
        assert_eq!(peer.shutdown(), Err(AFTERWARDS));
        assert!(!peer.peer_has_closed());
    }
}

pub(super) fn an_end_inside_a_record_is_ragged(scene: &Scene<'_>) {
    let mut pair = scene.connected();
    assert_eq!(pair.server.write(b"whole"), Ok(5));
    let mut sealed = pair.take(Role::Server);
    assert_eq!(pair.server.write(b"cut"), Ok(3));
    let second = pair.take(Role::Server);
    sealed.extend(&second[..second.len() - 1]);
    pair.give(Role::Client, &sealed);
    pair.end(Role::Client);
    let mut buffer = [0; 64];
    assert_eq!(
        pair.client.read(&mut buffer),
        Ok(5),
        "the part of a record is never shown"
    );
    assert_eq!(pair.client.read(&mut buffer), Err(AFTERWARDS));
}

pub(super) fn writing_goes_on_after_the_end(scene: &Scene<'_>) {
    let mut pair = scene.connected();
    pair.end(Role::Client);
    assert_eq!(pair.client.read(&mut [0; 1]), Err(AFTERWARDS));
    // A transport may end in one direction only.
    assert_eq!(pair.client.write(b"are you there?"), Ok(14));
    pair.pass(Role::Client);
    assert_eq!(pair.read_all(Role::Server), Ok(b"are you there?".to_vec()));
    assert_eq!(pair.client.send_close_notify(), Ok(()));
    pair.pass(Role::Client);
    assert_eq!(pair.server.read(&mut [0; 1]), Ok(0));
}

/// It is not authenticated there, so it ends nothing cleanly, and it is no misuse of ours.
pub(super) fn close_notify_inside_the_handshake_is_no_clean_end(scene: &Scene<'_>) {
    for role in [Role::Client, Role::Server] {
        let mut pair = scene.plain_engines().pair(HOST, PORT);
        assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
        pair.give(role, &records::plain(records::ALERT, &[1, 0]));
        let side = pair.side(role);
        assert_is!(side.do_handshake(), Err(error) if error.is_fatal() || error == Error::WantRead);
        assert_is!(side.read(&mut [0; 1]), Err(error) if error.is_fatal() || error == Error::WantRead);
        pair.end(role);
        let error = pair.failure(role);
        assert_is!(
            error,
            INSIDE | Error::PeerMisbehaved(_) | Error::AlertReceived(_),
            "{role:?}"
        );
        assert!(pair.side(role).facts().is_none());
    }
}

/// Engines whose flights are short, as every byte of them costs a handshake, and of the same length
/// each time, which ECDSA's signatures are not.
fn terse_engines(scene: &Scene<'_>) -> Engines {
    let mut client = scene.client_config();
    client.common.groups = Some(vec![X25519]);
    let mut server = scene.presenting_config(&[&scene.credentials.ed25519]);
    server.common.sessions = None;
    client.common.sessions = None;
    scene.engines(&client, &server)
}

/// Ends the transport from `role` after each number of bytes, until its peer gets by with them.
fn end_at_any_byte(scene: &Scene<'_>, role: Role) {
    let engines = terse_engines(scene);
    for offset in 0.. {
        let mut left = offset;
        let mut pair = engines.pair(HOST, PORT);
        let outcome = pair.handshake_through(&mut |from, mut flight| {
            if from == role {
                flight.truncate(left);
                left -= flight.len();
            }
            flight
        });
        let peer = pair.side(other(role));
        if !peer.is_handshaking() {
            assert_eq!(left, 0, "some bytes were not needed");
            assert!(offset > 200, "no handshake is as short as {offset} bytes");
            return;
        }
        let stuck = match role {
            Role::Client => outcome.server,
            Role::Server => outcome.client,
        };
        assert_eq!(stuck, Err(Error::WantRead), "at {offset}");
        pair.end(other(role));
        let peer = pair.side(other(role));
        assert_eq!(peer.do_handshake(), Err(INSIDE), "at {offset}");
        assert_eq!(peer.read(&mut [0; 1]), Err(INSIDE), "at {offset}");
        assert_eq!(peer.write(b"x"), Err(INSIDE), "at {offset}");
        assert_eq!(peer.shutdown(), Err(INSIDE), "at {offset}");
        assert!(peer.facts().is_none(), "at {offset}");
    }
}

pub(super) fn an_end_at_any_byte_of_the_servers_flights(scene: &Scene<'_>) {
    end_at_any_byte(scene, Role::Server);
}

pub(super) fn an_end_at_any_byte_of_the_clients_flights(scene: &Scene<'_>) {
    end_at_any_byte(scene, Role::Client);
}
