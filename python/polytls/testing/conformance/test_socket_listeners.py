"""Listeners: no client, whatever it does, stops the others; and what a listener itself is."""

from __future__ import annotations

import errno
import os
import queue
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    AlertReceived,
    CertificateVerificationError,
    NotTLSError,
    TLSVersion,
    VerificationFailure,
    WantReadError,
)
from polytls.testing.conformance.lab import PATIENCE

LOOPBACK = "127.0.0.1"


class Served:
    """A listener that a thread accepts from, until it is closed."""

    def __init__(self, listener: Any) -> None:
        self.listener = listener
        self.address = listener.getsockname()
        #: What accept returned, or the error that it raised.
        self.accepted: queue.Queue[Any] = queue.Queue()

    def accept_all(self) -> None:
        while True:
            try:
                self.accepted.put(self.listener.accept())
            except OSError as error:
                self.accepted.put(error)
                return

    def next(self) -> Any:
        connection, _ = self.accepted.get(timeout=PATIENCE)
        connection.settimeout(PATIENCE)
        return connection

    def failed(self, number: int) -> None:
        """Wait until so many handshakes have failed, and no more."""
        deadline = time.monotonic() + PATIENCE
        while self.listener.failed_handshakes < number:
            assert time.monotonic() < deadline, self.listener.failed_handshakes
            time.sleep(0.005)
        assert self.listener.failed_handshakes == number


@contextmanager
def serving(context: Any) -> Iterator[Served]:
    with ThreadPoolExecutor() as threads, context.connect((LOOPBACK, 0)) as listener:
        served = Served(listener)
        accepting = threads.submit(served.accept_all)
        yield served
        # No client has ended it.
        assert not accepting.done()


def connect(lab: Any, address: Any, *, name: str | None = None, **given: Any) -> Any:
    return lab.client(**given).connect(address, server_hostname=name or lab.host, timeout=PATIENCE)


def assert_served(lab: Any, served: Served) -> None:
    with connect(lab, served.address) as client, served.next() as accepted:
        assert accepted.getpeername() == client.getsockname()
        client.send(b"ping")
        assert accepted.recv(100) == b"ping"


# --- bad clients ---


def hello(lab: Any) -> bytes:
    buffer = lab.client().create_buffer(lab.host)
    with pytest.raises(WantReadError):
        buffer.do_handshake()
    return buffer.process_outgoing(buffer.outgoing_bytes_buffered())


def end(plain: socket.socket) -> None:
    plain.shutdown(socket.SHUT_WR)


def reset(plain: socket.socket) -> None:
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


HTTP = b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n"

#: What a client says first, and how it goes on.
BAD_CLIENTS: dict[str, tuple[Callable[[Any], bytes], Callable[[socket.socket], None] | None]] = {
    "closes at once": (lambda lab: b"", end),
    "resets at once": (lambda lab: b"", reset),
    "plain HTTP": (lambda lab: HTTP, None),
    "garbage": (lambda lab: bytes(range(256)) * 8, None),
    "zeros": (lambda lab: bytes(4096), None),
    "a record too large": (lambda lab: b"\x16\x03\x01\xff\xff" + bytes(70_000), None),
    "an empty handshake record": (lambda lab: b"\x16\x03\x01\x00\x00", None),
    "data first": (lambda lab: b"\x17\x03\x03\x00\x05hello", None),
    "an alert first": (lambda lab: b"\x15\x03\x03\x00\x02\x02\x28", None),
    "closes within ClientHello": (lambda lab: hello(lab)[:50], end),
    "closes after ClientHello": (hello, end),
    "resets after ClientHello": (hello, reset),
    "garbage after ClientHello": (lambda lab: hello(lab) + bytes(100), None),
}

each_bad_client = pytest.mark.parametrize("kind", BAD_CLIENTS)


@each_bad_client
def test_a_bad_client_is_counted_and_the_next_one_is_served(lab: Any, kind: str) -> None:
    says, then = BAD_CLIENTS[kind]
    with serving(lab.server()) as served, socket.create_connection(served.address) as plain:
        plain.sendall(says(lab))
        if then is not None:
            then(plain)
        assert_served(lab, served)
        served.failed(1)
        assert_served(lab, served)
        served.failed(1)


