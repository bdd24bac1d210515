"""What `check` refuses, with which field and words, and what valid configurations come to."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytls import (
    Capabilities,
    Certificate,
    CipherSuite,
    ClientAuthentication,
    ConfigurationError,
    NamedGroup,
    NextProtocol,
    PrivateKey,
    RevocationList,
    SessionCache,
    SigningChain,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TLSVersion,
    TrustStore,
)
from polytls.capabilities import check

Configuration = TLSClientConfiguration | TLSServerConfiguration

HYBRID = NamedGroup.X25519MLKEM768
V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
LOWEST, HIGHEST = TLSVersion.MINIMUM_SUPPORTED, TLSVersion.MAXIMUM_SUPPORTED

SUITE_13 = CipherSuite.TLS_AES_256_GCM_SHA384
SUITE_12 = CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
#: Suites that the library below does not have, of either version.
ABSENT_13 = CipherSuite.TLS_AES_128_CCM_SHA256
ABSENT_12 = 0xC02D

LIBRARY = Capabilities(
    trust_sources=frozenset({"system", "buffer", "file"}),
    certificate_sources=frozenset({"buffer", "file"}),
    key_sources=frozenset({"buffer", "file"}),
    versions=(V12, V13),
    cipher_suites=(SUITE_13, CipherSuite.TLS_AES_128_GCM_SHA256, SUITE_12, 0xC030),
    cipher_choice="exact",
    groups=(NamedGroup.X25519MLKEM768, NamedGroup.x25519, NamedGroup.secp256r1),
    client_authentication=True,
    sni_selection=True,
    resumption=True,
)

LEAF = Certificate(b"leaf"), PrivateKey(b"key")
CHAIN = SigningChain(LEAF)
STORE = TrustStore.from_buffer(b"root")


def library(**changes: Any) -> Capabilities:
    return LIBRARY.replace(**changes)


def client(**given: Any) -> TLSClientConfiguration:
    return TLSClientConfiguration(**given)


def server(**given: Any) -> TLSServerConfiguration:
    return TLSServerConfiguration(**{"certificate_chain": [CHAIN], **given})


each_side = pytest.mark.parametrize("side", [client, server])


@pytest.mark.parametrize(
    ("given", "changes", "field", "words"),
    [
        # Versions.
        (
            {"lowest_supported_version": V13, "highest_supported_version": V12},
            {},
            "lowest_supported_version",
            "TLSv1.3 is above highest_supported_version, TLSv1.2",
        ),
        (
            {"lowest_supported_version": HIGHEST, "highest_supported_version": V12},
            {},
            "lowest_supported_version",
            "MAXIMUM_SUPPORTED is above",
        ),
        (
            {"highest_supported_version": LOWEST},
            {},
            "highest_supported_version",
            "MINIMUM_SUPPORTED is not allowed here",
        ),
        (
            {"lowest_supported_version": V13},
            {"versions": (V12,)},
            "lowest_supported_version",
            "supported are TLSv1.2",
        ),
        (
            {"highest_supported_version": V12},
            {"versions": (V13,)},
            "highest_supported_version",
            "supported are TLSv1.3",
        ),
        # Ciphers.
        ({"ciphers": []}, {}, "ciphers", "the list is empty"),
        ({"ciphers": [SUITE_13, -1]}, {}, "ciphers", "-1 is not a 16-bit number"),
        ({"ciphers": [SUITE_13, 65536]}, {}, "ciphers", "65536 is not a 16-bit number"),
        (
            {"ciphers": [ABSENT_13, ABSENT_12]},
            {},
            "ciphers",
            "none of these cipher suites is supported; supported are TLS_",
        ),
        (
            {"ciphers": [SUITE_12], "lowest_supported_version": V13},
            {},
            "ciphers",
            "none of these cipher suites is for TLSv1.3",
        ),
        (
            {"ciphers": [SUITE_13, ABSENT_12], "highest_supported_version": V12},
            {},
            "ciphers",
            "none of these cipher suites is for TLSv1.2",
        ),
        (
            {"ciphers": [SUITE_13]},
            {"cipher_choice": "system"},
            "ciphers",
            "the operating system chooses",
        ),
        # Groups.
        ({"groups": []}, {}, "groups", "the list is empty"),
        ({"groups": [-1]}, {}, "groups", "-1 is not a 16-bit number"),
        ({"groups": ["x25519", 65536]}, {}, "groups", "65536 is not a 16-bit number"),
        (
            {"groups": ["x448", 0xFE00]},
            {},
            "groups",
            "supported are X25519MLKEM768, x25519 and secp256r1",
        ),
        ({"groups": ["x25519"]}, {"groups": ()}, "groups", "does not support choosing"),
        (
            {"groups": [HYBRID], "highest_supported_version": V12},
            {},
            "groups",
            "for TLS 1.3 only",
        ),
        ({"groups": [HYBRID], "ciphers": [SUITE_12]}, {}, "groups", "for TLS 1.3 only"),
        # ALPN.
        ({"inner_protocols": [b"h2", b""]}, {}, "inner_protocols", "1 to 255 bytes, not 0"),
        ({"inner_protocols": [b"x" * 256]}, {}, "inner_protocols", "1 to 255 bytes, not 256"),
        (
            {"inner_protocols": [b"x" * 255] * 256},
            {},
            "inner_protocols",
            "65538 bytes in total",
        ),
        # Sessions.
        ({"sessions": SessionCache(0)}, {}, "sessions", "sessions=None to turn"),
        ({"sessions": SessionCache(-1)}, {}, "sessions", "not -1"),
        ({"sessions": SessionCache(10**9)}, {}, "sessions", "must be 1 to 1000000"),
        # Trust.
        ({"trust_store": TrustStore.from_buffer(b"")}, {}, "trust_store", "is empty"),
        ({"trust_store": TrustStore.from_file("")}, {}, "trust_store", "is empty"),
        (
            {"trust_store": TrustStore.from_id(b"x")},
            {},
            "trust_store",
            "cannot come from an id, only from a buffer, a file or the system",
        ),
        (
            {"trust_store": STORE},
            {"trust_sources": frozenset({"system"})},
            "trust_store",
            "cannot come from a buffer, only from the system",
        ),
        (
            {"trust_store": TrustStore.system()},
            {"trust_sources": frozenset({"file"})},
            "trust_store",
            "cannot come from the system",
        ),
    ],
)
@each_side
def test_what_either_side_is_refused(
    side: Any, given: dict[str, Any], changes: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(side(**given), library(**changes), "shelf")
    assert caught.value.field == field
    assert caught.value.implementation == "shelf"
    assert str(caught.value).startswith(f"shelf: {field}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("configuration", "changes", "field", "words"),
    [
        (server(certificate_chain=None), {}, "certificate_chain", "at least one SigningChain"),
        (server(certificate_chain=[]), {}, "certificate_chain", "at least one SigningChain"),
        (
            server(certificate_chain=[CHAIN, CHAIN]),
            {"sni_selection": False},
            "certificate_chain",
            "certificate selection by SNI",
        ),
        (
            server(client_authentication=ClientAuthentication.REQUIRED),
            {},
            "trust_store",
            "client_authentication is REQUIRED",
        ),
        (
            server(client_authentication=ClientAuthentication.OPTIONAL),
            {},
            "trust_store",
            "client_authentication is OPTIONAL",
        ),
        (
            server(trust_store=STORE),
            {"client_authentication": False},
            "client_authentication",
            "does not support client authentication",
        ),
        (
            client(certificate_chain=CHAIN),
            {"client_authentication": False},
            "certificate_chain",
            "does not support client authentication",
        ),
        (
            client(),
            {"trust_sources": frozenset({"buffer"})},
            "trust_store",
            "does not support the system's trust",
        ),
    ],
)
def test_what_one_side_alone_is_refused(
    configuration: Configuration, changes: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(configuration, library(**changes), "shelf")
    assert caught.value.field == field
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        (
            SigningChain((Certificate(b""), None)),
            "a certificate comes from a buffer, which is empty",
        ),
        (SigningChain((Certificate(path=""), None)), "a certificate comes from a file, which is"),
        (SigningChain((Certificate(id=b"1"), None)), "a certificate cannot come from an id"),
        (
            SigningChain(LEAF, [Certificate(b"")]),
            "a certificate comes from a buffer, which is empty",
        ),
        (SigningChain(LEAF, [Certificate(id=b"1")]), "a certificate cannot come from an id"),
        (SigningChain((LEAF[0], PrivateKey(b""))), "a private key comes from a buffer, which is"),
        (SigningChain((LEAF[0], PrivateKey(id=b"1"))), "a private key cannot come from an id"),
    ],
)
@pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
def test_a_signing_chain_that_cannot_be_used_is_refused(
    chain: SigningChain, words: str, server_side: bool
) -> None:
    configuration: Configuration = client(certificate_chain=chain)
    if server_side:
        configuration = server(certificate_chain=[CHAIN, chain])
    with pytest.raises(ConfigurationError, match=words) as caught:
        check(configuration, LIBRARY, "shelf")
    assert caught.value.field == "certificate_chain"


@pytest.mark.parametrize("wrong", [None, {}, TLSClientConfiguration, LIBRARY])
def test_what_is_no_configuration_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^configuration must be TLSClientConfiguration or"):
        check(wrong, LIBRARY, "shelf")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"lowest_supported_version": LOWEST, "highest_supported_version": HIGHEST},
        {"lowest_supported_version": HIGHEST, "highest_supported_version": V13},
        {"ciphers": [ABSENT_13, SUITE_12]},
        {"groups": ["x448", "P-256"]},
        {"inner_protocols": [NextProtocol.H2, b"x", b"y" * 255]},
        {"inner_protocols": [b"x" * 255] * 255 + [b"y" * 252]},
        {"sessions": None},
        {"sessions": SessionCache(1_000_000)},
        {"trust_store": TrustStore.system()},
        {"trust_store": STORE},
        {"trust_store": TrustStore.from_file("/nowhere/at/all.pem")},
    ],
)
@each_side
def test_what_can_be_honoured_passes(side: Any, given: dict[str, Any]) -> None:
    configuration = side(**given)
    before = configuration.replace()
    check(configuration, LIBRARY, "shelf")
    assert configuration == before


def test_no_file_is_opened(tmp_path: Path) -> None:
    absent = tmp_path / "absent.pem"
    chain = SigningChain((Certificate(path=absent), PrivateKey(path=absent)))
    check(server(certificate_chain=[chain], trust_store=TrustStore(path=absent)), LIBRARY, "shelf")
    assert not absent.exists()


def test_a_key_left_out_is_for_the_context_to_find() -> None:
    chain = SigningChain((Certificate(b"\x30\x82 DER, without a key"), None))
    configuration = server(certificate_chain=[chain])
    check(configuration, LIBRARY, "shelf")
    assert configuration.certificate_chain == (chain,)


def test_without_verification_no_trust_is_demanded() -> None:
    untrusting = library(trust_sources=frozenset({"buffer"}))
    for configuration in (
        client(),
        server(client_authentication=ClientAuthentication.REQUIRED),
    ):
        check(configuration, untrusting, "shelf", verification=False)
        with pytest.raises(ConfigurationError, match="trust_store"):
            check(configuration, untrusting, "shelf")


@pytest.mark.parametrize(
    ("given", "changes", "expected"),
    [
        ({}, {}, (V12, V13)),
        ({"lowest_supported_version": LOWEST}, {}, (V12, V13)),
        ({"lowest_supported_version": V13}, {}, (V13,)),
        ({"lowest_supported_version": HIGHEST}, {}, (V13,)),
        ({"lowest_supported_version": HIGHEST}, {"versions": (V12,)}, (V12,)),
        ({"highest_supported_version": V12}, {}, (V12,)),
        ({"highest_supported_version": HIGHEST}, {}, (V12, V13)),
        ({"highest_supported_version": V13}, {"versions": (V12,)}, (V12,)),
        ({"ciphers": [SUITE_12]}, {}, (V12,)),
        ({"ciphers": [SUITE_13]}, {}, (V13,)),
        ({"ciphers": [SUITE_12, ABSENT_13]}, {}, (V12,)),
        ({"ciphers": [SUITE_12, SUITE_13]}, {}, (V12, V13)),
        ({"ciphers": [0x00C6]}, {"cipher_suites": (0x00C6,)}, (V13,)),
        ({}, {"cipher_suites": (), "cipher_choice": "system"}, (V12, V13)),
        ({"groups": [HYBRID]}, {"groups": (HYBRID,)}, (V13,)),
        ({"groups": [HYBRID, "x25519"]}, {"groups": (HYBRID, 29)}, (V12, V13)),
        ({"groups": [HYBRID, "x25519"]}, {"groups": (HYBRID,)}, (V13,)),
        ({"groups": [0xFE00]}, {"groups": (0xFE00,)}, (V12, V13)),
        ({}, {"groups": (HYBRID,)}, (V12, V13)),
    ],
)
def test_the_versions_that_are_left(
    given: dict[str, Any], changes: dict[str, Any], expected: tuple[TLSVersion, ...]
) -> None:
    assert check(client(**given), library(**changes), "shelf").versions == expected


@pytest.mark.parametrize(
    ("ciphers", "expected"),
    [
        (None, LIBRARY.cipher_suites),
        ([SUITE_12, SUITE_13], (SUITE_12, SUITE_13)),
        ([0xC030, ABSENT_13, SUITE_13, 0xC030], (0xC030, SUITE_13)),
    ],
)
def test_the_ciphers_that_are_left_keep_the_order_asked_for(
    ciphers: list[int] | None, expected: tuple[int, ...]
) -> None:
    left = check(client(ciphers=ciphers), LIBRARY, "shelf").ciphers
    assert left == expected
    assert all(isinstance(suite, CipherSuite) for suite in left)


@pytest.mark.parametrize(
    "store",
    [
        TrustStore.pinned(spki_sha256=[bytes(32)]),
        TrustStore.from_buffer(b"roots", crls=[RevocationList.from_buffer(b"list")]),
        TrustStore.from_buffer(b"roots", peers=[Certificate.from_buffer(b"leaf")]),
    ],
    ids=["pins", "crls", "peers"],
)
def test_what_narrows_trust_is_not_ignored_where_verification_is_switched_off(
    store: TrustStore,
) -> None:
    sources = LIBRARY.trust_sources | {"pins"}
    capable = library(trust_sources=sources, crl=True, peers=True)
    for configuration in (client(trust_store=store), server(trust_store=store)):
        check(configuration, capable, "shelf")
        with pytest.raises(ConfigurationError, match="verification is turned off") as refused:
            check(configuration, capable, "shelf", verification=False)
        assert refused.value.field == "trust_store"


def test_a_staple_is_not_required_in_vain() -> None:
    required = client(require_staple=True)
    capable = library(staple_verification=True)
    check(required, capable, "shelf")
    for library_, verification, why in (
        (library(), True, "does not report stapled OCSP responses"),
        (capable, False, "verification is turned off"),
    ):
        with pytest.raises(ConfigurationError, match=why) as refused:
            check(required, library_, "shelf", verification=verification)
        assert refused.value.field == "require_staple"


def test_a_suite_without_a_name_stays_a_number() -> None:
    capabilities = library(cipher_suites=(ABSENT_12,))
    left = check(client(ciphers=[ABSENT_12]), capabilities, "shelf").ciphers
    assert [type(suite) for suite in left] == [int]


def test_suites_and_groups_of_no_version_in_range_are_left_out() -> None:
    left = check(client(highest_supported_version=V12), LIBRARY, "shelf")
    assert left.versions == (V12,)
    assert left.ciphers == (SUITE_12, 0xC030)
    assert left.groups == (NamedGroup.x25519, NamedGroup.secp256r1)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (None, LIBRARY.groups),
        (["P-256", "x448", "x25519"], (NamedGroup.secp256r1, NamedGroup.x25519)),
    ],
)
def test_the_groups_that_are_left_keep_the_order_asked_for(
    groups: list[str] | None, expected: tuple[int, ...]
) -> None:
    assert check(client(groups=groups), LIBRARY, "shelf").groups == expected


@pytest.mark.parametrize(
    ("asked", "store", "expected"),
    [
        (None, None, ClientAuthentication.NONE),
        (None, STORE, ClientAuthentication.REQUIRED),
        (ClientAuthentication.NONE, STORE, ClientAuthentication.NONE),
        (ClientAuthentication.OPTIONAL, STORE, ClientAuthentication.OPTIONAL),
        (ClientAuthentication.REQUIRED, None, ClientAuthentication.REQUIRED),
    ],
)
def test_clients_are_asked_for_a_certificate_by_default_if_there_is_a_trust_store(
    asked: ClientAuthentication | None, store: TrustStore | None, expected: ClientAuthentication
) -> None:
    configuration = server(client_authentication=asked, trust_store=store)
    # Without verification there is nothing to demand a store for.
    left = check(configuration, LIBRARY, "shelf", verification=False)
    assert left.client_authentication is expected


numbers = st.integers(-1, 70000) | st.sampled_from(LIBRARY.cipher_suites)


@given(
    ciphers=st.none() | st.lists(numbers, max_size=4),
    lowest=st.none() | st.sampled_from(TLSVersion),
    highest=st.none() | st.sampled_from(TLSVersion),
    versions=st.sampled_from([(V12,), (V13,), (V12, V13)]),
)
def test_what_passes_leaves_a_version_and_a_suite_and_what_leaves_none_is_refused(
    ciphers: list[int] | None,
    lowest: TLSVersion | None,
    highest: TLSVersion | None,
    versions: tuple[TLSVersion, ...],
) -> None:
    configuration = TLSClientConfiguration(None, ciphers, None, lowest, highest)
    try:
        left = check(configuration, library(versions=versions), "shelf")
    except ConfigurationError:
        # What passes with these versions and suites is in the tables above.
        assert ciphers is not None or lowest is not None or highest is not None
    else:
        assert left.versions
        assert set(left.versions) <= set(versions)
        served = {V13 if suite >> 8 == 0x13 else V12 for suite in left.ciphers}
        assert served == set(left.versions)


def test_a_record_with_a_source_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^trust_sources: unknown source: path$"):
        library(trust_sources=frozenset({"path", "file"}))
    with pytest.raises(ValueError, match=r"^channel_bindings: unknown binding: tls-unique$"):
        library(channel_bindings=frozenset({"tls-unique"}))
    with pytest.raises(ValueError, match=r"^key_sources: unknown source: system$"):
        library(key_sources=frozenset({"system"}))
    with pytest.raises(ValueError, match=r"^cipher_choice: unknown choice: any; known are exact,"):
        library(cipher_choice="any")
    with pytest.raises(ValueError, match=r"^versions: give versions; MINIMUM_SUPPORTED"):
        library(versions=(LOWEST,))


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("trust_sources", 1),
        ("trust_sources", frozenset({1})),
        ("versions", ("TLSv1.2",)),
        ("cipher_suites", (65536,)),
        ("groups", ("x25519",)),
        ("cipher_choice", None),
        ("resumption", "yes"),
    ],
)
def test_a_record_of_a_wrong_type_is_refused_by_name(field: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{field} must be "):
        library(**{field: wrong})


def test_a_record_has_no_other_fields_and_lacks_none() -> None:
    with pytest.raises(TypeError, match="nothing_of_the_kind"):
        library(nothing_of_the_kind=True)
    with pytest.raises(TypeError, match="trust_sources"):
        Capabilities()  # type: ignore[call-arg]


def test_a_record_is_frozen_and_compared_by_value() -> None:
    assert library() == LIBRARY
    assert hash(library()) == hash(LIBRARY)
    assert library(resumption=False) != LIBRARY
    with pytest.raises(AttributeError):
        LIBRARY.resumption = False  # type: ignore[misc]
    later = (
        "exporter",
        "key_log",
        "crl",
        "staple_verification",
        "early_data",
        "ech",
        "clock",
        "certificate_compression",
        "max_fragment",
        "ech_keys",
        "signature_schemes",
        "certificate_authorities",
        "events",
    )
    assert not any(getattr(LIBRARY, name) for name in later)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_a_record_can_be_copied_and_pickled(again: Any) -> None:
    record = library(exporter=True, channel_bindings=frozenset({"tls-exporter"}))
    assert again(record) == record


def test_a_record_shows_its_fields() -> None:
    shown = repr(LIBRARY)
    assert shown.startswith("Capabilities(trust_sources=frozenset({")
    assert "versions=(<TLSVersion.TLSv1_2" in shown
    assert shown.endswith("ech_keys=False)")


def test_grease_of_encrypted_client_hello_needs_it_and_tls13_alone() -> None:
    only = client(ech="grease", lowest_supported_version=V13)
    assert check(only, library(ech=True), "x").versions == (V13,)
    for wanted, can in ((only, False), (client(ech="grease"), True)):
        with pytest.raises(ConfigurationError, match="Encrypted ClientHello") as refused:
            check(wanted, library(ech=can), "x")
        assert refused.value.field == "ech"
