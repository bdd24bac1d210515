"""How connections of an event loop end (ARCHITECTURE.md, "Endings").

After `close`, a connection keeps reading, discarding, until the peer has acknowledged all data of
the application. No loop reports this, so it is polled. The loop does this in the background: the
application does not have to wait for it.

Rules of this file:

- At most `MOST` connections of a loop are closing at a time. At the limit, the oldest is dropped,
  and its protocol is told if its data was not delivered.
- `asyncio.run` closes its loop when these connections are closed, or after `CLOSE_TIMEOUT`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from ..delivery import CLOSE_TIMEOUT, naps, unacknowledged
from ..unread import another

if TYPE_CHECKING:
    from ..handles import Handle
    from .protocol import TLSProtocol

__all__ = ["MOST", "Ending", "leave", "register", "undelivered"]

#: How many connections of a loop can be closing at a time.
MOST: Final = 1024

_ROUNDS: Final = 4


def undelivered(tls: Handle, below: asyncio.Transport, *, after_fin: bool) -> int | None:
    """Return how many bytes that carry data the peer has not acknowledged.

    What was sent after the last data, above all close_notify, does not count. None: unknown.
    `after_fin`: the underlying transport has been told to end its sending direction.
    """
    if not tls._data_end:
        return 0
    behind = tls._sent - tls._data_end
    waiting = below.get_write_buffer_size()
    in_flight = unacknowledged(below.get_extra_info("socket"), after_fin=after_fin)
    if in_flight is None:
        return waiting - behind if waiting > behind else None
    # Windows reports that something is in flight, not how much.
    return min(tls._data_end, max(0, waiting + in_flight - behind))


class Ending:
    """The end of one connection, from `close` until its data is delivered or given up.

    `timeout`: how long nothing may be acknowledged, in seconds; progress extends it.
    """

    def __init__(self, connection: TLSProtocol, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._naps: Iterator[float] = naps()
        self._least: int | None = None
        self._until = 0.0

    def begin(self) -> None:
        """Send the FIN after close_notify, and wait for delivery."""
        below = self._connection.below
        self._until = self._connection.loop.time() + self._timeout
        # So that the peer sees the end at once, whatever remains to be done here.
        with suppress(OSError):  # The peer may have gone already.
            if below.can_write_eof():
                below.write_eof()
                self._connection.after_fin = True
        self.look()

    def look(self) -> None:
        """Close if everything is delivered or it takes too long, otherwise check again later."""
        connection = self._connection
        missing = connection.undelivered()
        # If delivery cannot be measured, the peer's end shows it.
        if missing == 0 or (missing is None and connection.peer_ended):
            connection.finish()
            return
        now = connection.loop.time()
        if missing is not None and (self._least is None or missing < self._least):
            self._least = missing
            self._until = now + self._timeout
        if connection.peer_ended and (number := _error_of(connection.below)):
            # After the end of the data, the loop does not report a reset.
            connection.give_up(OSError(number, os.strerror(number)))
        elif now < self._until:
            # Windows reports nothing before the FIN.
            known = missing is not None or (connection.after_fin and _has_socket(connection.below))
            nap = next(self._naps) if known else self._timeout
            connection.call_later(min(nap, self._until - now), self.look)
        else:
            connection.give_up(self._too_long(missing))

    def _too_long(self, missing: int | None) -> TimeoutError:
        if missing is None:
            return TimeoutError(
                f"the peer did not close the connection within {self._timeout} seconds of "
                "close(): it may not have received everything"
            )
        return TimeoutError(
            f"the peer acknowledged nothing for {self._timeout} seconds after close(): the last "
            f"{missing} bytes may be lost"
        )


def _has_socket(below: asyncio.Transport) -> bool:
    return below.get_extra_info("socket") is not None


def _error_of(below: asyncio.Transport) -> int:
    """The pending error of the underlying socket; 0 if there is none."""
    with another(below.get_extra_info("socket")) as duplicate:
        if duplicate is None:
            return 0
        try:
            return duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as error:
            return error.errno or errno.EIO


class _Leaving:
    """The closing connections of one loop, the oldest first."""

    def __init__(self) -> None:
        self.connections: dict[TLSProtocol, None] = {}
        self._guard = _see_off(self.connections)
        # A loop keeps track of generators that have started, and `asyncio.run` ends them before the
        # loop.
        with suppress(StopIteration):
            self._guard.asend(None).send(None)


_leaving: WeakKeyDictionary[asyncio.AbstractEventLoop, _Leaving] = WeakKeyDictionary()


def register(connection: TLSProtocol) -> None:
    """Register a closing connection; at the limit the oldest is dropped."""
    loop = connection.loop
    if asyncio._get_running_loop() is not loop:
        return
    leaving = _leaving.get(loop)
    if leaving is None:
        leaving = _leaving[loop] = _Leaving()
    connections = leaving.connections
    while len(connections) >= MOST:
        oldest = next(iter(connections))
        del connections[oldest]
        oldest.give_up(TimeoutError("too many connections are being closed at a time"))
    connections[connection] = None


def leave(connection: TLSProtocol) -> None:
    """A connection is closed."""
    leaving = _leaving.get(connection.loop)
    if leaving is not None:
        leaving.connections.pop(connection, None)


async def _see_off(connections: dict[TLSProtocol, None]) -> AsyncGenerator[None, None]:
    """Wait for the connections when the loop is about to close."""
    try:
        yield
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                for nap in naps():
                    if not connections:
                        break
                    await asyncio.sleep(nap)
        for connection in [*connections]:
            connection.give_up(TimeoutError("the event loop ended before all data was delivered"))
        # The loop's next round reports that they are lost, one round for each TLS in TLS.
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
