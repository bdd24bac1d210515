//! What the peer has acknowledged of what was sent.
//!
//! Windows does not count it, but it lists the states of all TCP connections (RFC 9293 section 3.3.2). Once our
//! side has been shut down, they say whether the peer has acknowledged the FIN, and with it all that was sent
//! before. SIO_TCP_INFO has the state of one connection, but not in Wine 8, which the tests run under.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fd::BorrowedFd;
use rustix::net::{getpeername, getsockname};
use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetTcp6Table, GetTcpTable, MIB_TCP_STATE_CLOSING, MIB_TCP_STATE_FIN_WAIT1,
    MIB_TCP_STATE_FIN_WAIT2, MIB_TCP_STATE_LAST_ACK, MIB_TCP_STATE_TIME_WAIT,
};

/// How many bytes of data the peer's TCP has not acknowledged. `after_fin`: this side of the TCP
/// connection has been shut down.
///
/// 0, or [`u64::MAX`], which says that it has not acknowledged the FIN. `None` if it is unknown: before the FIN
/// is sent, after the connection has ended (by a reset, or on both sides), and for anything but a TCP socket.
#[must_use]
pub fn unacknowledged(socket: BorrowedFd<'_>, after_fin: bool) -> Option<u64> {
    static V4: Mutex<Option<Listed>> = Mutex::new(None);
    static V6: Mutex<Option<Listed>> = Mutex::new(None);

    if !after_fin {
        return None;
    }
    let here = SocketAddr::try_from(getsockname(socket).ok()?).ok()?;
    let there = SocketAddr::try_from(getpeername(socket).ok()??).ok()?;
    let ends = [here, there].map(|end| (end.ip().to_canonical(), end.port()));
    let mut found = None;
    if there.ip().to_canonical().is_ipv4() {
        found = looked_up(&V4, v4_connections, &ends);
    }
    if there.is_ipv6() {
        found = found.or_else(|| looked_up(&V6, v6_connections, &ends));
    }
    found.map(|acknowledged| if acknowledged { 0 } else { u64::MAX })
}

type End = (IpAddr, u16);
/// Of a connection, ours first.
type Ends = [End; 2];

/// How long a list is good for, as a multiple of the time that it took: the more connections the machine has,
/// the longer. It is for everybody who asks.
const KEPT: u32 = 3;

/// The connections of this machine whose FIN is sent, and whether the peer has acknowledged it.
type Ended = HashMap<Ends, bool>;

/// It is a few milliseconds old at most. So it can only be wrong about a connection that was made and shut down
/// since, between the ports of one that had just ended.
#[derive(Debug)]
struct Listed {
    ended: Ended,
    since: Instant,
    took: Duration,
}

impl Listed {
    fn is_old(&self) -> bool {
        self.since.elapsed() > self.took * (1 + KEPT)
    }
}

/// Lists the connections if nobody else has just done so.
fn looked_up(
    kept: &Mutex<Option<Listed>>,
    connections: fn() -> io::Result<Ended>,
    ends: &Ends,
) -> Option<bool> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.as_ref().is_none_or(Listed::is_old) {
        let since = Instant::now();
        *kept = Some(Listed {
            ended: connections().ok()?,
            since,
            took: since.elapsed(),
        });
    }
    kept.as_ref()?.ended.get(ends).copied()
}

fn v4_connections() -> io::Result<Ended> {
    // SAFETY: the memory is as long as the call is told, and aligned for what it writes.
    let table = table(|into, size| unsafe { GetTcpTable(into.cast(), size, 0) })?;
    let mut ended = Ended::new();
    // MIB_TCPROW.
    for [state, here, port, there, peer_port] in rows(&table) {
        note(
            &mut ended,
            state,
            [v4_end(here, port), v4_end(there, peer_port)],
        );
    }
    Ok(ended)
}

fn v6_connections() -> io::Result<Ended> {
    // SAFETY: as above.
    let table = table(|into, size| unsafe { GetTcp6Table(into.cast(), size, 0) })?;
    let mut ended = Ended::new();
    // MIB_TCP6ROW.
    for row in rows(&table) {
        let [state, h0, h1, h2, h3, _, port, t0, t1, t2, t3, _, peer_port] = row;
        let here = v6_end([h0, h1, h2, h3], port);
        let there = v6_end([t0, t1, t2, t3], peer_port);
        note(&mut ended, state, [here, there]);
    }
    Ok(ended)
}

/// What one of the system's calls fills in: the number of rows, and the rows. All of it consists of u32.
fn table(mut fill: impl FnMut(*mut u32, *mut u32) -> u32) -> io::Result<Vec<u32>> {
    let mut memory = vec![0; 4096];
    loop {
        let mut size = u32::try_from(size_of_val(&*memory)).map_err(io::Error::other)?;
        match fill(memory.as_mut_ptr(), &raw mut size) {
            NO_ERROR => return Ok(memory),
            // There may be more of them the next time.
            ERROR_INSUFFICIENT_BUFFER => {
                memory.resize((size as usize / 2).max(2 * memory.len()), 0);
            }
            status => return Err(io::Error::from_raw_os_error(status.cast_signed())),
        }
    }
}

