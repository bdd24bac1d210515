"""Taking turns: every round measures each peer and each floor of a case once, and the next round
begins with another of them. What is told are medians over the rounds, and the median of the
rounds' own ratios: a machine that slows down for a while does so for all."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar, cast

from polytls import PrivateKey
from polytls.testing.softhsm import SoftHSM

from .credentials import Credentials
from .floors import Floors, Run
from .machine import Cores
from .peers import Contexts, Library, Setting, Unable
from .wire import ServerHello

__all__ = ["Bench", "Case", "Figures", "Sample", "check_hellos", "measure"]

#: One figure, in the unit of its case.
Sample = Callable[[], float]

Made = TypeVar("Made")

#: More is of no use, and connections of their own for each cost ports.
_MOST = 1 << 22


@dataclass
class Bench:
    """What the cases of one run share."""

    #: Seconds that one measurement takes, about; 0: do everything once.
    target: float
    cores: Cores = field(default_factory=Cores)
    credentials: Credentials = field(default_factory=Credentials.make)
    #: Ends servers and floors.
    stack: ExitStack = field(default_factory=ExitStack)
    #: What was started for one library and serves all its cases.
    kept: dict[tuple[str, str], object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.floors = self.stack.enter_context(Floors(self.cores))

    def contexts(self, library: Library, setting: Setting) -> Contexts:
        """New contexts."""
        return library.contexts(self.credentials, setting)

    def token(self) -> str:
        """The URI of the credentials' key in a SoftHSM of this run. Raises Unable without one."""

        def make() -> str:
            folder = self.stack.enter_context(TemporaryDirectory())
            try:
                made = SoftHSM(Path(folder))
            except FileNotFoundError as error:
                raise Unable(str(error)) from error
            # It reads them once, when this process first uses it.
            os.environ.update(made.environment)
            for name in made.environment:
                self.stack.callback(os.environ.pop, name)
            made.add("bench", PrivateKey.from_buffer(self.credentials.key.encode()))
            return made.uri("bench")

        return self.once(("SoftHSM", "key"), make)

    def once(self, key: tuple[str, str], make: Callable[[], Made]) -> Made:
        """What `make` has made for this key at its first call in this run."""
        if key not in self.kept:
            self.kept[key] = make()
        return cast("Made", self.kept[key])

    def rate(self, run: Run, amount: float = 1.0, most: int = _MOST) -> Sample:
        """A sample of `amount` a second for each time that `run` does it.

        It is run to be warm, and as often as it takes to know how many times fill the target; the
        better of two counts, as a stall would make all measurements short.
        """
        count = 1
        took = run(count)
        if self.target:
            while (took := min(run(count), run(count))) < self.target / 4 and count < most:
                count = min(count * 4, most)
            count = max(1, min(most, round(count * self.target / took)))
        return lambda: amount * count / run(count)


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    unit: str
    #: Makes ready for one library; raises Unable.
    prepare: Callable[[Bench, Library], Sample]
    #: Whether more is better.
    more: bool = True
    #: What it is held against, in the same unit, and its name.
    floor: tuple[str, Callable[[Bench], Sample]] | None = None
    #: Whether libraries do all of it in this process, on one thread: then it should have a core.
    one_core: bool = False
    #: Rounds that are enough, for figures that hardly vary and take long.
    rounds: int | None = None


@dataclass
class Figures:
    """What was measured for one case."""

    case: Case
    #: For each library and for the floor (under its name), the figure of each round.
    values: dict[str, list[float]] = field(default_factory=dict)
    #: Why a library is not there.
    unable: dict[str, str] = field(default_factory=dict)
    #: The least part of a measurement for which this process had a core, where it is to have one.
    share_of_core: float = 1.0

    def median(self, name: str) -> float | None:
        values = self.values.get(name)
        return statistics.median(values) if values else None

    def quotients(self, name: str, base: str) -> list[float]:
        """Round by round, one to the other."""
        return [a / b for a, b in zip(self.values[name], self.values[base], strict=True)]

    def ratio(self, name: str, base: str) -> float | None:
        """The median of the rounds' ratios; None where either is not there."""
        if name not in self.values or base not in self.values:
            return None
        return statistics.median(self.quotients(name, base))

    def spread(self, name: str, base: str) -> tuple[float, float] | None:
        """The least and the greatest of the rounds' ratios."""
        if name not in self.values or base not in self.values:
            return None
        quotients = self.quotients(name, base)
        return min(quotients), max(quotients)


def measure(bench: Bench, case: Case, libraries: list[Library], rounds: int) -> Figures:
    """Measure one case for all libraries and its floor."""
    figures = Figures(case)
    samples: dict[str, Sample] = {}
    for library in libraries:
        try:
            samples[library.name] = case.prepare(bench, library)
        except Unable as reason:
            figures.unable[library.name] = str(reason)
    if case.floor is not None and samples:
        name, prepare = case.floor
        try:
            samples[name] = prepare(bench)
        except Unable as reason:
            figures.unable[name] = str(reason)
    order = list(samples)
    figures.values = {name: [] for name in order}
    for _ in range(min(rounds, case.rounds or rounds)):
        for name in order:
            figure, share = _quietly(samples[name])
            figures.values[name].append(figure)
            if case.one_core and (case.floor is None or name != case.floor[0]):
                figures.share_of_core = min(figures.share_of_core, share)
        order = [*order[1:], *order[:1]]
    return figures


def _quietly(sample: Sample) -> tuple[float, float]:
    """One figure with the garbage collector at rest, and how much of a core this process had."""
    gc.collect()
    gc.disable()
    wall, used = time.perf_counter(), time.process_time()
    try:
        figure = sample()
    finally:
        gc.enable()
    return figure, (time.process_time() - used) / (time.perf_counter() - wall)


def check_hellos(flights: list[bytes], setting: Setting, *, resumed: bool) -> None:
    """Every handshake was what its case says; raises Unable with what it was instead."""
    for hello in map(ServerHello.parse, flights):
        if setting.groups == "x25519" and hello.group_name() != "x25519":
            raise Unable(f"it agreed on {hello.group_name()}")
        if hello.resumed is not resumed:
            raise Unable(f"a handshake was {'resumed' if hello.resumed else 'full'}")
