"""Connections that become TLS, or cease to be it, with `ssl` or a proxy at the other end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from polytls import CertificateVerificationError, TLSVersion

#: What nothing in these tests may take, in seconds.
PATIENCE = 20.0
NATIVE = {TLSVersion.TLSv1_2: ssl.TLSVersion.TLSv1_2, TLSVersion.TLSv1_3: ssl.TLSVersion.TLSv1_3}


def exactly(side: Any, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = side.recv(min(65536, length - len(data)))
        assert piece, f"the end after {len(data)} of {length} bytes"
        data += piece
    return bytes(data)


@pytest.fixture
def theirs(lab: Any, files: Any, version: TLSVersion) -> Callable[[int], ssl.SSLContext]:
    """A function that makes a context of `ssl` for one version."""

    def make(protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.load_verify_locations(cadata=lab.ca.certificate_pem.decode())
        context.load_cert_chain(*files(lab.chain()))
        context.minimum_version = context.maximum_version = NATIVE[version]
        return context

    return make


# --- proxies ---


def through(proxy: Any, target: int, lab: Any, context: Any = None) -> tuple[Any, bytes]:
    """A connection to `target` through a proxy, and what has come too much. TLS, if `context`."""
    side: Any = socket.create_connection(proxy.address, timeout=PATIENCE)
    if context is not None:
        side = context.wrap_socket(side, lab.host)
    side.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: server.example\r\n\r\n" % target)
    head = b""
    while b"\r\n\r\n" not in head:
        head += side.recv(4096)
    status, _, leftover = head.partition(b"\r\n\r\n")
    assert status.startswith(b"HTTP/1.1 200 ")
    return side, leftover


def assert_echo(side: Any, data: bytes, threads: ThreadPoolExecutor) -> None:
    sending = threads.submit(side.sendall, data)
    assert exactly(side, len(data)) == data
    sending.result(PATIENCE)


def test_https_goes_through_a_proxy(
    lab: Any, version: TLSVersion, serve: Any, connect_proxy: Any, threads: Any, rng: Any
) -> None:
    served = serve(lab.server())
    side, leftover = through(connect_proxy(), served.port, lab)
    with lab.client(version=version).wrap_socket(side, lab.host, leftover=leftover) as ours:
        assert_echo(ours, rng.randbytes(300_000), threads)
        ours.close()
    assert served.outcome().version is version


def test_tls_in_tls_goes_through_an_https_proxy(
    lab: Any,
    version: TLSVersion,
    serve: Any,
    connect_proxy: Any,
    theirs: Any,
    threads: Any,
    rng: Any,
) -> None:
    served = serve(lab.server(lab.chain("inner.example")))
    proxy = connect_proxy(theirs(ssl.PROTOCOL_TLS_SERVER))
    context = lab.client(version=version)
    outer, leftover = through(proxy, served.port, lab, context)
    with context.wrap_socket(outer, "inner.example", leftover=leftover) as ours:
        assert ours.info.server_name == "inner.example"
        assert_echo(ours, rng.randbytes(300_000), threads)
        ours.close()
    assert served.outcome().server_name == "inner.example"
    assert outer.fileno() == -1


def test_who_is_behind_the_proxy_is_verified(
    lab: Any, version: TLSVersion, serve: Any, connect_proxy: Any, theirs: Any
) -> None:
    served = serve(lab.server(lab.chain("another.example")))
    proxy = connect_proxy(theirs(ssl.PROTOCOL_TLS_SERVER))
    context = lab.client(version=version)
    outer, leftover = through(proxy, served.port, lab, context)
    with pytest.raises(CertificateVerificationError) as caught:
        context.wrap_socket(outer, "inner.example", leftover=leftover)
    assert caught.value.hostname == "inner.example"
    assert outer.fileno() == -1
    served.failed(1)


# --- back to plaintext ---


def test_a_control_connection_is_cleared(
    lab: Any, version: TLSVersion, theirs: Any, threads: ThreadPoolExecutor
) -> None:
    """FTP's CCC (RFC 4217 12.3), with us as the client."""

    def serve() -> None:
        plain, _ = listener.accept()
        with plain:
            plain.settimeout(PATIENCE)
            plain.sendall(b"220 ready\r\n")
            assert exactly(plain, 10) == b"AUTH TLS\r\n"
            plain.sendall(b"234 go on\r\n")
            with context.wrap_socket(plain, server_side=True) as secured:
                assert exactly(secured, 5) == b"CCC\r\n"
                secured.sendall(b"200 clear\r\n")
                with secured.unwrap() as cleared:
                    cleared.sendall(b"230 in the clear\r\n")
                    assert exactly(cleared, 6) == b"QUIT\r\n"
                    cleared.sendall(b"221 bye\r\n")

    context = theirs(ssl.PROTOCOL_TLS_SERVER)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threads.submit(serve)
        side: Any = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
        assert exactly(side, 11) == b"220 ready\r\n"
        side.sendall(b"AUTH TLS\r\n")
        assert exactly(side, 11) == b"234 go on\r\n"
        side = lab.client(version=version).wrap_socket(side, lab.host)
        side.sendall(b"CCC\r\n")
        assert exactly(side, 11) == b"200 clear\r\n"
        with side.unwrap() as side:
            assert exactly(side, 18) == b"230 in the clear\r\n"
            side.sendall(b"QUIT\r\n")
            assert exactly(side, 9) == b"221 bye\r\n"
            assert side.recv(1) == b""
        serving.result(PATIENCE)


def test_a_clients_control_connection_is_cleared(
    lab: Any, version: TLSVersion, theirs: Any, threads: ThreadPoolExecutor
) -> None:
    """The same, with us as the server, which begins TLS with what has come already."""
    context = theirs(ssl.PROTOCOL_TLS_CLIENT)

    def use() -> None:
        with ExitStack() as closing:
            plain = closing.enter_context(socket.create_connection(listener.getsockname()))
            plain.settimeout(PATIENCE)
            # It does not wait for an answer: the first bytes of TLS come with the command.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.sendall(b"AUTH TLS\r\n")
            secured = closing.enter_context(context.wrap_socket(plain, server_hostname=lab.host))
            secured.sendall(b"CCC\r\n")
            assert exactly(secured, 11) == b"200 clear\r\n"
            cleared = closing.enter_context(secured.unwrap())
            cleared.sendall(b"PWD\r\n")
            assert exactly(cleared, 7) == b"257 /\r\n"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        using = threads.submit(use)
        side: Any = listener.accept()[0]
        side.settimeout(PATIENCE)
        data = b""
        while len(data) <= 10:
            data += side.recv(64)
        command, _, leftover = data.partition(b"\r\n")
        assert command == b"AUTH TLS"
        assert leftover
        side = lab.server().wrap_socket(side, leftover=leftover)
        assert side.negotiated_tls_version is version
        assert exactly(side, 5) == b"CCC\r\n"
        side.sendall(b"200 clear\r\n")
        with side.unwrap() as side:
            assert exactly(side, 5) == b"PWD\r\n"
            side.sendall(b"257 /\r\n")
            using.result(PATIENCE)
