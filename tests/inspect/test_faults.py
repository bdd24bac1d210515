"""`polytls inspect` against servers with a fault each: `faults.toml` has what is expected.

docs/explain.md has what the command prints of each, and is held against it: what may differ (ports,
moments, hashes) must stand there, whatever it is. `POLYTLS_UPDATE=1` writes the page anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import pytest

import polytls
from inspection import NAME, Handle, accepting, serving
from polytls import (
    Certificate,
    NextProtocol,
    SigningChain,
    TLSServerConfiguration,
    WantReadError,
)
from polytls.certificates import read
from polytls.cli import main
from polytls.testing import CertificateAuthority, KeyType, conformance, self_signed
from polytls.testing.certificates import pem

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "explain.md"
CERTS: Final = Path(conformance.__file__).parent / "certs"
FAULTS: Final = tomllib.loads((Path(__file__).parent / "faults.toml").read_text())["fault"]
NOW: Final = datetime.now(UTC)


# --- the servers ---


@dataclass
class Scene:
    """Where a server is made: its authority, the command's files, and what ends with the test."""

    folder: Path
    ending: ExitStack
    ca: CertificateAuthority = field(default_factory=lambda: CertificateAuthority("Example Root"))

    def write(self, name: str, *sections: bytes) -> None:
        (self.folder / name).write_bytes(b"".join(sections))

    def serve(self, chain: SigningChain | None = None, **changes: Any) -> int:
        """A server of ours that listens to the end of each connection; its port."""
        chain = chain or self.ca.issue(NAME, common_name=NAME)
        context = polytls.implementation("rustls").server_context(
            TLSServerConfiguration([chain], **changes)
        )
        listener: Any = context.connect(("127.0.0.1", 0))

        def handle(connection: Any) -> None:
            while connection.recv(4096):
                pass

        self.ending.enter_context(accepting(listener.accept, handle))
        self.ending.callback(listener.close)
        port: int = listener.getsockname()[1]
        return port

    def serve_plain(self, handle: Handle) -> int:
        """A server that does whatever `handle` does with each connection; its port."""

        def to_the_end(plain: socket.socket) -> None:
            handle(plain)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass

        return self.ending.enter_context(serving(to_the_end))

    def serve_ssl(self, context: ssl.SSLContext) -> int:
        """A server on `ssl`."""

        def handle(plain: socket.socket) -> None:
            with context.wrap_socket(plain.dup(), server_side=True) as connection:
                connection.recv(1)

        return self.serve_plain(handle)


def chain_file(chain: SigningChain) -> list[bytes]:
    certificate, key = chain.leaf
    assert key is not None
    sections = [pem("CERTIFICATE", each.buffer or b"") for each in (certificate, *chain.chain)]
    return [*sections, pem("PRIVATE KEY", key.buffer or b"")]


def good(scene: Scene) -> int:
    return scene.serve(inner_protocols=[NextProtocol.HTTP1])


def expired(scene: Scene) -> int:
    old = {"not_before": NOW - timedelta(days=90), "not_after": NOW - timedelta(days=3, hours=1)}
    return scene.serve(scene.ca.issue(NAME, common_name=NAME, **old))


def not_yet_valid(scene: Scene) -> int:
    late = {"not_before": NOW + timedelta(days=3, hours=1), "not_after": NOW + timedelta(days=90)}
    return scene.serve(scene.ca.issue(NAME, common_name=NAME, **late))


def wrong_host(scene: Scene) -> int:
    return scene.serve(scene.ca.issue("example.org", "*.example.org", common_name="example.org"))


def missing_intermediate(scene: Scene) -> int:
    chain = scene.ca.intermediate("Example Issuing CA 1").issue(NAME, common_name=NAME)
    return scene.serve(SigningChain(chain.leaf))


def its_own_signature(scene: Scene) -> int:
    return scene.serve(self_signed(NAME, common_name=NAME))


def unknown_ca(scene: Scene) -> int:
    # The system's store of this test has another authority alone.
    scene.write("system.pem", CertificateAuthority("The System's Root").certificate_pem)
    issuer = CertificateAuthority("Foreign Root").intermediate("Foreign Issuing CA")
    return scene.serve(issuer.issue(NAME, common_name=NAME))


def wrong_purpose(scene: Scene) -> int:
    return scene.serve(scene.ca.issue(NAME, common_name=NAME, server=False))


