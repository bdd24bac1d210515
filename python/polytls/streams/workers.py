"""Threads for handshakes that may block.

Where a step of a handshake calls back into the application (its verifier, its signer), one that
takes long must not hold up another, nor the thread that accepts. So each step is done by a thread
of the listener's own; the thread that has the turn collects what came of it.

Threads start on demand and end when they have had nothing to do for a while, and when the listener
is closed; one that is in a callback then ends as soon as that returns, and closes its connection.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

__all__ = ["Workers"]

_T = TypeVar("_T")

#: How long a thread with nothing to do stays, in seconds.
_STAYS: Final = 5.0


class Workers(Generic[_T]):
    """Does `work` on what it is given, each in a thread. Its methods are for one thread at a time.

    `work` raises nothing. `ring`: called, under a lock, when something is done. `drop`: called with
    what nobody will take any more, by a thread or by `close`.
    """

    __slots__ = (
        "_closed",
        "_done",
        "_drop",
        "_free",
        "_in_hand",
        "_queue",
        "_ring",
        "_wanted",
        "_work",
    )

    def __init__(
        self,
        work: Callable[[_T], object],
        ring: Callable[[], object],
        drop: Callable[[_T], object],
    ) -> None:
        self._work = work
        self._ring = ring
        self._drop = drop
        self._wanted = threading.Condition()
        self._closed = False
        self._queue: deque[_T] = deque()
        self._done: deque[_T] = deque()
        self._in_hand: list[_T] = []
        #: Threads that wait for something to do, or are about to.
        self._free = 0

    def __len__(self) -> int:
        """How many have been begun and not taken."""
        return len(self._in_hand)

    def begin(self, item: _T) -> None:
        """Work on it, in this thread if there cannot be another."""
        self._in_hand.append(item)
        with self._wanted:
            self._queue.append(item)
            if self._free >= len(self._queue):
                self._wanted.notify()
                return
            self._free += 1
        thread = threading.Thread(target=self._run, name="polytls handshake", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._run(once=True)

    def __iter__(self) -> Iterator[_T]:
        """All that have been begun and not taken."""
        return iter(self._in_hand)

    def take(self) -> _T | None:
        """Take one that is done; None if none is."""
        with self._wanted:
            if not self._done:
                return None
            item = self._done.popleft()
        self._in_hand.remove(item)
        return item

    def close(self) -> None:
        """Drop what nobody works on; the rest is dropped by the threads that do."""
        with self._wanted:
            self._closed = True
            left = [*self._done, *self._queue]
            self._done.clear()
            self._queue.clear()
            self._wanted.notify_all()
        for item in left:
            self._drop(item)

    def _run(self, *, once: bool = False) -> None:
        while (item := self._next(waits=not once)) is not None:
            self._work(item)
            with self._wanted:
                if not self._closed:
                    self._done.append(item)
                    self._ring()
                    self._free += 1
                    continue
            self._drop(item)
            return

    def _next(self, *, waits: bool) -> _T | None:
        with self._wanted:
            if waits:
                self._wanted.wait_for(lambda: self._queue or self._closed, _STAYS)
            self._free -= 1
            return self._queue.popleft() if self._queue else None
