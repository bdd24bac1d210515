"""PEP 748's own classes, which every implementation has.

From its sections "Context", "Socket", "Buffer" and "Runtime Access". The docstrings define what the
PEP leaves open.
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
    """What sockets and buffers report about their handshake."""

    @property
    @abstractmethod
    def context(self) -> ClientContext | ServerContext:
        """The context that created this connection."""
        ...

    @abstractmethod
    def cipher(self) -> CipherSuite | int | None:
        """Return the negotiated cipher suite, as a number if it has no name here.

        None before the handshake.
        """
        ...

    @abstractmethod
    def negotiated_protocol(self) -> NextProtocol | bytes | None:
        """Return the protocol negotiated with ALPN (RFC 7301), as bytes if it has no name here.

        None if none was negotiated, and before the handshake.
        """
        ...

    @property
    @abstractmethod
    def negotiated_tls_version(self) -> TLSVersion | None:
        """The negotiated version; None before the handshake."""
        ...

    @abstractmethod
    def getpeercert(self) -> bytes | None:
        """Return the peer's certificate as it was presented, in DER.

        None if there was none, and before the handshake.
        """
        ...


@runtime_checkable
class TLSSocket(_Negotiated, Protocol):
    """A TCP socket protected by TLS (PEP 748, "Socket").

    Only a context's `connect` and `accept` create it. It is initially blocking. A blocking call
    that runs out of time raises TimeoutError. A non-blocking call that cannot make progress raises
    WantReadError or WantWriteError. Network errors are those of `socket.socket`:
    ConnectionResetError and similar.
    """

    if not TYPE_CHECKING:
        # Without it, pyright requires this of every class that is to match one.
        @abstractmethod
        def __init__(self, *args: object, **kwargs: object) -> None:
            """Internal: only contexts create sockets."""
            ...

    @abstractmethod
    def recv(self, bufsize: int) -> bytes:
        """Return up to `bufsize` bytes of data; `b""` after the peer's close_notify.

        Authenticated data is returned first, then the end or the error. Completes the handshake if
        necessary.

        Raises RaggedEOF if the transport ended without close_notify, PeerRejectedCertificate if the
        peer refused our certificate after the handshake (TLS 1.3), AlertReceived, PeerMisbehaved,
        and ValueError if `bufsize` is negative.
        """
        ...

    @abstractmethod
    def send(self, bytes: Buffer) -> int:
        """Send data; return how many bytes were accepted, which can be fewer than were given.

        A non-blocking socket raises WantWriteError only if none was accepted. If everything was
        accepted, the system has it. If a part was, later calls first send what the system has not
        accepted of that part. The same applies if the timeout ends a call.

        Raises what `recv` raises, except for the end of the peer's data.
        """
        ...

    @abstractmethod
    def close(self, force: bool = False) -> None:
        """Send close_notify, wait until the peer has all data, and close the descriptor.

        The peer has the data when its TCP has acknowledged it. If the system does not report that,
        the peer has it when its close_notify or the end of its transport has arrived. The call
        waits for the timeout or 5 seconds, whichever is less, and not at all if everything was
        acknowledged before. Data that arrives in the meantime is discarded. With `force`, the call
        does not wait, unless `shutdown(SHUT_WR)` has declared the data complete.

        Raises an error only if data is still unacknowledged: TimeoutError, ConnectionResetError and
        similar, or AlertReceived. A non-blocking socket raises WantReadError or WantWriteError
        until the peer's close_notify or the end of its transport has arrived (RFC 8446 6.1): repeat
        the call. The descriptor is closed in every other case. A second call does nothing.
        """
        ...

    @abstractmethod
    def listen(self, backlog: int) -> None:
        """Let the system queue up to `backlog` connections that have not been accepted.

        A server context's `connect` already listens; this only changes the number.

        Raises OSError on a socket that is not a listener.
        """
        ...

    @abstractmethod
    def accept(self) -> tuple[TLSSocket, tuple[str | None, int]]:
        """Return the next connection whose handshake is complete, and the address of its peer.

        Clients that fail or stall do not raise here, and do not delay others. A non-blocking
        listener returns connections whose handshake is not complete: `recv` or `send` on them
        completes it.

        Raises OSError on a socket that is not a listener.
        """
        ...

    @abstractmethod
    def getsockname(self) -> tuple[str | None, int]:
        """Return the local address: host and port.

        Raises OSError (EAFNOSUPPORT) on transports without one, such as AF_UNIX sockets and pipes.
        """
        ...

    @abstractmethod
    def getpeername(self) -> tuple[str | None, int]:
        """Return the peer's address when the connection was created: host and port.

        Raises OSError if there is no peer, and (EAFNOSUPPORT) on transports without a host and
        port.
        """
        ...


@runtime_checkable
class TLSBuffer(_Negotiated, Protocol):
    """One side of a connection without its transport (PEP 748, "Buffer").

    The caller transports the bytes: pass data from the network to `process_incoming`, and send what
    `process_outgoing` returns. WantReadError and WantWriteError say which one is needed next.
    """

    @abstractmethod
    def read(self, amt: int, buffer: Buffer | None = None) -> bytes | int:
        """Return up to `amt` bytes of data; `b""` after the peer's close_notify.

        With a `buffer`, fills it with at most `amt` bytes and returns their number, 0 at the end.
        Authenticated data is returned first, then the end or the error. Before the handshake is
        complete, does as much of it as possible.

        Raises WantReadError if there is nothing to read yet; RaggedEOF, on this and every later
        call, if the transport ended without close_notify; PeerRejectedCertificate if the peer
        refused our certificate after the handshake (TLS 1.3); AlertReceived, PeerMisbehaved;
        ValueError if `amt` is negative.
        """
        ...

    @abstractmethod
    def write(self, buf: Buffer) -> int:
        """Encrypt data for the peer; return how many bytes were accepted, which can be fewer.

        Before the handshake is complete, does as much of it as possible, and accepts nothing.

        Raises WantWriteError if the outgoing buffer is full, WantReadError if the handshake needs
        more data from the peer, and TLSError after `shutdown`.
        """
        ...

    @abstractmethod
    def do_handshake(self) -> None:
        """Continue the handshake, and return when it is complete; verify the certificate and the
        name.

        When it returns, the last bytes of the handshake may still be waiting in the outgoing
        buffer.

        Raises WantReadError if more data from the peer is needed (send the outgoing data first),
        WantWriteError only if the outgoing buffer is full, CertificateVerificationError,
        AlertReceived, PeerIncompatible, PeerMisbehaved, NotTLSError, and RaggedEOF if the transport
        ended.
        """
        ...

    @abstractmethod
    def shutdown(self) -> None:
        """Send close_notify once, and return when the peer's has arrived (RFC 8446 6.1).

        Raises WantReadError until then. Reading is still possible in the meantime; writing is not.
        If the peer's close_notify has arrived but unread data remains, raises TLSError: read it,
        and repeat the call.
        """
        ...

    @abstractmethod
    def process_incoming(self, data_from_network: Buffer) -> None:
        """Accept bytes from the network; `b""` reports the end of the transport.

        Nothing is decrypted here, so this call raises no protocol errors.

        Raises WantReadError, and accepts nothing, if the buffer was at its limit before the call:
        read, then repeat the call. Raises ValueError for data after the end.
        """
        ...

    @abstractmethod
    def incoming_bytes_buffered(self) -> int:
        """Return how many bytes from the network are waiting to be processed."""
        ...

    @abstractmethod
    def process_outgoing(self, amount_bytes_for_network: int) -> bytes:
        """Return up to `amount_bytes_for_network` bytes, and remove them from the buffer; `b""` if
        there are none.

        Works after a fatal error too: the alert for the peer may still have to be sent.

        Raises ValueError if the amount is negative.
        """
        ...

    @abstractmethod
    def outgoing_bytes_buffered(self) -> int:
        """Return how many bytes are waiting to be sent to the network."""
        ...


@runtime_checkable
class ClientContext(Protocol):
    """Creates client connections from one configuration (PEP 748, "Context").

    Files are read and certificates parsed once, when the context is created. It is immutable.
    """

    @abstractmethod
    def __init__(self, configuration: TLSClientConfiguration) -> None:
        """Create a context.

        Raises ConfigurationError, with the implementation and the field, for what is not supported,
        cannot be read (with the path) or cannot be parsed; TypeError for anything but a client
        configuration.
        """
        ...

    @property
    @abstractmethod
    def configuration(self) -> TLSClientConfiguration:
        """The configuration that it was created from."""
        ...

    @abstractmethod
    def connect(self, address: tuple[str | None, int]) -> TLSSocket:
        """Resolve `address` (host and port), connect, do the handshake, and return the socket.

        The server's certificate must be valid for the host. Unless it is an IP address, the host is
        also sent in server_name (RFC 6066 3).

        Raises what `TLSBuffer.do_handshake` raises, except WantReadError and WantWriteError;
        OSError like `socket.create_connection`; TimeoutError.
        """
        ...

    @abstractmethod
    def create_buffer(self, server_hostname: str) -> TLSBuffer:
        """Return a buffer for a connection to `server_hostname`, a DNS name or an IP address.

        IP addresses only match addresses in the certificate, and are not sent to the server.
        Internationalized names are converted (IDNA).

        Raises ValueError for an invalid name, and TypeError for anything but str.
        """
        ...


@runtime_checkable
class ServerContext(Protocol):
    """Creates server connections from one configuration (PEP 748, "Context").

    Files are read, and certificates and keys parsed, once, when the context is created. It is
    immutable.
    """

    @abstractmethod
    def __init__(self, configuration: TLSServerConfiguration) -> None:
        """Create a context.

        Raises ConfigurationError, with the implementation and the field, for what is not supported,
        cannot be read (with the path) or cannot be parsed; TypeError for anything but a server
        configuration.
        """
        ...

    @property
    @abstractmethod
    def configuration(self) -> TLSServerConfiguration:
        """The configuration that it was created from."""
        ...

    @abstractmethod
    def connect(self, address: tuple[str | None, int]) -> TLSSocket:
        """Bind to `address`, a host (None: all interfaces) and a port (0: any free port), and
        listen.

        Returns a listener: its `accept` returns connections.

        Raises OSError if the address is not available.
        """
        ...

    @abstractmethod
    def create_buffer(self) -> TLSBuffer:
        """Return a buffer for a connection with any client."""
        ...


_ClientContext = TypeVar("_ClientContext", bound=ClientContext, covariant=True)
_ServerContext = TypeVar("_ServerContext", bound=ServerContext, covariant=True)


class TLSImplementation(Generic[_ClientContext, _ServerContext]):
    """A TLS library, ready for use (PEP 748, "Runtime Access").

    `client_context`, `server_context`: the context classes.
    `validate_config`: checks a configuration; see the property.
    `name`, `version`: of the implementation and its library; None if unknown.
    `capabilities`: what the implementation supports; None if unknown.
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
        """A function that checks whether this implementation supports a configuration.

        It checks everything that can be checked without opening a file; creating a context checks
        the rest. It raises ConfigurationError, with the implementation and the field, and TypeError
        for anything but a configuration.
        """
        return self._validate_config

    @property
    def name(self) -> str | None:
        """The name for `polytls.implementation`; None if unknown."""
        return self._name

    @property
    def version(self) -> str | None:
        """The library's version in its own notation; None if unknown."""
        return self._version

    @property
    def capabilities(self) -> Capabilities | None:
        """What the implementation supports on this machine; None if unknown."""
        return self._capabilities

    def __repr__(self) -> str:
        facts = " ".join(fact for fact in (self._name, self._version) if fact)
        return f"<{type(self).__name__}{' ' if facts else ''}{facts}>"
