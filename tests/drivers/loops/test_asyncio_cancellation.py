"""Cancellation at every await of what runs under asyncio: nothing is left, and nothing is lost."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

import polytls.asyncio
from polytls.testing.conformance.lab import Lab, Whole

from .interruption import Cut, at_every_wait


@pytest.fixture(params=["while it waits", "when it has come"])
def cut_off(request: pytest.FixtureRequest) -> Any:
    """Run a coroutine as a task and cancel it at one wait; None if it was cancelled.

    While it waits; or just after what it waits for has come, before it hears of that.
    """

    async def cutting(cut: Cut, call: Coroutine[Any, Any, Any]) -> tuple[Any] | None:
        def cancel(waited: Any) -> None:
            if request.param == "when it has come" and waited is not None:
                waited.add_done_callback(lambda _: task.cancel())
            else:
                task.cancel()

        async def run() -> Any:
            return await cut.during(call, cancel)

        task = asyncio.create_task(run())
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()  # If it is us who are cancelled.
        if task.cancelled():
            assert not cut.through
            return None
        result = (task.result(),)
        assert cut.through, "it has swallowed its cancellation"
        return result

    return cutting


def test_a_connect(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab, cut_off: Any
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server()) as address:

            async def attempt(cut: Cut) -> None:
                made = await cut_off(cut, dial(address))
                if made is not None:
                    reader, writer = made[0]
                    writer.write(b"through")
                    assert await reader.readexactly(7) == b"through"
                    await leave(writer)

            await at_every_wait(attempt)
            # The last that was cut has been accepted when this one is through.
            _, writer = await dial(address)
            await leave(writer)
        gc.collect()

    run(main)


def test_a_connect_whose_certificate_is_refused(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab, cut_off: Any
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server()) as address:

            async def attempt(cut: Cut) -> None:
                with suppress(polytls.CertificateVerificationError):
                    assert (
                        await cut_off(cut, dial(address, server_hostname="other.example")) is None
                    )

            await at_every_wait(attempt)
            _, writer = await dial(address)
            await leave(writer)
        gc.collect()

    run(main)


@pytest.mark.parametrize("side", ["client", "server"])
def test_an_upgrade(side: str, run: Any, serve: Any, leave: Any, lab: Lab, cut_off: Any) -> None:
    """Once TLS has begun, a connection whose upgrade is cut is over for both sides."""
    upgrade = polytls.asyncio.start_tls_streams

    async def main() -> None:
        cut = Cut(0)
        ended: asyncio.Queue[bool] = asyncio.Queue()

        async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made: Any = ()
            try:
                assert await reader.readline() == b"go\n"
                call = upgrade(reader, writer, lab.server())
                made = await (cut_off(cut, call) if side == "server" else call)
                if made is not None or side == "client":
                    writer.write(await reader.readexactly(5))
            except (OSError, EOFError):
                made = None
            await leave(writer)
            ended.put_nowait(made is not None or side == "client")

        async def attempt(now: Cut) -> None:
            nonlocal cut
            cut = now
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"go\n")
            call = upgrade(reader, writer, lab.client(), server_hostname=lab.host)
            through = False
            with suppress(OSError, EOFError):
                if (await cut_off(cut, call) if side == "client" else (await call,)) is not None:
                    writer.write(b"hello")
                    through = await reader.readexactly(5) == b"hello"
            await leave(writer)
            assert await ended.get() is (cut.through or side == "client")
            assert through is cut.through

        async with serve(serving, None) as address:
            await at_every_wait(attempt)
        gc.collect()

    run(main)


def test_a_drain_a_read_and_the_wait_for_the_end(
    run: Any, serve: Any, dial: Any, leave: Any, lab: Lab, cut_off: Any
) -> None:
    data = random.Random(5).randbytes(12 << 20)

    async def late_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lets the client wait for everything: to be read from, for the answer, for the end."""
        await begin.wait()
        writer.write(await reader.readexactly(len(data)))
        await writer.drain()
        await end.wait()
        assert await reader.read() == Whole(data)
        await leave(writer)

    async def main() -> None:
        async with serve(late_echo, lab.server(), limit=len(data)) as address:

            async def attempt(cut: Cut) -> None:
                nonlocal begin, end
                begin, end = asyncio.Event(), asyncio.Event()
                reader, writer = await dial(address)
                writer.write(data)
                asyncio.get_running_loop().call_later(0.01, begin.set)
                await cut_off(cut, writer.drain())
                await writer.drain()
                got = bytearray()
                while len(got) < len(data):
                    piece = await cut_off(Cut(1), reader.read(100_001))
                    got += await reader.read(100_001) if piece is None else piece[0]
                assert got == Whole(data)
                writer.write(data)
                writer.close()
                asyncio.get_running_loop().call_later(0.01, end.set)
                last = Cut(1)
                await cut_off(last, writer.wait_closed())
                assert not last.through  # asyncio's streams cannot wait twice.

            await at_every_wait(attempt)
        gc.collect()

    begin: asyncio.Event
    end: asyncio.Event
    run(main)


def test_starting_a_server(
    run: Any, dial: Any, echo: Any, leave: Any, lab: Lab, cut_off: Any
) -> None:
    async def main() -> None:
        async def attempt(cut: Cut) -> None:
            call = polytls.asyncio.start_server(echo, "127.0.0.1", 0, tls=lab.server())
            made = await cut_off(cut, call)
            if made is not None:
                server = made[0]
                _, writer = await dial(server.sockets[0].getsockname())
                await leave(writer)
                server.close()
                await server.wait_closed()

        await at_every_wait(attempt, least=0)
        gc.collect()

    run(main)


def test_a_servers_handler(
    run: Any, serve: Any, dial: Any, leave: Any, lab: Lab, cut_off: Any
) -> None:
    """Not what the loop does before it is called: that leaves things behind without TLS, too."""

    async def main() -> None:
        cut = Cut(0)
        ended: asyncio.Queue[bool] = asyncio.Queue()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(5))
            await writer.drain()
            assert await reader.read() == b""

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made = await cut_off(cut, talk(reader, writer))
            await leave(writer)
            ended.put_nowait(made is not None)

        async def attempt(now: Cut) -> None:
            nonlocal cut
            cut = now
            reader, writer = await dial(address)
            await asyncio.sleep(0.005)
            writer.write(b"hello")
            with suppress(OSError):
                assert await reader.read(5) in (b"", b"hello")
            await asyncio.sleep(0.005)
            await leave(writer)
            assert await ended.get() is cut.through

        async with serve(handler, lab.server()) as address:
            await at_every_wait(attempt)
        gc.collect()

    run(main)
