"""What the connections of one context share: `ssl.SSLContext`s, the choice of chains, counters.

A server has one SSLContext for each set of chains that can answer to one name, with the keys of
all their types: `ssl` cannot see in its callback what a client can verify, but OpenSSL chooses
among the types by that.
"""

from __future__ import annotations

import ssl
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ...configuration import TLSClientConfiguration, TLSServerConfiguration
from ...constants import CipherSuite, NamedGroup, TLSVersion, known
from ...errors import CertificateVerificationError
from ...info import SessionStatistics
from ...insecure import InsecureConfiguration
from ..contexts import Parameters
from .credentials import identity_of
from .openssl_names import GROUPS, suites
from .sessions import Established, Keeper, Lineage, Place, Sessions
from .settings import Settings, new_context
from .verdict import Judge, Verdict

__all__ = ["ClientEngine", "Counters", "ServerEngine", "Session", "Side"]


class Session(ssl.SSLObject):
    """One side of one connection, as `ssl` makes it; it remembers what its callback was told."""

    #: The name in ClientHello, on a server that got one.
    server_name: str | None = None


class Counters:
    """What has become of the connections of one context."""

    def __init__(self, *, server: bool) -> None:
        self._server = server
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, what: str) -> None:
        """Count one of what `SessionStatistics` has."""
        with self._lock:
            self._counts[what] += 1

    def read(self) -> SessionStatistics:
        """Return them as they are; `ssl` does not tell what becomes of a server's tickets."""
        with self._lock:
            counts = {each.name: self._counts[each.name] for each in fields(SessionStatistics)}
        if self._server:
            unknown: dict[str, Any] = dict.fromkeys(("stored", "hits", "misses"))
            return SessionStatistics(**{**counts, **unknown})
        return SessionStatistics(**counts)


@dataclass(slots=True)
class Side:
    """What a buffer gets of its context."""

    tls: Session
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    server: bool
    counters: Counters
    #: The name to be verified and asked for, on a client that has one.
    host: str | None = None
    #: The session that is offered to the server.
    offered: Established | None = None
    #: Keeps sessions for later connections, on a client that does.
    keeper: Keeper | None = None
    #: The one group there is to use; None: there are several.
    only_group: NamedGroup | None = None
    #: The leaves of a server's contexts that present one chain alone, DER.
    leaves: Mapping[ssl.SSLContext, bytes] = field(default_factory=dict)
    #: Who judges the peer beyond what OpenSSL does; None: nobody.
    judge: Judge | None = None
    #: What the judge said; None: nothing, so far.
    verdict: Verdict | None = None

    def own_leaf(self) -> bytes | None:
        """The certificate that a server presents; None where `ssl` does not tell which."""
        return self.leaves.get(self.tls.context)


def _only_group(settings: Settings) -> NamedGroup | None:
    if settings.groups is None or len(settings.groups) > 1:
        return None
    return next(group for group, name in GROUPS.items() if name == settings.groups[0])


def _enabled(
    settings: Settings, context: ssl.SSLContext, asked: Sequence[int] | None
) -> tuple[CipherSuite | int, ...]:
    """The suites that can be negotiated, in the order asked for, else in OpenSSL's."""
    served = {version is TLSVersion.TLSv1_3 for version in settings.versions}
    enabled = [
        suite.number
        for suite in suites(context)
        if suite.is_tls13 in served and (suite.can_be_served or not settings.server)
    ]
    if asked is not None:
        enabled = [number for number in dict.fromkeys(asked) if number in enabled]
    return tuple(known(CipherSuite, number) for number in enabled)


class ClientEngine:
    """Everything the connections of one client context share.

    Raises ConfigurationError.
    """

    def __init__(
        self, configuration: TLSClientConfiguration, insecure: InsecureConfiguration | None
    ) -> None:
        self._settings = Settings.of(configuration, insecure)
        self._checks_names = not (insecure and insecure.disable_hostname_check)
        chain = configuration.certificate_chain
        identities = [] if chain is None else [identity_of(chain)]
        self._context = new_context(self._settings, identities)
        self._context.sslobject_class = Session
        self._only_group = _only_group(self._settings)
        sessions = configuration.sessions
        self._sessions = None if sessions is None else Sessions(sessions.capacity)
        self.counters = Counters(server=False)
        self.effective_ciphers = _enabled(self._settings, self._context, configuration.ciphers)

    def admit(self, lineage: Lineage, host: str | None) -> Lineage:
        """Return a session that may be offered to `host`.

        Raises ValueError.
        """
        if not self._checks_names and lineage.place.host != host:
            raise ValueError(
                "session: it was begun under another name, and names are not checked here; resume "
                "it under its own name, or let the handshake be a full one"
            )
        judge = self._settings.judge
        try:
            if judge is not None:
                judge.admit(lineage.peer_chain, lineage.verdict, host)
        except CertificateVerificationError as refusal:
            raise ValueError(
                f"session: its certificate is not accepted for this connection: {refusal}"
            ) from refusal
        return lineage

    def begin(self, parameters: Parameters) -> Side:
        """Return a new connection to a server."""
        host, port, lineage = parameters
        offered = keeper = None
        if (sessions := self._sessions) is not None:
            place = Place(host, port)
            if lineage is not None:
                offered = sessions.take_of(lineage)
            elif host is not None:
                offered = sessions.take(place)
            keeper = Keeper(sessions, place, lineage, offered)
            if host is not None:
                self.counters.count("misses" if offered is None else "hits")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(
            incoming,
            outgoing,
            server_side=False,
            server_hostname=host,
            session=None if offered is None else offered.session,
        )
        return Side(
            tls=tls,  # type: ignore[arg-type]  # Of `sslobject_class`.
            incoming=incoming,
            outgoing=outgoing,
            server=False,
            counters=self.counters,
            host=host,
            offered=offered,
            keeper=keeper,
            only_group=self._only_group,
            judge=self._settings.judge,
        )


