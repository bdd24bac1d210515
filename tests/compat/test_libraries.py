"""The table of libraries in docs/ssl.md: what `make test-libraries` runs has a row in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def rows() -> dict[str, tuple[str, str]]:
    """What the table says of a context that is handed in, and of `install()`, by library."""
    page = (ROOT / "docs" / "ssl.md").read_text()
    _, _, table = page.partition("| library | passing a context | works with `install()` |\n")
    found = {}
    for line in table.splitlines()[1:]:
        if not line.startswith("|"):
            break
        names, given, installed = (cell.strip() for cell in line.strip("|").split("|"))
        found.update(dict.fromkeys(names.split(", "), (given, installed)))
    return found


@pytest.fixture(scope="module")
def libraries() -> dict[str, list[int]]:
    """The doors of each test."""
    listed = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "libraries"), "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[int]] = json.loads(listed.stdout)
    return found


def test_every_test_has_a_row_that_says_what_it_shows(libraries: dict[str, list[int]]) -> None:
    doors: dict[str, set[int]] = {}
    for name, open_to in libraries.items():
        library = re.split(r", | on | over | streams", name)[0]
        doors.setdefault(library, set()).update(open_to)
    table = rows()
    for library, open_to in doors.items():
        given, installed = table[library]
        assert (1 in open_to) is not given.startswith("not possible"), library
        assert (2 in open_to) is (installed != "no"), library
    # The others are the standard library's: CPython's own tests show them (tools/cpython).
    others = table.keys() - doors.keys()
    assert others == {"http.client", "imaplib", "poplib", "smtplib", "ftplib"}
