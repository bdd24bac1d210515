"""How connections end under anyio, and what a handshake does not wait for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.abc import AnyByteStream, SocketAttribute
from anyio.streams.stapled import StapledObjectStream

import polytls.anyio
import polytls.delivery
from polytls import RaggedEOF, TLSError, TLSVersion
from polytls.anyio import TLSAttribute, TLSStream
from polytls.testing.conformance.lab import PATIENCE, Lab
from polytls.testing.conformance.raw_peer import RawPeer

from .over_anyio import dialled, listening

Run = Callable[[Callable[[], Awaitable[None]]], None]

#: More than the system takes of a connection whose peer reads nothing.
MUCH = 16 << 20


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine on each backend."""

    async def limited(main: Any) -> None:
        with anyio.fail_after(PATIENCE):
            await main()

    return lambda main: anyio.run(limited, main, backend=request.param)


def rendezvous() -> tuple[AnyByteStream, AnyByteStream]:
    """Two ends in memory that buffer nothing: who sends waits until the other side receives."""
    there = anyio.create_memory_object_stream[bytes](0)
    back = anyio.create_memory_object_stream[bytes](0)
    return StapledObjectStream(there[0], back[1]), StapledObjectStream(back[0], there[1])


async def fill(client: TLSStream) -> int:
    """Send until the peer's system and ours take no more; return how many bytes were taken."""
    sent = 0
    with anyio.move_on_after(PATIENCE):
        while sent < MUCH:
            known = client.extra(SocketAttribute.raw_socket)
            if sent > 1 << 18 and polytls.delivery.unacknowledged(known):
                break
            await client.send(bytes(8192))
            sent += 8192
    return sent


def test_a_handshake_does_not_wait_until_a_client_takes_its_tickets(
    run: Run, lab: Lab, version: TLSVersion
) -> None:
    async def main() -> None:
        context = lab.client(version=version)
        server_context = lab.server(version=version)
        for resumed in (False, True):
            one, other = rendezvous()
            got: list[bytes] = []

            async def serve(below: Any = other, got: list[bytes] = got) -> None:
                server = await TLSStream.wrap(below, server_context)
                got.append(await server.receive())
                await server.send(b"answer")
                await server.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve)
                client = await TLSStream.wrap(one, context, server_hostname=lab.host)
                await client.send(b"question")
                assert await client.receive() == b"answer"
                assert client.extra(TLSAttribute.info).resumed is resumed
                with suppress(anyio.EndOfStream):
                    await client.receive()
                await client.aclose()
            assert got == [b"question"]

    run(main)


def test_who_only_sends_over_a_socket_gets_tickets_all_the_same(run: Run, lab: Lab) -> None:
    async def swallow(stream: TLSStream) -> None:
        async with stream:
            async for _ in stream:
                pass

    async def main() -> None:
        context = lab.client(version=TLSVersion.TLSv1_3)
        async with listening(lab, swallow) as port:
            for resumed in (False, True):
                client = await dialled(lab, port, tls=context)
                await client.send(b"data")
                with anyio.move_on_after(0.2):
                    await client.receive()
                assert client.extra(TLSAttribute.info).resumed is resumed
                await client.aclose()

    run(main)


def test_closing_from_a_server_that_sends_for_ever_is_no_error(
    run: Run, lab: Lab, version: TLSVersion
) -> None:
    sent = 0

    async def for_ever(stream: TLSStream) -> None:
        nonlocal sent
        with suppress(anyio.BrokenResourceError):
            async with stream:
                while True:
                    await stream.send(bytes(1 << 18))
                    sent += 1 << 18

    async def main() -> None:
        async with listening(lab, for_ever, tls=lab.server(version=version)) as port:
            client = await dialled(lab, port)
            await client.send(b"go on")
            for _ in range(50):
                await client.receive()
            before = sent
            await client.aclose()
            assert sent - before < 256 << 20

    run(main)


def test_closing_waits_for_no_peer_that_has_everything(
    run: Run, lab: Lab, version: TLSVersion
) -> None:
    async def silent(stream: TLSStream) -> None:
        await over.wait()
        await anyio.aclose_forcefully(stream)

    async def main() -> None:
        nonlocal over
        over = anyio.Event()
        async with listening(lab, silent, tls=lab.server(version=version)) as port:
            clients = [await dialled(lab, port) for _ in range(10)]
            for client in clients:
                await client.send(b"a request")
            # All of them in less than what one that is waited for would take.
            with anyio.fail_after(polytls.anyio.CLOSE_TIMEOUT):
                for client in clients:
                    await client.aclose()
            over.set()

    over: anyio.Event
    run(main)