def test_all_kinds_of_bad_clients_at_once_hold_up_nobody(lab: Any) -> None:
    with serving(lab.server()) as served, ExitStack() as closing:
        for says, then in BAD_CLIENTS.values():
            for _ in range(5):
                plain = closing.enter_context(socket.create_connection(served.address))
                plain.sendall(says(lab))
                if then is not None:
                    then(plain)
        assert_served(lab, served)
        served.failed(5 * len(BAD_CLIENTS))


@pytest.mark.parametrize("said", ["nothing", "half of ClientHello", "ClientHello"])
def test_clients_that_stall_hold_up_nobody(lab: Any, said: str) -> None:
    whole = hello(lab)
    says = {"nothing": b"", "half of ClientHello": whole[:100], "ClientHello": whole}[said]
    with serving(lab.server()) as served, ExitStack() as closing:
        for _ in range(20):
            plain = closing.enter_context(socket.create_connection(served.address))
            plain.sendall(says)
        for _ in range(5):
            assert_served(lab, served)
        served.failed(0)


def test_a_client_that_stalls_is_given_up_after_ten_seconds(lab: Any) -> None:
    with serving(lab.server()) as served, socket.create_connection(served.address) as plain:
        start = time.monotonic()
        plain.settimeout(PATIENCE)
        assert plain.recv(1) == b""
        assert 9.0 < time.monotonic() - start < 18.0
        served.failed(1)


def test_a_client_that_speaks_http_is_not_left_waiting(lab: Any) -> None:
    with serving(lab.server()) as served, socket.create_connection(served.address) as plain:
        plain.settimeout(PATIENCE)
        start = time.monotonic()
        plain.sendall(HTTP)
        with suppress(ConnectionResetError):
            while plain.recv(1000):
                pass
        assert time.monotonic() - start < PATIENCE / 4
        served.failed(1)


def test_a_client_that_refuses_the_server_ends_its_own_connection_only(
    lab: Any, version: TLSVersion
) -> None:
    with serving(lab.server()) as served:
        with pytest.raises(CertificateVerificationError) as caught:
            connect(lab, served.address, name="other.example", version=version)
        assert caught.value.reason is VerificationFailure.HOSTNAME_MISMATCH
        assert caught.value.hostname == "other.example"
        assert_served(lab, served)
        served.failed(1)


def test_a_client_without_a_certificate_where_one_is_required_is_never_accepted(
    lab: Any, version: TLSVersion
) -> None:
    server = lab.server(trust_store=lab.ca.trust_store())
    with serving(server) as served:
        # TLS 1.3 tells the client of it only after its handshake (see
        # test_socket_client_certificates.py).
        try:
            client = connect(lab, served.address, version=version)
        except AlertReceived:
            assert version is TLSVersion.TLSv1_2
        else:
            with client, pytest.raises(AlertReceived) as caught:
                client.recv(1)
            assert caught.value.alert is AlertDescription.certificate_required
        served.failed(1)
        assert served.accepted.empty()
        mine = lab.chain("client.example")
        with (
            connect(lab, served.address, version=version, certificate_chain=mine) as client,
            served.next() as accepted,
        ):
            assert accepted.getpeercert() == mine.leaf[0].buffer
            assert accepted.getpeername() == client.getsockname()
        served.failed(1)


def test_a_server_that_is_none_is_told_from_one_that_is_broken(lab: Any) -> None:
    with socket.create_server((LOOPBACK, 0)) as there, ThreadPoolExecutor() as threads:
        connecting = threads.submit(connect, lab, there.getsockname())
        with there.accept()[0] as plain:
            plain.recv(65536)
            plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            error = connecting.exception()
    assert isinstance(error, NotTLSError)
    assert "HTTP" in str(error)


# --- many clients ---


def test_fifty_clients_at_once_are_all_served(lab: Any) -> None:
    def fetch(number: int) -> bytes:
        with connect(lab, served.address, sessions=None) as client:
            client.sendall(b"%d" % number)
            return client.recv(100)

    def answer() -> None:
        with served.next() as accepted:
            accepted.sendall(b"you are " + accepted.recv(100))

    with serving(lab.server()) as served, ThreadPoolExecutor(100) as threads:
        answering = [threads.submit(answer) for _ in range(50)]
        fetching = [threads.submit(fetch, number) for number in range(50)]
        for number, task in enumerate(fetching):
            assert task.result() == b"you are %d" % number
        for task in answering:
            task.result()
        served.failed(0)


