"""How a connection ends: orderly, in one direction, by force, in plaintext, or in another process.

| call | close_notify | waits for | the descriptor |
| --- | --- | --- | --- |
| `close()`, `with` | sent | delivery | closed |
| `close(force=True)`, `with` that an exception leaves | sent | nothing | closed |
| `shutdown(SHUT_WR)` | sent | nothing | stays |
| `close(force=True)` after that | sent before | delivery | closed |
| `unwrap()` | sent | the peer's close_notify | given back, to go on in plaintext |
| `detach()` | no | nothing | given away |
| dropped, or closed after fork() in the child | no | nothing | closed |

Delivery: the peer's TCP has acknowledged what was sent; ARCHITECTURE.md ("Endings") has the rule.
A non-blocking `close` waits for nothing: it raises until the peer's close_notify has come.

While files that `makefile` has made are open, `close` only remembers; closing the last one closes
the connection, as leaving `with` does.
"""

from __future__ import annotations

import errno
import socket
import time
import warnings
from contextlib import suppress
from typing import Any

from ..delivery import CLOSE_TIMEOUT, naps
from ..driver import Driver, Need, State
from ..errors import AlertReceived, TLSError, WantReadError, WantWriteError
from ..fork import inherited
from ..interfaces import TLSBuffer, TLSSocket
from .carrier import Carrier, is_plain
from .sockets import (
    SocketBase,
    check_direction,
    not_connected,
    undelivered,
    want_read,
    want_write,
)
from .transport import Input, again
from .turns import Turns
from .waiting import AT_ONCE, NOTHING, WRITE, Deadline, Interest

__all__ = ["CLOSE_TIMEOUT", "Endings"]


