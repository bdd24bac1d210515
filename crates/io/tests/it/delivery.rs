//! What was accepted is delivered, or told, whichever way a connection ends.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use polytls_core::{Alert, Error as TlsError};
use polytls_io::{Error, ListenerSettings, Stream, Timeout};

use crate::kit::*;
use crate::plain::{self, Plain};

/// More than a peer of `client_of_narrow` has room for, and what the sending kernel has.
const MUCH: usize = 300_000;

fn leave(stream: &Stream) -> Result<(), Error> {
    stream.leave(&mut || false)
}

/// Reads slowly, says something that nobody asked for on the way, and reads to the end.
fn read_slowly(mut peer: TcpStream) -> Vec<u8> {
    let mut records = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(20));
        let count = peer.read(&mut piece).unwrap();
        records.extend_from_slice(&piece[..count]);
    }
    peer.write_all(&plain::record(plain::DATA, b"late"))
        .unwrap();
    loop {
        // A reset is an error.
        match peer.read(&mut piece).unwrap() {
            0 => return records,
            count => records.extend_from_slice(&piece[..count]),
        }
    }
}

/// What arrives of all that was sent before `end` was called.
fn arrives(end: impl FnOnce(Arc<Stream>) + Send + 'static) {
    within_limits(|| {
        let (client, peer) = client_of_narrow();
        let sent = pattern(MUCH);
        send_all(&client, &sent).unwrap();
        let reader = thread::spawn(move || read_slowly(peer));
        end(client);
        let records = reader.join().unwrap();
        assert!(records.ends_with(&plain::close_notify()));
        assert!(data_of(&records) == sent);
    });
}

#[test]
fn an_orderly_close_waits_until_everything_is_delivered() {
    arrives(|client| close(&client, false).unwrap());
}

#[test]
fn leaving_waits_until_everything_is_delivered() {
    arrives(|client| leave(&client).unwrap());
}

#[test]
fn a_forced_close_destroys_nothing_that_was_declared_complete() {
    arrives(|client| {
        client.shutdown(Shutdown::Write, &mut || false).unwrap();
        close(&client, true).unwrap();
    });
}

#[test]
fn after_the_end_of_both_directions_a_close_waits_for_delivery() {
    arrives(|client| {
        client.shutdown(Shutdown::Both, &mut || false).unwrap();
        close(&client, false).unwrap();
    });
}

#[test]
fn a_reader_that_the_end_of_both_directions_wakes_costs_no_data() {
    arrives(|client| {
        let reader = {
            let client = Arc::clone(&client);
            thread::spawn(move || while recv(&client, 1).is_ok_and(|data| !data.is_empty()) {})
        };
        thread::sleep(SHORT);
        client.shutdown(Shutdown::Both, &mut || false).unwrap();
        reader.join().unwrap();
        close(&client, false).unwrap();
    });
}

#[test]
fn after_the_end_of_receiving_a_close_waits_for_delivery() {
    arrives(|client| {
        client.shutdown(Shutdown::Read, &mut || false).unwrap();
        close(&client, false).unwrap();
    });
}

#[test]
fn a_close_reads_out_what_keeps_the_peer_from_reading() {
    within_limits(|| {
        let (client, mut peer) = client_of_narrow();
        let sent = pattern(MUCH);
        send_all(&client, &sent).unwrap();
        let other = thread::spawn(move || {
            // It reads once all this is taken.
            let record = plain::record(plain::DATA, &[7; 10_000]);
            for _ in 0..1000 {
                peer.write_all(&record).unwrap();
            }
            let mut records = Vec::new();
            peer.read_to_end(&mut records).unwrap();
            records
        });
        close(&client, false).unwrap();
        assert!(data_of(&other.join().unwrap()) == sent);
    });
}

#[test]
fn a_peer_that_streams_for_ever_is_not_read_for_its_own_sake() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        let flood = thread::spawn(move || {
            let record = plain::record(plain::DATA, &[7; 16_000]);
            while peer.write_all(&record).is_ok() {}
        });
        recv(&client, 1).unwrap();
        close(&client, false).unwrap();
        // It is told by a reset.
        flood.join().unwrap();
    });
}

#[test]
fn after_a_complete_exchange_it_does_not_matter_how_the_peer_goes() {
    type Ending = fn(TcpStream);
    let endings: [Ending; 3] = [drop, reset, std::mem::forget];
    for ending in endings {
        within_limits(move || {
            let (client, mut peer) = client_of_raw();
            send_all(&client, b"request").unwrap();
            read_exactly(&mut peer, 12);
            peer.write_all(&plain::record(plain::DATA, b"answer"))
                .unwrap();
            assert_eq!(recv(&client, 6).unwrap(), b"answer");
            ending(peer);
            thread::sleep(SHORT);
            close(&client, false).unwrap();
            assert_eq!(client.descriptor(), -1);
        });
    }
}

