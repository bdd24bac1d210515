"""Thousands of connections that end in every way: what was accepted arrives, or somebody is told.

Each connection sends so much to a peer that counts, and ends as the table says. The peers are
buffers over plain sockets, in threads: they can do what no driver does: reset, say nothing, hang
up.
Afterwards no descriptor, thread, task or object is left, and memory is what it was at half time.

The short form is for `make test`. With POLYTLS_SOAK set, as `make soak` does, it is 20,000
connections over all drivers and implementations.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import random
import socket
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
import uvloop

import polytls.asyncio
from polytls import RaggedEOF, TLSError
from polytls.anyio import TLSStream
from polytls.streams import wrap
from polytls.testing.conformance.lab import Lab
from polytls.testing.conformance.raw_peer import RawPeer, reset

LONG: Final = "POLYTLS_SOAK" in os.environ
#: Of each driver and implementation: there are sixteen of these.
CONNECTIONS: Final = 1254 if LONG else 66
#: Of them at a time.
AT_ONCE: Final = 8
#: What one call may take that has a reason to end, in seconds.
PATIENCE: Final = 60.0
#: What a call may take whose peer says nothing, in seconds.
SOON: Final = 0.1
#: How much more memory may be in use at the end than at half time.
GROWTH: Final = 1.05

#: What a connection sends first: its number and the length of what follows.
HEAD: Final = 8
#: What the system takes in for a peer that reads nothing, at most.
WINDOW: Final = 1 << 16
#: More than both systems take for such a peer.
TOO_MUCH: Final = 8 << 20

# libuv opens what it handles signals with once for the process, and keeps it.
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
    _runner.run(asyncio.sleep(0))

ANSWER: Final = b"thanks"
PLAIN: Final = b"in the clear"

#: What the peer does. It reads to the end, if nothing else is said.
POLITE: Final = "reads to the end, and says goodbye"
HANGS_UP: Final = "reads to the end, and hangs up"
RESETS: Final = "resets amid the data"
SILENT: Final = "reads nothing until it is told to"

#: How our side ends, and what the peer does meanwhile; each ending that all of a driver's have.
ENDINGS: Final = {
    "orderly": POLITE,
    "orderly, to one that hangs up": HANGS_UP,
    "force": POLITE,
    "shut down, then force": POLITE,
    "half-closed": POLITE,
    "unwrapped": POLITE,
    "aborted": POLITE,
    "an exception": POLITE,
    "out of time": SILENT,
    "reset": RESETS,
    "reset, then force": RESETS,
}
#: Those that give up what is on its way.
GIVES_UP: Final = {"force", "aborted", "an exception", "reset, then force"}

DATA: Final = random.Random(0).randbytes(1 << 16) * (TOO_MUCH >> 16)


class Stop(Exception):
    """Leaves a `with` statement."""


# --- the peers ---


class Peers:
    """Serves plain connections, each in a thread's turn, and remembers what came."""

    def __init__(self, lab: Lab, threads: ThreadPoolExecutor) -> None:
        self._context = lab.server()
        self._threads = threads
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        # Its connections have it: what a peer has not read is not with its system either.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW // 2)
        self.address = self._listener.getsockname()
        self._came: dict[int, threading.Event] = {}
        self._counts: dict[int, int] = {}
        self._told: dict[int, threading.Event] = {}
        self.wrong: list[str] = []

    def expect(self, number: int) -> None:
        """A connection is about to be made. The one that a thread accepts need not be the same."""
        self._came[number] = threading.Event()
        self._told[number] = threading.Event()
        self._threads.submit(self._serve)

    def tell(self, number: int) -> None:
        """Our side has come to its end: one that was silent may read."""
        self._told[number].set()

    def count(self, number: int) -> int:
        """How much came of the data of a connection, once that is over."""
        assert self._came[number].wait(PATIENCE), f"connection {number} does not end"
        for each in (self._came, self._told):
            del each[number]
        return self._counts.pop(number, 0)

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        number = None
        try:
            plain, _ = self._listener.accept()
            with plain:
                peer = RawPeer(self._context.create_buffer(), plain)
                peer.drive(peer.buffer.do_handshake)
                head = peer.read(HEAD)
                number = int.from_bytes(head[:4])
                self._counts[number] = self._read(peer, number, int.from_bytes(head[4:]))
        except BaseException as error:
            self.wrong.append(f"number {number}: {error!r}")
        finally:
            if number is not None:
                self._came[number].set()

    def _read(self, peer: RawPeer, number: int, length: int) -> int:
        ending = list(ENDINGS)[number % len(ENDINGS)]
        manner = ENDINGS[ending]
        count, limit = 0, length // 2 if manner == RESETS else length + 1
        peer.drive(peer.buffer.write, b"!")
        if manner == SILENT:
            assert self._told[number].wait(PATIENCE)
        try:
            while count < limit:
                piece = peer.drive(peer.buffer.read, min(1 << 16, limit - count))
                if not piece:
                    break
                if piece != DATA[count : count + len(piece)]:
                    self.wrong.append(f"{ending}: other bytes than were sent")
                count += len(piece)
            else:
                if manner == RESETS:
                    reset(peer.plain)
                return count
            if manner == POLITE:
                self._answer(peer, ending)
        except (RaggedEOF, ConnectionError):
            pass
        return count

    @staticmethod
    def _answer(peer: RawPeer, ending: str) -> None:
        with suppress(TLSError):  # TLS 1.2 has ended in both directions.
            if ending == "half-closed":
                peer.drive(peer.buffer.write, ANSWER)
        peer.say_goodbye()
        if ending == "unwrapped":
            peer.plain.sendall(peer.plain.recv(100))
        with suppress(ConnectionError):
            while peer.plain.recv(1 << 16):
                pass


