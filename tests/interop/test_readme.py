"""The server on README, made as README says: with a certificate of OpenSSL's, for curl."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import polytls
from pages import ROOT, programs
from started import PORT, started

pytestmark = pytest.mark.peers

#: What no program may take, in seconds.
PATIENCE = 20.0

PAGE = ROOT / "README.md"


def commands() -> tuple[str, str]:
    """How README makes the files, and how it asks the server."""
    text = PAGE.read_text()
    (making,) = re.findall(r"^```sh\n(openssl .*?)^```$", text, re.MULTILINE | re.DOTALL)
    (asking,) = re.findall(r"`(curl [^`]*)` prints `hello`", text)
    return making, asking


def run(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_server_on_readme_answers_curl_and_a_client_that_trusts_its_certificate(
    tmp_path: Path,
) -> None:
    making, asking = commands()
    run(making, tmp_path)
    trusting = polytls.TLSClientConfiguration(
        trust_store=polytls.TrustStore.from_file(tmp_path / "cert.pem")
    )
    client = polytls.implementation().client_context(trusting)
    with started(programs(PAGE)["A server"].code, tmp_path) as (_, address):
        assert run(asking.replace(PORT, str(address[1])), tmp_path) == "hello\n"
        with client.connect(address, timeout=PATIENCE) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert connection.recv(4096).endswith(b"hello\n")
