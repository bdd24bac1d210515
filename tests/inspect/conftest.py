"""Servers that `polytls inspect` is let loose on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

import polytls
from polytls import NextProtocol, TLSServerConfiguration
from polytls.testing import CertificateAuthority

#: The name that the servers' certificate has.
NAME = "server.example"
#: What nothing in these tests may take, in seconds.
PATIENCE = 30.0

Handle = Callable[[socket.socket], None]
Serve = Callable[[Handle], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that serves each connection with another; it gives the port."""
    with ExitStack() as ending:

        def start(handle: Handle) -> int:
            listener = socket.create_server(("127.0.0.1", 0))

            def accept() -> None:
                while True:
                    try:
                        plain, _ = listener.accept()
                    except OSError:  # It is closed.
                        return
                    with plain, suppress(OSError):
                        plain.settimeout(PATIENCE)
                        handle(plain)

            def close() -> None:
                listener.shutdown(socket.SHUT_RDWR)  # Ends accept(2) in the thread.
                listener.close()

            thread = threading.Thread(target=accept)
            thread.start()
            ending.callback(thread.join, PATIENCE)
            ending.callback(close)
            port: int = listener.getsockname()[1]
            return port

        yield start


@pytest.fixture
def tls(ca: CertificateAuthority) -> Handle:
    """Does TLS on a plain socket, to the end of what the client says."""
    context: Any = polytls.implementation("rustls").server_context(
        TLSServerConfiguration([ca.issue(NAME)], inner_protocols=[NextProtocol.HTTP1])
    )

    def handle(plain: socket.socket) -> None:
        with context.wrap_socket(plain) as connection:
            while connection.recv(4096):
                pass

    return handle
