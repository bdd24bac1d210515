"""Show TLS connections of every kind over loopback, and three that are refused.

A temporary certificate authority and an HTTPS server are created in this process; a client connects
to it through sockets and through buffers. If there are several implementations, each then connects
to each (`matrix`). Nothing leaves the machine, and nothing is written.
"""

from __future__ import annotations

import argparse
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast

from .. import registry
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..constants import NextProtocol, TLSVersion
from ..errors import CertificateVerificationError, WantReadError
from ..info import ConnectionInfo
from ..interfaces import ClientContext, ServerContext, TLSBuffer, TLSImplementation, TLSSocket
from ..testing import CertificateAuthority
from . import matrix
from .words import wrapped

__all__ = ["add_arguments", "run"]

_PROTOCOLS = [NextProtocol.HTTP1]
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_BODY = b"hello over TLS\n"
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)
_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--implementation",
        metavar="NAME",
        help="the TLS implementation (default: the default implementation)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each connection; return 0 if all results are as expected."""
    implementation = registry.implementation(arguments.implementation)
    print(f"polytls on {implementation.version or implementation.name}\n")
    print(f"{'connection':34} {'version':8} {'group':16} {'alpn':9} {'resumed':8} outcome")
    expected = of = 0
    with _stage(implementation) as stage:
        for show in _shows(stage):
            outcome, as_expected = show()
            expected, of = expected + as_expected, of + 1
            print(outcome if as_expected else f"{outcome}\n    NOT AS EXPECTED", flush=True)
        agreed, tried = matrix.show(stage.ca)
    expected, of = expected + agreed, of + tried
    print(f"\n{expected} of {of} as expected")
    return 0 if expected == of else 1


_T = TypeVar("_T")
_Show = Callable[[], tuple[str, bool]]


@dataclass(frozen=True)
class _Stage:
    """Two servers, and what clients need to connect to them."""

    implementation: TLSImplementation[ClientContext, ServerContext]
    ca: CertificateAuthority
    port: int
    #: The server that requires a client certificate.
    mutual_port: int

    def client(self, **changes: object) -> ClientContext:
        configuration = TLSClientConfiguration(
            trust_store=self.ca.trust_store(), inner_protocols=_PROTOCOLS
        )
        return self.implementation.client_context(configuration.replace(**changes))


@contextmanager
def _stage(
    implementation: TLSImplementation[ClientContext, ServerContext],
) -> Iterator[_Stage]:
    ca = CertificateAuthority("Demo CA")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    expired = ca.issue(
        "expired.localhost", not_before=yesterday - timedelta(days=9), not_after=yesterday
    )
    public = TLSServerConfiguration(
        certificate_chain=[ca.issue("localhost", "127.0.0.1"), expired],
        inner_protocols=_PROTOCOLS,
    )
    mutual = TLSServerConfiguration(
        certificate_chain=[ca.issue("localhost")],
        inner_protocols=_PROTOCOLS,
        trust_store=ca.trust_store(),
    )
    with (
        _server(implementation.server_context(public)) as port,
        _server(implementation.server_context(mutual)) as mutual_port,
    ):
        yield _Stage(implementation, ca, port, mutual_port)


@contextmanager
def _server(context: ServerContext) -> Iterator[int]:
    """Serve on a free port until the block is left."""
    listener = context.connect(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve, args=(listener,))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join()


