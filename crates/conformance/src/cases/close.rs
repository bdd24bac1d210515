//! close_notify, in both directions.

use polytls_core::{Error, Role};

use crate::credentials::HOST;
use crate::pair::other;
use crate::scene::{PORT, Scene};

const BOTH: [Role; 2] = [Role::Client, Role::Server];

pub(super) fn close_notify_ends_reading_for_ever(scene: &Scene<'_>) {
    for role in BOTH {
        let mut pair = scene.connected();
        assert_eq!(
            pair.side(role).shutdown(),
            Err(Error::WantRead),
            "the peer's has not come"
        );
        assert!(pair.side(role).has_closed());
        pair.pass(role);
        let peer = pair.side(other(role));
        for _ in 0..3 {
            assert_eq!(peer.read(&mut [0; 8]), Ok(0));
        }
        assert!(peer.peer_has_closed());
        assert_eq!(peer.shutdown(), Ok(()));
        // An end of the transport changes nothing any more.
        pair.end(other(role));
        assert_eq!(pair.side(other(role)).read(&mut [0; 8]), Ok(0));

        pair.pass(other(role));
        assert_eq!(pair.side(role).shutdown(), Ok(()));
        assert_eq!(pair.side(role).read(&mut [0; 8]), Ok(0));
    }
}

pub(super) fn close_notify_is_queued_once(scene: &Scene<'_>) {
    for role in BOTH {
        let mut pair = scene.connected();
        let _ = pair.take(role);
        assert_eq!(pair.side(role).send_close_notify(), Ok(()));
        assert!(!pair.take(role).is_empty());
        assert_eq!(pair.side(role).send_close_notify(), Ok(()));
        assert_eq!(pair.side(role).shutdown(), Err(Error::WantRead));
        assert_eq!(pair.take(role), b"");
        assert_is!(pair.side(role).write(b"late"), Err(Error::Misuse(_)));
        assert_eq!(pair.take(role), b"", "nothing is sent after close_notify");
        // Ours does not end what the peer has to say.
        assert_eq!(pair.side(other(role)).write(b"still here"), Ok(10));
        pair.pass(other(role));
        assert_eq!(pair.read_all(role), Ok(b"still here".to_vec()));
    }
}

pub(super) fn bytes_behind_close_notify_are_kept(scene: &Scene<'_>) {
    for role in BOTH {
        let mut pair = scene.connected();
        assert_eq!(pair.side(role).write(b"last words"), Ok(10));
        assert_eq!(pair.side(role).send_close_notify(), Ok(()));
        let mut sealed = pair.take(role);
        // What looks like a record must not be opened either.
        let behind = b"\x17\x03\x03\x00\x02ab plain text of the next protocol";
        sealed.extend(behind);
        pair.give(other(role), &sealed);
        let peer = pair.side(other(role));
        let mut buffer = [0; 64];
        assert_eq!(peer.read(&mut buffer), Ok(10));
        assert_eq!(peer.read(&mut buffer), Ok(0));
        assert_eq!(peer.unprocessed(), behind);
        assert_eq!(peer.process_incoming(b" and more"), Ok(()));
        assert_eq!(peer.read(&mut buffer), Ok(0));
        assert_eq!(peer.shutdown(), Ok(()));
        assert!(peer.unprocessed().starts_with(behind));
        assert!(peer.unprocessed().ends_with(b"next protocol and more"));
    }
}

pub(super) fn data_before_close_notify_is_read_first(scene: &Scene<'_>) {
    for role in BOTH {
        let mut pair = scene.connected();
        assert_eq!(pair.side(other(role)).write(b"before"), Ok(6));
        assert_eq!(pair.side(other(role)).send_close_notify(), Ok(()));
        pair.pass(other(role));
        // Shutting down does not throw away what has not been read, and the network has no more.
        let is_told =
            |outcome| matches!(outcome, Err(Error::Misuse(what)) if what.contains("read"));
        assert!(is_told(pair.side(role).shutdown()));
        let mut buffer = [0; 3];
        assert_eq!(pair.side(role).read(&mut buffer), Ok(3));
        assert!(is_told(pair.side(role).shutdown()));
        assert_eq!(pair.side(role).read(&mut buffer), Ok(3));
        assert_eq!(&buffer, b"ore");
        assert_eq!(pair.side(role).read(&mut buffer), Ok(0));
        assert_eq!(pair.side(role).shutdown(), Ok(()));
    }
}

