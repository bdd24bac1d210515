"""A listening socket whose `accept` returns connections that are ready for data.

A blocking `accept` keeps all handshakes in progress going and returns the first that finishes: a
client that stalls, fails or talks nonsense costs the others nothing. Handshakes belong to the
listener, not to the call that began them; the next call, or another thread's, goes on with them.

Several threads may accept at once. One of them has the turn: it alone polls, and works on
handshakes. The others wait for the turn, within their own time, and find what it has left.

Where a handshake may block, as a callback has its say, other threads do its steps (`workers.py`),
so that none holds up another.

At the limit of handshakes in progress, the one that has taken longest gives way to a client that
waits to be accepted, once it has had a second: those who open connections and say nothing, or
little at a time, have to open them faster than others finish.

Where the machine has nothing left to accept with (too many open files), the system's queue is left
alone for a moment, so that nobody spins. Handshakes in progress go on; only if there are none does
`accept` raise, so that the caller can close something, or just call it again.

A process that is forked before the first `accept` shares the listener: each child accepts for
itself. Later the handshakes in progress belong to one process, and the listener with them.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Final

from ..arguments import amount_of
from ..errors import WantReadError
from ..fork import generation, inherited, renew_in_children
from ..info import ConnectionInfo
from ..interfaces import ServerContext, SupportsHandshakeMayBlock, TLSBuffer
from ..locks import owned_lock
from ..values import instance_of
from .carrier import carrier_of
from .connect import Address, prepare
from .connection import StreamSocket
from .pool import Pool
from .sockets import SocketBase, closed, host_and_port, shown, want_read
from .turns import take
from .waiting import READ, Bell, Deadline, wait_for

__all__ = ["HANDSHAKE_LIMIT", "HANDSHAKE_TIMEOUT", "StreamListener", "listen"]

#: How many connections may be in hand: in their handshakes, or finished and not returned yet. At
#: this limit further ones stay with the system.
HANDSHAKE_LIMIT: Final = 128
#: How long one handshake may take, in seconds. Time in which no thread accepts does not count.
HANDSHAKE_TIMEOUT: Final = 10.0

#: How long the queue is left alone after an error of `_LACKING`, in seconds.
_REST: Final = 0.1

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

#: Errors of accept(2) that come again at once: the machine lacks something.
_LACKING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class StreamListener(SocketBase):
    """A listening TLS socket. Made by `connect` of a server's context."""

    __slots__ = (
        "_accepting",
        "_accepts_truncated_ends",
        "_bell",
        "_closed",
        "_does_handshakes",
        "_implementation",
        "_make_buffer",
        "_pool",
        "_rests_until",
        "_socket",
        "_unattended",
        "_used",
    )

    _kind = "listener; accept() gives connections"

    def __init__(
        self,
        listening: socket.socket,
        context: ServerContext,
        make_buffer: Callable[[], TLSBuffer],
        *,
        implementation: str,
        timeout: float | None,
        do_handshake_on_accept: bool,
        handshake_timeout: float | None,
        handshake_limit: int,
        accept_truncated_end: bool,
    ) -> None:
        super().__init__(context, listening, timeout)
        self._accepts_truncated_ends = accept_truncated_end
        self._does_handshakes = do_handshake_on_accept
        self._socket = listening
        self._make_buffer = make_buffer
        self._implementation = implementation
        self._closed = False
        #: Whether a call of `accept` has begun.
        self._used = False
        #: Until then nothing is taken from the system's queue.
        self._rests_until = 0.0
        #: Wakes the thread that polls.
        self._bell = Bell()
        #: The turn. Everything below is for the thread that has it.
        self._accepting = owned_lock()
        self._pool = Pool(handshake_limit, handshake_timeout)
        #: Since when nobody accepts.
        self._unattended = monotonic()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin for itself in a child, if nothing has begun in the parent (`polytls.fork`)."""
        if self._closed or self._used:
            return
        self._bell.close()
        self._bell = Bell()
        self._accepting = owned_lock()
        self._generation = generation()

    def accept(self) -> tuple[StreamSocket, tuple[str, int]]:
        """Return the next connection and the client's address.

        With a timeout or without: the connection whose handshake is done first. Non-blocking, or
        without `do_handshake_on_accept`: the next connection, its handshake not done; `recv`,
        `send` or `do_handshake` does it.

        Never raises for a client's fault: `failed_handshakes` counts those, and the log has them.
        OSError is the machine's: too many open files, say. Who calls again does not spin.
        """
        self._check_open()
        self._used = True
        deadline = Deadline.after(self._timeout)
        take(self._accepting, deadline, READ)
        try:
            self._check_open()
            if deadline.non_blocking:
                stream = self._next_unfinished()
            elif self._does_handshakes:
                stream = self._next(deadline)
            else:
                stream = self._next_deferred(deadline)
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
        pool = self._pool
        pool.postpone(monotonic() - self._unattended)
        pool.collect()
        while not pool.finished:
            self._work(deadline)
            self._check_open()
            if deadline.passed and not pool.finished:
                raise TimeoutError("timed out")
        return pool.finished.popleft()

    def _next_unfinished(self) -> StreamSocket:
        stream = self._pool.take_unfinished() or self._accept_one()
        if stream is None:
            raise want_read()
        return stream

    def _next_deferred(self, deadline: Deadline) -> StreamSocket:
        while True:
            with suppress(WantReadError):
                return self._next_unfinished()
            watched = [(self._bell.fileno(), READ), (self._socket.fileno(), READ)]
            ready = wait_for(watched, deadline)
            self._bell.hush()
            self._check_open()
            if not ready:
                raise TimeoutError("timed out")

    def _work(self, deadline: Deadline) -> None:
        """Wait for the network, for everybody, once, and do what can be done then."""
        pool, listening = self._pool, self._socket.fileno()
        now = monotonic()
        watched = [(self._bell.fileno(), READ), *pool.watched()]
        limits = [deadline.at, *pool.limits()]
        welcome_at = max(self._rests_until, pool.welcomes_from())
        if now >= welcome_at:
            watched.append((listening, READ))
        elif welcome_at < math.inf:
            limits.append(welcome_at)
        soonest = min((each for each in limits if each is not None), default=None)
        ready = wait_for(watched, Deadline(soonest))
        self._bell.hush()
        if self._closed:
            return
        pool.go_on(ready)
        if listening in ready:
            pool.make_room()
            self._welcome(min(pool.room, _BATCH))

    def _welcome(self, most: int) -> None:
        """Take connections from the system and begin their handshakes."""
        pool = self._pool
        for _ in range(most):
            try:
                stream = self._accept_one()
            except OSError as error:
                lacking = error.errno in _LACKING
                if lacking:
                    self._rests_until = monotonic() + _REST
                # What is in hand may well mend it.
                if pool.finished or (lacking and not pool.is_idle):
                    return
                raise
            if stream is None:
                return
            context = self._context
            blocks = isinstance(context, SupportsHandshakeMayBlock) and context.handshake_may_block
            pool.begin(stream, self._bell.ring if blocks else None)

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
                return StreamSocket(
                    carrier_of(accepted),
                    self._make_buffer(),
                    host_and_port(address),
                    0.0,
                    accept_truncated_end=self._accepts_truncated_ends,
                )
            except BaseException:
                accepted.close()
                raise

    # --- the listener itself ---

    def listen(self, backlog: int) -> None:
        """Change how many connections may wait to be accepted, and nothing else."""
        self._check_open()
        self._socket.listen(backlog)

    def close(self, force: bool = False) -> None:  # noqa: ARG002 - it never waits
        """Stop listening and drop the handshakes in progress; returned connections go on.

        A thread that accepts gets OSError. Closing again does nothing. After fork, in a child, its
        copies of the descriptors are closed.
        """
        if self._closed:
            return
        self._closed = True
        if self._inherited:
            self._clear()
            return
        self._bell.ring()
        # Otherwise the thread that has the turn clears up, as it waits for the descriptors.
        if self._accepting.acquire(blocking=False):
            try:
                self._clear()
            finally:
                self._accepting.release()

    def _leave(self) -> None:
        self.close()

    def __del__(self) -> None:
        if not hasattr(self, "_unattended") or self._closed:
            return
        try:
            if not self._inherited:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        finally:
            self._clear()

    def detach(self) -> int:
        """Return the descriptor and let go of it; handshakes in progress are dropped.

        A thread that accepts gets OSError. -1 once closed.
        """
        if self._closed:
            return -1
        self._check_open()
        self._socket.settimeout(self._timeout)
        # What is closed with the listener is another socket then.
        listening, self._socket = self._socket, socket.socket()
        self.close()
        return listening.detach()

    def _below(self) -> socket.socket:
        self._check_open()
        return self._socket

    def _clear(self) -> None:
        self._pool.clear(inherited=self._inherited)
        self._socket.close()
        self._bell.close()

    @property
    def failed_handshakes(self) -> int:
        """How many handshakes did not succeed, those out of time included."""
        return self._pool.failed

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
        where, descriptor = "nowhere", -1
        if not self._closed:
            where = shown(host_and_port(self._socket.getsockname()))
            descriptor = self._socket.fileno()
        return f"<TLSSocket of {self._implementation}: listener at {where}, fd={descriptor}>"

    def _check_open(self) -> None:
        if self._closed:
            raise closed()
        if self._inherited:
            raise inherited(
                "listener", "fork before the first accept, or make another one in this process"
            )


def listen(
    addresses: Iterable[Address],
    context: ServerContext,
    make_buffer: Callable[[], TLSBuffer],
    *,
    implementation: str,
    timeout: float | None,
    backlog: int = 128,
    reuse_port: bool = False,
    dual_stack: bool = False,
    do_handshake_on_accept: bool = True,
    handshake_timeout: float | None = HANDSHAKE_TIMEOUT,
    handshake_limit: int = HANDSHAKE_LIMIT,
    accept_truncated_end: bool = False,
) -> StreamListener:
    """Listen at the first of `addresses` that can be had.

    An IPv6 address means IPv6 alone, so that `::` and `0.0.0.0` can be bound side by side; with
    `dual_stack` it takes clients of both. `reuse_port`: others may listen there as well, and the
    system deals clients out (SO_REUSEPORT). `timeout`: how long `accept` waits.
    `do_handshake_on_accept`: whether a blocking `accept` does. `handshake_timeout`: seconds for
    each, None for ever. `handshake_limit`: how many at a time. `accept_truncated_end`: of the
    connections, as a client context's `connect` has it.

    Raises the last address's error; ValueError for a limit below 1 or a timeout of 0, for
    `dual_stack` without an IPv6 address, and for what the system does not have.
    """
    instance_of("accept_truncated_end", accept_truncated_end, bool)
    if amount_of("handshake_limit", handshake_limit) < 1:
        raise ValueError("handshake_limit must be at least 1")
    if handshake_timeout is not None:
        if not isinstance(handshake_timeout, int | float):
            kind = type(handshake_timeout).__name__
            raise TypeError(f"handshake_timeout must be a number or None, not {kind}")
        if not handshake_timeout > 0:
            raise ValueError("handshake_timeout must be more than 0, or None")
    if reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("reuse_port: this system has no SO_REUSEPORT")
    if dual_stack:
        addresses = [address for address in addresses if ":" in address[0]]
        if not addresses or not socket.has_dualstack_ipv6():
            raise ValueError("dual_stack needs an IPv6 address, such as ::, and a system with both")
    fault = OSError("no address to listen at")
    for address in addresses:
        try:
            listening = _listen_at(address, backlog, reuse_port, dual_stack)
        except OSError as error:
            fault = error
            continue
        try:
            return StreamListener(
                listening,
                context,
                make_buffer,
                implementation=implementation,
                timeout=timeout,
                do_handshake_on_accept=do_handshake_on_accept,
                handshake_timeout=handshake_timeout,
                handshake_limit=handshake_limit,
                accept_truncated_end=accept_truncated_end,
            )
        except BaseException:
            listening.close()
            raise
    raise fault


def _listen_at(address: Address, backlog: int, reuse_port: bool, dual_stack: bool) -> socket.socket:
    host, port, flow, scope = address
    version_6 = ":" in host
    made = socket.socket(socket.AF_INET6 if version_6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        # On Windows the option of that name would let others take the port over.
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if version_6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        made.bind((host, port, flow, scope) if version_6 else (host, port))
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made
