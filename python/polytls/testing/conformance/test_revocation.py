"""Revocation lists: who is refused, and that an unknown status is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    Certificate,
    CertificateVerificationError,
    ConfigurationError,
    PeerRejectedCertificate,
    Responsible,
    RevocationList,
    SigningChain,
    TLSVersion,
    TrustStore,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem
from polytls.testing.conformance.drafts import Draft, Extension, bits
from polytls.testing.conformance.selection import needs

pytestmark = needs("CRLs")

NOW = datetime.now(UTC)
PAST = {"this_update": NOW - timedelta(days=9), "next_update": NOW - timedelta(days=2)}


@pytest.fixture(scope="module")
def root() -> CertificateAuthority:
    return CertificateAuthority("root of trust")


def verdict(lab: Any, chain: SigningChain, store: TrustStore, **given: Any) -> Any:
    """The client's error, None if there is none."""
    return lab.settle(lab.pair(lab.client(trust_store=store, **given), lab.server(chain))).client


def test_a_certificate_that_a_list_does_not_name_is_accepted(
    lab: Any, root: CertificateAuthority, version: TLSVersion
) -> None:
    store = root.trust_store(crls=[root.revocation_list(root.issue("other.example"))])
    client = lab.client(version=version, trust_store=store)
    pair = lab.connect(client, lab.server(root.issue(lab.host)))
    assert pair.send(pair.client, b"request") == b"request"


def test_a_revoked_certificate_is_refused(
    lab: Any, root: CertificateAuthority, version: TLSVersion
) -> None:
    chain = root.issue(lab.host)
    store = root.trust_store(crls=[root.revocation_list(root.issue("other.example"), chain)])
    pair = lab.pair(lab.client(version=version, trust_store=store), lab.server(chain))
    outcome = lab.settle(pair)
    error = outcome.client
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.REVOKED
    assert error.responsible is Responsible.PEER
    assert error.chain == (chain.leaf[0].buffer,)
    assert type(outcome.server) is PeerRejectedCertificate
    assert outcome.server.alert is AlertDescription.certificate_revoked


def test_a_chain_below_a_revoked_authority_is_refused(lab: Any, root: CertificateAuthority) -> None:
    between = root.intermediate()
    chain = between.issue(lab.host)
    fine = between.revocation_list()
    for revoked, reason in (
        (root.revocation_list(between.certificate), VerificationFailure.REVOKED),
        (root.revocation_list(), None),
    ):
        error = verdict(lab, chain, root.trust_store(crls=[revoked, fine]))
        assert (error and error.reason) is reason


@pytest.mark.parametrize("whose", ["root", "intermediate"])
def test_a_list_of_an_authority_that_may_not_sign_lists_says_nothing(lab: Any, whose: str) -> None:
    """RFC 5280 6.3.3 (f): cRLSign, where there is key usage."""
    root = CertificateAuthority("the root")
    between = root.intermediate("the one between")
    chain = between.issue(lab.host)
    lists = [root.revocation_list(), between.revocation_list()]
    # Certificates may be signed, lists may not.
    uses = Extension("2.5.29.15", bits(b"\x04", 2), critical=True)
    top, middle = root.certificate_der, between.certificate_der
    if whose == "root":
        top = Draft.of(top).having(uses).signed(root)
    else:
        middle = Draft.of(middle).having(uses).signed(root)
    shown = SigningChain(chain.leaf, [Certificate.from_buffer(middle)])
    error = verdict(lab, shown, TrustStore.from_buffer(top, crls=lists))
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.REVOCATION_UNKNOWN
    assert "cRLSign" in str(error)
    # Without lists nobody asks for that.
    assert verdict(lab, shown, TrustStore.from_buffer(top)) is None


@pytest.mark.parametrize("which", ["none for the leaf", "none for the intermediate"])
def test_a_status_that_no_list_tells_is_refused(
    lab: Any, root: CertificateAuthority, which: str
) -> None:
    between = root.intermediate()
    chain = between.issue(lab.host)
    lists = [root.revocation_list() if which == "none for the leaf" else between.revocation_list()]
    error = verdict(lab, chain, root.trust_store(crls=lists))
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.REVOCATION_UNKNOWN
    assert error.responsible is Responsible.YOU


def test_lists_of_others_tell_nothing(lab: Any, root: CertificateAuthority) -> None:
    stranger = CertificateAuthority("stranger")
    namesake = CertificateAuthority("root of trust")
    chain = root.issue(lab.host)
    for foreign in (stranger.revocation_list(), namesake.revocation_list(chain)):
        error = verdict(lab, chain, root.trust_store(crls=[foreign]))
        assert type(error) is CertificateVerificationError
        assert error.reason is VerificationFailure.REVOCATION_UNKNOWN
    lists = [stranger.revocation_list(), root.revocation_list()]
    assert verdict(lab, chain, root.trust_store(crls=lists)) is None


