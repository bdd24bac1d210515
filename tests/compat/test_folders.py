"""Directories of certificates by hash (`capath`): used like OpenSSL uses them."""

from __future__ import annotations

import datetime
import hashlib
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type

import polytls
from polytls import TLSClientConfiguration, _native, compat
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

from .conftest import chain_file

NAME = "server.example"
BOTH = [compat.SSLContext, ssl.SSLContext]
OTHER = CertificateAuthority()


def hash_of(der: bytes) -> str:
    """What `openssl x509 -hash` writes."""
    digest = hashlib.sha1(_native.canonical_subject(der), usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


class Folder:
    """A directory with the authority's certificate in it."""

    def __init__(self, path: Path, authority: CertificateAuthority) -> None:
        self.path, self.hash = path, hash_of(authority.certificate_der)
        self.authority = authority.certificate_pem
        path.mkdir()

    def write(self, name: str, data: bytes | None = None) -> None:
        (self.path / name).write_bytes(self.authority if data is None else data)

    def link(self, name: str) -> None:
        (self.path / name).symlink_to(self.path / "missing")


def right(folder: Folder) -> None:
    folder.write(f"{folder.hash}.0")


def second(folder: Folder) -> None:
    """A hash that two subjects have."""
    folder.write(f"{folder.hash}.0", OTHER.certificate_pem)
    folder.write(f"{folder.hash}.1")


def beside_others(folder: Folder) -> None:
    right(folder)
    folder.write("README", b"of no interest")
    folder.link("11111111.0")
    folder.link(f"{folder.hash}.1")
    (folder.path / "22222222.0").mkdir()
    folder.write("33333333.0", b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n")
    folder.write("44444444.0", pem("CERTIFICATE", b"\x30\x01\x00"))


def another_hash(folder: Folder) -> None:
    folder.write("00000000.0")


def behind_a_gap(folder: Folder) -> None:
    folder.write(f"{folder.hash}.1")


def behind_what_cannot_be_read(folder: Folder) -> None:
    folder.write(f"{folder.hash}.0", b"no certificate")
    folder.write(f"{folder.hash}.1")


def another_name(folder: Folder) -> None:
    folder.write("ca.pem")


def in_der(folder: Folder) -> None:
    folder.write(f"{folder.hash}.0", ssl.PEM_cert_to_DER_cert(folder.authority.decode()))


def missing(folder: Folder) -> None:
    folder.path.rmdir()


def empty(_: Folder) -> None:
    pass


def works(client: ssl.SSLContext, memory: Any, **more: Any) -> bool:
    try:
        memory(client, **more).handshake()
    except ssl.SSLCertVerificationError:
        return False
    return True


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("fill", "finds"),
    [
        *((fill, True) for fill in (right, second, beside_others)),
        *((fill, False) for fill in (another_hash, behind_a_gap, behind_what_cannot_be_read)),
        *((fill, False) for fill in (another_name, in_der, missing, empty)),
    ],
)
def test_certificates_are_found_by_their_hash(
    files: Any, memory: Any, tmp_path: Path, kind: Any, fill: Callable[[Folder], None], finds: bool
) -> None:
    folder = Folder(tmp_path / "folder", files.authority)
    fill(folder)
    client = kind(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(capath=os.fsencode(folder.path))
    assert works(client, memory) is finds


@pytest.mark.parametrize("kind", BOTH)
def test_several_folders_are_separated_like_in_path(
    files: Any, memory: Any, tmp_path: Path, kind: Any
) -> None:
    folder = Folder(tmp_path / "folder", files.authority)
    right(folder)
    client = kind(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(capath=os.pathsep.join([str(tmp_path / "none"), str(folder.path)]))
    assert works(client, memory)
    with pytest.raises(ssl.SSLError) as caught:
        client.load_verify_locations(capath="")
    assert caught.value.reason == "INVALID_DIRECTORY"


@pytest.mark.parametrize("kind", BOTH)
def test_what_is_added_later_is_found(files: Any, memory: Any, tmp_path: Path, kind: Any) -> None:
    folder = Folder(tmp_path / "folder", files.authority)
    client = kind(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(capath=str(folder.path))
    assert not works(client, memory)
    right(folder)
    assert works(client, memory)


def test_what_is_removed_is_trusted_no_longer(files: Any, memory: Any, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "folder", files.authority)
    right(folder)
    # A long time ago: the directory is only read again if this time changes.
    os.utime(folder.path, (0, 0))
    client = compat.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(capath=str(folder.path))
    pair = memory(client).handshake()
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.read(1)
    session = pair.client.session
    assert works(client, memory)
    (folder.path / f"{folder.hash}.0").unlink()
    assert not works(client, memory)
    assert not works(client, memory, session=session)


@pytest.mark.parametrize("kind", BOTH)
def test_lists_are_found_by_their_hash(files: Any, memory: Any, tmp_path: Path, kind: Any) -> None:
    authority = CertificateAuthority()
    good, bad = authority.issue(NAME), authority.issue(NAME)
    folder = Folder(tmp_path / "folder", authority)
    right(folder)
    for chain, expected in ((bad, True), (good, True), (bad, False)):
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(chain_file(tmp_path / "server.pem", chain))
        client = kind(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(capath=str(folder.path))
        if chain is good or not expected:
            client.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
            crl = authority.revocation_list(bad).buffer or b""
            folder.write(f"{folder.hash}.r0", pem("X509 CRL", crl))
        assert works(client, memory, server=server) is expected


@pytest.mark.parametrize("kind", BOTH)
def test_what_was_used_is_listed(files: Any, memory: Any, tmp_path: Path, kind: Any) -> None:
    folder = Folder(tmp_path / "folder", files.authority)
    right(folder)
    folder.write(f"{hash_of(OTHER.certificate_der)}.0", OTHER.certificate_pem)
    client = kind(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(capath=str(folder.path))
    assert client.get_ca_certs() == []
    for _ in range(2):
        memory(client).handshake()
        assert client.get_ca_certs(True) == [files.authority.certificate_der]
        assert client.cert_store_stats() == {"x509": 1, "crl": 0, "x509_ca": 1}
    # Of a server, too, which is asked for client certificates.
    server = files.server_context(kind)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(capath=str(folder.path))
    client.load_cert_chain(files.client)
    pair = memory(client, server).handshake()
    assert pair.server.getpeercert()
    assert server.get_ca_certs(True) == [files.authority.certificate_der]


def test_the_systems_certificates_are_listed_when_they_were_used(
    files: Any, memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path / "folder", files.authority)
    right(folder)
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(folder.path))
    for kind in BOTH:
        client = kind(ssl.PROTOCOL_TLS_CLIENT)
        client.load_default_certs()
        assert client.get_ca_certs() == []
        memory(client).handshake()
        assert client.get_ca_certs(True) == [files.authority.certificate_der]


def test_a_wrapped_context_trusts_a_folder_too(files: Any, memory: Any, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "folder", files.authority)
    right(folder)
    client = compat.of(polytls.implementation().client_context(TLSClientConfiguration()))
    assert not works(client, memory)
    client.load_verify_locations(capath=str(folder.path))
    assert works(client, memory)


def test_a_lone_leaf_is_completed_from_a_folder(files: Any, memory: Any, tmp_path: Path) -> None:
    middle = files.authority.intermediate()
    folder = Folder(tmp_path / "folder", middle)
    right(folder)
    server = compat.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    lone = polytls.SigningChain(middle.issue(NAME).leaf)
    server.load_cert_chain(chain_file(tmp_path / "lone.pem", lone))
    server.load_verify_locations(capath=str(folder.path))
    assert works(files.client_context(ssl.SSLContext), memory, server=server)


OIDS = {"CN": "2.5.4.3", "C": "2.5.4.6", "O": "2.5.4.10", "OU": "2.5.4.11"}
NAMES = [
    [[("CN", "UTF8String", "Ein  Name\t mit  L\u00fccken ")], [("O", "UTF8String", " ")]],
    [[("C", "PrintableString", "DE")], [("O", "PrintableString", " A  b ")]],
    [[("CN", "T61String", "Zert\u00e4fikat  ")], [("O", "BMPString", "\u041e\u041e  O")]],
    [[("CN", "UniversalString", "A  \u1e9e")], [("O", "PrintableString", "X  y")]],
    [[("CN", "IA5String", "B"), ("O", "UTF8String", "a"), ("OU", "UTF8String", "A  A")]],
    [[("O", "UTF8String", "b"), ("O", "UTF8String", "A")], [("OU", "UTF8String", "y" * 64)]],
    [[("CN", "UTF8String", "one")], [("CN", "NumericString", "1  2")]],
]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("name", NAMES)
def test_the_hash_of_a_name_is_openssls(memory: Any, tmp_path: Path, kind: Any, name: Any) -> None:
    subject = x509.Name(
        x509.RelativeDistinguishedName(
            # The kinds of text that certificates have, and that x509.Name itself no longer writes.
            x509.NameAttribute(
                x509.ObjectIdentifier(OIDS[attribute]), text, _ASN1Type[form], _validate=False
            )
            for attribute, form, text in several
        )
        for several in name
    )
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    now = datetime.datetime.now(datetime.UTC)

    def issued(number: int, names: x509.Name, extension: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder(subject, names, keys[number].public_key(), number + 1)
        builder = builder.not_valid_before(now - datetime.timedelta(1))
        builder = builder.not_valid_after(now + datetime.timedelta(30))
        return builder.add_extension(extension, critical=True).sign(keys[0], hashes.SHA256())

    root = issued(0, subject, x509.BasicConstraints(ca=True, path_length=None))
    leaf = issued(1, x509.Name([]), x509.SubjectAlternativeName([x509.DNSName(NAME)]))
    key = keys[1].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain = tmp_path / "chain.pem"
    chain.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + key)
    der = root.public_bytes(serialization.Encoding.DER)
    (tmp_path / f"{hash_of(der)}.0").write_bytes(pem("CERTIFICATE", der))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(str(chain))
    client = kind(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(capath=str(tmp_path))
    memory(client, server).handshake()
