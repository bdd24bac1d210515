"""Insecure contexts: what each switch turns off, what it leaves on, and that every step warns."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import polytls
from polytls import (
    CertificateVerificationError,
    ClientAuthentication,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TLSVersion,
    VerificationFailure,
    insecure,
)
from polytls.testing import CertificateAuthority, Pair, self_signed
from polytls.testing.conformance.selection import needs

pytestmark = needs("insecure contexts")

VERIFY_ALL: dict[str, bool] = {}
ANY_NAME = {"disable_hostname_check": True}
NOTHING = {"disable_hostname_check": True, "disable_verification": True}

NOW = datetime.now(UTC)


class Door:
    """Insecure contexts of one implementation; all that is done through it is silent."""

    def __init__(self, lab: Any, implementation: Any) -> None:
        self.lab = lab
        self.implementation = implementation

    def client(self, switches: dict[str, bool], **given: Any) -> Any:
        given.setdefault("trust_store", self.lab.ca.trust_store())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", insecure.SecurityWarning)
            return self.implementation.insecure_client_context(
                TLSClientConfiguration(**given), insecure.InsecureConfiguration(**switches)
            )

    def server(self, switches: dict[str, bool], **given: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", insecure.SecurityWarning)
            return self.implementation.insecure_server_context(
                TLSServerConfiguration([self.lab.chain()], **given),
                insecure.InsecureConfiguration(**switches),
            )

    def pair(self, client: Any, server: Any, *name: str | None) -> Pair:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", insecure.SecurityWarning)
            return Pair(client.create_buffer(*(name or (self.lab.host,))), server.create_buffer())


@pytest.fixture
def door(lab: Any, insecure_implementation: Any) -> Door:
    return Door(lab, insecure_implementation)


def test_every_step_warns_once_and_blames_the_caller(
    lab: Any, insecure_implementation: Any, recwarn: pytest.WarningsRecorder
) -> None:
    made = insecure_implementation
    switches = insecure.InsecureConfiguration(**NOTHING)
    client = made.insecure_client_context(
        TLSClientConfiguration(trust_store=lab.ca.trust_store()), switches
    )
    server = made.insecure_server_context(TLSServerConfiguration([lab.chain()]), switches)
    client.create_buffer(lab.host)
    client.create_buffer()
    server.create_buffer()
    assert {warning.category for warning in recwarn} == {insecure.SecurityWarning}
    assert {warning.filename for warning in recwarn} == {__file__}
    steps = [str(warning.message).partition(":")[0] for warning in recwarn]
    assert steps == [
        "InsecureConfiguration",
        "InsecureClientContext",
        "InsecureServerContext",
        "InsecureClientContext.create_buffer",
        "InsecureClientContext.create_buffer",
        "InsecureServerContext.create_buffer",
    ]


def test_the_secure_contexts_behind_the_door_are_silent_and_verify(door: Door, lab: Any) -> None:
    made = door.implementation
    assert made.client_context is lab.implementation.client_context
    client = made.client_context(TLSClientConfiguration(trust_store=lab.ca.trust_store()))
    outcome = lab.settle(lab.pair(client, name="other.example"))
    assert type(outcome.client) is CertificateVerificationError


def test_insecure_contexts_show_both_configurations(door: Door, lab: Any) -> None:
    for context in (door.client(ANY_NAME), door.server(ANY_NAME)):
        with pytest.warns(insecure.SecurityWarning):
            expected = insecure.InsecureConfiguration(disable_hostname_check=True)
        assert context.insecure_configuration == expected
        with pytest.raises(AttributeError):
            context.insecure_configuration = expected
    client = door.client(ANY_NAME)
    assert client.configuration == TLSClientConfiguration(trust_store=lab.ca.trust_store())
    assert isinstance(client, insecure.InsecureClientContext)
    assert isinstance(door.server(ANY_NAME), insecure.InsecureServerContext)


STRANGER = CertificateAuthority("stranger")

CHAINS = {
    "good": lambda lab: lab.chain(),
    "another name": lambda lab: lab.chain("other.example"),
    "no name": lambda lab: lab.ca.issue(),
    "unknown issuer": lambda lab: STRANGER.issue(lab.host),
    "self-signed": lambda lab: self_signed(lab.host),
    "claims to be a CA": lambda lab: self_signed(lab.host, authority=True),
    "expired": lambda lab: lab.ca.issue(
        lab.host, not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=2)
    ),
    "for clients alone": lambda lab: lab.ca.issue(lab.host, server=False),
}


@pytest.mark.parametrize(
    ("switches", "accepted"),
    [
        (VERIFY_ALL, {"good"}),
        (ANY_NAME, {"good", "another name", "no name"}),
        (NOTHING, set(CHAINS)),
    ],
    ids=["no switch", "any name", "nothing verified"],
)
@pytest.mark.parametrize("chain", list(CHAINS))
def test_what_a_client_accepts_with_each_switch(
    door: Door,
    lab: Any,
    version: TLSVersion,
    chain: str,
    switches: dict[str, bool],
    accepted: set[str],
) -> None:
    client, server = door.client(switches), lab.server(CHAINS[chain](lab), version=version)
    pair = door.pair(client, server)
    outcome = lab.settle(pair)
    if chain in accepted:
        assert outcome.client is outcome.server is None
        assert pair.send(pair.client, b"data") == b"data"
        assert pair.server.info.server_name == lab.host
    else:
        assert type(outcome.client) is CertificateVerificationError


def test_a_refusal_without_a_name_check_names_no_name(door: Door, lab: Any) -> None:
    pair = door.pair(door.client(ANY_NAME), lab.server(STRANGER.issue(lab.host)))
    error = lab.settle(pair).client
    assert error.reason is VerificationFailure.UNKNOWN_ISSUER
    assert error.hostname is None


@pytest.mark.parametrize("switches", [ANY_NAME, NOTHING], ids=["any name", "nothing verified"])
@pytest.mark.parametrize("name", [(None,), ("192.0.2.1",)], ids=["none", "address"])
def test_where_names_are_not_checked_none_is_needed_and_none_is_sent(
    door: Door, lab: Any, switches: dict[str, bool], name: tuple[str | None, ...]
) -> None:
    pair = door.pair(door.client(switches), lab.server(), *name)
    pair.handshake()
    assert pair.server.info.server_name is None


def test_where_names_are_checked_one_is_needed(door: Door, lab: Any) -> None:
    client = door.client(VERIFY_ALL)
    with pytest.raises(ValueError, match="server_hostname"):
        door.pair(client, lab.server(), None)


def test_no_verification_takes_no_trust_store_from_the_system(
    door: Door, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at/all.pem")
    client = door.client(NOTHING, trust_store=None)
    door.pair(client, lab.server(self_signed(lab.host))).handshake()


def test_a_session_without_verification_is_not_resumed_with_it(door: Door, lab: Any) -> None:
    server = lab.server(STRANGER.issue(lab.host))
    pair = door.pair(door.client(NOTHING), server)
    pair.handshake()
    assert lab.drain(pair.client) == b""
    outcome = lab.settle(lab.pair(lab.client(), server))
    assert type(outcome.client) is CertificateVerificationError


# --- servers ---


@pytest.mark.parametrize("whose", ["stranger", "self-signed", "for servers alone"])
def test_a_server_without_verification_accepts_any_client_certificate(
    door: Door, lab: Any, version: TLSVersion, whose: str
) -> None:
    chain = {
        "stranger": lambda: STRANGER.issue("client.example"),
        "self-signed": lambda: self_signed("client.example"),
        "for servers alone": lambda: lab.ca.issue("client.example", client=False),
    }[whose]()
    server = door.server(NOTHING, client_authentication=ClientAuthentication.REQUIRED)
    pair = door.pair(lab.client(version=version, certificate_chain=chain), server)
    pair.handshake()
    assert pair.server.getpeercert() == chain.leaf[0].buffer


def test_a_certificate_that_is_required_must_come_even_if_it_is_not_verified(
    door: Door, lab: Any, version: TLSVersion
) -> None:
    server = door.server(NOTHING, client_authentication=ClientAuthentication.REQUIRED)
    outcome = lab.settle(door.pair(lab.client(version=version), server))
    assert type(outcome.server) is CertificateVerificationError
    assert outcome.server.reason is VerificationFailure.NO_CERTIFICATE
    server = door.server(NOTHING, client_authentication=ClientAuthentication.OPTIONAL)
    pair = door.pair(lab.client(version=version), server)
    pair.handshake()
    assert pair.server.getpeercert() is None


def test_a_server_with_its_switches_off_verifies_its_clients(
    door: Door, lab: Any, version: TLSVersion
) -> None:
    chain = STRANGER.issue("client.example")
    for switches in (VERIFY_ALL, ANY_NAME):
        server = door.server(switches, trust_store=lab.ca.trust_store())
        pair = door.pair(lab.client(version=version, certificate_chain=chain), server)
        outcome = lab.settle(pair)
        assert type(outcome.server) is CertificateVerificationError


@pytest.mark.parametrize("wrong", [None, {}, (True, True)])
def test_a_wrong_insecure_configuration_is_a_type_error(
    lab: Any, insecure_implementation: Any, wrong: Any, recwarn: pytest.WarningsRecorder
) -> None:
    made = insecure_implementation
    with pytest.raises(TypeError, match="insecure_configuration"):
        made.insecure_client_context(TLSClientConfiguration(), wrong)
    with pytest.raises(TypeError, match="insecure_configuration"):
        made.insecure_server_context(TLSServerConfiguration([lab.chain()]), wrong)
    with pytest.raises(TypeError, match="tls_configuration"):
        made.insecure_client_context(wrong, polytls.insecure.InsecureConfiguration())
