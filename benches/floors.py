"""What the machine does without Python and without us: `crates/rustls/examples/floors.rs`, asked in
every round, on the core that the measured code runs on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from .machine import Cores
from .programs import example

__all__ = ["Floors", "Run"]

#: Does something so many times, and returns the seconds that it took.
Run = Callable[[int], float]


class Floors:
    """The program, built and started when it is first asked."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Floors:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()

    def aead(self, size: int) -> Run:
        """Seal and open records of `size` bytes."""
        return self._run(f"aead {size}")

    def copy(self, size: int) -> Run:
        """Copy `size` bytes."""
        return self._run(f"copy {size}")

    def handshakes(self, groups: str, kind: str) -> Run:
        """Handshakes of rustls with itself; `kind` is full or resumed."""
        return self._run(f"handshake {groups} {kind}")

    def two_threads(self, request: str) -> tuple[Run, Run]:
        """A request, such as `aead 16384`, on one thread, and on two at once with all cores."""
        alone, twice = self._run(request), self._run(f"twice {request}")

        def at_once(count: int) -> float:
            process = self._running()
            with self._cores.lent(process.pid):
                return twice(count)

        return alone, at_once

    def _running(self) -> subprocess.Popen[str]:
        self._process = self._process or self._start()
        return self._process

    def _run(self, request: str) -> Run:
        def run(count: int) -> float:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{request} {count}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise RuntimeError(f"the floors' program ended at {request!r}: see its error above")
            return float(answer)

        return run

    def _start(self) -> subprocess.Popen[str]:
        with self._cores.released():
            program = example("floors")
        process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._cores.pin(process.pid, -1)
        return process
