"""Streams: `asyncio.StreamReader` and `StreamWriter` over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..interfaces import ClientContext, ServerContext
from .connections import (
    create_connection,
    create_server,
    create_unix_connection,
    create_unix_server,
    start_tls,
)

if TYPE_CHECKING:
    from os import PathLike

__all__ = [
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_tls_streams",
    "start_unix_server",
]

#: asyncio's own limit for a line, and half of what a reader buffers.
_LIMIT = 64 * 1024

#: Handlers that are not done. Loops have only weak references to tasks, and asyncio's protocol has
#: one as long as the connection: a handler that goes on after it could be garbage-collected.
_handlers: set[asyncio.Task[None]] = set()

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


async def open_connection(
    host: str | None = None,
    port: int | str | None = None,
    *,
    tls: ClientContext | None = None,
    limit: int = _LIMIT,
    **kwds: Any,
) -> _Streams:
    """Connect and return a reader and a writer, like `asyncio.open_connection`.

    The other arguments are those of `create_connection`.
    """
    protocol, finish = _client(limit)
    transport, _ = await create_connection(lambda: protocol, host, port, tls=tls, **kwds)
    return finish(transport)


async def open_unix_connection(
    path: str | PathLike[str] | None = None,
    *,
    tls: ClientContext | None = None,
    limit: int = _LIMIT,
    **kwds: Any,
) -> _Streams:
    """Connect to the Unix socket at `path`; otherwise like `open_connection`."""
    protocol, finish = _client(limit)
    transport, _ = await create_unix_connection(lambda: protocol, path, tls=tls, **kwds)
    return finish(transport)


async def start_server(
    client_connected_cb: _Handler,
    host: Any = None,
    port: int | str | None = None,
    *,
    tls: ServerContext | None = None,
    limit: int = _LIMIT,
    **kwds: Any,
) -> asyncio.Server:
    """Listen, and call back with a reader and a writer for each client, like
    `asyncio.start_server`.

    The other arguments are those of `create_server`.
    """
    factory = _server(client_connected_cb, limit)
    return await create_server(factory, host, port, tls=tls, **kwds)


async def start_unix_server(
    client_connected_cb: _Handler,
    path: str | PathLike[str] | None = None,
    *,
    tls: ServerContext | None = None,
    limit: int = _LIMIT,
    **kwds: Any,
) -> asyncio.Server:
    """Listen on the Unix socket `path`; otherwise like `start_server`."""
    factory = _server(client_connected_cb, limit)
    return await create_unix_server(factory, path, tls=tls, **kwds)


async def start_tls_streams(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    tls: ClientContext | ServerContext,
    **kwds: Any,
) -> None:
    """Start TLS on a pair of streams in place: STARTTLS.

    Written data is sent first. Data that the reader has received and nobody has read is the
    `leftover` of `start_tls`. The other arguments and the errors are those of `start_tls`.
    """
    await writer.drain()
    plain: Any = writer.transport
    # There is no public access to these three attributes; their names have not changed since
    # asyncio began.
    received = reader._buffer  # type: ignore[attr-defined]
    leftover = bytes(received)
    received.clear()
    protocol: Any = plain.get_protocol()
    try:
        transport = await start_tls(plain, protocol, tls, leftover=leftover, **kwds)
    except (TypeError, ValueError):
        # Refused before anything has happened: the streams stay usable.
        received[:0] = leftover
        raise
    users: list[Any] = [reader, writer, protocol]
    for each in users:
        each._transport = transport


def _client(limit: int) -> tuple[asyncio.StreamReaderProtocol, Callable[[Any], _Streams]]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)

    def finish(transport: Any) -> _Streams:
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    return protocol, finish


def _server(connected: _Handler, limit: int) -> Callable[[], asyncio.StreamReaderProtocol]:
    loop = asyncio.get_running_loop()

    def made() -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return _ServerProtocol(reader, connected, loop=loop)

    return made


class _ServerProtocol(asyncio.StreamReaderProtocol):
    """Keeps the handler until it is done, and leaves the writer to it, which closes itself if it is
    unreferenced.

    As in CPython 3.13 and later. Before, the protocol kept the writer as long as the connection was
    open. (`asyncio.start_server(ssl=...)` closes at the peer's end even if the
    handler has the writer, because `ssl` has no half-closed connections.)
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._stream_writer = None
        # No public attribute has it. It is None if the callback is not a coroutine function.
        handler: asyncio.Task[None] | None = getattr(self, "_task", None)
        if handler is not None:
            _handlers.add(handler)
            handler.add_done_callback(_handlers.discard)
