//! What is Winsock's own of the calls on sockets.
#![allow(unsafe_code)]

use std::os::windows::io::{AsRawSocket as _, OwnedSocket};
use std::sync::OnceLock;

use polytls_core::MAX_FRAGMENT;
use rustix::fd::AsFd;
use rustix::io::{Errno, Result};
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketType, ipproto, wsa_startup,
};
use windows_sys::Win32::Foundation::{GetLastError, HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::Networking::WinSock::{
    SO_EXCLUSIVEADDRUSE, SOL_SOCKET, WSAGetLastError, setsockopt,
};

use crate::address::Address;
use crate::socket::TCP;

/// Ending the reading side wakes nobody, and has the system reset the connection at what the peer still sends.
pub(crate) const WAKES_READERS: bool = false;

/// Our sockets do not wait by their mode.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::empty();
pub(crate) const SEND: SendFlags = SendFlags::empty();

pub(crate) fn create(family: AddressFamily) -> Result<OwnedSocket> {
    start()?;
    let socket = net::socket(family, SocketType::STREAM, Some(ipproto::TCP))?;
    prepare(&socket)?;
    Ok(socket)
}

/// Has Winsock begin; it ends with the process.
fn start() -> Result<()> {
    static STARTED: OnceLock<Result<()>> = OnceLock::new();
    *STARTED.get_or_init(|| wsa_startup().map(|_| ()))
}

pub(crate) fn accept_prepared(
    listener: &OwnedSocket,
) -> Result<(OwnedSocket, Option<SocketAddrAny>)> {
    let (socket, peer) = net::acceptfrom(listener)?;
    prepare(&socket)?;
    Ok((socket, peer))
}

fn prepare(socket: &OwnedSocket) -> Result<()> {
    // SAFETY: the socket is open.
    let outcome =
        unsafe { SetHandleInformation(socket.as_raw_socket() as _, HANDLE_FLAG_INHERIT, 0) };
    if outcome == 0 {
        // SAFETY: it only looks.
        let error = unsafe { GetLastError() };
        return Err(Errno::from_raw_os_error(error.cast_signed()));
    }
    rustix::io::ioctl_fionbio(socket, true)
}

/// No signal is raised.
pub(crate) const fn silence(_: &OwnedSocket) -> Result<()> {
    Ok(())
}

/// Keeps others from listening at the same port, which SO_REUSEADDR would let them do. A server can be started
/// again while old connections are in TIME_WAIT anyway.
pub(crate) fn prepare_listener(socket: &OwnedSocket, reuse_port: bool) -> Result<()> {
    if reuse_port {
        // Winsock has nothing of the kind.
        return Err(Errno::OPNOTSUPP);
    }
    let on = 1_u32;
    // SAFETY: the socket is open, and the value is four bytes.
    let outcome = unsafe {
        setsockopt(
            socket.as_raw_socket() as _,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            (&raw const on).cast(),
            4,
        )
    };
    if outcome != 0 {
        // SAFETY: it only looks.
        return Err(Errno::from_raw_os_error(unsafe { WSAGetLastError() }));
    }
    Ok(())
}

/// Whether connect goes on by itself.
pub(crate) fn is_under_way(errno: Errno) -> bool {
    errno == Errno::WOULDBLOCK
}

/// Whether accept failed for want of something that may be there again soon.
pub(crate) fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NOBUFS)
}

/// Whether accept failed for what befell one connection.
pub(crate) fn is_one_connections(errno: Errno) -> bool {
    matches!(errno, Errno::CONNRESET | Errno::CONNABORTED)
}

/// Whether it says no more than that the peer takes nothing.
pub(crate) fn is_broken_pipe(errno: Errno) -> bool {
    matches!(errno, Errno::SHUTDOWN | Errno::CONNABORTED)
}

/// What a socket that WSAPoll finds writable takes in one piece (`lent.rs`).
pub(crate) const SURELY_TAKEN: usize = MAX_FRAGMENT;

/// The number of the protocol of somebody else's socket, whose peer is there.
pub(crate) fn protocol(_: impl AsFd, peer: Address) -> u32 {
    match peer {
        Address::Ip(_) => TCP,
        Address::Other(_) => 0,
    }
}
