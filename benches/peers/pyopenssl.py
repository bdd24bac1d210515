"""pyOpenSSL, with the OpenSSL that `cryptography` brings."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any

from ..credentials import HOST, Credentials
from . import SUITE, Asynchronous, Contexts, Listener, Setting, Side, Unable
from .ssl_shaped import Wrapping, dial

__all__ = ["PyOpenSSL"]


class MemoryConnection:
    """A Connection on memory BIOs."""

    def __init__(self, module: Any, context: Any, session: Any, *, client: bool) -> None:
        self.want: type[Exception] = module.WantReadError
        self.connection = connection = module.Connection(context, None)
        if client:
            name_and_role(connection)
            if session is not None:
                connection.set_session(session)
        else:
            connection.set_accept_state()
        self.write: Callable[[memoryview], int] = connection.send
        self.incoming: Callable[[bytes], object] = connection.bio_write
        self.read: Callable[[int], bytes] = connection.recv
        self.read_into: Callable[[bytearray], int] = connection.recv_into
        self._bio_read: Callable[[int], bytes] = connection.bio_read

    def outgoing(self) -> bytes:
        try:
            return self._bio_read(1 << 20)
        except self.want:
            return b""

    def handshake(self) -> bool:
        try:
            self.connection.do_handshake()
        except self.want:
            return False
        return True

    def check(self, *, resumed: bool) -> None:  # noqa: ARG002
        # It cannot tell `resumed`; `wire` reads that from the handshake.
        assert self.connection.get_cipher_name() == SUITE
        assert self.connection.get_protocol_version_name() == "TLSv1.3"

    def fused(self) -> None:
        """It has none."""


def name_and_role(connection: Any) -> None:
    """Make it a client's. The name is asked for, not checked: pyOpenSSL leaves that to others."""
    connection.set_tlsext_host_name(HOST.encode())
    connection.set_connect_state()


class PyOpenSSLContexts:
    """Two Contexts. Groups cannot be chosen: OpenSSL's first is X25519MLKEM768 from 3.5 on. Tickets
    cannot be switched off; a client takes them when it reads."""

    def __init__(self, module: Any, credentials: Credentials, setting: Setting) -> None:
        self._module = module
        self._session: Any = None
        crypto = import_module("OpenSSL.crypto")
        self._server = module.Context(module.TLS_METHOD)
        with credentials.chain_file() as path:
            self._server.use_certificate_chain_file(path)
            self._server.use_privatekey_file(path)
        self._client = module.Context(module.TLS_METHOD)
        authority = crypto.load_certificate(crypto.FILETYPE_PEM, credentials.authority.encode())
        self._client.get_cert_store().add_cert(authority)
        self._client.set_verify(module.VERIFY_PEER)
        for context in (self._server, self._client):
            context.set_min_proto_version(module.TLS1_3_VERSION)
            context.set_tls13_ciphersuites(SUITE.encode())
        if not setting.sessions:
            self._server.set_session_cache_mode(module.SESS_CACHE_OFF)
        self.ended: tuple[type[BaseException], ...] = (OSError, module.Error)

    def pair(self) -> tuple[Side, Side]:
        return (
            MemoryConnection(self._module, self._client, self._session, client=True),
            MemoryConnection(self._module, self._server, None, client=False),
        )

    def remember(self, client: Side) -> None:
        assert isinstance(client, MemoryConnection)
        self._session = client.connection.get_session()

    def dial(self, port: int) -> Any:
        connection = self._module.Connection(self._client, dial(port))
        name_and_role(connection)
        connection.do_handshake()
        return connection

    def listen(self) -> Listener:
        def wrap(plain: socket.socket) -> Any:
            connection = self._module.Connection(self._server, plain)
            connection.set_accept_state()
            connection.do_handshake()
            return connection

        return Wrapping(wrap)

    def http(self, port: int) -> http.client.HTTPConnection:  # noqa: ARG002
        raise Unable("http.client takes contexts of ssl")

    def shaped(self) -> ssl.SSLContext:
        raise Unable("its contexts are not those of ssl")

    def asynchronous(self) -> Asynchronous:
        raise Unable("it has nothing for asyncio")

    def uvicorn(self, application: Any, settings: dict[str, Any]) -> Any:  # noqa: ARG002
        raise Unable("uvicorn takes contexts of ssl")

    def close(self, connection: Any) -> None:
        connection.close()


class PyOpenSSL:
    """pyOpenSSL."""

    name = "pyOpenSSL"
    note = "it always sends tickets, and does not check names"
    importing = "import OpenSSL.SSL"
    creating = (
        "[context.set_default_verify_paths() for context in"
        " [OpenSSL.SSL.Context(OpenSSL.SSL.TLS_METHOD)]]"
    )

    def __init__(self) -> None:
        self._module = import_module("OpenSSL.SSL")

    def version(self) -> str:
        openssl = self._module.OpenSSL_version(self._module.OPENSSL_VERSION).decode()
        return f"{version('pyOpenSSL')}, {openssl}"

    def contexts(self, credentials: Credentials, setting: Setting) -> Contexts:
        return PyOpenSSLContexts(self._module, credentials, setting)
