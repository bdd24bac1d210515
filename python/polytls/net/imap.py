"""`imaplib` over TLS: STARTTLS (RFC 9051 6.2.1) and IMAPS (RFC 8314)."""

from __future__ import annotations

import imaplib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from ..configuration import TLSClientConfiguration
from ..errors import TLSError
from ..interfaces import ClientContext
from .connections import Upgrade, begin, caused
from .contexts import client_context

__all__ = ["IMAP4", "IMAP4_SSL"]

#: From Python 3.14 on, `imaplib` reads from its socket, not from a file.
_READS_BY_ITSELF: Final = sys.version_info >= (3, 14)

#: The port for IMAPS.
_PORT: Final = 993


class IMAP4(imaplib.IMAP4):
    """`imaplib.IMAP4`, whose `starttls` uses polytls.

    A connection that fails, or that ends in TLS, raises `IMAP4.abort`, with the error as its cause.
    """

    sock: Any
    file: Any
    _file: Any
    _readbuf: list[bytes]

    def starttls(self, tls: ClientContext | TLSClientConfiguration | None = None) -> Any:
        """Start TLS, and request the server's capabilities again; return the response to STARTTLS.

        `tls`: a client context or configuration (`polytls.net`).

        Raises `IMAP4.abort` if the server does not offer STARTTLS, and `IMAP4.error` if it refuses,
        or if it greeted with PREAUTH, after which STARTTLS is not possible: a server that expects
        STARTTLS does not send that greeting, but an attacker on the path might. Raises
        PeerMisbehaved if the server sent more than the response, and what a handshake raises; the
        connection is then closed.
        """
        if "PREAUTH" in self.untagged_responses:
            raise self.error(
                "the server greeted with PREAUTH, so STARTTLS is not possible; unless the server "
                "is configured this way, an attacker on the path is keeping the connection in "
                "plaintext"
            )
        upgrade: Any = Upgrade(
            client_context(tls), self._plain_file, self._lost, received=self._received
        )
        return super().starttls(upgrade)

    def logout(self) -> Any:
        """Log out and close the connection, like `imaplib.IMAP4.logout`, whatever the response."""
        try:
            return super().logout()
        except self.abort:
            with suppress(OSError):
                self.shutdown()
            raise

    def read(self, size: int) -> bytes:
        """Read `size` bytes, like `imaplib.IMAP4.read`."""
        with self._aborting():
            return super().read(size)

    def readline(self) -> bytes:
        """Read a line, like `imaplib.IMAP4.readline`."""
        with self._aborting():
            return super().readline()

    def send(self, data: Any) -> None:
        """Send `data`, like `imaplib.IMAP4.send`."""
        with self._aborting():
            super().send(data)

    def _simple_command(self, name: str, *args: Any) -> Any:
        with caused():
            return super()._simple_command(name, *args)  # type: ignore[misc]  # not in its types

    @contextmanager
    def _aborting(self) -> Iterator[None]:
        try:
            yield
        except (TLSError, ConnectionError) as error:
            raise self.abort(f"socket error: {error}") from error

    def _plain_file(self) -> Any:
        # Anything that arrived in plaintext, including capabilities, may come from an attacker.
        self.untagged_responses.clear()
        return self._file if _READS_BY_ITSELF else self.file

    def _received(self) -> bytes:
        # Python 3.14 stores it here.
        return b"".join(self._readbuf) if _READS_BY_ITSELF else b""

    def _lost(self) -> None:
        # Leaving `with` then does nothing.
        self.state = "LOGOUT"


class IMAP4_SSL(IMAP4):
    """`imaplib.IMAP4_SSL` over polytls: TLS from the start, on port 993.

    `tls`: a client context or configuration (`polytls.net`). Otherwise like `imaplib.IMAP4`. A
    failed handshake raises what `polytls.TLSSocket` raises.
    """

    def __init__(
        self,
        host: str = "",
        port: int = _PORT,
        timeout: float | None = None,
        *,
        tls: ClientContext | TLSClientConfiguration | None = None,
    ) -> None:
        self._tls = client_context(tls)
        super().__init__(host, port, timeout)

    def open(self, host: str = "", port: int = _PORT, timeout: float | None = None) -> None:
        """Connect to the server, on port 993 by default."""
        super().open(host, port, timeout)

    def starttls(self, tls: Any = None) -> Any:  # noqa: ARG002 - whatever it is
        """Raise `IMAP4.abort`: TLS has already started."""
        raise self.abort("TLS session already established")

    def _create_socket(self, timeout: float | None) -> Any:
        plain = super()._create_socket(timeout)  # type: ignore[misc]  # not in its types
        return begin(plain, self.host or "localhost", self._tls)
