"""What a server accepts, found by probes (`polytls inspect --enumerate`); what a client offers."""

from __future__ import annotations

import json
import socket
import ssl
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import polytls
from polytls import NamedGroup, TLSServerConfiguration, _native
from polytls.cli import main
from polytls.testing import CertificateAuthority, KeyType
from polytls.testing.certificates import pem

NAME = "server.example"

Handle = Callable[[socket.socket], None]
Serve = Callable[[Handle], int]
Offers = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def offers(ca: CertificateAuthority, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Offers:
    """What is found of a port, by version."""
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem)

    def run(port: int, what: str = "all", *options: str) -> dict[str, dict[str, Any]]:
        given = ("--server-hostname", NAME, "--ca", str(tmp_path / "ca.pem"), "--json", *options)
        main(["inspect", f"127.0.0.1:{port}", *given, "--enumerate", what])
        (result,) = json.loads(capsys.readouterr().out)["results"]
        found = {offer["version"]: offer for offer in result["offers"]}
        assert [*found] == ["TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1.0", "SSLv3"]
        return found

    return run


@pytest.fixture
def with_ssl(ca: CertificateAuthority, tmp_path: Path) -> Callable[..., Handle]:
    """A function that makes a server of `ssl`."""
    certificate, key = ca.issue(NAME, key_type=KeyType.RSA_2048).leaf
    sections = (("CERTIFICATE", certificate), ("PRIVATE KEY", key))
    data = b"".join(pem(label, each.buffer or b"") for label, each in sections if each)
    (tmp_path / "server.pem").write_bytes(data)

    def make(ciphers: str, lowest: ssl.TLSVersion, highest: ssl.TLSVersion, options: int) -> Handle:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = lowest
            context.maximum_version = highest
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        context.options |= options
        context.load_cert_chain(tmp_path / "server.pem")

        def handle(plain: socket.socket) -> None:
            with context.wrap_socket(plain.dup(), server_side=True) as connection:
                connection.recv(1)

        return handle

    return make


@pytest.mark.parametrize("name", polytls.implementations())
def test_what_our_servers_accept_is_what_they_have(
    serve: Serve, offers: Offers, ca: CertificateAuthority, name: str
) -> None:
    context: Any = polytls.implementation(name).server_context(
        TLSServerConfiguration([ca.issue(NAME)])
    )
    port = serve(lambda plain: context.wrap_socket(plain).close())
    found = offers(port)
    assert [offer["accepted"] for offer in found.values()] == [True, True, False, False, False]
    assert [offer["error"] for offer in found.values()] == [None] * 5
    known = set(polytls.CipherSuite)
    effective = {suite.name for suite in known.intersection(context.effective_ciphers)}
    new = {suite for suite in effective if "_WITH_" not in suite}
    assert set(found["TLSv1.3"]["suites"]) == new
    # The certificate is for ECDSA. Some libraries have suites that have no name in `CipherSuite`.
    told = set(found["TLSv1.2"]["suites"]) & set(polytls.CipherSuite.__members__)
    assert told == {each for each in effective if "_ECDSA_" in each}
    if context.effective_groups is not None:
        groups = {NamedGroup(group).name for group in context.effective_groups}
        assert groups & set(NamedGroup.__members__) <= set(found["TLSv1.3"]["groups"])
    assert {"x25519", "secp256r1"} <= set(found["TLSv1.2"]["groups"])
    assert "X25519MLKEM768" not in found["TLSv1.2"]["groups"]
    for version in ("TLSv1.1", "TLSv1.0", "SSLv3"):
        assert (found[version]["suites"], found[version]["groups"]) == (None, None)


@pytest.mark.parametrize(
    ("options", "in_order"), [(ssl.OP_CIPHER_SERVER_PREFERENCE, True), (0, False)]
)
def test_suites_and_whose_order_decides_are_found(
    serve: Serve,
    offers: Offers,
    with_ssl: Callable[..., Handle],
    options: int,
    in_order: bool,
) -> None:
    tls12 = ssl.TLSVersion.TLSv1_2
    names = ["AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"]
    found = offers(serve(with_ssl(":".join(names), tls12, tls12, options)), "suites")
    assert [offer["accepted"] for offer in found.values()] == [False, True, False, False, False]
    suites = [
        "TLS_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
    ]
    assert found["TLSv1.2"]["server_order"] is in_order
    assert sorted(found["TLSv1.2"]["suites"]) == sorted(suites)
    if in_order:
        assert found["TLSv1.2"]["suites"] == suites
    assert found["TLSv1.2"]["groups"] is None


@pytest.mark.skipif(not ssl.HAS_TLSv1_1, reason="this OpenSSL has no TLS 1.1")
def test_versions_that_no_implementation_has_are_found(
    serve: Serve, offers: Offers, with_ssl: Callable[..., Handle]
) -> None:
    port = serve(with_ssl("ALL", ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, 0))
    found = offers(port)
    assert [offer["accepted"] for offer in found.values()] == [False, False, True, True, False]
    assert "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA" in found["TLSv1.1"]["suites"]
    # Groups are asked in the highest of them.
    assert "secp256r1" in found["TLSv1.1"]["groups"]
    assert found["TLSv1.0"]["groups"] is None
    assert "TLS_RSA_WITH_AES_128_CBC_SHA" in found["TLSv1.0"]["suites"]
    assert offers(port, "versions")["TLSv1.1"]["suites"] is None


