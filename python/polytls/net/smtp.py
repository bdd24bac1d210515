"""`smtplib` over TLS: STARTTLS (RFC 3207), SMTPS (RFC 8314), LMTP."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..configuration import TLSClientConfiguration
from ..interfaces import ClientContext
from .connections import Upgrade, begin, caused
from .contexts import client_context
from .private import DEFAULT_TIMEOUT

__all__ = ["LMTP", "SMTP", "SMTP_SSL"]


class SMTP(smtplib.SMTP):
    """`smtplib.SMTP`, whose `starttls` uses polytls.

    A connection that ends or fails raises SMTPServerDisconnected, with the error as its cause.
    """

    sock: Any
    file: Any
    _failing: bool = False

    def starttls(  # type: ignore[override]  # `tls` instead of `context`
        self,
        *,
        tls: ClientContext | TLSClientConfiguration | None = None,
        server_hostname: str | None = None,
    ) -> tuple[int, bytes]:
        """Start TLS, and request the server's capabilities again; return the response to STARTTLS.

        `tls`: a client context or configuration (`polytls.net`).
        `server_hostname`: the name to verify, by default the host that was connected to; required
        over a Unix socket.

        Raises SMTPNotSupportedError if the server does not offer STARTTLS, and
        SMTPResponseException if it refuses; nothing else was sent in plaintext. Raises
        PeerMisbehaved if the server, or an attacker on the path, sent more than the response, and
        what a handshake raises; the connection is then closed.
        """
        upgrade: Any = Upgrade(client_context(tls), lambda: self.file, self.close, server_hostname)
        answer: tuple[int, bytes] = super().starttls(context=upgrade)
        self.ehlo_or_helo_if_needed()
        return answer

    def getreply(self) -> tuple[int, bytes]:
        """Return the server's next reply, like `smtplib.SMTP.getreply`."""
        with caused(), self._ending():
            return super().getreply()

    def send(self, s: Any) -> None:
        """Send to the server, like `smtplib.SMTP.send`."""
        with caused(), self._ending():
            super().send(s)

    def close(self) -> None:
        """Close the connection. If it has already failed, the error is not raised again."""
        try:
            super().close()
        except OSError:
            if not self._failing:
                raise

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """`smtplib` closes a connection that fails or ends before it says so."""
        self._failing = True
        try:
            yield
        finally:
            self._failing = False

    def _get_socket(self, host: str, port: int, timeout: float | None) -> Any:
        # `smtplib` only remembers the host that its constructor was given.
        self._host = host
        return super()._get_socket(host, port, timeout)  # type: ignore[misc]  # not in its types


class SMTP_SSL(SMTP):
    """`smtplib.SMTP_SSL` over polytls: TLS from the start, on port 465.

    `tls`: a client context or configuration (`polytls.net`). Otherwise like `smtplib.SMTP`. A
    failed handshake raises what `polytls.TLSSocket` raises.
    """

    default_port = smtplib.SMTP_SSL_PORT

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        source_address: tuple[str, int] | None = None,
        *,
        tls: ClientContext | TLSClientConfiguration | None = None,
    ) -> None:
        self._tls = client_context(tls)
        super().__init__(host, port, local_hostname, timeout, source_address)

    def starttls(  # type: ignore[override]
        self,
        **given: Any,  # noqa: ARG002 - whatever it is
    ) -> tuple[int, bytes]:
        """Raise SMTPNotSupportedError: TLS has already started."""
        raise smtplib.SMTPNotSupportedError("the connection already uses TLS")

    def _get_socket(self, host: str, port: int, timeout: float | None) -> Any:
        return begin(super()._get_socket(host, port, timeout), host, self._tls)


class LMTP(SMTP, smtplib.LMTP):
    """`smtplib.LMTP`, whose `starttls` uses polytls, like that of `SMTP`."""
