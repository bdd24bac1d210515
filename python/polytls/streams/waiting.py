"""How long a call may take, and waiting for descriptors meanwhile.

No lock is held while waiting, and none is known here. Signals are Python's business: their
handlers run while it waits, and what they raise ends the wait (PEP 475).
"""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from typing import Final

from ..frozen import frozen

__all__ = ["AT_ONCE", "NOTHING", "READ", "WRITE", "Bell", "Deadline", "Interest", "wait_for"]

#: No single wait takes longer: poll(2) counts milliseconds in 31 bits.
_LONGEST: Final = 24 * 3600.0


@frozen()
class Deadline:
    """When a call that has begun is out of time."""

    #: A moment of `time.monotonic`; None: never.
    at: float | None
    #: Whether the call must not wait at all. It is out of time only where it would wait.
    non_blocking: bool = False

    @classmethod
    def after(cls, timeout: float | None) -> Deadline:
        """Begin a call that may take so many seconds; None: any number, 0: it must not wait."""
        if timeout is None:
            return cls(None)
        return cls(None, non_blocking=True) if timeout == 0 else cls(monotonic() + timeout)

    def at_most(self, seconds: float) -> Deadline:
        """Return the same, but no later than so many seconds from now."""
        if self.non_blocking:
            return self
        limit = monotonic() + seconds
        return Deadline(limit if self.at is None else min(self.at, limit))

    def left(self) -> float | None:
        """Return how many seconds are left, 0 at the least; None: any number."""
        if self.non_blocking:
            return 0.0
        return None if self.at is None else max(0.0, self.at - monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is over; never where nothing may be waited for."""
        return self.at is not None and monotonic() >= self.at


@frozen()
class Interest:
    """What a descriptor is waited for."""

    read: bool = False
    write: bool = False


#: For calls that must not wait.
AT_ONCE: Final = Deadline(None, non_blocking=True)

NOTHING: Final = Interest()
READ: Final = Interest(read=True)
WRITE: Final = Interest(write=True)


def wait_for(watched: Iterable[tuple[int, Interest]], until: Deadline) -> set[int]:
    """Wait until one of the descriptors is ready, and return those that are; none: time is over.

    Errors and hang-ups count as ready: the call that follows says which. The system is asked at
    least once.
    """
    pairs = [*watched]
    while True:
        left = until.left()
        step = _LONGEST if left is None else min(left, _LONGEST)
        ready = _poll(pairs, step)
        if ready or (left is not None and left <= step):
            return ready


if hasattr(select, "poll"):

    def _poll(watched: list[tuple[int, Interest]], seconds: float) -> set[int]:
        poll = select.poll()
        for descriptor, interest in watched:
            events = select.POLLIN if interest.read else 0
            poll.register(descriptor, events | (select.POLLOUT if interest.write else 0))
        # Rounded up, so that a wait never ends before its time.
        return {descriptor for descriptor, _ in poll.poll(math.ceil(seconds * 1000))}

else:  # Windows.

    def _poll(watched: list[tuple[int, Interest]], seconds: float) -> set[int]:
        readers = [descriptor for descriptor, interest in watched if interest.read]
        writers = [descriptor for descriptor, interest in watched if interest.write]
        ready = select.select(readers, writers, writers, seconds)
        return {descriptor for each in ready for descriptor in each}


class Bell:
    """Wakes a thread that waits: once rung, its descriptor is readable until it is hushed."""

    def __init__(self) -> None:
        # No pipe: on Windows only sockets can be waited for.
        self._ear, self._hand = socket.socketpair()
        self._ear.setblocking(False)
        self._hand.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait for, -1 once closed."""
        return self._ear.fileno()

    def ring(self) -> None:
        """Make it readable; any number of times."""
        # Refused where it has been rung often enough, or is closed.
        with suppress(OSError):
            self._hand.send(b"\0")

    def hush(self) -> None:
        """Make it unreadable."""
        with suppress(OSError):
            while self._ear.recv(4096):
                pass

    def close(self) -> None:
        """Close its descriptors."""
        self._ear.close()
        self._hand.close()
