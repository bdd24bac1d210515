"""Several server processes behind one port resume each other's sessions, given one secret.

The processes are those of the benchmark (`benches/fleet`), and so is one of the two clients.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from benches.fleet import figures
from benches.fleet.servers import Workers, workers
from benches.peers.pep748 import Pep748
from benches.rounds import Bench

import polytls
from polytls import TicketKeys
from polytls.testing import CertificateAuthority

#: What one connection may take, in seconds.
PATIENCE = 20.0

#: How many processes there are.
SERVERS = 4

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "SO_REUSEPORT") or sys.platform != "linux",
    reason="Linux alone spreads connections over sockets that share a port",
)

#: How many connections a client makes; `make soak` asks for the long form.
CONNECTIONS = 2000 if "POLYTLS_SOAK" in os.environ else 200

#: Those that take ticket keys.
IMPLEMENTATIONS = ["rustls", "openssl"]


class Fleet:
    """Server processes, and one client that connects to them all."""

    def __init__(self, servers: Workers, ca: CertificateAuthority) -> None:
        self._servers = servers
        self._client = polytls.implementation("rustls").client_context(
            polytls.TLSClientConfiguration(trust_store=ca.trust_store())
        )
        #: How often each process has served.
        self.served: Counter[bytes] = Counter()

    def connect(self) -> bool:
        """Connect once; whether a session was resumed."""
        with self._client.connect(
            ("127.0.0.1", self._servers.port), server_hostname="fleet.example", timeout=PATIENCE
        ) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: fleet.example\r\n\r\n")
            response = b""
            while received := connection.recv(1000):
                response += received
            self.served[response.rpartition(b"\r\n")[2]] += 1
            resumed: bool = connection.info.resumed
            return resumed

    def exchange(self, index: int) -> None:
        """Have one process go on to its next ticket keys."""
        self._servers.exchange(index)


@contextmanager
def fleet(
    keys: list[list[TicketKeys | None]], forks: int = 0, implementation: str = "rustls"
) -> Iterator[Fleet]:
    """A process for each list of keys, all behind one port; `forks`: how often each one forks."""
    ca = CertificateAuthority()
    with workers(implementation, ca.issue("fleet.example"), keys, forks) as servers:
        yield Fleet(servers, ca)


def keys(secret: int, previous: int | None = None, **given: Any) -> TicketKeys:
    old = None if previous is None else bytes([previous]) * 32
    return TicketKeys.from_secret(bytes([secret]) * 32, previous=old, **given)


@pytest.mark.soak
def test_processes_with_one_secret_resume_each_others_sessions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with fleet([[keys(1)]] * SERVERS) as servers:
        resumed = sum(servers.connect() for _ in range(CONNECTIONS))
    with capsys.disabled():
        print(f"\nfleet: {resumed} of {CONNECTIONS} resumed, served {[*servers.served.values()]}")
    assert len(servers.served) == SERVERS
    assert resumed >= 0.95 * CONNECTIONS


def test_processes_with_different_secrets_resume_nothing_of_one_anothers() -> None:
    with fleet([[keys(secret)] for secret in range(SERVERS)]) as servers:
        before: bytes | None = None
        across = 0
        for _ in range(100):
            counts = servers.served.copy()
            resumed = servers.connect()
            (now,) = servers.served - counts
            # The client's newest ticket is of the server that it has been at before.
            if now != before:
                across += 1
                assert not resumed
            before = now
    assert across > 10


@pytest.mark.soak
def test_none_fails_through_three_rotations_and_an_exchange_of_the_secret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stages = [
        keys(1, rotation=1, lifetime=600),
        keys(1, previous=2, rotation=1, lifetime=600),
        keys(2, previous=1, rotation=1, lifetime=600),
        keys(2, rotation=1, lifetime=600),
    ]
    with fleet([stages] * SERVERS) as servers:
        began = time.monotonic()
        outcomes = []
        steps = [index for _ in stages[1:] for index in range(SERVERS)]
        for step in [None, *steps]:
            if step is not None:
                servers.exchange(step)
            outcomes += [servers.connect() for _ in range(CONNECTIONS // (len(steps) + 1))]
        # Each rotation of a second is gone through, however quick the machine.
        while time.monotonic() - began < 3.5:
            outcomes.append(servers.connect())
    with capsys.disabled():
        print(f"\nfleet: {sum(outcomes)} of {len(outcomes)} resumed, none failed")
    assert sum(outcomes) >= 0.95 * len(outcomes)


def test_forked_workers_resume_each_others_sessions_without_being_given_anything() -> None:
    with fleet([[None]], forks=SERVERS - 1) as servers:
        resumed = sum(servers.connect() for _ in range(100))
    assert len(servers.served) > 1
    assert resumed >= 95


@pytest.fixture(scope="module")
def loads() -> dict[tuple[str, str], figures.Row]:
    """What the benchmark finds with few processes and connections, by load and servers."""
    plan = figures.Plan(SERVERS, CONNECTIONS, clients=8, rounds=2, pause=0.02, lifetime=3)
    bench = Bench(target=0)
    with bench.stack:
        found = figures.measured(bench, [Pep748(name) for name in IMPLEMENTATIONS], plan)
    assert all(note.startswith("nginx: there is no nginx") for note in found.notes), found.notes
    return {(row.load, row.servers): row for row in found.rows}


def _with(load: str, found: dict[tuple[str, str], figures.Row]) -> list[figures.Row]:
    rows = [row for (its_load, _), row in found.items() if its_load == load]
    assert {f"polytls/{name}" for name in IMPLEMENTATIONS} <= {row.servers for row in rows}
    return rows


def test_a_load_without_tickets_is_served_by_all_processes_with_full_handshakes(
    loads: dict[tuple[str, str], figures.Row],
) -> None:
    for row in _with("full", loads):
        assert row.total(lambda it: it.full) >= CONNECTIONS
        assert row.total(lambda it: it.resumed) == 0
        assert row.total(lambda it: it.failed) == 0
        assert row.reached == SERVERS


@pytest.mark.parametrize("load", ["resumed", "resumed, keys rotate"])
def test_tickets_of_a_load_are_resumed_at_whichever_process(
    loads: dict[tuple[str, str], figures.Row], load: str
) -> None:
    for row in _with(load, loads):
        resumed = row.total(lambda it: it.resumed)
        handshakes = row.total(lambda it: it.handshakes)
        assert handshakes >= CONNECTIONS
        # A client that gets no turn for the lifetime of its ticket does a full handshake.
        assert resumed >= (0.95 if "rotate" in load else 1) * handshakes
        assert row.total(lambda it: it.failed) == 0
        assert row.reached == SERVERS
        # One in four is at the process whose ticket it is.
        assert 0.5 * resumed < row.total(lambda it: it.elsewhere) < resumed


def test_figures_of_a_fleet_stand_in_a_table(loads: dict[tuple[str, str], figures.Row]) -> None:
    for row in loads.values():
        cells = row.cells()
        assert len(cells) == len(figures.COLUMNS)
        assert cells[:2] == [row.load, row.servers]
        assert all(float(cells[at].replace(",", "")) > 0 for at in (2, 3, 5, 9, 10))
