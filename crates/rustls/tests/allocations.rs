//! After the handshake no record allocates: not through the calls that are lent the caller's memory,
//! and, once a thread has its spare memory, not through the connection's own buffers.
//!
//! Counted is what Rust allocates on this thread.
#![allow(
    unsafe_code,
    reason = "a global allocator cannot be written without it"
)]

mod credentials;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use credentials::{CREDENTIALS, NOW};
use polytls_conformance::{HOST, Pair};
use polytls_core::clock::ManualClock;
use polytls_core::config::{
    ClientAuthentication, ClientConfig, Common, ServerConfig, Trust, Verification,
};
use polytls_core::{Backend, Error, HostName, MAX_FRAGMENT, Parameters, Room};
use polytls_rustls::Rustls;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no count any more.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

/// A pair with the tickets taken.
fn connected() -> Pair {
    let common = || Common {
        clock: Arc::new(ManualClock::new(NOW)),
        ..Common::default()
    };
    let trust = || Trust::given(vec![CREDENTIALS.root.clone()]);
    let client = Rustls::default()
        .client(&ClientConfig {
            common: common(),
            identities: Vec::new(),
            trust: trust(),
            verification: Verification::Full,
            ech_grease: false,
        })
        .expect("an engine");
    let server = Rustls::default()
        .server(&ServerConfig {
            common: common(),
            identities: vec![CREDENTIALS.server.clone()],
            client_authentication: ClientAuthentication::None,
            trust: None,
            verification: Verification::Full,
            ticket_keys: None,
            ech_keys: Vec::new(),
            tickets: None,
        })
        .expect("an engine");
    let host = HostName::parse(HOST).expect("a name");
    let mut pair = Pair::new(
        client
            .session(&Parameters {
                host: Some(host),
                ..Parameters::default()
            })
            .expect("a session"),
        server.session().expect("a session"),
    );
    let outcome = pair.handshake();
    assert_eq!((outcome.client, outcome.server), (Ok(()), Ok(())));
    assert_eq!(pair.client.read(&mut [0; 1]), Err(Error::WantRead));
    pair
}

#[test]
fn records_through_lent_memory_allocate_nothing() {
    let mut pair = connected();
    for size in [1, 100, 1400, MAX_FRAGMENT, 10 * MAX_FRAGMENT] {
        let data = vec![7; size];
        let length = pair.client.sealed_len(size).unwrap().unwrap();
        let mut sealed = vec![0; length];
        let mut opened = vec![0; size + 1];
        let counted = allocations(|| {
            for _ in 0..50 {
                assert_eq!(pair.client.write_into(&data, &mut sealed), Ok(true));
                let room = Room::with_scratch(&mut opened);
                assert_eq!(pair.server.receive(Some(&sealed), room), Ok(Some(size)));
            }
        });
        assert_eq!(counted, 0, "{size} bytes");
        assert_eq!(opened[..size], data);
    }
}

#[test]
fn records_through_the_connections_buffers_allocate_nothing_once_they_are_there() {
    let mut pair = connected();
    for size in [1, 100, 1400, MAX_FRAGMENT, 4 * MAX_FRAGMENT] {
        let data = vec![7; size];
        let mut wire = vec![0; size + 1000];
        let mut opened = vec![0; size];
        let mut once = || {
            assert_eq!(pair.client.write(&data), Ok(size));
            let sealed = &mut wire[..pair.client.outgoing_len()];
            pair.client.drain_into(sealed);
            pair.server.process_incoming(sealed).unwrap();
            assert_eq!(pair.server.read(&mut opened), Ok(size));
        };
        once();
        let counted = allocations(|| (0..50).for_each(|_| once()));
        assert_eq!(counted, 0, "{size} bytes");
    }
}

/// So that the counts above mean something.
#[test]
fn an_allocation_is_counted() {
    assert_eq!(
        allocations(|| drop(std::hint::black_box(vec![0_u8; 10]))),
        1
    );
}
