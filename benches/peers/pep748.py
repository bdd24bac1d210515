"""polytls, through PEP 748's interface; one library for each implementation."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import polytls
from polytls.net.http import HTTPSConnection

from ..credentials import HOST, Credentials
from . import (
    SUITE,
    Asynchronous,
    Contexts,
    Fused,
    Library,
    Listener,
    Setting,
    Side,
    Unable,
    imported,
)
from .ssl_shaped import dial, over

__all__ = ["Pep748"]


class Buffer:
    """A TLSBuffer as a side."""

    want: type[Exception] = polytls.WantReadError

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer
        self.write: Callable[[memoryview], int] = buffer.write
        self.incoming: Callable[[bytes], object] = buffer.process_incoming
        self.outgoing: Callable[[], bytes] = partial(buffer.process_outgoing, 1 << 30)
        self.read: Callable[[int], bytes] = self.buffer.read
        self._read: Callable[[int, bytearray], int] = self.buffer.read

    def read_into(self, buffer: bytearray) -> int:
        return self._read(len(buffer), buffer)

    def handshake(self) -> bool:
        try:
            self.buffer.do_handshake()
        except polytls.WantReadError:
            return False
        return True

    def check(self, *, resumed: bool) -> None:
        info = self.buffer.info
        assert info.resumed is resumed
        assert info.version is polytls.TLSVersion.TLSv1_3
        assert info.cipher is polytls.CipherSuite[SUITE]

    def fused(self) -> Fused:
        try:
            return self.buffer.seal, self.buffer.open
        except AttributeError as error:
            raise Unable("its buffers have no fused calls") from error


class Listening:
    """A server's socket as a listener."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.port: int = socket.getsockname()[1]

    def accept(self) -> Any:
        return self._socket.accept()[0]


class Pep748Contexts:
    """Two contexts of one implementation."""

    ended: tuple[type[BaseException], ...] = (OSError,)

    def __init__(self, name: str, credentials: Credentials, setting: Setting) -> None:
        implementation = polytls.implementation(name)
        capabilities = implementation.capabilities
        common: dict[str, Any] = {}
        if not setting.sessions:
            common["sessions"] = None
        # What cannot be chosen is checked after the handshake.
        if capabilities is not None and capabilities.cipher_choice == "exact":
            common["ciphers"] = [polytls.CipherSuite[SUITE]]
        if setting.groups == "x25519":
            common["groups"] = ["x25519"]
        certificate = polytls.Certificate.from_buffer(credentials.certificate.encode())
        if setting.token is None:
            key = polytls.PrivateKey.from_buffer(credentials.key.encode())
        else:
            key = polytls.PrivateKey.from_id(setting.token.encode())
        chain = polytls.SigningChain((certificate, key))
        trust = polytls.TrustStore.from_buffer(credentials.authority.encode())
        try:
            self._server: Any = implementation.server_context(
                polytls.TLSServerConfiguration(certificate_chain=[chain], **common)
            )
            self._client: Any = implementation.client_context(
                polytls.TLSClientConfiguration(trust_store=trust, **common)
            )
        except polytls.ConfigurationError as error:
            raise Unable(str(error)) from error

    def pair(self) -> tuple[Side, Side]:
        return Buffer(self._client.create_buffer(HOST)), Buffer(self._server.create_buffer())

    def remember(self, client: Side) -> None:
        """Contexts keep sessions."""

    def dial(self, port: int) -> Any:
        return self._client.connect(("127.0.0.1", port), server_hostname=HOST)

    def listen(self) -> Listener:
        return Listening(self._server.connect(("127.0.0.1", 0)))

    def http(self, port: int) -> http.client.HTTPConnection:
        return over(dial, HTTPSConnection(HOST, port, tls=self._client))

    def shaped(self) -> ssl.SSLContext:
        raise Unable("its contexts are PEP 748's; those of polytls.compat have the shape of ssl")

    def asynchronous(self) -> Asynchronous:
        try:
            module = import_module("polytls.asyncio")
        except ImportError as error:
            raise Unable("polytls.asyncio is not there") from error

        async def connect(factory: Callable[[], Any], port: int) -> tuple[Any, Any]:
            found: tuple[Any, Any] = await module.create_connection(
                factory, "127.0.0.1", port, tls=self._client, server_hostname=HOST
            )
            return found

        async def serve(factory: Callable[[], Any]) -> asyncio.Server:
            server: asyncio.Server = await module.create_server(
                factory, "127.0.0.1", 0, tls=self._server
            )
            return server

        return Asynchronous(connect, serve)

    def uvicorn(self, application: Any, settings: dict[str, Any]) -> Any:
        imported("uvicorn")
        from polytls.net.uvicorn import Config, Server

        return Server(Config(application, tls=self._server, **settings))

    def close(self, connection: Any) -> None:
        connection.close(force=True)


class Pep748:
    """One implementation of polytls."""

    importing = "import polytls"
    note = ""

    def __init__(self, implementation: str) -> None:
        self._implementation = implementation
        self.name = f"polytls/{implementation}"
        self.creating = (
            f"polytls.implementation({implementation!r})"
            ".client_context(polytls.TLSClientConfiguration())"
        )

    def version(self) -> str:
        return polytls.implementation(self._implementation).version or "unknown"

    def contexts(self, credentials: Credentials, setting: Setting) -> Contexts:
        return Pep748Contexts(self._implementation, credentials, setting)


_: Library = Pep748("rustls")
