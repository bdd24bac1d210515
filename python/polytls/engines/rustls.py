"""PEP 748 on rustls and aws-lc-rs: the default implementation.

Contexts read files and hand plain values to the Rust core, which parses everything once; buffers
and sockets are the core's own (`native`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from .. import _native
from ..capabilities import Effective, check
from ..certificates import chain_data, trust_data
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..constants import ClientAuthentication, NextProtocol
from ..insecure import InsecureConfiguration, InsecureTLSImplementation
from ..interfaces import TLSImplementation
from .contexts import InsecureClient, InsecureServer, verification
from .key_log import writer
from .native import VERSIONS, NativeClient, NativeServer

if TYPE_CHECKING:
    from ..identity import SigningChain
    from ..streams import ExtendedSocket  # noqa: F401 - in a base, as a string

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

CAPABILITIES: Final = _BACKEND.capabilities


def validate_config(configuration: TLSClientConfiguration | TLSServerConfiguration) -> None:
    """Refuse what this implementation cannot honour, as far as is known without files.

    Raises ConfigurationError with the field, TypeError if the configuration is none.
    """
    check(configuration, CAPABILITIES, _NAME)


def _common(
    configuration: TLSClientConfiguration | TLSServerConfiguration,
    chains: Iterable[SigningChain],
    insecure: InsecureConfiguration | None,
) -> tuple[_native._Common, Effective]:
    """What the core takes for both sides, and what it comes to."""
    verifies, checks_hostname = verification(insecure)
    effective = check(configuration, CAPABILITIES, _NAME, verification=verifies)
    ciphers, groups, sessions = configuration.ciphers, configuration.groups, configuration.sessions
    common: _native._Common = {
        "versions": [VERSIONS[version] for version in effective.versions],
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
    return common, effective


class RustlsClientContext(NativeClient[_native.ExtendedTLSBuffer, "ExtendedSocket"]):
    __slots__ = ()
    __doc__ = NativeClient.__doc__

    def _open(self) -> None:
        configuration = self._configuration
        first = configuration.certificate_chain
        chains = () if first is None else (first, *configuration.alternative_chains)
        common, _ = _common(configuration, chains, self._insecure)
        self._engine = _BACKEND.client(
            common,
            trust=trust_data(configuration.trust_store, _NAME),
        )


class RustlsServerContext(NativeServer[_native.ExtendedTLSBuffer, "ExtendedSocket"]):
    __slots__ = ()
    __doc__ = NativeServer.__doc__

    def _open(self) -> None:
        configuration = self._configuration
        store = configuration.trust_store
        keys = configuration.ticket_keys
        chains = configuration.certificate_chain or ()
        common, effective = _common(configuration, chains, self._insecure)
        asked = effective.client_authentication
        self._engine = _BACKEND.server(
            common,
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
