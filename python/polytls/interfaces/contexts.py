"""What a context may offer beyond PEP 748."""

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
    """A client's context that can begin TLS on a connection that exists: STARTTLS, HTTP CONNECT."""

    @abstractmethod
    def wrap_socket(
        self,
        sock: socket.socket | ByteStream,
        server_hostname: str,
        *,
        leftover: Buffer = b"",
        do_handshake_on_connect: bool = True,
        session: TLSSession | None = None,
        accept_truncated_end: bool = False,
    ) -> TLSSocket:
        """Take over the connected `sock`, do the handshake, and return the TLS socket.

        `session`: the one to resume, where the implementation can (`SupportsSession`).
        `accept_truncated_end`: whether `recv` takes the end of the transport for the end of the
        data, as close_notify is (docs/sockets.md, "Truncated connections").

        It has the timeout that `sock` had, and the handshake has to be done within it; on a
        non-blocking one, or without `do_handshake_on_connect`, `do_handshake`, `recv` or `send`
        does it. A plain socket is detached; another stream belongs to the connection, and is
        closed with it. After an error `sock` is closed, except where it was not taken at all: for
        arguments that are wrong in themselves (TypeError, ValueError) and for a socket that has no
        peer (OSError, ENOTCONN).

        The client speaks first, so nothing received before the ClientHello can be TLS. If
        `leftover` (what the caller has received and not used) is not empty, or the socket has
        something to be received, that is plaintext of an attacker or of a server that has not
        waited (CVE-2021-23222 and its kin): PeerMisbehaved, and `sock` is closed.

        Raises what `ClientContext.connect` raises.
        """
        ...


@runtime_checkable
class SupportsServerWrapSocket(Protocol):
    """A server's context that can begin TLS on a connection that exists."""

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

        As a client's `wrap_socket`, but for `leftover`: here it may be the beginning of the
        client's handshake, which came together with the last plaintext. What cannot begin a
        ClientHello raises NotTLSError, and `sock` is closed.
        """
        ...


@runtime_checkable
class SupportsEffectiveCiphers(Protocol):
    """A context that can tell which suites it will use: what took effect of `ciphers`."""

    @property
    @abstractmethod
    def effective_ciphers(self) -> tuple[CipherSuite | int, ...]:
        """The suites, in order of preference."""
        ...


@runtime_checkable
class SupportsStatistics(Protocol):
    """A context that counts what it resumes."""

    @property
    @abstractmethod
    def statistics(self) -> SessionStatistics:
        """What has become of its connections and sessions so far, over sockets and buffers."""
        ...


@runtime_checkable
class SupportsHandshakeMayBlock(Protocol):
    """A context that can tell whether its handshakes may take long on this side."""

    @property
    @abstractmethod
    def handshake_may_block(self) -> bool:
        """Whether a hook, a signer or the platform's trust may hold a handshake's step up.

        Drivers that share a thread with others, as event loops do, then leave `do_handshake` to
        a worker thread.
        """
        ...
