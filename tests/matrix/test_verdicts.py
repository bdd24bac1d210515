"""A verifier's refusal, between all implementations, on resumed sessions too."""

from __future__ import annotations

from typing import Any

import pytest

import polytls
from polytls import (
    AlertDescription,
    CertificateVerificationError,
    PeerRejectedCertificate,
    PresentedPeer,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TLSVersion,
    WantReadError,
)
from polytls.testing import CertificateAuthority, Pair
from polytls.testing.conformance.lab import HOST, Lab

CA = CertificateAuthority()
NAMES = polytls.implementations()


class Verifier:
    refuses = False

    def __call__(self, peer: PresentedPeer) -> None:
        if self.refuses:
            raise PermissionError(peer.role)


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
@pytest.mark.parametrize("refuser", ["client", "server"])
@pytest.mark.parametrize("server_name", NAMES)
@pytest.mark.parametrize("client_name", NAMES)
def test_a_refusal_ends_the_connection_on_both_sides(
    client_name: str, server_name: str, version: TLSVersion, refuser: str, resumed: bool
) -> None:
    verifier = Verifier()
    asked: dict[str, dict[str, Any]] = {"client": {}, "server": {}}
    asked[refuser]["peer_verifier"] = verifier
    client = polytls.implementation(client_name).client_context(
        TLSClientConfiguration(
            CA.issue("client.example"),
            trust_store=CA.trust_store(),
            lowest_supported_version=version,
            highest_supported_version=version,
            **asked["client"],
        )
    )
    server = polytls.implementation(server_name).server_context(
        TLSServerConfiguration([CA.issue(HOST)], trust_store=CA.trust_store(), **asked["server"])
    )
    if resumed:
        for again in (False, True):
            pair = Pair(client.create_buffer(HOST), server.create_buffer())
            pair.handshake()
            assert pair.client.info.resumed is again  # type: ignore[attr-defined]
            with pytest.raises(WantReadError):
                pair.client.read(1)
    verifier.refuses = True
    pair = Pair(client.create_buffer(HOST), server.create_buffer())
    outcome = Lab.settle(pair)
    sides = {"client": (outcome.client, outcome.server), "server": (outcome.server, outcome.client)}
    ours, theirs = sides[refuser]
    assert type(ours) is CertificateVerificationError
    assert type(ours.__cause__) is PermissionError
    implementation = client_name if refuser == "client" else server_name
    if implementation == "stdlib":
        assert theirs is None, "it sees the connection end"
        return
    if theirs is None:  # A TLS 1.3 client is done before it is judged.
        with pytest.raises(PeerRejectedCertificate) as caught:
            pair.client.read(1)
        theirs = caught.value
    assert type(theirs) is PeerRejectedCertificate
    # OpenSSL has no access_denied for what it verifies itself, and encrypts its alert.
    is_encrypted = refuser == "server" and version is TLSVersion.TLSv1_3 and not resumed
    by_openssl = implementation == "openssl" and is_encrypted
    said = AlertDescription.certificate_unknown if by_openssl else AlertDescription.access_denied
    assert theirs.alert is said
