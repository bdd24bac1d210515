"""What the connections and listeners of polytls's own implementations have, for annotations.

`TLSSocket` has the PEP's methods and no more; a program that uses more of a socket says so with one
of these. `isinstance` is not for them: ask for the one protocol whose method is called.
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
    """What both have: a descriptor with options and a timeout, to be closed by `with`."""

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
    """A connected TLS socket with all that docs/sockets.md tells of.

    Contexts of polytls's own implementations make such by `connect` and `wrap_socket`, and their
    listeners by `accept`. What only some of them have is not in it: `SupportsExporter`,
    `SupportsChannelBinding`, `SupportsEarlyData`, `SupportsKeyUpdate`.
    """

    @abstractmethod
    def outgoing_bytes_buffered(self) -> int:
        """Return how many bytes were taken by `send` and wait to go out to the network."""
        ...


class Listener(_Socket, Protocol):
    """A socket that listens, as `connect` of a server's context makes it."""

    @abstractmethod
    def accept(self) -> tuple[Connection, tuple[str | None, int]]:
        """Return the next connection, and the address of its peer (`TLSSocket.accept`)."""
        ...

    @property
    @abstractmethod
    def failed_handshakes(self) -> int:
        """How many clients were turned away so far because their handshake failed or took long."""
        ...
