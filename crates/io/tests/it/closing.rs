//! The ends of a connection.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use polytls_core::Error as TlsError;
use polytls_io::{Error, Timeout};

use crate::kit::*;
use crate::plain;

#[test]
fn an_orderly_close_says_goodbye_and_does_not_wait_for_the_peers() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        close(&client, false).unwrap();
        assert_eq!(read_exactly(&mut peer, 7), plain::close_notify());
        assert_eq!(peer.read(&mut [0; 10]).unwrap(), 0);
        assert_eq!(client.descriptor(), -1);
        close(&client, false).unwrap();
        close(&client, true).unwrap();
        assert!(matches!(recv(&client, 1), Err(Error::Closed)));
        assert!(matches!(send(&client, b"x"), Err(Error::Closed)));
        assert!(client.facts().unwrap().is_some());
    });
}

#[test]
fn an_orderly_close_of_both_sides_at_once_is_quick() {
    within_limits(|| {
        let (client, server) = pair();
        let other = thread::spawn(move || close(&server, false));
        close(&client, false).unwrap();
        other.join().unwrap().unwrap();
    });
}

#[test]
fn an_orderly_close_is_complete_when_the_peer_closed_without_waiting() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        peer.write_all(&plain::close_notify()).unwrap();
        reset(peer);
        thread::sleep(SHORT);
        close(&client, false).unwrap();
    });
}

#[test]
fn a_forced_close_asks_nothing_of_the_peer() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        send_all(&client, b"last").unwrap();
        // Unread, it would make the end a reset.
        peer.write_all(&plain::record(plain::DATA, b"unread"))
            .unwrap();
        thread::sleep(SHORT);
        close(&client, true).unwrap();
        let mut said = Vec::new();
        peer.read_to_end(&mut said).unwrap();
        let last = plain::record(plain::DATA, b"last");
        assert_eq!(said, [last, plain::close_notify()].concat());

        let (client, peer) = client_of_raw();
        reset(peer);
        thread::sleep(SHORT);
        close(&client, true).unwrap();
    });
}

#[test]
fn a_forced_close_gives_up_on_a_peer_that_does_not_read() {
    within_limits(|| {
        let (client, _server) = pair();
        fill(&client);
        client.set_timeout(Timeout::After(SHORT));
        assert!(matches!(close(&client, true), Err(Error::TimedOut)));
        assert_eq!(client.descriptor(), -1);
    });
}

#[test]
fn a_non_blocking_close_is_called_until_it_is_done() {
    within_limits(|| {
        let (client, server) = pair();
        client.set_timeout(Timeout::NonBlocking);
        assert!(matches!(close(&client, false), Err(Error::WantRead)));
        assert!(client.descriptor() >= 0);
        send_all(&server, b"late").unwrap();
        server.shutdown(Shutdown::Write, &mut || false).unwrap();
        past_wants(|| close(&client, false)).unwrap();
        assert_eq!(client.descriptor(), -1);
    });
}

#[test]
fn a_non_blocking_close_says_so_when_it_cannot_send() {
    within_limits(|| {
        let (client, _server) = pair();
        fill(&client);
        client.set_timeout(Timeout::NonBlocking);
        assert!(matches!(close(&client, false), Err(Error::WantWrite)));
        assert!(matches!(close(&client, true), Err(Error::WantWrite)));
        assert!(client.descriptor() >= 0);
        close(&client, true).unwrap();
        assert_eq!(client.descriptor(), -1);
    });
}

#[test]
fn a_handshake_that_is_not_done_is_just_closed() {
    within_limits(|| {
        let listener = listener();
        listener.set_timeout(Timeout::NonBlocking);
        let _peer = std::net::TcpStream::connect(listener.local_address().unwrap()).unwrap();
        let server = past_wants(|| accept(&listener)).unwrap();
        let not_connected = rustix::io::Errno::NOTCONN.raw_os_error();
        for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
            assert_eq!(errno(server.shutdown(how, &mut || false)), not_connected);
        }
        close(&server, false).unwrap();
        assert_eq!(server.descriptor(), -1);
    });
}

#[test]
fn after_close_notify_one_can_still_read() {
    within_limits(|| {
        let (client, server) = pair();
        client.shutdown(Shutdown::Write, &mut || false).unwrap();
        client.shutdown(Shutdown::Write, &mut || false).unwrap();
        assert!(matches!(
            send(&client, b"x"),
            Err(Error::Tls(TlsError::Misuse(_)))
        ));
        assert_eq!(recv(&server, 10).unwrap(), b"");
        send_all(&server, b"answer").unwrap();
        assert_eq!(recv(&client, 10).unwrap(), b"answer");
    });
}

#[test]
fn closing_wakes_everybody_who_waits() {
    within_limits(|| {
        let (client, server) = pair();
        fill(&client);
        let threads: Vec<_> = (0..6)
            .map(|index| {
                let client = Arc::clone(&client);
                thread::spawn(move || match index % 2 {
                    0 => recv(&client, 10).map(drop),
                    _ => send_all(&client, b"x"),
                })
            })
            .collect();
        thread::sleep(SHORT);
        client.set_timeout(Timeout::NonBlocking);
        let _ = close(&client, true);
        close(&client, true).unwrap();
        for thread in threads {
            let outcome = thread.join().unwrap();
            // A writer may have come to the lock between the two.
            assert!(
                matches!(
                    outcome,
                    Err(Error::Closed | Error::Tls(TlsError::Misuse(_)))
                ),
                "{outcome:?}"
            );
        }
        drop(server);
    });
}

#[test]
fn a_reader_elsewhere_does_not_keep_a_close_from_seeing_the_peers() {
    within_limits(|| {
        let (client, server) = pair();
        let reader = {
            let client = Arc::clone(&client);
            thread::spawn(move || recv(&client, 10))
        };
        thread::sleep(Duration::from_millis(50));
        let closer = thread::spawn(move || close(&client, false));
        assert_eq!(recv(&server, 10).unwrap(), b"");
        close(&server, false).unwrap();
        closer.join().unwrap().unwrap();
        match reader.join().unwrap() {
            Ok(nothing) => assert_eq!(nothing, b""),
            outcome => assert!(matches!(outcome, Err(Error::Closed))),
        }
    });
}
