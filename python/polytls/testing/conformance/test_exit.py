"""Processes that end while threads are in calls and callbacks: with their exit code, cleaned up."""

from __future__ import annotations

import pytest

from polytls.testing.conformance.exiting import CASES, assert_exits
from polytls.testing.conformance.target import Target


@pytest.mark.parametrize("case", CASES)
def test_a_process_ends_whatever_its_daemon_threads_are_in(target: Target, case: str) -> None:
    assert_exits(target.name, case)
