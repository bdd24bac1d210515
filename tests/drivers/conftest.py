"""What tests of the socket drivers share: a proxy that does to a connection what networks do."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final, Self

import pytest

pytest.register_assert_rewrite("drivers.misbehaviour", "drivers.scene")

#: What no call of these tests may take, in seconds.
PATIENCE: Final = 30.0

#: How long the proxy holds back what it delays, in seconds: longer than a peer takes to notice.
_DELAY: Final = 0.002


@dataclass(frozen=True)
class Fault:
    """What happens to a connection when `at` bytes have gone from `source` to the other side.

    `kind`: "cut" (both directions end, nothing that came in time is lost), "reset", "split" (the
    next byte comes in a segment of its own), "delay" (all that follows comes later).
    """

    kind: str
    source: str
    at: int


class FaultProxy:
    """A TCP proxy on loopback for one connection at a time, which meets the fault given by `next`.

    Its thread lives as long as it is entered. `passed` tells how many bytes the last connection
    carried from each side, `met` whether it came to its fault.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.fault: Fault | None = None
        self.met = False
        self.passed: dict[str, int] = {}
        self._idle = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Ends accept(2) in the thread.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()
        assert self._error is None, self._error

    def next(self, fault: Fault | None) -> None:
        """The next connection meets `fault`, or goes through unharmed."""
        self.fault, self.met = fault, False
        self._idle.clear()

    def wait(self) -> None:
        """Wait until the connection is over at both of its ends."""
        assert self._idle.wait(PATIENCE), "the proxy still waits for an end"
        assert self._error is None, self._error

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # It is closed.
                return
            with client:
                try:
                    self._relay(client)
                except BaseException as error:
                    self._error = error
            self._idle.set()

    def _relay(self, client: socket.socket) -> None:
        with socket.create_connection(self._target) as server:
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            names = {client: "client", server: "server"}
            self.passed = dict.fromkeys(names.values(), 0)
            open_ends = {client, server}
            while open_ends:
                ready, _, _ = select.select(open_ends, [], [], PATIENCE)
                assert ready, "nothing moves any more"
                for side in ready:
                    other = server if side is client else client
                    try:
                        data = side.recv(65536)
                    except ConnectionResetError:
                        _reset(client, server)
                        return
                    if not data:
                        open_ends.discard(side)
                        with suppress(OSError):
                            other.shutdown(socket.SHUT_WR)
                    elif not self._forward(names[side], data, other):
                        if self.fault is not None and self.fault.kind == "reset":
                            _reset(client, server)
                        else:
                            _drain(client, server)
                        return

    def _forward(self, source: str, data: bytes, other: socket.socket) -> bool:
        """Pass `data` on; False if the fault has ended the connection."""
        before = self.passed[source]
        fault = self.fault
        if fault is not None and fault.source == source and before <= fault.at < before + len(data):
            self.met = True
            first, rest = data[: fault.at - before], data[fault.at - before :]
            self._pass(source, first, other)
            match fault.kind:
                case "cut" | "reset":
                    return False
                case "split":
                    time.sleep(_DELAY)
                    self._pass(source, rest[:1], other)
                    time.sleep(_DELAY)
                    rest = rest[1:]
                case "delay":
                    time.sleep(10 * _DELAY)
            data = rest
        self._pass(source, data, other)
        return True

    def _pass(self, source: str, data: bytes, other: socket.socket) -> None:
        # Who has closed does not want it; that its peer ends as well is seen by reading.
        with suppress(BrokenPipeError, ConnectionResetError):
            other.sendall(data)
        self.passed[source] += len(data)


def _reset(*sides: socket.socket) -> None:
    for side in sides:
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        side.close()


def _drain(*sides: socket.socket) -> None:
    """End both, and read what they still say, so that no reset destroys what they were sent."""
    for side in sides:
        with suppress(OSError):
            side.shutdown(socket.SHUT_WR)
    for side in sides:
        side.settimeout(PATIENCE)
        with suppress(ConnectionResetError):
            while side.recv(65536):
                pass


@pytest.fixture
def proxied() -> Iterator[Callable[[tuple[str, int]], FaultProxy]]:
    """A function that starts a proxy before an address; it ends with the test."""
    with ExitStack() as closing:
        yield lambda target: closing.enter_context(FaultProxy(target))


@pytest.fixture
def fault() -> type[Fault]:
    """The class of faults."""
    return Fault


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that are joined at the end of the test."""
    with ThreadPoolExecutor() as executor:
        yield executor


@pytest.fixture
def outside() -> Callable[[], tuple[int, int]]:
    """A function that counts the open descriptors and the threads of this process."""
    return lambda: (len(os.listdir("/proc/self/fd")), threading.active_count())  # noqa: PTH208
