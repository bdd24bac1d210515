"""tools/website.py: links of pages lead to the same places on the site, and faults are found."""

from __future__ import annotations

from pathlib import Path

import pytest

import website


def test_links_lead_to_where_pages_are_on_the_site(tmp_path: Path) -> None:
    page, other = tmp_path / "README.md", tmp_path / "docs" / "other.md"
    page.write_text(
        "[a](docs/other.md#x) [b](https://a.example/) [c](#c)\n```\n[d](docs/d.md)\n```\n"
    )
    there = {page: Path("index.md"), other: Path("other.md")}
    adapted = website.adapted(page, there)
    assert adapted.splitlines()[0] == "[a](other.md#x) [b](https://a.example/) [c](#c)"
    assert "[d](docs/d.md)" in adapted


def test_a_link_to_what_the_site_lacks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(website, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("[a](nowhere.md)\n")
    with pytest.raises(SystemExit, match=r"page\.md: the site lacks nowhere\.md"):
        website.adapted(page, {page: Path("page.md")})


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('<a href="nowhere.html">', "nowhere.html: no such file"),
        ('<a href="sub/there.html#b">', "sub/there.html#b: no such anchor"),
        ('<a href="#a">', "#a: no such anchor"),
        ('<img src="nowhere.svg">', "nowhere.svg: no such file"),
        ('<script src="https://cdn.example/a.js"></script>', "loads https://cdn.example/a.js"),
        ('<link rel="stylesheet" href="//cdn.example/a.css">', "loads //cdn.example/a.css"),
    ],
)
def test_a_fault_of_a_built_page_is_found(
    content: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(website, "HTML", tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "there.html").write_text('<h2 id="a"><a href="../index.html#top">')
    good = '<p id="top"><a href="sub/there.html#a"><a href="https://elsewhere.example/">'
    (tmp_path / "index.html").write_text(good)
    assert list(website.faults()) == []
    (tmp_path / "index.html").write_text(good + content)
    assert list(website.faults()) == [f"index.html: {fault}"]
