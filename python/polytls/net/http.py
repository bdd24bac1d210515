"""HTTPS: `http.client` and `http.server` over TLS (RFC 9110, RFC 9112).

A response body is complete, or the response raises an error. A body with Content-Length or in
chunks is complete when all of it has arrived, whatever happens to the connection. Any other body
ends with the connection, so only the server's close_notify shows that it is not truncated (RFC 9112
9.8).
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
    """A response that never presents a partial body as a complete one.

    Like `http.client.HTTPResponse`, except that every method that reads raises `IncompleteRead` if
    the body ends early, with the TLS error as its cause. For `read()` without an amount, the
    exception's `partial` contains what arrived; the other methods have already returned it.
    """

    #: Whether a body that ends with the connection may end without close_notify.
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
        """Read the status and headers.

        Raises RemoteDisconnected if the connection ended before the status, and IncompleteRead if
        it ended before the empty line after the headers.
        """
        try:
            super().begin()
        except http.client.HTTPException as error:
            if self._transport.ragged is None:
                raise
            raise error from self._transport.ragged
        if self._transport.ended:
            # Only reached if another line is requested.
            raise IncompleteRead(b"") from self._transport.ragged

    def read(self, amt: int | None = None) -> bytes:
        """Return up to `amt` bytes of the body, or all of it."""
        return self._checked(super().read, amt)

    def read1(self, n: int = -1) -> bytes:
        """Return up to `n` bytes of the body, with one system call."""
        return self._checked(super().read1, n)

    def readinto(self, b: Buffer) -> int:
        """Fill `b`; return the number of bytes."""
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
                # The complete chunks; its cause contains the part of another one.
                error.partial += error.__cause__.partial
            self._incomplete = error
            raise error from self._transport.ragged
        if self.isclosed() and self._is_cut():
            partial = got if isinstance(got, bytes) else b""
            self._incomplete = IncompleteRead(partial, self.length)
            raise self._incomplete from self._transport.ragged
        return got

    def _is_cut(self) -> bool:
        """Whether the body has ended, and is shorter than it should be."""
        if self.length is not None and not self.chunked:
            return self.length > 0
        # The chunk of length 0 may be the start of another length.
        unended = self.chunked or not self.accepts_truncated_end
        return unended and self._transport.ragged is not None


class _TruncatableResponse(HTTPResponse):
    accepts_truncated_end = True


class _ProxyResponse(http.client.HTTPResponse):
    """A proxy's response to CONNECT: nothing after it is read."""

    def __init__(self, sock: Any, *given: Any, **named: Any) -> None:
        super().__init__(_Unbuffered(sock), *given, **named)  # type: ignore[arg-type]


class _Unbuffered:
    def __init__(self, sock: Any) -> None:
        self._stream = sock

    def makefile(self, mode: str) -> Any:
        return self._stream.makefile(mode, 0)


class _Transport(io.RawIOBase):
    """The file that a response reads from. If it ends without close_notify, it reports that later.

    Otherwise the data that was read together with the end would be lost.
    """

    def __init__(self, sock: Any) -> None:
        #: Keeps the socket open as long as this object exists.
        self._held: io.RawIOBase = sock.makefile("rb", 0)
        self._receive: Callable[[Buffer], int] = sock.recv_into
        self._late: TimeoutError | None = None
        self.ended = False
        self.ragged: RaggedEOF | None = None
        self._failed = False

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - "rb", of the response
        """Return the file that the response reads; a response only uses its socket for this."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        if self._late is not None:
            # The part of a line that was read before is lost.
            raise OSError("cannot read from a response that has timed out") from self._late
        try:
            count = self._receive(buffer)
        except RaggedEOF as error:
            self.ragged = error
            count = 0
        except TimeoutError as error:
            self._late = error
            raise
        except OSError:
            self._failed = True
            raise
        if not count:
            self.ended = True
        return count

    def fileno(self) -> int:
        return self._held.fileno()

    def close(self) -> None:
        try:
            self._held.close()
        except OSError:
            # That a request did not arrive is no news after that, and would take its place.
            if not self.ended and not self._failed:
                raise
        finally:
            super().close()


class HTTPSConnection(http.client.HTTPConnection):
    """`http.client.HTTPSConnection` over polytls.

    `tls`: a client context or configuration (`polytls.net`).
    `proxy_tls`: the same for the proxy of `set_tunnel`, if it is an HTTPS proxy: the connection to
    it uses TLS, with TLS to the server inside. None: the connection to the proxy is plaintext, as
    HTTP proxies expect.
    `accept_truncated_end`: whether a body with neither Content-Length nor chunks may end without
    close_notify; anyone on the path can then truncate it (docs/endings.md, "Truncated
    connections"). Such a body ends the connection, so this concerns one response.

    The other arguments, and exceptions, are those of `http.client.HTTPConnection`. A failed
    handshake raises what `polytls.TLSSocket` raises.
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
            # A partial connection must not pass for a connection to the server.
            with suppress(OSError):
                self.close()
            raise

    def getresponse(self) -> HTTPResponse:
        """Return the response; without headers, close the connection and raise IncompleteRead."""
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

    `tls`: a server context or configuration; see `polytls.net.socketserver.TLSMixIn`.
    """


class ThreadingHTTPSServer(TLSMixIn, http.server.ThreadingHTTPServer):
    """`http.server.ThreadingHTTPServer` over TLS: a thread for each connection.

    `tls`: a server context or configuration; see `polytls.net.socketserver.TLSMixIn`.
    """
