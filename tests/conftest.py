"""What these tests share with the conformance kit, whose cases stand in `polytls.testing`.

Test modules are collected with `--import-mode=importlib` and cannot import one another: what two
of them need is a fixture here. A test that takes `implementation`, or any fixture built on it, runs
once for each implementation that can be used on this machine.
"""

from __future__ import annotations

import gc
from typing import Any

import pytest

import polytls
from polytls.testing.conformance.fixtures import (  # noqa: F401 - pytest finds them here
    ca,
    census,
    lab,
    leaves_nothing_behind,
    rng,
    version,
)


def pytest_collection_finish() -> None:
    """Spare the collector what is there before the first test: it runs around each of them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", params=polytls.implementations())
def implementation(request: pytest.FixtureRequest) -> polytls.TLSImplementation[Any, Any]:
    """Each implementation that can be used here."""
    return polytls.implementation(request.param)
