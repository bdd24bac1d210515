"""The figures of fleets, as a table: every load on every fleet, which take turns (`rounds`)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Final

import polytls
from polytls import TicketKeys

from ..machine import facts
from ..peers import Library, Unable
from ..report import line, number, ratio
from ..rounds import Bench, Case, Figures, Sample, measure
from .load import Kind, Load, Outcome, loaded
from .servers import Fleet, Workers, nginx, nginx_version, workers

__all__ = ["COLUMNS", "Found", "Plan", "Row", "markdown", "measured"]

#: What ratios are taken to.
BASE: Final = "nginx"

#: The most CPU time of servers, as a ratio to the base in the same run, by handshakes and servers.
MARKS: Final = {
    ("full", "polytls/rustls"): 1.0,
    ("resumed", "polytls/rustls"): 1.0,
    ("full", "polytls/openssl"): 1.7,
    ("resumed", "polytls/openssl"): 2.0,
}

#: The head of the table.
COLUMNS: Final = [
    "handshakes",
    "servers",
    "connections",
    "1/s",
    f"to {BASE}",
    "servers' CPU, ms each",
    f"to {BASE}",
    "mark",
    "met",
    "cores used",
    "client's CPU, ms each",
    "resumed",
    "at another process",
    "processes reached",
    "failed",
]


@dataclass(frozen=True)
class Plan:
    """How large the fleets and the loads are."""

    processes: int = 16
    #: Of each kind to each fleet, in all rounds together.
    connections: int = 50_000
    #: Connections at a time.
    clients: int = 64
    rounds: int = 5
    #: While keys rotate: seconds between one process that exchanges its secret and the next.
    pause: float = 0.1
    #: And how long a ticket is accepted: until then, the last step waits.
    lifetime: int = 5


@dataclass
class Row:
    """One load on one fleet."""

    load: str
    servers: str
    outcomes: list[Outcome]
    #: The ratios to the base: handshakes a second, and the servers' CPU time for each.
    ratio: float | None = None
    cpu_ratio: float | None = None

    def total(self, of: Callable[[Outcome], int]) -> int:
        return sum(map(of, self.outcomes))

    @property
    def reached(self) -> int:
        """How many processes have served a connection."""
        return len({process for outcome in self.outcomes for process in outcome.processes})

    @property
    def mark(self) -> float | None:
        """The largest ratio of CPU time that is allowed; None without a mark."""
        return MARKS.get((self.load, self.servers))

    @property
    def missed(self) -> bool:
        """Whether it is more, or not known; connections that fail miss every mark."""
        failed = self.total(lambda it: it.failed) > 0
        return failed or (
            self.mark is not None and (self.cpu_ratio is None or self.cpu_ratio > self.mark)
        )

    @property
    def failure(self) -> str:
        """Why the first connection has failed, if one has."""
        return next((outcome.failure for outcome in self.outcomes if outcome.failure), "")

    def cells(self) -> list[str]:
        """One for each column; figures are medians over the rounds, counts are sums."""

        def of(each: Callable[[Outcome], float]) -> str:
            return number(median(map(each, self.outcomes)))

        return [
            self.load,
            self.servers,
            f"{self.total(lambda it: it.handshakes):,}",
            of(lambda it: it.handshakes / it.seconds),
            ratio(self.ratio),
            of(_cpu_each),
            ratio(self.cpu_ratio),
            "" if self.mark is None else f"≤ {self.mark:g}",
            "" if self.mark is None else "no" if self.missed else "yes",
            of(lambda it: it.server_cpu / it.seconds),
            of(lambda it: it.client_cpu / it.handshakes * 1e3),
            f"{self.total(lambda it: it.resumed):,}",
            f"{self.total(lambda it: it.elsewhere):,}",
            str(self.reached),
            str(self.total(lambda it: it.failed)),
        ]


def _cpu_each(outcome: Outcome) -> float:
    """Milliseconds of the servers' CPU time for each handshake."""
    return outcome.server_cpu / outcome.handshakes * 1e3


