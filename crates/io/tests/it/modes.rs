//! Timeouts and non-blocking calls.

use std::thread;
use std::time::{Duration, Instant};

use polytls_io::{Error, ListenerSettings, Timeout};

use crate::kit::*;
use crate::plain;

const SOON: Timeout = Timeout::After(SHORT);

#[test]
fn a_read_that_times_out_loses_nothing() {
    within_limits(|| {
        let (client, server) = pair();
        client.set_timeout(SOON);
        let began = Instant::now();
        assert!(matches!(recv(&client, 10), Err(Error::TimedOut)));
        assert!(began.elapsed() >= SHORT);
        send_all(&server, b"late").unwrap();
        client.set_timeout(Timeout::Forever);
        assert_eq!(recv(&client, 10).unwrap(), b"late");
    });
}

#[test]
fn a_timeout_is_for_the_whole_call_and_not_for_each_piece() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        client.set_timeout(Timeout::After(Duration::from_millis(300)));
        let dribble = thread::spawn(move || {
            let record = plain::record(plain::DATA, &[0; 100]);
            for byte in record.chunks(1) {
                use std::io::Write as _;
                if peer.write_all(byte).is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        assert!(matches!(recv(&client, 10), Err(Error::TimedOut)));
        close(&client, true).unwrap();
        drop(client);
        dribble.join().unwrap();
    });
}

#[test]
fn a_write_times_out_once_the_buffers_are_full_and_what_was_accepted_arrives() {
    within_limits(|| {
        let (client, server) = pair();
        let mut accepted = fill(&client);
        client.set_timeout(SOON);
        let waiting = client.outgoing_len().unwrap();
        assert!(waiting > 0);
        assert!(matches!(send(&client, b"more"), Err(Error::TimedOut)));
        assert_eq!(client.outgoing_len().unwrap(), waiting);
        assert!(matches!(send_all(&client, b"more"), Err(Error::TimedOut)));

        // Now there is room for some of a large piece: its count is returned.
        client.set_timeout(Timeout::Forever);
        let reader = thread::spawn(move || recv_all(&server).unwrap().len());
        for _ in 0..10 {
            accepted += send(&client, &vec![7; 1 << 20]).unwrap();
            assert_eq!(client.outgoing_len().unwrap(), 0);
        }
        close(&client, true).unwrap();
        assert_eq!(reader.join().unwrap(), accepted);
    });
}

#[test]
fn a_send_that_is_out_of_time_returns_what_it_accepted() {
    within_limits(|| {
        let (client, server) = pair();
        client.set_timeout(SOON);
        let piece = vec![7; 256 * 1024];
        let mut accepted = 0;
        // One of these is accepted in part, later ones not at all.
        loop {
            match send(&client, &piece) {
                Ok(count) => accepted += count,
                Err(Error::TimedOut) => break,
                Err(error) => panic!("{error:?}"),
            }
        }
        let reader = thread::spawn(move || recv_all(&server).unwrap().len());
        client.set_timeout(Timeout::Forever);
        close(&client, true).unwrap();
        assert_eq!(reader.join().unwrap(), accepted);
    });
}

#[test]
fn a_read_sends_what_waits_to_be_sent() {
    within_limits(|| {
        let (client, server) = pair();
        let accepted = fill(&client);
        let answer = thread::spawn(move || {
            let mut seen = 0;
            while seen < accepted {
                seen += recv(&server, 1 << 18).unwrap().len();
            }
            send_all(&server, b"all of it").unwrap();
        });
        // The peer answers only once it has everything, a part of which is still queued here.
        assert_eq!(recv(&client, 100).unwrap(), b"all of it");
        assert_eq!(client.outgoing_len().unwrap(), 0);
        answer.join().unwrap();
    });
}

#[test]
fn non_blocking_calls_say_what_they_wait_for() {
    within_limits(|| {
        let (client, server) = pair();
        client.set_timeout(Timeout::NonBlocking);
        assert!(matches!(recv(&client, 10), Err(Error::WantRead)));
        send_all(&server, b"abc").unwrap();
        assert_eq!(past_wants(|| recv(&client, 2)).unwrap(), b"ab");
        assert_eq!(client.pending().unwrap(), 1);
        assert_eq!(recv(&client, 10).unwrap(), b"c");
        assert_eq!(client.pending().unwrap(), 0);

        fill(&client);
        assert!(matches!(send(&client, b"x"), Err(Error::WantWrite)));
        assert!(matches!(recv(&client, 10), Err(Error::WantRead)));
        assert!(matches!(
            client.shutdown(std::net::Shutdown::Write, &mut || false),
            Err(Error::WantWrite)
        ));
        assert!(matches!(
            send_all(&client, &[0; 10]),
            Err(Error::Tls(polytls_core::Error::Misuse(_)))
        ));
        let reader = thread::spawn(move || recv_all(&server).unwrap().len());
        past_wants(|| client.shutdown(std::net::Shutdown::Write, &mut || false)).unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn a_non_blocking_send_all_says_when_not_all_was_accepted() {
    within_limits(|| {
        let (client, _server) = pair();
        client.set_timeout(Timeout::NonBlocking);
        send_all(&client, b"little").unwrap();
        assert!(matches!(
            send_all(&client, &vec![0; 100 << 20]),
            Err(Error::WantWrite)
        ));
    });
}

#[test]
fn pending_counts_records_that_no_selector_can_see() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        let mut records = plain::record(plain::DATA, b"first");
        records.extend(plain::record(plain::DATA, b"second"));
        std::io::Write::write_all(&mut peer, &records).unwrap();
        assert_eq!(recv(&client, 5).unwrap(), b"first");
        assert_eq!(client.pending().unwrap(), 6);
        assert_eq!(recv(&client, 100).unwrap(), b"second");
    });
}

#[test]
fn a_non_blocking_server_is_driven_by_whatever_is_called() {
    within_limits(|| {
        let listener = listener();
        listener.set_timeout(Timeout::NonBlocking);
        assert!(matches!(accept(&listener), Err(Error::WantRead)));
        let address = listener.local_address().unwrap();
        let client = thread::spawn(move || {
            let client = dial(address).unwrap();
            send_all(&client, b"ping").unwrap();
            let answer = recv(&client, 10).unwrap();
            close(&client, true).unwrap();
            answer
        });
        let server = past_wants(|| accept(&listener)).unwrap();
        assert!(server.facts().unwrap().is_none());
        assert_eq!(server.timeout(), Timeout::Forever);
        server.set_timeout(Timeout::NonBlocking);
        assert_eq!(past_wants(|| recv(&server, 10)).unwrap(), b"ping");
        assert!(server.facts().unwrap().is_some());
        assert_eq!(send(&server, b"pong").unwrap(), 4);
        assert_eq!(client.join().unwrap(), b"pong");
        assert_eq!(past_wants(|| recv(&server, 10)).unwrap(), b"");
    });
}

#[test]
fn handshakes_can_be_left_to_the_caller() {
    within_limits(|| {
        let mut settings = ListenerSettings::default();
        settings.handshake_on_accept = false;
        let listener = listener_with(settings);
        let address = listener.local_address().unwrap();
        let client = thread::spawn(move || dial(address));
        let server = listener.accept(SOON, None, &mut || false).unwrap();
        assert!(server.facts().unwrap().is_none());
        assert_eq!(server.timeout(), SOON);
        server.set_timeout(Timeout::Forever);
        server.do_handshake(&mut || false).unwrap();
        server.do_handshake(&mut || false).unwrap();
        client.join().unwrap().unwrap();
    });
}
