"""Whether a server's certificate is accepted, and what is said about one that is not."""

from __future__ import annotations

import copy
import pickle
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    AlertReceived,
    Certificate,
    CertificateVerificationError,
    ConfigurationError,
    PeerMisbehaved,
    PeerRejectedCertificate,
    SigningChain,
    TLSVersion,
    TrustStore,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import CertificateAuthority, self_signed
from polytls.testing.conformance.raw_peer import settle_with_another_signature
from polytls.testing.conformance.selection import needs

NOW = datetime.now(UTC)
LAST_YEAR = {"not_before": NOW - timedelta(days=366), "not_after": NOW - timedelta(days=1)}
NEXT_YEAR = {"not_before": NOW + timedelta(days=1), "not_after": NOW + timedelta(days=366)}


def trusting(*certificates: bytes) -> TrustStore:
    """A store of PEM sections, however many."""
    return TrustStore.from_buffer(b"".join(certificates))


def store_of(chain: SigningChain) -> TrustStore:
    """A store with the leaf alone, as DER."""
    return TrustStore.from_buffer(chain.leaf[0].buffer)


def refusal(lab: Any, chain: SigningChain, **client: Any) -> CertificateVerificationError:
    """The client's error, after checking that both sides were told what they should be."""
    pair = lab.pair(lab.client(**client), lab.server(chain))
    outcome = lab.settle(pair)
    error = outcome.client
    assert type(error) is CertificateVerificationError
    assert error.hostname == lab.host
    presented = (chain.leaf[0].buffer, *(each.buffer for each in chain.chain))
    assert error.chain == presented
    assert error.explain().startswith(f"{error.reason.value}: {error}\n")
    assert "\n" not in str(error)
    assert type(outcome.server) is PeerRejectedCertificate
    return error


# --- paths ---


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_intermediates_lead_from_the_leaf_to_the_root(
    lab: Any, version: TLSVersion, depth: int
) -> None:
    authority = lab.ca
    for _ in range(depth):
        authority = authority.intermediate()
    chain = authority.issue(lab.host)
    assert len(chain.chain) == depth
    pair = lab.connect(lab.client(version=version), lab.server(chain))
    expected = (chain.leaf[0].buffer, *(each.buffer for each in chain.chain))
    assert pair.client.info.peer_chain == expected
    assert pair.client.getpeercert() == expected[0]


def test_intermediates_may_come_in_any_order_with_others_between_them(lab: Any) -> None:
    chain = lab.ca.intermediate().intermediate().issue(lab.host)
    stray = CertificateAuthority().certificate
    mixed = SigningChain(chain.leaf, [stray, *reversed(chain.chain)])
    lab.connect(server=lab.server(mixed))


def test_a_missing_intermediate_leaves_the_issuer_unknown(lab: Any) -> None:
    chain = lab.ca.intermediate("The One In Between").issue(lab.host)
    error = refusal(lab, SigningChain(chain.leaf))
    assert error.reason is VerificationFailure.UNKNOWN_ISSUER
    assert "The One In Between" in str(error)


def test_an_unknown_authority_is_refused(lab: Any) -> None:
    error = refusal(lab, CertificateAuthority("Nobody's CA").issue(lab.host))
    assert error.reason is VerificationFailure.UNKNOWN_ISSUER
    assert "Nobody's CA" in str(error)


def test_an_authority_of_the_same_name_with_another_key_is_refused(lab: Any) -> None:
    # RFC 8446 6.2: bad_certificate where a signature in the chain is wrong.
    error = refusal(lab, CertificateAuthority().issue(lab.host))
    assert error.reason in (VerificationFailure.UNKNOWN_ISSUER, VerificationFailure.BAD_SIGNATURE)


def test_every_certificate_in_a_store_is_an_anchor(lab: Any) -> None:
    other = CertificateAuthority("other")
    intermediate = other.intermediate()
    chain = intermediate.issue(lab.host)
    for store in (
        trusting(lab.ca.certificate_pem, other.certificate_pem),
        trusting(other.certificate_pem, lab.ca.certificate_pem),
        TrustStore.from_buffer(other.certificate_der),
        trusting(intermediate.certificate_pem),
    ):
        lab.connect(lab.client(trust_store=store), lab.server(chain))
    lab.connect(
        lab.client(trust_store=trusting(intermediate.certificate_pem)),
        lab.server(SigningChain(chain.leaf)),
    )


# --- a leaf that is itself in the store ---


@pytest.mark.parametrize("authority", [False, True], ids=["leaf", "claims to be a CA"])
def test_a_self_signed_certificate_is_accepted_if_it_is_in_the_store(
    lab: Any, version: TLSVersion, authority: bool
) -> None:
    device = self_signed(lab.host, authority=authority)
    client = lab.client(version=version, trust_store=store_of(device))
    pair = lab.connect(client, lab.server(device))
    assert pair.client.getpeercert() == device.leaf[0].buffer


