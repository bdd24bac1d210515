"""The connections a listener has in hand: handshakes in progress, finished ones, and failed ones.

All of it is for the thread that has the listener's turn. It counts against the limit until it is
returned, but for what is leaving.

```text
 begin -> waiting -> finished -> returned by accept
             |
             +-> leaving (its alert is sent, its end awaited) -> closed
```

Where a handshake may block, as a callback has its say, its steps are done by threads of the
listener's own (`workers.py`), so that none holds up another; whoever has the turn collects what
came of them.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final

from ..errors import TLSError, WantReadError, WantWriteError
from .connection import StreamSocket
from .sockets import shown
from .turns import LINGER
from .waiting import AT_ONCE, READ, WRITE, Interest
from .workers import Workers

__all__ = ["Pool"]

#: What each handshake has, in seconds, before it gives way to another at the limit.
_GRACE: Final = 1.0

_log = logging.getLogger("polytls.streams")


class _Pending:
    """A connection that waits for its peer, until a moment."""

    __slots__ = ("interest", "may_block", "outcome", "since", "stream", "until")

    def __init__(self, stream: StreamSocket, timeout: float | None, may_block: bool) -> None:
        self.stream = stream
        self.may_block = may_block
        self.interest = READ
        #: What the last step of the handshake raised; None: it is done.
        self.outcome: BaseException | None = None
        self.since = monotonic()
        #: None: for ever.
        self.until = None if timeout is None else self.since + timeout

    def postpone(self, seconds: float) -> None:
        """Do not count so much time."""
        self.since += seconds
        if self.until is not None:
            self.until += seconds

    def is_late(self, now: float) -> bool:
        return self.until is not None and now >= self.until

    def step(self) -> None:
        """Go on with the handshake, without waiting for the peer."""
        self.outcome = None
        try:
            self.stream.handshake(AT_ONCE)
        except BaseException as error:
            self.outcome = error

    def abandon(self) -> None:
        """Close the descriptor, without a word to the peer."""
        self.stream.abandon()


def _end_of_thread(error: BaseException) -> None:
    """What would end any other thread goes where Python sends such; ours go on with others."""
    what = (type(error), error, error.__traceback__, None)
    threading.excepthook(threading.ExceptHookArgs(what))


class Pool:
    """See the module. `limit`: how many; `timeout`: seconds for each handshake, None for ever."""

    __slots__ = ("_leaving", "_limit", "_timeout", "_waiting", "_workers", "failed", "finished")

    def __init__(self, limit: int, timeout: float | None) -> None:
        self._limit = limit
        self._timeout = timeout
        self.finished: deque[StreamSocket] = deque()
        self._waiting: list[_Pending] = []
        self._leaving: list[_Pending] = []
        #: What others work on; None until a handshake may block.
        self._workers: Workers[_Pending] | None = None
        #: How many handshakes did not succeed.
        self.failed = 0

    # --- how many ---

    @property
    def room(self) -> int:
        """How many connections may come in."""
        return self._limit - len(self._waiting) - len(self.finished) - len(self._workers or ())

    @property
    def is_idle(self) -> bool:
        """Whether no handshake is in progress."""
        return not self._waiting and not len(self._workers or ())

    def welcomes_from(self) -> float:
        """Return the moment from which a connection may come in, if one has to give way for it."""
        if self.room > 0:
            return -math.inf
        return min((each.since for each in self._waiting), default=math.inf) + _GRACE

    def make_room(self) -> None:
        """Drop the oldest handshake, if there is no room."""
        if self.room > 0 or not self._waiting:
            return
        oldest = min(self._waiting, key=lambda each: each.since)
        self._waiting.remove(oldest)
        self._note_failure(oldest, TimeoutError("dropped: handshake_limit reached"))
        oldest.abandon()

    # --- handshakes ---

    def begin(self, stream: StreamSocket, ring: Callable[[], object] | None) -> None:
        """Begin the handshake of a connection that has come in.

        `ring`: for one that may block, what tells that there is something to `collect`.
        """
        if ring is not None and self._workers is None:
            self._workers = Workers(_Pending.step, ring, _Pending.abandon)
        pending = _Pending(stream, self._timeout, ring is not None)
        if self._goes_on(pending):
            self._waiting.append(pending)

    def postpone(self, seconds: float) -> None:
        """Let the clocks of all handshakes stand still for so long."""
        for pending in (*self._waiting, *(self._workers or ())):
            pending.postpone(seconds)

    def collect(self) -> None:
        """Take over what others have worked on."""
        while self._workers is not None and (pending := self._workers.take()) is not None:
            # A callback may have taken longer than there was time for.
            if pending.outcome is None and pending.is_late(monotonic()):
                pending.outcome = TimeoutError("timed out")
            if self._settle(pending):
                self._waiting.append(pending)

    def take_unfinished(self) -> StreamSocket | None:
        """Return one, at whatever stage, for somebody who drives it himself."""
        self.collect()
        if self.finished:
            return self.finished.popleft()
        return self._waiting.pop(0).stream if self._waiting else None

    # --- waiting ---

    def watched(self) -> Iterator[tuple[int, Interest]]:
        """What is waited for."""
        for pending in (*self._waiting, *self._leaving):
            yield pending.stream.fileno(), pending.interest

    def limits(self) -> Iterator[float | None]:
        """When something is late; None: never."""
        for pending in (*self._waiting, *self._leaving):
            yield pending.until

    def go_on(self, ready: set[int]) -> None:
        """Do what can be done now, and give up what is late."""
        self.collect()
        now = monotonic()
        self._waiting = [each for each in self._waiting if self._keeps_waiting(each, ready, now)]
        self._leaving = [each for each in self._leaving if self._keeps_leaving(each, ready, now)]

    def _keeps_waiting(self, pending: _Pending, ready: set[int], now: float) -> bool:
        if pending.stream.fileno() in ready:
            return self._goes_on(pending)
        if not pending.is_late(now):
            return True
        self._note_failure(pending, TimeoutError("timed out"))
        pending.abandon()
        return False

    def _goes_on(self, pending: _Pending) -> bool:
        """Go on with a handshake; False if it has come to an end, or others work on it."""
        if pending.may_block and self._workers is not None:
            self._workers.begin(pending)
            return False
        pending.step()
        return self._settle(pending)

    def _settle(self, pending: _Pending) -> bool:
        """Do what a step of the handshake asks for; False if it has come to an end."""
        outcome, pending.outcome = pending.outcome, None
        match outcome:
            case None:
                self.finished.append(pending.stream)
                return False
            case WantReadError():
                pending.interest = READ
                return True
            case WantWriteError():
                pending.interest = WRITE
                return True
            case TLSError() | OSError():
                self._note_failure(pending, outcome)
                self._see_off(pending)
                return False
        if not pending.may_block:
            pending.abandon()
            raise outcome
        self._note_failure(pending, outcome)
        self._see_off(pending)
        # A callback's, in a thread of ours, which has no caller.
        _end_of_thread(outcome)
        return False

    def _see_off(self, pending: _Pending) -> None:
        interest = pending.stream.farewell()
        if interest is None or len(self._leaving) >= self._limit:
            pending.abandon()
            return
        pending.interest = interest
        pending.until = monotonic() + LINGER
        self._leaving.append(pending)

    def _keeps_leaving(self, pending: _Pending, ready: set[int], now: float) -> bool:
        interest: Interest | None = pending.interest
        if pending.stream.fileno() in ready:
            interest = pending.stream.farewell()
        if interest is None or pending.is_late(now):
            pending.abandon()
            return False
        pending.interest = interest
        return True

    def _note_failure(self, pending: _Pending, error: BaseException) -> None:
        self.failed += 1
        peer = shown(pending.stream.getpeername())
        _log.debug("a handshake with %s failed: %s", peer, error)

    def clear(self, *, inherited: bool) -> None:
        """Drop everything; what others work on when they are back.

        `inherited`: in a child, where those threads are not, nor whoever may have had their lock.
        """
        for stream in self.finished:
            stream.abandon()
        for pending in (*self._waiting, *self._leaving):
            pending.abandon()
        if self._workers is not None and inherited:
            for pending in self._workers:
                pending.abandon()
        elif self._workers is not None:
            self._workers.close()
        self._workers = None
        self.finished.clear()
        self._waiting.clear()
        self._leaving.clear()
