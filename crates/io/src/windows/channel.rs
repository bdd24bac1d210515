//! What can be polled, and made readable from another thread: a TCP connection over loopback, as WSAPoll takes
//! sockets only. (Windows has local sockets, but no pairs of them.)

use std::io::Result;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use rustix::net::sockopt;

pub(crate) type Reader = TcpStream;
pub(crate) type Writer = TcpStream;

pub(crate) fn channel() -> Result<(Reader, Writer)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let writer = TcpStream::connect(listener.local_addr()?)?;
    writer.set_nodelay(true)?;
    let own = writer.local_addr()?;
    let reader = loop {
        // Whoever else comes to the port is let go.
        let (reader, peer) = listener.accept()?;
        if peer == own {
            break reader;
        }
    };
    // Closing resets it, so that no port is left in TIME_WAIT: bells come and go.
    sockopt::set_socket_linger(&writer, Some(std::time::Duration::ZERO))?;
    Ok((reader, writer))
}
