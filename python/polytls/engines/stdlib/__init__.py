"""PEP 748 on the standard library's `ssl`, with whatever OpenSSL Python was built with.

Contexts read files and make `ssl.SSLContext`s of their configuration, once; the Rust core makes
connections of those (crates/python/src/ssl).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ... import _native
from ...configuration import TLSClientConfiguration, TLSServerConfiguration
from ...constants import TLSVersion
from ...info import SessionStatistics
from ...insecure import InsecureTLSImplementation
from ...interfaces import TLSImplementation
from ..contexts import InsecureClient, InsecureServer
from ..native import NativeClient, NativeServer
from .credentials import NAME, identity_of
from .settings import CAPABILITIES, Settings, effective, new_context, validate

if TYPE_CHECKING:
    from ...streams import StreamSocket  # noqa: F401 - in a base, as a string

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
    """Refuse what this implementation cannot honour, as far as is known without files.

    Raises ConfigurationError with the field, TypeError if the configuration is none.
    """
    validate(configuration)


class StdlibClientContext(NativeClient[_native.TLSBuffer, "StreamSocket"]):
    __slots__ = ()
    __doc__ = NativeClient.__doc__

    def _open(self) -> None:
        configuration, insecure = self._configuration, self._insecure
        settings = Settings.of(configuration, insecure)
        chain = configuration.certificate_chain
        identities = [] if chain is None else [identity_of(chain)]
        self._engine = _native.ssl_client(
            partial(new_context, settings, identities),
            effective(settings, configuration, insecure),
            not (insecure and insecure.disable_hostname_check),
        )


class StdlibServerContext(NativeServer[_native.TLSBuffer, "StreamSocket"]):
    __slots__ = ()
    __doc__ = NativeServer.__doc__

    def _open(self) -> None:
        configuration, insecure = self._configuration, self._insecure
        settings = Settings.of(configuration, insecure)
        identities = [identity_of(chain) for chain in configuration.certificate_chain or ()]

        def make(chosen: Iterable[int]) -> ssl.SSLContext:
            return new_context(settings, [identities[index] for index in chosen])

        # Without tickets OpenSSL still resumes TLS 1.2 from a cache that `ssl` cannot switch off
        # (SSL_CTX_set_session_cache_mode(3)). Sessions belong to the SSLContext that a connection
        # began with; so each begins with one of its own, and is switched from there.
        begin = partial(new_context, replace(settings, trust=None))
        begins_anew = not settings.resumption and TLSVersion.TLSv1_2 in settings.versions
        self._engine = _native.ssl_server(
            [([*identity.names], identity.leaf) for identity in identities],
            make,
            begin if begins_anew else None,
            effective(settings, configuration, insecure),
        )

    @property
    def statistics(self) -> SessionStatistics:
        """What has become of its connections; `ssl` does not tell what becomes of tickets."""
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