class Endings(SocketBase):
    """A connection, as far as its end is concerned."""

    __slots__ = ("_close_tried", "_closed", "_driver", "_io_refs", "_turns_there")

    _kind = "connection; connect() of a server context gives listeners"

    def __init__(
        self,
        carrier: Carrier,
        buffer: TLSBuffer,
        timeout: float | None,
        *,
        accept_truncated_end: bool,
    ) -> None:
        super().__init__(buffer.context, carrier.stream, timeout)
        self._driver = Driver(buffer, accept_truncated_end=accept_truncated_end)
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
        """End the connection: send close_notify and, unless `force`, wait until all is delivered.

        The wait takes the timeout or `CLOSE_TIMEOUT`, whichever is less, and no time if all was
        delivered before. A connection that failed, or whose handshake is not complete, is just
        closed. After fork, in the child, too: its descriptor there is closed, and the peer hears
        nothing. `polytls.TLSSocket.close` has the errors.
        """
        if self._io_refs:
            self._closed = True
        elif self._inherited:
            self._leave_inherited()
        else:
            self._close(force)

    def _leave(self) -> None:
        try:
            self.close()
        except (WantReadError, WantWriteError):
            turns = self._turns
            with turns.lock:
                lost = turns.transport.untaken()
            if turns.release() and lost:
                raise undelivered(lost) from None

    def _close(self, force: bool) -> None:
        turns = self._turns
        try:
            with turns.lock:
                carrier = turns.transport.carrier
                if carrier is None:
                    return
                orderly = self._driver.established and not turns.transport.failed
                if not orderly and self._driver.state is not State.OPEN:
                    turns.transport.flush()
            if orderly:
                deadline = Deadline.after(self._timeout)
                if carrier.keeps_time:
                    deadline = deadline.at_most(CLOSE_TIMEOUT)
                if force:
                    self._end_by_force(deadline)
                else:
                    self._end_in_order(deadline)
        except (WantReadError, WantWriteError):
            raise
        except BaseException:
            if not turns.release():
                return  # Another thread has closed it meanwhile.
            raise
        else:
            turns.release()

    def _end_by_force(self, deadline: Deadline) -> None:
        has_closed = self._driver.state in (State.CLOSING_BY_US, State.CLOSED)
        if not has_closed or self._turns.somebody_sends or deadline.non_blocking:
            self._say_goodbye(deadline)
            return
        try:
            self._settle(deadline)
        except TimeoutError:
            raise
        except OSError:
            pass  # The peer has gone.

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

    def _end_in_order(self, deadline: Deadline) -> None:
        """Send close_notify and a FIN, and wait if there is a reason to."""
        turns = self._turns
        try:
            with turns.lock:
                carrier = turns.transport.check_open()
                is_idle = not turns.transport.undelivered()
                self._driver.close()
                self._driver.drop_early()
                turns.closing = True
        except TLSError as error:
            told = turns.told(error, deadline)
            raise told from told.__cause__
        if deadline.non_blocking:
            self._exchange_goodbyes()
        elif not carrier.keeps_time or (is_idle and not carrier.selectable):
            # A wait that nothing limits could last for ever: what the stream has taken it delivers.
            self._say_goodbye(deadline)
        elif not is_idle:
            self._settle(deadline)
        else:
            # It takes in the tickets that are there.
            with turns.to_receive_if_free() as reads:
                self._look(reads=reads)

    def _exchange_goodbyes(self) -> None:
        """Raise what is to be waited for until the peer's close_notify or its end has come."""
        turns = self._turns
        transport = turns.transport
        with turns.to_receive_if_free() as reads:
            came = self._look(reads=reads)
        if self._is_broken_off(came):
            return
        if transport.has_unsent:
            raise want_write()
        if not transport.peer_has_ended and not turns.receiving_ended:
            raise want_read()

    def _settle(self, deadline: Deadline) -> None:
        """Wait until the peer has acknowledged all that there was to say, reading out meanwhile.

        A peer that is not read from may never come to read. Raises an error only if data is
        unacknowledged.
        """
        turns = self._turns
        transport = turns.transport
        for nap in naps():
            with turns.to_receive_if_free() as reads:
                came = self._look(reads=reads)
                with turns.lock:
                    if transport.settled:
                        return
                    left = transport.undelivered()
                    interest = Interest(
                        read=reads and transport.may_become_readable, write=transport.has_unsent
                    )
                    looks_again = transport.tells_acknowledged and not interest.write
                if self._is_broken_off(came):
                    return
                if deadline.passed:
                    if left:
                        raise undelivered(left)
                    return
                if came is Input.MORE:
                    continue
                if interest == NOTHING:
                    time.sleep(nap)
                    continue
                with suppress(TimeoutError):
                    turns.wait(interest, deadline.at_most(nap) if looks_again else deadline)

    def _look(self, *, reads: bool) -> Input | OSError:
        """Send and, for who has the turn, read out what can be; return what came."""
        turns = self._turns
        with turns.lock:
            turns.transport.check_open()
            turns.transport.flush()
            turns.transport.finish_sending()
            if not reads:
                return Input.NOTHING
            return turns.transport.read_out(receiving_ended=turns.receiving_ended)

    def _is_broken_off(self, came: Input | OSError) -> bool:
        """Whether sending or receiving is over; raises why, if data was not delivered."""
        turns = self._turns
        transport = turns.transport
        with turns.lock:
            fault = came if isinstance(came, OSError) else transport.send_fault
            if fault is None:
                return False
            if not transport.undelivered():
                return True
        if isinstance(fault, AlertReceived):
            raise fault
        # The peer's own reason is the better one.
        reason = turns.broken(AT_ONCE)
        raise reason if isinstance(reason, AlertReceived) else again(fault)

    # --- one direction ---

    def shutdown(self, how: int, /) -> None:
        """End sending (`socket.SHUT_WR`: close_notify is sent), receiving, or both.

        SHUT_RDWR also ends our side of the TCP connection.
        """
        check_direction(how)
        turns = self._turns
        with turns.lock:
            turns.transport.check_open()
            if not self._driver.established:
                raise not_connected()
            if how != socket.SHUT_WR:
                turns.receiving_ended = True
                if turns.somebody_receives:
                    turns.transport.wake_reader()
        if how == socket.SHUT_RD:
            return
        deadline = Deadline.after(self._timeout)
        self._end_sending(deadline)
        if how == socket.SHUT_RDWR:
            if turns.transport.deaf and not deadline.non_blocking:
                self._settle(deadline.at_most(CLOSE_TIMEOUT))
            with turns.lock:
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
            need = driver.read_close_notify()
            if need is not None:
                return need
            return Need.WRITE if turns.transport.has_unsent else None

        with turns.to_receive(deadline), turns.to_send(deadline):
            try:
                if not driver.established:
                    raise TLSError("unwrap() requires a completed handshake")
                if turns.receiving_ended:
                    raise TLSError("unwrap() needs to receive, but receiving was shut down")
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
        elif _is_tls(carrier.stream):
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


def _is_tls(stream: object) -> bool:
    """Whether it is a TLS socket; one that was inherited, too, may refuse to be asked for facts."""
    try:
        return isinstance(stream, TLSSocket)
    except TLSError:
        return True
