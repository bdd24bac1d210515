"""A plugin for pytest: the implementation `openssl` uses the libssl that TEST_LIBSSL names.

    TEST_LIBSSL=PATH python -m pytest -p tests.chosen_openssl PYTEST ARGUMENTS

It reaches this process and its forks: programs that tests start use the system's.
"""

from __future__ import annotations

import os

import pytest

import polytls
from polytls.engines import libssl

__all__ = ["pytest_report_header"]

_PATH = os.environ.get("TEST_LIBSSL")
if not _PATH:
    raise pytest.UsageError("TEST_LIBSSL: name a libssl")
libssl.use(_PATH)
_VERSION = polytls.implementation("openssl").version


def pytest_report_header() -> str:
    return f"polytls: {_VERSION}, {_PATH}"
