"""PEP 748 on rustls and aws-lc-rs: the default implementation.

Contexts read files and hand plain values to the Rust core, which parses everything once; buffers
and sockets are the core's own classes.
"""

from __future__ import annotations

from typing import Any, Final, TypedDict

from .. import _native
from ..arguments import DEFAULT, Default, seconds_of
from ..capabilities import (
    Capabilities,
    check,
    effective_client_authentication,
    effective_versions,
)
from ..certificates import chain_data, trust_data
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..constants import CipherSuite, NamedGroup, NextProtocol, TLSVersion
from ..identity import instance_of
from ..insecure import InsecureConfiguration, InsecureTLSImplementation, warn
from ..interfaces import TLSImplementation
from ..names import host_of, resolve, verified_name

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
    trust_sources=frozenset({"system", "buffer", "file"}),
    certificate_sources=frozenset({"buffer", "file"}),
    key_sources=frozenset({"buffer", "file"}),
    versions=(TLSVersion.TLSv1_2, TLSVersion.TLSv1_3),
    cipher_suites=tuple(_BACKEND.cipher_suites),
    cipher_choice="exact",
    groups=tuple(_BACKEND.groups),
    client_authentication=True,
    sni_selection=True,
    resumption=True,
)


class _Shared(TypedDict):
    """What the core takes for both sides."""

    versions: list[str]
    ciphers: list[int] | None
    groups: list[int] | None
    alpn: list[bytes]
    sessions: int | None
    verification: str


def _shared(
    configuration: TLSClientConfiguration | TLSServerConfiguration,
    insecure: InsecureConfiguration | None,
) -> _Shared:
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
        "verification": _verification(insecure),
    }


def _verification(insecure: InsecureConfiguration | None) -> str:
    if insecure is None or not insecure.disable_hostname_check:
        return "full"
    return "nothing" if insecure.disable_verification else "any name"


def validate_config(configuration: TLSClientConfiguration | TLSServerConfiguration) -> None:
    """Refuse what this implementation cannot honour, as far as is known without files.

    Raises ConfigurationError with the field, TypeError if the configuration is none.
    """
    check(configuration, CAPABILITIES, _NAME)


class _Context:
    """What the four contexts have in common."""

    _engine: _native.ClientEngine | _native.ServerEngine

    @property
    def effective_ciphers(self) -> tuple[CipherSuite | int, ...]:
        """The suites that may be negotiated, in order of preference."""
        return self._engine.effective_ciphers

    @property
    def effective_groups(self) -> tuple[NamedGroup | int, ...]:
        """The key exchange groups that may be negotiated, in order of preference."""
        return self._engine.effective_groups


