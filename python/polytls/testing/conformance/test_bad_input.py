"""Configurations that cannot be honoured: what each is refused with, on either side.

Every refusal is a ConfigurationError that names the field and the implementation, and says what is
wrong and, where that is not the same, what to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polytls import (
    Certificate,
    ClientAuthentication,
    ConfigurationError,
    PrivateKey,
    SessionCache,
    SigningChain,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TLSVersion,
    TrustStore,
    insecure,
)
from polytls.testing import CertificateAuthority, KeyType

MINIMUM, V12, V13 = (
    TLSVersion.MINIMUM_SUPPORTED,
    TLSVersion.TLSv1_2,
    TLSVersion.TLSv1_3,
)

each_side = pytest.mark.parametrize("side", ["client", "server"])


def refused(
    lab: Any, side: str, field: str, *, said: str | None = None, early: bool = False, **given: Any
) -> ConfigurationError:
    """The error for a configuration; `early`: it is found without opening a file as well."""
    if side == "client":
        kind, context = TLSClientConfiguration, lab.implementation.client_context
    else:
        kind, context = TLSServerConfiguration, lab.implementation.server_context
        given.setdefault("certificate_chain", [lab.chain()])
    configuration = kind(**given)
    if early:
        with pytest.raises(ConfigurationError, match=said) as caught:
            lab.implementation.validate_config(configuration)
        assert caught.value.field == field
    with pytest.raises(ConfigurationError, match=said) as caught:
        context(configuration)
    error = caught.value
    assert error.field == field
    assert error.implementation == lab.implementation.name
    assert str(error).startswith(f"{lab.implementation.name}: {field}: ")
    assert "\n" not in str(error)
    return error


# --- numbers and names ---


@each_side
@pytest.mark.parametrize(
    ("field", "given", "said"),
    [
        (
            "lowest_supported_version",
            {"lowest_supported_version": V13, "highest_supported_version": V12},
            r"TLSv1\.3 is above .* TLSv1\.2",
        ),
        (
            "highest_supported_version",
            {"highest_supported_version": MINIMUM},
            "MINIMUM_SUPPORTED is not allowed here",
        ),
        (
            "highest_supported_version",
            {"lowest_supported_version": MINIMUM, "highest_supported_version": MINIMUM},
            "MINIMUM_SUPPORTED is not allowed here",
        ),
        ("ciphers", {"ciphers": [0x00FF, 0xFEFE]}, "none of these cipher suites"),
        ("ciphers", {"ciphers": []}, "empty"),
        ("ciphers", {"ciphers": [65_536]}, "65536 is not a 16-bit number"),
        ("ciphers", {"ciphers": [-1]}, "-1 is not a 16-bit number"),
        ("ciphers", {"ciphers": [0x1301], "highest_supported_version": V12}, "none .* is for"),
        ("ciphers", {"ciphers": [0xC02B], "lowest_supported_version": V13}, "none .* is for"),
        ("groups", {"groups": [0xFE00]}, "none of these groups"),
        ("groups", {"groups": []}, "empty"),
        ("groups", {"groups": [1 << 16]}, "16-bit"),
        ("inner_protocols", {"inner_protocols": [b""]}, "not 0"),
        ("inner_protocols", {"inner_protocols": [b"h2", b"x" * 256]}, "not 256"),
        ("inner_protocols", {"inner_protocols": [b"x" * 255] * 256}, "in total"),
        ("sessions", {"sessions": SessionCache(0)}, "sessions=None"),
        ("sessions", {"sessions": SessionCache(-1)}, "-1"),
        ("sessions", {"sessions": SessionCache(1_000_001)}, "1000001"),
        ("trust_store", {"trust_store": TrustStore.from_id(b"1")}, "an id"),
        ("trust_store", {"trust_store": TrustStore.from_buffer(b"")}, "empty"),
        ("trust_store", {"trust_store": TrustStore.from_file("")}, "empty"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused_on_both_sides(
    lab: Any, side: str, field: str, given: dict[str, Any], said: str
) -> None:
    refused(lab, side, field, said=said, early=True, **given)


@pytest.mark.parametrize(
    ("field", "given", "said"),
    [
        ("certificate_chain", {"certificate_chain": None}, "a server needs"),
        ("certificate_chain", {"certificate_chain": []}, "a server needs"),
        ("trust_store", {"client_authentication": ClientAuthentication.REQUIRED}, "REQUIRED"),
        ("trust_store", {"client_authentication": ClientAuthentication.OPTIONAL}, "OPTIONAL"),
    ],
)
def test_what_a_server_lacks_is_refused(
    lab: Any, field: str, given: dict[str, Any], said: str
) -> None:
    refused(lab, "server", field, said=said, early=True, **given)


def chain_for(side: str, chain: SigningChain) -> dict[str, Any]:
    return {"certificate_chain": chain if side == "client" else [chain]}


@each_side
@pytest.mark.parametrize("part", ["certificate", "key", "intermediate"])
def test_ids_are_refused_that_name_nothing(lab: Any, side: str, part: str) -> None:
    certificate, key = lab.chain().leaf
    chain = {
        "certificate": SigningChain((Certificate.from_id(b"1"), key)),
        "key": SigningChain((certificate, PrivateKey.from_id(b"1"))),
        "intermediate": SigningChain((certificate, key), [Certificate.from_id(b"1")]),
    }[part]
    capabilities = lab.implementation.capabilities
    sources = capabilities.key_sources if part == "key" else capabilities.certificate_sources
    said = r"pkcs11:" if "id" in sources else "an id, only from"
    chains = chain_for(side, chain)
    refused(lab, side, "certificate_chain", said=said, early=True, **chains)


# --- wrong types ---


@pytest.mark.parametrize("wrong", [None, {}, "client", TrustStore.system(), insecure])
def test_what_is_no_configuration_is_a_type_error(lab: Any, wrong: Any) -> None:
    made = lab.implementation
    for take in (made.client_context, made.server_context, made.validate_config):
        with pytest.raises(TypeError, match=r"^configuration must be"):
            take(wrong)


def test_each_side_refuses_the_other_sides_configuration(lab: Any) -> None:
    with pytest.raises(TypeError, match=r"^configuration must be TLSServerConfiguration"):
        lab.implementation.server_context(TLSClientConfiguration())
    with pytest.raises(TypeError, match=r"^configuration must be TLSClientConfiguration"):
        lab.implementation.client_context(TLSServerConfiguration([lab.chain()]))


@pytest.mark.parametrize("wrong", [None, 5, b"server.example", ("server.example",)])
def test_a_host_name_that_is_no_str_is_a_type_error(lab: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^server_hostname must be str, not"):
        lab.client().create_buffer(wrong)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a..example",
        ".example",
        "server.example..",
        "server\0.example",
        "\0",
        f"{'a' * 64}.example",
        f"{'ü' * 60}.example",
        ".".join(["abcdefgh"] * 32),
        "server example",
        " server.example",
        "server.example\n",
        "server/example",
        "*.example",
        "https://server.example",
        "server.example:443",
        "user@server.example",
        "[::1",
        "::1]",
        "1.2.3.256",
        "::12345",
        "xn--ü.example",
        "\ud800.example",
    ],
    ids=lambda name: ascii(name[:20]),
)
def test_what_is_no_host_name_is_a_value_error(lab: Any, name: str) -> None:
    with pytest.raises(ValueError, match="server_hostname"):
        lab.client().create_buffer(name)


def test_a_client_needs_a_name_and_a_server_takes_none(lab: Any) -> None:
    with pytest.raises(TypeError, match="server_hostname"):
        lab.client().create_buffer()
    with pytest.raises(TypeError, match="argument"):
        lab.server().create_buffer("server.example")


def test_the_longest_names_are_accepted(lab: Any) -> None:
    for name in (f"{'a' * 63}.example", ".".join(["a" * 63] * 3 + ["a" * 61])):
        lab.client().create_buffer(name)


# --- files ---


@each_side
@pytest.mark.parametrize("part", ["certificate", "key", "intermediate", "trust_store"])
@pytest.mark.parametrize("what", ["missing", "directory", "below a file"])
def test_a_file_that_cannot_be_read_is_named(
    lab: Any, tmp_path: Path, side: str, part: str, what: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    path = (
        tmp_path / {"missing": "no.pem", "directory": "directory", "below a file": "file/x"}[what]
    )
    certificate, key = lab.chain().leaf
    field = "trust_store" if part == "trust_store" else "certificate_chain"
    given = {
        "certificate": lambda: chain_for(side, SigningChain((Certificate.from_file(path), key))),
        "key": lambda: chain_for(side, SigningChain((certificate, PrivateKey.from_file(path)))),
        "intermediate": lambda: chain_for(
            side, SigningChain((certificate, key), [Certificate.from_file(path)])
        ),
        "trust_store": lambda: {"trust_store": TrustStore.from_file(path)},
    }[part]()
    error = refused(lab, side, field, **given)
    assert str(path) in str(error)
    assert isinstance(error.__cause__, OSError)
    kind = TLSClientConfiguration if side == "client" else TLSServerConfiguration
    given.setdefault("certificate_chain", None if side == "client" else [lab.chain()])
    assert lab.implementation.validate_config(kind(**given)) is None, "no file is opened"


# --- keys and certificates that do not fit ---


@each_side
def test_a_key_of_another_certificate_is_refused(lab: Any, side: str) -> None:
    certificate, _ = lab.chain().leaf
    for other in (lab.chain("other"), lab.chain("other", key_type=KeyType.RSA_2048)):
        chain = SigningChain((certificate, other.leaf[1]))
        error = refused(lab, side, "certificate_chain", **chain_for(side, chain))
        assert "does not match" in str(error)


@each_side
def test_the_second_of_several_chains_is_looked_at_too(lab: Any, side: str) -> None:
    bad = SigningChain((lab.chain().leaf[0], lab.chain("other").leaf[1]))
    if side == "client":
        refused(lab, side, "certificate_chain", certificate_chain=bad)
    else:
        refused(lab, side, "certificate_chain", certificate_chain=[lab.chain(), bad])


def test_a_chain_whose_first_certificate_is_not_the_leaf_is_refused(lab: Any) -> None:
    intermediate = lab.ca.intermediate()
    leaf, key = intermediate.issue(lab.host).leaf
    wrong = SigningChain((intermediate.certificate, key), [leaf])
    refused(lab, "server", "certificate_chain", said="does not match", certificate_chain=[wrong])


def test_refusals_do_not_show_keys(lab: Any) -> None:
    certificate, key = lab.chain().leaf
    assert key.buffer is not None
    error = refused(
        lab,
        "server",
        "certificate_chain",
        certificate_chain=[SigningChain((certificate, PrivateKey(key.buffer[:-3])))],
    )
    for secret in (key.buffer.hex(), repr(key.buffer), repr(key.buffer[:16])):
        assert secret not in repr(error)


def test_a_context_that_was_refused_leaves_others_alone(lab: Any) -> None:
    client, server = lab.client(), lab.server()
    other = CertificateAuthority("another")
    refused(lab, "client", "trust_store", trust_store=TrustStore(other.certificate_der[:-1]))
    lab.connect(client, server)
