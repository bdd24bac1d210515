"""Adapts any byte stream to carry a connection, as far as only Python can.

There are two kinds of streams. The first has a non-blocking mode, and a descriptor that a selector
can wait for in both directions: for example, TLS over a socket. Of the others only `recv` and
`send` are known, which may block; the core calls them in the waiting thread, without a lock. The
core handles plain sockets itself.

The core calls a `Carrier` (crates/python/src/carrier.rs). The stream must have `recv`, `send` and
`close`. `settimeout`, `gettimeout`, `setblocking`, `fileno`, `shutdown`, `pending` and
`outgoing_bytes_buffered` are used if they exist.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from typing import Any, Final

from ..errors import TLSError, WantWriteError
from ..interfaces import ByteStream, SupportsDoHandshake, TLSSocket
from .addresses import TCP_FAMILIES, host_and_port, no_address, peer_of, protocol_of
from .unwrapped import UnwrappedStream

__all__ = ["Carrier", "carrier_of", "is_plain"]

#: The timeout to test whether a stream supports timeouts, in seconds.
_STEP: Final = 1.0


class Carrier:
    """A byte stream under a connection, which owns it."""

    __slots__ = ("_count_unsent", "descriptor", "keeps_time", "known", "stream", "wakes_readers")

    def __init__(self, stream: Any, descriptor: int, *, keeps_time: bool) -> None:
        self.stream = stream
        #: The descriptor to poll; -1 if there is none, so that calls block.
        self.descriptor = descriptor
        #: Whether a wait has a time limit.
        self.keeps_time = keeps_time
        #: Whether receiving can be ended, which wakes waiting threads, without the peer noticing.
        self.wakes_readers = (
            descriptor >= 0
            and os.name == "posix"
            and getattr(stream, "family", None) in TCP_FAMILIES
        )
        peer = peer_of(stream) or (None, 0)
        #: The peer's host and port, and the numbers of family and protocol.
        self.known = (*peer, getattr(stream, "family", socket.AF_UNSPEC), protocol_of(stream))
        self._count_unsent = getattr(stream, "outgoing_bytes_buffered", None)

    # --- called by the core ---

    @property
    def recv(self) -> Any:
        """Receive up to that many bytes, b"" at the end."""
        return self.stream.recv

    @property
    def send(self) -> Any:
        """Send some of the data, and return how much; 0: the stream has been closed."""
        return self.stream.send

    @property
    def settimeout(self) -> Any:
        """Limit blocking calls."""
        return self.stream.settimeout

    def pending(self) -> int:
        """Return how many bytes `recv` returns without blocking, as far as that is known."""
        return int(getattr(self.stream, "pending", int)())

    def unsent(self) -> int:
        """Return how many bytes the stream has accepted and not sent."""
        return 0 if self._count_unsent is None else self._count_unsent()

    def flush(self) -> None:
        """Make the stream send what it has accepted; raises like `send`."""
        if isinstance(self.stream, SupportsDoHandshake):
            # The handshake is long complete; the call returns when everything is sent.
            self.stream.do_handshake()

    def end(self, how: int) -> bool:
        """End one or both directions, if possible; waiting threads notice.

        Returns whether the system knows that there is nothing more to receive.
        """
        if self.descriptor < 0:
            self._shutdown(how)
        elif how == socket.SHUT_RD:
            # On other streams the peer could no longer send; waiting threads check periodically.
            if self.wakes_readers:
                self._shutdown_lowest(socket.SHUT_RD)
            return self.wakes_readers
        elif isinstance(self.stream, TLSSocket) and how == socket.SHUT_RDWR:
            self._shutdown(how)
            # If both directions are ended, the system answers incoming data with a reset, which
            # destroys data in transit.
            self._shutdown_lowest(socket.SHUT_WR)
        else:
            self._shutdown(how)
        return False

    def close(self, waited_for: bool) -> None:
        """Close the stream, without waiting; an underlying TLS stream sends close_notify, if
        possible.

        Not while a thread is waiting for it, because the number of its descriptor could be reused
        in the meantime: then the waiting threads are woken.
        """
        if waited_for:
            self._shutdown(socket.SHUT_RDWR)
            # An underlying TLS stream may have refused, if it has no room for its own close_notify.
            self._shutdown_lowest(socket.SHUT_RDWR)
            return
        stream = self.stream
        if isinstance(stream, socket.socket) or not isinstance(stream, TLSSocket):
            stream.close()
            return
        with suppress(OSError):
            try:
                stream.close(force=True)
            except WantWriteError:
                stream.close(force=True)

    def close_inherited(self) -> None:
        """Close a forked child's copy of it, without notifying the peer."""
        if _is_tls(self.stream):
            self.stream.close(force=True)
        # For anything else, it is unknown whether closing notifies the peer.

    def check_timeout(self, seconds: float | None) -> None:
        """Raise ValueError for a timeout that cannot be enforced; 0: calls must not block."""
        if seconds == 0 and self.descriptor < 0:
            raise ValueError(
                "timeout: non-blocking calls need a stream with a socket descriptor and "
                "setblocking or settimeout"
            )
        if seconds is not None and not self.keeps_time:
            raise ValueError(
                "timeout: the underlying stream has neither settimeout nor a socket descriptor, "
                "so its calls cannot be limited; leave timeout None"
            )

    def getsockname(self) -> tuple[str, int]:
        """Return the local address; raises OSError if the stream has none."""
        address: object = getattr(self.stream, "getsockname", tuple)()
        if not isinstance(address, tuple) or not address:
            raise no_address()
        return host_and_port(address)

    # --- after TLS has ended ---

    def give_back(self, timeout: float | None, unread: bytes) -> Any:
        """Return the original stream, with the data that was already received."""
        self._set_timeout(timeout)
        return UnwrappedStream(self.stream, unread) if unread else self.stream

    def detach(self, timeout: float | None) -> int:
        """Return the descriptor of the stream, which releases it."""
        self._set_timeout(timeout)
        descriptor: int = self.stream.detach()
        return descriptor

    def check_detach(self) -> None:
        """Raise OSError if it has no descriptor to release."""
        if not hasattr(self.stream, "detach"):
            raise OSError(
                errno.ENOTSOCK, "the underlying stream is not a socket: it has no descriptor"
            )

    def option_call(self, name: str) -> Any:
        """Return the stream's own `getsockopt` or `setsockopt`; raises OSError without it."""
        try:
            return getattr(self.stream, name)
        except AttributeError:
            raise OSError(errno.ENOTSOCK, "the underlying stream is not a socket") from None

    def _set_timeout(self, timeout: float | None) -> None:
        if self.keeps_time and hasattr(self.stream, "settimeout"):
            self.stream.settimeout(timeout)
        elif self.descriptor >= 0 and hasattr(self.stream, "setblocking"):
            self.stream.setblocking(timeout != 0)

    def _shutdown(self, how: int) -> None:
        stream = self.stream
        if (
            isinstance(stream, socket.socket)
            and type(stream).shutdown != socket.socket.shutdown
            and how != socket.SHUT_RDWR
        ):
            return  # An ssl.SSLSocket forgets its TLS, and would go on in plaintext.
        with suppress(OSError, AttributeError):
            stream.shutdown(how)

    def _shutdown_lowest(self, how: int) -> None:
        with suppress(OSError), socket.socket(fileno=socket.dup(self.descriptor)) as lowest:
            lowest.shutdown(how)


