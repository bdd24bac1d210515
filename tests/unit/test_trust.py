"""Trust stores beyond the PEP: extra certificates, CRLs, pins, and custom verification."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import pytest

import polytls
from polytls import (
    Certificate,
    ConfigurationError,
    Pins,
    PresentedPeer,
    PrivateKey,
    RevocationList,
    SigningChain,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TrustStore,
    certificates,
)
from polytls.capabilities import check
from polytls.testing import CertificateAuthority, KeySigner

CERTIFICATE = Certificate.from_buffer(b"0\x00")
LISTED = RevocationList.from_buffer(b"0\x01\x00")
HASH = bytes(range(32))


def test_a_store_without_more_is_the_pep_s() -> None:
    for store in (TrustStore(), TrustStore.from_buffer(b"x"), TrustStore.from_file("x.pem")):
        assert (store.extra, store.crls, store.pins) == ((), (), None)
        assert (store.peers, store.v1_authorities) == ((), False)
    assert TrustStore.system() == TrustStore() == TrustStore.system(extra=[], crls=())


def test_stores_are_compared_and_copied_with_all_they_have() -> None:
    stores = [
        TrustStore.system(),
        TrustStore.system(extra=[CERTIFICATE]),
        TrustStore.system(crls=[LISTED]),
        TrustStore.from_buffer(b"x", crls=[LISTED]),
        TrustStore.from_file("x.pem", crls=[LISTED]),
        TrustStore.system(peers=[CERTIFICATE]),
        TrustStore.from_buffer(b"x", peers=[CERTIFICATE]),
        TrustStore.from_file("x.pem", peers=[CERTIFICATE]),
        TrustStore.from_file("x.pem", v1_authorities=True),
        TrustStore.pinned([CERTIFICATE]),
        TrustStore.pinned([CERTIFICATE], check_hostname=False),
        TrustStore.pinned(spki_sha256=[HASH]),
    ]
    assert len({*stores}) == len(stores)
    for store in stores:
        assert copy.copy(store) == pickle.loads(pickle.dumps(store)) == store
        assert "0\\x00" not in repr(store)
    sources = [store.source for store in stores]
    added = ["system", "buffer", "file", "file"]
    assert sources == ["system"] * 3 + ["buffer", "file"] + added + ["pins"] * 3


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (TrustStore.system(extra=[CERTIFICATE]), "TrustStore(extra=<1>)"),
        (
            TrustStore.from_file("x.pem", crls=[LISTED, LISTED]),
            "TrustStore(path='x.pem', crls=<2>)",
        ),
        (
            TrustStore.system(peers=[CERTIFICATE], v1_authorities=True),
            "TrustStore(peers=<1>, v1_authorities=True)",
        ),
        (
            TrustStore.pinned(spki_sha256=[HASH], check_hostname=False),
            f"TrustStore(pins=Pins(certificates=[], spki_sha256=['{HASH.hex()}'], "
            "check_hostname=False))",
        ),
    ],
    ids=["extra", "crls", "peers", "pins"],
)
def test_a_repr_shows_what_there_is_and_no_contents(store: TrustStore, expected: str) -> None:
    assert repr(store) == expected


@pytest.mark.parametrize("given", [HASH, bytearray(HASH), HASH.hex(), HASH.hex(":").upper()])
def test_a_hash_may_be_written_in_several_ways(given: Any) -> None:
    assert Pins(spki_sha256=[given]).spki_sha256 == (HASH,)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "0 bytes"),
        (HASH[:20], "20 bytes; a SHA-256 hash has 32"),
        (HASH + b"\0", "33 bytes"),
        (HASH.hex()[:-2], "31 bytes"),
        ("", "0 bytes"),
        ("sha256/AAAA", "hexadecimal"),
        ("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "base64"),
    ],
    ids=repr,
)
def test_a_hash_of_the_wrong_length_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        TrustStore.pinned(spki_sha256=[HASH, given])
    assert str(caught.value).startswith("spki_sha256[1]")


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"spki_sha256": HASH}, "spki_sha256"),
        ({"spki_sha256": [7]}, r"spki_sha256\[0\]"),
        ({"certificates": CERTIFICATE}, "certificates"),
        ({"certificates": [b"0\x00"]}, r"certificates\[0\]"),
        ({"certificates": [CERTIFICATE], "check_hostname": 1}, "check_hostname"),
    ],
)
def test_pins_of_a_wrong_type_are_a_type_error(arguments: Any, parameter: str) -> None:
    with pytest.raises(TypeError, match=f"^{parameter} must be"):
        TrustStore.pinned(**arguments)


def test_pins_must_be_there_and_stand_alone() -> None:
    with pytest.raises(ValueError, match="cannot be empty"):
        TrustStore.pinned()
    pins = Pins([CERTIFICATE])
    for more in (
        {"buffer": b"x"},
        {"path": "x"},
        {"extra": [CERTIFICATE]},
        {"crls": [LISTED]},
        {"peers": [CERTIFICATE]},
        {"v1_authorities": True},
    ):
        with pytest.raises(ValueError, match=f"combined with {next(iter(more))}$"):
            TrustStore(pins=pins, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"extra": [LISTED]}, r"extra\[0\]"),
        ({"crls": [CERTIFICATE]}, r"crls\[0\]"),
        ({"crls": LISTED}, "crls"),
        ({"peers": [LISTED]}, r"peers\[0\]"),
        ({"v1_authorities": 1}, "v1_authorities"),
        ({"pins": HASH}, "pins"),
    ],
)
def test_more_of_a_wrong_type_is_a_type_error(arguments: Any, parameter: str) -> None:
    with pytest.raises(TypeError, match=f"^{parameter} must be"):
        TrustStore(**arguments)


@pytest.mark.parametrize("kind", [TLSClientConfiguration, TLSServerConfiguration])
def test_a_verifier_is_kept_and_must_be_callable(kind: Any) -> None:
    def verifier(_: PresentedPeer) -> None: ...

    configuration = kind(peer_verifier=verifier)
    assert configuration.peer_verifier is verifier
    assert configuration == kind(peer_verifier=verifier) != kind()
    assert configuration.replace(peer_verifier=None) == kind()
    with pytest.raises(TypeError, match=r"^peer_verifier must be callable, not str"):
        kind(peer_verifier="yes")


@pytest.mark.parametrize(
    ("given", "without", "field"),
    [
        ({"trust_store": TrustStore.pinned([CERTIFICATE])}, "pins", "trust_store"),
        ({"trust_store": TrustStore.system(crls=[LISTED])}, "crl", "trust_store"),
        ({"peer_verifier": lambda _: None}, "peer_verifier", "peer_verifier"),
    ],
    ids=["pins", "lists", "a verifier"],
)
def test_what_a_library_cannot_do_is_refused_by_name(
    given: dict[str, Any], without: str, field: str
) -> None:

    can = polytls.implementation("rustls").capabilities
    assert can is not None
    configuration = TLSClientConfiguration(**given)
    check(configuration, can, "any")
    if without == "pins":
        less = can.replace(trust_sources=can.trust_sources - {"pins"})
    else:
        less = can.replace(**{without: False})
    with pytest.raises(ConfigurationError) as caught:
        check(configuration, less, "any")
    assert caught.value.field == field


@pytest.mark.parametrize("where", ["extra", "crls", "pinned"])
def test_an_identifier_is_no_source_of_more_trust(where: str) -> None:
    stores = {
        "extra": TrustStore.system(extra=[Certificate.from_id(b"7")]),
        "crls": TrustStore.system(crls=[RevocationList.from_id(b"7")]),
        "pinned": TrustStore.pinned([Certificate.from_id(b"7")]),
    }
    for name in polytls.implementations():
        made = polytls.implementation(name)
        with pytest.raises(ConfigurationError) as caught:
            made.validate_config(TLSClientConfiguration(trust_store=stores[where]))
        assert caught.value.field == "trust_store"


def test_servers_on_ssl_take_no_keys_alone() -> None:
    made = polytls.implementation("stdlib")
    store = TrustStore.pinned(spki_sha256=[HASH])
    chain = CertificateAuthority().issue("server.example")
    with pytest.raises(ConfigurationError, match="pin certificates") as caught:
        made.validate_config(TLSServerConfiguration([chain], trust_store=store))
    assert caught.value.field == "trust_store"


def test_a_certificate_is_read_by_itself() -> None:
    names = ["a.example", "*.b.example", "192.0.2.1", "2001:db8::1"]
    leaf = CertificateAuthority("issuer").issue(*names, common_name="Léa").leaf[0].buffer or b""
    facts = certificates.read(leaf)
    assert facts.dns_names == ("a.example", "*.b.example")
    assert facts.ip_addresses == ("192.0.2.1", "2001:db8::1")
    assert (facts.subject, facts.issuer, facts.common_name) == ("CN=Léa", "CN=issuer", "Léa")
    assert (facts.not_after - facts.not_before).days == 8
    for end in range(len(leaf)):
        with pytest.raises(ValueError, match="not a readable certificate"):
            certificates.read(leaf[:end])
    with pytest.raises(ValueError, match="1 bytes of other data follow"):
        certificates.read(leaf + b"\0")


def test_contexts_of_one_object_and_its_verifier_are_collected(
    implementation: polytls.TLSImplementation[Any, Any],
) -> None:
    class Application:
        def __init__(self) -> None:
            ca = CertificateAuthority()
            self.context = implementation.client_context(
                TLSClientConfiguration(trust_store=ca.trust_store(), peer_verifier=self.verify)
            )
            self.buffer = self.context.create_buffer("server.example")

        def verify(self, peer: PresentedPeer) -> None: ...

    seen = weakref.ref(Application())
    gc.collect()
    assert seen() is None


def test_contexts_of_one_object_that_signs_for_them_are_collected() -> None:
    tls = polytls.implementation("rustls")
    ca = CertificateAuthority()

    class Token(KeySigner):
        def __init__(self) -> None:
            chain = ca.issue("server.example")
            certificate, key = chain.leaf
            assert key is not None
            super().__init__(key)
            signing = SigningChain((certificate, PrivateKey.from_signer(self)), chain.chain)
            self.server = tls.server_context(TLSServerConfiguration([signing]))
            self.client = tls.client_context(TLSClientConfiguration(signing))

    seen = weakref.ref(Token())
    gc.collect()
    assert seen() is None