class RustlsClientContext(_Context):
    """Makes client connections of one configuration; immutable, to be shared by threads.

    Raises ConfigurationError, naming the field, for what cannot be honoured, and for files and
    encodings that cannot be read: all of that is done here, once.
    """

    __slots__ = ("_configuration", "_engine")
    _engine: _native.ClientEngine

    def __init__(self, configuration: TLSClientConfiguration) -> None:
        instance_of("configuration", configuration, TLSClientConfiguration)
        self._open(configuration, None)

    def _open(
        self, configuration: TLSClientConfiguration, insecure: InsecureConfiguration | None
    ) -> None:
        check(
            configuration,
            CAPABILITIES,
            _NAME,
            verification=_verification(insecure) != "nothing",
        )
        chain = configuration.certificate_chain
        self._configuration = configuration
        self._engine = _BACKEND.client(
            chain=None if chain is None else chain_data(chain, _NAME),
            trust=trust_data(configuration.trust_store, _NAME),
            **_shared(configuration, insecure),
        )

    @property
    def configuration(self) -> TLSClientConfiguration:
        """The configuration this context was made from."""
        return self._configuration

    def connect(
        self,
        address: tuple[str | None, int],
        *,
        server_hostname: str | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> _native.TLSSocket:
        """Resolve, connect and do the handshake; return the connected socket.

        `server_hostname`: the name to verify where it is not the address's host. `timeout`:
        seconds for all of it, and for each later call; None waits for ever; by default that of
        `socket.setdefaulttimeout`.

        Raises TimeoutError, `socket.gaierror`, other OSErrors as a plain socket does, and TLSError
        for what the handshake finds; ValueError for what is no host name.
        """
        name = host_of(address) if server_hostname is None else server_hostname
        verified = self._name_of(name)
        return self._engine.connect(self, resolve(address), verified, seconds_of(timeout))

    def create_buffer(self, server_hostname: str) -> _native.TLSBuffer:
        """Return one side of a connection in memory, to the server of that name.

        Raises ValueError for what is no host name, TypeError for what is no str.
        """
        return self._engine.buffer(self, verified_name(server_hostname))

    def _name_of(self, name: str | None) -> str | None:
        if name is None:
            raise ValueError("server_hostname: there is no name to verify; give one")
        return verified_name(name)


class RustlsServerContext(_Context):
    """Makes server connections of one configuration; immutable, to be shared by threads.

    Raises as `RustlsClientContext` does.
    """

    __slots__ = ("_configuration", "_engine")
    _engine: _native.ServerEngine

    def __init__(self, configuration: TLSServerConfiguration) -> None:
        instance_of("configuration", configuration, TLSServerConfiguration)
        self._open(configuration, None)

    def _open(
        self, configuration: TLSServerConfiguration, insecure: InsecureConfiguration | None
    ) -> None:
        check(
            configuration,
            CAPABILITIES,
            _NAME,
            verification=_verification(insecure) != "nothing",
        )
        store = configuration.trust_store
        chains = configuration.certificate_chain or ()
        self._configuration = configuration
        self._engine = _BACKEND.server(
            chains=[chain_data(chain, _NAME) for chain in chains],
            client_authentication=effective_client_authentication(configuration).name.lower(),
            trust=trust_data(store, _NAME),
            system_trust=store is not None and store.source == "system",
            **_shared(configuration, insecure),
        )

    @property
    def configuration(self) -> TLSServerConfiguration:
        """The configuration this context was made from."""
        return self._configuration

    def connect(self, address: tuple[str | None, int], *, backlog: int = 128) -> _native.TLSSocket:
        """Bind and listen; return the listening socket, whose `accept` gives connections.

        `backlog`: how many connections may wait to be accepted.

        Raises OSError as `socket.bind` does.
        """
        addresses = resolve(address, passive=True)
        return self._engine.listen(self, addresses, backlog, seconds_of(DEFAULT))

    def create_buffer(self) -> _native.TLSBuffer:
        """Return one side of a connection in memory."""
        return self._engine.buffer(self)


class RustlsInsecureClientContext(RustlsClientContext):
    """A client context that verifies less, as `insecure_configuration` says. It warns."""

    __slots__ = ("_insecure_configuration",)

    def __init__(
        self,
        tls_configuration: TLSClientConfiguration,
        insecure_configuration: InsecureConfiguration,
    ) -> None:
        instance_of("tls_configuration", tls_configuration, TLSClientConfiguration)
        instance_of("insecure_configuration", insecure_configuration, InsecureConfiguration)
        warn("InsecureClientContext", stacklevel=2)
        self._insecure_configuration = insecure_configuration
        self._open(tls_configuration, insecure_configuration)

    @property
    def insecure_configuration(self) -> InsecureConfiguration:
        """What is not verified."""
        return self._insecure_configuration

    def connect(
        self,
        address: tuple[str | None, int],
        *,
        server_hostname: str | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> _native.TLSSocket:
        """As `RustlsClientContext.connect`, with a warning."""
        warn("InsecureClientContext.connect", stacklevel=2)
        return super().connect(address, server_hostname=server_hostname, timeout=timeout)

    def create_buffer(self, server_hostname: str | None = None) -> _native.TLSBuffer:
        """As `RustlsClientContext.create_buffer`, with a warning."""
        warn("InsecureClientContext.create_buffer", stacklevel=2)
        return self._engine.buffer(self, self._name_of(server_hostname))

    def _name_of(self, name: str | None) -> str | None:
        # Where names are not checked none is needed; the server is then not told one either.
        if name is None and self._insecure_configuration.disable_hostname_check:
            return None
        return super()._name_of(name)


class RustlsInsecureServerContext(RustlsServerContext):
    """A server context that verifies less, as `insecure_configuration` says. It warns."""

    __slots__ = ("_insecure_configuration",)

    def __init__(
        self,
        tls_configuration: TLSServerConfiguration,
        insecure_configuration: InsecureConfiguration,
    ) -> None:
        instance_of("tls_configuration", tls_configuration, TLSServerConfiguration)
        instance_of("insecure_configuration", insecure_configuration, InsecureConfiguration)
        warn("InsecureServerContext", stacklevel=2)
        self._insecure_configuration = insecure_configuration
        self._open(tls_configuration, insecure_configuration)

    @property
    def insecure_configuration(self) -> InsecureConfiguration:
        """What is not verified."""
        return self._insecure_configuration

    def connect(self, address: tuple[str | None, int], *, backlog: int = 128) -> _native.TLSSocket:
        """As `RustlsServerContext.connect`, with a warning."""
        warn("InsecureServerContext.connect", stacklevel=2)
        return super().connect(address, backlog=backlog)

    def create_buffer(self) -> _native.TLSBuffer:
        """As `RustlsServerContext.create_buffer`, with a warning."""
        warn("InsecureServerContext.create_buffer", stacklevel=2)
        return super().create_buffer()


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
