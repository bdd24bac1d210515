"""curl as the client of an HTTPS server over our accept loop."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polytls import NextProtocol, TLSVersion
from polytls.testing import CertificateAuthority, KeyType

pytestmark = pytest.mark.peers

#: What nothing in these tests may take, in seconds.
PATIENCE = 30.0
BIG = random.Random(748).randbytes(10_000_000)
V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3

# curl's exit codes.
SSL_CONNECT_ERROR, PEER_FAILED_VERIFICATION, RECV_ERROR = 35, 60, 56
CLIENT_CERTIFICATE_NEEDED = 98

Curl = Callable[..., subprocess.CompletedProcess[bytes]]


def respond(connection: Any) -> Any:
    """Serve HTTP/1.1 until the client closes; the connection's facts at the end."""
    unread = b""
    while True:
        while b"\r\n\r\n" not in unread:
            data = connection.recv(65536)
            if not data:
                return connection.info
            unread += data
        request, _, unread = unread.partition(b"\r\n\r\n")
        path = request.split(b" ")[1]
        body = BIG if path == b"/big" else b"this is " + path + b"\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head)
        connection.sendall(body)


@pytest.fixture
def curl(ca_file: str, lab: Any) -> Curl:
    """A function that runs curl, which trusts our authority, against a port of this machine."""
    path = shutil.which("curl")
    if path is None:
        pytest.fail("curl is missing here; tools/install-peers.sh installs it")

    def run(port: int, *options: str, name: str = lab.host) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [
                *(path, "--silent", "--show-error", "--verbose", "--disable"),
                *("--noproxy", "*", "--cacert", ca_file),
                *("--resolve", f"{name}:{port}:127.0.0.1"),
                *options,
            ],
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        print(done.stderr.decode(errors="replace"))
        return done

    return run


def url(lab: Any, port: int, path: str = "/here") -> str:
    return f"https://{lab.host}:{port}{path}"


# --- requests ---


def test_a_page_is_fetched(lab: Any, serve: Any, curl: Curl) -> None:
    served = serve(lab.server(), respond)
    done = curl(served.port, url(lab, served.port))
    assert (done.returncode, done.stdout) == (0, b"this is /here\n")
    info = served.outcome()
    assert info.version is V13
    assert info.server_name == lab.host
    served.failed(0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [(("--tlsv1.3",), V13), (("--tls-max", "1.2"), V12), (("--tlsv1.2", "--tls-max", "1.2"), V12)],
    ids=["--tlsv1.3", "--tls-max 1.2", "1.2 only"],
)
@pytest.mark.parametrize(
    "key_type",
    [KeyType.ECDSA_P256, KeyType.ECDSA_P384, KeyType.RSA_2048],
    ids=lambda kind: kind.value,
)
def test_curl_chooses_the_version(
    lab: Any,
    serve: Any,
    curl: Curl,
    options: tuple[str, ...],
    expected: TLSVersion,
    key_type: KeyType,
) -> None:
    served = serve(lab.server(lab.chain(key_type=key_type)), respond)
    done = curl(served.port, *options, url(lab, served.port))
    assert (done.returncode, done.stdout) == (0, b"this is /here\n")
    assert served.outcome().version is expected


def test_a_version_that_our_server_does_not_offer_is_refused(
    lab: Any, serve: Any, curl: Curl
) -> None:
    served = serve(lab.server(version=V13), respond)
    done = curl(served.port, "--tls-max", "1.2", url(lab, served.port))
    assert done.returncode == SSL_CONNECT_ERROR
    assert b"protocol version" in done.stderr
    served.failed(1)


@pytest.mark.parametrize(
    ("offered", "options", "chosen"),
    [
        ([NextProtocol.HTTP1], (), NextProtocol.HTTP1),
        ([NextProtocol.HTTP1], ("--http1.1",), NextProtocol.HTTP1),
        ([], (), None),
        ([NextProtocol.HTTP1], ("--no-alpn",), None),
    ],
)
def test_a_protocol_is_negotiated(
    lab: Any,
    serve: Any,
    curl: Curl,
    offered: list[NextProtocol],
    options: tuple[str, ...],
    chosen: NextProtocol | None,
) -> None:
    served = serve(lab.server(inner_protocols=offered), respond)
    done = curl(served.port, *options, url(lab, served.port))
    assert (done.returncode, done.stdout) == (0, b"this is /here\n")
    assert served.outcome().alpn is chosen


