"""Why a certificate was refused, and what is known of one that was not."""

from __future__ import annotations

import hashlib
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from polytls import (
    Certificate,
    CertificateVerificationError,
    PeerRejectedCertificate,
    Responsible,
    SigningChain,
    TLSVersion,
    TrustStore,
    VerificationFailure,
)
from polytls.testing import CertificateAuthority, KeyType, self_signed
from polytls.testing.conformance.selection import needs

NOW = datetime.now(UTC).replace(microsecond=0)


def refused(
    lab: Any, chain: SigningChain, name: str | None = None, **client: Any
) -> CertificateVerificationError:
    pair = lab.pair(lab.client(**client), lab.server(chain), name or lab.host)
    error = lab.settle(pair).client
    assert type(error) is CertificateVerificationError
    lines = error.explain().splitlines()
    assert lines[0] == f"{error.reason.value}: {error}"
    assert lines[-1].startswith("To fix: ")
    assert error.trust_source
    return error


def last_line(error: CertificateVerificationError) -> str:
    return error.explain().splitlines()[-1]


# --- why ---


def test_a_wrong_name_lists_those_that_would_do(lab: Any) -> None:
    chain = lab.ca.issue("a.example", "*.b.example", "192.0.2.1")
    error = refused(lab, chain, "c.example")
    assert error.reason is VerificationFailure.HOSTNAME_MISMATCH
    assert error.names == ("a.example", "*.b.example", "192.0.2.1")
    assert error.hostname == "c.example"
    assert (error.index, error.certificate) == (0, chain.leaf[0].buffer)
    assert error.responsible is Responsible.PEER
    assert "valid for a.example, *.b.example and 192.0.2.1; you asked for c.example" in str(error)


def test_an_address_that_stands_there_as_a_name_is_told_apart(lab: Any) -> None:
    error = refused(lab, lab.ca.issue("DNS:192.0.2.1"), "192.0.2.1")
    assert error.reason is VerificationFailure.HOSTNAME_MISMATCH
    assert "has 192.0.2.1 only as a DNS name; you asked for the IP address 192.0.2.1" in str(error)
    assert error.responsible is Responsible.PEER
    assert "reissued" in last_line(error)
    assert "as an IP address" in last_line(error)


def test_a_common_name_alone_is_said_not_to_count(lab: Any) -> None:
    error = refused(lab, lab.ca.issue(common_name=lab.host))
    assert error.reason is VerificationFailure.HOSTNAME_MISMATCH
    assert f"common name {lab.host} is ignored" in str(error)
    assert error.responsible is Responsible.PEER
    assert "reissued" in last_line(error)


def test_an_authority_is_not_blamed_for_what_its_leaf_does_in_its_last_second(lab: Any) -> None:
    """The second of notAfter belongs to the validity (RFC 5280 4.1.2.5); OpenSSL ends before it."""
    now = datetime.now(UTC).replace(microsecond=0)
    chain = lab.ca.issue(lab.host, not_before=now - timedelta(days=2), not_after=now)
    error = lab.settle(lab.pair(lab.client(), lab.server(chain))).client
    if error is None:
        return
    assert type(error) is CertificateVerificationError
    assert (error.reason, error.index) == (VerificationFailure.EXPIRED, 0)
    assert error.not_after == now
    assert error.responsible is Responsible.PEER


def test_a_constraint_that_cannot_be_checked_is_not_the_servers_fault(lab: Any) -> None:
    between = lab.ca.intermediate("constrained", permitted=("CN=leaf",))
    chain = between.issue(lab.host, common_name="leaf")
    pair = lab.pair(lab.client(), lab.server(chain))
    error = lab.settle(pair).client
    if error is None:
        return  # Whoever can check it finds that it is kept to.
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.NAME_CONSTRAINT_VIOLATION
    assert "name constraints on directory names, which polytls cannot check" in str(error)
    assert "not a fault of the server" in error.explain()
    assert error.responsible is Responsible.YOU