# --- ours ---


def length_of(number: int) -> int:
    ending = list(ENDINGS)[number % len(ENDINGS)]
    if ENDINGS[ending] == SILENT:
        return TOO_MUCH
    return random.Random(number).choice((0, 1, 1000, 20_000, 300_000, 1_000_000))


def head_of(number: int, length: int) -> bytes:
    return number.to_bytes(4) + length.to_bytes(4)


def by_socket(ours: Any, number: int, ending: str) -> BaseException | None:
    """Send and end over a socket; return what was raised."""
    length = length_of(number)
    data = memoryview(DATA)[:length]
    try:
        ours.settimeout(PATIENCE)
        ours.sendall(head_of(number, length))
        assert ours.recv(1) == b"!"
        ours.settimeout(SOON if ending == "out of time" else PATIENCE)
        if ending == "an exception":
            with suppress(Stop), ours:
                ours.sendall(data)
                raise Stop
        elif ending.startswith("orderly") or ending in ("reset", "out of time"):
            with ours:
                ours.sendall(data)
        else:
            ours.sendall(data)
            end_of_socket(ours, ending)
    except (OSError, TLSError) as error:
        return error
    finally:
        ours.close(force=True)
    return None


def end_of_socket(ours: Any, ending: str) -> None:
    if ending in ("force", "reset, then force"):
        ours.close(force=True)
    elif ending == "shut down, then force":
        ours.shutdown(socket.SHUT_WR)
        ours.close(force=True)
    elif ending == "half-closed":
        ours.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := ours.recv(100):
            answer += piece
        assert answer == ANSWER
        ours.close()
    elif ending == "unwrapped":
        with ours.unwrap() as plain:
            plain.settimeout(PATIENCE)
            plain.sendall(PLAIN)
            assert plain.recv(100) == PLAIN
    else:
        assert ending == "aborted"
        os.close(ours.detach())


def connects(lab: Lab, context: Any, address: Any) -> Any:
    return context.connect(address, server_hostname=lab.host, timeout=PATIENCE)


