"""Private keys under a password."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from polytls import compat

from .conftest import encrypted

NAME = "server.example"


@pytest.fixture
def key(files: Any, tmp_path: Path) -> str:
    """The server's."""
    path = tmp_path / "key.pem"
    path.write_bytes(encrypted(Path(files.server).read_bytes(), b"secret"))
    return str(path)


@pytest.mark.parametrize("password", ["secret", b"secret", bytearray(b"secret"), lambda: "secret"])
def test_a_password_opens_it(files: Any, memory: Any, key: str, password: Any) -> None:
    server = compat.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.server, key, password)
    memory(files.client_context(), server).handshake()


def test_a_wrong_password_is_told_at_once(files: Any, key: str) -> None:
    server = compat.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ssl.SSLError):
        server.load_cert_chain(files.server, key, "other")


def test_without_the_extra_the_error_names_it(
    files: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    server = compat.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.server, key, "secret")
    with pytest.raises(compat.Refused, match=r"polytls\[encrypted-keys\]"):
        server.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
