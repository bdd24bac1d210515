"""pip, and what cannot be reached."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

from place import BODY, PATIENCE, Place, library

from polytls import compat


@library("pip", doors=(2,))
def _(place: Place) -> None:
    """It installs over TLS, in this process, and run by `-m polytls run`."""
    from pip._internal.cli.main import main

    name = "thing-1.0-py3-none-any.whl"
    facts = "thing-1.0.dist-info"
    with zipfile.ZipFile(place.folder / name, "w") as wheel:
        wheel.writestr("thing.py", "FOUND = True\n")
        wheel.writestr(f"{facts}/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        wheel.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{facts}/RECORD", "")
    url = place.https(
        {
            "/thing/": ("text/html", f'<a href="/{name}">{name}</a>'.encode()),
            f"/{name}": ("application/octet-stream", (place.folder / name).read_bytes()),
        }
    )
    given = ["install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps"]
    given += ["--isolated", "--index-url", url, "--cert", place.ca, "thing"]
    assert main([*given, "--target", str(place.folder / "here")]) == 0
    assert (place.folder / "here" / "thing.py").exists()
    assert compat.report()["polytls"] >= 2
    run = [sys.executable, "-m", "polytls", "run", "-m", "pip", *given]
    subprocess.run([*run, "--target", str(place.folder / "there")], check=True)
    assert (place.folder / "there" / "thing.py").exists()


def openssl_server(place: Place) -> int:
    """A server on OpenSSL by pyOpenSSL; return its port."""
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate_chain_file(place.certificate)
    context.use_privatekey_file(place.key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection = SSL.Connection(context, listener.accept()[0])
        connection.set_accept_state()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        connection.shutdown()

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


@library("pyOpenSSL", doors=())
def _(place: Place) -> None:
    """It calls OpenSSL through cryptography: `ssl` is not asked, so neither door is there."""
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_METHOD)
    context.load_verify_locations(place.ca)
    context.set_verify(SSL.VERIFY_PEER)
    plain = socket.create_connection(("127.0.0.1", openssl_server(place)))
    connection = SSL.Connection(context, plain)
    connection.set_connect_state()
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert connection.recv(10) == b"HTTP/1.0 2"


@library("Twisted", doors=())
def _(place: Place) -> None:
    """Its TLS is pyOpenSSL's."""
    from twisted.internet import reactor, ssl
    from twisted.internet.endpoints import SSL4ClientEndpoint, connectProtocol
    from twisted.internet.protocol import Protocol

    running: Any = reactor
    came: list[bytes] = []

    class Asking(Protocol):
        def connectionMade(self) -> None:
            self.transport.write(b"GET / HTTP/1.0\r\n\r\n")

        def dataReceived(self, data: bytes) -> None:
            came.append(data)
            if running.running:
                running.stop()

    authority = ssl.Certificate.loadPEM(Path(place.ca).read_bytes())
    options = ssl.CertificateOptions(trustRoot=authority)
    endpoint = SSL4ClientEndpoint(running, "127.0.0.1", openssl_server(place), options)
    failed = connectProtocol(endpoint, Asking())
    failed.addErrback(lambda _: running.stop())
    running.callLater(20, running.stop)
    running.run()
    assert b"".join(came).startswith(b"HTTP/1.0 2")


@library("paramiko", doors=(3,))
def _(place: Place) -> None:
    """SSH within TLS, which it takes for a plain connection, on both sides."""
    import paramiko

    class Server(paramiko.ServerInterface):  # type: ignore[misc]
        def check_auth_password(self, username: str, password: str) -> int:
            accepted = (username, password) == ("me", "secret")
            return int(paramiko.AUTH_SUCCESSFUL if accepted else paramiko.AUTH_FAILED)

        def check_channel_request(self, kind: str, _: int) -> int:
            assert kind == "session"
            return int(paramiko.OPEN_SUCCEEDED)

    def serve() -> None:
        transport = paramiko.Transport(listener.accept()[0])
        transport.add_server_key(key)
        transport.start_server(server=Server())
        channel = transport.accept(PATIENCE)
        while data := channel.recv(65536):
            channel.sendall(data)
        channel.close()
        transport.join(PATIENCE)
        transport.close()

    dial, listener = place.sockets()
    key = paramiko.ECDSAKey.generate()
    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    with paramiko.Transport(dial()) as transport:
        transport.connect(key, "me", "secret")
        channel = transport.open_session()
        channel.sendall(BODY * 20)
        channel.shutdown_write()
        received = b""
        while data := channel.recv(65536):
            received += data
        assert received == BODY * 20
    serving.join(PATIENCE)
    assert not serving.is_alive()
