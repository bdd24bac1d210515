"""What is the native sockets' own: how they are made, what they are over, keys on both layers."""

from __future__ import annotations

import errno
import importlib.util
import socket
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import polytls
from polytls import _native
from polytls.insecure import SecurityWarning
from polytls.streams import ExtendedSocket, StreamSocket
from polytls.testing import CertificateAuthority, Pair, tie

TLS = polytls.implementation("rustls")
CA = CertificateAuthority()
CLIENT = TLS.client_context(polytls.TLSClientConfiguration(trust_store=CA.trust_store()))
SERVER = TLS.server_context(polytls.TLSServerConfiguration([CA.issue("localhost")]))


@pytest.fixture
def ends() -> Iterator[tuple[Any, Any]]:
    here, there = socket.socketpair()
    made: list[Any] = []
    serving = threading.Thread(target=lambda: made.append(SERVER.wrap_socket(there)))
    serving.start()
    with CLIENT.wrap_socket(here, "localhost") as client:
        serving.join()
        with made[0] as server:
            yield client, server


def test_sockets_are_made_by_contexts_alone(ends: Any) -> None:
    client, _ = ends
    assert type(client) is ExtendedSocket
    for make in (StreamSocket, ExtendedSocket, _native.TLSSocket, _native.SocketHandle):
        with pytest.raises(TypeError):
            make()  # type: ignore[call-arg]
    for kind in (StreamSocket, ExtendedSocket):
        with pytest.raises(TypeError, match="final"):
            type("Mine", (kind,), {})
    with SERVER.connect(("localhost", 0)) as listener:
        assert type(listener) is ExtendedSocket
        address = ("localhost", listener.getsockname()[1])
        dialling = threading.Thread(target=lambda: CLIENT.connect(address).close(force=True))
        dialling.start()
        accepted, _ = listener.accept()
        dialling.join()
        with accepted:
            assert type(accepted) is ExtendedSocket


def test_a_local_socket_has_no_host_and_port_and_says_so(ends: Any) -> None:
    for side in ends:
        assert "without an address" in repr(side)
        assert (side.family, side.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
        for call in (side.getpeername, side.getsockname):
            with pytest.raises(OSError, match="host and port") as caught:
                call()
            assert caught.value.errno == errno.EAFNOSUPPORT


@pytest.fixture(params=[True, False])
def own_layer(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def pair(own_layer: bool, monkeypatch: pytest.MonkeyPatch) -> Pair[Any, Any]:
    """Two buffers of engines with or without our own record layer."""
    with_both = partial(_native.backend, record_layer=own_layer)
    monkeypatch.setattr(_native, "backend", with_both)
    spec = importlib.util.find_spec("polytls.engines.rustls")
    assert spec is not None
    assert spec.loader is not None
    # A second one: it asks for its backend once, when it is executed.
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tls = module.IMPLEMENTATION
    client = tls.client_context(polytls.TLSClientConfiguration(trust_store=CA.trust_store()))
    server = tls.server_context(polytls.TLSServerConfiguration([CA.issue("localhost")]))
    return tie(client.create_buffer("localhost"), server.create_buffer())


def test_an_engine_decides_who_opens_records(pair: Pair[Any, Any], own_layer: bool) -> None:
    pair.client.write(b"data")
    record = bytearray(pair.client.process_outgoing(20_000))
    # The type of an encrypted record is authenticated (RFC 8446 5.2); rustls 0.23 takes another.
    assert record[0] == 23
    record[0] = 22
    pair.server.process_incoming(record)
    if own_layer:
        with pytest.raises(polytls.PeerMisbehaved):
            pair.server.read(10)
    else:
        assert pair.server.read(10) == b"data"


def test_keys_change_with_and_without_our_own_record_layer(pair: Pair[Any, Any]) -> None:
    for number in range(100):
        sender = (pair.client, pair.server)[number % 2]
        if number % 3 == 0:
            sender.update_keys()
        data = b"%d" % number
        assert pair.send(sender, data) == data
    for _ in range(16):
        pair.client.update_keys()
    with pytest.raises(polytls.TLSError, match="16 times"):
        pair.client.update_keys()
    # A limit of ours alone: nothing is wrong with the connection.
    for _ in range(3):
        assert pair.send(pair.client, b"goes on") == b"goes on"
        pair.client.update_keys()


def test_sessions_of_one_address_are_kept_by_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    zones = iter((1, 2, 1))

    def resolved(host: str, port: int, **_: object) -> list[Any]:
        assert host == "localhost"
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, next(zones)))]

    client = TLS.client_context(polytls.TLSClientConfiguration(trust_store=CA.trust_store()))
    server = TLS.server_context(polytls.TLSServerConfiguration([CA.issue("::1")]))
    with server.connect(("::1", 0)) as listener:
        address = ("localhost", listener.getsockname()[1])
        monkeypatch.setattr(socket, "getaddrinfo", resolved)

        def serve() -> None:
            for _ in range(3):
                accepted, _ = listener.accept()
                with accepted:
                    accepted.sendall(b"tickets come first")

        serving = threading.Thread(target=serve)
        serving.start()
        resumed = []
        for _ in range(3):
            with client.connect(address, server_hostname="::1") as connection:
                assert connection.recv(1)
                resumed.append(connection.info.resumed)
        serving.join()
    assert resumed == [False, False, True]


