"""Servers that `polytls inspect` is let loose on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from inspection import NAME, Handle, Serve, doing_tls, serving
from polytls import NextProtocol
from polytls.cli import main
from polytls.testing import CertificateAuthority


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that serves each connection with another; it gives the port."""
    with ExitStack() as ending:
        yield lambda handle: ending.enter_context(serving(handle))


@pytest.fixture
def run(
    ca: CertificateAuthority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the command against a port: its exit code, and what it printed."""
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem)

    def run(port: int, *options: str, host: str = "127.0.0.1") -> tuple[int, str]:
        given = ["--server-hostname", NAME, "--ca", str(tmp_path / "ca.pem"), *options]
        code = main(["inspect", f"{host}:{port}", *given])
        printed = capsys.readouterr()
        assert printed.err == ""
        return code, printed.out

    return run


@pytest.fixture
def tls(ca: CertificateAuthority) -> Handle:
    """Does TLS on a plain socket, to the end of what the client says."""
    return doing_tls(ca.issue(NAME), inner_protocols=[NextProtocol.HTTP1])
