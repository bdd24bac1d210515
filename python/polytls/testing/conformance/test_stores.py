"""What a certificate in a trust store is good for: itself, and others only if it may issue."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from polytls import (
    Certificate,
    CertificateVerificationError,
    ConfigurationError,
    PresentedPeer,
    SigningChain,
    TLSVersion,
    TrustStore,
    VerificationFailure,
)
from polytls.testing import CertificateAuthority, Pair
from polytls.testing.conformance.drafts import Draft, Extension, octets
from polytls.testing.conformance.lab import HOST
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.stores import KINDS, WAYS, Kind, device, store
from polytls.testing.conformance.unguarded_peer import UnguardedPeer, write

_F = VerificationFailure

#: Each way with what it asks of an implementation.
ways = pytest.mark.parametrize(
    "way",
    [
        pytest.param(
            way,
            marks=[
                *([needs("peers")] if way == "peers" else []),
                *([needs("system trust")] if way in ("extra", "system") else []),
                pytest.mark.skipif(
                    way in ("extra", "system") and sys.platform != "linux",
                    reason="SSL_CERT_FILE is for Linux",
                ),
            ],
        )
        for way in WAYS
    ],
)
roles = pytest.mark.parametrize(
    "role", ["server", pytest.param("client", marks=needs("client authentication"))]
)
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)


@pytest.fixture
def setenv(monkeypatch: pytest.MonkeyPatch) -> Any:
    return monkeypatch.setenv


def verdict(
    lab: Any, role: str, trust_store: TrustStore, chain: SigningChain, folder: Path, **given: Any
) -> CertificateVerificationError | None:
    """Why the other side refuses a peer of that role which presents `chain`; None if it does not.

    A peer that is refused gets no connection, whatever it has been told.
    """
    raw: Any = UnguardedPeer(write(folder / "peer.pem", chain), server=role == "server")
    name = given.pop("name", HOST)
    if role == "server":
        judge = lab.client(trust_store=trust_store, **given).create_buffer(name)
        outcome = lab.settle(Pair(judge, raw))
        error = outcome.client
    else:
        judge = lab.server(trust_store=trust_store, **given).create_buffer()
        outcome = lab.settle(Pair(raw, judge))
        error = outcome.server
    if error is None:
        assert judge.getpeercert() == chain.leaf[0].buffer
        return None
    assert type(error) is CertificateVerificationError
    assert judge.getpeercert() is None
    assert judge.info.version is None
    return error


def reason_of(error: CertificateVerificationError | None) -> VerificationFailure | None:
    return None if error is None else error.reason


@roles
@ways
@kinds
def test_a_certificate_in_a_store_is_a_leaf_for_its_own_names(
    lab: Any, role: str, way: str, kind: Kind, tmp_path: Path, setenv: Any
) -> None:
    trusted = device(kind, HOST, server=role == "server")
    trust_store = store(way, trusted, tmp_path, setenv)
    expected = kind.as_leaf
    if role == "server" and not kind.named:
        expected = _F.HOSTNAME_MISMATCH
    error = verdict(lab, role, trust_store, trusted.identity, tmp_path)
    assert reason_of(error) is expected
    if role == "server" and expected is None:
        other = verdict(lab, role, trust_store, trusted.identity, tmp_path, name="other.example")
        assert reason_of(other) is _F.HOSTNAME_MISMATCH


@pytest.mark.parametrize("shown", ["alone", "with the one in the store"])
@roles
@ways
@kinds
def test_it_is_an_authority_only_if_it_may_issue(
    lab: Any, role: str, way: str, kind: Kind, shown: str, tmp_path: Path, setenv: Any
) -> None:
    trusted = device(kind, "printer.lan", server=role == "server")
    trust_store = store(way, trusted, tmp_path, setenv)
    issued = trusted.issue("www.python.org")
    if shown != "alone":
        issued = SigningChain(issued.leaf, [trusted.certificate])
    expected = kind.as_systems if way == "system" else kind.as_authority
    if way == "peers":
        expected = _F.UNKNOWN_ISSUER
    error = verdict(lab, role, trust_store, issued, tmp_path, name="www.python.org")
    assert (error is None) is (expected is None)
    if error is not None and shown == "alone":
        # A library that builds the path itself may tell its issuer's other fault first.
        also = () if role == "server" and way in WAYS[:2] else (_F.INVALID_PURPOSE, kind.as_systems)
        assert error.reason in (expected, *also)


@roles
@pytest.mark.parametrize("more", ["given", pytest.param("extra", marks=needs("system trust"))])
def test_version_1_is_an_authority_s_on_request(
    lab: Any, role: str, more: str, tmp_path: Path
) -> None:
    root = CertificateAuthority("an old root", version=1)
    issued = root.issue(HOST)
    if more == "given":
        make: Any = TrustStore.from_buffer
        given: dict[str, Any] = {"buffer": root.certificate_pem}
    else:
        make, given = TrustStore.system, {"extra": [root.certificate]}
    refused = verdict(lab, role, make(**given), issued, tmp_path)
    assert reason_of(refused) is _F.UNKNOWN_ISSUER
    assert refused is not None
    assert "v1_authorities=True" in refused.explain()
    assert verdict(lab, role, make(**given, v1_authorities=True), issued, tmp_path) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"authority": False}, "CA:FALSE"),
        ({"authority": None}, "no basic constraints"),
        ({"key_usage": ("digital signature",)}, "keyCertSign"),
        ({"version": 1}, "version 1"),
    ],
)
def test_the_explanation_says_why_a_certificate_in_the_store_may_not_issue(
    lab: Any, given: dict[str, Any], told: str, tmp_path: Path
) -> None:
    printer = CertificateAuthority("printer.lan", names=["printer.lan"], **given)
    issued = printer.issue(HOST)
    trust_store = TrustStore.from_buffer(printer.certificate_der)
    error = verdict(lab, "server", trust_store, issued, tmp_path)
    assert error is not None
    assert "issued by CN=printer.lan, which must not issue certificates" in str(error)
    lines = error.explain().splitlines()
    assert any("the certificate of CN=printer.lan in the trust store is" in line for line in lines)
    assert told in error.explain()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"not_after": True}, "in the trust store expired 2 days ago"),
        ({"path_length": 0}, "in the trust store has a path length constraint of 0"),
        ({"client": True}, "in the trust store must not issue for a server"),
    ],
    ids=["expired", "path length", "purpose"],
)
def test_the_explanation_blames_the_store_for_an_authority_that_does_not_fit(
    lab: Any, given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    past = {key: value for key, value in KINDS[-2].given.items() if key.startswith("not_")}
    root = CertificateAuthority("the root", **(past if "not_after" in given else given))
    chain = root.intermediate("between").issue(HOST)
    error = verdict(lab, "server", root.trust_store(), chain, tmp_path)
    assert error is not None
    assert f"the certificate of CN=the root {said}" in str(error)
    assert (error.index, error.certificate) == (None, None)
    assert "To fix: you must " in error.explain()


def critical(root: CertificateAuthority, extension: str) -> TrustStore:
    """A store with that authority, whose certificate has a critical extension of that kind."""
    added = Extension(extension, octets(b""), critical=True)
    return TrustStore.from_buffer(Draft.of(root.certificate_der).having(added).signed(root))


@roles
def test_a_critical_extension_of_an_authority_in_the_store_is_not_passed_over(
    lab: Any, role: str, tmp_path: Path
) -> None:
    root = CertificateAuthority("the root")
    store = critical(root, "1.3.6.1.4.1.55738.7")
    error = verdict(lab, role, store, root.intermediate().issue(HOST), tmp_path)
    assert reason_of(error) is _F.UNHANDLED_CRITICAL_EXTENSION
    assert error is not None
    if role == "server" or error.chain:
        said = (
            "CN=the root in the trust store has a critical extension that polytls does not support"
        )
        assert said in str(error)
        assert "1.3.6.1.4.1.55738.7" in str(error)
        assert (error.index, error.certificate) == (None, None)
        assert "To fix: you must " in error.explain()


# --- two attacks ---


@needs("system trust")
@pytest.mark.skipif(sys.platform != "linux", reason="SSL_CERT_FILE is for Linux")
@pytest.mark.parametrize("way", ["given", "extra"])
def test_the_key_of_a_printer_does_not_issue_for_the_world(
    lab: Any, version: TLSVersion, way: str, tmp_path: Path, setenv: Any
) -> None:
    printer = CertificateAuthority(
        "printer.lan", names=["printer.lan"], authority=False, key_usage=("digital signature",)
    )
    trust_store = store(way, printer, tmp_path, setenv)
    given = {"name": "www.python.org", "version": version}
    forged = printer.issue("www.python.org")
    for chain in (forged, SigningChain(forged.leaf, [printer.certificate])):
        assert verdict(lab, "server", trust_store, chain, tmp_path, **given) is not None
    given["name"] = "printer.lan"
    assert verdict(lab, "server", trust_store, printer.identity, tmp_path, **given) is None


@needs("client authentication", "peer verifier")
def test_a_device_that_a_server_knows_is_not_another_one(
    lab: Any, version: TLSVersion, tmp_path: Path
) -> None:
    a, b = (
        CertificateAuthority("device", names=[name], authority=None, key_usage=())
        for name in ("a.device.example", "b.device.example")
    )
    asked: list[PresentedPeer] = []

    def only_b(peer: PresentedPeer) -> None:
        asked.append(peer)
        if peer.certificate is None or "b.device.example" not in peer.certificate.dns_names:
            raise PermissionError("not b")

    trust_store = TrustStore.from_buffer(a.certificate_pem + b.certificate_pem)
    given: dict[str, Any] = {"peer_verifier": only_b, "version": version}
    forged = a.issue("b.device.example")
    for chain in (forged, SigningChain(forged.leaf, [a.certificate])):
        assert verdict(lab, "client", trust_store, chain, tmp_path, **given) is not None
    assert not asked, "nobody is asked about a peer that is refused anyway"
    assert verdict(lab, "client", trust_store, b.identity, tmp_path, **given) is None
    refused = verdict(lab, "client", trust_store, a.identity, tmp_path, **given)
    assert reason_of(refused) is _F.REFUSED_BY_VERIFIER


# --- peers ---


@needs("peers")
def test_peers_stand_beside_authorities(lab: Any, version: TLSVersion, tmp_path: Path) -> None:
    """The commonest device certificate is an authority's: `openssl req -x509` makes CA:TRUE."""
    printer = CertificateAuthority("printer.lan", names=["printer.lan"], key_usage=())
    trust_store = TrustStore.from_buffer(lab.ca.certificate_pem, peers=[printer.certificate])
    given = {"version": version}

    def ask(chain: SigningChain, name: str) -> VerificationFailure | None:
        return reason_of(verdict(lab, "server", trust_store, chain, tmp_path, name=name, **given))

    assert ask(lab.chain(), HOST) is None
    assert ask(printer.identity, "printer.lan") is None
    assert ask(printer.identity, HOST) is _F.HOSTNAME_MISMATCH
    assert ask(printer.issue(HOST), HOST) is _F.UNKNOWN_ISSUER
    # In the store itself it would speak for others.
    trust_store = TrustStore.from_buffer(lab.ca.certificate_pem + printer.certificate_pem)
    assert ask(printer.issue(HOST), HOST) is None


