"""Sockets that never wait: what they raise, and how a selector drives them."""

from __future__ import annotations

import errno
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from polytls import AlertDescription, TLSError, TLSVersion, WantReadError, WantWriteError
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.lab import (
    PATIENCE,
    Whole,
    drive,
    fill,
    give_up,
    ready,
    same_error,
)


@contextmanager
def listening(lab: Any) -> Iterator[Any]:
    """A listener that never waits."""
    with lab.server().connect(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def connect(lab: Any, listener: Any, **given: Any) -> Any:
    return lab.client(**given).connect(
        listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
    )


@pytest.fixture
def ends(lab: Any, version: TLSVersion, threads: ThreadPoolExecutor) -> Iterator[tuple[Any, Any]]:
    """Both ends of a connection, neither of which waits."""
    with ExitStack() as closing:
        listener = closing.enter_context(listening(lab))
        connecting = threads.submit(connect, lab, listener, version=version)
        accepted, _ = drive(listener, listener.accept)
        closing.callback(give_up, accepted)
        accepted.setblocking(False)
        drive(accepted, accepted.do_handshake)
        client = connecting.result()
        closing.callback(give_up, client)
        client.setblocking(False)
        yield client, accepted


# --- listeners ---


def test_a_listener_without_clients_raises_and_a_selector_tells_when_one_is_there(lab: Any) -> None:
    with listening(lab) as listener:
        with pytest.raises(WantReadError):
            listener.accept()
        with socket.create_connection(listener.getsockname()) as plain:
            ready(listener, selectors.EVENT_READ)
            accepted, address = listener.accept()
            with accepted:
                assert address == accepted.getpeername() == plain.getsockname()
        with pytest.raises(WantReadError):
            listener.accept()


def test_an_accepted_connections_handshake_is_still_to_be_done(
    lab: Any, threads: ThreadPoolExecutor
) -> None:
    with listening(lab) as listener:
        connecting = threads.submit(connect, lab, listener)
        accepted, _ = drive(listener, listener.accept)
        with accepted:
            # The listener's mode is not that of what it accepts, as with plain sockets.
            assert accepted.gettimeout() is None
            assert accepted.getpeercert() is None
            assert accepted.cipher() is None
            assert accepted.negotiated_tls_version is None
            assert accepted.negotiated_protocol() is None
            assert accepted.info.version is None
            accepted.do_handshake()
            accepted.do_handshake()
            assert accepted.negotiated_tls_version is TLSVersion.TLSv1_3
            with connecting.result() as client:
                client.send(b"hello")
                assert accepted.recv(100) == b"hello"


@pytest.mark.parametrize("first", ["recv", "recv_into", "send", "sendall"])
def test_the_first_call_does_the_handshake(
    lab: Any, threads: ThreadPoolExecutor, version: TLSVersion, first: str
) -> None:
    with listening(lab) as listener:
        connecting = threads.submit(connect, lab, listener, version=version)
        accepted, _ = drive(listener, listener.accept)
        accepted.setblocking(False)
        with accepted:
            if first.startswith("send"):
                drive(accepted, getattr(accepted, first), b"hello")
                with connecting.result() as client:
                    assert client.recv(100) == b"hello"
            else:
                receiving = threads.submit(
                    drive,
                    accepted,
                    getattr(accepted, first),
                    5 if first == "recv" else bytearray(5),
                )
                with connecting.result() as client:
                    client.send(b"hello")
                    assert receiving.result() in (b"hello", 5)
            assert accepted.negotiated_tls_version is version


def test_nothing_is_taken_before_the_handshake_is_done(lab: Any) -> None:
    with listening(lab) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = drive(listener, listener.accept)
        with accepted:
            accepted.setblocking(False)
            for call, given in (
                (accepted.do_handshake, ()),
                (accepted.recv, (10,)),
                (accepted.send, (b"data",)),
                (accepted.sendall, (b"data",)),
            ):
                with pytest.raises(WantReadError):
                    call(*given)
            assert accepted.outgoing_bytes_buffered() == 0


def test_a_clients_failure_is_raised_where_its_handshake_is_driven(
    lab: Any, threads: ThreadPoolExecutor
) -> None:
    with listening(lab) as listener:
        strangers = CertificateAuthority().trust_store()
        connecting = threads.submit(connect, lab, listener, trust_store=strangers)
        accepted, _ = drive(listener, listener.accept)
        with accepted:
            accepted.setblocking(False)
            with pytest.raises(TLSError) as first:
                drive(accepted, accepted.do_handshake)
            assert first.value.alert in (
                AlertDescription.unknown_ca,
                AlertDescription.bad_certificate,
            )
            with pytest.raises(TLSError) as again:
                accepted.send(b"x")
            assert same_error(first.value, again.value)
        assert isinstance(connecting.exception(), TLSError)
        with pytest.raises(WantReadError):
            listener.accept()


# --- connections ---


def test_recv_raises_while_there_is_nothing_and_takes_what_comes(ends: Any) -> None:
    client, accepted = ends
    for _ in range(2):
        with pytest.raises(WantReadError):
            accepted.recv(100)
        with pytest.raises(WantReadError):
            accepted.recv_into(bytearray(8))
    client.send(b"data")
    assert drive(accepted, accepted.recv, 100) == b"data"
    assert accepted.recv(0) == b""


def test_send_raises_only_if_it_took_nothing_and_what_it_took_arrives(ends: Any) -> None:
    client, accepted = ends
    taken = fill(client)
    assert taken > 0
    assert client.outgoing_bytes_buffered() > 0
    with pytest.raises(WantWriteError):
        client.send(b"x")
    with pytest.raises(WantWriteError):
        client.sendall(b"x")
    # Reading is not held up by what cannot be written.
    with pytest.raises(WantReadError):
        client.recv(1)
    accepted.send(b"from there")
    assert drive(client, client.recv, 100) == b"from there"
    count = 0
    while count < taken:
        data = drive(accepted, accepted.recv, 1 << 20)
        assert data.count(0) == len(data)
        count += len(data)
        if client.outgoing_bytes_buffered():
            # Any call sends what waits.
            with pytest.raises(WantReadError):
                client.recv(1)
    assert count == taken
    assert client.outgoing_bytes_buffered() == 0


@pytest.mark.parametrize("length", [1, 100, 16_384, 16_385, 100_000, 1_000_000])
def test_what_send_has_taken_whole_needs_no_other_call(
    ends: Any, threads: ThreadPoolExecutor, length: int
) -> None:
    """As with a plain socket: who has sent everything makes no call more."""
    client, accepted = ends
    accepted.setblocking(True)
    accepted.settimeout(PATIENCE)
    full = threading.Event()
    filler, message = bytes(65536), bytes(range(1, 256)) * (length // 255 + 1)

    def send(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[client.send(rest) :]
            except BlockingIOError:
                full.set()
                ready(client, selectors.EVENT_WRITE)
        assert client.outgoing_bytes_buffered() == 0

    def receive() -> bytearray:
        assert full.wait(PATIENCE)
        received, missing = bytearray(), 20 * length
        while missing > 0:
            # Only fillers are zeros.
            data = accepted.recv(1 << 20)
            received += data
            missing -= len(data) - data.count(0)
        return received

    receiving, fillers = threads.submit(receive), 0
    try:
        while not full.is_set():
            send(filler)
            fillers += len(filler)
        for _ in range(20):
            send(message[:length])
    finally:
        full.set()
    assert receiving.result() == Whole(bytes(fillers) + message[:length] * 20)


def test_more_than_the_system_buffers_is_taken_in_part(ends: Any) -> None:
    client, _ = ends
    everything = bytes(64 << 20)
    count = client.send(everything)
    assert 0 < count < len(everything)
    with pytest.raises(WantWriteError):
        client.sendall(everything)


def test_code_for_plain_sockets_finds_what_it_expects(ends: Any) -> None:
    client, accepted = ends
    for call in (lambda: client.recv(1), lambda: client.recv_into(bytearray(1))):
        with pytest.raises(BlockingIOError) as caught:
            call()
        assert caught.value.errno == errno.EAGAIN
    fill(client)
    with pytest.raises(BlockingIOError) as caught:
        client.send(b"x")
    assert caught.value.errno == errno.EAGAIN
    with accepted.makefile("rb", 0) as file:
        while file.read(1 << 20) is not None:
            continue
        # Nothing has come, which is no error and no end.
        assert file.read(1) is None


def test_close_raises_until_the_peer_has_answered(ends: Any) -> None:
    client, accepted = ends
    for _ in range(2):
        with pytest.raises(WantReadError):
            client.close()
        assert client.fileno() != -1
    assert drive(accepted, accepted.recv, 100) == b""
    drive(accepted, accepted.close)
    drive(client, client.close)
    assert client.fileno() == accepted.fileno() == -1


def test_close_raises_while_it_cannot_say_goodbye(ends: Any) -> None:
    client, accepted = ends
    taken = fill(client)
    with pytest.raises(WantWriteError):
        client.close()
    count = 0
    while data := drive(accepted, accepted.recv, 1 << 20):
        count += len(data)
        if client.fileno() != -1:
            # In TLS 1.2 the peer's answer comes by itself with the end.
            with suppress(WantReadError, WantWriteError):
                client.close()
    assert count == taken
    drive(accepted, accepted.close)
    drive(client, client.close)


def test_a_forced_close_asks_once_for_time_and_then_closes(ends: Any) -> None:
    client, _ = ends
    fill(client)
    with pytest.raises(WantWriteError):
        client.close(force=True)
    client.close(force=True)
    assert client.fileno() == -1


def test_leaving_a_with_statement_closes_in_any_case(ends: Any) -> None:
    client, _ = ends
    with pytest.raises(TimeoutError), client:
        # What the system has not taken is lost.
        fill(client)
    assert client.fileno() == -1


def test_an_exception_passes_through_a_with_statement_that_cannot_say_goodbye(ends: Any) -> None:
    client, _ = ends

    def fail() -> None:
        with client:
            fill(client)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert client.fileno() == -1


def test_pending_tells_what_a_selector_cannot_see(ends: Any) -> None:
    client, accepted = ends
    client.send(b"one")
    client.send(b"two")
    ready(accepted, selectors.EVENT_READ)
    assert accepted.recv(1) == b"o"
    deadline = time.monotonic() + PATIENCE
    data = b""
    while len(data) < 5:
        assert time.monotonic() < deadline
        if not accepted.pending():
            ready(accepted, selectors.EVENT_READ)
        data += drive(accepted, accepted.recv, 1)
    assert data == b"netwo"  # «one» and «two», but for the first letter.
    assert accepted.pending() == 0


# --- a whole program ---


class Endpoint:
    """One side in a selector's loop: sends what it has to, and keeps what comes."""

    def __init__(self, side: Any, unsent: bytes, expected: int, echo: bool) -> None:
        self.side = side
        self.unsent = bytearray(unsent)
        self.expected = expected
        self.echo = echo
        self.received = bytearray()

    @property
    def done(self) -> bool:
        return (
            len(self.received) == self.expected
            and not self.unsent
            and not self.side.outgoing_bytes_buffered()
        )

    @property
    def events(self) -> int:
        writing = self.unsent or self.side.outgoing_bytes_buffered()
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)

    def work(self) -> None:
        for step in (self.receive, self.send):
            try:
                while step():
                    pass
            except (WantReadError, WantWriteError):
                continue

    def receive(self) -> bool:
        data = self.side.recv(50_000)
        assert data, "the end has come too soon"
        self.received += data
        if self.echo:
            self.unsent += data
        return True

    def send(self) -> bool:
        if self.unsent:
            del self.unsent[: self.side.send(self.unsent)]
        return bool(self.unsent)


def test_a_selector_echoes_a_mebibyte_on_both_sides_in_one_thread(ends: Any, rng: Any) -> None:
    data = rng.randbytes(1 << 20)
    client = Endpoint(ends[0], data, len(data), echo=False)
    accepted = Endpoint(ends[1], b"", len(data), echo=True)
    deadline = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as selector:
        for endpoint in (client, accepted):
            selector.register(endpoint.side, endpoint.events, endpoint)
        while not (client.done and accepted.done):
            assert time.monotonic() < deadline
            for key, _ in selector.select(1.0):
                key.data.work()
            for endpoint in (client, accepted):
                selector.modify(endpoint.side, endpoint.events, endpoint)
    assert client.received == Whole(data)
    assert accepted.received == Whole(data)
