"""The conformance kit itself is proved: each faulty implementation fails the case made for it.

`faulty.py` and its neighbours have the faults, and say which case of the kit catches which.
The kit runs as its users run it, in a process of its own for each fault.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from polytls.testing import conformance

HERE = Path(__file__).parent
KIT_NAME = conformance.__name__
KIT = Path(conformance.__file__).parent

#: How long the kit may take to start, and how long for each function of it, in seconds. Some faults
#: might make it wait for ever.
PATIENCE = 60.0
EACH = 5.0
#: In how many runs the honest implementation has all cases: some go on beside the faults'.
PARTS = 4

#: The same wrapper without a fault.
HONEST = "faulty:HONEST"

#: How many processes run at once.
AT_ONCE = 2

#: Failures that tell of a mistake in `faulty.py` rather than of a fault that was caught.
MISTAKES = ("AttributeError", "ImportError", "NameError")


#: Where the faults are.
MODULES = ("faulty", "faulty_sockets", "faulty_early_data", "faulty_named_sessions")


def _faults() -> dict[str, Any]:
    """The faults of these modules, which are in no package, as `module:NAME`."""
    sys.path.insert(0, str(HERE))
    try:
        modules = [importlib.import_module(name) for name in MODULES]
    finally:
        sys.path.remove(str(HERE))
    return {
        f"{one.__name__}:{name}": fault for one in modules for name, fault in one.FAULTS.items()
    }


FAULTS = _faults()


@dataclass(frozen=True)
class Run:
    """What became of some cases of the kit."""

    status: int
    passed: frozenset[str]
    failed: dict[str, str]
    broken: frozenset[str]
    output: str


def run(name: str, cases: list[str], folder: Path) -> Run:
    """Run `cases` of the kit, `module::name` each, on an implementation, `module:NAME`."""
    folder.mkdir()
    report = folder / "report.xml"
    options = [
        *("-q", "--maxfail=1", "--pyargs", "-c", os.devnull, "--rootdir", KIT),
        *("-p", "no:cacheprovider", "-p", "pytest_polytls"),
        *(f"--junitxml={report}", "--polytls-implementation", name),
        # Below every one of them is rustls.
        *("--polytls-deviations", str(KIT / "deviations" / "rustls.toml")),
    ]
    # Other plugins take longer to import than a case takes to run. With `CI`, pytest shows whole
    # differences: of much data they take hours to find.
    own = {
        "CI": "true",
        "PYTHONPATH": str(HERE),
        "PYTEST_ADDOPTS": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *(f"{KIT_NAME}.{case}" for case in cases)],
            cwd=folder,
            env=os.environ | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE + EACH * len(cases),
        )
    except subprocess.TimeoutExpired as error:
        return Run(-1, frozenset(), {}, frozenset(), f"it hung: {error.output!r}")
    passed, failed, broken = set(), {}, set()
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        module = case.get("classname", "").rpartition(".")[2]  # Cases are named from `KIT`.
        title = f"{module}::{case.get('name', '').partition('[')[0]}"
        failure = case.find("failure")
        if case.find("error") is not None:
            broken.add(title)
        elif failure is not None:
            failed[title] = failure.get("message", "")
        else:
            passed.add(title)
    return Run(done.returncode, frozenset(passed), failed, frozenset(broken), done.stdout)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Every fault's case on its implementation, and all of these cases on the honest one."""
    folder = tmp_path_factory.mktemp("kit")
    wanted = {name: [fault.caught_by] for name, fault in FAULTS.items()}
    every = sorted({case for cases in wanted.values() for case in cases})
    with ThreadPoolExecutor(AT_ONCE) as threads:
        honest = [
            threads.submit(run, HONEST, every[part::PARTS], folder / f"honest {part}")
            for part in range(PARTS)
        ]
        tasks = {
            name: threads.submit(run, name, cases, folder / name.replace(":", "."))
            for name, cases in wanted.items()
        }
        found = {name: task.result() for name, task in tasks.items()}
        return {HONEST: together([part.result() for part in honest]), **found}


def together(parts: list[Run]) -> Run:
    """What became of cases that were run in parts."""
    return Run(
        next((part.status for part in parts if part.status), 0),
        frozenset().union(*(part.passed for part in parts)),
        {title: message for part in parts for title, message in part.failed.items()},
        frozenset().union(*(part.broken for part in parts)),
        "\n".join(part.output for part in parts),
    )


def caught(name: str, runs: dict[str, Run]) -> bool:
    """Whether that case, and nothing but that case, failed on this implementation."""
    result = runs[name]
    honestly = not any(message.startswith(MISTAKES) for message in result.failed.values())
    return result.status == 1 and set(result.failed) == {FAULTS[name].caught_by} and honestly


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught(runs: dict[str, Run], name: str) -> None:
    assert caught(name, runs), f"{FAULTS[name].description}:\n{runs[name].output}"


def test_the_same_wrapper_without_a_fault_passes(runs: dict[str, Run]) -> None:
    honest = runs[HONEST]
    assert (honest.status, honest.failed, honest.broken) == (0, {}, frozenset()), honest.output
    assert honest.passed == {fault.caught_by for fault in FAULTS.values()}


def test_all_faults_are_caught(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    number = sum(caught(name, runs) for name in FAULTS)
    with capsys.disabled():
        print(f"\nfaults: {number} of {len(FAULTS)} caught by the conformance kit")
    assert number == len(FAULTS) >= 20
