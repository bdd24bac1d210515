//! TLS that begins on a connection, ends on it, and connections that are given away.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use polytls_core::{Connection, Error as TlsError, Role};
use polytls_io::{Address, Error, Stream, Timeout, take_over};

use crate::kit::*;
use crate::plain::{self, Plain};

fn client_over(socket: TcpStream) -> Stream {
    let connection = Connection::new(Plain::client().boxed().unwrap(), Role::Client);
    take_over(socket.into(), connection, Timeout::After(LONG)).unwrap()
}

fn server_over(socket: TcpStream, leftover: &[u8]) -> Stream {
    let mut connection = Connection::new(Plain::server().boxed().unwrap(), Role::Server);
    if !leftover.is_empty() {
        connection.process_incoming(leftover).unwrap();
    }
    take_over(socket.into(), connection, Timeout::After(LONG)).unwrap()
}

fn plain_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(loopback()[0]).unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

#[test]
fn tls_begins_and_ends_between_plaintext() {
    within_limits(|| {
        let (mut one, mut other) = plain_pair();
        for round in 0..3_u8 {
            one.write_all(b"STARTTLS").unwrap();
            assert_eq!(read_exactly(&mut other, 8), b"STARTTLS");
            other.write_all(b"go ahead").unwrap();
            assert_eq!(read_exactly(&mut one, 8), b"go ahead");
            let server = thread::spawn(move || {
                let server = server_over(other, b"");
                assert_eq!(recv(&server, 10).unwrap(), [round]);
                let (descriptor, behind) = server.unwrap(&mut || false).unwrap();
                assert_eq!(server.descriptor(), -1);
                assert!(matches!(recv(&server, 1), Err(Error::Closed)));
                (TcpStream::from(descriptor.unwrap()), behind)
            });
            let client = client_over(one);
            send_all(&client, &[round]).unwrap();
            let (descriptor, behind) = client.unwrap(&mut || false).unwrap();
            one = descriptor.unwrap().into();
            let behind_there;
            (other, behind_there) = server.join().unwrap();
            assert!(behind.is_empty() && behind_there.is_empty());
            // Calls wait no longer than the timeout said: that one was not for ever.
            one.set_nonblocking(false).unwrap();
            other.set_nonblocking(false).unwrap();
        }
    });
}

#[test]
fn a_client_refuses_what_came_before_it_spoke() {
    within_limits(|| {
        for _ in 0..2 {
            let (one, mut other) = plain_pair();
            other.write_all(b"injected").unwrap();
            one.peek(&mut [0]).unwrap();
            let client = client_over(one);
            for outcome in [recv(&client, 1).map(drop), send_all(&client, b"x")] {
                assert!(
                    matches!(&outcome, Err(Error::Tls(TlsError::PeerMisbehaved(why))) if why.contains("before TLS")),
                    "{outcome:?}"
                );
            }
            close(&client, false).unwrap();
            let mut said = Vec::new();
            let _ = other.read_to_end(&mut said);
            assert!(said.is_empty(), "{said:?}");
        }
    });
}

#[test]
fn an_end_or_a_reset_before_the_first_flight_is_told_as_such() {
    within_limits(|| {
        let (one, other) = plain_pair();
        let client = client_over(one);
        drop(other);
        thread::sleep(SHORT);
        let during_handshake = true;
        assert!(matches!(
            client.do_handshake(&mut || false),
            Err(Error::Tls(error)) if error == TlsError::RaggedEof { during_handshake }
        ));
        let (one, other) = plain_pair();
        let client = client_over(one);
        reset(other);
        thread::sleep(SHORT);
        assert_eq!(errno(client.do_handshake(&mut || false)), RESET);
    });
}

