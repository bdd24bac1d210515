"""What is wanted of a TLS connection: the two configurations (PEP 748, "Configuration").

A configuration is data. The constructors check types and bring values into one form; whether an
implementation can honour them is judged by `capabilities.check`, and by the context made from
them. Sequences are kept as tuples, and known numbers and names as members of their enumerations,
so that two ways to write the same wish compare and hash equal.

The PEP's parameters come first, in the PEP's order; what polytls adds is keyword-only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeVar

from .arguments import explained_call, instance_of, items_of, kind_of, path_of
from .constants import (
    CipherSuite,
    ClientAuthentication,
    NamedGroup,
    NextProtocol,
    TLSVersion,
    known,
)
from .errors import ConfigurationError
from .frozen import Record, fill, frozen
from .identity import SigningChain, Source, TrustStore, map_sources
from .info import PresentedPeer
from .tickets import TicketKeys

if TYPE_CHECKING:
    from typing import Self

    from ._native import Clock

__all__ = [
    "KeyLog",
    "PeerVerifier",
    "SessionCache",
    "TLSClientConfiguration",
    "TLSServerConfiguration",
    "key_log_from_environment",
    "with_sources",
]

#: Where secrets go: a file, by its path, or a function that takes one line without its end.
KeyLog: TypeAlias = str | os.PathLike[str] | Callable[[str], object]
#: What `peer_verifier` takes: called with the peer, it raises to refuse it.
PeerVerifier: TypeAlias = Callable[[PresentedPeer], None]
#: Brings the value of a parameter, which is named, into the form of its field.
_Form: TypeAlias = Callable[[str, Any], object]

#: Other names in use for the groups (NIST SP 800-186, ANSI X9.62), in lower case.
_GROUP_ALIASES: Final = {
    "p-256": NamedGroup.secp256r1,
    "prime256v1": NamedGroup.secp256r1,
    "p-384": NamedGroup.secp384r1,
    "p-521": NamedGroup.secp521r1,
}
_GROUPS: Final = {group.name.lower(): group for group in NamedGroup} | _GROUP_ALIASES

#: A `repr` shows so many items of a sequence.
_SHOWN_ITEMS: Final = 4


@frozen()
class SessionCache:
    """How a context remembers sessions, so that they can be resumed (RFC 8446 2.2).

    Only the wish is stated here. Each context keeps a cache of its own, in this process; caches
    are never shared between contexts, even of equal configurations, and what is in them is
    opaque. A resumed session keeps every promise of the configuration it is resumed under.

    `capacity`: how many peers are remembered, 1 to 1,000,000; the least recently used is
    forgotten first. For no resumption at all, a configuration takes `sessions=None`.

    Raises TypeError if the capacity is no integer.
    """

    capacity: int = 256

    def __post_init__(self) -> None:
        if isinstance(self.capacity, bool):
            raise TypeError("capacity must be int, not bool")
        instance_of("capacity", self.capacity, int)


_DEFAULT_SESSIONS: Final = SessionCache()


def key_log_from_environment() -> str | None:
    """Return the path in SSLKEYLOGFILE for a configuration's `key_log`; None without one.

    polytls reads that variable here and nowhere else: whoever starts a program must not be able
    to make it give its secrets away unless it asks for that.
    """
    return os.environ.get("SSLKEYLOGFILE") or None


@frozen()
class _Configuration(Record):
    """What both sides have in common."""

    certificate_chain: SigningChain | tuple[SigningChain, ...] | None
    #: The suites that may be used, the preferred first; None: the library's own choice. An upper
    #: bound: suites that the library does not have narrow it.
    ciphers: tuple[CipherSuite | int, ...] | None
    #: The protocols for ALPN, the preferred first (RFC 7301); empty for no ALPN.
    inner_protocols: tuple[NextProtocol | bytes, ...]
    #: The lowest version that may be used; None: TLS 1.2, or the library's lowest above.
    lowest_supported_version: TLSVersion | None
    #: The highest version that may be used; None: the library's highest.
    highest_supported_version: TLSVersion | None
    #: What peers are verified by; None: the system's on a client, nothing on a server.
    trust_store: TrustStore | None
    #: How sessions are remembered for resumption; None: no resumption.
    sessions: SessionCache | None
    #: The key exchange groups that may be used, the preferred first; None: the library's. An upper
    #: bound, as the ciphers are. Groups that are all of TLS 1.3 leave only that version.
    groups: tuple[NamedGroup | int, ...] | None
    #: Where the secrets of every connection are written, for debugging; None: nowhere.
    #:
    #: A path, or a function that is called with each line of the NSS key log format, without its
    #: end. Whoever reads them reads, and can change, all that the connections carry: a context with
    #: a key log issues a SecurityWarning.
    key_log: str | Callable[[str], object] | None
    #: Custom verification of the peer; None for none.
    #:
    #: Called inside the handshake, in the thread that drives it, with a `PresentedPeer`: after
    #: everything else was found in order, and before any data, on resumed sessions too. A peer that
    #: presents no certificate is not shown. It returns None, or raises to refuse the peer: the
    #: handshake then fails with a CertificateVerificationError whose `__cause__` is what was
    #: raised. Anything returned but None refuses as well. It can never accept what was refused. It
    #: may take its time, which is the handshake's; the connection it is called for is out of its
    #: reach (TLSError).
    peer_verifier: PeerVerifier | None
    #: Whether data may go out, or be taken, before the handshake is done (RFC 8446 2.3).
    #:
    #: Whoever has recorded it can send it again, so it is never on unless it is asked for, and
    #: refused where `Capabilities.early_data` says that the implementation cannot. It is written
    #: and read apart from other data (`SupportsEarlyData`, docs/resumption.md). A server then keeps
    #: its sessions itself, each good for once, so it goes with no `ticket_keys`; and it goes with
    #: no client authentication, and on a client with no `peer_verifier`.
    early_data: bool
    #: For tests: what certificates, revocation lists, sessions and tickets are judged by, in place
    #: of the machine's clock; None: the machine's. Timeouts are always the machine's.
    clock: Clock | None

    def _fill(self, given: dict[str, Any], certificate_chain: _Form) -> None:
        """Keep what a constructor was given, each in the form of its field.

        Raises TypeError for a wrong type, naming the parameter.
        """
        forms = _FORMS | {"certificate_chain": certificate_chain}
        fill(self, **{name: forms[name](name, given[name]) for name in self._fields})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some parameters changed; the constructor's errors apply.

        Raises TypeError for a name that is no parameter.
        """
        return type(self)(**{**self._asdict(), **changes})

    #: `copy.replace` of Python 3.13 looks for this.
    __replace__ = replace

    def __repr__(self) -> str:
        defaults: dict[str, object] = {
            "inner_protocols": (),
            "alternative_chains": (),
            "sessions": _DEFAULT_SESSIONS,
            "early_data": False,
        }
        shown = [
            f"{name}={_shown(value)}"
            for name, value in self._asdict().items()
            if value != defaults.get(name)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@frozen()
class TLSClientConfiguration(_Configuration):
    """What a client wants of its connections (PEP 748, "Configuration").

    `certificate_chain`: what the client proves its identity with, if a server asks; None: nothing.
    `alternative_chains`: as the field says.
    `ciphers`, `inner_protocols`, `lowest_supported_version`, `highest_supported_version`,
    `trust_store`, `sessions`, `groups`, `key_log`, `peer_verifier`, `early_data`, `clock`: as
    the fields of the same names say.
    Ciphers may be plain integers; groups integers or names such as "x25519" or "P-256", in any
    case.

    Raises TypeError for a wrong type, naming the parameter, and ConfigurationError for the name
    of a group that nobody knows. All else is judged by `validate_config` and by the context.
    """

    #: What the client proves its identity with, if a server asks; None: nothing.
    certificate_chain: SigningChain | None
    #: Further chains, the preferred first, of which the server is shown one that suits it. Of
    #: `certificate_chain` and these the first serves whose issuers the server names and whose
    #: algorithms it can verify; if none does, the first that it can verify.
    alternative_chains: tuple[SigningChain, ...]

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
    ) -> None:
        self._fill(locals(), _optional(SigningChain))


