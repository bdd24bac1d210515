"""Connections that exist become TLS: STARTTLS, HTTP CONNECT, and not a byte too many."""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from polytls import (
    CertificateVerificationError,
    NotTLSError,
    PeerMisbehaved,
    RaggedEOF,
    TLSError,
    TLSVersion,
    WantReadError,
    WantWriteError,
)
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.lab import PATIENCE, Whole
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.upgrade import Upgrade, tied

pytestmark = needs("wrap_socket")

#: The timeout that is waited for.
SHORT = 0.2

as_client = pytest.mark.parametrize("upgrade", ["client"], indirect=True)
as_server = pytest.mark.parametrize("upgrade", ["server"], indirect=True)


def assert_talk(ours: Any, upgrade: Upgrade) -> None:
    ours.sendall(b"from here")
    assert upgrade.peer.read(9) == b"from here"
    upgrade.peer.drive(upgrade.peer.buffer.write, b"from there")
    assert ours.recv(100) == b"from there"


def said(plain: socket.socket) -> bytes:
    """All that comes over `plain` until the other end is closed."""
    data = b""
    # Closing with something unread makes it a reset.
    with suppress(ConnectionResetError):
        while piece := plain.recv(65536):
            data += piece
    return data


def readable(plain: socket.socket) -> bool:
    return bool(select.select([plain], [], [], 0)[0])


# --- what becomes of the socket ---


def test_a_connected_socket_is_taken_over(upgrade: Upgrade, version: TLSVersion) -> None:
    here, there = upgrade.plain.getsockname(), upgrade.plain.getpeername()
    descriptor = upgrade.plain.fileno()
    ours = upgrade.go()
    assert upgrade.plain.fileno() == -1
    assert ours.fileno() == descriptor
    assert (ours.getsockname(), ours.getpeername()) == (here, there)
    assert ours.context is upgrade.context
    assert ours.negotiated_tls_version is version
    assert_talk(ours, upgrade)


def test_what_was_said_in_plaintext_stays_apart(upgrade: Upgrade) -> None:
    upgrade.plain.sendall(b"STARTTLS\r\n")
    assert upgrade.peer.plain.recv(100) == b"STARTTLS\r\n"
    upgrade.peer.plain.sendall(b"220 go ahead\r\n")
    assert upgrade.plain.recv(100) == b"220 go ahead\r\n"
    assert_talk(upgrade.go(), upgrade)


def test_closing_it_closes_the_connection(upgrade: Upgrade) -> None:
    ours = upgrade.go()
    ours.close(force=True)
    assert ours.fileno() == -1
    assert upgrade.peer.drive(upgrade.peer.buffer.read, 1) == b""
    with suppress(ConnectionResetError):
        assert upgrade.peer.plain.recv(1) == b""


def test_a_socket_cannot_be_wrapped_twice(upgrade: Upgrade) -> None:
    ours = upgrade.go()
    with pytest.raises(OSError, match=r".") as caught:
        upgrade.wrap()
    assert not isinstance(caught.value, TLSError)
    assert_talk(ours, upgrade)


def test_a_unix_socket_will_do(lab: Any, version: TLSVersion, threads: ThreadPoolExecutor) -> None:
    one, other = socket.socketpair()
    one.settimeout(PATIENCE)
    other.settimeout(PATIENCE)
    accepting = threads.submit(lab.server().wrap_socket, one)
    with (
        lab.client(version=version).wrap_socket(other, lab.host) as client,
        accepting.result(PATIENCE) as accepted,
    ):
        client.sendall(b"hello")
        assert accepted.recv(100) == b"hello"


# --- time and modes ---


@pytest.mark.parametrize("timeout", [None, 12.5])
def test_the_timeout_is_taken_over(upgrade: Upgrade, timeout: float | None) -> None:
    upgrade.plain.settimeout(timeout)
    ours = upgrade.go()
    assert ours.gettimeout() == timeout
    assert ours.getblocking() is True


def test_the_handshake_has_to_be_done_within_the_timeout(upgrade: Upgrade) -> None:
    upgrade.plain.settimeout(SHORT)
    with pytest.raises(TimeoutError) as caught:
        upgrade.wrap()
    assert not isinstance(caught.value, TLSError)
    assert upgrade.plain.fileno() == -1
    said(upgrade.peer.plain)


