"""The options of the conformance kit, known to pytest wherever polytls is installed.

Nothing else is here: pytest reads a conftest inside an installed package only after it has parsed
the command line.
"""

from __future__ import annotations

import pytest

__all__ = ["pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("polytls", "the conformance kit of polytls")
    group.addoption(
        "--implementation",
        metavar="NAME|package.module:ATTRIBUTE",
        help="the TLS implementation to run polytls.testing.conformance on (polytls's default)",
    )
    group.addoption(
        "--deviations",
        metavar="FILE",
        action="append",
        default=[],
        help="a table of cases that must fail, in TOML; may be given more than once",
    )
