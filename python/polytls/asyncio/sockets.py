"""What a transport's socket still has: asyncio does not tell, so a second descriptor is asked.

Transports of pipes and the like have no socket; then there is nothing to be known.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["something_has_come", "what_came_before_the_end"]

_ROOM = 64 * 1024
#: Read at most so often, in search of an alert behind data.
_MOST_READS = 4


@contextmanager
def _second(transport: asyncio.BaseTransport) -> Iterator[socket.socket | None]:
    """The socket of `transport` by another descriptor, which does not block either."""
    known = transport.get_extra_info("socket")
    try:
        number = -1 if known is None else known.fileno()
        duplicate = None if number < 0 else socket.socket(fileno=os.dup(number))
    except OSError:
        duplicate = None
    if duplicate is None:
        yield None
        return
    with duplicate:
        duplicate.setblocking(False)
        yield duplicate


def something_has_come(transport: asyncio.BaseTransport) -> bool:
    """Whether the system has bytes for the transport that were not read yet."""
    with _second(transport) as duplicate:
        try:
            return duplicate is not None and bool(duplicate.recv(1, socket.MSG_PEEK))
        except OSError:
            return False


def what_came_before_the_end(transport: asyncio.BaseTransport) -> Iterator[bytes]:
    """Yield what the system still has for a transport that is broken."""
    with _second(transport) as duplicate:
        for _ in range(_MOST_READS):
            try:
                data = b"" if duplicate is None else duplicate.recv(_ROOM)
            except OSError:
                return
            if not data:
                return
            yield data
