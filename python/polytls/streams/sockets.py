"""The surface of TLS sockets: what connections and listeners have in common.

Both are a `TLSSocket`; the methods that belong to the other kind raise OSError, as they do on the
native sockets.
"""
# ruff: noqa: ARG002 - what is refused is refused whatever it is given

from __future__ import annotations

import errno
import os
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

from ..arguments import seconds_of
from ..constants import CipherSuite, NextProtocol, TLSVersion
from ..errors import PeerMisbehaved, WantReadError, WantWriteError
from ..files import MakesFiles
from ..fork import generation
from ..info import ConnectionInfo
from ..interfaces import ClientContext, ServerContext
from ..sessions import TLSSession

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "TCP_FAMILIES",
    "SocketBase",
    "check_direction",
    "closed",
    "host_and_port",
    "no_address",
    "not_connected",
    "peer_of",
    "shown",
    "spoke_too_soon",
    "undelivered",
    "want_read",
    "want_write",
]


TCP_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


class SocketBase(MakesFiles, ABC):
    """A socket that is neither a connection nor a listener yet."""

    __slots__ = ("__weakref__", "_context", "_generation", "_kind_below", "_timeout")

    #: What it is, and where the other kind comes from.
    _kind: str

    def __init__(
        self, context: ClientContext | ServerContext, stream: Any, timeout: float | None
    ) -> None:
        self._context = context
        self._kind_below = (getattr(stream, "family", socket.AF_UNSPEC), _protocol_of(stream))
        self._timeout = timeout
        #: Of the process that it was made in.
        self._generation = generation()

    @property
    def context(self) -> ClientContext | ServerContext:
        """The context this socket was made by."""
        return self._context

    def settimeout(self, value: float | None, /) -> None:
        """Set how long each call may wait: seconds, None for ever, 0 not at all."""
        seconds = seconds_of(value)
        self._check_timeout(seconds)
        self._timeout = seconds

    def gettimeout(self) -> float | None:
        """Return how long each call may wait."""
        return self._timeout

    def setblocking(self, flag: bool, /) -> None:
        """Do the same as `settimeout(None)` or `settimeout(0)`."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """Return whether calls wait at all."""
        return self._timeout != 0

    def _check_timeout(self, seconds: float | None) -> None:
        """Raise ValueError if it cannot be kept; most can."""

    @property
    def _inherited(self) -> bool:
        """Whether it belongs to a process that this one was forked from."""
        return self._generation != generation()

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor, -1 once closed, and where there is none."""

    @abstractmethod
    def detach(self) -> int:
        """Return the descriptor and let go of it, with nothing said to the peer."""

    @abstractmethod
    def getsockname(self) -> tuple[str, int]:
        """Return the local address."""

    @abstractmethod
    def close(self, force: bool = False) -> None:
        """Close it."""

    # --- the socket below ---

    @abstractmethod
    def _below(self) -> Any:
        """What carries the bytes; raises OSError once closed."""

    # Known after closing as well, as they are of plain sockets.

    @property
    def family(self) -> int:
        """The address family, as `socket.socket.family`; AF_UNSPEC over what is no socket."""
        return self._kind_below[0]

    @property
    def type(self) -> int:
        """The kind of socket: `socket.SOCK_STREAM`."""
        return socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        """The protocol's number; 0 over what is no socket."""
        return self._kind_below[1]

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> int | bytes:
        """Return an option, as `socket.socket.getsockopt`."""
        given = (buflen,) if buflen else ()
        option: int | bytes = self._of_socket("getsockopt")(level, optname, *given)
        return option

    def setsockopt(
        self, level: int, optname: int, value: int | Buffer | None, optlen: int = 0, /
    ) -> None:
        """Set an option, as `socket.socket.setsockopt`."""
        given = (optlen,) if value is None else ()
        self._of_socket("setsockopt")(level, optname, value, *given)

    def _of_socket(self, name: str) -> Any:
        try:
            return getattr(self._below(), name)
        except AttributeError:
            raise OSError(errno.ENOTSOCK, "the stream below is no socket") from None

    @property
    @abstractmethod
    def info(self) -> ConnectionInfo:
        """All that is known of the connection."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("a TLS connection cannot be pickled or copied")

    def _refuse(self) -> NoReturn:
        raise OSError(errno.EINVAL, f"this is a {self._kind}")

    # --- of connections alone ---

    if TYPE_CHECKING:
        # Connections have it where their buffers do (`offers`).
        @property
        def session(self) -> TLSSession | None: ...

    def _check_connection(self) -> None:
        self._refuse()

    def recv(self, bufsize: int) -> bytes:
        """Receive up to `bufsize` bytes, waiting for the first."""
        self._refuse()

    def recv_into(self, buffer: Buffer, nbytes: int = 0, /) -> int:
        """Receive into `buffer`, up to `nbytes` (0: as many as fit), and give the count."""
        self._refuse()

    def send(self, bytes: Buffer) -> int:
        """Send `bytes`, or a part of them, and give the count."""
        self._refuse()

    def sendall(self, data: Buffer, /) -> None:
        """Send all of `data`."""
        self._refuse()

    def do_handshake(self) -> None:
        """Complete the handshake of a connection that was accepted without it."""
        self._refuse()

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send a file, and give the count."""
        self._refuse()

    def shutdown(self, how: int, /) -> None:
        """End one or both directions of a connection."""
        check_direction(how)
        self._below()
        raise not_connected()

    def unwrap(self) -> Any:
        """End TLS, and give back what is below it."""
        self._refuse()

    def pending(self) -> int:
        """Return how many bytes of plaintext can be received without the network."""
        self._refuse()

    def outgoing_bytes_buffered(self) -> int:
        """Return how many bytes of ciphertext wait for the descriptor to be writable."""
        self._refuse()

    def getpeername(self) -> tuple[str, int]:
        """Return the peer's address."""
        self._refuse()

    def getpeercert(self) -> bytes | None:
        """Return the peer's certificate as DER, None before the handshake or without one."""
        return None

    def cipher(self) -> CipherSuite | int | None:
        """Return the cipher suite agreed on."""
        return None

    def negotiated_protocol(self) -> NextProtocol | bytes | None:
        """Return the application protocol agreed on."""
        return None

    @property
    def negotiated_tls_version(self) -> TLSVersion | None:
        """The version agreed on."""
        return None

    # --- of listeners alone ---

    def listen(self, backlog: int) -> None:
        """Change how many connections may wait to be accepted."""
        self._refuse()

    def accept(self) -> tuple[SocketBase, tuple[str, int]]:
        """Return the next connection, its handshake done, and the client's address."""
        self._refuse()

    @property
    def failed_handshakes(self) -> int:
        """How many clients failed in their handshakes."""
        self._refuse()


