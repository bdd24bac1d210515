"""A pytest plugin: `polytls.compat` under the suite of a library, and what became of each test.

POLYTLS_SUITE names the file that it writes, as JSON; POLYTLS_SUITE_UNDER is "polytls", or "ssl" for
the same count over `ssl` as it is. POLYTLS_SUITE_ONLY has the names of the tests to run, as JSON;
without any, all are.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polytls import compat

UNDER = os.environ["POLYTLS_SUITE_UNDER"]
ONLY = frozenset(json.loads(os.environ.get("POLYTLS_SUITE_ONLY", "[]")))
#: How many connections were made over `ssl`.
made = 0


def _count(name: str) -> None:
    before = getattr(ssl.SSLContext, name)

    def counted(self: Any, *args: Any, **more: Any) -> Any:
        global made
        made += 1
        return before(self, *args, **more)

    setattr(ssl.SSLContext, name, counted)


if UNDER == "polytls":
    compat.install()
else:
    _count("_wrap_socket")
    _count("_wrap_bio")

#: Tests during which a connection was made.
over: set[str] = set()
passed: set[str] = set()
lost: dict[str, str] = {}


def name_of(nodeid: str) -> str:
    """The name of a test, of an installed package as well."""
    return nodeid.rpartition("site-packages/")[2]


def connections() -> int:
    return int(compat.report()["polytls"]) + made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if ONLY:
        items[:] = [item for item in items if name_of(item.nodeid) in ONLY]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    before = connections()
    yield
    if connections() > before:
        over.add(name_of(item.nodeid))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        said = report.longrepr
        crash = getattr(said, "reprcrash", None)
        text = crash.message if crash else str(said)
        lost[name_of(report.nodeid)] = text.strip().partition("\n")[0]
    elif report.when == "call" and report.passed:
        passed.add(name_of(report.nodeid))


def pytest_sessionfinish() -> None:
    """Write what was found."""
    good = passed - lost.keys()
    found = {
        "passed": len(good),
        "over": len(good & over),
        "lost": lost,
        "lost_over": sorted(lost.keys() & over),
        "report": compat.report(),
    }
    Path(os.environ["POLYTLS_SUITE"]).write_text(json.dumps(found))