def wraps(lab: Lab, context: Any, address: Any) -> Any:
    plain = socket.create_connection(address, timeout=PATIENCE)
    return context.wrap_socket(plain, server_hostname=lab.host)


def streams(lab: Lab, context: Any, address: Any) -> Any:
    plain = socket.create_connection(address, timeout=PATIENCE)
    return wrap(plain, context.create_buffer(lab.host))


async def by_asyncio(lab: Lab, context: Any, address: Any, number: int, ending: str) -> Any:
    length = length_of(number)
    reader, writer = await polytls.asyncio.open_connection(
        *address,
        tls=context,
        server_hostname=lab.host,
        tls_shutdown_timeout=SOON if ending == "out of time" else PATIENCE,
    )
    try:
        writer.write(head_of(number, length))
        assert await reader.readexactly(1) == b"!"
        for start in range(0, length, 1 << 18):
            writer.write(memoryview(DATA)[start : min(length, start + (1 << 18))])
            if ending != "out of time":
                await writer.drain()
        if ending in GIVES_UP:
            writer.transport.abort()
            return None
        if ending in ("half-closed", "shut down, then force"):
            writer.write_eof()
        if ending == "half-closed":
            assert await reader.read() == ANSWER
        writer.close()
        await writer.wait_closed()
    except (OSError, TLSError) as error:
        return error
    finally:
        writer.transport.abort()
    return None


async def by_anyio(lab: Lab, context: Any, address: Any, number: int, ending: str) -> Any:
    length = length_of(number)
    plain = await anyio.connect_tcp(*address)
    stream = await TLSStream.wrap(plain, context, server_hostname=lab.host)
    try:
        await stream.send(head_of(number, length))
        assert await stream.receive(1) == b"!"
        with anyio.fail_after(SOON if ending == "out of time" else PATIENCE):
            if ending == "an exception":
                with suppress(Stop):
                    async with stream:
                        await stream.send(DATA[:length])
                        raise Stop
                return None
            await stream.send(DATA[:length])
            if ending in GIVES_UP:
                await anyio.aclose_forcefully(stream)
                return None
            if ending in ("half-closed", "shut down, then force"):
                await stream.send_eof()
            if ending == "half-closed":
                assert b"".join([piece async for piece in stream]) == ANSWER
            await stream.aclose()
    except (OSError, anyio.BrokenResourceError) as error:
        return error
    finally:
        await anyio.aclose_forcefully(stream)
    return None


# --- all of it ---


def judge(peers: Peers, number: int, ending: str, error: BaseException | None) -> str:
    """Hold what came against what was said; return in a word how it went."""
    count, length = peers.count(number), length_of(number)
    what = f"{ending}, {count} of {length} bytes came, {error!r}"
    assert count <= length, what
    if ending in GIVES_UP:
        # Nobody waits for what is on its way. A reset may be told.
        assert error is None or ending == "reset, then force", what
    elif ENDINGS[ending] == RESETS:
        # Delivered is what its system has acknowledged, whether it was read or not.
        assert count + WINDOW >= length or error is not None, what
    elif ENDINGS[ending] == SILENT:
        assert isinstance(error, TimeoutError | anyio.BrokenResourceError), what
    else:
        assert count == length, what
        assert error is None, what
    return "told" if error is not None else "delivered" if count == length else "given up"


def resident() -> int:
    """The memory in use, in pages, without what malloc keeps for later."""
    gc.collect()
    if sys.platform != "linux":
        return 0
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1])


def left_over() -> Counter[str]:
    """Connections and what belongs to them that are objects yet."""
    gc.collect()
    kinds = ("Socket", "TLSBuffer", "TLSProtocol", "TLSTransport", "TLSStream")
    return Counter(
        type(each).__name__
        for each in gc.get_objects()
        if type(each).__module__.startswith("polytls") and type(each).__name__.endswith(kinds)
    )


