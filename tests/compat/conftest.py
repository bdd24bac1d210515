"""Files as `ssl` reads them, and both sides of a connection in memory or over a socket pair."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from polytls import compat
from polytls.identity import SigningChain
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

NAME = "server.example"


def chain_file(path: Path, chain: SigningChain) -> str:
    """Write a chain with its key, as `load_cert_chain` reads it."""
    certificate, key = chain.leaf
    assert key is not None
    sections = [pem("CERTIFICATE", one.buffer or b"") for one in (certificate, *chain.chain)]
    path.write_bytes(b"".join([*sections, pem("PRIVATE KEY", key.buffer or b"")]))
    return str(path)


def threaded(call: Callable[[], Any]) -> Callable[[], Any]:
    """Run `call` in a thread; return what waits for its result, or raises what it raised."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> Any:
        thread.join(20)
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    return result


def encrypted(key: bytes, password: bytes) -> bytes:
    """A private key in PEM under a password (PKCS#8)."""
    plain = serialization.load_pem_private_key(key, None)
    return plain.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )


@dataclass
class Files:
    """The authority, the server's and the client's chain."""

    authority: CertificateAuthority
    folder: Path
    ca: str
    server: str
    client: str

    def chain(self, name: str, chain: SigningChain) -> str:
        return chain_file(self.folder / name, chain)

    def server_context(self, kind: Any = compat.SSLContext, alpn: list[str] | None = None) -> Any:
        context = kind(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def client_context(self, kind: Any = compat.SSLContext, alpn: list[str] | None = None) -> Any:
        context = kind(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("compat")
    authority = CertificateAuthority()
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    return Files(
        authority,
        folder,
        str(folder / "ca.pem"),
        chain_file(folder / "server.pem", authority.issue(NAME, "127.0.0.1", "localhost")),
        chain_file(folder / "client.pem", authority.issue("client.example")),
    )


class Memory:
    """Two `SSLObject`s, each over two BIOs."""

    def __init__(
        self, client: ssl.SSLContext, server: ssl.SSLContext, name: str | None = NAME, **more: Any
    ) -> None:
        self.to_server, self.to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.to_client, self.to_server, server_hostname=name, **more)
        self.server = server.wrap_bio(self.to_server, self.to_client, server_side=True)

    def handshake(self) -> Memory:
        left: list[ssl.SSLObject] = [self.client, self.server]
        for _ in range(20):
            for side in list(left):
                try:
                    side.do_handshake()
                    left.remove(side)
                except ssl.SSLWantReadError:
                    pass
            if not left:
                return self
        raise AssertionError("no end")

    def end(self) -> None:
        """Close in order, the client first."""
        with pytest.raises(ssl.SSLWantReadError):
            self.client.unwrap()
        assert self.server.read(1) == b""
        self.server.unwrap()
        self.client.unwrap()


@pytest.fixture
def memory(files: Files) -> Callable[..., Memory]:
    def make(client: Any = None, server: Any = None, **more: Any) -> Memory:
        return Memory(client or files.client_context(), server or files.server_context(), **more)

    return make


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    pair = socket.socketpair()
    for one in pair:
        one.settimeout(10)
    yield pair
    for one in pair:
        one.close()
