"""`logging.handlers` over TLS: records go to HTTPS servers, mail servers, and sockets.

These handlers never send a record in plaintext: if TLS cannot start, `handleError` gets the error,
as in the standard handlers.
"""

from __future__ import annotations

import logging
import logging.handlers
from contextlib import suppress
from typing import Any

from ..configuration import TLSClientConfiguration
from ..errors import TLSError
from ..interfaces import ClientContext
from .connections import begin
from .contexts import client_context
from .http import HTTPResponse, HTTPSConnection
from .smtp import SMTP, SMTP_SSL

__all__ = ["HTTPHandler", "SMTPHandler", "SocketHandler"]


class HTTPHandler(logging.handlers.HTTPHandler):
    """`logging.handlers.HTTPHandler` to an HTTPS server.

    `tls`: a client context or configuration (`polytls.net`).
    `timeout`: of each request, in seconds. Otherwise like `logging.handlers`.
    """

    def __init__(
        self,
        host: str,
        url: str,
        method: str = "GET",
        credentials: tuple[str, str] | None = None,
        *,
        timeout: float | None = 5.0,
        tls: ClientContext | TLSClientConfiguration | None = None,
    ) -> None:
        super().__init__(host, url, method, secure=True, credentials=credentials)
        self._tls = client_context(tls)
        self._timeout = timeout

    def getConnection(self, host: str, secure: bool) -> HTTPSConnection:  # noqa: ARG002 - it is
        """Return a connection for one record."""
        return _OneRequest(host, timeout=self._timeout, tls=self._tls)


class _OneRequest(HTTPSConnection):
    """A connection that ends with its response: the handler looks at neither."""

    def getresponse(self) -> HTTPResponse:
        try:
            response = super().getresponse()
            response.close()
            return response
        finally:
            self.close()


class SMTPHandler(logging.handlers.SMTPHandler):
    """`logging.handlers.SMTPHandler` over TLS.

    `tls`: a client context or configuration (`polytls.net`).
    `implicit`: whether TLS starts with the connection (port 465 by default); otherwise it starts
    with STARTTLS (port 25 by default), and a server that does not offer STARTTLS gets no mail.
    Otherwise like `logging.handlers`.
    """

    def __init__(
        self,
        mailhost: str | tuple[str, int],
        fromaddr: str,
        toaddrs: str | list[str],
        subject: str,
        credentials: tuple[str, str] | None = None,
        timeout: float = 5.0,
        *,
        implicit: bool = False,
        tls: ClientContext | TLSClientConfiguration | None = None,
    ) -> None:
        super().__init__(mailhost, fromaddr, toaddrs, subject, credentials, timeout=timeout)
        self._tls = client_context(tls)
        self._implicit = implicit

    def emit(self, record: logging.LogRecord) -> None:
        """Send a mail about `record`."""
        try:
            import email.utils
            from email.message import EmailMessage

            message = EmailMessage()
            message["From"] = self.fromaddr
            message["To"] = ",".join(self.toaddrs)
            message["Subject"] = self.getSubject(record)
            message["Date"] = email.utils.localtime()
            message.set_content(self.format(record))
            with self._connected() as smtp:
                if self.username:
                    smtp.login(self.username, self.password)
                smtp.send_message(message)
        except Exception:
            self.handleError(record)

    def _connected(self) -> SMTP:
        host, port, timeout = self.mailhost, self.mailport or 0, self.timeout
        if self._implicit:
            return SMTP_SSL(host, port, timeout=timeout, tls=self._tls)
        smtp = SMTP(host, port, timeout=timeout)
        try:
            smtp.starttls(tls=self._tls)
        except BaseException:
            with suppress(OSError):
                smtp.close()
            raise
        return smtp


class SocketHandler(logging.handlers.SocketHandler):
    """`logging.handlers.SocketHandler` over TLS.

    `tls`: a client context or configuration (`polytls.net`).
    `server_hostname`: the name to verify, by default `host`; required if `port` is None and `host`
    is a path. If the server cannot be reached, records are lost silently, as in `logging.handlers`;
    a TLS failure is an error, at every attempt.
    """

    def __init__(
        self,
        host: str,
        port: int | None,
        *,
        server_hostname: str | None = None,
        tls: ClientContext | TLSClientConfiguration | None = None,
    ) -> None:
        if port is None and server_hostname is None:
            raise ValueError("server_hostname is required with a path")
        super().__init__(host, port)
        self._tls = client_context(tls)
        self._server_hostname = host if server_hostname is None else server_hostname
        self._refusal: TLSError | None = None

    def makeSocket(self, timeout: float = 1) -> Any:
        """Connect and do the handshake, `timeout` seconds for each."""
        self._refusal = None
        try:
            return begin(super().makeSocket(timeout), self._server_hostname, self._tls)
        except TLSError as error:
            self._refusal = error
            raise

    def createSocket(self) -> None:
        """Connect if it is time to; raise the error of a failed handshake."""
        super().createSocket()
        if self.sock is None and self._refusal is not None:
            error, self._refusal = self._refusal, None
            raise error

    def send(self, s: Any) -> None:
        """Send a record, or raise."""
        try:
            super().send(s)
        except OSError:
            # The error found when closing; nothing more can be sent over the connection.
            self.sock = None
            raise
