"""A connection and the byte stream under it: calls that return at once, and what they found out.

Rules:

- All of this is under the socket's lock. Waiting is not done here.
- The first fault in each direction is latched. One in sending does not stop receiving: what the
  peer said before it went away, an alert above all, is still there to be read.
- While TLS is being ended, no more is received than the record that is due (`by_records`): what
  stands behind the peer's close_notify is not ours.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from enum import Enum, auto
from typing import Final

from ..driver import Driver, Need, State
from ..errors import TLSError
from .carrier import Carrier
from .sockets import closed
from .waiting import READ, WRITE, Interest

__all__ = ["RECORD", "Transport", "again"]

#: The most plaintext of one record (RFC 8446 5.1).
RECORD: Final = 16 * 1024
#: Sealed and sent at a time, and sealed under one hold of the lock: 16 records.
_CHUNK: Final = 4 * RECORD
_BATCH: Final = 16 * RECORD
#: Received at a time.
_ROOM: Final = 64 * 1024
#: Opened ahead, at most, in search of an alert.
_AHEAD: Final = 128 * 1024
#: Of a record (RFC 8446 5.1).
_HEADER: Final = 5


class _Farewell(Enum):
    """How far a failed connection has come in telling the peer why."""

    NOT_BEGUN = auto()
    #: The alert is still to be sent.
    ALERT = auto()
    #: It is sent, and our side of TCP is ended; what the peer still sends is read, so that the
    #: system does not answer it with a reset, which would overtake the alert.
    DRAIN = auto()
    DONE = auto()


class Transport:
    """See the module."""

    __slots__ = (
        "_farewell",
        "_receive_fault",
        "_torn",
        "by_records",
        "carrier",
        "driver",
        "send_fault",
    )

    def __init__(self, driver: Driver, carrier: Carrier) -> None:
        self.driver = driver
        #: None once closed.
        self.carrier: Carrier | None = carrier
        self.by_records = False
        self.send_fault: OSError | None = None
        self._receive_fault: OSError | None = None
        #: Something is being received. Left so by an exception that came from outside.
        self._torn = False
        self._farewell = _Farewell.NOT_BEGUN

    def check_open(self) -> Carrier:
        """Return what carries the bytes; raises OSError once it is closed."""
        if self.carrier is None:
            raise closed()
        return self.carrier

    @property
    def failed(self) -> bool:
        """Whether a fatal error has ended the connection."""
        return self.driver.state is State.FAILED

    # --- ciphertext ---

    @property
    def has_unsent(self) -> bool:
        """Whether there is something that can be sent one day."""
        if self.send_fault is not None:
            return False
        return self.driver.unsent > 0 or (self.carrier is not None and self.carrier.unsent() > 0)

    def flush(self) -> None:
        """Send as much of what is sealed as the stream takes; a fault is latched."""
        carrier = self.check_open()
        try:
            while self.send_fault is None and (data := self.driver.to_send()):
                # A loop takes what a call returns without looking for signals in between: what was
                # sent is known, whatever a handler raises.
                for count in map(carrier.send, (data,)):
                    self.driver.sent += count
            if self.send_fault is None and carrier.unsent():
                carrier.flush()
        except OSError as fault:
            if not carrier.would_block(fault, WRITE):
                self.send_fault = again(fault)

    def receive(self) -> bool:
        """Take in what the stream has, once. True: there is news, the end included.

        Raises the fault that ended receiving, again and again.
        """
        if self._receive_fault is not None:
            raise again(self._receive_fault)
        if not self.driver.receptive:
            return False
        carrier = self.check_open()
        if self._torn:
            # Going on with a hole in the stream of records would not be noticed here, but there.
            raise TLSError("internal error: a signal's handler has raised while data was taken in")
        self._torn = True
        try:
            data = carrier.recv(_missing(self.driver.unprocessed) if self.by_records else _ROOM)
        except OSError as fault:
            if carrier.would_block(fault, READ):
                self._torn = False
                return False
            self._receive_fault = again(fault)
            raise again(fault) from None
        # A reset is told once, and was told to a send.
        if not data and isinstance(self.send_fault, ConnectionResetError):
            self._receive_fault = self.send_fault
            raise again(self._receive_fault)
        self.driver.receive(data)
        self._torn = False
        return True

    # --- plaintext ---

    def seal(self, view: memoryview) -> int | Need:
        """Seal as much of `view` as the stream takes at once, a chunk at least, a batch at most.

        Nothing is taken while earlier ciphertext waits, so that a peer that does not read is
        noticed, and memory stays bounded. A fault in sending shows as `Need.WRITE`.
        """
        # Says what is wrong, if something is, with no need to wait for anything.
        need = self.driver.write(view[:0])
        if isinstance(need, Need):
            return need
        self.flush()
        taken = 0
        for start in range(0, min(len(view), _BATCH), _CHUNK):
            if self.driver.unsent:
                break
            try:
                count = self.driver.write(view[start : start + _CHUNK])
            except TLSError:
                if taken:
                    break  # It is latched.
                raise
            if isinstance(count, Need):
                return taken or count
            taken += count
            self.flush()
            if count < len(view[start : start + _CHUNK]):
                break
        return taken or Need.WRITE

    def look_for_alert(self) -> None:
        """After a fault in sending: look through all that has come for an alert that says why.

        Data before it stays readable. It does not matter here whether another thread waits to
        receive: the fault has woken it.
        """
        with suppress(OSError):
            while self.driver.ahead < _AHEAD and not self.failed:
                if not self.driver.look_ahead() and not self.receive():
                    return

    # --- the end ---

    def discard(self) -> bool:
        """Read some of what the stream has, for nobody; True at the end."""
        carrier = self.check_open()
        for _ in range(16):
            try:
                if not carrier.recv(8192):
                    return True
            except OSError as fault:
                if carrier.would_block(fault, READ):
                    return False
                raise
        return False

    @property
    def farewell_begun(self) -> bool:
        """Whether `farewell` was called before."""
        return self._farewell is not _Farewell.NOT_BEGUN

    def farewell(self) -> Interest | None:
        """Go on telling the peer of a failure; return what that waits for, None when it is done."""
        if self.carrier is None:
            return None
        if self._farewell is _Farewell.NOT_BEGUN:
            self._farewell = _Farewell.ALERT if self.has_unsent else _Farewell.DONE
        if self._farewell is _Farewell.ALERT:
            self.flush()
            if self.has_unsent:
                return WRITE
            self.end(socket.SHUT_WR)
            self._farewell = _Farewell.DRAIN if self.send_fault is None else _Farewell.DONE
        if self._farewell is _Farewell.DRAIN:
            over = True
            with suppress(OSError):
                over = self.discard()
            if not over:
                return READ
            self._farewell = _Farewell.DONE
        return None

    def end(self, how: int) -> None:
        """End one or both directions of the stream, if it is one that can."""
        if self.carrier is not None:
            self.carrier.shutdown(how)


def _missing(waiting: bytes) -> int:
    """How many bytes are missing of the record at the end of `waiting`, or of its header."""
    start = 0
    while True:
        there = len(waiting) - start
        if there < _HEADER:
            return _HEADER - there
        length = _HEADER + int.from_bytes(waiting[start + 3 : start + _HEADER], "big")
        if there < length:
            return length - there
        start += length


def again(fault: OSError) -> OSError:
    """Return a fault as if it had just happened.

    One that is kept must be such, too: a traceback holds the socket that would keep it.
    """
    return type(fault)(*fault.args)