fn rows<const LENGTH: usize>(table: &[u32]) -> impl Iterator<Item = [u32; LENGTH]> {
    let (count, rows) = table.split_first().unwrap_or((&0, &[]));
    rows.as_chunks().0.iter().take(*count as usize).copied()
}

fn v4_end(address: u32, port: u32) -> End {
    let address = Ipv4Addr::from(address.to_ne_bytes());
    (address.into(), number(port))
}

/// Without the scope of a link-local address.
fn v6_end(address: [u32; 4], port: u32) -> End {
    let address = address.map(u32::from_be);
    let bits = address
        .iter()
        .fold(0, |bits, part| bits << 32 | u128::from(*part));
    (Ipv6Addr::from_bits(bits).to_canonical(), number(port))
}

/// A port is in the first two bytes, in the network's order.
fn number(port: u32) -> u16 {
    let [high, low, ..] = port.to_ne_bytes();
    u16::from_be_bytes([high, low])
}

fn note(ended: &mut Ended, state: u32, ends: Ends) {
    let acknowledged = match state.cast_signed() {
        MIB_TCP_STATE_FIN_WAIT1 | MIB_TCP_STATE_CLOSING | MIB_TCP_STATE_LAST_ACK => false,
        MIB_TCP_STATE_FIN_WAIT2 | MIB_TCP_STATE_TIME_WAIT => true,
        _ => return,
    };
    *ended.entry(ends).or_insert(true) &= acknowledged;
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
    use std::os::windows::io::AsSocket as _;
    use std::time::{Duration, Instant};

    use super::unacknowledged;

    const ADDRESSES: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

    fn pair(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(address).unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (here, listener.accept().unwrap().0)
    }

    /// Sends until the system takes no more.
    fn fill(stream: &mut TcpStream) {
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[7; 65_536]).is_ok() {}
    }

    /// Waits until that is what is said.
    #[track_caller]
    fn soon(here: &TcpStream, wanted: Option<u64>) {
        let began = Instant::now();
        while unacknowledged(here.as_socket(), true) != wanted {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "it never happens"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_the_peer_has_no_room_for_is_unacknowledged_until_it_reads() {
        for address in ADDRESSES {
            let (mut here, mut there) = pair(address);
            fill(&mut here);
            here.shutdown(Shutdown::Write).unwrap();
            soon(&here, Some(u64::MAX));
            let reader = std::thread::spawn(move || {
                assert!(there.read_to_end(&mut Vec::new()).unwrap() > 0);
                there
            });
            soon(&here, Some(0));
            drop(reader.join().unwrap());
        }
    }

    #[test]
    fn after_the_peers_end_as_well() {
        for address in ADDRESSES {
            let (mut here, mut there) = pair(address);
            there.shutdown(Shutdown::Write).unwrap();
            assert_eq!(here.read(&mut [0]).unwrap(), 0);
            fill(&mut here);
            here.shutdown(Shutdown::Write).unwrap();
            soon(&here, Some(u64::MAX));
            let reader = std::thread::spawn(move || there.read_to_end(&mut Vec::new()).unwrap());
            // The connection has ended.
            soon(&here, None);
            assert!(reader.join().unwrap() > 0);
        }
    }

    #[test]
    fn before_the_fin_nothing_is_known() {
        for address in ADDRESSES {
            let (mut here, _there) = pair(address);
            here.write_all(b"data").unwrap();
            assert_eq!(unacknowledged(here.as_socket(), false), None);
            // Whoever asks is wrong about the FIN.
            assert_eq!(unacknowledged(here.as_socket(), true), None);
        }
    }

    #[test]
    fn after_a_reset_nothing_is_known() {
        for address in ADDRESSES {
            let (mut here, there) = pair(address);
            fill(&mut here);
            here.shutdown(Shutdown::Write).unwrap();
            soon(&here, Some(u64::MAX));
            rustix::net::sockopt::set_socket_linger(&there, Some(Duration::ZERO)).unwrap();
            drop(there);
            soon(&here, None);
        }
    }

    #[test]
    fn an_ipv4_peer_of_a_socket_for_both_families_is_found() {
        use crate::settings::ListenerSettings;
        use std::net::SocketAddr;

        let settings = ListenerSettings {
            dual_stack: true,
            ..ListenerSettings::default()
        };
        let unspecified = "[::]:0".parse().unwrap();
        let listener =
            TcpListener::from(crate::socket::listen_at(&unspecified, &settings).unwrap());
        let port = listener.local_addr().unwrap().port();
        let mut there = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let here = loop {
            match listener.accept() {
                Ok((here, _)) => break here,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        };
        assert!(matches!(here.peer_addr().unwrap(), SocketAddr::V6(_)));
        here.shutdown(Shutdown::Write).unwrap();
        soon(&here, Some(0));
        assert_eq!(there.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn of_what_is_no_connection_nothing_is_known() {
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(unacknowledged(datagrams.as_socket(), true), None);
        assert_eq!(unacknowledged(listener.as_socket(), true), None);
    }
}
