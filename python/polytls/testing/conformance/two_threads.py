"""Two threads at one buffer: `python -m polytls.testing.conformance.two_threads …`.

Run by `test_buffer_objects.py` in a process of its own. Prints «done» and exits with 0, or fails,
or hangs.
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from polytls import (
    TLSClientConfiguration,
    TLSServerConfiguration,
    TLSVersion,
    WantReadError,
    WantWriteError,
)
from polytls.testing import CertificateAuthority, tie
from polytls.testing.conformance.target import load

#: How long the cases that only repeat themselves go on, in seconds.
DURATION = 0.3


def connection(name: str, version: TLSVersion) -> Any:
    made, ca = load(name).implementation, CertificateAuthority()
    client = made.client_context(
        TLSClientConfiguration(
            trust_store=ca.trust_store(),
            lowest_supported_version=version,
            highest_supported_version=version,
        )
    )
    server = made.server_context(TLSServerConfiguration([ca.issue("server.example")]))
    return tie(client.create_buffer("server.example"), server.create_buffer())


def together(*works: Callable[[], None], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Run each of `works` in a thread, and `meanwhile` here until they are done."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not failures:
        meanwhile()
        time.sleep(0)
    for failure in failures:
        raise failure


def repeat(work: Callable[[], None]) -> Callable[[], None]:
    def repeated() -> None:
        until = time.monotonic() + DURATION
        while time.monotonic() < until:
            work()

    return repeated


def echo(pair: Any) -> None:
    """One thread writes, one reads; the main thread is network and server."""
    data = random.Random(1).randbytes(2_000_000)
    received = bytearray()
    wire = {"client": bytearray(), "server": bytearray(), "back": bytearray()}

    def write() -> None:
        done = 0
        while done < len(data):
            with contextlib.suppress(WantWriteError):
                done += pair.client.write(data[done : done + 5_000])

    def read() -> None:
        while len(received) < len(data):
            with contextlib.suppress(WantReadError):
                received.extend(pair.client.read(5_000))

    def serve() -> None:
        for source, name in ((pair.client, "server"), (pair.server, "client")):
            waiting = wire[name]
            waiting += source.process_outgoing(60_000)
            if waiting:
                with contextlib.suppress(WantReadError):
                    getattr(pair, name).process_incoming(waiting)
                    waiting.clear()
        with contextlib.suppress(WantReadError):
            wire["back"] += pair.server.read(50_000)
        with contextlib.suppress(WantWriteError):
            del wire["back"][: pair.server.write(wire["back"])]

    together(write, read, meanwhile=serve)
    assert received == data


def refused_and_written(pair: Any) -> None:
    """One thread is told that the buffer is full while another writes."""
    pair.server.write(bytes(200_000))
    pair.client.process_incoming(pair.server.process_outgoing(1_000_000))

    def feed() -> None:
        try:
            pair.client.process_incoming(b"x")
        except WantReadError:
            return
        raise AssertionError("it was at its limit")

    def write() -> None:
        assert pair.client.write(b"x") == 1
        assert pair.client.process_outgoing(1000)

    together(repeat(feed), repeat(write))
    assert pair.client.read(1_000_000) == bytes(200_000)


def read_and_asked(pair: Any) -> None:
    """One thread reads in vain while another asks for facts, and a third writes."""

    def read() -> None:
        with contextlib.suppress(WantReadError):
            pair.client.read(1)

    def ask() -> None:
        assert pair.client.info.version is pair.client.negotiated_tls_version
        assert pair.client.getpeercert()
        assert repr(pair.client)
        assert pair.client.incoming_bytes_buffered() + pair.client.pending() >= 0

    def write() -> None:
        assert pair.client.write(b"x") == 1
        assert pair.client.process_outgoing(1000)

    together(repeat(read), repeat(ask), repeat(write))


CASES = {"echo": echo, "refused and written": refused_and_written, "read and asked": read_and_asked}

if __name__ == "__main__":
    sys.setswitchinterval(1e-6)
    CASES[sys.argv[3]](connection(sys.argv[1], TLSVersion[sys.argv[2]]))
    print("done")
