"""PEP 748 on the standard library's `ssl`, with the OpenSSL that Python was built with.

Contexts read files and create `ssl.SSLContext`s from their configuration, once; the Rust core
creates connections from those (crates/python/src/ssl).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

from ... import _native
from ...configuration import TLSClientConfiguration, TLSServerConfiguration
from ...errors import ConfigurationError
from ...info import SessionStatistics
from ...interfaces import TLSImplementation
from ...interfaces.insecure import InsecureTLSImplementation
from ..contexts import Client, InsecureClient, InsecureServer, Server
from .refusals import NAME
from .settings import CAPABILITIES, opened, validate

if TYPE_CHECKING:
    from ...streams import StreamSocket  # noqa: F401 - in a base, as a string

if "compatible; polytls" in ssl.OPENSSL_VERSION:
    raise ConfigurationError(
        "this Python has no OpenSSL: its ssl is polytls (polytls.compat.provide); use rustls",
        implementation=NAME,
    )

__all__ = [
    "CAPABILITIES",
    "IMPLEMENTATION",
    "INSECURE_IMPLEMENTATION",
    "StdlibClientContext",
    "StdlibInsecureClientContext",
    "StdlibInsecureServerContext",
    "StdlibServerContext",
    "validate_config",
]


def validate_config(configuration: TLSClientConfiguration | TLSServerConfiguration) -> None:
    """Refuse what this implementation does not support, as far as that is known without files.

    Raises ConfigurationError with the field, and TypeError for anything but a configuration.
    """
    validate(configuration)


class StdlibClientContext(Client[_native.TLSBuffer, "StreamSocket"]):
    __slots__ = ()
    __doc__ = Client.__doc__

    def _open(self) -> None:
        self._engine = _native.ssl_client(*opened(self._configuration, self._insecure))


class StdlibServerContext(Server[_native.TLSBuffer, "StreamSocket"]):
    __slots__ = ()
    __doc__ = Server.__doc__

    def _open(self) -> None:
        self._engine = _native.ssl_server(*opened(self._configuration, self._insecure))

    @property
    def statistics(self) -> SessionStatistics:
        """Counts of its connections; `ssl` does not report what happens to tickets."""
        counts: dict[str, int | None] = dict(self._engine.statistics())
        return SessionStatistics(**counts | dict.fromkeys(("stored", "hits", "misses")))


class StdlibInsecureClientContext(
    InsecureClient[_native.TLSBuffer, "StreamSocket"], StdlibClientContext
):
    __slots__ = ()
    __doc__ = InsecureClient.__doc__


class StdlibInsecureServerContext(
    InsecureServer[_native.TLSBuffer, "StreamSocket"], StdlibServerContext
):
    __slots__ = ()
    __doc__ = InsecureServer.__doc__


_FACTS: Final[dict[str, Any]] = {
    "name": NAME,
    "version": f"ssl, {' '.join(ssl.OPENSSL_VERSION.split()[:2])}",
    "capabilities": CAPABILITIES,
}

IMPLEMENTATION: Final = TLSImplementation(
    StdlibClientContext, StdlibServerContext, validate_config, **_FACTS
)

INSECURE_IMPLEMENTATION: Final = InsecureTLSImplementation(
    StdlibClientContext,
    StdlibServerContext,
    validate_config,
    StdlibInsecureClientContext,
    StdlibInsecureServerContext,
    **_FACTS,
)
