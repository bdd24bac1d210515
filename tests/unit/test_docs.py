"""Pages that are made from the code stay true to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytls.cli import main

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_of_capabilities_is_that_of_the_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["implementations", "--markdown"]) == 0
    assert capsys.readouterr().out in (ROOT / "docs" / "capabilities.md").read_text()
