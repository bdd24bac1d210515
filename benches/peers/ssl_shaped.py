"""The standard library's `ssl`, and what has its shape: `polytls.compat`, and `rtls`."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, TypeVar

import polytls
from polytls import compat

from ..credentials import HOST, Credentials
from . import SUITE, Asynchronous, Contexts, Listener, Setting, Side, Unable, imported

__all__ = ["Face", "Rtls", "StandardLibrary", "Wrapping", "dial", "over"]


class MemoryObject:
    """An SSLObject between two MemoryBIOs."""

    def __init__(self, module: Any, context: Any, suite: str, **arguments: Any) -> None:
        self._suite = suite
        incoming, outgoing = module.MemoryBIO(), module.MemoryBIO()
        self.want: type[Exception] = module.SSLWantReadError
        self.object: Any = context.wrap_bio(incoming, outgoing, **arguments)
        self.write: Callable[[memoryview], int] = self.object.write
        self.incoming: Callable[[bytes], object] = incoming.write
        self.outgoing: Callable[[], bytes] = outgoing.read
        self.read: Callable[[int], bytes] = self.object.read
        self._read: Callable[[int, bytearray], int] = self.object.read

    def read_into(self, buffer: bytearray) -> int:
        return self._read(len(buffer), buffer)

    def handshake(self) -> bool:
        try:
            self.object.do_handshake()
        except self.want:
            return False
        return True

    def check(self, *, resumed: bool) -> None:
        assert self.object.session_reused is resumed
        assert self.object.cipher()[0] == self._suite
        assert self.object.version() == "TLSv1.3"

    def fused(self) -> None:
        """It has none."""


class Wrapping:
    """A listening socket whose connections are wrapped as they come."""

    def __init__(self, wrap: Callable[[socket.socket], Any]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._wrap = wrap
        self.port: int = self._socket.getsockname()[1]

    def accept(self) -> Any:
        plain = self._socket.accept()[0]
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._wrap(plain)


def dial(port: int) -> socket.socket:
    """A TCP connection over loopback that waits for no more to send."""
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


Connected = TypeVar("Connected", bound=http.client.HTTPConnection)


def over(dialled: Callable[[int], Any], connection: Connected) -> Connected:
    """A connection of `http.client` that is made over what `dialled` connects."""
    made: Any = connection
    made._create_connection = lambda address, *_: dialled(address[1])
    return connection


class SslContexts:
    """Two SSLContexts."""

    ended: tuple[type[BaseException], ...] = (OSError,)
    suite = SUITE

    def __init__(self, module: Any, credentials: Credentials, setting: Setting) -> None:
        self._module = module
        self._sessions = setting.sessions
        self._session: Any = None
        self._server = module.SSLContext(module.PROTOCOL_TLS_SERVER)
        with credentials.chain_file() as path:
            self._server.load_cert_chain(path)
        self._client = module.SSLContext(module.PROTOCOL_TLS_CLIENT)
        self._client.load_verify_locations(cadata=credentials.authority)
        for context in (self._server, self._client):
            context.minimum_version = module.TLSVersion.TLSv1_3
            self.choose(context, setting)

    def choose(self, context: Any, setting: Setting) -> None:
        """Take what the setting says, where it can be chosen; the rest is checked afterwards."""
        if context is self._server and not setting.sessions:
            context.num_tickets = 0
        if setting.groups == "x25519" and hasattr(context, "set_groups"):
            context.set_groups("X25519")  # from Python 3.15 on; before, OpenSSL's first is it

    def pair(self) -> tuple[Side, Side]:
        client = {"session": self._session} if self._session is not None else {}
        return (
            MemoryObject(self._module, self._client, self.suite, server_hostname=HOST, **client),
            MemoryObject(self._module, self._server, self.suite, server_side=True),
        )

    def remember(self, client: Side) -> None:
        assert isinstance(client, MemoryObject)
        self._session = client.object.session

    def dial(self, port: int) -> Any:
        return self._client.wrap_socket(dial(port), server_hostname=HOST)

    def listen(self) -> Listener:
        return Wrapping(lambda plain: self._server.wrap_socket(plain, server_side=True))

    def http(self, port: int) -> http.client.HTTPConnection:
        return over(dial, http.client.HTTPSConnection(HOST, port, context=self.shaped()))

    def shaped(self) -> ssl.SSLContext:
        if not isinstance(self._client, ssl.SSLContext):
            raise Unable("it has no ssl.SSLContext")
        return self._client

    def asynchronous(self) -> Asynchronous:
        async def connect(factory: Callable[[], Any], port: int) -> tuple[Any, Any]:
            loop = asyncio.get_running_loop()
            return await loop.create_connection(
                factory, "127.0.0.1", port, ssl=self._client, server_hostname=HOST
            )

        async def serve(factory: Callable[[], Any]) -> asyncio.Server:
            loop = asyncio.get_running_loop()
            return await loop.create_server(factory, "127.0.0.1", 0, ssl=self._server)

        return Asynchronous(connect, serve)

    def uvicorn(self, application: Any, settings: dict[str, Any]) -> Any:
        module = imported("uvicorn")
        self.shaped()
        given = {"ssl_context_factory": lambda _config, _default: self._server}
        return module.Server(module.Config(application, **given, **settings))

    def close(self, connection: Any) -> None:
        connection.close()


class StandardLibrary:
    """`ssl`: what everything is a ratio to."""

    name = "ssl"
    note = ""
    importing = "import ssl"
    creating = "ssl.create_default_context()"

    def version(self) -> str:
        return ssl.OPENSSL_VERSION

    def contexts(self, credentials: Credentials, setting: Setting) -> Contexts:
        return SslContexts(ssl, credentials, setting)


class FaceContexts(SslContexts):
    """Two of the face's."""

    def choose(self, context: Any, setting: Setting) -> None:
        super().choose(context, setting)
        if setting.groups == "x25519":
            context.set_ecdh_curve("X25519")


class Face:
    """polytls in the shape of `ssl`."""

    name = "polytls/compat"
    note = ""
    importing = "import polytls.compat"
    creating = "polytls.compat.create_default_context()"

    def version(self) -> str:
        return polytls.implementation("rustls").version or "unknown"

    def contexts(self, credentials: Credentials, setting: Setting) -> Contexts:
        module = SimpleNamespace(**{**vars(ssl), "SSLContext": compat.SSLContext})
        return FaceContexts(module, credentials, setting)


class RtlsContexts(SslContexts):
    """rtls cannot choose suites or groups, nor switch its tickets off."""

    suite = "TLS_AES_128_GCM_SHA256"

    def choose(self, context: Any, setting: Setting) -> None:  # noqa: ARG002
        if setting.sessions:
            raise Unable("it does not tell whether a session was resumed")


class Rtls:
    """rtls: rustls in the shape of `ssl`."""

    name = "rtls"
    note = "it cannot choose its suite: AES-128-GCM, the quicker one; it always sends tickets"
    importing = "import rtls"
    creating = "rtls.create_default_context()"

    def __init__(self) -> None:
        self._module = import_module("rtls")

    def version(self) -> str:
        return version("rtls")

    def contexts(self, credentials: Credentials, setting: Setting) -> Contexts:
        return RtlsContexts(self._module, credentials, setting)
