"""HTTPS: `http.client` and `http.server` over TLS (RFC 9110, RFC 9112).

Bodies are complete, or the response says that they are not. One with Content-Length or in chunks is
when all of it has come, whatever becomes of the connection. Any other ends with the connection, so
only the server's close_notify shows that nothing was cut off (RFC 9112 9.8).
"""

from __future__ import annotations

import http.client
import http.server
import io
import socket
from collections.abc import Callable
from contextlib import suppress
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..configuration import TLSClientConfiguration
from ..errors import RaggedEOF
from ..interfaces import ClientContext
from .connections import begin
from .contexts import client_context
from .private import DEFAULT_TIMEOUT
from .socketserver import OneAtATimeMixIn, TLSMixIn

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["HTTPResponse", "HTTPSConnection", "HTTPSServer", "ThreadingHTTPSServer"]

_Result = TypeVar("_Result")


class HTTPResponse(http.client.HTTPResponse):
    """A response that never passes a part of its body for all of it.

    As `http.client.HTTPResponse`, but that every method that reads raises `IncompleteRead` where
    the body ends early, and the exception has the TLS error as its cause. `read()` without an
    amount gives what has come as the exception's `partial`; the other methods have returned it
    before.
    """

    #: Whether a body that only the end of the connection ends may end without close_notify.
    accepts_truncated_end: ClassVar[bool] = False

    def __init__(
        self,
        sock: Any,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
    ) -> None:
        self._transport = _Transport(sock)
        self._incomplete: IncompleteRead | None = None
        super().__init__(self._transport, debuglevel, method, url)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Read status and headers.

        Raises RemoteDisconnected if the connection ended before the status, and IncompleteRead if
        it ended before the empty line that ends the headers.
        """
        try:
            super().begin()
        except http.client.HTTPException as error:
            if self._transport.ragged is None:
                raise
            raise error from self._transport.ragged
        if self._transport.ended:
            # Only what asks for another line gets there.
            raise IncompleteRead(b"") from self._transport.ragged

    def read(self, amt: int | None = None) -> bytes:
        """Return up to `amt` bytes of the body, or all of it."""
        return self._checked(super().read, amt)

    def read1(self, n: int = -1) -> bytes:
        """Return up to `n` bytes of the body, of one system call."""
        return self._checked(super().read1, n)

    def readinto(self, b: Buffer) -> int:
        """Fill `b`; return how many bytes that were."""
        return self._checked(super().readinto, b)

    def readline(self, limit: int | None = -1) -> bytes:
        """Return the next line of the body, or up to `limit` bytes of it."""
        return self._checked(super().readline, -1 if limit is None else limit)

    def _checked(self, call: Callable[..., _Result], given: object) -> _Result:
        if self._incomplete is not None:
            raise IncompleteRead(b"", self._incomplete.expected) from self._incomplete.__cause__
        if self.isclosed():
            return call(given)
        try:
            got = call(given)
        except IncompleteRead as error:
            if isinstance(error.__cause__, IncompleteRead):
                # The chunks that were whole; what came of another one is in its cause.
                error.partial += error.__cause__.partial
            self._incomplete = error
            raise error from self._transport.ragged
        if self.isclosed() and self._is_cut():
            partial = got if isinstance(got, bytes) else b""
            self._incomplete = IncompleteRead(partial, self.length)
            raise self._incomplete from self._transport.ragged
        return got

    def _is_cut(self) -> bool:
        """Whether the body, of which no more comes, is less than it should be."""
        if self.length is not None and not self.chunked:
            return self.length > 0
        # The chunk of length 0 may be the beginning of another length.
        unended = self.chunked or not self.accepts_truncated_end
        return unended and self._transport.ragged is not None


class _TruncatableResponse(HTTPResponse):
    accepts_truncated_end = True


class _ProxyResponse(http.client.HTTPResponse):
    """A proxy's answer to CONNECT: not a byte behind it is read."""

    def __init__(self, sock: Any, *given: Any, **named: Any) -> None:
        super().__init__(_Unbuffered(sock), *given, **named)  # type: ignore[arg-type]


class _Unbuffered:
    def __init__(self, sock: Any) -> None:
        self._stream = sock

    def makefile(self, mode: str) -> Any:
        return self._stream.makefile(mode, 0)


