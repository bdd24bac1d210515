"""Cancellation at every await of what runs under anyio: nothing is left, and nothing is lost."""

from __future__ import annotations

import gc
import math
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.stapled import StapledObjectStream

from polytls import CertificateVerificationError, SupportsKeyUpdate
from polytls.anyio import TLSAttribute, TLSListener, TLSStream
from polytls.testing.conformance.lab import PATIENCE, Lab

from .conftest import sockets
from .interruption import Cut, at_every_wait
from .over_anyio import dialled, listening


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Any:
    """Run a coroutine on each backend; it leaves no socket."""

    async def limited(main: Any) -> None:
        await anyio.sleep(0)
        before = sockets()
        with anyio.fail_after(PATIENCE):
            await main()
            while sockets() != before:
                await anyio.sleep(0.001)

    def runs(main: Any) -> None:
        anyio.run(limited, main, backend=request.param)
        gc.collect()

    return runs


async def cut_off(cut: Cut, call: Coroutine[Any, Any, Any]) -> tuple[Any] | None:
    """Await `call`, and cancel it at one wait; None if it was cancelled."""
    with anyio.CancelScope() as scope:
        return (await cut.during(call, lambda _: scope.cancel()),)
    return None


@asynccontextmanager
async def connected(lab: Lab) -> AsyncIterator[tuple[TLSStream, TLSStream]]:
    """A client and a server over a socket; closed by force at the end."""
    made: list[TLSStream] = []
    done = anyio.Event()

    async def keep(stream: TLSStream) -> None:
        made.append(stream)
        done.set()
        await anyio.sleep_forever()

    async with listening(lab, keep) as port:
        client = await dialled(lab, port)
        await done.wait()
        try:
            yield client, made[0]
        finally:
            for end in (client, made[0]):
                await anyio.aclose_forcefully(end)


async def hello(stream: TLSStream) -> None:
    async with stream:
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            await stream.send(await stream.receive())


async def receive_exactly(stream: TLSStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await stream.receive()
    return data


@pytest.mark.parametrize("name", [None, "other.example"])
def test_a_clients_handshake(run: Any, lab: Lab, name: str | None) -> None:
    async def main() -> None:
        async def attempt(cut: Cut) -> None:
            plain = await anyio.connect_tcp("127.0.0.1", port)
            call = TLSStream.wrap(plain, lab.client(), server_hostname=name or lab.host)
            try:
                made = await cut_off(cut, call)
            except CertificateVerificationError:
                made = None
                assert name is not None
            if made is not None:
                assert name is None
                await made[0].send(b"hello")
                assert await made[0].receive() == b"hello"
                await made[0].aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await plain.send(b"x")

        async with listening(lab, hello) as port:
            await at_every_wait(attempt, least=2)

    run(main)


def test_a_servers_handshake(run: Any, lab: Lab) -> None:
    async def main() -> None:
        async def attempt(cut: Cut) -> None:
            there = anyio.create_memory_object_stream[bytes](math.inf)
            back = anyio.create_memory_object_stream[bytes](math.inf)
            ours = StapledObjectStream(there[0], back[1])
            theirs = StapledObjectStream(back[0], there[1])

            async def dial() -> None:
                with suppress(OSError, anyio.BrokenResourceError, anyio.EndOfStream):
                    client = await TLSStream.wrap(theirs, lab.client(), server_hostname=lab.host)
                    await client.receive()
                await theirs.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(dial)
                made = await cut_off(cut, TLSStream.wrap(ours, lab.server()))
                if made is not None:
                    await made[0].aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await ours.send(b"x")

        await at_every_wait(attempt, least=2)

    run(main)


def test_a_receive(run: Any, lab: Lab) -> None:
    """With an answer to a change of keys on its way, where the library can change them."""

    async def main() -> None:
        async def attempt(cut: Cut) -> None:
            async with connected(lab) as (client, server), anyio.create_task_group() as tasks:

                async def speak() -> None:
                    buffer: Any = server.extra(TLSAttribute.buffer)
                    if isinstance(buffer, SupportsKeyUpdate):
                        buffer.update_keys()
                        await server._flush()
                        await anyio.sleep(0.005)
                    await server.send(b"kept")

                tasks.start_soon(speak)
                got = await cut_off(cut, client.receive())
                while got is None or len(got[0]) < 4:
                    got = ((b"" if got is None else got[0]) + await client.receive(),)
                assert got[0] == b"kept"
                await client.send(b"the other direction is unharmed")
                assert await server.receive() == b"the other direction is unharmed"

        await at_every_wait(attempt, least=2)

    run(main)


def test_a_send(run: Any, lab: Lab) -> None:
    """What is sent next breaks, or comes behind all or nothing of what was cut."""

    async def main() -> None:
        async def attempt(cut: Cut) -> None:
            async with connected(lab) as (client, server):
                sent = await cut_off(cut, client.send(b"first "))
                await server.send(b"still")
                assert await client.receive() == b"still"
                try:
                    await client.send(b"second")
                except anyio.BrokenResourceError:
                    assert sent is None
                else:
                    got = await receive_exactly(server, 6)
                    if got == b"first ":
                        got += await receive_exactly(server, 6)
                    assert got in ([b"first second"] if sent else [b"second", b"first second"])

        await at_every_wait(attempt)

    run(main)


@pytest.mark.parametrize("call", ["aclose", "send_eof"])
def test_an_end(run: Any, lab: Lab, call: str) -> None:
    async def main() -> None:
        async def attempt(cut: Cut) -> None:
            async with connected(lab) as (client, server):
                done = await cut_off(cut, getattr(client, call)())
                if call == "aclose":
                    for stream in (client, client.transport_stream):
                        with pytest.raises(anyio.ClosedResourceError):
                            await stream.send(b"x")
                elif done is not None:
                    with pytest.raises(anyio.EndOfStream):
                        await server.receive()
                else:
                    await server.send(b"still")
                    assert await client.receive() == b"still"

        await at_every_wait(attempt)

    run(main)


def test_a_listener(run: Any, lab: Lab) -> None:
    async def main() -> None:
        async def attempt(cut: Cut) -> None:
            """As often as there are clients, serving waits; then it is cut."""
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
            secured = TLSListener(listener, lab.server())
            port = secured.extra(SocketAttribute.local_port)

            async def clients() -> None:
                for _ in range(3):
                    with suppress(OSError, anyio.BrokenResourceError, anyio.EndOfStream):
                        async with await dialled(lab, port) as client:
                            await client.send(b"hello")
                            assert await client.receive() == b"hello"
                finished.append(True)

            finished: list[bool] = []
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(clients)
                inner = Cut(cut.at)
                with anyio.move_on_after(1):
                    assert await cut_off(inner, secured.serve(hello)) is None
                await secured.aclose()
            cut.waits = inner.waits if inner.waits >= cut.at and cut.at < 12 else 0
            assert finished

        await at_every_wait(attempt)

    run(main)
