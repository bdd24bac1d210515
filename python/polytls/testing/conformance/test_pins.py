"""Pinned certificates and keys: they are accepted, and nothing else is."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polytls import (
    Certificate,
    CertificateVerificationError,
    ConfigurationError,
    Responsible,
    SigningChain,
    TLSVersion,
    TrustStore,
    VerificationFailure,
)
from polytls.testing import CertificateAuthority, KeyType, self_signed
from polytls.testing.conformance.selection import needs

pytestmark = needs("pins")

NOW = datetime.now(UTC)


def by_certificate(chain: SigningChain, **given: Any) -> TrustStore:
    return TrustStore.pinned([chain.leaf[0]], **given)


def by_key(lab: Any, chain: SigningChain, name: str | None = None, **given: Any) -> TrustStore:
    """Pin the key as a connection to its holder tells it."""
    trusting = lab.client(trust_store=TrustStore.from_buffer(chain.leaf[0].buffer))
    peer = lab.connect(trusting, lab.server(chain), name or lab.host).client.info.peer
    assert hashlib.sha256(peer.spki).hexdigest() == peer.spki_sha256
    return TrustStore.pinned(spki_sha256=[peer.spki_sha256], **given)


def refused(lab: Any, store: TrustStore, chain: SigningChain, name: str | None = None) -> Any:
    outcome = lab.settle(
        lab.pair(lab.client(trust_store=store), lab.server(chain), name or lab.host)
    )
    assert type(outcome.client) is CertificateVerificationError
    return outcome.client


@pytest.mark.parametrize("authority", [False, True], ids=["leaf", "claims to be a CA"])
@pytest.mark.parametrize("key_type", KeyType, ids=lambda each: each.value)
def test_a_pinned_device_is_accepted(
    lab: Any, version: TLSVersion, key_type: KeyType, authority: bool
) -> None:
    device = self_signed(lab.host, key_type=key_type, authority=authority)
    for store in (by_certificate(device), by_key(lab, device)):
        client = lab.client(version=version, trust_store=store)
        pair = lab.connect(client, lab.server(device))
        assert pair.client.info.verified_chain == (device.leaf[0].buffer,)
        assert pair.send(pair.client, b"request") == b"request"
        assert pair.send(pair.server, b"response") == b"response"


def test_who_issued_a_pinned_certificate_does_not_matter(lab: Any) -> None:
    chain = CertificateAuthority("nobody knows it").intermediate().issue(lab.host)
    lab.connect(lab.client(trust_store=by_certificate(chain)), lab.server(chain))
    lab.connect(lab.client(trust_store=by_certificate(chain)), lab.server(SigningChain(chain.leaf)))


@pytest.mark.parametrize("what", ["certificate", "key"])
def test_nothing_else_is_accepted(lab: Any, version: TLSVersion, what: str) -> None:
    pinned = self_signed(lab.host, common_name="device")
    store = by_certificate(pinned) if what == "certificate" else by_key(lab, pinned)
    others = (
        self_signed(lab.host, common_name="device"),
        lab.chain(),
        lab.ca.intermediate().issue(lab.host),
    )
    for other in others:
        pair = lab.pair(lab.client(version=version, trust_store=store), lab.server(other))
        outcome = lab.settle(pair)
        error = outcome.client
        assert type(error) is CertificateVerificationError
        assert error.reason is VerificationFailure.PIN_MISMATCH
        assert error.responsible is Responsible.YOU
        assert error.certificate == other.leaf[0].buffer
        assert error.trust_source == "the pins"
        assert pair.client.getpeercert() is None
        assert outcome.server is not None or pair.server.negotiated_tls_version is None


def test_a_pinned_authority_does_not_speak_for_others(lab: Any) -> None:
    store = TrustStore.pinned([lab.ca.certificate])
    assert refused(lab, store, lab.chain()).reason is VerificationFailure.PIN_MISMATCH


def test_the_host_name_is_checked_unless_said_otherwise(lab: Any) -> None:
    device = self_signed("other.example")
    lax: dict[str, Any] = {"check_hostname": False}
    for checking, unchecking in (
        (by_certificate(device), by_certificate(device, **lax)),
        (by_key(lab, device, "other.example"), by_key(lab, device, "other.example", **lax)),
    ):
        error = refused(lab, checking, device)
        assert error.reason is VerificationFailure.HOSTNAME_MISMATCH
        assert error.names == ("other.example",)
        assert error.hostname == lab.host
        lab.connect(lab.client(trust_store=unchecking), lab.server(device))


@pytest.mark.parametrize("name", ["192.0.2.1", "2001:db8::1", "a.wild.example"])
def test_a_pinned_certificate_is_valid_for_all_its_names(lab: Any, name: str) -> None:
    device = self_signed("192.0.2.1", "2001:db8::1", "*.wild.example")
    client = lab.client(trust_store=by_certificate(device))
    lab.connect(client, lab.server(device), name)
    error = refused(lab, by_certificate(device), device, "192.0.2.2")
    assert error.reason is VerificationFailure.HOSTNAME_MISMATCH


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        (-9, -2, VerificationFailure.EXPIRED),
        (2, 9, VerificationFailure.NOT_YET_VALID),
    ],
    ids=["expired", "not yet valid"],
)
def test_a_pinned_certificate_must_be_valid_in_time(
    lab: Any, start: int, end: int, reason: VerificationFailure
) -> None:
    device = self_signed(
        lab.host, not_before=NOW + timedelta(days=start), not_after=NOW + timedelta(days=end)
    )
    assert refused(lab, by_certificate(device), device).reason is reason


def test_a_key_stays_pinned_when_its_certificate_is_renewed(lab: Any) -> None:
    # The same chain stands for both here: what matters is that no certificate is pinned.
    chain = lab.chain()
    store = by_key(lab, chain)
    assert store.pins.certificates == ()
    lab.connect(lab.client(trust_store=store), lab.server(chain))


def test_several_pins_are_alternatives(lab: Any) -> None:
    first, second, third = (self_signed(lab.host) for _ in range(3))
    store = TrustStore.pinned([first.leaf[0]], [*by_key(lab, second).pins.spki_sha256, bytes(32)])
    lab.connect(lab.client(trust_store=store), lab.server(first))
    lab.connect(lab.client(trust_store=store), lab.server(second))
    assert refused(lab, store, third).reason is VerificationFailure.PIN_MISMATCH


def test_a_resumed_session_was_made_by_the_pinned_key(lab: Any, version: TLSVersion) -> None:
    device = self_signed(lab.host)
    client = lab.client(version=version, trust_store=by_certificate(device))
    server = lab.server(device)
    for _ in range(3):
        pair = lab.connect(client, server)
        assert pair.client.getpeercert() == device.leaf[0].buffer
    other = lab.server(self_signed(lab.host))
    outcome = lab.settle(lab.pair(client, other))
    assert outcome.client.reason is VerificationFailure.PIN_MISMATCH


@needs("client authentication")
def test_a_server_accepts_the_pinned_clients_alone(lab: Any, version: TLSVersion) -> None:
    mine, theirs = self_signed("mine"), self_signed("theirs")
    server = lab.server(trust_store=by_certificate(mine))
    pair = lab.connect(lab.client(version=version, certificate_chain=mine), server)
    assert pair.server.info.peer.sha256 == hashlib.sha256(mine.leaf[0].buffer).hexdigest()
    outcome = lab.settle(lab.pair(lab.client(version=version, certificate_chain=theirs), server))
    assert type(outcome.server) is CertificateVerificationError
    outcome = lab.settle(lab.pair(lab.client(version=version), server))
    assert outcome.server.reason is VerificationFailure.NO_CERTIFICATE


@needs("client authentication")
def test_a_server_accepts_clients_by_their_key(lab: Any, version: TLSVersion) -> None:
    mine, theirs = self_signed(lab.host), self_signed(lab.host)
    server = lab.server(trust_store=by_key(lab, mine))
    lab.connect(lab.client(version=version, certificate_chain=mine), server)
    outcome = lab.settle(lab.pair(lab.client(version=version, certificate_chain=theirs), server))
    assert outcome.server.reason is VerificationFailure.PIN_MISMATCH


def test_a_pin_that_is_no_certificate_is_refused(lab: Any) -> None:
    store = TrustStore.pinned([Certificate.from_buffer(b"garbage")])
    with pytest.raises(ConfigurationError) as caught:
        lab.client(trust_store=store)
    assert caught.value.field == "trust_store"