#[test]
fn what_a_server_has_received_of_the_handshake_is_used() {
    within_limits(|| {
        for split in 1..plain::hello().len() {
            let (mut one, other) = plain_pair();
            let hello = plain::hello();
            let server = thread::spawn(move || server_over(other, &plain::hello()[..split]));
            one.write_all(&hello[split..]).unwrap();
            let server = server.join().unwrap();
            let driving = thread::spawn(move || recv(&server, 10).unwrap());
            assert_eq!(read_exactly(&mut one, hello.len()), hello);
            let data = plain::record(plain::DATA, b"data");
            one.write_all(&[plain::finished(), data].concat()).unwrap();
            assert_eq!(driving.join().unwrap(), b"data");
        }
    });
}

#[test]
fn what_follows_close_notify_stays_with_the_kernel_or_is_given_along() {
    within_limits(|| {
        let goodbye = [plain::close_notify(), b"in the clear".to_vec()].concat();
        // Nothing is read ahead while it unwraps.
        let (client, mut peer) = client_of_raw();
        peer.write_all(&goodbye).unwrap();
        let (descriptor, behind) = client.unwrap(&mut || false).unwrap();
        assert!(behind.is_empty());
        assert_eq!(
            read_exactly(&mut descriptor.unwrap().into(), 12),
            b"in the clear"
        );
        // An earlier call had read it already.
        let (client, mut peer) = client_of_raw();
        peer.write_all(&goodbye).unwrap();
        assert_eq!(recv(&client, 10).unwrap(), b"");
        let (_, behind) = client.unwrap(&mut || false).unwrap();
        assert_eq!(behind, b"in the clear");
        assert_eq!(read_exactly(&mut peer, 7), plain::close_notify());
    });
}

#[test]
fn data_that_was_not_received_keeps_tls_from_ending_and_is_kept() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        let data = plain::record(plain::DATA, b"data");
        for _ in 0..2 {
            peer.write_all(&data).unwrap();
            for _ in 0..2 {
                let outcome = client.unwrap(&mut || false);
                assert!(
                    matches!(outcome, Err(Error::Tls(TlsError::Misuse(_)))),
                    "{outcome:?}"
                );
            }
            assert_eq!(recv(&client, 10).unwrap(), b"data");
        }
        peer.write_all(&plain::close_notify()).unwrap();
        client.unwrap(&mut || false).unwrap();
    });
}

#[test]
fn a_non_blocking_unwrap_is_called_until_it_is_done() {
    within_limits(|| {
        let (client, server) = pair();
        client.set_timeout(Timeout::NonBlocking);
        assert!(matches!(client.unwrap(&mut || false), Err(Error::WantRead)));
        let other = thread::spawn(move || server.unwrap(&mut || false).unwrap());
        let (descriptor, behind) = past_wants(|| client.unwrap(&mut || false)).unwrap();
        assert!(behind.is_empty());
        let (there, _) = other.join().unwrap();
        TcpStream::from(there.unwrap()).write_all(b"x").unwrap();
        let mut here = TcpStream::from(descriptor.unwrap());
        here.set_nonblocking(false).unwrap();
        assert_eq!(read_exactly(&mut here, 1), b"x");
    });
}

#[test]
fn a_ragged_end_is_no_unwrapping() {
    within_limits(|| {
        let (client, peer) = client_of_raw();
        drop(peer);
        for _ in 0..2 {
            assert!(matches!(
                client.unwrap(&mut || false),
                Err(Error::Tls(TlsError::RaggedEof { .. }))
            ));
        }
        assert!(client.descriptor() >= 0);
    });
}

#[test]
fn a_reader_elsewhere_sees_the_end_and_unwrapping_goes_on() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        let reader = {
            let client = Arc::clone(&client);
            thread::spawn(move || recv(&client, 10))
        };
        thread::sleep(SHORT);
        let unwrapping = thread::spawn(move || client.unwrap(&mut || false).unwrap());
        assert_eq!(read_exactly(&mut peer, 7), plain::close_notify());
        peer.write_all(&plain::close_notify()).unwrap();
        match reader.join().unwrap() {
            Ok(nothing) => assert_eq!(nothing, b""),
            outcome => assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}"),
        }
        let (descriptor, _) = unwrapping.join().unwrap();
        peer.write_all(b"x").unwrap();
        let mut here = TcpStream::from(descriptor.unwrap());
        assert_eq!(read_exactly(&mut here, 1), b"x");
    });
}

