"""Certificates, keys and trust stores in every encoding, and in none.

What `certs` holds is described in its README; the rest is made by the lab's authority.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polytls import (
    Certificate,
    ConfigurationError,
    PrivateKey,
    SigningChain,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TrustStore,
)
from polytls.testing import CertificateAuthority, KeyType
from polytls.testing.certificates import pem
from polytls.testing.conformance.drafts import (
    Draft,
    bits,
    element,
    integer,
    octets,
    oid,
    sequence,
)
from polytls.testing.conformance.lab import DEBUG

CERTS = Path(__file__).parent / "certs"

KEYS = [
    "ec.pkcs8.pem",
    "ec.pkcs8.der",
    "ec.sec1.pem",
    "ec.sec1.der",
    "ec.parameters.pem",
    "ec.attributes.pem",
    "rsa.pkcs8.pem",
    "rsa.pkcs8.der",
    "rsa.pkcs1.pem",
    "rsa.pkcs1.der",
    "rsa.attributes.pem",
]
CERTIFICATES = [
    f"{kind}.{form}"
    for kind in ("ec", "rsa")
    for form in ("certificate.pem", "certificate.der", "attributes.pem")
]

TEXT = "\ufeffA Subject = Bücher, Ü\n  -- not a section --\n\n".encode()

#: What may be done to PEM without changing what it means.
VARIANTS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda data: data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "text around": lambda data: TEXT + data + b"\nthe end",
    "no final newline": lambda data: data.rstrip(),
    "blank lines": lambda data: b"\n\n" + data + b"\n\n\n",
    "trailing blanks": lambda data: data.replace(b"\n", b" \n"),
    "indented": lambda data: b"  " + data.replace(b"\n", b"\n  "),
    "byte order mark": lambda data: "\ufeff".encode() + data,
    "a section in a comment": lambda data: b"# " + data.replace(b"\n", b"\n# ") + b"\n" + data,
}
each_variant = pytest.mark.parametrize("variant", list(VARIANTS))


def read(name: str) -> bytes:
    return (CERTS / name).read_bytes()


def serve(lab: Any, chain: SigningChain, store: TrustStore) -> Any:
    """A connection to a server with `chain`, from a client that trusts `store`."""
    return lab.connect(lab.client(trust_store=store), lab.server(chain))


# --- what is accepted ---


@pytest.mark.parametrize("source", ["file", "buffer"])
@pytest.mark.parametrize("name", KEYS)
def test_keys_of_every_encoding_are_accepted(lab: Any, name: str, source: str) -> None:
    kind = name.split(".")[0]
    key = PrivateKey.from_file(CERTS / name) if source == "file" else PrivateKey(read(name))
    chain = SigningChain((Certificate(read(f"{kind}.certificate.pem")), key))
    expected = read(f"{kind}.certificate.der")
    assert serve(lab, chain, TrustStore(expected)).client.getpeercert() == expected
    client = lab.client(certificate_chain=chain)
    pair = lab.connect(client, lab.server(trust_store=TrustStore(expected)))
    assert pair.server.getpeercert() == expected


@pytest.mark.parametrize("source", ["file", "buffer"])
@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificates_of_every_encoding_are_accepted(lab: Any, name: str, source: str) -> None:
    kind = name.split(".")[0]
    key = PrivateKey(read(f"{kind}.pkcs8.der"))
    if source == "file":
        certificate, store = Certificate.from_file(CERTS / name), TrustStore.from_file(CERTS / name)
    else:
        certificate, store = Certificate(read(name)), TrustStore(read(name))
    pair = serve(lab, SigningChain((certificate, key)), store)
    assert pair.client.info.peer_chain == (read(f"{kind}.certificate.der"),)


@each_variant
def test_pem_may_stand_among_other_things(lab: Any, variant: str) -> None:
    change = VARIANTS[variant]
    certificate, key = read("ec.certificate.pem"), read("ec.pkcs8.pem")
    chain = SigningChain((Certificate(change(certificate)), PrivateKey(change(key))))
    serve(lab, chain, TrustStore(change(certificate)))


@each_variant
@pytest.mark.parametrize("order", ["key last", "key first"])
def test_the_key_may_stand_in_the_certificates_pem(lab: Any, variant: str, order: str) -> None:
    parts = [read("ec.certificate.pem"), read("ec.sec1.pem")]
    data = b"".join(parts if order == "key last" else parts[::-1])
    chain = SigningChain((Certificate(VARIANTS[variant](data)), None))
    serve(lab, chain, TrustStore(read("ec.certificate.der")))


def test_the_key_may_stand_in_the_certificates_file(lab: Any) -> None:
    for kind in ("ec", "rsa"):
        certificate = Certificate.from_file(CERTS / f"{kind}.attributes.pem")
        serve(lab, SigningChain((certificate, None)), TrustStore(read(f"{kind}.certificate.der")))


@pytest.fixture
def bundle(lab: Any) -> dict[str, Any]:
    """A leaf below two intermediates, part by part in PEM."""
    upper = lab.ca.intermediate("upper")
    lower = upper.intermediate("lower")
    certificate, key = lower.issue(lab.host).leaf
    return {
        "leaf": pem("CERTIFICATE", certificate.buffer),
        "lower": lower.certificate_pem,
        "upper": upper.certificate_pem,
        "key": pem("PRIVATE KEY", key.buffer),
        "ders": (certificate.buffer, lower.certificate_der, upper.certificate_der),
    }


@pytest.mark.parametrize(
    ("first", "key", "further"),
    [
        (["leaf", "lower", "upper"], ["key"], []),
        (["leaf", "lower"], ["key"], ["upper"]),
        (["leaf"], ["key"], ["lower", "upper"]),
        (["leaf", "lower", "upper", "key"], None, []),
        (["key", "leaf", "lower", "upper"], None, []),
        (["leaf", "key", "lower"], None, ["upper"]),
        (["leaf", "lower", "upper"], ["leaf", "key"], []),
    ],
)
def test_a_chain_may_be_cut_into_files_anywhere(
    lab: Any,
    bundle: dict[str, Any],
    tmp_path: Path,
    first: list[str],
    key: list[str] | None,
    further: list[str],
) -> None:
    def file(parts: list[str]) -> Path:
        path = tmp_path / f"{'-'.join(parts)}.pem"
        path.write_bytes(b"".join(bundle[part] for part in parts))
        return path

    chain = SigningChain(
        (Certificate.from_file(file(first)), key and PrivateKey.from_file(file(key))),
        [Certificate.from_file(file([part])) for part in further],
    )
    assert lab.connect(server=lab.server(chain)).client.info.peer_chain == bundle["ders"]


def test_intermediates_may_come_in_one_bundle(lab: Any, bundle: dict[str, Any]) -> None:
    leaf = (Certificate(bundle["leaf"]), PrivateKey(bundle["key"]))
    chain = SigningChain(leaf, [Certificate(bundle["lower"] + bundle["upper"])])
    assert lab.connect(server=lab.server(chain)).client.info.peer_chain == bundle["ders"]


def test_a_store_may_hold_many_certificates_and_other_things(lab: Any) -> None:
    others = [CertificateAuthority(f"authority {number}") for number in range(5)]
    pems = [each.certificate_pem for each in (*others, lab.ca)]
    data = TEXT + b"# comment\n".join(pems) + read("ec.public.pem")
    lab.connect(lab.client(trust_store=TrustStore(data)))


# --- what is refused ---

GARBAGE: dict[str, bytes] = {
    "text": b"this is no certificate",
    "random": bytes(range(255, 0, -1)),
    "zeros": bytes(100),
    "one byte": b"\x30",
    "DER of a number": b"\x02\x01\x05",
    "DER of nothing": b"\x30\x00",
    "DER of something else": b"\x30\x03\x02\x01\x05",
    "DER of endless length": b"\x30\x80\x00\x00",
    "DER of huge length": b"\x30\x84\xff\xff\xff\xff\x00",
    "empty section": b"-----BEGIN {0}-----\n-----END {0}-----\n",
    "no base64": b"-----BEGIN {0}-----\n!?!?\n-----END {0}-----\n",
    "base64 of garbage": b"-----BEGIN {0}-----\nYWJjZA==\n-----END {0}-----\n",
    "no end": b"-----BEGIN {0}-----\nYWJjZA==\n",
    "no begin": b"YWJjZA==\n-----END {0}-----\n",
    "wrong end": b"-----BEGIN {0}-----\nYWJjZA==\n-----END ANYTHING-----\n",
    "half a begin": b"-----BEGIN {0}",
    "other section": b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
    "UTF-16": "-----BEGIN {0}-----".encode("utf-16"),
    "line ends as two characters": b"-----BEGIN {0}-----\\nMAA=\\n-----END {0}-----\\n",
    "a dash too many": b"-----BEGIN {0}------\nMAA=\n-----END {0}-----\n",
    "a dash too few": b"----BEGIN {0}-----\nMAA=\n-----END {0}-----\n",
    "all in a line": b"-----BEGIN {0}----- MAA= -----END {0}-----\n",
}


def labelled(name: str, label: bytes) -> bytes:
    return GARBAGE[name].replace(b"{0}", label)


def refused(lab: Any, field: str, **given: Any) -> str:
    """The message with which both sides refuse it."""
    messages = set()
    chain = given.get("chain")
    store = given.get("store")
    for context, configuration in (
        (lab.implementation.client_context, TLSClientConfiguration(chain, trust_store=store)),
        (
            lab.implementation.server_context,
            TLSServerConfiguration([chain or lab.chain()], trust_store=store),
        ),
    ):
        with pytest.raises(ConfigurationError) as caught:
            context(configuration)
        assert caught.value.field == field
        assert caught.value.implementation == lab.implementation.name
        messages.add(str(caught.value))
    (message,) = messages
    prefix = f"{lab.implementation.name}: {field}: "
    assert message.startswith(prefix)
    assert len(message) > len(prefix) + 20, "what is wrong is said"
    return message


def assert_names_the_file(message: str, source: Any) -> None:
    """What is wrong in the encoding of a file is told with its path.

    What only the library finds, in what was decoded, is told by its place in the chain or store.
    """
    if source.path is not None and "PEM" in message:
        assert source.path in message


def made(kind: type[Any], data: bytes, source: str, tmp_path: Path) -> Any:
    if source == "buffer":
        return kind(data)
    path = tmp_path / "garbage"
    path.write_bytes(data)
    return kind.from_file(path)


each_source = pytest.mark.parametrize("source", ["buffer", "file"])
each_garbage = pytest.mark.parametrize("garbage", list(GARBAGE))


@each_source
@each_garbage
def test_garbage_is_no_certificate(lab: Any, tmp_path: Path, garbage: str, source: str) -> None:
    certificate = made(Certificate, labelled(garbage, b"CERTIFICATE"), source, tmp_path)
    good, key = lab.chain().leaf
    for chain in (SigningChain((certificate, key)), SigningChain((good, key), [certificate])):
        message = refused(lab, "certificate_chain", chain=chain)
        assert_names_the_file(message, certificate)


@each_source
@each_garbage
def test_garbage_is_no_key(lab: Any, tmp_path: Path, garbage: str, source: str) -> None:
    for label in (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY"):
        key = made(PrivateKey, labelled(garbage, label), source, tmp_path)
        chain = SigningChain((lab.chain().leaf[0], key))
        message = refused(lab, "certificate_chain", chain=chain)
        assert_names_the_file(message, key)


@each_source
@each_garbage
def test_garbage_is_no_trust_store(lab: Any, tmp_path: Path, garbage: str, source: str) -> None:
    store = made(TrustStore, labelled(garbage, b"CERTIFICATE"), source, tmp_path)
    assert_names_the_file(refused(lab, "trust_store", store=store), store)


# --- other forms ---


def signed_data(*certificates: bytes) -> bytes:
    """PKCS#7 that holds certificates alone (RFC 2315 9.1)."""
    nothing, data = element(0x31), sequence(oid("1.2.840.113549.1.7.1"))
    inner = sequence(integer(1), nothing, data, element(0xA0, *certificates), nothing)
    return sequence(oid("1.2.840.113549.1.7.2"), element(0xA0, inner))