def server_hello(version: int, suite: int, extensions: bytes = b"") -> bytes:
    """A record with a ServerHello."""
    body = version.to_bytes(2) + bytes(32) + b"\0" + suite.to_bytes(2) + b"\0"
    if extensions:
        body += len(extensions).to_bytes(2) + extensions
    message = b"\x02" + len(body).to_bytes(3) + body
    return b"\x16\x03\x03" + len(message).to_bytes(2) + message


def answering(reply: bytes, end: bool = True) -> Handle:
    def handle(plain: socket.socket) -> None:
        plain.recv(65536)
        plain.sendall(reply)
        if end:
            plain.shutdown(socket.SHUT_WR)
        while plain.recv(65536):
            pass

    return handle


@pytest.mark.parametrize(
    ("reply", "accepted", "error"),
    [
        (b"", False, None),
        (b"\x15\x03\x01\x00\x02\x02\x28", False, None),
        (server_hello(0x0303, 0xC02B)[:20], False, None),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None, "not TLS"),
        # It goes on to choose what was not offered any more.
        (server_hello(0x0303, 0xC02B), True, "which was not offered"),
        (server_hello(0x0303, 0x1234), True, "0x1234, which was not offered"),
    ],
)
def test_what_a_server_may_answer_is_told(
    serve: Serve, offers: Offers, reply: bytes, accepted: bool | None, error: str | None
) -> None:
    offer = offers(serve(answering(reply)), "suites")["TLSv1.2"]
    assert offer["accepted"] is accepted
    if error is None:
        assert offer["error"] is None
    else:
        assert error in offer["error"]


def test_a_group_that_was_not_offered_is_told(serve: Serve, offers: Offers) -> None:
    retry = b"\0\x2b\0\x02\x03\x04"
    offer = offers(serve(answering(server_hello(0x0303, 0x1301, retry))), "groups")["TLSv1.3"]
    assert "the group none" in offer["error"]
    retry += b"\0\x33\0\x02\x12\x34"
    offer = offers(serve(answering(server_hello(0x0303, 0x1301, retry))), "groups")["TLSv1.3"]
    assert "the group 0x1234" in offer["error"]
    assert offer["groups"] == []


def test_a_server_that_does_not_answer_leaves_it_unknown(serve: Serve, offers: Offers) -> None:
    found = offers(serve(answering(b"", end=False)), "all", "--timeout", "0.2")
    assert {offer["accepted"] for offer in found.values()} == {None}
    assert {offer["error"] for offer in found.values()} == {"timed out"}


def test_it_is_told_in_words(serve: Serve, tls: Handle, capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", f"127.0.0.1:{serve(tls)}", "--enumerate", "all"])
    printed = capsys.readouterr().out
    assert "\n  TLSv1.3      accepted\n    suites (" in printed
    assert "\n      TLS_AES_256_GCM_SHA384\n" in printed
    assert "\n  SSLv3        not accepted\n" in printed
    assert "\n    groups     " in printed


def test_nothing_is_asked_of_a_server_that_is_not_reached(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    assert main(["inspect", f"127.0.0.1:{port}", "--enumerate", "all", "--json"]) == 3
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["offers"] is None


def test_it_goes_through_the_dialogue_of_starttls(
    serve: Serve, tls: Handle, offers: Offers
) -> None:
    def handle(plain: socket.socket) -> None:
        plain.sendall(b"+OK ready\r\n")
        assert plain.recv(6, socket.MSG_WAITALL) == b"STLS\r\n"
        plain.sendall(b"+OK begin\r\n")
        tls(plain)

    found = offers(serve(handle), "all", "--starttls", "pop3")
    assert [offer["accepted"] for offer in found.values()] == [True, True, False, False, False]


def test_names_are_unique_and_new_suites_are_kept_apart() -> None:
    tables = _native.numbers("probed_suites_1_2"), _native.numbers("probed_suites_1_3")
    assert not set(tables[0].values()) & set(tables[1].values())
    assert len(tables[0]) > 300
    assert {"TLS_AES_128_GCM_SHA256", "TLS_SM4_GCM_SM3"} <= set(tables[1])
    for table in (*tables, _native.numbers("probed_groups")):
        assert len(set(table.values())) == len(table)


# --- what a client offers ---


def test_versions_suites_and_groups_can_be_chosen(
    serve: Serve,
    tls: Handle,
    ca: CertificateAuthority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem)
    port = serve(tls)
    trusting = ("--server-hostname", NAME, "--ca", str(tmp_path / "ca.pem"))
    suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    for options, expected in (
        (("--highest-version", "1.2"), {"version": "TLSv1.2"}),
        (("--lowest-version", "1.3"), {"version": "TLSv1.3"}),
        (("--ciphers", f"{suite}, 0xC02C", "--highest-version", "1.2"), {"suite": suite}),
        (("--groups", "P-256,x25519"), {"group": "secp256r1"}),
        (("--groups", "0x001d"), {"group": "x25519"}),
    ):
        code = main(["inspect", f"127.0.0.1:{port}", *trusting, *options, "--json"])
        (result,) = json.loads(capsys.readouterr().out)["results"]
        assert code == 0, result["verdict"]
        assert result["connection"] | expected == result["connection"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ciphers", "nosuch"), "--ciphers"),
        (("--groups", "nosuch"), "nosuch"),
        (("--groups", "0xzz"), "--groups"),
        (("--lowest-version", "1.1"), "1.1"),
        (("--lowest-version", "1.3", "--highest-version", "1.2"), "version"),
        (("--enumerate", "nosuch"), "--enumerate"),
    ],
)
def test_what_cannot_be_offered_is_refused(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(SystemExit):
        pytest.fail(f"it ran: {main(['inspect', NAME, *options])}")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in printed.err
