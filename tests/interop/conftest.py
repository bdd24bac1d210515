"""What tests against other TLS libraries share: certificates as files, servers, programs."""

from __future__ import annotations

import queue
import re
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from interop.mail_servers import (  # noqa: F401 - pytest finds them here
    asks,
    credentials,
    folder,
    mail,
    mailboxes,
    presented,
    smtp,
)
from interop.token_peers import hsm, tpm  # noqa: F401 - as above
from polytls import SigningChain
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

#: What nothing in these tests may take, in seconds.
PATIENCE = 20.0


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that are joined at the end of the test."""
    with ThreadPoolExecutor(64) as executor:
        yield executor


@pytest.fixture
def ca_file(ca: CertificateAuthority, tmp_path: Path) -> str:
    """The path of the authority's certificate."""
    path = tmp_path / "ca.pem"
    path.write_bytes(ca.certificate_pem)
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> Callable[[SigningChain], tuple[str, str]]:
    """A function that writes a chain and its key to files, and gives their paths."""
    written = 0

    def write(chain: SigningChain) -> tuple[str, str]:
        nonlocal written
        written += 1
        paths = tmp_path / f"chain{written}.pem", tmp_path / f"key{written}.pem"
        certificates = [chain.leaf[0], *chain.chain]
        key = chain.leaf[1]
        assert key is not None
        paths[0].write_bytes(b"".join(pem("CERTIFICATE", one.buffer) for one in certificates))
        paths[1].write_bytes(pem("PRIVATE KEY", key.buffer))
        return str(paths[0]), str(paths[1])

    return write


# --- our servers ---


class Served:
    """A server of ours on a free port: a thread accepts, others handle what it accepted."""

    def __init__(self, listener: Any, handle: Callable[[Any], Any]) -> None:
        self.listener = listener
        self.port: int = listener.getsockname()[1]
        #: For each connection what its handler returned, or the error that it raised.
        self.outcomes: queue.Queue[Any] = queue.Queue()
        self._handle = handle

    def accept_all(self, threads: ThreadPoolExecutor) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:  # It is closed.
                return
            threads.submit(self._handle_one, connection)

    def _handle_one(self, connection: Any) -> None:
        connection.settimeout(PATIENCE)
        try:
            with connection:
                outcome = self._handle(connection)
        except Exception as error:
            outcome = error
        self.outcomes.put(outcome)

    def outcome(self) -> Any:
        """What became of the next connection to end."""
        return self.outcomes.get(timeout=PATIENCE)

    def failed(self, number: int) -> None:
        """Wait until so many handshakes have failed, and no more."""
        deadline = time.monotonic() + PATIENCE
        while self.listener.failed_handshakes < number:
            assert time.monotonic() < deadline, self.listener.failed_handshakes
            time.sleep(0.005)
        assert self.listener.failed_handshakes == number


def _echo(connection: Any) -> Any:
    """Send back what comes; the connection's facts at the end."""
    while data := connection.recv(65536):
        connection.sendall(data)
    return connection.info


@pytest.fixture
def serve(threads: ThreadPoolExecutor) -> Iterator[Callable[..., Served]]:
    """A function that starts a server of ours, which handles each connection by echoing."""
    with ExitStack() as closing:

        def start(context: Any, handle: Callable[[Any], Any] = _echo) -> Served:
            served = Served(closing.enter_context(context.connect(("127.0.0.1", 0))), handle)
            accepting = threads.submit(served.accept_all, threads)
            closing.callback(accepting.result)
            closing.callback(served.listener.close)
            return served

        yield start


# --- programs of the system ---


