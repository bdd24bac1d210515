"""Signals while a socket waits: their handlers run at once, may end the call, and nothing is lost.

Python runs handlers in the main thread only, so that is where these calls wait.
"""

from __future__ import annotations

import errno
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from polytls import TLSError
from polytls.testing.conformance.lab import PATIENCE, Whole

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no SIGALRM and no timers for it"
)

#: When the first signal comes: the call waits by then. If it should not, its handler runs all the
#: same, and the test holds.
SOON = 0.1


class Stopped(Exception):
    """Raised by a handler of these tests."""


@pytest.fixture
def handler() -> Iterator[Callable[[Any], None]]:
    """A function that sets the handler of SIGALRM; all is undone after the test."""
    before = signal.getsignal(signal.SIGALRM)
    yield lambda handler: signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def stop(*_: Any) -> None:
    raise Stopped


@contextmanager
def stopped(after: float | None = SOON) -> Iterator[None]:
    """The block is ended by the exception of the handler, long before any timeout.

    Where the signal comes at once, give None and set the timer inside: it may come before the block
    has begun.
    """
    start = time.monotonic()
    if after is not None:
        signal.setitimer(signal.ITIMER_REAL, after)
    with pytest.raises(Stopped):
        yield
    assert time.monotonic() - start < PATIENCE / 2


# --- handlers that raise ---


@pytest.mark.parametrize("timeout", [PATIENCE, None])
@pytest.mark.parametrize("call", ["recv", "recv_into"])
def test_a_handler_that_raises_ends_recv_and_no_data_is_lost(
    ends: Any, handler: Any, timeout: float | None, call: str
) -> None:
    client, accepted = ends
    handler(stop)
    accepted.settimeout(timeout)
    with stopped():
        getattr(accepted, call)(100 if call == "recv" else bytearray(100))
    client.send(b"after it")
    accepted.settimeout(PATIENCE)
    assert accepted.recv(100) == b"after it"


def test_a_handler_that_raises_ends_sendall_and_the_stream_stays_whole(
    ends: Any, handler: Any, threads: ThreadPoolExecutor
) -> None:
    client, accepted = ends
    handler(stop)
    everything = b"a" * (64 << 20)
    with stopped():
        client.sendall(everything)

    def receive_all() -> bytes:
        data = bytearray()
        while piece := accepted.recv(1 << 20):
            data += piece
        return bytes(data)

    receiving = threads.submit(receive_all)
    client.sendall(b"the end")
    client.close(force=True)
    data = receiving.result()
    assert data.endswith(b"the end")
    assert data.count(b"a") == len(data) - len(b"the end")
    assert 0 < data.count(b"a") < 64 << 20


@pytest.mark.parametrize("after", [0.0005, 0.001, 0.002])
def test_a_signal_that_comes_before_sendall_waits_is_not_missed(
    ends: Any, handler: Any, after: float
) -> None:
    client, _ = ends
    handler(stop)
    # It seals and sends megabytes before it has to wait; the signal comes meanwhile.
    everything = bytes(64 << 20)
    client.settimeout(2)
    with stopped(None):
        signal.setitimer(signal.ITIMER_REAL, after)
        client.sendall(everything)


def test_a_handler_that_raises_ends_a_sendall_that_never_waits(
    ends: Any, handler: Any, threads: ThreadPoolExecutor
) -> None:
    client, accepted = ends
    handler(stop)

    def receive_all() -> None:
        room = bytearray(1 << 20)
        while accepted.recv_into(room):
            pass

    receiving = threads.submit(receive_all)
    data = bytes(256 << 20)
    with stopped(None):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        # No single one of them takes long enough.
        while True:
            client.sendall(data)
    client.close(force=True)
    receiving.result()


def test_a_handler_that_raises_ends_close_and_the_descriptor_is_closed(
    ends: Any, handler: Any
) -> None:
    client, _ = ends
    client.settimeout(SOON)
    # Without end, or close would have nothing to wait for.
    with suppress(TimeoutError):
        while True:
            client.sendall(bytes(1 << 20))
    client.settimeout(PATIENCE)
    handler(stop)
    with stopped():
        client.close()
    assert client.fileno() == -1


@pytest.mark.parametrize("timeout", [PATIENCE, None])
def test_a_handler_that_raises_ends_accept_and_accepting_goes_on_later(
    lab: Any, handler: Any, threads: ThreadPoolExecutor, timeout: float | None
) -> None:
    handler(stop)
    with lab.server().connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(timeout)
        with stopped():
            listener.accept()
        # One whose handshake is under way meanwhile.
        with socket.create_connection(listener.getsockname()), stopped():
            listener.accept()
        connecting = threads.submit(
            lab.client().connect, listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
        )
        with listener.accept()[0] as accepted, connecting.result() as client:
            client.send(b"hello")
            assert accepted.recv(100) == b"hello"


