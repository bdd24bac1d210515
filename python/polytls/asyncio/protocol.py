"""The protocol between a transport of the event loop's and an application's protocol.

```text
   application's protocol  <--  data_received, eof_received, connection_lost
            |
      TLSTransport         -->  write, close, pause_reading
            |
       TLSProtocol               the TLS connection (a native handle), timers, how far it has come
            |
    transport of the loop        a TCP or Unix socket, or another TLSTransport
```

Rules of this file:

- Nothing is buffered here. What the application writes is sealed at once and given to the
  transport below, whose watermarks are therefore the connection's; what comes is opened at once
  and given to the application, and where that has paused, the transport below is paused.
- How far the connection has come is its `State`. It says who gets what comes (`_choose`): the
  handshake, the application, nobody. Whoever changes the state, pauses, or finds the peer's end has
  it chosen anew.
- What comes is handed on by `_advance`, which the loop calls, so that no call of the application's
  leads back into one. What cannot be handed on yet is queued, in order.
- While a step of the handshake runs in a worker thread, the handle is the thread's.
- The application hears of the end once, by `connection_lost`, when the transport below is closed:
  with None after an end in order, with the error otherwise. How connections end is in
  `polytls.asyncio.endings`.
- A connection that is lost refers to nothing that refers to it, so that it is freed without the
  garbage collector.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from ..errors import RaggedEOF, TLSError
from ..handles import handle_of, handshake_may_block
from ..interfaces import TLSBuffer
from ..unread import all_of, another
from .endings import Ending, leave, register, undelivered
from .transport import TLSTransport

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["LINGER", "State", "TLSProtocol"]

_log = logging.getLogger("polytls.asyncio")

#: How long the peer is read from, at most, after a handshake was refused, in seconds: closing with
#: something unread sends a reset, and that overtakes the alert.
LINGER: Final = 2.0

#: Received at a time, and handed over at a time.
_ROOM: Final = 256 * 1024
#: Sealed at a time.
_CHUNK: Final = 256 * 1024

#: Memory to receive into, lent to a connection from `get_buffer` to `buffer_updated`, so that one
#: that waits holds none. Shared by all loops: each call on a list is atomic.
_spares: list[memoryview] = []
_MOST_SPARES: Final = 4


class State(Enum):
    """How far a connection has come."""

    HANDSHAKING = auto()
    #: A step of the handshake is with a worker thread.
    AT_WORK = auto()
    #: Data flows both ways, until the peer ends its direction.
    OPEN = auto()
    #: The application has ended ours by `write_eof`.
    WRITE_ENDED = auto()
    #: `close`: what comes is discarded, until the peer has all data.
    CLOSING = auto()
    #: It was refused, has failed or was given up: the transport below is being closed.
    OVER = auto()
    #: The transport below is closed.
    LOST = auto()


_HANDSHAKING, _AT_WORK, _OPEN, _WRITE_ENDED, _CLOSING, _OVER, _LOST = State


class TLSProtocol(asyncio.BufferedProtocol):
    """One connection. `connect_app`: the application's protocol is told when it begins.

    `waiter`: a future for the handshake: it gets the application's transport, or the error when the
    transport below is closed. `accept_truncated_end`: as `create_connection` has it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        app: asyncio.BaseProtocol,
        buffer: TLSBuffer,
        handshake_timeout: float,
        shutdown_timeout: float,
        *,
        waiter: asyncio.Future[TLSTransport] | None = None,
        connect_app: bool = True,
        accept_truncated_end: bool = False,
    ) -> None:
        self.state = _HANDSHAKING
        self.loop = loop
        #: What the context made, to be asked for facts; and the connection itself.
        self.buffer = buffer
        self.tls = handle_of(buffer, accept_truncated_end=accept_truncated_end)
        #: The application's, from the end of the handshake to the end of the connection.
        self.transport: TLSTransport | None = None
        #: The transport below.
        self.below: asyncio.Transport
        #: Whether the application takes no data for now.
        self.paused = False
        #: The peer's end was found: nothing more is handed on.
        self.peer_ended = False
        #: The transport below has been told to send its end.
        self.after_fin = False
        self._ending: Ending | None = None
        #: What ended the connection, where that is not for the transport below to say.
        self._error: BaseException | None = None
        self._waiter = waiter
        self._handshake_timeout = handshake_timeout
        self._shutdown_timeout = shutdown_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._may_block = handshake_may_block(buffer.context)
        self._advance: Callable[[Buffer | None], None] = self._shake
        self._scratch: memoryview | None = None
        #: What came and waits for `_advance`.
        self._came: list[bytes] = []
        #: The application's protocol has been told of the connection, and not yet of its end.
        self._app_connected = not connect_app
        #: The transport below has more than it likes, or was broken when we closed.
        self._below_full = self._broken_below = False
        self.set_app(app)

    def set_app(self, app: asyncio.BaseProtocol) -> None:
        """Hand data to `app` from now on."""
        if self.state is not _LOST:
            self.app: Any = app
            self._app_is_buffered = isinstance(app, asyncio.BufferedProtocol)

    @property
    def closing(self) -> bool:
        """Whether nothing is handed to the application any more, nor taken from it."""
        return self.state in (_CLOSING, _OVER, _LOST)

    # --- what the transport below calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the handshake."""
        self.below = transport  # type: ignore[assignment]  # There is no other kind of stream.
        self.call_later(self._handshake_timeout, self._handshake_took_too_long)
        self._step()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the more the better
        """Lend memory to receive into."""
        scratch = self._scratch
        if scratch is None:
            try:
                scratch = _spares.pop()
            except IndexError:
                scratch = memoryview(bytearray(_ROOM))
            self._scratch = scratch
        return scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Take in what came, and hand on what comes of it."""
        scratch = self._scratch
        if scratch is None:
            raise RuntimeError("buffer_updated() was called without get_buffer()")
        self._scratch = None
        self._step(scratch[:nbytes])
        if len(_spares) < _MOST_SPARES:
            _spares.append(scratch)

    def eof_received(self) -> bool:
        """Take in the end; the transport below is closed by us, when all was read."""
        if self.state is _OVER:
            self.below.close()
        else:
            self._step(b"")
        return True

    def pause_writing(self) -> None:
        """Tell the application to hold back."""
        self._below_full = True
        if self._app_connected:
            self.app.pause_writing()

    def resume_writing(self) -> None:
        """Tell the application to go on."""
        self._below_full = False
        if self._app_connected:
            self.app.resume_writing()
        if self.state is not _AT_WORK and self.state is not _OVER:
            self._answer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell everybody."""
        if isinstance(exc, OSError) and self._error is None and self.state is not _AT_WORK:
            self._look_for_reason()
        self.call_later(0, None)
        leave(self)
        error = self._error or self._judged(exc)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(
                error or ConnectionAbortedError("the connection was aborted")
            )
        elif self.transport is None:
            peer = self.below.get_extra_info("peername")
            _log.debug("a handshake with %s failed: %s", peer, error)
        app = self.app if self._app_connected else None
        # These lead back here.
        self._waiter = self._error = self._ending = self._scratch = None
        self.transport = self.app = None
        self._came.clear()
        # A worker thread may have it; `_worked` comes back to it then.
        self.tls._abort()
        self._become(_LOST)
        if app is not None:
            self._app_connected = False
            app.connection_lost(error)

    def _judged(self, exc: BaseException | None) -> BaseException | None:
        """A reset after all was said and delivered takes nothing away."""
        # What had not been sent is no longer in the transport below. But that was told to call
        # `resume_writing` when everything has gone.
        known = self.closing and not (self._below_full or self._broken_below)
        delivered = known and self.undelivered() == 0
        return None if delivered and isinstance(exc, ConnectionError) else exc

    def undelivered(self) -> int | None:
        """Return how many bytes of data the peer may not have; None: it cannot be told."""
        # Before the end of the handshake there is none, and a worker thread may have the handle.
        if self.transport is None:
            return 0
        return undelivered(self.tls, self.below, after_fin=self.after_fin)

    # --- what the application calls, through its transport ---

    def write(self, data: Buffer) -> None:
        """Seal and send."""
        if self.state is not _OPEN:
            if self.state is _WRITE_ENDED:
                raise RuntimeError("Cannot call write() after write_eof()")
            return
        try:
            if len(data) <= _CHUNK:  # type: ignore[arg-type]  # The transport has looked.
                self.below.write(self.tls.seal(data))
                return
            view = memoryview(data).cast("B")
            for start in range(0, len(view), _CHUNK):
                self.below.write(self.tls.seal(view[start : start + _CHUNK]))
        except TLSError as error:
            self._failed(error)

    def write_eof(self) -> None:
        """End our direction; the peer's goes on."""
        if self.state is not _OPEN:
            return
        self._become(_WRITE_ENDED)
        if not self._ended_sending():
            return
        if self.peer_ended:
            self.close()
        else:
            self._later()

    def close(self) -> None:
        """Say goodbye, wait until the peer has all our data, and close."""
        if self.closing:
            return
        self._become(_CLOSING)
        if self.below.is_closing():
            # It is broken, has dropped what it had, and is about to tell us.
            self._broken_below = True
            return
        if not self._ended_sending():
            return
        if self.undelivered() == 0:
            self.finish()
            return
        # `resume_writing` tells when everything has gone.
        self.below.set_write_buffer_limits(0)
        self.below.resume_reading()
        self._later()
        register(self)
        self._ending = Ending(self, self._shutdown_timeout)
        self._ending.begin()

    def _ended_sending(self) -> bool:
        """Send close_notify; False: it has failed."""
        try:
            self.tls._end_sending()
        except TLSError as error:
            self._failed(error)
            return False
        self._flush()
        return True

    def finish(self) -> None:
        """Close the transport below, which sends what it still has."""
        self.call_later(LINGER, self.below.abort)
        self.below.close()

    def give_up(self, error: OSError) -> None:
        """Close at once; `error` is what the application is told if data was not delivered."""
        if self._error is None and self.undelivered() != 0:
            self._error = error
        self.below.abort()

    def abort(self) -> None:
        """Drop the connection, and what was not sent."""
        if self.state is not _LOST:
            self._become(_OVER)
            self.call_later(0, None)
            self.below.abort()

    def pause_reading(self) -> None:
        """Hand on nothing more for now, and receive nothing."""
        if not self.closing and not self.paused:
            self.paused = True
            self.below.pause_reading()
            self._choose()

    def resume_reading(self) -> None:
        """Go on."""
        if not self.closing and self.paused:
            self.paused = False
            self.below.resume_reading()
            self._later()

    # --- one step ---

    def _become(self, state: State) -> None:
        self.state = state
        self._choose()

    def _choose(self) -> None:
        """Say who gets what comes."""
        state = self.state
        if state is _OVER or state is _LOST or self.peer_ended:
            self._advance = _nothing
        elif state is _HANDSHAKING:
            self._advance = self._shake
        elif state is _CLOSING:
            self._advance = self._discard
        elif state is _AT_WORK or self.paused:
            self._advance = self._queue
        else:
            self._advance = self._deliver

    def _queue(self, came: Buffer | None) -> None:
        if came is None:
            return
        self._came.append(bytes(came))
        if came and self.state is _AT_WORK:
            # CPython before 3.12 forgets a pause that was asked for in `connection_made`.
            self.below.resume_reading()
            self.below.pause_reading()

    def _later(self) -> None:
        """Go on with what waits, but not within a call of the application's."""
        if self._advance is not _nothing:
            self._advance = self._queue
        self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._choose()
        self._step()
        self._take_queued()

    def _take_queued(self) -> None:
        while self._came and self._advance != self._queue:
            self._step(self._came.pop(0))

    def _step(self, came: Buffer | None = None) -> None:
        """Hand on what can be; `came`: what has come from the peer just now."""
        self._guarded(self._advance, came)

    def _guarded(self, call: Callable[[Any], None], given: object) -> None:
        """Call; what it raises ends the connection, but for what ends the program."""
        try:
            call(given)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._broken(exc)

    def _flush(self) -> None:
        if data := self.tls.process_outgoing(sys.maxsize):
            self.below.write(data)

    # --- the handshake ---

    def _shake(self, came: Buffer | None) -> None:
        if came is not None:
            self.tls.process_incoming(came)
        if self._may_block:
            self.below.pause_reading()
            self._become(_AT_WORK)
            work = self.loop.run_in_executor(None, self.tls._handshake)
            work.add_done_callback(self._worked)
            return
        self._shaken(self.tls._handshake)

    def _worked(self, work: asyncio.Future[bool]) -> None:
        """Go on where the worker thread has left off."""
        if self.state is not _AT_WORK or work.cancelled():
            self.tls._abort()
            self.abort()
            return
        self._become(_HANDSHAKING)
        self.below.resume_reading()
        self._guarded(self._shaken, work.result)
        self._take_queued()

    def _shaken(self, step: Callable[[], bool]) -> None:
        """Go on with what a step of the handshake gives or raises."""
        try:
            done = step()
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, TLSError):
                raise
            # What is no Exception (KeyboardInterrupt, say) is a callback's, and no verdict: the
            # peer is refused anyway.
            self._refused(error)
            if isinstance(error, SystemExit | KeyboardInterrupt):
                raise
            return
        self._flush()
        if done:
            self._established()

    def _established(self) -> None:
        self.call_later(0, None)
        self._become(_OPEN)
        transport = self.transport = TLSTransport(self)
        if not self._app_connected:
            self._app_connected = True
            # What it writes at once may fill the transport below, which then tells by itself.
            was_full = self._below_full
            self.app.connection_made(transport)
            if was_full:
                self.app.pause_writing()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(transport)
        # Who waits is to have the transport before there is data.
        self._waiter = None
        self._later()

    def _refused(self, error: BaseException) -> None:
        """The handshake has failed: tell the peer why, and wait until it knows."""
        self._error = _without_frames(error) if isinstance(error, TLSError) else error
        self._become(_OVER)
        self._flush()
        if isinstance(error, RaggedEOF) or self.below.is_closing():
            self.below.close()
            return
        with suppress(OSError):  # The peer may have gone already.
            if self.below.can_write_eof():
                self.below.write_eof()
        self.call_later(LINGER, self.below.abort)
        register(self)

    def _handshake_took_too_long(self) -> None:
        self._error = TimeoutError(
            f"the TLS handshake did not complete within {self._handshake_timeout} seconds"
        )
        self.abort()

    # --- data ---

    def _deliver(self, came: Buffer | None) -> None:
        tls, app = self.tls, self.app
        while True:
            into = app.get_buffer(_ROOM) if self._app_is_buffered else None
            try:
                data = tls.open(came, _ROOM, into)
            except TLSError as error:
                self._failed(error)
                return
            came = None
            if data is None:
                break
            if not data:
                if into is not None and not memoryview(into).nbytes:
                    raise RuntimeError("get_buffer() returned an empty buffer")
                self._peer_has_closed()
                return
            if into is None:
                app.data_received(data)
            else:
                app.buffer_updated(data)
            if self.state is not _OPEN and self.state is not _WRITE_ENDED:
                return
            if self.app is not app:
                self._later()
                return
            if self.paused:
                break
        if tls.outgoing_bytes_buffered():
            self._answer()

    def _answer(self) -> None:
        """Send what the peer has asked for, an answer to a change of keys, say.

        To a peer that takes nothing it stays in the session, which has a limit.
        """
        if not self._below_full and not self.after_fin:
            self._flush()

    def _peer_has_closed(self) -> None:
        """The peer has ended its direction, in order or so that the application accepts it.

        The application says whether ours goes on.
        """
        self.peer_ended = True
        self._choose()
        self._flush()
        keep_open = self.app.eof_received()
        # TLS 1.2 has answered with our end (RFC 5246 7.2.1).
        if not keep_open or self.tls._has_closed:
            self.close()

    # --- the end ---

    def _discard(self, came: Buffer | None) -> None:
        try:
            ended = self.tls._discard(came)
        except TLSError as error:
            # There is nobody left who would take our data.
            if self.undelivered() == 0:
                self.finish()
            else:
                self._failed(error)
            return
        if ended:
            self.peer_ended = True
            self._choose()
            if self._ending is not None:
                self._ending.look()

    def _failed(self, error: TLSError) -> None:
        """The connection has failed: send the alert, if there is one, and close."""
        if self._error is not None:
            return
        self._error = _without_frames(error)
        self._become(_OVER)
        if not self.after_fin:
            self._flush()
        self.call_later(self._shutdown_timeout, self.below.abort)
        self.below.close()

    def _broken(self, exc: BaseException) -> None:
        """The application's protocol has raised, or we have."""
        self.loop.call_exception_handler(
            {
                "message": "Fatal error: protocol callback failed",
                "exception": exc,
                "transport": self.transport,
                "protocol": self.app,
            }
        )
        self._error = exc
        self.abort()

    def _look_for_reason(self) -> None:
        """The transport below is broken: look whether the peer has said why."""
        self._go_on()
        if isinstance(self.below, TLSTransport) or self._advance is _nothing:
            return
        with another(self.below.get_extra_info("socket")) as duplicate:
            for data in all_of(duplicate):
                self._step(data)

    def call_later(self, seconds: float, call: Callable[[], None] | None) -> None:
        """Have `call` called then, in the place of what was to be called before; None: nothing."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if call is None else self.loop.call_later(seconds, call)


def _nothing(_: Buffer | None) -> None:
    """What is handed on of a connection that is over."""


def _without_frames(error: TLSError) -> TLSError:
    """The error without tracebacks, which lead back to the connection: their frames are all ours.

    The application's exceptions, of a `peer_verifier` for one, keep theirs.
    """
    ours: BaseException | None = error
    while ours is not None and ours is not error.__cause__:
        ours.__traceback__ = None
        ours = ours.__context__
    return error