def test_closing_delivers_what_was_sent(run: Run, lab: Lab, version: TLSVersion) -> None:
    async def late(stream: TLSStream) -> None:
        await begin.wait()
        with suppress(anyio.BrokenResourceError):
            # The client reads this out, so that it does not end in a reset.
            await stream.send(b"too late" * 1000)
        count = 0
        with suppress(anyio.EndOfStream):
            while data := await stream.receive():
                count += len(data)
        got.append(count)
        done.set()
        await anyio.aclose_forcefully(stream)

    async def main() -> None:
        nonlocal begin, done
        begin, done = anyio.Event(), anyio.Event()
        async with (
            listening(lab, late, tls=lab.server(version=version)) as port,
            anyio.create_task_group() as tasks,
        ):
            client = await dialled(lab, port)
            sent = await fill(client)
            tasks.start_soon(client.aclose)
            await anyio.sleep(0.05)
            begin.set()
            await done.wait()
            assert got == [sent]

    got: list[int] = []
    begin: anyio.Event
    done: anyio.Event
    run(main)


def test_data_that_the_peer_does_not_take_is_an_error(
    run: Run, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polytls.anyio, "CLOSE_TIMEOUT", 0.2)

    async def silent(stream: TLSStream) -> None:
        await over.wait()
        await anyio.aclose_forcefully(stream)

    async def main() -> None:
        nonlocal over
        over = anyio.Event()
        async with listening(lab, silent) as port:
            client = await dialled(lab, port)
            await fill(client)
            with pytest.raises(anyio.BrokenResourceError) as caught:
                await client.aclose()
            assert isinstance(caught.value.__cause__, TimeoutError)
            assert "may be lost" in str(caught.value.__cause__)
            with pytest.raises(anyio.ClosedResourceError):
                await client.send(b"x")
            over.set()

    over: anyio.Event
    run(main)


def test_a_reset_that_takes_data_is_an_error(run: Run, lab: Lab) -> None:
    async def reset(stream: TLSStream) -> None:
        await over.wait()
        raw = stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await anyio.aclose_forcefully(stream)

    async def main() -> None:
        nonlocal over
        over = anyio.Event()
        async with listening(lab, reset) as port:
            client = await dialled(lab, port)
            await fill(client)
            over.set()
            with pytest.raises(anyio.BrokenResourceError):
                await client.aclose()

    over: anyio.Event
    run(main)


def test_what_an_exception_cuts_short_does_not_look_complete(run: Run, lab: Lab) -> None:
    async def fails(stream: TLSStream) -> None:
        with suppress(ZeroDivisionError):
            async with stream:
                await stream.send(b"half of it")
                raise ZeroDivisionError

    async def main() -> None:
        async with listening(lab, fails) as port:
            client = await dialled(lab, port)
            assert await client.receive() == b"half of it"
            with pytest.raises(anyio.BrokenResourceError) as caught:
                await client.receive()
            assert isinstance(caught.value.__cause__, RaggedEOF | ConnectionError)
            await client.aclose()

    run(main)


# --- resets ---


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(
    ("backend", "options"),
    [("asyncio", {}), ("asyncio", {"use_uvloop": True}), ("trio", {})],
    ids=["asyncio", "uvloop", "trio"],
)
def test_what_a_reset_destroyed_is_told_and_nothing_else(
    backend: str,
    options: dict[str, Any],
    answered: bool,
    lab: Lab,
    threads: ThreadPoolExecutor,
) -> None:
    """asyncio and uvloop close a socket that is broken: by then nobody can ask what has arrived."""
    length, sent = 300_000, threading.Event()

    def serve() -> None:
        plain, _ = listener.accept()
        with plain:
            peer = RawPeer(lab.server().create_buffer(), plain)
            peer.drive(peer.buffer.do_handshake)
            if answered:
                peer.read(length)
                peer.drive(peer.buffer.write, b"!")
            assert sent.wait(PATIENCE)
            peer.reset()

    async def main() -> None:
        stream = await dialled(lab, listener.getsockname()[1])
        await stream.send(bytes(length))
        if answered:
            assert await stream.receive() == b"!"
        sent.set()
        while not serving.done():
            await anyio.sleep(0.001)
        serving.result()
        await anyio.sleep(0.05)  # The loop hears of it.
        if answered:
            await stream.aclose()
        else:
            with pytest.raises(anyio.BrokenResourceError):
                await stream.aclose()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        # So little that some of the data stays with us.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        serving = threads.submit(serve)
        anyio.run(main, backend=backend, backend_options=options)


def test_of_a_stream_that_is_closed_facts_stay_known_and_nothing_else(
    run: Run, lab: Lab, version: TLSVersion
) -> None:
    async def answer(stream: TLSStream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async def main() -> None:
        async with listening(lab, answer, tls=lab.server(version=version)) as port:
            client = await dialled(lab, port)
            await client.send(b"data")
            assert await client.receive() == b"data"
            await client.aclose()
            assert client.extra(TLSAttribute.info).version is version
            buffer = client.extra(TLSAttribute.buffer)
            for call in (lambda: buffer.read(1), lambda: buffer.write(b"late"), buffer.shutdown):
                with pytest.raises(TLSError, match="aborted"):
                    call()
            assert buffer.outgoing_bytes_buffered() == 0

    run(main)
