//! Where an end of a connection is.

use std::fmt;
use std::net::SocketAddr;

use rustix::net::{AddressFamily, SocketAddrAny};

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
