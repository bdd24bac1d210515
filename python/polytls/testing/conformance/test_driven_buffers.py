"""Buffers under a connection of polytls's: those of this implementation, wrapped in Python.

So sockets and event loops drive the buffers of implementations that have nothing else.
"""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polytls import NotTLSError, RaggedEOF, TLSError, TLSVersion, WantReadError
from polytls.testing import Pair
from polytls.testing.conformance.driven import Wrapped, driven
from polytls.testing.conformance.lab import PATIENCE, Whole

#: More than one record.
MUCH = bytes(range(256)) * 400


class Strange(Exception):
    """Of nobody but this test."""


@pytest.fixture
def handler() -> Iterator[Any]:
    """A function that sets the handler of SIGTERM; all is undone after the test."""
    before = signal.getsignal(signal.SIGTERM)
    yield lambda handler: signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGTERM, before)


def begin(lab: Any, version: TLSVersion, kind: type[Wrapped] = Wrapped) -> tuple[Pair, Any]:
    """A pair whose client is driven, at its beginning; and the client's buffer."""
    pair = lab.pair(lab.client(version=version))
    wrapped = kind(pair.client)
    return driven(pair, wrapped), wrapped


def connect(lab: Any, version: TLSVersion, kind: type[Wrapped] = Wrapped) -> tuple[Pair, Any]:
    """The same, with its handshake done and nothing on the wire."""
    pair, wrapped = begin(lab, version, kind)
    pair.handshake()
    assert pair.send(pair.server, b"behind the tickets") == b"behind the tickets"
    return pair, wrapped


def test_data_goes_both_ways_and_both_directions_close(lab: Any, version: TLSVersion) -> None:
    pair, wrapped = connect(lab, version)
    assert pair.client.negotiated_tls_version is version
    assert pair.client.cipher() == wrapped.cipher()
    assert pair.client.getpeercert() == wrapped.getpeercert()
    assert pair.client.context is wrapped.context
    assert pair.send(pair.client, MUCH) == Whole(MUCH)
    assert pair.send(pair.server, MUCH) == Whole(MUCH)
    with pytest.raises(WantReadError):
        pair.client.shutdown()
    pair.transfer()
    assert pair.server.read(1) == b""
    pair.server.shutdown()
    pair.transfer()
    pair.client.shutdown()
    assert pair.client.read(1) == b""


def test_the_end_of_the_transport_comes_after_all_data_and_is_told_again(
    lab: Any, version: TLSVersion
) -> None:
    pair, _ = connect(lab, version)
    pair.server.write(MUCH)
    pair.transfer()
    pair.client.process_incoming(b"")
    received = b""
    while len(received) < len(MUCH):
        received += pair.client.read(10_000)  # type: ignore[operator]
    assert received == Whole(MUCH)
    for _ in range(2):
        with pytest.raises(RaggedEOF):
            pair.client.read(1)


