"""Pages that are made from the code stay true to it, and links between pages lead somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import website
from polytls.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]

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


def test_the_site_has_every_page() -> None:
    pages = [str(path) for path in website.sources().values() if path.suffix == ".md"]
    settings = website.configuration()
    assert len(pages) > 20
    assert all(f" {page}\n" in settings for page in pages)


def test_the_reference_has_every_public_name() -> None:
    website.complete()
    assert "::: polytls.TrustStore\n" in "".join(page.text for page in website.REFERENCE)


#: What must not come in what users read, and what to write instead.
PHRASES = {
    r"[«»]": 'quotation marks are "',
    r"(?<!there )\b(?:is|are) no (?!longer\b|more\b)\w": "is not a",
    r"\bthat (?:is|are) none\b": "invalid, malformed",
    r"\bof no use\b": "unusable",
    r"\bthereof\b": "its",
    r"\bwhoever\b": "anyone who, the caller",
    r"\bdialled\b": "connected to",
    r"\b(?:client|server)'s context\b": "client context, server context",
    r"SEMANTICS": "a file of this tree",
}


def texts() -> Iterator[tuple[str, str]]:
    """Pages without code, and the docstrings and messages of the package, each with its place."""
    for page in PAGES:
        text = CODE.sub(lambda code: "\n" * code[0].count("\n"), page.read_text())
        for number, line in enumerate(text.splitlines(), 1):
            yield f"{page.name}:{number}", line
    for path in (ROOT / "python" / "polytls").rglob("*.py"):
        if "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", " ".join(node.value.split())


@pytest.mark.parametrize(("phrase", "instead"), PHRASES.items())
def test_what_users_read_is_in_plain_words(phrase: str, instead: str) -> None:
    found = [
        f"{place}: {match[0]!r}: write {instead}"
        for place, text in texts()
        for match in re.finditer(phrase, text, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)
