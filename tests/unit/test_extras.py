"""The extras of pyproject.toml: tests have the oldest release of each, and a newer one."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def pinned(name: str) -> dict[str, str]:
    """The versions in a file of requirements."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_oldest_release_of_each_is_tested_and_a_newer_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {line for lines in project["optional-dependencies"].values() for line in lines}
    oldest, newest = pinned("oldest.txt"), pinned("dev.txt")
    assert extras
    for extra in extras:
        name, least = extra.split(">=")
        assert oldest[name] in (least, f"{least}.0", f"{least}.0.0")
        assert newest[name] != oldest[name]
