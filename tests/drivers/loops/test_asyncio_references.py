"""Connections that are over are freed when nobody has them, without the garbage collector, and
handlers are not."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

import polytls.asyncio
from polytls import ClientAuthentication, TLSError
from polytls.asyncio.protocol import TLSProtocol
from polytls.asyncio.transport import TLSTransport
from polytls.testing.conformance.lab import Lab

from .conftest import Recorder

Address = tuple[str, int]
Attempt = Callable[[Address, Lab], Awaitable[None]]

#: What is counted: connections, what belongs to one, and protocols of the application. asyncio's
#: streams keep the errors that they raise, whose tracebacks lead to them.
KINDS = (TLSProtocol, TLSTransport, Recorder)


def there() -> list[Any]:
    return [each for each in gc.get_objects() if isinstance(each, KINDS)]


@pytest.fixture
def without_the_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def dial(address: Address, tls: Any, name: str) -> None:
    with suppress(OSError):
        transport, protocol = await polytls.asyncio.create_connection(
            Recorder, *address, tls=tls, server_hostname=name
        )
        # In TLS 1.3 a client hears later that it was refused.
        await protocol.lost
        transport.abort()


async def distrusts(address: Address, lab: Lab) -> None:
    await dial(address, lab.client(), "other.example")


async def is_distrusted(address: Address, lab: Lab) -> None:
    await dial(address, lab.client(), lab.host)


async def with_streams(address: Address, lab: Lab) -> None:
    with suppress(OSError):
        await polytls.asyncio.open_connection(
            *address, tls=lab.client(), server_hostname="other.example"
        )


async def upgrades(address: Address, lab: Lab) -> None:
    reader, writer = await asyncio.open_connection(*address)
    with suppress(OSError):
        await polytls.asyncio.start_tls_streams(
            reader, writer, lab.client(), server_hostname="other.example"
        )


async def no_tls(address: Address, _: Lab) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    with suppress(OSError):
        await reader.read()
    writer.transport.abort()


async def hangs_up(address: Address, lab: Lab) -> None:
    _, writer = await asyncio.open_connection(*address)
    buffer = lab.client().create_buffer(lab.host)
    with suppress(polytls.WantReadError):
        buffer.do_handshake()
    writer.write(buffer.process_outgoing(50))
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "attempt", [distrusts, is_distrusted, with_streams, upgrades, no_tls, hangs_up]
)
@pytest.mark.usefixtures("without_the_collector")
def test_handshakes_that_fail_leave_nothing_to_the_collector(
    attempt: Attempt, run: Any, lab: Lab
) -> None:
    server_context = lab.server(
        trust_store=lab.ca.trust_store(), client_authentication=ClientAuthentication.REQUIRED
    )

    async def main() -> None:
        server = await polytls.asyncio.create_server(Recorder, "127.0.0.1", 0, tls=server_context)
        address = server.sockets[0].getsockname()[:2]
        before = len(there())
        for _ in range(5):
            await attempt(address, lab)
        await until_gone(before)
        server.close()
        await server.wait_closed()

    run(main)


@pytest.mark.usefixtures("without_the_collector")
def test_a_server_that_speaks_no_tls_leaves_nothing_to_the_collector(run: Any, lab: Lab) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 welcome\r\n")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()[:2]
        before = len(there())
        for _ in range(5):
            with pytest.raises((TLSError, ConnectionError)):
                await polytls.asyncio.create_connection(
                    asyncio.Protocol, *address, tls=lab.client(), server_hostname=lab.host
                )
        await until_gone(before)
        server.close()
        await server.wait_closed()

    run(main)


@pytest.mark.usefixtures("without_the_collector")
def test_connections_that_have_ended_leave_nothing_to_the_collector(
    run: Any, serve: Any, echo: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server()) as address:
            before = len(there())
            for _ in range(5):
                transport, protocol = await polytls.asyncio.create_connection(
                    Recorder, *address, tls=lab.client(), server_hostname=lab.host
                )
                transport.write(b"x")
                await protocol.until(lambda protocol=protocol: bool(protocol.data))
                transport.close()
                await protocol.lost
            del transport, protocol
            await until_gone(before)

    run(main)


def test_a_handler_goes_on_after_its_connection(run: Any, serve: Any, dial: Any, lab: Lab) -> None:
    answers: list[bytes] = []

    async def main() -> None:
        awaited, collected, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            awaited.set()
            await collected.wait()
            writer.write(b"answer")
            writer.close()

        async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()
            await writer.wait_closed()
            # Nothing of the loop refers to who reads this.
            reader, writer = await asyncio.open_connection(*backend.sockets[0].getsockname())
            answers.append(await reader.read())
            writer.close()
            await writer.wait_closed()
            done.set()

        backend = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with serve(ask, lab.server()) as address:
            reader, writer = await dial(address)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            await awaited.wait()
            gc.collect()
            collected.set()
            await done.wait()
        backend.close()
        await backend.wait_closed()

    run(main)
    assert answers == [b"answer"]


async def until_gone(before: int) -> None:
    """Wait until there are no more than before; the other side may have a few steps to go."""
    for _ in range(300):
        if len(there()) <= before:
            return
        await asyncio.sleep(0.01)
    raise AssertionError([type(each).__name__ for each in there()])
