"""What a TLS implementation offers: PEP 748's protocol classes, and polytls's extensions to them.

`ClientContext`, `ServerContext`, `TLSSocket` and `TLSBuffer` have the PEP's methods and no more
(sections "Context", "Socket" and "Buffer"). The docstrings say what each call means where the PEP
leaves it open; polytls's conformance kit holds implementations to it. What goes beyond the PEP is
a protocol of its own, `Supports...`, so that others can offer it and drivers can ask for it:
`isinstance(connection, SupportsInfo)`. For `with` there is `contextlib.AbstractContextManager`.

`isinstance` looks at the names of the members alone. It tells a socket from a buffer, but not a
client's context from a server's: their `configuration` does.

Rules that hold for every call:

- After a fatal error (the peer's misconduct, its certificate, its alert) a connection stays
  failed: every later call raises the same class with the same facts, except
  `TLSBuffer.process_outgoing`, which still yields the alert for the peer.
- The peer is verified inside the handshake. No byte of data is exchanged before it is done.
- Contexts may be shared between threads. One connection may be read by one thread and written by
  another at the same time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

from .capabilities import Capabilities
from .configuration import TLSClientConfiguration, TLSServerConfiguration
from .constants import CipherSuite, NextProtocol, TLSVersion
from .info import ConnectionInfo, SessionStatistics

if TYPE_CHECKING:
    import socket

    from typing_extensions import Buffer

__all__ = [
    "ByteStream",
    "ClientContext",
    "ServerContext",
    "SupportsChannelBinding",
    "SupportsClientWrapSocket",
    "SupportsDetach",
    "SupportsDoHandshake",
    "SupportsEffectiveCiphers",
    "SupportsExporter",
    "SupportsFileno",
    "SupportsHandshakeMayBlock",
    "SupportsInfo",
    "SupportsKeyUpdate",
    "SupportsMakefile",
    "SupportsOpen",
    "SupportsPending",
    "SupportsRecvInto",
    "SupportsSeal",
    "SupportsSendall",
    "SupportsSendfile",
    "SupportsServerWrapSocket",
    "SupportsShutdown",
    "SupportsSocketOptions",
    "SupportsStatistics",
    "SupportsTimeout",
    "SupportsUnwrap",
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

    @abstractmethod
    def __init__(self, *args: object, **kwargs: object) -> None:
        """Not for users: contexts make sockets."""
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

        A non-blocking socket raises WantWriteError only if none was taken. Data that was taken
        goes out first with any later call.

        Raises what `recv` raises, but for the end of the peer's data.
        """
        ...

    @abstractmethod
    def close(self, force: bool = False) -> None:
        """Send close_notify, wait for the peer's, and close the descriptor (RFC 8446 6.1).

        The wait lasts no longer than the timeout; late data is discarded. With `force`, nothing
        is waited for.

        Raises WantReadError or WantWriteError on a non-blocking socket: repeat the call. On every
        other outcome the descriptor is closed. A second call does nothing.
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

        Until then it raises WantReadError. Reading goes on meanwhile; writing is over.
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


class ByteStream(Protocol):
    """What TLS can be carried over: a connected socket, a TLS socket, a pipe pair, an SSH channel.

    `recv` gives `b""` at the stream's end. A stream that can be told not to wait (`setblocking` or
    `settimeout`) and that a selector can wait for (`fileno`) gives the connection on top of it
    timeouts and the non-blocking mode; over any other, calls block as the stream does.
    """

    @abstractmethod
    def recv(self, bufsize: int, /) -> bytes:
        """Return up to `bufsize` bytes, `b""` at the end."""
        ...

    @abstractmethod
    def send(self, data: bytes, /) -> int:
        """Send some of `data`, and return how much."""
        ...

    @abstractmethod
    def close(self) -> None:
        """Give the stream up."""
        ...


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
    ) -> TLSSocket:
        """Take over the connected `sock`, do the handshake, and return the TLS socket.

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
    ) -> TLSSocket:
        """Take over the connected `sock`, do the handshake, and return the TLS socket.

        As a client's `wrap_socket`, but for `leftover`: here it may be the beginning of the
        client's handshake, which came together with the last plaintext. What cannot begin a
        ClientHello raises NotTLSError, and `sock` is closed.
        """
        ...


@runtime_checkable
class SupportsUnwrap(Protocol):
    """Can end TLS and go on in plaintext: FTP's CCC."""

    @abstractmethod
    def unwrap(self) -> socket.socket | ByteStream:
        """End TLS in both directions, and give back what is below it, with not a byte lost.

        Sends close_notify and waits for the peer's (RFC 8446 6.1) within the timeout, then gives
        the plain socket, with this socket's timeout, or the stream that was wrapped. This socket
        is closed by then. If plaintext of the peer's came together with its close_notify, the
        object that is given back yields that first; a selector does not see it.

        All data must have been received before. Raises TLSError, and discards nothing, if there
        is some left: `recv` it, and repeat the call. Non-blocking: WantReadError, WantWriteError;
        repeat the call. Any other error leaves the connection as it is, to be closed.
        """
        ...