class ServerEngine:
    """Everything the connections of one server context share.

    Raises ConfigurationError.
    """

    def __init__(
        self, configuration: TLSServerConfiguration, insecure: InsecureConfiguration | None
    ) -> None:
        settings = self._settings = Settings.of(configuration, insecure)
        identities = [identity_of(chain) for chain in configuration.certificate_chain or ()]
        self._names = _NameTable([identity.names for identity in identities])
        self._contexts = {
            chosen: new_context(settings, [identities[index] for index in chosen])
            for chosen in self._names.choices()
        }
        self._leaves = {
            self._contexts[chosen]: identities[chosen[0]].leaf
            for chosen in self._contexts
            if len(chosen) == 1
        }
        default = self._default = self._contexts[self._names.fallback]
        self._receive_clients(default)
        self._only_group = _only_group(settings)
        # Without tickets OpenSSL still resumes TLS 1.2 from a cache that `ssl` cannot switch off
        # (SSL_CTX_set_session_cache_mode(3)). Sessions belong to the SSLContext that a connection
        # began with; so each begins with one of its own, and the callback switches from there.
        self._begins_anew = not settings.resumption and TLSVersion.TLSv1_2 in settings.versions
        self.counters = Counters(server=True)
        self.effective_ciphers = _enabled(settings, default, configuration.ciphers)

    def begin(self) -> Side:
        """Return a new connection with whatever client."""
        context = self._default
        if self._begins_anew:
            context = new_context(replace(self._settings, trust=None))
            self._receive_clients(context)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return Side(
            tls=context.wrap_bio(incoming, outgoing, server_side=True),  # type: ignore[arg-type]
            incoming=incoming,
            outgoing=outgoing,
            server=True,
            counters=self.counters,
            only_group=self._only_group,
            leaves=self._leaves,
            judge=self._settings.judge,
        )

    def _receive_clients(self, context: ssl.SSLContext) -> None:
        """Have OpenSSL ask for the chain, by the name in ClientHello or for want of one."""
        names, contexts = self._names, self._contexts

        def choose(tls: Session, name: str | None, current: ssl.SSLContext) -> None:
            tls.server_name = name
            chosen = contexts[names.candidates(name)]
            if chosen is not current:
                tls.context = chosen

        context.sslobject_class = Session
        context.sni_callback = choose  # type: ignore[assignment]


class _NameTable:
    """The DNS names of several chains, looked up by the name in ClientHello.

    The rules are the core's (crates/core/src/sni.rs): the very name, else a wildcard for it, else
    the first chain and those with just its names.
    """

    def __init__(self, chains: Iterable[Iterable[str]]) -> None:
        self._exact: dict[str, tuple[int, ...]] = {}
        #: By what follows "*.".
        self._wildcard: dict[str, tuple[int, ...]] = {}
        self.fallback: tuple[int, ...] = ()
        first: set[str] | None = None
        for index, given in enumerate(chains):
            names = {name.lower() for name in given}
            for name in names:
                table = self._wildcard if name.startswith("*.") else self._exact
                key = name.removeprefix("*.")
                table[key] = (*table.get(key, ()), index)
            first = names if first is None else first
            if names == first:
                self.fallback = (*self.fallback, index)

    def candidates(self, name: str | None) -> tuple[int, ...]:
        """Return the chains that answer to `name`, the preferred first."""
        if name is None:
            return self.fallback
        name = name.removesuffix(".").lower()
        found = self._exact.get(name) or self._wildcard.get(name.partition(".")[2])
        return found or self.fallback

    def choices(self) -> set[tuple[int, ...]]:
        """Return all that `candidates` can give."""
        return {self.fallback, *self._exact.values(), *self._wildcard.values()}
