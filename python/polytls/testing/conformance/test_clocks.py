"""The clock of a configuration: what time does to certificates, lists and sessions."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polytls import (
    CertificateVerificationError,
    ClientAuthentication,
    ConfigurationError,
    SessionCache,
    TicketKeys,
    TLSVersion,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import CertificateAuthority, Clock, Pair
from polytls.testing.conformance.selection import needs

HOUR, DAY = 3600, 86400

with_clock = needs("clock")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def visit(lab: Any, client: Any, server: Any) -> Pair:
    """A connection whose client has taken what comes after the handshake."""
    pair: Pair = lab.connect(client, server)
    with pytest.raises(WantReadError):
        pair.client.read(1)
    return pair


def refused(error: object, reason: VerificationFailure) -> None:
    assert isinstance(error, CertificateVerificationError)
    assert error.reason is reason


@with_clock
def test_a_certificate_expires(lab: Any, clock: Clock, version: TLSVersion) -> None:
    end = datetime.now(UTC) + timedelta(days=10)
    authority = CertificateAuthority("clocks", not_after=end)
    chain = authority.issue(lab.host, not_after=end)
    client = lab.client(
        version=version, trust_store=authority.trust_store(), clock=clock, sessions=None
    )
    server = lab.server(chain)
    lab.connect(client, server)
    clock.now = int(end.timestamp()) - 1
    lab.connect(client, server)
    clock.advance(2)
    refused(lab.settle(lab.pair(client, server)).client, VerificationFailure.EXPIRED)


@with_clock
def test_a_certificate_begins_to_be_valid(lab: Any, clock: Clock) -> None:
    clock.now -= 100 * DAY
    refused(
        lab.settle(lab.pair(lab.client(clock=clock), lab.server())).client,
        VerificationFailure.NOT_YET_VALID,
    )


@with_clock
@needs("client authentication")
def test_a_server_judges_clients_by_its_own(lab: Any, clock: Clock) -> None:
    authority = CertificateAuthority("clients")
    server = lab.server(
        trust_store=authority.trust_store(),
        client_authentication=ClientAuthentication.REQUIRED,
        clock=clock,
    )
    client = lab.client(certificate_chain=authority.issue("client.example"), sessions=None)
    lab.connect(client, server)
    clock.advance(20 * 365 * DAY)
    refused(lab.settle(lab.pair(client, server)).server, VerificationFailure.EXPIRED)


@with_clock
@needs("CRLs")
def test_a_revocation_list_goes_out_of_date(lab: Any, clock: Clock) -> None:
    authority = CertificateAuthority("lists")
    soon = datetime.now(UTC) + timedelta(days=1)
    current = authority.revocation_list(next_update=soon)
    store = authority.trust_store(crls=[current])
    client = lab.client(trust_store=store, clock=clock, sessions=None)
    server = lab.server(authority.issue(lab.host))
    lab.connect(client, server)
    clock.advance(2 * DAY)
    assert isinstance(lab.settle(lab.pair(client, server)).client, CertificateVerificationError)


@with_clock
@needs("resumption")
def test_a_session_is_too_old_after_a_week(lab: Any, clock: Clock, version: TLSVersion) -> None:
    end = datetime.now(UTC) + timedelta(days=90)
    authority = CertificateAuthority("weeks", not_after=end)
    client = lab.client(version=version, trust_store=authority.trust_store(), clock=clock)
    server = lab.server(authority.issue(lab.host, not_after=end), clock=clock)
    assert not visit(lab, client, server).client.info.resumed
    clock.advance(HOUR)
    assert visit(lab, client, server).client.info.resumed
    clock.advance(8 * DAY)
    assert not visit(lab, client, server).client.info.resumed


@with_clock
@needs("ticket keys")
def test_tickets_of_a_fleet_live_as_long_as_they_may(lab: Any, clock: Clock) -> None:
    keys = TicketKeys(b"s" * 32, rotation=HOUR, lifetime=6 * HOUR)
    client = lab.client(clock=clock, sessions=SessionCache())
    servers = [lab.server(clock=clock, ticket_keys=keys) for _ in range(2)]
    assert not visit(lab, client, servers[0]).client.info.resumed
    clock.advance(HOUR)
    assert visit(lab, client, servers[1]).client.info.resumed
    clock.advance(7 * HOUR)
    assert not visit(lab, client, servers[0]).client.info.resumed


@with_clock
@needs("ticket keys")
@pytest.mark.parametrize(
    ("ahead", "resumed"), [(-HOUR, True), (-3 * HOUR, False), (55, True), (65, False)]
)
def test_clocks_of_a_fleet_may_be_a_minute_apart(
    lab: Any, clock: Clock, ahead: int, resumed: bool
) -> None:
    keys = TicketKeys(b"s" * 32, rotation=HOUR, lifetime=2 * HOUR)
    client = lab.client(clock=clock, sessions=SessionCache())
    other = Clock()
    other.now = clock.now + ahead
    assert not visit(lab, client, lab.server(clock=other, ticket_keys=keys)).client.info.resumed
    # A ticket from further in the future is refused, and one that is too old.
    server = lab.server(clock=clock, ticket_keys=keys)
    assert visit(lab, client, server).client.info.resumed is resumed


@with_clock
def test_the_machines_clock_goes_on(lab: Any, clock: Clock) -> None:
    before = time.time()
    assert abs(clock.now - before) < 5
    clock.advance(100 * 365 * DAY)
    assert abs(time.time() - before) < 60
    lab.connect(lab.client(), lab.server())


@needs("no clock")
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_clock_that_would_not_be_read_is_refused(lab: Any, clock: Clock, side: str) -> None:
    with pytest.raises(ConfigurationError, match="machine's clock") as refused:
        getattr(lab, side)(clock=clock)
    assert refused.value.field == "clock"