@runtime_checkable
class SupportsShutdown(Protocol):
    """Can end one direction of a connection."""

    @abstractmethod
    def shutdown(self, how: int, /) -> None:
        """End sending, receiving, or both: `socket.SHUT_WR`, `SHUT_RD`, `SHUT_RDWR`.

        SHUT_WR sends close_notify: the peer reads to the end of our data, and may go on sending
        in TLS 1.3 (RFC 8446 6.1); the TCP connection stays open in both directions. After
        SHUT_RD `recv` gives `b""`, in threads that wait in it too. SHUT_RDWR does both and ends the
        TCP connection in both directions, as for a plain socket; the descriptor stays.

        Raises TypeError or ValueError for any other `how`, OSError (ENOTCONN) before the handshake
        is done and on a listener, as plain sockets do, WantWriteError if it is non-blocking and
        close_notify could not be sent whole: it follows with any later call. A second time is no
        error.
        """
        ...


@runtime_checkable
class SupportsDoHandshake(Protocol):
    """A socket whose handshake can be done by itself."""

    @abstractmethod
    def do_handshake(self) -> None:
        """Complete the handshake, as `TLSBuffer.do_handshake` does, within the timeout.

        Needed only to do it now: `recv` and `send` do it otherwise.
        """
        ...


@runtime_checkable
class SupportsMakefile(Protocol):
    """Can be read and written as a file."""

    @abstractmethod
    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Return a file object over the connection, as `socket.socket.makefile` does.

        The connection stays open until the socket and all its files are closed. A file whose read
        timed out cannot be read from again.
        """
        ...


@runtime_checkable
class SupportsSendfile(Protocol):
    """Can send a file."""

    @abstractmethod
    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send `file` from `offset`, all of it or `count` bytes; return how many were sent.

        As `socket.socket.sendfile`: `file` is open for reading bytes, and stands behind the last
        byte that was sent, after an error as well. The timeout is for the whole.

        Raises ValueError on a non-blocking socket, for a text file, and for a `count` that is not
        positive.
        """
        ...


@runtime_checkable
class SupportsDetach(Protocol):
    """Can give its descriptor away."""

    @abstractmethod
    def detach(self) -> int:
        """Return the descriptor and let go of it, with nothing said to the peer.

        The TLS connection cannot go on; this socket is closed. -1 if it was before. Threads that
        wait in it get OSError (EBADF), when something comes for them at the latest.
        """
        ...


@runtime_checkable
class SupportsSocketOptions(Protocol):
    """Has the options and the kind of the socket below. The kind is known after closing, too."""

    @property
    @abstractmethod
    def family(self) -> int:
        """The address family, as `socket.socket.family`."""
        ...

    @property
    @abstractmethod
    def type(self) -> int:
        """The kind of socket: `socket.SOCK_STREAM`."""
        ...

    @property
    @abstractmethod
    def proto(self) -> int:
        """The protocol's number, as the system knows it: `socket.IPPROTO_TCP`; 0 over AF_UNIX."""
        ...

    @abstractmethod
    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> int | bytes:
        """Return an option, as `socket.socket.getsockopt`."""
        ...

    @abstractmethod
    def setsockopt(
        self, level: int, optname: int, value: int | Buffer | None, optlen: int = 0, /
    ) -> None:
        """Set an option, as `socket.socket.setsockopt`."""
        ...


@runtime_checkable
class SupportsKeyUpdate(Protocol):
    """Can change the keys of a connection that lives long."""

    @abstractmethod
    def update_keys(self) -> None:
        """Change the keys for sending, and ask the peer to do the same (RFC 8446 4.6.3).

        Not needed for safety: connections do so by themselves long before a key has been used
        too much (RFC 8446 5.5).

        Raises TLSError before the handshake is done, after closing, in TLS 1.2, which cannot, and
        after 16 times with no data sent in between: peers take more for an attack.
        """
        ...


@runtime_checkable
class SupportsRecvInto(Protocol):
    """Can receive into memory of the caller's."""

    @abstractmethod
    def recv_into(self, buffer: Buffer, nbytes: int = 0, /) -> int:
        """Fill `buffer` with at most `nbytes` bytes (0: as many as fit), as `recv` would.

        Returns how many there were, 0 at the end of the peer's data. What stands in `buffer` behind
        them may have been written to as well.
        """
        ...


@runtime_checkable
class SupportsSendall(Protocol):
    """Can send data whole."""

    @abstractmethod
    def sendall(self, data: Buffer, /) -> None:
        """Send all of `data`; the timeout is for the whole.

        After an error there is no telling how much of it was sent.
        """
        ...


