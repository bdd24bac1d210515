"""Several server processes behind one port resume each other's sessions, given one secret."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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


class Fleet:
    """Server processes, and one client that connects to them all."""

    def __init__(self, port: int, processes: list[Any], ca: CertificateAuthority) -> None:
        self._port = port
        self._processes = processes
        self._client = polytls.implementation("rustls").client_context(
            polytls.TLSClientConfiguration(trust_store=ca.trust_store())
        )
        #: How often each process has served.
        self.served: Counter[bytes] = Counter()

    def connect(self) -> bool:
        """Connect once; whether a session was resumed."""
        with self._client.connect(
            ("127.0.0.1", self._port), server_hostname="fleet.example", timeout=PATIENCE
        ) as connection:
            number = b""
            while not number.endswith(b"\n"):
                number += connection.recv(100)
            self.served[number] += 1
            resumed: bool = connection.info.resumed
            return resumed

    def exchange(self, index: int) -> None:
        """Have one process go on to its next ticket keys."""
        process = self._processes[index]
        process.stdin.write(b"next\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"


@contextmanager
def fleet(keys: list[list[TicketKeys | None]], forks: int = 0) -> Iterator[Fleet]:
    """A process for each list of keys, all behind one port; `forks`: how often each one forks."""
    ca = CertificateAuthority()
    chain = ca.issue("fleet.example")
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))  # It does not listen, so nothing comes here.
        port = reserved.getsockname()[1]
        processes = []
        try:
            for own in keys:
                process = subprocess.Popen(
                    [sys.executable, str(Path(__file__).parent / "server.py")],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                processes.append(process)
                assert process.stdin
                pickle.dump(
                    {"chain": chain, "port": port, "keys": own, "forks": forks}, process.stdin
                )
                process.stdin.flush()
            for process in processes:
                assert process.stdout
                for _ in range(forks + 1):
                    assert process.stdout.readline() == b"ready\n"
            yield Fleet(port, processes, ca)
        finally:
            for process in processes:
                # They end with their input, the forks too.
                process.communicate(timeout=PATIENCE)


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