def test_a_list_that_is_no_longer_in_force_tells_nothing(
    lab: Any, root: CertificateAuthority
) -> None:
    chain = root.issue(lab.host)
    error = verdict(lab, chain, root.trust_store(crls=[root.revocation_list(**PAST)]))
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.REVOCATION_UNKNOWN


def test_a_forged_list_tells_nothing(lab: Any, root: CertificateAuthority) -> None:
    chain = root.issue(lab.host)
    forged = bytearray(root.revocation_list().buffer or b"")
    forged[-1] ^= 1
    error = verdict(lab, chain, root.trust_store(crls=[RevocationList.from_buffer(forged)]))
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.REVOCATION_UNKNOWN


def test_lists_come_as_der_or_as_pem_from_buffers_and_files(
    lab: Any, root: CertificateAuthority, tmp_path: Any
) -> None:
    between = root.intermediate()
    chain = between.issue(lab.host)
    lists = [
        each.revocation_list(*revoked).buffer
        for each, revoked in (
            (root, ()),
            (between, (chain,)),
        )
    ]
    bundle = b"# both\n" + b"".join(pem("X509 CRL", der or b"") for der in lists)
    path = tmp_path / "lists.pem"
    path.write_bytes(bundle)
    for given in (
        [RevocationList.from_buffer(der or b"") for der in lists],
        [RevocationList.from_buffer(bundle)],
        [RevocationList.from_file(path)],
    ):
        error = verdict(lab, chain, root.trust_store(crls=given))
        assert error.reason is VerificationFailure.REVOKED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"\x30\x03\x02\x01\x05",
        b"\x30\x82\xff\xff",
        b"-----BEGIN X509 CRL-----\nMAMCAQU=\n-----END X509 CRL-----\n",
        b"-----BEGIN X509 CRL-----\n!!\n-----END X509 CRL-----\n",
        b"-----BEGIN X509 CRL-----\nMAMCAQU=\n",
        b"-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n",
        "a list cut short",
        "a list with more behind it",
        "a certificate",
    ],
    ids=repr,
)
def test_what_is_no_list_is_refused_when_the_context_is_made(
    lab: Any, root: CertificateAuthority, data: bytes | str
) -> None:
    fine = root.revocation_list().buffer or b""
    if isinstance(data, str):
        data = {
            "a list cut short": fine[:-1],
            "a list with more behind it": fine + b"\0",
            "a certificate": root.certificate_der,
        }[data]
    store = root.trust_store(crls=[RevocationList.from_buffer(data)])
    with pytest.raises(ConfigurationError) as caught:
        lab.client(trust_store=store)
    assert caught.value.field == "trust_store"


def test_a_list_that_cannot_be_opened_is_named(
    lab: Any, root: CertificateAuthority, tmp_path: Any
) -> None:
    store = root.trust_store(crls=[RevocationList.from_file(tmp_path / "absent.pem")])
    with pytest.raises(ConfigurationError, match=r"absent\.pem") as caught:
        lab.client(trust_store=store)
    assert caught.value.field == "trust_store"


def test_a_leaf_that_is_an_anchor_itself_is_not_asked_about(
    lab: Any, root: CertificateAuthority
) -> None:
    chain = root.issue(lab.host)
    both = pem("CERTIFICATE", chain.leaf[0].buffer or b"") + root.certificate_pem
    store = TrustStore.from_buffer(both, crls=[CertificateAuthority("x").revocation_list()])
    assert verdict(lab, chain, store) is None


@needs("client authentication")
def test_a_server_refuses_revoked_clients(
    lab: Any, root: CertificateAuthority, version: TLSVersion
) -> None:
    mine, revoked = root.issue("mine.example"), root.issue("revoked.example")
    server = lab.server(trust_store=root.trust_store(crls=[root.revocation_list(revoked)]))
    pair = lab.connect(lab.client(version=version, certificate_chain=mine), server)
    assert pair.server.info.peer.dns_names == ("mine.example",)
    client = lab.client(version=version, certificate_chain=revoked)
    outcome = lab.settle(lab.pair(client, server))
    assert outcome.server.reason is VerificationFailure.REVOKED
    assert "client's operator" in outcome.server.explain()


@needs("client authentication", "resumption")
def test_a_session_of_a_context_without_lists_does_not_open_one_with(
    lab: Any, root: CertificateAuthority, version: TLSVersion
) -> None:
    revoked = root.issue("revoked.example")
    client = lab.client(version=version, certificate_chain=revoked)
    lax = lab.server(trust_store=root.trust_store())
    for again in (False, True):
        pair = lab.connect(client, lax)
        assert pair.server.info.resumed is again
        with pytest.raises(WantReadError):
            pair.client.read(1)
    strict = lab.server(trust_store=root.trust_store(crls=[root.revocation_list(revoked)]))
    outcome = lab.settle(lab.pair(client, strict))
    assert outcome.server.reason is VerificationFailure.REVOKED
