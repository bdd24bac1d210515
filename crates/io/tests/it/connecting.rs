//! From addresses to a connection, and both ways over it.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use polytls_core::Error as TlsError;
use polytls_io::{Error, Timeout, connect};

use crate::kit::*;
use crate::plain::Plain;

fn a_mebibyte_comes_back_from(addresses: &[SocketAddr]) {
    let (client, server) = pair_at(addresses);
    let data = pattern(1 << 20);
    let echo = thread::spawn(move || {
        let all = recv_all(&server).unwrap();
        send_all(&server, &all).unwrap();
        close(&server, false).unwrap();
    });
    send_all(&client, &data).unwrap();
    client
        .shutdown(std::net::Shutdown::Write, &mut || false)
        .unwrap();
    assert!(recv_all(&client).unwrap() == data);
    close(&client, false).unwrap();
    echo.join().unwrap();
}

#[test]
fn a_mebibyte_goes_both_ways_over_ipv4() {
    within_limits(|| a_mebibyte_comes_back_from(&loopback()));
}

#[test]
fn a_mebibyte_goes_both_ways_over_ipv6() {
    within_limits(|| a_mebibyte_comes_back_from(&[SocketAddr::from((Ipv6Addr::LOCALHOST, 0))]));
}

#[test]
fn both_ends_know_the_addresses() {
    let (client, server) = pair();
    assert_eq!(client.peer_address(), server.local_address().unwrap());
    assert_eq!(server.peer_address(), client.local_address().unwrap());
    assert!(client.facts().unwrap().unwrap().is_tls13());
    assert!(client.descriptor() >= 0);
}

#[test]
fn the_next_address_is_tried_and_the_last_error_told() {
    let unused = TcpListener::bind(loopback()[0])
        .unwrap()
        .local_addr()
        .unwrap();
    let listener = listener();
    let addresses = [unused, listener.local_address().unwrap()];
    let client = thread::spawn(move || {
        let timeout = Timeout::After(LONG);
        connect(
            &addresses,
            timeout,
            timeout,
            || Plain::client().boxed(),
            &mut || false,
        )
    });
    assert_eq!(
        accept(&listener).unwrap().peer_address(),
        client.join().unwrap().unwrap().local_address().unwrap()
    );
    let refused = rustix::io::Errno::CONNREFUSED.raw_os_error();
    assert_eq!(errno(dial(unused)), refused);
}

#[test]
fn the_timeout_holds_for_the_handshake_too() {
    let silent = TcpListener::bind(loopback()[0]).unwrap();
    let began = Instant::now();
    let outcome = connect(
        &[silent.local_addr().unwrap()],
        Timeout::After(SHORT),
        Timeout::Forever,
        || Plain::client().boxed(),
        &mut || false,
    );
    assert!(matches!(outcome, Err(Error::TimedOut)), "{outcome:?}");
    assert!(began.elapsed() >= SHORT);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn connecting_without_time_or_address_or_session_is_refused() {
    let none: [SocketAddr; 0] = [];
    for (addresses, timeout) in [
        (&none[..], Timeout::Forever),
        (&loopback()[..], Timeout::NonBlocking),
    ] {
        let outcome = connect(
            addresses,
            timeout,
            Timeout::Forever,
            || Plain::client().boxed(),
            &mut || false,
        );
        assert!(matches!(outcome, Err(Error::Tls(TlsError::Misuse(_)))));
    }
    let listener = TcpListener::bind(loopback()[0]).unwrap();
    let outcome = connect(
        &[listener.local_addr().unwrap()],
        Timeout::Forever,
        Timeout::Forever,
        || Err(TlsError::Misuse("no name")),
        &mut || false,
    );
    assert!(matches!(
        outcome,
        Err(Error::Tls(TlsError::Misuse("no name")))
    ));
}
