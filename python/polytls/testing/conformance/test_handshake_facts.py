"""What `info` tells of the handshake itself: its size, its round trips, and who signed with what.

A fact that a library does not report is None, and its case is skipped.
"""

from __future__ import annotations

from typing import Any

import pytest

from polytls import (
    CertificateVerificationError,
    ClientAuthentication,
    ConnectionInfo,
    SignatureScheme,
    TLSVersion,
    WantReadError,
)
from polytls.testing import KeyType
from polytls.testing.conformance.selection import needs

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
FACTS = (
    "early_data_offered",
    "certificate_compression_offered",
    "ech_offered",
    "server_certificate_compression",
    "client_certificate_compression",
    "hello_retry_request",
    "server_signature_scheme",
    "client_signature_scheme",
    "handshake_bytes_sent",
    "handshake_bytes_received",
    "handshake_round_trips",
)
S = SignatureScheme
#: The schemes that a key may sign a handshake with. TLS 1.2 ties no curve to a hash.
SCHEMES = {
    KeyType.ECDSA_P256: {S.ecdsa_secp256r1_sha256},
    KeyType.ECDSA_P384: {S.ecdsa_secp384r1_sha384},
    KeyType.ED25519: {S.ed25519},
    KeyType.RSA_2048: {S.rsa_pss_rsae_sha256, S.rsa_pss_rsae_sha384, S.rsa_pss_rsae_sha512},
}


ECDSA_OF_TLS_1_2 = {
    S.ecdsa_secp256r1_sha256,
    S.ecdsa_secp384r1_sha384,
    S.ecdsa_secp521r1_sha512,
}


def schemes(key_type: KeyType, version: TLSVersion) -> set[SignatureScheme]:
    """What may be told for a key in a version."""
    is_free = version is V12 and "ECDSA" in key_type.name
    return ECDSA_OF_TLS_1_2 if is_free else SCHEMES[key_type]


def told(pair: Any, fact: str) -> tuple[Any, Any]:
    """What the client and the server tell of it."""
    on_client, on_server = getattr(pair.client.info, fact), getattr(pair.server.info, fact)
    if on_client is None and on_server is None:
        pytest.skip(f"{fact} is not reported")
    return on_client, on_server


def counted(lab: Any, pair: Any) -> tuple[int, int]:
    """Drive the handshake; return how many bytes the client and the server have sent by its end."""
    sent = [0, 0]
    while True:
        waiting = 0
        for index, (side, other) in enumerate(
            ((pair.client, pair.server), (pair.server, pair.client))
        ):
            try:
                side.do_handshake()
            except WantReadError:
                waiting += 1
            data = lab.outgoing(side)
            sent[index] += len(data)
            if data:
                other.process_incoming(data)
        if not waiting:
            return sent[0], sent[1]


@pytest.mark.parametrize("fact", FACTS)
def test_nothing_is_told_before_the_handshake_is_done(lab: Any, fact: str) -> None:
    pair = lab.pair()
    assert getattr(pair.client.info, fact) is getattr(pair.server.info, fact) is None


def test_the_bytes_of_the_handshake_are_counted(lab: Any, version: TLSVersion) -> None:
    pair = lab.pair(lab.client(version=version), lab.server())
    from_client, from_server = counted(lab, pair)
    assert told(pair, "handshake_bytes_sent")[0] == from_client
    assert told(pair, "handshake_bytes_received")[1] == from_client
    taken, sent = pair.client.info.handshake_bytes_received, pair.server.info.handshake_bytes_sent
    assert taken == sent
    # In TLS 1.3 tickets follow, which are no part of it.
    assert (sent < from_server) if version is V13 else (sent == from_server)


def test_data_is_no_part_of_the_handshake(lab: Any, version: TLSVersion) -> None:
    pair = lab.connect(lab.client(version=version), lab.server())
    before = [told(pair, "handshake_bytes_sent"), told(pair, "handshake_bytes_received")]
    assert pair.send(pair.client, b"data") == pair.send(pair.server, b"data") == b"data"
    after = [told(pair, "handshake_bytes_sent"), told(pair, "handshake_bytes_received")]
    assert before == after


