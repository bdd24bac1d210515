"""Certificates that are too large, too many, too weak, or none: an outcome for each, soon."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from polytls import (
    Certificate,
    CertificateVerificationError,
    PeerMisbehaved,
    SigningChain,
    TLSVersion,
    TrustStore,
    VerificationFailure,
    _native,
)
from polytls.testing import CertificateAuthority, Pair
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.unguarded_peer import UnguardedPeer, write

CERTS = Path(__file__).parent / "certs"


def presented(lab: Any, client: Any, path: Path) -> Any:
    """The client's error about a server that presents the chain of a file."""
    raw: Any = UnguardedPeer(path)
    return lab.settle(Pair(client.create_buffer(lab.host), raw)).client


@pytest.mark.parametrize(
    ("name", "reason", "weak"),
    [
        ("sha1", VerificationFailure.UNSUPPORTED_SIGNATURE_ALGORITHM, None),
        ("rsa1024", VerificationFailure.WEAK_KEY, 0),
        ("rsa1024-issuer", VerificationFailure.WEAK_KEY, 1),
    ],
)
def test_weak_signatures_and_keys_are_refused(
    lab: Any, version: TLSVersion, name: str, reason: VerificationFailure, weak: int | None
) -> None:
    client = lab.client(version=version, trust_store=TrustStore.from_file(CERTS / "weak.root.pem"))
    error = presented(lab, client, CERTS / f"weak.{name}.pem")
    assert type(error) is CertificateVerificationError
    assert error.reason is reason
    if weak is not None:
        assert "1024-bit" in str(error)
        assert error.index == weak


@needs("pins")
def test_a_pinned_key_that_is_weak_is_refused(lab: Any, version: TLSVersion) -> None:
    leaf = Certificate.from_buffer(
        ssl.PEM_cert_to_DER_cert(
            (CERTS / "weak.rsa1024.pem").read_text().partition("-----BEGIN P")[0]
        )
    )
    peer = _native.read_certificate(leaf.buffer or b"")
    stores = [TrustStore.pinned([leaf]), TrustStore.pinned(spki_sha256=[peer.spki_sha256])]
    for store in stores:
        error = presented(
            lab, lab.client(version=version, trust_store=store), CERTS / "weak.rsa1024.pem"
        )
        assert type(error) is CertificateVerificationError
        assert error.reason is VerificationFailure.WEAK_KEY
        assert "1024-bit" in str(error)


@needs("peers")
@pytest.mark.parametrize("way", ["in the store", "as a peer"])
def test_a_weak_key_is_refused_that_is_trusted_itself(
    lab: Any, version: TLSVersion, way: str
) -> None:
    path = CERTS / "weak.rsa1024.pem"
    if way == "as a peer":
        store = TrustStore.from_buffer(lab.ca.certificate_pem, peers=[Certificate.from_file(path)])
    else:
        store = TrustStore.from_file(path)
    error = presented(lab, lab.client(version=version, trust_store=store), path)
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.WEAK_KEY


def test_a_certificate_of_60_kb_is_read(lab: Any, version: TLSVersion) -> None:
    chain = lab.ca.issue(lab.host, unknown_extension=(False, 60_000))
    pair = lab.connect(lab.client(version=version), lab.server(chain))
    assert len(pair.client.info.peer.der) > 60_000
    assert pair.client.info.peer.dns_names == (lab.host,)


def test_a_certificate_with_1000_names_is_read(lab: Any) -> None:
    names = [f"n{number}.example" for number in range(1000)]
    chain = lab.ca.issue(*names)
    pair = lab.connect(server=lab.server(chain), name="n999.example")
    assert pair.client.info.peer.dns_names == (*names,)
    outcome = lab.settle(lab.pair(server=lab.server(chain), name="n1000.example"))
    assert outcome.client.names == (*names,)
    assert "and 992 more" in str(outcome.client)
    assert len(outcome.client.explain()) < 1000


@pytest.mark.parametrize("critical", [False, True])
def test_an_extension_that_nobody_knows_is_refused_if_it_is_critical(
    lab: Any, version: TLSVersion, critical: bool, tmp_path: Path
) -> None:
    chain = lab.ca.issue(lab.host, unknown_extension=(critical, 10))
    path = write(tmp_path / "server.pem", chain)
    error = presented(lab, lab.client(version=version), path)
    if not critical:
        assert error is None
        return
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.UNHANDLED_CRITICAL_EXTENSION


def test_a_certificate_with_10000_names_is_refused_for_its_size(lab: Any, tmp_path: Path) -> None:
    # rustls takes messages of 64 KiB, OpenSSL 100 KB of certificates.
    chain = lab.ca.issue(lab.host, *(f"n{number}.example" for number in range(10_000)))
    error = presented(lab, lab.client(), write(tmp_path / "server.pem", chain))
    assert type(error) is PeerMisbehaved


@needs("client authentication")
def test_a_client_that_presents_10000_names_is_refused_for_their_size(
    lab: Any, tmp_path: Path
) -> None:
    chain = lab.ca.issue(lab.host, *(f"n{number}.example" for number in range(10_000)))
    raw: Any = UnguardedPeer(write(tmp_path / "client.pem", chain), server=False)
    server = lab.server(trust_store=lab.ca.trust_store()).create_buffer()
    outcome = lab.settle(Pair(raw, server))
    assert type(outcome.server) is PeerMisbehaved
    assert server.negotiated_tls_version is None


@pytest.mark.parametrize("odd", ["garbage", "cut short", "with more behind"])
def test_an_intermediate_that_is_none_spoils_nothing_or_is_refused(lab: Any, odd: str) -> None:
    between = lab.ca.intermediate()
    chain = between.issue(lab.host)
    data = {
        "garbage": b"garbage",
        "cut short": between.certificate_der[:-10],
        "with more behind": between.certificate_der + b"\0",
    }[odd]
    try:
        server = lab.server(SigningChain(chain.leaf, [Certificate.from_buffer(data)]))
    except OSError:
        return  # Our own server refuses to present it.
    error = lab.settle(lab.pair(server=server)).client
    assert type(error) in (CertificateVerificationError, PeerMisbehaved)


def test_many_namesakes_are_looked_through_in_bounded_time(lab: Any) -> None:
    # Each could be the issuer by its name, none is by its key (RFC 5280 6.1 sets no limit).
    namesakes = [CertificateAuthority("namesake").certificate for _ in range(40)]
    chain = CertificateAuthority("namesake").issue(lab.host)
    error = lab.settle(lab.pair(server=lab.server(SigningChain(chain.leaf, namesakes)))).client
    assert type(error) is CertificateVerificationError
    assert error.reason in (
        VerificationFailure.UNKNOWN_ISSUER,
        VerificationFailure.BAD_SIGNATURE,
        VerificationFailure.PATH_TOO_LONG,
    )
