"""Servers that share ticket keys: which of one another's sessions they resume."""

from __future__ import annotations

import time
from typing import Any

import pytest

from polytls import (
    CertificateVerificationError,
    ClientAuthentication,
    ConfigurationError,
    TicketKeys,
    TLSVersion,
    VerificationFailure,
    WantReadError,
)
from polytls.reload import ReloadingServerContext
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.selection import needs

pytestmark = needs("resumption", "client authentication")


def resumed(lab: Any, client: Any, server: Any) -> bool:
    """Connect, let the client take in what the server gives it, and tell how it was."""
    pair = lab.connect(client, server)
    with pytest.raises(WantReadError):  # The tickets of TLS 1.3 come after the handshake.
        pair.client.read(1)
    told: bool = pair.client.info.resumed
    assert pair.server.info.resumed is told
    assert pair.send(pair.client, b"served") == b"served"
    return told


def shared(secret: int = 1, previous: int | None = None, **given: Any) -> TicketKeys:
    old = None if previous is None else bytes([previous]) * 32
    return TicketKeys.from_secret(bytes([secret]) * 32, previous=old, **given)


@needs("ticket keys")
def test_servers_with_one_secret_resume_each_others_sessions(lab: Any, version: TLSVersion) -> None:
    client = lab.client(version=version)
    servers = [lab.server(ticket_keys=shared()) for _ in range(3)]
    assert [resumed(lab, client, server) for server in servers] == [False, True, True]


@needs("ticket keys")
def test_servers_with_different_secrets_do_not_and_nothing_fails(
    lab: Any, version: TLSVersion
) -> None:
    client = lab.client(version=version)
    servers = [lab.server(ticket_keys=shared(secret)) for secret in (1, 2, 1, 2)]
    assert [resumed(lab, client, server) for server in servers] == [False] * 4
    assert servers[1].statistics.misses == 1


@needs("ticket keys")
def test_a_secret_is_exchanged_without_a_session_lost(lab: Any, version: TLSVersion) -> None:
    client = lab.client(version=version)
    stages = [shared(1), shared(1, previous=2), shared(2, previous=1), shared(2)]
    visits = [resumed(lab, client, lab.server(ticket_keys=keys)) for keys in stages]
    assert visits == [False, True, True, True]
    assert resumed(lab, client, lab.server(ticket_keys=shared(1))) is False


@needs("ticket keys")
def test_a_running_server_exchanges_its_secret_without_a_session_lost(
    lab: Any, version: TLSVersion
) -> None:
    client = lab.client(version=version)
    server = ReloadingServerContext(
        lab.implementation, lab.server(ticket_keys=shared(1)).configuration
    )
    visits = [resumed(lab, client, server)]
    for keys in (shared(1, previous=2), shared(2, previous=1), shared(2)):
        server.replace(ticket_keys=keys)
        assert server.configuration.ticket_keys == keys
        visits.append(resumed(lab, client, server))
    assert visits == [False, True, True, True]
    server.replace([lab.chain()], ticket_keys=shared(3))
    assert resumed(lab, client, server) is False
    # They stay with what is read again, or replaced.
    server.reload()
    server.replace([lab.chain()])
    assert server.configuration.ticket_keys == shared(3)
    assert resumed(lab, client, server) is True


def test_a_running_server_takes_no_ticket_keys_that_it_could_not_have_begun_with(lab: Any) -> None:
    server = ReloadingServerContext(lab.implementation, lab.server(sessions=None).configuration)
    current = server.current
    with pytest.raises(ConfigurationError) as refused:
        server.replace(ticket_keys=shared())
    assert refused.value.field == "ticket_keys"
    with pytest.raises(TypeError, match="ticket_keys"):
        server.replace(ticket_keys=b"\1" * 32)
    with pytest.raises(TypeError, match="chains, ticket_keys, or both"):
        server.replace()
    assert server.current is current


@needs("ticket keys")
def test_a_ticket_is_good_through_rotations_and_not_beyond_its_lifetime(lab: Any) -> None:
    clients = [lab.client() for _ in range(2)]
    patient, brief = (
        lab.server(ticket_keys=shared(rotation=1, lifetime=lifetime)) for lifetime in (3600, 1)
    )
    assert [resumed(lab, client, patient) for client in clients] == [False, False]
    time.sleep(2.1)  # Two rotations.
    assert resumed(lab, clients[0], patient) is True
    assert resumed(lab, clients[1], brief) is False


@needs("ticket keys")
def test_one_secret_does_not_open_a_stricter_server_to_sessions_of_a_laxer_one(
    lab: Any, version: TLSVersion
) -> None:
    keys = shared()
    asked = {"trust_store": lab.ca.trust_store(), "ticket_keys": keys}
    client = lab.client(version=version)
    laxer = [
        lab.server(ticket_keys=keys),
        lab.server(client_authentication=ClientAuthentication.OPTIONAL, **asked),
    ]
    for server in laxer:
        assert [resumed(lab, client, server) for _ in range(2)] == [False, True]
        outcome = lab.settle(lab.pair(client, lab.server(**asked)))
        assert type(outcome.server) is CertificateVerificationError
        assert outcome.server.reason is VerificationFailure.NO_CERTIFICATE


@needs("ticket keys")
def test_one_secret_does_not_carry_a_session_from_one_trust_to_another(
    lab: Any, version: TLSVersion
) -> None:
    client = lab.client(version=version, certificate_chain=lab.chain("client.example"))
    trusting, same = (
        lab.server(trust_store=lab.ca.trust_store(), ticket_keys=shared()) for _ in range(2)
    )
    assert [resumed(lab, client, server) for server in (trusting, same)] == [False, True]
    other = CertificateAuthority("other").trust_store()
    outcome = lab.settle(lab.pair(client, lab.server(trust_store=other, ticket_keys=shared())))
    assert type(outcome.server) is CertificateVerificationError
    assert outcome.server.reason is VerificationFailure.UNKNOWN_ISSUER


@needs("ticket keys")
def test_ticket_keys_without_resumption_are_refused(lab: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        lab.server(sessions=None, ticket_keys=shared())
    assert refused.value.field == "ticket_keys"


@needs("no ticket keys")
def test_a_library_that_makes_its_ticket_keys_itself_says_so(lab: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        lab.server(ticket_keys=shared())
    assert refused.value.field == "ticket_keys"
