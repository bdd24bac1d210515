"""Host names: verification, name resolution, and addresses.

The rules (IDNA by UTS #46, addresses, the trailing dot) are in the Rust core; implementations share
this thin layer.
"""

from __future__ import annotations

from . import _native

__all__ = ["Address", "host_of", "port_of", "resolve", "verified_name"]

#: An address as the kernel takes it: IP, port, and for IPv6 flow label and scope.
Address = tuple[str, int, int, int]


def verified_name(name: object) -> str:
    """Return `name` in the form that TLS uses.

    Raises TypeError if it is not a str, and ValueError if it is not a host name.
    """
    if not isinstance(name, str):
        raise TypeError(f"server_hostname must be str, not {type(name).__name__}")
    return _native.host_name(_without_zone(name))[0]


def host_of(address: object) -> str | None:
    """Return the host of a (host, port) pair; None is this machine.

    Raises TypeError, naming what is wrong.
    """
    host = _pair(address)[0]
    if host is not None and not isinstance(host, str):
        raise TypeError(f"address: the host must be str or None, not {type(host).__name__}")
    return host


def port_of(address: object) -> int:
    """Return the port of a (host, port) pair.

    Raises TypeError if it is not an int, and ValueError if it is not a port.
    """
    port = _pair(address)[1]
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"address: the port must be int, not {type(port).__name__}")
    if not 0 <= port <= 65535:
        raise ValueError(f"address: the port must be within 0 to 65535, not {port}")
    return port


def resolve(address: object, *, passive: bool = False) -> list[Address]:
    """Return the addresses of a (host, port) pair, in the order to try them.

    `passive`: for binding, so that no host means all interfaces.

    Raises `socket.gaierror` if the name cannot be resolved; TypeError and ValueError for an invalid
    address.
    """
    host, port = host_of(address), port_of(address)
    if host:
        name = _without_zone(host)
        zone = host[len(name) :]
        name, is_address = _native.host_name(name, "address")
        if is_address and not zone:
            return [(name, port, 0, 0)]
        host = name + zone
    # Takes milliseconds to import; buffers do not need it.
    import socket

    found = socket.getaddrinfo(
        host or None,
        port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE if passive else 0,
    )
    return [
        (str(rest[0]), int(rest[1]), *map(int, (*rest[2:], 0, 0)[:2]))  # type: ignore[misc]
        for family, *_, rest in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]


def _pair(address: object) -> tuple[object, object]:
    if not isinstance(address, tuple | list) or len(address) < 2:
        raise TypeError("address must be a (host, port) pair")
    return address[0], address[1]


def _without_zone(host: str) -> str:
    """An IPv6 address without its zone (RFC 4007 11), which only has a meaning on this machine."""
    before, percent, _ = host.partition("%")
    return before if percent and ":" in before else host
