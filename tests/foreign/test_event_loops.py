"""Third parties' buffers under event loops: the same connection drives them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import polytls.anyio
import polytls.asyncio
from foreign.wrapped import HOST, client_context, server_context
from polytls import PeerMisbehaved, TLSError
from polytls.testing.conformance.driven import Wrapped

#: More than one record, and than a transport takes at once.
MUCH = bytes(range(256)) * 8192


class Context:
    """A context of somebody else's: rustls's configuration, and buffers of `kind` in Python."""

    def __init__(self, inner: Any, kind: Callable[[Any], Any] = Wrapped) -> None:
        self.inner = inner
        self.kind = kind
        self.configuration = inner.configuration

    def create_buffer(self, *given: Any) -> Any:
        return self.kind(self.inner.create_buffer(*given))

    def connect(self, address: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("sides", ["client", "server", "both"])
def test_data_goes_both_ways_and_ends_in_order_under_asyncio(sides: str) -> None:
    client: Any = client_context()
    server: Any = server_context()
    client = client if sides == "server" else Context(client)
    server = server if sides == "client" else Context(server)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        listener = await polytls.asyncio.start_server(echo, "127.0.0.1", 0, tls=server)
        async with listener:
            port = listener.sockets[0].getsockname()[1]
            reader, writer = await polytls.asyncio.open_connection(
                "127.0.0.1", port, tls=client, server_hostname=HOST
            )

            async def send() -> None:
                writer.write(MUCH)
                await writer.drain()

            sending = asyncio.create_task(send())
            assert await reader.readexactly(len(MUCH)) == MUCH
            await sending
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_what_it_raises_is_raised_as_it_is_under_asyncio() -> None:
    error = PeerMisbehaved("its own")

    class Failing(Wrapped):
        def read(self, *_: Any) -> Any:
            raise error

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"data")
        await writer.drain()
        writer.close()

    async def main() -> None:
        server: Any = server_context()
        listener = await polytls.asyncio.start_server(speak, "127.0.0.1", 0, tls=server)
        async with listener:
            port = listener.sockets[0].getsockname()[1]
            client: Any = Context(client_context(), Failing)
            reader, writer = await polytls.asyncio.open_connection(
                "127.0.0.1", port, tls=client, server_hostname=HOST
            )
            with pytest.raises(PeerMisbehaved, match="its own"):
                await reader.read(100)
            writer.close()
            with pytest.raises(PeerMisbehaved, match="its own"):
                await writer.wait_closed()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_mistake_of_its_author_ends_the_handshake_under_asyncio() -> None:
    class Wrong(Wrapped):
        def outgoing_bytes_buffered(self) -> int:
            return -1

    async def main() -> None:
        left = asyncio.Event()

        async def wait_for_the_end(reader: asyncio.StreamReader, writer: Any) -> None:
            await reader.read()
            writer.close()
            await writer.wait_closed()
            left.set()

        listener = await asyncio.start_server(wait_for_the_end, "127.0.0.1", 0)
        async with listener:
            port = listener.sockets[0].getsockname()[1]
            client: Any = Context(client_context(), Wrong)
            with pytest.raises(TLSError, match=r"outgoing_bytes_buffered\(\) returned -1"):
                await polytls.asyncio.open_connection(
                    "127.0.0.1", port, tls=client, server_hostname=HOST
                )
            await left.wait()

    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_data_goes_both_ways_under_anyio(backend: str) -> None:
    async def main() -> None:
        one, other = await _tied()
        client: Any = Context(client_context())
        server: Any = Context(server_context())
        made: list[Any] = []

        async def serve() -> None:
            made.append(await polytls.anyio.TLSStream.wrap(other, server))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(serve)
                stream = await polytls.anyio.TLSStream.wrap(one, client, server_hostname=HOST)
            (accepted,) = made
            async with anyio.create_task_group() as group:
                group.start_soon(stream.send, MUCH)
                received = bytearray()
                while len(received) < len(MUCH):
                    received += await accepted.receive()
            assert received == MUCH
            async with anyio.create_task_group() as group:
                group.start_soon(stream.aclose)
                with pytest.raises(anyio.EndOfStream):
                    await accepted.receive()
                await accepted.aclose()

    anyio.run(main, backend=backend)


async def _tied() -> tuple[Any, Any]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    accepted: list[Any] = []

    async def accept() -> None:
        accepted.append(await listener.listeners[0].accept())  # type: ignore[attr-defined]

    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as group:
        group.start_soon(accept)
        made = await anyio.connect_tcp("127.0.0.1", port)
    await listener.aclose()
    return made, accepted[0]
