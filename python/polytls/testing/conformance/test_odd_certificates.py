"""Odd certificates, by the table in `oddities.py`: what comes of each, and in what words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polytls import CertificateVerificationError, Responsible, TLSVersion
from polytls.testing import Pair
from polytls.testing.conformance.lab import DEBUG
from polytls.testing.conformance.oddities import ROWS, Row
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.unguarded_peer import UnguardedPeer, write

roles = pytest.mark.parametrize(
    "role", ["server", pytest.param("client", marks=needs("client authentication"))]
)


@roles
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_an_odd_certificate(
    lab: Any, version: TLSVersion, role: str, row: Row, tmp_path: Path
) -> None:
    if version is TLSVersion.TLSv1_2 and role == "server" and not row.signs:
        version = TLSVersion.TLSv1_3
    chain = row.make(lab.ca)
    raw: Any = UnguardedPeer(write(tmp_path / "peer.pem", chain), server=role == "server")
    if role == "server":
        judge = lab.client(version=version).create_buffer(lab.host)
        error = lab.settle(Pair(judge, raw)).client
    else:
        judge = lab.server(version=version, trust_store=lab.ca.trust_store()).create_buffer()
        error = lab.settle(Pair(raw, judge)).server
    if row.reason is None:
        assert error is None
        assert judge.getpeercert() == chain.leaf[0].buffer
        return
    assert type(error) is CertificateVerificationError
    assert error.reason is row.reason
    assert error.responsible is Responsible.PEER
    told = error.explain()
    last = told.splitlines()[-1]
    assert last.startswith(f"To fix: the {role}'s operator must ")
    # A library may not keep what it has refused.
    if role == "server" or error.chain:
        assert error.index == row.index
        assert error.certificate == error.chain[row.index]
        for said in row.said:
            assert said in str(error)
        assert row.advice in last
    for text in (str(error), told):
        assert not DEBUG.search(text)
