"""The agent of docs/signers.md, in a process of its own, signs for the program beside it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import polytls
from pages import ROOT, programs
from polytls.testing import CertificateAuthority, tie
from polytls.testing.certificates import pem
from polytls.testing.conformance.lab import PATIENCE

PAGE = programs(ROOT / "docs" / "signers.md")


@pytest.fixture
def folder(ca: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with cert.pem and key.pem, where programs run."""
    certificate, key = ca.issue("localhost").leaf
    assert key is not None
    (tmp_path / "cert.pem").write_bytes(pem("CERTIFICATE", certificate.buffer))
    (tmp_path / "key.pem").write_bytes(pem("PRIVATE KEY", key.buffer))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def agent(folder: Path) -> Iterator[None]:
    """The agent, while it runs; it says nothing."""
    where = folder / "agent.sock"
    where.unlink(missing_ok=True)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PAGE["An agent"].code],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not where.exists():
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert where.stat().st_mode & 0o777 == 0o600
            yield
        finally:
            process.kill()
            assert process.communicate()[0] == ""


def test_the_agent_signs_while_it_runs(folder: Path, ca: CertificateAuthority) -> None:
    configuration = polytls.TLSClientConfiguration(trust_store=ca.trust_store(), sessions=None)
    client: Any = polytls.implementation().client_context(configuration)
    names: dict[str, Any] = {"__name__": "program"}
    with agent(folder):
        exec(PAGE["A key behind an agent"].code, names)
        (folder / "key.pem").unlink()
        pair = tie(client.create_buffer("localhost"), names["server"].create_buffer())
        assert pair.send(pair.client, b"hello") == b"hello"
    assert names["server"].handshake_may_block
    with pytest.raises(polytls.TLSError) as failed:
        tie(client.create_buffer("localhost"), names["server"].create_buffer())
    assert isinstance(failed.value.__cause__, OSError)