def request() -> bytes:
    """A request for a certificate, as far as it is told by its form (RFC 2986 4.1)."""
    name, key = sequence(), sequence(sequence(oid("1.3.101.112")), bits(bytes(32)))
    inner = sequence(integer(0), name, key, element(0xA0))
    return sequence(inner, sequence(oid("1.3.101.112")), bits(bytes(64)))


def key_store() -> bytes:
    """PKCS#12, likewise (RFC 7292 4)."""
    contents = element(0xA0, octets(sequence()))
    return sequence(integer(3), sequence(oid("1.2.840.113549.1.7.1"), contents))


#: What is given, what for, and what is said of it.
FORMS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "PKCS#12 for a certificate": (key_store, "certificate", "openssl pkcs12 -in FILE -nokeys"),
    "PKCS#12 for a store": (key_store, "store", "openssl pkcs12 -in FILE -nokeys"),
    "PKCS#12 for a key": (key_store, "key", "openssl pkcs12 -in FILE -nocerts"),
    "PKCS#7": (
        lambda: signed_data(read("ec.certificate.der")),
        "certificate",
        "openssl pkcs7 -in FILE -inform DER -print_certs",
    ),
    "PKCS#7 in PEM": (
        lambda: pem("PKCS7", signed_data(read("ec.certificate.der"))),
        "store",
        "openssl pkcs7 -in FILE -print_certs",
    ),
    "PKCS#7 for a key": (lambda: signed_data(), "key", "PKCS#7, which holds only certificates"),
    "a request": (request, "certificate", "a certificate signing request (a .csr file"),
    "a request in PEM": (
        lambda: pem("CERTIFICATE REQUEST", request()),
        "certificate",
        "a certificate signing request (a .csr file",
    ),
    "a key for a certificate": (
        lambda: read("ec.pkcs8.der"),
        "certificate",
        "a private key in DER, expected a certificate",
    ),
    "a key for a store": (
        lambda: read("rsa.pkcs1.pem"),
        "store",
        "a private key in PEM, expected a certificate (in PEM, a CERTIFICATE section)",
    ),
    "an encrypted key for a certificate": (
        lambda: read("rsa.encrypted.der"),
        "certificate",
        "a private key in DER, expected a certificate",
    ),
    "a certificate for a key": (
        lambda: read("ec.certificate.der"),
        "key",
        "a certificate in DER, expected a private key",
    ),
    "a public key for a key": (lambda: read("ec.public.pem"), "key", "only the public key in PEM"),
    "a private key in OpenSSH format": (
        lambda: pem("OPENSSH PRIVATE KEY", b"openssh-key-v1\0"),
        "key",
        "ssh-keygen -p -N '' -m PKCS8 -f COPY",
    ),
    "DSA": (lambda: pem("DSA PRIVATE KEY", sequence(integer(0))), "key", "a DSA key"),
    "UTF-16": (
        lambda: read("ec.certificate.pem").decode().encode("utf-16"),
        "certificate",
        "UTF-16 text",
    ),
    "base64 alone": (
        lambda: base64.encodebytes(read("ec.certificate.der")),
        "certificate",
        "put `-----BEGIN CERTIFICATE-----` before it",
    ),
    "a Java key store": (lambda: b"\xfe\xed\xfe\xed\0\0\0\2", "store", "keytool -importkeystore"),
}


