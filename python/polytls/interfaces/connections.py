"""Extensions to PEP 748 for connections (sockets and buffers), and the streams that carry them."""

from __future__ import annotations

from abc import abstractmethod
from typing import IO, TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..info import ConnectionInfo
from ..sessions import TLSSession

if TYPE_CHECKING:
    import socket

    from typing_extensions import Buffer

__all__ = [
    "ByteStream",
    "SupportsChannelBinding",
    "SupportsDetach",
    "SupportsDoHandshake",
    "SupportsEarlyData",
    "SupportsExporter",
    "SupportsFileno",
    "SupportsInfo",
    "SupportsKeyUpdate",
    "SupportsMakefile",
    "SupportsOpen",
    "SupportsPending",
    "SupportsRecvInto",
    "SupportsSeal",
    "SupportsSendall",
    "SupportsSendfile",
    "SupportsSession",
    "SupportsShutdown",
    "SupportsSocketOptions",
    "SupportsTimeout",
    "SupportsUnwrap",
]


class ByteStream(Protocol):
    """A stream that can carry TLS: a connected socket, a TLS socket, a pair of pipes, an SSH
    channel.

    `recv` returns `b""` at the end of the stream. If the stream has a non-blocking mode
    (`setblocking` or `settimeout`) and a descriptor that a selector can wait for (`fileno`), the
    TLS connection supports timeouts and non-blocking mode. Otherwise, calls block as long as the
    stream's own calls.
    """

    @abstractmethod
    def recv(self, bufsize: int, /) -> bytes:
        """Return up to `bufsize` bytes, `b""` at the end."""
        ...

    @abstractmethod
    def send(self, data: bytes, /) -> int:
        """Send some of `data`, and return the number of bytes sent."""
        ...

    @abstractmethod
    def close(self) -> None:
        """Close the stream."""
        ...


@runtime_checkable
class SupportsUnwrap(Protocol):
    """Can end TLS and return to plaintext, as FTP's CCC requires."""

    @abstractmethod
    def unwrap(self) -> socket.socket | ByteStream:
        """End TLS in both directions, and return the underlying socket or stream without losing
        data.

        Sends close_notify and waits for the peer's (RFC 8446 6.1) within the timeout. Then returns
        the plain socket, with this socket's timeout, or the stream that was wrapped. This socket is
        then closed. If plaintext arrived together with the peer's close_notify, the returned object
        yields it first; a selector does not see it.

        All application data must have been received before. If some remains, raises TLSError and
        discards nothing: call `recv`, then repeat the call. On a non-blocking socket, raises
        WantReadError or WantWriteError: repeat the call. After any other error the connection still
        has to be closed.
        """
        ...


@runtime_checkable
class SupportsShutdown(Protocol):
    """Can end one direction of a connection."""

    @abstractmethod
    def shutdown(self, how: int, /) -> None:
        """End sending, receiving, or both: `socket.SHUT_WR`, `SHUT_RD`, `SHUT_RDWR`.

        SHUT_WR sends close_notify: the peer reads to the end of our data, and can keep sending in
        TLS 1.3 (RFC 8446 6.1). The TCP connection stays open in both directions. After SHUT_RD,
        `recv` returns `b""`, also in threads that are waiting in it. SHUT_RDWR does both and ends
        our direction of the TCP connection; the descriptor stays open.

        Raises TypeError or ValueError for any other `how`; OSError (ENOTCONN) before the handshake
        is complete and on a listener, like plain sockets; and WantWriteError on a non-blocking
        socket if close_notify could not be sent completely. A later call sends the rest. A second
        call is not an error.
        """
        ...


@runtime_checkable
class SupportsDoHandshake(Protocol):
    """A socket whose handshake can be done explicitly."""

    @abstractmethod
    def do_handshake(self) -> None:
        """Complete the handshake within the timeout, like `TLSBuffer.do_handshake`.

        A TLS 1.3 server does not wait until the peer has received its session tickets. Tickets that
        cannot be sent at once are sent with the next call.

        Calling this is optional: `recv` and `send` do the handshake if necessary.
        """
        ...


