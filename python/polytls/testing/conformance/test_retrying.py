"""What `polytls.is_retryable` says of the errors of real connections."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polytls import (
    AlertReceived,
    CertificateVerificationError,
    NotTLSError,
    RaggedEOF,
    TLSVersion,
    WantReadError,
    is_retryable,
)

from .lab import PATIENCE, Lab
from .raw_peer import reset


def fails(lab: Lab, threads: ThreadPoolExecutor, serve: Any, timeout: float = PATIENCE) -> OSError:
    """The error of a client whose server does `serve` with the plain socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connecting = threads.submit(
            lab.client().connect,
            listening.getsockname(),
            server_hostname=lab.host,
            timeout=timeout,
        )
        plain, _ = listening.accept()
        with plain:
            plain.settimeout(PATIENCE)
            serve(plain)
            with pytest.raises(OSError) as raised:  # noqa: PT011 - which one, the case says
                connecting.result()
    return raised.value


def test_an_end_within_the_handshake(lab: Lab, threads: ThreadPoolExecutor) -> None:
    def hang_up(plain: socket.socket) -> None:
        plain.recv(65536)
        plain.close()

    error = fails(lab, threads, hang_up)
    assert isinstance(error, RaggedEOF)
    assert is_retryable(error)


def test_a_reset_within_the_handshake(lab: Lab, threads: ThreadPoolExecutor) -> None:
    def hang_up(plain: socket.socket) -> None:
        plain.recv(1)
        reset(plain)

    error = fails(lab, threads, hang_up)
    assert isinstance(error, ConnectionError)
    assert is_retryable(error)


def test_a_handshake_that_takes_too_long(lab: Lab, threads: ThreadPoolExecutor) -> None:
    error = fails(lab, threads, lambda plain: None, timeout=0.2)
    assert isinstance(error, TimeoutError)
    assert is_retryable(error)


def test_nobody_listens(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
    with pytest.raises(ConnectionRefusedError) as raised:
        lab.client().connect(address, server_hostname=lab.host, timeout=PATIENCE)
    assert is_retryable(raised.value)


def test_no_tls(lab: Lab, threads: ThreadPoolExecutor) -> None:
    error = fails(lab, threads, lambda plain: plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert isinstance(error, NotTLSError)
    assert not is_retryable(error)


def test_a_refused_certificate_and_what_the_server_hears_of_it(lab: Lab) -> None:
    outcome = lab.settle(lab.pair(name="other.example"))
    assert isinstance(outcome.client, CertificateVerificationError)
    assert isinstance(outcome.server, AlertReceived)
    assert not is_retryable(outcome.client)
    assert not is_retryable(outcome.server)


def test_the_end_of_a_connection_that_was_cut(lab: Lab, version: TLSVersion) -> None:
    pair = lab.connect(lab.client(version=version))
    with pytest.raises(WantReadError) as waits:
        pair.client.read(1)
    assert not is_retryable(waits.value)
    pair.client.process_incoming(b"")
    with pytest.raises(RaggedEOF) as raised:
        pair.client.read(1)
    assert not is_retryable(raised.value)
