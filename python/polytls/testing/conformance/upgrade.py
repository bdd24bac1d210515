"""Plain connections that become TLS: what the cases about `wrap_socket` are written with."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Self

from polytls import TLSVersion

from .lab import PATIENCE, Lab
from .raw_peer import RawPeer

__all__ = ["Upgrade", "tied"]


class Upgrade:
    """A connected plain socket, to be wrapped in either role, and the raw peer at its other end."""

    def __init__(
        self, lab: Lab, role: str, version: TLSVersion | None, threads: ThreadPoolExecutor
    ) -> None:
        self.lab = lab
        self.role = role
        self.threads = threads
        self._closing = ExitStack()
        self.plain, other = self._closing.enter_context(tied())
        # Without sessions, so that nothing comes by itself after the handshake.
        self._client = lab.client(version=version, sessions=None)
        self._server = lab.server(sessions=None)
        self.context = self._client if role == "client" else self._server
        self.peer = RawPeer(self._buffer(), other)

    def _buffer(self) -> Any:
        if self.role == "client":
            return self._server.create_buffer()
        return self._client.create_buffer(self.lab.host)

    def again(self, plain: socket.socket) -> None:
        """Begin anew over the same connection, whose plain socket on our side is `plain`."""
        self.plain = self._closing.enter_context(plain)
        self.peer = RawPeer(self._buffer(), self.peer.plain)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def wrap(self, sock: Any = None, **given: Any) -> Any:
        """Wrap `sock`, the plain socket if none is given; it is closed with the test."""
        named = {"server_hostname": self.lab.host} if self.role == "client" else {}
        sock = self.plain if sock is None else sock
        made = self.context.wrap_socket(sock, **(named | given))
        self._closing.callback(made.close, force=True)
        return made

    def go(self, sock: Any = None, **given: Any) -> Any:
        """Wrap it, while the peer does its side of the handshake; return our socket."""
        wrapping = self.threads.submit(self.wrap, sock, **given)
        self.peer.drive(self.peer.buffer.do_handshake)
        return wrapping.result(PATIENCE)


@contextmanager
def tied() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two plain sockets that are connected over loopback."""
    with ExitStack() as closing:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            one = closing.enter_context(socket.create_connection(listener.getsockname()))
            other = closing.enter_context(listener.accept()[0])
        for each in (one, other):
            each.settimeout(PATIENCE)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield one, other
