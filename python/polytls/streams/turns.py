"""Who may do what when: the lock, the turns, waiting without either, and the last words.

See the package for why there are turns. Lock order: the turn to receive, the turn to send, the
lock. Only the lock protects; it is held for moments, and never while anything is waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

from ..driver import Driver, Need
from ..errors import TLSError, WantReadError, WantWriteError
from ..locks import OwnedLock, is_taken, may_wait_for, owned_lock
from .carrier import Carrier
from .sockets import closed, want_read, want_write
from .transport import Transport, again
from .waiting import AT_ONCE, READ, WRITE, Deadline, Interest

__all__ = ["LINGER", "Turns"]

_T = TypeVar("_T")

#: How long the peer is read from, at most, after a fatal alert was sent to it: if there is
#: something unread, closing sends a reset, and that overtakes the alert.
LINGER: Final = 2.0

#: A call that must not wait receives at most this often.
_MOST_ROUNDS: Final = 16


class Turns:
    """The calls of several threads on one connection."""

    __slots__ = (
        "_leaving",
        "_lock",
        "_receive_turn",
        "_send_turn",
        "_waiters",
        "closing",
        "driver",
        "receiving_ended",
        "transport",
    )

    def __init__(self, driver: Driver, carrier: Carrier) -> None:
        self.driver = driver
        self.transport = Transport(driver, carrier)
        self._lock = owned_lock()
        self._receive_turn = owned_lock()
        self._send_turn = owned_lock()
        #: An orderly close has begun: what waits to be sent matters more than what may come.
        self.closing = False
        #: The application wants no more data (`shutdown`).
        self.receiving_ended = False
        #: Threads that wait; the last one closes what was closed meanwhile, so that its
        #: descriptor's number is not given to another while somebody waits for it.
        self._waiters = 0
        self._leaving: Carrier | None = None

    @property
    def lock(self) -> OwnedLock:
        """The lock over the driver and the transport; TLSError in the thread that has it."""
        return may_wait_for(self._lock)

    # --- turns ---

    @contextmanager
    def to_receive(self, deadline: Deadline) -> Iterator[None]:
        """Have the turn to receive, waiting for it as one waits for the network."""
        may_wait_for(self._lock)
        take(self._receive_turn, deadline, READ)
        try:
            yield
        finally:
            self._receive_turn.release()

    @contextmanager
    def to_send(self, deadline: Deadline) -> Iterator[None]:
        """Have the turn to seal and to wait for sending."""
        may_wait_for(self._lock)
        take(self._send_turn, deadline, WRITE)
        try:
            yield
        finally:
            self._send_turn.release()

    @contextmanager
    def to_receive_if_free(self) -> Iterator[bool]:
        """Have the turn to receive, if no other thread has it; yield whether this one has.

        Raises TLSError in a signal's handler that has interrupted the thread that has it.
        """
        may_wait_for(self._lock)
        has = may_wait_for(self._receive_turn).acquire(blocking=False)
        try:
            yield has
        finally:
            if has:
                self._receive_turn.release()

    @property
    def somebody_receives(self) -> bool:
        """Whether some thread has the turn to receive."""
        return is_taken(self._receive_turn)

    @property
    def somebody_sends(self) -> bool:
        """Whether some thread has the turn to send."""
        return is_taken(self._send_turn)

    def drive(
        self, attempt: Callable[[], _T | Need], deadline: Deadline, *, sends: bool = False
    ) -> _T:
        """Call `attempt` until it succeeds or fails, receiving and sending for it in between.

        The caller has the turn of whatever `attempt` may need; `sends`: that to send, too.
        """
        rounds = 0
        while True:
            try:
                with self.lock:
                    self.transport.check_open()
                    result = attempt()
                    if not isinstance(result, Need):
                        self._flush_aside(sends)
                        return result
                    interest = self._help(result, rounds, deadline, sends)
            except (WantReadError, WantWriteError):
                raise
            except TLSError as error:
                told = self.told(error, deadline)
                raise told from told.__cause__
            if result is Need.WRITE and self.transport.send_fault is not None:
                raise self.broken(deadline) from None
            if interest is not None:
                self.wait(interest, deadline)
            elif deadline.passed:  # A peer that keeps us busy does not prolong the call.
                raise TimeoutError("timed out")
            rounds += 1

    def hand_over(self, deadline: Deadline) -> bool:
        """Send all that is sealed now; False if there was no time for that."""
        transport = self.transport
        goal: int | None = None
        while True:
            try:
                with self.lock:
                    transport.flush()
                    if goal is None:
                        goal = self.driver.sent + self.driver.unsent
                    if transport.failed:
                        self.driver.handshake()  # Raises what a thread that reads has found.
                    if transport.send_fault is None and self.driver.sent >= goal:
                        return True
            except TLSError as error:
                told = self.told(error, deadline)
                raise told from told.__cause__
            if transport.send_fault is not None:
                raise self.broken(deadline) from None
            try:
                self.wait(WRITE, deadline)
            except (TimeoutError, WantWriteError):
                return False

    def _help(self, need: Need, rounds: int, deadline: Deadline, sends: bool) -> Interest | None:
        """Do what is needed; return what has to be waited for, None if it may have been enough."""
        transport = self.transport
        if need is Need.WRITE:
            transport.flush()
            return WRITE if transport.has_unsent else None
        if deadline.non_blocking and rounds >= _MOST_ROUNDS:
            raise want_read()
        self._flush_aside(sends)
        if transport.receive():
            return None
        return Interest(read=True, write=self._has_to_send() and self._may_send(sends))

    def _has_to_send(self) -> bool:
        """Whether what waits to be sent matters to who waits to receive.

        A thread that cannot wait for both sends first: what comes with a handshake or an end. The
        rest, such as tickets, goes out with the next call that sends, as the peer may take nothing
        before it is received from.
        """
        transport = self.transport
        if not transport.has_unsent:
            return False
        keeps_time = transport.check_open().keeps_time
        return keeps_time or self.closing or not self.driver.established

    def _may_send(self, sends: bool) -> bool:
        return sends or not is_taken(self._send_turn)

    def _flush_aside(self, sends: bool) -> None:
        """Send what waits, unless another thread is about to."""
        if self.transport.has_unsent and self._may_send(sends):
            self.transport.flush()

    # --- waiting ---

    def wait(self, interest: Interest, deadline: Deadline) -> None:
        """Wait for the descriptor.

        Raises TimeoutError; where nothing may be waited for, WantReadError or WantWriteError at
        once; and OSError if it is closed.
        """
        if deadline.non_blocking:
            # A handshake and a close go on when the peer has got what we said. Otherwise reading
            # needs no writing.
            going_on = self.closing or not self.driver.established
            write_first = interest.write and (going_on or not interest.read)
            raise want_write() if write_first else want_read()
        with self.lock:
            carrier = self.transport.check_open()
            self._waiters += 1
        try:
            ready = carrier.wait(interest, deadline)
        finally:
            with self.lock:
                self._waiters -= 1
                if self._leaving is not None and not self._waiters:
                    self._leaving.close(waited_for=False)
                    self._leaving = None
        if not ready:
            raise TimeoutError("timed out")

    def release(self) -> bool:
        """Close the descriptor and wake everybody who waits; False if it is closed already."""
        with self.lock:
            carrier = self.transport.carrier
            if carrier is None:
                return False
            # Unread data (tickets that nobody has read for, say) would turn the end into a reset,
            # and on some systems that takes from the peer what it has not read yet.
            with suppress(OSError):
                self.transport.discard()
            if not carrier.close(waited_for=self._waiters > 0):
                self._leaving = carrier
            self.transport.carrier = None
            return True

    def let_go(self) -> Carrier:
        """Forget the stream without closing it, and return it."""
        carrier = self.transport.check_open()
        self.transport.carrier = None
        return carrier

    def fileno(self) -> int:
        """Return the descriptor, -1 if there is none."""
        carrier = self.transport.carrier
        return -1 if carrier is None else carrier.fileno()

    # --- last words ---

    def told(self, error: TLSError, deadline: Deadline) -> TLSError:
        """Give `error` back; if it is one that ends the connection, tell the peer before."""
        if not self.transport.failed:
            return error
        # The peer may be in the middle of sending its first data, and only a handshake is worth
        # waiting for: later it has the alert in its stream of records anyway.
        in_handshake = not self.driver.established
        carrier = self.transport.carrier
        keeps_time = carrier is not None and carrier.keeps_time
        # Later calls only try.
        limit = AT_ONCE if self.transport.farewell_begun else deadline.at_most(LINGER)
        with suppress(OSError):
            while (interest := self.farewell()) and not limit.passed:
                if interest.read and not (in_handshake and keeps_time):
                    break
                self.wait(interest, limit)
        return error

    def farewell(self) -> Interest | None:
        """Go on telling the peer of a failure; return what that waits for, None when it is done."""
        with self.lock:
            return self.transport.farewell()

    def broken(self, deadline: Deadline) -> OSError:
        """Return the error of a call that cannot send: the peer's reason, if it gave one."""
        try:
            with self.lock:
                self.transport.look_for_alert()
                if self.transport.failed:
                    self.driver.handshake()
        except TLSError as error:
            return self.told(error, deadline)
        fault = self.transport.send_fault
        return closed() if fault is None else again(fault)


def take(turn: OwnedLock, deadline: Deadline, interest: Interest) -> None:
    """Acquire a lock that somebody may hold while waiting for the network.

    Raises TLSError in the thread that has it: a signal's handler has interrupted a call.
    """
    if may_wait_for(turn).acquire(blocking=False):
        return
    if deadline.non_blocking:
        raise want_read() if interest.read else want_write()
    left = deadline.left()
    if not turn.acquire(timeout=-1 if left is None else min(left, threading.TIMEOUT_MAX)):
        raise TimeoutError("timed out")
