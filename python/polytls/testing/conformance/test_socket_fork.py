"""Processes that fork: what goes on in the child, and what must not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polytls.testing.conformance.forked import CASES
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.target import Target

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

SCRIPT = Path(__file__).with_name("forked.py")


@pytest.mark.parametrize("case", CASES)
def test_a_child_uses_contexts_and_listeners_but_no_connection(target: Target, case: str) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, target.name, case],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
