//! Listeners: clients that stall and talk nonsense, many at once, several acceptors.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use polytls_core::{Alert, Error as TlsError};
use polytls_io::{Error, Listener, ListenerSettings, Timeout};

use crate::kit::*;
use crate::plain::{self, Plain};

/// Settings are `non_exhaustive`: made from the default.
fn settings(change: impl FnOnce(&mut ListenerSettings)) -> ListenerSettings {
    let mut settings = ListenerSettings::default();
    change(&mut settings);
    settings
}

fn raw(listener: &Listener) -> TcpStream {
    TcpStream::connect(listener.local_address().unwrap()).unwrap()
}

#[test]
fn clients_that_stall_or_talk_nonsense_are_not_in_the_way() {
    within_limits(|| {
        let listener = listener();
        let _silent = raw(&listener);
        let mut half = raw(&listener);
        half.write_all(&plain::hello()[..7]).unwrap();
        let mut garbage = raw(&listener);
        garbage.write_all(&[0xff; 100_000]).unwrap();
        let mut wrong = raw(&listener);
        wrong.write_all(&plain::finished()).unwrap();
        drop(raw(&listener));
        reset(raw(&listener));

        let address = listener.local_address().unwrap();
        let client = thread::spawn(move || dial(address).unwrap());
        let server = accept(&listener).unwrap();
        let client = client.join().unwrap();
        assert_eq!(server.peer_address(), client.local_address().unwrap());

        // The one who stalled goes on, and is none the worse for it.
        half.write_all(&plain::hello()[7..]).unwrap();
        half.write_all(&plain::finished()).unwrap();
        let server = accept(&listener).unwrap();
        assert_eq!(server.peer_address(), half.local_addr().unwrap().into());
        // A reset client may be gone before anybody sees it.
        assert!((3..=4).contains(&listener.failed_handshakes()));

        let mut said = Vec::new();
        let _ = wrong.read_to_end(&mut said);
        assert_eq!(said, plain::fatal_alert(Alert(10)));
    });
}

#[test]
fn an_alert_is_not_lost_to_a_reset() {
    within_limits(|| {
        let listener = listener();
        let mut wrong = raw(&listener);
        wrong.write_all(&plain::finished()).unwrap();
        wrong.write_all(&[0; 100_000]).unwrap();
        listener.set_timeout(Timeout::After(SHORT));
        assert!(matches!(accept(&listener), Err(Error::TimedOut)));
        wrong.write_all(&[0; 100_000]).unwrap();
        assert!(matches!(accept(&listener), Err(Error::TimedOut)));
        let mut said = Vec::new();
        wrong.read_to_end(&mut said).unwrap();
        assert_eq!(said, plain::fatal_alert(Alert(10)));
    });
}

#[test]
fn a_handshake_without_end_is_dropped() {
    within_limits(|| {
        let listener = listener_with(settings(|s| s.handshake_timeout = SHORT));
        let mut silent = raw(&listener);
        listener.set_timeout(Timeout::After(Duration::from_millis(500)));
        let began = Instant::now();
        assert!(matches!(accept(&listener), Err(Error::TimedOut)));
        assert!(began.elapsed() >= Duration::from_millis(500));
        assert_eq!(listener.failed_handshakes(), 1);
        assert_eq!(silent.read(&mut [0; 10]).unwrap(), 0);
    });
}

#[test]
fn a_handshakes_time_stands_still_while_nobody_accepts() {
    within_limits(|| {
        let listener = listener_with(settings(|s| {
            s.handshake_timeout = Duration::from_millis(300);
        }));
        let mut slow = raw(&listener);
        slow.write_all(&plain::hello()).unwrap();
        listener.set_timeout(Timeout::After(SHORT));
        assert!(matches!(accept(&listener), Err(Error::TimedOut)));
        thread::sleep(Duration::from_millis(400));
        assert!(matches!(accept(&listener), Err(Error::TimedOut)));
        assert_eq!(listener.failed_handshakes(), 0);
        slow.write_all(&plain::finished()).unwrap();
        listener.set_timeout(Timeout::Forever);
        accept(&listener).unwrap();
    });
}

#[test]
fn at_the_limit_others_wait_with_the_kernel_until_there_is_room() {
    within_limits(|| {
        let listener = listener_with(settings(|s| {
            s.handshake_limit = 2;
            s.handshake_timeout = Duration::from_millis(300);
        }));
        let _silent = [raw(&listener), raw(&listener)];
        // They must be first in the kernel's queue.
        thread::sleep(Duration::from_millis(50));
        let address = listener.local_address().unwrap();
        let client = thread::spawn(move || dial(address));
        let began = Instant::now();
        accept(&listener).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(250));
        client.join().unwrap().unwrap();
        assert_eq!(listener.failed_handshakes(), 2);
    });
}

