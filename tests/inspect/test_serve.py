"""`polytls serve`: the folder's files and no others, echo, how it is trusted, how it ends."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

import polytls
from polytls import CertificateVerificationError, TLSClientConfiguration, TrustStore
from polytls.cli import main
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

PATIENCE = 60.0
#: Less than a client of the command may take for its handshake.
SOON = 25.0


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Program:
    """The command in a process, with what it has printed."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "polytls", "serve", *arguments, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has it ignored.
            preexec_fn=heed_interrupts,
        )
        assert self.process.stdout
        assert self.process.stderr
        #: Lines of the log.
        self.log: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,))
        self._reader.start()
        self.head = self.process.stdout.readline()
        found = re.search(r":(\d+)[/;]", self.head)
        assert found, self.head
        self.port = int(found[1])
        self.rest = ""
        if "--self-signed" in arguments:
            while "-----END" not in self.rest:
                self.rest += self.process.stdout.readline()

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.log.put(line)

    def logged(self, text: str) -> str:
        """Wait for a line of the log that has `text`."""
        while text not in (line := self.log.get(timeout=PATIENCE)):
            pass
        return line

    def end(self, patience: float = PATIENCE) -> int:
        """As Ctrl-C does; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(patience)
        finally:
            self.process.kill()
            self._reader.join(PATIENCE)
            assert self.process.stdout
            assert self.process.stderr
            self.process.stdout.close()
            self.process.stderr.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """A function that starts the command; it is ended by the test's end."""
    with ExitStack() as ending:

        def start(*arguments: str) -> Program:
            program = Program(*arguments)
            ending.callback(program.end)
            return program

        yield start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is served, beside something that is not."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "index.html").write_text("secret")
    served = tmp_path / "served"
    (served / "below").mkdir(parents=True)
    (served / "below" / "<b>&.txt").write_text("x")
    (served / "a.txt").write_text("hello")
    (served / "inside").symlink_to("a.txt")
    (served / "outside").symlink_to(tmp_path / "secret.txt")
    (served / "elsewhere").symlink_to(tmp_path / "beside")
    (served / "round").symlink_to("round")
    (served / "odd").mkdir()
    (served / "odd" / "index.html").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(served / "pipe")
    return served


def trusting(data: str | bytes, **changes: Any) -> Any:
    store = TrustStore.from_buffer(data.encode() if isinstance(data, str) else data)
    configuration = TLSClientConfiguration(trust_store=store, **changes)
    return polytls.implementation().client_context(configuration)


def certificate_of(program: Program) -> str:
    begin = program.rest.index("-----BEGIN")
    return program.rest[begin:]


def ask(program: Program, path: str, method: str = "GET") -> tuple[HTTPResponse, bytes]:
    client = trusting(certificate_of(program))
    connection = HTTPConnection("localhost", program.port)
    address = ("127.0.0.1", program.port)
    connection.sock = client.connect(address, server_hostname="localhost", timeout=PATIENCE)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("name", polytls.implementations())
def test_files_are_served(start: Any, folder: Path, name: str) -> None:
    program = start(str(folder), "--self-signed", "--implementation", name)
    assert f"serving {folder} on https://127.0.0.1:{program.port}/" in program.head
    for path in ("/a.txt", "/inside", "/a.txt?query"):
        response, body = ask(program, path)
        assert (response.status, body) == (200, b"hello")
    response, body = ask(program, "/a.txt", "HEAD")
    assert (response.status, body, response.getheader("Content-Length")) == (200, b"", "5")
    assert response.getheader("Server") == "polytls"
    assert ask(program, "/below")[0].status == 301
    response, body = ask(program, "/below/")
    assert response.status == 200
    assert b"&lt;b&gt;&amp;.txt" in body
    assert b"<b>" not in body
    for method in ("POST", "PUT", "DELETE"):
        assert ask(program, "/a.txt", method)[0].status == 501
    assert '"GET /a.txt HTTP/1.1" 200' in program.logged("/a.txt")
    assert program.end() == 0


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/below/../../secret.txt",
        "/..%2fsecret.txt",
        "//../secret.txt",
        "/outside",
        "/elsewhere",
        "/elsewhere/",
        "/elsewhere/index.html",
        "/odd/",
        "/round",
        "/pipe",
        "/a.txt%00",
        "/nosuch",
    ],
)
def test_nothing_outside_of_the_folder_is_served(start: Any, folder: Path, path: str) -> None:
    program = start(str(folder), "--self-signed")
    response, body = ask(program, path)
    assert response.status == 404
    assert b"secret" not in body.replace(b"secret.txt", b"")