@runtime_checkable
class SupportsEarlyData(Protocol):
    """A socket or buffer that can send or receive early data (0-RTT, RFC 8446 2.3).

    Early data can be replayed, and this connection's key exchange does not protect it. Act on it
    only if acting twice is harmless (docs/resumption.md). It is always kept apart from other data.
    If the configuration does not enable `early_data`, both methods raise ConfigurationError.
    """

    @abstractmethod
    def write_early_data(self, data: Buffer) -> int:
        """On a client, before any other call: queue `data` for the first flight, if it is allowed.

        Returns how many bytes will be sent: at most what the session to be resumed allows, minus
        what was written before; 0 if there is no such session. The data is sent when the handshake
        starts. After the handshake, `info.early_data` says whether the server accepted it. Rejected
        data is not sent again.

        Raises TLSError after the handshake has started, and on a server.
        """
        ...

    @abstractmethod
    def read_early_data(self, amt: int) -> bytes:
        """On a server: return up to `amt` bytes of early data; `b""` when no more can arrive.

        Drives the handshake as far as necessary. Early data that arrived with a completed handshake
        is still returned. While early data is waiting, reading other data raises TLSError. After
        early data was read, written data does not have to wait for the handshake, if the connection
        supports that.

        Raises what `do_handshake` raises, after all data before the error; TLSError on a client;
        ValueError if `amt` is negative.
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
        """Return a file object for the connection, like `socket.socket.makefile`.

        The connection stays open until the socket and all its files are closed. After a read has
        timed out, the file cannot be read from again.
        """
        ...


@runtime_checkable
class SupportsSendfile(Protocol):
    """Can send a file."""

    @abstractmethod
    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send `file` from `offset`, completely or `count` bytes; return how many bytes were sent.

        Like `socket.socket.sendfile`: `file` must be open for reading bytes. Afterwards, even after
        an error, its position is just after the last byte sent. The timeout applies to the call as
        a whole.

        Raises ValueError on a non-blocking socket, for a text file, and if `count` is not positive.
        """
        ...


@runtime_checkable
class SupportsDetach(Protocol):
    """Can give up its descriptor."""

    @abstractmethod
    def detach(self) -> int:
        """Return the descriptor and release it, without notifying the peer.

        The TLS connection cannot continue; this socket is closed. Returns -1 if it was already
        closed. Threads that are waiting in this socket get OSError (EBADF), at the latest when data
        arrives for them.
        """
        ...


@runtime_checkable
class SupportsSocketOptions(Protocol):
    """Has the options and type of the underlying socket. The type stays available after closing."""

    @property
    @abstractmethod
    def family(self) -> int:
        """The address family, like `socket.socket.family`."""
        ...

    @property
    @abstractmethod
    def type(self) -> int:
        """The socket type: `socket.SOCK_STREAM`."""
        ...

    @property
    @abstractmethod
    def proto(self) -> int:
        """The protocol number: `socket.IPPROTO_TCP`; 0 over AF_UNIX."""
        ...

    @abstractmethod
    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> int | bytes:
        """Return an option, like `socket.socket.getsockopt`."""
        ...

    @abstractmethod
    def setsockopt(
        self, level: int, optname: int, value: int | Buffer | None, optlen: int = 0, /
    ) -> None:
        """Set an option, like `socket.socket.setsockopt`."""
        ...


@runtime_checkable
class SupportsKeyUpdate(Protocol):
    """Can update the keys of a long-lived connection."""

    @abstractmethod
    def update_keys(self) -> None:
        """Update the sending keys, and request the same from the peer (RFC 8446 4.6.3).

        If the peer has just requested an update, it has updated its own keys and is not asked
        again.

        This call is not needed for security: connections update keys automatically long before a
        key has protected too much data (RFC 8446 5.5).

        Raises TLSError before the handshake is complete, after closing, in TLS 1.2, which has no
        key updates, and after 16 updates with no data sent in between, because peers treat more as
        an attack.
        """
        ...


@runtime_checkable
class SupportsRecvInto(Protocol):
    """Can receive into the caller's memory."""

    @abstractmethod
    def recv_into(self, buffer: Buffer, nbytes: int = 0, /) -> int:
        """Fill `buffer` with at most `nbytes` bytes (0: as many as fit), like `recv`.

        Returns the number of bytes, 0 at the end of the peer's data. The rest of `buffer` may have
        been overwritten.
        """
        ...


@runtime_checkable
class SupportsSendall(Protocol):
    """Can send data completely."""

    @abstractmethod
    def sendall(self, data: Buffer, /) -> None:
        """Send all of `data`. The timeout applies to the call as a whole.

        After an error, it is unknown how much was sent. A non-blocking socket raises WantWriteError
        if it cannot send all of it at once.
        """
        ...


@runtime_checkable
class SupportsPending(Protocol):
    """Reports data that can be read without the network, which a selector does not see."""

    @abstractmethod
    def pending(self) -> int:
        """Return how many bytes of decrypted data are waiting to be read."""
        ...


@runtime_checkable
class SupportsOpen(Protocol):
    """A buffer that accepts ciphertext and returns plaintext in one call.

    For code that transports the bytes itself: `process_incoming` and `read` in one call, without an
    exception if there is no data. polytls's sockets and event loop integrations do not use it with
    third-party buffers.
    """

    @abstractmethod
    def open(
        self, data_from_network: Buffer | None, amt: int, buffer: Buffer | None = None, /
    ) -> bytes | int | None:
        """Accept `data_from_network`, and read like `TLSBuffer.read`; None if there is no data.

        `data_from_network` is None if nothing arrived, and empty at the end of the transport. It is
        decrypted in place and must not change during the call. Data that exceeds `amt` is kept;
        call again with None until that returns None. With `amt` 0, the call only accepts data. It
        drives the handshake if that is not complete. The part of `buffer` after the returned count,
        up to `amt`, may have been overwritten.

        Raises WantReadError, and accepts nothing, if `process_incoming` would: call again with None
        first. Raises ValueError for data after the end, a negative `amt`, or if both arguments
        share memory. Otherwise raises what `read` raises, after all data before the error;
        `data_from_network` has then been accepted.
        """
        ...


