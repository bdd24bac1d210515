"""Streams of Python's that raise, are interrupted, or lead back to what they carry."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import polytls
from polytls import AlertReceived, TLSError, WantReadError
from polytls.streams import StreamSocket, wrap
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.lab import HOST, PATIENCE, Lab

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module", params=["rustls", "stdlib"])
def lab(request: pytest.FixtureRequest, ca: CertificateAuthority) -> Lab:
    """What makes buffers."""
    return Lab(polytls.implementation(request.param), ca)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that are joined at the end of the test."""
    with ThreadPoolExecutor() as executor:
        yield executor


class Odd(ConnectionError):
    """An error that is not made of its arguments."""

    def __init__(self, *, told: str) -> None:
        super().__init__(f"odd: {told}")
        self.told = told


class Selectable:
    """A stream in Python whose calls do not wait. `fault` is raised by the next one, once."""

    def __init__(self, plain: socket.socket) -> None:
        self.plain = plain
        self.fault: BaseException | None = None

    def _maybe(self) -> None:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault

    def recv(self, bufsize: int) -> bytes:
        self._maybe()
        return self.plain.recv(bufsize)

    def send(self, data: bytes) -> int:
        self._maybe()
        return self.plain.send(data)

    def close(self) -> None:
        self.plain.close()

    def fileno(self) -> int:
        return self.plain.fileno()

    def setblocking(self, flag: bool) -> None:
        self.plain.setblocking(flag)


class Waiting(Selectable):
    """The same, whose calls wait."""

    fileno = setblocking = None  # type: ignore[assignment]

    def __init__(self, plain: socket.socket) -> None:
        super().__init__(plain)
        plain.settimeout(None)
        del plain
        self.entered = threading.Event()

    def recv(self, bufsize: int) -> bytes:
        self._maybe()
        self.entered.set()
        return self.plain.recv(bufsize)

    def shutdown(self, how: int) -> None:
        self.plain.shutdown(how)

    def __getattribute__(self, name: str) -> Any:
        if name in ("fileno", "setblocking"):
            raise AttributeError(name)
        return super().__getattribute__(name)


def over(
    kind: Any, lab: Lab, threads: ThreadPoolExecutor
) -> tuple[StreamSocket, Any, StreamSocket]:
    """A connection over a stream of that kind, the stream, and its peer."""
    one, other = socket.socketpair()
    other.settimeout(PATIENCE)
    stream = kind(one)
    accepting = threads.submit(wrap, other, lab.server().create_buffer())
    ours = wrap(stream, lab.client().create_buffer(HOST))
    return ours, stream, accepting.result(PATIENCE)


@pytest.mark.parametrize("kind", [Selectable, Waiting])
@pytest.mark.parametrize("fault", [ConnectionAbortedError(7, "the line is cut"), Odd(told="cut")])
def test_what_a_stream_raises_is_raised_and_then_its_copies_where_they_can_be_made(
    lab: Lab, threads: ThreadPoolExecutor, kind: Any, fault: Any
) -> None:
    ours, stream, theirs = over(kind, lab, threads)
    with theirs:
        stream.fault = fault
        raised = []
        for _ in range(3):
            with pytest.raises(type(fault), match="cut") as caught:
                ours.recv(1)
            raised.append(caught.value)
        assert raised[0] is fault
        assert [each.args for each in raised] == [fault.args] * 3
        copies = not isinstance(fault, Odd)
        assert (raised[1] is not fault and raised[1] is not raised[2]) == copies
        # The other direction knows nothing of it.
        ours.sendall(b"still here")
        assert theirs.recv(100) == b"still here"
        ours.close(force=True)


def test_what_is_no_fault_of_a_stream_is_raised_once_and_ends_the_connection(
    lab: Lab, threads: ThreadPoolExecutor
) -> None:
    ours, stream, theirs = over(Selectable, lab, threads)
    bug = stream.fault = LookupError("a mistake in the stream")
    with pytest.raises(LookupError) as caught:
        ours.recv(1)
    assert caught.value is bug
    # Nobody knows what the call had received by then.
    theirs.sendall(b"data")
    with pytest.raises(OSError, match="data may be missing"):
        ours.recv(1)
    ours.close(force=True)
    theirs.close(force=True)


