"""Client certificates: asked for or not, presented or not, accepted or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    AlertReceived,
    CertificateVerificationError,
    ClientAuthentication,
    PeerRejectedCertificate,
    SigningChain,
    TLSVersion,
    TrustStore,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import CertificateAuthority, self_signed
from polytls.testing.conformance.selection import needs

pytestmark = needs("client authentication")

NONE, OPTIONAL, REQUIRED = ClientAuthentication

NOW = datetime.now(UTC)


@pytest.fixture(scope="session")
def mine(lab: Any) -> SigningChain:
    """The client's own chain."""
    return lab.chain("client.example", server=False)


def refused(lab: Any, client: Any, server: Any, version: TLSVersion) -> tuple[Any, Any]:
    """Both sides' errors. In TLS 1.3 the client's handshake is done before it is judged."""
    pair = lab.pair(client, server)
    outcome = lab.settle(pair)
    if version is TLSVersion.TLSv1_3:
        assert outcome.client is None
        with pytest.raises(PeerRejectedCertificate) as caught:
            pair.client.read(1)
        outcome.client = caught.value
    assert pair.server.getpeercert() is None
    assert pair.server.negotiated_tls_version is None
    return outcome.client, outcome.server


@pytest.mark.parametrize("presents", [True, False], ids=["with", "without"])
@pytest.mark.parametrize(
    ("asked", "store", "effective"),
    [
        (None, False, NONE),
        (None, True, REQUIRED),
        (NONE, False, NONE),
        (NONE, True, NONE),
        (OPTIONAL, True, OPTIONAL),
        (REQUIRED, True, REQUIRED),
    ],
)
def test_a_client_is_asked_as_configured(
    lab: Any,
    mine: SigningChain,
    version: TLSVersion,
    asked: ClientAuthentication | None,
    store: bool,
    effective: ClientAuthentication,
    presents: bool,
) -> None:
    client = lab.client(version=version, certificate_chain=mine if presents else None)
    server = lab.server(
        client_authentication=asked, trust_store=lab.ca.trust_store() if store else None
    )
    if effective is REQUIRED and not presents:
        theirs, ours = refused(lab, client, server, version)
        assert type(ours) is CertificateVerificationError
        assert ours.reason is VerificationFailure.NO_CERTIFICATE
        assert ours.hostname is None
        assert ours.chain == ()
        if theirs.alert is AlertDescription.handshake_failure:
            # What TLS 1.2 has for it (RFC 5246 7.4.6); it may mean anything.
            assert version is TLSVersion.TLSv1_2
            assert type(theirs) is AlertReceived
        else:
            assert type(theirs) is PeerRejectedCertificate
            assert theirs.alert is AlertDescription.certificate_required
        return
    pair = lab.connect(client, server)
    expected = mine.leaf[0].buffer if presents and effective is not NONE else None
    assert pair.server.getpeercert() == expected
    assert pair.server.info.peer_chain == (None if expected is None else (expected,))
    assert pair.send(pair.client, b"request") == b"request"
    assert pair.send(pair.server, b"response") == b"response"


@pytest.mark.parametrize("asked", [OPTIONAL, REQUIRED], ids=lambda asked: asked.value)
@pytest.mark.parametrize(
    ("given", "reason", "alert"),
    [
        (
            {"not_before": NOW - timedelta(days=9), "not_after": NOW - timedelta(days=2)},
            VerificationFailure.EXPIRED,
            AlertDescription.certificate_expired,
        ),
        (
            {"not_before": NOW + timedelta(days=2), "not_after": NOW + timedelta(days=9)},
            VerificationFailure.NOT_YET_VALID,
            AlertDescription.certificate_expired,
        ),
        (
            {"client": False},
            VerificationFailure.INVALID_PURPOSE,
            AlertDescription.unsupported_certificate,
        ),
    ],
    ids=["expired", "not yet valid", "for servers alone"],
)
def test_a_certificate_that_is_presented_is_verified(
    lab: Any,
    version: TLSVersion,
    asked: ClientAuthentication,
    given: dict[str, Any],
    reason: VerificationFailure,
    alert: AlertDescription,
) -> None:
    chain = lab.ca.issue("client.example", **given)
    client = lab.client(version=version, certificate_chain=chain)
    server = lab.server(client_authentication=asked, trust_store=lab.ca.trust_store())
    theirs, ours = refused(lab, client, server, version)
    assert type(ours) is CertificateVerificationError
    assert ours.reason is reason
    assert ours.hostname is None
    assert ours.chain == (chain.leaf[0].buffer,)
    assert type(theirs) is PeerRejectedCertificate
    assert theirs.alert is alert


@pytest.mark.parametrize("asked", [OPTIONAL, REQUIRED], ids=lambda asked: asked.value)
@pytest.mark.parametrize("whose", ["stranger", "self-signed"])
def test_a_certificate_of_unknown_origin_is_refused(
    lab: Any, version: TLSVersion, asked: ClientAuthentication, whose: str
) -> None:
    if whose == "stranger":
        chain = CertificateAuthority("stranger").issue("client.example")
    else:
        chain = self_signed("client.example")
    client = lab.client(version=version, certificate_chain=chain)
    server = lab.server(client_authentication=asked, trust_store=lab.ca.trust_store())
    theirs, ours = refused(lab, client, server, version)
    assert ours.reason is VerificationFailure.UNKNOWN_ISSUER
    assert type(theirs) is PeerRejectedCertificate
    assert theirs.alert is AlertDescription.unknown_ca


