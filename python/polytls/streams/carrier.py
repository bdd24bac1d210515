"""What carries a connection's bytes: any byte stream, made so that a call can return at once.

There are two kinds. A stream that can be told not to wait, and whose descriptor a selector can wait
for in both directions, is `Selectable`: a socket, or TLS over one. Of any other nothing is known
but that `recv` and `send` may take their time, so they are called while waiting, by the thread that
waits and without any lock: `Unselectable`. What they brought is there for the call that follows.

Rules:

- `recv` and `send` are for whoever holds the connection's lock, and return at once: with less than
  was asked for, or with an error that `would_block` knows.
- `wait` is called without it, and may be called by several threads.
- Of the stream, `recv`, `send` and `close` are needed. `settimeout`, `gettimeout`, `setblocking`,
  `fileno`, `shutdown`, `pending` and `outgoing_bytes_buffered` are used where they are.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from ..delivery import unacknowledged
from ..errors import WantReadError, WantWriteError
from ..interfaces import ByteStream, SupportsDoHandshake, TLSSocket
from .sockets import TCP_FAMILIES
from .unwrapped import UnwrappedSocket, UnwrappedStream
from .waiting import NOTHING, READ, WRITE, Deadline, Interest, wait_for

__all__ = ["Carrier", "Selectable", "Unselectable", "carrier_of", "is_plain"]

#: Handed at a time to a stream of which nothing is known.
_PIECE: Final = 64 * 1024
#: How long such a stream may wait at a time, in seconds. All threads share its one timeout, and a
#: call that was given another's finds out after this long. So do calls that nobody can wake.
_STEP: Final = 1.0
#: How long a thread waits for one direction before it looks at the other.
_TURN: Final = 0.05
#: The shortest wait: 0 would mean something else, and not every stream has that.
_MOMENT: Final = 0.001


class Carrier(ABC):
    """A byte stream under a connection."""

    #: Whether `wait` keeps to a deadline.
    keeps_time = True
    #: Whether there is a descriptor to wait for, and calls need not wait.
    selectable: bool

    #: Returns what is there, up to so many bytes, b"" at the end.
    recv: Callable[[int], bytes]
    #: Takes some of the data, and returns how much. What was refused is offered again, first.
    send: Callable[[memoryview], int]

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    @abstractmethod
    def would_block(self, fault: OSError, wanted: Interest) -> bool:
        """Whether an error of `recv` or `send` only means that it had to wait."""

    @abstractmethod
    def wait(self, interest: Interest, deadline: Deadline) -> bool:
        """Wait until the stream may have what is wanted; False: the time is over."""

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor to wait for; -1 if there is none."""

    @abstractmethod
    def something_came(self) -> bool:
        """Whether the peer has said something already; takes it. The end counts as nothing."""

    def check_timeout(self, seconds: float | None) -> None:
        """Raise ValueError for a timeout that cannot be kept; 0: calls must not wait."""
        if seconds == 0 and not self.selectable:
            raise ValueError(
                "timeout: non-blocking calls need a stream that a selector can wait for: one with "
                "the descriptor of a socket, and setblocking or settimeout"
            )
        if seconds is not None and not self.keeps_time:
            raise ValueError(
                "timeout: the stream below has neither settimeout nor the descriptor of a socket: "
                "calls take as long as its own do"
            )

    def unsent(self) -> int:
        """Return how much the stream has taken and not sent."""
        return 0

    def unacknowledged(self, *, after_fin: bool) -> int | None:  # noqa: ARG002
        """Return how much of what was taken the peer has not acknowledged; None: nobody knows."""
        return None

    def fault(self) -> OSError | None:
        """Return what has befallen the stream since it was last asked, if that can be known."""
        return None

    def end_receiving(self) -> bool:
        """Wake who waits to receive; return whether the system has ended receiving for that."""
        self.shutdown(socket.SHUT_RD)
        return False

    def end_both(self) -> None:
        """End both directions."""
        self.shutdown(socket.SHUT_RDWR)

    def end_sending(self) -> bool:
        """Send a FIN, where the stream is a plain socket; False: it is something else."""
        if not is_plain(self.stream):
            return False
        self.shutdown(socket.SHUT_WR)
        return True

    def flush(self) -> None:  # noqa: B027 - most streams have nothing to send by then
        """Have the stream send what it has taken; raises as `send`."""

    @property
    def unread(self) -> bytes:
        """What was received, and taken by nobody."""
        return b""

    def shutdown(self, how: int) -> None:
        """End one or both directions, if that can be done; who waits finds out."""
        with suppress(OSError, AttributeError):
            self.stream.shutdown(how)

    def give_back(self, timeout: float | None, unread: bytes) -> Any:
        """Return the stream as it was before, with what was received ahead."""
        if self.keeps_time and hasattr(self.stream, "settimeout"):
            self.stream.settimeout(timeout)
        elif self.selectable and hasattr(self.stream, "setblocking"):
            self.stream.setblocking(timeout != 0)
        if not unread:
            return self.stream
        if is_plain(self.stream):
            return UnwrappedSocket(self.stream.detach(), unread, timeout)
        return UnwrappedStream(self.stream, unread)

    def close(self, waited_for: bool) -> bool:
        """Close the stream, without waiting; TLS below TLS says goodbye, if it can.

        False: not while it is waited for, as the number of its descriptor could be given to another
        meanwhile. Those who wait are woken.
        """
        if waited_for:
            self.shutdown(socket.SHUT_RDWR)
            return False
        stream = self.stream
        if isinstance(stream, socket.socket) or not isinstance(stream, TLSSocket):
            stream.close()
            return True
        with suppress(OSError):
            try:
                stream.close(force=True)
            except WantWriteError:
                stream.close(force=True)
        return True


