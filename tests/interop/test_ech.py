"""Encrypted ClientHello with a server on OpenSSL 4.0, which `make test-openssl` compiles."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import polytls
from polytls import (
    CertificateVerificationError,
    ECHRejected,
    ECHStatus,
    PeerMisbehaved,
    TLSError,
    TLSVersion,
    VerificationFailure,
)
from polytls.cli import main
from polytls.testing import CertificateAuthority, Pair, ech_key
from polytls.testing.conformance.ech_lists import COVER
from polytls.testing.conformance.lab import Lab

pytestmark = pytest.mark.peers

ROOT = Path(__file__).resolve().parents[2]
SERVER = Path(__file__).with_name("ech_server.py")
BUILT = ROOT / ".tools" / "openssl" / "4.0" / "path"
PATIENCE = 20.0
#: Implementations that have it.
ABLE = [
    name
    for name in polytls.implementations()
    if getattr(polytls.implementation(name).capabilities, "ech", False)
]

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def libssl() -> str:
    """The path of OpenSSL 4's."""
    given = os.environ.get("TEST_LIBSSL", "")
    if Path(given).name.startswith("libssl.so.4"):
        return given
    if not BUILT.exists():
        pytest.skip("OpenSSL 4.0 is not compiled here: tools/openssls.py test 4.0")
    return BUILT.read_text()


@pytest.fixture(params=ABLE)
def lab(request: pytest.FixtureRequest, ca: CertificateAuthority) -> Lab:
    return Lab(polytls.implementation(request.param), ca)


@pytest.fixture
def ech_server(start: Start, files: Any, libssl: str) -> Start:
    """A function that starts a server; its port, the list that it has keys for, and another."""

    def run(chain: Any, *groups: str) -> tuple[Any, int, bytes, bytes]:
        server = start(sys.executable, str(SERVER), libssl, *files(chain), COVER, *groups)
        told = server.expect(rb"(\d+) ([0-9a-f]+) ([0-9a-f]+)\r?\n")
        return (
            server,
            int(told[1]),
            bytes.fromhex(told[2].decode()),
            bytes.fromhex(told[3].decode()),
        )

    return run


@pytest.mark.parametrize("stale", [False, True], ids=["accepted", "rejected"])
def test_inspect_shows_what_became_of_it(
    lab: Lab,
    chain: Any,
    ech_server: Start,
    ca: CertificateAuthority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stale: bool,
) -> None:
    _, port, current, old = ech_server(chain)
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem)
    (tmp_path / "list").write_bytes(old if stale else current)
    name = lab.implementation.name
    options = ["--ca", str(tmp_path / "ca.pem"), "--server-hostname", lab.host, "--json"]
    options += ["--ech", str(tmp_path / "list"), "--implementation", str(name)]
    code = main(["inspect", f"127.0.0.1:{port}", *options])
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (code, result["ech"]["status"]) == ((3, "rejected") if stale else (0, "accepted"))
    retry = result["ech"]["retry_configs"]
    assert retry == (base64.b64encode(current).decode() if stale else None)


@pytest.fixture
def chain(lab: Lab) -> Any:
    return lab.chain(lab.host, COVER)


def visit(lab: Lab, client: Any, port: int, **given: Any) -> Any:
    """What both sides know of a connection that exchanges data."""
    address = ("127.0.0.1", port)
    with client.connect(address, server_hostname=lab.host, timeout=PATIENCE, **given) as connection:
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"
        return connection.info


def test_a_server_that_has_the_key_accepts(lab: Lab, ech_server: Start, chain: Any) -> None:
    server, port, current, _ = ech_server(chain)
    info = visit(lab, lab.client(), port, ech=current)
    assert (info.ech, info.server_name) == (ECHStatus.ACCEPTED, lab.host)
    server.expect(f"accepted,{lab.host}".encode())


def test_the_host_is_verified_when_it_accepts(lab: Lab, ech_server: Start) -> None:
    _, port, current, _ = ech_server(lab.chain(COVER))
    with pytest.raises(CertificateVerificationError) as refused:
        visit(lab, lab.client(), port, ech=current)
    assert refused.value.reason is VerificationFailure.HOSTNAME_MISMATCH
    assert refused.value.hostname == lab.host
    assert "rejected" not in str(refused.value)