#[test]
fn a_reset_with_something_undelivered_is_an_error() {
    within_limits(|| {
        let (client, peer) = client_of_narrow();
        send_all(&client, &[7; MUCH]).unwrap();
        let closer = {
            let client = Arc::clone(&client);
            thread::spawn(move || close(&client, false))
        };
        thread::sleep(SHORT);
        assert!(!closer.is_finished());
        reset(peer);
        assert_eq!(errno(closer.join().unwrap()), RESET);
        assert_eq!(client.descriptor(), -1);
    });
}

#[test]
fn a_reset_behind_the_peers_end_is_noticed() {
    within_limits(|| {
        let (client, peer) = client_of_narrow();
        send_all(&client, &[7; MUCH]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let closer = {
            let client = Arc::clone(&client);
            thread::spawn(move || close(&client, false))
        };
        thread::sleep(SHORT);
        assert!(!closer.is_finished());
        reset(peer);
        let error = errno(closer.join().unwrap());
        assert!([RESET, BROKEN_PIPE].contains(&error));
    });
}

#[test]
fn an_alert_is_the_reason_why_something_was_not_delivered() {
    within_limits(|| {
        let (client, mut peer) = client_of_narrow();
        send_all(&client, &[7; MUCH]).unwrap();
        peer.write_all(&plain::fatal_alert(Alert(49))).unwrap();
        let outcome = close(&client, false);
        assert!(
            matches!(
                &outcome,
                Err(Error::Tls(TlsError::AlertReceived(Alert(49))))
            ),
            "{outcome:?}"
        );
        assert_eq!(client.descriptor(), -1);
    });
}

#[test]
fn a_close_that_runs_out_of_time_says_how_much_was_not_delivered() {
    within_limits(|| {
        let (client, _peer) = client_of_narrow();
        send_all(&client, &[7; MUCH]).unwrap();
        client.set_timeout(Timeout::After(SHORT));
        let began = Instant::now();
        let outcome = close(&client, false);
        assert!(
            matches!(outcome, Err(Error::Undelivered { bytes }) if bytes > 0 && bytes < 2 * MUCH as u64),
            "{outcome:?}"
        );
        assert!(began.elapsed() >= SHORT);
        assert_eq!(client.descriptor(), -1);
    });
}

#[test]
fn a_forced_close_after_the_end_of_writing_keeps_to_its_time() {
    within_limits(|| {
        let (client, _peer) = client_of_narrow();
        send_all(&client, &[7; MUCH]).unwrap();
        client.shutdown(Shutdown::Write, &mut || false).unwrap();
        client.set_timeout(Timeout::After(SHORT));
        assert!(matches!(close(&client, true), Err(Error::TimedOut)));
        assert_eq!(client.descriptor(), -1);
    });
}

#[test]
fn leaving_a_non_blocking_stream_tells_what_the_kernel_has_not_taken() {
    within_limits(|| {
        let (client, _server) = pair();
        fill(&client);
        client.set_timeout(Timeout::NonBlocking);
        let outcome = leave(&client);
        assert!(
            matches!(outcome, Err(Error::Undelivered { bytes }) if bytes > 0),
            "{outcome:?}"
        );
        assert_eq!(client.descriptor(), -1);
    });
}

#[test]
fn what_the_kernel_has_taken_of_a_non_blocking_stream_arrives_after_leaving() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        client.set_timeout(Timeout::NonBlocking);
        send_all(&client, b"last words").unwrap();
        leave(&client).unwrap();
        assert_eq!(client.descriptor(), -1);
        let mut records = Vec::new();
        peer.read_to_end(&mut records).unwrap();
        assert_eq!(data_of(&records), b"last words");
        assert!(records.ends_with(&plain::close_notify()));
    });
}

#[test]
fn a_handshake_does_not_wait_until_the_peer_takes_tickets() {
    within_limits(|| {
        let settings = ListenerSettings::default();
        let listener =
            polytls_io::Listener::bind(&loopback(), settings, || Plain::with_tickets(1000).boxed())
                .unwrap();
        let address = listener.local_address().unwrap();
        let client = thread::spawn(move || {
            let client = dial(address).unwrap();
            send_all(&client, b"request").unwrap();
            client
        });
        // Nobody receives at the client's side.
        let server = accept(&listener).unwrap();
        let client = client.join().unwrap();
        assert!(server.outgoing_len().unwrap() > 0);
        assert_eq!(recv(&server, 100).unwrap(), b"request");
        let receiver = thread::spawn(move || recv(&client, 100).unwrap());
        send_all(&server, b"answer").unwrap();
        assert_eq!(server.outgoing_len().unwrap(), 0);
        assert_eq!(receiver.join().unwrap(), b"answer");
    });
}
