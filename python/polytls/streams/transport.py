"""A connection and the byte stream under it: calls that return at once, and what they found out.

Rules:

- All of this is under the socket's lock. Waiting is not done here.
- The first fault in each direction is latched. One in sending does not stop receiving: what the
  peer said before it went away, an alert above all, is still there to be read.
- Of the byte stream, `recv` and `send` are used, and `shutdown` where there is one; it must not
  block. So anything with these will do, another TLS socket for one.
"""

from __future__ import annotations

import socket
from abc import abstractmethod
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol

from ..driver import Driver, Need, State
from ..errors import TLSError, WantReadError, WantWriteError
from ..interfaces import TLSSocket
from .sockets import closed
from .waiting import READ, WRITE, Interest

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["RECORD", "ByteStream", "Transport", "again", "close_stream"]

#: The most plaintext of one record (RFC 8446 5.1).
RECORD: Final = 16 * 1024
#: Sealed and sent at a time, and sealed under one hold of the lock: 16 records.
_CHUNK: Final = 4 * RECORD
_BATCH: Final = 16 * RECORD
#: Received at a time.
_ROOM: Final = 64 * 1024
#: Opened ahead, at most, in search of an alert.
_AHEAD: Final = 128 * 1024

#: What a stream that must not block raises where it would.
_BLOCKED: Final = (BlockingIOError, WantReadError, WantWriteError)


class ByteStream(Protocol):
    """What a connection needs of whatever carries its bytes."""

    @abstractmethod
    def recv(self, bufsize: int, /) -> bytes:
        """Return what is there, b"" at the end; raise if nothing is."""
        ...

    @abstractmethod
    def send(self, data: Buffer, /) -> int:
        """Take some of `data` and return how much; raise if nothing can be taken."""
        ...

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        ...

    @abstractmethod
    def close(self) -> None:
        """Close it."""
        ...


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
        "driver",
        "send_fault",
        "stream",
    )

    def __init__(self, driver: Driver, stream: ByteStream) -> None:
        self.driver = driver
        #: None once closed.
        self.stream: ByteStream | None = stream
        self.send_fault: OSError | None = None
        self._receive_fault: OSError | None = None
        #: Something is being received. Left so by an exception that came from outside.
        self._torn = False
        self._farewell = _Farewell.NOT_BEGUN

    def check_open(self) -> ByteStream:
        """Return the stream; raises OSError once it is closed."""
        if self.stream is None:
            raise closed()
        return self.stream

    @property
    def failed(self) -> bool:
        """Whether a fatal error has ended the connection."""
        return self.driver.state is State.FAILED

    # --- ciphertext ---

    @property
    def has_unsent(self) -> bool:
        """Whether there is something that the stream may take one day."""
        return self.send_fault is None and self.driver.unsent > 0

    def flush(self) -> None:
        """Send as much of what is sealed as the stream takes; a fault is latched."""
        stream = self.check_open()
        while self.send_fault is None and (data := self.driver.to_send()):
            try:
                # A loop takes what a call returns without looking for signals in between: what was
                # sent is known, whatever a handler raises.
                for count in map(stream.send, (data,)):
                    self.driver.sent += count
            except _BLOCKED:
                return
            except OSError as fault:
                self.send_fault = fault
                return

    def receive(self) -> bool:
        """Take in what the stream has, once. True: there is news, the end included.

        Raises the fault that ended receiving, again and again.
        """
        if self._receive_fault is not None:
            raise again(self._receive_fault)
        if not self.driver.receptive:
            return False
        stream = self.check_open()
        if self._torn:
            # Going on with a hole in the stream of records would not be noticed here, but there.
            raise TLSError("internal error: a signal's handler has raised while data was taken in")
        self._torn = True
        try:
            data = stream.recv(_ROOM)
        except _BLOCKED:
            self._torn = False
            return False
        except OSError as fault:
            self._receive_fault = fault
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
        stream = self.check_open()
        for _ in range(16):
            try:
                if not stream.recv(8192):
                    return True
            except _BLOCKED:
                return False
        return False

    @property
    def farewell_begun(self) -> bool:
        """Whether `farewell` was called before."""
        return self._farewell is not _Farewell.NOT_BEGUN

    def farewell(self) -> Interest | None:
        """Go on telling the peer of a failure; return what that waits for, None when it is done."""
        if self.stream is None:
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
        with suppress(OSError, AttributeError):
            self.stream.shutdown(how)  # type: ignore[union-attr]


def close_stream(stream: ByteStream) -> None:
    """Close a stream without waiting for anything; TLS below TLS says goodbye, if it can."""
    if isinstance(stream, socket.socket) or not isinstance(stream, TLSSocket):
        stream.close()
        return
    with suppress(OSError):
        try:
            stream.close(force=True)
        except WantWriteError:
            stream.close(force=True)


def again(fault: OSError) -> OSError:
    """Return a fault as if it had just happened."""
    return type(fault)(*fault.args)
