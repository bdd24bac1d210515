"""TLS for anyio, and so for trio: a byte stream over any byte stream, and a listener.

`tls` is a PEP 748 context of any implementation. The transport can be any anyio byte stream,
including another TLSStream. For timeouts, use anyio's `fail_after` and `move_on_after`. The rules
are those of anyio's streams:

- One task can receive while another sends; two tasks that do the same get BusyResourceError.
- The end of the peer's data, after its close_notify, is EndOfStream. A broken connection is
  BrokenResourceError, and its cause is the TLSError: RaggedEOF if the connection just ended.
- Closing waits until the peer has all data that was sent (ARCHITECTURE.md, "Endings").
- Cancelling `receive` loses nothing. If `send` is cancelled while its ciphertext is being sent, the
  stream can only receive: it is unknown how much was sent.

anyio is not installed with polytls: `pip install polytls[anyio]`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from anyio import (
    BrokenResourceError,
    BusyResourceError,
    ClosedResourceError,
    EndOfStream,
    Lock,
    ResourceGuard,
    TypedAttributeSet,
    aclose_forcefully,
    create_task_group,
    fail_after,
    move_on_after,
    sleep,
    to_thread,
    typed_attribute,
)
from anyio.abc import (
    AnyByteStream,
    ByteStream,
    Listener,
    SocketAttribute,
    SocketStream,
    TaskGroup,
)
from anyio.lowlevel import checkpoint

from .arguments import instance_of
from .configuration import TLSServerConfiguration
from .constants import TLSVersion
from .delivery import CLOSE_TIMEOUT, naps, unacknowledged
from .errors import PeerMisbehaved, RaggedEOF, TLSError, WantReadError
from .handles import buffer_maker, handle_of, handshake_may_block, is_server
from .info import ConnectionInfo
from .interfaces import ClientContext, ServerContext, TLSBuffer
from .sessions import TLSSession
from .unread import all_of, another, something_has_come

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

__all__ = [
    "CLOSE_TIMEOUT",
    "HANDSHAKE_TIMEOUT",
    "LINGER",
    "TLSAttribute",
    "TLSListener",
    "TLSStream",
]

#: How long a listener lets a handshake take, in seconds.
HANDSHAKE_TIMEOUT: Final = 30.0
#: How long a refused peer is read from, at most, in seconds: closing with unread data sends a
#: reset, which overtakes the alert.
LINGER: Final = 2.0

_HERE: Final = "polytls.anyio"

#: Encrypted at a time.
_CHUNK: Final = 256 * 1024

_log = logging.getLogger("polytls.anyio")


class TLSAttribute(TypedAttributeSet):
    """Attributes that a TLSStream adds to those of the underlying stream."""

    #: The facts of the connection.
    info: ConnectionInfo = typed_attribute()
    #: The session of the connection, for others to resume (`SupportsSession`).
    session: TLSSession | None = typed_attribute()
    #: The buffer, for anything else it reports; not to be read or written.
    buffer: TLSBuffer = typed_attribute()


def _fault_behind(error: BaseException) -> OSError | None:
    """The transport error that made a send fail.

    None for EPIPE, which follows a FIN as well as a reset.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return None if isinstance(cause, BrokenPipeError | TLSError) else cause


