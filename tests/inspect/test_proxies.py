"""`polytls inspect --proxy`: HTTP CONNECT, over TLS too, SOCKS 5, proxies that do not connect."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import polytls
from inspection import NAME, PATIENCE, Handle, Serve
from polytls import NextProtocol, SigningChain, TLSServerConfiguration
from polytls.cli import main
from polytls.cli.proxies import parse
from polytls.testing import CertificateAuthority


def relay(client: socket.socket, port: int) -> None:
    """Pass everything on, both ways, until both have ended."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    with socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=pump, args=(server, client))
        back.start()
        pump(client, server)
        back.join(PATIENCE)


def through_http(port: int, seen: list[bytes], behind: bytes = b"") -> Handle:
    """A proxy that always leads to `port`; `behind` comes with its reply."""

    def handle(client: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += client.recv(1)
        seen.append(request)
        client.sendall(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n" + behind)
        relay(client, port)

    return handle


@pytest.fixture
def proxy_ca(tmp_path: Path) -> CertificateAuthority:
    """The proxy's authority, which is not that of the servers; proxy.pem has it."""
    ca = CertificateAuthority("The Proxy's Root")
    (tmp_path / "proxy.pem").write_bytes(ca.certificate_pem)
    return ca


def over_tls(chain: SigningChain, handle: Handle) -> Handle:
    """The same over TLS to the proxy."""
    context: Any = polytls.implementation("rustls").server_context(
        TLSServerConfiguration([chain], inner_protocols=[NextProtocol.HTTP1])
    )

    def secured(client: socket.socket) -> None:
        with context.wrap_socket(client) as connection:
            assert connection.negotiated_protocol() is NextProtocol.HTTP1
            handle(connection)

    return secured


def exactly(client: socket.socket, length: int) -> bytes:
    return client.recv(length, socket.MSG_WAITALL)


def through_socks(port: int, seen: list[bytes], bound: bytes = b"\x01\x7f\0\0\x01") -> Handle:
    """The same by SOCKS 5, with a password if the client has one."""

    def handle(client: socket.socket) -> None:
        methods = exactly(client, exactly(client, 2)[1])
        if 2 in methods:
            client.sendall(b"\x05\x02")
            exactly(client, 1)
            for _ in range(2):
                seen.append(exactly(client, exactly(client, 1)[0]))
            client.sendall(b"\x01\x00")
        else:
            client.sendall(b"\x05\x00")
        request = exactly(client, 4)
        assert request[:3] == b"\x05\x01\x00"
        length = {1: 4, 4: 16}.get(request[3]) or exactly(client, 1)[0]
        seen.append(exactly(client, length + 2))
        client.sendall(b"\x05\x00\x00" + bound + b"\0\0")
        relay(client, port)

    return handle


@pytest.fixture
def trusting(ca: CertificateAuthority, tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem)
    return ("--ca", str(tmp_path / "ca.pem"), "--json")


def result(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, dict[str, Any]]:
    code = main(["inspect", *command])
    (found,) = json.loads(capsys.readouterr().out)["results"]
    return code, found


@pytest.mark.parametrize("name", polytls.implementations())
@pytest.mark.parametrize(
    ("kind", "seen_by"),
    [
        ("http", b"CONNECT server.example:8443 HTTP/1.1\r\nHost: server.example:8443\r\n\r\n"),
        ("socks5", b"server.example\x20\xfb"),
    ],
)
def test_a_server_is_inspected_through_a_proxy(
    serve: Serve,
    tls: Handle,
    trusting: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    kind: str,
    seen_by: bytes,
    name: str,
) -> None:
    seen: list[bytes] = []
    through = through_http if kind == "http" else through_socks
    port = serve(through(serve(tls), seen))
    proxy = ("--proxy", f"{kind}://127.0.0.1:{port}", "--implementation", name)
    # Nobody but the proxy could resolve the name.
    code, found = result(capsys, f"{NAME}:8443", *proxy, *trusting)
    assert code == 0, found["verdict"]
    assert found["proxy"] == f"{kind}://127.0.0.1:{port}"
    assert found["addresses"] == [{"address": "127.0.0.1", "port": port, "error": None}]
    assert found["timings"]["proxy"] > 0
    assert found["resumption"]["resumed"] is True
    assert seen == [seen_by] * 2


@pytest.mark.parametrize("name", polytls.implementations())
def test_a_server_is_inspected_through_tls_to_a_proxy(
    serve: Serve,
    tls: Handle,
    trusting: tuple[str, ...],
    proxy_ca: CertificateAuthority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    seen: list[bytes] = []
    port = serve(over_tls(proxy_ca.issue("127.0.0.1"), through_http(serve(tls), seen)))
    url = f"https://joe:s%3Acret@127.0.0.1:{port}"
    options = ("--proxy", url, "--proxy-ca", str(tmp_path / "proxy.pem"), "--implementation", name)
    code, found = result(capsys, NAME, *options, *trusting)
    assert code == 0, found["verdict"]
    assert found["proxy"] == f"https://127.0.0.1:{port}"
    assert found["timings"]["proxy"] > 0
    assert found["resumption"]["resumed"] is True
    assert found["connection"]["alpn"] is None
    # It is the server that is shown, not the proxy.
    assert found["chain"][0]["dns_names"] == [NAME]
    assert len(seen) == 2
    assert b"\r\nProxy-Authorization: Basic am9lOnM6Y3JldA==\r\n" in seen[0]


def test_starttls_and_probes_go_through_tls_to_a_proxy(
    serve: Serve,
    tls: Handle,
    trusting: tuple[str, ...],
    proxy_ca: CertificateAuthority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def handle(plain: socket.socket) -> None:
        assert exactly(plain, 6) == b"STLS\r\n"
        plain.sendall(b"+OK begin\r\n")
        tls(plain)

    inner = through_http(serve(handle), [], b"+OK ready\r\n")
    port = serve(over_tls(proxy_ca.issue("127.0.0.1"), inner))
    through = ("--proxy", f"https://127.0.0.1:{port}", "--proxy-ca", str(tmp_path / "proxy.pem"))
    options = (*through, "--starttls", "pop3", "--enumerate", "all")
    code, found = result(capsys, NAME, *options, *trusting)
    assert code == 0, found["verdict"]
    assert [offer["accepted"] for offer in found["offers"]] == [True, True, False, False, False]
    assert [offer["error"] for offer in found["offers"]] == [None] * 5


@pytest.mark.parametrize(
    ("host", "trusted", "told"),
    [
        ("proxy.example", True, "hostname mismatch: "),
        ("127.0.0.1", False, "unknown issuer"),
    ],
)
def test_a_proxy_whose_certificate_is_refused_gets_nothing(
    serve: Serve,
    trusting: tuple[str, ...],
    proxy_ca: CertificateAuthority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    host: str,
    trusted: bool,
    told: str,
) -> None:
    seen: list[bytes] = []
    port = serve(over_tls(proxy_ca.issue(host), through_http(1, seen)))
    store = "proxy.pem" if trusted else "ca.pem"
    options = ("--proxy", f"https://joe:secret@127.0.0.1:{port}", "--proxy-ca", tmp_path / store)
    code, found = result(capsys, NAME, *map(str, options), *trusting)
    verdict = found["verdict"]
    assert (code, found["stage"], verdict["reason"]) == (3, "proxy", "proxy")
    assert (found["chain"], found["connection"]) == ([], None)
    assert verdict["message"].startswith("the proxy's certificate was refused: ")
    assert "--proxy-ca" in verdict["explanation"][-1]
    assert seen == []


def test_a_proxy_without_tls_is_told(
    serve: Serve, trusting: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    def handle(plain: socket.socket) -> None:
        plain.recv(4096)
        plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(4096):
            pass

    url = f"https://127.0.0.1:{serve(handle)}"
    code, found = result(capsys, NAME, "--proxy", url, *trusting)
    assert (code, found["stage"], found["verdict"]["reason"]) == (3, "proxy", "proxy")
    assert "HTTP" in found["verdict"]["message"]
    assert found["verdict"]["explanation"][-1].startswith("To fix: you must use http://")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1:443", b"\x7f\0\0\x01\x01\xbb"),
        ("[::1]:443", bytes(15) + b"\x01\x01\xbb"),
    ],
)
@pytest.mark.parametrize(
    "bound", [b"\x01\x7f\0\0\x01", b"\x04" + bytes(16), b"\x03\x04name"], ids=["4", "6", "name"]
)
def test_addresses_of_every_kind_go_through_socks(
    serve: Serve,
    tls: Handle,
    trusting: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    host: str,
    address: bytes,
    bound: bytes,
) -> None:
    seen: list[bytes] = []
    port = serve(through_socks(serve(tls), seen, bound))
    options = ("--server-hostname", NAME, "--proxy", f"socks5://127.0.0.1:{port}")
    code, found = result(capsys, host, *options, *trusting)
    assert code == 0, found["verdict"]
    assert seen == [address] * 2


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_the_password_goes_to_the_proxy_and_nowhere_else(
    serve: Serve,
    tls: Handle,
    trusting: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    seen: list[bytes] = []
    through = through_http if kind == "http" else through_socks
    port = serve(through(serve(tls), seen))
    options = ("--proxy", f"{kind}://joe:s%3Acret@127.0.0.1:{port}")
    code, found = result(capsys, NAME, *options, *trusting)
    assert code == 0, found["verdict"]
    if kind == "http":
        assert b"\r\nProxy-Authorization: Basic am9lOnM6Y3JldA==\r\n" in seen[0]
    else:
        assert seen[:2] == [b"joe", b"s:cret"]
    assert "cret" not in json.dumps(found)
    assert "cret" not in repr(parse(options[1]))
    with pytest.raises(SystemExit):
        main(["inspect", NAME, "--proxy", "ftp://joe:secret@127.0.0.1:1"])
    assert "secret" not in capsys.readouterr().err


def test_starttls_and_probes_go_through_a_proxy(
    serve: Serve, tls: Handle, trusting: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    def handle(plain: socket.socket) -> None:
        assert exactly(plain, 6) == b"STLS\r\n"
        plain.sendall(b"+OK begin\r\n")
        tls(plain)

    # The greeting comes in one piece with the proxy's reply.
    port = serve(through_http(serve(handle), [], b"+OK ready\r\n"))
    options = ("--proxy", f"http://127.0.0.1:{port}", "--starttls", "pop3", "--enumerate", "all")
    code, found = result(capsys, NAME, *options, *trusting)
    assert code == 0, found["verdict"]
    assert [offer["accepted"] for offer in found["offers"]] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("kind", "replies", "told"),
    [
        ("http", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"], "status 407"),
        ("http", [b"HTTP/1.1 403 Forbidden\r\n\r\n"], "403 Forbidden"),
        ("http", [b"220 mail.example \x1b[2J\r\n"], "220 mail.example"),
        ("http", [b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 101], "more than 100 lines"),
        ("http", [b"x" * 9000], "more than 8192 bytes"),
        ("http", [b""], "the proxy closed the connection"),
        ("socks5", [b"\x05\xff"], "requires authentication"),
        ("socks5", [b"HT"], "not SOCKS 5"),
        ("socks5", [b"\x05\x00", b"\x05\x05\x00\x01" + bytes(6)], "connection refused"),
        ("socks5", [b"\x05\x00", b"\x05\x99\x00\x01" + bytes(6)], "code 153"),
        ("socks5", [b"\x05\x00", b"\x05\x00\x00\x09" + bytes(6)], "not SOCKS 5"),
        ("socks5", [b"\x05\x00", b"\x04\x00\x00\x01" + bytes(6)], "not SOCKS 5"),
        ("socks5", [b"\x05\x02"], "requires authentication"),
        ("socks5 with a password", [b"\x05\x02", b"\x01\x01"], "refused the user name"),
    ],
)
def test_a_proxy_that_does_not_connect_is_told(
    serve: Serve,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    replies: list[bytes],
    told: str,
) -> None:
    def handle(client: socket.socket) -> None:
        for reply in replies:
            client.recv(4096)
            client.sendall(reply)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass

    who = "joe:secret@" if "password" in kind else ""
    url = f"{kind.partition(' ')[0]}://{who}127.0.0.1:{serve(handle)}"
    assert main(["inspect", NAME, "--proxy", url]) == 3
    printed = capsys.readouterr().out
    assert "\n    proxy: " in printed
    assert told in " ".join(printed.split())
    who = "your administrator must check the proxy"
    if "status 407" in told or "authentication" in told or "user name" in told:
        who = "you must give a user name and password"
    assert f"To fix: {who}" in " ".join(printed.split())
    assert "\x1b" not in printed


def test_a_proxy_that_is_not_reached_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    code, found = result(capsys, NAME, "--proxy", f"http://127.0.0.1:{port}", "--json")
    assert (code, found["stage"], found["verdict"]["reason"]) == (3, "proxy", "proxy")


def test_a_store_for_proxies_needs_one_with_tls(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", NAME, "--proxy", "http://127.0.0.1:3128", "--proxy-ca", "ca.pem"])
    assert caught.value.code == 2
    assert "--proxy-ca needs --proxy https://" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:3128",
        "http://127.0.0.1",
        "http://127.0.0.1:99999",
        "http://:3128",
        "http://127.0.0.1:3128/path",
        f"socks5://{'u' * 256}:p@127.0.0.1:1080",
    ],
)
def test_what_is_no_proxy_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", NAME, "--proxy", url])
    assert caught.value.code == 2
    assert "proxy" in capsys.readouterr().err