@dataclass
class _Run:
    """What the parts of one run share."""

    bench: Bench
    plan: Plan
    chain: polytls.SigningChain = field(init=False)

    def __post_init__(self) -> None:
        given = self.bench.credentials
        certificate = polytls.Certificate.from_buffer(given.certificate.encode())
        key = polytls.PrivateKey.from_buffer(given.key.encode())
        self.chain = polytls.SigningChain((certificate, key))

    def workers(self, library: Library, keys: list[TicketKeys | None], stack: ExitStack) -> Workers:
        """A fleet whose processes all have the same ticket keys, until the stack ends."""
        name = library.name.removeprefix("polytls/")
        with self.bench.cores.half(1):
            return stack.enter_context(workers(name, self.chain, [keys] * self.plan.processes))

    def polytls(self, library: Library) -> Fleet:
        """A fleet of an implementation of polytls, for the whole run."""
        keys = TicketKeys.from_secret(secrets.token_bytes(32))
        start = partial(self.workers, library, [keys], self.bench.stack)
        return self.bench.once(("fleet", library.name), start)

    def nginx(self) -> Fleet:
        """A fleet of nginx, for the whole run; raises Unable."""

        def start() -> Fleet:
            made = nginx(self.plan.processes, self.bench.credentials)
            with self.bench.cores.half(1):
                return self.bench.stack.enter_context(made)

        return self.bench.once(("fleet", BASE), start)

    def loaded(self, fleet: Fleet, kind: Kind, connections: int) -> Outcome:
        """What such a load finds."""
        load = Load(kind, max(1, connections), self.plan.clients)
        with self.bench.cores.half(0), loaded(fleet, self.bench.credentials, load) as outcome:
            pass
        return outcome

    def rows(self, kind: Kind, libraries: list[Library]) -> tuple[list[Row], list[str]]:
        """Every fleet under such a load, by turns; and a note for each that is not there."""
        outcomes: dict[str, list[Outcome]] = {}

        def sample(name: str, fleet: Fleet) -> Sample:
            def once() -> float:
                found = self.loaded(fleet, kind, self.plan.connections // self.plan.rounds)
                outcomes.setdefault(name, []).append(found)
                return found.handshakes / found.seconds

            if self.bench.target:
                # The first connections to a process are slower.
                self.loaded(fleet, kind, 20 * self.plan.processes)
            return once

        case = Case(
            f"fleet, {kind} handshakes",
            "1/s",
            lambda _, library: sample(library.name, self.polytls(library)),
            floor=(BASE, lambda _: sample(BASE, self.nginx())),
        )
        figures = measure(self.bench, case, libraries, self.plan.rounds)
        each = {name: list(map(_cpu_each, found)) for name, found in outcomes.items()}
        cpu = Figures(case, each)
        rows = [
            Row(kind, name, found, figures.ratio(name, BASE), cpu.ratio(name, BASE))
            for name, found in outcomes.items()
        ]
        return rows, [f"{name}: {reason}" for name, reason in figures.unable.items()]

    def rotating(self, library: Library) -> Row:
        """A fleet whose keys rotate every second while it exchanges its secret, in three steps."""
        old, new = secrets.token_bytes(32), secrets.token_bytes(32)
        stages: list[TicketKeys | None] = [
            TicketKeys.from_secret(
                secret, previous=previous, rotation=1, lifetime=self.plan.lifetime
            )
            for secret, previous in ((old, None), (old, new), (new, old), (new, None))
        ]
        load = Load("resumed", self.plan.connections, self.plan.clients)
        with ExitStack() as stack:
            fleet = self.workers(library, stages, stack)
            with self.bench.cores.half(0):
                outcome = stack.enter_context(loaded(fleet, self.bench.credentials, load))
            for wait in (0, 0, self.plan.lifetime):
                time.sleep(wait)
                for index in range(self.plan.processes):
                    time.sleep(self.plan.pause)
                    fleet.exchange(index)
        return Row("resumed, keys rotate", library.name, [outcome])


@dataclass
class Found:
    """All that one run found."""

    rows: list[Row]
    #: Each fleet that is not there, and the first failure of each load.
    notes: list[str]

    def missed(self) -> list[str]:
        """The lines whose mark does not hold, or that have a failed connection."""
        return [
            f"{row.load}, {row.servers}: ≤ {ratio(row.mark)}, found {ratio(row.cpu_ratio)}, "
            f"{row.total(lambda it: it.failed)} failed"
            for row in self.rows
            if row.missed
        ]


def measured(bench: Bench, libraries: list[Library], plan: Plan) -> Found:
    """All loads on all fleets."""
    run = _Run(bench, plan)
    full, notes = run.rows("full", libraries)
    resumed, _ = run.rows("resumed", libraries)
    rows = [*full, *resumed, *map(run.rotating, libraries)]
    notes += [f"{row.servers}, {row.load}: {row.failure}" for row in rows if row.failure]
    return Found(rows, notes)


def markdown(bench: Bench, libraries: list[Library], plan: Plan, found: Found) -> str:
    """The table, with what a reader needs to judge it."""
    versions = [f"{library.name} {library.version()}" for library in libraries]
    with suppress(Unable):  # The notes say so.
        versions.append(f"{BASE} {nginx_version()}")
    machine = ", ".join(f"{key} {value}" for key, value in facts(bench.cores).items())
    size = (
        f"{plan.processes} processes a fleet, {plan.clients} clients at a time; medians of "
        f"{plan.rounds} interleaved rounds; ratios are the medians of the rounds' ratios."
    )
    head = [line(COLUMNS), line(["---", "---", *["---:"] * (len(COLUMNS) - 2)])]
    table = "\n".join([*head, *(line(row.cells()) for row in found.rows)])
    missing = [f"- {note}" for note in found.notes]
    return "\n\n".join([machine, "; ".join(versions), size, table, *missing])
