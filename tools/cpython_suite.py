"""The tests of each interpreter's own suite that use TLS, with `polytls.compat` under them.

    tools/cpython_suite.py                  all versions that are here and have a list
    tools/cpython_suite.py 3.12 3.13        those versions
    tools/cpython_suite.py 3.12 test_ssl    one module, with the reason of each lost test
    tools/cpython_suite.py --ssl 3.12 ...   the same over `ssl` as it is, for comparison
    tools/cpython_suite.py --without 3.11   the same where `_ssl` and `_hashlib` cannot be imported

The tests come with the interpreter (`test` in its library), so the list of them differs by version:
tools/cpython/VERSION.toml names the modules, how many of their tests pass at the least, how many
of those are tests of TLS, and the lost ones, each with its reason. A lost test that passes is an
error as well: the list says what is so. A test of TLS is one of a module that is about it
(test_ssl, test_asyncio.test_ssl, test_asyncio.test_sslproto), or one during which a connection was
made. What is lost and not listed is run once more by itself before it counts.

Without OpenSSL, `without` of a list has its own numbers and modules, what is lost besides, and what
is skipped there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lost import is_as_listed
from pythons import environment, interpreters

LISTS = Path(__file__).resolve().parent / "cpython"

#: What runs in a process of its own for each module; it writes one line of JSON at the end.
RUN = """
import importlib, json, os, sys, unittest, warnings
warnings.simplefilter("ignore")
if sys.argv[1] == "without":
    sys.modules["_ssl"] = sys.modules["_hashlib"] = None
from polytls import compat
if sys.argv[1] == "without":
    assert compat.provide()
if sys.argv[1] != "ssl":
    compat.install()
from test import support
support.use_resources = ["walltime"]
module = importlib.import_module("test." + sys.argv[2])
if sys.argv[3:]:
    suite = unittest.defaultTestLoader.loadTestsFromNames(["test." + name for name in sys.argv[3:]])
else:
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
over, started = set(), set()

class Result(unittest.TextTestResult):
    # CPython 3.12.1 does not start what it skips.
    made = 0

    def startTest(self, case):
        super().startTest(case)
        started.add(case.id())
        self.made = compat.report()["polytls"]

    def stopTest(self, case):
        super().stopTest(case)
        made = compat.report()["polytls"] - self.made
        if made or sys.argv[2].endswith(("test_ssl", "test_sslproto")):
            over.add(case.id())

def whole(case):
    return getattr(case, "test_case", case).id()

said = open(os.devnull, "w")
sys.stdout, kept = said, sys.stdout
result = unittest.TextTestRunner(stream=said, resultclass=Result).run(suite)
sys.stdout = kept
skipped = {whole(case) for case, _ in result.skipped}
bad = result.failures + result.errors
lost = {whole(case): text.strip().splitlines()[-1] for case, text in bad}
count = len(started - skipped)
print()
print(json.dumps([count, len(over - skipped), len(over & lost.keys()), lost, compat.report()]))
"""


@dataclass
class Outcome:
    """What became of a module's tests: how many ran, how many of TLS, what each lost one said."""

    ran: int
    tls: int
    tls_lost: int
    lost: dict[str, str]
    report: dict[str, Any]
    unsteady: list[str] = field(default_factory=list)


def run(python: str, under: str, module: str, names: Iterable[str] = ()) -> Outcome:
    """Run a module's tests, or some of them, over "polytls" or "ssl", or "without" OpenSSL."""
    ran = subprocess.run(
        [python, "-c", RUN, under, module, *names],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=1200,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(f"{module}: {ran.stderr[-2000:]}")
    count, tls, tls_lost, lost, report = json.loads(ran.stdout.splitlines()[-1])
    lost = {name.removeprefix("test."): said for name, said in lost.items()}
    return Outcome(count, tls, tls_lost, lost, report)


def judged(python: str, under: str, module: str, reasons: dict[str, str]) -> Outcome:
    """Run a module's tests, and what is lost against the list once more."""
    outcome = run(python, under, module)
    for name in [name for name in outcome.lost if name not in reasons]:
        # What a class or a module sets up has no name that could be run.
        if re.fullmatch(r"[\w.]+", name) and not run(python, under, module, [name]).lost:
            outcome.unsteady.append(name)
            del outcome.lost[name]
    return outcome


def suite(version: str, executable: str, under: str, chosen: list[str]) -> bool:
    """Run all modules of a version, or the chosen ones; whether all is as the list says."""
    python = environment(version, executable)
    listed = tomllib.loads((LISTS / f"{version}.toml").read_text())
    reasons: dict[str, str] = listed["lost"]
    if under == "without":
        listed = listed["without"]
        there = {name: why for name, why in reasons.items() if name not in listed["skipped"]}
        reasons = there | listed["lost"]
    modules = chosen or listed["modules"]
    right, total, tls = True, 0, 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = pool.map(lambda module: judged(python, under, module, reasons), modules)
        for module, outcome in zip(modules, outcomes, strict=True):
            report = outcome.report
            passed = outcome.ran - len(outcome.lost)
            total += passed
            tls += outcome.tls - outcome.tls_lost
            print(
                f"{version} {module:32} {passed} of {outcome.ran}; of TLS "
                f"{outcome.tls - outcome.tls_lost} of {outcome.tls}; "
                f"{report['polytls']} connections",
                flush=True,
            )
            for name in outcome.unsteady:
                print(f"    unsteady: {name}")
            its = {name: why for name, why in reasons.items() if name.startswith(f"{module}.")}
            right &= is_as_listed(
                outcome.lost, its, report, file=f"{version}.toml", tell=bool(chosen)
            )
    if not chosen:
        print(
            f"{version}: {total} tests pass, {tls} of them of TLS; the list says at least "
            f"{listed['least']} and {listed['least_of_tls']}",
            flush=True,
        )
        right = right and total >= listed["least"] and tls >= listed["least_of_tls"]
    return right


def main(arguments: list[str]) -> int:
    """Run what is asked for; return the exit code."""
    options = [argument for argument in arguments if argument in ("--ssl", "--without")]
    under = options[0].removeprefix("--") if options else "polytls"
    named = [argument for argument in arguments if argument not in options]
    versions = [name for name in named if re.fullmatch(r"3\.\d+", name)]
    found = interpreters()
    listed = versions or [
        path.stem
        for path in sorted(LISTS.glob("*.toml"))
        if under != "without" or "without" in tomllib.loads(path.read_text())
    ]
    missing = [version for version in listed if version not in found]
    if missing:
        print(f"missing: CPython {', '.join(missing)}", file=sys.stderr)
        if versions or os.environ.get("CI"):
            return 1
    modules = [name for name in named if name not in versions]
    results = [
        suite(version, found[version], under, modules) for version in listed if version in found
    ]
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
