"""Certificates, keys and trust stores: sources, compared by value, that never show secrets."""

from __future__ import annotations

import array
import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytls import Certificate, PrivateKey, SigningChain, TrustStore
from polytls.identity import decrypt

Source = Certificate | PrivateKey | TrustStore
KINDS: list[type[Source]] = [Certificate, PrivateKey, TrustStore]
each_kind = pytest.mark.parametrize("kind", KINDS)

SECRET = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"

kinds = st.sampled_from(KINDS)
parameters = st.one_of(
    st.fixed_dictionaries({"buffer": st.binary()}),
    st.fixed_dictionaries({"path": st.text().filter(lambda text: "-----BEGIN" not in text)}),
    st.fixed_dictionaries({"id": st.binary()}),
)
certificates = st.builds(lambda given: Certificate(**given), parameters)
keys = st.builds(lambda given: PrivateKey(**given), parameters)
chains = st.builds(
    SigningChain, st.tuples(certificates, st.none() | keys), st.none() | st.lists(certificates)
)


@given(kind=kinds, given=parameters)
def test_sources_made_alike_are_equal_and_hash_equal(
    kind: type[Source], given: dict[str, Any]
) -> None:
    one, other = kind(**given), kind(**given)
    assert one == other
    assert hash(one) == hash(other)


@given(kind=kinds, given=parameters, other=parameters)
def test_sources_are_equal_only_if_their_parameters_are(
    kind: type[Source], given: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (kind(**given) == kind(**other)) is (given == other)


@given(value=st.one_of(certificates, keys, chains))
def test_copies_and_pickles_are_equal(value: object) -> None:
    for again in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert again == value
        assert hash(again) == hash(value)


def test_different_kinds_of_one_buffer_differ() -> None:
    made: list[Source] = [kind(b"abc") for kind in KINDS]
    assert len(set(made)) == 3
    assert made[0] != made[1]


@each_kind
def test_the_three_constructors_set_one_property_each(kind: type[Source], tmp_path: Path) -> None:
    made = [
        kind.from_buffer(b"abc"),
        kind.from_file(tmp_path / "x.pem"),
        kind.from_id(b"slot 3"),
    ]
    assert [(item.buffer, item.path, item.id) for item in made] == [
        (b"abc", None, None),
        (None, str(tmp_path / "x.pem"), None),
        (None, None, b"slot 3"),
    ]
    assert [item.source for item in made] == ["buffer", "file", "id"]
    assert made == [kind(b"abc"), kind(None, tmp_path / "x.pem"), kind(None, None, b"slot 3")]


def test_a_trust_store_of_nothing_is_the_systems() -> None:
    assert TrustStore() == TrustStore.system()
    assert TrustStore.system().source == "system"


@pytest.mark.parametrize("kind", [Certificate, PrivateKey])
def test_a_source_of_nothing_is_refused(kind: type[Certificate | PrivateKey]) -> None:
    with pytest.raises(ValueError, match=f"^{kind.__name__} cannot be empty"):
        kind()


@each_kind
@pytest.mark.parametrize("constructor", ["from_buffer", "from_file", "from_id"])
def test_none_is_no_source_for_a_named_constructor(kind: type[Source], constructor: str) -> None:
    with pytest.raises(TypeError, match="must not be None"):
        getattr(kind, constructor)(None)


@each_kind
@pytest.mark.parametrize(
    "given",
    [
        {"buffer": b"a", "path": "b"},
        {"buffer": b"", "id": b""},
        {"path": "b", "id": b"c"},
        {"buffer": b"a", "path": "b", "id": b"c"},
    ],
    ids=lambda given: "+".join(given),
)
def test_two_sources_at_once_are_refused(kind: type[Source], given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="takes one source, not both"):
        kind(**given)


@each_kind
@pytest.mark.parametrize("parameter", ["buffer", "id"])
@pytest.mark.parametrize(
    "given",
    [
        b"abc",
        bytearray(b"abc"),
        memoryview(b"abc"),
        memoryview(b"a-b-c")[::2],
        array.array("B", b"abc"),
    ],
    ids=["bytes", "bytearray", "memoryview", "strided", "array"],
)
def test_bytes_like_objects_are_copied_to_bytes(
    kind: type[Source], parameter: str, given: bytes
) -> None:
    arguments: dict[str, Any] = {parameter: given}
    value = getattr(kind(**arguments), parameter)
    assert type(value) is bytes
    assert value == b"abc"


def test_a_later_change_of_the_buffer_given_is_not_seen() -> None:
    buffer = bytearray(b"abc")
    certificate = Certificate.from_buffer(buffer)
    buffer[0] = 0
    assert certificate.buffer == b"abc"


@each_kind
@pytest.mark.parametrize(
    ("parameter", "wrong"),
    [
        ("buffer", "text"),
        ("buffer", 5),
        ("buffer", Path("x")),
        ("path", b"bytes"),
        ("path", bytearray(b"bytes")),
        ("path", 5),
        ("id", "text"),
        ("id", 5),
    ],
)
def test_a_wrong_type_is_a_type_error_that_names_the_parameter(
    kind: type[Source], parameter: str, wrong: object
) -> None:
    with pytest.raises(TypeError, match=f"^{parameter} must be .*{type(wrong).__name__}"):
        kind(**{parameter: wrong})  # type: ignore[arg-type]


@each_kind
def test_pem_in_place_of_a_path_is_refused_without_being_shown(kind: type[Source]) -> None:
    with pytest.raises(ValueError, match="use from_buffer") as caught:
        kind.from_file(SECRET.decode())
    assert "c2VjcmV0" not in str(caught.value)


@each_kind
def test_repr_shows_paths_but_no_bytes(kind: type[Source]) -> None:
    name = kind.__name__
    assert repr(kind.from_buffer(SECRET)) == f"{name}(buffer=<{len(SECRET)} bytes>)"
    assert repr(kind.from_id(b"pin=1234")) == f"{name}(id=<8 bytes>)"
    assert repr(kind.from_file("/etc/x.pem")) == f"{name}(path='/etc/x.pem')"


def test_repr_of_a_signing_chain_shows_no_bytes() -> None:
    chain = SigningChain(
        (Certificate.from_buffer(b"leaf"), PrivateKey.from_buffer(SECRET)),
        [Certificate.from_buffer(b"between")],
    )
    assert repr(chain) == (
        f"SigningChain(leaf=(Certificate(buffer=<4 bytes>), "
        f"PrivateKey(buffer=<{len(SECRET)} bytes>)), chain=<1>)"
    )


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Certificate(b"a"), "buffer"),
        (Certificate(b"a"), "_buffer"),
        (PrivateKey(b"a"), "path"),
        (TrustStore(), "id"),
        (TrustStore(), "unheard_of"),
        (SigningChain((Certificate(b"a"), None)), "leaf"),
        (SigningChain((Certificate(b"a"), None)), "_chain"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_nothing_can_be_set_or_deleted(value: object, name: str) -> None:
    with pytest.raises(AttributeError, match=r"cannot (assign to|delete) field"):
        setattr(value, name, None)
    with pytest.raises(AttributeError, match=r"cannot (assign to|delete) field"):
        delattr(value, name)


def test_a_signing_chain_keeps_tuples() -> None:
    leaf = (Certificate(b"leaf"), PrivateKey(b"key"))
    between = [Certificate(b"one"), Certificate(b"two")]
    chain = SigningChain(leaf, between)
    assert chain.leaf == leaf
    assert chain.chain == tuple(between)
    assert SigningChain(leaf).chain == ()
    assert SigningChain(leaf) == SigningChain(leaf, None) == SigningChain(leaf, [])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((Certificate(b"a"),), "leaf must"),
        (([Certificate(b"a"), None],), "leaf must"),
        (((Certificate(b"a"),),), "leaf must"),
        ((("a.pem", None),), r"leaf\[0\] must be Certificate, not str"),
        (((Certificate(b"a"), b"key"),), r"leaf\[1\] must be PrivateKey, not bytes"),
        (((PrivateKey(b"a"), None),), r"leaf\[0\] must be Certificate, not PrivateKey"),
        (((Certificate(b"a"), None), b"pem"), "chain must be a sequence of Certificate"),
        (((Certificate(b"a"), None), Certificate(b"b")), "chain must be a sequence"),
        (((Certificate(b"a"), None), {Certificate(b"b")}), "chain must be a sequence"),
        (((Certificate(b"a"), None), [Certificate(b"b"), None]), r"chain\[1\] must be Cert"),
    ],
)
def test_a_wrong_part_of_a_signing_chain_is_named(
    arguments: tuple[object, ...], named: str
) -> None:
    with pytest.raises(TypeError, match=f"^{named}"):
        SigningChain(*arguments)  # type: ignore[arg-type]


