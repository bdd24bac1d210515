"""The command: `python -m benches --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .cases import CASES, libraries, library
from .chart import draw
from .fleet.figures import Plan, markdown, measured
from .machine import facts
from .peers import Library, Setting
from .peers.pep748 import Pep748
from .programs import ROOT
from .report import Printer, Report, write_figures
from .resident import used
from .rounds import Bench, measure
from .scaling import tables
from .server import serve
from .serving import serve_application

_DOCS = ROOT / "docs"
_PAGE = _DOCS / "performance.md"


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benches", description="polytls against `ssl` and others, in one run."
    )
    add = parser.add_argument
    add("--only", default="", help="the cases whose name contains this")
    add("--rounds", type=int, default=9, help="how often each case takes turns (9)")
    add("--seconds", type=float, default=0.25, help="how long one measurement takes (0.25)")
    add("--quick", action="store_true", help="3 rounds of 0.03 s: a glance, no evidence")
    add(
        "--implementation",
        action="append",
        default=[],
        help="of polytls, rustls by default; may be repeated: the first is told of in each line",
    )
    add("--scaling", action="store_true", help="whether costs stay flat as sizes grow (minutes)")
    add("--fleet", action="store_true", help="fleets of servers against nginx, nothing else")
    add("--connections", type=int, default=50_000, help="with --fleet: to each fleet (50,000)")
    add("--processes", type=int, default=16, help="with --fleet: of each fleet (16)")
    add("--check", action="store_true", help="exit with 1 where a mark is missed")
    add("--json", type=Path, metavar="FILE", help="write every figure of every round")
    add("--svg", type=Path, metavar="FOLDER", help="draw ratios and distances to the floors")
    add("--docs", action="store_true", help="write figures and drawings into docs/")
    add("--from", type=Path, dest="source", metavar="FILE", help="measure nothing: such JSON")
    # For processes of the same run.
    add("--serve", help=argparse.SUPPRESS)
    add("--application", help=argparse.SUPPRESS)
    add("--resident", help=argparse.SUPPRESS)
    add("--pairs", type=int, help=argparse.SUPPRESS)
    add("--moved", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args(argv)
    if not any(wanted.only in case.name for case in CASES):
        names = ", ".join(case.name for case in CASES)
        parser.error(f"--only: no case has {wanted.only!r} in its name; there are: {names}")
    if wanted.rounds < 1 or wanted.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    if wanted.connections < 1 or wanted.processes < 1:
        parser.error("--connections and --processes must be positive")
    others = ("only", "scaling", "json", "svg", "source")
    if wanted.fleet and any(getattr(wanted, name) for name in others):
        parser.error(
            "--fleet measures fleets alone: only --docs, --check, --rounds, --quick and "
            "--implementation go with it, and the sizes"
        )
    return wanted


def run(wanted: argparse.Namespace) -> Report:
    """Measure, and print each line as it is known."""
    rounds, seconds = (3, 0.03) if wanted.quick else (wanted.rounds, wanted.seconds)
    peers, notes = libraries(wanted.implementation or ["rustls"])
    bench = Bench(seconds)
    with bench.stack:
        report = Report(
            facts(bench.cores),
            {it.name: it.version() for it in peers},
            peers[1].name,
            rounds,
            notes=[*notes, *(f"{it.name}: {it.note}" for it in peers if it.note)],
        )
        printer = Printer(report)
        with bench.cores.on(-1):
            copied = bench.rate(bench.floors.copy(1 << 18), (1 << 18) / 1e9)()
            report.machine["memcpy"] = f"{copied:.1f} GB/s"
            printer.head()
            for case in CASES:
                if wanted.only in case.name:
                    report.figures.append(measure(bench, case, peers, rounds))
                    printer.figures(report.figures[-1])
            if wanted.scaling:
                report.tables = tables(bench, peers[:2])
        printer.end()
    return report


def fleets(wanted: argparse.Namespace) -> list[str]:
    """Measure fleets, print the table, write it where asked; return the marks that are missed."""
    connections, rounds = (600, 1) if wanted.quick else (wanted.connections, wanted.rounds)
    plan = Plan(wanted.processes, connections, rounds=rounds)
    bench = Bench(wanted.seconds)
    peers: list[Library] = [Pep748(name) for name in wanted.implementation or ["rustls", "openssl"]]
    with bench.stack:
        found = measured(bench, peers, plan)
        table = markdown(bench, peers, plan, found)
    print(table)
    if wanted.docs:
        write_figures(_DOCS / "fleets.md", table)
    return found.missed()


def main(argv: list[str] | None = None) -> int:
    """Do what was asked for."""
    wanted = arguments(argv)
    if wanted.serve:
        serve(library(wanted.serve), Setting())
        return 0
    if wanted.application:
        serve_application(library(wanted.application), Setting())
        return 0
    if wanted.resident:
        print(used(library(wanted.resident), wanted.pairs, moved=wanted.moved))
        return 0
    if wanted.fleet:
        return verdict(wanted, fleets(wanted))
    report = Report.from_json(wanted.source.read_text()) if wanted.source else run(wanted)
    if wanted.json:
        wanted.json.write_text(report.to_json() + "\n")
    if wanted.svg:
        draw(report, wanted.svg)
    if wanted.docs:
        draw(report, _DOCS)
        report.write_page(_PAGE)
    return verdict(wanted, report.missed())


def verdict(wanted: argparse.Namespace, missed: list[str]) -> int:
    """The exit status: 1 if marks are checked and some are missed, which are printed."""
    if not wanted.check:
        return 0
    print(*(["Missed:", *missed] if missed else ["All marks are met."]), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
