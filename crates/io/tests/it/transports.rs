//! Transports that are not the stream's own sockets: a lent descriptor, and a stream that cannot be polled.

use std::io::Write as _;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use polytls_core::{Connection, Error as TlsError, Role};
use polytls_io::{Blocking, BlockingTransport, Error, Fault, Stream, Timeout};

use crate::kit::*;
use crate::plain::Plain;

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(loopback()[0]).unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

fn side(role: Role) -> Connection {
    let session = match role {
        Role::Client => Plain::client(),
        Role::Server => Plain::server(),
    };
    Connection::new(session.boxed().unwrap(), role)
}

/// The owner lives as long as the test process.
fn lent(socket: TcpStream) -> BorrowedFd<'static> {
    let kept: &'static TcpStream = Box::leak(Box::new(socket));
    kept.as_fd()
}

#[test]
fn a_lent_descriptor_is_left_as_it_was() {
    within_limits(|| {
        let (one, other) = connected();
        let (one, other) = (lent(one), lent(other));
        let client = Arc::new(Stream::lent(one, side(Role::Client)).unwrap());
        let server = Stream::lent(other, side(Role::Server)).unwrap();
        // Blocking by itself, and nobody waits.
        client.set_timeout(Timeout::NonBlocking);
        assert!(matches!(recv(&client, 1), Err(Error::WantRead)));
        let talking = thread::spawn({
            let client = Arc::clone(&client);
            move || {
                client.set_timeout(Timeout::After(LONG));
                client.do_handshake(&mut || false).unwrap();
                send_all(&client, &pattern(300_000)).unwrap();
                recv(&client, 10).unwrap()
            }
        });
        server.set_timeout(Timeout::After(LONG));
        let mut received = Vec::new();
        while received.len() < 300_000 {
            received.extend(recv(&server, 65536).unwrap());
        }
        assert_eq!(received, pattern(300_000));
        send_all(&server, b"answer").unwrap();
        assert_eq!(talking.join().unwrap(), b"answer");
        server.set_timeout(Timeout::After(SHORT));
        assert!(matches!(recv(&server, 1), Err(Error::TimedOut)));

        assert!(
            !rustix::fs::fcntl_getfl(one)
                .unwrap()
                .contains(rustix::fs::OFlags::NONBLOCK)
        );
        client.detach().unwrap();
        drop(client);
        close(&server, true).unwrap();
        drop(server);
        // Both ends are open in both directions: there is close_notify, and no end behind it.
        rustix::net::send(one, b"plain", rustix::net::SendFlags::empty()).unwrap();
        let mut buffer = [0; 64];
        let (count, _) =
            rustix::net::recv(other, &mut buffer, rustix::net::RecvFlags::empty()).unwrap();
        assert_eq!(&buffer[..count], b"plain");
        rustix::net::recv(one, &mut buffer, rustix::net::RecvFlags::empty()).unwrap();
        let more = rustix::net::recv(one, &mut buffer, rustix::net::RecvFlags::DONTWAIT);
        assert_eq!(more.unwrap_err(), rustix::io::Errno::AGAIN);
    });
}

#[test]
fn by_records_nothing_is_taken_from_the_descriptor_before_it_is_wanted() {
    within_limits(|| {
        let (client, mut peer) = client_of_raw();
        client.receive_by_records().unwrap();
        let record = |data: &[u8]| {
            let length = u16::try_from(data.len()).unwrap().to_be_bytes();
            [&[23, 3, 3], &length[..], data].concat()
        };
        peer.write_all(&[record(b"one"), record(b"two")].concat())
            .unwrap();
        let there = |stream: &Stream| {
            let duplicate = TcpStream::from(stream.duplicate().unwrap());
            duplicate.peek(&mut [0; 64]).unwrap()
        };
        eventually(|| (there(&client) == 16).then_some(()));
        assert_eq!(recv(&client, 64).unwrap(), b"one");
        assert_eq!(there(&client), 8);
        assert_eq!(recv(&client, 64).unwrap(), b"two");
    });
}

/// A stream whose calls wait: nothing can be polled.
#[derive(Debug)]
struct Pipe {
    from: Mutex<Receiver<Vec<u8>>>,
    to: Mutex<Option<Sender<Vec<u8>>>>,
    timed: bool,
    closed: Mutex<Option<Sender<()>>>,
}

impl Blocking for Pipe {
    fn recv(&self, most: usize, time: Option<Duration>) -> Result<Vec<u8>, Fault> {
        assert_eq!(time.is_some(), self.timed);
        assert!(most > 0);
        let from = self.from.lock().unwrap();
        match from.recv_timeout(time.unwrap_or(LONG)) {
            Ok(data) => Ok(data),
            Err(RecvTimeoutError::Timeout) => Err(Fault::WouldBlock),
            Err(RecvTimeoutError::Disconnected) => Ok(Vec::new()),
        }
    }

    fn send(&self, bytes: &[u8], _time: Option<Duration>) -> Result<usize, Fault> {
        let some = &bytes[..bytes.len().min(1000)];
        let broken = Fault::Os(rustix::io::Errno::PIPE);
        let to = self.to.lock().unwrap();
        let to = to.as_ref().ok_or_else(|| broken.clone())?;
        to.send(some.to_vec()).map_err(|_| broken)?;
        Ok(some.len())
    }

