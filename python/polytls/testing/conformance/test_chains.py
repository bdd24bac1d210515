"""Chains of every kind, by the table in `chains.py`: whether they are accepted, and why not."""

from __future__ import annotations

from typing import Any

import pytest

from polytls import AlertReceived, CertificateVerificationError
from polytls.testing.conformance.chains import ROWS, Row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title.replace("\0", "NUL"))
def test_a_chain(lab: Any, row: Row) -> None:
    scene = row.make()
    client = lab.client(trust_store=scene.trusted)
    pair = lab.pair(client, lab.server(scene.chain), scene.name)
    outcome = lab.settle(pair)
    error = outcome.client
    if not row.reasons:
        assert (outcome.client, outcome.server) == (None, None)
        assert pair.client.info.verified_chain is not None
        assert pair.client.info.verified_chain[0] == scene.chain.leaf[0].buffer
        return
    assert type(error) is CertificateVerificationError
    assert error.reason in row.reasons
    assert error.explain().startswith(f"{error.reason.value}: {error}\n")
    assert error.certificate is None or error.certificate in error.chain
    # Of its kind, but for signatures that are wrong: there decrypt_error is as good.
    assert isinstance(outcome.server, AlertReceived)
    assert pair.client.negotiated_tls_version is None


def test_the_table_is_long() -> None:
    assert len({row.title for row in ROWS}) == len(ROWS) >= 80
