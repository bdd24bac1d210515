"""Delivery: what the peer has acknowledged, and how long closing a connection waits for that.

Shared by the Python drivers. ARCHITECTURE.md ("Endings") has the rule that they follow when a
connection ends; crates/io follows it for native sockets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from . import _native

__all__ = ["CLOSE_TIMEOUT", "naps", "unacknowledged"]

#: How long an orderly close waits for delivery, at most, in seconds.
CLOSE_TIMEOUT: Final = 5.0

#: The first and the longest interval between two checks, in seconds: no system reports when the
#: last byte is acknowledged.
_FIRST_NAP: Final = 0.001
_LONGEST_NAP: Final = 0.025


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


def unacknowledged(known: _HasFileno | None, *, after_fin: bool = False) -> int | None:
    """Return how many of the bytes given to the system the peer's TCP has not acknowledged.

    `after_fin`: the sending direction of the socket has been shut down. After a reset, the number
    is what was lost; over AF_UNIX it is 0, because sent data is already in the peer's queue.

    Windows does not count: the number is 0, or 2**64 - 1 until the FIN has been acknowledged.

    None if it is unknown: there is no socket, it is closed, or the system does not report it.
    Windows does not before the FIN, nor after a reset.
    """
    try:
        descriptor = -1 if known is None else known.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    return _native.unacknowledged(descriptor, after_fin) if isinstance(descriptor, int) else None


def naps() -> Iterator[float]:
    """Yield how long to wait, in seconds, before each further check."""
    nap = _FIRST_NAP
    while True:
        yield nap
        nap = min(2 * nap, _LONGEST_NAP)