class Selectable(Carrier):
    """A stream with a descriptor, which does not wait. `stream` is one by now."""

    selectable = True

    def __init__(self, stream: Any, descriptor: int) -> None:
        super().__init__(stream)
        self._descriptor = descriptor
        self._count_unsent = getattr(stream, "outgoing_bytes_buffered", None)
        #: Whether receiving can be ended, which wakes who waits, and the peer knows nothing of it.
        self._ends_halves = os.name == "posix" and getattr(stream, "family", None) in TCP_FAMILIES
        #: What the last refused call waits for, where that is not its own direction: TLS below.
        self._crossed: dict[Interest, Interest] = {}
        # The system's own: between the return of a function in C and the use of its result there is
        # no room for a signal's handler, so that what was sent is known whatever one raises.
        self.recv = stream.recv
        self.send = stream.send
        if not is_plain(stream) and not isinstance(stream, TLSSocket):
            self.send = lambda data: _sent(stream.send(bytes(data[:_PIECE])))

    def would_block(self, fault: OSError, wanted: Interest) -> bool:
        if isinstance(fault, BlockingIOError):
            return True
        if isinstance(fault, WantReadError):
            needed = READ
        elif isinstance(fault, WantWriteError):
            needed = WRITE
        elif ssl := sys.modules.get("ssl"):
            if isinstance(fault, ssl.SSLWantReadError):
                needed = READ
            elif isinstance(fault, ssl.SSLWantWriteError):
                needed = WRITE
            else:
                return False
        else:
            return False
        self._crossed[wanted] = needed
        return True

    def wait(self, interest: Interest, deadline: Deadline) -> bool:
        if self._crossed:
            read = self._crossed.get(READ, READ) if interest.read else NOTHING
            write = self._crossed.get(WRITE, WRITE) if interest.write else NOTHING
            interest = Interest(read.read or write.read, read.write or write.write)
        if self._ends_halves:
            return bool(wait_for([(self._descriptor, interest)], deadline))
        return bool(
            wait_for([(self._descriptor, interest)], deadline.at_most(_STEP)) or not deadline.passed
        )

    def fileno(self) -> int:
        return int(self.stream.fileno())

    def something_came(self) -> bool:
        # A socket's data would still be there afterwards. It is of no use to anybody: the
        # connection ends here.
        peek = (socket.MSG_PEEK,) if is_plain(self.stream) else ()
        try:
            return bool(self.stream.recv(1, *peek))
        except OSError as fault:
            if self.would_block(fault, READ):
                return False
            raise

    def unsent(self) -> int:
        return 0 if self._count_unsent is None else self._count_unsent()

    def unacknowledged(self, *, after_fin: bool) -> int | None:
        count = unacknowledged(self.stream, after_fin=after_fin)
        return None if count is None else count + self.unsent()

    def fault(self) -> OSError | None:
        if not is_plain(self.stream):
            return None
        number = self.stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(number, os.strerror(number)) if number else None

    def flush(self) -> None:
        if isinstance(self.stream, SupportsDoHandshake):
            # Done long ago; it returns when everything is sent.
            self.stream.do_handshake()

    def shutdown(self, how: int) -> None:
        stream = self.stream
        if isinstance(stream, socket.socket) and type(stream).shutdown != socket.socket.shutdown:
            # An ssl.SSLSocket forgets its TLS, and would go on in plaintext.
            if how == socket.SHUT_RDWR:
                super().shutdown(how)
            return
        super().shutdown(how)
        if how == socket.SHUT_RDWR and not is_plain(stream):
            # TLS below may have refused, for want of room for its own goodbye.
            self._shutdown_lowest(how)

    def end_receiving(self) -> bool:
        # Elsewhere the peer could not send any more; those who wait look up now and then.
        if self._ends_halves:
            self._shutdown_lowest(socket.SHUT_RD)
        return self._ends_halves

    def end_both(self) -> None:
        # Once both are ended, the system answers what comes with a reset, which destroys what is on
        # its way.
        if is_plain(self.stream):
            super().shutdown(socket.SHUT_WR)
        elif isinstance(self.stream, TLSSocket):
            super().shutdown(socket.SHUT_RDWR)
            self._shutdown_lowest(socket.SHUT_WR)
        else:
            self.shutdown(socket.SHUT_RDWR)

    def _shutdown_lowest(self, how: int) -> None:
        with suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as lowest:
            lowest.shutdown(how)


