"""Names: what a client asks for and verifies, and which of its chains a server answers with."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    AlertReceived,
    CertificateVerificationError,
    CipherSuite,
    PeerIncompatible,
    PeerRejectedCertificate,
    TLSVersion,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import KeyType, self_signed
from polytls.testing.conformance.selection import needs

ECDSA = CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
RSA = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256


def mismatch(lab: Any, name: str, *chains: Any) -> CertificateVerificationError:
    """The client's error, after checking that it is for the name and that the server is told."""
    outcome = lab.settle(lab.pair(server=lab.server(*chains), name=name))
    error = outcome.client
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.HOSTNAME_MISMATCH
    assert type(outcome.server) is PeerRejectedCertificate
    return error


# --- DNS names ---


@pytest.mark.parametrize(
    ("asked", "certified", "sent"),
    [
        ("server.example", "server.example", "server.example"),
        ("SERVER.Example", "server.example", "server.example"),
        ("server.example", "SERVER.example", "server.example"),
        ("server.example.", "server.example", "server.example"),
        ("localhost", "localhost", "localhost"),
        ("under_score.example", "under_score.example", "under_score.example"),
        ("_service._tcp.example", "_service._tcp.example", "_service._tcp.example"),
        ("a.wild.example", "*.wild.example", "a.wild.example"),
        ("bücher.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example", "xn--strae-oqa.example"),
        ("server。example", "server.example", "server.example"),
        ("bücher.wild.example", "*.wild.example", "xn--bcher-kva.wild.example"),
    ],
)
def test_a_name_is_asked_for_and_verified_in_one_form(
    lab: Any, asked: str, certified: str, sent: str
) -> None:
    pair = lab.connect(server=lab.server(lab.chain(certified)), name=asked)
    assert pair.server.info.server_name == sent
    assert pair.client.info.server_name == sent


@pytest.mark.parametrize(
    ("asked", "certified"),
    [
        ("server.example", "other.example"),
        ("www.server.example", "server.example"),
        ("server.example", "www.server.example"),
        ("wild.example", "*.wild.example"),
        ("a.b.wild.example", "*.wild.example"),
        ("wildXexample", "wild.example"),
        ("server.example", "192.0.2.1"),
    ],
)
def test_a_name_that_the_certificate_does_not_have_is_refused(
    lab: Any, asked: str, certified: str
) -> None:
    chain = lab.chain(certified)
    error = mismatch(lab, asked, chain)
    assert error.hostname == asked.lower()
    assert error.chain == (chain.leaf[0].buffer,)
    assert certified in str(error)
    assert error.explain().startswith(f"hostname mismatch: {error}\n")
    assert "\n" not in str(error)


@pytest.mark.parametrize("others", [(), ("other.example",)], ids=["no names", "other names"])
def test_the_common_name_is_never_looked_at(lab: Any, others: tuple[str, ...]) -> None:
    mismatch(lab, lab.host, lab.ca.issue(*others, common_name=lab.host))


def test_any_of_several_names_will_do(lab: Any) -> None:
    server = lab.server(lab.chain("a.example", "b.example", "192.0.2.1"))
    for name in ("a.example", "b.example", "192.0.2.1"):
        lab.connect(server=server, name=name)
    mismatch(lab, "c.example", lab.chain("a.example", "b.example", "192.0.2.1"))


# --- addresses ---


@pytest.mark.parametrize(
    ("asked", "certified"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8::A", "2001:db8::a"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_is_verified_but_never_asked_for(
    lab: Any, version: TLSVersion, asked: str, certified: str
) -> None:
    pair = lab.pair(lab.client(version=version), lab.server(lab.chain(certified)), asked)
    hello = first_flight(lab, pair)
    bare = asked.strip("[]").partition("%")[0]
    for made_up in (asked, bare, certified):
        assert made_up.encode() not in hello
    assert ipaddress.ip_address(bare).packed not in hello
    pair.server.process_incoming(hello)
    pair.handshake()
    assert pair.server.info.server_name is None


def first_flight(lab: Any, pair: Any) -> bytes:
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    return lab.outgoing(pair.client)


@pytest.mark.parametrize(
    ("asked", "certified"),
    [
        ("127.0.0.1", ("127.0.0.2",)),
        ("127.0.0.1", ("server.example",)),
        ("::1", ("::2",)),
        ("::1", ("127.0.0.1",)),
        ("::ffff:127.0.0.1", ("127.0.0.1",)),
        ("127.0.0.1", ("*.0.0.1",)),
        ("127.0.0.1", ()),
    ],
)
def test_an_address_matches_the_same_address_alone(
    lab: Any, asked: str, certified: tuple[str, ...]
) -> None:
    error = mismatch(lab, asked, lab.ca.issue(*certified, common_name=asked))
    assert error.hostname == asked


# --- the server's choice ---


@pytest.fixture
def chains(lab: Any) -> dict[str, Any]:
    return {
        "default": lab.chain("default.example", "198.51.100.1"),
        "exact": lab.chain("www.site.example"),
        "wildcard": lab.chain("*.site.example", "site.example"),
        "other": lab.chain("other.example", "also.example"),
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("default.example", "default"),
        ("www.site.example", "exact"),
        ("WWW.site.example", "exact"),
        ("mail.site.example", "wildcard"),
        ("site.example", "wildcard"),
        ("also.example", "other"),
        ("198.51.100.1", "default"),
    ],
)
@needs("selection by name")
def test_the_chain_is_chosen_by_the_name_asked_for(
    lab: Any, version: TLSVersion, chains: dict[str, Any], asked: str, expected: str
) -> None:
    for order in (list(chains), ["default", "wildcard", "other", "exact"]):
        server = lab.server(*(chains[name] for name in order))
        pair = lab.connect(lab.client(version=version), server, asked)
        assert pair.client.getpeercert() == chains[expected].leaf[0].buffer


