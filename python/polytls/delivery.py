"""Delivery: what the peer has acknowledged, and how long the end of a connection waits for that.

Shared by the drivers in Python. The rule that they follow at the end of a connection is in
ARCHITECTURE.md ("Endings"); crates/io follows the same for native sockets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from . import _native

__all__ = ["CLOSE_TIMEOUT", "naps", "unacknowledged"]

#: How long an orderly end waits for what was accepted to be delivered, at most, in seconds.
CLOSE_TIMEOUT: Final = 5.0

#: The first and the longest wait between two looks, in seconds: no system tells when the last byte
#: has been acknowledged.
_FIRST_NAP: Final = 0.001
_LONGEST_NAP: Final = 0.025


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


def unacknowledged(known: _HasFileno | None, *, after_fin: bool = False) -> int | None:
    """Return how many bytes that the system was given the peer's TCP has not acknowledged.

    `after_fin`: the sending side of the socket has been shut down. After a reset it is what was
    lost; over AF_UNIX it is 0, as what was sent is in the peer's queue already.

    None where it cannot be told: there is no socket or it is closed, and on systems other than
    Linux and macOS.
    """
    try:
        descriptor = -1 if known is None else known.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    return _native.unacknowledged(descriptor, after_fin) if isinstance(descriptor, int) else None


def naps() -> Iterator[float]:
    """Yield how long to wait, in seconds, before each further look at what is unacknowledged."""
    nap = _FIRST_NAP
    while True:
        yield nap
        nap = min(2 * nap, _LONGEST_NAP)