#[test]
fn a_descriptor_is_given_away_without_a_word() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        let number = client.descriptor();
        let descriptor = client.detach().unwrap();
        assert_eq!(
            std::os::fd::AsRawFd::as_raw_fd(descriptor.as_ref().unwrap()),
            number
        );
        assert_eq!(client.descriptor(), -1);
        assert!(matches!(client.detach(), Err(Error::Closed)));
        close(&client, false).unwrap();
        drop(client);
        TcpStream::from(descriptor.unwrap())
            .write_all(b"plain")
            .unwrap();
        let mut said = Vec::new();
        peer.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"plain");
    });
}

#[test]
fn local_sockets_carry_tls_too() {
    within_limits(|| {
        let (one, other) = UnixStream::pair().unwrap();
        let session = Plain::server().boxed().unwrap();
        let connection = Connection::new(session, Role::Server);
        let server = take_over(other.into(), connection, Timeout::Forever).unwrap();
        let echo = thread::spawn(move || {
            let data = recv(&server, 10).unwrap();
            send_all(&server, &data).unwrap();
        });
        let session = Plain::client().boxed().unwrap();
        let connection = Connection::new(session, Role::Client);
        let client = take_over(one.into(), connection, Timeout::Forever).unwrap();
        assert!(matches!(client.peer_address(), Address::Other(_)));
        send_all(&client, b"hello").unwrap();
        assert_eq!(recv(&client, 10).unwrap(), b"hello");
        echo.join().unwrap();
    });
}

#[test]
fn a_socket_without_a_peer_is_refused() {
    let listener = TcpListener::bind(loopback()[0]).unwrap();
    let connection = Connection::new(Plain::server().boxed().unwrap(), Role::Server);
    let not_connected = rustix::io::Errno::NOTCONN.raw_os_error();
    let outcome = take_over(listener.into(), connection, Timeout::Forever);
    assert_eq!(errno(outcome), not_connected);
}

#[test]
fn after_the_end_of_reading_readers_get_nothing_and_writers_go_on() {
    within_limits(|| {
        let (client, server) = pair();
        let readers = [(); 3].map(|()| {
            let client = Arc::clone(&client);
            thread::spawn(move || recv(&client, 10).unwrap())
        });
        thread::sleep(SHORT);
        client.shutdown(Shutdown::Read, &mut || false).unwrap();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), b"");
        }
        send_all(&server, b"for nobody").unwrap();
        assert_eq!(recv(&client, 10).unwrap(), b"");
        assert_eq!(client.pending().unwrap(), 0);
        send_all(&client, b"still").unwrap();
        assert_eq!(recv(&server, 10).unwrap(), b"still");
        close(&client, false).unwrap();
    });
}

#[test]
fn the_end_of_both_directions_is_that_of_tcp_too() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        client.shutdown(Shutdown::Both, &mut || false).unwrap();
        client.shutdown(Shutdown::Both, &mut || false).unwrap();
        let mut said = Vec::new();
        peer.read_to_end(&mut said).unwrap();
        assert_eq!(said, plain::close_notify());
        assert!(client.descriptor() >= 0);
        assert_eq!(recv(&client, 10).unwrap(), b"");
    });
}

#[test]
fn records_without_data_are_not_the_end() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        let reader = {
            let client = Arc::clone(&client);
            thread::spawn(move || recv(&client, 10).unwrap())
        };
        for _ in 0..20 {
            peer.write_all(&plain::record(plain::DATA, b"")).unwrap();
            thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(!reader.is_finished());
        peer.write_all(&plain::record(plain::DATA, b"x")).unwrap();
        assert_eq!(reader.join().unwrap(), b"x");
    });
}
