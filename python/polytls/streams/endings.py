"""How a connection ends: orderly, in one direction, by force, in plaintext, or in another process.

| call | close_notify | waits for the peer's | the descriptor |
| --- | --- | --- | --- |
| `close()` | sent | yes | closed |
| `close(force=True)`, `with` | sent | no | closed |
| `shutdown(SHUT_WR)` | sent | no | stays |
| `unwrap()` | sent | yes | given back, to go on in plaintext |
| `detach()` | no | no | given away |
| dropped, or closed after fork() in the child | no | no | closed |

While files that `makefile` has made are open, `close` only remembers; closing the last one closes
with force, as nobody is there to wait.
"""

from __future__ import annotations

import errno
import socket
import warnings
from contextlib import suppress
from typing import Any, Final

from ..driver import Driver, Need, State
from ..errors import TLSError, WantReadError, WantWriteError
from ..fork import inherited
from ..interfaces import TLSBuffer, TLSSocket
from .carrier import Carrier, is_plain
from .sockets import SocketBase, check_direction, not_connected
from .transport import RECORD
from .turns import Turns
from .waiting import WRITE, Deadline, Interest

__all__ = ["CLOSE_TIMEOUT", "Endings"]

#: How long `close` may take where there is no timeout, in seconds.
CLOSE_TIMEOUT: Final = 5.0


