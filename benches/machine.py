"""Cores, memory, and facts of this machine that belong beside figures: no names, no paths."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

__all__ = ["Cores", "cpu_seconds", "cpu_seconds_of_ended", "facts", "resident"]

if sys.platform == "win32":
    raise ImportError("benchmarks need POSIX: they ask the system for CPU time and memory its way")

import resource


class Cores:
    """Which core does what, where the system lets one choose (Linux).

    In memory, both sides of a connection and the floors share the last core; over loopback the
    server has that one and the client the one before.
    """

    def __init__(self) -> None:
        choose = hasattr(os, "sched_setaffinity")
        self.all: list[int] = sorted(os.sched_getaffinity(0)) if choose else []
        self.count: int = len(self.all) or os.cpu_count() or 1

    def pin(self, process: int, core: int) -> None:
        """Keep a process (0: this one) on the last core (-1) or the one before (-2)."""
        if self.all:
            os.sched_setaffinity(process, {self.all[core % len(self.all)]})

    def released(self) -> AbstractContextManager[None]:
        """Let threads that are started here run anywhere."""
        return self._among(self.all)

    def on(self, core: int) -> AbstractContextManager[None]:
        """Work on one core, then go back."""
        return self._among(self.all and [self.all[core % len(self.all)]])

    def half(self, number: int) -> AbstractContextManager[None]:
        """Start processes on the cores of one half (0 or 1): on both if there is one core."""
        middle = len(self.all) // 2
        return self._among([self.all[:middle], self.all[middle:]][number] or self.all)

    def lent(self, process: int) -> AbstractContextManager[None]:
        """Let another process, with all its threads, run anywhere for a while."""
        threads = [int(thread.name) for thread in Path(f"/proc/{process}/task").glob("*")]
        return self._among(self.all, threads)

    @contextmanager
    def _among(self, cores: list[int], threads: Sequence[int] = (0,)) -> Iterator[None]:
        if not cores:
            yield
            return
        before = {thread: os.sched_getaffinity(thread) for thread in threads}
        for thread in threads:
            os.sched_setaffinity(thread, cores)
        try:
            yield
        finally:
            for thread in threads:
                os.sched_setaffinity(thread, before[thread])


def resident() -> int:
    """Resident memory of this process in bytes, now where the system tells, else at its highest."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def cpu_seconds(process: int) -> float:
    """The CPU time of a running process, all its threads: the clock that clock_getcpuclockid(3)
    finds on Linux."""
    of_all_threads = 2
    return time.clock_gettime(~process << 3 | of_all_threads)


def cpu_seconds_of_ended() -> float:
    """The CPU time of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def facts(cores: Cores) -> dict[str, object]:
    """What a reader needs to judge the figures."""
    model = re.search(r"model name\s*: (.*)", _text("/proc/cpuinfo"))
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "cores": cores.count,
        "pinned": bool(cores.all),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "clock": f"{time.get_clock_info('perf_counter').resolution * 1e9:.0f} ns",
        "load": round(os.getloadavg()[0], 1),
    }


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
