"""The configurations: data in one form, immutable, compared by value."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytls import (
    Certificate,
    CipherSuite,
    ClientAuthentication,
    ConfigurationError,
    NamedGroup,
    NextProtocol,
    PrivateKey,
    SessionCache,
    SigningChain,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TLSVersion,
    TrustStore,
)

Configuration = TLSClientConfiguration | TLSServerConfiguration
KINDS: list[type[Configuration]] = [TLSClientConfiguration, TLSServerConfiguration]
each_kind = pytest.mark.parametrize("kind", KINDS)

CHAIN = SigningChain((Certificate(b"leaf"), PrivateKey(b"very secret")))

shared = st.fixed_dictionaries(
    {},
    optional={
        "ciphers": st.lists(st.sampled_from(CipherSuite) | st.integers(0, 65535)),
        "inner_protocols": st.lists(st.sampled_from(NextProtocol) | st.binary()),
        "lowest_supported_version": st.none() | st.sampled_from(TLSVersion),
        "highest_supported_version": st.none() | st.sampled_from(TLSVersion),
        "trust_store": st.none()
        | st.just(TrustStore.system())
        | st.builds(TrustStore, st.binary()),
        "sessions": st.none() | st.builds(SessionCache, st.integers(1, 1000)),
        "groups": st.lists(st.sampled_from(NamedGroup) | st.integers(0, 65535)),
        "key_log": st.none() | st.just("keys.log") | st.just(print),
    },
)
configurations = st.one_of(
    st.builds(
        lambda given, chain: TLSClientConfiguration(chain, **given),
        shared,
        st.none() | st.just(CHAIN),
    ),
    st.builds(
        lambda given, chain, asked: TLSServerConfiguration(
            chain, client_authentication=asked, **given
        ),
        shared,
        st.none() | st.lists(st.just(CHAIN)),
        st.none() | st.sampled_from(ClientAuthentication),
    ),
)


@given(configuration=configurations)
def test_copies_and_pickles_are_equal_and_hash_equal(configuration: Configuration) -> None:
    for again in (
        copy.copy(configuration),
        copy.deepcopy(configuration),
        pickle.loads(pickle.dumps(configuration)),
        configuration.replace(),
    ):
        assert type(again) is type(configuration)
        assert again == configuration
        assert hash(again) == hash(configuration)


@given(one=configurations, other=configurations)
def test_equal_configurations_hash_equal_and_only_those_are_one_key(
    one: Configuration, other: Configuration
) -> None:
    assert len({one, other}) == (1 if one == other else 2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"inner_protocols": [NextProtocol.H2]}, {"inner_protocols": (b"h2",)}),
        ({"inner_protocols": [b"http/1.1"]}, {"inner_protocols": [bytearray(b"http/1.1")]}),
        ({"inner_protocols": None}, {"inner_protocols": []}),
        ({"ciphers": [CipherSuite.TLS_AES_128_GCM_SHA256]}, {"ciphers": (0x1301,)}),
        ({"groups": [NamedGroup.x25519]}, {"groups": ["X25519"]}),
        ({"groups": [29]}, {"groups": ("x25519",)}),
        ({"groups": ["P-256", "P-384", "p-521"]}, {"groups": [23, 24, 25]}),
        ({"groups": ["prime256v1"]}, {"groups": ["secp256r1"]}),
        ({"groups": ["x25519mlkem768"]}, {"groups": [NamedGroup.X25519MLKEM768]}),
        ({"sessions": SessionCache()}, {}),
        ({"sessions": SessionCache(256)}, {}),
        ({"trust_store": TrustStore()}, {"trust_store": TrustStore.system()}),
    ],
)
@each_kind
def test_two_ways_to_write_one_wish_are_equal(
    kind: type[Configuration], one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert kind(**one) == kind(**other)
    assert hash(kind(**one)) == hash(kind(**other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"ciphers": []}, {"ciphers": None}),
        ({"groups": []}, {"groups": None}),
        ({"sessions": None}, {}),
        ({"sessions": SessionCache(1)}, {}),
        ({"ciphers": [0x1301, 0x1302]}, {"ciphers": [0x1302, 0x1301]}),
        ({"inner_protocols": [b"h2"]}, {"inner_protocols": [b"H2"]}),
        ({"trust_store": None}, {"trust_store": TrustStore.system()}),
        ({"lowest_supported_version": TLSVersion.TLSv1_2}, {}),
        (
            {"lowest_supported_version": TLSVersion.TLSv1_3},
            {"highest_supported_version": TLSVersion.TLSv1_3},
        ),
    ],
)
@each_kind
def test_different_wishes_are_unequal(
    kind: type[Configuration], one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert kind(**one) != kind(**other)


def test_a_clients_configuration_never_equals_a_servers() -> None:
    assert TLSClientConfiguration() != TLSServerConfiguration()
    assert len({TLSClientConfiguration(), TLSServerConfiguration()}) == 2


def test_client_authentication_is_part_of_a_servers_identity() -> None:
    asked = [None, *ClientAuthentication]
    assert len({TLSServerConfiguration(client_authentication=each) for each in asked}) == 4


@each_kind
def test_values_are_kept_as_tuples_of_known_members(kind: type[Configuration]) -> None:
    configuration = kind(
        ciphers=[0x1301, 0x00FF],
        inner_protocols=[b"h2", memoryview(b"imap")],  # type: ignore[list-item]
        groups=["x25519", 0x001D, 0xFE00],
    )
    assert configuration.ciphers == (CipherSuite.TLS_AES_128_GCM_SHA256, 0x00FF)
    assert [type(suite) for suite in configuration.ciphers] == [CipherSuite, int]
    assert configuration.inner_protocols == (NextProtocol.H2, b"imap")
    assert configuration.groups == (NamedGroup.x25519, NamedGroup.x25519, 0xFE00)
    assert [type(group) for group in configuration.groups] == [NamedGroup, NamedGroup, int]


@each_kind
def test_everything_left_out_is_the_documented_default(kind: type[Configuration]) -> None:
    configuration = kind()
    assert configuration.certificate_chain is None
    assert configuration.ciphers is None
    assert configuration.inner_protocols == ()
    assert configuration.lowest_supported_version is None
    assert configuration.highest_supported_version is None
    assert configuration.trust_store is None
    assert configuration.sessions == SessionCache(capacity=256)
    assert configuration.groups is None


def test_a_server_keeps_its_chains_as_a_tuple() -> None:
    assert TLSServerConfiguration([CHAIN]).certificate_chain == (CHAIN,)
    assert TLSClientConfiguration(CHAIN).certificate_chain is CHAIN


@each_kind
@pytest.mark.parametrize(
    ("parameter", "wrong", "named"),
    [
        ("certificate_chain", Certificate(b"a"), "certificate_chain must"),
        ("certificate_chain", b"pem", "certificate_chain must"),
        ("ciphers", "ECDHE+AESGCM", "ciphers must be a sequence of CipherSuite or int, not str"),
        ("ciphers", b"\x13\x01", "ciphers must be a sequence"),
        ("ciphers", 0x1301, "ciphers must be a sequence"),
        ("ciphers", {0x1301}, "ciphers must be a sequence"),
        ("ciphers", iter([0x1301]), "ciphers must be a sequence"),
        ("ciphers", [0x1301, "TLS_AES_128_GCM_SHA256"], r"ciphers\[1\] must be CipherSuite or int"),
        ("ciphers", [True], r"ciphers\[0\] must be .*, not bool"),
        ("ciphers", [4865.0], r"ciphers\[0\] must be .*, not float"),
        ("inner_protocols", "h2", "inner_protocols must be a sequence"),
        ("inner_protocols", b"h2", "inner_protocols must be a sequence"),
        ("inner_protocols", NextProtocol.H2, "inner_protocols must be a sequence"),
        ("inner_protocols", [b"h2", "http/1.1"], r"inner_protocols\[1\] must be .*, not str"),
        ("inner_protocols", [2], r"inner_protocols\[0\] must be .*, not int"),
        ("lowest_supported_version", "TLSv1.2", "lowest_supported_version must be TLSVersion"),
        ("highest_supported_version", 0x0304, "highest_supported_version must be TLSVersion"),
        ("trust_store", "/etc/ssl/cert.pem", "trust_store must be TrustStore, not str"),
        ("trust_store", Certificate(b"a"), "trust_store must be TrustStore"),
        ("sessions", 256, "sessions must be SessionCache, not int"),
        ("sessions", False, "sessions must be SessionCache, not bool"),
        ("groups", "x25519", "groups must be a sequence of NamedGroup, str or int, not str"),
        ("groups", [b"x25519"], r"groups\[0\] must be .*, not bytes"),
        ("groups", [None], r"groups\[0\] must be .*, not NoneType"),
        ("clock", 1, "clock must be Clock, not int"),
        ("max_fragment", "512", "max_fragment must be int, not str"),
        ("max_fragment", 512.0, "max_fragment must be int, not float"),
        ("on_event", 1, "on_event must be callable, not int"),
        (
            "signature_schemes",
            ["ed25519"],
            r"signature_schemes\[0\] must be SignatureScheme or int, not str",
        ),
        (
            "certificate_authorities",
            [b"name"],
            r"certificate_authorities\[0\] must be Certificate, not bytes",
        ),
        ("key_log", 1, "key_log must be str or os.PathLike, not int"),
        ("key_log", b"keys.log", "key_log must be str or os.PathLike, not bytes"),
    ],
)
def test_a_wrong_type_is_a_type_error_that_names_the_parameter(
    kind: type[Configuration], parameter: str, wrong: object, named: str
) -> None:
    with pytest.raises(TypeError, match=f"^{named}"):
        kind(**{parameter: wrong})  # type: ignore[arg-type]


def test_each_side_refuses_the_other_sides_certificate_chain() -> None:
    with pytest.raises(TypeError, match=r"^certificate_chain must be SigningChain, not list"):
        TLSClientConfiguration([CHAIN])  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"^certificate_chain must be a sequence .*a list of chains"
    ):
        TLSServerConfiguration(CHAIN)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^certificate_chain\[1\] must be SigningChain"):
        TLSServerConfiguration([CHAIN, Certificate(b"a")])  # type: ignore[list-item]


def test_client_authentication_is_the_servers_alone() -> None:
    with pytest.raises(TypeError, match="client_authentication"):
        TLSClientConfiguration(client_authentication=ClientAuthentication.NONE)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^client_authentication must be ClientAuthentication"):
        TLSServerConfiguration(client_authentication=True)  # type: ignore[arg-type]


@each_kind
def test_the_name_of_an_unknown_group_is_a_configuration_error(kind: type[Configuration]) -> None:
    with pytest.raises(ConfigurationError, match=r"'curve25519'.*X25519MLKEM768") as caught:
        kind(groups=["x25519", "curve25519"])
    assert caught.value.field == "groups"


@each_kind
def test_what_polytls_adds_is_keyword_only(kind: type[Configuration]) -> None:
    with pytest.raises(TypeError, match="7 arguments are given by position"):
        kind(None, None, None, None, None, None, SessionCache())  # type: ignore[call-arg]


@each_kind
def test_a_configuration_cannot_be_changed(kind: type[Configuration]) -> None:
    configuration = kind()
    for name in ("ciphers", "_ciphers", "certificate_chain", "unheard_of"):
        with pytest.raises(AttributeError, match=r"cannot (assign to|delete) field"):
            setattr(configuration, name, None)
    with pytest.raises(AttributeError, match=r"cannot (assign to|delete) field"):
        del configuration._ciphers
    assert configuration == kind()


@each_kind
def test_replace_changes_what_is_named_and_nothing_else(kind: type[Configuration]) -> None:
    before = kind(ciphers=[0x1301], groups=["x25519"])
    after = before.replace(ciphers=[0x1302], sessions=None)
    assert after == kind(ciphers=[0x1302], groups=["x25519"], sessions=None)
    assert before == kind(ciphers=[0x1301], groups=["x25519"])


@each_kind
def test_replace_refuses_what_the_constructor_refuses(kind: type[Configuration]) -> None:
    with pytest.raises(TypeError, match="cipher_list"):
        kind().replace(cipher_list=[])
    with pytest.raises(TypeError, match=r"^ciphers must be"):
        kind().replace(ciphers=5)


if sys.version_info >= (3, 13):

    def test_copy_replace_works_too() -> None:
        changed = copy.replace(TLSClientConfiguration(), sessions=None)
        assert changed == TLSClientConfiguration(sessions=None)


def test_repr_shows_what_was_asked_for_without_secrets() -> None:
    configuration = TLSServerConfiguration(
        [CHAIN],
        list(CipherSuite),
        [NextProtocol.H2, b"imap"],
        TLSVersion.TLSv1_2,
        sessions=None,
        groups=["x25519", 0xFE00],
    )
    assert repr(TLSClientConfiguration()) == "TLSClientConfiguration()"
    assert repr(configuration) == (
        "TLSServerConfiguration(certificate_chain=[SigningChain("
        "leaf=(Certificate(buffer=<4 bytes>), PrivateKey(buffer=<11 bytes>)))], "
        "ciphers=[TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, "
        "TLS_AES_128_CCM_SHA256, and 11 more], inner_protocols=[H2, b'imap'], "
        "lowest_supported_version=TLSv1_2, sessions=None, groups=[x25519, 65024])"
    )


@pytest.mark.parametrize("wrong", ["256", 1.5, None, True])
def test_a_capacity_is_an_integer(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"^capacity must be int"):
        SessionCache(wrong)  # type: ignore[arg-type]


def test_grease_of_encrypted_client_hello_is_the_clients_alone() -> None:
    assert TLSClientConfiguration(ech="grease").ech == "grease"
    assert TLSClientConfiguration().ech is None
    with pytest.raises(TypeError, match=r'^ech must be "grease", not int'):
        TLSClientConfiguration(ech=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not bytes \(pass a list of configurations to connect"):
        TLSClientConfiguration(ech=b"list")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="'GREASE'") as refused:
        TLSClientConfiguration(ech="GREASE")  # type: ignore[arg-type]
    assert refused.value.field == "ech"
    with pytest.raises(TypeError, match="ech"):
        TLSServerConfiguration(ech="grease")  # type: ignore[call-arg]
