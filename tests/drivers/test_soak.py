"""Many connections at once on one listener, for long: nothing is lost, mixed up, or kept.

On the server's side a thread accepts, one watches, and those of a pool answer, blocking. On the
client's all connections are non-blocking, with one selector. Every message comes back and is
compared by its hash. The memory in use when the last is back is held against that at half
time.

The short form is for `make test`. With POLYTLS_SOAK set, as `make soak` does, it is 2,000
connections and 200,000 messages.
"""

from __future__ import annotations

import gc
import hashlib
import os
import queue
import random
import resource
import selectors
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from polytls import WantReadError, WantWriteError

LONG: Final = "POLYTLS_SOAK" in os.environ
CONNECTIONS: Final = 2000 if LONG else 100
MESSAGES: Final = 100 if LONG else 30
#: What the whole may take, in seconds; a call, a tenth of it.
PATIENCE: Final = 1800.0 if LONG else 300.0
#: How much more memory may be in use at the end than at half time. In the short form half time
#: comes before every thread's allocator is warm.
GROWTH: Final = 1.05 if LONG else 1.3
WORKERS: Final = 16

#: A message is its length in this many bytes, and so many bytes.
HEAD: Final = 4


def resident() -> int:
    """The memory in use, in pages."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1])


@contextmanager
def descriptors(number: int) -> Iterator[None]:
    """Let this process have so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number and hard not in (-1, resource.RLIM_INFINITY) and hard < number:
        pytest.skip(f"the system allows {hard} descriptors, and {number} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- the server ---


class Server:
    """Echoes messages: a thread accepts, one waits for all, a pool answers."""

    def __init__(self, listener: Any, threads: ThreadPoolExecutor) -> None:
        self.listener = listener
        self._pool = threads
        self._selector = selectors.DefaultSelector()
        self._ear, self._hand = socket.socketpair()
        self._ear.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)
        #: Connections that are to be watched.
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.errors: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self.ended = 0

    def accept(self) -> None:
        for _ in range(CONNECTIONS):
            connection, _ = self.listener.accept()
            connection.settimeout(PATIENCE / 10)
            self._watch(connection)

    def _watch(self, connection: Any) -> None:
        self._idle.put(connection)
        self._hand.send(b"\0")

    def dispatch(self) -> None:
        """Give connections with something to read to the pool, until all have ended."""
        while self.ended < CONNECTIONS:
            for key, _ in self._selector.select(PATIENCE / 10):
                if key.fileobj is self._ear:
                    with suppress(BlockingIOError):
                        self._ear.recv(4096)
                    while not self._idle.empty():
                        connection = self._idle.get()
                        if connection.fileno() == -1:
                            self.ended += 1
                        else:
                            self._selector.register(connection, selectors.EVENT_READ)
                else:
                    self._selector.unregister(key.fileobj)
                    self._pool.submit(self._serve, key.fileobj)

    def _serve(self, connection: Any) -> None:
        try:
            while True:
                head = self._exactly(connection, HEAD)
                if not head:
                    connection.close()
                    break
                connection.sendall(self._exactly(connection, int.from_bytes(head)))
                # A selector cannot see what has been decrypted already.
                if not connection.pending():
                    break
        except BaseException as error:
            self.errors.put(error)
            connection.close(force=True)
        self._watch(connection)

    @staticmethod
    def _exactly(connection: Any, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = connection.recv(length - len(data))
            if not piece:
                assert not data
                break
            data += piece
        return data

    def close(self) -> None:
        self._selector.close()
        self._ear.close()
        self._hand.close()


# --- the clients ---


class Client:
    """One of many connections of a selector's loop: sends a message and waits until it is back."""

    def __init__(self, side: Any, seed: int) -> None:
        self.side = side
        self._random = random.Random(seed)
        self._left = MESSAGES
        self._unsent = b""
        self._digest = b""
        self._missing = 0
        self._returned = hashlib.sha256()
        self.checked = 0
        side.setblocking(False)
        self._next()

    def _next(self) -> None:
        if not self._left:
            return
        self._left -= 1
        length = self._random.choice((1, 20, 100, 500, 500, 2000, 17_000))
        message = self._random.randbytes(length)
        self._unsent = length.to_bytes(HEAD) + message
        self._digest, self._missing = hashlib.sha256(message).digest(), length
        self._returned = hashlib.sha256()

    @property
    def done(self) -> bool:
        """All messages are back."""
        return self.checked == MESSAGES

    def work(self, closing: bool) -> int | None:
        """Go on as far as possible; return the events to wait for, None when that is all."""
        try:
            while not self.done:
                if self._unsent:
                    self._unsent = self._unsent[self.side.send(self._unsent) :]
                elif self._missing:
                    piece = self.side.recv(self._missing)
                    assert piece, "the end came too soon"
                    self._missing -= len(piece)
                    self._returned.update(piece)
                else:
                    assert self._returned.digest() == self._digest
                    self.checked += 1
                    self._next()
            if closing:
                self.side.close()
        except WantReadError:
            # What was taken may wait for the network still.
            write = self.side.outgoing_bytes_buffered()
            return selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        except WantWriteError:
            return selectors.EVENT_READ | selectors.EVENT_WRITE
        return None


def drive(clients: list[Client], server: Server, closing: bool = False) -> int:
    """Work until all messages are back, or all are closed; the memory in use at half time."""
    half, total = 0, CONNECTIONS * MESSAGES
    deadline = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.side, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
        left = len(clients)
        while left:
            assert time.monotonic() < deadline, f"{left} connections are left"
            assert server.errors.empty(), server.errors.get()
            ready = selector.select(PATIENCE / 10)
            assert ready, f"nothing comes any more; {left} connections are left"
            for key, _ in ready:
                events = key.data.work(closing)
                if events is None:
                    selector.unregister(key.fd)
                    left -= 1
                elif events != key.events:
                    selector.modify(key.fd, events, key.data)
            if not half and sum(client.checked for client in clients) >= total // 2:
                half = resident()
    return half


def test_many_connections_at_once_lose_and_keep_nothing(
    lab: Any, threads: ThreadPoolExecutor, outside: Any
) -> None:
    context = lab.client()

    def dial(number: int) -> Client:
        address = listener.getsockname()
        timeout = PATIENCE / 10
        return Client(
            context.connect(address, server_hostname=lab.host, timeout=timeout), seed=number
        )

    with (
        descriptors(2 * CONNECTIONS + 500),
        lab.server().connect(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(WORKERS) as pool,
    ):
        listener.settimeout(PATIENCE / 10)
        server = Server(listener, pool)
        accepting, dispatching = threads.submit(server.accept), threads.submit(server.dispatch)
        clients = [*pool.map(dial, range(CONNECTIONS))]
        accepting.result(PATIENCE)
        at_once = outside()[0]
        half = drive(clients, server)
        end = resident()
        assert all(client.done for client in clients)
        drive(clients, server, closing=True)
        dispatching.result(PATIENCE)
        server.close()
        assert at_once >= 2 * CONNECTIONS
        assert listener.failed_handshakes == 0
    assert server.errors.empty()
    assert end <= GROWTH * half, f"{half} pages at half time, {end} in the end"
