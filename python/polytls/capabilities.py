"""What a TLS library can do, and whether a configuration asks for more.

Each implementation publishes a `Capabilities` record. `check` is the one judge that compares a
configuration with it, and `effective_*` tell what a valid configuration comes to; so that the
same wish gets the same answer, in the same words, from every implementation.

Nothing here opens a file or parses a certificate: that is a context's task. What a record cannot
express, an implementation refuses by itself, with `refusal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Literal, TypeAlias

from .configuration import TLSClientConfiguration, TLSServerConfiguration
from .constants import (
    CipherSuite,
    ClientAuthentication,
    NamedGroup,
    NextProtocol,
    TLSVersion,
    known,
)
from .errors import ConfigurationError
from .frozen import frozen
from .identity import Certificate, PrivateKey, RevocationList, SigningChain, TrustStore

__all__ = [
    "Capabilities",
    "check",
    "check_no_early_data",
    "effective_ciphers",
    "effective_client_authentication",
    "effective_groups",
    "effective_versions",
    "refusal",
]

_Configuration: TypeAlias = TLSClientConfiguration | TLSServerConfiguration
_Refuse: TypeAlias = Callable[[str, str], ConfigurationError]

#: The versions that can be negotiated, the lowest first.
_VERSIONS: Final = (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3)

#: Suites of TLS 1.3 registered outside 0x13xx: RFC 8998 (SM4) and RFC 9150 (integrity only).
_TLS13_ELSEWHERE: Final = frozenset({0x00C6, 0x00C7, 0xC0B4, 0xC0B5})

#: ML-KEM and its hybrids are defined for TLS 1.3 only (draft-ietf-tls-ecdhe-mlkem,
#: draft-ietf-tls-mlkem).
_TLS13_GROUPS: Final = frozenset(group for group in NamedGroup if "MLKEM" in group.name)

#: Suites and groups are 16-bit numbers on the wire.
_NUMBERS: Final = range(0x10000)

#: Bytes of a protocol's name (RFC 7301 3.1), and of the whole extension, which begins with the
#: two bytes that count the list (RFC 8446 4.2).
_LONGEST_PROTOCOL: Final = 255
_LONGEST_EXTENSION: Final = 0xFFFF

#: Peers that a session cache may remember: a guard against numbers that were meant for bytes.
_LARGEST_CACHE: Final = 1_000_000


@frozen(kw_only=True)
class Capabilities:
    """What an implementation can do on this machine.

    Raises ValueError for the name of a source or a binding that does not exist.
    """

    #: Where trust can come from: any of "system", "buffer", "file", "id", and "pins" where pinned
    #: certificates and keys are accepted.
    trust_sources: frozenset[str]
    #: Where certificates can come from: any of "buffer", "file" and "id".
    certificate_sources: frozenset[str]
    #: Where private keys can come from: any of "buffer", "file", "id" and "signer".
    key_sources: frozenset[str]
    #: The versions, the lowest first; never the open-ended members of `TLSVersion`.
    versions: tuple[TLSVersion, ...]
    #: The library's cipher suites, in the order in which it prefers them.
    cipher_suites: tuple[int, ...]
    #: How ciphers can be chosen. "exact": any list of suites. "families": by algorithm only; a
    #: list that cannot be expressed so is refused when a context is made. "system": not at all.
    cipher_choice: Literal["exact", "families", "system"]
    #: The library's key exchange groups, the preferred first; empty if they cannot be chosen.
    groups: tuple[int, ...]
    #: Whether servers can ask for a certificate, and clients present one.
    client_authentication: bool
    #: Whether a server can choose between several chains by the name asked for (RFC 6066 3).
    sni_selection: bool
    #: Whether sessions can be resumed. `sessions=None` is honoured in any case.
    resumption: bool
    #: Whether keying material can be exported (RFC 8446 7.5).
    exporter: bool = False
    #: The channel bindings there are: any of "tls-exporter" and "tls-server-end-point".
    channel_bindings: frozenset[str] = frozenset()
    #: Whether secrets can be logged for debugging (the NSS key log format).
    key_log: bool = False
    #: Whether certificate revocation lists are honoured (RFC 5280 5).
    crl: bool = False
    #: Whether leaves can be accepted by themselves (`peers` of a `TrustStore`).
    peers: bool = False
    #: Whether servers can be given the keys of their tickets (RFC 5077).
    ticket_keys: bool = False
    #: Whether servers can pass on what issuers say of revocation (RFC 6066 8).
    ocsp_stapling: bool = False
    #: Whether clients can choose between several chains.
    client_chain_selection: bool = False
    #: Whether custom verification of the peer is possible.
    peer_verifier: bool = False
    #: Whether early data can be sent and received (RFC 8446 2.3).
    early_data: bool = False
    #: Whether a connection's session can be named for another to resume (`session=`).
    named_sessions: bool = False
    #: Whether Encrypted Client Hello is available.
    ech: bool = False

    def __post_init__(self) -> None:
        sources = {"buffer", "file", "id"}
        for name, given, allowed in (
            ("trust_sources", self.trust_sources, sources | {"system", "pins"}),
            ("certificate_sources", self.certificate_sources, sources),
            ("key_sources", self.key_sources, sources | {"signer"}),
        ):
            if wrong := given - allowed:
                raise ValueError(f"{name}: no such source: {', '.join(sorted(wrong))}")
        if wrong := self.channel_bindings - {"tls-exporter", "tls-server-end-point"}:
            raise ValueError(f"channel_bindings: no such binding: {', '.join(sorted(wrong))}")


def refusal(implementation: str, field: str, message: str) -> ConfigurationError:
    """Return the error for a parameter `field` that `implementation` cannot honour."""
    return ConfigurationError(
        f"{implementation}: {field}: {message}", field=field, implementation=implementation
    )


def check(
    configuration: _Configuration,
    capabilities: Capabilities,
    implementation: str,
    *,
    verification: bool = True,
) -> None:
    """Refuse a configuration that `implementation` cannot honour, as far as is known without files.

    `verification`: False where `polytls.insecure` has switched verification off; trust is then
    not demanded.

    Raises ConfigurationError with the first parameter found at fault, and TypeError if the
    configuration is none.
    """
    if not isinstance(configuration, _Configuration):
        raise TypeError(
            "configuration must be TLSClientConfiguration or TLSServerConfiguration, "
            f"not {type(configuration).__name__}"
        )
    refuse = partial(refusal, implementation)
    _check_versions(configuration, capabilities, refuse)
    _check_ciphers(configuration, capabilities, refuse)
    _check_groups(configuration, capabilities, refuse)
    _check_protocols(configuration, refuse)
    _check_sessions(configuration, capabilities, refuse)
    if configuration.key_log is not None and not capabilities.key_log:
        raise refuse("key_log", "the library does not give its secrets away; leave it None")
    if configuration.early_data:
        _check_early_data(configuration, capabilities, refuse)
    _check_chains(configuration, capabilities, refuse)
    _check_trust(configuration, capabilities, verification, refuse)
    if configuration.peer_verifier is not None and not capabilities.peer_verifier:
        raise refuse("peer_verifier", "the library lets nobody have a say; leave it None")


def check_no_early_data(configuration: TLSServerConfiguration, where: str) -> None:
    """Refuse a server's early data where nobody could read it.

    Raises ConfigurationError.
    """
    if configuration.early_data:
        raise ConfigurationError(
            f"early_data: {where} has no way to read it; leave it False", field="early_data"
        )


def effective_versions(
    configuration: _Configuration, capabilities: Capabilities
) -> tuple[TLSVersion, ...]:
    """Return the versions that can be negotiated, the lowest first; empty if none is left.

    A list of ciphers that has suites for one version only leaves only that version. Groups that are
    all of TLS 1.3 leave only TLS 1.3: there would be no group to exchange keys in for TLS 1.2.
    """
    versions = _versions_served(configuration, capabilities)
    groups = effective_groups(configuration, capabilities)
    if configuration.groups is not None and _TLS13_GROUPS.issuperset(groups):
        return tuple(version for version in versions if version is TLSVersion.TLSv1_3)
    return versions


def effective_ciphers(
    configuration: _Configuration, capabilities: Capabilities
) -> tuple[CipherSuite | int, ...]:
    """Return the suites that the library has of those asked for, in that order.

    Where none are asked for, they are the library's own. Doubles are dropped.
    """
    return tuple(
        known(CipherSuite, suite)
        for suite in _both(configuration.ciphers, capabilities.cipher_suites)
    )


def effective_groups(
    configuration: _Configuration, capabilities: Capabilities
) -> tuple[NamedGroup | int, ...]:
    """Return the groups that the library has of those asked for, as `effective_ciphers` does."""
    return tuple(
        known(NamedGroup, group) for group in _both(configuration.groups, capabilities.groups)
    )


def effective_client_authentication(configuration: TLSServerConfiguration) -> ClientAuthentication:
    """Return what the server asks of its clients: REQUIRED by default if it has a trust store."""
    if configuration.client_authentication is not None:
        return configuration.client_authentication
    if configuration.trust_store is not None:
        return ClientAuthentication.REQUIRED
    return ClientAuthentication.NONE


def _both(asked: tuple[int, ...] | None, available: tuple[int, ...]) -> Iterable[int]:
    if asked is None:
        return available
    return dict.fromkeys(number for number in asked if number in available)


def _versions_served(
    configuration: _Configuration, capabilities: Capabilities
) -> tuple[TLSVersion, ...]:
    """The versions in range that the ciphers serve."""
    in_range = _versions_in_range(configuration, capabilities)
    if configuration.ciphers is None:
        return in_range
    served = {_version_of(suite) for suite in effective_ciphers(configuration, capabilities)}
    return tuple(version for version in in_range if version in served)


def _version_of(suite: int) -> TLSVersion:
    """The one version that a suite serves (RFC 8446 B.4)."""
    if suite >> 8 == 0x13 or suite in _TLS13_ELSEWHERE:
        return TLSVersion.TLSv1_3
    return TLSVersion.TLSv1_2


def _bounds(configuration: _Configuration, capabilities: Capabilities) -> tuple[int, int]:
    """The range of versions as indices into `_VERSIONS`, both inclusive."""
    lowest = configuration.lowest_supported_version
    highest = configuration.highest_supported_version
    if lowest is None or lowest is TLSVersion.MINIMUM_SUPPORTED:
        low = 0
    elif lowest is TLSVersion.MAXIMUM_SUPPORTED:
        low = max(map(_VERSIONS.index, capabilities.versions), default=0)
    else:
        low = _VERSIONS.index(lowest)
    if highest is TLSVersion.MINIMUM_SUPPORTED:
        high = -1  # Refused by check: it would silently change with the library.
    elif highest is None or highest is TLSVersion.MAXIMUM_SUPPORTED:
        high = len(_VERSIONS) - 1
    else:
        high = _VERSIONS.index(highest)
    return low, high


def _versions_in_range(
    configuration: _Configuration, capabilities: Capabilities
) -> tuple[TLSVersion, ...]:
    low, high = _bounds(configuration, capabilities)
    return tuple(
        version for version in _VERSIONS[low : high + 1] if version in capabilities.versions
    )


def _check_versions(
    configuration: _Configuration, capabilities: Capabilities, refuse: _Refuse
) -> None:
    lowest = configuration.lowest_supported_version
    highest = configuration.highest_supported_version
    if highest is TLSVersion.MINIMUM_SUPPORTED:
        raise refuse(
            "highest_supported_version",
            "MINIMUM_SUPPORTED is no upper end; name a version, or leave it None",
        )
    low, high = _bounds(configuration, capabilities)
    if lowest is not None and highest is not None and low > high:
        raise refuse(
            "lowest_supported_version",
            f"{lowest.value} is above highest_supported_version, {highest.value}; "
            "exchange them, or leave one None",
        )
    if not _versions_in_range(configuration, capabilities):
        # One of two versions is missing: the end that insists on it is the one at fault.
        field = "highest_supported_version" if high == 0 else "lowest_supported_version"
        has = _listed(version.value for version in capabilities.versions)
        raise refuse(field, f"no version is left in this range; the library has {has}")


def _check_ciphers(
    configuration: _Configuration, capabilities: Capabilities, refuse: _Refuse
) -> None:
    field, ciphers = "ciphers", configuration.ciphers
    if ciphers is None:
        return
    if capabilities.cipher_choice == "system":
        raise refuse(field, "the system chooses the suites; leave it None")
    _check_numbers(ciphers, field, refuse)
    if not effective_ciphers(configuration, capabilities):
        has = _listed(_name(known(CipherSuite, suite)) for suite in capabilities.cipher_suites)
        raise refuse(field, f"the library has none of these suites; it has {has}")
    if not _versions_served(configuration, capabilities):
        wanted = (version.value for version in _versions_in_range(configuration, capabilities))
        raise refuse(
            field,
            f"none of these suites serves {_listed(wanted, 'or')}; "
            "add suites of that version, or widen the range of versions",
        )


def _check_groups(
    configuration: _Configuration, capabilities: Capabilities, refuse: _Refuse
) -> None:
    field, groups = "groups", configuration.groups
    if groups is None:
        return
    if not capabilities.groups:
        raise refuse(field, "the library's groups cannot be chosen; leave it None")
    _check_numbers(groups, field, refuse)
    if not effective_groups(configuration, capabilities):
        has = _listed(_name(known(NamedGroup, group)) for group in capabilities.groups)
        raise refuse(field, f"the library has none of these groups; it has {has}")
    if not effective_versions(configuration, capabilities):
        raise refuse(
            field, "these groups are of TLS 1.3 only; add one for TLS 1.2, or allow TLS 1.3"
        )


def _check_numbers(numbers: tuple[int, ...], field: str, refuse: _Refuse) -> None:
    if not numbers:
        raise refuse(field, "the list is empty; leave it None for the library's own choice")
    for number in numbers:
        if number not in _NUMBERS:
            raise refuse(field, f"{number} is no 16-bit number (0 to 65535)")


def _check_protocols(configuration: _Configuration, refuse: _Refuse) -> None:
    field, total = "inner_protocols", 2
    for protocol in configuration.inner_protocols:
        name = protocol.value if isinstance(protocol, NextProtocol) else protocol
        if not 1 <= len(name) <= _LONGEST_PROTOCOL:
            raise refuse(
                field,
                f"a name of {len(name)} bytes; 1 to {_LONGEST_PROTOCOL} are allowed (RFC 7301 3.1)",
            )
        total += 1 + len(name)
    if total > _LONGEST_EXTENSION:
        raise refuse(
            field, f"the names take {total} bytes together; {_LONGEST_EXTENSION} is the most"
        )


def _check_sessions(
    configuration: _Configuration, capabilities: Capabilities, refuse: _Refuse
) -> None:
    sessions = configuration.sessions
    if sessions is not None and not 1 <= sessions.capacity <= _LARGEST_CACHE:
        raise refuse(
            "sessions",
            f"a capacity of {sessions.capacity} is not within 1 to {_LARGEST_CACHE}; "
            "sessions=None switches resumption off",
        )
    if not isinstance(configuration, TLSServerConfiguration) or configuration.ticket_keys is None:
        return
    if not capabilities.ticket_keys:
        raise refuse("ticket_keys", "the library makes its ticket keys itself; leave it None")
    if sessions is None:
        raise refuse("ticket_keys", "sessions=None switches resumption off; leave one of them out")


def _check_early_data(
    configuration: _Configuration, capabilities: Capabilities, refuse: _Refuse
) -> None:
    field = "early_data"
    if not capabilities.early_data:
        raise refuse(field, "data that can be replayed is not sent or taken; leave it False")
    if configuration.sessions is None:
        raise refuse(field, "it takes a session to resume; sessions=None switches that off")
    if not isinstance(configuration, TLSServerConfiguration):
        if configuration.peer_verifier is not None:
            raise refuse(field, "it would leave before the peer_verifier is asked; leave one out")
        return
    if configuration.ticket_keys is not None:
        raise refuse(
            field,
            "each session must be good for once, which ticket_keys cannot see to: whoever has them "
            "accepts a replay; give one of them",
        )
    if effective_client_authentication(configuration) is not ClientAuthentication.NONE:
        raise refuse(
            field, "it would be taken before the client is known; set client_authentication to NONE"
        )


def _check_chains(
    configuration: _Configuration, capabilities: Capabilities, refuse: _Refuse
) -> None:
    field = "certificate_chain"
    chains: tuple[SigningChain, ...]
    if isinstance(configuration, TLSServerConfiguration):
        chains = configuration.certificate_chain or ()
        if not chains:
            raise refuse(field, "a server needs at least one SigningChain")
        if len(chains) > 1 and not capabilities.sni_selection:
            raise refuse(field, "the library cannot choose between chains by name; give one")
    elif configuration.certificate_chain is None:
        if configuration.alternative_chains:
            raise refuse(
                "alternative_chains", "there is no certificate_chain that these are besides"
            )
        return
    elif not capabilities.client_authentication:
        raise refuse(field, "the library has no client authentication; leave it None")
    else:
        chains = (configuration.certificate_chain, *configuration.alternative_chains)
        if len(chains) > 1 and not capabilities.client_chain_selection:
            raise refuse(
                "alternative_chains", "the library cannot choose between chains; leave it empty"
            )
    for signing in chains:
        certificate, key = signing.leaf
        if signing.ocsp_response is not None and not capabilities.ocsp_stapling:
            raise refuse(field, "the library cannot staple an ocsp_response; leave it None")
        for item in (certificate, *signing.chain):
            _check_source(item, capabilities.certificate_sources, "a certificate", field, refuse)
        if key is not None:
            _check_source(key, capabilities.key_sources, "a private key", field, refuse)


def _check_trust(
    configuration: _Configuration,
    capabilities: Capabilities,
    verification: bool,
    refuse: _Refuse,
) -> None:
    field, store = "trust_store", configuration.trust_store
    if store is not None:
        _check_store(store, capabilities, refuse)
        if not verification and (store.pins is not None or store.peers or store.crls):
            raise refuse(
                field,
                "verification is switched off, so pins, peers and crls mean nothing; leave them "
                "out",
            )
    if isinstance(configuration, TLSServerConfiguration):
        asked = effective_client_authentication(configuration)
        if asked is ClientAuthentication.NONE:
            return
        if not capabilities.client_authentication:
            raise refuse(
                "client_authentication",
                "the library has no client authentication; set it to NONE",
            )
        if store is None and verification:
            raise refuse(
                field,
                f"client_authentication is {asked.name}, but there is nothing to verify clients "
                "by; give a TrustStore",
            )
    elif store is None and verification and "system" not in capabilities.trust_sources:
        raise refuse(field, "the library cannot use the system's trust; give a TrustStore")


def _check_store(store: TrustStore, capabilities: Capabilities, refuse: _Refuse) -> None:
    field = "trust_store"
    _check_source(store, capabilities.trust_sources, "a trust store", field, refuse)
    pinned = () if store.pins is None else store.pins.certificates
    if store.peers and not capabilities.peers:
        raise refuse(field, "the library accepts no leaves by themselves; leave peers out")
    for certificate in (*store.extra, *store.peers, *pinned):
        _check_source(certificate, capabilities.certificate_sources, "a certificate", field, refuse)
    if store.crls and not capabilities.crl:
        raise refuse(field, "the library takes no revocation lists; leave crls out")
    for listed in store.crls:
        sources = capabilities.certificate_sources
        _check_source(listed, sources, "a revocation list", field, refuse)


def _check_source(
    item: Certificate | PrivateKey | RevocationList | TrustStore,
    supported: frozenset[str],
    what: str,
    field: str,
    refuse: _Refuse,
) -> None:
    source = _SOURCES[item.source]
    if item.source not in supported:
        others = _listed((_SOURCES[name] for name in sorted(supported)), "or")
        raise refuse(field, f"{what} cannot come from {source}, only from {others}")
    if b"" in (item.buffer, item.id) or item.path == "":
        raise refuse(field, f"{what} comes from {source} that is empty")


#: The sources in words.
_SOURCES: Final = {
    "buffer": "a buffer",
    "file": "a file",
    "id": "an id",
    "signer": "a signer",
    "pins": "pins",
    "system": "the system",
}


def _name(number: CipherSuite | NamedGroup | int) -> str:
    return number.name if isinstance(number, CipherSuite | NamedGroup) else f"0x{number:04X}"


def _listed(names: Iterable[str], last: str = "and") -> str:
    """A list in words: "a, b and c"."""
    *before, final = [*names] or ["nothing"]
    return f"{', '.join(before)} {last} {final}" if before else final