def test_an_address_that_only_has_a_name_is_your_turn(lab: Any) -> None:
    error = refused(lab, lab.chain(), "192.0.2.1")
    assert error.responsible is Responsible.YOU
    assert "server_hostname" in last_line(error)


@pytest.mark.parametrize("whose", ["leaf", "intermediate"])
def test_an_expired_certificate_says_which_and_since_when(lab: Any, whose: str) -> None:
    validity = {"not_before": NOW - timedelta(days=9), "not_after": NOW - timedelta(days=3)}
    if whose == "leaf":
        chain, at = lab.ca.issue(lab.host, **validity), 0
    else:
        chain, at = lab.ca.intermediate("the old one", **validity).issue(lab.host), 1
    error = refused(lab, chain)
    assert error.reason is VerificationFailure.EXPIRED
    assert error.index == at
    assert (error.not_before, error.not_after) == tuple(validity.values())
    assert f"expired 3 days ago, {validity['not_after']:%Y-%m-%d %H:%M} UTC" in str(error)
    assert ("the old one" in str(error)) is (whose == "intermediate")
    assert "the server's operator" in last_line(error)


def test_one_that_is_not_valid_yet_says_when_it_will_be(lab: Any) -> None:
    validity = {
        "not_before": NOW + timedelta(days=3, hours=1),
        "not_after": NOW + timedelta(days=9),
    }
    error = refused(lab, lab.ca.issue(lab.host, **validity))
    assert error.reason is VerificationFailure.NOT_YET_VALID
    assert f"valid in 3 days, {validity['not_before']:%Y-%m-%d %H:%M} UTC" in str(error)
    assert "clock" in error.explain()


def test_a_chain_without_its_intermediate_is_the_operators_turn(lab: Any) -> None:
    chain = lab.ca.intermediate("Corp Issuer").issue(lab.host)
    error = refused(lab, SigningChain(chain.leaf))
    assert error.reason is VerificationFailure.UNKNOWN_ISSUER
    assert (error.responsible, error.index) == (Responsible.PEER, 0)
    assert "issued by CN=Corp Issuer, which is not in the trust store" in str(error)
    told = error.explain()
    assert "1 certificate and no intermediate: either the server's chain is incomplete, or " in told
    assert "CN=Corp Issuer is a root that is not in the trust store" in told
    assert "To fix: the server's operator or you must " in told


def test_a_leaf_that_an_unknown_root_issued_itself_may_be_either(lab: Any) -> None:
    error = refused(lab, CertificateAuthority("Private Root").issue(lab.host))
    assert error.reason is VerificationFailure.UNKNOWN_ISSUER
    told = error.explain()
    assert "either the server's chain is incomplete, or CN=Private Root is a root" in told
    assert "or add it to the trust store (if it is a root that you trust)" in told


def test_a_whole_chain_to_an_unknown_root_is_the_turn_of_whoever_keeps_the_store(
    lab: Any,
) -> None:
    chain = CertificateAuthority("Foreign Root").intermediate("Foreign Issuer").issue(lab.host)
    error = refused(lab, chain)
    assert (error.responsible, error.index) == (Responsible.YOU, 1)
    assert "Foreign Root" in str(error)
    assert error.certificate == chain.chain[0].buffer


@pytest.mark.parametrize("authority", [False, True], ids=["leaf", "claims to be a CA"])
def test_a_self_signed_certificate_is_called_so(lab: Any, authority: bool) -> None:
    error = refused(lab, self_signed(lab.host, common_name="a device", authority=authority))
    if error.reason is VerificationFailure.UNKNOWN_ISSUER:
        assert "CN=a device is self-signed" in str(error)
        assert (error.responsible, error.index) == (Responsible.YOU, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="SSL_CERT_FILE is for Linux")
