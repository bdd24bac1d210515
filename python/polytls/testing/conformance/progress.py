"""How a run goes on: which outcome each feature has, when to stop, and what is told at the end.

Three rules keep an author from waiting for what cannot come:

- Where a base case fails, the run stops, with the case's own sentence.
- Where cases of one feature have run out of time twice, the rest of the feature is not asked.
- A case that does not end is interrupted, and the run with it (`watch`).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

from .features import FEATURES, Feature, feature_of
from .lab import PATIENCE

__all__ = ["Progress"]

#: How many cases of a feature may run out of time.
MOST_LATE: Final = 2

_COLUMNS: Final = ("passed", "failed", "deviate", "not asked", "not reached")


class Progress:
    """The outcomes of a run, by feature."""

    def __init__(self) -> None:
        self._counts: dict[Feature, Counter[str]] = {feature: Counter() for feature in FEATURES}
        #: The worst outcome of a case's phases.
        self._outcomes: dict[str, str] = {}
        self._late: Counter[Feature] = Counter()

    # --- before it runs ---

    def expect(self, module: str) -> None:
        """A case is going to be run."""
        self._counts[feature_of(module)]["expected"] += 1

    def leave_out(self, module: str) -> None:
        """A case is not asked of this implementation, by what it says of itself."""
        self._counts[feature_of(module)]["not asked"] += 1

    def begin(self, item: pytest.Item) -> None:
        """A case begins; skips it if its feature is given up."""
        feature = feature_of(item.path.stem)
        if self._late[feature] >= MOST_LATE:
            pytest.skip(f"{MOST_LATE} cases of «{feature.title}» have run out of time before")

    # --- as it runs ---

    def note(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> None:
        """Take in how a phase of a case ended, and stop the run if that was a base case."""
        feature, before = feature_of(item.path.stem), self._outcomes.get(item.nodeid)
        outcome = _outcome(report)
        if outcome is None or before == "failed":
            return
        if before is not None:
            self._counts[feature][before] -= 1
        self._outcomes[item.nodeid] = outcome
        self._counts[feature][outcome] += 1
        if outcome == "failed":
            self._late[feature] += report.duration >= PATIENCE
            if feature.is_base:
                item.session.shouldfail = (
                    f"stopped, as nothing else can succeed: {_sentence(call, report)}"
                )

    # --- at the end ---

    def lines(self) -> list[str]:
        """Return the summary by feature; nothing where one feature is all there is."""
        rows = [
            (feature.title, counts)
            for feature, counts in self._counts.items()
            if counts["expected"]
        ]
        if len(rows) < 2:
            return []
        for _, counts in rows:
            done = sum(counts[each] for each in ("passed", "failed", "deviate", "skipped"))
            counts["not asked"] += counts["skipped"]
            counts["not reached"] = counts["expected"] - done
        columns = [name for name in _COLUMNS if any(counts[name] for _, counts in rows)]
        width = max(len(title) for title, _ in rows)
        head = f"{'feature':{width}}" + "".join(f"  {name}" for name in columns)
        return [head] + [
            f"{title:{width}}" + "".join(f"  {counts[name]:{len(name)}}" for name in columns)
            for title, counts in rows
        ]


def _outcome(report: pytest.TestReport) -> str | None:
    """The outcome of a case as far as this phase tells; None if it tells nothing."""
    if report.failed:
        return "failed"
    if report.skipped:
        return "deviate" if hasattr(report, "wasxfail") else "skipped"
    return "passed" if report.when == "call" else None


def _sentence(call: pytest.CallInfo[None], report: pytest.TestReport) -> str:
    """What a case says of its failure, in a line."""
    if call.excinfo is None:  # It passes, and should not.
        return str(report.longrepr)
    error = call.excinfo.value
    lines = str(error).strip().splitlines()
    said = lines[0] if lines else ""
    if isinstance(error, pytest.fail.Exception):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
