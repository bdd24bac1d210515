"""The pytest options of polytls's conformance kit, available wherever polytls is installed.

pytest reads a conftest inside an installed package only after it has parsed the command line, so
the options need a plugin, and pytest imports that in every run if polytls is installed. It is
therefore a separate package that imports nothing, not even polytls, and its options carry polytls's
name. Everything else is in `polytls.testing.conformance`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("polytls", "polytls conformance kit")
    group.addoption(
        "--polytls-implementation",
        metavar="NAME|package.module:ATTRIBUTE",
        help="the TLS implementation to run polytls.testing.conformance on (polytls's default)",
    )
    group.addoption(
        "--polytls-deviations",
        metavar="FILE",
        action="append",
        default=[],
        help="a TOML table of tests that must fail; can be repeated",
    )
    group.addoption(
        "--polytls-signers",
        metavar="package.module:ATTRIBUTE",
        help="makes a polytls.Signer of a polytls.PrivateKey, for cases of keys that are elsewhere "
        "(one that has the key in memory)",
    )
