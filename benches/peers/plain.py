"""TCP with no TLS: the floor of everything over loopback."""

from __future__ import annotations

import sys
from typing import Any

from ..credentials import Credentials
from . import Contexts, Listener, Setting, Side, Unable
from .ssl_shaped import Wrapping, dial

__all__ = ["PlainTcp"]


class PlainContexts:
    """None at all."""

    ended: tuple[type[BaseException], ...] = (OSError,)

    def pair(self) -> tuple[Side, Side]:
        raise Unable("it is a floor over loopback alone")

    def remember(self, client: Side) -> None:  # noqa: ARG002
        raise Unable("it has no sessions")

    def dial(self, port: int) -> Any:
        return dial(port)

    def listen(self) -> Listener:
        return Wrapping(lambda plain: plain)

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
