"""A load on a fleet: `crates/rustls/examples/load.rs`, a client in Rust that is rustls alone."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..credentials import HOST, Credentials
from ..machine import cpu_seconds_of_ended
from ..programs import example
from .servers import Fleet

__all__ = ["Kind", "Load", "Outcome", "loaded"]

Kind: TypeAlias = Literal["full", "resumed"]

#: What the end of a load may take, in seconds.
_PATIENCE = 600.0


@dataclass
class Outcome:
    """What one load found; it is complete once `loaded` is left."""

    seconds: float = 0.0
    #: How many handshakes there were of each kind, and how many connections failed.
    full: int = 0
    resumed: int = 0
    failed: int = 0
    #: Why the first of them did.
    failure: str = ""
    #: How many of the resumed were at another process than the one whose ticket it was.
    elsewhere: int = 0
    #: How many connections each process has served.
    processes: dict[int, int] = field(default_factory=dict)
    #: CPU seconds of the servers, and of the client.
    server_cpu: float = 0.0
    client_cpu: float = 0.0

    @property
    def handshakes(self) -> int:
        return self.full + self.resumed

    def read(self, output: str) -> None:
        """Take what the program has printed."""
        for line in output.splitlines():
            name, _, value = line.partition(" ")
            if name == "process":
                process, _, count = value.partition(" ")
                self.processes[int(process)] = int(count)
            elif name == "seconds":
                self.seconds = float(value)
            elif name == "failure":
                self.failure = value
            else:
                setattr(self, name, int(value))


@dataclass(frozen=True)
class Load:
    """How many connections of which kind, by how many clients at a time."""

    kind: Kind
    connections: int
    clients: int


@contextmanager
def loaded(fleet: Fleet, credentials: Credentials, load: Load) -> Iterator[Outcome]:
    """Connect while the block runs, and as often as the load says at least.

    Raises RuntimeError if the program fails; a connection that fails is counted.
    """
    outcome = Outcome()
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as authority:
        authority.write(credentials.authority)
        authority.flush()
        command = [example("load"), str(fleet.port), authority.name, HOST, load.kind]
        command += [str(load.clients), str(load.connections)]
        server_cpu, client_cpu = fleet.cpu_seconds(), cpu_seconds_of_ended()
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            yield outcome
        finally:
            output, _ = process.communicate(timeout=_PATIENCE)
        if process.returncode:
            raise RuntimeError("the load has failed: see its error above")
    outcome.read(output)
    outcome.server_cpu = fleet.cpu_seconds() - server_cpu
    outcome.client_cpu = cpu_seconds_of_ended() - client_cpu