@needs("system trust")
def test_the_systems_store_is_the_administrators(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(CertificateAuthority().certificate_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    device = self_signed(lab.host)
    for store in (None, TrustStore.system()):
        error = refused(lab, device, trust_store=store)
        assert error.trust_source == f"the system's trust store (chosen by SSL_CERT_FILE={bundle})"
        assert "chosen by SSL_CERT_FILE" in error.explain()
        assert error.responsible is Responsible.ADMINISTRATOR
        assert "your administrator" in last_line(error)


@pytest.mark.skipif(sys.platform != "linux", reason="SSL_CERT_FILE is for Linux")
@needs("system trust")
def test_extra_certificates_are_added_to_the_systems(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, extra = CertificateAuthority("system"), CertificateAuthority("extra")
    device = self_signed(lab.host)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(system.certificate_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    chains = [system.issue(lab.host), extra.issue(lab.host), device]
    store = TrustStore.system(extra=[extra.certificate, device.leaf[0]])
    for chain in chains:
        lab.connect(lab.client(trust_store=store), lab.server(chain))
    # And another context has none of it.
    lab.connect(lab.client(trust_store=TrustStore.system()), lab.server(chains[0]))
    for chain in chains[1:]:
        refused(lab, chain, trust_store=TrustStore.system())
    error = refused(lab, CertificateAuthority("nobody").issue(lab.host), trust_store=store)
    chosen = f"(chosen by SSL_CERT_FILE={bundle})"
    assert (
        error.trust_source == f"the system's trust store {chosen} or the certificates added to it"
    )


def test_a_store_from_a_file_is_told_by_its_path(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "corporate.pem"
    path.write_bytes(lab.ca.certificate_pem)
    error = refused(lab, self_signed(lab.host), trust_store=TrustStore.from_file(path))
    assert error.trust_source == f"the trust store {path}"


@needs("client authentication")
def test_a_server_explains_why_it_refused_a_client(lab: Any, version: TLSVersion) -> None:
    server = lab.server(trust_store=lab.ca.trust_store())
    expired = lab.ca.issue(
        "client.example", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(hours=5)
    )
    chains = (expired, self_signed("client.example"), None)
    reasons = []
    for chain in chains:
        client = lab.client(version=version, certificate_chain=chain)
        error = lab.settle(lab.pair(client, server)).server
        assert type(error) is CertificateVerificationError
        assert error.hostname is None
        lines = error.explain().splitlines()
        assert lines[0] == f"{error.reason.value}: {error}"
        assert "server's operator" not in error.explain()
        reasons.append(error.reason)
    assert reasons == [
        VerificationFailure.EXPIRED,
        VerificationFailure.UNKNOWN_ISSUER,
        VerificationFailure.NO_CERTIFICATE,
    ]


@needs("client authentication")
def test_an_alert_of_the_peers_is_explained(lab: Any) -> None:
    pair = lab.pair(lab.client(trust_store=CertificateAuthority().trust_store()))
    error = lab.settle(pair).server
    assert type(error) is PeerRejectedCertificate
    assert f"the alert means: {error.alert.meaning}" in error.explain()
    assert error.responsible is Responsible.YOU


def test_names_of_strangers_do_not_steer_a_terminal(lab: Any) -> None:
    evil = CertificateAuthority("evil\x1b[2J\n\u202eCA").issue(lab.host)
    for error in (
        refused(lab, evil),
        refused(lab, self_signed(lab.host, common_name="a\x1b]0;title\x07")),
        refused(lab, lab.ca.issue("a\x1b[31m.example")),
    ):
        for text in (str(error), error.explain(), repr(error)):
            assert not any(ord(character) < 32 and character != "\n" for character in text)
            assert "\u202e" not in text
        assert "\n" not in str(error)


# --- what is known of a peer ---


@needs("client authentication")
def test_a_server_reads_its_clients_identity_in_one_line(lab: Any, version: TLSVersion) -> None:
    mine = lab.ca.issue("service.example", "192.0.2.7", common_name="Service A")
    client = lab.client(version=version, certificate_chain=mine)
    pair = lab.connect(client, lab.server(trust_store=lab.ca.trust_store()))
    peer = pair.server.info.peer
    assert peer is not None
    assert peer.common_name == "Service A"
    assert peer.subject == "CN=Service A"
    assert peer.dns_names == ("service.example",)
    assert peer.ip_addresses == ("192.0.2.7",)
    assert (peer.email_addresses, peer.uris) == ((), ())
    assert peer.der == mine.leaf[0].buffer
    assert peer.sha256 == hashlib.sha256(peer.der).hexdigest()
    assert peer.spki_sha256 == hashlib.sha256(peer.spki).hexdigest()
    assert peer.spki in peer.der
    assert peer.not_before < datetime.now(UTC) < peer.not_after
    assert (peer.not_after - peer.not_before).days == 8
    assert peer.serial_number.to_bytes(20, "big").lstrip(b"\0") in peer.der
    assert peer.is_authority is False


def test_a_negative_serial_number_is_told_as_it_is(lab: Any) -> None:
    """It must not be negative (RFC 5280 4.1.2.2), but some are."""
    chain = lab.ca.issue(lab.host)
    certificate = bytearray(chain.leaf[0].buffer)
    serial = lab.connect(server=lab.server(chain)).client.info.peer.serial_number
    length = serial.bit_length() // 8 + 1
    at = certificate.index(serial.to_bytes(length, "big"))
    certificate[at] |= 0x80
    odd = Certificate.from_buffer(certificate)
    # Who issued it does not matter where it is pinned, so that it may be changed.
    client = lab.client(trust_store=TrustStore.pinned([odd]))
    pair = lab.connect(client, lab.server(SigningChain((odd, chain.leaf[1]))))
    told = pair.client.info.peer.serial_number
    assert told == serial - (1 << (8 * length - 1))
    assert told < 0


@pytest.mark.parametrize(
    ("key_type", "expected"),
    [
        (KeyType.ECDSA_P256, ("ECDSA", 256)),
        (KeyType.ECDSA_P384, ("ECDSA", 384)),
        (KeyType.ED25519, ("Ed25519", 256)),
        (KeyType.RSA_2048, ("RSA", 2048)),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_the_peers_key_is_told(lab: Any, key_type: KeyType, expected: tuple[str, int]) -> None:
    pair = lab.connect(server=lab.server(lab.chain(key_type=key_type)))
    peer = pair.client.info.peer
    assert (peer.key_type, peer.key_bits) == expected


def test_nobody_is_told_of_before_the_handshake_or_without_a_certificate(lab: Any) -> None:
    pair = lab.pair()
    for side in (pair.client, pair.server):
        info = side.info
        assert (info.peer, info.peer_chain, info.verified_chain) == (None, None, None)
    pair.handshake()
    info = pair.server.info
    assert (info.peer, info.peer_chain, info.verified_chain) == (None, None, None)


def test_what_was_presented_and_what_was_verified_are_told_apart(
    lab: Any, version: TLSVersion
) -> None:
    between = lab.ca.intermediate()
    chain = between.issue(lab.host)
    stray = CertificateAuthority("stray").certificate
    mixed = SigningChain(chain.leaf, [stray, *chain.chain])
    info = lab.connect(lab.client(version=version), lab.server(mixed)).client.info
    leaf = chain.leaf[0].buffer
    assert info.peer_chain == (leaf, stray.buffer, between.certificate_der)
    assert info.verified_chain == (leaf, between.certificate_der, lab.ca.certificate_der)


def test_a_leaf_that_is_trusted_itself_is_its_own_path(lab: Any) -> None:
    device = self_signed(lab.host)
    client = lab.client(trust_store=TrustStore.from_buffer(device.leaf[0].buffer))
    info = lab.connect(client, lab.server(device)).client.info
    assert info.verified_chain == (device.leaf[0].buffer,)