def host_and_port(address: tuple[object, ...]) -> tuple[str, int]:
    """Return an address as PEP 748 has it for both families; a link-local host keeps its scope."""
    host = str(address[0]).partition("%")[0]
    scope = address[3] if len(address) > 3 else 0
    return (f"{host}%{scope}" if scope else host), int(str(address[1]))


def peer_of(stream: Any) -> tuple[str, int] | None:
    """Return the address of a stream's peer; None if it has no such.

    Raises OSError (ENOTCONN) for a socket that has no peer.
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


def _protocol_of(stream: Any) -> int:
    """Return the number of a socket's protocol; 0 for what is no socket."""
    # A socket made with 0, for the usual one, does not know better by itself.
    with suppress(AttributeError, OSError):
        return int(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL))
    usual = socket.IPPROTO_TCP if getattr(stream, "family", None) in TCP_FAMILIES else 0
    return getattr(stream, "proto", 0) or usual


def check_direction(how: int) -> None:
    """Refuse what `shutdown` cannot end: TypeError, ValueError."""
    if not isinstance(how, int):
        raise TypeError(f"how must be int, not {type(how).__name__}")
    if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
        raise ValueError("how must be SHUT_RD, SHUT_WR or SHUT_RDWR of socket")


def shown(address: tuple[str, int] | None) -> str:
    """Return an address for people."""
    if address is None:
        return "a peer without an address"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def want_read() -> WantReadError:
    """Return the error of a call that must not wait to receive."""
    return WantReadError("the socket has to become readable first")


def want_write() -> WantWriteError:
    """Return the error of a call that must not wait to send."""
    return WantWriteError("the socket has to become writable first")


def not_connected() -> OSError:
    """Return the error of a call on a socket that has no peer, or none yet."""
    return OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))


def no_address() -> OSError:
    """Return the error of a call for the address of what has none."""
    return OSError(errno.EAFNOSUPPORT, "the stream below has no host and port")


def spoke_too_soon() -> PeerMisbehaved:
    """Return the error of a client that has heard something before it has said anything."""
    return PeerMisbehaved(
        "the peer spoke before TLS began: that is plaintext, of somebody on the path or of a "
        "server that does not wait for ClientHello"
    )


def undelivered(count: int) -> TimeoutError:
    """Return the error of a connection that is closed without knowing whether its data arrived."""
    return TimeoutError(
        f"the connection is closed, but the peer did not acknowledge the last {count} bytes in "
        "time: they may not have arrived"
    )


def closed() -> OSError:
    """Return the error of a call on a socket that has been closed."""
    return OSError(errno.EBADF, "the socket has been closed")
