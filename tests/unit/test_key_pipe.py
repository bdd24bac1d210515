"""Keys reach `ssl` through named pipes, which nobody else can read (Windows)."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import polytls
from polytls import ConfigurationError, TLSClientConfiguration, TLSServerConfiguration, _native
from polytls.testing import CertificateAuthority, tie

pytestmark = pytest.mark.skipif(
    sys.platform != "win32", reason="other systems pass keys in memory files or pipes"
)

HOST = "server.example"
CA = CertificateAuthority("key pipe tests")
CHAIN = CA.issue(HOST)
STDLIB = polytls.implementation("stdlib")
#: Opens a path, gives its number, and says what it has read.
THIEF = """
import os, sys
file = open(sys.argv[1], "rb", 0)
print(os.getpid(), flush=True)
print(file.read())
"""


def server() -> Any:
    return STDLIB.server_context(TLSServerConfiguration([CHAIN]))


def test_a_server_works_with_them() -> None:
    client = STDLIB.client_context(TLSClientConfiguration(trust_store=CA.trust_store()))
    pair = tie(client.create_buffer(HOST), server().create_buffer())
    assert pair.send(pair.client, b"data") == b"data"


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_this_process_reads_it_once(size: int) -> None:
    pipe = _native.KeyPipe(bytes(size))
    with open(pipe.path, "rb") as file:
        assert file.read() == bytes(size)
    with pytest.raises(OSError, match=r"polytls-"):
        Path(pipe.path).read_bytes()
    assert pipe.close() is None


def test_what_nobody_reads_can_be_closed() -> None:
    pipe = _native.KeyPipe(b"data")
    assert pipe.close() is None
    assert pipe.close() is None
    assert not Path(pipe.path).exists()


def test_another_process_that_opens_it_first_gets_nothing_and_the_context_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = ssl.SSLContext.load_cert_chain
    thieves: list[tuple[subprocess.Popen[str], str]] = []

    def robbed(self: ssl.SSLContext, certfile: str, keyfile: str, **given: Any) -> None:
        command = [sys.executable, "-c", THIEF, keyfile]
        thief = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        thieves.append((thief, thief.stdout.readline().strip()))
        load(self, certfile, keyfile, **given)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", robbed)
    with pytest.raises(ConfigurationError, match=r"process \d+ has opened") as caught:
        server()
    assert caught.value.field == "certificate_chain"
    ((thief, number),) = thieves
    assert f"process {number} has opened" in str(caught.value)
    assert thief.communicate()[0] == "b''\n"
