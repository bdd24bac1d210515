"""The kit's side of pytest: which cases there are, which must fail, and what is told at the end.

Nothing here relies on a project's own settings: what cases need is put on the cases.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from polytls import ConfigurationError, TLSImplementation
from polytls.insecure import InsecureTLSImplementation

from .features import place_of
from .fixtures import (  # noqa: F401 - pytest finds them here
    ca,
    census,
    connected,
    ends,
    lab,
    leaves_nothing_behind,
    one,
    rng,
    threads,
    upgrade,
    version,
)
from .progress import Progress
from .selection import wanting
from .tables import Deviation, case_of, read, table_of, versions_of
from .target import Target, load, signers
from .watch import Watch

_HERE = Path(__file__).parent
_T = TypeVar("_T")


class _Run:
    """One run of the kit: what it is held against, and what came of it."""

    def __init__(self, config: pytest.Config) -> None:
        self.target: Target = _named(config, "--polytls-implementation", load)
        _named(config, "--polytls-signers", signers)  # `lab` has them.
        self.deviations: list[Deviation] = _deviations(config, self.target)
        self.cases = 0
        self.deviating = 0
        self.progress = Progress()
        self.watch = Watch()
        #: Patterns that are about no case, in an unfiltered run.
        self.stale: list[str] = []


_RUN = pytest.StashKey[_Run]()


def _named(config: pytest.Config, option: str, read: Callable[[str | None], _T]) -> _T:
    """What an option names."""
    try:
        return read(config.getoption(option))
    except (ConfigurationError, ImportError) as error:
        raise pytest.UsageError(f"{option}: {error}") from error


def _deviations(config: pytest.Config, target: Target) -> list[Deviation]:
    given: list[str] = config.getoption("--polytls-deviations")
    paths = [config.invocation_params.dir / path for path in given]
    own = table_of(target.name) if target.registered else None
    try:
        found = read([own, *paths] if own else paths)
    except ValueError as error:
        raise pytest.UsageError(f"--polytls-deviations: {error}") from error
    running = versions_of(target.implementation.version)
    return [deviation for deviation in found if deviation.holds(running)]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(what): asked only of those that can do it")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Not earlier: pytest takes an error of this file's loading for one of a case.
    run = config.stash[_RUN] = _Run(config)
    matched: set[str] = set()
    kept, dropped = [], []
    others = [item for item in items if not _is_case(item)]
    # Sorting keeps the order of a module's cases.
    for item in sorted(filter(_is_case, items), key=lambda item: place_of(item.path.stem)):
        if wanting(item, run.target):
            dropped.append(item)
            run.progress.leave_out(item.path.stem)
            continue
        kept.append(item)
        item.add_marker(pytest.mark.filterwarnings("error"))
        case = case_of(item)
        found = [deviation for deviation in run.deviations if deviation.matches(case)]
        matched |= {deviation.pattern for deviation in found}
        if found:
            reason = f"{found[0].reason} ({found[0].reference})"
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
    if _unfiltered(config, items):
        run.stale = [each.pattern for each in run.deviations if each.pattern not in matched]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
    items[:] = kept + others


def _is_case(item: pytest.Item) -> bool:
    return _HERE in item.path.parents


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    run = item.config.stash[_RUN]
    if not _is_case(item):
        return (yield)
    with run.watch.over(case_of(item)):
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if _is_case(item):
        item.config.stash[_RUN].progress.begin(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _is_case(item):
        item.config.stash[_RUN].progress.note(item, call, report)
    return report


def _unfiltered(config: pytest.Config, items: list[pytest.Item]) -> bool:
    """Whether all cases of the kit were collected, and none is about to be left out."""
    if any(config.getoption(name, None) for name in ("keyword", "markexpr", "deselect", "lf")):
        return False
    collected = {item.path for item in items}
    return collected >= {*_HERE.glob("test_*.py")} and not any("::" in arg for arg in config.args)


def pytest_collection_finish(session: pytest.Session) -> None:
    run = session.config.stash.get(_RUN, None)
    if run is None:  # What was asked for does not exist; that is told after this.
        return
    cases = list(filter(_is_case, session.items))
    for case in cases:
        run.progress.expect(case.path.stem)
    patterns = run.deviations
    run.cases = len(cases)
    run.deviating = sum(any(each.matches(case_of(item)) for each in patterns) for item in cases)
    # Spare the collector what is there before the first case: it runs around each of them.
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    run = session.config.stash.get(_RUN, None)
    if run and run.stale and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    run = config.stash.get(_RUN, None)
    if run is None:
        return
    for pattern in run.stale:
        terminalreporter.write_line(f"ERROR deviation about no case: {pattern}", red=True)
    for line in run.progress.lines():
        terminalreporter.write_line(line)
    if run.watch.interrupted:
        terminalreporter.write_line(
            f"ERROR {run.watch.interrupted} did not end: where it stood is told above", red=True
        )
    made = run.target.implementation
    terminalreporter.write_line(
        f"conformance: {made.name} ({made.version or 'no version'}), "
        f"{run.cases} cases, {run.deviating} deviations"
    )


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """What the kit is run on."""
    return request.config.stash[_RUN].target


@pytest.fixture(scope="session")
def implementation(target: Target) -> TLSImplementation[Any, Any]:
    """The implementation that the kit is run on."""
    return target.implementation


@pytest.fixture(scope="session")
def insecure_implementation(target: Target) -> InsecureTLSImplementation[Any, Any, Any, Any]:
    """The same with its insecure contexts, for cases that need "insecure contexts"."""
    assert target.insecure is not None
    return target.insecure
