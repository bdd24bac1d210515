"""What one repetition of a case takes in each layer: `python -m benches.profile --help`.

A case is run in two processes, few times and many times. What the second takes more, divided by the
number of repetitions that it has more, is one repetition, without start-up and preparation. One of
two programs tells the costs of each function. callgrind counts instructions, which hardly depend on
what else the machine does; its processor has no AVX-512, so that a cipher takes more of them than
on newer machines. perf takes samples of the time on a core, which needs a quiet machine. Where the
peer is another process, neither sees it.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from .cases import CASES, library
from .floors import Run
from .programs import ROOT
from .rounds import Bench, Sample

__all__ = ["Costs", "by_callgrind", "by_perf", "callgrind_costs", "layer", "main"]

#: Costs by object file and function.
Costs = Counter[tuple[str, str]]

#: Samples a second.
_FREQUENCY: Final = 10_000

#: Imports, and what they take, are the same in each process.
_ENVIRONMENT: Final = {**os.environ, "PYTHONHASHSEED": "0"}

_OURS: Final = r"/_native\."
#: The layer of a function: the first line that fits its object file and its name.
_LAYERS: Final = tuple(
    (name, re.compile(file), re.compile(function))
    for name, file, function in (
        ("polytls", _OURS, "polytls|_native::"),
        ("PyO3", _OURS, "pyo3"),
        ("rustls", _OURS, "rustls|webpki|x509_parser|asn1_rs"),
        ("other Rust", _OURS, "::|^<"),
        ("aws-lc", _OURS, ""),
        ("ssl", r"/_ssl\.", ""),
        ("OpenSSL", "/lib(ssl|crypto)", ""),
        ("interpreter", "/libpython|/bin/python|/lib-dynload/|/uvloop/", ""),
        ("system", r"kernel|\[vdso\]", ""),
        ("malloc", "/libc[.-]", "alloc|free|unlink_chunk|tcache"),
        ("libc", "", ""),
    )
)


class Counted(Bench):
    """Its samples run something a known number of times, once warm."""

    def __init__(self, count: int) -> None:
        super().__init__(0)
        self._count = count

    def rate(self, run: Run, amount: float = 1.0, most: int = sys.maxsize) -> Sample:  # noqa: ARG002
        run(3)
        return lambda: run(self._count)


def layer(place: tuple[str, str]) -> str:
    """Which layer a function belongs to, by its object file and its name."""
    found = (
        name
        for name, file, function in _LAYERS
        if file.search(place[0]) and function.search(place[1])
    )
    return next(found)


def callgrind_costs(lines: Iterator[str]) -> Costs:
    """Costs of each function by itself, of a file in callgrind's format."""
    costs: Costs = Counter()
    names: dict[tuple[str, str], str] = {}
    current = {"ob": "", "fn": ""}
    for line in lines:
        if found := re.match(r"(c?)(ob|fn)=(\(\d+\))(?: (.*))?$", line):
            called, kind, number, name = found.groups()
            if name is not None:
                names[kind, number] = name
            if not called:
                current[kind] = names[kind, number]
        elif line.startswith("calls="):
            # What the function called takes, which has its own.
            next(lines)
        elif found := re.match(r"[+*\d-]\S* (\d+)$", line):
            costs[current["ob"], re.sub(r"'\d+$", "", current["fn"])] += int(found[1])
    return costs


def by_callgrind(command: list[str], folder: Path) -> Costs:
    """Instructions."""
    file = folder / "callgrind.out"
    tool = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={file}"]
    subprocess.run([*tool, *command], cwd=ROOT, env=_ENVIRONMENT, check=True)
    with file.open() as lines:
        return callgrind_costs(line.rstrip("\n") for line in lines)


def by_perf(command: list[str], folder: Path) -> Costs:
    """Nanoseconds on a core."""
    file = folder / "perf.data"
    tool = ["perf", "record", "--quiet", "--event=cpu-clock", f"--freq={_FREQUENCY}"]
    tool += ["--no-inherit", f"--output={file}"]
    subprocess.run([*tool, *command], cwd=ROOT, env=_ENVIRONMENT, check=True)
    shown = ["perf", "script", f"--input={file}", "--fields=ip,sym,dso"]
    answer = subprocess.run(shown, check=True, stdout=subprocess.PIPE, text=True)
    costs: Costs = Counter()
    for line in answer.stdout.splitlines():
        if found := re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)$", line):
            costs[found[2], found[1]] += 10**9 // _FREQUENCY
    return costs


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.profile", description=__doc__)
    parser.add_argument("case", choices=[case.name for case in CASES], metavar="CASE")
    parser.add_argument("--library", default="polytls/rustls", help="polytls/rustls, ssl, ...")
    parser.add_argument("--few", type=int, default=100, help="repetitions of the first process")
    parser.add_argument("--many", type=int, default=1100, help="repetitions of the second")
    parser.add_argument("--time", action="store_true", help="nanoseconds by perf")
    parser.add_argument("--functions", type=int, default=0, help="show so many of each layer")
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(wanted: argparse.Namespace) -> None:
    """What is profiled."""
    bench = Counted(wanted.run)
    case = next(case for case in CASES if case.name == wanted.case)
    with bench.stack:
        sample = case.prepare(bench, library(wanted.library))
        gc.disable()
        sample()


def main() -> None:
    """Profile a case, and print its layers."""
    wanted = _arguments()
    if wanted.run is not None:
        _run(wanted)
        return
    count = by_perf if wanted.time else by_callgrind
    program = [sys.executable, "-m", "benches.profile", wanted.case, "--library", wanted.library]
    found = []
    for times in (wanted.few, wanted.many):
        with TemporaryDirectory() as folder:
            found.append(count([*program, "--run", str(times)], Path(folder)))
    few, many = found
    many.subtract(few)
    more = wanted.many - wanted.few
    layers: Costs = Counter()
    for place, cost in many.items():
        layers[layer(place), ""] += cost
    print(f"| {wanted.case}, {wanted.library} | {'ns' if wanted.time else 'instructions'} |")
    print("| --- | ---: |")
    for (name, _), cost in layers.most_common():
        print(f"| {name} | {cost / more:,.0f} |")
        functions = [it for it in many.most_common() if layer(it[0]) == name]
        for (_, function), part in functions[: wanted.functions]:
            print(f"| … `{function}` | {part / more:,.0f} |")
    print(f"| together | {sum(layers.values()) / more:,.0f} |")


if __name__ == "__main__":
    main()