    fn pending(&self) -> usize {
        0
    }

    fn keeps_time(&self) -> bool {
        self.timed
    }

    fn shutdown(&self, how: Shutdown) {
        if how != Shutdown::Read {
            self.to.lock().unwrap().take();
        }
    }

    fn close(&self) -> Result<(), Fault> {
        self.shutdown(Shutdown::Both);
        drop(self.closed.lock().unwrap().take());
        Ok(())
    }
}

/// Two ends, and what tells that each was closed.
fn pipes(timed: bool) -> [(Pipe, Receiver<()>); 2] {
    let (one, other) = (mpsc::channel(), mpsc::channel());
    [(one.0, other.1), (other.0, one.1)].map(|(to, from)| {
        let (closed, is_closed) = mpsc::channel();
        let pipe = Pipe {
            from: Mutex::new(from),
            to: Mutex::new(Some(to)),
            timed,
            closed: Mutex::new(Some(closed)),
        };
        (pipe, is_closed)
    })
}

fn over(pipe: Pipe, role: Role) -> Arc<Stream> {
    let transport = Arc::new(BlockingTransport::new(pipe));
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into();
    let stream = Stream::over(transport, -1, side(role), (nowhere, 0), Timeout::Forever).unwrap();
    Arc::new(stream)
}

#[test]
fn a_stream_that_cannot_be_polled_carries_data_both_ways_at_once() {
    within_limits(|| {
        for timed in [true, false] {
            let [(one, one_closed), (other, _)] = pipes(timed);
            let (client, server) = (over(one, Role::Client), over(other, Role::Server));
            assert_eq!(client.descriptor(), -1);
            let there = Arc::clone(&server);
            let serving = thread::spawn(move || {
                let sending = Arc::clone(&there);
                there.do_handshake(&mut || false).unwrap();
                let sender = thread::spawn(move || {
                    send_all(&sending, &pattern(100_000)).unwrap();
                    sending.shutdown(Shutdown::Write, &mut || false).unwrap();
                });
                let received = recv_all(&there).unwrap();
                sender.join().unwrap();
                received
            });
            let sending = Arc::clone(&client);
            client.do_handshake(&mut || false).unwrap();
            let sender = thread::spawn(move || {
                send_all(&sending, &pattern(100_000)).unwrap();
                sending.shutdown(Shutdown::Write, &mut || false).unwrap();
            });
            assert_eq!(recv_all(&client).unwrap(), pattern(100_000));
            sender.join().unwrap();
            assert_eq!(serving.join().unwrap(), pattern(100_000));
            close(&client, false).unwrap();
            assert_eq!(
                one_closed.recv_timeout(LONG),
                Err(RecvTimeoutError::Disconnected)
            );
            assert!(matches!(recv(&client, 1), Err(Error::Closed)));
        }
    });
}

#[test]
fn a_time_is_kept_by_a_stream_that_keeps_one() {
    within_limits(|| {
        let [(one, _), (other, _)] = pipes(true);
        let (client, server) = (over(one, Role::Client), over(other, Role::Server));
        let shaking = thread::spawn(move || {
            server.do_handshake(&mut || false).unwrap();
            server
        });
        client.do_handshake(&mut || false).unwrap();
        let server = shaking.join().unwrap();
        client.set_timeout(Timeout::After(SHORT));
        let began = Instant::now();
        assert!(matches!(recv(&client, 1), Err(Error::TimedOut)));
        assert!(began.elapsed() >= SHORT);
        // The late data is there for the next call.
        send_all(&server, b"late").unwrap();
        client.set_timeout(Timeout::Forever);
        assert_eq!(recv(&client, 10).unwrap(), b"late");
    });
}

#[test]
fn what_came_before_a_client_spoke_is_refused_where_it_can_be_seen() {
    within_limits(|| {
        let [(one, _), (other, _)] = pipes(true);
        other.send(b"injected", None).unwrap();
        let client = over(one, Role::Client);
        let outcome = client.do_handshake(&mut || false);
        assert!(matches!(
            outcome,
            Err(Error::Tls(TlsError::PeerMisbehaved(_)))
        ));
    });
}

#[test]
fn closing_wakes_the_thread_that_is_inside_of_the_stream() {
    within_limits(|| {
        let [(one, closed), (other, _)] = pipes(false);
        let (client, server) = (over(one, Role::Client), over(other, Role::Server));
        let shaking = thread::spawn(move || {
            server.do_handshake(&mut || false).unwrap();
            // Its end ends what it reads from.
            let outcome = recv(&server, 1);
            close(&server, true).unwrap();
            outcome
        });
        client.do_handshake(&mut || false).unwrap();
        let reader = Arc::clone(&client);
        let reading = thread::spawn(move || recv(&reader, 1));
        thread::sleep(SHORT);
        close(&client, true).unwrap();
        assert_eq!(
            closed.recv_timeout(LONG),
            Err(RecvTimeoutError::Disconnected)
        );
        let read = reading.join().unwrap();
        // Whether it learns of the closing or of the peer's answer first is left to the scheduler.
        let ended = matches!(&read, Ok(data) if data.is_empty());
        assert!(ended || matches!(read, Err(Error::Closed)), "{read:?}");
        assert_eq!(shaking.join().unwrap().unwrap(), b"");
    });
}
