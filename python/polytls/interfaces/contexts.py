"""Extensions to PEP 748 for contexts."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..constants import CipherSuite
from ..info import SessionStatistics
from ..sessions import TLSSession
from .connections import ByteStream
from .pep748 import TLSSocket

if TYPE_CHECKING:
    import socket

    from typing_extensions import Buffer

__all__ = [
    "SupportsClientWrapSocket",
    "SupportsEffectiveCiphers",
    "SupportsHandshakeMayBlock",
    "SupportsServerWrapSocket",
    "SupportsStatistics",
]


@runtime_checkable
class SupportsClientWrapSocket(Protocol):
    """A client context that can start TLS on an existing connection: STARTTLS, HTTP CONNECT."""

    @abstractmethod
    def wrap_socket(
        self,
        sock: socket.socket | ByteStream,
        server_hostname: str,
        *,
        leftover: Buffer = b"",
        do_handshake_on_connect: bool = True,
        session: TLSSession | None = None,
        ech: bytes | None = None,
        accept_truncated_end: bool = False,
    ) -> TLSSocket:
        """Take over the connected `sock`, do the handshake, and return the TLS socket.

        `session`: the session to resume, if the implementation supports it (`SupportsSession`).
        `ech`: the list of configurations of the host for Encrypted ClientHello, if the
        implementation supports it (docs/ech.md).
        `accept_truncated_end`: whether `recv` treats an end of the transport without close_notify
        as the end of the data (docs/endings.md, "Truncated connections").

        The result has the timeout of `sock`, and the handshake has to complete within it. If `sock`
        is non-blocking, or without `do_handshake_on_connect`, `do_handshake`, `recv` or `send` does
        the handshake. A plain socket is detached; any other stream belongs to the connection, and
        is closed with it. After an error `sock` is closed, unless it was not taken over: for
        invalid arguments (TypeError, ValueError) and for a socket without a peer (OSError,
        ENOTCONN).

        The client sends first, so nothing received before the ClientHello can be TLS. If `leftover`
        (data that the caller has received and not used) is not empty, or the socket has data to
        receive, an attacker may have injected it, or the server sent too early (CVE-2021-23222 and
        similar): PeerMisbehaved, and `sock` is closed.

        Raises what `ClientContext.connect` raises.
        """
        ...


@runtime_checkable
class SupportsServerWrapSocket(Protocol):
    """A server context that can start TLS on an existing connection."""

    @abstractmethod
    def wrap_socket(
        self,
        sock: socket.socket | ByteStream,
        *,
        leftover: Buffer = b"",
        do_handshake_on_connect: bool = True,
        accept_truncated_end: bool = False,
    ) -> TLSSocket:
        """Take over the connected `sock`, do the handshake, and return the TLS socket.

        Like a client's `wrap_socket`, except for `leftover`: here it can be the start of the
        client's handshake, which arrived together with the last plaintext. Data that cannot start a
        ClientHello raises NotTLSError, and `sock` is closed.
        """
        ...


@runtime_checkable
class SupportsEffectiveCiphers(Protocol):
    """A context that reports its cipher suites: the effective part of `ciphers`."""

    @property
    @abstractmethod
    def effective_ciphers(self) -> tuple[CipherSuite | int, ...]:
        """The cipher suites, in order of preference."""
        ...


@runtime_checkable
class SupportsStatistics(Protocol):
    """A context that counts resumed sessions."""

    @property
    @abstractmethod
    def statistics(self) -> SessionStatistics:
        """Counts of its connections and sessions so far, over sockets and buffers."""
        ...


@runtime_checkable
class SupportsHandshakeMayBlock(Protocol):
    """A context that reports whether its handshakes may block on this side."""

    @property
    @abstractmethod
    def handshake_may_block(self) -> bool:
        """Whether a callback, a signer or the platform's verifier may block a step of the
        handshake.

        Drivers that share a thread with others, such as event loops, then call `do_handshake` in a
        worker thread.
        """
        ...
