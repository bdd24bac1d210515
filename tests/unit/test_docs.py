"""Pages that are made from the code stay true to it, and code on pages runs."""

from __future__ import annotations

import re
import subprocess
import sys
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
    [
        ("exporters.md", 1, "the proof was made for another connection\n"),
        ("resumption.md", 1, "welcome None\nwelcome True\n"),
    ],
)
def test_the_programs_on_the_pages_run(
    capsys: pytest.CaptureFixture[str], page: str, index: int, said: str
) -> None:
    text = (ROOT / "docs" / page).read_text()
    program = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[index]
    exec(compile(program, page, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == said


def examples(page: str) -> dict[str, str]:
    """The code below each heading of a page; the first block comes before all others."""
    parts = re.split(r"^#+ (.+)$", (ROOT / "docs" / page).read_text(), flags=re.MULTILINE)
    blocks = {
        heading: "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    first, *rest = filter(None, blocks.values())
    return {heading: f"{first}\n{code}" for heading, code in blocks.items() if code in rest}


SOCKETS = examples("sockets.md")


@pytest.mark.parametrize("heading", SOCKETS)
def test_the_examples_of_sockets_run(heading: str) -> None:
    command = [sys.executable, "-W", "error", "-c", SOCKETS[heading]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
