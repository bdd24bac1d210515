"""The state of one connection, without any I/O: what stands between a `TLSBuffer` and a transport.

Rules of this file:

- It knows no socket, no thread and no clock. Streams carry the bytes and hold the locks; whoever
  calls sees to it that there is one call at a time.
- It sees the interface alone, so that any implementation works under it.
- What is needed is returned as a value, a `Need`. What ends a connection is raised.
- The state changes in `_happened` alone, by the table (`polytls.states`).

Theory of operation. A `TLSBuffer` knows all of TLS, but tells its state only through what it
raises. The driver listens to that: each call on the buffer ends in a result or an error, each
of those is an `Event`, and the table says which `State` comes of it. What the transport delivers is
no event by itself. Bytes wait in the buffer, and the end of the transport behind them, until a
call comes to them; so everything that arrived in time is read before what went wrong after it.

The two directions end one by one (RFC 8446 6.1). We close with `close`; the peer's end shows when
a read finds it: as close_notify, or, if the transport just ended, as RaggedEOF. After that the peer
may still read (TLS 1.3). TLS 1.2 closes both directions at once (RFC 5246 7.2.1): its buffers
answer the peer's close_notify with their own, so that both events happen.

A transport that ends without close_notify is an error for those who read, unless the application
has said that it takes that for an end (`accepts_truncated_end`): then they get what close_notify
would give them. An end within a record stays an error: then something is missing for certain.

A buffer that has said that it needs more is not asked again before it has got more.

Giving up takes three forms, for drivers that wait with the help of an event loop. `abort`: nobody
wants the connection any more, be it closed by force or its task cancelled. `time_out`: a handshake
that takes too long has failed; a close that takes too long is over, as all that was expected is the
peer's goodbye. `pause`: the application takes no data for now, so none is brought; that is no
state, and what is discarded needs nobody to take it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, runtime_checkable

from .configuration import TLSServerConfiguration
from .constants import TLSVersion
from .errors import RaggedEOF, TLSError, WantReadError, WantWriteError
from .info import ConnectionInfo
from .interfaces import (
    SupportsEarlyData,
    SupportsInfo,
    SupportsOpen,
    SupportsPending,
    SupportsSeal,
    TLSBuffer,
)
from .states import COLUMNS, TABLE, WE_HAVE_CLOSED, Event, Need, State

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "CountsOutgoing",
    "Driver",
    "Event",
    "KeepsIncoming",
    "Need",
    "State",
]

_T = TypeVar("_T")


_READ: Final = Need.READ
_BOTH, _US, _PEER = State.CONNECTED, State.CLOSING_BY_US, State.CLOSING_BY_PEER

#: Plaintext that is opened ahead at a time: a record's worth (RFC 8446 5.1).
_RECORD: Final = 1 << 14


@runtime_checkable
class CountsOutgoing(Protocol):
    """A buffer that counts what goes out from the beginning, and keeps it until it has gone.

    An exception that a signal's handler raises can come between the return of a call and the use of
    its result. What `process_outgoing` has given is then lost; here it is only asked for again.
    """

    @property
    @abstractmethod
    def outgoing_end(self) -> int:
        """How many bytes there were to be sent from the beginning."""
        ...

    @abstractmethod
    def outgoing_from(self, position: int, /) -> bytes:
        """Return all from `position` on, and forget what comes before it."""
        ...


@runtime_checkable
class KeepsIncoming(Protocol):
    """A buffer that can show what came from the network and was not processed.

    For other buffers the driver keeps what it gave them.
    """

    @property
    @abstractmethod
    def unprocessed(self) -> bytes:
        """What waits to be processed: the bytes that `incoming_bytes_buffered` counts."""
        ...


class Driver:
    """One connection's state over its buffer. Not to be called by two threads at once."""

    __slots__ = (
        "_ahead",
        "_buffer",
        "_counted",
        "_established",
        "_given_up",
        "_held",
        "_keeper",
        "_open",
        "_outgoing",
        "_seal",
        "_starved",
        "_state",
        "_tail",
        "_transport_ended",
        "accepts_truncated_end",
        "data_end",
        "paused",
        "sent",
    )

    def __init__(self, buffer: TLSBuffer, *, accept_truncated_end: bool = False) -> None:
        self._buffer = buffer
        #: Whether the end of the transport is an end of data, as close_notify is.
        self.accepts_truncated_end = accept_truncated_end
        self._state = State.OPEN
        self._established = self._transport_ended = False
        #: Whether the application takes no data for now.
        self.paused = False
        #: What calls raise since the caller has given up.
        self._given_up: OSError | None = None
        #: Whether the buffer has said that it needs more, and has got nothing since.
        self._starved = False
        #: What came from the peer while the buffer was full, in order.
        self._held: list[bytes] = []
        #: Plaintext opened before anybody asked for it.
        self._ahead = bytearray()
        #: The buffer, if it counts; None if it does not.
        self._counted = buffer if isinstance(buffer, CountsOutgoing) else None
        #: The buffer, if it shows what waits in it; for any other, the end of what it was given.
        self._keeper = buffer if isinstance(buffer, KeepsIncoming) else None
        self._tail = bytearray()
        #: What the buffer does in one call, if it can.
        self._open = buffer.open if isinstance(buffer, SupportsOpen) else None
        self._seal = buffer.seal if isinstance(buffer, SupportsSeal) else None
        #: What was taken out of the buffer last, and how much had been sent before.
        self._outgoing = 0, b""
        #: How many bytes were sent since the beginning.
        self.sent = 0
        #: What `sent` is once the last data of the application has been sent. It is delivered once
        #: the peer has acknowledged that much (`polytls.delivery`).
        self.data_end = 0

    @property
    def buffer(self) -> TLSBuffer:
        """The buffer; to be asked for facts, never to be read or written past the driver."""
        return self._buffer

    @property
    def info(self) -> ConnectionInfo:
        """The facts of the connection, as far as the buffer tells."""
        buffer = self._buffer
        if isinstance(buffer, SupportsInfo):
            return buffer.info
        return ConnectionInfo(
            implementation="",
            version=buffer.negotiated_tls_version,
            cipher=buffer.cipher(),
            alpn=buffer.negotiated_protocol(),
        )

    @property
    def state(self) -> State:
        """How far the connection has come."""
        return self._state

    @property
    def established(self) -> bool:
        """Whether the handshake was completed, whatever happened since."""
        return self._established

    # --- the transport's side ---

    def receive(self, data: Buffer) -> None:
        """Take in what came from the peer; `b""` is the transport's end.

        Call if `receptive`; otherwise it is kept, however much it is. Nothing of `data` is used
        after the call.
        """
        if self._transport_ended:
            return
        self._starved = False
        self._transport_ended = not data
        if not self._held:
            try:
                self._give(data)
            except WantReadError:
                pass
            else:
                return
        self._held.append(bytes(data))

    @property
    def unprocessed(self) -> bytes:
        """What came from the peer and was not processed.

        Part of a record, where a call has said that it needs more. After the peer's close_notify:
        what came behind it, which is not TLS any more.
        """
        if self._keeper is not None:
            waiting = self._keeper.unprocessed
        else:
            self._trim_tail()
            waiting = bytes(self._tail)
        return waiting + b"".join(self._held)

    @property
    def receptive(self) -> bool:
        """Whether more can be taken in and is wanted.

        Otherwise something is to be read first, or the application has paused, or it is over.
        """
        return not (self._held or self._transport_ended or self.paused)

    def to_send(self) -> memoryview:
        """Return bytes to be sent next, empty if none wait. Who has sent adds to `sent`."""
        start, data = self._outgoing
        if self.sent - start == len(data) and self._given_up is None:
            start = self.sent
            if self._counted is not None:
                self._outgoing = start, self._counted.outgoing_from(start)
            elif waiting := self._buffer.outgoing_bytes_buffered():
                self._outgoing = start, self._buffer.process_outgoing(waiting)
            start, data = self._outgoing
        return memoryview(data)[self.sent - start :]

    def take_outgoing(self) -> bytes:
        """Return all that is to be sent as sent: for a transport that takes everything."""
        view = self.to_send()
        self.sent += len(view)
        if not (behind := self.to_send()):
            return bytes(view)
        self.sent += len(behind)
        return b"".join((view, behind))

    @property
    def unsent(self) -> int:
        """How many bytes wait to be sent."""
        if self._given_up is not None:
            return 0
        if self._counted is not None:
            return self._counted.outgoing_end - self.sent
        start, data = self._outgoing
        return start + len(data) - self.sent + self._buffer.outgoing_bytes_buffered()

    @property
    def flight_unsent(self) -> bool:
        """Whether bytes wait to be sent that a handshake does not end without.

        What a TLS 1.3 server has left to send after its handshake are session tickets (RFC 8446
        4.6.1). No handshake waits for a peer to take them: they are sent with the next call.
        """
        return self.unsent > 0 and not self.only_tickets_left

    @property
    def only_tickets_left(self) -> bool:
        """Whether whatever waits to be sent comes after the handshake, as tickets do."""
        return (
            self._established
            and self._buffer.negotiated_tls_version is TLSVersion.TLSv1_3
            and isinstance(self._buffer.context.configuration, TLSServerConfiguration)
        )

    # --- the application's side ---

    def handshake(self) -> Need | None:
        """Go on with the handshake; None: it is done, though its last bytes may be unsent.

        Send what `flight_unsent` tells of before you call it done.

        Raises what `TLSBuffer.do_handshake` raises, but for the two of `Need`.
        """
        self._refuse_if_given_up()
        if self._established:
            if self._state is State.FAILED:
                self._ask(self._buffer.do_handshake)
            return None
        if self._state is State.OPEN:
            self._happened(Event.STARTED)
        need = self._ask(self._buffer.do_handshake)
        if need is None:
            self._established = True
            self._happened(Event.ESTABLISHED)
        return need

    def write_early(self, data: Buffer) -> int:
        """Take what may go with the first flight, and return how much that is.

        Raises what `SupportsEarlyData.write_early_data` raises.
        """
        self._refuse_if_given_up()
        return self._with_early_data().write_early_data(data)

    def read_early(self, amount: int) -> bytes | Need:
        """Return up to `amount` bytes of early data, b"" once no more can come.

        Raises what `SupportsEarlyData.read_early_data` raises, but for the two of `Need`.
        """
        self._refuse_if_given_up()
        buffer = self._with_early_data()
        # Here it raises what is the caller's fault, and ends nothing.
        buffer.read_early_data(0)
        if self._state is State.OPEN:
            self._happened(Event.STARTED)
        # Some may wait although the handshake is starved.
        data = self._ask(lambda: buffer.read_early_data(amount), reads=False)
        if data == b"" and amount:
            # That may have completed the handshake.
            self.handshake()
        return data

    def drop_early(self) -> None:
        """Nobody will read what early data there is."""
        if isinstance(self._buffer, SupportsEarlyData):
            # What is wrong is found again; most connections have no early data at all.
            with suppress(TLSError):
                while self._buffer.read_early_data(_RECORD):
                    pass

    def _with_early_data(self) -> SupportsEarlyData:
        # Who drives it offers early data only if the buffer does.
        assert isinstance(self._buffer, SupportsEarlyData)  # noqa: S101
        return self._buffer

    def read(self, amount: int) -> bytes | Need:
        """Return up to `amount` bytes of data, b"" at the end; do the handshake first.

        Raises what `TLSBuffer.read` raises, but for the two of `Need`.
        """
        if self._ahead or not amount:
            data = bytes(self._ahead[:amount])
            del self._ahead[:amount]
            return data
        return self._get_ready() or self._read(amount)

    def read_close_notify(self) -> Need | None:
        """After `close`, where no data is left: None once the peer's close_notify has come.

        Raises as `read` does, and RaggedEOF whatever kind of end is accepted.
        """
        found = self._ask(lambda: self._buffer.read(1))
        if isinstance(found, Need):
            return found
        self._peer_has_closed()
        return None

    def read_into(self, view: memoryview) -> int | Need:
        """Fill `view` and return how much of it was filled, 0 at the end; otherwise as `read`."""
        if self._ahead or not view:
            count = min(len(view), len(self._ahead))
            view[:count] = self._ahead[:count]
            del self._ahead[:count]
            return count
        need = self._get_ready()
        if need is not None:
            return need
        try:
            filled = self._ask(lambda: self._buffer.read(len(view), view))
        except RaggedEOF as error:
            if not self._accepts(error):
                raise
            return 0
        if filled == 0:
            self._peer_has_closed()
        return filled  # type: ignore[return-value]  # With a buffer it is the count.

    def open(
        self, data: Buffer | None, amount: int, into: memoryview | None = None
    ) -> bytes | int | Need:
        """`receive` what came, unless it is None, and `read`, or `read_into` where `into` is given.

        In one call of the buffer, from where the ciphertext lies, if the buffer can. `unprocessed`
        knows nothing of that `data`, unless the buffer keeps it.
        """
        state = self._state
        if (
            self._open is None
            or (state is not _BOTH and state is not _US)
            or self._held
            or self._ahead
            or self._transport_ended
        ):
            if data is not None:
                self.receive(data)
            return self.read(amount) if into is None else self.read_into(into)
        if data is None:
            if self._starved:
                return _READ
        else:
            self._starved = False
            self._transport_ended = not data
        try:
            opened = self._open(data, amount, into)
        except WantReadError:
            # The buffer is full, and has not taken it: what it holds comes first.
            self._held.append(bytes(data or b""))
            return self.read(amount) if into is None else self.read_into(into)
        except TLSError as error:
            self._went_wrong(error)
            if not self._accepts(error):
                raise
            return b"" if into is None else 0
        if opened is None:
            self._starved = True
            return _READ
        if not opened:
            self._peer_has_closed()
        return opened

    def write(self, data: memoryview) -> int | Need:
        """Take some of `data` and return how much; do the handshake first.

        Raises what `TLSBuffer.write` raises, but for the two of `Need`; TLSError after `close`.
        """
        need = self._get_ready()
        if need is not None:
            return need
        if self._state in WE_HAVE_CLOSED:
            raise TLSError("this side of the connection has been shut down")
        if not data and self._state is not State.FAILED:
            return 0
        taken = self._ask(lambda: self._buffer.write(data), reads=False)
        if not isinstance(taken, Need):
            self.data_end = self.sent + self.unsent
        return taken

    def seal(self, data: Buffer) -> bytes:
        """Protect all of `data`; return it, behind what had to go before it, as sent.

        Only after the handshake, and for a transport that takes everything. Raises what `write`
        raises.
        """
        start, taken_out = self._outgoing
        open_to_us = self._state is _BOTH or self._state is _PEER
        if self._seal is not None and open_to_us and self.sent - start == len(taken_out):
            try:
                sealed = self._seal(data)
            except TLSError as error:
                self._went_wrong(error)
                raise
            self.sent += len(sealed)
            self._outgoing = self.sent, b""
            self.data_end = self.sent
            return sealed
        view = memoryview(data).cast("B")
        pieces: list[bytes] = []
        while view or not pieces:
            taken = self.write(view)
            if taken is Need.READ:
                raise TLSError("the handshake is not complete: nothing can be sent yet")
            view = view[taken:] if isinstance(taken, int) else view
            pieces.append(self.take_outgoing())
        return b"".join(pieces)

    def close(self) -> None:
        """Queue close_notify, once. The peer's is found by reading on.

        Raises TLSError before the handshake is done, and the error of a connection that failed.
        """
        self._refuse_if_given_up()
        if not self._established:
            raise TLSError("the handshake is not complete: there is no TLS session to shut down")
        if self._state in WE_HAVE_CLOSED:
            return
        self._happened(Event.CLOSE_SENT)
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        try:
            self._buffer.shutdown()
        except WantReadError:
            # It may be data that has to be read first, so this does not mean that it is starved.
            if self._offer_held():
                self._look_for_the_end()
            return
        except TLSError as error:
            # What was opened ahead comes before it, and the buffer will say it again.
            if self._ahead or (type(error) is TLSError and self._has_pending()):
                return
            self._went_wrong(error)
            if not isinstance(error, RaggedEOF):  # That is for those who read.
                raise
        else:
            if not self._ahead:
                self._happened(Event.PEER_CLOSED)

    def _has_pending(self) -> bool:
        """Whether data waits to be read; taken for granted of a buffer that does not tell."""
        return not isinstance(self._buffer, SupportsPending) or self._buffer.pending() > 0

    def discard(self) -> Need | None:
        """After `close`: read on for nobody; None: the peer's end was found, in order or not.

        Raises what `read` raises, but for RaggedEOF: there is nothing left to be cut short.
        """
        self.paused = False
        self.drop_early()
        try:
            while (data := self.read(_RECORD)) != b"":
                if isinstance(data, Need):
                    return data
        except RaggedEOF:
            if not self._established:
                raise
        return None

    def pause(self) -> None:
        """Bring nothing from the peer for now; `discard` takes it back."""
        self.paused = True

    def resume(self) -> None:
        """Go on bringing."""
        self.paused = False

    def abort(self) -> None:
        """Give up: nothing more is to be read, written or sent."""
        self._give_up(Event.ABORTED, TLSError("the connection was given up"))

    def time_out(self, error: OSError) -> None:
        """Give up a handshake or a close that has taken too long; later calls raise `error`."""
        self._give_up(Event.TIMED_OUT, error)

    def _give_up(self, event: Event, error: OSError) -> None:
        self._happened(event)
        if self._given_up is None:
            self._given_up = error
        self._outgoing = self.sent, b""
        self._ahead.clear()

    # --- reading ahead ---

    def pending(self) -> int:
        """Return how much data can be read without the transport's help.

        Opens some if that takes it: who asks is about to wait for a descriptor, which knows
        nothing of what the buffer holds.
        """
        if not self._ahead and self._buffer.incoming_bytes_buffered():
            self.look_ahead()
        more = self._buffer.pending() if isinstance(self._buffer, SupportsPending) else 0
        return len(self._ahead) + more

    def look_ahead(self, *, past_early_data: bool = True) -> bool:
        """Open data before it is asked for; False if there is none. The next reads get it.

        Errors, the end and `Need`s stay where they are, for those reads; the state tells.

        Raises TLSError only without `past_early_data`, if any waits.
        """
        if not self._established or self._given_up is not None:
            return False
        try:
            data = self._read(_RECORD)
        except TLSError as error:
            # The base class alone is for calls at the wrong time.
            if type(error) is TLSError and not past_early_data:
                raise
            return False
        if isinstance(data, Need):
            return False
        self._ahead += data
        return bool(data)

    @property
    def ahead(self) -> int:
        """How much data was opened ahead."""
        return len(self._ahead)

    # --- inside ---

    def _get_ready(self) -> Need | None:
        self._refuse_if_given_up()
        return None if self._established else self.handshake()

    def _read(self, amount: int) -> bytes | Need:
        try:
            data = self._ask(lambda: self._buffer.read(amount))
        except RaggedEOF as error:
            if not self._accepts(error):
                raise
            return b""
        if data == b"":
            self._peer_has_closed()
        return data  # type: ignore[return-value]  # Without a buffer it is bytes.

    def _ask(self, call: Callable[[], _T], *, reads: bool = True) -> _T | Need:
        """Call the buffer; what it raises becomes a need, or an event and an error."""
        while not (reads and self._starved and self._state is not State.FAILED):
            try:
                result = call()
            except WantReadError:
                # It has emptied itself: there is room for what it did not take.
                self._starved = True
                if not self._offer_held():
                    return Need.READ
            except WantWriteError:
                return Need.WRITE
            except TLSError as error:
                self._went_wrong(error)
                raise
            else:
                self._offer_held()
                return result
        return Need.READ

    def _offer_held(self) -> bool:
        """Whether some of what was held fits in by now."""
        taken = False
        while self._held:
            try:
                self._give(self._held[0])
            except WantReadError:
                break
            del self._held[0]
            self._starved = False
            taken = True
        return taken

    def _give(self, data: Buffer) -> None:
        self._buffer.process_incoming(data)
        if self._keeper is None:
            self._tail += data
            self._trim_tail()

    def _trim_tail(self) -> None:
        del self._tail[: max(0, len(self._tail) - self._buffer.incoming_bytes_buffered())]

    def _went_wrong(self, error: TLSError) -> None:
        if self._established and isinstance(error, RaggedEOF) and not error.during_handshake:
            self._happened(Event.TRANSPORT_ENDED)
        elif type(error) is not TLSError or not self._established:
            # After the handshake the base class alone is for calls at the wrong time.
            self._happened(Event.ERROR)

    def _accepts(self, error: TLSError) -> bool:
        """Whether those who read are to take this for the end of the data."""
        return (
            self.accepts_truncated_end
            and isinstance(error, RaggedEOF)
            and not error.during_handshake
            and not self._buffer.incoming_bytes_buffered()
        )

    def _peer_has_closed(self) -> None:
        self._happened(Event.PEER_CLOSED)
        if self._buffer.negotiated_tls_version is TLSVersion.TLSv1_2:
            self._happened(Event.CLOSE_SENT)

    def _refuse_if_given_up(self) -> None:
        if self._given_up is not None:
            raise type(self._given_up)(*self._given_up.args)

    def _happened(self, event: Event) -> None:
        after = TABLE[self._state][COLUMNS[event]]
        if after is None:
            raise RuntimeError(f"{event} cannot happen in {self._state}")
        self._state = after
