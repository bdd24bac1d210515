"""Cases with asyncio and uvloop, over loopback: protocols and transports on both sides, no tasks,
but for the client of a download by streams.

The server's side runs in the other process (`server`), an event loop for each kind.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from .loopback import connected_server, on_client_core, tcp
from .peers import Contexts, Library, Unable, imported
from .requests import ECHO, MESSAGE, PIECE, REQUEST, SEND, Request
from .rounds import Bench, Case, Sample

__all__ = ["CASES", "LOOPS", "LoopName", "new_loop", "serve_in_thread"]

LoopName: TypeAlias = Literal["asyncio", "uvloop"]
LOOPS: tuple[LoopName, ...] = ("asyncio", "uvloop")


def new_loop(name: LoopName) -> asyncio.AbstractEventLoop:
    """A loop of the kind; raises Unable."""
    if name == "asyncio":
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = imported("uvloop").new_event_loop()
    return loop


class Answering(asyncio.Protocol):
    """The server's side of one connection."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._asked = b""
        self._to_send = self._to_echo = 0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._to_echo:
            self._to_echo -= len(data)
            self._transport.write(data)
            return
        self._asked += data
        if len(self._asked) < REQUEST:
            return
        request = Request.from_bytes(self._asked[:REQUEST])
        rest, self._asked = self._asked[REQUEST:], b""
        if request.kind == SEND:
            self._to_send = request.amount
            self._send()
        else:
            self._to_echo = request.amount * MESSAGE
            if rest:
                self.data_received(rest)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send()

    def _send(self) -> None:
        while self._to_send and not self._paused:
            piece = min(self._to_send, len(PIECE))
            self._to_send -= piece
            self._transport.write(PIECE[:piece])


def serve_in_thread(contexts: Contexts, name: LoopName) -> int:
    """Start a server; returns its port, 0 where the library or the loop is not there."""
    try:
        loop, asynchronous = new_loop(name), contexts.asynchronous()
    except Unable:
        return 0
    server = loop.run_until_complete(asynchronous.serve(Answering))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    port: int = server.sockets[0].getsockname()[1]
    return port


class Downloading(asyncio.BufferedProtocol):
    """Counts what comes into one buffer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._into = bytearray(256 * 1024)
        self._left = 0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002
        return self._into

    def buffer_updated(self, nbytes: int) -> None:
        self._left -= nbytes
        if not self._left:
            self._done.set_result(None)

    async def run(self, count: int) -> float:
        self._left = count * len(PIECE)
        self._done = self._loop.create_future()
        began = time.perf_counter()
        self._transport.write(Request(SEND, self._left).to_bytes())
        await self._done
        return time.perf_counter() - began


class Streaming(asyncio.StreamReaderProtocol):
    """Reads as programs do that know `asyncio.open_connection`."""

    #: Of a read, and of what waits to be read.
    _MOST = 256 * 1024

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._reader = asyncio.StreamReader(self._MOST, loop)
        super().__init__(self._reader, loop=loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._writer: Any = transport

    async def run(self, count: int) -> float:
        left = count * len(PIECE)
        began = time.perf_counter()
        self._writer.write(Request(SEND, left).to_bytes())
        while left:
            data = await self._reader.read(self._MOST)
            if not data:
                raise EOFError("the server hung up")
            left -= len(data)
        return time.perf_counter() - began


class Echoing(asyncio.Protocol):
    """Sends the next message when the last has come back."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._message = bytes(range(MESSAGE))
        self._came = b""
        self._left = 0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        if len(self._came) < MESSAGE:
            return
        assert self._came == self._message
        self._came = b""
        self._left -= 1
        if self._left:
            self._transport.write(self._message)
        else:
            self._done.set_result(None)

    async def run(self, count: int) -> float:
        self._left = count
        self._done = self._loop.create_future()
        began = time.perf_counter()
        self._transport.write(Request(ECHO, count).to_bytes())
        self._transport.write(self._message)
        await self._done
        return time.perf_counter() - began


def _prepare(
    name: LoopName, protocol: type[Downloading | Streaming | Echoing], amount: float
) -> Callable[[Bench, Library], Sample]:
    def prepare(bench: Bench, library: Library) -> Sample:
        loop = new_loop(name)
        bench.stack.callback(loop.close)
        server = connected_server(bench, library)
        asynchronous = server.contexts.asynchronous()
        port = server.looping[LOOPS.index(name)]

        async def connect() -> tuple[Any, Any]:
            return await asynchronous.connect(lambda: protocol(loop), port)

        transport, client = loop.run_until_complete(connect())

        def end() -> None:
            transport.abort()
            loop.run_until_complete(asyncio.sleep(0))

        bench.stack.callback(end)

        def run(count: int) -> float:
            took: float = loop.run_until_complete(client.run(count))
            return took

        with bench.cores.on(-2):
            sample = bench.rate(run, amount)
        return on_client_core(bench, sample)

    return prepare


def _case(name: LoopName, what: str, unit: str, prepare: Any) -> Case:
    return Case(f"{name} {what}", unit, prepare, floor=tcp(prepare))


CASES: list[Case] = [
    case
    for name in LOOPS
    for case in (
        _case(name, "download", "MB/s", _prepare(name, Downloading, len(PIECE) / 1e6)),
        _case(name, "streams download", "MB/s", _prepare(name, Streaming, len(PIECE) / 1e6)),
        _case(name, "echo 100 B", "1/s", _prepare(name, Echoing, 1.0)),
    )
]