def weak_key(scene: Scene) -> int:
    scene.write("weak-ca.pem", (CERTS / "weak.root.pem").read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(CERTS / "weak.rsa1024.pem")
    return scene.serve_ssl(context)


def plain_http(scene: Scene) -> int:
    def handle(plain: socket.socket) -> None:
        plain.recv(65536)
        plain.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    return scene.serve_plain(handle)


def limited(scene: Scene, ciphers: str, highest: ssl.TLSVersion) -> int:
    """An `ssl` server that has these suites and versions alone."""
    scene.write("server.pem", *chain_file(scene.ca.issue(NAME, key_type=KeyType.RSA_2048)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = min(highest, ssl.TLSVersion.TLSv1_1)
        context.maximum_version = highest
    context.load_cert_chain(scene.folder / "server.pem")
    return scene.serve_ssl(context)


def old_tls(scene: Scene) -> int:
    return limited(scene, "ALL", ssl.TLSVersion.TLSv1_1)


def no_common_suite(scene: Scene) -> int:
    return limited(scene, "AES128-SHA", ssl.TLSVersion.TLSv1_2)


def client_certificate(scene: Scene) -> int:
    return scene.serve(trust_store=scene.ca.trust_store())


def wrong_client_certificate(scene: Scene) -> int:
    ours = CertificateAuthority("Another Root").issue("client.example", server=False)
    scene.write("client.pem", *chain_file(ours))
    return scene.serve(trust_store=scene.ca.trust_store())


def exactly(plain: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length and (piece := plain.recv(length - len(data))):
        data += piece
    return data


def hello_of(plain: socket.socket) -> bytes:
    """The record of ClientHello."""
    head = exactly(plain, 5)
    return head + exactly(plain, int.from_bytes(head[3:]))


def cut_at_client_hello(scene: Scene) -> int:
    return scene.serve_plain(lambda plain: (hello_of(plain), None)[1])


def cut_at_finished(scene: Scene) -> int:
    context = polytls.implementation("rustls").server_context(
        TLSServerConfiguration([scene.ca.issue(NAME)])
    )

    def handle(plain: socket.socket) -> None:
        buffer = context.create_buffer()
        buffer.process_incoming(hello_of(plain))
        with suppress(WantReadError):
            buffer.do_handshake()
        # Finished comes last, 32 bytes or more behind a head of four (RFC 8446 4.4.4).
        plain.sendall(buffer.process_outgoing(buffer.outgoing_bytes_buffered())[:-10])

    return scene.serve_plain(handle)


def revoked(scene: Scene) -> int:
    chain = scene.ca.issue(NAME, common_name=NAME)
    scene.write("ca.crl", scene.ca.revocation_list(chain).buffer or b"")
    return scene.serve(chain)


def bad_signature(scene: Scene) -> int:
    certificate, key = scene.ca.issue(NAME, common_name=NAME).leaf
    der = bytearray(certificate.buffer or b"")
    der[-1] ^= 1  # The end of the signature (RFC 5280 4.1).
    return scene.serve(SigningChain((Certificate.from_buffer(der), key)))


def alpn_refused(scene: Scene) -> int:
    return scene.serve(inner_protocols=[NextProtocol.HTTP1])


def address_without_name(scene: Scene) -> int:
    return scene.serve()


SERVERS: Final[dict[str, Callable[[Scene], int]]] = {
    "good": good,
    "expired": expired,
    "not-yet-valid": not_yet_valid,
    "wrong-host": wrong_host,
    "missing-intermediate": missing_intermediate,
    "self-signed": its_own_signature,
    "unknown-ca": unknown_ca,
    "wrong-purpose": wrong_purpose,
    "weak-key": weak_key,
    "plain-http": plain_http,
    "old-tls": old_tls,
    "no-common-suite": no_common_suite,
    "client-certificate-demanded": client_certificate,
    "wrong-client-certificate": wrong_client_certificate,
    "cut-at-client-hello": cut_at_client_hello,
    "cut-at-finished": cut_at_finished,
    "revoked": revoked,
    "bad-signature": bad_signature,
    "alpn-refused": alpn_refused,
    "address-without-name": address_without_name,
    "pin-changed": its_own_signature,
}

GOOD: Final = {
    "name": "good",
    "title": "A correct server",
    "options": [
        *("--server-hostname", NAME, "--ca", "ca.pem"),
        *("--alpn", "h2,http/1.1"),
    ],
}


@contextmanager
def staged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A folder of its own, with the authority's certificate, and no store of the system's."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "system.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with ExitStack() as ending:
        scene = Scene(folder, ending)
        scene.write("ca.pem", scene.ca.certificate_pem)
        yield scene


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with staged(tmp_path / "scene", monkeypatch) as scene:
        yield scene


def lacking(name: str) -> str | None:
    """Why a fault cannot be made here; None where it can."""
    if name == "unknown-ca" and sys.platform != "linux":
        return "SSL_CERT_FILE, by which the system's store is replaced, is for Linux"
    if name == "old-tls" and not ssl.HAS_TLSv1_1:
        return "this OpenSSL has no TLS 1.1"
    return None


def command_of(fault: dict[str, Any], port: int) -> list[str]:
    pinned = self_signed(NAME).leaf[0].buffer or b""
    values = {"PIN": read(pinned).spki_sha256}
    return ["inspect", f"127.0.0.1:{port}", *(values.get(text, text) for text in fault["options"])]


@pytest.mark.parametrize("name", ["rustls", "stdlib"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["name"])
def test_a_fault_is_told_with_its_reason_and_who_can_fix_it(
    scene: Scene, fault: dict[str, Any], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if reason := lacking(fault["name"]):
        pytest.skip(reason)
    port = SERVERS[fault["name"]](scene)
    code = main([*command_of(fault, port), "--implementation", name, "--json"])
    (document,) = json.loads(capsys.readouterr().out)["results"]
    expected = fault | fault.get(name, {"why": ""})
    verdict = document["verdict"]
    assert (verdict["reason"], verdict["responsible"], code) == (
        expected["reason"],
        expected["responsible"],
        expected["exit_code"],
    ), verdict
    assert document["exit_code"] == code
    assert verdict["outcome"] == {1: "refused", 3: "failed"}[code]
    first, *_, last = verdict["explanation"]
    assert first == f"{verdict['reason']}: {verdict['message']}"
    assert last.startswith("To fix: ")
    if code == 1:
        # What was presented can be looked at, although it was refused.
        assert document["chain"][0]["sha256"]
        assert document["connection"] is None


def test_every_fault_has_its_server_and_every_difference_its_reason() -> None:
    assert {fault["name"] for fault in FAULTS} | {"good"} == set(SERVERS)
    assert len(FAULTS) == 20
    for fault in FAULTS:
        for name in ("rustls", "stdlib"):
            if name in fault:
                assert fault[name]["why"]


# --- the page ---

BEGIN: Final = "<!-- made by tests/inspect/test_faults.py -->"
END: Final = "<!-- until here -->"

#: What differs from one time to the next, all of it as long as what stands in its place.
VARIABLE: Final = {
    r"(?<=127\.0\.0\.1:)\d+": "PORT",
    r"\b\d{4}-\d\d-\d\d\b": "0000-00-00",
    r"\b\d\d:\d\d\b": "00:00",
    r"\b\d+\.\d ms\b": "0.0 ms",
    r"\b\d+ days left\b": "0 days left",
    r"\b[\d,]+ bytes sent, [\d,]+ received\b": "0,000 bytes sent, 0,000 received",
    r"\b[0-9a-f]{64}\b": "0" * 64,
    r"/tmp/page-\w{8}/": "/tmp/page-00000000/",
}


def settled(text: str) -> str:
    for pattern, value in VARIABLE.items():
        text = re.sub(pattern, value, text)
    return text


@pytest.mark.skipif(
    any(lacking(fault["name"]) for fault in FAULTS), reason="not all faults can be made here"
)
def test_the_page_has_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: Any
) -> None:
    parts = []
    # A path of a fixed length: it is printed, and lines are wrapped.
    folder = Path(tempfile.mkdtemp(prefix="page-", dir="/tmp"))
    request.addfinalizer(partial(shutil.rmtree, folder))
    for fault in (GOOD, *FAULTS):
        with staged(folder / fault["name"], monkeypatch) as scene:
            command = command_of(fault, SERVERS[fault["name"]](scene))
            code = main([*command, "--implementation", "rustls"])
        printed = capsys.readouterr().out
        shown = " ".join(["polytls", *command])
        parts.append(f"### {fault['title']}\n\n```\n$ {shown}\n{printed}```\n\nExit code {code}.\n")
    made = "\n".join(parts)
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    there, end, after = rest.partition(END)
    assert begin
    assert end
    if os.environ.get("POLYTLS_UPDATE") and settled(there.strip()) != settled(made.strip()):
        made = re.sub(r"(?<=127\.0\.0\.1:)\d+", "8443", made)
        PAGE.write_text(f"{before}{begin}\n\n{made}\n{end}{after}")
        there = made
    for stands, printed in zip_longest(
        *(settled(text.strip()).splitlines() for text in (there, made))
    ):
        assert stands == printed, "POLYTLS_UPDATE=1 writes the page anew"
