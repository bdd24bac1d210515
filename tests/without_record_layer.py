"""A plugin for pytest: the whole run goes without our record layer, on rustls's own.

    python -m pytest -p tests.without_record_layer PYTEST ARGUMENTS

It reaches this process and its forks: programs that tests start keep the record layer.
"""

from __future__ import annotations

import sys
from functools import partial

import pytest

from polytls import _native

__all__ = ["pytest_collection_modifyitems", "pytest_report_header"]

#: What a lineage needs the rest of a connection for, which rustls hands over with the records
#: (crates/rustls/src/lineage.rs): to offer the last ticket of TLS 1.3 again.
_AGAIN = (
    ("test_a_session_is_known_and_good_when_its_connection_is_gone", "TLSv1.3"),
    ("test_where_names_are_not_checked_a_session_is_for_its_own_name_alone", "TLSv1.3"),
    ("test_fifty_uploads_in_a_row_resume_one_session", "TLSv1.3"),
    ("test_tickets_that_were_not_offered_come_first_and_then_the_last_one",),
    ("test_tickets_join_the_session_on_whichever_connection_they_come",),
)
_DIFFERENCES = dict.fromkeys(_AGAIN, "a ticket is offered once without the record layer") | {
    ("test_connections_that_begin_and_end_together_are_all_resumed",): (
        "the length of a ticket is unknown without the record layer, so only eight are kept"
    ),
}

#: The implementation asks for its backend once, when it is imported.
_ENGINE = "polytls.engines.rustls"
if _ENGINE in sys.modules:
    raise pytest.UsageError(f"{_ENGINE} was imported before this plugin")
_with_both = _native.backend
_native.backend = partial(_with_both, record_layer=False)
try:
    __import__(_ENGINE)
finally:
    _native.backend = _with_both


def pytest_report_header() -> str:
    return "polytls: without the record layer"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for parts, reason in _DIFFERENCES.items():
            if all(part in item.name for part in parts):
                item.add_marker(pytest.mark.skip(reason=reason))
