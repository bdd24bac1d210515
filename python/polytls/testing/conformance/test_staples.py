"""OCSP stapling: what servers pass on, and what clients conclude from it (RFC 6066 8, RFC 6960)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from polytls import (
    AlertReceived,
    CertificateVerificationError,
    ClientAuthentication,
    ConfigurationError,
    OCSPResponse,
    PresentedPeer,
    Responsible,
    SigningChain,
    TLSVersion,
    TrustStore,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import CertificateAuthority, Clock, Pair
from polytls.testing.conformance.selection import needs

DAY: Final = timedelta(days=1)
with_staples = needs("stapling", "staple verification")

#: Alerts of RFC 8446 6 and RFC 6066 9.
CERTIFICATE_REVOKED, BAD_STATUS_RESPONSE = 44, 113


class Scene:
    """An authority, a certificate of it, and a client that trusts the authority."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.authority = CertificateAuthority("staples")
        self.chain = self.authority.issue(lab.host)

    def response(self, **given: Any) -> OCSPResponse:
        return self.authority.ocsp_response(self.chain, **given)

    def bytes(self, **given: Any) -> bytes:
        return self.response(**given).buffer or b""

    def client(self, **given: Any) -> Any:
        store = given.pop("trust_store", self.authority.trust_store())
        return self.lab.client(trust_store=store, sessions=None, **given)

    def server(self, response: OCSPResponse | bytes | None, **given: Any) -> Any:
        return self.lab.server(stapling(self.chain, response), **given)

    def connect(self, response: OCSPResponse | bytes | None, **given: Any) -> Pair:
        pair: Pair = self.lab.connect(self.client(**given), self.server(response))
        return pair

    def errors(self, response: OCSPResponse | bytes | None, **given: Any) -> Any:
        return self.lab.settle(self.lab.pair(self.client(**given), self.server(response)))


def stapling(chain: SigningChain, response: OCSPResponse | bytes | None) -> SigningChain:
    return SigningChain(chain.leaf, chain.chain, ocsp_response=response)


@pytest.fixture
def scene(lab: Any) -> Scene:
    return Scene(lab)


def refusal(
    errors: Any, reason: VerificationFailure = VerificationFailure.REVOCATION_UNKNOWN
) -> CertificateVerificationError:
    """The client's error, which is for this reason, and of which the server was told."""
    error = errors.client
    assert isinstance(error, CertificateVerificationError), error
    assert error.reason is reason, error
    alert = errors.server
    assert isinstance(alert, AlertReceived), alert
    told = {BAD_STATUS_RESPONSE}
    if reason is VerificationFailure.REVOKED:
        told.add(CERTIFICATE_REVOKED)
    assert alert.alert in told
    return error


# --- servers ---


@needs("stapling")
def test_an_ocsp_response_is_passed_on_to_clients_that_ask(lab: Any, scene: Scene) -> None:
    response = scene.bytes()
    # Where it can be seen on the wire.
    client = scene.client(version=TLSVersion.TLSv1_2)
    for stapled in (response, None):
        pair = lab.pair(client, scene.server(stapled))
        with pytest.raises(WantReadError):
            pair.client.do_handshake()
        hello = lab.outgoing(pair.client)
        asks = b"\x00\x05\x00\x05\x01\x00\x00\x00\x00" in hello
        pair.server.process_incoming(hello)
        with pytest.raises(WantReadError):
            pair.server.do_handshake()
        flight = lab.outgoing(pair.server)
        assert (response in flight) is (stapled is not None and asks)
        pair.client.process_incoming(flight)
        pair.handshake()


@needs("stapling")
def test_a_stapled_connection_carries_data(scene: Scene, version: TLSVersion) -> None:
    pair = scene.connect(scene.response(), version=version)
    assert pair.send(pair.server, b"data") == b"data"
    assert pair.server.info.staple is None


@needs("stapling")
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda response: response[:-1], "truncated"),
        (lambda response: response + b"\0", "1 bytes of other data follow"),
        (lambda _: b"what the issuer says", "not a readable OCSP response"),
        (lambda _: b"", "empty"),
        (lambda _: b"0\x03\n\x01\x03", "an error of the responder, tryLater"),
    ],
    ids=["truncated", "followed by more", "none", "empty", "an error"],
)
def test_a_response_that_no_client_could_use_is_refused(
    scene: Scene, spoil: Callable[[bytes], bytes], why: str
) -> None:
    with pytest.raises(ConfigurationError, match=why) as refused:
        scene.server(spoil(scene.bytes()))
    assert refused.value.field == "certificate_chain"


@needs("stapling")
def test_a_response_about_another_certificate_is_refused(scene: Scene) -> None:
    other = scene.authority.ocsp_response(scene.authority.issue("other.example"))
    with pytest.raises(ConfigurationError, match="about another certificate"):
        scene.server(other)


@needs("no stapling")
def test_a_library_that_cannot_staple_says_so(scene: Scene) -> None:
    with pytest.raises(ConfigurationError, match="OCSP stapling") as refused:
        scene.server(scene.response())
    assert refused.value.field == "certificate_chain"


@with_staples
@needs("clock")
def test_a_response_that_has_expired_is_not_stapled(scene: Scene, version: TLSVersion) -> None:
    clock = Clock()
    server = scene.server(scene.response(), clock=clock)
    client = scene.client(version=version)
    assert scene.lab.connect(client, server).client.info.staple is not None
    clock.advance(int(DAY.total_seconds()) * 8)
    assert scene.lab.connect(client, server).client.info.staple is None


# --- what counts ---


@with_staples
@pytest.mark.parametrize("sha256", [False, True], ids=["SHA-1", "SHA-256"])
def test_a_staple_of_the_issuer_counts(scene: Scene, version: TLSVersion, sha256: bool) -> None:
    response = scene.response(sha256=sha256)
    info = scene.connect(response, require_staple=True, version=version).client.info
    assert info.staple is not None
    assert info.staple.der == response.buffer
    assert info.staple.signer == "CN=staples"
    assert info.staple.produced_at == info.staple.this_update < datetime.now(UTC)
    assert info.staple.next_update - info.staple.this_update == 8 * DAY


@with_staples
def test_a_staple_below_an_intermediate_counts(lab: Any, version: TLSVersion) -> None:
    root = CertificateAuthority("root")
    issuer = root.intermediate("issuer")
    chain = issuer.issue(lab.host)
    client = lab.client(trust_store=root.trust_store(), require_staple=True, version=version)
    server = lab.server(stapling(chain, issuer.ocsp_response(chain)))
    assert lab.connect(client, server).client.info.staple.signer == "CN=issuer"


@with_staples
def test_a_staple_of_the_issuers_issuer_is_refused(lab: Any, version: TLSVersion) -> None:
    root = CertificateAuthority("root")
    chain = root.intermediate("issuer").issue(lab.host)
    client = lab.client(trust_store=root.trust_store(), require_staple=True, version=version)
    server = lab.server(stapling(chain, root.ocsp_response(chain)))
    error = refusal(lab.settle(lab.pair(client, server)))
    assert "from another issuer" in str(error)


@with_staples
def test_a_staple_of_a_responder_of_the_issuer_counts(scene: Scene, version: TLSVersion) -> None:
    responder = scene.authority.issue(
        common_name="responder", server=False, client=False, ocsp_signing=True
    )
    response = scene.response(responder=responder)
    info = scene.connect(response, require_staple=True, version=version).client.info
    assert info.staple.signer == "CN=responder"


@with_staples
@needs("clock")
def test_a_staple_without_an_end_counts_for_a_day(scene: Scene) -> None:
    clock = Clock()
    now = datetime.now(UTC)
    client = scene.client(require_staple=True, clock=clock)
    server = scene.server(scene.response(this_update=now, open_ended=True))
    for at in (now, now + DAY):
        clock.now = int(at.timestamp())
        assert scene.lab.connect(client, server).client.info.staple.next_update is None
    clock.advance(1)
    error = refusal(scene.lab.settle(scene.lab.pair(client, server)))
    assert "it expired 1 second ago" in str(error)


@with_staples
def test_without_a_staple_a_client_goes_on_unless_it_requires_one(
    scene: Scene, version: TLSVersion
) -> None:
    assert scene.connect(None, version=version).client.info.staple is None
    error = refusal(scene.errors(None, require_staple=True, version=version))
    assert "sent none, and require_staple is set" in str(error)
    assert error.responsible is Responsible.PEER
    assert "staple a current OCSP response" in error.explain()


@with_staples
def test_a_certificate_may_require_a_staple(scene: Scene, version: TLSVersion) -> None:
    scene.chain = scene.authority.issue(scene.lab.host, must_staple=True)
    error = refusal(scene.errors(None, version=version))
    assert "its certificate requires one (must-staple" in str(error)
    assert scene.connect(scene.response(), version=version).client.info.staple is not None


@with_staples
def test_a_resumed_session_needs_no_other_staple(scene: Scene, version: TLSVersion) -> None:
    client = scene.lab.client(
        trust_store=scene.authority.trust_store(), require_staple=True, version=version
    )
    server = scene.server(scene.response())
    for resumed in (False, True):
        pair = scene.lab.connect(client, server)
        with pytest.raises(WantReadError):
            pair.client.read(1)
        assert pair.client.info.resumed is resumed
        assert (pair.client.info.staple is None) is resumed


@with_staples
@needs("clock")
def test_a_session_ends_with_its_staple(scene: Scene, version: TLSVersion) -> None:
    clock = Clock()
    soon = datetime.now(UTC) + timedelta(hours=1)
    client = scene.lab.client(
        trust_store=scene.authority.trust_store(), version=version, clock=clock
    )
    server = scene.server(scene.response(next_update=soon), clock=clock)
    seen = []
    for seconds in (0, 60, 7200):
        clock.advance(seconds)
        pair = scene.lab.connect(client, server)
        with pytest.raises(WantReadError):
            pair.client.read(1)
        seen.append(pair.client.info.resumed)
    assert seen == [False, True, False]


@with_staples
@needs("peer verifier")
def test_a_verifier_is_asked_after_the_staple(scene: Scene, version: TLSVersion) -> None:
    asked: list[PresentedPeer] = []
    given = {"peer_verifier": asked.append, "version": version}
    refusal(scene.errors(scene.response(status="revoked"), **given), VerificationFailure.REVOKED)
    assert not asked
    scene.connect(scene.response(), **given)
    assert len(asked) == 1
    assert asked[0].verified_chain is not None


@with_staples
@needs("client authentication")
def test_a_server_does_not_ask_clients_for_staples(scene: Scene, version: TLSVersion) -> None:
    must = scene.authority.issue("client.example", must_staple=True)
    server = scene.server(
        scene.response(),
        trust_store=scene.authority.trust_store(),
        client_authentication=ClientAuthentication.REQUIRED,
    )
    client = scene.client(certificate_chain=must, require_staple=True, version=version)
    assert scene.lab.connect(client, server).server.info.peer is not None


@with_staples
def test_a_leaf_that_is_trusted_itself_has_no_issuer_to_ask(scene: Scene) -> None:
    own = TrustStore.from_buffer(scene.chain.leaf[0].buffer or b"")
    assert scene.connect(scene.response(), trust_store=own).client.info.staple is None
    error = refusal(scene.errors(scene.response(), trust_store=own, require_staple=True))
    assert "no issuer" in str(error)


# --- what does not count ---


@with_staples
def test_a_revoked_certificate_is_refused(scene: Scene, version: TLSVersion) -> None:
    for require in (False, True):
        response = scene.response(status="revoked")
        errors = scene.errors(response, require_staple=require, version=version)
        error = refusal(errors, VerificationFailure.REVOKED)
        assert "was revoked by CN=staples" in str(error)
        assert "keyCompromise" in str(error)
        assert "as the stapled OCSP response says" in str(error)


def _as_it_is(response: bytes) -> bytes:
    return response


def _with_a_changed_signature(response: bytes) -> bytes:
    return response[:-1] + bytes([response[-1] ^ 1])


def _good_for_revoked(response: bytes) -> bytes:
    """Changes the status in the signed data."""
    assert response.count(b"\x82\x00") == 1
    return response.replace(b"\x82\x00", b"\x80\x00")


@with_staples
@pytest.mark.parametrize(
    ("given", "change", "why"),
    [
        ({}, _with_a_changed_signature, "does not verify with the key of the certificate's issuer"),
        ({"status": "unknown"}, _good_for_revoked, "does not verify with the key"),
        ({"status": "unknown"}, _as_it_is, "its responder does not know the certificate"),
        (
            {"this_update": datetime.now(UTC) + DAY, "next_update": datetime.now(UTC) + 2 * DAY},
            _as_it_is,
            "it will be in force in ",
        ),
    ],
    ids=["forged signature", "forged status", "unknown", "future"],
)
@pytest.mark.parametrize("require", [False, True], ids=["optional", "required"])
def test_a_staple_that_proves_nothing_is_refused(
    scene: Scene,
    version: TLSVersion,
    given: dict[str, Any],
    change: Callable[[bytes], bytes],
    why: str,
    require: bool,
) -> None:
    response = change(scene.bytes(**given))
    error = refusal(scene.errors(response, require_staple=require, version=version))
    assert why in str(error)


@with_staples
@needs("clock")
def test_a_stale_staple_is_refused(scene: Scene, version: TLSVersion) -> None:
    clock = Clock()
    end = datetime.now(UTC) + timedelta(days=3)
    client = scene.client(version=version, clock=clock)
    server = scene.server(scene.response(next_update=end))
    clock.now = int(end.timestamp()) - 1
    scene.lab.connect(client, server)
    clock.advance(1)
    error = refusal(scene.lab.settle(scene.lab.pair(client, server)))
    assert "it expired 1 second ago" in str(error)
    # However old it is, a revocation counts.
    revoked = scene.server(scene.response(status="revoked", next_update=end))
    errors = scene.lab.settle(scene.lab.pair(client, revoked))
    refusal(errors, VerificationFailure.REVOKED)


@with_staples
def test_a_responders_clock_may_be_a_little_ahead(scene: Scene) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=4)
    assert scene.connect(scene.response(this_update=soon)).client.info.staple is not None


@with_staples
def test_a_staple_of_a_namesake_of_the_issuer_is_refused(scene: Scene, version: TLSVersion) -> None:
    namesake = CertificateAuthority("staples")
    error = refusal(scene.errors(namesake.ocsp_response(scene.chain), version=version))
    assert "from another issuer" in str(error)


class Responders:
    """Responders that an issuer has not authorized, and what is said of them."""

    @staticmethod
    def without_the_purpose(scene: Scene) -> tuple[SigningChain, str]:
        return scene.authority.issue(common_name="responder"), "does not allow signing OCSP"

    @staticmethod
    def without_any_purpose(scene: Scene) -> tuple[SigningChain, str]:
        made = scene.authority.issue(common_name="responder", server=False, client=False)
        return made, "does not allow signing OCSP"

    @staticmethod
    def of_another_authority(scene: Scene) -> tuple[SigningChain, str]:
        other = CertificateAuthority("staples")
        made = other.issue(common_name="responder", ocsp_signing=True)
        return made, "was not issued by the certificate's issuer"

    @staticmethod
    def expired(scene: Scene) -> tuple[SigningChain, str]:
        made = scene.authority.issue(
            common_name="responder",
            ocsp_signing=True,
            not_before=datetime.now(UTC) - 3 * DAY,
            not_after=datetime.now(UTC) - DAY,
        )
        return made, "is not valid now"

    @staticmethod
    def with_an_unknown_extension(scene: Scene) -> tuple[SigningChain, str]:
        made = scene.authority.issue(
            common_name="responder", ocsp_signing=True, unknown_extension=(True, 10)
        )
        return made, "has an unsupported critical extension"

    @staticmethod
    def the_server_itself(scene: Scene) -> tuple[SigningChain, str]:
        return scene.chain, "does not allow signing OCSP"


@with_staples
@pytest.mark.parametrize("name", [name for name in vars(Responders) if name[0] != "_"])
def test_a_staple_of_an_unauthorized_responder_is_refused(scene: Scene, name: str) -> None:
    responder, why = getattr(Responders, name)(scene)
    error = refusal(scene.errors(scene.response(responder=responder)))
    assert why in str(error)


@with_staples
@needs("CRLs")
def test_a_staple_of_a_revoked_responder_is_refused(scene: Scene) -> None:
    responder = scene.authority.issue(common_name="responder", ocsp_signing=True)
    lists = [scene.authority.revocation_list(responder)]
    store = scene.authority.trust_store(crls=lists)
    error = refusal(scene.errors(scene.response(responder=responder), trust_store=store))
    assert "the certificate of its responder was revoked" in str(error)
    assert scene.connect(scene.response(), trust_store=store).client.info.staple is not None


@with_staples
def test_a_large_staple_is_refused(scene: Scene) -> None:
    def response(size: int) -> bytes:
        responder = scene.authority.issue(
            common_name="responder", ocsp_signing=True, unknown_extension=(False, size)
        )
        return scene.bytes(responder=responder)

    # As TLS 1.3 has it within the message with the certificates.
    given = {"version": TLSVersion.TLSv1_3}
    assert scene.connect(response(8_000), **given).client.info.staple is not None
    error = refusal(scene.errors(response(33_000), **given))
    assert "the limit is 32768" in str(error)


# --- what cannot be required ---


@needs("no staple verification")
def test_a_library_that_does_not_show_staples_says_so(scene: Scene) -> None:
    with pytest.raises(ConfigurationError, match="does not report stapled") as refused:
        scene.client(require_staple=True)
    assert refused.value.field == "require_staple"


@needs("staple verification", "peers", "pins")
def test_a_staple_of_a_leaf_without_an_issuer_cannot_be_required(scene: Scene) -> None:
    leaf = scene.chain.leaf[0]
    for store in (
        TrustStore.pinned([leaf]),
        TrustStore.from_buffer(scene.authority.certificate_pem, peers=[leaf]),
    ):
        with pytest.raises(ConfigurationError, match="without an issuer") as refused:
            scene.client(trust_store=store, require_staple=True)
        assert refused.value.field == "require_staple"
