"""Where a library cannot keep a promise: tables of deviations, and how cases are held to them.

A table is a TOML file of entries such as

    [[deviation]]
    pattern = "test_module::test_name[TLSv1.2-*]"
    reason = "what the library cannot do"
    reference = "where the library's documentation, or an issue, says so"

`pattern` is matched against `module::test[parameters]`; `*` and `?` stand for anything, all other
characters, brackets too, for themselves. A case that matches must fail: it is an expected failure,
and one that passes fails the run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

__all__ = ["Deviation", "case_of", "read", "table_of"]

_TABLES = Path(__file__).parent / "deviations"


@dataclass(frozen=True, slots=True)
class Deviation:
    """One entry of a table."""

    pattern: str
    reason: str
    reference: str

    def matches(self, case: str) -> bool:
        """Whether it is about `case`, which is written as `case_of` writes it."""
        return fnmatchcase(case, self.pattern.replace("[", "[[]"))


def case_of(item: pytest.Item) -> str:
    """Return a case as `module::test[parameters]`."""
    return f"{item.path.stem}::{item.name}"


def table_of(name: str) -> Path | None:
    """Return the kit's own table for the registered implementation `name`, if there is one."""
    path = _TABLES / f"{name}.toml"
    return path if path.is_file() else None


def read(paths: Iterable[Path]) -> list[Deviation]:
    """Return the entries of the tables. Raises ValueError for what is no table."""
    return [entry for path in paths for entry in _read(path)]


def _read(path: Path) -> Iterable[Deviation]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    keys = {field.name for field in fields(Deviation)}
    entries = table.pop("deviation", [])
    if table or not isinstance(entries, list):
        raise ValueError(f"{path}: a table holds [[deviation]] entries and nothing else")
    for number, entry in enumerate(entries, 1):
        if set(entry) != keys or not all(isinstance(v, str) and v for v in entry.values()):
            raise ValueError(f"{path}: entry {number}: exactly {', '.join(sorted(keys))} as text")
        yield Deviation(**entry)
