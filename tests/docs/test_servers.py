"""The servers on README and in docs/ survive their clients: hanging up, saying nothing, plain HTTP.

Each goes on serving while silent clients are there, and after others have done all that is in
`misdeeds`; on README it is a process of its own, as a reader would start it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import polytls
from misdeeds import misbehaving
from pages import ROOT, programs
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem
from polytls.testing.conformance.lab import PATIENCE
from started import PORT, started


def program(page: str, heading: str) -> str:
    return programs(ROOT / page)[heading].code


def names_of(page: str, heading: str) -> dict[str, Any]:
    """What a program defines; it runs."""
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(program(page, heading), page, "exec"), names)
    return names


@pytest.fixture
def client(ca: CertificateAuthority) -> Any:
    """A client's context that trusts what the pages' servers are given."""
    configuration = polytls.TLSClientConfiguration(trust_store=ca.trust_store())
    return polytls.implementation().client_context(configuration)


@pytest.fixture
def folder(ca: CertificateAuthority, tmp_path: Path) -> Path:
    """A folder with ca.pem, cert.pem and key.pem."""
    certificate, key = ca.issue("localhost").leaf
    assert key is not None
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem)
    (tmp_path / "cert.pem").write_bytes(pem("CERTIFICATE", certificate.buffer or b""))
    (tmp_path / "key.pem").write_bytes(pem("PRIVATE KEY", key.buffer or b""))
    return tmp_path


def ask(client: Any, address: tuple[str, int], request: bytes) -> bytes:
    """What a server answers, to the end."""
    with client.connect(address, timeout=PATIENCE) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_the_server_on_readme(client: Any, folder: Path) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with started(program("README.md", "A server"), folder) as (process, address):
        with misbehaving(address, client):
            head, _, body = ask(client, address, request).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.0 200 OK\r\n")
            assert body == b"hello\n"
        assert process.poll() is None
        process.kill()
        assert process.communicate()[1] == ""


def test_a_server_that_reloads(client: Any, folder: Path) -> None:
    code = program("docs/identity.md", "Certificate reloading")
    with started(code, folder) as (process, address):
        assert ask(client, address, b"") == b""
        said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, *said) == (0, "", "")


def test_the_server_and_the_client_in_60_seconds(client: Any, folder: Path) -> None:
    with started(program("docs/start.md", "A server in 60 seconds"), folder) as (process, address):
        with misbehaving(address, client):
            code = program("docs/start.md", "A client in 60 seconds").replace(PORT, str(address[1]))
            command = [sys.executable, "-W", "error", "-c", code]
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=True
            )
            assert done.stdout == "200\n"
        assert process.poll() is None


def test_a_thread_pool(client: Any) -> None:
    page = names_of("docs/sockets.md", "A thread pool")
    context = page["server"]
    with (
        ThreadPoolExecutor(20) as pool,
        context.connect(("localhost", 0), do_handshake_on_accept=False) as listener,
    ):
        pool.submit(page["serve"], listener, pool)
        address = ("localhost", listener.getsockname()[1])
        with misbehaving(address, page["client"]):
            assert ask(page["client"], address, b"you") == b"hello you"


def test_selectors() -> None:
    page = names_of("docs/sockets.md", "Selectors")
    with page["server"].connect(("localhost", 0)) as listener:
        serving = threading.Thread(target=page["Echo"](listener).run)
        serving.start()
        address = ("localhost", listener.getsockname()[1])
        with (
            misbehaving(address, page["client"]),
            page["client"].connect(address, timeout=PATIENCE) as connection,
        ):
            sending = threading.Thread(target=connection.sendall, args=(bytes(3_000_000),))
            sending.start()
            got = 0
            while got < 3_000_000:
                got += len(connection.recv(65536))
            sending.join()
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
    serving.join()
