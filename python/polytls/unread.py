"""What a socket still has that its owner does not tell of: a second descriptor is asked.

The transports and streams of event loops say that a connection is broken, not what the peer had
said before. Where there is no socket, or no second descriptor of one, nothing can be known.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["all_of", "another", "something_has_come"]

_ROOM = 64 * 1024
#: Read at most so often, in search of an alert behind data.
_MOST_READS = 4


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


@contextmanager
def another(known: _HasFileno | None) -> Iterator[socket.socket | None]:
    """The socket `known` by another descriptor, which does not block either.

    It stays good when the first is closed.
    """
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


def something_has_come(duplicate: socket.socket | None) -> bool:
    """Whether the system has bytes that were not read yet."""
    try:
        return duplicate is not None and bool(duplicate.recv(1, socket.MSG_PEEK))
    except OSError:
        return False


def all_of(duplicate: socket.socket | None) -> Iterator[bytes]:
    """Yield what the system still has of a connection that is broken."""
    for _ in range(_MOST_READS):
        try:
            data = b"" if duplicate is None else duplicate.recv(_ROOM)
        except OSError:
            return
        if not data:
            return
        yield data
