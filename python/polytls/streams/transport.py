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
from ..errors import AlertReceived, TLSError
from .carrier import Carrier, is_plain
from .sockets import closed
from .waiting import READ, WRITE, Interest

__all__ = ["RECORD", "Input", "Transport", "again"]

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
#: How often the stream is asked for more in one hold of the lock.
_MOST_ROUNDS: Final = 16


class Input(Enum):
    """How reading out went, if nothing went wrong."""

    #: There is nothing more for now.
    NOTHING = auto()
    MORE = auto()
    #: The peer's side of the transport has ended.
    END = auto()


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
        "_at_end",
        "_farewell",
        "_fin_sent",
        "_receive_fault",
        "_torn",
        "by_records",
        "carrier",
        "deaf",
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
        #: Receiving was ended in the system, too.
        self.deaf = False
        #: The stream has come to its end.
        self._at_end = False
        #: Our side of TCP is ended.
        self._fin_sent = False

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

    @property
    def flight_unsent(self) -> bool:
        """Whether something waits to be sent that a handshake does not end without."""
        return self.has_unsent and not self.driver.only_tickets_left

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
        # A fault of the transport is told once, and may have been told to a send: then an end that
        # is found here is none. EPIPE says no such thing, as it follows a FIN as well.
        if not (data or self.send_fault is None or isinstance(self.send_fault, BrokenPipeError)):
            self._receive_fault = self.send_fault
            raise again(self._receive_fault)
        self._at_end = not data
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

    # --- what an orderly end takes ---

    def undelivered(self) -> int:
        """Return how many bytes of data, as they were sealed, the peer has not acknowledged.

        Where the system does not tell, all of them until the peer's end has come.
        """
        count = self._unacknowledged()
        if count is None:
            count = 0 if self.peer_has_ended else self.driver.sent
        return max(0, self.driver.data_end - self.driver.sent + count)

    @property
    def settled(self) -> bool:
        """Whether the peer has acknowledged all that we had to say, close_notify included."""
        if self.driver.unsent:
            return False
        count = self._unacknowledged()
        return self.peer_has_ended if count is None else count == 0

    def untaken(self) -> int:
        """Return how many bytes of data, as they were sealed, the system has not taken."""
        unsent = 0 if self.carrier is None else self.carrier.unsent()
        return max(0, self.driver.data_end - self.driver.sent + unsent)

    @property
    def tells_acknowledged(self) -> bool:
        """Whether the system tells what the peer has acknowledged."""
        return self._unacknowledged() is not None

    def _unacknowledged(self) -> int | None:
        return self.check_open().unacknowledged(after_fin=self._fin_sent)

    @property
    def peer_has_ended(self) -> bool:
        """After our close_notify: whether the peer's has come, or the end of its transport."""
        return self._at_end or self.driver.state is State.CLOSED

    def finish_sending(self) -> None:
        """End our side of TCP, once all is handed over.

        Not where receiving was ended: the system answers what comes after both with a reset.
        """
        if not (self._fin_sent or self.deaf or self.has_unsent):
            self._fin_sent = self.check_open().end_sending()

    @property
    def may_become_readable(self) -> bool:
        """Whether it makes sense to wait for that: an end makes a descriptor readable for good."""
        return not (self.deaf or self._at_end)

    def read_out(self, *, receiving_ended: bool) -> Input | OSError:
        """Read for nobody, for a moment; return what ended the connection, if something did.

        Records are opened as long as that can be done: there may be tickets among them, or an
        alert. For who has the turn to receive.
        """
        for _ in range(_MOST_ROUNDS):
            if self._at_end:
                return self._fault() or Input.END
            raw = receiving_ended or self.failed or self.driver.state is State.CLOSED
            try:
                if raw:
                    nothing = self._receive_raw()
                else:
                    nothing = isinstance(self.driver.read(RECORD), Need) and not self.receive()
            except AlertReceived as alert:
                return alert
            except TLSError:
                continue  # What the peer sends is of no interest any more.
            except OSError as fault:
                return fault
            if nothing:
                return (self._fault() if self.deaf else None) or Input.NOTHING
        return Input.MORE

    def _receive_raw(self) -> bool:
        """Receive for nobody; return whether there was nothing."""
        carrier = self.check_open()
        try:
            ended = not carrier.recv(_ROOM)
        except OSError as fault:
            if carrier.would_block(fault, READ):
                return True
            raise
        # The end of receiving is ours, and hides the peer's.
        self._at_end = ended and not self.deaf
        return ended and self.deaf

    def _fault(self) -> OSError | None:
        """Return what has befallen the transport: where an end was received, `recv` cannot tell."""
        fault = self.check_open().fault()
        if fault is not None and self.send_fault is None:
            self.send_fault = again(fault)
        return fault

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
        """End one or both directions of the stream, if it is one that can.

        The end of both destroys nothing that is on its way: the system is told of sending alone.
        """
        if self.carrier is None:
            return
        if how == socket.SHUT_RDWR:
            self.carrier.end_both()
        else:
            self.carrier.shutdown(how)
        self._fin_sent |= how != socket.SHUT_RD and is_plain(self.carrier.stream)

    def wake_reader(self) -> None:
        """Wake the thread that waits to receive: there is nothing to receive any more."""
        if self.carrier is not None:
            self.deaf = self.carrier.end_receiving()


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