#[test]
fn at_the_limit_the_oldest_handshake_gives_way() {
    within_limits(|| {
        let listener = listener_with(settings(|s| {
            s.handshake_limit = 2;
            s.handshake_timeout = LONG * 2;
        }));
        let mut silent = raw(&listener);
        let mut dribbling = raw(&listener);
        // They must be first in the kernel's queue.
        thread::sleep(Duration::from_millis(50));
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let dribble = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                for byte in plain::record(plain::HANDSHAKE, &[0; 10_000]) {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    let _ = dribbling.write_all(&[byte]);
                    thread::sleep(Duration::from_millis(20));
                }
            })
        };
        let address = listener.local_address().unwrap();
        for served in 1..=3 {
            let client = thread::spawn(move || dial(address).unwrap());
            accept(&listener).unwrap();
            client.join().unwrap();
            // One place is enough for those who do not stall.
            assert_eq!(listener.failed_handshakes(), 1, "{served}");
        }
        assert_eq!(silent.read(&mut [0; 10]).unwrap(), 0);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        dribble.join().unwrap();
    });
}

#[test]
fn an_acceptor_at_the_limit_sees_when_another_one_makes_room() {
    within_limits(|| {
        let settings = settings(|s| s.handshake_limit = 1);
        let listener =
            Listener::bind(&loopback(), settings, || Plain::thinking(SHORT).boxed()).unwrap();
        let listener = Arc::new(listener);
        let address = listener.local_address().unwrap();
        let acceptors = [(); 2].map(|()| {
            let listener = Arc::clone(&listener);
            thread::spawn(move || accept(&listener).unwrap())
        });
        // One acceptor works on the first; the other one waits, for no connection at first.
        let _first = dial(address).unwrap();
        eventually(|| {
            acceptors
                .iter()
                .any(thread::JoinHandle::is_finished)
                .then_some(())
        });
        let _second = dial(address).unwrap();
        for acceptor in acceptors {
            acceptor.join().unwrap();
        }
    });
}