def test_a_handshake_goes_on_where_an_interrupted_accept_left_it(lab: Any, handler: Any) -> None:
    handler(stop)
    buffer = lab.client().create_buffer(lab.host)
    with (
        lab.server().connect(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as plain,
    ):
        listener.settimeout(PATIENCE)
        plain.settimeout(PATIENCE)
        with pytest.raises(OSError, match="peer"):
            buffer.do_handshake()
        plain.sendall(buffer.process_outgoing(buffer.outgoing_bytes_buffered()))
        with stopped():
            listener.accept()
        while True:
            buffer.process_incoming(plain.recv(65536))
            try:
                buffer.do_handshake()
                break
            except OSError:
                assert not buffer.outgoing_bytes_buffered()
        plain.sendall(buffer.process_outgoing(buffer.outgoing_bytes_buffered()))
        with listener.accept()[0] as accepted:
            assert accepted.getpeername() == plain.getsockname()


@pytest.mark.parametrize("timeout", [PATIENCE, None])
def test_a_handler_that_raises_ends_connect_and_leaves_no_descriptor(
    lab: Any, handler: Any, timeout: float | None
) -> None:
    handler(stop)
    with socket.create_server(("127.0.0.1", 0)) as silent, stopped():
        lab.client().connect(silent.getsockname(), server_hostname=lab.host, timeout=timeout)


# --- handlers that return ---


def test_calls_go_on_when_a_handler_returns(
    ends: Any, handler: Any, threads: ThreadPoolExecutor
) -> None:
    client, accepted = ends
    ran, enough = [], threading.Event()

    def note(*_: Any) -> None:
        ran.append(threading.current_thread())
        if len(ran) == 5:
            enough.set()

    def send() -> None:
        assert enough.wait(PATIENCE)
        client.send(b"at last")

    handler(note)
    sending = threads.submit(send)
    signal.setitimer(signal.ITIMER_REAL, SOON, 0.01)
    assert accepted.recv(100) == b"at last"
    signal.setitimer(signal.ITIMER_REAL, 0)
    sending.result()
    # They ran while recv waited: it got nothing before the fifth.
    assert len(ran) >= 5
    assert set(ran) == {threading.main_thread()}


def test_much_data_arrives_unchanged_under_a_rain_of_signals(
    ends: Any, handler: Any, threads: ThreadPoolExecutor, rng: Any
) -> None:
    client, accepted = ends
    data = rng.randbytes(5 << 20)
    count = 0

    def note(*_: Any) -> None:
        nonlocal count
        count += 1

    def echo() -> None:
        while piece := accepted.recv(100_000):
            accepted.sendall(piece)

    handler(note)
    echoing = threads.submit(echo)
    received = bytearray()
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    view = memoryview(data)
    while len(received) < len(data):
        client.sendall(view[len(received) : len(received) + 200_000])
        expected = min(len(received) + 200_000, len(data))
        while len(received) < expected:
            received += client.recv(expected - len(received))
    signal.setitimer(signal.ITIMER_REAL, 0)
    client.close(force=True)
    echoing.result()
    assert received == Whole(data)
    assert count > 0


def test_a_handler_that_returns_does_not_prolong_a_timeout(ends: Any, handler: Any) -> None:
    _, accepted = ends
    handler(lambda *_: None)
    accepted.settimeout(0.3)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        accepted.recv(100)
    assert 0.29 <= time.monotonic() - start < 5


def test_connect_and_accept_go_on_when_a_handler_returns(
    lab: Any, handler: Any, threads: ThreadPoolExecutor
) -> None:
    ran = threading.Event()
    handler(lambda *_: ran.set())
    with lab.server().connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def after_a_signal(call: Callable[..., Any], *given: Any, **named: Any) -> Any:
            assert ran.wait(PATIENCE)
            return call(*given, **named)

        address, name = listener.getsockname(), {"server_hostname": lab.host}
        for call, other in (
            (lambda: listener.accept()[0], lambda: lab.client().connect(address, **name)),
            (lambda: lab.client().connect(address, **name), lambda: listener.accept()[0]),
        ):
            ran.clear()
            later = threads.submit(after_a_signal, other)
            signal.setitimer(signal.ITIMER_REAL, SOON)
            with call() as one, later.result() as two:
                one.send(b"hello")
                assert two.recv(100) == b"hello"


def test_a_handler_may_close_the_socket_that_waits(ends: Any, handler: Any) -> None:
    _, accepted = ends
    handler(lambda *_: accepted.close(force=True))
    signal.setitimer(signal.ITIMER_REAL, SOON)
    with pytest.raises(OSError, match="closed") as caught:
        accepted.recv(100)
    assert caught.value.errno == errno.EBADF


# --- handlers that ask ---


@pytest.mark.parametrize("call", ["pending", "outgoing_bytes_buffered", "getpeercert", "send"])
def test_a_handler_that_uses_its_connection_hears_something_and_the_call_goes_on(
    ends: Any, handler: Any, threads: ThreadPoolExecutor, call: str
) -> None:
    """An answer or an error: the call that was interrupted may hold what an answer takes."""
    client, server = ends
    heard = []
    data = bytes(range(256)) * (1 << 15)
    ask = {"send": lambda: client.send(b"")}.get(call, lambda: getattr(client, call)())

    def hear(*_: Any) -> None:
        try:
            ask()
        except TLSError as error:
            heard.append(str(error))
        else:
            heard.append("")

    def receive() -> bytearray:
        received = bytearray()
        while len(received) < len(data):
            received += server.recv(1 << 16)
        return received

    handler(hear)
    receiving = threads.submit(receive)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        client.sendall(data)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert receiving.result(PATIENCE) == Whole(data)
    assert all(not said or "signal" in said for said in heard)
