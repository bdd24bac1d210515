"""Every program on README and in docs/ runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

import polytls
from pages import Program, pages, programs
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

#: What no program may take, in seconds.
PATIENCE = 60.0

#: Those that serve until they are stopped, and a client of one: `test_servers` has them.
SERVERS = {
    ("README.md", "A server"),
    ("identity.md", "Certificate reloading"),
    ("start.md", "A client in 60 seconds"),
    ("start.md", "A server in 60 seconds"),
}

#: Those that want a token: `tests/interop/test_tokens.py` has them.
TOKENS = {
    ("hsm.md", "Serve with it"),
    ("identity.md", "Keys in PKCS#11 tokens"),
    ("signers.md", "A TPM"),
}

#: Those that run together: `test_signers` has them.
AGENTS = {("signers.md", "An agent"), ("signers.md", "A key behind an agent")}

#: Those that go to this server, for which a test has another.
ABROAD = "www.python.org", 443

#: What `explain()` says.
EXPLAINED = r"[a-z ]+: .+\n(.+\n)*To fix: .+\n"

#: What a program prints.
PRINTED = {
    ("certificates.md", "CERTIFICATE_VERIFY_FAILED: find out why"): EXPLAINED,
    ("connections.md", "The client's certificate is refused (TLS 1.3)"): EXPLAINED,
    ("exporters.md", "SCRAM-SHA-256-PLUS"): "the proof was made for another connection\n",
    ("https-client.md", "Fetch a page"): "200\n",
    ("https-client.md", "Trust your own CA, explain refusals, resume sessions"): EXPLAINED,
    ("mutual-tls.md", "Build it"): f"({EXPLAINED}){{2}}(a client failed: .*\\n)*",
    ("reload.md", "Build it"): r".*cert\.pem.*\n",
    ("resumption.md", "Early data"): "welcome None\nwelcome True\n",
    ("ssl.md", "One context"): "200\n",
    ("ssl.md", "A Python without OpenSSL"): r"OpenSSL .*\n",
    ("ssl.md", "A whole program"): r"\{'installed': True, .*\}\n",
    ("rustls.md", "What it reports"): r"rustls .*\n\(.*\) \(.*\)\n",
    ("settings.md", "Another TLS library"): r"(\w+ .*\n){2,}",
    ("settings.md", "Cipher suites"): r"\(.*TLS_AES_256_GCM_SHA384.*\n",
    ("signers.md", "A cloud's key management service"): "b'hello'\n",
    ("sockets.md", "In memory"): r"b'hello' ConnectionInfo\(.*\n",
    ("starttls.md", "Build it"): r".*\n",
    ("stdlib.md", "stdlib"): r"ssl, .*\n",
    ("tracing.md", "OpenTelemetry"): r"(1 client message \d+ \d+ None\n)+1 client established .*\n",
    ("README.md", "A client"): r"b'HTTP/1.1 200 OK.*\n(b'.*\n)*ConnectionInfo\(.*\n",
    ("README.md", "With asyncio, anyio and trio"): r"b'HTTP/1.1 200 OK.*ConnectionInfo\(.*\n",
}

#: Warnings that a page says a program gives.
WARNED = {("exporters.md", "The key log"): "SecurityWarning: key_log"}

ALL = {
    (page.name, program.heading): program for page in pages() for program in programs(page).values()
}


def encrypted(key: bytes, password: bytes) -> bytes:
    return serialization.load_der_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )


@pytest.fixture
def folder(tmp_path: Path, ca: CertificateAuthority) -> Path:
    """A folder with all files that programs name."""
    chain = ca.issue("localhost", "127.0.0.1")
    key = chain.leaf[1]
    assert key is not None
    certificate = pem("CERTIFICATE", chain.leaf[0].buffer)
    roots = ("ca.pem", "corp-root.pem", "clients.pem")
    contents = {
        **dict.fromkeys(roots, ca.certificate_pem),
        "ca.crl": ca.revocation_list().buffer,
        "cert.pem": certificate,
        "device.pem": certificate,
        "key.pem": pem("PRIVATE KEY", key.buffer),
        "encrypted.pem": encrypted(key.buffer or b"", b"the password"),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def run(program: Program, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` for that program, in a process of its own in that folder."""
    path = folder / f"{program.name}.py"
    path.write_text(code)
    warned = WARNED.get((program.page.name, program.heading))
    options = ["-W", "default" if warned else "error"]
    done = subprocess.run(
        [sys.executable, *options, str(path)],
        cwd=folder,
        env=os.environ | {"SSL_CERT_FILE": str(folder / "ca.pem")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (warned in done.stderr) if warned else done.stderr == "", done.stderr
    return done


def is_abroad(program: Program) -> bool:
    return ABROAD[0] in program.code


def check(program: Program, done: subprocess.CompletedProcess[str]) -> None:
    printed = PRINTED.get((program.page.name, program.heading), "")
    assert done.returncode == 0
    assert re.fullmatch(printed, done.stdout), done.stdout


AT_HOME = [
    name
    for name, program in ALL.items()
    if name not in SERVERS | TOKENS | AGENTS and not is_abroad(program)
]


@pytest.mark.parametrize("name", AT_HOME, ids=": ".join)
def test_a_program_runs(name: tuple[str, str], folder: Path) -> None:
    program = ALL[name]
    check(program, run(program, folder, program.code))


@pytest.mark.parametrize(
    "name", [name for name, program in ALL.items() if is_abroad(program)], ids=": ".join
)
def test_a_program_that_goes_abroad_runs(
    name: tuple[str, str], folder: Path, ca: CertificateAuthority
) -> None:
    program = ALL[name]
    host, port = ABROAD
    assert str(port) in program.code
    context = polytls.implementation().server_context(
        polytls.TLSServerConfiguration([ca.issue("localhost")])
    )

    def serve(listener: Any) -> None:
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with context.connect(("localhost", 0)) as listener:
        serving = threading.Thread(target=serve, args=(listener,))
        serving.start()
        here = program.code.replace(host, "localhost")
        done = run(program, folder, here.replace(str(port), str(listener.getsockname()[1])))
        serving.join()
    check(program, done)


def test_no_program_is_forgotten() -> None:
    assert {*SERVERS, *TOKENS, *AGENTS, *PRINTED, *WARNED} <= set(ALL)
    assert len(ALL) > 20
