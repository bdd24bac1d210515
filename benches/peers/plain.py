"""TCP with no TLS: the floor of everything over loopback."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

from ..credentials import HOST, Credentials
from . import Asynchronous, Contexts, Listener, Setting, Side, Unable, imported
from .ssl_shaped import Wrapping, dial, over

__all__ = ["PlainTcp"]

#: In place of a handshake: without it, clients are done before the server has seen them, and fill
#: the queue of connections to accept.
_GREETING = b"!"


class PlainContexts:
    """None at all."""

    ended: tuple[type[BaseException], ...] = (OSError,)

    def pair(self) -> tuple[Side, Side]:
        raise Unable("it is a floor over loopback alone")

    def remember(self, client: Side) -> None:  # noqa: ARG002
        raise Unable("it has no sessions")

    def dial(self, port: int) -> Any:
        connection = dial(port)
        assert connection.recv(1) == _GREETING
        return connection

    def listen(self) -> Listener:
        def greet(plain: socket.socket) -> socket.socket:
            plain.sendall(_GREETING)
            return plain

        return Wrapping(greet)

    def http(self, port: int) -> http.client.HTTPConnection:
        return over(self.dial, http.client.HTTPConnection(HOST, port))

    def shaped(self) -> ssl.SSLContext:
        raise Unable("it has no context")

    def asynchronous(self) -> Asynchronous:
        async def connect(factory: Callable[[], Any], port: int) -> tuple[Any, Any]:
            return await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", port)

        async def serve(factory: Callable[[], Any]) -> asyncio.Server:
            return await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)

        return Asynchronous(connect, serve)

    def uvicorn(self, application: Any, settings: dict[str, Any]) -> Any:
        module = imported("uvicorn")
        return module.Server(module.Config(application, **settings))

    def close(self, connection: Any) -> None:
        connection.close()


class PlainTcp:
    """Sockets of the standard library."""

    name = "plain TCP"
    note = ""
    importing = "import socket"
    creating = "None"

    def version(self) -> str:
        return sys.platform

    def contexts(self, credentials: Credentials, setting: Setting) -> Contexts:  # noqa: ARG002
        return PlainContexts()
