"""What the test of a library has: certificates, contexts, a server to ask, programs."""

from __future__ import annotations

import http.server
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polytls
from polytls import compat
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

__all__ = ["BODY", "LIBRARIES", "PATIENCE", "Library", "Place", "library", "request"]

BODY = b"x" * 30_000
#: How long a program may take to be ready, in seconds. RabbitMQ takes 10 on an idle machine.
PATIENCE = 90.0

HIGHER = "PATH", os.environ["PATH"] + ":/usr/sbin:/sbin"


@dataclass(frozen=True)
class Library:
    """One row: how a library is used, and by which doors polytls reaches it.

    `doors`: 1 takes a context, 2 is `compat.install()`, 3 takes a connected `polytls.TLSSocket`;
    none: it cannot be reached, and its test shows so. `sides`: how many connections of polytls its
    test makes at the least, 2 where both peers are in this process. `needs`: a server of the
    system.
    """

    name: str
    doors: tuple[int, ...]
    sides: int
    needs: str | None
    call: Callable[[Place], None]


#: By name, in the order of the table.
LIBRARIES: dict[str, Library] = {}


def library(
    name: str, *, doors: tuple[int, ...] = (1, 2), sides: int = 2, needs: str | None = None
) -> Callable[[Callable[[Place], None]], Callable[[Place], None]]:
    """Add a row; the function is its test, and asserts."""

    def add(call: Callable[[Place], None]) -> Callable[[Place], None]:
        LIBRARIES[name] = Library(name, doors, sides, needs, call)
        return call

    return add


class Place:
    """Certificates, a folder and peers, for one library behind one door."""

    def __init__(self, door: int) -> None:
        self.door = door
        #: What contexts are made by: the face, or the module that it was installed in.
        self.made: Any = compat if door == 1 else ssl
        #: Contexts of PEP 748, whose connections count at door 3.
        self.contexts: list[Any] = []
        self.closing = ExitStack()
        self.folder = Path(self.closing.enter_context(tempfile.TemporaryDirectory()))
        # Servers that run as somebody else read in it.
        self.folder.chmod(0o755)
        authority = CertificateAuthority()
        self.identity = authority.issue("localhost", "127.0.0.1")
        certificate, key = self.identity.leaf
        public = pem("CERTIFICATE", certificate.buffer or b"")
        private = pem("PRIVATE KEY", (key and key.buffer) or b"")
        self.ca = self.write("ca.pem", authority.certificate_pem)
        self.certificate = self.write("certificate.pem", public)
        self.key = self.write("key.pem", private)
        self.chain = self.write("chain.pem", public + private)

    def write(self, name: str, data: bytes | str) -> str:
        """Write a file; return its path."""
        path = self.folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    def client(self, *protocols: str) -> Any:
        """Return a client's context, which trusts the authority."""
        context = self.made.create_default_context(cafile=self.ca)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def server(self, *protocols: str) -> Any:
        """Return a server's context."""
        context = self.made.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def sockets(self) -> tuple[Any, Any]:
        """Return a function that connects a client's socket, and the listener that it reaches."""
        made = polytls.implementation()
        trusted = polytls.TrustStore.from_file(self.ca)
        client = made.client_context(polytls.TLSClientConfiguration(trust_store=trusted))
        server = made.server_context(polytls.TLSServerConfiguration([self.identity]))
        self.contexts += [client, server]
        listener = self.closing.enter_context(server.connect(("127.0.0.1", 0)))
        address = listener.getsockname()
        return lambda: client.connect(address, server_hostname="localhost", timeout=20), listener

    def https(self, pages: dict[str, tuple[str, bytes]] | None = None) -> str:
        """Serve `pages`, by path their types and contents, or BODY; return the address."""

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                found = ("text/plain", BODY) if pages is None else pages.get(self.path)
                kind, body = found or ("text/plain", b"not here")
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        context = self.server()

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> Any:
                plain, address = self.socket.accept()
                made = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
                return made, address

        served = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=served.serve_forever, daemon=True).start()
        self.closing.callback(served.shutdown)
        return f"https://localhost:{served.server_address[1]}/"

    # --- programs of the system ---

    def free_port(self) -> int:
        """Return a port that nobody has."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a program: the programs of administrators, and the folder."""
        # MariaDB removes what it takes for its own remains there.
        return {**os.environ, HIGHER[0]: HIGHER[1], "TMPDIR": str(self.folder), **more}

    def find(self, *names: str) -> str:
        """Return the path of a program. Raises FileNotFoundError with what installs it."""
        for name in names:
            found = shutil.which(name, path=HIGHER[1])
            if found:
                return found
        raise FileNotFoundError(f"{names[0]} is missing; sh tools/install-peers.sh libraries")

    def given_to(self, user: str) -> str | None:
        """Give the folder's files to a user; return whom programs run as, None: as this process."""
        if os.getuid():
            return None
        entry = pwd.getpwnam(user)
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, entry.pw_uid, entry.pw_gid)
        Path(self.key).chmod(0o600)
        return user

    def run(self, *command: str, user: str | None = None, **more: str) -> None:
        """Run a program to its end."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**more),
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stdout.decode(errors='replace')[-2000:]}")

    def start(self, *command: str, port: int, user: str | None = None, **more: str) -> None:
        """Start a server, wait until it listens on the port, and end it with the test."""
        log = self.folder / f"{Path(command[0]).name}.log"
        with log.open("wb") as written:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment(**more),
                user=user,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        self.closing.callback(_end, process)
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{command[0]} does not listen:\n{said}")
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)


def request(place: Place, url: str) -> bytes:
    """Get a page by the standard library."""
    import urllib.request

    with urllib.request.urlopen(url, context=place.client(), timeout=20) as answer:
        found: bytes = answer.read()
    return found
