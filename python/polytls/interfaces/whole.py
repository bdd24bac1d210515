"""Everything that connections and listeners of polytls's own implementations have, for annotations.

`TLSSocket` has only the PEP's methods. Use these types in programs that need more of a socket. Do
not use them with `isinstance`: check for the one protocol whose method you call.
"""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import Protocol, Self

from .connections import (
    SupportsDetach,
    SupportsDoHandshake,
    SupportsFileno,
    SupportsInfo,
    SupportsMakefile,
    SupportsPending,
    SupportsRecvInto,
    SupportsSendall,
    SupportsSendfile,
    SupportsSession,
    SupportsShutdown,
    SupportsSocketOptions,
    SupportsTimeout,
    SupportsUnwrap,
)
from .pep748 import TLSSocket

__all__ = ["Connection", "Listener"]


class _Socket(
    TLSSocket,
    SupportsDetach,
    SupportsFileno,
    SupportsSocketOptions,
    SupportsTimeout,
    Protocol,
):
    """What both have: a descriptor with options and a timeout, closed by `with`."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Return itself."""
        ...

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close it."""
        ...


class Connection(
    _Socket,
    SupportsDoHandshake,
    SupportsInfo,
    SupportsMakefile,
    SupportsPending,
    SupportsRecvInto,
    SupportsSendall,
    SupportsSendfile,
    SupportsSession,
    SupportsShutdown,
    SupportsUnwrap,
    Protocol,
):
    """A connected TLS socket with everything that docs/sockets.md describes.

    `connect` and `wrap_socket` of contexts of polytls's own implementations, and `accept` of their
    listeners, return these. It does not include what only some of them have: `SupportsExporter`,
    `SupportsChannelBinding`, `SupportsEarlyData`, `SupportsKeyUpdate`.
    """

    @abstractmethod
    def outgoing_bytes_buffered(self) -> int:
        """Return how many bytes `send` has accepted that are waiting to be sent to the network."""
        ...


class Listener(_Socket, Protocol):
    """A listening socket, as returned by `connect` of a server context."""

    @abstractmethod
    def accept(self) -> tuple[Connection, tuple[str | None, int]]:
        """Return the next connection, and the address of its peer (`TLSSocket.accept`)."""
        ...

    @property
    @abstractmethod
    def failed_handshakes(self) -> int:
        """How many clients were dropped so far because their handshake failed or took too long."""
        ...