def test_several_threads_may_accept_from_one_listener(lab: Any) -> None:
    with (
        ThreadPoolExecutor() as threads,
        lab.server().connect((LOOPBACK, 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        several = [Served(listener) for _ in range(4)]
        tasks = [threads.submit(one.accept_all) for one in several]
        ports = set()
        for _ in range(20):
            with connect(lab, listener.getsockname()) as client:
                ports.add(client.getsockname()[1])
        listener.close()
        for task in tasks:
            task.result()
        found = set()
        for one in several:
            while not isinstance(item := one.accepted.get_nowait(), OSError):
                item[0].close(force=True)
                found.add(item[1][1])
            assert item.errno == errno.EBADF
        assert found <= ports


def test_connections_outlive_their_listener(lab: Any) -> None:
    with serving(lab.server()) as served:
        client = connect(lab, served.address)
        accepted = served.next()
    with client, accepted:
        client.send(b"still")
        assert accepted.recv(100) == b"still"


# --- what a listener is ---


def test_the_backlog_can_be_changed_and_nothing_else_changes(lab: Any) -> None:
    with lab.server().connect((LOOPBACK, 0), backlog=1) as listener:
        before = (listener.getsockname(), listener.fileno())
        for backlog in (1, 128, 0):
            assert listener.listen(backlog) is None
        assert (listener.getsockname(), listener.fileno()) == before
        for wrong in ("1", None, 1.5):
            with pytest.raises(TypeError):
                listener.listen(wrong)


def test_a_port_in_use_says_so(lab: Any) -> None:
    with (
        lab.server().connect((LOOPBACK, 0)) as listener,
        pytest.raises(OSError, match="in use") as caught,
    ):
        lab.server().connect(listener.getsockname())
    assert caught.value.errno == errno.EADDRINUSE


def test_an_address_that_is_not_this_machines_says_so(lab: Any) -> None:
    with pytest.raises(OSError, match="address") as caught:
        lab.server().connect(("192.0.2.1", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_calls_for_the_other_kind_of_socket_say_so(lab: Any) -> None:
    with serving(lab.server()) as served, connect(lab, served.address) as client:
        served.next().close(force=True)
        listener = served.listener
        for call in (
            lambda: listener.recv(1),
            lambda: listener.recv_into(bytearray(1)),
            lambda: listener.send(b"x"),
            lambda: listener.sendall(b"x"),
            lambda: listener.do_handshake(),
            lambda: client.accept(),
            lambda: client.listen(1),
        ):
            with pytest.raises(OSError, match=r"listener|connection") as caught:
                call()
            assert caught.value.errno == errno.EINVAL
        with pytest.raises(OSError, match="listener"):
            listener.getpeername()


def test_a_listener_has_no_facts_of_a_connection(lab: Any) -> None:
    context = lab.server()
    with context.connect((LOOPBACK, 0)) as listener:
        assert listener.context is context
        assert listener.getpeercert() is None
        assert listener.cipher() is None
        assert listener.negotiated_protocol() is None
        assert listener.negotiated_tls_version is None
        assert listener.info.version is None
        assert listener.failed_handshakes == 0


def test_a_closed_listener_says_that_it_is_closed(lab: Any) -> None:
    listener = lab.server().connect((LOOPBACK, 0))
    address = listener.getsockname()
    listener.close()
    listener.close()
    assert listener.fileno() == -1
    for call in (listener.accept, listener.getsockname, lambda: listener.listen(1)):
        with pytest.raises(OSError, match="closed") as caught:
            call()
        assert caught.value.errno == errno.EBADF
    with pytest.raises(ConnectionRefusedError):
        connect(lab, address)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
def test_a_closed_listener_has_no_descriptors_left(lab: Any) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone are needed

    before = count()
    listener = lab.server().connect((LOOPBACK, 0))
    listener.close()
    after = count()
    del listener
    assert after == before