@frozen()
class TLSServerConfiguration(_Configuration):
    """What a server wants of its connections (PEP 748, "Configuration").

    `certificate_chain`: one signing chain for each identity; the name that a client asks for
    chooses between them, and the first serves when none fits.
    `ciphers`, `inner_protocols`, `lowest_supported_version`, `highest_supported_version`,
    `trust_store`, `sessions`, `groups`, `key_log`, `peer_verifier`, `early_data`, `clock`: as
    the fields of the same names say.
    Ciphers may be plain integers; groups integers or names such as "x25519" or "P-256", in any
    case.
    `client_authentication`: whether clients are asked for a certificate; None: REQUIRED where
    there is a trust store, NONE otherwise.
    `ticket_keys`: as the field says.

    Raises TypeError for a wrong type, naming the parameter, and ConfigurationError for the name
    of a group that nobody knows. All else is judged by `validate_config` and by the context.
    """

    #: One signing chain for each identity of the server, the default first.
    certificate_chain: tuple[SigningChain, ...] | None
    #: As it was given; `capabilities.check` tells what None comes to.
    client_authentication: ClientAuthentication | None
    #: Ticket encryption keys; None for random keys per context.
    ticket_keys: TicketKeys | None

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
    ) -> None:
        self._fill(locals(), _chains_of)