def test_the_log_does_not_steer_a_terminal(start: Any, folder: Path) -> None:
    program = start(str(folder), "--self-signed")
    with trusting(certificate_of(program)).connect(("127.0.0.1", program.port)) as connection:
        connection.sendall(b"GET /\x1b[2J\x9b HTTP/1.0\r\n\r\n")
        while connection.recv(4096):
            pass
    line = program.logged("[2J")
    assert line.rstrip("\n").isprintable()


@pytest.mark.parametrize("name", polytls.implementations())
def test_echo_gives_back_what_comes(start: Any, name: str, rng: Any) -> None:
    program = start("--echo", "--self-signed", "--implementation", name)
    data = rng.randbytes(100_000)
    with trusting(certificate_of(program)).connect(("127.0.0.1", program.port)) as connection:
        connection.sendall(data)
        received = b""
        while len(received) < len(data):
            received += connection.recv(65536)
        assert received == data
    assert program.end() == 0


def test_what_it_says_is_enough_to_trust_it(
    start: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = start("--echo", "--self-signed")
    target = f"127.0.0.1:{program.port}"
    found = re.search(rf"polytls (inspect {target} --pin-sha256 [0-9a-f]{{64}})\n", program.rest)
    assert found
    assert main([*found[1].split(), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["verdict"]["outcome"] == "good"
    path = tmp_path / "saved.pem"
    path.write_text(certificate_of(program))
    for host in ("127.0.0.1", "localhost"):
        command = ["inspect", target, "--server-hostname", host, "--ca", str(path)]
        assert main(command) == 0
    capsys.readouterr()
    assert main(["inspect", target, "--pin-sha256", "0" * 64]) == 1


@pytest.mark.parametrize("name", polytls.implementations())
def test_clients_can_be_asked_for_certificates(
    start: Any,
    ca: CertificateAuthority,
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write(file: str, chain: polytls.SigningChain) -> str:
        certificate, key = chain.leaf
        assert key is not None
        data = pem("CERTIFICATE", certificate.buffer or b"") + pem("PRIVATE KEY", key.buffer or b"")
        (tmp_path / file).write_bytes(data)
        return str(tmp_path / file)

    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem)
    trust = str(tmp_path / "ca.pem")
    server = write("server.pem", ca.issue("localhost", "127.0.0.1"))
    ours = write("client.pem", ca.issue("client.example"))
    program = start("--echo", "--cert", server, "--client-ca", trust, "--implementation", name)
    command = ["inspect", f"127.0.0.1:{program.port}", "--ca", trust, "--json"]
    assert main([*command, "--client-cert", ours]) == 0
    capsys.readouterr()
    assert main(command) == 3
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["verdict"]["reason"] == "client certificate demanded"
    assert "failed: " in program.logged("failed: ")


def test_clients_that_stall_hold_up_nobody_and_no_end(start: Any, folder: Path) -> None:
    program = start(str(folder), "--self-signed")
    address = ("127.0.0.1", program.port)
    client = trusting(certificate_of(program))
    with ExitStack() as stalled:
        for _ in range(10):
            stalled.enter_context(socket.create_connection(address))
        idle = stalled.enter_context(client.connect(address))
        assert ask(program, "/a.txt")[1] == b"hello"
        assert program.end(SOON) == 0
        assert idle.recv(1) == b""


def test_a_client_that_does_not_trust_it_is_told_of(start: Any) -> None:
    program = start("--echo", "--self-signed")
    stranger = trusting(CertificateAuthority().certificate_pem)
    with pytest.raises(CertificateVerificationError):
        stranger.connect(("127.0.0.1", program.port))
    assert re.match(r"127\.0\.0\.1:\d+ failed: ", program.logged("failed"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--cert"),
        (("--self-signed", "--cert", "x.pem"), "--cert"),
        (("--self-signed", "--key", "x.pem"), "--key"),
        (("--self-signed", "--echo", "folder"), "--echo"),
        (("--self-signed", "/no/such/folder"), "/no/such/folder"),
        (("--cert", "/no/such.pem"), "/no/such.pem"),
        (("--self-signed", "--client-ca", "/no/such.pem"), "/no/such.pem"),
        (("--self-signed", "--port", "99999"), "port"),
        (("--self-signed", "--host", "a b"), "a b"),
        (("--self-signed", "--host", "192.0.2.1"), "192.0.2.1"),
        (("--self-signed", "--implementation", "nosuch"), "nosuch"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_cannot_be_run(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", *arguments])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in printed.err
