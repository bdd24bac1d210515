//! The system calls on stream sockets, and the differences between platforms.
//!
//! Every descriptor of our own is non-blocking, not inherited by programs that are started, and raises
//! no SIGPIPE. Calls on those of others do not wait either, as each asks for that. `TCP_NODELAY` is on: TLS hands over whole records, and Nagle's algorithm would hold
//! the last part of each message back until the peer's delayed acknowledgement.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use polytls_core::MAX_FRAGMENT;
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrAny, SocketType, ipproto,
    sockopt,
};

use crate::settings::ListenerSettings;

/// Where an end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// TCP.
    Ip(SocketAddr),
    /// Another kind of stream socket, with the number of its address family; a local one (AF_UNIX)
    /// above all. It has no host and port.
    Other(u16),
}

impl Address {
    /// The number of the address family.
    #[must_use]
    pub const fn family(self) -> u16 {
        match self {
            Self::Ip(SocketAddr::V4(_)) => AddressFamily::INET.as_raw(),
            Self::Ip(SocketAddr::V6(_)) => AddressFamily::INET6.as_raw(),
            Self::Other(family) => family,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Other(_) => f.write_str("a peer without an address"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<SocketAddrAny> for Address {
    fn from(address: SocketAddrAny) -> Self {
        let family = address.address_family().as_raw();
        SocketAddr::try_from(address).map_or(Self::Other(family), Self::Ip)
    }
}

#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::DONTWAIT;

#[cfg(not(target_vendor = "apple"))]
fn create(family: AddressFamily) -> Result<OwnedFd> {
    let flags = net::SocketFlags::NONBLOCK | net::SocketFlags::CLOEXEC;
    net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
}

#[cfg(target_vendor = "apple")]
fn create(family: AddressFamily) -> Result<OwnedFd> {
    let socket = net::socket(family, SocketType::STREAM, Some(ipproto::TCP))?;
    prepare(&socket)?;
    Ok(socket)
}

#[cfg(not(target_vendor = "apple"))]
fn accept_prepared(listener: &OwnedFd) -> Result<(OwnedFd, Option<net::SocketAddrAny>)> {
    let flags = net::SocketFlags::NONBLOCK | net::SocketFlags::CLOEXEC;
    net::acceptfrom_with(listener, flags)
}

#[cfg(target_vendor = "apple")]
fn accept_prepared(listener: &OwnedFd) -> Result<(OwnedFd, Option<net::SocketAddrAny>)> {
    let (socket, peer) = net::acceptfrom(listener)?;
    // EINVAL: the peer has gone already.
    prepare(&socket).map_err(|_| Errno::CONNABORTED)?;
    Ok((socket, peer))
}

#[cfg(target_vendor = "apple")]
fn prepare(socket: &OwnedFd) -> Result<()> {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(socket, true)?;
    sockopt::set_socket_nosigpipe(socket, true)
}

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
        // An interrupted connect(2) goes on by itself.
        Err(Errno::INPROGRESS | Errno::INTR) => Ok((socket, false)),
        Err(errno) => Err(errno),
    }
}

/// What became of a connect that was under way.
pub(crate) fn connected(socket: &OwnedFd) -> Result<()> {
    sockopt::socket_error(socket)?
}

/// A socket that listens at `address`. `SO_REUSEADDR` is on, so that a server can be started
/// again while old connections are in TIME_WAIT; an IPv6 address means IPv6 only, whatever the
/// system's default, so that `::` and `0.0.0.0` can be bound side by side, unless both are asked
/// for.
pub(crate) fn listen_at(address: &SocketAddr, settings: &ListenerSettings) -> Result<OwnedFd> {
    let socket = create(family(address))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if settings.reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
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

/// Whether accept(2) failed for want of something that may be there again soon.
pub(crate) fn is_shortage(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM
    )
}

fn is_one_connections(errno: Errno) -> bool {
    #[cfg(target_os = "linux")]
    if matches!(errno, Errno::NONET | Errno::PERM) {
        return true;
    }
    matches!(
        errno,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::TIMEDOUT
    )
}

/// What a socket that poll(2) finds writable takes in one piece. Linux says so once a third of the buffer is
/// free, which is 29 KiB at least if nobody has made it smaller; others from SO_SNDLOWAT on, 2 KiB.
pub(crate) const SURELY_TAKEN: usize = if cfg!(target_os = "linux") {
    MAX_FRAGMENT
} else {
    1024
};

pub(crate) fn send(socket: impl AsFd, bytes: &[u8]) -> Result<usize> {
    retry_on_intr(|| net::send(&socket, bytes, SEND))
}

pub(crate) fn receive(socket: impl AsFd, into: &mut [u8]) -> Result<usize> {
    retry_on_intr(|| net::recv(&socket, &mut *into, RecvFlags::DONTWAIT).map(|(count, _)| count))
}

/// The same, in one call that waits if the descriptor does; a signal ends it.
pub(crate) fn receive_waiting(socket: impl AsFd, into: &mut [u8]) -> Result<usize> {
    net::recv(&socket, into, RecvFlags::empty()).map(|(count, _)| count)
}

/// Whether there is something to receive, an end included, which stays where it is: how many of
/// at most so many bytes.
pub(crate) fn peek(socket: impl AsFd) -> Result<usize> {
    const PEEK: RecvFlags = RecvFlags::PEEK.union(RecvFlags::DONTWAIT);
    let mut byte = [0];
    retry_on_intr(|| net::recv(&socket, &mut byte, PEEK).map(|(count, _)| count))
}

/// What has befallen the connection since it was last asked.
pub(crate) fn fault(socket: impl AsFd) -> Option<Errno> {
    sockopt::socket_error(socket).ok()?.err()
}

/// The address of the other end.
pub(crate) fn peer_address(socket: impl AsFd) -> Result<Address> {
    Ok(net::getpeername(socket)?.ok_or(Errno::NOTCONN)?.into())
}

/// Makes a connected socket of somebody else's like ours.
pub(crate) fn take_over(socket: &OwnedFd) -> Result<Address> {
    let peer = peer_address(socket)?;
    rustix::io::ioctl_fionbio(socket, true)?;
    #[cfg(target_vendor = "apple")]
    sockopt::set_socket_nosigpipe(socket, true)?;
    // Not every socket is TCP.
    let _ = sockopt::set_tcp_nodelay(socket, true);
    Ok(peer)
}

/// The number of the protocol of our own sockets.
pub(crate) const TCP: u32 = ipproto::TCP.as_raw().get();

/// The number of the protocol of somebody else's socket, whose peer is there; where the system does
/// not tell, the usual one.
pub(crate) fn protocol(socket: impl AsFd, peer: Address) -> u32 {
    #[cfg(target_os = "linux")]
    if let Ok(Some(protocol)) = sockopt::socket_protocol(socket) {
        return protocol.as_raw().get();
    }
    let _ = socket;
    match peer {
        Address::Ip(_) => TCP,
        Address::Other(_) => 0,
    }
}

/// For whoever uses the descriptor next: calls on it wait, or do not.
pub(crate) fn set_blocking(socket: &OwnedFd, blocking: bool) -> Result<()> {
    rustix::io::ioctl_fionbio(socket, !blocking)
}

/// Ends our reading, and wakes whoever waits to read.
pub(crate) fn end_reading(socket: impl AsFd) {
    let _ = net::shutdown(socket, Shutdown::Read);
}

/// Ends our side of the TCP connection.
pub(crate) fn end_writing(socket: impl AsFd) {
    let _ = net::shutdown(socket, Shutdown::Write);
}

/// Wakes every thread that polls the socket.
pub(crate) fn end(socket: impl AsFd) {
    let _ = net::shutdown(socket, Shutdown::Both);
}

pub(crate) fn local_address(socket: impl AsFd) -> Result<Address> {
    Ok(net::getsockname(socket)?.into())
}
