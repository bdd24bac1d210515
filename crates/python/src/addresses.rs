//! Addresses, as `socket` has them.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use polytls_io::Address as Place;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::system::EAFNOSUPPORT;

/// IP, port, and for IPv6 flow label and scope: what `socket.getaddrinfo` gives.
pub(crate) type Address = (String, u16, u32, u32);

fn socket_address(address: &Address) -> PyResult<SocketAddr> {
    let (host, port, flow, scope) = address;
    // The scope is there as a number; some platforms put it into the text too.
    let host = host.split('%').next().unwrap_or_default();
    let ip = host
        .parse()
        .map_err(|_| PyValueError::new_err(format!("{host:?} is not an IP address")))?;
    Ok(match ip {
        IpAddr::V4(ip) => SocketAddrV4::new(ip, *port).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, *port, *flow, *scope).into(),
    })
}

pub(crate) fn socket_addresses(addresses: &[Address]) -> PyResult<Vec<SocketAddr>> {
    addresses.iter().map(socket_address).collect()
}

/// Where the peer of a stream is that told `host` and `port`, if it told an IP address; a link-local one has its
/// scope behind it.
pub(crate) fn place(host: Option<&str>, port: u16, family: u16) -> Place {
    let address = host.and_then(|host| {
        let scope = host.split_once('%').map_or("0", |(_, scope)| scope);
        let parts = (host.to_owned(), port, 0, scope.parse().unwrap_or(0));
        socket_address(&parts).ok()
    });
    address.map_or(Place::Other(family), Place::Ip)
}

/// (host, port) as PEP 748 has it for both families; a link-local host keeps its scope.
///
/// Raises OSError for a socket of another family.
pub(crate) fn python_address(place: Place) -> PyResult<(String, u16)> {
    let Place::Ip(address) = place else {
        return Err(PyOSError::new_err((
            EAFNOSUPPORT,
            "the underlying stream has no host and port",
        )));
    };
    let host = match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        other => other.ip().to_string(),
    };
    Ok((host, address.port()))
}
