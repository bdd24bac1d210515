"""What carries a connection's bytes: any byte stream, and what only Python knows of it.

There are two kinds. A stream that can be told not to wait, and whose descriptor a selector can wait
for in both directions: TLS over a socket, say. Of any other nothing is known but that `recv` and
`send` may take their time; the core calls them while it waits, by the thread that waits and without
any lock. Plain sockets are the core's own affair.

The core calls a `Carrier` (crates/python/src/carrier.rs). Of the stream, `recv`, `send` and `close`
are needed. `settimeout`, `gettimeout`, `setblocking`, `fileno`, `shutdown`, `pending` and
`outgoing_bytes_buffered` are used where they are.
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

#: What a stream is tried with, to see whether it keeps to a time, in seconds.
_STEP: Final = 1.0


class Carrier:
    """A byte stream under a connection, which owns it from now on."""

    __slots__ = ("_count_unsent", "descriptor", "keeps_time", "known", "stream", "wakes_readers")

    def __init__(self, stream: Any, descriptor: int, *, keeps_time: bool) -> None:
        self.stream = stream
        #: What is polled; -1 if there is nothing, so that calls wait.
        self.descriptor = descriptor
        #: Whether a wait ends in time.
        self.keeps_time = keeps_time
        #: Whether receiving can be ended, which wakes who waits, and the peer knows nothing of it.
        self.wakes_readers = (
            descriptor >= 0
            and os.name == "posix"
            and getattr(stream, "family", None) in TCP_FAMILIES
        )
        peer = peer_of(stream) or (None, 0)
        #: The peer's host and port, and the numbers of family and protocol.
        self.known = (*peer, getattr(stream, "family", socket.AF_UNSPEC), protocol_of(stream))
        self._count_unsent = getattr(stream, "outgoing_bytes_buffered", None)

    # --- what the core calls ---

    @property
    def recv(self) -> Any:
        """Receive what is there, up to so many bytes, b"" at the end."""
        return self.stream.recv

    @property
    def send(self) -> Any:
        """Send some of the data, and return how much; 0: it has been closed."""
        return self.stream.send

    @property
    def settimeout(self) -> Any:
        """Limit calls that wait."""
        return self.stream.settimeout

    def pending(self) -> int:
        """Return how many bytes `recv` gives without waiting, as far as the stream tells."""
        return int(getattr(self.stream, "pending", int)())

    def unsent(self) -> int:
        """Return how much the stream has taken and not sent."""
        return 0 if self._count_unsent is None else self._count_unsent()

    def flush(self) -> None:
        """Have the stream send what it has taken; raises as `send`."""
        if isinstance(self.stream, SupportsDoHandshake):
            # Done long ago; it returns when everything is sent.
            self.stream.do_handshake()

    def end(self, how: int) -> bool:
        """End one or both directions, if that can be done; who waits finds out.

        Return whether the system knows that there is nothing to receive any more.
        """
        if self.descriptor < 0:
            self._shutdown(how)
        elif how == socket.SHUT_RD:
            # Elsewhere the peer could not send any more; those who wait look up now and then.
            if self.wakes_readers:
                self._shutdown_lowest(socket.SHUT_RD)
            return self.wakes_readers
        elif isinstance(self.stream, TLSSocket) and how == socket.SHUT_RDWR:
            self._shutdown(how)
            # Once both are ended, the system answers what comes with a reset, which destroys what
            # is on its way.
            self._shutdown_lowest(socket.SHUT_WR)
        else:
            self._shutdown(how)
        return False

    def close(self, waited_for: bool) -> None:
        """Close the stream, without waiting; TLS below TLS says goodbye, if it can.

        Not while it is waited for, as the number of its descriptor could be given to another
        meanwhile: then those who wait are woken.
        """
        if waited_for:
            self._shutdown(socket.SHUT_RDWR)
            # TLS below may have refused, for want of room for its own goodbye.
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
        """Close what a forked child has of it, with nothing said to the peer."""
        if _is_tls(self.stream):
            self.stream.close(force=True)
        # Of anything else it is not known whether closing says something to the peer.

    def check_timeout(self, seconds: float | None) -> None:
        """Raise ValueError for a timeout that cannot be kept; 0: calls must not wait."""
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

    # --- what is left when TLS goes ---

    def give_back(self, timeout: float | None, unread: bytes) -> Any:
        """Return the stream as it was before, with what was received ahead."""
        self._set_timeout(timeout)
        return UnwrappedStream(self.stream, unread) if unread else self.stream

    def detach(self, timeout: float | None) -> int:
        """Return the descriptor of the stream, which lets go of it."""
        self._set_timeout(timeout)
        descriptor: int = self.stream.detach()
        return descriptor

    def check_detach(self) -> None:
        """Raise OSError if it has no descriptor to give away."""
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
        with suppress(OSError), socket.socket(fileno=os.dup(self.descriptor)) as lowest:
            lowest.shutdown(how)


def carrier_of(stream: ByteStream) -> Carrier:
    """Return `stream` as connections use it; from now on it belongs to one of them."""
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
    """Whether it is a socket of the system's, and `recv` and `send` are the system's own."""
    kind: Any = type(stream)
    return isinstance(stream, socket.socket) and (
        (kind.recv, kind.send) == (socket.socket.recv, socket.socket.send)
    )


def _descriptor(stream: Any) -> int:
    """The descriptor to wait for in both directions, -1 if there is none.

    One end of a pipe tells of one direction alone (paramiko's channels have such a thing).
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
    """Whether it is a TLS socket; one that was inherited, too, may refuse to be asked for facts."""
    try:
        return isinstance(stream, TLSSocket)
    except TLSError:
        return True
