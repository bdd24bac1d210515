"""Every implementation as client against every one as server, in memory and over sockets.

A cell is one combination of version, type of keys, cipher suite, ALPN, client authentication and
sessions. In each, two connections are made between the same two contexts: what both sides tell of
the handshake is compared, 64 KiB go each way, and each side ends it once before the other.

Rules of this file:

- What cannot be is not collected, and what can be is said by the implementations' `Capabilities`
  alone: no implementation is named here.
- The full product would be thousands of cells for each two implementations and transport. What is
  collected of it are the axes (a centre, and what differs from it in one value) and as many cells
  as it takes that any two values of any two axes, where they can, meet in one (`all_pairs`). It is
  the same choice in every run; the last test of this file holds it against the full product.
- How many there are depends on the suites of the libraries. With OpenSSL 3.0 there are 1,173: about
  50 for each two implementations and transport, and 182 where both are `ssl`, which has 44 suites
  of TLS 1.2 for these keys.

Suites that need what no configuration of PEP 748 can give are not among them: finite-field
Diffie-Hellman (a server's parameters, RFC 5246 7.4.3), DSS keys, pre-shared keys.
"""

from __future__ import annotations

import itertools
import random
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pytest

import polytls
from polytls import (
    CipherSuite,
    ClientAuthentication,
    ConfigurationError,
    ConnectionInfo,
    NextProtocol,
    SessionCache,
    SigningChain,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TLSVersion,
    TrustStore,
    WantReadError,
)
from polytls.capabilities import Capabilities
from polytls.constants import known
from polytls.testing import CertificateAuthority, KeyType, tie

HOST: Final = "localhost"
#: What no call of these tests may take, in seconds.
PATIENCE: Final = 10.0

REQUEST: Final = random.Random("request").randbytes(64 * 1024)
RESPONSE: Final = random.Random("response").randbytes(64 * 1024)

Implementation = polytls.TLSImplementation[Any, Any]
Facts = tuple[ConnectionInfo, ConnectionInfo]


# --- the axes: of each, the value at the centre comes first ---


VERSIONS: Final = (TLSVersion.TLSv1_3, TLSVersion.TLSv1_2)

H2, HTTP1 = NextProtocol.H2, NextProtocol.HTTP1

#: What the client offers, what the server has, and what comes of it: the server's preference.
PROTOCOLS: Final[dict[str, tuple[list[Any], list[Any], NextProtocol | None]]] = {
    "h2": ([H2], [H2], H2),
    "no_alpn": ([], [], None),
    "overlap": ([b"imap", H2, HTTP1], [b"xmpp-server", HTTP1, H2], HTTP1),
}

#: What the server asks for, and whether the client has a certificate.
AUTHENTICATIONS: Final = {
    "unasked": (ClientAuthentication.NONE, False),
    "optional_without": (ClientAuthentication.OPTIONAL, False),
    "optional_with": (ClientAuthentication.OPTIONAL, True),
    "required": (ClientAuthentication.REQUIRED, True),
}

#: Whether client and server remember sessions; the second connection is resumed if both do.
SESSIONS: Final = {
    "resumed": (True, True),
    "client_forgets": (False, True),
    "server_forgets": (True, False),
}


class Values(NamedTuple):
    """One value of each axis: a point of the product."""

    version: TLSVersion
    key_type: KeyType
    #: None: each library's own choice.
    suite: int | None
    protocols: str
    authentication: str
    sessions: str


@dataclass(frozen=True)
class Cell:
    """What is tried, between whom, and over what."""

    client: str
    server: str
    transport: str
    values: Values

    def __str__(self) -> str:
        version, key_type, suite, *others = self.values
        name = "any_suite" if suite is None else suite_name(suite)
        between = f"{self.client}-{self.server}-{self.transport}"
        return "-".join([between, version.value, key_type.value, name, *others])


def suite_name(suite: int) -> str:
    number = known(CipherSuite, suite)
    return number.name if isinstance(number, CipherSuite) else f"0x{number:04X}"


