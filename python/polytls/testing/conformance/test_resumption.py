"""Resumed sessions: when there are any, and that they keep every promise of a full handshake."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polytls import (
    CertificateVerificationError,
    ClientAuthentication,
    ConfigurationError,
    NextProtocol,
    RevocationList,
    SessionCache,
    TLSError,
    TLSVersion,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import CertificateAuthority, Pair
from polytls.testing.conformance.hello import offered_tickets
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.selection import needs

pytestmark = needs("resumption", "client authentication")


def visit(lab: Any, client: Any, server: Any, name: str | None = None) -> Any:
    """Connect, let the client take in what the server gives it, and return the pair."""
    pair = lab.connect(client, server, name or lab.host)
    with pytest.raises(WantReadError):  # The tickets of TLS 1.3 come after the handshake.
        pair.client.read(1)
    assert pair.client.info.resumed is pair.server.info.resumed
    return pair


def resumed(lab: Any, client: Any, server: Any, name: str | None = None) -> bool:
    return visit(lab, client, server, name).client.info.resumed


def test_the_second_connection_is_resumed_by_default(lab: Any, version: TLSVersion) -> None:
    client, server = lab.client(version=version), lab.server()
    assert [resumed(lab, client, server) for _ in range(5)] == [False, True, True, True, True]


def test_a_resumed_connection_carries_data_and_tells_its_facts(
    lab: Any, version: TLSVersion
) -> None:
    protocols = [NextProtocol.H2]
    client = lab.client(version=version, inner_protocols=protocols)
    server = lab.server(inner_protocols=protocols)
    first, second = visit(lab, client, server), visit(lab, client, server)
    assert second.client.info.resumed is True
    for before, after in ((first.client, second.client), (first.server, second.server)):
        assert after.negotiated_tls_version is before.negotiated_tls_version is version
        assert after.cipher() is before.cipher()
        assert after.negotiated_protocol() is NextProtocol.H2
        assert after.info.server_name == lab.host
        assert after.getpeercert() == before.getpeercert()
        assert after.info.peer_chain == before.info.peer_chain
    assert second.client.getpeercert() == lab.chain().leaf[0].buffer
    assert second.send(second.client, b"request" * 9999) == b"request" * 9999
    assert second.send(second.server, b"response" * 9999) == b"response" * 9999


@pytest.mark.parametrize("side", ["client", "server", "both"])
def test_without_sessions_on_either_side_nothing_is_resumed(
    lab: Any, version: TLSVersion, side: str
) -> None:
    off: dict[str, Any] = {"sessions": None}
    client = lab.client(version=version, **(off if side != "server" else {}))
    server = lab.server(**(off if side != "client" else {}))
    assert [resumed(lab, client, server) for _ in range(3)] == [False] * 3


def test_a_server_without_sessions_gives_no_tickets(lab: Any) -> None:
    client = lab.client(version=TLSVersion.TLSv1_3)
    after = {}
    for sessions in (None, SessionCache()):
        pair = lab.pair(client, lab.server(sessions=sessions))
        lab.settle(pair)
        pair.transfer()
        after[sessions] = pair.client.incoming_bytes_buffered()
    # What is left there after the handshake are the tickets.
    assert after[None] == 0
    assert after[SessionCache()] > 0


def test_each_context_remembers_for_itself(lab: Any, version: TLSVersion) -> None:
    clients = [lab.client(version=version) for _ in range(2)]
    servers = [lab.server() for _ in range(2)]
    assert resumed(lab, clients[0], servers[0]) is False
    assert resumed(lab, clients[1], servers[0]) is False
    assert resumed(lab, clients[0], servers[1]) is False
    # The last visit of each client was to another server than this: its tickets are of no use.
    assert resumed(lab, clients[1], servers[1]) is False
    assert resumed(lab, clients[1], servers[1]) is True


def test_sessions_are_kept_for_each_name(lab: Any, version: TLSVersion) -> None:
    client = lab.client(version=version)
    server = lab.server(lab.chain("a.example", "b.example", "192.0.2.1"))
    names = ["a.example", "b.example", "192.0.2.1"]
    assert [resumed(lab, client, server, name) for name in names] == [False] * 3
    assert [resumed(lab, client, server, name) for name in names] == [True] * 3
    assert resumed(lab, client, server, "A.Example.") is True


def test_the_least_recently_used_name_is_forgotten_first(lab: Any, version: TLSVersion) -> None:
    client = lab.client(version=version, sessions=SessionCache(capacity=2))
    server = lab.server(lab.chain("a.example", "b.example", "c.example"))
    visits = ["a.example", "b.example", "a.example", "c.example", "a.example", "b.example"]
    expected = [False, False, True, False, True, False]
    assert [resumed(lab, client, server, name) for name in visits] == expected


def test_a_server_remembers_no_more_than_it_was_told_to_without_failing_clients(
    lab: Any, version: TLSVersion
) -> None:
    server = lab.server(sessions=SessionCache(capacity=1))
    clients = [lab.client(version=version) for _ in range(3)]
    for _ in range(2):
        for client in clients:
            pair = visit(lab, client, server)
            assert pair.send(pair.client, b"still served") == b"still served"
    assert resumed(lab, clients[-1], server) is True


def test_sessions_of_one_version_are_not_resumed_in_another(lab: Any) -> None:
    chain = lab.chain()
    client = lab.client()
    old, new = lab.server(chain, version=TLSVersion.TLSv1_2), lab.server(chain)
    for server in (old, new, old):
        pair = visit(lab, client, server)
        assert pair.client.info.resumed is False
        assert pair.client.negotiated_tls_version is (
            TLSVersion.TLSv1_2 if server is old else TLSVersion.TLSv1_3
        )


def test_a_ticket_of_tls_1_3_is_offered_once(lab: Any) -> None:
    client, server = lab.client(version=TLSVersion.TLSv1_3), lab.server()
    for _ in range(3):
        visit(lab, client, server)
    offered: list[bytes] = []
    for _ in range(12):
        buffer = client.create_buffer(lab.host)
        with pytest.raises(WantReadError):
            buffer.do_handshake()
        offered += offered_tickets(lab.outgoing(buffer))
    assert offered
    assert len(offered) < 12, "more tickets than any server gives"
    assert len(set(offered)) == len(offered)


def test_connections_that_begin_and_end_together_are_all_resumed(lab: Any) -> None:
    """As those of a pool do: each needs a ticket of its own, and brings one."""
    client, server = lab.client(version=TLSVersion.TLSv1_3), lab.server()
    for expected in (False, True, True):
        pairs = [lab.connect(client, server, lab.host) for _ in range(50)]
        assert [pair.client.info.resumed for pair in pairs] == [expected] * 50
        for pair in pairs:
            with pytest.raises(WantReadError):
                pair.client.read(1)


def test_nothing_is_kept_of_a_connection_whose_peer_was_refused(
    lab: Any, version: TLSVersion
) -> None:
    other = CertificateAuthority("other").trust_store()
    client, server = lab.client(version=version, trust_store=other), lab.server()
    for _ in range(2):
        buffer = client.create_buffer(lab.host)
        with pytest.raises(WantReadError):
            buffer.do_handshake()
        flight = lab.outgoing(buffer)
        assert offered_tickets(flight) == []
        pair = Pair(buffer, server.create_buffer())
        pair.server.process_incoming(flight)
        outcome = lab.settle(pair)
        assert type(outcome.client) is CertificateVerificationError


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_context_counts_what_it_resumes(lab: Any, version: TLSVersion, side: str) -> None:
    client, server = lab.client(version=version), lab.server()
    context = client if side == "client" else server
    before = context.statistics
    assert (before.full, before.resumed) == (0, 0)
    for _ in range(3):
        visit(lab, client, server)
    counted = context.statistics
    assert (counted.full, counted.resumed) == (1, 2)
    assert (before.full, before.resumed) == (0, 0), "a snapshot never changes"
    for count, expected in ((counted.hits, 2), (counted.misses, 1 if side == "client" else 0)):
        assert count in (None, expected)
    assert counted.stored is None or counted.stored >= 1


def _by_connect(client: Any, address: Any, name: str) -> Any:
    return client.connect(address, server_hostname=name, timeout=PATIENCE)


def _by_wrap_socket(client: Any, address: Any, name: str) -> Any:
    return client.wrap_socket(socket.create_connection(address, timeout=PATIENCE), name)


@pytest.mark.parametrize(
    "begins",
    [
        pytest.param([_by_connect], id="connect"),
        pytest.param([_by_wrap_socket], id="wrap_socket", marks=needs("wrap_socket")),
        pytest.param([_by_connect, _by_wrap_socket], id="both", marks=needs("wrap_socket")),
    ],
)
def test_sessions_are_kept_for_each_port(
    lab: Any, version: TLSVersion, begins: list[Callable[..., Any]], threads: Any
) -> None:
    client, server = lab.client(version=version), lab.server()
    with (
        server.connect(("127.0.0.1", 0)) as one,
        server.connect(("127.0.0.1", 0)) as two,
    ):

        def visits(listener: Any, begin: Callable[..., Any]) -> bool:
            listener.settimeout(PATIENCE)

            def answer() -> None:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.settimeout(PATIENCE)
                    accepted.sendall(b"x")
                    accepted.recv(1)

            answering = threads.submit(answer)
            with begin(client, listener.getsockname(), lab.host) as connection:
                assert connection.recv(1) == b"x"
                resumed: bool = connection.info.resumed
            answering.result()
            return resumed

        found = [
            visits(port, begins[number % len(begins)])
            for number, port in enumerate([one, two, two, one])
        ]
        assert found == [False, False, True, True]
    assert client.statistics.resumed == 2


# --- client authentication ---


def authenticating(lab: Any, asked: ClientAuthentication | None = None) -> Any:
    return lab.server(trust_store=lab.ca.trust_store(), client_authentication=asked)


def test_a_resumed_client_is_still_known_by_its_certificate(lab: Any, version: TLSVersion) -> None:
    chain = lab.ca.intermediate().issue("client.example")
    client = lab.client(version=version, certificate_chain=chain)
    server = authenticating(lab)
    expected = (chain.leaf[0].buffer, chain.chain[0].buffer)
    for again in (False, True, True):
        pair = visit(lab, client, server)
        assert pair.server.info.resumed is again
        assert pair.server.info.peer_chain == expected
        assert pair.server.getpeercert() == expected[0]


def test_an_optional_certificate_that_was_not_given_is_not_there_on_resumption(
    lab: Any, version: TLSVersion
) -> None:
    client, server = lab.client(version=version), authenticating(lab, ClientAuthentication.OPTIONAL)
    for again in (False, True):
        pair = visit(lab, client, server)
        assert pair.server.info.resumed is again
        assert pair.server.getpeercert() is None


@pytest.mark.parametrize(
    "before",
    [ClientAuthentication.NONE, ClientAuthentication.OPTIONAL],
    ids=lambda each: each.value,
)
def test_a_session_of_a_laxer_server_does_not_open_a_stricter_one(
    lab: Any, version: TLSVersion, before: ClientAuthentication
) -> None:
    client = lab.client(version=version)
    lax, strict = authenticating(lab, before), authenticating(lab)
    assert [resumed(lab, client, lax) for _ in range(2)] == [False, True]
    pair = lab.pair(client, strict)
    outcome = lab.settle(pair)
    assert type(outcome.server) is CertificateVerificationError
    assert outcome.server.reason is VerificationFailure.NO_CERTIFICATE
    assert pair.server.info.resumed is None


def test_a_session_made_under_another_trust_store_is_not_accepted(
    lab: Any, version: TLSVersion
) -> None:
    client = lab.client(version=version, certificate_chain=lab.chain("client.example"))
    assert [resumed(lab, client, authenticating(lab)) for _ in range(2)] == [False, False]
    other = lab.server(trust_store=CertificateAuthority("other").trust_store())
    outcome = lab.settle(lab.pair(client, other))
    assert type(outcome.server) is CertificateVerificationError
    assert outcome.server.reason is VerificationFailure.UNKNOWN_ISSUER


# --- certificates that end ---

_VERSIONS = (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3)


#: What ends.
_ENDS = ("leaf", "intermediate", "anchor", "revocation list")


@pytest.mark.parametrize("whose", ["server", "client"])
def test_no_session_outlives_the_certificate_that_the_peer_proved_itself_with(
    lab: Any, whose: str
) -> None:
    _outlives_nothing(lab, whose, ("leaf",), {VerificationFailure.EXPIRED})


@needs("CRLs")
@pytest.mark.parametrize("whose", ["server", "client"])
def test_no_session_outlives_what_its_peer_was_accepted_by(lab: Any, whose: str) -> None:
    reasons = {VerificationFailure.EXPIRED, VerificationFailure.REVOCATION_UNKNOWN}
    _outlives_nothing(lab, whose, _ENDS[1:], reasons)


def _outlives_nothing(
    lab: Any, whose: str, what: tuple[str, ...], reasons: set[VerificationFailure]
) -> None:
    """Sessions of peers of that role are resumed, and are not once `what` has ended."""
    ways = [(whose, each, version) for each in what for version in _VERSIONS]
    for seconds in (2, 10, 60):
        end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
        contexts = [_ending(lab, end, *way) for way in ways]
        try:
            before = [resumed(lab, *pair) for pair in contexts for _ in range(2)]
        except TLSError:
            # It took longer than the certificates lasted.
            assert datetime.now(UTC) >= end
        else:
            break
    assert before == [False, True] * len(ways)
    while (left := (end - datetime.now(UTC)).total_seconds()) > -1:
        time.sleep(left + 1)
    for pair in contexts:
        outcome = lab.settle(lab.pair(*pair))
        refusal = outcome.client if whose == "server" else outcome.server
        assert type(refusal) is CertificateVerificationError
        assert refusal.reason in reasons


def _ending(lab: Any, end: datetime, whose: str, what: str, version: TLSVersion) -> tuple[Any, Any]:
    """A client's and a server's context; one of them is accepted by what is valid until `end`."""
    validity: dict[str, Any] = {"not_before": end - timedelta(days=1), "not_after": end}
    root = CertificateAuthority(**(validity if what == "anchor" else {}))
    between = root.intermediate(**(validity if what == "intermediate" else {}))
    names = (lab.host,) if whose == "server" else ("client.example",)
    chain = between.issue(*names, **(validity if what == "leaf" else {}))
    lists: list[RevocationList] = []
    if what == "revocation list":
        lists = [root.revocation_list(), between.revocation_list(next_update=end)]
    store = root.trust_store(crls=lists)
    if whose == "server":
        return lab.client(version=version, trust_store=store), lab.server(chain)
    client = lab.client(version=version, certificate_chain=chain)
    return client, lab.server(trust_store=store)


# --- early data ---


@needs("no early data")
@pytest.mark.parametrize("side", ["client", "server"])
def test_early_data_is_refused_by_name(lab: Any, side: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        getattr(lab, side)(early_data=True)
    assert refused.value.field == "early_data"
    assert refused.value.implementation == lab.implementation.name
