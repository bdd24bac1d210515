//! Peers: streams and listeners of ours, and plain sockets that speak by hand.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use polytls_io::{Error, Listener, ListenerSettings, Stream, Timeout, connect};

use crate::plain::{self, Plain};

/// Long enough for a slow machine; no test waits for it unless it fails.
pub(crate) const LONG: Duration = Duration::from_secs(30);
pub(crate) const SHORT: Duration = Duration::from_millis(100);

/// Runs a test that would hang if it failed.
pub(crate) fn within_limits<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    let runner = thread::spawn(move || {
        let outcome = test();
        let _ = done.send(());
        outcome
    });
    match is_done.recv_timeout(LONG) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => runner
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

pub(crate) fn loopback() -> [SocketAddr; 1] {
    [SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]
}

pub(crate) fn listener() -> Arc<Listener> {
    listener_with(ListenerSettings::default())
}

pub(crate) fn listener_with(settings: ListenerSettings) -> Arc<Listener> {
    let listener = Listener::bind(&loopback(), settings, || Plain::server().boxed()).unwrap();
    Arc::new(listener)
}

pub(crate) fn accept(listener: &Listener) -> Result<Stream, Error> {
    listener.accept(Timeout::Forever, None, &mut || false)
}

pub(crate) fn dial(address: SocketAddr) -> Result<Stream, Error> {
    connect(
        &[address],
        Timeout::After(LONG),
        Timeout::Forever,
        || Plain::client().boxed(),
        &mut || false,
    )
}

/// A client and a server whose handshake is done.
pub(crate) fn pair() -> (Arc<Stream>, Arc<Stream>) {
    pair_at(&loopback())
}

pub(crate) fn pair_at(addresses: &[SocketAddr]) -> (Arc<Stream>, Arc<Stream>) {
    let settings = ListenerSettings::default();
    let listener = Listener::bind(addresses, settings, || Plain::server().boxed()).unwrap();
    let address = listener.local_address().unwrap();
    let client = thread::spawn(move || dial(address));
    let server = accept(&listener).unwrap();
    (Arc::new(client.join().unwrap().unwrap()), Arc::new(server))
}

/// A client whose peer is a plain socket that has done its part of the handshake.
pub(crate) fn client_of_raw() -> (Arc<Stream>, TcpStream) {
    client_of_raw_at(&TcpListener::bind(loopback()[0]).unwrap())
}

/// The same, and the peer's kernel has little room for what it has not read.
pub(crate) fn client_of_narrow() -> (Arc<Stream>, TcpStream) {
    let listener = TcpListener::bind(loopback()[0]).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 8 * 1024).unwrap();
    client_of_raw_at(&listener)
}

fn client_of_raw_at(listener: &TcpListener) -> (Arc<Stream>, TcpStream) {
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || dial(address));
    let mut peer = listener.accept().unwrap().0;
    assert_eq!(
        read_exactly(&mut peer, plain::hello().len()),
        plain::hello()
    );
    peer.write_all(&plain::hello()).unwrap();
    let client = client.join().unwrap().unwrap();
    assert_eq!(
        read_exactly(&mut peer, plain::finished().len()),
        plain::finished()
    );
    (Arc::new(client), peer)
}

pub(crate) fn read_exactly(peer: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    peer.read_exact(&mut bytes).unwrap();
    bytes
}

/// Drops the connection with a reset.
pub(crate) fn reset(peer: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
    drop(peer);
}

pub(crate) fn recv(stream: &Stream, room: usize) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; room];
    let count = stream.recv(&mut buffer, &mut || false)?;
    buffer.truncate(count);
    Ok(buffer)
}

pub(crate) fn send(stream: &Stream, data: &[u8]) -> Result<usize, Error> {
    stream.send(data, &mut || false)
}

pub(crate) fn send_all(stream: &Stream, data: &[u8]) -> Result<(), Error> {
    stream.send_all(data, &mut || false)
}

pub(crate) fn close(stream: &Stream, force: bool) -> Result<(), Error> {
    stream.close(force, &mut || false)
}

/// Reads up to the peer's close_notify.
pub(crate) fn recv_all(stream: &Stream) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match stream.recv(&mut buffer, &mut || false)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Bytes that show every loss, repetition and exchange of pieces.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn errno(outcome: Result<impl std::fmt::Debug, Error>) -> i32 {
    match outcome {
        Err(Error::Io(error)) => error.raw_os_error().unwrap(),
        other => panic!("not an error of the operating system: {other:?}"),
    }
}

pub(crate) const RESET: i32 = rustix::io::Errno::CONNRESET.raw_os_error();
pub(crate) const BROKEN_PIPE: i32 = rustix::io::Errno::PIPE.raw_os_error();

/// Calls until it gives something: what a selector is for, without one.
pub(crate) fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let began = std::time::Instant::now();
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(began.elapsed() < LONG, "it never happens");
        thread::sleep(Duration::from_millis(1));
    }
}

/// What a non-blocking call gives once it returns more than a Want error.
pub(crate) fn past_wants<T>(mut call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    eventually(|| match call() {
        Err(Error::WantRead | Error::WantWrite) => None,
        outcome => Some(outcome),
    })
}

/// The data in these records.
pub(crate) fn data_of(mut records: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = records {
        let (payload, after) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        if *kind == plain::DATA {
            data.extend_from_slice(payload);
        }
        records = after;
    }
    data
}

/// Sends until the kernel takes no more; says how much was accepted.
pub(crate) fn fill(stream: &Stream) -> usize {
    let before = stream.timeout();
    stream.set_timeout(Timeout::NonBlocking);
    let piece = vec![7; 64 * 1024];
    let mut accepted = 0;
    let mut refusals = 0;
    // The peer's kernel finds more room now and then, when it is asked again after 200 ms or so.
    while refusals < 60 {
        match send(stream, &piece) {
            Ok(count) => (accepted, refusals) = (accepted + count, 0),
            Err(Error::WantWrite) => {
                refusals += 1;
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    stream.set_timeout(before);
    accepted
}
