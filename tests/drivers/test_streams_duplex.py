"""Full duplex on the generic driver: readers and writers of one connection, at once, for long."""

from __future__ import annotations

import gc
import hashlib
import random
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

import polytls
from polytls import TLSError
from polytls.streams import StreamSocket, wrap
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.lab import HOST, PATIENCE, Lab

#: Of each direction. `make soak` is for hours; this much changes hands some thousand times.
MESSAGES, LENGTH = 400, 20_000


@pytest.fixture(params=["rustls", "stdlib"])
def pair(
    request: pytest.FixtureRequest, ca: CertificateAuthority, version: polytls.TLSVersion
) -> Iterator[tuple[StreamSocket, StreamSocket]]:
    """Two ends over a socket pair, driven by `polytls.streams`."""
    lab = Lab(polytls.implementation(request.param), ca)
    one, other = socket.socketpair()
    for each in (one, other):
        each.settimeout(2 * PATIENCE)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 30_000)
    with ThreadPoolExecutor(1) as thread:
        accepting = thread.submit(wrap, other, lab.server().create_buffer())
        client = wrap(one, lab.client(version=version).create_buffer(HOST))
        server = accepting.result(PATIENCE)
    with client, server:
        yield client, server


def together(*works: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * PATIENCE)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)


def test_one_reads_while_another_writes_on_both_ends(pair: Any) -> None:
    def sends(side: Any, seed: int) -> Callable[[], None]:
        def work() -> None:
            numbers = random.Random(seed)
            for _ in range(MESSAGES):
                side.sendall(numbers.randbytes(LENGTH))

        return work

    def receives(side: Any, seed: int) -> Callable[[], None]:
        def work() -> None:
            numbers, expected, found = random.Random(seed), hashlib.sha256(), hashlib.sha256()
            for _ in range(MESSAGES):
                expected.update(numbers.randbytes(LENGTH))
            left, room = MESSAGES * LENGTH, bytearray(50_000)
            while left:
                count = side.recv_into(room, min(left, len(room)))
                assert count
                found.update(memoryview(room)[:count])
                left -= count
            assert found.digest() == expected.digest()

        return work

    one, other = pair
    together(sends(one, 1), receives(other, 1), sends(other, 2), receives(one, 2))


def test_several_readers_and_writers_lose_and_mix_nothing(pair: Any) -> None:
    """Writers send whole messages of one record; each read gives one, or a part of one."""
    one, other = pair
    size, each = 1000, 300
    taken: list[bytes] = []
    lock = threading.Lock()

    def write(letter: bytes) -> Callable[[], None]:
        def work() -> None:
            for _ in range(each):
                one.sendall(letter * size)

        return work

    def read() -> None:
        while True:
            with lock:
                if sum(map(len, taken)) >= 3 * each * size:
                    return
            with suppress(TimeoutError):
                piece = other.recv(size)
                with lock:
                    taken.append(piece)

    other.settimeout(0.2)
    together(*(write(letter) for letter in (b"a", b"b", b"c")), read, read, read)
    received = b"".join(taken)
    assert sorted(set(received)) == sorted(b"abc")
    assert {received.count(letter) for letter in (b"a", b"b", b"c")} == {each * size}


def test_the_lock_is_free_while_threads_wait(pair: Any) -> None:
    one, other = pair
    waiting = threading.Thread(target=lambda: one.recv(1), daemon=True)
    waiting.start()
    stuck = threading.Thread(target=lambda: one.sendall(bytes(3_000_000)), daemon=True)
    stuck.start()
    for _ in range(1000):
        began = time.monotonic()
        assert one.pending() == 0
        assert time.monotonic() - began < PATIENCE
    left = 3_000_000
    while left:
        left -= len(other.recv(65536))
    stuck.join(PATIENCE)
    other.sendall(b"x")
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert not stuck.is_alive()


def test_ending_one_direction_in_one_thread_ends_it_for_all(pair: Any) -> None:
    one, other = pair
    results: list[bytes] = []
    readers = [
        threading.Thread(target=lambda: results.append(one.recv(1)), daemon=True) for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    one.shutdown(socket.SHUT_RD)
    for reader in readers:
        reader.join(PATIENCE)
    assert results == [b""] * 3
    other.sendall(b"unwanted")
    assert one.recv(10) == b""
    one.sendall(b"still sending")
    assert other.recv(100) == b"still sending"
    one.shutdown(socket.SHUT_WR)
    one.shutdown(socket.SHUT_WR)
    assert other.recv(100) == b""
    with pytest.raises(TLSError):
        one.send(b"x")
    with pytest.raises(TLSError, match="receiving was shut down"):
        one.unwrap()


def test_a_connection_that_met_a_fault_is_freed_when_it_is_dropped() -> None:
    """What it keeps of the fault does not keep it: there is much memory of the library's behind."""
    lab = Lab(polytls.implementation("stdlib"), CertificateAuthority())
    gc.collect()
    gc.disable()
    try:
        one, other = socket.socketpair()
        with ThreadPoolExecutor(1) as thread:
            accepting = thread.submit(wrap, other, lab.server().create_buffer())
            client = wrap(one, lab.client().create_buffer(HOST))
            server = accepting.result(PATIENCE)
        client.close(force=True)
        with suppress(OSError):
            while True:
                server.send(b"x" * 65536)
        with suppress(OSError):
            server.recv(1)
        server.close(force=True)
        gone = [weakref.ref(each) for each in (client, server)]
        del client, server, accepting
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()
