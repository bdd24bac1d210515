"""Cases over loopback: a client here, a server in a process of its own, on a core of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .floors import Run
from .in_memory import at_once
from .loops import Link
from .peers import Contexts, Library, Setting, Unable
from .peers.plain import PlainTcp
from .programs import Child
from .requests import ECHO, MESSAGE, SEND, Request, receive_exactly
from .rounds import Bench, Case, Sample, check_hellos

__all__ = ["CASES", "Server", "connected_server", "on_client_core", "tcp"]

_PLAIN = PlainTcp()
_SETTING = Setting()
_BUFFER = 256 * 1024
#: Connections of one measurement: each leaves its port unusable for a while.
_CONNECTIONS = 1000
#: Seconds until a server must have seen the last of them.
_PATIENCE = 10


@dataclass
class Server:
    """A server's process, and contexts here to dial it with."""

    child: Child
    contexts: Contexts
    answering: int
    counting: int
    #: Of event loops, in the order of `asynchronous.LOOPS`; 0 where there is none.
    looping: list[int]

    @classmethod
    def start(cls, bench: Bench, library: Library) -> Server:
        """Start it, and be sure that it is what was meant."""
        contexts = bench.contexts(library, _SETTING)
        if library is not _PLAIN:
            link = Link.make(contexts)
            link.client.check(resumed=False)
            check_hellos([link.flight], Setting("default"), resumed=False)
        arguments = ("--serve", library.name)
        child = bench.stack.enter_context(Child(bench.cores, bench.credentials, *arguments))
        ports = child.said.split()
        if not ports:
            raise RuntimeError(f"the server of {library.name} did not start: see its error above")
        answering, counting, *looping = map(int, ports)
        return cls(child, contexts, answering, counting, looping)

    def tally(self) -> tuple[int, int]:
        """How many connections it has counted, and how many failed."""
        served, failed = map(int, self.child.ask().split())
        return served, failed


def connected_server(bench: Bench, library: Library) -> Server:
    """One for each library and run."""
    return bench.once(("server", library.name), lambda: Server.start(bench, library))


def _connection(bench: Bench, library: Library) -> Any:
    server = connected_server(bench, library)
    connection = server.contexts.dial(server.answering)
    bench.stack.callback(server.contexts.close, connection)
    return connection


def _download(connection: Any) -> Run:
    """So many times 256 KiB into one buffer."""
    into = bytearray(_BUFFER)

    def run(count: int) -> float:
        left = count * _BUFFER
        began = time.perf_counter()
        connection.sendall(Request(SEND, left).to_bytes())
        while left:
            received = connection.recv_into(into)
            if not received:
                raise EOFError("the server hung up")
            left -= received
        return time.perf_counter() - began

    return run


def _echo(connection: Any) -> Run:
    message = bytes(range(MESSAGE))

    def run(count: int) -> float:
        began = time.perf_counter()
        connection.sendall(Request(ECHO, count).to_bytes())
        for _ in range(count):
            connection.sendall(message)
            answer = receive_exactly(connection, MESSAGE)
        took = time.perf_counter() - began
        assert answer == message
        return took

    return run


def _connects(server: Server) -> Run:
    dial, close, port = server.contexts.dial, server.contexts.close, server.counting

    def run(count: int) -> float:
        before = server.tally()
        began = time.perf_counter()
        for _ in range(count):
            close(dial(port))
        took = time.perf_counter() - began
        _check_tally(server, sum(before) + count)
        return took

    return run


def _check_tally(server: Server, expected: int) -> None:
    """The server has seen all connections through; raises Unable if some failed there."""
    deadline = time.monotonic() + _PATIENCE
    while sum(tally := server.tally()) < expected:
        if time.monotonic() > deadline:
            raise RuntimeError(f"a server saw {tally} connections, not {expected}")
        time.sleep(0.001)
    if tally[1]:
        raise Unable(f"its server failed {tally[1]} of {sum(tally)} handshakes")


def on_client_core(bench: Bench, sample: Sample) -> Sample:
    def placed() -> float:
        with bench.cores.on(-2):
            return sample()

    return placed


def _kept(make: Callable[[Any], Run], amount: float) -> Callable[[Bench, Library], Sample]:
    """A case on one connection that stays open."""

    def prepare(bench: Bench, library: Library) -> Sample:
        with bench.cores.on(-2):
            sample = bench.rate(make(_connection(bench, library)), amount)
        return on_client_core(bench, sample)

    return prepare


def _connecting(bench: Bench, library: Library) -> Sample:
    with bench.cores.on(-2):
        sample = bench.rate(_connects(connected_server(bench, library)), most=_CONNECTIONS)
    return on_client_core(bench, sample)


def _two_downloads(bench: Bench, library: Library) -> Sample:
    """How many times as much two connections on two threads get as one after the other does."""
    if bench.cores.count < 2:
        raise Unable("there is one core")
    server = connected_server(bench, library)
    runs = []
    for _ in range(2):
        runs.append(_download(_connection(bench, library)))
        # At once: rtls sends the end of its handshake with its first data.
        runs[-1](1)
    count = 1
    while runs[0](count) + runs[1](count) < bench.target:
        count *= 2

    def sample() -> float:
        with bench.cores.released(), bench.cores.lent(server.child.process.pid):
            return sum(run(count) for run in runs) / at_once(runs, count)

    return sample


def tcp(prepare: Callable[[Bench, Library], Sample]) -> tuple[str, Callable[[Bench], Sample]]:
    return _PLAIN.name, partial(_prepare_plain, prepare)


def _prepare_plain(prepare: Callable[[Bench, Library], Sample], bench: Bench) -> Sample:
    return prepare(bench, _PLAIN)


_DOWNLOAD = _kept(_download, _BUFFER / 1e6)
_ECHO = _kept(_echo, 1.0)

CASES: list[Case] = [
    Case("loopback download", "MB/s", _DOWNLOAD, floor=tcp(_DOWNLOAD)),
    Case("loopback echo 100 B", "1/s", _ECHO, floor=tcp(_ECHO)),
    Case("loopback connects", "1/s", _connecting, floor=tcp(_connecting)),
    Case("two threads, downloads", "times", _two_downloads, floor=tcp(_two_downloads)),
]
