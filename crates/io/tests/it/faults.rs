//! Peers that go away, break off, refuse, or break the protocol.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use polytls_core::{Alert, Error as TlsError};
use polytls_io::{Error, Listener, ListenerSettings, Timeout};

use crate::kit::*;
use crate::plain::{self, Plain};

fn data(payload: &[u8]) -> Vec<u8> {
    plain::record(plain::DATA, payload)
}

fn is_ragged(outcome: &Result<Vec<u8>, Error>) -> bool {
    matches!(
        outcome,
        Err(Error::Tls(TlsError::RaggedEof {
            during_handshake: false
        }))
    )
}

#[test]
fn a_ragged_end_is_told_after_all_data_and_then_for_ever() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        peer.write_all(&[data(b"one"), data(b"two")].concat())
            .unwrap();
        peer.write_all(&data(b"cut off")[..8]).unwrap();
        drop(peer);
        assert_eq!(recv(&client, 3).unwrap(), b"one");
        assert_eq!(recv(&client, 3).unwrap(), b"two");
        for _ in 0..2 {
            let outcome = recv(&client, 3);
            assert!(is_ragged(&outcome), "{outcome:?}");
        }
        close(&client, false).unwrap();
        assert_eq!(client.descriptor(), -1);
    });
}

#[test]
fn after_a_ragged_end_one_can_still_write() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(is_ragged(&recv(&client, 3)));
        send_all(&client, b"still").unwrap();
        assert_eq!(read_exactly(&mut peer, 10), data(b"still"));
    });
}

#[test]
fn a_reset_is_told_after_all_data_and_then_for_ever() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        peer.write_all(&[data(b"one"), data(b"two")].concat())
            .unwrap();
        assert_eq!(recv(&client, 3).unwrap(), b"one");
        reset(peer);
        assert_eq!(recv(&client, 3).unwrap(), b"two");
        for _ in 0..2 {
            assert_eq!(errno(recv(&client, 3)), RESET);
        }
        let sent = errno(eventually(|| send(&client, b"x").err().map(Err::<(), _>)));
        assert!([RESET, BROKEN_PIPE].contains(&sent));
        close(&client, true).unwrap();
    });
}

#[test]
fn a_reset_that_a_send_has_seen_is_no_ragged_end_for_a_read() {
    within_limits(|| {
        let (client, peer) = client_of_raw();
        reset(peer);
        assert_eq!(
            errno(eventually(|| send(&client, b"x").err().map(Err::<(), _>))),
            RESET
        );
        assert_eq!(errno(recv(&client, 3)), RESET);
        assert!(matches!(close(&client, false), Err(Error::Io(_))));
        assert_eq!(client.descriptor(), -1);
    });
}

#[test]
fn a_send_to_a_peer_that_has_gone_tells_its_alert_and_leaves_its_data() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        let refusal = Alert(116);
        peer.write_all(&[data(b"half an answer"), plain::fatal_alert(refusal)].concat())
            .unwrap();
        drop(peer);
        // The first goes through, and brings the reset.
        let error = eventually(|| send(&client, b"request").err());
        assert!(
            matches!(&error, Error::Tls(TlsError::AlertReceived(alert)) if *alert == refusal),
            "{error:?}"
        );
        assert_eq!(client.pending().unwrap(), 14);
        assert_eq!(recv(&client, 100).unwrap(), b"half an answer");
        for _ in 0..2 {
            assert!(matches!(
                recv(&client, 100),
                Err(Error::Tls(TlsError::AlertReceived(_)))
            ));
        }
    });
}

#[test]
fn a_writer_that_waits_notices_a_reset() {
    within_limits(|| {
        let (client, peer) = client_of_raw();
        fill(&client);
        let writer = thread::spawn({
            let client = std::sync::Arc::clone(&client);
            move || send_all(&client, b"x")
        });
        thread::sleep(SHORT);
        reset(peer);
        assert_eq!(errno(writer.join().unwrap()), RESET);
    });
}