class Program:
    """A running program; its output is kept, and shown if the test fails."""

    def __init__(self, *command: str) -> None:
        self.command = command
        self.output = bytearray()
        self._more = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        while data := self._process.stdout.read1():
            with self._more:
                self.output += data
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def expect(self, pattern: bytes, after: int = 0) -> re.Match[bytes]:
        """Wait until the output, from `after` on, has `pattern`."""
        deadline = time.monotonic() + PATIENCE
        with self._more:
            while True:
                if found := re.search(pattern, bytes(self.output[after:])):
                    return found
                left = deadline - time.monotonic()
                assert not self._ended, f"{self.command[:2]} ended without {pattern!r}"
                assert left > 0, f"{self.command[:2]} did not say {pattern!r}"
                self._more.wait(left)

    def write(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def wait(self) -> int:
        """Wait until it has ended by itself; its exit code."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        # Politely: some have children, and end them.
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(PATIENCE)
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        # pytest shows it where the test has failed.
        print(f"$ {' '.join(self.command)}\n{self.output.decode(errors='replace')}")


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """A function that starts a program of the system; it is killed at the end of the test."""
    with ExitStack() as closing:

        def start(name: str, *arguments: str) -> Program:
            path = shutil.which(name)
            if path is None:
                pytest.fail(f"{name} is missing here; tools/install-peers.sh installs it")
            program = Program(path, *arguments)
            closing.callback(program.stop)
            return program

        yield start


# --- a proxy ---


@pytest.fixture
def s_server(start: Callable[..., Program], files: Any, lab: Any) -> Callable[..., Any]:
    """A function that starts `openssl s_server` with a chain (lab.chain()), on a free port."""

    def run(*options: str, chain: Any = None) -> tuple[Any, int]:
        certificate, key = files(chain or lab.chain())
        server = start(
            *("openssl", "s_server", "-accept", "127.0.0.1:0"),
            *("-cert", certificate, "-cert_chain", certificate, "-key", key),
            *options,
        )
        return server, int(server.expect(rb"ACCEPT 127\.0\.0\.1:(\d+)")[1])

    return run


@pytest.fixture
def s_client(start: Callable[..., Program], ca_file: str, lab: Any) -> Callable[..., Any]:
    """A function that starts `openssl s_client`, which verifies the server."""

    def run(port: int, *options: str) -> Any:
        return start(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", ca_file),
            *("-servername", lab.host, "-verify_hostname", lab.host, "-verify_return_error"),
            *options,
        )

    return run


class ConnectProxy:
    """An HTTP proxy that knows CONNECT alone; over TLS if it has a context of `ssl`."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()

    def serve(self) -> None:
        """Serve one client after another until it is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # It is closed.
                return
            with client, suppress(OSError):
                client.settimeout(PATIENCE)
                self._serve(client)

    def close(self) -> None:
        # Ends accept(2) in the thread.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        with ExitStack() as closing:
            if self._context is not None:
                client = closing.enter_context(self._context.wrap_socket(client, server_side=True))
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(4096)
            method, target, _ = request.split(b" ", 2)
            assert method == b"CONNECT"
            host, _, port = target.decode().rpartition(":")
            server = closing.enter_context(socket.create_connection((host, int(port))))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            # In one thread: a connection of `ssl` is not for two.
            other = {client: server, server: client}
            while True:
                for side in select.select([client, server], [], [], PATIENCE)[0]:
                    side.settimeout(0)
                    with suppress(BlockingIOError, ssl.SSLWantReadError):
                        while data := side.recv(65536):
                            other[side].settimeout(PATIENCE)
                            other[side].sendall(data)
                            side.settimeout(0)
                        return


@pytest.fixture
def connect_proxy(threads: ThreadPoolExecutor) -> Iterator[Callable[..., ConnectProxy]]:
    """A function that starts a proxy, over TLS with a context of `ssl`."""
    with ExitStack() as closing:

        def start(context: ssl.SSLContext | None = None) -> ConnectProxy:
            proxy = ConnectProxy(context)
            serving = threads.submit(proxy.serve)
            closing.callback(serving.result)
            closing.callback(proxy.close)
            return proxy

        yield start


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the programs talk to libraries that are not OpenSSL.

    Through `ssl` they would talk to the library that they are made of; and what they look at
    (groups, alerts) is what `ssl` cannot choose or tell. The matrix and the kit hold it. Where it
    is the driver that they look at, «peers(driver=True)» says so.
    """
    alike = [
        item
        for item in items
        if (mark := item.get_closest_marker("peers"))
        and not mark.kwargs.get("driver")
        and "stdlib" in item.name.partition("[")[2]
    ]
    config.hook.pytest_deselected(items=alike)
    items[:] = [item for item in items if item not in alike]