# --- what can be ---


def _suites_of_keys() -> dict[KeyType, frozenset[int]]:
    """The suites of TLS 1.2 for each type of key, from what the OpenSSL at hand knows of them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    having = defaultdict(set)
    for suite in context.get_ciphers():
        having[suite["kea"], suite["auth"]].add(suite["id"] & 0xFFFF)
    # RFC 8422 5.10: Ed25519 goes with the suites that are called after ECDSA.
    ecdsa = frozenset(having["kx-ecdhe", "auth-ecdsa"])
    rsa = frozenset(having["kx-ecdhe", "auth-rsa"] | having["kx-rsa", "auth-rsa"])
    return {key_type: rsa if key_type is KeyType.RSA_2048 else ecdsa for key_type in KeyType}


SUITES_OF_KEYS: Final = _suites_of_keys()


def common_suites(
    client: Capabilities, server: Capabilities, version: TLSVersion, key_type: KeyType
) -> list[int]:
    """The suites that both have for one version and type of key, as the client prefers them."""
    return [
        suite
        for suite in client.cipher_suites
        if suite in server.cipher_suites
        and (
            suite >> 8 == 0x13
            if version is TLSVersion.TLSv1_3
            else suite in SUITES_OF_KEYS[key_type]
        )
    ]


def can_choose(implementation: Implementation, version: TLSVersion, suite: int) -> bool:
    """Whether a configuration can ask it for that suite alone."""
    choice = implementation.capabilities.cipher_choice
    if choice != "families":
        return choice == "exact"
    # Which lists can be expressed is for the implementation to know.
    try:
        implementation.validate_config(
            TLSClientConfiguration(
                ciphers=[suite], lowest_supported_version=version, highest_supported_version=version
            )
        )
    except ConfigurationError as error:
        return error.field != "ciphers"
    return True


def suites(
    client: Implementation, server: Implementation, version: TLSVersion, key_type: KeyType
) -> list[int]:
    """The suites that the two can be made to agree on: it takes one that can choose."""
    return [
        suite
        for suite in common_suites(client.capabilities, server.capabilities, version, key_type)
        if can_choose(client, version, suite) or can_choose(server, version, suite)
    ]


def possible(client: Implementation, server: Implementation) -> list[Values]:
    """The full product, the centre first, without what the two cannot do."""
    both = (client.capabilities, server.capabilities)
    keys = [
        (version, key_type, suite)
        for version in VERSIONS
        for key_type in KeyType
        if all(version in each.versions for each in both)
        and common_suites(*both, version, key_type)
        for suite in (None, *suites(client, server, version, key_type))
    ]
    authentications = [
        name
        for name, (asked, _) in AUTHENTICATIONS.items()
        if asked is ClientAuthentication.NONE or all(each.client_authentication for each in both)
    ]
    sessions = [
        name
        for name, remembers in SESSIONS.items()
        if not all(remembers) or all(each.resumption for each in both)
    ]
    return [
        Values(*key, *others)
        for key in keys
        for others in itertools.product(PROTOCOLS, authentications, sessions)
    ]


# --- what is collected of it ---


def pairs(point: Sequence[Any]) -> Iterator[Any]:
    """All pairs of values of a point, each value with the number of its axis."""
    return itertools.combinations(enumerate(point), 2)


def all_pairs(
    points: Sequence[Values], first: Iterable[Values], chance: random.Random
) -> list[Values]:
    """Choose so many of `points` that every pair of values that is in one of them is in a chosen.

    `first` are chosen in any case. Then, greedily, for the pair that the fewest points have (it
    leaves the least choice): of these points, the one with the most pairs that are still missing.
    `chance` decides between equals.
    """
    having = defaultdict(list)
    for point in points:
        for pair in pairs(point):
            having[pair].append(point)
    missing = dict.fromkeys(sorted(having, key=lambda pair: len(having[pair])))
    chosen: list[Values] = []

    def choose(point: Values) -> None:
        chosen.append(point)
        for pair in pairs(point):
            missing.pop(pair, None)

    for point in first:
        choose(point)
    while missing:
        candidates = having[next(iter(missing))]
        choose(
            max(
                chance.sample(candidates, len(candidates)),
                key=lambda point: sum(pair in missing for pair in pairs(point)),
            )
        )
    return chosen


def axes(points: Sequence[Values]) -> list[Values]:
    """The centre, and the points that differ from it in one value."""
    centre = points[0]
    return [
        point
        for point in points
        if sum(value != middle for value, middle in zip(point, centre, strict=True)) <= 1
    ]


def collected(client: Implementation, server: Implementation, transport: str) -> list[Values]:
    """The points that are tried between two implementations."""
    points = possible(client, server)
    if not points:
        return []
    chance = random.Random(f"{client.name} {server.name} {transport}")
    return all_pairs(points, axes(points), chance)


#: Those that tell what they can do.
IMPLEMENTATIONS: Final = {
    name: implementation
    for name in polytls.implementations()
    if (implementation := polytls.implementation(name)).capabilities is not None
}

TRANSPORTS: Final = ("memory", "sockets")

CELLS: Final = [
    Cell(client, server, transport, values)
    for client, server, transport in itertools.product(IMPLEMENTATIONS, IMPLEMENTATIONS, TRANSPORTS)
    for values in collected(IMPLEMENTATIONS[client], IMPLEMENTATIONS[server], transport)
]


# --- contexts ---


@dataclass(frozen=True)
class Identities:
    """The certificates of both sides, and what they are trusted by; all keys are of one type."""

    trust: TrustStore
    server: SigningChain
    client: SigningChain


@pytest.fixture(scope="session")
def identities() -> dict[KeyType, Identities]:
    """What is presented in the matrix, for each type of key."""
    made = {}
    for key_type in KeyType:
        ca = CertificateAuthority(key_type=key_type)
        made[key_type] = Identities(
            ca.trust_store(),
            ca.issue(HOST, key_type=key_type, client=False),
            ca.issue("client.example", key_type=key_type, server=False),
        )
    return made


def contexts(cell: Cell, identities: Identities) -> tuple[Any, Any]:
    """A new client's and a new server's context, which remember no session yet."""
    values = cell.values
    asked, identified = AUTHENTICATIONS[values.authentication]
    offered, served, _ = PROTOCOLS[values.protocols]
    configurations = (
        TLSClientConfiguration(
            certificate_chain=identities.client if identified else None,
            trust_store=identities.trust,
            inner_protocols=offered,
        ),
        TLSServerConfiguration(
            certificate_chain=[identities.server],
            trust_store=None if asked is ClientAuthentication.NONE else identities.trust,
            client_authentication=asked,
            inner_protocols=served,
        ),
    )
    sides = (IMPLEMENTATIONS[cell.client], IMPLEMENTATIONS[cell.server])
    client, server = (
        configuration.replace(
            lowest_supported_version=values.version,
            highest_supported_version=values.version,
            ciphers=[values.suite]
            if values.suite is not None and can_choose(side, values.version, values.suite)
            else None,
            sessions=SessionCache() if remembers else None,
        )
        for configuration, side, remembers in zip(
            configurations, sides, SESSIONS[values.sessions], strict=True
        )
    )
    return sides[0].client_context(client), sides[1].server_context(server)


# --- connections ---


def twice_in_memory(client: Any, server: Any) -> Iterator[Facts]:
    """Make two connections one after the other, and tell what both sides know of each."""
    for server_ends in (False, True):
        pair = tie(client.create_buffer(HOST), server.create_buffer())
        assert pair.send(pair.client, REQUEST) == REQUEST
        assert pair.send(pair.server, RESPONSE) == RESPONSE
        yield pair.client.info, pair.server.info
        one, other = pair.client, pair.server
        if server_ends:
            one, other = other, one
        with pytest.raises(WantReadError):
            one.shutdown()
        pair.transfer()
        assert other.read(1) == b""
        other.shutdown()
        pair.transfer()
        one.shutdown()
        assert one.read(1) == b""


def twice_over_sockets(client: Any, server: Any) -> Iterator[Facts]:
    """The same, over loopback."""
    with (
        ThreadPoolExecutor(1) as threads,
        closing(server.connect(("127.0.0.1", 0))) as listener,
    ):
        for server_ends in (False, True):
            serving = threads.submit(serve, listener, server_ends)
            try:
                with closing(client.connect((HOST, listener.getsockname()[1]))) as connection:
                    send(connection, REQUEST)
                    assert receive(connection, len(RESPONSE)) == RESPONSE
                    info = connection.info
                    end(connection, before_peer=not server_ends)
                yield info, serving.result(PATIENCE)
            except Exception as error:
                listener.close()
                if there := serving.exception(PATIENCE):
                    error.add_note(f"on the server: {there!r}")
                raise


def serve(listener: Any, ends: bool) -> ConnectionInfo:
    connection, _ = listener.accept()
    with closing(connection):
        assert receive(connection, len(REQUEST)) == REQUEST
        send(connection, RESPONSE)
        info = connection.info
        end(connection, before_peer=ends)
    return info


def send(connection: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[connection.send(view) :]


def receive(connection: Any, length: int) -> bytes:
    data = bytearray()
    while len(data) < length and (piece := connection.recv(length - len(data))):
        data += piece
    return bytes(data)


def end(connection: Any, *, before_peer: bool) -> None:
    """Send close_notify, and see the peer's: `close` waits for it where nothing reads it."""
    if not before_peer:
        assert connection.recv(1) == b""
    connection.close()