pub(super) fn both_sides_may_close_at_once(scene: &Scene<'_>) {
    let mut pair = scene.connected();
    for role in BOTH {
        assert_eq!(pair.side(role).shutdown(), Err(Error::WantRead));
    }
    let crossing = BOTH.map(|role| pair.take(role));
    pair.give(Role::Server, &crossing[0]);
    pair.give(Role::Client, &crossing[1]);
    for role in BOTH {
        assert_eq!(pair.side(role).shutdown(), Ok(()), "{role:?}");
        assert_eq!(pair.side(role).read(&mut [0; 1]), Ok(0), "{role:?}");
        assert_eq!(pair.take(role), b"", "{role:?} has said it already");
    }
}

pub(super) fn there_is_nothing_to_shut_down_inside_the_handshake(scene: &Scene<'_>) {
    let mut pair = scene.plain_engines().pair(HOST, PORT);
    for _ in 0..2 {
        for role in BOTH {
            assert_is!(pair.side(role).shutdown(), Err(Error::Misuse(_)));
            assert_is!(pair.side(role).send_close_notify(), Err(Error::Misuse(_)));
            assert_eq!(pair.side(role).failure(), None);
        }
        // And again with the client's first flight on its way.
        assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
    }
    let mut pair = pair.connected();
    let arrived = pair.exchange(b"it did", b"no harm");
    assert_eq!(arrived, (b"no harm".to_vec(), b"it did".to_vec()));
}

/// RFC 8446 section 6.1: closing is per direction.
pub(super) fn one_direction_leaves_the_other_open(scene: &Scene<'_>) {
    for role in BOTH {
        let mut pair = scene.connected();
        assert_eq!(pair.side(role).shutdown(), Err(Error::WantRead));
        pair.pass(role);
        let peer = pair.side(other(role));
        assert_eq!(peer.read(&mut [0; 1]), Ok(0));
        assert!(!peer.has_closed(), "nobody asked for it");
        let data = vec![b'z'; 50_000];
        assert_eq!(peer.write(&data), Ok(data.len()));
        pair.pass(other(role));
        assert_eq!(pair.read_all(role), Ok(data));
        assert_eq!(pair.side(other(role)).shutdown(), Ok(()));
        pair.pass(other(role));
        assert_eq!(pair.side(role).read(&mut [0; 1]), Ok(0));
    }
}

/// A side that only writes finds the peer's close_notify as well, and seals nothing behind its
/// answer.
pub(super) fn is_answered_by_a_side_that_only_writes(scene: &Scene<'_>) {
    for role in BOTH {
        let mut pair = scene.connected();
        assert_eq!(pair.side(role).send_close_notify(), Ok(()));
        pair.pass(role);
        let peer = pair.side(other(role));
        let first = peer.write(b"first");
        let mut buffer = [0; 16];
        if first.is_ok() {
            assert!(!peer.has_closed(), "sealed behind close_notify");
            assert_eq!(peer.read(&mut buffer), Ok(0));
        } else {
            assert_is!(first, Err(Error::Misuse(_)));
        }
        assert!(peer.has_closed());
        assert_is!(peer.write(b"second"), Err(Error::Misuse(_)));
        // Whatever was sealed is whole, and close_notify is the last of it.
        pair.pass(other(role));
        let reader = pair.side(role);
        if let Ok(length) = first {
            assert_eq!(reader.read(&mut buffer), Ok(length));
        }
        assert_eq!(reader.read(&mut buffer), Ok(0));
        assert_eq!(reader.unprocessed(), b"");
    }
}

/// RFC 5246 section 7.2.1: the other party responds with a close_notify of its own and closes down
/// the connection, discarding any pending writes.
pub(super) fn is_answered_and_ends_writing(scene: &Scene<'_>) {
    for role in BOTH {
        let mut pair = scene.connected();
        assert_eq!(pair.side(role).shutdown(), Err(Error::WantRead));
        pair.pass(role);
        let peer = pair.side(other(role));
        assert_eq!(peer.read(&mut [0; 1]), Ok(0));
        assert!(peer.has_closed(), "it is answered");
        assert_is!(peer.write(b"too late"), Err(Error::Misuse(_)));
        assert_eq!(peer.read(&mut [0; 1]), Ok(0), "and that is no failure");
        pair.pass(other(role));
        assert_eq!(pair.side(role).shutdown(), Ok(()));
    }
}
