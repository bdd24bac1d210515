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
    """Connect and return a reader and a writer, as `asyncio.open_connection`.

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
    """Connect to the Unix socket at `path`; otherwise as `open_connection`."""
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
    """Listen, and call back with a reader and a writer for each client, as `asyncio.start_server`.

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
    """Listen at the Unix socket `path`; otherwise as `start_server`."""
    factory = _server(client_connected_cb, limit)
    return await create_unix_server(factory, path, tls=tls, **kwds)


async def start_tls_streams(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    tls: ClientContext | ServerContext,
    **kwds: Any,
) -> None:
    """Begin TLS on a pair of streams, which then go on over it: STARTTLS.

    What was written goes out first. What the reader has received and nobody has read is the
    `leftover` of `start_tls`, whose other arguments these are; so are the errors.
    """
    await writer.drain()
    plain: Any = writer.transport
    # No public name leads to what is inside; these three have kept theirs since asyncio began.
    received = reader._buffer  # type: ignore[attr-defined]
    leftover = bytes(received)
    received.clear()
    protocol: Any = plain.get_protocol()
    try:
        transport = await start_tls(plain, protocol, tls, leftover=leftover, **kwds)
    except (TypeError, ValueError):
        # Refused before anything has happened: the streams go on as they are.
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
    """Leaves the writer to the handler alone: a writer that nobody has any more closes itself.

    As from CPython 3.13 on; before, the protocol kept the writer for as long as the connection
    was open. (`asyncio.start_server(ssl=...)` closes at the peer's end, whoever has the writer, as
    `ssl` has no half-closed connections.)
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._stream_writer = None