@runtime_checkable
class SupportsSeal(Protocol):
    """A buffer that accepts plaintext and returns ciphertext in one call.

    For code that transports the bytes itself: `write` and `process_outgoing` in one call. polytls's
    sockets and event loop integrations do not use it with third-party buffers.
    """

    @abstractmethod
    def seal(self, buf: Buffer, /) -> bytes:
        """Encrypt all of `buf`, and return everything that has to be sent, in order.

        There is no limit: the result contains everything that was waiting before, and `buf` with
        about 22 extra bytes per 16 KiB. An empty `buf` only returns what is waiting.

        Raises WantReadError, and accepts nothing, until the handshake is complete, and otherwise
        what `write` raises, except WantWriteError. After an error, `process_outgoing` returns what
        has to be sent, such as an alert.
        """
        ...


@runtime_checkable
class SupportsTimeout(Protocol):
    """Has the three modes of `socket.socket`: blocking, with a timeout, non-blocking."""

    @abstractmethod
    def setblocking(self, flag: bool, /) -> None:
        """Make the socket blocking without a timeout, or non-blocking."""
        ...

    @abstractmethod
    def getblocking(self) -> bool:
        """Return whether calls wait."""
        ...

    @abstractmethod
    def settimeout(self, value: float | None, /) -> None:
        """Limit each call to `value` seconds; None: no limit, 0: non-blocking."""
        ...

    @abstractmethod
    def gettimeout(self) -> float | None:
        """Return the timeout in seconds; None: no limit, 0.0: non-blocking."""
        ...


@runtime_checkable
class SupportsFileno(Protocol):
    """Has a descriptor for selectors."""

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor, -1 after closing."""
        ...


@runtime_checkable
class SupportsInfo(Protocol):
    """Reports the facts of its handshake."""

    @property
    @abstractmethod
    def info(self) -> ConnectionInfo:
        """The facts known so far."""
        ...


@runtime_checkable
class SupportsSession(Protocol):
    """A socket or buffer whose session other connections can resume by name, as FTPS requires.

    `connect`, `wrap_socket` and `create_buffer` of the same client context accept it as `session=`.

    TLS libraries do not verify certificates on resumption. So before a session passed as `session=`
    is offered, its certificate chain is verified completely (trust, name, validity, revocation,
    pins, `peer_verifier`), for the new connection's host name and the current time. If it does not
    pass, the call raises ValueError, with the CertificateVerificationError as its cause. It also
    raises ValueError for a session of another context, and, if host names are not verified, for a
    session of another name; TypeError for anything but a session. Nothing has been sent at that
    point, and no socket has been connected or taken over.

    The server may decline; the handshake is then a full one. So it is if there is nothing to offer:
    no ticket has arrived, the session has expired, or the process was forked. A ticket that has not
    been offered before is preferred; otherwise the last one is offered again, without early data.
    """

    @property
    @abstractmethod
    def session(self) -> TLSSession | None:
        """The session of this connection.

        It is the same for all connections that resume it, and includes the tickets that any of them
        receives, so you can get it as soon as the handshake is complete. It is None before that,
        after a failure, on a server, on a listener, and if the context keeps no sessions. It is
        available after closing, too.
        """
        ...


@runtime_checkable
class SupportsExporter(Protocol):
    """A socket or buffer from whose keys other protocols can derive their own."""

    @abstractmethod
    def export_keying_material(
        self, label: str | bytes, context: Buffer | None, length: int
    ) -> bytes:
        """Return `length` bytes that only the two ends of this connection can derive.

        `label`: a registered label, or one that starts with "EXPORTER-" (RFC 5705 4), in ASCII. It
        can be empty in TLS 1.2, but not in TLS 1.3 (RFC 8446 7.1).
        `context`: bytes that both sides know. None and `b""` are equivalent in TLS 1.3 (RFC 8446
        7.5), and differ in TLS 1.2.
        `length`: 1 to 8160.

        Raises ValueError for an invalid argument or a label that is reserved for TLS; TLSError
        before the handshake is complete, after a socket was closed, because that may wipe the keys,
        and in TLS 1.2 without extended master secret (RFC 7627 5.4); ConfigurationError if the
        library does not support it; the connection's error if it failed.
        """
        ...


@runtime_checkable
class SupportsChannelBinding(Protocol):
    """A socket or buffer that can bind an application's authentication to itself (RFC 5056)."""

    @abstractmethod
    def channel_binding(self, kind: str) -> bytes:
        """Return the channel binding with the registered name `kind`.

        "tls-exporter": 32 bytes that are unique to this connection (RFC 9266).
        "tls-server-end-point": a hash of the server's certificate (RFC 5929 4); on a server, of the
        certificate it presents to this client.

        Raises ValueError for any other name; TLSError for "tls-unique", which TLS 1.3 does not have
        and which is not always unique in TLS 1.2, for a certificate without a defined hash, and
        before the handshake is complete; otherwise what `SupportsExporter` raises.
        """
        ...
