"""Which facts of a handshake each implementation reports: the table in docs/capabilities.md."""

from __future__ import annotations

import pytest

import polytls
from polytls import TLSVersion
from polytls.testing import CertificateAuthority, tie

SCHEMES = {"server_signature_scheme", "client_signature_scheme"}
FACTS = {
    "early_data_offered",
    "certificate_compression_offered",
    "ech_offered",
    "hello_retry_request",
    "handshake_bytes_sent",
    "handshake_bytes_received",
    "handshake_round_trips",
}


@pytest.mark.parametrize("version", [TLSVersion.TLSv1_2, TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["rustls", "openssl", "stdlib"])
def test_all_that_can_be_told_is_told(name: str, version: TLSVersion) -> None:
    tls = polytls.implementation(name)
    ca = CertificateAuthority()
    client = polytls.TLSClientConfiguration(
        ca.issue("client.example"),
        trust_store=ca.trust_store(),
        lowest_supported_version=version,
        highest_supported_version=version,
    )
    server = polytls.TLSServerConfiguration([ca.issue("localhost")], trust_store=ca.trust_store())
    pair = tie(
        tls.client_context(client).create_buffer("localhost"),
        tls.server_context(server).create_buffer(),
    )
    expected = FACTS if name == "stdlib" and version is TLSVersion.TLSv1_3 else FACTS | SCHEMES
    for side in (pair.client, pair.server):
        told = {fact for fact in FACTS | SCHEMES if getattr(side.info, fact) is not None}
        assert told == expected
