"""PEP 748 on rustls and aws-lc-rs: the default implementation.

Contexts read files and hand plain values to the Rust core, which parses everything once; buffers
and sockets are the core's own classes.
"""

from __future__ import annotations

from typing import Any, Final, TypedDict

from .. import _native
from ..capabilities import (
    Capabilities,
    check,
    effective_client_authentication,
    effective_versions,
)
from ..certificates import chain_data, trust_data
from ..configuration import PeerVerifier, TLSClientConfiguration, TLSServerConfiguration
from ..constants import CipherSuite, NamedGroup, NextProtocol, TLSVersion
from ..insecure import InsecureConfiguration, InsecureTLSImplementation
from ..interfaces import TLSImplementation
from ..names import Address
from .contexts import Client, InsecureClient, InsecureServer, Server, verification

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
    key_sources=frozenset({"buffer", "file"}),
    versions=(TLSVersion.TLSv1_2, TLSVersion.TLSv1_3),
    cipher_suites=tuple(_BACKEND.cipher_suites),
    cipher_choice="exact",
    groups=tuple(_BACKEND.groups),
    client_authentication=True,
    sni_selection=True,
    resumption=True,
    crl=True,
    peer_verifier=True,
)


def validate_config(configuration: TLSClientConfiguration | TLSServerConfiguration) -> None:
    """Refuse what this implementation cannot honour, as far as is known without files.

    Raises ConfigurationError with the field, TypeError if the configuration is none.
    """
    check(configuration, CAPABILITIES, _NAME)


class _Shared(TypedDict):
    """What the core takes for both sides."""

    versions: list[str]
    ciphers: list[int] | None
    groups: list[int] | None
    alpn: list[bytes]
    sessions: int | None
    verification: str
    peer_verifier: PeerVerifier | None


def _checked(
    configuration: TLSClientConfiguration | TLSServerConfiguration,
    insecure: InsecureConfiguration | None,
) -> _Shared:
    mode = verification(insecure)
    check(configuration, CAPABILITIES, _NAME, verification=mode != "nothing")
    ciphers, groups, sessions = configuration.ciphers, configuration.groups, configuration.sessions
    versions = effective_versions(configuration, CAPABILITIES)
    return {
        "versions": [version.value for version in versions],
        "ciphers": None if ciphers is None else list(ciphers),
        "groups": None if groups is None else list(groups),
        "alpn": [
            protocol.value if isinstance(protocol, NextProtocol) else protocol
            for protocol in configuration.inner_protocols
        ],
        "sessions": None if sessions is None else sessions.capacity,
        "verification": mode,
        "peer_verifier": configuration.peer_verifier,
    }


class _Effective:
    """What took effect of a configuration."""

    __slots__ = ()
    _engine: _native.ClientEngine | _native.ServerEngine

    @property
    def effective_ciphers(self) -> tuple[CipherSuite | int, ...]:
        """The suites that may be negotiated, in order of preference."""
        return self._engine.effective_ciphers

    @property
    def effective_groups(self) -> tuple[NamedGroup | int, ...]:
        """The key exchange groups that may be negotiated, in order of preference."""
        return self._engine.effective_groups


class RustlsClientContext(_Effective, Client[_native.TLSBuffer, _native.TLSSocket]):
    __slots__ = ("_engine",)
    __doc__ = Client.__doc__
    _engine: _native.ClientEngine

    def _open(self) -> None:
        configuration = self._configuration
        shared = _checked(configuration, self._insecure)
        chain = configuration.certificate_chain
        self._engine = _BACKEND.client(
            chain=None if chain is None else chain_data(chain, _NAME),
            trust=trust_data(configuration.trust_store, _NAME),
            **shared,
        )

    def _make_buffer(self, verified: str | None) -> _native.TLSBuffer:
        return self._engine.buffer(self, verified)

    def _make_connection(
        self,
        addresses: list[Address],
        port: int,  # noqa: ARG002 - the addresses have it
        verified: str | None,
        timeout: float | None,
    ) -> _native.TLSSocket:
        return self._engine.connect(self, addresses, verified, timeout)


class RustlsServerContext(_Effective, Server[_native.TLSBuffer, _native.TLSSocket]):
    __slots__ = ("_engine",)
    __doc__ = Server.__doc__
    _engine: _native.ServerEngine

    def _open(self) -> None:
        configuration = self._configuration
        shared = _checked(configuration, self._insecure)
        store = configuration.trust_store
        chains = configuration.certificate_chain or ()
        self._engine = _BACKEND.server(
            chains=[chain_data(chain, _NAME) for chain in chains],
            client_authentication=effective_client_authentication(configuration).name.lower(),
            trust=None if store is None else trust_data(store, _NAME),
            **shared,
        )

    def _make_buffer(self) -> _native.TLSBuffer:
        return self._engine.buffer(self)

    def _make_listener(
        self, addresses: list[Address], backlog: int, timeout: float | None
    ) -> _native.TLSSocket:
        return self._engine.listen(self, addresses, backlog, timeout)


class RustlsInsecureClientContext(
    InsecureClient[_native.TLSBuffer, _native.TLSSocket], RustlsClientContext
):
    __slots__ = ()
    __doc__ = InsecureClient.__doc__


class RustlsInsecureServerContext(
    InsecureServer[_native.TLSBuffer, _native.TLSSocket], RustlsServerContext
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