class Unselectable(Carrier):
    """A stream whose calls wait as they please, or for as long as `settimeout` lets them."""

    selectable = False

    def __init__(self, stream: Any, *, keeps_time: bool) -> None:
        super().__init__(stream)
        self.keeps_time = keeps_time
        self._closed = False
        # One thread at a time is inside each of the stream's two calls.
        self._receiving = threading.Lock()
        self._sending = threading.Lock()
        #: How much the next `recv` of the stream may bring: it must not take what is not ours.
        self._wanted = 1
        self._arrived: bytes | None = None
        self._receive_fault: OSError | None = None
        #: What is to be sent next, and how much of that has been.
        self._offered = b""
        self._taken = 0
        self._send_fault: OSError | None = None

    def recv(self, bufsize: int, /) -> bytes:
        self._wanted = bufsize
        if self._arrived is None:
            if self._receive_fault is not None:
                raise self._receive_fault
            raise BlockingIOError
        data = self._arrived
        self._arrived = data[bufsize:] or None
        return data[:bufsize]

    def send(self, data: memoryview, /) -> int:
        taken = self._taken
        if taken:
            # In this order: a thread that finds something offered sends it.
            self._offered = b""
            self._taken = 0
            return taken
        if self._send_fault is not None:
            raise self._send_fault
        if not self._offered:
            self._offered = bytes(data[:_PIECE])
        raise BlockingIOError

    def would_block(self, fault: OSError, wanted: Interest) -> bool:  # noqa: ARG002
        return isinstance(fault, BlockingIOError)

    def wait(self, interest: Interest, deadline: Deadline) -> bool:
        if not interest.read:
            return self._send(deadline)
        if not interest.write or self._sending.locked() or not self._offered:
            return self._receive(deadline)
        # The answer may depend on what is to be sent.
        if not self.keeps_time:
            return self._send(deadline)
        # One after the other, as one thread cannot wait for both.
        sent = self._send(deadline.at_most(_TURN))
        return sent or self._receive(deadline.at_most(_TURN)) or not deadline.passed

    def _receive(self, deadline: Deadline) -> bool:
        if not _acquire(self._receiving, deadline):
            return False
        try:
            while self._arrived is None and self._receive_fault is None and not self._closed:
                try:
                    self._let_wait(deadline)
                    for data in map(self.stream.recv, (self._wanted,)):
                        self._arrived = data
                except OSError as fault:
                    if not self._is_late(fault):
                        self._receive_fault = fault.with_traceback(None)
                    elif deadline.passed:
                        return False
                except Exception:
                    if not self._closed:
                        raise
            return True
        finally:
            self._receiving.release()

    def _send(self, deadline: Deadline) -> bool:
        if not _acquire(self._sending, deadline):
            return False
        try:
            while self._offered and not (self._taken or self._send_fault or self._closed):
                try:
                    self._let_wait(deadline)
                    for count in map(self.stream.send, (self._offered,)):
                        self._taken = _sent(count)
                except OSError as fault:
                    if not self._is_late(fault):
                        self._send_fault = fault.with_traceback(None)
                    elif deadline.passed:
                        return False
                except Exception:
                    if not self._closed:
                        raise
            return True
        finally:
            self._sending.release()

    def _let_wait(self, deadline: Deadline) -> None:
        if self.keeps_time:
            left = deadline.left()
            self.stream.settimeout(_STEP if left is None else min(max(left, _MOMENT), _STEP))

    def _is_late(self, fault: OSError) -> bool:
        return self.keeps_time and isinstance(fault, TimeoutError | BlockingIOError)

    def fileno(self) -> int:
        return -1

    def something_came(self) -> bool:
        if getattr(self.stream, "pending", int)():
            return True
        if not self.keeps_time:
            return False  # It could not be found out without waiting for it.
        self.stream.settimeout(_MOMENT)
        try:
            return bool(self.stream.recv(1))
        except OSError as fault:
            if self._is_late(fault):
                return False
            raise

    @property
    def unread(self) -> bytes:
        return self._arrived or b""

    def close(self, waited_for: bool) -> bool:
        # Only its end may wake those who are inside.
        self._closed = True
        if waited_for:
            self.shutdown(socket.SHUT_RDWR)
        return super().close(waited_for=False)


def carrier_of(stream: ByteStream) -> Carrier:
    """Return `stream` as connections use it; from now on it belongs to one of them."""
    given: Any = stream
    descriptor = _descriptor(given)
    if descriptor >= 0:
        if hasattr(given, "setblocking"):
            given.setblocking(False)
            return Selectable(given, descriptor)
        if hasattr(given, "settimeout"):
            given.settimeout(0.0)
            return Selectable(given, descriptor)
    return Unselectable(given, keeps_time=_keeps_time(given))


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


def _sent(count: int) -> int:
    if not count:
        # A channel that was closed says so.
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    return count


def _acquire(lock: threading.Lock, deadline: Deadline) -> bool:
    left = deadline.left()
    return lock.acquire(timeout=-1 if left is None else min(left, threading.TIMEOUT_MAX))