def test_on_a_non_blocking_socket_the_handshake_is_still_to_be_done(upgrade: Upgrade) -> None:
    upgrade.plain.setblocking(False)
    ours = upgrade.wrap()
    assert ours.gettimeout() == 0.0
    assert ours.negotiated_tls_version is None
    with pytest.raises(WantReadError):
        ours.recv(1)
    driving = upgrade.threads.submit(upgrade.peer.drive, upgrade.peer.buffer.do_handshake)
    with selectors.DefaultSelector() as selector:
        selector.register(ours, selectors.EVENT_READ)
        while True:
            try:
                ours.send(b"x")
                break
            except WantReadError:
                selector.modify(ours, selectors.EVENT_READ)
            except WantWriteError:
                selector.modify(ours, selectors.EVENT_WRITE)
            assert selector.select(PATIENCE), "nothing came"
    driving.result(PATIENCE)
    assert upgrade.peer.read(1) == b"x"


@pytest.mark.parametrize("first", ["do_handshake", "recv", "send"])
def test_a_deferred_handshake_is_done_by_the_first_call(upgrade: Upgrade, first: str) -> None:
    ours = upgrade.wrap(do_handshake_on_connect=False)
    assert ours.getblocking() is True
    assert ours.negotiated_tls_version is None
    assert not readable(upgrade.peer.plain)
    given = {"do_handshake": (), "recv": (1,), "send": (b"x",)}[first]
    calling = upgrade.threads.submit(getattr(ours, first), *given)
    upgrade.peer.drive(upgrade.peer.buffer.do_handshake)
    if first == "recv":
        upgrade.peer.drive(upgrade.peer.buffer.write, b"y")
    assert calling.result(PATIENCE) == {"do_handshake": None, "recv": b"y", "send": 1}[first]
    assert ours.negotiated_tls_version is not None


# --- what was received before ---


@as_client
@pytest.mark.parametrize(
    "leftover", [b"\n", b"250 injected\r\n", b"\x16\x03\x03\x00\x04\x02\x00\x00\x00"]
)
def test_a_client_that_has_received_something_refuses_and_says_nothing(
    upgrade: Upgrade, leftover: bytes
) -> None:
    with pytest.raises(PeerMisbehaved):
        upgrade.wrap(leftover=leftover)
    assert upgrade.plain.fileno() == -1
    assert said(upgrade.peer.plain) == b""


@as_client
@pytest.mark.parametrize(
    "injected", [b"\n", b"250 injected\r\n", b"\x16\x03\x03\x00\x04\x02\x00\x00\x00"]
)
def test_a_client_looks_for_what_was_injected_before_it_speaks(
    upgrade: Upgrade, injected: bytes
) -> None:
    upgrade.peer.plain.sendall(injected)
    assert select.select([upgrade.plain], [], [], PATIENCE)[0]
    with pytest.raises(PeerMisbehaved):
        upgrade.wrap()
    assert upgrade.plain.fileno() == -1
    assert said(upgrade.peer.plain) == b""


@as_client
def test_a_client_looks_when_a_deferred_handshake_begins_too(upgrade: Upgrade) -> None:
    ours = upgrade.wrap(do_handshake_on_connect=False)
    upgrade.peer.plain.sendall(b"250 injected\r\n")
    assert select.select([ours], [], [], PATIENCE)[0]
    for _ in range(2):
        with pytest.raises(PeerMisbehaved):
            ours.do_handshake()
    ours.close(force=True)
    assert b"\x16\x03" not in said(upgrade.peer.plain)


@as_server
@pytest.mark.parametrize("cut", [1, 2, 5, 6, 100, None])
def test_a_server_goes_on_from_the_beginning_of_a_client_hello(
    upgrade: Upgrade, cut: int | None
) -> None:
    peer = upgrade.peer
    with pytest.raises(WantReadError):
        peer.buffer.do_handshake()
    hello = peer.take()
    wrapping = upgrade.threads.submit(upgrade.wrap, leftover=bytearray(hello[:cut]))
    if cut:
        peer.plain.sendall(hello[cut:])
    peer.drive(peer.buffer.do_handshake)
    assert_talk(wrapping.result(PATIENCE), upgrade)


@as_server
@pytest.mark.parametrize(
    "leftover",
    [
        b"Q",
        b"QUIT\r\n",
        b"\r\n",
        b"\x17\x03\x03\x00\x05hello",
        b"\x15\x03\x03\x00\x02\x01\x00",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
    ],
    ids=["letter", "line", "newline", "data", "alert", "other message"],
)
def test_a_server_refuses_what_cannot_begin_a_client_hello(
    upgrade: Upgrade, leftover: bytes
) -> None:
    with pytest.raises(NotTLSError):
        upgrade.wrap(leftover=leftover)
    assert upgrade.plain.fileno() == -1
    said(upgrade.peer.plain)


