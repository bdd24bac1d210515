"""Judges the lost tests of a suite that others have written by a list of them, with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_as_listed"]


def is_as_listed(
    lost: Mapping[str, str],
    reasons: Mapping[str, str],
    report: Mapping[str, Any] | None,
    *,
    file: str,
    tell: bool,
) -> bool:
    """Print what is not as the list says; return whether nothing is.

    `lost`: what each lost test said. `reasons`: why each may be lost, as `file` has it. A lost test
    without a reason is an error, and so are a reason whose test passes, and a connection that was
    OpenSSL's by `report` (`polytls.compat.report()`, where that was in use).
    `tell`: print the reasons of the lost tests, too.
    """
    wrong = []
    for name, said in lost.items():
        if name not in reasons:
            wrong.append(f"lost: {name}: {said}")
        elif tell:
            print(f"    {name}: {reasons[name]}")
    wrong += [f"not lost: {name}: take it off {file}" for name in reasons if name not in lost]
    if report is not None and report["openssl"]:
        wrong.append(f"{report['openssl']} connections were OpenSSL's: {report['reasons']}")
    for line in wrong:
        print(f"    {line}")
    return not wrong
