"""Connections that take the end of the transport for the end of the data: `accept_truncated_end`.

Without it such an end is an error (`test_socket_ends`). The option must not open more than it says.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from polytls import RaggedEOF, TLSVersion, WantReadError
from polytls.testing.conformance.lab import PATIENCE, Lab, give_up
from polytls.testing.conformance.raw_peer import RawPeer
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.upgrade import Upgrade

pytestmark = needs("accept_truncated_end")


@pytest.fixture
def accepting(lab: Lab, threads: ThreadPoolExecutor) -> Iterator[Any]:
    """Makes a connection that accepts a truncated end, and the raw peer at its other end."""
    with ExitStack() as closing:

        def made(way: str, version: TLSVersion | None = None) -> tuple[Any, RawPeer]:
            client = lab.client(version=version, sessions=None)
            server = lab.server(sessions=None)
            if way == "client":
                there = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
                connecting = threads.submit(
                    client.connect,
                    there.getsockname(),
                    server_hostname=lab.host,
                    timeout=PATIENCE,
                    accept_truncated_end=True,
                )
                peer = RawPeer(server.create_buffer(), closing.enter_context(there.accept()[0]))
                peer.drive(peer.buffer.do_handshake)
                ours = connecting.result(PATIENCE)
            else:
                listener = server.connect(("127.0.0.1", 0), accept_truncated_end=True)
                closing.enter_context(listener)
                listener.settimeout(PATIENCE)
                coming = threads.submit(listener.accept)
                plain = closing.enter_context(socket.create_connection(listener.getsockname()))
                peer = RawPeer(client.create_buffer(lab.host), plain)
                peer.drive(peer.buffer.do_handshake)
                ours = coming.result(PATIENCE)[0]
                ours.settimeout(PATIENCE)
            closing.callback(give_up, ours)
            return ours, peer

        yield made


@pytest.fixture(params=["client", "server"])
def pair(request: pytest.FixtureRequest, accepting: Any, version: TLSVersion) -> Any:
    """A connection of each side and version, and its raw peer."""
    return accepting(request.param, version)


def cut(peer: RawPeer) -> None:
    """End the peer's side of TCP, and nothing else."""
    peer.plain.shutdown(socket.SHUT_WR)


def assert_ends(ours: Any) -> None:
    """All reads come to an end, again and again."""
    for _ in range(2):
        assert ours.recv(100) == b""
        assert ours.recv_into(bytearray(10)) == 0


def test_the_end_of_the_transport_is_the_end_of_the_data(pair: Any) -> None:
    ours, peer = pair
    peer.drive(peer.buffer.write, b"0123456789")
    cut(peer)
    assert ours.recv(4) == b"0123"
    assert ours.recv(100) == b"456789"
    assert_ends(ours)


def test_our_direction_goes_on(pair: Any) -> None:
    ours, peer = pair
    cut(peer)
    assert ours.recv(100) == b""
    ours.sendall(b"an answer")
    assert peer.read(9) == b"an answer"
    ours.close()
    while came := peer.plain.recv(65536):
        peer.buffer.process_incoming(came)
    assert peer.buffer.read(100) == b""


@needs("wrap_socket")
def test_so_it_is_of_a_connection_that_was_plain_before(upgrade: Upgrade) -> None:
    ours = upgrade.go(accept_truncated_end=True)
    upgrade.peer.drive(upgrade.peer.buffer.write, b"data")
    cut(upgrade.peer)
    assert ours.recv(100) == b"data"
    assert_ends(ours)


@needs("wrap_socket")
def test_it_is_for_those_who_asked_for_it(upgrade: Upgrade) -> None:
    ours = upgrade.go(accept_truncated_end=False)
    cut(upgrade.peer)
    with pytest.raises(RaggedEOF):
        ours.recv(100)