class Endings(SocketBase):
    """A connection, as far as its end is concerned."""

    __slots__ = ("_close_tried", "_closed", "_driver", "_io_refs", "_turns_there")

    _kind = "connection; connect() of a server context gives listeners"

    def __init__(self, carrier: Carrier, buffer: TLSBuffer, timeout: float | None) -> None:
        super().__init__(buffer.context, carrier.stream, timeout)
        self._driver = Driver(buffer)
        self._turns_there = Turns(self._driver, carrier)
        #: A forced close has said that it would block.
        self._close_tried = False
        self._io_refs = 0
        self._closed = False

    @property
    def _turns(self) -> Turns:
        """The way to everything that has a lock."""
        if self._inherited:
            raise inherited(
                "connection", "close it here, and connect or accept anew in this process"
            )
        return self._turns_there

    def _below(self) -> Any:
        return self._turns.transport.check_open().stream

    # --- close ---

    def close(self, force: bool = False) -> None:
        """End the connection: send close_notify and, unless `force`, wait for the peer's.

        The timeout holds for all of it; none means `CLOSE_TIMEOUT` here. A connection that failed,
        or whose handshake is not complete, is just closed. After fork, in the child, too: its
        descriptor there is closed, and the peer hears nothing.
        """
        if self._io_refs:
            self._closed = True
        elif self._inherited:
            self._leave_inherited()
        else:
            self._close(force)

    def _close(self, force: bool) -> None:
        turns = self._turns
        try:
            with turns.lock:
                if turns.transport.carrier is None:
                    return
                orderly = self._driver.established and not turns.transport.failed
                keeps_time = turns.transport.carrier.keeps_time
                if not orderly and self._driver.state is not State.OPEN:
                    turns.transport.flush()
            if orderly:
                timeout = self._timeout
                limit = CLOSE_TIMEOUT if timeout is None and keeps_time else timeout
                deadline = Deadline.after(limit)
                if force:
                    self._say_goodbye(deadline)
                else:
                    self._exchange_goodbyes(deadline)
        except (WantReadError, WantWriteError):
            raise
        except BaseException:
            if not turns.release():
                return  # Another thread has closed it meanwhile.
            raise
        else:
            turns.release()

    def _say_goodbye(self, deadline: Deadline) -> None:
        """Send close_notify; that the peer has gone is no error."""
        turns = self._turns
        while True:
            with turns.lock:
                with suppress(TLSError):
                    self._driver.close()
                turns.transport.flush()
                # Where another thread sends, to a peer that takes nothing, no goodbye comes before
                # its data.
                if not turns.transport.has_unsent or turns.somebody_sends:
                    return
                if deadline.non_blocking and self._close_tried:
                    return
                self._close_tried = deadline.non_blocking
            turns.wait(WRITE, deadline)

    def _exchange_goodbyes(self, deadline: Deadline) -> None:
        """Send close_notify and read until the peer's; late data is discarded."""
        turns = self._turns

        def attempt() -> Need | None:
            turns.transport.flush()
            while not turns.receiving_ended and (data := self._driver.read(RECORD)) != b"":
                if isinstance(data, Need):
                    return data
            return Need.WRITE if turns.transport.has_unsent else None

        try:
            with turns.lock:
                self._driver.close()
                self._driver.drop_early()
                turns.closing = True
                turns.transport.flush()
        except TLSError as error:
            told = turns.told(error, deadline)
            raise told from told.__cause__
        try:
            with turns.to_receive(deadline):
                turns.drive(attempt, deadline, sends=True)
        except (TLSError, TimeoutError):
            raise
        except OSError:
            # Both have said what there was to say, the peer has only not waited for ours.
            if self._driver.state is not State.CLOSED:
                raise

    # --- one direction ---

    def shutdown(self, how: int, /) -> None:
        """End sending (`socket.SHUT_WR`: close_notify is sent), receiving, or both.

        SHUT_RDWR also ends the TCP connection.
        """
        check_direction(how)
        turns = self._turns
        with turns.lock:
            turns.transport.check_open()
            if not self._driver.established:
                raise not_connected()
            if how != socket.SHUT_WR:
                turns.receiving_ended = True
        if how != socket.SHUT_RD:
            self._end_sending(Deadline.after(self._timeout))
        if how != socket.SHUT_WR:
            with turns.lock:
                # Of SHUT_RD the peer knows nothing; it wakes who waits.
                turns.transport.end(how)

    def _end_sending(self, deadline: Deadline) -> None:
        turns = self._turns
        try:
            with turns.lock:
                turns.transport.check_open()
                self._driver.close()
        except TLSError as error:
            told = turns.told(error, deadline)
            raise told from told.__cause__
        while True:
            with turns.lock:
                turns.transport.flush()
                if turns.transport.send_fault is None and not turns.transport.has_unsent:
                    return
                if turns.transport.send_fault is not None and not self._driver.unsent:
                    return  # It had been sent before.
            if turns.transport.send_fault is not None:
                raise turns.broken(deadline)
            turns.wait(WRITE, deadline)

    # --- back to plaintext ---

    def unwrap(self) -> Any:
        """End TLS in both directions, and give back what is below it; this socket is then closed.

        What came together with the peer's close_notify is received first (`UnwrappedSocket`,
        `UnwrappedStream`).
        """
        turns, driver = self._turns, self._driver
        deadline = Deadline.after(self._timeout)

        def attempt() -> Need | None:
            turns.transport.by_records = True
            self._refuse_to_discard()
            driver.close()
            self._refuse_to_discard()
            turns.transport.flush()
            end = driver.read(1)
            if isinstance(end, Need):
                return end
            return Need.WRITE if turns.transport.has_unsent else None

        with turns.to_receive(deadline), turns.to_send(deadline):
            try:
                if not driver.established:
                    raise TLSError("the handshake is not complete: there is no TLS to end")
                if turns.receiving_ended:
                    raise TLSError("receiving was ended: the peer's close_notify would be lost")
                turns.closing = True
                turns.drive(attempt, deadline, sends=True)
                with turns.lock:
                    carrier = turns.let_go()
            finally:
                turns.closing = turns.transport.by_records = False
            return carrier.give_back(self._timeout, driver.unprocessed + carrier.unread)

    def _refuse_to_discard(self) -> None:
        driver = self._driver
        if driver.ahead or driver.look_ahead(past_early_data=False):
            raise TLSError("there is data that was not received yet: recv it, then unwrap again")

    def detach(self) -> int:
        """Return the descriptor and let go of it, with nothing said to the peer; -1 once closed.

        Calls that wait for the peer go on waiting for it, and then say that it is closed.
        """
        turns = self._turns
        with turns.lock:
            if turns.transport.carrier is None:
                return -1
            stream = turns.transport.carrier.stream
            if not hasattr(stream, "detach"):
                raise OSError(errno.ENOTSOCK, "the stream below is no socket: no descriptor")
            stream.settimeout(self._timeout)
            descriptor: int = stream.detach()
            turns.let_go()
            return descriptor

    # --- without a word ---

    def abandon(self) -> None:
        """Close the descriptor without a word to the peer, as dropping the socket does."""
        if self._inherited:
            self._leave_inherited()
        else:
            self._turns.release()

    def farewell(self) -> Interest | None:
        """Go on telling the peer of a failure; return what that waits for, None when it is done."""
        return self._turns.farewell()

    def _leave_inherited(self) -> None:
        """Close this process's descriptor. No lock is taken, as nobody might ever release it."""
        transport = self._turns_there.transport
        carrier, transport.carrier = transport.carrier, None
        if carrier is None:
            return
        if is_plain(carrier.stream):
            carrier.stream.close()
        elif isinstance(carrier.stream, TLSSocket):
            carrier.stream.close(force=True)
        # Of anything else it is not known whether closing says something to the peer.

    def __del__(self) -> None:
        # Whoever waits holds the socket, so nobody does. A constructor may have failed.
        turns: Turns | None = getattr(self, "_turns_there", None)
        carrier = None if turns is None else turns.transport.carrier
        if carrier is None:
            return
        try:
            if not self._inherited:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        finally:
            if is_plain(carrier.stream):
                carrier.stream.close()
