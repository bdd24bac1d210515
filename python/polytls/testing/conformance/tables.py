"""Where a library cannot keep a promise: tables of deviations, and how cases are held to them.

A table is a TOML file of entries such as

    [[deviation]]
    pattern = "test_module::test_name[TLSv1.2-*]"
    reason = "what the library cannot do"
    reference = "where the library's documentation, or an issue, says so"
    versions = "Python < 3.15, OpenSSL >= 3.0"

`pattern` is matched against `module::test[parameters]`; `*` and `?` stand for anything, all other
characters, brackets too, for themselves. A case that matches must fail: it is an expected failure,
and one that passes fails the run.

`versions` may be left out. It says where the entry holds: each condition must be met by the running
Python, or by what the implementation tells of itself in its `version`. Elsewhere there is no such
entry, and the case must pass.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest

__all__ = ["Deviation", "Versions", "case_of", "read", "table_of", "versions_of"]

_TABLES = Path(__file__).parent / "deviations"

#: What cases run on, by name: as many parts of each version as are known.
Versions = Mapping[str, tuple[int, ...]]

#: A name and a version, as in "rustls 0.23.46, aws-lc-rs 1.19.0".
_VERSION: Final = re.compile(r"([A-Za-z][\w-]*) (\d+(?:\.\d+)*)")
_CONDITION: Final = re.compile(r"([A-Za-z][\w-]*) *(<|>=) *(\d+(?:\.\d+)*)")

_REQUIRED: Final = frozenset({"pattern", "reason", "reference"})


@dataclass(frozen=True, slots=True)
class Deviation:
    """One entry of a table."""

    pattern: str
    reason: str
    reference: str
    versions: str = ""

    def __post_init__(self) -> None:
        if self.versions:
            _conditions(self.versions)

    def holds(self, running: Versions) -> bool:
        """Whether it is there on these versions. What is not among them meets no condition."""
        return not self.versions or all(
            name in running and (running[name] < bound if below else running[name] >= bound)
            for name, below, bound in _conditions(self.versions)
        )

    def matches(self, case: str) -> bool:
        """Whether it is about `case`, which is written as `case_of` writes it."""
        return fnmatchcase(case, self.pattern.replace("[", "[[]"))


def _conditions(text: str) -> list[tuple[str, bool, tuple[int, ...]]]:
    """Name, whether the version must be below the bound (or from it on), and the bound, of each."""
    found = []
    for condition in text.split(","):
        match = _CONDITION.fullmatch(condition.strip())
        if match is None:
            raise ValueError(
                f"versions: {condition.strip()!r} is not a condition; write NAME < 1.2 or "
                "NAME >= 1.2, with commas between conditions"
            )
        found.append((match[1], match[2] == "<", _parts(match[3])))
    return found


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def versions_of(version: str | None) -> Versions:
    """Return Python's version, and those that an implementation's `version` tells."""
    told = {name: _parts(number) for name, number in _VERSION.findall(version or "")}
    return {**told, "Python": sys.version_info[:3]}


def case_of(item: pytest.Item) -> str:
    """Return a case as `module::test[parameters]`."""
    return f"{item.path.stem}::{item.name}"


def table_of(name: str) -> Path | None:
    """Return the kit's own table for the registered implementation `name`, if there is one."""
    path = _TABLES / f"{name}.toml"
    return path if path.is_file() else None


def read(paths: Iterable[Path]) -> list[Deviation]:
    """Return the entries of the tables. Raises ValueError for anything else."""
    return [entry for path in paths for entry in _read(path)]


def _read(path: Path) -> Iterable[Deviation]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    entries = table.pop("deviation", [])
    if table or not isinstance(entries, list):
        raise ValueError(f"{path}: a table holds [[deviation]] entries and nothing else")
    for number, entry in enumerate(entries, 1):
        wrong = set(entry) - {"versions"} != _REQUIRED
        if wrong or not all(isinstance(v, str) and v for v in entry.values()):
            raise ValueError(
                f"{path}: entry {number}: give {', '.join(sorted(_REQUIRED))} as text, "
                "versions if it does not hold everywhere, and nothing else"
            )
        try:
            yield Deviation(**entry)
        except ValueError as error:
            raise ValueError(f"{path}: entry {number}: {error}") from error