def carrier_of(stream: ByteStream) -> Carrier:
    """Return `stream` in the form that connections use; it then belongs to one of them."""
    given: Any = stream
    descriptor = _descriptor(given)
    if descriptor >= 0:
        if hasattr(given, "setblocking"):
            given.setblocking(False)
            return Carrier(given, descriptor, keeps_time=True)
        if hasattr(given, "settimeout"):
            given.settimeout(0.0)
            return Carrier(given, descriptor, keeps_time=True)
    return Carrier(given, -1, keeps_time=_keeps_time(given))


def is_plain(stream: object) -> bool:
    """Whether it is a system socket whose `recv` and `send` are not overridden."""
    kind: Any = type(stream)
    return isinstance(stream, socket.socket) and (
        (kind.recv, kind.send) == (socket.socket.recv, socket.socket.send)
    )


def _descriptor(stream: Any) -> int:
    """The descriptor to wait for in both directions, -1 if there is none.

    One end of a pipe only covers one direction (paramiko's channels have such a descriptor).
    """
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return -1
    if isinstance(stream, socket.socket | TLSSocket):
        return int(descriptor)
    if not isinstance(descriptor, int) or descriptor < 0:
        return -1
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return -1
    return descriptor if stat.S_ISSOCK(mode) or stat.S_ISCHR(mode) else -1


def _keeps_time(stream: Any) -> bool:
    if not hasattr(stream, "settimeout"):
        return False
    try:
        stream.settimeout(_STEP)
    except ValueError:  # TLS over a stream that keeps no time.
        return False
    return True


def _is_tls(stream: object) -> bool:
    """Whether it is a TLS socket; one inherited through fork may refuse to report facts."""
    try:
        return isinstance(stream, TLSSocket)
    except TLSError:
        return True