TWICE: Final[dict[str, Callable[[Any, Any], Iterator[Facts]]]] = {
    "memory": twice_in_memory,
    "sockets": twice_over_sockets,
}


# --- the tests ---


@pytest.fixture
def _patient() -> Iterator[None]:
    """Let no socket wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    yield
    socket.setdefaulttimeout(before)


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_two_agree(cell: Cell, identities: dict[KeyType, Identities]) -> None:
    values, own = cell.values, identities[cell.values.key_type]
    both = [IMPLEMENTATIONS[name].capabilities for name in (cell.client, cell.server)]
    ciphers = (
        common_suites(*both, values.version, values.key_type)
        if values.suite is None
        else [values.suite]
    )
    _, identified = AUTHENTICATIONS[values.authentication]
    client, server = contexts(cell, own)

    visits = list(TWICE[cell.transport](client, server))

    for (there, here), again in zip(visits, (False, True), strict=True):
        for info in (there, here):
            assert info.version is values.version
            assert info.cipher in ciphers
            assert info.alpn is PROTOCOLS[values.protocols][2]
            assert info.server_name == HOST
            assert info.resumed is (again and all(SESSIONS[values.sessions]))
        assert there.cipher == here.cipher
        assert first_of(there.peer_chain) == own.server.leaf[0].buffer
        assert first_of(here.peer_chain) == (own.client.leaf[0].buffer if identified else None)


def first_of(chain: tuple[bytes, ...] | None) -> bytes | None:
    """The peer's own certificate.

    What follows is no matter of this file. OpenSSL presents the issuer too, where a chain has no
    more than the leaf and the trust store has its issuer; `ssl` cannot switch that off
    (SSL_CTX_set_mode(3), SSL_MODE_NO_AUTO_CHAIN).
    """
    return None if chain is None else chain[0]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("server", IMPLEMENTATIONS)
@pytest.mark.parametrize("client", IMPLEMENTATIONS)
def test_all_values_that_can_meet_do(client: str, server: str, transport: str) -> None:
    full = possible(IMPLEMENTATIONS[client], IMPLEMENTATIONS[server])
    tried = [
        cell.values
        for cell in CELLS
        if (cell.client, cell.server, cell.transport) == (client, server, transport)
    ]
    assert len(tried) == len(set(tried))
    assert set(tried) <= set(full)
    assert {pair for point in tried for pair in pairs(point)} == {
        pair for point in full for pair in pairs(point)
    }
