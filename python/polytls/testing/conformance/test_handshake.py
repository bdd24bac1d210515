"""What a handshake agrees on: version, cipher suite, group, protocol, and the facts about it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import polytls
from polytls import (
    AlertDescription,
    AlertReceived,
    CipherSuite,
    ConfigurationError,
    NamedGroup,
    NextProtocol,
    PeerIncompatible,
    TicketKeys,
    TLSVersion,
    WantReadError,
)
from polytls.testing import KeyType
from polytls.testing.conformance.selection import needs

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
MINIMUM, MAXIMUM = TLSVersion.MINIMUM_SUPPORTED, TLSVersion.MAXIMUM_SUPPORTED


def serves(suite: CipherSuite) -> TLSVersion:
    return V13 if suite >> 8 == 0x13 else V12


def among_tls_1_3(*values: Any) -> Any:
    """A case that chooses among the suites of TLS 1.3, as not every library can."""
    return pytest.param(*values, marks=needs("exact ciphers"))


each_suite = pytest.mark.parametrize(
    "suite",
    [among_tls_1_3(suite) if serves(suite) is V13 else suite for suite in CipherSuite],
    ids=lambda suite: suite.name,
)


def key_type_for(suite: CipherSuite) -> KeyType:
    return KeyType.RSA_2048 if "_RSA_" in suite.name else KeyType.ECDSA_P256


# --- versions ---


@pytest.mark.parametrize(
    ("client", "server", "expected"),
    [
        ((None, None), (None, None), V13),
        ((MINIMUM, MAXIMUM), (MINIMUM, MAXIMUM), V13),
        ((V12, V13), (V12, V13), V13),
        ((None, V12), (None, None), V12),
        ((None, None), (None, V12), V12),
        ((V12, V12), (V12, V12), V12),
        ((V13, None), (None, None), V13),
        ((None, None), (MAXIMUM, None), V13),
        ((V13, V13), (V13, V13), V13),
    ],
)
@needs("all versions")
def test_the_highest_version_that_both_allow_is_used(
    lab: Any, client: Any, server: Any, expected: TLSVersion
) -> None:
    names = ("lowest_supported_version", "highest_supported_version")
    pair = lab.connect(
        lab.client(**dict(zip(names, client, strict=True))),
        lab.server(**dict(zip(names, server, strict=True))),
    )
    for side in (pair.client, pair.server):
        assert side.negotiated_tls_version is expected
        assert side.info.version is expected


@pytest.mark.parametrize(("client", "server"), [(V12, V13), (V13, V12)])
@needs("all versions")
def test_without_a_common_version_both_sides_learn_why(
    lab: Any, client: TLSVersion, server: TLSVersion
) -> None:
    outcome = lab.settle(lab.pair(lab.client(version=client), lab.server(version=server)))
    assert type(outcome.server) is PeerIncompatible
    assert type(outcome.client) is AlertReceived
    assert outcome.client.alert is AlertDescription.protocol_version


# --- cipher suites ---


@each_suite
@pytest.mark.parametrize("written_as", [CipherSuite, int], ids=["name", "number"])
def test_a_suite_asked_for_is_used_or_refused(
    lab: Any, suite: CipherSuite, written_as: type[int]
) -> None:
    asked = {"ciphers": [written_as(suite)]}
    if suite not in lab.implementation.capabilities.cipher_suites:
        for context in (lab.client, lab.server):
            with pytest.raises(ConfigurationError) as caught:
                context(**asked)
            assert caught.value.field == "ciphers"
        return
    chain = lab.chain(key_type=key_type_for(suite))
    client, server = lab.client(**asked), lab.server(chain, **asked)
    for context in (client, server):
        assert context.effective_ciphers == (suite,)
        assert type(context.effective_ciphers[0]) is CipherSuite
    pairs = [(client, server)]
    # Either side alone can choose it, if it is of those that the other takes by itself.
    if suite in lab.client().effective_ciphers:
        pairs += [(client, lab.server(chain)), (lab.client(), server)]
    for one, other in pairs:
        pair = lab.connect(one, other)
        for side in (pair.client, pair.server):
            assert side.cipher() is suite
            assert side.info.cipher is suite
            assert side.negotiated_tls_version is serves(suite)


AES_128, AES_256 = CipherSuite.TLS_AES_128_GCM_SHA256, CipherSuite.TLS_AES_256_GCM_SHA384
ECDSA_128 = CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
ECDSA_256 = CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384


@pytest.mark.parametrize(
    ("client", "server", "expected"),
    [
        among_tls_1_3([AES_128, AES_256], [AES_256, AES_128], AES_256),
        among_tls_1_3([AES_256, AES_128], [AES_128, AES_256], AES_128),
        ([ECDSA_128, ECDSA_256], [ECDSA_256, ECDSA_128], ECDSA_256),
        ([ECDSA_256, ECDSA_128], [ECDSA_128, ECDSA_256], ECDSA_128),
    ],
)
def test_the_servers_order_of_suites_decides_where_it_gave_one(
    lab: Any, client: list[CipherSuite], server: list[CipherSuite], expected: CipherSuite
) -> None:
    pair = lab.connect(lab.client(ciphers=client), lab.server(ciphers=server))
    assert pair.client.cipher() is pair.server.cipher() is expected


@pytest.mark.parametrize(
    ("asked", "effective"),
    [
        ([ECDSA_128, 0x00FF], (ECDSA_128,)),
        ([ECDSA_256, 0xFEFE, 0xC02B, ECDSA_256], (ECDSA_256, ECDSA_128)),
        among_tls_1_3([0xFEFE, 0x1301, 0xC02B], (AES_128, ECDSA_128)),
        among_tls_1_3([ECDSA_128, AES_256, AES_128], (ECDSA_128, AES_256, AES_128)),
        among_tls_1_3([AES_128, AES_128], (AES_128,)),
    ],
)
def test_suites_unknown_to_the_library_narrow_the_list(
    lab: Any, asked: list[int], effective: tuple[CipherSuite, ...]
) -> None:
    assert lab.client(ciphers=asked).effective_ciphers == effective
    assert lab.server(ciphers=asked).effective_ciphers == effective


def test_suites_left_out_are_the_librarys_own_choice(lab: Any) -> None:
    effective = lab.client().effective_ciphers
    assert effective
    assert set(effective) <= set(lab.implementation.capabilities.cipher_suites)
    assert {serves(suite) for suite in effective} == {V12, V13}


def test_suites_that_the_versions_rule_out_are_not_effective(lab: Any, version: TLSVersion) -> None:
    for context in (lab.client(version=version), lab.server(version=version)):
        assert {serves(suite) for suite in context.effective_ciphers} == {version}


def test_a_list_of_tls_1_2_suites_alone_caps_the_version(lab: Any) -> None:
    pair = lab.connect(lab.client(ciphers=[ECDSA_128, ECDSA_256]))
    assert pair.client.negotiated_tls_version is V12


@pytest.mark.parametrize(
    ("client", "server"),
    [among_tls_1_3([AES_128], [AES_256]), ([ECDSA_128], [ECDSA_256])],
)
def test_without_a_common_suite_both_sides_learn_why(
    lab: Any, client: list[CipherSuite], server: list[CipherSuite]
) -> None:
    outcome = lab.settle(lab.pair(lab.client(ciphers=client), lab.server(ciphers=server)))
    assert type(outcome.server) is PeerIncompatible
    assert type(outcome.client) is AlertReceived
    assert outcome.client.alert is AlertDescription.handshake_failure


# --- groups ---


def any_groups_chain(lab: Any) -> Any:
    """A chain that goes with every group: in TLS 1.2 they are also the curves of ECDSA keys.

    RFC 8422 5.1.1. Not every library keeps to it.
    """
    return lab.chain(key_type=KeyType.RSA_2048)


@pytest.mark.parametrize("group", list(NamedGroup), ids=lambda group: group.name)
def test_a_group_asked_for_is_used_or_refused(lab: Any, group: NamedGroup) -> None:
    if group not in lab.implementation.capabilities.groups:
        with pytest.raises(ConfigurationError) as caught:
            lab.client(groups=[group])
        assert caught.value.field == "groups"
        return
    pair = lab.connect(lab.client(groups=[group.name]), lab.server(groups=[int(group)]))
    assert pair.client.info.group is pair.server.info.group is group


@needs("groups")
def test_either_side_alone_can_choose_one_of_the_librarys_own_groups(lab: Any) -> None:
    own = lab.client().effective_groups
    assert len(own) > 1
    for group in own:
        for client, server in (({"groups": [group]}, {}), ({}, {"groups": [group]})):
            pair = lab.connect(lab.client(**client), lab.server(**server))
            assert pair.client.info.group is pair.server.info.group is group


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("x25519", NamedGroup.x25519),
        ("P-256", NamedGroup.secp256r1),
        ("secp384r1", NamedGroup.secp384r1),
    ],
)
@needs("groups")
def test_a_classical_group_works_in_every_version(
    lab: Any, version: TLSVersion, name: str, group: NamedGroup
) -> None:
    pair = lab.connect(
        lab.client(version=version, groups=[name]), lab.server(any_groups_chain(lab))
    )
    assert pair.client.info.group is pair.server.info.group is group


@needs("x25519")
def test_the_server_may_ask_for_another_group_than_the_client_began_with(lab: Any) -> None:
    client = lab.client(groups=["x25519", "secp256r1"], version=V13)
    pair = lab.connect(client, lab.server(groups=["secp256r1"]))
    assert pair.client.info.group is NamedGroup.secp256r1


@needs("groups")
@pytest.mark.parametrize(
    "groups",
    [
        pytest.param(["secp384r1"], id="asks"),
        pytest.param(["x25519"], id="does not ask", marks=needs("x25519")),
    ],
)
def test_info_tells_whether_the_server_asked_for_another_client_hello(
    lab: Any, groups: list[str]
) -> None:
    """HelloRetryRequest (RFC 8446 4.1.4)."""
    # No library sends a key share for this group by itself.
    asks = groups == ["secp384r1"]
    client = lab.client(version=V13)
    server = lab.server(groups=groups)
    pair = lab.pair(client, server)
    assert pair.client.info.hello_retry_request is pair.server.info.hello_retry_request is None
    pair.handshake()
    assert pair.client.info.hello_retry_request is pair.server.info.hello_retry_request is asks


@needs("groups", "ticket keys")
def test_info_tells_of_a_hello_retry_request_where_a_session_is_resumed(lab: Any) -> None:
    keys = TicketKeys.from_secret(bytes(32))
    client = lab.client(groups=["x25519", "secp256r1"], version=V13)
    for group, again in (("x25519", False), ("secp256r1", True)):
        pair = lab.connect(client, lab.server(groups=[group], ticket_keys=keys))
        assert lab.drain(pair.client) == b""
        for side in (pair.client, pair.server):
            assert side.info.resumed is side.info.hello_retry_request is again


@needs("x25519")
def test_groups_unknown_to_the_library_narrow_the_list(lab: Any) -> None:
    others = [group for group in NamedGroup if group not in lab.implementation.capabilities.groups]
    client = lab.client(groups=[0xFE00, "x25519", *others])
    assert client.effective_groups == (NamedGroup.x25519,)
    assert type(client.effective_groups[0]) is NamedGroup


@pytest.mark.parametrize(
    "group", [group for group in NamedGroup if "MLKEM" in group.name], ids=lambda group: group.name
)
@needs("groups", "all versions")
def test_groups_of_tls_1_3_leave_no_other_version(lab: Any, group: NamedGroup) -> None:
    for make in (lab.client, lab.server):
        with pytest.raises(ConfigurationError) as caught:
            make(version=V12, groups=[group])
        assert caught.value.field == "groups"
    if group not in lab.implementation.capabilities.groups:
        return
    for client, server in (
        (lab.client(groups=[group]), lab.server(version=V12)),
        (lab.client(version=V12), lab.server(groups=[group])),
    ):
        outcome = lab.settle(lab.pair(client, server))
        assert type(outcome.server) is PeerIncompatible
        assert type(outcome.client) is AlertReceived
        assert outcome.client.alert is AlertDescription.protocol_version


@needs("x25519")
def test_without_a_common_group_both_sides_learn_why(lab: Any, version: TLSVersion) -> None:
    client, server = lab.client(groups=["x25519"], version=version), lab.server(groups=["P-256"])
    outcome = lab.settle(lab.pair(client, server))
    assert type(outcome.server) is PeerIncompatible
    assert type(outcome.client) is AlertReceived
    assert outcome.client.alert is AlertDescription.handshake_failure


# --- application protocols ---

H2, HTTP1 = NextProtocol.H2, NextProtocol.HTTP1


@pytest.mark.parametrize(
    ("client", "server", "expected"),
    [
        ([H2], [H2], H2),
        ([b"h2"], [H2], H2),
        ([b"imap"], [b"imap"], b"imap"),
        ([b"\x00\xff"], [b"\x00\xff"], b"\x00\xff"),
        ([b"x" * 255], [b"x" * 255], b"x" * 255),
        ([H2, HTTP1], [HTTP1], HTTP1),
        ([HTTP1], [H2, HTTP1], HTTP1),
        ([HTTP1, H2], [H2, HTTP1], H2),
        ([], [H2], None),
        ([H2], [], None),
        ([], [], None),
    ],
)
def test_the_servers_preferred_common_protocol_is_agreed_on(
    lab: Any, version: TLSVersion, client: list[Any], server: list[Any], expected: Any
) -> None:
    pair = lab.connect(
        lab.client(inner_protocols=client, version=version), lab.server(inner_protocols=server)
    )
    for side in (pair.client, pair.server):
        assert side.negotiated_protocol() == side.info.alpn == expected
        assert type(side.negotiated_protocol()) is type(expected)


def test_without_a_common_protocol_the_handshake_fails(lab: Any, version: TLSVersion) -> None:
    client = lab.client(inner_protocols=[b"imap", HTTP1], version=version)
    outcome = lab.settle(lab.pair(client, lab.server(inner_protocols=[H2])))
    assert type(outcome.server) is PeerIncompatible
    assert type(outcome.client) is AlertReceived
    assert outcome.client.alert is AlertDescription.no_application_protocol


# --- keys ---


@pytest.mark.parametrize("key_type", list(KeyType), ids=lambda kind: kind.value)
def test_every_kind_of_key_works_in_every_version(
    lab: Any, version: TLSVersion, key_type: KeyType
) -> None:
    server, client = lab.chain(key_type=key_type), lab.chain("client", key_type=key_type)
    pair = lab.connect(
        lab.client(version=version, certificate_chain=client),
        lab.server(server, trust_store=lab.ca.trust_store()),
    )
    assert pair.client.getpeercert() == server.leaf[0].buffer
    assert pair.server.getpeercert() == client.leaf[0].buffer


# --- facts ---


def test_info_tells_all_that_was_agreed_on(lab: Any, version: TLSVersion) -> None:
    chain = any_groups_chain(lab)
    client = lab.client(version=version, inner_protocols=[H2], groups=["x25519"])
    pair = lab.connect(client, lab.server(chain, inner_protocols=[H2]))
    for side in (pair.client, pair.server):
        info = side.info
        assert type(info) is polytls.ConnectionInfo
        assert info.implementation == lab.implementation.name
        assert info.version is side.negotiated_tls_version is version
        assert info.cipher is side.cipher()
        assert type(info.cipher) is CipherSuite
        assert info.group is NamedGroup.x25519
        assert info.alpn is H2
        assert info.server_name == lab.host
        assert info.resumed is False
    assert pair.client.info.peer_chain == (chain.leaf[0].buffer,)
    assert pair.server.info.peer_chain is None
    assert type(pair.client.getpeercert()) is bytes
    assert pair.server.getpeercert() is None


def test_nothing_is_told_before_the_handshake_is_done(lab: Any, version: TLSVersion) -> None:
    pair = lab.pair(lab.client(version=version), lab.server(inner_protocols=[H2]))
    for _ in range(2):  # Untouched, then with ClientHello on its way.
        for side in (pair.client, pair.server):
            assert side.getpeercert() is None
            assert side.cipher() is None
            assert side.negotiated_protocol() is None
            assert side.negotiated_tls_version is None
            facts = dataclasses.asdict(side.info)
            assert facts.pop("implementation") == lab.implementation.name
            assert set(facts.values()) == {None}
        with pytest.raises(WantReadError):
            pair.client.do_handshake()
        pair.transfer()


def test_nothing_is_told_after_a_handshake_that_failed(lab: Any) -> None:
    pair = lab.pair(name="other.example")
    outcome = lab.settle(pair)
    assert isinstance(outcome.client, polytls.CertificateVerificationError)
    for side in (pair.client, pair.server):
        assert side.info.cipher is side.info.version is side.info.peer_chain is None


def test_a_snapshot_of_info_never_changes(lab: Any) -> None:
    pair = lab.pair()
    before = pair.client.info
    pair.handshake()
    assert before.version is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.version = V13
