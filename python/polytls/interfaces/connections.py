"""What a connection, socket or buffer, may offer beyond PEP 748, and what it may be carried by."""

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
        SHUT_RD `recv` gives `b""`, in threads that wait in it too. SHUT_RDWR does both and ends our
        side of the TCP connection; the descriptor stays.

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

        A TLS 1.3 server does not wait until the peer has taken its session tickets: what cannot be
        sent of them at once goes out with the next call.

        Needed only to do it now: `recv` and `send` do it otherwise.
        """
        ...


@runtime_checkable
class SupportsEarlyData(Protocol):
    """A socket or buffer that carries data before the handshake is done (RFC 8446 2.3).

    Whoever records it can send it again, and no key exchange of this connection protects it: act on
    it only where acting twice does no harm (docs/resumption.md). It never mixes with other data.
    Where `early_data` was not asked for, both calls raise ConfigurationError.
    """

    @abstractmethod
    def write_early_data(self, data: Buffer) -> int:
        """On a client, before any other call: send `data` with the first flight, if that may be.

        Returns how many bytes that is: what the session allows that is to be resumed, less what was
        written before; 0 if there is no such session. It leaves when the handshake begins. After
        the handshake `info.early_data` tells whether the server took it; what was refused is not
        sent again.

        Raises TLSError once the handshake has begun, and on a server.
        """
        ...

    @abstractmethod
    def read_early_data(self, amt: int) -> bytes:
        """On a server: return up to `amt` bytes of early data, `b""` for ever once no more comes.

        Drives the handshake as far as that takes; what came with a handshake that is done is still
        here. As long as any waits, reading other data raises TLSError. What is written once early
        data was read need not wait for the handshake, where the connection can do that.

        Raises what `do_handshake` raises, after all data before it; TLSError on a client;
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

        A peer that has just asked for this has changed its own, and is not asked.

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

        After an error there is no telling how much of it was sent. A non-blocking socket raises
        WantWriteError if it cannot send all of it at once.
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

    For code that carries the bytes itself: `process_incoming` and `read` in one. polytls's sockets
    and event loops do not ask a third party's buffer for it.
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

    For code that carries the bytes itself: `write` and `process_outgoing` in one. polytls's sockets
    and event loops do not ask a third party's buffer for it.
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
class SupportsSession(Protocol):
    """A socket or buffer whose session can be named for other connections to resume: FTPS.

    `connect`, `wrap_socket` and `create_buffer` of the same client's context take it as `session=`.

    No library verifies anything when it resumes. So before a session that is named is offered, its
    certificate chain gets the whole verdict (trust, name, validity, revocation, pins,
    `peer_verifier`) for the new connection's name at that moment. If the verdict is no, the call
    raises ValueError, with the CertificateVerificationError as its cause. ValueError as well for
    the session of another context, and for one of another name where names are not verified;
    TypeError for what is no session. Nothing has been sent by then, and no socket was connected or
    taken.

    The server may decline; the handshake is then a full one. So it is where nothing is left to be
    offered: no ticket has come, the session has ended, or the process was forked. A ticket that was
    not offered before is preferred; else the last one is offered again, without early data.
    """

    @property
    @abstractmethod
    def session(self) -> TLSSession | None:
        """The session of this connection.

        It is the same for all connections that resume it, and the tickets that any of them receives
        belong to it, so it can be taken as soon as the handshake is done. None before that, after
        a failure, on a server, on a listener, and where the context keeps no sessions. Known after
        closing, too.
        """
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
        It may be empty in TLS 1.2 and must not be in TLS 1.3 (RFC 8446 7.1).
        `context`: bytes that both sides know. None and `b""` are the same in TLS 1.3 (RFC 8446
        7.5), and two things in TLS 1.2. `length`: 1 to 8160.

        Raises ValueError for what is none of that or belongs to TLS itself; TLSError before the
        handshake is done, after a socket was closed, as that may wipe the keys, and in TLS 1.2
        without extended master secret (RFC 7627 5.4);
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