class _Transport(io.RawIOBase):
    """What a response is read from: one that ends without close_notify ends, and says so later.

    Otherwise the data that was read with the end would be lost.
    """

    def __init__(self, sock: Any) -> None:
        #: Keeps the socket open, as long as this is.
        self._held: io.RawIOBase = sock.makefile("rb", 0)
        self._receive: Callable[[Buffer], int] = sock.recv_into
        self._late: TimeoutError | None = None
        self.ended = False
        self.ragged: RaggedEOF | None = None

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - "rb", of the response
        """Return the file that the response reads; it is a response's only use for a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        if self._late is not None:
            # What was read of a line before is lost.
            raise OSError("cannot read from a response that has timed out") from self._late
        try:
            count = self._receive(buffer)
        except RaggedEOF as error:
            self.ragged = error
            count = 0
        except TimeoutError as error:
            self._late = error
            raise
        if not count:
            self.ended = True
        return count

    def fileno(self) -> int:
        return self._held.fileno()

    def close(self) -> None:
        try:
            self._held.close()
        finally:
            super().close()


class HTTPSConnection(http.client.HTTPConnection):
    """`http.client.HTTPSConnection` over TLS of polytls.

    `tls`: a client's context or configuration (`polytls.net`). `proxy_tls`: the same for the proxy
    of `set_tunnel`, where that is an HTTPS proxy: the connection to it is TLS, and TLS with the
    server runs inside. None: the proxy is asked in plaintext, as HTTP proxies expect.
    `accept_truncated_end`: whether a body with neither Content-Length nor chunks may end without
    close_notify; anyone on the path can then cut it off (docs/sockets.md, "Truncated connections").
    It ends the connection, so it is the last response of this connection that this is about.

    The other arguments, and what is raised, are those of `http.client.HTTPConnection`. A handshake
    that fails raises what `polytls.TLSSocket` raises.
    """

    default_port = http.client.HTTPS_PORT
    response_class: Any = HTTPResponse
    _tunnel_host: str | None

    def __init__(
        self,
        host: str,
        port: int | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        source_address: tuple[str, int] | None = None,
        blocksize: int = 8192,
        *,
        tls: ClientContext | TLSClientConfiguration | None = None,
        proxy_tls: ClientContext | TLSClientConfiguration | None = None,
        accept_truncated_end: bool = False,
    ) -> None:
        super().__init__(host, port, timeout, source_address, blocksize)
        self._tls_context = client_context(tls)
        self._proxy_tls_context = None if proxy_tls is None else client_context(proxy_tls)
        self._create_connection = self._dial
        if accept_truncated_end:
            self.response_class = _TruncatableResponse

    def connect(self) -> None:
        """Connect, to the proxy if there is one, and do the handshake with the server."""
        try:
            self._connect_below()
            self.sock = begin(self.sock, self._tunnel_host or self.host, self._tls_context)
        except BaseException:
            # What was connected must not pass for a connection with the server.
            with suppress(OSError):
                self.close()
            raise

    def getresponse(self) -> HTTPResponse:
        """Return the response; IncompleteRead, and the connection closed, if it has no headers."""
        try:
            response: HTTPResponse = super().getresponse()  # type: ignore[assignment]
        except IncompleteRead:
            self.close()
            raise
        return response

    def _connect_below(self) -> None:
        usual, self.response_class = self.response_class, _ProxyResponse
        try:
            super().connect()
        finally:
            self.response_class = usual

    def _dial(self, *given: Any) -> Any:
        sock = socket.create_connection(*given)
        if self._tunnel_host and self._proxy_tls_context is not None:
            return begin(sock, self.host, self._proxy_tls_context)
        return sock


class HTTPSServer(TLSMixIn, OneAtATimeMixIn, http.server.HTTPServer):
    """`http.server.HTTPServer` over TLS: one request at a time.

    `tls`: a server's context or configuration; `polytls.net.socketserver.TLSMixIn` has the rest.
    """


class ThreadingHTTPSServer(TLSMixIn, http.server.ThreadingHTTPServer):
    """`http.server.ThreadingHTTPServer` over TLS: a thread for each connection.

    `tls`: a server's context or configuration; `polytls.net.socketserver.TLSMixIn` has the rest.
    """
