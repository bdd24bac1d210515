"""How a server is reached: addresses, connections, and all that comes before TLS on them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from time import monotonic

from .. import names
from .dialogue import Dialogue
from .proxies import Proxy
from .starttls import upgrade
from .targets import Target

__all__ = ["Route", "Stage"]


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
    ) -> tuple[bytes, dict[str, float]]:
        """Do all that comes before TLS: the proxy's part, and the dialogue of STARTTLS.

        Returns what was received and is not for this part, and how long each step took. `enter`
        is called with each stage before it begins.

        Raises DialogueError if either does not agree, TimeoutError, and other OSErrors.
        """
        dialogue, timings = Dialogue(plain), {}
        if self.proxy is not None:
            enter(Stage.PROXY)
            dialogue.begin("proxy", self.timeout)
            begun = monotonic()
            self.proxy.connect(dialogue, target.host, target.port)
            timings["proxy"] = monotonic() - begun
        if target.starttls is not None:
            enter(Stage.STARTTLS)
            dialogue.begin("server", self.timeout)
            begun = monotonic()
            upgrade(dialogue, target.starttls, names.verified_name(target.server_hostname))
            timings["starttls"] = monotonic() - begun
        plain.settimeout(self.timeout)
        enter(Stage.HANDSHAKE)
        return bytes(dialogue.unread), timings


def _family(address: names.Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET
