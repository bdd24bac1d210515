"""The public names, with PEP 748's signatures and values, and what importing them costs."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import subprocess
import sys
from typing import Any, cast

import pytest

import polytls
from polytls import _native, insecure, interfaces

EMPTY = inspect.Parameter.empty

CONFIGURATION: dict[str, Any] = {
    "certificate_chain": None,
    "ciphers": None,
    "inner_protocols": None,
    "lowest_supported_version": None,
    "highest_supported_version": None,
    "trust_store": None,
}
SOURCE: dict[str, Any] = {"buffer": None, "path": None, "id": None}

#: The PEP's constructors: positional parameters in order, with their defaults.
CONSTRUCTORS: dict[str, dict[str, Any]] = {
    "TLSClientConfiguration": CONFIGURATION,
    "TLSServerConfiguration": CONFIGURATION,
    "ClientContext": {"configuration": EMPTY},
    "ServerContext": {"configuration": EMPTY},
    "Certificate": SOURCE,
    "PrivateKey": SOURCE,
    "TrustStore": SOURCE,
    "SigningChain": {"leaf": EMPTY, "chain": None},
    "TLSImplementation": {
        "client_context": EMPTY,
        "server_context": EMPTY,
        "validate_config": EMPTY,
    },
}

#: The PEP's methods, likewise, without `self` or `cls`.
METHODS: dict[str, dict[str, dict[str, Any]]] = {
    "ClientContext": {
        "connect": {"address": EMPTY},
        "create_buffer": {"server_hostname": EMPTY},
    },
    "ServerContext": {"connect": {"address": EMPTY}, "create_buffer": {}},
    "TLSSocket": {
        "recv": {"bufsize": EMPTY},
        "send": {"bytes": EMPTY},
        "close": {"force": False},
        "listen": {"backlog": EMPTY},
        "accept": {},
        "getsockname": {},
        "getpeercert": {},
        "getpeername": {},
        "cipher": {},
        "negotiated_protocol": {},
    },
    "TLSBuffer": {
        "read": {"amt": EMPTY, "buffer": None},
        "write": {"buf": EMPTY},
        "do_handshake": {},
        "cipher": {},
        "negotiated_protocol": {},
        "shutdown": {},
        "process_incoming": {"data_from_network": EMPTY},
        "incoming_bytes_buffered": {},
        "process_outgoing": {"amount_bytes_for_network": EMPTY},
        "outgoing_bytes_buffered": {},
        "getpeercert": {},
    },
    "Certificate": {
        "from_buffer": {"buffer": EMPTY},
        "from_file": {"path": EMPTY},
        "from_id": {"id": EMPTY},
    },
    "PrivateKey": {
        "from_buffer": {"buffer": EMPTY},
        "from_file": {"path": EMPTY},
        "from_id": {"id": EMPTY},
    },
    "TrustStore": {
        "system": {},
        "from_buffer": {"buffer": EMPTY},
        "from_file": {"path": EMPTY},
        "from_id": {"id": EMPTY},
    },
}

#: The PEP's properties.
PROPERTIES: dict[str, list[str]] = {
    "TLSClientConfiguration": list(CONFIGURATION),
    "TLSServerConfiguration": list(CONFIGURATION),
    "ClientContext": ["configuration"],
    "ServerContext": ["configuration"],
    "TLSSocket": ["context", "negotiated_tls_version"],
    "TLSBuffer": ["context", "negotiated_tls_version"],
    "SigningChain": ["leaf", "chain"],
    "TLSImplementation": ["client_context", "server_context", "validate_config"],
}

PROTOCOLS = ["ClientContext", "ServerContext", "TLSBuffer", "TLSSocket"]

#: The enumerations, whole.
VALUES: dict[str, dict[str, Any]] = {
    "CipherSuite": {
        "TLS_AES_128_GCM_SHA256": 0x1301,
        "TLS_AES_256_GCM_SHA384": 0x1302,
        "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
        "TLS_AES_128_CCM_SHA256": 0x1304,
        "TLS_AES_128_CCM_8_SHA256": 0x1305,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": 0xC02B,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": 0xC02C,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": 0xC02F,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": 0xC030,
        "TLS_ECDHE_ECDSA_WITH_AES_128_CCM": 0xC0AC,
        "TLS_ECDHE_ECDSA_WITH_AES_256_CCM": 0xC0AD,
        "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8": 0xC0AE,
        "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8": 0xC0AF,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": 0xCCA8,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": 0xCCA9,
    },
    "NextProtocol": {
        "H2": b"h2",
        "H2C": b"h2c",
        "HTTP1": b"http/1.1",
        "WEBRTC": b"webrtc",
        "C_WEBRTC": b"c-webrtc",
        "FTP": b"ftp",
        "STUN": b"stun.nat-discovery",
        "TURN": b"stun.turn",
    },
    "TLSVersion": {
        "MINIMUM_SUPPORTED": "MINIMUM_SUPPORTED",
        "TLSv1_2": "TLSv1.2",
        "TLSv1_3": "TLSv1.3",
        "MAXIMUM_SUPPORTED": "MAXIMUM_SUPPORTED",
    },
    "NamedGroup": {
        "secp256r1": 0x17,
        "secp384r1": 0x18,
        "secp521r1": 0x19,
        "x25519": 0x1D,
        "x448": 0x1E,
        "MLKEM512": 0x0200,
        "MLKEM768": 0x0201,
        "MLKEM1024": 0x0202,
        "SecP256r1MLKEM768": 0x11EB,
        "X25519MLKEM768": 0x11EC,
        "SecP384r1MLKEM1024": 0x11ED,
    },
}


def positional(function: Any, *, bound: bool) -> dict[str, Any]:
    """The positional parameters with their defaults, without the first where it is unbound."""
    parameters = list(inspect.signature(function).parameters.values())
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = {each.name: each.default for each in parameters if each.kind in kinds}
    assert inspect.Parameter.POSITIONAL_ONLY not in {each.kind for each in parameters}
    if not bound:
        del found["self"]
    return found


@pytest.mark.parametrize(("name", "expected"), CONSTRUCTORS.items(), ids=CONSTRUCTORS)
def test_a_constructor_takes_the_peps_parameters_in_order(
    name: str, expected: dict[str, Any]
) -> None:
    found = positional(getattr(polytls, name).__init__, bound=False)
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [(name, method, expected) for name in METHODS for method, expected in METHODS[name].items()],
)
def test_a_method_takes_the_peps_parameters_in_order(
    name: str, method: str, expected: dict[str, Any]
) -> None:
    function = getattr(getattr(polytls, name), method)
    found = positional(function, bound=inspect.ismethod(function))
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize(
    ("name", "member"), [(name, member) for name in PROPERTIES for member in PROPERTIES[name]]
)
def test_the_peps_properties_cannot_be_set(name: str, member: str) -> None:
    kind = getattr(polytls, name)
    found = getattr(kind, member)
    if isinstance(found, property):
        assert found.fset is None
        return
    # The field of a record.
    assert member in [field.name for field in dataclasses.fields(kind)]
    blank = object.__new__(kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(blank, member, None)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_has_the_peps_members_and_no_more(name: str) -> None:
    members = {member for member in dir(getattr(polytls, name)) if not member.startswith("_")}
    assert members == {*METHODS[name], *PROPERTIES[name]}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocols_members_are_abstract_and_documented(name: str) -> None:
    protocol = getattr(polytls, name)
    members = {*METHODS[name], *PROPERTIES[name]}
    assert members <= protocol.__abstractmethods__
    assert all(inspect.getdoc(getattr(protocol, member)) for member in members)


@pytest.mark.parametrize(("name", "expected"), VALUES.items(), ids=VALUES)
def test_an_enumeration_has_the_published_names_and_values(
    name: str, expected: dict[str, Any]
) -> None:
    assert {each.name: each.value for each in getattr(polytls, name)} == expected


def test_the_default_cipher_list_is_tls_13_then_aead_suites_of_tls_12() -> None:
    suites = polytls.DEFAULT_CIPHER_LIST
    assert [suite >> 8 for suite in suites[:5]] == [0x13] * 5
    assert all("_CCM" not in suite.name and "ECDHE" in suite.name for suite in suites[5:])
    assert len(set(suites)) == len(suites) == 11


@pytest.mark.parametrize(
    ("table", "members"),
    [
        ("cipher_suites", polytls.CipherSuite),
        ("groups", polytls.NamedGroup),
        ("signature_schemes", polytls.SignatureScheme),
        ("certificate_compression_algorithms", polytls.CertificateCompressionAlgorithm),
        ("handshake_types", polytls.HandshakeType),
        ("alerts", polytls.AlertDescription),
    ],
)
def test_the_core_has_the_same_names_for_the_same_numbers(table: Any, members: Any) -> None:
    assert _native.numbers(table) == {member.name: int(member) for member in members}


def test_the_core_knows_what_openssl_calls_every_group() -> None:
    assert set(_native.numbers("openssl_groups").values()) == set(polytls.NamedGroup)


def test_a_table_that_the_core_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no"):
        _native.numbers("versions")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("close_notify", 0),
        ("handshake_failure", 40),
        ("unknown_ca", 48),
        ("protocol_version", 70),
        ("inappropriate_fallback", 86),
        ("unrecognized_name", 112),
        ("certificate_required", 116),
        ("no_application_protocol", 120),
        ("ech_required", 121),
    ],
)
def test_alerts_have_their_numbers(name: str, number: int) -> None:
    assert polytls.AlertDescription[name] == number


def test_every_public_name_exists_and_is_documented() -> None:
    assert sorted(polytls.__all__) == sorted(set(polytls.__all__))
    for name in polytls.__all__:
        found = getattr(polytls, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert found.__doc__, name


class Buffer(interfaces.TLSBuffer):
    """A buffer by inheritance, which does nothing."""

    context = cast("Any", None)
    negotiated_tls_version = None

    def read(self, amt: int, buffer: Any = None) -> bytes | int:
        return b""

    def write(self, buf: Any) -> int:
        return 0

    def do_handshake(self) -> None: ...

    def cipher(self) -> None: ...

    def negotiated_protocol(self) -> None: ...

    def shutdown(self) -> None: ...

    def process_incoming(self, data_from_network: Any) -> None: ...

    def incoming_bytes_buffered(self) -> int:
        return 0

    def process_outgoing(self, amount_bytes_for_network: int) -> bytes:
        return b""

    def outgoing_bytes_buffered(self) -> int:
        return 0

    def getpeercert(self) -> None: ...

    @property
    def info(self) -> polytls.ConnectionInfo:
        return polytls.ConnectionInfo(implementation="none")


def test_a_connection_can_be_asked_what_it_supports() -> None:
    buffer = Buffer()
    assert isinstance(buffer, polytls.TLSBuffer)
    assert isinstance(buffer, polytls.SupportsInfo)
    assert not isinstance(buffer, polytls.TLSSocket)
    assert not isinstance(buffer, polytls.SupportsPending)


@pytest.mark.parametrize("name", [*PROTOCOLS, *(n for n in polytls.__all__ if "Supports" in n)])
def test_an_incomplete_implementation_cannot_be_made(name: str) -> None:
    incomplete = type("Incomplete", (getattr(polytls, name),), {})
    with pytest.raises(TypeError, match="abstract"):
        incomplete()


def test_an_implementation_gives_what_it_was_made_with() -> None:
    client, server = cast("Any", object()), cast("Any", object())

    def validate(configuration: object) -> None: ...

    bare = polytls.TLSImplementation(client, server, validate)
    assert (bare.client_context, bare.server_context) == (client, server)
    assert bare.validate_config is validate
    assert (bare.name, bare.version, bare.capabilities) == (None, None, None)
    assert repr(bare) == "<TLSImplementation>"

    named = polytls.TLSImplementation(client, server, validate, name="shelf", version="1.2")
    assert (named.name, named.version) == ("shelf", "1.2")
    assert repr(named) == "<TLSImplementation shelf 1.2>"
    with pytest.raises(AttributeError):
        named.name = "other"  # type: ignore[misc]


def test_connection_info_is_a_frozen_record_that_shows_no_certificates() -> None:
    info = polytls.ConnectionInfo(
        implementation="shelf",
        version=polytls.TLSVersion.TLSv1_3,
        resumed=False,
        peer_chain=(b"der of the leaf",),
    )
    assert pickle.loads(pickle.dumps(info)) == info
    assert "der of the leaf" not in repr(info)
    assert info.verified_chain is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.resumed = True  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        polytls.ConnectionInfo("shelf")  # type: ignore[call-arg]


def test_importing_polytls_loads_neither_an_implementation_nor_slow_modules() -> None:
    unwanted = {
        "asyncio",
        "dataclasses",
        "importlib.metadata",
        "inspect",
        "polytls._native",
        "polytls.engines.rustls",
        "polytls.insecure",
        "socket",
        "ssl",
        "typing_extensions",
    }
    # -S: what the site's own start-up files load is not our doing.
    script = (
        f"import sys; sys.path[:] = {sys.path!r}; before = set(sys.modules); import polytls; "
        f"print(*sorted(({unwanted!r} & set(sys.modules)) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_insecure_names_live_apart() -> None:
    assert not set(insecure.__all__) & (set(polytls.__all__) - {"implementation"})
