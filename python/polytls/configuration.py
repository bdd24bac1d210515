"""The client and server configuration (PEP 748, "Configuration").

A configuration is data. The constructors check types and normalize values. `capabilities.check` and
the context decide whether an implementation supports it. Sequences are stored as tuples, and known
numbers and names as enumeration members, so that equivalent configurations compare and hash equal.

The PEP's parameters come first, in the PEP's order; polytls's additions are keyword-only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from enum import Enum, IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias, TypeVar

from .arguments import explained_call, instance_of, instances_of, items_of, kind_of, path_of
from .constants import (
    CipherSuite,
    ClientAuthentication,
    NamedGroup,
    NextProtocol,
    SignatureScheme,
    TLSVersion,
    known,
)
from .errors import ConfigurationError
from .frozen import Record, fill, frozen
from .identity import Certificate, ECHKey, SigningChain, Source, TrustStore, map_sources
from .info import ConnectionEvent, PresentedPeer
from .tickets import TicketKeys

if TYPE_CHECKING:
    from typing import Self

    from ._native import Clock

__all__ = [
    "EventListener",
    "KeyLog",
    "PeerVerifier",
    "SessionCache",
    "TLSClientConfiguration",
    "TLSServerConfiguration",
    "key_log_from_environment",
    "with_sources",
]

#: Where secrets are written: the path of a file, or a function that takes one line without its line
#: ending.
KeyLog: TypeAlias = str | os.PathLike[str] | Callable[[str], object]
#: The type of `peer_verifier`: it is called with the peer, and raises to refuse it.
PeerVerifier: TypeAlias = Callable[[PresentedPeer], None]
#: The type of `on_event`.
EventListener: TypeAlias = Callable[[ConnectionEvent], object]
#: Normalizes the value of the named parameter.
_Form: TypeAlias = Callable[[str, Any], object]

#: Other common names of groups (NIST SP 800-186, ANSI X9.62), in lower case.
_GROUP_ALIASES: Final = {
    "p-256": NamedGroup.secp256r1,
    "prime256v1": NamedGroup.secp256r1,
    "p-384": NamedGroup.secp384r1,
    "p-521": NamedGroup.secp521r1,
}
_GROUPS: Final = {group.name.lower(): group for group in NamedGroup} | _GROUP_ALIASES

#: How many items of a sequence a `repr` shows.
_SHOWN_ITEMS: Final = 4


@frozen()
class SessionCache:
    """How a context caches sessions for resumption (RFC 8446 2.2).

    This only describes the cache. Each context has its own, in this process. Contexts never share
    caches, even with equal configurations, and their contents are opaque. A resumed session meets
    every requirement of the configuration.

    `capacity`: how many peers are remembered, 1 to 1,000,000; the least recently used is discarded
    first. To turn resumption off, use `sessions=None` in the configuration.

    Raises TypeError if the capacity is not an integer.
    """

    capacity: int = 256

    def __post_init__(self) -> None:
        if isinstance(self.capacity, bool):
            raise TypeError("capacity must be int, not bool")
        instance_of("capacity", self.capacity, int)


_DEFAULT_SESSIONS: Final = SessionCache()


def key_log_from_environment() -> str | None:
    """Return the path in SSLKEYLOGFILE, for a configuration's `key_log`; None if it is not set.

    polytls reads this variable only here: starting a program must not be enough to make it reveal
    its secrets.
    """
    return os.environ.get("SSLKEYLOGFILE") or None


@frozen()
class _Configuration(Record):
    """What both configurations have in common."""

    certificate_chain: SigningChain | tuple[SigningChain, ...] | None
    #: The cipher suites that can be used, in order of preference; None: the library's defaults. An
    #: upper bound: suites that the library does not support are skipped.
    ciphers: tuple[CipherSuite | int, ...] | None
    #: The protocols for ALPN, in order of preference (RFC 7301); empty for no ALPN.
    inner_protocols: tuple[NextProtocol | bytes, ...]
    #: The lowest allowed version; None: TLS 1.2, or the library's lowest version above that.
    lowest_supported_version: TLSVersion | None
    #: The highest allowed version; None: the library's highest version.
    highest_supported_version: TLSVersion | None
    #: What peers are verified against; None: the system's trust store on a client, nothing on a
    #: server.
    trust_store: TrustStore | None
    #: How sessions are cached for resumption; None: no resumption.
    sessions: SessionCache | None
    #: The key exchange groups that can be used, in order of preference; None: the library's
    #: defaults. An upper bound, like the ciphers. If all groups are for TLS 1.3 only, only that
    #: version is used.
    groups: tuple[NamedGroup | int, ...] | None
    #: The signature schemes of handshakes that can be used, in order of preference: those this side
    #: signs with, and those it accepts from the peer (RFC 8446 4.2.3); None: the library's
    #: defaults. An upper bound, like the ciphers. Signatures of certificates are judged separately.
    signature_schemes: tuple[SignatureScheme | int, ...] | None
    #: The CAs whose names the peer is sent as a hint which certificates are accepted (RFC 8446
    #: 4.2.4). A server sends them in CertificateRequest; None: the CAs of its trust store. A client
    #: sends them in ClientHello, in TLS 1.3 only; None: none. Empty: none. They verify nothing.
    certificate_authorities: tuple[Certificate, ...] | None
    #: Where the secrets of every connection are written, for debugging; None: nowhere.
    #:
    #: A path, or a function that is called with each line of the NSS key log format, without its
    #: line ending. Anyone who reads the secrets can decrypt the connections: a context with a key
    #: log issues a SecurityWarning.
    key_log: str | Callable[[str], object] | None
    #: Is called with what happens on every connection, each time with a `ConnectionEvent`; None for
    #: none. For tracing: see `polytls.tracing`.
    #:
    #: Called in the thread that drives the connection, without its lock. It decides nothing: what
    #: it returns is ignored, and what it raises is reported like the exception of a finalizer
    #: (`sys.unraisablehook`). It may take time, which counts for the handshake. Events of one
    #: connection are in order, unless several threads use it at the same time.
    on_event: EventListener | None
    #: Custom verification of the peer; None for none.
    #:
    #: Called inside the handshake, in the thread that drives it, with a `PresentedPeer`: after all
    #: other checks have passed, and before any data, on resumed sessions too. It is not called for
    #: a peer that presents no certificate. It returns None, or raises to refuse the peer: the
    #: handshake then fails with a CertificateVerificationError whose `__cause__` is the exception.
    #: Returning anything but None also refuses the peer. It cannot accept a peer that another check
    #: refused. It may take time, which counts for the handshake. It cannot use the connection it is
    #: called for (TLSError).
    peer_verifier: PeerVerifier | None
    #: Whether early data can be sent or received before the handshake is complete (RFC 8446 2.3).
    #:
    #: Early data can be replayed, so it is off by default, and refused if `Capabilities.early_data`
    #: says that the implementation does not support it. It has its own methods
    #: (`SupportsEarlyData`, docs/resumption.md). A server then stores its sessions itself, each for
    #: one use, so early data excludes `ticket_keys`; it also excludes client authentication on a
    #: server, and `peer_verifier` on a client.
    early_data: bool
    #: Whether certificates are compressed for a peer that accepts it, and accepted in compressed
    #: form (RFC 8879, TLS 1.3 only): a shorter handshake, at the cost of code that reads data of
    #: peers that are not verified yet. Refused if `Capabilities.certificate_compression` says that
    #: the implementation does not support it.
    certificate_compression: bool
    #: How many bytes of plaintext (512 to 16,384) a record that this side sends holds at most, in
    #: its handshake and after; None: 16,384 (RFC 8446 5.1). For peers with small buffers, and to
    #: have the first bytes of large data decrypted sooner. It limits nothing that the peer sends.
    #: Refused if `Capabilities.max_fragment` says that the implementation does not support it.
    max_fragment: int | None
    #: For tests: the clock that certificates, CRLs, sessions and tickets are checked against; None:
    #: the machine's clock. Timeouts always use the machine's clock.
    clock: Clock | None

    def _fill(self, given: dict[str, Any], certificate_chain: _Form) -> None:
        """Store a constructor's arguments, each normalized.

        Raises TypeError for a wrong type, naming the parameter.
        """
        forms = _FORMS | {"certificate_chain": certificate_chain}
        fill(self, **{name: forms[name](name, given[name]) for name in self._fields})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some parameters changed; the constructor's errors apply.

        Raises TypeError for an unknown parameter.
        """
        return type(self)(**{**self._asdict(), **changes})

    #: For `copy.replace` of Python 3.13.
    __replace__ = replace

    def __repr__(self) -> str:
        defaults: dict[str, object] = {
            "inner_protocols": (),
            "alternative_chains": (),
            "sessions": _DEFAULT_SESSIONS,
            "early_data": False,
            "ech_keys": (),
            "require_staple": False,
            "certificate_compression": False,
        }
        shown = [
            f"{name}={_shown(value)}"
            for name, value in self._asdict().items()
            if value != defaults.get(name)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@frozen()
class TLSClientConfiguration(_Configuration):
    """The configuration of client connections (PEP 748, "Configuration").

    `certificate_chain`: what the client proves its identity with, if a server asks; None: nothing.
    `alternative_chains`, `ech`, `require_staple`: see the fields.
    `ciphers`, `inner_protocols`, `lowest_supported_version`, `highest_supported_version`,
    `trust_store`, `sessions`, `groups`, `key_log`, `peer_verifier`, `early_data`, `clock`,
    `signature_schemes`, `certificate_authorities`, `certificate_compression`, `max_fragment`,
    `on_event`: see the fields. Ciphers and signature schemes can be integers; groups can be
    integers or names such as "x25519" or "P-256", in any case.

    Raises TypeError for a wrong type, naming the parameter, and ConfigurationError for an unknown
    group name. `validate_config` and the context check everything else.
    """

    #: What the client proves its identity with, if a server asks; None: nothing.
    certificate_chain: SigningChain | None
    #: Further chains, in order of preference. The client presents the first of `certificate_chain`
    #: and these that comes from a CA the server names and whose algorithms the server can verify;
    #: if there is none, the first that the server can verify.
    alternative_chains: tuple[SigningChain, ...]
    #: "grease": connections without `ech=` send a random extension in the form of Encrypted
    #: ClientHello (RFC 9849 6.2), so that an observer cannot tell which connections use it. It
    #: requires TLS 1.3 as the lowest version. None: no such extension. A list of configurations
    #: belongs to one host: it is an argument of `connect`, `wrap_socket` and `create_buffer`.
    ech: Literal["grease"] | None
    #: Whether servers must staple an OCSP response that says that their certificate is not revoked
    #: (RFC 6066 8). False: it is only required by certificates that say so (must-staple, RFC 7633).
    #:
    #: A response that a server staples is verified either way: its signature, by the issuer or a
    #: responder that the issuer has authorized, the certificate it is about, its dates and the
    #: status (docs/trust.md). Refused if `Capabilities.staple_verification` says that the
    #: implementation does not support it.
    require_staple: bool

    @explained_call
    def __init__(
        self,
        certificate_chain: SigningChain | None = None,
        ciphers: Sequence[CipherSuite | int] | None = None,
        inner_protocols: Sequence[NextProtocol | bytes] | None = None,
        lowest_supported_version: TLSVersion | None = None,
        highest_supported_version: TLSVersion | None = None,
        trust_store: TrustStore | None = None,
        *,
        sessions: SessionCache | None = _DEFAULT_SESSIONS,
        groups: Sequence[NamedGroup | str | int] | None = None,
        key_log: KeyLog | None = None,
        alternative_chains: Sequence[SigningChain] = (),
        peer_verifier: PeerVerifier | None = None,
        early_data: bool = False,
        clock: Clock | None = None,
        signature_schemes: Sequence[SignatureScheme | int] | None = None,
        certificate_authorities: Sequence[Certificate] | None = None,
        on_event: EventListener | None = None,
        certificate_compression: bool = False,
        max_fragment: int | None = None,
        ech: Literal["grease"] | None = None,
        require_staple: bool = False,
    ) -> None:
        self._fill(locals(), _optional(SigningChain))


@frozen()
class TLSServerConfiguration(_Configuration):
    """The configuration of server connections (PEP 748, "Configuration").

    `certificate_chain`: one signing chain for each identity. The name that a client requests
    selects one; the first is used if none matches.
    `ciphers`, `inner_protocols`, `lowest_supported_version`, `highest_supported_version`,
    `trust_store`, `sessions`, `groups`, `key_log`, `peer_verifier`, `early_data`, `clock`,
    `signature_schemes`, `certificate_authorities`, `certificate_compression`, `max_fragment`,
    `on_event`: see the fields. Ciphers and signature schemes can be integers; groups can be
    integers or names such as "x25519" or "P-256", in any case.
    `client_authentication`: whether clients are asked for a certificate; None: REQUIRED with a
    trust store, NONE without.
    `ticket_keys`, `ech_keys`: see the fields.

    Raises TypeError for a wrong type, naming the parameter, and ConfigurationError for an unknown
    group name. `validate_config` and the context check everything else.
    """

    #: One signing chain for each identity of the server, the default first.
    certificate_chain: tuple[SigningChain, ...] | None
    #: As it was given; `capabilities.check` returns what None means.
    client_authentication: ClientAuthentication | None
    #: Ticket keys; None for random keys in each context.
    ticket_keys: TicketKeys | None
    #: What Encrypted ClientHello is decrypted with (RFC 9849, docs/ech.md); requires TLS 1.3.
    #:
    #: The configurations of the first are sent to clients whose ClientHello cannot be decrypted,
    #: for another attempt. The others are for clients that still use older configurations. Empty:
    #: ClientHello is not decrypted. Refused if `Capabilities.ech_keys` says that the implementation
    #: does not support it.
    ech_keys: tuple[ECHKey, ...]

    @explained_call
    def __init__(
        self,
        certificate_chain: Sequence[SigningChain] | None = None,
        ciphers: Sequence[CipherSuite | int] | None = None,
        inner_protocols: Sequence[NextProtocol | bytes] | None = None,
        lowest_supported_version: TLSVersion | None = None,
        highest_supported_version: TLSVersion | None = None,
        trust_store: TrustStore | None = None,
        *,
        sessions: SessionCache | None = _DEFAULT_SESSIONS,
        groups: Sequence[NamedGroup | str | int] | None = None,
        key_log: KeyLog | None = None,
        client_authentication: ClientAuthentication | None = None,
        ticket_keys: TicketKeys | None = None,
        peer_verifier: PeerVerifier | None = None,
        early_data: bool = False,
        clock: Clock | None = None,
        signature_schemes: Sequence[SignatureScheme | int] | None = None,
        certificate_authorities: Sequence[Certificate] | None = None,
        on_event: EventListener | None = None,
        certificate_compression: bool = False,
        max_fragment: int | None = None,
        ech_keys: Sequence[ECHKey] = (),
    ) -> None:
        self._fill(locals(), _chains_of)


_C = TypeVar("_C", bound=_Configuration)


def with_sources(configuration: _C, change: Callable[[str, Source], Source]) -> _C:
    """Return a copy in which `change` has replaced every source.

    `change` is called with the name of the parameter that contains the source, and the source.
    """
    return configuration.replace(
        **{
            name: map_sources(value, partial(change, name))
            for name, value in configuration._asdict().items()
        }
    )


def _optional(kind: type[Any]) -> _Form:
    return lambda name, value: None if value is None else instance_of(name, value, kind)


def _chains_of(name: str, value: object) -> tuple[SigningChain, ...] | None:
    if value is None:
        return None
    hint = " (a server takes a list of chains)" if isinstance(value, SigningChain) else ""
    return instances_of(name, value, SigningChain, hint)


def _numbers_of(name: str, value: object, *, kind: type[IntEnum]) -> tuple[int, ...] | None:
    if value is None:
        return None
    numbers: list[int] = []
    for index, item in enumerate(items_of(name, value, f"{kind.__name__} or int")):
        if not isinstance(item, int) or isinstance(item, bool):
            _wrong_item(name, index, item, f"{kind.__name__} or int", kind)
        numbers.append(known(kind, item))
    return tuple(numbers)


def _authorities_of(name: str, value: object) -> tuple[Certificate, ...] | None:
    if value is None:
        return None
    return instances_of(name, value, Certificate)


def _protocols_of(name: str, value: object) -> tuple[NextProtocol | bytes, ...]:
    if value is None:
        return ()
    protocols: list[NextProtocol | bytes] = []
    for index, item in enumerate(items_of(name, value, "NextProtocol or bytes")):
        if isinstance(item, NextProtocol):
            protocols.append(item)
            continue
        if not isinstance(item, bytes | bytearray | memoryview):
            _wrong_item(name, index, item, "NextProtocol or bytes", NextProtocol)
        try:
            protocols.append(NextProtocol(bytes(item)))
        except ValueError:
            protocols.append(bytes(item))
    return tuple(protocols)


def _key_log_of(name: str, value: object) -> object:
    if value is None or callable(value):
        return value
    return path_of(name, value)


def _groups_of(name: str, value: object) -> tuple[NamedGroup | int, ...] | None:
    if value is None:
        return None
    groups: list[NamedGroup | int] = []
    for index, item in enumerate(items_of(name, value, "NamedGroup, str or int")):
        if isinstance(item, str):
            groups.append(_group_named(item))
        elif isinstance(item, int) and not isinstance(item, bool):
            groups.append(known(NamedGroup, item))
        else:
            _wrong_item(name, index, item, "NamedGroup, str or int")
    return tuple(groups)


def _callable_of(name: str, value: object) -> object:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable, not {kind_of(value)}")
    return value


def _clock_of(name: str, value: object) -> object:
    if value is None:
        return None
    # Whoever has a clock has loaded it.
    from ._native import Clock

    return instance_of(name, value, Clock)


def _grease_of(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        hint = " (pass a list of configurations to connect, wrap_socket or create_buffer)"
        given = isinstance(value, bytes | bytearray | memoryview)
        raise TypeError(f'{name} must be "grease", not {kind_of(value)}{hint if given else ""}')
    if value != "grease":
        raise ConfigurationError(f'{name} must be "grease" or None, not {value!r}', field=name)
    return value


def _group_named(name: str) -> NamedGroup:
    try:
        return _GROUPS[name.lower()]
    except KeyError:
        names = ", ".join(group.name for group in NamedGroup)
        raise ConfigurationError(
            f"groups: no group is named {name!r}; known are {names} (or give its number)",
            field="groups",
        ) from None


def _wrong_item(name: str, index: int, item: object, kind: str, *meant: type) -> NoReturn:
    raise TypeError(f"{name}[{index}] must be {kind}, not {kind_of(item, *meant)}")


#: Normalizes each parameter for its field; raises TypeError, naming the parameter.
_FORMS: Final[dict[str, _Form]] = {
    "ciphers": partial(_numbers_of, kind=CipherSuite),
    "inner_protocols": _protocols_of,
    "lowest_supported_version": _optional(TLSVersion),
    "highest_supported_version": _optional(TLSVersion),
    "trust_store": _optional(TrustStore),
    "sessions": _optional(SessionCache),
    "groups": _groups_of,
    "key_log": _key_log_of,
    "peer_verifier": _callable_of,
    "early_data": partial(instance_of, kind=bool),
    "clock": _clock_of,
    "on_event": _callable_of,
    "signature_schemes": partial(_numbers_of, kind=SignatureScheme),
    "certificate_authorities": _authorities_of,
    "ech": _grease_of,
    "require_staple": partial(instance_of, kind=bool),
    "certificate_compression": partial(instance_of, kind=bool),
    "max_fragment": _optional(int),
    "alternative_chains": lambda name, value: _chains_of(name, value) or (),
    "client_authentication": _optional(ClientAuthentication),
    "ticket_keys": _optional(TicketKeys),
    "ech_keys": partial(instances_of, kind=ECHKey),
}


def _shown(value: object) -> str:
    """A value as `repr` shows it: enumerations by name, long sequences shortened."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, tuple):
        items = [_shown(item) for item in value[:_SHOWN_ITEMS]]
        if len(value) > _SHOWN_ITEMS:
            items.append(f"and {len(value) - _SHOWN_ITEMS} more")
        return f"[{', '.join(items)}]"
    return repr(value)