@pytest.mark.parametrize("asks", [False, True])
@needs("client authentication")
def test_round_trips_are_counted(lab: Any, version: TLSVersion, asks: bool) -> None:
    server = lab.server(trust_store=lab.ca.trust_store()) if asks else lab.server()
    client = lab.client(version=version, certificate_chain=lab.chain("client.example"))
    pair = lab.connect(client, server)
    expected = 1 if version is V13 else 2
    assert told(pair, "handshake_round_trips") == (expected, expected)


@needs("resumption")
def test_resumption_takes_one_round_trip_and_nobody_signs(lab: Any, version: TLSVersion) -> None:
    client, server = lab.client(version=version), lab.server()
    lab.drain(lab.connect(client, server).client)
    pair = lab.connect(client, server)
    assert pair.client.info.resumed
    assert pair.server.info.resumed
    assert told(pair, "handshake_round_trips") == (1, 1)
    for side in (pair.client, pair.server):
        assert side.info.server_signature_scheme is side.info.client_signature_scheme is None


@needs("groups")
def test_another_client_hello_takes_another_round_trip(lab: Any) -> None:
    # No library sends a key share for this group by itself.
    pair = lab.connect(lab.client(version=V13), lab.server(groups=["secp384r1"]))
    assert told(pair, "hello_retry_request") == (True, True)
    assert told(pair, "handshake_round_trips") == (2, 2)


@pytest.mark.parametrize("key_type", SCHEMES, ids=lambda one: one.name)
def test_the_scheme_that_the_server_signed_with_is_told(
    lab: Any, version: TLSVersion, key_type: KeyType
) -> None:
    pair = lab.connect(lab.client(version=version), lab.server(lab.chain(key_type=key_type)))
    on_client, on_server = told(pair, "server_signature_scheme")
    assert on_client is on_server
    assert on_client in schemes(key_type, version)
    assert pair.client.info.client_signature_scheme is None
    assert pair.server.info.client_signature_scheme is None


@pytest.mark.parametrize("key_type", SCHEMES, ids=lambda one: one.name)
@needs("client authentication")
def test_the_scheme_that_the_client_signed_with_is_told(
    lab: Any, version: TLSVersion, key_type: KeyType
) -> None:
    chain = lab.chain("client.example", key_type=key_type)
    server = lab.server(trust_store=lab.ca.trust_store())
    pair = lab.connect(lab.client(version=version, certificate_chain=chain), server)
    on_client, on_server = told(pair, "client_signature_scheme")
    assert on_client is on_server
    assert on_client in schemes(key_type, version)


@needs("client authentication")
def test_a_client_without_a_certificate_signs_nothing(lab: Any, version: TLSVersion) -> None:
    server = lab.server(
        trust_store=lab.ca.trust_store(), client_authentication=ClientAuthentication.OPTIONAL
    )
    pair = lab.connect(lab.client(version=version), server)
    assert pair.server.info.peer is None
    for side in (pair.client, pair.server):
        assert side.info.client_signature_scheme is None


def test_nothing_is_offered_that_was_not_asked_for(lab: Any, version: TLSVersion) -> None:
    client, server = lab.client(version=version), lab.server()
    for _ in range(2):
        pair = lab.connect(client, server)
        lab.drain(pair.client)
        for fact in ("early_data_offered", "certificate_compression_offered", "ech_offered"):
            assert told(pair, fact) == (False, False)


@pytest.mark.parametrize("takes", [True, False])
@needs("early data")
def test_an_offer_of_early_data_is_told_whether_it_is_taken_or_not(lab: Any, takes: bool) -> None:
    client, server = lab.client(early_data=True), lab.server(early_data=True)
    lab.drain(lab.connect(client, server).client)
    pair = lab.pair(client, server if takes else lab.server())
    assert pair.client.write_early_data(b"early") == 5
    pair.handshake()
    assert told(pair, "early_data_offered") == (True, True)
    assert pair.client.info.early_data is takes


@needs("ech")
def test_grease_of_encrypted_client_hello_is_an_offer(lab: Any) -> None:
    pair = lab.connect(lab.client(version=V13, ech="grease"), lab.server())
    assert told(pair, "ech_offered") == (True, True)


def test_the_facts_of_a_failed_handshake_stay_untold(lab: Any) -> None:
    pair = lab.pair(name="other.example")
    assert type(lab.settle(pair).client) is CertificateVerificationError
    facts: ConnectionInfo = pair.client.info
    assert all(getattr(facts, fact) is None for fact in FACTS)