def test_a_tls_1_3_client_learns_of_its_refusal_at_the_first_write_too(lab: Any) -> None:
    pair = lab.pair(
        lab.client(version=TLSVersion.TLSv1_3), lab.server(trust_store=lab.ca.trust_store())
    )
    assert lab.settle(pair).client is None
    for _ in range(2):
        with pytest.raises(PeerRejectedCertificate) as caught:
            pair.client.write(b"request")
        assert caught.value.alert is AlertDescription.certificate_required


def test_a_client_presents_its_intermediates(lab: Any, version: TLSVersion) -> None:
    intermediate = lab.ca.intermediate()
    chain = intermediate.issue("client.example")
    client = lab.client(version=version, certificate_chain=chain)
    pair = lab.connect(client, lab.server(trust_store=lab.ca.trust_store()))
    expected = (chain.leaf[0].buffer, intermediate.certificate_der)
    assert pair.server.info.peer_chain == expected


@pytest.mark.parametrize("authority", [False, True], ids=["leaf", "claims to be a CA"])
def test_a_self_signed_client_certificate_is_accepted_if_it_is_in_the_store(
    lab: Any, version: TLSVersion, authority: bool
) -> None:
    device = self_signed("device", authority=authority)
    client = lab.client(version=version, certificate_chain=device)
    server = lab.server(trust_store=TrustStore.from_buffer(device.leaf[0].buffer))
    assert lab.connect(client, server).server.getpeercert() == device.leaf[0].buffer


def test_names_in_a_client_certificate_are_not_checked(lab: Any, version: TLSVersion) -> None:
    chain = lab.ca.issue(common_name="a person")
    client = lab.client(version=version, certificate_chain=chain)
    pair = lab.connect(client, lab.server(trust_store=lab.ca.trust_store()))
    assert pair.server.getpeercert() == chain.leaf[0].buffer


def test_a_server_that_refused_a_client_accepts_no_data_from_it(
    lab: Any, version: TLSVersion
) -> None:
    pair = lab.pair(lab.client(version=version), lab.server(trust_store=lab.ca.trust_store()))
    outcome = lab.settle(pair)
    assert type(outcome.server) is CertificateVerificationError
    for _ in range(2):
        with pytest.raises(CertificateVerificationError):
            pair.server.read(100)
        with pytest.raises(CertificateVerificationError):
            pair.server.write(b"response")


def test_a_server_sends_no_data_before_it_has_verified_the_client(
    lab: Any, mine: SigningChain, version: TLSVersion
) -> None:
    pair = lab.pair(
        lab.client(version=version, certificate_chain=mine),
        lab.server(trust_store=lab.ca.trust_store()),
    )
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    pair.transfer()
    with pytest.raises(WantReadError):
        pair.server.do_handshake()
    # The server's first flight is out; the client's certificate is not in.
    with pytest.raises(WantReadError):
        pair.server.write(b"too early")
    pair.handshake()
    with pytest.raises(WantReadError):
        pair.client.read(100)
    assert pair.server.write(b"in time") == 7
    pair.transfer()
    assert pair.client.read(100) == b"in time"


# --- sizes ---


def test_a_server_may_trust_more_authorities_than_their_names_fit_into_a_message(
    lab: Any, mine: SigningChain, version: TLSVersion
) -> None:
    # RFC 8446 4.2.4: the names are a hint, and may be left out.
    many = [CertificateAuthority(f"one of many authorities, number {n}") for n in range(1400)]
    bundle = b"".join(each.certificate_pem for each in (*many, lab.ca))
    server = lab.server(trust_store=TrustStore.from_buffer(bundle))
    pair = lab.connect(lab.client(version=version, certificate_chain=mine), server)
    assert pair.server.getpeercert() == mine.leaf[0].buffer
    chain = many[700].issue("client.example")
    pair = lab.connect(lab.client(version=version, certificate_chain=chain), server)
    assert pair.server.getpeercert() == chain.leaf[0].buffer


@needs("resumption")
@pytest.mark.parametrize("size", [40_000, 60_000, 63_400, 64_200])
def test_a_client_with_a_long_chain_connects_again(
    lab: Any, version: TLSVersion, size: int
) -> None:
    # A ticket that holds such a chain does not fit into a ClientHello.
    chain = lab.ca.issue("client.example", unknown_extension=(False, size))
    client = lab.client(version=version, certificate_chain=chain)
    server = lab.server(trust_store=lab.ca.trust_store())
    for _ in range(3):
        pair = lab.connect(client, server)
        with pytest.raises(WantReadError):
            pair.client.read(1)
        assert pair.server.getpeercert() == chain.leaf[0].buffer