@each_source
@pytest.mark.parametrize("form", list(FORMS))
def test_another_form_is_called_by_its_name_and_converted(
    lab: Any, tmp_path: Path, form: str, source: str
) -> None:
    make, wanted, said = FORMS[form]
    good, key = lab.chain().leaf
    if wanted == "store":
        given: Any = made(TrustStore, make(), source, tmp_path)
        message = refused(lab, "trust_store", store=given)
    elif wanted == "key":
        given = made(PrivateKey, make(), source, tmp_path)
        message = refused(lab, "certificate_chain", chain=SigningChain((good, given)))
    else:
        given = made(Certificate, make(), source, tmp_path)
        message = refused(lab, "certificate_chain", chain=SigningChain((given, key)))
    assert said in message
    if given.path is not None:
        assert given.path in message
    assert not DEBUG.search(message)


@pytest.mark.parametrize("garbage", ["base64 of garbage", "DER of something else"])
@pytest.mark.parametrize("label", ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"])
def test_a_damaged_key_is_refused_in_words(lab: Any, label: str, garbage: str) -> None:
    data = labelled(garbage, label.encode())
    chain = SigningChain((lab.chain().leaf[0], PrivateKey(data)))
    message = refused(lab, "certificate_chain", chain=chain)
    assert "private key" in message
    assert not DEBUG.search(message)


@pytest.mark.parametrize("part", ["serial", "validity", "subject", "spki"])
def test_a_damaged_certificate_is_refused_in_words(lab: Any, part: str) -> None:
    damaged = Draft.leaf(lab.ca, lab.host).but(**{part: element(0x05)})
    chain = damaged.issued(lab.ca)
    for message in (
        refused(lab, "certificate_chain", chain=chain),
        refused(lab, "trust_store", store=TrustStore(chain.leaf[0].buffer)),
    ):
        assert re.search(
            r"(cannot be read|not a readable certificate): (its|it|a|invalid) ", message
        )
        assert not DEBUG.search(message)


def test_an_empty_file_is_refused(lab: Any, tmp_path: Path) -> None:
    certificate, key = lab.chain().leaf
    nothing = [made(kind, b"", "file", tmp_path) for kind in (Certificate, PrivateKey, TrustStore)]
    for chain in (SigningChain((nothing[0], key)), SigningChain((certificate, nothing[1]))):
        refused(lab, "certificate_chain", chain=chain)
    refused(lab, "trust_store", store=nothing[2])


@pytest.mark.parametrize("kept", [1, 2, 3, 10, 0.5, -100, -10, -2, -1])
@pytest.mark.parametrize("form", ["pem", "der"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_what_was_cut_short_is_refused(lab: Any, kind: str, form: str, kept: float) -> None:
    def cut(name: str) -> bytes:
        data = read(name).rstrip() if form == "pem" else read(name)
        return data[: int(kept * len(data)) if isinstance(kept, float) else kept]

    certificate, key = (
        Certificate(read(f"{kind}.certificate.pem")),
        PrivateKey(read(f"{kind}.pkcs8.pem")),
    )
    short_certificate = cut(f"{kind}.certificate.{form}")
    for chain in (
        SigningChain((Certificate(short_certificate), key)),
        SigningChain((certificate, PrivateKey(cut(f"{kind}.pkcs8.{form}")))),
    ):
        refused(lab, "certificate_chain", chain=chain)
    refused(lab, "trust_store", store=TrustStore(short_certificate))


@pytest.mark.parametrize("index", [0, 1, 3])
def test_a_broken_certificate_in_a_store_is_told_by_its_index(lab: Any, index: int) -> None:
    sections = [CertificateAuthority(f"authority {number}").certificate_pem for number in range(3)]
    sections.insert(index, pem("CERTIFICATE", b"\x30\x03\x02\x01\x05"))
    store = TrustStore(b"".join(sections))
    message = refused(lab, "trust_store", store=store)
    assert f"certificate {index} " in message


def test_a_store_without_a_certificate_is_refused(lab: Any) -> None:
    for data in (read("ec.pkcs8.pem"), read("ec.public.pem"), b"# nothing\n", b"\n"):
        message = refused(lab, "trust_store", store=TrustStore(data))
        assert "CERTIFICATE" in message


def test_files_put_together_without_a_line_end_lose_no_certificate_in_silence(lab: Any) -> None:
    first = CertificateAuthority("first").certificate_pem.rstrip()
    store = TrustStore(first + lab.ca.certificate_pem)
    assert "their own line" in refused(lab, "trust_store", store=store)
    leaf, key = lab.chain().leaf
    joined = pem("CERTIFICATE", leaf.buffer).rstrip() + lab.ca.certificate_pem
    chain = SigningChain((Certificate(joined), key))
    assert "their own line" in refused(lab, "certificate_chain", chain=chain)
    both = pem("CERTIFICATE", leaf.buffer).rstrip() + pem("PRIVATE KEY", key.buffer)
    chain = SigningChain((Certificate(both), None))
    assert "their own line" in refused(lab, "certificate_chain", chain=chain)


def test_data_behind_a_der_certificate_is_refused(lab: Any) -> None:
    data = read("ec.certificate.der") + b"more"
    chain = SigningChain((Certificate(data), PrivateKey(read("ec.pkcs8.der"))))
    refused(lab, "certificate_chain", chain=chain)
    refused(lab, "trust_store", store=TrustStore(data))


@pytest.mark.parametrize("name", ["ec.certificate.pem", "ec.certificate.der"])
def test_a_certificate_without_a_key_is_refused(lab: Any, name: str) -> None:
    chain = SigningChain((Certificate(read(name)), None))
    message = refused(lab, "certificate_chain", chain=chain)
    assert "key" in message


@pytest.mark.parametrize("name", ["ec.certificate.pem", "ec.certificate.der", "ec.public.pem"])
def test_what_is_no_private_key_is_refused_as_one(lab: Any, name: str) -> None:
    chain = SigningChain((Certificate(read("ec.certificate.pem")), PrivateKey(read(name))))
    message = refused(lab, "certificate_chain", chain=chain)
    assert "private key" in message


def test_a_key_is_no_certificate(lab: Any) -> None:
    for name in ("ec.pkcs8.pem", "ec.pkcs8.der"):
        chain = SigningChain((Certificate(read(name)), PrivateKey(read("ec.pkcs8.pem"))))
        refused(lab, "certificate_chain", chain=chain)


def test_two_keys_in_one_file_are_refused(lab: Any) -> None:
    keys = read("rsa.pkcs8.pem") + read("ec.pkcs8.pem")
    certificate = read("ec.certificate.pem")
    for chain in (
        SigningChain((Certificate(certificate), PrivateKey(keys))),
        SigningChain((Certificate(certificate + keys), None)),
    ):
        message = refused(lab, "certificate_chain", chain=chain)
        assert "more than one private key" in message


@pytest.mark.parametrize("source", ["file", "buffer", "with certificate"])
@pytest.mark.parametrize("form", ["encrypted.pem", "encrypted.der", "legacy.pem"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_an_encrypted_key_is_refused_with_the_way_to_decrypt_it(
    lab: Any, tmp_path: Path, kind: str, form: str, source: str
) -> None:
    data = read(f"{kind}.{form}")
    certificate = Certificate(read(f"{kind}.certificate.pem"))
    key: PrivateKey | None
    if source != "with certificate":
        key = made(PrivateKey, data, source, tmp_path)
    elif form.endswith("pem"):
        certificate, key = Certificate(certificate.buffer + data), None
    else:
        # In DER there is no room beside it: the label of PEM says that it is encrypted.
        data = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + base64.encodebytes(data)
        certificate = Certificate(
            certificate.buffer + data + b"-----END ENCRYPTED PRIVATE KEY-----\n"
        )
        key = None
    chain = SigningChain((certificate, key))
    message = refused(lab, "certificate_chain", chain=chain)
    assert "encrypted" in message
    assert "openssl pkey -in" in message


def test_the_kind_of_key_that_is_asked_for_is_told_from_the_label(lab: Any) -> None:
    """Keys of every kind that the authority makes are accepted as PEM with the plain label."""
    for key_type in KeyType:
        certificate, key = lab.chain(key_type=key_type).leaf
        chain = SigningChain((certificate, PrivateKey(pem("PRIVATE KEY", key.buffer))))
        lab.connect(server=lab.server(chain))