def _serve(listener: TLSSocket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # Closed: the demonstration is over.
            return
        try:
            request = b""
            while b"\r\n\r\n" not in request and (data := connection.recv(4096)):
                request += data
            if request:
                connection.send(_RESPONSE)
            connection.close()
        except OSError as error:  # One client's trouble is not the others'.
            print(f"    (the server, of one client: {error})")
        finally:
            connection.close(force=True)


def _shows(stage: _Stage) -> Iterator[_Show]:
    """The connections, in the order in which they are shown."""
    name = "localhost"
    for version in (TLSVersion.TLSv1_3, TLSVersion.TLSv1_2):
        only = stage.client(
            lowest_supported_version=version, highest_supported_version=version, sessions=None
        )
        yield _succeeds(f"socket, {version.value}", version, _over_socket, only, stage.port, name)
        yield _succeeds(f"buffer, {version.value}", version, _over_buffer, only, stage.port, name)
    newest = TLSVersion.TLSv1_3
    bare = stage.client(inner_protocols=[])
    yield _succeeds("no ALPN offered", newest, _over_socket, bare, stage.port, name, alpn=None)
    address = "127.0.0.1"
    yield _succeeds("by address", newest, _over_socket, stage.client(), stage.port, address)
    identified = stage.client(
        certificate_chain=stage.ca.issue("a client", server=False), sessions=None
    )
    yield _succeeds("mutual TLS", newest, _over_socket, identified, stage.mutual_port, name)
    again = stage.client()
    yield _succeeds("first visit", newest, _over_socket, again, stage.port, name)
    yield _succeeds("second visit", newest, _over_socket, again, stage.port, name, resumed=True)
    client = stage.client()
    yield _refused("wrong host", "hostname mismatch", client, stage.port, "other.localhost")
    stranger = CertificateAuthority("Another CA").trust_store()
    client = stage.client(trust_store=stranger)
    yield _refused("unknown CA", "unknown issuer", client, stage.port, name)
    client = stage.client()
    yield _refused("expired certificate", "expired", client, stage.port, "expired.localhost")


_Fetch = Callable[[ClientContext, int, str], tuple[bytes, ConnectionInfo]]


def _succeeds(
    title: str,
    version: TLSVersion,
    fetch: _Fetch,
    client: ClientContext,
    port: int,
    name: str,
    *,
    alpn: NextProtocol | None = NextProtocol.HTTP1,
    resumed: bool = False,
) -> _Show:
    def show() -> tuple[str, bool]:
        response, info = fetch(client, port, name)
        as_expected = (response, info.version, info.alpn, info.resumed) == (
            _RESPONSE,
            version,
            alpn,
            resumed,
        )
        group = getattr(info.group, "name", str(info.group))
        protocol = info.alpn.value.decode() if isinstance(info.alpn, NextProtocol) else "none"
        status = response.partition(b"\r\n")[0].decode(errors="replace")
        line = (
            f"{title:34} {info.version.value if info.version else 'none':8} {group:16} "
            f"{protocol:9} {'yes' if info.resumed else 'no':8} {status}"
        )
        return line, as_expected

    return show


def _refused(title: str, reason: str, client: ClientContext, port: int, name: str) -> _Show:
    def show() -> tuple[str, bool]:
        try:
            _over_socket(client, port, name)
        except CertificateVerificationError as error:
            told = [part for line in error.explain().splitlines() for part in wrapped(line, 4, 2)]
            return "\n".join([f"{title:78} refused", *told]), error.reason.value == reason
        return f"{title:78} accepted", False

    return show


def _over_socket(client: ClientContext, port: int, name: str) -> tuple[bytes, ConnectionInfo]:
    """Fetch through a TLSSocket."""
    connection = client.connect(("127.0.0.1", port), server_hostname=name, timeout=_SECONDS)  # type: ignore[call-arg]
    try:
        connection.send(_REQUEST)
        response = b""
        while data := connection.recv(4096):
            response += data
        return response, connection.info  # type: ignore[attr-defined]
    finally:
        connection.close(force=True)


def _over_buffer(client: ClientContext, port: int, name: str) -> tuple[bytes, ConnectionInfo]:
    """Fetch through a TLSBuffer, with our own plain socket."""
    buffer = client.create_buffer(name)
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as plain:
        _drive(buffer, plain, buffer.do_handshake)
        _drive(buffer, plain, lambda: buffer.write(_REQUEST))
        response = b""
        while data := _drive(buffer, plain, lambda: buffer.read(4096)):
            response += cast(bytes, data)
        return response, buffer.info  # type: ignore[attr-defined]


def _drive(buffer: TLSBuffer, plain: socket.socket, call: Callable[[], _T]) -> _T:
    """Repeat `call`, transporting ciphertext in both directions, until it succeeds."""
    while True:
        try:
            result = call()
        except WantReadError:
            _send(buffer, plain)
            buffer.process_incoming(plain.recv(65536))
        else:
            _send(buffer, plain)
            return result


def _send(buffer: TLSBuffer, plain: socket.socket) -> None:
    while waiting := buffer.outgoing_bytes_buffered():
        plain.sendall(buffer.process_outgoing(waiting))
