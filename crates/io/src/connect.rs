//! A client's way from addresses to a [`Stream`].

use rustix::fd::{AsFd as _, OwnedFd};
use std::net::SocketAddr;

use polytls_core::{Connection, Error as TlsError, Role, Session};

use crate::deadline::{Deadline, Timeout};
use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::fork;
use crate::socket;
use crate::stream::Stream;
use crate::wait::{Interrupt, connecting_until};

/// Connects to the first of `addresses` that answers and completes the handshake, all within
/// `timeout`. `make` makes the session, once there is a connection. Later calls on the stream may
/// wait for `stream_timeout` each.
///
/// # Errors
///
/// The last address's error; those of `make` and of the handshake. A TLS error of ours is told to
/// the peer as [`Stream::do_handshake`] does. No descriptor is left behind.
/// [`TlsError::Misuse`] without an address and for [`Timeout::NonBlocking`].
pub fn connect(
    addresses: &[SocketAddr],
    timeout: Timeout,
    stream_timeout: Timeout,
    make: impl FnOnce() -> Result<Box<dyn Session>, TlsError>,
    interrupt: &mut dyn Interrupt,
) -> Result<Stream, Error> {
    let deadline = Deadline::after(timeout);
    if deadline == Deadline::NonBlocking {
        return Err(Error::Tls(TlsError::Misuse(
            "connect() needs a timeout above 0; call setblocking(False) afterwards",
        )));
    }
    fork::watch_forks()?;
    let mut outcome = Err(Error::Tls(TlsError::Misuse("no address to connect to")));
    for address in addresses {
        outcome = dial(address, deadline, interrupt).map(|socket| (socket, *address));
        match outcome {
            Ok(_) | Err(Error::TimedOut | Error::Interrupted) => break,
            Err(_) => {}
        }
    }
    let (socket, peer) = outcome?;
    let connection = Connection::new(make()?, Role::Client);
    let socket = Descriptor::owned(socket, peer.into());
    let stream = Stream::new(socket, connection, peer.into(), stream_timeout);
    stream.handshake(deadline, interrupt)?;
    // What is called back in the handshake, such as a signer, may have taken its time.
    if deadline.has_passed() {
        return Err(Error::TimedOut);
    }
    Ok(stream)
}

fn dial(
    address: &SocketAddr,
    deadline: Deadline,
    interrupt: &mut dyn Interrupt,
) -> Result<OwnedFd, Error> {
    let (socket, connected) = socket::connect(address)?;
    if !connected {
        if !connecting_until(socket.as_fd(), deadline.instant(), interrupt)? {
            return Err(Error::TimedOut);
        }
        socket::connected(&socket)?;
    }
    Ok(socket)
}