#[test]
fn many_clients_and_three_acceptors_all_meet() {
    const CLIENTS: usize = 120;
    within_limits(|| {
        // A limit below the number of clients, so that it is met.
        let listener = listener_with(settings(|s| s.handshake_limit = 10));
        let address = listener.local_address().unwrap();
        let acceptors: Vec<_> = (0..3)
            .map(|_| {
                let listener = Arc::clone(&listener);
                thread::spawn(move || {
                    let mut served = 0;
                    loop {
                        match accept(&listener) {
                            Ok(stream) => {
                                let said = recv(&stream, 100).unwrap();
                                send_all(&stream, &said).unwrap();
                                close(&stream, true).unwrap();
                                served += 1;
                            }
                            Err(Error::Closed) => return served,
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                })
            })
            .collect();
        let mut hostile = Vec::new();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|index| {
                if index % 10 == 0 {
                    let mut garbage = raw(&listener);
                    let _ = garbage.write_all(b"GET / HTTP/1.1\r\n\r\n");
                    hostile.push(garbage);
                }
                thread::spawn(move || {
                    let client = dial(address).unwrap();
                    let said = index.to_le_bytes();
                    send_all(&client, &said).unwrap();
                    assert_eq!(recv_all(&client).unwrap(), said);
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        listener.close();
        let served: usize = acceptors.into_iter().map(|a| a.join().unwrap()).sum();
        assert_eq!(served, CLIENTS);
        assert_eq!(listener.failed_handshakes(), hostile.len() as u64);
    });
}

#[test]
fn a_handshake_that_one_acceptor_left_is_finished_by_another() {
    within_limits(|| {
        let listener = listener();
        for _ in 0..30 {
            let mut slow = raw(&listener);
            slow.write_all(&plain::hello()).unwrap();
            let acceptors = [(); 2].map(|()| {
                let listener = Arc::clone(&listener);
                thread::spawn(move || accept(&listener).unwrap().peer_address())
            });
            // Whoever leads has begun both; the one that is done returns.
            let hello = plain::hello();
            assert_eq!(read_exactly(&mut slow, hello.len()), hello);
            let address = listener.local_address().unwrap();
            let client = dial(address).unwrap();
            eventually(|| {
                acceptors
                    .iter()
                    .any(thread::JoinHandle::is_finished)
                    .then_some(())
            });
            slow.write_all(&plain::finished()).unwrap();
            let mut served = acceptors.map(|acceptor| acceptor.join().unwrap());
            let mut expected = [
                client.local_address().unwrap(),
                slow.local_addr().unwrap().into(),
            ];
            served.sort();
            expected.sort();
            assert_eq!(served, expected);
        }
    });
}

#[test]
fn handshakes_left_by_a_blocking_accept_are_not_lost_to_a_non_blocking_one() {
    within_limits(|| {
        let listener = listener();
        let mut slow = raw(&listener);
        slow.write_all(&plain::hello()).unwrap();
        listener.set_timeout(Timeout::After(SHORT));
        assert!(matches!(accept(&listener), Err(Error::TimedOut)));
        listener.set_timeout(Timeout::NonBlocking);
        let server = accept(&listener).unwrap();
        slow.write_all(&plain::finished()).unwrap();
        server.do_handshake(&mut || false).unwrap();
        assert!(matches!(accept(&listener), Err(Error::WantRead)));
    });
}

#[test]
fn closing_wakes_every_acceptor_and_drops_what_is_pending() {
    within_limits(|| {
        for on_accept in [true, false] {
            let listener = listener_with(settings(|s| s.handshake_on_accept = on_accept));
            let acceptors = [(); 3].map(|()| {
                let listener = Arc::clone(&listener);
                thread::spawn(move || accept(&listener))
            });
            let mut pending = raw(&listener);
            thread::sleep(SHORT);
            let address = listener.local_address().unwrap();
            listener.close();
            listener.close();
            let closed = acceptors
                .map(|acceptor| acceptor.join().unwrap())
                .into_iter()
                .filter(|outcome| matches!(outcome, Err(Error::Closed)))
                .count();
            assert_eq!(closed, if on_accept { 3 } else { 2 });
            assert_eq!(pending.read(&mut [0; 10]).unwrap(), 0);
            assert_eq!(listener.descriptor(), -1);
            assert!(matches!(accept(&listener), Err(Error::Closed)));
            assert!(matches!(listener.listen(1), Err(Error::Closed)));
            assert!(TcpStream::connect(address).is_err());
        }
    });
}

#[test]
fn an_acceptor_that_times_out_leaves_the_others_at_work() {
    within_limits(|| {
        let listener = listener();
        listener.set_timeout(Timeout::After(SHORT));
        let impatient = [(); 2].map(|()| {
            let listener = Arc::clone(&listener);
            thread::spawn(move || accept(&listener))
        });
        thread::sleep(Duration::from_millis(20));
        listener.set_timeout(Timeout::Forever);
        let patient = {
            let listener = Arc::clone(&listener);
            thread::spawn(move || accept(&listener))
        };
        for acceptor in impatient {
            assert!(matches!(acceptor.join().unwrap(), Err(Error::TimedOut)));
        }
        let client = dial(listener.local_address().unwrap()).unwrap();
        let server = patient.join().unwrap().unwrap();
        assert_eq!(server.peer_address(), client.local_address().unwrap());
    });
}

#[test]
fn a_fault_of_ours_is_told_to_the_acceptor_and_the_next_call_goes_on() {
    within_limits(|| {
        let broken = std::sync::atomic::AtomicBool::new(true);
        let listener = Listener::bind(&loopback(), ListenerSettings::default(), move || {
            if broken.swap(false, std::sync::atomic::Ordering::Relaxed) {
                Err(TlsError::Internal("once".to_owned()))
            } else {
                Plain::server().boxed()
            }
        })
        .unwrap();
        let _first = raw(&listener);
        assert!(matches!(
            accept(&listener),
            Err(Error::Tls(TlsError::Internal(_)))
        ));
        let address = listener.local_address().unwrap();
        let client = thread::spawn(move || dial(address));
        accept(&listener).unwrap();
        client.join().unwrap().unwrap();
    });
}

#[test]
fn the_wildcards_of_both_families_can_be_had_side_by_side() {
    let make = || Plain::server().boxed();
    let settings = ListenerSettings::default();
    let any4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let first = Listener::bind(&[any4], settings, make).unwrap();
    let port = first.local_address().unwrap().port();
    let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let second = Listener::bind(&[any6], settings, make).unwrap();
    second.listen(5).unwrap();

    let in_use = rustix::io::Errno::ADDRINUSE.raw_os_error();
    let taken = first.local_address().unwrap();
    assert_eq!(errno(Listener::bind(&[taken], settings, make)), in_use);
    let third = Listener::bind(&[taken, any4], settings, make).unwrap();
    assert_ne!(third.local_address().unwrap().port(), port);
    assert!(matches!(
        Listener::bind(&[], settings, make),
        Err(Error::Tls(TlsError::Misuse(_)))
    ));
}
