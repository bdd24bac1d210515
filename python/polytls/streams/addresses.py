"""Addresses of streams, as TLS sockets report them."""

from __future__ import annotations

import errno
import socket
import sys
from contextlib import suppress
from typing import Any, Final

__all__ = ["TCP_FAMILIES", "host_and_port", "no_address", "peer_of", "protocol_of"]

TCP_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def host_and_port(address: tuple[object, ...]) -> tuple[str, int]:
    """Return an address in PEP 748's form for both families; a link-local host keeps its scope."""
    host = str(address[0]).partition("%")[0]
    scope = address[3] if len(address) > 3 else 0
    return (f"{host}%{scope}" if scope else host), int(str(address[1]))


def peer_of(stream: Any) -> tuple[str, int] | None:
    """Return the address of a stream's peer; None if there is none.

    Raises OSError (ENOTCONN) for a socket without a peer.
    """
    try:
        address = stream.getpeername()
    except AttributeError:
        return None
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:  # TLS over a stream without addresses.
            return None
        raise
    return host_and_port(address) if isinstance(address, tuple) else None


def protocol_of(stream: Any) -> int:
    """Return a socket's protocol number; 0 for anything but a socket."""
    # A socket created with 0, for the default protocol, does not know the number itself.
    if sys.platform != "win32":  # It has no such option.
        with suppress(AttributeError, OSError):
            return int(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL))
    usual = socket.IPPROTO_TCP if getattr(stream, "family", None) in TCP_FAMILIES else 0
    return getattr(stream, "proto", 0) or usual


def no_address() -> OSError:
    """Return the error for a call that needs an address, on a stream without one."""
    return OSError(errno.EAFNOSUPPORT, "the underlying stream has no host and port")