#[test]
fn a_refusal_at_the_end_of_the_handshake_reaches_a_client_that_is_already_sending() {
    within_limits(|| {
        let refusal = Alert(48);
        let settings = ListenerSettings::default();
        let listener = Listener::bind(&loopback(), settings, move || {
            Plain::refusing(refusal).boxed()
        })
        .unwrap();
        let address = listener.local_address().unwrap();
        let client = thread::spawn(move || {
            // The client's side of the handshake is done before the server refuses.
            let client = dial(address).unwrap();
            let _ = send_all(&client, &[0; 200_000]);
            let outcome = recv(&client, 10);
            assert!(
                matches!(&outcome, Err(Error::Tls(TlsError::AlertReceived(alert))) if *alert == refusal),
                "{outcome:?}"
            );
        });
        listener.set_timeout(Timeout::After(Duration::from_millis(500)));
        assert!(matches!(accept(&listener), Err(Error::TimedOut)));
        client.join().unwrap();
        assert_eq!(listener.failed_handshakes(), 1);
    });
}

/// A client that meets nonsense; what it says before the end of its side.
fn refuses_nonsense(
    mut nonsense_peer: impl FnMut(TcpStream) + Send + 'static,
) -> (Error, Duration) {
    let listener = TcpListener::bind(loopback()[0]).unwrap();
    let address = listener.local_addr().unwrap();
    let peer = thread::spawn(move || nonsense_peer(listener.accept().unwrap().0));
    let began = Instant::now();
    let error = dial(address).unwrap_err();
    let took = began.elapsed();
    peer.join().unwrap();
    (error, took)
}

#[test]
fn a_client_tells_its_alert_and_reads_on_so_that_no_reset_eats_it() {
    within_limits(|| {
        let (error, took) = refuses_nonsense(|mut peer| {
            // The mistake first, then more than the client will ever look at.
            peer.write_all(&plain::finished()).unwrap();
            peer.write_all(&[0; 100_000]).unwrap();
            thread::sleep(SHORT);
            peer.write_all(&[0; 100_000]).unwrap();
            let mut said = Vec::new();
            // Not a reset.
            peer.read_to_end(&mut said).unwrap();
            assert_eq!(
                said,
                [plain::hello(), plain::fatal_alert(Alert(10))].concat()
            );
        });
        assert!(
            matches!(error, Error::Tls(TlsError::PeerMisbehaved(_))),
            "{error:?}"
        );
        assert!(
            took < Duration::from_secs(2),
            "the peer's end is the end of it: {took:?}"
        );
    });
}

#[test]
fn a_client_does_not_wait_long_for_the_end_of_a_peer_that_never_ends() {
    within_limits(|| {
        let (error, took) = refuses_nonsense(|mut peer| {
            peer.write_all(&plain::finished()).unwrap();
            // It has the end of the other side at once, and keeps its own open for long.
            let _ = peer.read_to_end(&mut Vec::new());
            peer.set_read_timeout(Some(LONG)).unwrap();
            thread::sleep(Duration::from_millis(2500));
        });
        assert!(
            matches!(error, Error::Tls(TlsError::PeerMisbehaved(_))),
            "{error:?}"
        );
        assert!(
            took >= Duration::from_millis(1500) && took < Duration::from_secs(10),
            "{took:?}"
        );
    });
}

#[test]
fn what_is_no_tls_is_told_as_such() {
    within_limits(|| {
        let (error, _) = refuses_nonsense(|mut peer| {
            peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        assert!(matches!(&error, Error::Tls(TlsError::NotTls(what)) if what.contains("HTTP")));
    });
}

#[test]
fn an_end_or_a_reset_inside_the_handshake_is_told_as_such() {
    within_limits(|| {
        let (error, _) = refuses_nonsense(|mut peer| {
            read_exactly(&mut peer, plain::hello().len());
        });
        let during_handshake = true;
        assert!(
            matches!(&error, Error::Tls(ragged) if *ragged == TlsError::RaggedEof { during_handshake }),
            "{error:?}"
        );
        let (error, _) = refuses_nonsense(|mut peer| {
            read_exactly(&mut peer, plain::hello().len());
            reset(peer);
        });
        assert_eq!(errno(Err::<(), _>(error)), RESET);
    });
}

#[test]
fn a_fatal_error_is_told_to_the_peer_and_then_to_every_call() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        peer.write_all(&[data(b"good"), plain::finished()].concat())
            .unwrap();
        assert_eq!(recv(&client, 10).unwrap(), b"good");
        for _ in 0..2 {
            for outcome in [recv(&client, 10).map(drop), send_all(&client, b"x")] {
                assert!(
                    matches!(outcome, Err(Error::Tls(TlsError::PeerMisbehaved(_)))),
                    "{outcome:?}"
                );
            }
        }
        assert_eq!(read_exactly(&mut peer, 7), plain::fatal_alert(Alert(10)));
        close(&client, false).unwrap();
    });
}
