"""PEP 748 on rustls and aws-lc-rs: the default implementation.

Contexts read files and hand plain values to the Rust core, which parses everything once; buffers
and sockets are the core's own (`native`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from .. import _native
from ..capabilities import (
    Capabilities,
    check,
    effective_client_authentication,
    effective_versions,
)
from ..certificates import chain_data, trust_data
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..constants import ClientAuthentication, NextProtocol, TLSVersion
from ..insecure import InsecureConfiguration, InsecureTLSImplementation
from ..interfaces import TLSImplementation
from .contexts import InsecureClient, InsecureServer, verification
from .key_log import writer
from .native import VERSIONS, NativeClient, NativeServer

if TYPE_CHECKING:
    from ..identity import SigningChain
    from .native_socket import ExtendedSocket  # noqa: F401 - in a base, as a string

__all__ = [
    "CAPABILITIES",
    "IMPLEMENTATION",
    "INSECURE_IMPLEMENTATION",
    "RustlsClientContext",
    "RustlsInsecureClientContext",
    "RustlsInsecureServerContext",
    "RustlsServerContext",
    "validate_config",
]

_BACKEND: Final = _native.backend("rustls")
_NAME: Final = _BACKEND.id

CAPABILITIES: Final = Capabilities(
    trust_sources=frozenset({"system", "buffer", "file", "pins"}),
    certificate_sources=frozenset({"buffer", "file"}),
    key_sources=frozenset({"buffer", "file", "signer"}),
    versions=(TLSVersion.TLSv1_2, TLSVersion.TLSv1_3),
    cipher_suites=tuple(_BACKEND.cipher_suites),
    cipher_choice="exact",
    groups=tuple(_BACKEND.groups),
    client_authentication=True,
    sni_selection=True,
    resumption=True,
    exporter=True,
    key_log=True,
    ticket_keys=True,
    ocsp_stapling=True,
    client_chain_selection=True,
    channel_bindings=frozenset({"tls-exporter", "tls-server-end-point"}),
    peers=True,
    crl=True,
    peer_verifier=True,
    early_data=True,
    named_sessions=True,
)


def validate_config(configuration: TLSClientConfiguration | TLSServerConfiguration) -> None:
    """Refuse what this implementation cannot honour, as far as is known without files.

    Raises ConfigurationError with the field, TypeError if the configuration is none.
    """
    check(configuration, CAPABILITIES, _NAME)


def _common(
    configuration: TLSClientConfiguration | TLSServerConfiguration,
    chains: Iterable[SigningChain],
    insecure: InsecureConfiguration | None,
) -> _native._Common:
    """What the core takes for both sides."""
    verifies, checks_hostname = verification(insecure)
    check(configuration, CAPABILITIES, _NAME, verification=verifies)
    ciphers, groups, sessions = configuration.ciphers, configuration.groups, configuration.sessions
    versions = effective_versions(configuration, CAPABILITIES)
    return {
        "versions": [VERSIONS[version] for version in versions],
        "ciphers": None if ciphers is None else list(ciphers),
        "groups": None if groups is None else list(groups),
        "alpn": [
            protocol.value if isinstance(protocol, NextProtocol) else protocol
            for protocol in configuration.inner_protocols
        ],
        "sessions": None if sessions is None else sessions.capacity,
        "key_log": writer(configuration.key_log, _NAME),
        "chains": [chain_data(chain, _NAME) for chain in chains],
        "verifies": verifies,
        "checks_hostname": checks_hostname,
        "peer_verifier": configuration.peer_verifier,
        "early_data": configuration.early_data,
    }


class RustlsClientContext(NativeClient[_native.ExtendedTLSBuffer, "ExtendedSocket"]):
    __slots__ = ()
    __doc__ = NativeClient.__doc__
    _extended = True

    def _open(self) -> None:
        configuration = self._configuration
        first = configuration.certificate_chain
        chains = () if first is None else (first, *configuration.alternative_chains)
        self._engine = _BACKEND.client(
            _common(configuration, chains, self._insecure),
            trust=trust_data(configuration.trust_store, _NAME),
        )


class RustlsServerContext(NativeServer[_native.ExtendedTLSBuffer, "ExtendedSocket"]):
    __slots__ = ()
    __doc__ = NativeServer.__doc__
    _extended = True

    def _open(self) -> None:
        configuration = self._configuration
        store = configuration.trust_store
        keys = configuration.ticket_keys
        asked = effective_client_authentication(configuration)
        self._engine = _BACKEND.server(
            _common(configuration, configuration.certificate_chain or (), self._insecure),
            asks=asked is not ClientAuthentication.NONE,
            requires=asked is ClientAuthentication.REQUIRED,
            trust=None if store is None else trust_data(store, _NAME),
            ticket_keys=None
            if keys is None
            else (keys.secret, keys.previous, keys.rotation, keys.lifetime),
        )


class RustlsInsecureClientContext(
    InsecureClient[_native.ExtendedTLSBuffer, "ExtendedSocket"], RustlsClientContext
):
    __slots__ = ()
    __doc__ = InsecureClient.__doc__


class RustlsInsecureServerContext(
    InsecureServer[_native.ExtendedTLSBuffer, "ExtendedSocket"], RustlsServerContext
):
    __slots__ = ()
    __doc__ = InsecureServer.__doc__


_FACTS: Final[dict[str, Any]] = {
    "name": _NAME,
    "version": _BACKEND.version,
    "capabilities": CAPABILITIES,
}

IMPLEMENTATION: Final = TLSImplementation(
    RustlsClientContext, RustlsServerContext, validate_config, **_FACTS
)

INSECURE_IMPLEMENTATION: Final = InsecureTLSImplementation(
    RustlsClientContext,
    RustlsServerContext,
    validate_config,
    RustlsInsecureClientContext,
    RustlsInsecureServerContext,
    **_FACTS,
)