@contextmanager
def peers_of(lab: Lab) -> Iterator[Peers]:
    with ThreadPoolExecutor(2 * AT_ONCE) as threads:
        peers = Peers(lab, threads)
        try:
            yield peers
        finally:
            peers.close()
    assert peers.wrong == []


def assert_flat(half: int, end: int) -> None:
    # In the short form half time comes before every allocator is warm.
    if LONG:
        print(f"resident: {half} pages at half time, {end} in the end")
        assert end <= GROWTH * half


def assert_all(outcomes: Counter[str]) -> None:
    print(dict(outcomes))
    assert outcomes.total() == CONNECTIONS
    assert set(outcomes) >= {"delivered", "told"}


@pytest.mark.soak
@pytest.mark.parametrize("make", [connects, wraps, streams], ids=lambda make: make.__name__)
def test_sockets_end_in_every_way(lab: Lab, make: Callable[..., Any]) -> None:
    context = lab.client(sessions=None)
    outcomes: Counter[str] = Counter()

    def one(number: int) -> str:
        ending = list(ENDINGS)[number % len(ENDINGS)]
        peers.expect(number)
        error = by_socket(make(lab, context, peers.address), number, ending)
        peers.tell(number)
        return judge(peers, number, ending, error)

    with peers_of(lab) as peers, ThreadPoolExecutor(AT_ONCE) as threads:
        outcomes.update(threads.map(one, range(CONNECTIONS // 2)))
        half = resident()
        outcomes.update(threads.map(one, range(CONNECTIONS // 2, CONNECTIONS)))
        end = resident()
    assert_all(outcomes)
    assert left_over() == Counter()
    assert_flat(half, end)


async def all_of(
    run: Callable[..., Awaitable[Any]], lab: Lab, peers: Peers, outcomes: Counter[str]
) -> tuple[int, int]:
    """Make all connections, so many at a time; return the memory at half time and in the end."""
    context = lab.client(sessions=None)
    limit = anyio.CapacityLimiter(AT_ONCE)
    ended: list[tuple[int, str, BaseException | None]] = []

    async def one(number: int) -> None:
        async with limit:
            ending = list(ENDINGS)[number % len(ENDINGS)]
            ending = {"unwrapped": "orderly"}.get(ending, ending)
            peers.expect(number)
            error = await run(lab, context, peers.address, number, ending)
            peers.tell(number)
            ended.append((number, ending, error))

    memory = []
    for start, end in ((0, CONNECTIONS // 2), (CONNECTIONS // 2, CONNECTIONS)):
        async with anyio.create_task_group() as tasks:
            for number in range(start, end):
                tasks.start_soon(one, number)
        # What was given up is closed by the loop.
        await anyio.sleep(SOON)
        outcomes.update(judge(peers, *each) for each in ended)
        ended.clear()
        memory.append(resident())
    return memory[0], memory[1]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("run", "backend", "options"),
    [
        (by_asyncio, "asyncio", {}),
        (by_asyncio, "asyncio", {"use_uvloop": True}),
        (by_anyio, "asyncio", {}),
        (by_anyio, "asyncio", {"use_uvloop": True}),
        (by_anyio, "trio", {}),
    ],
    ids=["asyncio", "asyncio on uvloop", "anyio", "anyio on uvloop", "trio"],
)
def test_streams_of_event_loops_end_in_every_way(
    lab: Lab, run: Any, backend: str, options: dict[str, Any]
) -> None:
    outcomes: Counter[str] = Counter()

    async def main() -> tuple[int, int]:
        memory = await all_of(run, lab, peers, outcomes)
        if backend == "asyncio":
            assert asyncio.all_tasks() == {asyncio.current_task()}
        return memory

    with peers_of(lab) as peers:
        half, end = anyio.run(main, backend=backend, backend_options=options)
    assert_all(outcomes)
    assert left_over() == Counter()
    assert_flat(half, end)