_C = TypeVar("_C", bound=_Configuration)


def with_sources(configuration: _C, change: Callable[[str, Source], Source]) -> _C:
    """Return a copy with every source in it replaced by what `change` makes of it.

    `change` is called with the name of the parameter that the source is in, and the source.
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
    chains = items_of(name, value, "SigningChain", hint)
    return tuple(
        instance_of(f"{name}[{index}]", item, SigningChain) for index, item in enumerate(chains)
    )


def _ciphers_of(name: str, value: object) -> tuple[CipherSuite | int, ...] | None:
    if value is None:
        return None
    suites: list[CipherSuite | int] = []
    for index, item in enumerate(items_of(name, value, "CipherSuite or int")):
        if not isinstance(item, int) or isinstance(item, bool):
            _wrong_item(name, index, item, "CipherSuite or int", CipherSuite)
        suites.append(known(CipherSuite, item))
    return tuple(suites)


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


def _verifier_of(name: str, value: object) -> object:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable, not {kind_of(value)}")
    return value


def _clock_of(name: str, value: object) -> object:
    if value is None:
        return None
    # Whoever has a clock has loaded it.
    from ._native import Clock

    return instance_of(name, value, Clock)


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


#: What brings each parameter into the form of its field; raises TypeError, naming the parameter.
_FORMS: Final[dict[str, _Form]] = {
    "ciphers": _ciphers_of,
    "inner_protocols": _protocols_of,
    "lowest_supported_version": _optional(TLSVersion),
    "highest_supported_version": _optional(TLSVersion),
    "trust_store": _optional(TrustStore),
    "sessions": _optional(SessionCache),
    "groups": _groups_of,
    "key_log": _key_log_of,
    "peer_verifier": _verifier_of,
    "early_data": partial(instance_of, kind=bool),
    "clock": _clock_of,
    "alternative_chains": lambda name, value: _chains_of(name, value) or (),
    "client_authentication": _optional(ClientAuthentication),
    "ticket_keys": _optional(TicketKeys),
}


def _shown(value: object) -> str:
    """A value as a `repr` prints it: enumerations by name, long sequences cut short."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, tuple):
        items = [_shown(item) for item in value[:_SHOWN_ITEMS]]
        if len(value) > _SHOWN_ITEMS:
            items.append(f"and {len(value) - _SHOWN_ITEMS} more")
        return f"[{', '.join(items)}]"
    return repr(value)
