"""Reads what a broken connection's socket still has, through a second descriptor.

Transports and streams of event loops report that a connection is broken, but not what the peer sent
before. If there is no socket, or no second descriptor for it, nothing is known.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["all_of", "another", "something_has_come"]

_ROOM = 64 * 1024
#: The maximum number of reads in search of an alert after data.
_MOST_READS = 4


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


@contextmanager
def another(known: _HasFileno | None) -> Iterator[socket.socket | None]:
    """The socket `known` with another descriptor, also non-blocking.

    It remains usable when the first one is closed.
    """
    try:
        number = -1 if known is None else known.fileno()
        duplicate = None if number < 0 else socket.socket(fileno=socket.dup(number))
    except OSError:
        duplicate = None
    if duplicate is None:
        yield None
        return
    with duplicate:
        duplicate.setblocking(False)
        yield duplicate


def something_has_come(duplicate: socket.socket | None) -> bool:
    """Whether the system has unread bytes."""
    try:
        return duplicate is not None and bool(duplicate.recv(1, socket.MSG_PEEK))
    except OSError:
        return False


def all_of(duplicate: socket.socket | None) -> Iterator[bytes]:
    """Yield what the system still has of a broken connection."""
    for _ in range(_MOST_READS):
        try:
            data = b"" if duplicate is None else duplicate.recv(_ROOM)
        except OSError:
            return
        if not data:
            return
        yield data
