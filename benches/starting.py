"""Importing, and making contexts: each figure comes from a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from .peers import Library
from .rounds import Bench, Case, Sample

__all__ = ["CASES"]


def _fresh(before: str, measured: str) -> float:
    """Milliseconds of `measured` in a new interpreter, once `before` is done."""
    code = f"import time\n{before}\nbegan = time.perf_counter()\n{measured}\n"
    code += "print((time.perf_counter() - began) * 1e3)"
    command = [sys.executable, "-I", "-c", code]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _starting(
    statements: Callable[[Library], tuple[str, str]],
) -> Callable[[Bench, Library], Sample]:
    def prepare(_bench: Bench, library: Library) -> Sample:
        before, measured = statements(library)
        _fresh(before, measured)  # the interpreter's own caches are warm from here on
        return lambda: _fresh(before, measured)

    return prepare


CASES: list[Case] = [
    Case("import", "ms", _starting(lambda it: ("", it.importing)), more=False),
    Case(
        "first client context, system's trust",
        "ms",
        _starting(lambda it: (it.importing, it.creating)),
        more=False,
    ),
    Case(
        "second client context, system's trust",
        "ms",
        _starting(lambda it: (f"{it.importing}\n{it.creating}", it.creating)),
        more=False,
    ),
]
