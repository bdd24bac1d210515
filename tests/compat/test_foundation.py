"""The state of contexts in the place of OpenSSL's, held to the C class by the same calls."""

from __future__ import annotations

import _ssl
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytls.compat import foundation
from polytls.compat.foundation import ciphers
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

OURS: Any = foundation._SSLContext
THEIRS: Any = _ssl._SSLContext  # type: ignore[attr-defined]
PROTOCOLS = (2, 3, 4, 5, 16, 17)
PROPERTIES = (
    "protocol",
    "options",
    "verify_mode",
    "verify_flags",
    "check_hostname",
    "minimum_version",
    "maximum_version",
    "post_handshake_auth",
    "num_tickets",
    "sni_callback",
    "_msg_callback",
    "_host_flags",
    "keylog_filename",
)
#: What only says what is there: `HAS_*`, and what the library calls itself.
OF_THE_LIBRARY = ("HAS_", "OPENSSL_VERSION", "_OPENSSL_API_VERSION")
#: Tables of OpenSSL's errors, which `ssl` does not use.
TABLES = {"err_codes_to_names", "err_names_to_codes", "lib_codes_to_names"}


def said(call: Callable[[], Any]) -> tuple[Any, ...]:
    """What comes of a call: what it gives or raises, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome: tuple[Any, ...] = ("gave", call())
        except Exception as error:
            text = str(error).partition(" (_ssl.c")[0].partition(" (polytls)")[0]
            reason = getattr(error, "library", None), getattr(error, "reason", None)
            outcome = (type(error).__name__, getattr(error, "errno", None), text, reason)
    return *outcome, [(w.category, str(w.message)) for w in caught]


def both(call: Callable[[Any], Any], *subjects: Any) -> list[tuple[Any, ...]]:
    """What comes of a call on each."""
    return [said(partial(call, subject)) for subject in subjects]


def state(context: Any) -> dict[str, Any]:
    return {name: getattr(context, name) for name in PROPERTIES}


def pair(protocol: int) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OURS(protocol), THEIRS(protocol)


WEIRD = st.sampled_from(
    [None, 1.5, "x", b"x", True, False, [], -1, 0, 1, 2, 3, 4, 1 << 40, 1 << 70]
)
CALLBACKS = st.sampled_from([None, 3, len])
OPTIONS = st.sets(st.integers(0, 63)).map(lambda bits: sum(1 << bit for bit in bits))
VERSIONS = st.sampled_from([-3, -2, -1, 0, 0x300, 0x301, 0x302, 0x303, 0x304, 0x305])
SETTINGS = st.one_of(
    st.tuples(st.just("options"), OPTIONS | WEIRD),
    st.tuples(st.just("verify_flags"), OPTIONS | WEIRD),
    st.tuples(st.just("_host_flags"), OPTIONS | WEIRD),
    st.tuples(st.sampled_from(["minimum_version", "maximum_version"]), VERSIONS | WEIRD),
    st.tuples(st.sampled_from(["verify_mode", "num_tickets"]), WEIRD),
    st.tuples(st.sampled_from(["check_hostname", "post_handshake_auth"]), WEIRD),
    st.tuples(st.sampled_from(["sni_callback", "_msg_callback"]), CALLBACKS),
    st.tuples(st.sampled_from(["protocol", "keylog_filename"]), st.sampled_from([1, 1.5])),
)


def change(name: str, value: Any, context: Any) -> None:
    setattr(context, name, value)


def is_alike(name: str, ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> bool:
    if name == "protocol":
        # Python says otherwise of a property that cannot be set.
        return ours[0] == theirs[0]
    return ours == theirs


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PROTOCOLS), st.lists(SETTINGS, max_size=8))
def test_settings_are_judged_and_kept_as_by_the_c_class(
    protocol: int, changes: list[tuple[str, Any]]
) -> None:
    ours, theirs = pair(protocol)
    # What a distribution has set in openssl.cnf is not the C class's.
    for context in (ours, theirs):
        if protocol in (2, 16, 17):
            context.minimum_version = 0x303
            context.maximum_version = -1
        context.options = ours.options
    for name, value in changes:
        mine, other = both(partial(change, name, value), ours, theirs)
        assert is_alike(name, mine, other), (name, value)
        assert state(ours) == state(theirs), (name, value)


@pytest.mark.parametrize("protocol", [*PROTOCOLS, 0, 1, 99, -1, "x", None, 1.0, 1 << 40])
def test_contexts_are_made_of_the_same_protocols(protocol: Any) -> None:
    made = both(lambda kind: kind(protocol).protocol, OURS, THEIRS)
    assert made[0] == made[1]


def test_the_defaults_are_those_of_the_c_class() -> None:
    for protocol in (2, 16, 17):
        ours, theirs = pair(protocol)
        kept = {name: value for name, value in state(ours).items() if "version" not in name}
        assert all(getattr(theirs, name) == value for name, value in kept.items())


WORDS = [
    *("ALL", "HIGH", "DEFAULT", "COMPLEMENTOFALL", "COMPLEMENTOFDEFAULT", "MEDIUM", "NONSENSE"),
    *("ECDHE", "ECDH", "kECDHE", "DHE", "kDHE", "kRSA", "RSA", "aRSA", "ECDSA", "aECDSA"),
    *("AES", "AES128", "AES256", "AESGCM", "AESCCM", "CHACHA20", "SHA", "SHA1", "SHA256", "SHA384"),
    *("TLSv1.2", "TLSv1", "TLSv1.0", "SSLv3", "aNULL", "eNULL", "PSK", "3DES", "CAMELLIA"),
    *("ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA", "DHE-RSA-AES256-SHA256", "CHACHA20-POLY1305"),
    *("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_AES_128_GCM_SHA256"),
]
#: OpenSSL lets a word for strength that follows one of these replace it.
ALONE = ("COMPLEMENTOFALL", "COMPLEMENTOFDEFAULT")
TIED = st.sampled_from([word for word in WORDS if word not in ALONE])
WORD = st.builds(
    lambda sign, words: sign + "+".join(words),
    st.sampled_from(["", "", "", "!", "-", "+"]),
    st.lists(TIED, min_size=1, max_size=2) | st.sampled_from([[word] for word in ALONE]),
)
STRINGS = st.lists(WORD | st.sampled_from(["@STRENGTH", "@SECLEVEL=1"]), max_size=7).map(":".join)
KNOWN = {ciphers.described(number)["name"] for number in ciphers._KNOWN}


@settings(max_examples=500, deadline=None)
@given(STRINGS)
def test_cipher_strings_choose_the_same_suites_in_the_same_order(string: str) -> None:
    ours, theirs = pair(16)
    before = ours.get_ciphers()
    there = said(lambda: theirs.set_ciphers(string))
    left = [suite for suite in theirs.get_ciphers() if suite["name"] in KNOWN]
    old = [suite for suite in left if suite["protocol"] != "TLSv1.3"]
    if there[0] == "gave" and old:
        ours.set_ciphers(string)
        assert ours.get_ciphers() == left
    else:
        # It names none, or none of those that this table has.
        with pytest.raises(foundation.SSLError) as caught:
            ours.set_ciphers(string)
        assert caught.value.args == ("No cipher can be selected.",)
        assert ours.get_ciphers() == before


@pytest.mark.parametrize("string", [3, None, b"ALL", "AL\0L", "", "@SECLEVEL=9:ALL"])
def test_what_is_no_cipher_string_is_refused_in_the_same_words(string: Any) -> None:
    ours, theirs = pair(16)
    mine, other = both(lambda it: it.set_ciphers(string), ours, theirs)
    assert mine == other


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind that contexts are given."""
    made = tmp_path_factory.mktemp("foundation")
    authority, other = CertificateAuthority(), CertificateAuthority()
    chain = authority.issue("server.example")
    certificate, key = chain.leaf
    assert certificate.buffer is not None
    assert key is not None
    assert key.buffer is not None
    (made / "cert").write_bytes(pem("CERTIFICATE", certificate.buffer))
    (made / "key").write_bytes(pem("PRIVATE KEY", key.buffer))
    _, another = other.issue("server.example").leaf
    assert another is not None
    (made / "other key").write_bytes(pem("PRIVATE KEY", another.buffer or b""))
    (made / "both").write_bytes((made / "cert").read_bytes() + (made / "key").read_bytes())
    (made / "ca").write_bytes(authority.certificate_pem)
    (made / "two").write_bytes(authority.certificate_pem + other.certificate_pem)
    (made / "crl").write_bytes(pem("X509 CRL", authority.revocation_list(chain).buffer or b""))
    (made / "empty").write_bytes(b"")
    (made / "prose").write_bytes(b"nothing of the kind\n")
    bad = b"-----BEGIN CERTIFICATE-----\nMIIB!!!!\n-----END CERTIFICATE-----\n"
    (made / "bad").write_bytes(bad)
    return made