def test_a_hello_retry_request_is_answered_with_it(lab: Lab, ech_server: Start, chain: Any) -> None:
    server, port, current, discarded = ech_server(chain, "P-384")
    client = lab.client(groups=["x25519", "secp384r1"], sessions=None)
    info = visit(lab, client, port, ech=current)
    assert (info.ech, info.hello_retry_request) == (ECHStatus.ACCEPTED, True)
    server.expect(f"accepted,{lab.host}".encode())
    # A server that rejects may send a random confirmation with HelloRetryRequest (RFC 9849 7.2).
    # OpenSSL 4.0.3 takes it for an acceptance, which the ServerHello then contradicts.
    refusal: type[TLSError] = (
        PeerMisbehaved if lab.implementation.name == "openssl" else ECHRejected
    )
    with pytest.raises(refusal):
        visit(lab, client, port, ech=discarded)


def test_sessions_are_resumed_with_it(lab: Lab, ech_server: Start, chain: Any) -> None:
    _, port, current, _ = ech_server(chain)
    client = lab.client(version=TLSVersion.TLSv1_3)
    seen = [visit(lab, client, port, ech=current) for _ in range(2)]
    assert [(info.ech, info.resumed) for info in seen] == [
        (ECHStatus.ACCEPTED, False),
        (ECHStatus.ACCEPTED, True),
    ]


def test_a_rejection_has_the_list_for_another_attempt(
    lab: Lab, ech_server: Start, chain: Any
) -> None:
    server, port, current, discarded = ech_server(chain)
    client = lab.client()
    with pytest.raises(ECHRejected) as rejected:
        visit(lab, client, port, ech=discarded)
    assert rejected.value.public_name == COVER
    assert rejected.value.retry_configs == current
    assert lab.host.encode() not in server.output
    info = visit(lab, client, port, ech=rejected.value.retry_configs)
    assert info.ech is ECHStatus.ACCEPTED


def test_the_list_of_a_server_that_does_not_pass_is_not_given(lab: Lab, ech_server: Start) -> None:
    _, port, _, discarded = ech_server(lab.chain(lab.host))
    with pytest.raises(CertificateVerificationError) as refused:
        visit(lab, lab.client(), port, ech=discarded)
    assert refused.value.hostname == COVER


def test_grease_is_answered_as_if_it_were_not_there(
    lab: Lab, ech_server: Start, chain: Any
) -> None:
    server, port, *_ = ech_server(chain)
    client = lab.client(ech="grease", version=TLSVersion.TLSv1_3)
    assert visit(lab, client, port).ech is ECHStatus.GREASE
    server.expect(f"grease,{lab.host}".encode())


@pytest.mark.parametrize("groups", [None, ["secp384r1"]], ids=["", "HelloRetryRequest"])
def test_our_server_decrypts_for_clients_of_another_library(
    ca: CertificateAuthority, groups: list[str] | None
) -> None:
    openssl = polytls.implementation("openssl")
    if not openssl.capabilities.ech_keys:
        pytest.skip("this OpenSSL has no Encrypted ClientHello: tools/openssls.py test 4.0")
    (current, configs), (_, lost) = ech_key(COVER), ech_key(COVER)
    lab = Lab(openssl, ca)
    server = lab.server(lab.chain(lab.host, COVER), ech_keys=[current], groups=groups)
    rustls = Lab(polytls.implementation("rustls"), ca)
    client = rustls.client(groups=["x25519", "secp384r1"], sessions=None)

    def meet(ech: bytes) -> tuple[Pair, Any]:
        pair = Pair(client.create_buffer(lab.host, ech=ech), server.create_buffer())
        return pair, lab.settle(pair)

    pair, outcome = meet(lost)
    assert type(outcome.client) is ECHRejected
    assert outcome.client.retry_configs == configs
    pair, outcome = meet(configs)
    assert (outcome.client, outcome.server) == (None, None)
    for side in (pair.client, pair.server):
        assert (side.info.ech, side.info.server_name) == (ECHStatus.ACCEPTED, lab.host)
        assert side.info.hello_retry_request is bool(groups)
