"""`poplib` over TLS: STLS (RFC 2595) and POP3S (RFC 8314)."""

from __future__ import annotations

import poplib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..configuration import TLSClientConfiguration
from ..errors import TLSError
from ..interfaces import ClientContext
from .connections import Upgrade, begin
from .contexts import client_context
from .private import DEFAULT_TIMEOUT

__all__ = ["POP3", "POP3_SSL"]


class POP3(poplib.POP3):
    """`poplib.POP3`, whose `stls` uses polytls.

    A connection that fails, or that ends in TLS, raises `poplib.error_proto`, with the error as its
    cause.
    """

    #: Before and after there is a connection.
    sock: Any = None
    file: Any = None
    _failed = False

    def __init__(
        self, host: str, port: int = poplib.POP3_PORT, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        try:
            super().__init__(host, port, timeout)
        except BaseException:
            # If there is no greeting, nobody could close it.
            with suppress(OSError):
                self.close()
            raise

    def stls(  # type: ignore[override]  # `tls` instead of `context`
        self, tls: ClientContext | TLSClientConfiguration | None = None
    ) -> bytes:
        """Start TLS, and return the response to STLS; `capa` asks the server again each time.

        `tls`: a client context or configuration (`polytls.net`).

        Raises `poplib.error_proto` if the server does not offer STLS, or refuses. Raises
        PeerMisbehaved if the server sent more than the response, and what a handshake raises; the
        connection is then closed.
        """
        upgrade: Any = Upgrade(client_context(tls), lambda: self.file, self._lost)
        return super().stls(upgrade)

    def close(self) -> None:
        """Close the connection. If it has already failed, the error is not raised again."""
        try:
            super().close()
        except OSError:
            if not self._failed:
                raise

    def _lost(self) -> None:
        # Leaves nothing for `close` to close.
        self.file = self.sock = None

    def _getline(self) -> tuple[bytes, int]:
        with self._as_protocol_error():
            line: tuple[bytes, int] = super()._getline()  # type: ignore[misc]  # not in its types
            return line

    def _putline(self, line: bytes) -> None:
        with self._as_protocol_error():
            super()._putline(line)  # type: ignore[misc]  # not in its types

    @contextmanager
    def _as_protocol_error(self) -> Iterator[None]:
        try:
            yield
        except poplib.error_proto:
            self._failed = True
            raise
        except (TLSError, ConnectionError) as error:
            self._failed = True
            raise poplib.error_proto(f"-ERR {error}") from error


class POP3_SSL(POP3):
    """`poplib.POP3_SSL` over polytls: TLS from the start, on port 995.

    `tls`: a client context or configuration (`polytls.net`). Otherwise like `poplib.POP3`. A failed
    handshake raises what `polytls.TLSSocket` raises.
    """

    def __init__(
        self,
        host: str,
        port: int = poplib.POP3_SSL_PORT,
        timeout: float = DEFAULT_TIMEOUT,
        *,
        tls: ClientContext | TLSClientConfiguration | None = None,
    ) -> None:
        self._tls = client_context(tls)
        super().__init__(host, port, timeout)

    def stls(self, tls: Any = None) -> bytes:  # noqa: ARG002 - whatever it is
        """Raise `poplib.error_proto`: TLS has already started."""
        raise poplib.error_proto("-ERR TLS session already established")

    def _create_socket(self, timeout: float | None) -> Any:
        plain = super()._create_socket(timeout)  # type: ignore[misc]  # not in its types
        return begin(plain, self.host, self._tls)
