"""Memory: what idle connections keep resident, counted in a fresh process for each library, as
memory that others freed would be counted as free."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable

from .credentials import Credentials
from .loops import Link
from .machine import resident
from .peers import Library, Setting
from .programs import ROOT
from .rounds import Bench, Case, Sample

__all__ = ["CASES", "used"]

_PAIRS = 500
_WARM = 50
_MOVED = bytes(16384)


def used(library: Library, pairs: int, *, moved: bool) -> float:
    """KiB for each pair of `pairs`, handshake done and tickets taken; with `moved`, after 16 KiB
    went each way."""
    contexts = library.contexts(Credentials.make(), Setting())

    def connected() -> Link:
        link = Link.make(contexts)
        link.settle()
        if moved:
            link.carry(_MOVED)
            link.carry(_MOVED, to_client=True)
        return link

    warm = [connected() for _ in range(min(_WARM, pairs))]
    gc.collect()
    before = resident()
    kept = [connected() for _ in range(pairs)]
    gc.collect()
    found = (resident() - before) / pairs / 1024
    del warm, kept
    return found


def in_a_fresh_process(library: Library, pairs: int, *, moved: bool) -> float:
    """The same, asked of another process."""
    command = [sys.executable, "-m", "benches", "--resident", library.name, "--pairs", str(pairs)]
    command += ["--moved"] if moved else []
    return float(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def _resident(*, moved: bool) -> Callable[[Bench, Library], Sample]:
    def prepare(bench: Bench, library: Library) -> Sample:
        bench.contexts(library, Setting())  # raises Unable here, not there
        pairs = _PAIRS if bench.target else 20
        return lambda: in_a_fresh_process(library, pairs, moved=moved)

    return prepare


CASES: list[Case] = [
    Case("memory of an idle pair", "KiB", _resident(moved=False), more=False, rounds=3),
    Case("memory of a pair after 16 KiB", "KiB", _resident(moved=True), more=False, rounds=3),
]