def test_a_server_is_reached_by_its_address(lab: Any, serve: Any, curl: Curl) -> None:
    served = serve(lab.server(lab.chain("127.0.0.1")), respond)
    done = curl(served.port, f"https://127.0.0.1:{served.port}/here")
    assert (done.returncode, done.stdout) == (0, b"this is /here\n")
    assert served.outcome().server_name is None


def test_twenty_requests_go_over_one_connection(lab: Any, serve: Any, curl: Curl) -> None:
    served = serve(lab.server(), respond)
    done = curl(served.port, url(lab, served.port, "/page[1-20]"))
    assert done.returncode == 0
    assert done.stdout.count(b"this is /page") == 20
    assert done.stdout.endswith(b"this is /page20\n")
    served.outcome()
    assert served.outcomes.empty()


@pytest.mark.parametrize("options", [("--tlsv1.3",), ("--tls-max", "1.2")], ids=["1.3", "1.2"])
def test_a_download_of_ten_megabytes_arrives_unchanged(
    lab: Any, serve: Any, curl: Curl, options: tuple[str, ...]
) -> None:
    served = serve(lab.server(), respond)
    done = curl(served.port, *options, url(lab, served.port, "/big"))
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(BIG).digest()


def test_many_curls_at_once_are_all_served(
    lab: Any, serve: Any, curl: Curl, threads: ThreadPoolExecutor
) -> None:
    served = serve(lab.server(), respond)
    running = [
        threads.submit(curl, served.port, url(lab, served.port, f"/{number}"))
        for number in range(12)
    ]
    for number, task in enumerate(running):
        done = task.result()
        assert (done.returncode, done.stdout) == (0, b"this is /%d\n" % number)
    served.failed(0)


# --- refusals ---


def test_curl_refuses_another_host_and_others_are_served(lab: Any, serve: Any, curl: Curl) -> None:
    served = serve(lab.server(), respond)
    done = curl(served.port, f"https://other.example:{served.port}/here", name="other.example")
    assert done.returncode == PEER_FAILED_VERIFICATION
    assert done.stdout == b""
    good = curl(served.port, url(lab, served.port))
    assert (good.returncode, good.stdout) == (0, b"this is /here\n")


def test_curl_refuses_an_unknown_authority_and_tells_us(
    lab: Any, serve: Any, curl: Curl, version: TLSVersion
) -> None:
    served = serve(lab.server(CertificateAuthority().issue(lab.host), version=version), respond)
    done = curl(served.port, url(lab, served.port))
    assert done.returncode == PEER_FAILED_VERIFICATION
    served.failed(1)
    assert served.outcomes.empty()


# --- client certificates ---


def test_curl_presents_its_certificate(
    lab: Any, files: Any, serve: Any, curl: Curl, version: TLSVersion
) -> None:
    mine = lab.ca.intermediate().issue("client.example")
    certificate, key = files(mine)
    served = serve(lab.server(trust_store=lab.ca.trust_store(), version=version), respond)
    done = curl(served.port, "--cert", certificate, "--key", key, url(lab, served.port))
    assert (done.returncode, done.stdout) == (0, b"this is /here\n")
    assert served.outcome().peer_chain[0] == mine.leaf[0].buffer


def test_curl_without_a_certificate_is_refused(
    lab: Any, serve: Any, curl: Curl, version: TLSVersion
) -> None:
    served = serve(lab.server(trust_store=lab.ca.trust_store(), version=version), respond)
    done = curl(served.port, url(lab, served.port))
    # TLS 1.2 has no alert of this reason (RFC 5246 7.4.6).
    codes, said = {
        TLSVersion.TLSv1_2: ({SSL_CONNECT_ERROR}, b"handshake failure"),
        TLSVersion.TLSv1_3: ({CLIENT_CERTIFICATE_NEEDED, RECV_ERROR}, b"certificate required"),
    }[version]
    assert done.returncode in codes
    assert said in done.stderr
    served.failed(1)
    assert served.outcomes.empty()


def test_curl_with_a_certificate_of_an_unknown_authority_is_refused(
    lab: Any, files: Any, serve: Any, curl: Curl, version: TLSVersion
) -> None:
    certificate, key = files(CertificateAuthority().issue("client.example"))
    served = serve(lab.server(trust_store=lab.ca.trust_store(), version=version), respond)
    done = curl(served.port, "--cert", certificate, "--key", key, url(lab, served.port))
    assert done.returncode in (SSL_CONNECT_ERROR, RECV_ERROR)
    assert b"unknown ca" in done.stderr
    served.failed(1)
    assert served.outcomes.empty()
