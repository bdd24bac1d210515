"""Early data with OpenSSL's `s_client` and `s_server`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from polytls import NamedGroup, NextProtocol, streams

pytestmark = pytest.mark.peers

PATIENCE = 20.0
EARLY = b"early bird\n"

Starter = Callable[..., Any]


# --- our server ---


def handle(connection: Any) -> Any:
    """Take early data, answer it, echo the rest."""
    data = bytearray()
    while piece := connection.read_early_data(4096):
        data += piece
    connection.sendall(b"%d early bytes\n" % len(data))
    while rest := connection.recv(4096):
        connection.sendall(rest)
    return bytes(data), connection.info


class Visitor:
    """Runs `s_client` again and again, with the session of the last time."""

    def __init__(self, s_client: Starter, folder: Path) -> None:
        self._s_client = s_client
        self._kept = folder / "session.pem"
        self._data = folder / "early.bin"

    def __call__(self, served: Any, early: bytes = b"", *options: str) -> tuple[Any, bytes, Any]:
        """What `s_client` said, the early data that our server got, and its facts."""
        given = ["-tls1_3", *options, "-sess_out", str(self._kept)]
        if self._kept.exists():
            given += ["-sess_in", str(self._kept)]
        if early:
            self._data.write_bytes(early)
            given += ["-early_data", str(self._data)]
        client = self._s_client(served.port, *given)
        client.expect(rb"\d+ early bytes")
        client.write(b"echo this\n")
        client.expect(b"echo this")
        client.write(b"Q\n")
        data, info = served.outcome()
        return client, data, info


@pytest.fixture
def visit(s_client: Starter, tmp_path: Path) -> Visitor:
    return Visitor(s_client, tmp_path)


@pytest.mark.parametrize("amount", [1, 1000, 16_384])
def test_our_server_takes_early_data(lab: Any, serve: Starter, visit: Any, amount: int) -> None:
    served = serve(lab.server(early_data=True), handle)
    data = bytes(range(256)) * 64
    assert visit(served)[2].early_data is None
    for _ in range(2):
        client, came, info = visit(served, data[:amount])
        assert b"Early data was accepted" in client.output
        assert (came, info.resumed, info.early_data) == (data[:amount], True, True)


@pytest.mark.parametrize("amount", [1, 16_384])
@pytest.mark.parametrize("takes", [True, False], ids=["another store", "no early data"])
def test_our_server_refuses_and_skips_early_data(
    lab: Any, serve: Starter, visit: Any, amount: int, takes: bool
) -> None:
    visit(serve(lab.server(early_data=True), handle))

    def answer(connection: Any) -> Any:
        if takes:
            return handle(connection)
        connection.sendall(b"0 early bytes\n")
        while data := connection.recv(4096):
            connection.sendall(data)
        return b"", connection.info

    other = serve(lab.server(early_data=takes), answer)
    client, came, info = visit(other, bytes(amount))
    assert b"Early data was rejected" in client.output
    assert (came, info.resumed, info.early_data) == (b"", False, False)


@pytest.mark.parametrize("amount", [1, 16_384])
def test_our_server_refuses_it_for_another_protocol(
    lab: Any, serve: Starter, visit: Any, amount: int
) -> None:
    """The session is resumed all the same."""
    protocols = [NextProtocol.H2, NextProtocol.HTTP1]
    served = serve(lab.server(early_data=True, inner_protocols=protocols), handle)
    assert visit(served, b"", "-alpn", "http/1.1")[2].alpn is NextProtocol.HTTP1
    client, came, info = visit(served, bytes(amount), "-alpn", "h2,http/1.1")
    assert b"Early data was rejected" in client.output
    assert (came, info.resumed, info.early_data) == (b"", True, False)
    assert info.alpn is NextProtocol.H2


def test_our_server_refuses_it_where_it_asks_for_another_group(
    lab: Any, serve: Starter, visit: Any
) -> None:
    """With a HelloRetryRequest, as `s_client` sends one share alone."""
    server = lab.server(early_data=True, groups=[NamedGroup.x25519, NamedGroup.secp384r1])
    served = serve(server, handle)
    visit(served)
    client, came, info = visit(served, bytes(16_384), "-groups", "P-256:P-384")
    assert b"Early data was rejected" in client.output
    assert (came, info.early_data) == (b"", False)


# --- our client ---


def dial(lab: Any, context: Any, port: int) -> Any:
    plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    return context.wrap_socket(plain, lab.host, do_handshake_on_connect=False)


def talk(client: Any, server: Any, word: bytes) -> None:
    """Both exchange a line, so that tickets are read."""
    before = len(server.output)
    client.sendall(b"from us, " + word + b"\n")
    server.expect(b"from us, " + word, before)
    answer = b"from openssl, " + word + b"\n"
    server.write(answer)
    received = b""
    while len(received) < len(answer):
        received += client.recv(100)
    assert received == answer


def leave(client: Any, server: Any) -> None:
    before = len(server.output)
    client.close(force=True)
    server.expect(b"CONNECTION CLOSED|ERROR|DONE", before)


def test_our_client_learns_that_early_data_was_accepted(lab: Any, s_server: Starter) -> None:
    server, port = s_server("-tls1_3", "-early_data")
    context = lab.client(early_data=True)
    for number in range(3):
        with closing(dial(lab, context, port)) as client:
            sent = client.write_early_data(EARLY)
            assert sent == (len(EARLY) if number else 0)
            before = len(server.output)
            client.do_handshake()
            if number:
                # Its output is in no order.
                server.expect(EARLY, before)
                server.expect(b"End of early data", before)
            talk(client, server, b"%d" % number)
            assert client.info.resumed is bool(number)
            assert client.info.early_data is (True if number else None)
            leave(client, server)


def test_our_client_learns_that_early_data_was_refused_though_the_session_is_resumed(
    lab: Any, s_server: Starter
) -> None:
    # It allows early data in its tickets, and reads none.
    server, port = s_server("-tls1_3", "-max_early_data", "16384")
    context = lab.client(early_data=True)
    for number in range(3):
        with closing(dial(lab, context, port)) as client:
            data = bytes(16_384)
            assert client.write_early_data(data) == (len(data) if number else 0)
            client.do_handshake()
            talk(client, server, b"%d" % number)
            assert client.info.resumed is bool(number)
            assert client.info.early_data is (False if number else None)
            leave(client, server)


def test_our_client_learns_that_early_data_was_refused_with_its_session(
    lab: Any, s_server: Starter
) -> None:
    context = lab.client(early_data=True)
    for number in range(2):
        # Another server each time: buffers remember sessions by name alone.
        server, port = s_server("-tls1_3", "-early_data")
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        buffer = context.create_buffer(lab.host)
        with closing(streams.wrap(plain, buffer, do_handshake_on_connect=False)) as client:
            assert client.write_early_data(EARLY) == (len(EARLY) if number else 0)
            talk(client, server, b"%d" % number)
            assert client.info.resumed is False
            assert client.info.early_data is (False if number else None)
            leave(client, server)


def test_our_client_sends_no_more_than_the_server_allows(lab: Any, s_server: Starter) -> None:
    server, port = s_server("-tls1_3", "-early_data", "-max_early_data", "100")
    context = lab.client(early_data=True)
    for number in range(2):
        with closing(dial(lab, context, port)) as client:
            assert client.write_early_data(b"x" * 90) == (90 if number else 0)
            assert client.write_early_data(b"y" * 90) == (10 if number else 0)
            client.do_handshake()
            talk(client, server, b"%d" % number)
            assert client.info.early_data is (True if number else None)
            leave(client, server)
    server.expect(b"x" * 90)
    server.expect(b"[^y]" + b"y" * 10 + b"[^y]")