# --- errors ---


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"leftover": "text"}, TypeError, "leftover"),
        ({"leftover": None}, TypeError, "leftover"),
        ({"sock": 7}, TypeError, "sock"),
        ({"server_hostname": 7}, TypeError, "server_hostname"),
        ({"server_hostname": ""}, ValueError, "server_hostname"),
        ({"server_hostname": "a\0b"}, ValueError, "server_hostname"),
    ],
)
def test_after_wrong_arguments_the_socket_is_as_it_was(
    upgrade: Upgrade, given: dict[str, Any], error: type[Exception], told: str
) -> None:
    if upgrade.role == "server" and "server_hostname" in given:
        error, told = TypeError, "server_hostname"  # It has no such parameter.
    with pytest.raises(error, match=told):
        upgrade.wrap(**given)
    assert upgrade.plain.gettimeout() == PATIENCE
    upgrade.plain.sendall(b"still here")
    assert upgrade.peer.plain.recv(100) == b"still here"
    assert_talk(upgrade.go(), upgrade)


@pytest.mark.parametrize("kind", ["new", "listening", "unbound to anybody"])
def test_a_socket_without_a_peer_is_refused_and_left_alone(upgrade: Upgrade, kind: str) -> None:
    with socket.socket() as alone:
        if kind != "new":
            alone.bind(("127.0.0.1", 0))
        if kind == "listening":
            alone.listen()
        with pytest.raises(OSError, match=r".") as caught:
            upgrade.wrap(alone)
        assert caught.value.errno == errno.ENOTCONN
        assert not isinstance(caught.value, TLSError)
        assert alone.fileno() != -1


@as_client
def test_a_server_that_is_refused_is_told_and_the_descriptor_is_closed(upgrade: Upgrade) -> None:
    strangers = CertificateAuthority().trust_store()
    upgrade.context = upgrade.lab.client(trust_store=strangers)
    wrapping = upgrade.threads.submit(upgrade.wrap)
    with suppress(TLSError):  # Which the read tells again.
        upgrade.peer.drive(upgrade.peer.buffer.do_handshake)
    with pytest.raises(TLSError) as told:
        upgrade.peer.drive(upgrade.peer.buffer.read, 1)
    assert told.value.alert.name in ("unknown_ca", "bad_certificate")
    upgrade.peer.plain.close()
    error = wrapping.exception(PATIENCE)
    assert type(error) is CertificateVerificationError
    assert upgrade.plain.fileno() == -1


def test_a_peer_that_goes_away_in_the_handshake_is_told_as_such(upgrade: Upgrade) -> None:
    wrapping = upgrade.threads.submit(upgrade.wrap)
    if upgrade.role == "client":
        assert upgrade.peer.plain.recv(1)
    upgrade.peer.plain.shutdown(socket.SHUT_WR)
    error = wrapping.exception(PATIENCE)
    assert type(error) is RaggedEOF
    assert error.during_handshake is True
    assert upgrade.plain.fileno() == -1


def test_a_peer_that_does_not_speak_tls_is_named(upgrade: Upgrade) -> None:
    wrapping = upgrade.threads.submit(upgrade.wrap)
    if upgrade.role == "client":
        assert upgrade.peer.plain.recv(1)
    upgrade.peer.plain.sendall(b"421 closing down\r\n")
    upgrade.peer.plain.shutdown(socket.SHUT_WR)
    assert type(wrapping.exception(PATIENCE)) is NotTLSError
    assert upgrade.plain.fileno() == -1


# --- other streams ---


class Channel:
    """A byte stream of two pipes, with nothing but what has to be there."""

    def __init__(self, reading: int, writing: int) -> None:
        self._ends = [reading, writing]
        self.closed = False

    def recv(self, bufsize: int) -> bytes:
        return os.read(self._ends[0], bufsize)

    def send(self, data: Any) -> int:
        return os.write(self._ends[1], data)

    def close(self) -> None:
        self.closed = True
        while self._ends:
            os.close(self._ends.pop())


def channels() -> tuple[Channel, Channel]:
    (first, second), (third, fourth) = os.pipe(), os.pipe()
    return Channel(first, fourth), Channel(third, second)


