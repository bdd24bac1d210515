"""The protocol between the event loop's transport and the application's protocol.

```text
    application's protocol  <--  data_received, eof_received, connection_lost
            |
       TLSTransport         -->  write, close, pause_reading
            |
       TLSProtocol               the TLS connection (a native handle), timers, the state
            |
    transport of the loop        a TCP or Unix socket, or another TLSTransport
```

Rules of this file:

- Nothing is buffered here. What the application writes is encrypted at once and given to the
  underlying transport, so that its watermarks are the connection's. What arrives is decrypted at
  once and given to the application. If the application has paused, the underlying transport is
  paused.
- `State` describes how far the connection has come, and determines who gets incoming data
  (`_choose`): the handshake, the application, nobody. Whatever changes the state, pauses, or finds
  the peer's end calls it again.
- `_advance` delivers incoming data. The loop calls it, so that no call by the application leads
  back into the application. What cannot be delivered yet is queued, in order.
- While a worker thread runs a step of the handshake, the handle belongs to that thread.
- The application is told of the end once, by `connection_lost`, when the underlying transport is
  closed: with None after an orderly end, otherwise with the error. `polytls.asyncio.endings` has
  how connections end.
- A lost connection has no reference cycles, so it is freed without the garbage collector.
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

#: How long a refused peer is read from, at most, in seconds: closing with unread data sends a
#: reset, which overtakes the alert.
LINGER: Final = 2.0

#: Received at a time, and delivered at a time.
_ROOM: Final = 256 * 1024
#: Encrypted at a time.
_CHUNK: Final = 256 * 1024

#: Memory to receive into, lent to a connection from `get_buffer` to `buffer_updated`, so that a
#: waiting connection holds none. Shared by all loops: each call on a list is atomic.
_spares: list[memoryview] = []
_MOST_SPARES: Final = 4


class State(Enum):
    """How far a connection has come."""

    HANDSHAKING = auto()
    #: A worker thread is running a step of the handshake.
    AT_WORK = auto()
    #: Data flows in both directions, until the peer ends its own.
    OPEN = auto()
    #: The application has ended our direction with `write_eof`.
    WRITE_ENDED = auto()
    #: `close`: incoming data is discarded, until the peer has all data.
    CLOSING = auto()
    #: It was refused, has failed or was aborted: the underlying transport is being closed.
    OVER = auto()
    #: The underlying transport is closed.
    LOST = auto()


_HANDSHAKING, _AT_WORK, _OPEN, _WRITE_ENDED, _CLOSING, _OVER, _LOST = State


class TLSProtocol(asyncio.BufferedProtocol):
    """One connection.

    `connect_app`: whether `connection_made` of the application's protocol is called when the
    handshake is complete.
    `waiter`: a future for the handshake. It gets the application's transport, or the error when the
    underlying transport is closed.
    `accept_truncated_end`: as in `create_connection`.
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
        #: The context's buffer, for facts; and the connection itself.
        self.buffer = buffer
        self.tls = handle_of(buffer, accept_truncated_end=accept_truncated_end)
        #: The application's protocol, from the end of the handshake to the end of the connection.
        self.transport: TLSTransport | None = None
        #: The underlying transport.
        self.below: asyncio.Transport
        #: Whether the application has paused reading.
        self.paused = False
        #: The peer's end was found: nothing more is delivered.
        self.peer_ended = False
        #: The underlying transport has been told to send its end.
        self.after_fin = False
        self._ending: Ending | None = None
        #: What ended the connection, unless the underlying transport reports it.
        self._error: BaseException | None = None
        self._waiter = waiter
        self._handshake_timeout = handshake_timeout
        self._shutdown_timeout = shutdown_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._may_block = handshake_may_block(buffer.context)
        self._advance: Callable[[Buffer | None], None] = self._shake
        self._scratch: memoryview | None = None
        #: What has arrived and is waiting for `_advance`.
        self._came: list[bytes] = []
        #: The application's protocol has been told of the connection, and not yet of its end.
        self._app_connected = not connect_app
        #: The underlying transport was above its high watermark, or broken, when we closed.
        self._below_full = self._broken_below = False
        self.set_app(app)

    def set_app(self, app: asyncio.BaseProtocol) -> None:
        """Deliver data to `app` from now on."""
        if self.state is not _LOST:
            self.app: Any = app
            self._app_is_buffered = isinstance(app, asyncio.BufferedProtocol)

    @property
    def closing(self) -> bool:
        """Whether the connection to the application has ended, in both directions."""
        return self.state in (_CLOSING, _OVER, _LOST)

    # --- called by the underlying transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the handshake."""
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
        """Accept what has arrived, and deliver the result."""
        scratch = self._scratch
        if scratch is None:
            raise RuntimeError("buffer_updated() was called without get_buffer()")
        self._scratch = None
        self._step(scratch[:nbytes])
        if len(_spares) < _MOST_SPARES:
            _spares.append(scratch)

    def eof_received(self) -> bool:
        """Note the end; we close the underlying transport when everything was read."""
        if self.state is _OVER:
            self.below.close()
        else:
            self._step(b"")
        return True

    def pause_writing(self) -> None:
        """Tell the application to pause writing."""
        self._below_full = True
        if self._app_connected:
            self.app.pause_writing()

    def resume_writing(self) -> None:
        """Tell the application to resume writing."""
        self._below_full = False
        if self._app_connected:
            self.app.resume_writing()
        if self.state is not _AT_WORK and self.state is not _OVER:
            self._answer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Report the end to the application, or to the waiter."""
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
        # A worker thread may have it; it then returns to `_worked`.
        self.tls._abort()
        self._become(_LOST)
        if app is not None:
            self._app_connected = False
            app.connection_lost(error)

    def _judged(self, exc: BaseException | None) -> BaseException | None:
        """Whether a reset loses nothing, because everything was sent and delivered."""
        # Unsent data is no longer in the underlying transport. But that was told to call
        # `resume_writing` when everything has been sent.
        known = self.closing and not (self._below_full or self._broken_below)
        delivered = known and self.undelivered() == 0
        return None if delivered and isinstance(exc, ConnectionError) else exc

    def undelivered(self) -> int | None:
        """Return how many bytes of data the peer may not have; None: unknown."""
        # Before the end of the handshake there are none, and a worker thread may have the handle.
        if self.transport is None:
            return 0
        return undelivered(self.tls, self.below, after_fin=self.after_fin)

    # --- called by the application, through its transport ---

    def write(self, data: Buffer) -> None:
        """Encrypt and send."""
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
        """End our direction; the peer's continues."""
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
        """Send close_notify, wait until the peer has all our data, and close."""
        if self.closing:
            return
        self._become(_CLOSING)
        if self.below.is_closing():
            # It is broken, has dropped its data, and is about to report that.
            self._broken_below = True
            return
        if not self._ended_sending():
            return
        if self.undelivered() == 0:
            self.finish()
            return
        # `resume_writing` is called when everything has been sent.
        self.below.set_write_buffer_limits(0)
        self.below.resume_reading()
        self._later()
        register(self)
        self._ending = Ending(self, self._shutdown_timeout)
        self._ending.begin()

    def _ended_sending(self) -> bool:
        """Send close_notify; False: it failed."""
        try:
            self.tls._end_sending()
        except TLSError as error:
            self._failed(error)
            return False
        self._flush()
        return True

    def finish(self) -> None:
        """Close the underlying transport, which sends what it still has."""
        self.call_later(LINGER, self.below.abort)
        self.below.close()

    def give_up(self, error: OSError) -> None:
        """Close at once; `error` is reported to the application if data was not delivered."""
        if self._error is None and self.undelivered() != 0:
            self._error = error
        self.below.abort()

    def abort(self) -> None:
        """Drop the connection, and unsent data."""
        if self.state is not _LOST:
            self._become(_OVER)
            self.call_later(0, None)
            self.below.abort()

    def pause_reading(self) -> None:
        """Stop delivering and receiving for now."""
        if not self.closing and not self.paused:
            self.paused = True
            self.below.pause_reading()
            self._choose()

    def resume_reading(self) -> None:
        """Resume delivering and receiving."""
        if not self.closing and self.paused:
            self.paused = False
            self.below.resume_reading()
            self._later()

    # --- one step ---

    def _become(self, state: State) -> None:
        self.state = state
        self._choose()

    def _choose(self) -> None:
        """Determine who gets incoming data."""
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
            # CPython before 3.12 forgets a pause requested in `connection_made`.
            self.below.resume_reading()
            self.below.pause_reading()

    def _later(self) -> None:
        """Continue with what is waiting, but not within a call by the application."""
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
        """Deliver what is possible; `came`: what has just arrived from the peer."""
        self._guarded(self._advance, came)

    def _guarded(self, call: Callable[[Any], None], given: object) -> None:
        """Call; an exception ends the connection, unless it ends the program."""
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
        """Continue where the worker thread stopped."""
        if self.state is not _AT_WORK or work.cancelled():
            self.tls._abort()
            self.abort()
            return
        self._become(_HANDSHAKING)
        self.below.resume_reading()
        self._guarded(self._shaken, work.result)
        self._take_queued()

    def _shaken(self, step: Callable[[], bool]) -> None:
        """Continue with the result of a step of the handshake."""
        try:
            done = step()
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, TLSError):
                raise
            # What is not an Exception (KeyboardInterrupt, for example) comes from a callback, and
            # does not accept the peer: it is refused in any case.
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
            # Data written at once may fill the underlying transport, which then reports that.
            was_full = self._below_full
            self.app.connection_made(transport)
            if was_full:
                self.app.pause_writing()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(transport)
        # The waiter gets the transport before there is data.
        self._waiter = None
        self._later()

    def _refused(self, error: BaseException) -> None:
        """The handshake has failed: send the peer the alert, and wait until it has it."""
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
        """Send what the peer has requested, such as the answer to a key update.

        If the peer does not receive it, it stays in the session, which has a limit.
        """
        if not self._below_full and not self.after_fin:
            self._flush()

    def _peer_has_closed(self) -> None:
        """The peer has ended its direction, with close_notify or an end that the application
        accepts.

        The application decides whether our direction continues.
        """
        self.peer_ended = True
        self._choose()
        self._flush()
        keep_open = self.app.eof_received()
        # TLS 1.2 has answered with our close_notify (RFC 5246 7.2.1).
        if not keep_open or self.tls._has_closed:
            self.close()

    # --- the end ---

    def _discard(self, came: Buffer | None) -> None:
        try:
            ended = self.tls._discard(came)
        except TLSError as error:
            # Nobody is left to receive our data.
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
        """The underlying transport is broken: check whether the peer has sent an alert."""
        self._go_on()
        if isinstance(self.below, TLSTransport) or self._advance is _nothing:
            return
        with another(self.below.get_extra_info("socket")) as duplicate:
            for data in all_of(duplicate):
                self._step(data)

    def call_later(self, seconds: float, call: Callable[[], None] | None) -> None:
        """Schedule `call`, replacing what was scheduled before; None: nothing."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if call is None else self.loop.call_later(seconds, call)


def _nothing(_: Buffer | None) -> None:
    """What a connection that has ended delivers."""


def _without_frames(error: TLSError) -> TLSError:
    """The error without tracebacks, which lead back to the connection: their frames are all ours.

    Exceptions of the application, such as those of a `peer_verifier`, keep theirs.
    """
    ours: BaseException | None = error
    while ours is not None and ours is not error.__cause__:
        ours.__traceback__ = None
        ours = ours.__context__
    return error
