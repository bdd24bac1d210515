"""A listening socket whose `accept` returns connections that are ready for data.

A blocking `accept` keeps all handshakes in progress going and returns the first that finishes: a
client that stalls, fails or talks nonsense costs the others nothing. Handshakes belong to the
listener, not to the call that began them; the next call, or another thread's, goes on with them.

Several threads may accept at once. One of them has the turn: it alone polls, and works on
handshakes. The others wait for the turn, within their own time, and find what it has left.

```text
 accept(2) -> waiting -> finished -> returned by accept
                 |
                 +-> leaving (its alert is sent, its end awaited) -> closed
```
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Final

from ..errors import TLSError, WantReadError, WantWriteError
from ..info import ConnectionInfo
from ..interfaces import ServerContext, TLSBuffer
from .connect import Address, prepare
from .connection import StreamSocket
from .sockets import SocketBase, closed, host_and_port, shown, want_read
from .turns import LINGER, take
from .waiting import AT_ONCE, READ, WRITE, Bell, Deadline, Interest, wait_for

__all__ = ["HANDSHAKE_LIMIT", "HANDSHAKE_TIMEOUT", "StreamListener", "listen"]

#: How many connections may be in hand: in their handshakes, or finished and not returned yet. At
#: this limit further ones stay with the system.
HANDSHAKE_LIMIT: Final = 128
#: How long one handshake may take, in seconds. Time in which no thread accepts does not count.
HANDSHAKE_TIMEOUT: Final = 10.0

#: Taken from the system's queue at a time.
_BATCH: Final = 16

#: Errors of accept(2) that befell one connection, and not the listener; not every system has all.
_ONE_CONNECTIONS: Final = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENONET",
        "ENOPROTOOPT",
        "EPERM",
        "EPROTO",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
)

_log = logging.getLogger("polytls.streams")


class _Pending:
    """A connection that waits for its peer, until a moment."""

    __slots__ = ("interest", "stream", "until")

    def __init__(self, stream: StreamSocket) -> None:
        self.stream = stream
        self.interest = READ
        self.until = monotonic() + HANDSHAKE_TIMEOUT


class StreamListener(SocketBase):
    """A listening TLS socket. Made by `connect` of a server's context."""

    __slots__ = (
        "_accepting",
        "_bell",
        "_closed",
        "_failed",
        "_finished",
        "_implementation",
        "_leaving",
        "_make_buffer",
        "_socket",
        "_unattended",
        "_waiting",
    )

    _kind = "listener; accept() gives connections"

    def __init__(
        self,
        listening: socket.socket,
        context: ServerContext,
        make_buffer: Callable[[], TLSBuffer],
        implementation: str,
        timeout: float | None,
    ) -> None:
        super().__init__(context, timeout)
        self._socket = listening
        self._make_buffer = make_buffer
        self._implementation = implementation
        self._closed = False
        self._failed = 0
        #: Wakes the thread that polls.
        self._bell = Bell()
        #: The turn. Everything below is for the thread that has it.
        self._accepting = threading.Lock()
        self._finished: deque[StreamSocket] = deque()
        self._waiting: list[_Pending] = []
        self._leaving: list[_Pending] = []
        #: Since when nobody accepts.
        self._unattended = monotonic()

    def accept(self) -> tuple[StreamSocket, tuple[str, int]]:
        """Return the next connection and the client's address.

        With a timeout or without: the connection whose handshake is done first. Non-blocking: the
        next connection, its handshake not done; `recv`, `send` or `do_handshake` does it.

        Never raises for a client's fault: `failed_handshakes` counts those, and the log has them.
        """
        deadline = Deadline.after(self._timeout)
        take(self._accepting, deadline, READ)
        try:
            self._check_open()
            stream = self._next_unfinished() if deadline.non_blocking else self._next(deadline)
        finally:
            self._unattended = monotonic()
            if self._closed:
                self._clear()
            self._accepting.release()
        stream.settimeout(socket.getdefaulttimeout())
        return stream, stream.getpeername()

    def _next(self, deadline: Deadline) -> StreamSocket:
        # The clock of a handshake stands still while nobody accepts: the peer may have answered
        # long ago, and it is not its fault that nobody looked.
        gap = monotonic() - self._unattended
        for pending in self._waiting:
            pending.until += gap
        while not self._finished:
            self._work(deadline)
            self._check_open()
            if deadline.passed and not self._finished:
                raise TimeoutError("timed out")
        return self._finished.popleft()

    def _next_unfinished(self) -> StreamSocket:
        if self._finished:
            return self._finished.popleft()
        if self._waiting:
            return self._waiting.pop(0).stream
        stream = self._accept_one()
        if stream is None:
            raise want_read()
        return stream

    def _work(self, deadline: Deadline) -> None:
        """Wait for the network, for everybody, once, and do what can be done then."""
        room = HANDSHAKE_LIMIT - len(self._waiting) - len(self._finished)
        watched = [(self._bell.fileno(), READ)]
        if room > 0:
            watched.append((self._socket.fileno(), READ))
        for pending in (*self._waiting, *self._leaving):
            watched.append((pending.stream.fileno(), pending.interest))
        soonest = [pending.until for pending in (*self._waiting, *self._leaving)]
        limits = soonest if deadline.at is None else [*soonest, deadline.at]
        ready = wait_for(watched, Deadline(min(limits, default=None)))
        self._bell.hush()
        if self._closed:
            return
        now = monotonic()
        self._waiting = [each for each in self._waiting if self._keeps_waiting(each, ready, now)]
        self._leaving = [each for each in self._leaving if self._keeps_leaving(each, ready, now)]
        if self._socket.fileno() in ready:
            self._welcome(min(room, _BATCH))

    def _welcome(self, most: int) -> None:
        """Take connections from the system and begin their handshakes."""
        for _ in range(most):
            try:
                stream = self._accept_one()
            except OSError:
                # Such as too many open files. What is in hand may well mend it.
                if self._finished:
                    return
                raise
            if stream is None:
                return
            pending = _Pending(stream)
            if self._goes_on(pending):
                self._waiting.append(pending)

    def _accept_one(self) -> StreamSocket | None:
        """The next connection; None if there is none."""
        while True:
            try:
                accepted, address = self._socket.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in _ONE_CONNECTIONS:
                    continue
                raise
            try:
                prepare(accepted)
                return StreamSocket(accepted, self._make_buffer(), host_and_port(address), 0.0)
            except BaseException:
                accepted.close()
                raise

    def _keeps_waiting(self, pending: _Pending, ready: set[int], now: float) -> bool:
        if pending.stream.fileno() in ready:
            return self._goes_on(pending)
        if now < pending.until:
            return True
        self._note_failure(pending, TimeoutError("timed out"))
        pending.stream.abandon()
        return False

    def _goes_on(self, pending: _Pending) -> bool:
        """Go on with a handshake; False if it has come to an end."""
        stream = pending.stream
        try:
            stream.handshake(AT_ONCE)
        except WantReadError:
            pending.interest = READ
            return True
        except WantWriteError:
            pending.interest = WRITE
            return True
        except (TLSError, OSError) as error:
            self._note_failure(pending, error)
            self._see_off(pending)
            return False
        except BaseException:
            stream.abandon()
            raise
        self._finished.append(stream)
        return False

    def _see_off(self, pending: _Pending) -> None:
        interest = pending.stream.farewell()
        if interest is None or len(self._leaving) >= HANDSHAKE_LIMIT:
            pending.stream.abandon()
            return
        pending.interest = interest
        pending.until = monotonic() + LINGER
        self._leaving.append(pending)

    def _keeps_leaving(self, pending: _Pending, ready: set[int], now: float) -> bool:
        interest: Interest | None = pending.interest
        if pending.stream.fileno() in ready:
            interest = pending.stream.farewell()
        if interest is None or now >= pending.until:
            pending.stream.abandon()
            return False
        pending.interest = interest
        return True

    def _note_failure(self, pending: _Pending, error: OSError) -> None:
        self._failed += 1
        peer = shown(pending.stream.getpeername())
        _log.debug("a handshake with %s failed: %s", peer, error)

    # --- the listener itself ---

    def listen(self, backlog: int) -> None:
        """Change how many connections may wait to be accepted, and nothing else."""
        self._check_open()
        self._socket.listen(backlog)

    def close(self, force: bool = False) -> None:  # noqa: ARG002 - it never waits
        """Stop listening and drop the handshakes in progress; returned connections go on.

        A thread that accepts gets OSError. Closing again does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._bell.ring()
        # Otherwise the thread that has the turn clears up, as it waits for the descriptors.
        if self._accepting.acquire(blocking=False):
            try:
                self._clear()
            finally:
                self._accepting.release()

    def __del__(self) -> None:
        if hasattr(self, "_waiting") and not self._closed:
            self._clear()

    def _clear(self) -> None:
        for stream in self._finished:
            stream.abandon()
        for pending in (*self._waiting, *self._leaving):
            pending.stream.abandon()
        self._finished.clear()
        self._waiting.clear()
        self._leaving.clear()
        self._socket.close()
        self._bell.close()

    @property
    def failed_handshakes(self) -> int:
        """How many handshakes did not succeed, those out of time included."""
        return self._failed

    @property
    def info(self) -> ConnectionInfo:
        """The name of the implementation; a listener is no connection."""
        return ConnectionInfo(implementation=self._implementation)

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed. It is readable when a connection is there."""
        return -1 if self._closed else self._socket.fileno()

    def getsockname(self) -> tuple[str, int]:
        """Return the address it listens at."""
        self._check_open()
        return host_and_port(self._socket.getsockname())

    def __repr__(self) -> str:
        where = ""
        with suppress(OSError):
            where = f" {shown(self.getsockname())}"
        return f"<TLSSocket of {self._implementation}: listener at{where}, fd={self.fileno()}>"

    def _check_open(self) -> None:
        if self._closed:
            raise closed()


def listen(
    addresses: Iterable[Address],
    context: ServerContext,
    make_buffer: Callable[[], TLSBuffer],
    *,
    implementation: str,
    backlog: int,
    timeout: float | None,
) -> StreamListener:
    """Listen at the first of `addresses` that can be had.

    An IPv6 address means IPv6 alone, so that `::` and `0.0.0.0` can be bound side by side.
    `timeout`: how long `accept` waits. Raises the last address's error.
    """
    fault = OSError("no address to listen at")
    for address in addresses:
        try:
            listening = _listen_at(address, backlog)
        except OSError as error:
            fault = error
            continue
        try:
            return StreamListener(listening, context, make_buffer, implementation, timeout)
        except BaseException:
            listening.close()
            raise
    raise fault


def _listen_at(address: Address, backlog: int) -> socket.socket:
    host, port, flow, scope = address
    version_6 = ":" in host
    made = socket.socket(socket.AF_INET6 if version_6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        # On Windows the option of that name would let others take the port over.
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version_6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port, flow, scope) if version_6 else (host, port))
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made
