"""The table of docs/ssl.md: each row is shown to be so."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import ssl
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import polytls
from polytls import TLSClientConfiguration, _native, compat
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

from .conftest import encrypted

NAME = "server.example"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "ssl.md"


def rows() -> dict[str, str]:
    """What happens, by setting."""
    _, _, table = PAGE.read_text().partition("| setting | result | notes |\n")
    found = {}
    for line in table.splitlines()[1:]:
        if not line.startswith("|"):
            break
        setting, happens, _ = (cell.strip() for cell in line.strip("|").split("|"))
        found[setting.replace("`", "")] = happens
    return found


class Side:
    """What a case has: contexts, files, and connections in memory."""

    def __init__(self, files: Any, memory: Any, folder: Path) -> None:
        self.files, self.memory, self.folder = files, memory, folder
        self.client = files.client_context()
        self.server = files.server_context()

    def pair(self, **more: Any) -> Any:
        return self.memory(self.client, self.server, **more).handshake()

    def fails(self, **more: Any) -> bool:
        try:
            self.pair(**more)
        except ssl.SSLError:
            return True
        return False

    def refuses(self, context: Any, *, server: bool = False, name: str | None = NAME) -> bool:
        try:
            context.wrap_bio(
                ssl.MemoryBIO(),
                ssl.MemoryBIO(),
                server_side=server,
                server_hostname=None if server else name,
            )
        except compat.Refused as refused:
            return bool(refused.what)
        return False


def verification(side: Side) -> str:
    side.client = compat.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert side.fails()
    side.client.check_hostname = False
    side.client.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        side.pair(name=None)
    return "honoured"


def name_to_check(side: Side) -> str:
    needed = "check_hostname requires server_hostname"
    with socket.socket() as sock, pytest.raises(ValueError, match=needed):
        side.client.wrap_socket(sock)
    assert side.refuses(side.client, name=None)
    side.client.check_hostname = False
    side.pair(name=None)
    return "refused"


def authorities(side: Side) -> str:
    side.client = compat.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    side.client.load_default_certs()
    assert side.fails()
    side.client.load_verify_locations(side.files.ca)
    side.pair()
    return "honoured"


def listed(side: Side) -> str:
    folder = side.folder / "folder"
    folder.mkdir()
    name = hashlib.sha1(_native.canonical_subject(side.files.authority.certificate_der))
    number = int.from_bytes(name.digest()[:4], "little")
    shutil.copy(side.files.ca, folder / f"{number:08x}.0")
    side.client = compat.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    side.client.load_verify_locations(capath=str(folder))
    assert side.client.get_ca_certs() == []
    side.fails(name="other.example")
    assert side.client.get_ca_certs() == []
    side.pair()
    assert len(side.client.get_ca_certs()) == side.client.cert_store_stats()["x509_ca"] == 1
    return "honoured"


def chains(side: Side) -> str:
    side.server.load_cert_chain(
        side.files.chain("table.pem", side.files.authority.issue(NAME, "table.example"))
    )
    assert ("DNS", "table.example") in side.pair().client.getpeercert()["subjectAltName"]
    return "honoured"


def passwords(side: Side) -> str:
    path = side.folder / "encrypted.pem"
    path.write_bytes(encrypted(Path(side.files.server).read_bytes(), b"secret"))
    side.server = compat.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    side.server.load_cert_chain(side.files.server, str(path), "secret")
    side.pair()
    return "honoured"


def versions(side: Side) -> str:
    side.client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert side.pair().client.version() == "TLSv1.2"
    side.server.options |= ssl.OP_NO_TLSv1_2
    assert side.fails()
    return "honoured"


def old_versions(side: Side) -> str:
    side.client.maximum_version = ssl.TLSVersion.TLSv1_1
    assert side.refuses(side.client)
    return "refused"


def suites(side: Side) -> str:
    side.client.maximum_version = ssl.TLSVersion.TLSv1_2
    side.client.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")
    assert side.pair().client.cipher()[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"
    return "honoured"


def level(side: Side) -> str:
    side.client.set_ciphers("@SECLEVEL=1:HIGH")
    side.pair()
    side.client.set_ciphers("@SECLEVEL=3:HIGH")
    assert side.refuses(side.client)
    return "refused"


def missing_suites(side: Side) -> str:
    side.client.set_ciphers("AES128-SHA")
    with pytest.warns(RuntimeWarning, match="only TLS 1.3"):
        assert side.pair().client.version() == "TLSv1.3"
    side.client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert side.refuses(side.client)
    return "refused"


def curves(side: Side) -> str:
    side.client.set_ecdh_curve("secp384r1")
    side.server.set_ecdh_curve("prime256v1")
    assert side.fails()
    side.server.set_ecdh_curve("secp384r1")
    side.pair()
    side.client.set_ecdh_curve("brainpoolP256r1")
    assert side.refuses(side.client)
    return "honoured"


def protocols(side: Side) -> str:
    side.client.set_alpn_protocols(["a", "b"])
    side.server.set_alpn_protocols(["b"])
    assert side.pair().server.selected_alpn_protocol() == "b"
    side.server.set_alpn_protocols(["c"])
    assert side.pair().server.selected_alpn_protocol() is None
    return "honoured"


def callback(side: Side) -> str:
    asked = []
    side.server.sni_callback = lambda _, name, __: asked.append(name)
    side.pair()
    assert asked == [NAME]
    return "honoured"


def session_of(pair: Any) -> Any:
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.read(1)
    return pair.client.session


def sessions(side: Side) -> str:
    session = session_of(side.pair())
    assert not isinstance(session, ssl.SSLSession)
    assert all(side.pair(session=session).client.session_reused for _ in range(2))
    assert side.client.session_stats()["hits"] == 2
    return "honoured"


def tickets(side: Side) -> str:
    def given() -> int:
        """How many OpenSSL takes."""
        taken = []
        client = side.client = side.files.client_context(ssl.SSLContext)
        client._msg_callback = lambda *message: taken.append(message[4])
        pair = side.pair()
        with pytest.raises(ssl.SSLWantReadError):
            pair.client.read(1)
        return taken.count(ssl._TLSMessageType.NEWSESSION_TICKET)  # type: ignore[attr-defined]

    assert given() == 2
    for number in (0, 1, 5):
        side.server.num_tickets = number
        assert given() == number
    side.server.options |= ssl.OP_NO_TICKET
    assert given() == 0
    return "honoured"


def truncation(side: Side) -> str:
    for lenient in (True, False):
        side.client.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        if lenient:
            side.client.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
        pair = side.pair()
        with pytest.raises(ssl.SSLWantReadError):
            pair.client.read(1)
        pair.to_client.write_eof()
        if lenient:
            assert pair.client.read(1) == b""
        else:
            with pytest.raises(ssl.SSLEOFError):
                pair.client.read(1)
    return "honoured"


def lists(side: Side) -> str:
    authority = side.files.authority
    bad = authority.issue(NAME)
    side.server.load_cert_chain(side.files.chain("revoked.pem", bad))
    path = side.folder / "crl.pem"
    path.write_bytes(pem("X509 CRL", authority.revocation_list(bad).buffer or b""))
    side.client.load_verify_locations(str(path))
    side.pair()
    for flag in (ssl.VERIFY_CRL_CHECK_LEAF, ssl.VERIFY_CRL_CHECK_CHAIN):
        side.client.verify_flags |= flag
        assert side.fails()
    return "honoured"


def chain_flags(side: Side) -> str:
    root = CertificateAuthority(key_usage=())
    middle = root.intermediate()
    side.server = compat.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    side.server.load_cert_chain(side.files.chain("middle.pem", middle.issue(NAME)))
    side.client = compat.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    side.client.load_verify_locations(cadata=middle.certificate_pem.decode())
    assert side.fails()
    side.client.verify_flags |= 0x80000
    side.pair()
    side.client = compat.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    side.client.load_verify_locations(cadata=root.certificate_pem.decode())
    side.pair()
    side.client.verify_flags |= ssl.VERIFY_X509_STRICT
    assert side.fails()
    return "honoured"


def other_flags(side: Side) -> str:
    side.client.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
    side.pair()
    # X509_V_FLAG_EXPLICIT_POLICY.
    side.client.verify_flags |= 0x100
    assert side.refuses(side.client)
    return "refused"


def key_log(side: Side) -> str:
    path = side.folder / "keys"
    side.client.keylog_filename = str(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        side.pair()
    assert "CLIENT_HANDSHAKE_TRAFFIC_SECRET" in path.read_text()
    return "honoured"


def common_name(side: Side) -> str:
    side.client.hostname_checks_common_name = False
    side.pair()
    side.client.hostname_checks_common_name = True
    assert side.refuses(side.client)
    return "refused"


def later_server(side: Side) -> str:
    side.server.post_handshake_auth = True
    side.pair()
    side.server.verify_mode = ssl.CERT_REQUIRED
    assert side.refuses(side.server, server=True)
    return "refused"


def later_client(side: Side) -> str:
    side.client.post_handshake_auth = True
    side.pair()
    return "no effect"


def later(side: Side) -> str:
    with pytest.raises(compat.Refused):
        side.pair().server.verify_client_post_handshake()
    return "refused"


def shared_keys(side: Side) -> str:
    if sys.version_info < (3, 13):
        pytest.skip("Python 3.13 and later have pre-shared keys")
    side.client.set_psk_client_callback(lambda _: (None, b"key"))
    assert side.refuses(side.client)
    side.server.set_psk_server_callback(lambda _: b"key")
    assert side.refuses(side.server, server=True)
    return "refused"


def binding(side: Side) -> str:
    with pytest.raises(compat.Refused):
        side.pair().client.get_channel_binding()
    return "refused"


def messages(side: Side) -> str:
    side.client._msg_callback = lambda *_: None
    assert side.refuses(side.client)
    return "refused"


def parameters(side: Side) -> str:
    path = side.folder / "dh.pem"
    # RFC 7919's ffdhe2048.
    prime = int(
        "FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE"
        "249B3EF97D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3"
        "B557135E7F57C935984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182"
        "B324FB61D108A94BB2C8E3FBB96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D70"
        "9E02FCE1CDF7E2ECC03404CD28342F619172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC"
        "2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA886B423861285C97FFFFFFFFFFFFFFFF",
        16,
    ).to_bytes(257, "big")
    integers = b"\x02\x82\x01\x01" + prime + b"\x02\x01\x02"
    path.write_bytes(pem("DH PARAMETERS", b"\x30\x82\x01\x08" + integers))
    side.server.load_dh_params(str(path))
    side.pair()
    return "no effect"


def asked_of_a_face(side: Side) -> str:
    side.client = compat.of(polytls.implementation().client_context(TLSClientConfiguration()))
    assert side.fails()
    side.client.load_verify_locations(side.files.ca)
    side.client.set_alpn_protocols(["a"])
    side.server.set_alpn_protocols(["a"])
    assert side.pair().client.selected_alpn_protocol() == "a"
    return "honoured"


def rest_of_a_face(side: Side) -> str:
    for change in (
        lambda face: face.set_ciphers("ECDHE+AESGCM"),
        lambda face: setattr(face, "maximum_version", ssl.TLSVersion.TLSv1_2),
        lambda face: face.load_cert_chain(side.files.client),
    ):
        face = compat.of(polytls.implementation().client_context(TLSClientConfiguration()))
        change(face)
        assert side.refuses(face)
    return "refused"


def other_options(side: Side) -> str:
    for option in (ssl.OP_ALL, ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION):
        side.client.options |= option
        side.server.options |= option
    side.pair()
    return "no effect"


CASES: dict[str, Callable[[Side], str]] = {
    "verify_mode, check_hostname": verification,
    "wrap_bio without a name to check": name_to_check,
    "load_verify_locations, load_default_certs": authorities,
    "get_ca_certs, cert_store_stats": listed,
    "load_cert_chain": chains,
    "load_cert_chain(password=…)": passwords,
    "minimum_version, maximum_version, OP_NO_TLSv1_2, OP_NO_TLSv1_3": versions,
    "only TLS 1.0 and 1.1": old_versions,
    "set_ciphers": suites,
    "set_ciphers with @SECLEVEL above 2": level,
    "set_ciphers with unsupported suites": missing_suites,
    "set_ecdh_curve": curves,
    "set_alpn_protocols": protocols,
    "sni_callback": callback,
    "session, session_stats": sessions,
    "OP_NO_TICKET, num_tickets": tickets,
    "OP_IGNORE_UNEXPECTED_EOF": truncation,
    "VERIFY_CRL_CHECK_LEAF, VERIFY_CRL_CHECK_CHAIN": lists,
    "VERIFY_X509_PARTIAL_CHAIN, VERIFY_X509_STRICT": chain_flags,
    "other verify_flags": other_flags,
    "keylog_filename": key_log,
    "hostname_checks_common_name = True": common_name,
    "post_handshake_auth on a server that requests certificates": later_server,
    "post_handshake_auth on a client": later_client,
    "verify_client_post_handshake": later,
    "set_psk_client_callback, set_psk_server_callback": shared_keys,
    "get_channel_binding": binding,
    "_msg_callback": messages,
    "load_dh_params": parameters,
    "set_alpn_protocols, load_verify_locations on a wrapped client context": asked_of_a_face,
    "anything else on a wrapped context": rest_of_a_face,
    "other options": other_options,
}


def test_every_row_has_a_case() -> None:
    assert set(CASES) == set(rows())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("setting", CASES)
def test_it_happens_as_the_table_says(
    files: Any, memory: Any, tmp_path: Path, setting: str
) -> None:
    assert re.fullmatch("honoured|refused|no effect", rows()[setting])
    assert CASES[setting](Side(files, memory, tmp_path)) == rows()[setting]
