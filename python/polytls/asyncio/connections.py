"""Connections and servers for protocols: the event loop's methods, with `tls=` in place of `ssl=`.

`tls` is a PEP 748 context of any implementation, or None for no TLS. The underlying transports and
servers are the loop's own, so all of its other arguments work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

from ..arguments import instance_of
from ..delivery import CLOSE_TIMEOUT
from ..errors import PeerMisbehaved
from ..handles import buffer_maker, is_server
from ..interfaces import ClientContext, ServerContext, TLSBuffer
from ..sessions import TLSSession
from ..unread import another, something_has_come
from .protocol import TLSProtocol
from .transport import TLSTransport

if TYPE_CHECKING:
    from os import PathLike

    from typing_extensions import Buffer

__all__ = [
    "HANDSHAKE_TIMEOUT",
    "SHUTDOWN_TIMEOUT",
    "create_connection",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "start_tls",
]

#: How long a handshake may take, in seconds: asyncio's default.
HANDSHAKE_TIMEOUT = 60.0
#: How long the peer may acknowledge nothing after a close, in seconds.
SHUTDOWN_TIMEOUT = CLOSE_TIMEOUT

_HERE: Final = "polytls.asyncio"

_P = TypeVar("_P", bound=asyncio.BaseProtocol)


class _Settings(TypedDict):
    """What all connections of one call have in common; both times in seconds."""

    handshake_timeout: float
    shutdown_timeout: float
    accept_truncated_end: bool


async def create_connection(
    protocol_factory: Callable[[], _P],
    host: str | None = None,
    port: int | str | None = None,
    *,
    tls: ClientContext | None = None,
    server_hostname: str | None = None,
    session: TLSSession | None = None,
    ech: bytes | None = None,
    tls_handshake_timeout: float | None = None,
    tls_shutdown_timeout: float | None = None,
    accept_truncated_end: bool = False,
    **kwds: Any,
) -> tuple[asyncio.Transport, _P]:
    """Connect, do the handshake, and return the transport and the protocol.

    Like `loop.create_connection`, which receives the other arguments. `connection_made` is called
    when the handshake is complete.

    `server_hostname`: the name or address that the server's certificate must be valid for; the
    default is `host`.
    `session`: the session to resume, from another connection of this context (`SupportsSession`).
    `ech`: the list of configurations of the host for Encrypted ClientHello (docs/ech.md).
    `accept_truncated_end`: if the peer ends TCP without close_notify, the protocol gets
    `eof_received` instead of `connection_lost(RaggedEOF)`. An attacker on the path can then
    truncate the data without being noticed (RFC 8446 6.1): use it only for protocols that have no
    other end marker, and for data that may be incomplete. An end within a record or during the
    handshake, and a reset, are still errors.

    Raises what `TLSBuffer.do_handshake` raises, TimeoutError if the handshake takes longer than
    `tls_handshake_timeout` seconds (60 by default), OSError, ValueError for a session that must not
    be resumed on this connection, and ConfigurationError for an `ech` that cannot be used. Nothing
    is left open after an error.
    """
    connect = partial(asyncio.get_running_loop().create_connection, host=host, port=port, **kwds)
    times = (tls_handshake_timeout, tls_shutdown_timeout)
    settings = _settings(tls, kwds, times, accept_truncated_end)
    buffer = await _client(tls, _name_to_verify(tls, server_hostname, host), session, ech)
    return await _connect(connect, protocol_factory, buffer, settings)


async def create_unix_connection(
    protocol_factory: Callable[[], _P],
    path: str | PathLike[str] | None = None,
    *,
    tls: ClientContext | None = None,
    server_hostname: str | None = None,
    session: TLSSession | None = None,
    ech: bytes | None = None,
    tls_handshake_timeout: float | None = None,
    tls_shutdown_timeout: float | None = None,
    accept_truncated_end: bool = False,
    **kwds: Any,
) -> tuple[asyncio.Transport, _P]:
    """Connect to the Unix socket at `path`; otherwise like `create_connection`."""
    loop: Any = asyncio.get_running_loop()  # The types know of paths as str alone.
    connect = partial(loop.create_unix_connection, path=path, **kwds)
    times = (tls_handshake_timeout, tls_shutdown_timeout)
    settings = _settings(tls, kwds, times, accept_truncated_end)
    buffer = await _client(tls, _name_to_verify(tls, server_hostname, None), session, ech)
    return await _connect(connect, protocol_factory, buffer, settings)


async def create_server(
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    host: Any = None,
    port: int | str | None = None,
    *,
    tls: ServerContext | None = None,
    tls_handshake_timeout: float | None = None,
    tls_shutdown_timeout: float | None = None,
    accept_truncated_end: bool = False,
    **kwds: Any,
) -> asyncio.Server:
    """Listen; each client whose handshake is complete gets a protocol.

    Like `loop.create_server`, which receives the other arguments. A client that fails in its
    handshake, or takes longer than `tls_handshake_timeout` seconds (60 by default), gets an alert
    and is dropped; this is only logged, at level DEBUG. `accept_truncated_end` applies to the
    connections, as in `create_connection`.
    """
    listen = partial(asyncio.get_running_loop().create_server, host=host, port=port)
    times = (tls_handshake_timeout, tls_shutdown_timeout)
    settings = _settings(tls, kwds, times, accept_truncated_end)
    return await _listen(listen, protocol_factory, tls, settings, **kwds)


async def create_unix_server(
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    path: str | PathLike[str] | None = None,
    *,
    tls: ServerContext | None = None,
    tls_handshake_timeout: float | None = None,
    tls_shutdown_timeout: float | None = None,
    accept_truncated_end: bool = False,
    **kwds: Any,
) -> asyncio.Server:
    """Listen on the Unix socket `path`; otherwise like `create_server`."""
    listen = partial(asyncio.get_running_loop().create_unix_server, path=path)
    times = (tls_handshake_timeout, tls_shutdown_timeout)
    settings = _settings(tls, kwds, times, accept_truncated_end)
    return await _listen(listen, protocol_factory, tls, settings, **kwds)


async def start_tls(
    transport: asyncio.BaseTransport,
    protocol: asyncio.BaseProtocol,
    tls: ClientContext | ServerContext,
    *,
    server_side: bool | None = None,
    server_hostname: str | None = None,
    session: TLSSession | None = None,
    ech: bytes | None = None,
    tls_handshake_timeout: float | None = None,
    tls_shutdown_timeout: float | None = None,
    accept_truncated_end: bool = False,
    leftover: Buffer = b"",
) -> asyncio.Transport:
    """Start TLS on an existing connection, and return the transport to use from now on.

    Like `loop.start_tls`. The transport can be one of this package's, for TLS in TLS. The context
    determines the side; `server_side` may repeat it.

    `session`, `ech`, `accept_truncated_end`: as in `create_connection`.
    `leftover`: what the protocol has received and not used. On a server it is the start of the
    client's handshake. On a client there can be none, because the client sends first: bytes that
    arrived too early, there or in the system, come from an attacker or a broken server
    (CVE-2021-23222 and similar): PeerMisbehaved.

    Raises what `create_connection` raises. After an error the connection is closed, and
    `connection_lost` of the protocol has been called.
    """
    server = is_server(tls, _HERE)
    if server_side is not None and server_side is not server:
        raise ValueError("server_side does not match the context")
    if server and server_hostname is not None:
        raise ValueError("server_hostname is only meaningful with a client context")
    times = (tls_handshake_timeout, tls_shutdown_timeout)
    settings = _settings(tls, {}, times, accept_truncated_end)
    name = None if server else _name_to_verify(tls, server_hostname, None)
    if not hasattr(transport, "pause_reading") or not hasattr(transport, "write"):
        raise TypeError(f"{transport!r} is not a stream transport")
    below: Any = transport
    was_reading = below.is_reading()
    # From here on nothing reaches the protocol in plaintext.
    below.pause_reading()
    try:
        buffer = await _buffer(tls, name, session, ech)
    except BaseException:
        if was_reading:
            below.resume_reading()
        raise
    if below.is_closing():
        raise ConnectionResetError("cannot start TLS: the connection is closed")
    early = bytes(leftover)
    if not server and (early or _has_more(below)):
        below.abort()
        raise PeerMisbehaved("the server sent plaintext after agreeing to STARTTLS")
    loop = asyncio.get_running_loop()
    waiter: Any = loop.create_future()
    connection: Any = TLSProtocol(
        loop, protocol, buffer, **settings, waiter=waiter, connect_app=False
    )
    try:
        below.set_protocol(connection)
        below.resume_reading()
        if early:
            connection.tls.process_incoming(early)
        connection.connection_made(below)
        return await _done(connection, waiter)
    finally:
        # The traceback of its exception leads here.
        connection = waiter = None


# --- shared ---


async def _connect(
    connect: Callable[..., Any],
    protocol_factory: Callable[[], _P],
    buffer: TLSBuffer | None,
    settings: _Settings,
) -> tuple[asyncio.Transport, _P]:
    if buffer is None:
        return await connect(protocol_factory)  # type: ignore[no-any-return]
    loop = asyncio.get_running_loop()
    waiter: Any = loop.create_future()
    app: _P

    def factory() -> TLSProtocol:
        nonlocal app
        app = protocol_factory()
        return TLSProtocol(loop, app, buffer, **settings, waiter=waiter)

    connection: Any = None
    try:
        _, connection = await connect(factory)
        return await _done(connection, waiter), app
    finally:
        if connection is None:
            waiter.cancel()  # Nobody will wait for it.
        # The traceback of its exception leads here.
        connection = waiter = None


async def _listen(
    listen: Callable[..., Any],
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    tls: ServerContext | None,
    settings: _Settings,
    *,
    start_serving: bool = True,
    **kwds: Any,
) -> asyncio.Server:
    factory = protocol_factory
    if tls is not None:
        factory = server_protocol(protocol_factory, tls, settings)
    server: asyncio.Server = await listen(factory, start_serving=False, **kwds)
    if start_serving:
        # CPython's loop waits for a moment when it does this itself; a task that is cancelled at
        # that point leaves the server behind.
        try:
            await server.start_serving()
        except BaseException:
            server.close()
            raise
    return server


def server_protocol(
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    tls: ServerContext,
    settings: _Settings | None = None,
) -> Callable[[], TLSProtocol]:
    """Return a factory of protocols for the running loop's servers, which know no TLS."""
    if not is_server(tls, _HERE):
        raise TypeError("tls: a server needs a server context")
    loop = asyncio.get_running_loop()
    given = settings or _settings(tls, {}, (None, None), False)

    def factory() -> TLSProtocol:
        return TLSProtocol(loop, protocol_factory(), tls.create_buffer(), **given)

    return factory


