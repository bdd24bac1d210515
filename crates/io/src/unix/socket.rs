//! What is Unix's own, or one Unix's, of the calls on sockets.

use std::os::fd::{AsFd, OwnedFd};

use polytls_core::MAX_FRAGMENT;
use rustix::io::{Errno, Result};
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketType, ipproto, sockopt,
};

use crate::address::Address;
use crate::socket::TCP;

/// Ending the reading side of a TCP connection wakes whoever waits to read, and the peer knows nothing of it.
pub(crate) const WAKES_READERS: bool = true;

/// No call on a socket waits, whatever mode the descriptor is in.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;
#[cfg(not(target_vendor = "apple"))]
pub(crate) const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
#[cfg(target_vendor = "apple")]
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT;

#[cfg(not(target_vendor = "apple"))]
pub(crate) fn create(family: AddressFamily) -> Result<OwnedFd> {
    let flags = net::SocketFlags::NONBLOCK | net::SocketFlags::CLOEXEC;
    net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
}

#[cfg(target_vendor = "apple")]
pub(crate) fn create(family: AddressFamily) -> Result<OwnedFd> {
    let socket = net::socket(family, SocketType::STREAM, Some(ipproto::TCP))?;
    prepare(&socket)?;
    Ok(socket)
}

#[cfg(not(target_vendor = "apple"))]
pub(crate) fn accept_prepared(listener: &OwnedFd) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
    let flags = net::SocketFlags::NONBLOCK | net::SocketFlags::CLOEXEC;
    net::acceptfrom_with(listener, flags)
}

#[cfg(target_vendor = "apple")]
pub(crate) fn accept_prepared(listener: &OwnedFd) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
    let (socket, peer) = net::acceptfrom(listener)?;
    // EINVAL: the peer has gone already.
    prepare(&socket).map_err(|_| Errno::CONNABORTED)?;
    Ok((socket, peer))
}

#[cfg(target_vendor = "apple")]
fn prepare(socket: &OwnedFd) -> Result<()> {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(socket, true)?;
    silence(socket)
}

/// Has sending to a peer that has gone raise no signal, where the call cannot ask for that.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const fn silence(_: &OwnedFd) -> Result<()> {
    Ok(())
}

#[cfg(target_vendor = "apple")]
pub(crate) fn silence(socket: &OwnedFd) -> Result<()> {
    sockopt::set_socket_nosigpipe(socket, true)
}

/// Lets a server be started again while old connections are in TIME_WAIT; `reuse_port`: beside others.
pub(crate) fn prepare_listener(socket: &OwnedFd, reuse_port: bool) -> Result<()> {
    sockopt::set_socket_reuseaddr(socket, true)?;
    if reuse_port {
        sockopt::set_socket_reuseport(socket, true)?;
    }
    Ok(())
}

/// Whether connect(2) goes on by itself; an interrupted one does, too.
pub(crate) fn is_under_way(errno: Errno) -> bool {
    matches!(errno, Errno::INPROGRESS | Errno::INTR)
}

/// Whether it says no more than that the peer takes nothing.
pub(crate) fn is_broken_pipe(errno: Errno) -> bool {
    errno == Errno::PIPE
}

/// Whether accept(2) failed for want of something that may be there again soon.
pub(crate) fn is_shortage(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM
    )
}

/// Whether accept(2) failed for what befell one connection.
pub(crate) fn is_one_connections(errno: Errno) -> bool {
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
