"""Which encrypted messages each implementation reports: docs/tracing.md."""

from __future__ import annotations

import pytest

import polytls
from polytls import HandshakeType, TLSVersion
from polytls.testing import CertificateAuthority, tie

H = HandshakeType
#: What a client of TLS 1.3 is told beside the hellos, and of TLS 1.2 beside what is not encrypted.
ENCRYPTED = {
    TLSVersion.TLSv1_2: {H.finished},
    TLSVersion.TLSv1_3: {
        H.encrypted_extensions,
        H.certificate_request,
        H.certificate,
        H.certificate_verify,
        H.finished,
        H.new_session_ticket,
        H.key_update,
    },
}


@pytest.mark.parametrize("version", ENCRYPTED)
@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize(
    ("name", "shows"), [("rustls", True), ("openssl", True), ("stdlib", False)]
)
def test_encrypted_messages_are_told_where_the_library_shows_them(
    name: str, shows: bool, side: str, version: TLSVersion
) -> None:
    told: list[polytls.ConnectionEvent] = []
    tls = polytls.implementation(name)
    ca = CertificateAuthority()
    client = polytls.TLSClientConfiguration(
        ca.issue("client.example"),
        trust_store=ca.trust_store(),
        lowest_supported_version=version,
        highest_supported_version=version,
        on_event=told.append if side == "client" else None,
    )
    server = polytls.TLSServerConfiguration(
        [ca.issue("localhost")],
        trust_store=ca.trust_store(),
        on_event=told.append if side == "server" else None,
    )
    pair = tie(
        tls.client_context(client).create_buffer("localhost"),
        tls.server_context(server).create_buffer(),
    )
    if shows and version is TLSVersion.TLSv1_3:
        pair.client.update_keys()
    assert pair.send(pair.client, b"a") == pair.send(pair.server, b"a") == b"a"
    messages = {event.message for event in told if event.kind == "message"}
    assert messages >= {H.client_hello, H.server_hello}
    if shows:
        assert messages >= ENCRYPTED[version]
    elif version is TLSVersion.TLSv1_3:
        assert messages == {H.client_hello, H.server_hello}
    else:
        assert messages >= {H.certificate, H.certificate_verify, H.server_key_exchange}
        assert H.finished not in messages