async def _done(connection: Any, waiter: Any) -> TLSTransport:
    """Wait for the end of the handshake; cancelling aborts it."""
    try:
        return await waiter  # type: ignore[no-any-return]  # A future; both are cleared.
    except BaseException:
        connection.abort()
        raise
    finally:
        # The traceback of its exception leads here.
        connection = waiter = None


def _settings(
    tls: object,
    kwds: dict[str, Any],
    times: tuple[float | None, float | None],
    accept_truncated_end: bool,
) -> _Settings:
    """The arguments for a protocol; asyncio's rules for them.

    The loop would accept the arguments named for `ssl`, and do its own TLS below ours, or instead
    of it.
    """
    for name, value in kwds.items():
        if name.startswith("ssl") and value is not None:
            raise TypeError(f"use tls{name.removeprefix('ssl')} instead of {name}")
    for name, value in zip(("tls_handshake_timeout", "tls_shutdown_timeout"), times, strict=True):
        if value is not None and tls is None:
            raise ValueError(f"{name} is only meaningful with tls")
        if value is not None and not value > 0:
            raise ValueError(f"{name} should be a positive number, got {value}")
    if instance_of("accept_truncated_end", accept_truncated_end, bool) and tls is None:
        raise ValueError("accept_truncated_end is only meaningful with tls")
    handshake, shutdown = times
    return {
        "handshake_timeout": HANDSHAKE_TIMEOUT if handshake is None else handshake,
        "shutdown_timeout": SHUTDOWN_TIMEOUT if shutdown is None else shutdown,
        "accept_truncated_end": accept_truncated_end,
    }


