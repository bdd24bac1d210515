"""Time over sockets: what a call may take, in total, and how that is set."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from polytls import TLSError, TLSVersion, WantReadError
from polytls.testing.conformance.lab import PATIENCE, fill

#: The timeout that is waited for, and the time it must not exceed on the busiest machine.
SHORT, LONG = 0.2, 4.0


@contextmanager
def times_out(after: float = SHORT, before: float = LONG) -> Iterator[None]:
    start = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        yield
    assert after - 0.01 <= time.monotonic() - start < before
    assert not isinstance(caught.value, TLSError)


@pytest.fixture
def defaults() -> Iterator[None]:
    """Restore the default timeout of all sockets after the test."""
    before = socket.getdefaulttimeout()
    yield
    socket.setdefaulttimeout(before)


def receive_all(side: Any) -> bytes:
    data = bytearray()
    while piece := side.recv(100_000):
        data += piece
    return bytes(data)


# --- connect ---


def test_connect_waits_no_longer_for_a_handshake_that_nobody_answers(lab: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, times_out():
        lab.client().connect(silent.getsockname(), server_hostname=lab.host, timeout=SHORT)


def test_connect_waits_no_longer_for_a_connection_that_nobody_takes(lab: Any) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as closing:
        for _ in range(4):
            filler = closing.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        with times_out():
            lab.client().connect(full.getsockname(), server_hostname=lab.host, timeout=SHORT)


def test_a_server_that_trickles_does_not_prolong_connect(lab: Any) -> None:
    stop = threading.Event()

    def trickle(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        with plain:
            # The beginning of a handshake record that is never complete.
            for byte in b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(16_000):
                if stop.wait(0.01):
                    return
                plain.send(bytes([byte]))

    with socket.create_server(("127.0.0.1", 0)) as there, ThreadPoolExecutor() as threads:
        trickling = threads.submit(trickle, there)
        try:
            with times_out():
                lab.client().connect(there.getsockname(), server_hostname=lab.host, timeout=SHORT)
        finally:
            stop.set()
        trickling.exception()


def test_connects_timeout_holds_for_later_calls_too(lab: Any) -> None:
    with ThreadPoolExecutor() as threads, lab.server().connect(("127.0.0.1", 0)) as listener:
        for timeout in (PATIENCE, None):
            accepting = threads.submit(listener.accept)
            client = lab.client().connect(
                listener.getsockname(), server_hostname=lab.host, timeout=timeout
            )
            with client, accepting.result()[0]:
                assert client.gettimeout() == timeout


def test_connecting_cannot_do_without_time(lab: Any) -> None:
    with (
        lab.server().connect(("127.0.0.1", 0)) as listener,
        pytest.raises(ValueError, match="timeout"),
    ):
        lab.client().connect(listener.getsockname(), server_hostname=lab.host, timeout=0)


# --- recv, send, close, accept ---


def test_recv_waits_no_longer_and_loses_nothing(ends: Any) -> None:
    client, accepted = ends
    accepted.settimeout(SHORT)
    for _ in range(2):
        with times_out():
            accepted.recv(100)
    with times_out():
        accepted.recv_into(bytearray(100))
    client.send(b"at last")
    accepted.settimeout(PATIENCE)
    assert accepted.recv(100) == b"at last"


def test_a_peer_that_trickles_does_not_prolong_recv(lab: Any, version: TLSVersion) -> None:
    stop = threading.Event()
    with (
        socket.create_server(("127.0.0.1", 0)) as there,
        ThreadPoolExecutor() as threads,
        ExitStack() as closing,
    ):
        closing.callback(stop.set)
        buffer = lab.server(version=version).create_buffer()

        def trickle() -> None:
            plain, _ = there.accept()
            with plain:
                while True:
                    try:
                        buffer.do_handshake()
                        break
                    except WantReadError:
                        plain.sendall(buffer.process_outgoing(buffer.outgoing_bytes_buffered()))
                        buffer.process_incoming(plain.recv(65536))
                plain.sendall(buffer.process_outgoing(buffer.outgoing_bytes_buffered()))
                buffer.write(bytes(16_000))
                for byte in buffer.process_outgoing(buffer.outgoing_bytes_buffered()):
                    if stop.wait(0.01):
                        return
                    plain.send(bytes([byte]))

        trickling = threads.submit(trickle)
        client = lab.client().connect(
            there.getsockname(), server_hostname=lab.host, timeout=PATIENCE
        )
        with client:
            client.settimeout(SHORT)
            with times_out():
                client.recv(100)
            stop.set()
        trickling.result()


def test_send_waits_no_longer_and_what_was_taken_arrives(ends: Any) -> None:
    client, accepted = ends
    client.settimeout(SHORT)
    taken = 0
    while True:
        try:
            taken += client.send(bytes(65536))
        except TimeoutError:
            break
    with times_out():
        client.send(b"nothing of it")
    client.settimeout(PATIENCE)
    with ThreadPoolExecutor() as threads:
        receiving = threads.submit(receive_all, accepted)
        client.sendall(b"the end")
        client.close(force=True)
        data = receiving.result()
    assert len(data) == taken + len(b"the end")
    assert data.endswith(b"\0the end")
    assert data.count(0) == taken


def test_sendalls_timeout_is_for_the_whole(ends: Any) -> None:
    client, accepted = ends
    stop = threading.Event()

    def read_slowly() -> None:
        while not stop.wait(0.02):
            accepted.recv(10_000)

    client.settimeout(SHORT)
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(read_slowly)
        try:
            # Twenty megabytes would take it 40 seconds.
            with times_out():
                client.sendall(bytes(20_000_000))
        finally:
            stop.set()
        reading.result()


def test_a_forced_close_waits_no_longer_for_a_peer_that_does_not_read(ends: Any) -> None:
    client, _ = ends
    client.setblocking(False)
    fill(client)
    client.settimeout(SHORT)
    with times_out():
        client.close(force=True)
    assert client.fileno() == -1


def test_accept_waits_no_longer_and_accepts_later(lab: Any) -> None:
    with lab.server().connect(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as threads:
        listener.settimeout(SHORT)
        with times_out():
            listener.accept()
        # A client that says nothing counts for nothing.
        with socket.create_connection(listener.getsockname()), times_out():
            listener.accept()
        listener.settimeout(PATIENCE)
        accepting = threads.submit(listener.accept)
        with (
            lab.client().connect(
                listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
            ) as client,
            accepting.result()[0] as accepted,
        ):
            client.send(b"hello")
            assert accepted.recv(100) == b"hello"


# --- how it is set ---


def test_an_accepted_connection_and_a_listener_wait_for_ever_by_default(lab: Any) -> None:
    with ThreadPoolExecutor() as threads, lab.server().connect(("127.0.0.1", 0)) as listener:
        assert listener.gettimeout() is None
        # The listener's own timeout is not that of what it accepts, as with plain sockets.
        listener.settimeout(PATIENCE)
        accepting = threads.submit(listener.accept)
        with lab.client().connect(listener.getsockname(), server_hostname=lab.host) as client:
            assert client.gettimeout() is None
            with accepting.result()[0] as accepted:
                assert accepted.gettimeout() is None
                assert accepted.getblocking() is True


@pytest.mark.parametrize("what", ["connection", "listener"])
def test_the_three_modes_are_those_of_plain_sockets(lab: Any, ends: Any, what: str) -> None:
    with lab.server().connect(("127.0.0.1", 0)) as listener, socket.socket() as plain:
        side = ends[0] if what == "connection" else listener
        for call, given in (
            ("settimeout", 1.5),
            ("settimeout", 0),
            ("settimeout", 0.0),
            ("settimeout", None),
            ("settimeout", 7),
            ("setblocking", False),
            ("setblocking", True),
        ):
            assert getattr(side, call)(given) is getattr(plain, call)(given) is None
            assert side.gettimeout() == plain.gettimeout()
            assert type(side.gettimeout()) is type(plain.gettimeout())
            assert side.getblocking() is plain.getblocking()


def test_a_timeout_too_short_to_count_is_still_a_timeout(ends: Any) -> None:
    client, _ = ends
    client.settimeout(1e-30)
    assert client.getblocking() is True
    with pytest.raises(TimeoutError):
        client.recv(1)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        (-0.1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), OverflowError),
        ("1", TypeError),
        (b"1", TypeError),
    ],
)
def test_what_is_no_timeout_is_refused(ends: Any, value: Any, error: type[Exception]) -> None:
    for side in ends:
        with pytest.raises(error) as caught:
            side.settimeout(value)
        assert "negative" not in str(caught.value) or value < 0
        assert side.gettimeout() == PATIENCE


@pytest.mark.usefixtures("defaults")
def test_the_default_timeout_of_sockets_holds_where_none_is_given(lab: Any) -> None:
    with ThreadPoolExecutor() as threads:
        socket.setdefaulttimeout(12.5)
        with lab.server().connect(("127.0.0.1", 0)) as listener:
            assert listener.gettimeout() == 12.5
            accepting = threads.submit(listener.accept)
            with lab.client().connect(listener.getsockname(), server_hostname=lab.host) as client:
                assert client.gettimeout() == 12.5
                with accepting.result()[0] as accepted:
                    assert accepted.gettimeout() == 12.5
        socket.setdefaulttimeout(SHORT)
        with socket.create_server(("127.0.0.1", 0)) as silent, times_out():
            lab.client().connect(silent.getsockname(), server_hostname=lab.host)
