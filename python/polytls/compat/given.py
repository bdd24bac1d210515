"""PEP 748 contexts as `ssl.SSLContext`: where their connections come from.

If the Rust core drives the context, its engine serves all connections. Any other context creates a
`TLSBuffer` for each, which becomes the session of a connection.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import _native
from ..configuration import TLSClientConfiguration
from ..errors import ConfigurationError
from ..identity import Certificate, TrustStore
from ..interfaces import ClientContext, ServerContext
from .faults import Refused

__all__ = ["Given", "is_insecure"]


class Given:
    """A PEP 748 context, and the initial settings of its `ssl.SSLContext`."""

    def __init__(self, context: ClientContext | ServerContext, key: tuple[Any, ...]) -> None:
        self._context: Any = context
        self._engine = getattr(context, "_engine", None)
        self.key = key

    def client(self, name: str | None) -> _native.ClientEngine:
        """Return the engine for a client connection to `name`."""
        if isinstance(self._engine, _native.ClientEngine):
            return self._engine
        return _native.foreign_client(partial(self._context.create_buffer, name))

    def server(self) -> _native.ServerEngine:
        """Return the engine for server connections."""
        if isinstance(self._engine, _native.ServerEngine):
            return self._engine
        return _native.foreign_server(self._context.create_buffer, type(self._context).__name__)

    def suites(self) -> list[int]:
        """Return the cipher suites that a connection can negotiate, as far as the context reports
        them.
        """
        return [int(number) for number in getattr(self._context, "effective_ciphers", ())]

    def changed(self, alpn: tuple[bytes, ...] | None, trusted: list[bytes]) -> Given:
        """Return the same for a client with other protocols and more CAs."""
        if alpn is None and not trusted:
            return self
        configuration: TLSClientConfiguration = self._context.configuration
        if alpn is not None:
            configuration = configuration.replace(inner_protocols=alpn)
        if trusted:
            store = configuration.trust_store or TrustStore.system()
            if store.pins is not None:
                raise Refused(
                    "load_verify_locations on a PEP 748 context with pins, which exclude other "
                    "certificates; use another trust_store="
                )
            more = [*store.extra, *map(Certificate.from_buffer, trusted)]
            store = TrustStore(
                store.buffer,
                None if store.buffer is not None else store.path,
                extra=more,
                crls=store.crls,
                peers=store.peers,
                v1_authorities=store.v1_authorities,
            )
            configuration = configuration.replace(trust_store=store)
        insecure = (self._context.insecure_configuration,) if is_insecure(self._context) else ()
        try:
            made = type(self._context)(configuration, *insecure)
        except ConfigurationError as error:
            raise Refused(str(error)) from error
        return Given(made, self.key)


def is_insecure(context: object) -> bool:
    """Whether a context has protection disabled."""
    return "insecure_configuration" in dir(type(context))
