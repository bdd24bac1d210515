"""A plugin for pytest: the whole run goes without our record layer, on rustls's own.

    python -m pytest -p tests.without_record_layer PYTEST ARGUMENTS

It reaches this process and its forks: programs that tests start keep the record layer.
"""

from __future__ import annotations

import pytest

from polytls import _native

__all__ = ["pytest_collection_modifyitems", "pytest_report_header", "pytest_sessionfinish"]

#: Where rustls 0.23 keeps less to RFC 8446 than our layer, by parts of a test's name. That it does
#: is held by `these_are_the_differences` in crates/rustls/src/differential/forgeries.rs.
_DIFFERENCES = {
    ("rustls-an_empty_message_of_the_handshake-", "TLSv1.3"): "rustls takes it (5.1)",
    ("rustls-a_record_of_an_unknown_kind-", "TLSv1.3"): "rustls answers with decode_error (5)",
}

_native.use_record_layer(False)


def pytest_report_header() -> str:
    return "polytls: without the record layer"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for parts, reason in _DIFFERENCES.items():
            if all(part in item.name for part in parts):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish() -> None:
    if _native.use_record_layer(False):
        raise pytest.UsageError("a test has left the record layer switched on")
