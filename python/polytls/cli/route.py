"""How a server is reached: addresses, connections, and all that comes before TLS on them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from time import monotonic
from typing import cast

from .. import names
from ..interfaces import Connection, SupportsClientWrapSocket
from .dialogue import Dialogue
from .proxies import Proxy
from .starttls import upgrade
from .targets import Target

__all__ = ["Route", "Stage", "Stream", "drop"]

#: What carries the TLS to the server: a plain socket, or TLS to a proxy.
Stream = socket.socket | Connection


class Stage(Enum):
    """How far it got; the error, if there is one, is that of this stage."""

    #: A file was read: there is no connection.
    FILE = "file"
    #: The proxy was not reached, or did not connect to the server.
    PROXY = "proxy"
    RESOLVING = "resolving"
    CONNECTING = "connecting"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    #: After the handshake, where a server may object to our certificate.
    CONNECTED = "connected"


@dataclass(frozen=True, slots=True)
class Route:
    """The way to servers."""

    #: Seconds for each step: one address, each dialogue, the handshake.
    timeout: float
    #: The only kind of addresses to use; None for both.
    family: socket.AddressFamily | None = None
    proxy: Proxy | None = None
    #: Does TLS with the proxy; None for a proxy without TLS.
    proxy_context: SupportsClientWrapSocket | None = None

    def addresses(self, target: Target) -> list[names.Address]:
        """Return the addresses to connect to, in this order: of the proxy, if there is one.

        Raises `socket.gaierror` if there are none, and ValueError for an invalid name or port.
        """
        end = self.proxy or target
        found = names.resolve((end.host, end.port))
        return [each for each in found if self.family in (None, _family(each))]

    def dial(self, address: names.Address) -> socket.socket:
        """Connect to an address. Raises OSError."""
        family = _family(address)
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(self.timeout)
            plain.connect(address if family == socket.AF_INET6 else address[:2])
        except BaseException:
            plain.close()
            raise
        return plain

    def prepare(
        self,
        plain: socket.socket,
        target: Target,
        enter: Callable[[Stage], None] = lambda _: None,
    ) -> tuple[Stream, bytes, dict[str, float]]:
        """Do all that comes before TLS: the proxy's part, and the dialogue of STARTTLS.

        Returns what TLS goes over, what was received and is not for this part, and how long each
        step took. `enter` is called with each stage before it begins. `plain` is taken over: after
        an error, it is closed.

        Raises DialogueError if either does not agree, TimeoutError, and other OSErrors.
        """
        stream: Stream = plain
        try:
            begun = monotonic()
            if self.proxy_context is not None and self.proxy is not None:
                enter(Stage.PROXY)
                made = self.proxy_context.wrap_socket(plain, self.proxy.host)
                stream = cast("Connection", made)
            leftover, timings = self._agree(Dialogue(stream), target, enter, begun)
            stream.settimeout(self.timeout)
        except BaseException:
            drop(stream)
            raise
        enter(Stage.HANDSHAKE)
        return stream, leftover, timings

    def _agree(
        self, dialogue: Dialogue, target: Target, enter: Callable[[Stage], None], begun: float
    ) -> tuple[bytes, dict[str, float]]:
        timings = {}
        if self.proxy is not None:
            enter(Stage.PROXY)
            dialogue.begin("proxy", self.timeout)
            self.proxy.connect(dialogue, target.host, target.port)
            timings["proxy"] = monotonic() - begun
        if target.starttls is not None:
            enter(Stage.STARTTLS)
            dialogue.begin("server", self.timeout)
            begun = monotonic()
            upgrade(dialogue, target.starttls, names.verified_name(target.server_hostname))
            timings["starttls"] = monotonic() - begun
        return bytes(dialogue.unread), timings


def drop(stream: Stream) -> None:
    """Close a connection, whatever its state, and wait for nobody."""
    with suppress(OSError):
        if isinstance(stream, socket.socket):
            stream.close()
        else:
            stream.close(force=True)


def _family(address: names.Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET
