"""What `polytls inspect` shows without verifying it: SCTs and OCSP staples."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import polytls
from inspection import NAME, Serve, doing_tls, result_of
from polytls import (
    Certificate,
    OCSPResponse,
    PrivateKey,
    SigningChain,
)
from polytls.certificates import read
from polytls.cli import main
from polytls.cli.evidence import OCSPAnswer, ocsp_answer
from polytls.cli.findings import Findings
from polytls.cli.report import as_text
from polytls.cli.route import Stage
from polytls.cli.targets import Target
from polytls.cli.verdict import judge
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

Run = Callable[..., tuple[int, str]]

#: Of the extension in a certificate, and of that in an OCSP response (RFC 6962 3.3).
OF_CERTIFICATES = "1.3.6.1.4.1.11129.2.4.2"
OF_RESPONSES = b"\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x05"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
IN_MILLISECONDS = 1_767_323_045_678
#: What a responder says that has no answer (RFC 6960 4.2.1).
TRY_LATER = b"\x30\x03\x0a\x01\x03"


def element(tag: int, *parts: bytes) -> bytes:
    """An element of DER."""
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + struct.pack(">H", size)
    return bytes([tag]) + length + content


def vector(content: bytes) -> bytes:
    return struct.pack(">H", len(content)) + content


def sct(log: int, scheme: int = 0x0403, signature: bytes = b"signature") -> bytes:
    head = struct.pack(">B32sQ", 0, bytes([log]) * 32, IN_MILLISECONDS)
    return head + vector(b"") + struct.pack(">H", scheme) + vector(signature)


def listed(*entries: bytes) -> bytes:
    return element(4, vector(b"".join(vector(entry) for entry in entries)))


def certificate(value: bytes) -> tuple[bytes, bytes]:
    """A self-signed certificate with this value of the extension, and its key; both DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    builder = x509.CertificateBuilder(
        name,
        name,
        key.public_key(),
        x509.random_serial_number(),
        datetime.now(UTC) - timedelta(days=1),
        datetime.now(UTC) + timedelta(days=9),
    )
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(OF_CERTIFICATES), value)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), False)
    made = builder.add_extension(extension, False).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER), key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def inspected(capsys: pytest.CaptureFixture[str], path: Path) -> tuple[dict[str, Any], str]:
    """The first certificate of a file as a document, and the whole as text, without line ends."""
    assert main(["inspect", str(path), "--json"]) == 0
    (first, *_) = result_of(capsys.readouterr().out)["chain"]
    assert main(["inspect", str(path)]) == 0
    return first, " ".join(capsys.readouterr().out.split())


# --- SCTs ---


def test_timestamps_of_a_certificate_are_shown_as_another_library_reads_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    der, _ = certificate(listed(sct(1), sct(2, 0x0401)))
    (tmp_path / "cert.pem").write_bytes(pem("CERTIFICATE", der))
    first, text = inspected(capsys, tmp_path / "cert.pem")
    assert first["scts_error"] is None
    theirs = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.PrecertificateSignedCertificateTimestamps
    )
    assert len(first["scts"]) == 2
    for ours, other in zip(first["scts"], theirs.value, strict=True):
        assert base64.b64decode(ours["log_id"]) == other.log_id
        moment = datetime.fromisoformat(ours["timestamp"])
        assert moment == other.timestamp.replace(tzinfo=UTC) == MOMENT
        assert ours["version"] == other.version.value + 1
    schemes = [each["signature_scheme"] for each in first["scts"]]
    assert schemes == ["ecdsa_secp256r1_sha256", "rsa_pkcs1_sha256"]
    log = base64.b64encode(b"\1" * 32).decode()
    assert f"SCTs 2, not verified 2026-01-02 03:04 UTC, log {log}, ecdsa_secp256r1_sha256" in text


def test_many_timestamps_and_those_of_other_versions_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    der, _ = certificate(listed(b"\x01other", sct(3, 0xFEFE), *[sct(4)] * 8))
    (tmp_path / "cert.der").write_bytes(der)
    first, text = inspected(capsys, tmp_path / "cert.der")
    other, unknown = first["scts"][:2]
    absent = {"log_id": None, "timestamp": None, "signature_scheme": None}
    assert other == {"version": 2, **absent}
    assert unknown["signature_scheme"] == "0xFEFE"
    assert "SCTs 10, not verified v2, which is not supported" in text
    assert text.count(", log ") == 7
    assert "and 2 more" in text


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (listed(), "it is empty"),
        (listed(*[sct(1)] * 65), "more than 64"),
        (listed(sct(1)[:-1]), "a malformed timestamp"),
        (listed(sct(1)) + b"\0", "not one OCTET STRING"),
        (b"", "not one OCTET STRING"),
    ],
    ids=["empty", "many", "cut", "followed", "nothing"],
)
def test_a_list_that_cannot_be_read_does_not_hide_the_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: bytes, why: str
) -> None:
    der, _ = certificate(value)
    (tmp_path / "cert.der").write_bytes(der)
    first, text = inspected(capsys, tmp_path / "cert.der")
    assert (first["scts"], first["dns_names"]) == ([], [NAME])
    assert why in first["scts_error"]
    assert f"SCTs cannot be read: {first['scts_error']}" in text


@pytest.mark.parametrize("name", polytls.implementations())
def test_timestamps_of_a_refused_certificate_are_shown(serve: Serve, run: Run, name: str) -> None:
    der, key = certificate(listed(sct(7)))
    chain = SigningChain((Certificate.from_buffer(der), PrivateKey.from_buffer(key)))
    code, printed = run(serve(doing_tls(chain)), "--implementation", name, "--json")
    result = result_of(printed)
    assert (code, result["connection"]) == (1, None)
    assert [each["version"] for each in result["chain"][0]["scts"]] == [1]


# --- staples ---


def stapling(chain: SigningChain, response: bytes | OCSPResponse) -> SigningChain:
    if isinstance(response, bytes):
        response = OCSPResponse.from_buffer(response)
    return SigningChain(chain.leaf, chain.chain, ocsp_response=response)


VERIFYING = [
    name
    for name in polytls.implementations()
    if polytls.implementation(name).capabilities.staple_verification
]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", VERIFYING)
def test_a_staple_that_counts_is_shown(
    serve: Serve, run: Run, ca: CertificateAuthority, name: str, version: str
) -> None:
    chain = ca.issue(NAME)
    response = ca.ocsp_response(chain)
    port = serve(doing_tls(stapling(chain, response)))
    options = ("--implementation", name, "--highest-version", version)
    code, printed = run(port, *options, "--json")
    staple = result_of(printed)["staple"]
    assert code == 0
    assert (staple["stapled"], staple["verified"], staple["status"]) == (True, True, "good")
    assert base64.b64decode(staple["der"]) == response.buffer
    assert staple["signer"] == read(ca.certificate.buffer or b"").subject
    produced, begins, ends = (
        datetime.fromisoformat(staple[field])
        for field in ("produced_at", "this_update", "next_update")
    )
    assert produced == begins < datetime.now(UTC) < ends
    assert staple["error"] is staple["revoked_at"] is staple["reason"] is None
    _, printed = run(port, *options)
    text = " ".join(printed.split())
    assert f"staple good; verified, signed by {staple['signer']} produced " in text
    assert f"next update {ends:%Y-%m-%d %H:%M} UTC" in text


@pytest.mark.parametrize("name", VERIFYING)
def test_a_staple_that_revokes_is_shown_with_time_and_reason(
    serve: Serve, run: Run, ca: CertificateAuthority, name: str
) -> None:
    chain = ca.issue(NAME)
    since = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=5)
    response = ca.ocsp_response(chain, status="revoked", this_update=since)
    port = serve(doing_tls(stapling(chain, response)))
    code, printed = run(port, "--implementation", name, "--json")
    result = result_of(printed)
    staple = result["staple"]
    assert (code, result["verdict"]["reason"]) == (1, "revoked")
    assert (staple["stapled"], staple["verified"], staple["status"]) == (True, False, "revoked")
    assert (staple["reason"], staple["signer"]) == ("keyCompromise", None)
    assert datetime.fromisoformat(staple["revoked_at"]) == since
    _, printed = run(port, "--implementation", name)
    text = " ".join(printed.split())
    assert f"staple revoked on {since:%Y-%m-%d %H:%M} UTC (keyCompromise); refused" in text


@pytest.mark.parametrize("name", VERIFYING)
def test_a_staple_that_nobody_verifies_is_shown_as_that(
    serve: Serve,
    ca: CertificateAuthority,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Whoever is pinned needs no issuer, so there is none whose response it could be.
    chain = ca.issue(NAME)
    port = serve(doing_tls(stapling(chain, ca.ocsp_response(chain))))
    pin = read(chain.leaf[0].buffer or b"").spki_sha256
    pinned = ("--server-hostname", NAME, "--pin-sha256", pin, "--implementation", name)
    assert main(["inspect", f"127.0.0.1:{port}", *pinned, "--json"]) == 0
    staple = result_of(capsys.readouterr().out)["staple"]
    assert (staple["stapled"], staple["verified"], staple["status"]) == (True, False, "good")
    assert staple["signer"] is None
    assert main(["inspect", f"127.0.0.1:{port}", *pinned]) == 0
    assert "staple good; not verified" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (lambda ca: TRY_LATER, "not verified; an error of the responder: tryLater"),
        (
            lambda ca: ca.ocsp_response(ca.issue(NAME)).buffer,
            "about another certificate; not verified",
        ),
        (lambda ca: b"garbage", "not verified; not a readable OCSP response: "),
    ],
    ids=["error", "another", "garbage"],
)
def test_what_proves_nothing_is_told(
    ca: CertificateAuthority, response: Callable[[CertificateAuthority], bytes], told: str
) -> None:
    """Our servers do not staple this; tests/interop has an OpenSSL server that does."""
    leaf = ca.issue(NAME).leaf[0].buffer or b""
    info = polytls.ConnectionInfo(
        implementation="rustls", peer_chain=(leaf,), ocsp_response=response(ca)
    )
    found = Findings(
        target=Target(NAME, 443, NAME), stage=Stage.CONNECTED, info=info, tells_staple=True
    )
    text = " ".join(" ".join(as_text(found, judge(found))).split())
    assert f"staple {told}" in text


@pytest.mark.parametrize("name", polytls.implementations())
def test_a_server_that_staples_nothing_is_told(
    serve: Serve, run: Run, ca: CertificateAuthority, name: str
) -> None:
    port = serve(doing_tls(ca.issue(NAME)))
    _, printed = run(port, "--implementation", name, "--json")
    staple = result_of(printed)["staple"]
    assert staple["stapled"] is (False if name in VERIFYING else None)
    assert {staple[field] for field in staple if field not in ("stapled", "scts")} == {None}
    _, printed = run(port, "--implementation", name)
    assert ("staple none" in " ".join(printed.split())) is (name in VERIFYING)


def single_response(leaf: bytes, *extensions: bytes) -> bytes:
    """An OCSP response, with a signature of nobody's."""
    number = read(leaf).serial_number
    serial = element(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))
    sha1 = element(0x30, element(6, b"\x2b\x0e\x03\x02\x1a"))
    time = element(0x18, b"20260102030405Z")
    identity = element(0x30, sha1, element(4, bytes(20)), element(4, bytes(20)), serial)
    single = element(0x30, identity, element(0x80), time, element(0xA1, element(0x30, *extensions)))
    data = element(0x30, element(0xA2, element(4, bytes(20))), time, element(0x30, single))
    algorithm = element(0x30, element(6, b"\x2a\x86\x48\xce\x3d\x04\x03\x02"))
    basic = element(0x30, data, algorithm, element(3, bytes(65)))
    kind = element(6, b"\x2b\x06\x01\x05\x05\x07\x30\x01\x01")
    return element(
        0x30, element(0x0A, b"\0"), element(0xA0, element(0x30, kind, element(4, basic)))
    )


def test_timestamps_of_a_response_are_read(ca: CertificateAuthority) -> None:
    leaf = ca.issue(NAME).leaf[0].buffer or b""

    def answer(value: bytes) -> OCSPAnswer:
        extension = element(0x30, element(6, OF_RESPONSES), element(4, value))
        return ocsp_answer(single_response(leaf, extension), leaf)

    found = answer(listed(sct(5)))
    assert (found.error, found.status, found.timestamps_error) == (None, "good", None)
    (timestamp,) = found.timestamps
    assert (timestamp.log_id, timestamp.moment) == (b"\5" * 32, MOMENT)
    malformed = answer(listed())
    assert (malformed.status, malformed.timestamps) == ("good", ())
    assert "it is empty" in (malformed.timestamps_error or "")
