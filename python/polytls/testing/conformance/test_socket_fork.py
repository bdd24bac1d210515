"""Processes that fork: what goes on in the child, and what must not."""

from __future__ import annotations

import os

import pytest

from polytls.testing.conformance.forked import CASES, assert_done_in_a_process
from polytls.testing.conformance.target import Target

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@pytest.mark.parametrize("case", CASES)
def test_a_child_uses_contexts_and_listeners_but_no_connection(target: Target, case: str) -> None:
    assert_done_in_a_process(target.name, case)
