"""Event loops and handshakes that ask the application: nothing stays, however it answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import anyio
import pytest

import polytls
from polytls.anyio import TLSAttribute, TLSListener, TLSStream
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.leftovers import CALLBACKS, RAISED, Census, Stop, tolerating


def each_case(function: Any) -> Any:
    """For each callback, on each side, with each outcome."""
    for mark in (
        pytest.mark.parametrize("callback", CALLBACKS),
        pytest.mark.parametrize("side", ["client", "server"]),
        pytest.mark.parametrize("raised", RAISED.values(), ids=RAISED),
    ):
        function = mark(function)
    return function


def contexts(lab: Any, callback: str, side: str, raised: Any) -> tuple[Any, Any] | None:
    """A client's and a server's context; None where the library has no such callback."""
    try:
        return CALLBACKS[callback](lab, side, raised)
    except polytls.ConfigurationError:
        assert callback != "verifier"
        assert "signer" not in lab.implementation.capabilities.key_sources
        return None


class Complaints(list[dict[str, Any]]):
    """What an event loop complains of: kinds of exceptions, as the exceptions lead to frames."""

    def __init__(self) -> None:
        self.kinds: set[type | None] = set()

    def append(self, what: dict[str, Any]) -> None:
        """Take one of what its exception handler is told."""
        exception = what.get("exception")
        self.kinds.add(None if exception is None else type(exception))


@each_case
def test_streams_under_asyncio_leave_nothing(
    lab: Any,
    run: Any,
    serve: Any,
    dial: Any,
    leave: Any,
    census: Census,
    callback: str,
    side: str,
    raised: Any,
) -> None:
    if (made := contexts(lab, callback, side, raised)) is None:
        return
    client, server = made

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = census.session(writer.transport, writer.get_extra_info("tls_buffer"))
        with tolerating(raised):
            await reader.read(1)
        await leave(writer)
        del session

    async def attempt() -> None:
        session = census.session()
        async with serve(handle, server) as address:
            with tolerating(raised):
                reader, writer = await dial(address, client)
                session.connection = writer
                writer.write(b"x")
                with tolerating(raised):
                    await reader.read(1)
                await leave(writer)

    async def main() -> None:
        await census.assert_nothing_stays_of(attempt, asyncio.sleep)

    complaints = Complaints()
    run(main, complaints=complaints)
    # What interrupts a call of the event loop's has no other caller than the loop.
    assert complaints.kinds <= ({Stop} if (callback, raised) == ("key log", Stop) else set())


@each_case
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_streams_under_anyio_leave_nothing(
    lab: Any,
    census: Census,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    callback: str,
    side: str,
    raised: Any,
) -> None:
    # trio keeps a thread for ten seconds after its work: too long for who counts them.
    monkeypatch.setattr("trio._core._thread_cache.IDLE_TIMEOUT", 0.01)
    if (made := contexts(lab, callback, side, raised)) is None:
        return
    client, server = made

    async def handle(stream: TLSStream) -> None:
        session = census.session(stream, stream.extra(TLSAttribute.buffer))
        async with stream:
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
                await stream.receive()
        del session

    async def attempt() -> None:
        session = census.session()
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with TLSListener(listener, server) as secured, anyio.create_task_group() as tasks:
            tasks.start_soon(secured.serve, handle)
            below = await anyio.connect_tcp(
                "127.0.0.1", secured.extra(anyio.abc.SocketAttribute.local_port)
            )
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream), tolerating(raised):
                async with await TLSStream.wrap(below, client, server_hostname=lab.host) as stream:
                    session.connection = stream
                    await stream.send(b"x")
                    await stream.receive()
            tasks.cancel_scope.cancel()

    async def tolerant() -> None:
        # A listener raises what is no verdict.
        try:
            await attempt()
        except BaseExceptionGroup as group:
            rest = group.split(Stop)[1]
            assert rest is None

    async def main() -> None:
        with anyio.fail_after(PATIENCE):
            await census.assert_nothing_stays_of(tolerant, anyio.sleep)

    anyio.run(main, backend=backend)