class TLSStream(ByteStream):
    """A connection protected by TLS. Created by `wrap`."""

    def __init__(
        self,
        transport_stream: AnyByteStream,
        buffer: TLSBuffer,
        *,
        accept_truncated_end: bool = False,
    ) -> None:
        #: The underlying stream.
        self.transport_stream = transport_stream
        #: The context's buffer, for facts; and the connection itself.
        self._buffer = buffer
        self._tls = handle_of(buffer, accept_truncated_end=accept_truncated_end)
        self._receiving = ResourceGuard("receiving from")
        self._sending = ResourceGuard("sending to")
        #: The holder sends everything that is encrypted, in order.
        self._flushing = Lock()
        #: Whether the peer may still refuse our certificate. In TLS 1.3, a server does so when a
        #: client's handshake is complete (RFC 8446 4.4.2.4), and before it sends anything.
        self._on_trial = not isinstance(buffer.context.configuration, TLSServerConfiguration)
        #: Ciphertext was lost in transit: the peer could not decrypt what follows.
        self._torn = False
        #: The transport error that a send reported.
        self._lost: OSError | None = None
        #: Session tickets that the system did not accept at once: the next `send` sends them.
        self._tickets = b""
        self._after_fin = self._closed = False
        #: The underlying socket, if there is one, and what distinguishes it from a later one with
        #: its descriptor.
        self._raw = transport_stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610
        self._identity = _identity_of(self._raw)
        #: The value of `_tls._data_end` when the peer was last known to have acknowledged all data.
        self._delivered = 0

    @classmethod
    async def wrap(
        cls,
        transport_stream: AnyByteStream,
        tls: ClientContext | ServerContext,
        *,
        server_hostname: str | None = None,
        session: TLSSession | None = None,
        ech: bytes | None = None,
        leftover: Buffer = b"",
        accept_truncated_end: bool = False,
    ) -> TLSStream:
        """Do the handshake over `transport_stream`, which then belongs to the result.

        `server_hostname`: the name or address that the server's certificate must be valid for;
        required for a client.
        `session`: the session to resume, from another connection of this context
        (`SupportsSession`).
        `ech`: the list of configurations of the host for Encrypted ClientHello (docs/ech.md).
        `leftover`: bytes that were received before and not used. On a server they are the start of
        the client's handshake. On a client there can be none, because it sends first
        (PeerMisbehaved).

        `accept_truncated_end`: if the underlying stream ends without close_notify, `receive` raises
        EndOfStream instead of BrokenResourceError. An attacker on the path can then truncate the
        data without being noticed (RFC 8446 6.1): use it only for protocols that have no other end
        marker, and for data that may be incomplete. An end within a record or during the handshake,
        and a reset, are still errors.

        Raises what `TLSBuffer.do_handshake` raises, BrokenResourceError, ValueError for a session
        that must not be resumed on this connection, and ConfigurationError for an `ech` that cannot
        be used. After an error or a cancellation,
        `transport_stream` is closed, except for invalid arguments.
        """
        instance_of("accept_truncated_end", accept_truncated_end, bool)
        buffer = await _buffer(tls, server_hostname, session, ech)
        stream = cls(transport_stream, buffer, accept_truncated_end=accept_truncated_end)
        early = bytes(leftover)
        try:
            if early and server_hostname is not None:
                raise PeerMisbehaved("the server sent plaintext after agreeing to STARTTLS")
            if early:
                stream._tls.process_incoming(early)
            await stream._handshake()
        except BaseException:
            stream._closed = True
            stream._tls._abort()
            await aclose_forcefully(transport_stream)
            raise
        return stream

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return up to `max_bytes` bytes of data, at least one.

        Raises EndOfStream after the peer's close_notify, or an accepted end; BrokenResourceError,
        with the TLSError as its cause; ClosedResourceError; BusyResourceError.
        """
        if max_bytes < 1:
            raise ValueError("max_bytes must be a positive integer")
        with self._receiving:
            await checkpoint()
            self._check_open()
            came: bytes | None = None
            while True:
                try:
                    data: Any = self._tls.open(came, max_bytes)
                except TLSError as error:
                    await self._flush_quietly()
                    raise BrokenResourceError from error
                if data is not None and self._delivered < self._tls._data_end:
                    self._undelivered()  # An answer most often says that all has arrived.
                if data:
                    self._on_trial = False
                    return data  # type: ignore[no-any-return]  # Without a buffer it is bytes.
                if self._tls.outgoing_bytes_buffered():
                    await self._flush_quietly()
                if data is not None:
                    raise EndOfStream
                came = await self._more()

    async def send(self, item: bytes) -> None:
        """Send all of `item`.

        Raises BrokenResourceError, with the TLSError as its cause if the peer has sent an alert;
        ClosedResourceError (also after `send_eof`); BusyResourceError.
        """
        with self._sending:
            await checkpoint()
            self._check_open()
            view = memoryview(item).cast("B")
            for start in range(0, len(view), _CHUNK):
                async with self._flushing:
                    await self._deliver(view[start : start + _CHUNK])

    async def send_eof(self) -> None:
        """Send close_notify: the peer reads to the end of our data, and can keep sending.

        Raises NotImplementedError in TLS 1.2, where both directions end together (RFC 5246 7.2.1).
        """
        if self._tls.negotiated_tls_version is not TLSVersion.TLSv1_3:
            raise NotImplementedError("TLS 1.2 does not support half-close")
        with self._sending:
            await checkpoint()
            self._check_open()
            try:
                self._tls._end_sending()
            except TLSError as error:
                raise BrokenResourceError from error
            await self._flush()

    async def aclose(self) -> None:
        """Send close_notify, and close when the peer has acknowledged all data that was sent.

        It takes at most `CLOSE_TIMEOUT`, and discards data that arrives in the meantime. If
        everything was acknowledged before, it does not wait (Windows reports that only after the
        end: there it always waits). If delivery cannot be measured (the underlying stream is not a
        socket, or the system is not Linux, macOS or Windows), it waits for the peer's end instead,
        unless another task is receiving. A receiving task gets
        ClosedResourceError. If it is cancelled, the stream is still closed.

        Raises BrokenResourceError, with the cause, if data may be lost. The stream is closed then.
        """
        if self._closed:
            await checkpoint()
            return
        self._closed = True
        try:
            lost = await self._end()
            await self.transport_stream.aclose()
        except BaseException:
            await aclose_forcefully(self.transport_stream)
            raise
        finally:
            self._tls._abort()
        if lost is not None:
            raise BrokenResourceError from lost

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Close; by force after an exception, so that sent data does not look complete."""
        if exc_type is None:
            await self.aclose()
        else:
            await aclose_forcefully(self)

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The attributes of the underlying stream, and those of TLSAttribute."""
        return {
            **self.transport_stream.extra_attributes,
            TLSAttribute.info: lambda: self._tls.info,
            TLSAttribute.session: lambda: getattr(self._buffer, "session", None),
            TLSAttribute.buffer: lambda: self._buffer,
        }

    # --- internals ---

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedResourceError

    async def _more(self) -> bytes:
        """Ciphertext, b"" at the end.

        A transport error is reported once, and may have been reported to a send: then an end that
        is found here is not a real one.
        """
        try:
            return await self.transport_stream.receive()
        except EndOfStream:
            if self._lost is not None:
                raise BrokenResourceError from self._lost
            return b""

    async def _deliver(self, data: memoryview) -> None:
        """Encrypt and send; with the lock held. The peer's refusal takes precedence over the broken
        transport it causes.
        """
        if not self._on_trial:
            await self._put(self._seal(data))
            return
        with another(self._socket_below()) as duplicate:
            try:
                if something_has_come(duplicate):
                    await self._listen()
                await self._put(self._seal(data))
            except BrokenResourceError as error:
                if isinstance(error.__cause__, TLSError):
                    raise
                # WantReadError: it keeps no more.
                with suppress(BusyResourceError, WantReadError), self._receiving:
                    for came in all_of(duplicate):
                        self._take_in(came)
                try:
                    self._tls.seal(b"")
                except TLSError as reason:
                    raise BrokenResourceError from reason
                raise

    def _socket_below(self) -> Any:
        """The socket, if there is nothing between it and this stream; checked each time, as it may
        be closed.
        """
        if not isinstance(self.transport_stream, SocketStream):
            return None
        return self.transport_stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - no SQL

    async def _listen(self) -> None:
        """Accept what has arrived, unless another task is receiving, or the peer has already been
        heard.
        """
        with suppress(BusyResourceError), self._receiving:
            self._on_trial = not self._tls._look_ahead()
            if self._on_trial:
                self._take_in(await self._more())

    def _take_in(self, came: bytes) -> None:
        self._tls.process_incoming(came)
        if self._tls._look_ahead():
            self._on_trial = False

    def _seal(self, data: memoryview) -> bytes:
        try:
            sealed = self._tls.seal(b"" if self._torn else data)
        except TLSError as error:
            if type(error) is TLSError and self._tls._has_closed:
                raise ClosedResourceError from error
            raise BrokenResourceError from error
        if self._torn:
            raise BrokenResourceError
        sealed, self._tickets = self._tickets + sealed, b""
        return sealed

    async def _put(self, data: bytes) -> None:
        """Send ciphertext; with the lock held."""
        if not data:
            return
        try:
            await self.transport_stream.send(data)
        except BaseException as error:
            self._torn = True
            self._lost = self._lost or _fault_behind(error)
            raise

    async def _flush(self) -> None:
        """Send what is waiting."""
        async with self._flushing:
            if self._torn:
                raise BrokenResourceError
            waiting = self._tickets + self._tls.process_outgoing(sys.maxsize)
            self._tickets = b""
            await self._put(waiting)

    async def _flush_quietly(self) -> None:
        """Send what is waiting, if possible: an alert, or a response that the receiver need not
        care about.
        """
        with suppress(BrokenResourceError, ClosedResourceError):
            await self._flush()

    async def _handshake(self) -> None:
        blocks = handshake_may_block(self._buffer.context)
        await checkpoint()
        try:
            while True:
                if blocks:
                    # A cancelled task leaves the connection to the thread.
                    done = await to_thread.run_sync(self._tls._handshake, abandon_on_cancel=True)
                else:
                    done = self._tls._handshake()
                if not done or not self._tls._flight_is_sent:
                    await self._flush()
                if done:
                    self._offer_tickets()
                    return
                self._tls.process_incoming(await self._more())
        except TLSError as error:
            with move_on_after(LINGER):
                await self._refuse(error)
            raise

    async def _refuse(self, error: TLSError) -> None:
        """Send the peer the alert, and wait until it has it."""
        with suppress(BrokenResourceError, ClosedResourceError, NotImplementedError, RuntimeError):
            await self._flush()
            if not isinstance(error, RaggedEOF):
                await self.transport_stream.send_eof()
                while await self._more():
                    pass

    def _offer_tickets(self) -> None:
        """Send what the system takes at once: no handshake waits until a peer takes its tickets.

        The next `send` sends the rest, and all of it if the underlying stream is not a socket.
        """
        self._tickets = self._tls.process_outgoing(sys.maxsize)
        with another(self._socket_below()) as duplicate, suppress(OSError):
            while duplicate is not None and self._tickets:
                self._tickets = self._tickets[duplicate.send(self._tickets) :]

    # --- closing ---

    async def _end(self) -> BaseException | None:
        """Send close_notify and wait for delivery; return what prevents it, or None."""
        with move_on_after(CLOSE_TIMEOUT):
            try:
                self._tls._end_sending()
                if not self._torn:
                    await self._flush()
            except TLSError:
                return None  # It has failed, and whoever used it has been told.
            except (BrokenResourceError, ClosedResourceError) as error:
                return error if self._undelivered() else None
            if self._undelivered() == 0:
                return None
            # RuntimeError: how uvloop reports that its transport is broken.
            with suppress(
                BrokenResourceError, ClosedResourceError, NotImplementedError, OSError, RuntimeError
            ):
                await self.transport_stream.send_eof()
                self._after_fin = True
            return await self._delivery()
        missing = self._undelivered()
        if missing == 0:
            return None
        if missing is None:
            return TimeoutError(
                f"the peer did not close the connection within {CLOSE_TIMEOUT} seconds of "
                "aclose(): it may not have received everything"
            )
        return TimeoutError(
            f"the peer did not acknowledge all data within {CLOSE_TIMEOUT} seconds of aclose(): "
            f"the last {missing} bytes may be lost"
        )

    async def _delivery(self) -> BaseException | None:
        """Keep reading, discarding, until the peer has everything, or will not get it."""
        ended: list[BaseException | None] = []
        lost = None
        async with create_task_group() as tasks:
            tasks.start_soon(self._discard, ended)
            for nap in naps():
                missing = self._undelivered()
                if missing == 0:
                    break
                if ended and (missing is None or ended[0] is not None):
                    # If delivery cannot be measured, the peer's end shows it.
                    lost = ended[0]
                    break
                await sleep(nap)
            tasks.cancel_scope.cancel()
        return lost

    async def _discard(self, ended: list[BaseException | None]) -> None:
        """Read and discard, and append how that ended."""
        end: BaseException | None = None
        try:
            with self._receiving:
                at_end = self._tls._discard(None)
                while not at_end:
                    at_end = self._tls._discard(await self._more())
        except BusyResourceError:
            pass
        except (TLSError, BrokenResourceError, ClosedResourceError) as error:
            end = error
        ended.append(end)

    def _undelivered(self) -> int | None:
        """How many bytes that carry data the peer has not acknowledged; None: unknown."""
        data_end = self._tls._data_end
        if not data_end:
            return 0
        # asyncio and uvloop close a broken socket: use the last known value.
        if self._identity is not None and _identity_of(self._raw) != self._identity:
            return data_end - self._delivered
        in_flight = unacknowledged(self._raw, after_fin=self._after_fin)
        if in_flight is None:
            return None
        # What was sent after the last data, above all close_notify, does not count.
        # Windows reports that something is in flight, not how much.
        missing = min(data_end, max(0, in_flight - (self._tls._sent - data_end)))
        if not missing:
            self._delivered = data_end
        return missing


def _identity_of(known: Any) -> tuple[int, int] | None:
    """What distinguishes a socket from all others, unlike its descriptor's number after closing.

    None if there is no socket, or it is closed.
    """
    try:
        status = os.fstat(known.fileno())
    except (AttributeError, OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


class TLSListener(Listener[TLSStream]):
    """Does the handshake on each connection that `listener` accepts.

    A client that fails in it, or takes longer than `handshake_timeout` seconds, gets an alert and
    is dropped; this is only logged, at level DEBUG. `accept_truncated_end` applies to the
    connections, as in `TLSStream.wrap`.
    """

    def __init__(
        self,
        listener: Listener[Any],
        tls: ServerContext,
        *,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        accept_truncated_end: bool = False,
    ) -> None:
        if not is_server(tls, _HERE):
            raise TypeError("tls: a listener needs a server context")
        #: The listener that accepts.
        self.listener = listener
        self.tls = tls
        self.handshake_timeout = handshake_timeout
        self.accept_truncated_end = instance_of("accept_truncated_end", accept_truncated_end, bool)

    async def serve(
        self, handler: Callable[[TLSStream], Any], task_group: TaskGroup | None = None
    ) -> None:
        """Accept, and call `handler` with each connection whose handshake is complete."""

        @wraps(handler)
        async def handled(stream: AnyByteStream) -> None:
            try:
                with fail_after(self.handshake_timeout):
                    wrapped = await TLSStream.wrap(
                        stream, self.tls, accept_truncated_end=self.accept_truncated_end
                    )
            except (OSError, BrokenResourceError, ClosedResourceError) as error:
                _log.debug("a handshake failed: %s", error)
                return
            await handler(wrapped)

        await self.listener.serve(handled, task_group)

    async def aclose(self) -> None:
        """Stop accepting."""
        await self.listener.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The attributes of the underlying listener."""
        return self.listener.extra_attributes


async def _buffer(
    tls: ClientContext | ServerContext,
    server_hostname: str | None,
    session: TLSSession | None,
    ech: bytes | None,
) -> TLSBuffer:
    make, may_block = buffer_maker(tls, server_hostname, session, ech, _HERE)
    return await to_thread.run_sync(make, abandon_on_cancel=True) if may_block else make()