def test_an_issued_certificate_is_accepted_if_it_is_in_the_store(lab: Any) -> None:
    chain = CertificateAuthority("unknown").issue(lab.host)
    lab.connect(lab.client(trust_store=store_of(chain)), lab.server(chain))


@pytest.mark.parametrize("authority", [False, True], ids=["leaf", "claims to be a CA"])
def test_a_self_signed_certificate_that_is_not_in_the_store_is_refused(
    lab: Any, authority: bool
) -> None:
    device = self_signed(lab.host, authority=authority, common_name="device")
    other = self_signed(lab.host, authority=authority, common_name="other device")
    for store in (lab.ca.trust_store(), store_of(other)):
        error = refusal(lab, device, trust_store=store)
        assert error.reason in (
            VerificationFailure.UNKNOWN_ISSUER,
            VerificationFailure.INVALID_PURPOSE,
        )


@pytest.mark.parametrize("authority", [False, True], ids=["leaf", "claims to be a CA"])
@pytest.mark.parametrize(
    ("names", "validity", "reason"),
    [
        (("other.example",), {}, VerificationFailure.HOSTNAME_MISMATCH),
        ((), {}, VerificationFailure.HOSTNAME_MISMATCH),
        (("server.example",), LAST_YEAR, VerificationFailure.EXPIRED),
        (("server.example",), NEXT_YEAR, VerificationFailure.NOT_YET_VALID),
    ],
)
def test_a_certificate_in_the_store_must_still_be_valid_for_name_and_time(
    lab: Any,
    authority: bool,
    names: tuple[str, ...],
    validity: dict[str, Any],
    reason: VerificationFailure,
) -> None:
    device = self_signed(*names, authority=authority, common_name=lab.host, **validity)
    assert refusal(lab, device, trust_store=store_of(device)).reason is reason


# --- time ---


@pytest.mark.parametrize(
    ("validity", "reason", "told"),
    [
        (LAST_YEAR, VerificationFailure.EXPIRED, LAST_YEAR["not_after"]),
        (NEXT_YEAR, VerificationFailure.NOT_YET_VALID, NEXT_YEAR["not_before"]),
    ],
)
@pytest.mark.parametrize("whose", ["leaf", "intermediate"])
def test_a_certificate_outside_its_time_is_refused(
    lab: Any,
    whose: str,
    validity: dict[str, Any],
    reason: VerificationFailure,
    told: datetime,
) -> None:
    if whose == "leaf":
        chain = lab.ca.issue(lab.host, **validity)
    else:
        chain = lab.ca.intermediate(**validity).issue(lab.host)
    error = refusal(lab, chain)
    assert error.reason is reason
    assert told.strftime("%Y-%m-%d") in str(error)


# --- purpose and constraints ---


def test_a_certificate_for_clients_alone_is_no_servers(lab: Any) -> None:
    chain = lab.ca.issue(lab.host, server=False, client=True)
    assert refusal(lab, chain).reason is VerificationFailure.INVALID_PURPOSE


@pytest.mark.parametrize("client", [False, True])
def test_a_certificate_for_servers_or_anything_is_a_servers(lab: Any, client: bool) -> None:
    lab.connect(server=lab.server(lab.ca.issue(lab.host, server=True, client=client)))
    lab.connect(server=lab.server(lab.ca.issue(lab.host, server=False, client=False)))


def test_a_leaf_cannot_issue(lab: Any) -> None:
    between = lab.ca.issue("authority.example")
    impostor = CertificateAuthority("impostor")
    chain = impostor.issue(lab.host)
    error = refusal(lab, SigningChain(chain.leaf, [between.leaf[0]]))
    assert error.reason is VerificationFailure.UNKNOWN_ISSUER


@pytest.mark.parametrize("where", ["root", "intermediate"])
def test_an_authority_may_issue_within_its_name_constraints_alone(lab: Any, where: str) -> None:
    if where == "root":
        authority = root = CertificateAuthority("constrained", permitted=("example",))
        foreign = CertificateAuthority("constrained", permitted=("other.test",))
        foreign_root = foreign
    else:
        root = foreign_root = lab.ca
        authority = root.intermediate(permitted=("example",))
        foreign = root.intermediate(permitted=("other.test",))
    lab.connect(lab.client(trust_store=root.trust_store()), lab.server(authority.issue(lab.host)))
    error = refusal(lab, foreign.issue(lab.host), trust_store=foreign_root.trust_store())
    assert error.reason is VerificationFailure.NAME_CONSTRAINT_VIOLATION


def test_a_path_may_not_be_longer_than_an_authority_allows(lab: Any) -> None:
    last = lab.ca.intermediate("the last", path_length=0)
    lab.connect(server=lab.server(last.issue(lab.host)))
    error = refusal(lab, last.intermediate("one too many").issue(lab.host))
    assert error.reason is VerificationFailure.PATH_TOO_LONG


