//! The system calls on stream sockets; `system/socket.rs` has what differs between platforms.
//!
//! Every descriptor of our own is non-blocking, not inherited by programs that are started, and raises
//! no SIGPIPE. Calls on those of others (`system/lent.rs`) do not wait either. `TCP_NODELAY` is on: TLS hands over
//! whole records, and Nagle's algorithm would hold the last part of each message back until the peer's delayed
//! acknowledgement.

use std::net::SocketAddr;

use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::net::{self, AddressFamily, RecvFlags, Shutdown, ipproto, sockopt};

use crate::address::Address;
use crate::settings::ListenerSettings;
use crate::system::socket::{
    RECEIVE, SEND, accept_prepared, create, is_one_connections, is_under_way, prepare_listener,
    silence,
};

const fn family(address: &SocketAddr) -> AddressFamily {
    match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    }
}

/// Begins to connect. `false`: it is under way, the descriptor becomes writable once it is decided.
pub(crate) fn connect(address: &SocketAddr) -> Result<(OwnedFd, bool)> {
    let socket = create(family(address))?;
    let _ = sockopt::set_tcp_nodelay(&socket, true);
    match net::connect(&socket, address) {
        Ok(()) => Ok((socket, true)),
        Err(errno) if is_under_way(errno) => Ok((socket, false)),
        Err(errno) => Err(errno),
    }
}

/// What became of a connect that was under way.
pub(crate) fn connected(socket: &OwnedFd) -> Result<()> {
    sockopt::socket_error(socket)?
}

/// A socket that listens at `address`. A server can be started again while old connections are in
/// TIME_WAIT; an IPv6 address means IPv6 only, whatever the system's default, so that `::` and
/// `0.0.0.0` can be bound side by side, unless both are asked for.
pub(crate) fn listen_at(address: &SocketAddr, settings: &ListenerSettings) -> Result<OwnedFd> {
    let socket = create(family(address))?;
    prepare_listener(&socket, settings.reuse_port)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !settings.dual_stack)?;
    }
    net::bind(&socket, address)?;
    listen(&socket, settings.backlog)?;
    Ok(socket)
}

pub(crate) fn listen(socket: &OwnedFd, backlog: i32) -> Result<()> {
    net::listen(socket, backlog)
}

/// The next connection; `None`: none is there, or the one that was has gone.
///
/// # Errors
///
/// Those that are the listener's or the process's; what befell one connection is passed over
/// (accept(2), "Error handling").
pub(crate) fn accept(listener: &OwnedFd) -> Result<Option<(OwnedFd, SocketAddr)>> {
    loop {
        return match accept_prepared(listener) {
            Ok((socket, peer)) => {
                let Some(Ok(peer)) = peer.map(SocketAddr::try_from) else {
                    continue;
                };
                let _ = sockopt::set_tcp_nodelay(&socket, true);
                Ok(Some((socket, peer)))
            }
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) if is_one_connections(errno) => continue,
            Err(errno) => Err(errno),
        };
    }
}

pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
    retry_on_intr(|| net::send(socket, bytes, SEND))
}

pub(crate) fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize> {
    retry_on_intr(|| net::recv(socket, &mut *into, RECEIVE).map(|(count, _)| count))
}

/// Whether there is something to receive, an end included, which stays where it is: how many of
/// at most so many bytes.
pub(crate) fn peek(socket: BorrowedFd<'_>) -> Result<usize> {
    const PEEK: RecvFlags = RecvFlags::PEEK.union(RECEIVE);
    let mut byte = [0];
    retry_on_intr(|| net::recv(socket, &mut byte, PEEK).map(|(count, _)| count))
}

/// What has befallen the connection since it was last asked.
pub(crate) fn fault(socket: BorrowedFd<'_>) -> Option<Errno> {
    sockopt::socket_error(socket).ok()?.err()
}

/// The address of the other end.
pub(crate) fn peer_address(socket: BorrowedFd<'_>) -> Result<Address> {
    Ok(net::getpeername(socket)?.ok_or(Errno::NOTCONN)?.into())
}

/// Makes a connected socket of somebody else's like ours.
pub(crate) fn take_over(socket: &OwnedFd) -> Result<Address> {
    let peer = peer_address(socket.as_fd())?;
    rustix::io::ioctl_fionbio(socket, true)?;
    silence(socket)?;
    // Not every socket is TCP.
    let _ = sockopt::set_tcp_nodelay(socket, true);
    Ok(peer)
}

/// The number of the protocol of our own sockets.
pub(crate) const TCP: u32 = ipproto::TCP.as_raw().get();

/// For whoever uses the descriptor next: calls on it wait, or do not.
pub(crate) fn set_blocking(socket: &OwnedFd, blocking: bool) -> Result<()> {
    rustix::io::ioctl_fionbio(socket, !blocking)
}

/// Ends our reading, and wakes whoever waits to read, where the system does so.
pub(crate) fn end_reading(socket: BorrowedFd<'_>) {
    let _ = net::shutdown(socket, Shutdown::Read);
}

/// Ends our side of the TCP connection.
pub(crate) fn end_writing(socket: BorrowedFd<'_>) {
    let _ = net::shutdown(socket, Shutdown::Write);
}

/// Wakes every thread that polls the socket, where the system does so.
pub(crate) fn end(socket: BorrowedFd<'_>) {
    let _ = net::shutdown(socket, Shutdown::Both);
}

pub(crate) fn local_address(socket: BorrowedFd<'_>) -> Result<Address> {
    Ok(net::getsockname(socket)?.into())
}
