//! No descriptor is left behind. In a process of its own, one test at a time: it counts them all.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the kit serves other tests, too")]

#[path = "it/kit.rs"]
mod kit;
#[path = "it/plain.rs"]
mod plain;

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use kit::*;
use plain::Plain;
use polytls_io::{Error, ListenerSettings, Timeout, connect};

static ALONE: Mutex<()> = Mutex::new(());

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn leaves_nothing_behind(test: impl FnOnce() + Send + 'static) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = open_descriptors();
    within_limits(test);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn failed_connects_leave_nothing() {
    leaves_nothing_behind(|| {
        let listener = TcpListener::bind(loopback()[0]).unwrap();
        let address = listener.local_addr().unwrap();
        let outcome = connect(
            &[address],
            Timeout::After(SHORT),
            Timeout::Forever,
            || Plain::client().boxed(),
            &mut || false,
        );
        assert!(matches!(outcome, Err(Error::TimedOut)));
        drop(listener);
        assert!(dial(address).is_err());
        let nonsense = TcpListener::bind(loopback()[0]).unwrap();
        let address = nonsense.local_addr().unwrap();
        let peer = thread::spawn(move || {
            nonsense
                .accept()
                .unwrap()
                .0
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        });
        assert!(dial(address).is_err());
        peer.join().unwrap().unwrap();
    });
}

#[test]
fn closing_under_waiting_threads_leaves_nothing() {
    leaves_nothing_behind(|| {
        for _ in 0..10 {
            let (client, server) = pair();
            let waiting = [(); 3].map(|()| {
                let client = Arc::clone(&client);
                thread::spawn(move || recv(&client, 1))
            });
            thread::sleep(std::time::Duration::from_millis(5));
            close(&client, true).unwrap();
            for reader in waiting {
                assert!(matches!(reader.join().unwrap(), Err(Error::Closed)));
            }
            drop(server);
        }
    });
}

#[test]
fn listeners_leave_nothing_of_any_client() {
    leaves_nothing_behind(|| {
        let listener = listener_with(ListenerSettings::default());
        let address = listener.local_address().unwrap();
        let silent = TcpStream::connect(address).unwrap();
        let mut garbage = TcpStream::connect(address).unwrap();
        garbage.write_all(&[0xff; 100]).unwrap();
        let acceptors = [(); 3].map(|()| {
            let listener = Arc::clone(&listener);
            thread::spawn(move || accept(&listener))
        });
        let client = dial(address).unwrap();
        listener.close();
        for acceptor in acceptors {
            let _ = acceptor.join().unwrap();
        }
        drop((client, silent, garbage));
    });
}
