//! A record that may not come ends the connection, and the peer is sent the alert that the RFCs have
//! for it. What is inside of records is a matter of the kit in Python, which holds every library to it.

use polytls_core::{Alert, Error, Role};

use crate::credentials::HOST;
use crate::pair::other;
use crate::records::{APPLICATION_DATA, HANDSHAKE, plain};
use crate::scene::{PORT, Scene};

const BOTH: [Role; 2] = [Role::Client, Role::Server];

/// The longest ciphertext of the version, and one byte.
fn too_long(scene: &Scene<'_>) -> Vec<u8> {
    let most = if scene.is_tls13() { 256 } else { 2048 };
    plain(APPLICATION_DATA, &vec![0; (1 << 14) + most + 1])
}

/// What does not begin a record, with the alert for it.
fn headers(scene: &Scene<'_>) -> [(Vec<u8>, Alert); 3] {
    [
        (plain(99, b"what is this"), Alert::UNEXPECTED_MESSAGE),
        (
            vec![APPLICATION_DATA, 2, 0, 0, 1, 0],
            Alert::PROTOCOL_VERSION,
        ),
        (too_long(scene), Alert::RECORD_OVERFLOW),
    ]
}

pub(super) fn for_a_header_that_is_none(scene: &Scene<'_>) {
    for role in BOTH {
        for (bytes, alert) in headers(scene) {
            let mut pair = scene.connected();
            assert_eq!(pair.read_all(role), Ok(Vec::new()));
            pair.pass(role);
            pair.give(role, &bytes);
            assert_is!(pair.failure(role), Error::PeerMisbehaved(_), "{alert}");
            pair.pass(role);
            let told = pair.failure(other(role));
            assert_eq!(
                told,
                Error::AlertReceived(alert),
                "to the {:?}",
                other(role)
            );
        }
    }
}

/// RFC 8446 section 5.1: in the clear a record holds 2^14 bytes.
pub(super) fn for_a_record_in_the_clear_that_is_too_long(scene: &Scene<'_>) {
    for extra in [1, 256, 2048] {
        let mut pair = scene.plain_engines().pair(HOST, PORT);
        assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
        let bytes = plain(HANDSHAKE, &vec![1; (1 << 14) + extra]);
        pair.give(Role::Server, &bytes);
        assert_is!(
            pair.failure(Role::Server),
            Error::PeerMisbehaved(_),
            "{extra}"
        );
        pair.pass(Role::Server);
        let told = pair.failure(Role::Client);
        assert_eq!(
            told,
            Error::AlertReceived(Alert::RECORD_OVERFLOW),
            "{extra}"
        );
    }
}

/// RFC 8446 section 6.1.
pub(super) fn but_not_behind_our_close_notify(scene: &Scene<'_>) {
    for role in BOTH {
        for (bytes, alert) in headers(scene) {
            let mut pair = scene.connected();
            assert_eq!(pair.side(role).send_close_notify(), Ok(()));
            let _ = pair.take(role);
            pair.give(role, &bytes);
            assert_is!(pair.failure(role), Error::PeerMisbehaved(_), "{alert}");
            assert_eq!(pair.take(role), b"", "{alert}");
        }
    }
}
