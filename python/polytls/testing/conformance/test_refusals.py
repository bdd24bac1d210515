"""What peers are told whose certificates are refused: each reason has its alert (RFC 8446 6.2).

It is the same in both versions; RFC 6066 8 has the alert for staples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from polytls import (
    AlertDescription,
    Certificate,
    CertificateVerificationError,
    ClientAuthentication,
    ConnectionEvent,
    PeerRejectedCertificate,
    PresentedPeer,
    SigningChain,
    TLSVersion,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.selection import needs

DAY: Final = timedelta(days=1)


def never(_: PresentedPeer) -> None:
    """A verifier that refuses everyone."""
    raise PermissionError("nobody is welcome here")


@dataclass
class Scene:
    """What a server presents, and what its client is configured with besides the authority."""

    authority: CertificateAuthority
    chain: SigningChain
    given: dict[str, Any] = field(default_factory=dict)

    def staple(self, **given: Any) -> None:
        """Let the server staple a response of the authority."""
        response = self.authority.ocsp_response(self.chain, **given)
        self.chain = SigningChain(self.chain.leaf, self.chain.chain, ocsp_response=response)


def issued(**given: Any) -> Callable[[str], Scene]:
    """A certificate of the authority."""

    def make(host: str) -> Scene:
        authority = CertificateAuthority("refusals")
        return Scene(authority, authority.issue(host, **given))

    return make


def of_a_stranger(host: str) -> Scene:
    authority = CertificateAuthority("refusals")
    return Scene(authority, CertificateAuthority("stranger").issue(host))


def of_another_name(_: str) -> Scene:
    return issued()("another.example")


def of_a_changed_signature(host: str) -> Scene:
    scene = issued()(host)
    certificate, key = scene.chain.leaf
    der = certificate.buffer or b""
    changed = Certificate.from_buffer(der[:-1] + bytes([der[-1] ^ 1]))
    scene.chain = SigningChain((changed, key))
    return scene


def revoked_by_list(host: str) -> Scene:
    scene = issued()(host)
    scene.given["trust_store"] = scene.authority.trust_store(
        crls=[scene.authority.revocation_list(scene.chain)]
    )
    return scene


def stapling(**given: Any) -> Callable[[str], Scene]:
    """A server that staples a response."""

    def make(host: str) -> Scene:
        scene = issued()(host)
        scene.staple(**given)
        return scene

    return make


def without_a_staple(host: str) -> Scene:
    scene = issued()(host)
    scene.given["require_staple"] = True
    return scene


def before_a_verifier(host: str) -> Scene:
    scene = issued()(host)
    scene.given["peer_verifier"] = never
    return scene


def stapling_before_a_verifier(host: str) -> Scene:
    scene = before_a_verifier(host)
    scene.staple()
    return scene


def case(
    name: str,
    make: Callable[[str], Scene],
    reason: VerificationFailure,
    alert: AlertDescription,
    *wanted: str,
) -> Any:
    return pytest.param(make, reason, alert, id=name, marks=needs(*wanted) if wanted else ())


NOW: Final = datetime.now(UTC)
F, A = VerificationFailure, AlertDescription
STAPLES: Final = ("stapling", "staple verification")
REFUSALS: Final = (
    case("an unknown authority", of_a_stranger, F.UNKNOWN_ISSUER, A.unknown_ca),
    case(
        "expired",
        issued(not_before=NOW - 9 * DAY, not_after=NOW - 2 * DAY),
        F.EXPIRED,
        A.certificate_expired,
    ),
    case(
        "not valid yet",
        issued(not_before=NOW + 2 * DAY, not_after=NOW + 9 * DAY),
        F.NOT_YET_VALID,
        A.certificate_expired,
    ),
    case("another name", of_another_name, F.HOSTNAME_MISMATCH, A.bad_certificate),
    case("for clients alone", issued(server=False), F.INVALID_PURPOSE, A.unsupported_certificate),
    case("a changed signature", of_a_changed_signature, F.BAD_SIGNATURE, A.bad_certificate),
    case("revoked by a list", revoked_by_list, F.REVOKED, A.certificate_revoked, "CRLs"),
    case(
        "revoked by its staple",
        stapling(status="revoked"),
        F.REVOKED,
        A.certificate_revoked,
        *STAPLES,
    ),
    case(
        "a staple that proves nothing",
        stapling(status="unknown"),
        F.REVOCATION_UNKNOWN,
        A.bad_certificate_status_response,
        *STAPLES,
    ),
    case(
        "no staple",
        without_a_staple,
        F.REVOCATION_UNKNOWN,
        A.bad_certificate_status_response,
        "staple verification",
    ),
    case("a verifier", before_a_verifier, F.REFUSED_BY_VERIFIER, A.access_denied, "peer verifier"),
    case(
        "a verifier behind a staple",
        stapling_before_a_verifier,
        F.REFUSED_BY_VERIFIER,
        A.access_denied,
        "peer verifier",
        *STAPLES,
    ),
)
#: Those that a server may have, too.
OF_CLIENTS: Final = (
    "an unknown authority",
    "expired",
    "not valid yet",
    "a changed signature",
    "revoked by a list",
    "a verifier",
)
with_refusals = pytest.mark.parametrize(("make", "reason", "alert"), REFUSALS)


def refused(lab: Any, scene: Scene, version: TLSVersion, **given: Any) -> Any:
    """What the client and the server find."""
    given = {"trust_store": scene.authority.trust_store(), **scene.given, **given}
    client = lab.client(version=version, sessions=None, **given)
    return lab.settle(lab.pair(client, lab.server(scene.chain)))


def assert_told(
    refusal: object, reason: VerificationFailure, told: object, alert: AlertDescription
) -> None:
    """Hold both sides to it: who refuses says why, and the other gets the alert for that."""
    assert type(refusal) is CertificateVerificationError
    assert refusal.reason is reason
    assert type(told) is PeerRejectedCertificate
    assert told.alert is alert


@with_refusals
def test_a_server_that_is_refused_is_told_why(
    lab: Any,
    version: TLSVersion,
    make: Callable[[str], Scene],
    reason: VerificationFailure,
    alert: AlertDescription,
) -> None:
    outcome = refused(lab, make(lab.host), version)
    assert_told(outcome.client, reason, outcome.server, alert)


@needs("events")
@with_refusals
def test_no_other_alert_is_reported_than_is_sent(
    lab: Any,
    version: TLSVersion,
    make: Callable[[str], Scene],
    reason: VerificationFailure,
    alert: AlertDescription,
) -> None:
    events: list[ConnectionEvent] = []
    outcome = refused(lab, make(lab.host), version, on_event=events.append)
    assert outcome.client.reason is reason
    told = outcome.server.alert if isinstance(outcome.server, PeerRejectedCertificate) else None
    # A library may not tell which alert it sends.
    assert [event.alert for event in events if event.kind == "alert"] in ([], [told])


@needs("client authentication")
@pytest.mark.parametrize(
    ("make", "reason", "alert"), [one for one in REFUSALS if one.id in OF_CLIENTS]
)
def test_a_client_that_is_refused_is_told_why(
    lab: Any,
    version: TLSVersion,
    make: Callable[[str], Scene],
    reason: VerificationFailure,
    alert: AlertDescription,
) -> None:
    scene = make("client.example")
    given = {"trust_store": scene.authority.trust_store(), **scene.given}
    server = lab.server(client_authentication=ClientAuthentication.REQUIRED, **given)
    client = lab.client(version=version, certificate_chain=scene.chain)
    pair = lab.pair(client, server)
    outcome = lab.settle(pair)
    # A TLS 1.3 client is done before it is judged.
    theirs = outcome.client
    if theirs is None:
        with pytest.raises(PeerRejectedCertificate) as caught:
            pair.client.read(1)
        theirs = caught.value
    assert_told(outcome.server, reason, theirs, alert)


@needs("early data", *STAPLES)
@pytest.mark.parametrize(
    ("status", "reason", "alert"),
    [
        ("revoked", F.REVOKED, A.certificate_revoked),
        ("unknown", F.REVOCATION_UNKNOWN, A.bad_certificate_status_response),
    ],
)
def test_a_server_that_has_refused_early_data_is_told_why(
    lab: Any, status: str, reason: VerificationFailure, alert: AlertDescription
) -> None:
    scene = issued()(lab.host)
    client = lab.client(trust_store=scene.authority.trust_store(), early_data=True)
    pair = lab.connect(client, lab.server(scene.chain, early_data=True))
    with pytest.raises(WantReadError):
        pair.client.read(1)
    scene.staple(status=status)
    # It does not know the session.
    pair = lab.pair(client, lab.server(scene.chain, early_data=True))
    assert pair.client.write_early_data(b"early") == 5
    outcome = lab.settle(pair)
    assert_told(outcome.client, reason, outcome.server, alert)
