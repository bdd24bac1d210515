"""`nntplib` over TLS: STARTTLS and NNTPS (RFC 4642, RFC 8143). Up to Python 3.12."""

from __future__ import annotations

import warnings
from contextlib import nullcontext, suppress
from typing import Any

from ..configuration import TLSClientConfiguration
from ..errors import RaggedEOF
from ..interfaces import ClientContext
from .connections import Upgrade, begin
from .contexts import client_context
from .private import DEFAULT_TIMEOUT

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        import nntplib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "polytls.net.nntp needs nntplib, which Python 3.13 removed (PEP 594)",
            name=error.name,
        ) from None

__all__ = ["NNTP", "NNTP_SSL"]


class NNTP(nntplib.NNTP):
    """`nntplib.NNTP`, whose `starttls` uses polytls.

    A TLS connection that ends without close_notify raises EOFError, with `RaggedEOF` as its cause.
    """

    sock: Any
    file: Any

    def starttls(  # type: ignore[override]  # `tls` instead of `context`
        self, tls: ClientContext | TLSClientConfiguration | None = None
    ) -> None:
        """Start TLS, and request the server's capabilities again.

        `tls`: a client context or configuration (`polytls.net`).

        Raises `nntplib.NNTPError` if the server refuses. Raises PeerMisbehaved if the server sent
        more than the response, and what a handshake raises; the connection is then closed.
        """
        # `nntplib` closes its file before it starts TLS; what the file has read ahead is needed
        # then.
        kept = _Kept(self.file)
        self.file = kept
        upgrade: Any = Upgrade(client_context(tls), lambda: kept.file, self._lost)
        try:
            super().starttls(upgrade)
        finally:
            if getattr(self, "file", None) is kept:
                self.file = kept.file

    def __exit__(self, *raised: Any) -> None:
        """Log out and close the connection; an exception of the block is not replaced."""
        with nullcontext() if raised[0] is None else suppress(OSError):
            super().__exit__(*raised)

    def _lost(self) -> None:
        # Leaving `with` then sends no QUIT.
        del self.file

    def _getline(self, strip_crlf: bool = True) -> bytes:
        try:
            line: bytes = super()._getline(strip_crlf)  # type: ignore[misc]  # not in its types
        except RaggedEOF as error:
            raise EOFError(str(error)) from error
        return line


class NNTP_SSL(NNTP):
    """`nntplib.NNTP_SSL` over polytls: TLS from the start, on port 563.

    `tls`: a client context or configuration (`polytls.net`). Otherwise like `nntplib.NNTP`. A
    failed handshake raises what `polytls.TLSSocket` raises.
    """

    def __init__(
        self,
        host: str,
        port: int = nntplib.NNTP_SSL_PORT,
        user: str | None = None,
        password: str | None = None,
        readermode: bool | None = None,
        usenetrc: bool = False,
        timeout: float | None = DEFAULT_TIMEOUT,
        *,
        tls: ClientContext | TLSClientConfiguration | None = None,
    ) -> None:
        self._tls = client_context(tls)
        super().__init__(host, port, user, password, readermode, usenetrc, timeout)  # type: ignore[arg-type]
        self.tls_on = True

    def _create_socket(self, timeout: float | None) -> Any:
        plain = super()._create_socket(timeout)  # type: ignore[misc]  # not in its types
        return begin(plain, self.host, self._tls)


class _Kept:
    """A file that ignores `close`."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def close(self) -> None:
        """Stay open."""
