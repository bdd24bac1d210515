"""PEP 748's own classes: what every implementation has.

Its sections "Context", "Socket", "Buffer" and "Runtime Access". The docstrings say what each call
means where the PEP leaves it open.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..constants import CipherSuite, NextProtocol, TLSVersion

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..capabilities import Capabilities

__all__ = [
    "ClientContext",
    "ServerContext",
    "TLSBuffer",
    "TLSImplementation",
    "TLSSocket",
]


class _Negotiated(Protocol):
    """What sockets and buffers tell of their handshake."""

    @property
    @abstractmethod
    def context(self) -> ClientContext | ServerContext:
        """The context that made this connection."""
        ...

    @abstractmethod
    def cipher(self) -> CipherSuite | int | None:
        """Return the negotiated cipher suite, by its number where it has no name here.

        None before the handshake.
        """
        ...

    @abstractmethod
    def negotiated_protocol(self) -> NextProtocol | bytes | None:
        """Return the protocol agreed on with ALPN (RFC 7301), as bytes where it has no name here.

        None if none was agreed on, or before the handshake.
        """
        ...

    @property
    @abstractmethod
    def negotiated_tls_version(self) -> TLSVersion | None:
        """The negotiated version; None before the handshake."""
        ...

    @abstractmethod
    def getpeercert(self) -> bytes | None:
        """Return the peer's certificate in DER as it was presented.

        None if there was none, or before the handshake.
        """
        ...


@runtime_checkable
class TLSSocket(_Negotiated, Protocol):
    """A TCP socket whose traffic TLS protects (PEP 748, "Socket").

    Made by a context's `connect`, or by `accept`; never by hand. It is blocking when it is made.
    A blocking call that runs out of time raises TimeoutError; a non-blocking one that can do
    nothing raises WantReadError or WantWriteError. Errors of the network stay what they are for
    `socket.socket`: ConnectionResetError and its kin.
    """

    if not TYPE_CHECKING:
        # pyright would ask it of every class that is to pass for one.
        @abstractmethod
        def __init__(self, *args: object, **kwargs: object) -> None:
            """Not for users: sockets are created by contexts."""
            ...

    @abstractmethod
    def recv(self, bufsize: int) -> bytes:
        """Return up to `bufsize` bytes of data; `b""` once the peer has sent close_notify.

        Data that was authenticated comes first, then the end or the error. Does any handshake
        that is still to be done.

        Raises RaggedEOF if the transport ended without close_notify, PeerRejectedCertificate if
        the peer refused ours after the handshake (TLS 1.3), AlertReceived, PeerMisbehaved, and
        ValueError if `bufsize` is negative.
        """
        ...

    @abstractmethod
    def send(self, bytes: Buffer) -> int:
        """Send data; return how many bytes were taken, which may be fewer than were given.

        A non-blocking socket raises WantWriteError only if none was taken. If all was, the system
        has it. If a part was, what the system did not take of that goes out first with any later
        call. The same holds where the timeout ends a call.

        Raises what `recv` raises, but for the end of the peer's data.
        """
        ...

    @abstractmethod
    def close(self, force: bool = False) -> None:
        """Send close_notify, wait until the peer has all data, and close the descriptor.

        The peer has it when its TCP has acknowledged it; where the system does not tell that, when
        the peer's close_notify or the end of its transport has come. The wait takes the timeout or
        5 seconds, whichever is less, and no time if all was acknowledged before. What comes
        meanwhile is discarded. With `force`, nothing is waited for, unless `shutdown(SHUT_WR)` has
        declared the data complete.

        Raises an error only if data is unacknowledged then: TimeoutError, ConnectionResetError and
        the like, or AlertReceived. On a non-blocking socket WantReadError or WantWriteError until
        the peer's close_notify or the end of its transport has come (RFC 8446 6.1): repeat the
        call. On every other outcome the descriptor is closed. A second call does nothing.
        """
        ...

    @abstractmethod
    def listen(self, backlog: int) -> None:
        """Let the system queue up to `backlog` connections that were not accepted yet.

        A server's `connect` listens already; this changes the number alone.

        Raises OSError on a socket that is no listener.
        """
        ...

    @abstractmethod
    def accept(self) -> tuple[TLSSocket, tuple[str | None, int]]:
        """Return the next connection whose handshake is done, and the address of its peer.

        Clients that fail or stall neither raise here nor hold up others. A non-blocking listener
        returns connections whose handshake is not done: `recv` or `send` on them does it.

        Raises OSError on a socket that is no listener.
        """
        ...

    @abstractmethod
    def getsockname(self) -> tuple[str | None, int]:
        """Return the local address: host and port.

        Raises OSError (EAFNOSUPPORT) over what has none: a socket of AF_UNIX, a pipe.
        """
        ...

    @abstractmethod
    def getpeername(self) -> tuple[str | None, int]:
        """Return the peer's address, as it was when the connection was made: host and port.

        Raises OSError if there is no peer, and (EAFNOSUPPORT) over what has no host and port.
        """
        ...


@runtime_checkable
class TLSBuffer(_Negotiated, Protocol):
    """One side of a connection without its transport (PEP 748, "Buffer").

    The caller carries bytes: what comes from the network goes into `process_incoming`, what
    `process_outgoing` yields goes out. WantReadError and WantWriteError say which is needed next.
    """

    @abstractmethod
    def read(self, amt: int, buffer: Buffer | None = None) -> bytes | int:
        """Return up to `amt` bytes of data; `b""` for ever once the peer has sent close_notify.

        With a `buffer`, fill it with at most `amt` bytes and return their number, 0 at the end.
        Data that was authenticated comes first, then the end or the error. Before the handshake
        is done, do as much of it as is possible.

        Raises WantReadError if there is nothing to read yet; RaggedEOF, now and ever after, if
        the transport ended without close_notify; PeerRejectedCertificate if the peer refused ours
        after the handshake (TLS 1.3); AlertReceived, PeerMisbehaved; ValueError if `amt` is
        negative.
        """
        ...

    @abstractmethod
    def write(self, buf: Buffer) -> int:
        """Protect data for the peer; return how many bytes were taken, which may be fewer.

        Before the handshake is done, do as much of it as is possible, and take nothing.

        Raises WantWriteError if the outgoing buffer is full, WantReadError if the handshake needs
        more from the peer, and TLSError after `shutdown`.
        """
        ...

    @abstractmethod
    def do_handshake(self) -> None:
        """Go on with the handshake, and return when it is done; verify certificate and name.

        The last of its bytes may be still to be drained by then.

        Raises WantReadError if more must come from the peer (what is outgoing must be sent
        first), WantWriteError only if the outgoing buffer is full, CertificateVerificationError,
        AlertReceived, PeerIncompatible, PeerMisbehaved, NotTLSError, and RaggedEOF if the
        transport ended.
        """
        ...

    @abstractmethod
    def shutdown(self) -> None:
        """Send close_notify, once, and return when the peer's has come (RFC 8446 6.1).

        Until then it raises WantReadError. Reading goes on meanwhile; writing is over. Where
        nothing more has to come from the peer, but there is data that was not read, it raises
        TLSError: read it, and repeat the call.
        """
        ...

    @abstractmethod
    def process_incoming(self, data_from_network: Buffer) -> None:
        """Take bytes that came from the network; `b""` says that the transport has ended.

        Nothing is decrypted here, so no error of the protocol comes from here.

        Raises WantReadError, and takes nothing, if the buffer was at its limit before the call:
        read first, then repeat. Raises ValueError for data after the end.
        """
        ...

    @abstractmethod
    def incoming_bytes_buffered(self) -> int:
        """Return how many bytes from the network wait to be processed."""
        ...

    @abstractmethod
    def process_outgoing(self, amount_bytes_for_network: int) -> bytes:
        """Return up to so many bytes for the network, and drop them here; `b""` if none wait.

        Works after a fatal error too: the alert for the peer is still to be sent.

        Raises ValueError if the amount is negative.
        """
        ...

    @abstractmethod
    def outgoing_bytes_buffered(self) -> int:
        """Return how many bytes wait to go out to the network."""
        ...


@runtime_checkable
class ClientContext(Protocol):
    """Makes a client's connections from one configuration (PEP 748, "Context").

    Files are read and certificates parsed when it is made, once. It is immutable.
    """

    @abstractmethod
    def __init__(self, configuration: TLSClientConfiguration) -> None:
        """Make a context.

        Raises ConfigurationError, naming implementation and field, for what cannot be honoured,
        what cannot be read (with the path) and what cannot be parsed; TypeError for anything but
        a client's configuration.
        """
        ...

    @property
    @abstractmethod
    def configuration(self) -> TLSClientConfiguration:
        """The configuration that it was made from."""
        ...

    @abstractmethod
    def connect(self, address: tuple[str | None, int]) -> TLSSocket:
        """Resolve and connect to `address`, host and port, do the handshake, return the socket.

        The host is also the name that the server's certificate must have, and, unless it is an
        IP address, the one that is asked for (RFC 6066 3).

        Raises what `TLSBuffer.do_handshake` raises, but for the two of non-blocking work; OSError
        as `socket.create_connection` does; TimeoutError.
        """
        ...

    @abstractmethod
    def create_buffer(self, server_hostname: str) -> TLSBuffer:
        """Return a buffer for a connection to `server_hostname`, a DNS name or an IP address.

        IP addresses are matched with addresses in the certificate only, and never asked for;
        internationalised names are converted (IDNA).

        Raises ValueError for what is no name, TypeError for what is no str.
        """
        ...


@runtime_checkable
class ServerContext(Protocol):
    """Makes a server's connections from one configuration (PEP 748, "Context").

    Files are read and certificates and keys parsed when it is made, once. It is immutable.
    """

    @abstractmethod
    def __init__(self, configuration: TLSServerConfiguration) -> None:
        """Make a context.

        Raises ConfigurationError, naming implementation and field, for what cannot be honoured,
        what cannot be read (with the path) and what cannot be parsed; TypeError for anything but
        a server's configuration.
        """
        ...

    @property
    @abstractmethod
    def configuration(self) -> TLSServerConfiguration:
        """The configuration that it was made from."""
        ...

    @abstractmethod
    def connect(self, address: tuple[str | None, int]) -> TLSSocket:
        """Bind to `address`, host (None: all) and port (0: any free one), and listen there.

        The socket returned is a listener: `accept` on it returns connections.

        Raises OSError if the address cannot be had.
        """
        ...

    @abstractmethod
    def create_buffer(self) -> TLSBuffer:
        """Return a buffer for a connection with any client."""
        ...


_ClientContext = TypeVar("_ClientContext", bound=ClientContext, covariant=True)
_ServerContext = TypeVar("_ServerContext", bound=ServerContext, covariant=True)


class TLSImplementation(Generic[_ClientContext, _ServerContext]):
    """One TLS library, ready for use (PEP 748, "Runtime Access").

    `client_context`, `server_context`: the classes to make contexts with.
    `validate_config`: refuses a configuration that cannot be honoured; see the property.
    `name`, `version`: of the implementation and its library; None if it does not tell.
    `capabilities`: what it can do; None if it does not tell.
    """

    __slots__ = (
        "_capabilities",
        "_client_context",
        "_name",
        "_server_context",
        "_validate_config",
        "_version",
    )

    def __init__(
        self,
        client_context: type[_ClientContext],
        server_context: type[_ServerContext],
        validate_config: Callable[[TLSClientConfiguration | TLSServerConfiguration], None],
        *,
        name: str | None = None,
        version: str | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        self._client_context = client_context
        self._server_context = server_context
        self._validate_config = validate_config
        self._name = name
        self._version = version
        self._capabilities = capabilities

    @property
    def client_context(self) -> type[_ClientContext]:
        """The class of client contexts."""
        return self._client_context

    @property
    def server_context(self) -> type[_ServerContext]:
        """The class of server contexts."""
        return self._server_context

    @property
    def validate_config(
        self,
    ) -> Callable[[TLSClientConfiguration | TLSServerConfiguration], None]:
        """A function that refuses a configuration which this implementation cannot honour.

        It finds all that can be known without opening a file; making a context finds the rest.
        It raises ConfigurationError, naming implementation and field, and TypeError for anything
        but a configuration.
        """
        return self._validate_config

    @property
    def name(self) -> str | None:
        """The name that `polytls.implementation` takes; None if it does not tell."""
        return self._name

    @property
    def version(self) -> str | None:
        """The library's version in its own notation; None if it does not tell."""
        return self._version

    @property
    def capabilities(self) -> Capabilities | None:
        """What it can do on this machine; None if it does not tell."""
        return self._capabilities

    def __repr__(self) -> str:
        facts = " ".join(fact for fact in (self._name, self._version) if fact)
        return f"<{type(self).__name__}{' ' if facts else ''}{facts}>"
