"""Pages that are made from the code stay true to it, and links between pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from polytls.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]

#: A link's text may be broken over lines; its target has neither blanks nor a scheme.
LINK = re.compile(r"\]\((?!\w+:)([^\s()]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(CODE.sub("", page.read_text()))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_table_of_capabilities_is_that_of_the_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["implementations", "--markdown"]) == 0
    assert capsys.readouterr().out in (ROOT / "docs" / "capabilities.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", page.read_text())):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