def test_anything_that_sends_and_receives_can_be_wrapped_and_is_closed_with_the_connection(
    lab: Any, version: TLSVersion, threads: ThreadPoolExecutor, rng: Any
) -> None:
    here, there = channels()
    accepting = threads.submit(lab.server().wrap_socket, there)
    client = lab.client(version=version).wrap_socket(here, lab.host)
    accepted = accepting.result(PATIENCE)
    data = rng.randbytes(300_000)
    sending = threads.submit(client.sendall, data)
    received = b""
    while len(received) < len(data):
        received += accepted.recv(65536)
    sending.result(PATIENCE)
    assert received == Whole(data)
    accepted.sendall(b"and back")
    assert client.recv(100) == b"and back"
    client.close(force=True)
    assert accepted.recv(1) == b""
    accepted.close(force=True)
    assert here.closed
    assert there.closed


def test_a_stream_that_ends_in_the_handshake_is_closed(lab: Any) -> None:
    here, there = channels()
    there.close()
    with pytest.raises((RaggedEOF, BrokenPipeError)):
        lab.client().wrap_socket(here, lab.host)
    assert here.closed


class Strange(Exception):
    """No fault of any transport."""


@pytest.mark.parametrize("method", ["recv", "send"])
def test_what_a_stream_raises_is_raised_as_it_is(
    lab: Any, version: TLSVersion, threads: ThreadPoolExecutor, method: str
) -> None:
    here, there = channels()
    accepting = threads.submit(lab.server().wrap_socket, there)
    client = lab.client(version=version, sessions=None).wrap_socket(here, lab.host)
    accepted = accepting.result(PATIENCE)
    error = Strange(method)

    def fail(*_: Any) -> Any:
        raise error

    setattr(here, method, fail)
    with pytest.raises(Strange) as raised:
        client.recv(1) if method == "recv" else client.sendall(b"data")
    assert raised.value is error
    delattr(here, method)
    accepted.close(force=True)
    client.close(force=True)
    assert here.closed


def test_two_threads_use_one_stream(
    lab: Any, version: TLSVersion, threads: ThreadPoolExecutor, rng: Any
) -> None:
    """One receives and one sends, at the same time: neither waits for the other."""
    here, there = channels()
    accepting = threads.submit(lab.server().wrap_socket, there)
    client = lab.client(version=version).wrap_socket(here, lab.host)
    accepted = accepting.result(PATIENCE)
    data = rng.randbytes(300_000)

    def receive(end: Any) -> bytes:
        received = b""
        while len(received) < len(data):
            received += end.recv(65536)
        return received

    both = (client, accepted)
    sending = [threads.submit(end.sendall, data) for end in both]
    receiving = [threads.submit(receive, end) for end in both]
    for one in sending:
        one.result(PATIENCE)
    assert [one.result(PATIENCE) == Whole(data) for one in receiving] == [True, True]
    for end in both:
        end.close(force=True)


# --- TLS in TLS ---


@pytest.fixture
def layers(lab: Any, version: TLSVersion, threads: ThreadPoolExecutor) -> Any:
    """A client's and a server's connection inside other ones of the same kind."""
    with tied() as (one, other):
        client, server = lab.client(version=version), lab.server()
        accepting = threads.submit(server.wrap_socket, other)
        outer = client.wrap_socket(one, lab.host), accepting.result(PATIENCE)
        accepting = threads.submit(server.wrap_socket, outer[1])
        with (
            client.wrap_socket(outer[0], lab.host) as client_in_client,
            accepting.result(PATIENCE) as server_in_server,
        ):
            yield (client_in_client, server_in_server), outer


def test_tls_in_tls_carries_data(layers: Any, threads: ThreadPoolExecutor, rng: Any) -> None:
    (client, accepted), _ = layers
    data = rng.randbytes(1_000_000)
    for sender, receiver in ((client, accepted), (accepted, client)):
        sending = threads.submit(sender.sendall, data)
        received = bytearray()
        while len(received) < len(data):
            received += receiver.recv(100_000)
        sending.result(PATIENCE)
        assert received == Whole(data)


def test_tls_in_tls_has_timeouts_and_the_non_blocking_mode(layers: Any) -> None:
    (client, accepted), _ = layers
    assert client.gettimeout() == PATIENCE
    client.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.setblocking(False)
    with pytest.raises(WantReadError):
        client.recv(1)
    client.settimeout(PATIENCE)
    accepted.sendall(b"at last")
    assert client.recv(100) == b"at last"


def test_tls_in_tls_is_closed_from_the_inside(layers: Any) -> None:
    (client, accepted), outer = layers
    client.close(force=True)
    assert accepted.recv(1) == b""
    accepted.close(force=True)
    assert outer[0].fileno() == outer[1].fileno() == -1