NAMES = ["cert", "key", "other key", "both", "ca", "two", "crl", "empty", "prose", "bad", "none"]


@pytest.mark.parametrize("certificate", NAMES)
@pytest.mark.parametrize("key", [None, *NAMES])
def test_chains_are_judged_alike(folder: Path, certificate: str, key: str | None) -> None:
    ours, theirs = pair(17)
    files = (str(folder / certificate), None if key is None else str(folder / key))
    mine, other = both(lambda it: it.load_cert_chain(*files), ours, theirs)
    assert mine == other


@pytest.mark.parametrize("arguments", [(), (3,), (None,), ("x", 3), ("x", None, 3), (1.5, "x")])
def test_arguments_of_chains_are_judged_alike(arguments: tuple[Any, ...]) -> None:
    ours, theirs = pair(17)
    mine, other = both(lambda it: it.load_cert_chain(*arguments), ours, theirs)
    assert mine[0] == other[0]


@pytest.mark.parametrize(
    "password",
    [
        *("wrong", b"wrong", bytearray(b"wrong"), "secret", b"secret", 9, "a" * 1025),
        *(lambda: "secret", lambda: b"no", lambda: 9, lambda: None, lambda: "a" * 1025),
        lambda: 1 / 0,
    ],
)
def test_passwords_are_judged_alike(folder: Path, password: Any) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = serialization.load_pem_private_key((folder / "key").read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    path = folder / "encrypted"
    path.write_bytes(encrypted)
    ours, theirs = pair(17)
    arguments = (str(folder / "cert"), str(path), password)
    mine, other = both(lambda it: it.load_cert_chain(*arguments), ours, theirs)
    assert mine == other


def test_nobody_is_asked_for_a_password(folder: Path) -> None:
    """OpenSSL would ask at the terminal."""
    key = (folder / "key").read_bytes()
    path = folder / "asking"
    path.write_bytes(key.replace(b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"))
    ours, _ = pair(17)
    with pytest.raises(foundation.SSLError, match="PEM lib"):
        ours.load_cert_chain(str(folder / "cert"), str(path))


def trust(folder: Path) -> list[tuple[Any, ...]]:
    text = (folder / "two").read_text()
    der = foundation.der_of((folder / "ca").read_bytes())
    files = [(str(folder / name),) for name in NAMES]
    data: list[Any] = [text, text + "garbage", "garbage", "", b"", "\u20ac", 3, der, b"x", der[:50]]
    folders = [(None, "/nowhere"), (None, 3), (3,), (None, None, None), (b"/nowhere",)]
    folders += [(None, ""), (None, ":")]
    return [*files, *folders, *((None, None, it) for it in data)]


def load_verify_locations(arguments: tuple[Any, ...], context: Any) -> None:
    context.load_verify_locations(*arguments)


def test_authorities_are_judged_and_counted_alike(folder: Path) -> None:
    for arguments in trust(folder):
        ours, theirs = pair(16)
        for _ in range(2):
            mine, other = both(partial(load_verify_locations, arguments), ours, theirs)
            assert mine == other, arguments
        assert ours.cert_store_stats() == theirs.cert_store_stats(), arguments
        for binary in (False, True):
            mine, other = (it.get_ca_certs(binary) for it in (ours, theirs))
            assert len(mine) == len(other)
            assert all(certificate in mine for certificate in other)


@pytest.mark.parametrize("name", ["x", b"prime256v1", "secp384r1", "X25519", 3, None, ""])
def test_curves_are_judged_alike(name: Any) -> None:
    ours, theirs = pair(17)
    mine, other = both(lambda it: it.set_ecdh_curve(name), ours, theirs)
    assert mine == other


@pytest.mark.parametrize("protocols", [b"\x01a\x02bb", b"", b"\x05a", b"\x00", "a", 3])
def test_protocols_are_judged_alike(protocols: Any) -> None:
    ours, theirs = pair(17)
    mine, other = both(lambda it: it._set_alpn_protocols(protocols), ours, theirs)
    assert mine[0] == other[0]


@pytest.mark.parametrize("name", ["/nowhere/x", 3, None, 1.5])
def test_key_logs_are_judged_alike(name: Any) -> None:
    ours, theirs = pair(16)
    mine, other = both(partial(change, "keylog_filename", name), ours, theirs)
    assert mine == other


def test_key_logs_begin_alike(tmp_path: Path) -> None:
    contents = []
    for index, context in enumerate(pair(16)):
        context.keylog_filename = tmp_path / str(index)
        assert context.keylog_filename == tmp_path / str(index)
        context.keylog_filename = None
        contents.append((tmp_path / str(index)).read_text())
    assert contents[0] == contents[1] != ""


def load_dh_params(path: str, context: Any) -> None:
    context.load_dh_params(path)


def test_diffie_hellman_parameters_are_judged_alike(folder: Path) -> None:
    for name in NAMES:
        ours, theirs = pair(17)
        mine, other = both(partial(load_dh_params, str(folder / name)), ours, theirs)
        assert mine[:2] == other[:2] or name == "bad", name
        assert mine[0] != "gave"


def test_the_names_are_those_of_the_c_module() -> None:
    made = {"Certificate", "SSLSession", "_SSLContext", "_SSLSocket"}
    theirs = {name for name in vars(_ssl) if not name.startswith("__")}
    assert {*foundation.NAMES, *made} == theirs - TABLES


def test_the_numbers_are_those_of_the_c_module() -> None:
    for name, value in foundation.CONSTANTS.items():
        if not name.startswith(OF_THE_LIBRARY):
            assert getattr(_ssl, name) == value, name


def test_the_methods_are_those_of_the_c_class() -> None:
    theirs = {name for name in vars(THEIRS) if not name.startswith("__")}
    assert {name for name in vars(OURS) if not name.startswith("__")} >= theirs


@pytest.mark.parametrize("nid", [-1, 0, 5, 129, 130, 180, 99999])
def test_objects_are_found_by_number_alike(nid: int) -> None:
    mine, other = both(lambda find: find(nid), foundation.nid2obj, _ssl.nid2obj)
    # Only purposes of certificates are known here.
    assert mine == other or mine[:3:2] == ("ValueError", f"unknown NID {nid}")


@pytest.mark.parametrize("name", [False, True])
@pytest.mark.parametrize(
    "text", ["serverAuth", "serverauth", "1.3.6.1.5.5.7.3.1", "TLS Web Client Authentication", ""]
)
def test_objects_are_found_by_name_alike(text: str, name: bool) -> None:
    mine, other = both(lambda find: find(text, name), foundation.txt2obj, _ssl.txt2obj)
    assert mine == other


def test_memory_is_read_as_it_was_written() -> None:
    ours, theirs = foundation._native.MemoryBIO(), _ssl.MemoryBIO()
    calls: list[Callable[[Any], Any]] = [
        lambda bio: bio.read(),
        lambda bio: bio.write(b"foo"),
        lambda bio: bio.pending,
        lambda bio: bio.read(2),
        lambda bio: bio.write(bytearray(b"bar")),
        lambda bio: bio.write(memoryview(b"baz")),
        lambda bio: bio.read(0),
        lambda bio: bio.eof,
        lambda bio: bio.write("x"),
        lambda bio: bio.write(None),
        lambda bio: bio.read("x"),
        lambda bio: bio.write_eof(),
        lambda bio: bio.eof,
        lambda bio: bio.read(-5),
        lambda bio: bio.eof,
        lambda bio: bio.read(),
        lambda bio: bio.write(b"late"),
    ]
    for index, call in enumerate(calls):
        mine, other = both(call, ours, theirs)
        assert mine[0] == other[0], index
        if mine[0] == "gave":
            assert mine == other, index


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=3000) | st.integers(-1, 4000), max_size=30))
def test_memory_keeps_the_order(steps: list[bytes | int]) -> None:
    bio, held = foundation._native.MemoryBIO(), b""
    for step in steps:
        if isinstance(step, bytes):
            assert bio.write(step) == len(step)
            held += step
        else:
            count = len(held) if step < 0 else step
            assert bio.read(step) == held[:count]
            held = held[count:]
        assert bio.pending == len(held)
