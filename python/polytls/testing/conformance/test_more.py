"""What is told of secrets and of addresses, on either side."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from polytls import TLSVersion


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_address_is_told_by_neither_side_as_a_server_name(
    lab: Any, version: TLSVersion, address: str
) -> None:
    pair = lab.connect(lab.client(version=version), lab.server(lab.chain(address)), address)
    for side in (pair.client, pair.server):
        assert side.info.server_name is None


def test_a_context_shows_no_key(lab: Any) -> None:
    mine, theirs = lab.chain("client.example"), lab.chain()
    for context, chain in (
        (lab.client(certificate_chain=mine), mine),
        (lab.server(theirs), theirs),
    ):
        key = chain.leaf[1].buffer
        told = f"{context!r} {context} {context.configuration!r}"
        for secret in (key, key[-32:]):
            for form in (repr(secret)[2:-1], secret.hex(), base64.b64encode(secret).decode()):
                assert form not in told