def _name_to_verify(tls: object, server_hostname: str | None, host: str | None) -> str | None:
    if tls is None:
        if server_hostname is not None:
            raise ValueError("server_hostname is only meaningful with tls")
        return None
    if server_hostname is None and not host:
        raise ValueError("server_hostname is required when tls is used without a host")
    return host if server_hostname is None else server_hostname


async def _client(
    tls: ClientContext | None, name: str | None, session: TLSSession | None, ech: bytes | None
) -> TLSBuffer | None:
    """A client's buffer; None without TLS."""
    if tls is None:
        for argument, value in (("session", session), ("ech", ech)):
            if value is not None:
                raise ValueError(f"{argument} is only meaningful with tls")
        return None
    if is_server(tls, _HERE):
        raise TypeError("tls: a client needs a client context")
    return await _buffer(tls, name, session, ech)


async def _buffer(
    tls: ClientContext | ServerContext,
    name: str | None,
    session: TLSSession | None,
    ech: bytes | None,
) -> TLSBuffer:
    make, may_block = buffer_maker(tls, name, session, ech, _HERE)
    return await asyncio.get_running_loop().run_in_executor(None, make) if may_block else make()


def _has_more(below: Any) -> bool:
    """Whether there is data to read that the protocol has not seen."""
    if isinstance(below, TLSTransport):
        return below.pending() > 0
    with another(below.get_extra_info("socket")) as duplicate:
        return something_has_come(duplicate)