# --- encrypted keys ---


def _encrypted(password: bytes, *, pem: bool, old: bool = False) -> tuple[bytes, bytes]:
    """A key, encrypted, and as it is."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    encoding = serialization.Encoding.PEM if pem else serialization.Encoding.DER
    kind = serialization.PrivateFormat
    shape = kind.TraditionalOpenSSL if old else kind.PKCS8
    hidden = serialization.BestAvailableEncryption(password)
    plain = key.private_bytes(serialization.Encoding.DER, kind.PKCS8, serialization.NoEncryption())
    return key.private_bytes(encoding, shape, hidden), plain


@pytest.mark.parametrize(("pem", "old"), [(True, False), (False, False), (True, True)])
def test_an_encrypted_key_is_decrypted(pem: bool, old: bool) -> None:
    encrypted, plain = _encrypted(b"secret", pem=pem, old=old)
    assert decrypt(encrypted, "secret").buffer == plain
    assert decrypt(bytearray(encrypted), b"secret").buffer == plain


def test_what_cannot_be_decrypted_is_a_value_error() -> None:
    encrypted, plain = _encrypted(b"secret", pem=True)
    for data in (encrypted, b"", b"-----BEGIN ENCRYPTED PRIVATE KEY-----"):
        with pytest.raises(ValueError, match=r"^data: wrong password") as wrong:
            decrypt(data, "other")
        assert "secret" not in str(wrong.value)
    with pytest.raises(ValueError, match="not encrypted"):
        decrypt(plain, "secret")


def test_without_the_extra_decrypting_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(ImportError, match=r"pip install polytls\[encrypted-keys\]"):
        decrypt(b"", "secret")