@needs("makefile")
def test_so_it_is_of_its_files(pair: Any) -> None:
    ours, peer = pair
    peer.drive(peer.buffer.write, b"a line\nand the rest")
    cut(peer)
    with ours.makefile("rb") as file:
        assert file.readline() == b"a line\n"
        assert file.read() == b"and the rest"
        assert file.read() == b""


def test_so_it_is_of_a_connection_that_does_not_wait(pair: Any) -> None:
    ours, peer = pair
    ours.setblocking(False)
    with pytest.raises(WantReadError):
        ours.recv(100)
    cut(peer)
    ours.settimeout(PATIENCE)
    assert_ends(ours)
    ours.setblocking(False)
    assert_ends(ours)
    assert ours.pending() == 0


def test_an_end_within_a_record_stays_an_error(pair: Any) -> None:
    # Then something is missing for certain.
    ours, peer = pair
    peer.buffer.write(b"whole")
    whole = peer.take()
    peer.buffer.write(b"cut short")
    short = peer.take()[:-1]
    peer.plain.sendall(whole + short)
    cut(peer)
    assert ours.recv(100) == b"whole"
    for _ in range(2):
        with pytest.raises(RaggedEOF) as caught:
            ours.recv(100)
        assert caught.value.during_handshake is False


def test_an_end_within_the_header_of_a_record_stays_an_error(pair: Any) -> None:
    ours, peer = pair
    peer.plain.sendall(b"\x17\x03")
    cut(peer)
    with pytest.raises(RaggedEOF):
        ours.recv(100)


def test_an_end_within_the_handshake_stays_an_error(
    lab: Lab, threads: ThreadPoolExecutor, version: TLSVersion
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        connecting = threads.submit(
            lab.client(version=version).connect,
            there.getsockname(),
            server_hostname=lab.host,
            timeout=PATIENCE,
            accept_truncated_end=True,
        )
        with there.accept()[0] as plain:
            assert plain.recv(1)
            plain.shutdown(socket.SHUT_WR)
            with pytest.raises(RaggedEOF) as caught:
                connecting.result(PATIENCE)
        assert caught.value.during_handshake is True


def test_a_reset_stays_an_error(pair: Any) -> None:
    ours, peer = pair
    peer.reset()
    with pytest.raises(ConnectionResetError):
        ours.recv(100)


def test_a_reset_that_a_send_was_told_of_stays_an_error(pair: Any) -> None:
    # The system tells it once, and then an end.
    ours, peer = pair
    peer.reset()
    for call in (lambda: ours.sendall(b"more"), lambda: ours.recv(100)):
        with pytest.raises(ConnectionResetError):
            call()


@needs("socket options")
@pytest.mark.skipif(
    not hasattr(socket, "TCP_USER_TIMEOUT"), reason="nothing else makes the system give up in time"
)
def test_a_peer_that_vanished_while_data_was_sent_is_no_end(pair: Any) -> None:
    ours, _ = pair
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 200)
    with pytest.raises(TimeoutError) as caught:
        ours.sendall(bytes(64 << 20))  # Nobody reads, so nobody acknowledges.
    assert caught.value.errno == errno.ETIMEDOUT
    for _ in range(2):
        with pytest.raises(TimeoutError):
            ours.recv(100)


@needs("unwrap", "wrap_socket")
def test_unwrap_takes_nothing_but_close_notify(upgrade: Upgrade) -> None:
    # What follows in plaintext is whose? Only close_notify says that TLS is over.
    ours = upgrade.go(accept_truncated_end=True)
    cut(upgrade.peer)
    with pytest.raises(RaggedEOF):
        ours.unwrap()


def test_it_is_yes_or_no(lab: Lab) -> None:
    with pytest.raises(TypeError, match="accept_truncated_end"):
        lab.client().connect(("127.0.0.1", 1), server_hostname=lab.host, accept_truncated_end="no")
    with pytest.raises(TypeError, match="accept_truncated_end"):
        lab.server().connect(("127.0.0.1", 0), accept_truncated_end=None)