def test_a_handshake_that_the_certificates_key_has_not_signed_is_refused(lab: Any) -> None:
    only = {"version": TLSVersion.TLSv1_2}  # In TLS 1.3 nobody else can get at the signature.
    pair = lab.pair(lab.client(**only), lab.server(**only))
    outcome = settle_with_another_signature(lab, pair)
    error = outcome.client
    assert type(outcome.server) is AlertReceived
    assert outcome.server.alert is AlertDescription.decrypt_error
    # Its certificate is in order: it is whoever presents it that is not (RFC 8446 4.4.3).
    assert type(error) is PeerMisbehaved
    assert "the handshake signature does not match its certificate" in str(error)


# --- nothing goes out before verification ---


def test_neither_data_nor_a_client_certificate_goes_out_to_a_server_that_is_refused(
    lab: Any, version: TLSVersion
) -> None:
    mine = lab.chain("client.example")
    client = lab.client(
        version=version,
        certificate_chain=mine,
        trust_store=CertificateAuthority("another").trust_store(),
    )
    pair = lab.pair(client, lab.server(trust_store=lab.ca.trust_store()))
    sent = bytearray()
    for _ in range(6):
        for side in (pair.client, pair.server):
            with pytest.raises(
                (WantReadError, CertificateVerificationError, PeerRejectedCertificate)
            ):
                side.write(b"secret data")
        data = lab.outgoing(pair.client)
        sent += data
        if data:
            pair.server.process_incoming(data)
        pair.transfer()
    assert pair.server.getpeercert() is None
    # Alert records alone follow ClientHello and, in TLS 1.3, its empty change_cipher_spec.
    assert len(sent) < 2500
    assert b"secret data" not in sent
    assert mine.leaf[0].buffer not in sent


# --- the system's store ---

linux = pytest.mark.skipif(sys.platform != "linux", reason="SSL_CERT_FILE is for Linux")
system_trust = needs("system trust")


@linux
@system_trust
@pytest.mark.parametrize("store", [None, TrustStore.system()], ids=["None", "system"])
def test_the_systems_store_is_the_one_that_its_own_tools_read(
    lab: Any, store: TrustStore | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"# comment\n" + lab.ca.certificate_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    lab.connect(lab.client(trust_store=store))
    other = CertificateAuthority("another")
    bundle = tmp_path / "other.pem"
    bundle.write_bytes(other.certificate_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    refusal(lab, lab.chain(), trust_store=store)


@linux
@system_trust
def test_roots_of_the_system_that_cannot_be_read_are_passed_over(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = b"-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n"
    bundle = tmp_path / "odd.pem"
    bundle.write_bytes(odd + lab.ca.certificate_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    lab.connect(lab.client(trust_store=None))


@linux
@system_trust
def test_a_system_without_roots_is_refused_with_advice(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(ConfigurationError, match="ca-certificates") as caught:
        lab.client(trust_store=None)
    assert caught.value.field == "trust_store"


@linux
@system_trust
def test_a_variable_that_is_empty_is_as_if_it_were_not_set(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome() -> str:
        try:
            lab.client(trust_store=None)
        except ConfigurationError as error:
            return str(error)
        return "the system's default store"

    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    unset = outcome()
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "")
        assert outcome() == unset
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(lab.ca.certificate_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    lab.connect(lab.client(trust_store=None))


@linux
@system_trust
@pytest.mark.parametrize("wrong", ["absent", "a folder", "empty", "garbage"])
def test_a_variable_that_names_no_bundle_is_named_with_the_file(
    lab: Any, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundle.pem"
    if wrong == "a folder":
        path.mkdir()
    elif wrong != "absent":
        path.write_bytes(b"" if wrong == "empty" else b"garbage" * 100)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE") as caught:
        lab.client(trust_store=None)
    assert str(path) in str(caught.value)
    assert caught.value.field == "trust_store"


@linux
@system_trust
def test_a_variable_that_names_no_folder_is_named_with_it(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "absent"
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(path))
    with pytest.raises(ConfigurationError, match="SSL_CERT_DIR") as caught:
        lab.client(trust_store=None)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_context_cannot_be_copied_and_says_what_to_do_instead(
    lab: Any, side: str, act: Any
) -> None:
    context = getattr(lab, side)()
    with pytest.raises(TypeError, match="configuration, which can be pickled"):
        act(context)
    assert pickle.loads(pickle.dumps(context.configuration)) == context.configuration


def test_a_store_is_read_once_when_the_context_is_made(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(lab.ca.certificate_pem)
    client = lab.client(trust_store=TrustStore.from_file(path))
    path.unlink()
    for _ in range(2):
        lab.connect(client)


def test_a_certificate_made_from_a_file_serves_after_the_file_is_gone(
    lab: Any, tmp_path: Path
) -> None:
    path = tmp_path / "leaf.der"
    chain = lab.chain()
    path.write_bytes(chain.leaf[0].buffer)
    server = lab.server(SigningChain((Certificate.from_file(path), chain.leaf[1])))
    path.unlink()
    lab.connect(server=server)