def test_a_stream_that_uses_what_it_carries_gets_an_error(
    lab: Lab, threads: ThreadPoolExecutor
) -> None:
    ours, stream, theirs = over(Selectable, lab, threads)
    found = []

    def recv(bufsize: int) -> bytes:
        with pytest.raises(TLSError, match="callback") as caught:
            ours.pending()
        found.append(caught.value)
        return stream.plain.recv(bufsize)

    stream.recv = recv
    theirs.sendall(b"data")
    assert ours.recv(100) == b"data"
    assert found
    ours.close(force=True)
    theirs.close(force=True)


@pytest.mark.parametrize("kind", [Selectable, Waiting])
def test_ctrl_c_ends_the_call_and_not_the_connection(
    lab: Lab, threads: ThreadPoolExecutor, kind: Any
) -> None:
    ours, _, theirs = over(kind, lab, threads)

    def interrupt() -> None:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threads.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            ours.recv(1)
    finally:
        signal.signal(signal.SIGINT, before)
    theirs.sendall(b"goes on")
    assert ours.recv(100) == b"goes on"
    ours.close(force=True)
    theirs.close(force=True)


def test_readers_of_a_stream_that_waits_take_turns(lab: Lab, threads: ThreadPoolExecutor) -> None:
    ours, stream, theirs = over(Waiting, lab, threads)
    stream.entered.clear()
    readers = [threads.submit(ours.recv, 1) for _ in range(3)]
    assert stream.entered.wait(PATIENCE)
    theirs.sendall(b"abc")
    assert sorted(each.result(PATIENCE) for each in readers) == [b"a", b"b", b"c"]
    writers = [threads.submit(ours.sendall, bytes([letter]) * 50_000) for letter in b"xyz"]
    received = b""
    while len(received) < 150_000:
        received += theirs.recv(65536)
    for each in writers:
        each.result(PATIENCE)
    assert {received.count(letter) for letter in b"xyz"} == {50_000}
    ours.close(force=True)
    theirs.close(force=True)


@pytest.mark.parametrize("kind", [Selectable, Waiting])
def test_a_circle_through_the_stream_is_collected(
    lab: Lab, threads: ThreadPoolExecutor, kind: Any
) -> None:
    ours, stream, theirs = over(kind, lab, threads)
    stream.carries = ours
    gone = weakref.ref(stream)
    plain = stream.plain
    del ours, stream
    gc.collect()
    assert gone() is None
    plain.close()
    theirs.close(force=True)


def test_a_buffer_that_a_socket_drives_is_of_no_use(lab: Lab) -> None:
    one, other = socket.socketpair()
    buffer = lab.client().create_buffer(HOST)
    with other, wrap(one, buffer, timeout=0) as made:
        assert made.context is buffer.context
        for call in (buffer.do_handshake, lambda: buffer.read(1), lambda: buffer.write(b"x")):
            with pytest.raises(TLSError, match="belongs to a socket"):
                call()
        assert buffer.outgoing_bytes_buffered() == 0
        third, fourth = socket.socketpair()
        with third, fourth, pytest.raises(TLSError, match="belongs to a socket"):
            wrap(third, buffer)
        with pytest.raises(WantReadError):
            made.do_handshake()


def test_an_interrupted_verifier_over_tls_still_tells_the_peer(
    lab: Lab, threads: ThreadPoolExecutor
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    lower = over(lambda plain: plain, lab, threads)
    accepting = threads.submit(wrap, lower[2], lab.server().create_buffer())
    upper = lab.client(peer_verifier=interrupted).create_buffer(HOST)
    with pytest.raises(KeyboardInterrupt):
        wrap(lower[0], upper)
    # `ssl` has nothing to send where its verdict was interrupted.
    told = AlertReceived if lab.implementation.name == "rustls" else TLSError
    with pytest.raises(told):
        accepting.result(PATIENCE)
