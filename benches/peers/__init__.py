"""The libraries that are measured, each behind the same few methods.

`Side` is one side of a connection in memory. `Contexts` are a client's and a server's context with
one `Setting`; they make pairs of sides, and connections over loopback. Nothing here does work that
the library's own interface does not ask for: what an adapter costs is charged to its library.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, TypeAlias

__all__ = [
    "SUITE",
    "Asynchronous",
    "Contexts",
    "Fused",
    "Groups",
    "Library",
    "Listener",
    "Open",
    "Seal",
    "Setting",
    "Side",
    "Unable",
    "imported",
]

#: The one suite of all measurements (RFC 8446 B.4).
SUITE = "TLS_AES_256_GCM_SHA384"

Groups: TypeAlias = Literal["x25519", "default"]


class Unable(Exception):
    """This library cannot do this case; the message says why."""


@dataclass(frozen=True)
class Setting:
    """How the contexts of a case are made; everything else is the same for all cases."""

    #: Key exchange: X25519 alone where the library can choose, or what it does by default.
    groups: Groups = "x25519"
    #: Whether both sides keep sessions, as they do by default.
    sessions: bool = False
    #: The URI of the server's key where it is in a token.
    token: str | None = None


#: `seal`: data in, ciphertext out. `open`: ciphertext in (None: nothing new), so much data into the
#: buffer, how much it was (None: nothing). Each does what takes two calls by the PEP's methods.
Seal: TypeAlias = Callable[[memoryview], bytes]
Open: TypeAlias = Callable[[bytes | None, int, bytearray], int | None]
Fused: TypeAlias = tuple[Seal, Open]


def imported(name: str) -> Any:
    """A module of requirements/bench.txt; raises Unable where it is not there."""
    try:
        return import_module(name)
    except ImportError as error:
        raise Unable(f"there is no {name}: pip install -r requirements/bench.txt") from error


class Side(Protocol):
    """One side of a connection in memory."""

    @property
    def want(self) -> type[Exception]:
        """What `read` and `read_into` raise when there is nothing to read."""
        ...

    def write(self, data: memoryview, /) -> int: ...
    def incoming(self, ciphertext: bytes, /) -> object: ...
    def outgoing(self) -> bytes: ...
    def read(self, amount: int, /) -> bytes: ...
    def read_into(self, buffer: bytearray, /) -> int: ...

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is done."""
        ...

    def check(self, *, resumed: bool) -> None:
        """Assert that the library tells of the suite that was meant, and of a handshake that was
        resumed or full."""
        ...

    def fused(self) -> Fused | None:
        """The calls that fuse two; None for libraries that have no such thing, whose own calls are
        then what fused calls are compared with. Raises Unable where there should be some."""
        ...


class Listener(Protocol):
    """A listening socket."""

    @property
    def port(self) -> int: ...

    def accept(self) -> Any:
        """The next connection, handshake done: it has sendall, recv and recv_into."""
        ...


@dataclass(frozen=True)
class Asynchronous:
    """How a library connects and listens in an event loop, over loopback, for a factory of
    protocols."""

    #: To a port: the transport and the protocol, handshake done.
    connect: Callable[[Callable[[], Any], int], Awaitable[tuple[Any, Any]]]
    #: On a port that is free: an asyncio.Server.
    serve: Callable[[Callable[[], Any]], Coroutine[Any, Any, asyncio.Server]]


class Contexts(Protocol):
    """Both contexts of one setting."""

    @property
    def ended(self) -> tuple[type[BaseException], ...]:
        """What connections raise when the peer has gone."""
        ...

    def pair(self) -> tuple[Side, Side]:
        """A client and a server in memory, nothing done yet."""
        ...

    def remember(self, client: Side) -> None:
        """Keep this client's session for the next pair, where contexts do not do so themselves."""
        ...

    def dial(self, port: int) -> Any:
        """Connect over loopback, handshake done: it has sendall, recv and recv_into."""
        ...

    def listen(self) -> Listener:
        """Listen on loopback, on a port that is free."""
        ...

    def http(self, port: int) -> http.client.HTTPConnection:
        """A connection of `http.client`, not connected yet; raises Unable."""
        ...

    def shaped(self) -> ssl.SSLContext:
        """The client's context, for libraries that take those of `ssl`; raises Unable."""
        ...

    def asynchronous(self) -> Asynchronous:
        """How it is used with asyncio; raises Unable."""
        ...

    def uvicorn(self, application: Any, settings: dict[str, Any]) -> Any:
        """A `uvicorn.Server` that serves an application, not started yet; raises Unable."""
        ...

    def close(self, connection: Any) -> None:
        """End a connection as the library's `with` does: nothing is waited for."""
        ...


class Library(Protocol):
    """One library, or one way to use it."""

    @property
    def name(self) -> str: ...

    def version(self) -> str: ...

    def contexts(self, credentials: Any, setting: Setting) -> Contexts: ...

    #: In what its measurements differ from those of the others.
    note: str
    #: A statement that imports all it takes to use it.
    importing: str
    #: An expression, after that statement, that makes a client's context on the system's trust.
    creating: str