@needs("peers")
def test_the_explanation_says_that_a_peer_is_no_authority(lab: Any, tmp_path: Path) -> None:
    printer = CertificateAuthority("printer.lan", names=["printer.lan"], key_usage=())
    trust_store = TrustStore.from_buffer(lab.ca.certificate_pem, peers=[printer.certificate])
    error = verdict(lab, "server", trust_store, printer.issue(HOST), tmp_path)
    assert error is not None
    assert "in peers=, which only holds leaf certificates" in error.explain()


@needs("peers", "CRLs")
def test_a_list_that_names_a_leaf_of_the_store_refuses_it(lab: Any, tmp_path: Path) -> None:
    authority = CertificateAuthority()
    named, other = authority.issue(HOST), authority.issue(HOST)
    lists = [authority.revocation_list(named)]
    trust_store = TrustStore.from_buffer(
        lab.ca.certificate_pem, peers=[named.leaf[0], other.leaf[0]], crls=lists
    )
    assert reason_of(verdict(lab, "server", trust_store, named, tmp_path)) is _F.REVOKED
    assert verdict(lab, "server", trust_store, other, tmp_path) is None
    # What a path leads to needs a list that speaks of it, as ever.
    unknown = verdict(lab, "server", trust_store, lab.chain(), tmp_path)
    assert reason_of(unknown) is _F.REVOCATION_UNKNOWN


@needs("peers")
def test_a_peer_that_cannot_be_read_is_told_by_its_index(lab: Any) -> None:
    odd = Certificate.from_buffer(b"0\x00")
    trust_store = TrustStore.from_buffer(lab.ca.certificate_pem, peers=[lab.chain().leaf[0], odd])
    with pytest.raises(ConfigurationError, match="peer certificate 1") as caught:
        lab.client(trust_store=trust_store)
    assert caught.value.field == "trust_store"
