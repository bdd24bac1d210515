"""PEP 748 on rustls and aws-lc-rs: the default implementation.

Contexts read files and hand plain values to the Rust core, which parses everything once; buffers
are the core's own class, and sockets one made of it (`rustls_socket`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from .. import _native
from ..arguments import view_of
from ..capabilities import (
    Capabilities,
    check,
    effective_client_authentication,
    effective_versions,
)
from ..certificates import chain_data, trust_data
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..constants import (
    CipherSuite,
    ClientAuthentication,
    NamedGroup,
    NextProtocol,
    TLSVersion,
)
from ..info import SessionStatistics
from ..insecure import InsecureConfiguration, InsecureTLSImplementation
from ..interfaces import ByteStream, TLSImplementation
from ..names import Address
from .contexts import (
    Client,
    InsecureClient,
    InsecureServer,
    Listening,
    Parameters,
    Server,
    Wrapping,
    verification,
)
from .key_log import writer

if TYPE_CHECKING:
    import socket

    from ..identity import SigningChain
    from ..streams import StreamSocket
    from .rustls_socket import RustlsSocket

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

#: Versions by their numbers on the wire.
_NUMBERS: Final = {TLSVersion.TLSv1_2: 0x0303, TLSVersion.TLSv1_3: 0x0304}

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
        "versions": [_NUMBERS[version] for version in versions],
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

    @property
    def statistics(self) -> SessionStatistics:
        """What has become of its connections and sessions so far."""
        return SessionStatistics(**self._engine.statistics())


def _wrapped(
    sock: socket.socket | ByteStream,
    options: Wrapping,
    native: Callable[[socket.socket, bytes], _native.SocketHandle],
    generic: Callable[[], _native.TLSBuffer],
    *,
    serves: bool,
) -> RustlsSocket | StreamSocket:
    """A socket of the system's is driven natively, any other stream generically."""
    from ..streams import wrap
    from ..streams.carrier import is_plain
    from ..streams.upgrade import check_leftover, port_below

    if not is_plain(sock):
        return wrap(sock, generic(), **options)
    from .rustls_socket import RustlsSocket

    plain = cast("socket.socket", sock)
    received = bytes(view_of("leftover", options["leftover"]))
    port_below(plain)  # Has a peer, or raises.
    try:
        check_leftover(received, serves=serves)
        made = RustlsSocket(native(plain, received))
    except BaseException:
        plain.close()
        raise
    try:
        if options["do_handshake_on_connect"] and made.getblocking():
            made.do_handshake()
    except BaseException:
        made.close(force=True)
        raise
    return made


class RustlsClientContext(_Effective, Client[_native.TLSBuffer, "RustlsSocket"]):
    __slots__ = ("_engine",)
    __doc__ = Client.__doc__
    _engine: _native.ClientEngine

    def _open(self) -> None:
        configuration = self._configuration
        first = configuration.certificate_chain
        chains = () if first is None else (first, *configuration.alternative_chains)
        self._engine = _BACKEND.client(
            _common(configuration, chains, self._insecure),
            trust=trust_data(configuration.trust_store, _NAME),
        )

    def _admit(self, lineage: _native.Lineage, verified: str | None) -> _native.Offer:
        return self._engine.admit(lineage, verified)

    def _make_buffer(self, parameters: Parameters) -> _native.TLSBuffer:
        return self._engine.buffer(self, parameters)

    def _make_connection(
        self,
        addresses: list[Address],
        parameters: Parameters,
        timeout: float | None,
        *,
        accept_truncated_end: bool,
    ) -> RustlsSocket:
        # Costs milliseconds; buffers do without it.
        from .rustls_socket import RustlsSocket

        return RustlsSocket(
            self._engine.connect(
                self,
                parameters,
                addresses,
                timeout=timeout,
                accept_truncated_end=accept_truncated_end,
            )
        )

    def _make_wrapped(
        self, sock: socket.socket | ByteStream, parameters: Parameters, options: Wrapping
    ) -> RustlsSocket | StreamSocket:
        def native(plain: socket.socket, _: bytes) -> _native.SocketHandle:
            return self._engine.take_over(
                self, parameters, plain, accept_truncated_end=options["accept_truncated_end"]
            )

        def generic() -> _native.TLSBuffer:
            return self._make_buffer(parameters)

        return _wrapped(sock, options, native, generic, serves=False)


class RustlsServerContext(_Effective, Server[_native.TLSBuffer, "RustlsSocket"]):
    __slots__ = ("_engine",)
    __doc__ = Server.__doc__
    _engine: _native.ServerEngine

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

    def _make_buffer(self) -> _native.TLSBuffer:
        return self._engine.buffer(self)

    def _make_listener(
        self, addresses: list[Address], timeout: float | None, options: Listening
    ) -> RustlsSocket:
        from .rustls_socket import RustlsSocket

        handle = self._engine.listen(
            self,
            addresses,
            timeout=timeout,
            handshake_may_block=self.handshake_may_block,
            **options,
        )
        return RustlsSocket(handle)

    def _make_wrapped(
        self, sock: socket.socket | ByteStream, options: Wrapping
    ) -> RustlsSocket | StreamSocket:
        def native(plain: socket.socket, received: bytes) -> _native.SocketHandle:
            return self._engine.take_over(
                self, plain, received, accept_truncated_end=options["accept_truncated_end"]
            )

        return _wrapped(sock, options, native, self._make_buffer, serves=True)


class RustlsInsecureClientContext(
    InsecureClient[_native.TLSBuffer, "RustlsSocket"], RustlsClientContext
):
    __slots__ = ()
    __doc__ = InsecureClient.__doc__


class RustlsInsecureServerContext(
    InsecureServer[_native.TLSBuffer, "RustlsSocket"], RustlsServerContext
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