def test_insecure_contexts_wrap_with_a_warning_and_without_a_name() -> None:
    with pytest.warns(SecurityWarning):
        insecure = polytls.insecure.implementation("rustls")
    with pytest.warns(SecurityWarning):
        nothing = polytls.insecure.InsecureConfiguration(
            disable_hostname_check=True, disable_verification=True
        )
    with pytest.warns(SecurityWarning):
        client = insecure.insecure_client_context(polytls.TLSClientConfiguration(), nothing)
    with pytest.warns(SecurityWarning):
        server = insecure.insecure_server_context(
            polytls.TLSServerConfiguration([CA.issue("localhost")]), nothing
        )
    here, there = socket.socketpair()
    with pytest.warns(SecurityWarning, match="ServerContext.wrap_socket") as server_warned:
        accepted = server.wrap_socket(there, do_handshake_on_connect=False)
    with pytest.warns(SecurityWarning, match="ClientContext.wrap_socket") as client_warned:
        connection = client.wrap_socket(here, do_handshake_on_connect=False)
    # It is the caller who is warned.
    assert {warned[0].filename for warned in (server_warned, client_warned)} == {__file__}
    serving = threading.Thread(target=lambda: accepted.sendall(b"hello"))
    serving.start()
    with accepted, connection:
        assert connection.recv(100) == b"hello"
        serving.join()


def test_a_listener_of_both_families_takes_clients_of_both() -> None:
    with SERVER.connect(("::", 0), dual_stack=True) as listener:
        for host in ("127.0.0.1", "::1"):
            address = (host, listener.getsockname()[1])

            def dial(address: tuple[str, int] = address) -> None:
                CLIENT.connect(address, server_hostname="localhost").close(force=True)

            dialling = threading.Thread(target=dial)
            dialling.start()
            accepted, _ = listener.accept()
            accepted.close(force=True)
            dialling.join()
    with pytest.raises(ValueError, match="dual_stack"):
        SERVER.connect(("127.0.0.1", 0), dual_stack=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"handshake_limit": 0},
        {"handshake_limit": -1},
        {"handshake_timeout": 0},
        {"handshake_timeout": -1.0},
        {"handshake_timeout": float("nan")},
    ],
)
def test_listeners_with_limits_that_are_none_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SERVER.connect(("127.0.0.1", 0), **wrong)


def test_listeners_share_a_port_if_both_say_so() -> None:
    with SERVER.connect(("127.0.0.1", 0), reuse_port=True) as one:
        with SERVER.connect(one.getsockname(), reuse_port=True) as other:
            assert other.getsockname() == one.getsockname()
        with pytest.raises(OSError, match="in use") as caught:
            SERVER.connect(one.getsockname())
        assert caught.value.errno == errno.EADDRINUSE