def test_a_peer_that_does_not_speak_tls_is_named(lab: Any, version: TLSVersion) -> None:
    pair, _ = begin(lab, version)
    pair.client.process_incoming(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    for _ in range(2):
        with pytest.raises(NotTLSError, match="plain HTTP"):
            pair.client.do_handshake()


def test_a_refused_server_is_refused_as_the_buffer_does(lab: Any, version: TLSVersion) -> None:
    client = lab.client(version=version).create_buffer("another.example")
    server = lab.server().create_buffer()
    raised = []

    class Watching(Wrapped):
        def do_handshake(self) -> None:
            try:
                self.inner.do_handshake()
            except WantReadError:
                raise
            except TLSError as error:
                raised.append(error)
                raise

    pair = driven(Pair(client, server), Watching(client))
    with pytest.raises(TLSError) as told:
        pair.handshake()
    assert told.value is raised[0]
    with pytest.raises(type(told.value)) as again:
        pair.client.read(1)
    assert str(again.value) == str(told.value)
    assert again.value.__traceback__ is not told.value.__traceback__
    # The peer has got the alert.
    with pytest.raises(TLSError, match="refused"):
        lab.drain(pair.server)


@pytest.mark.parametrize("method", ["process_incoming", "read", "write", "shutdown"])
def test_what_it_raises_is_raised_as_it_is(lab: Any, version: TLSVersion, method: str) -> None:
    pair, wrapped = connect(lab, version)
    error = Strange(method)

    def fail(*_: Any) -> Any:
        raise error

    setattr(wrapped, method, fail)
    pair.server.write(b"data")
    pair.transfer()
    call = {"write": lambda: pair.client.write(b"data"), "shutdown": pair.client.shutdown}
    call.setdefault(method, lambda: pair.client.read(100))
    if method in ("write", "shutdown"):
        assert pair.client.read(100) == b"data"
    with pytest.raises(Strange) as raised:
        call[method]()
    assert raised.value is error
    # It has ended the connection, whatever is called.
    with pytest.raises(Strange) as again:
        pair.client.write(b"more")
    assert again.value.args == error.args


def test_a_signal_handler_that_calls_the_connection_amid_a_write_gets_an_error(
    lab: Any, version: TLSVersion, handler: Any
) -> None:
    class Rings(Wrapped):
        rings = False

        def write(self, buf: Any) -> int:
            if self.rings:
                signal.raise_signal(signal.SIGTERM)
            taken: int = self.inner.write(buf)
            return taken

    heard = []

    def hear(*_: Any) -> None:
        try:
            pair.client.write(b"within")
        except TLSError as error:
            heard.append(str(error))

    pair, wrapped = connect(lab, version, Rings)
    handler(hear)
    wrapped.rings = True
    assert pair.client.write(b"data") == 4
    assert len(heard) == 1
    assert "signal handler" in heard[0]
    pair.transfer()
    assert pair.server.read(100) == b"data"


def test_what_interrupts_a_call_is_raised_and_nothing_is_lost(
    lab: Any, version: TLSVersion
) -> None:
    class Interrupted(Wrapped):
        interrupts = ""

        def __getattr__(self, name: str) -> Any:
            if name == self.interrupts:
                self.interrupts = ""
                raise KeyboardInterrupt
            return super().__getattr__(name)

    pair, wrapped = connect(lab, version, Interrupted)
    pair.server.write(b"there")
    pair.transfer()
    wrapped.interrupts = "read"
    with pytest.raises(KeyboardInterrupt):
        pair.client.read(100)
    assert pair.client.read(100) == b"there"
    wrapped.interrupts = "write"
    with pytest.raises(KeyboardInterrupt):
        pair.client.write(b"and back")
    pair.transfer()
    assert pair.server.read(100) == b"and back"


def test_collections_amid_calls_free_nothing_that_is_used(lab: Any, version: TLSVersion) -> None:
    class Collecting(Wrapped):
        def __init__(self, inner: Any) -> None:
            super().__init__(inner)
            self.myself = self

        def __getattr__(self, name: str) -> Any:
            gc.collect(0)
            return super().__getattr__(name)

    pair, wrapped = connect(lab, version, Collecting)
    assert pair.send(pair.client, b"data") == b"data"
    assert pair.send(pair.server, b"data") == b"data"
    # A connection that only its own buffer knows is found, and freed.
    wrapped.connection = pair.client
    gone = weakref.ref(wrapped)
    del pair, wrapped
    gc.collect()
    assert gone() is None


def test_threads_take_turns_with_the_buffer(
    lab: Any, version: TLSVersion, threads: ThreadPoolExecutor
) -> None:
    class Alone(Wrapped):
        busy = 0
        met = False

        def __getattr__(self, name: str) -> Any:
            found = super().__getattr__(name)
            if name not in ("read", "write", "process_incoming", "process_outgoing"):
                return found

            def call(*given: Any) -> Any:
                self.busy += 1
                self.met |= self.busy > 1
                threading.Event().wait(0.0002)
                try:
                    return found(*given)
                finally:
                    self.busy -= 1

            return call

    rounds = 30
    pair, wrapped = connect(lab, version, Alone)
    for _ in range(rounds):
        pair.server.write(b"there")
    pair.transfer()

    def write() -> None:
        for _ in range(rounds):
            pair.client.write(b"back")

    writing = threads.submit(write)
    received = b""
    while len(received) < 5 * rounds:
        received += pair.client.read(5)  # type: ignore[operator]
    writing.result(PATIENCE)
    pair.transfer()
    assert pair.server.read(1000) == b"back" * rounds
    assert not wrapped.met