@pytest.mark.parametrize("asked", ["unknown.example", "a.b.site.example", "192.0.2.77"])
@needs("selection by name")
def test_the_first_chain_serves_where_none_fits(
    lab: Any, chains: dict[str, Any], asked: str
) -> None:
    error = mismatch(lab, asked, *chains.values())
    assert error.chain == (chains["default"].leaf[0].buffer,)


@pytest.mark.parametrize("first", [KeyType.ECDSA_P256, KeyType.RSA_2048], ids=lambda key: key.value)
@pytest.mark.parametrize(
    ("suite", "expected"), [(ECDSA, KeyType.ECDSA_P256), (RSA, KeyType.RSA_2048)]
)
@needs("selection by name")
def test_of_chains_for_one_name_the_client_gets_one_that_it_can_verify(
    lab: Any, first: KeyType, suite: CipherSuite, expected: KeyType
) -> None:
    by_type = {kind: lab.chain(key_type=kind) for kind in (KeyType.ECDSA_P256, KeyType.RSA_2048)}
    in_order = sorted(by_type, key=lambda kind: kind is not first)
    pair = lab.connect(lab.client(ciphers=[suite]), lab.server(*map(by_type.get, in_order)))
    assert pair.client.getpeercert() == by_type[expected].leaf[0].buffer


@pytest.mark.parametrize("name", ["server.example", "unknown.example"])
def test_no_chain_that_the_client_can_verify_is_a_handshake_failure(lab: Any, name: str) -> None:
    server = lab.server(lab.chain(key_type=KeyType.RSA_2048))
    outcome = lab.settle(lab.pair(lab.client(ciphers=[ECDSA]), server, name))
    assert type(outcome.server) is PeerIncompatible
    assert type(outcome.client) is AlertReceived
    assert outcome.client.alert is AlertDescription.handshake_failure


def verifying_only(hello: bytes, scheme: int) -> bytes:
    """A ClientHello whose signature_algorithms (RFC 8446 4.2.3) has but one scheme, repeatedly."""
    changed = bytearray(hello)
    at = 5 + 4 + 2 + 32  # Headers of record and message, version, random.
    at += 1 + changed[at]  # Session id.
    at += 2 + int.from_bytes(changed[at : at + 2], "big")  # Cipher suites.
    at += 1 + changed[at] + 2  # Compression methods; length of all extensions.
    while True:
        kind, length = (
            int.from_bytes(changed[at + skip : at + skip + 2], "big") for skip in (0, 2)
        )
        at += 4
        if kind == 13:
            changed[at + 2 : at + length] = scheme.to_bytes(2, "big") * (length // 2 - 1)
            return bytes(changed)
        at += length


@pytest.mark.parametrize(
    ("version", "key_type", "scheme"),
    [
        (version, key_type, scheme)
        for version in (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3)
        for key_type, scheme in (
            (KeyType.ECDSA_P256, 0x0401),  # rsa_pkcs1_sha256
            (KeyType.ECDSA_P256, 0x0503),  # ecdsa_secp384r1_sha384
            (KeyType.RSA_2048, 0x0403),  # ecdsa_secp256r1_sha256
            (KeyType.ED25519, 0x0403),
        )
        # In TLS 1.2 it means ECDSA with SHA-384, on any curve (RFC 8446 4.2.3).
        if (version, scheme) != (TLSVersion.TLSv1_2, 0x0503)
    ],
    ids=lambda value: hex(value) if isinstance(value, int) else value.value,
)
def test_a_client_that_verifies_no_scheme_of_the_servers_key_is_incompatible(
    lab: Any, version: TLSVersion, key_type: KeyType, scheme: int
) -> None:
    server = lab.server(lab.chain(key_type=key_type), version=version)
    pair = lab.pair(lab.client(version=version), server)
    hello = first_flight(lab, pair)
    pair.server.process_incoming(verifying_only(hello, scheme))
    with pytest.raises(PeerIncompatible):
        pair.server.do_handshake()
    if version is TLSVersion.TLSv1_2:  # In TLS 1.3 the alert is sealed, for another ClientHello.
        pair.transfer()
        with pytest.raises(AlertReceived) as caught:
            pair.client.do_handshake()
        assert caught.value.alert is AlertDescription.handshake_failure


@needs("selection by name")
def test_chains_of_different_issuers_bring_their_own_intermediates(lab: Any) -> None:
    intermediate = lab.ca.intermediate()
    plain, below = lab.chain("a.example"), intermediate.issue("b.example")
    device = self_signed("c.example")
    server = lab.server(plain, below, device)
    presented = {
        "a.example": (plain.leaf[0].buffer,),
        "b.example": (below.leaf[0].buffer, intermediate.certificate_der),
    }
    for name, expected in presented.items():
        assert lab.connect(server=server, name=name).client.info.peer_chain == expected
    outcome = lab.settle(lab.pair(server=server, name="c.example"))
    assert outcome.client.chain == (device.leaf[0].buffer,)
