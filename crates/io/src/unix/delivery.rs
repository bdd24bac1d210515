//! What the peer has acknowledged of what was sent.
//!
//! A send that succeeded has handed bytes to this system. They are delivered once the peer's TCP has
//! acknowledged them: a reset, which this system sends where it closes a socket with something unread
//! or receives something afterwards, takes nothing from the peer then.
//!
//! `unsafe`, as neither rustix nor the standard library has the two calls.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

/// How many bytes of data the peer's TCP has not acknowledged. `after_fin`: this side of the TCP
/// connection has been shut down; the FIN is no data.
///
/// After a reset it is what was lost. 0 for a local socket (AF_UNIX): what was sent is in the peer's
/// queue, and stays there when this side is closed. `None` where the system does not tell: for what is
/// no such socket, and on systems other than Linux and macOS.
#[must_use]
pub fn unacknowledged(socket: BorrowedFd<'_>, after_fin: bool) -> Option<u64> {
    use rustix::net::AddressFamily;

    match rustix::net::getsockname(socket).ok()?.address_family() {
        AddressFamily::INET | AddressFamily::INET6 => in_flight(socket, after_fin),
        AddressFamily::UNIX => Some(0),
        _ => None,
    }
}

/// TIOCOUTQ (tcp(7)): what the peer has not acknowledged, the FIN counted as one.
#[cfg(target_os = "linux")]
fn in_flight(socket: BorrowedFd<'_>, after_fin: bool) -> Option<u64> {
    use std::os::fd::AsRawFd as _;

    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as it is borrowed, and the call writes one int.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    let count = u64::try_from(count).ok().filter(|_| outcome == 0)?;
    Some(count.saturating_sub(u64::from(after_fin)))
}

/// SO_NWRITE (setsockopt(2)): what is in the buffer for sending, which data leaves when it has been
/// acknowledged. The FIN is not in there.
#[cfg(target_vendor = "apple")]
fn in_flight(socket: BorrowedFd<'_>, _after_fin: bool) -> Option<u64> {
    use std::os::fd::AsRawFd as _;

    let mut count: libc::c_int = 0;
    let mut size = libc::socklen_t::try_from(size_of_val(&count)).ok()?;
    // SAFETY: the descriptor is open for as long as it is borrowed; the call writes at most `size`
    // bytes to an int, and what it wrote to `size`.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NWRITE,
            (&raw mut count).cast(),
            &raw mut size,
        )
    };
    u64::try_from(count).ok().filter(|_| outcome == 0)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn in_flight(_socket: BorrowedFd<'_>, _after_fin: bool) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use super::unacknowledged;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (here, listener.accept().unwrap().0)
    }

    /// Sends until the system takes no more.
    fn fill(stream: &mut TcpStream) {
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[7; 65_536]).is_ok() {}
    }

    fn soon(mut done: impl FnMut() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "it never happens"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_the_peer_has_no_room_for_is_unacknowledged_until_it_reads() {
        let (mut here, mut there) = pair();
        assert_eq!(unacknowledged(here.as_fd(), false), Some(0));
        fill(&mut here);
        assert!(unacknowledged(here.as_fd(), false).unwrap() > 0);
        here.shutdown(Shutdown::Write).unwrap();
        let reader = std::thread::spawn(move || there.read_to_end(&mut Vec::new()).unwrap());
        soon(|| unacknowledged(here.as_fd(), true) == Some(0));
        assert!(reader.join().unwrap() > 0);
    }

    #[test]
    fn a_fin_alone_is_no_data() {
        let (mut here, _there) = pair();
        here.write_all(b"data").unwrap();
        soon(|| unacknowledged(here.as_fd(), false) == Some(0));
        here.shutdown(Shutdown::Write).unwrap();
        assert_eq!(unacknowledged(here.as_fd(), true), Some(0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn after_a_reset_it_is_what_was_lost() {
        let (mut here, there) = pair();
        fill(&mut here);
        rustix::net::sockopt::set_socket_linger(&there, Some(Duration::ZERO)).unwrap();
        drop(there);
        soon(|| {
            here.read(&mut [0])
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
        });
        assert!(unacknowledged(here.as_fd(), false).unwrap() > 0);
    }

    #[test]
    fn what_was_sent_over_a_local_socket_has_arrived() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        here.write_all(b"data").unwrap();
        there.write_all(b"unread").unwrap();
        assert_eq!(unacknowledged(here.as_fd(), false), Some(0));
        drop(here);
        let mut data = [0; 4];
        there.read_exact(&mut data).unwrap();
        assert_eq!(&data, b"data");
    }

    #[test]
    fn of_what_is_no_socket_nothing_is_known() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(unacknowledged(file.as_fd(), false), None);
    }
}
