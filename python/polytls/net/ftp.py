"""`ftplib` over TLS (RFC 4217)."""

from __future__ import annotations

import ftplib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..configuration import TLSClientConfiguration
from ..errors import RaggedEOF
from ..interfaces import ClientContext, SupportsSession, SupportsUnwrap, TLSSocket
from .connections import begin, unread
from .contexts import client_context
from .private import DEFAULT_TIMEOUT

__all__ = ["FTP_TLS"]


class FTP_TLS(ftplib.FTP):
    """`ftplib.FTP_TLS` over TLS of polytls: `login` begins TLS, `prot_p` protects data as well.

    `tls`: a client's context or configuration (`polytls.net`). The rest is as for `ftplib.FTP`.

    Data connections verify the name that the control connection does, wherever the server says that
    they lead, and resume its session, which many servers ask for.

    A handshake that fails raises what `polytls.TLSSocket` raises. A control connection that ends
    without close_notify is EOFError, with `RaggedEOF` as its cause, and data that is cut off is
    `RaggedEOF`, after all that came was handed over.
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
        #: What the control connection is to be resumed by; known after CCC as well.
        self._session: Any = None
        try:
            super().__init__(host, user, passwd, acct, timeout, source_address, encoding=encoding)
        except BaseException:
            # Nobody could close it.
            with suppress(OSError):
                self.close()
            raise

    def connect(self, *given: Any, **named: Any) -> str:
        """Connect to the server, in plaintext, and return its welcome."""
        self._protects_data = False
        self._session = None
        return super().connect(*given, **named)

    def login(self, user: str = "", passwd: str = "", acct: str = "", secure: bool = True) -> str:
        """Log in, once the control connection is protected; `secure` as in `ftplib.FTP_TLS`."""
        if secure and not isinstance(self.sock, TLSSocket):
            self.auth()
        return super().login(user, passwd, acct)

    def auth(self) -> str:
        """Begin TLS on the control connection, and return the answer to AUTH TLS.

        Raises `ftplib.Error` if the server says no, ValueError if TLS has begun. PeerMisbehaved if
        more than the answer came, and what a handshake raises; the connection is closed then.
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
        """Go back to plaintext on the control connection, and return the answer to CCC.

        Whoever is on the path can read and change commands and answers from then on. Raises
        ValueError if TLS has not begun, and what `unwrap` of a socket does.
        """
        if not isinstance(self.sock, TLSSocket) or not isinstance(self.sock, SupportsUnwrap):
            raise ValueError("not using TLS")
        answer = self.voidcmd("CCC")
        self.sock = self.sock.unwrap()
        self._read_from(self.sock)
        return answer

    def prot_p(self) -> str:
        """Protect data connections from now on, and return the answer to PROT P.

        Raises `ftplib.Error` if the server says no. ValueError before `auth`.
        """
        if self._session is None and not isinstance(self.sock, TLSSocket):
            raise ValueError("secure the control connection first: call auth or login")
        self.voidcmd("PBSZ 0")
        answer = self.voidcmd("PROT P")
        self._protects_data = True
        return answer

    def prot_c(self) -> str:
        """Leave data connections in plaintext from now on, and return the answer to PROT C."""
        answer = self.voidcmd("PROT C")
        self._protects_data = False
        return answer

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[Any, int | None]:
        """Begin a transfer, as `ftplib.FTP.ntransfercmd`, over TLS after `prot_p`."""
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
        """Retrieve data, as `ftplib.FTP.retrbinary`.

        `accept_truncated_end`: whether it may end without close_notify; anyone on the path can then
        cut it off (docs/sockets.md, "Truncated connections").
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
        """Retrieve lines, as `ftplib.FTP.retrlines`; `accept_truncated_end` as in `retrbinary`."""
        self._accept_truncated_end = accept_truncated_end
        try:
            return super().retrlines(cmd, callback)
        finally:
            self._accept_truncated_end = False

    def getline(self) -> str:
        """Return a line of the server's, as `ftplib.FTP.getline`."""
        try:
            return super().getline()
        except RaggedEOF as error:
            raise EOFError(str(error)) from error

    def abort(self) -> str:
        """Abort a transfer, as `ftplib.FTP_TLS.abort`: TLS has no urgent data."""
        self.putline("ABOR")
        answer = self.getmultiline()
        if answer[:3] not in ("426", "225", "226"):
            raise ftplib.error_proto(answer)  # noqa: S321 - an exception
        return answer

    def _read_from(self, sock: Any) -> None:
        self.file.close()
        self.file = sock.makefile("r", encoding=self.encoding)
