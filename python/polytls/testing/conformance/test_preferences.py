"""Preferences of handshakes: signature schemes, and the names of CAs that the peer is sent."""

from __future__ import annotations

from typing import Any

import pytest

from polytls import (
    AlertReceived,
    Certificate,
    ConfigurationError,
    PeerIncompatible,
    SignatureScheme,
    TLSError,
    TLSVersion,
    TrustStore,
)
from polytls.testing import CertificateAuthority, KeyType
from polytls.testing.conformance.selection import needs

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
S = SignatureScheme
PSS = [S.rsa_pss_rsae_sha256, S.rsa_pss_rsae_sha384, S.rsa_pss_rsae_sha512]

each_side = pytest.mark.parametrize("side", ["client", "server"])


# --- signature schemes ---


@pytest.mark.parametrize("wanted", [*PSS, S.rsa_pkcs1_sha384], ids=lambda one: one.name)
@each_side
@needs("signature schemes")
def test_a_server_signs_by_a_scheme_that_either_side_asked_for(
    lab: Any, version: TLSVersion, side: str, wanted: SignatureScheme
) -> None:
    if wanted not in PSS and version is V13:
        with pytest.raises(ConfigurationError, match=r"PKCS#1") as refused:
            getattr(lab, side)(version=version, signature_schemes=[wanted])
        assert refused.value.field == "signature_schemes"
        return
    given = {side: {"signature_schemes": [wanted]}}
    client = lab.client(version=version, **given.get("client", {}))
    chain = lab.chain(key_type=KeyType.RSA_2048)
    server = lab.server(chain, version=version, **given.get("server", {}))
    pair = lab.connect(client, server)
    assert pair.client.info.server_signature_scheme is wanted
    assert pair.send(pair.server, b"data") == b"data"


@pytest.mark.parametrize("wanted", PSS, ids=lambda one: one.name)
@each_side
@needs("signature schemes", "client authentication")
def test_a_client_signs_by_a_scheme_that_either_side_asked_for(
    lab: Any, version: TLSVersion, side: str, wanted: SignatureScheme
) -> None:
    # The other side signs as well, with the same kind of key.
    chain = lab.chain(key_type=KeyType.RSA_2048)
    own = lab.chain("client.example", key_type=KeyType.RSA_2048)
    given = {side: {"signature_schemes": [wanted]}}
    client = lab.client(version=version, certificate_chain=own, **given.get("client", {}))
    server = lab.server(chain, trust_store=lab.ca.trust_store(), **given.get("server", {}))
    pair = lab.connect(client, server)
    assert pair.server.info.client_signature_scheme is wanted
    assert pair.client.info.server_signature_scheme is wanted


@pytest.mark.parametrize("order", [PSS, PSS[::-1]], ids=["upwards", "downwards"])
@needs("signature schemes")
def test_the_signers_order_decides(
    lab: Any, version: TLSVersion, order: list[SignatureScheme]
) -> None:
    client = lab.client(version=version, signature_schemes=PSS)
    server = lab.server(lab.chain(key_type=KeyType.RSA_2048), signature_schemes=order)
    pair = lab.connect(client, server)
    assert pair.client.info.server_signature_scheme is order[0]


@needs("signature schemes")
def test_the_chain_is_chosen_by_what_the_client_accepts(lab: Any, version: TLSVersion) -> None:
    server = lab.server(lab.chain(), lab.chain(key_type=KeyType.RSA_2048))
    for wanted in (S.ecdsa_secp256r1_sha256, S.rsa_pss_rsae_sha256):
        pair = lab.connect(lab.client(version=version, signature_schemes=[wanted]), server)
        assert pair.client.info.server_signature_scheme is wanted


@needs("signature schemes")
def test_without_a_common_scheme_both_sides_learn_why(lab: Any, version: TLSVersion) -> None:
    client = lab.client(version=version, signature_schemes=[S.ecdsa_secp384r1_sha384])
    outcome = lab.settle(lab.pair(client, lab.server(lab.chain(key_type=KeyType.RSA_2048))))
    assert type(outcome.server) is PeerIncompatible
    assert type(outcome.client) is AlertReceived


@needs("signature schemes")
def test_schemes_unknown_to_the_library_narrow_the_list(lab: Any, version: TLSVersion) -> None:
    client = lab.client(version=version, signature_schemes=[0xFE00, S.ecdsa_secp256r1_sha256])
    pair = lab.connect(client, lab.server())
    assert pair.client.info.server_signature_scheme is S.ecdsa_secp256r1_sha256


@pytest.mark.parametrize("schemes", [[], [0xFE00]], ids=["empty", "unknown"])
@each_side
@needs("signature schemes")
def test_a_list_that_leaves_nothing_is_refused(lab: Any, side: str, schemes: list[int]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        getattr(lab, side)(signature_schemes=schemes)
    assert refused.value.field == "signature_schemes"


@each_side
@needs("signature schemes", "client authentication")
def test_a_key_that_signs_with_none_of_them_is_refused(lab: Any, side: str) -> None:
    chain = {"certificate_chain": lab.chain("client.example")} if side == "client" else {}
    with pytest.raises(ConfigurationError, match="key") as refused:
        getattr(lab, side)(signature_schemes=[S.ed25519], **chain)
    assert refused.value.field == "signature_schemes"


@each_side
@needs("no signature schemes")
def test_schemes_that_cannot_be_chosen_are_refused(lab: Any, side: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        getattr(lab, side)(signature_schemes=[S.ecdsa_secp256r1_sha256])
    assert refused.value.field == "signature_schemes"


# --- the names of CAs ---


@pytest.fixture(scope="module")
def others() -> tuple[CertificateAuthority, CertificateAuthority]:
    """Two CAs that both sides trust."""
    return CertificateAuthority("one"), CertificateAuthority("two")


def both(others: tuple[CertificateAuthority, CertificateAuthority]) -> TrustStore:
    return TrustStore.from_buffer(b"".join(one.certificate_pem for one in others))


def issued_by(info: Any, authority: CertificateAuthority) -> bool:
    """Whether the peer presented a chain of this CA."""
    path = info.verified_chain
    return bool(path[-1] == authority.certificate_der)


@pytest.mark.parametrize("index", [0, 1])
@needs("CA names", "choice among chains")
def test_a_server_sends_the_names_that_were_chosen(
    lab: Any, version: TLSVersion, others: Any, index: int
) -> None:
    """The client has a chain of either, and presents the one that is named."""
    one, two = (authority.issue("client.example") for authority in others)
    client = lab.client(version=version, certificate_chain=one, alternative_chains=[two])
    server = lab.server(
        trust_store=both(others), certificate_authorities=[others[index].certificate]
    )
    pair = lab.connect(client, server)
    assert issued_by(pair.server.info, others[index])


@needs("CA names", "choice among chains")
def test_a_server_may_send_no_names(lab: Any, version: TLSVersion, others: Any) -> None:
    """A client then takes its first chain; otherwise it would take the one that is trusted."""
    one, two = (authority.issue("client.example") for authority in others)
    client = lab.client(version=version, certificate_chain=one, alternative_chains=[two])
    store = others[1].trust_store()
    pair = lab.connect(client, lab.server(trust_store=store))
    assert issued_by(pair.server.info, others[1])
    nameless = lab.server(trust_store=store, certificate_authorities=[])
    with pytest.raises(TLSError):
        lab.connect(client, nameless)


@pytest.mark.parametrize("index", [0, 1])
@needs("CA names", "selection by name")
def test_a_server_prefers_a_chain_from_a_ca_that_the_client_names(
    lab: Any, others: Any, index: int
) -> None:
    """RFC 8446 4.2.4, in TLS 1.3 only."""
    server = lab.server(*(authority.issue(lab.host) for authority in others))
    store = both(others)
    named = [others[index].certificate]
    client = lab.client(version=V13, trust_store=store, certificate_authorities=named)
    assert issued_by(lab.connect(client, server).client.info, others[index])
    without = lab.client(version=V13, trust_store=store)
    assert issued_by(lab.connect(without, server).client.info, others[0])


@needs("CA names", "selection by name")
def test_the_names_are_a_hint_and_the_name_of_the_server_comes_first(lab: Any, others: Any) -> None:
    server = lab.server(others[0].issue(lab.host), others[1].issue("other.example"))
    for named in ([others[1].certificate], [lab.ca.certificate]):
        client = lab.client(version=V13, trust_store=both(others), certificate_authorities=named)
        assert issued_by(lab.connect(client, server).client.info, others[0])


@each_side
@needs("CA names")
def test_what_is_no_certificate_is_refused(lab: Any, side: str) -> None:
    with pytest.raises(ConfigurationError, match="certificate") as refused:
        getattr(lab, side)(
            trust_store=lab.ca.trust_store(),
            certificate_authorities=[Certificate.from_buffer(b"none")],
        )
    assert refused.value.field == "certificate_authorities"


@pytest.mark.parametrize(("side", "given"), [("server", {}), ("client", {"version": V12})])
@needs("CA names")
def test_names_that_would_not_be_sent_are_refused(lab: Any, side: str, given: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        getattr(lab, side)(certificate_authorities=[lab.ca.certificate], **given)
    assert refused.value.field == "certificate_authorities"


@each_side
@needs("no CA names")
def test_names_that_cannot_be_chosen_are_refused(lab: Any, side: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        getattr(lab, side)(certificate_authorities=[lab.ca.certificate])
    assert refused.value.field == "certificate_authorities"
