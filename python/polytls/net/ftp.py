"""`ftplib` over TLS (RFC 4217)."""

from __future__ import annotations

import ftplib
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

from ..configuration import TLSClientConfiguration
from ..errors import RaggedEOF
from ..interfaces import ClientContext, SupportsSession, SupportsUnwrap, TLSSocket
from .connections import begin, unread
from .contexts import client_context
from .private import DEFAULT_TIMEOUT

__all__ = ["FTP_TLS"]


class FTP_TLS(ftplib.FTP):
    """`ftplib.FTP_TLS` over polytls: `login` starts TLS, `prot_p` also protects data.

    `tls`: a client context or configuration (`polytls.net`). Otherwise like `ftplib.FTP`.

    Data connections verify the host name of the control connection, whatever address the server
    returns, and resume its session, which many servers require.

    A failed handshake raises what `polytls.TLSSocket` raises. A control connection that ends
    without close_notify raises EOFError, with `RaggedEOF` as its cause. Truncated data raises
    `RaggedEOF`, after everything that arrived was delivered.
    """

    sock: Any
    file: Any

    def __init__(
        self,
        host: str = "",
        user: str = "",
        passwd: str = "",
        acct: str = "",
        timeout: float | None = DEFAULT_TIMEOUT,
        source_address: tuple[str, int] | None = None,
        *,
        tls: ClientContext | TLSClientConfiguration | None = None,
        encoding: str = "utf-8",
    ) -> None:
        self._tls = client_context(tls)
        self._protects_data = False
        self._accept_truncated_end = False
        #: The session for data connections; known after CCC as well.
        self._session: Any = None
        try:
            super().__init__(host, user, passwd, acct, timeout, source_address, encoding=encoding)
        except BaseException:
            # Nobody could close it.
            with suppress(OSError):
                self.close()
            raise

    def __exit__(self, *raised: Any) -> None:
        """Log out and close the connection; an exception of the block is not replaced."""
        with nullcontext() if raised[0] is None else suppress(OSError):
            super().__exit__(*raised)

    def connect(self, *given: Any, **named: Any) -> str:
        """Connect to the server, in plaintext, and return its welcome message."""
        self._protects_data = False
        self._session = None
        return super().connect(*given, **named)

    def login(self, user: str = "", passwd: str = "", acct: str = "", secure: bool = True) -> str:
        """Log in, after securing the control connection; `secure` as in `ftplib.FTP_TLS`."""
        if secure and not isinstance(self.sock, TLSSocket):
            self.auth()
        return super().login(user, passwd, acct)

    def auth(self) -> str:
        """Start TLS on the control connection, and return the response to AUTH TLS.

        Raises `ftplib.Error` if the server refuses, ValueError if TLS has already started,
        PeerMisbehaved if the server sent more than the response, and what a handshake raises. In
        the last two cases the connection is closed.
        """
        if isinstance(self.sock, TLSSocket):
            raise ValueError("Already using TLS")
        answer = self.voidcmd("AUTH TLS")
        try:
            leftover = unread(self.sock, self.file)
            plain, self.sock = self.sock, None
            self.sock = begin(plain, self.host, self._tls, leftover=leftover)
        except BaseException:
            with suppress(OSError):
                self.close()
            raise
        self._read_from(self.sock)
        if isinstance(self.sock, SupportsSession):
            self._session = self.sock.session
        return answer

    def ccc(self) -> str:
        """Return the control connection to plaintext, and return the response to CCC.

        From then on, anyone on the path can read and change commands and responses. Raises
        ValueError if TLS has not started, and what `unwrap` of a socket raises.
        """
        if not isinstance(self.sock, TLSSocket) or not isinstance(self.sock, SupportsUnwrap):
            raise ValueError("not using TLS")
        answer = self.voidcmd("CCC")
        self.sock = self.sock.unwrap()
        self._read_from(self.sock)
        return answer

    def prot_p(self) -> str:
        """Protect data connections from now on, and return the response to PROT P.

        Raises `ftplib.Error` if the server refuses. ValueError before `auth`.
        """
        if self._session is None and not isinstance(self.sock, TLSSocket):
            raise ValueError("secure the control connection first: call auth or login")
        self.voidcmd("PBSZ 0")
        answer = self.voidcmd("PROT P")
        self._protects_data = True
        return answer

    def prot_c(self) -> str:
        """Leave data connections in plaintext from now on, and return the response to PROT C."""
        answer = self.voidcmd("PROT C")
        self._protects_data = False
        return answer

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[Any, int | None]:
        """Start a transfer, like `ftplib.FTP.ntransfercmd`, over TLS after `prot_p`."""
        data, size = super().ntransfercmd(cmd, rest)
        if not self._protects_data:
            return data, size
        secured = begin(
            data,
            self.host,
            self._tls,
            session=self._session,
            accept_truncated_end=self._accept_truncated_end,
        )
        return secured, size

    def retrbinary(
        self,
        cmd: str,
        callback: Callable[[bytes], object],
        blocksize: int = 8192,
        rest: int | str | None = None,
        *,
        accept_truncated_end: bool = False,
    ) -> str:
        """Retrieve data, like `ftplib.FTP.retrbinary`.

        `accept_truncated_end`: whether the data may end without close_notify; anyone on the path
        can then truncate it (docs/endings.md, "Truncated connections").
        """
        self._accept_truncated_end = accept_truncated_end
        try:
            return super().retrbinary(cmd, callback, blocksize, rest)
        finally:
            self._accept_truncated_end = False

    def retrlines(
        self,
        cmd: str,
        callback: Callable[[str], object] | None = None,
        *,
        accept_truncated_end: bool = False,
    ) -> str:
        """Like `ftplib.FTP.retrlines`; `accept_truncated_end` as in `retrbinary`."""
        self._accept_truncated_end = accept_truncated_end
        try:
            return super().retrlines(cmd, callback)
        finally:
            self._accept_truncated_end = False

    def getline(self) -> str:
        """Return a line from the server, like `ftplib.FTP.getline`."""
        try:
            return super().getline()
        except RaggedEOF as error:
            raise EOFError(str(error)) from error

    def abort(self) -> str:
        """Abort a transfer, like `ftplib.FTP_TLS.abort`: TLS has no urgent data."""
        self.putline("ABOR")
        answer = self.getmultiline()
        if answer[:3] not in ("426", "225", "226"):
            raise ftplib.error_proto(answer)  # noqa: S321 - an exception
        return answer

    def _read_from(self, sock: Any) -> None:
        self.file.close()
        self.file = sock.makefile("r", encoding=self.encoding)
