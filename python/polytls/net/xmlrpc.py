"""`xmlrpc.client` over TLS."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from ..configuration import TLSClientConfiguration
from ..interfaces import ClientContext
from .contexts import client_context
from .http import HTTPSConnection

__all__ = ["SafeTransport", "ServerProxy"]


class SafeTransport(xmlrpc.client.Transport):
    """`xmlrpc.client.SafeTransport` over polytls.

    `tls`: a client context or configuration (`polytls.net`).
    """

    def __init__(
        self,
        use_datetime: bool = False,
        use_builtin_types: bool = False,
        *,
        headers: Iterable[tuple[str, str]] = (),
        tls: ClientContext | TLSClientConfiguration | None = None,
    ) -> None:
        super().__init__(use_datetime, use_builtin_types, headers=headers)
        self._tls = client_context(tls)

    def make_connection(self, host: Any) -> HTTPSConnection:
        """Return the connection to `host`; the last one if it is to the same host."""
        known, connection = self._connection
        if connection is None or known != host:
            name, self._extra_headers, _ = self.get_host_info(host)
            connection = HTTPSConnection(name, tls=self._tls)
            self._connection = host, connection
        return connection  # type: ignore[return-value]


class ServerProxy(xmlrpc.client.ServerProxy):
    """`xmlrpc.client.ServerProxy` over polytls.

    `uri` must start with `https:`, otherwise ValueError.
    `tls`: a client context or configuration (`polytls.net`), if no `transport` is given; both raise
    ValueError.
    """

    def __init__(
        self,
        uri: str,
        transport: xmlrpc.client.Transport | None = None,
        encoding: str | None = None,
        verbose: bool = False,
        allow_none: bool = False,
        use_datetime: bool = False,
        use_builtin_types: bool = False,
        *,
        headers: Iterable[tuple[str, str]] = (),
        tls: ClientContext | TLSClientConfiguration | None = None,
    ) -> None:
        if urlsplit(uri).scheme != "https":
            raise ValueError(f"uri must begin with https: {uri!r}")
        if transport is None:
            transport = SafeTransport(use_datetime, use_builtin_types, headers=headers, tls=tls)
        elif tls is not None:
            raise ValueError("give tls to the transport")
        super().__init__(uri, transport, encoding, verbose, allow_none)