@runtime_checkable
class SupportsPending(Protocol):
    """Can tell what can be read without the network; a selector cannot see that."""

    @abstractmethod
    def pending(self) -> int:
        """Return how many bytes of decrypted data wait to be read."""
        ...


@runtime_checkable
class SupportsOpen(Protocol):
    """A buffer that takes in ciphertext and gives plaintext in one call, and raises for no data.

    For drivers, which do both for all that comes: `process_incoming` and `read` in one.
    """

    @abstractmethod
    def open(
        self, data_from_network: Buffer | None, amt: int, buffer: Buffer | None = None, /
    ) -> bytes | int | None:
        """Take in `data_from_network`, and read as `TLSBuffer.read` does; None if nothing is there.

        `data_from_network` is None if nothing came, and empty at the end of the transport. It is
        opened from where it lies, and must not change during the call; what `amt` has no room for
        is kept, so read on with None until that returns None. `amt` 0 only takes in. Drives the
        handshake if that is not done. What stands in `buffer` behind the count, up to `amt`, may
        have been written to.

        Raises WantReadError, and takes nothing, if `process_incoming` would have done so: read on
        with None first. ValueError for data after the end, a negative `amt`, or one memory for
        both. Otherwise what `read` raises, after all data before it; `data_from_network` has been
        taken then.
        """
        ...


@runtime_checkable
class SupportsSeal(Protocol):
    """A buffer that takes plaintext and gives ciphertext in one call.

    For drivers, which send what they write: `write` and `process_outgoing` in one.
    """

    @abstractmethod
    def seal(self, buf: Buffer, /) -> bytes:
        """Protect all of `buf`, and return all that has to be sent by now, in order.

        There is no limit: the result is as long as what waited before, and `buf` with 22 bytes or
        so for each 16 KiB. An empty `buf` only drains.

        Raises WantReadError, and takes nothing, until the handshake is done, and what else `write`
        raises but WantWriteError. What has to be sent then, as an alert, is for `process_outgoing`.
        """
        ...


@runtime_checkable
class SupportsTimeout(Protocol):
    """Has the three modes of `socket.socket`: blocking, with a timeout, non-blocking."""

    @abstractmethod
    def setblocking(self, flag: bool, /) -> None:
        """Make it blocking without a timeout, or non-blocking."""
        ...

    @abstractmethod
    def getblocking(self) -> bool:
        """Return whether calls wait at all."""
        ...

    @abstractmethod
    def settimeout(self, value: float | None, /) -> None:
        """Let each call take `value` seconds at most; None: no limit, 0: non-blocking."""
        ...

    @abstractmethod
    def gettimeout(self) -> float | None:
        """Return the timeout in seconds; None: no limit, 0.0: non-blocking."""
        ...


@runtime_checkable
class SupportsFileno(Protocol):
    """Has a descriptor, for selectors."""

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor, -1 once it is closed."""
        ...


@runtime_checkable
class SupportsInfo(Protocol):
    """Can tell the facts of its handshake."""

    @property
    @abstractmethod
    def info(self) -> ConnectionInfo:
        """The facts as they are known now."""
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
class SupportsExporter(Protocol):
    """A socket or buffer whose keys other protocols can derive keys of their own from."""

    @abstractmethod
    def export_keying_material(
        self, label: str | bytes, context: Buffer | None, length: int
    ) -> bytes:
        """Return `length` bytes that both ends of this connection, and nobody else, can derive.

        `label`: a registered one, or one that begins with "EXPORTER-" (RFC 5705 4), in ASCII.
        `context`: bytes that both sides know. None and `b""` are the same in TLS 1.3 (RFC 8446
        7.5), and two things in TLS 1.2. `length`: 1 to 8160.

        Raises ValueError for what is none of that or belongs to TLS itself; TLSError before the
        handshake is done, and in TLS 1.2 without extended master secret (RFC 7627 5.4);
        ConfigurationError if the library cannot; the error of a connection that failed.
        """
        ...


@runtime_checkable
class SupportsChannelBinding(Protocol):
    """A socket or buffer that can tie an exchange of the application's to itself (RFC 5056)."""

    @abstractmethod
    def channel_binding(self, kind: str) -> bytes:
        """Return the channel binding of that registered name.

        "tls-exporter": 32 bytes that belong to this connection alone (RFC 9266).
        "tls-server-end-point": a hash of the server's certificate (RFC 5929 4), on a server of the
        one that it has for this client.

        Raises ValueError for any other name; TLSError for "tls-unique", which TLS 1.3 does not
        have and which TLS 1.2 makes unique by luck, for a certificate that has no hash, and
        before the handshake is done; else what `SupportsExporter` raises.
        """
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
