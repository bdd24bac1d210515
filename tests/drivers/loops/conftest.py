"""What the tests of async drivers share: loops, servers, and peers that are driven by hand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import polytls.asyncio
from polytls import TLSBuffer, WantReadError
from polytls.testing.conformance.lab import PATIENCE, Lab

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]]
if sys.platform == "win32":
    LOOPS = {"proactor": asyncio.ProactorEventLoop, "selector": asyncio.SelectorEventLoop}
else:
    import uvloop

    LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    # libuv opens what it handles signals with once for the process, and keeps it.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
        _runner.run(asyncio.sleep(0))

Main = Callable[[], Coroutine[Any, Any, Any]]


def sockets() -> int:
    """How many there are, where they can be counted."""
    found = 0
    for link in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # The one that the listing itself uses.
            found += str(link.readlink()).startswith("socket:")
    return found


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    """Run a coroutine on each loop.

    It leaves no task, no socket, and nothing for the exception handler.
    """

    def runs(
        main: Main, *, complaints: list[dict[str, Any]] | None = None, patience: float = PATIENCE
    ) -> Any:
        heard: list[dict[str, Any]] = [] if complaints is None else complaints

        async def watched() -> Any:
            asyncio.get_running_loop().set_exception_handler(lambda _, what: heard.append(what))
            before = sockets()
            async with asyncio.timeout(patience):
                result = await main()
                # The other side of what has just ended may have a few steps to go.
                while asyncio.all_tasks() != {asyncio.current_task()} or sockets() != before:
                    await asyncio.sleep(0.001)
            return result

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            result = runner.run(watched())
        if complaints is None:
            assert heard == []
        return result

    return runs


Serve = Callable[..., AbstractAsyncContextManager[tuple[str, int]]]


@pytest.fixture
def serve() -> Serve:
    """Serve on loopback with a handler of streams; gives the address."""

    @asynccontextmanager
    async def serving(handler: Any, tls: Any, **given: Any) -> AsyncIterator[tuple[str, int]]:
        server = await polytls.asyncio.start_server(handler, "127.0.0.1", 0, tls=tls, **given)
        try:
            yield server.sockets[0].getsockname()[:2]
        finally:
            server.close()
            await server.wait_closed()

    return serving


@pytest.fixture
def dial(lab: Lab) -> Callable[..., Awaitable[Any]]:
    """Connect streams to an address, as a client that trusts the server."""

    async def dialled(address: tuple[str, int], tls: Any = None, **given: Any) -> Any:
        given.setdefault("server_hostname", lab.host)
        return await polytls.asyncio.open_connection(*address, tls=tls or lab.client(), **given)

    return dialled


@pytest.fixture
def echo() -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """A handler that sends back what comes, and then closes."""

    async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        await gone(writer)

    return echoes


@pytest.fixture
def leave() -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """Close a writer and wait, whatever ended the connection."""
    return gone


async def gone(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


class Hand:
    """One side of a connection, driven by hand over plain streams: it can do what is not done."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, buffer: TLSBuffer
    ) -> None:
        self.reader, self.writer, self.buffer = reader, writer, buffer
        self.cut = False

    async def flush(self) -> None:
        waiting = self.buffer.process_outgoing(self.buffer.outgoing_bytes_buffered())
        if not self.cut:
            self.writer.write(waiting)
        await self.writer.drain()

    async def until(self, call: Callable[[], Any]) -> Any:
        """Call until it does not want to read; what comes and goes meanwhile is carried."""
        while True:
            try:
                result = call()
            except WantReadError:
                await self.flush()
                self.buffer.process_incoming(await self.reader.read(1 << 16))
            except BaseException:
                await self.flush()
                raise
            else:
                await self.flush()
                return result

    async def handshake(self) -> None:
        await self.until(self.buffer.do_handshake)

    async def read(self, amount: int = 1 << 16) -> bytes:
        return await self.until(lambda: self.buffer.read(amount))

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.buffer.write(view) :]
            await self.flush()

    async def say_goodbye(self) -> None:
        with suppress(WantReadError):
            self.buffer.shutdown()
        await self.flush()

    def cut_off(self) -> None:
        """End this side of the stream below, with no word of it over TLS."""
        self.cut = True
        self.writer.write_eof()

    def reset(self) -> None:
        """End with a reset."""
        self.writer.transport.abort()


@pytest.fixture
def by_hand() -> Any:
    """Serve one client by hand: `async with by_hand(script, buffer)`; gives the address."""

    @asynccontextmanager
    async def serving(script: Any, buffer: TLSBuffer) -> AsyncIterator[tuple[str, int]]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await script(Hand(reader, writer, buffer))
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)
            finally:
                await gone(writer)

        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[:2]
            await done
        finally:
            done.cancel()
            server.close()
            await server.wait_closed()

    return serving


@pytest.fixture
def hand() -> Callable[..., Awaitable[Hand]]:
    """A client that is driven by hand."""

    async def made(address: tuple[str, int], buffer: TLSBuffer) -> Hand:
        return Hand(*await asyncio.open_connection(*address), buffer)

    return made


class Recorder(asyncio.Protocol):
    """A protocol that remembers what it was told."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.keep_open = keep_open
        self.said: list[str] = []
        self.data = bytearray()
        self.transport: Any = None
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.note("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.note("data")

    def eof_received(self) -> bool:
        self.note("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.note("lost")
        self.lost.set_result(exc)

    def note(self, what: str) -> None:
        if self.said[-1:] != [what] or what != "data":
            self.said.append(what)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):
    """The same with a buffer of its own, which is small."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.room = bytearray(1000)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.room

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self.room[:nbytes]))


@pytest.fixture(params=[Recorder, BufferedRecorder])
def recorder(request: pytest.FixtureRequest) -> Any:
    """Both kinds of protocols."""
    return request.param
