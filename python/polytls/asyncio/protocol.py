"""The protocol between a transport of the event loop's and an application's protocol.

```text
   application's protocol  <--  data_received, eof_received, connection_lost
            |
      TLSTransport         -->  write, close, pause_reading
            |
       TLSProtocol               the driver (`polytls.driver`), timers, whose turn it is
            |
    transport of the loop        a TCP or Unix socket, or another TLSTransport
```

Rules of this file:

- Nothing is buffered here. What the application writes is sealed at once and given to the
  transport below, whose watermarks are therefore the connection's; what comes is opened at once
  and given to the application, and where that has paused, the transport below is paused.
- The application hears of the end once, by `connection_lost`, when the transport below is closed:
  with None after an end in order, with the error otherwise. How connections end stands in
  `polytls.asyncio.endings`.
- A connection that is lost refers to nothing that refers to it, so that it is freed without the
  garbage collector.
- What comes is handed on by `_advance`: the handshake, data, or what is left to be discarded. It
  is called by the loop alone, so that no call of the application's leads back into one.
- While a step of the handshake runs in a worker thread, the driver is the thread's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..driver import Driver, Need, State, handshake_may_block
from ..errors import RaggedEOF, TLSError
from ..interfaces import TLSBuffer
from ..unread import all_of, another
from .endings import Ending, leave, register, undelivered
from .transport import TLSTransport

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["LINGER", "TLSProtocol"]

_log = logging.getLogger("polytls.asyncio")

#: How long the peer is read from, at most, after a handshake was refused, in seconds: closing with
#: something unread sends a reset, and that overtakes the alert.
LINGER: Final = 2.0

_READ: Final = Need.READ

#: Received at a time, and handed over at a time.
_ROOM: Final = 256 * 1024
#: Sealed at a time.
_CHUNK: Final = 256 * 1024

#: Memory to receive into, lent to a connection from `get_buffer` to `buffer_updated`, so that one
#: that waits holds none. Shared by all loops: each call on a list is atomic.
_spares: list[memoryview] = []
_MOST_SPARES: Final = 4


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
        #: The connection is on its way out, or gone.
        self.closing = self.lost = False
        self.loop = loop
        self.driver = Driver(buffer, accept_truncated_end=accept_truncated_end)
        self._outgoing_bytes_buffered = buffer.outgoing_bytes_buffered
        #: The application's, from the end of the handshake to the end of the connection.
        self.transport: TLSTransport | None = None
        #: The transport below.
        self.below: asyncio.Transport
        self._ending: Ending | None = None
        #: What ended the connection, where that is not for the transport below to say.
        self._error: BaseException | None = None
        self._waiter = waiter
        self._handshake_timeout = handshake_timeout
        self._shutdown_timeout = shutdown_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._advance: Callable[[Buffer | None], None] = self._shake
        self._scratch: memoryview | None = None
        #: The application's protocol has been told of the connection, and not yet of its end.
        self._app_connected = not connect_app
        #: No more data is taken from the application: `close`, `write_eof`, or the end.
        self._deaf = True
        #: Nothing more is handed on: the peer's end has come, or the connection was given up.
        self.heard_all = False
        #: The transport below has been told to send its end.
        self.after_fin = False
        #: The transport below has more than it likes, or was broken when we closed.
        self._below_full = self._broken_below = False
        context = buffer.context
        self._may_block = handshake_may_block(context)
        #: A step of the handshake is with a worker thread, and what came meanwhile.
        self._at_work = False
        self._came: list[bytes] = []
        self.set_app(app)

    def set_app(self, app: asyncio.BaseProtocol) -> None:
        """Hand data to `app` from now on."""
        if self.lost:
            return
        self.app: Any = app
        self._deliver: Callable[[Buffer | None], None] = (
            self._deliver_into if isinstance(app, asyncio.BufferedProtocol) else self._deliver_bytes
        )
        if self._advance in (self._deliver_into, self._deliver_bytes):
            self._advance = self._deliver

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
        # As `_step` does, without its call: what comes comes here.
        if not (self.lost or self._at_work or self.heard_all or self._error is not None):
            try:
                self._advance(scratch[:nbytes])
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._broken(exc)
        elif self._at_work:
            self._came.append(bytes(scratch[:nbytes]))
            # CPython before 3.12 forgets a pause that was asked for in `connection_made`.
            self.below.resume_reading()
            self.below.pause_reading()
        if len(_spares) < _MOST_SPARES:
            _spares.append(scratch)

    def eof_received(self) -> bool:
        """Take in the end; the transport below is closed by us, when all was read."""
        if self._at_work:
            self._came.append(b"")
        elif self._error is not None:
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
        if not self._at_work:
            self._answer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell everybody."""
        if isinstance(exc, OSError) and self._error is None and not self._at_work:
            self._look_for_reason()
        self.call_later(0, None)
        leave(self)
        error = self._error or self._judged(exc)
        self.lost = self.closing = self._deaf = True
        self._scratch = None
        if not self._at_work:
            self.driver.abort()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(
                error or ConnectionAbortedError("the connection was given up")
            )
        elif not self.driver.established:
            _log.debug("a handshake with %s failed: %s", self._peer(), error)
        app = self.app if self._app_connected else None
        # These lead back here.
        self._waiter = self._error = self.transport = self.app = None
        self._advance = self._deliver = _nothing
        if app is not None:
            self._app_connected = False
            app.connection_lost(error)

    def _peer(self) -> object:
        return self.below.get_extra_info("peername")

    def _judged(self, exc: BaseException | None) -> BaseException | None:
        """A reset after all was said and delivered takes nothing away."""
        # What had not been sent is no longer in the transport below. But that was told to call
        # `resume_writing` when everything has gone.
        known = self.closing and not (self._below_full or self._broken_below)
        delivered = known and self.undelivered() == 0
        return None if delivered and isinstance(exc, ConnectionError) else exc

    def undelivered(self) -> int | None:
        """Return how many bytes of data the peer may not have; None: it cannot be told."""
        return undelivered(self.driver, self.below, after_fin=self.after_fin)

    # --- what the application calls, through its transport ---

    def write(self, data: Buffer) -> None:
        """Seal and send."""
        if self._deaf:
            if not self.closing:
                raise RuntimeError("Cannot call write() after write_eof()")
            return
        try:
            if len(data) <= _CHUNK:  # type: ignore[arg-type]  # The transport has looked.
                self.below.write(self.driver.seal(data))
                return
            view = memoryview(data).cast("B")
            for start in range(0, len(view), _CHUNK):
                self.below.write(self.driver.seal(view[start : start + _CHUNK]))
        except TLSError as error:
            self._failed(error)

    def write_eof(self) -> None:
        """End our direction; the peer's goes on."""
        if self._deaf:
            return
        self._deaf = True
        try:
            self.driver.close()
        except TLSError as error:
            self._failed(error)
        else:
            self._flush()
            if self.heard_all:
                self.close()
            else:
                self._later()

    def close(self) -> None:
        """Say goodbye, wait until the peer has all our data, and close."""
        if self.closing:
            return
        self.closing = self._deaf = True
        if self.below.is_closing():
            # It is broken, has dropped what it had, and is about to tell us.
            self._broken_below = True
            return
        try:
            self.driver.close()
        except TLSError as error:
            self._failed(error)
            return
        self._flush()
        if self.undelivered() == 0:
            self.finish()
            return
        # `resume_writing` tells when everything has gone.
        self.below.set_write_buffer_limits(0)
        self._advance = self._discard
        self.driver.resume()
        self.below.resume_reading()
        self._later()
        register(self)
        self._ending = Ending(self, self._shutdown_timeout)
        self._ending.begin()

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
        self.closing = self._deaf = self.heard_all = True
        if not self._at_work:
            self.driver.abort()
        if not self.lost:
            self.below.abort()

    def pause_reading(self) -> None:
        """Hand on nothing more for now, and receive nothing."""
        if not self.closing and not self.driver.paused:
            self.driver.pause()
            self.below.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if not self.closing and self.driver.paused:
            self.driver.resume()
            self.below.resume_reading()
            self._later()

    # --- one step ---

    def _later(self) -> None:
        """See what can be handed on, but not within a call of the application's."""
        self.loop.call_soon(self._step)

    def _step(self, came: Buffer | None = None) -> None:
        """Hand on what can be; `came`: what has come from the peer just now."""
        if self.lost or self._at_work or self.heard_all or self._error is not None:
            return
        try:
            self._advance(came)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._broken(exc)

    def _flush(self) -> None:
        if data := self.driver.take_outgoing():
            self.below.write(data)

    # --- the handshake ---

    def _shake(self, came: Buffer | None) -> None:
        if came is not None:
            self.driver.receive(came)
        if self._may_block:
            self.below.pause_reading()
            work = self.loop.run_in_executor(None, self.driver.handshake)
            self._at_work = True
            work.add_done_callback(self._worked)
            return
        try:
            need = self.driver.handshake()
        except TLSError as error:
            self._refused(error)
        else:
            self._shaken(need)

    def _worked(self, work: asyncio.Future[Need | None]) -> None:
        """Go on where the worker thread has left off."""
        self._at_work = False
        error = None if work.cancelled() else work.exception()
        if self.lost or self.closing or self._error is not None or work.cancelled():
            self.abort()
            return
        self.below.resume_reading()
        if isinstance(error, TLSError):
            self._refused(error)
        elif isinstance(error, Exception):
            self._broken(error)
        elif error is not None:
            # A callback's, and no verdict (KeyboardInterrupt, say): the peer is refused anyway.
            self._refused(error)
            if isinstance(error, SystemExit | KeyboardInterrupt):
                raise error
        else:
            try:
                self._shaken(work.result())
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._broken(exc)
        came, self._came = self._came, []
        for data in came:
            if self._at_work:
                self._came.append(data)
            else:
                self._step(data)

    def _shaken(self, need: Need | None) -> None:
        self._flush()
        if need is None:
            self._established()

    def _established(self) -> None:
        self.call_later(0, None)
        self._deaf = False
        self._advance = self._deliver
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
            f"the TLS handshake was not done within {self._handshake_timeout} seconds"
        )
        if not self._at_work:
            self.driver.time_out(self._error)
        self.below.abort()

    # --- data ---

    def _deliver_bytes(self, came: Buffer | None) -> None:
        driver, app = self.driver, self.app
        while not driver.paused:
            try:
                data = driver.open(came, _ROOM)
            except TLSError as error:
                self._failed(error)
                return
            came = None
            if data is _READ:
                break
            if not data:
                self._peer_has_closed()
                return
            app.data_received(data)
            if self.closing:
                return
            if self.app is not app:
                self._later()
                return
        if came is not None:
            driver.receive(came)
        if self._outgoing_bytes_buffered():
            self._answer()

    def _deliver_into(self, came: Buffer | None) -> None:
        driver, app = self.driver, self.app
        while not driver.paused:
            into = memoryview(app.get_buffer(_ROOM)).cast("B")
            if not into:
                raise RuntimeError("get_buffer() returned an empty buffer")
            try:
                count = driver.open(came, len(into), into)
            except TLSError as error:
                self._failed(error)
                return
            came = None
            if count is _READ:
                break
            if not count:
                self._peer_has_closed()
                return
            app.buffer_updated(count)
            if self.closing:
                return
            if self.app is not app:
                self._later()
                return
        if came is not None:
            driver.receive(came)
        if self._outgoing_bytes_buffered():
            self._answer()

    def _answer(self) -> None:
        """Send what the peer has asked for, an answer to a change of keys, say.

        To a peer that takes nothing it stays in the session, which has a limit.
        """
        if not self._below_full:
            self._flush()

    def _peer_has_closed(self) -> None:
        """The peer has ended its direction, in order or so that the application accepts it.

        The application says whether ours goes on.
        """
        self.heard_all = True
        self._flush()
        keep_open = self.app.eof_received()
        if not self.closing and (not keep_open or self.driver.state is State.CLOSED):
            self.close()

    # --- the end ---

    def _discard(self, came: Buffer | None) -> None:
        if came is not None:
            self.driver.receive(came)
        try:
            need = self.driver.discard()
        except TLSError as error:
            # There is nobody left who would take our data.
            if self.undelivered() == 0:
                self.finish()
            else:
                self._failed(error)
            return
        if need is None:
            self.heard_all = True
            if self._ending is not None:
                self._ending.look()

    def _failed(self, error: TLSError) -> None:
        """The connection has failed: send the alert, if there is one, and close."""
        if self._error is not None:
            return
        self._error = _without_frames(error)
        self.closing = self._deaf = True
        if not self.after_fin:
            self._flush()
        self.call_later(self._shutdown_timeout, self.below.abort)
        self.below.close()

    def _broken(self, exc: BaseException) -> None:
        """The application's protocol has raised, or we have."""
        self.loop.call_exception_handler(
            {
                "message": "Fatal error: a call of the protocol failed",
                "exception": exc,
                "transport": self.transport,
                "protocol": self.app,
            }
        )
        self._error = exc
        self.abort()

    def _look_for_reason(self) -> None:
        """The transport below is broken: look whether the peer has said why."""
        if isinstance(self.below, TLSTransport) or self.heard_all:
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
    """What is handed on of a connection that is lost."""


def _without_frames(error: TLSError) -> TLSError:
    """The error without tracebacks, which lead back to the connection: their frames are all ours.

    The application's exceptions, of a `peer_verifier` for one, keep theirs.
    """
    ours: BaseException | None = error
    while ours is not None and ours is not error.__cause__:
        ours.__traceback__ = None
        ours = ours.__context__
    return error
