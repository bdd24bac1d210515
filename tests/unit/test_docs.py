"""Pages that are made from the code stay true to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from polytls.cli import main

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_of_capabilities_is_that_of_the_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["implementations", "--markdown"]) == 0
    assert capsys.readouterr().out in (ROOT / "docs" / "capabilities.md").read_text()


@pytest.mark.parametrize(
    ("page", "index", "said"),
    [("exporters.md", 1, "the proof was made for another connection\n")],
)
def test_the_programs_on_the_pages_run(
    capsys: pytest.CaptureFixture[str], page: str, index: int, said: str
) -> None:
    text = (ROOT / "docs" / page).read_text()
    program = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[index]
    exec(compile(program, page, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == said
