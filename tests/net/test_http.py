"""HTTPS: requests, bodies that end early, proxies, servers, and what is made of that."""

from __future__ import annotations

import http.client
import http.server
import io
import socket
import socketserver
import threading
import time
import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import polytls
import polytls.net.http
import polytls.net.urllib
from misdeeds import misbehaving
from polytls.net.http import HTTPSConnection, HTTPSServer, ThreadingHTTPSServer
from polytls.net.socketserver import TCPServer, ThreadingTCPServer
from polytls.net.xmlrpc import SafeTransport, ServerProxy

PATIENCE = 20.0
HOST = "localhost"

HELLO = ("< GET", "<<", "> HTTP/1.1 200 OK")


@contextmanager
def connected(port: int, tls: Any, **given: Any) -> Iterator[HTTPSConnection]:
    connection = HTTPSConnection(HOST, port, PATIENCE, tls=tls, **given)
    try:
        yield connection
    finally:
        connection.close()


def test_requests_share_a_connection(scripted: Any, own: Any, tls: Any) -> None:
    one = (*HELLO, "> Content-Length: 5", "> ", "| hello")
    server = scripted(own, "TLS", *one, *one)
    with connected(server.port, tls) as connection:
        for _ in range(2):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"hello"


# --- bodies ---

READS: dict[str, Callable[[Any], Any]] = {
    "read": lambda response: response.read(),
    "read by parts": lambda response: b"".join(iter(lambda: response.read(3), b"")),
    "read1": lambda response: b"".join(iter(lambda: response.read1(3), b"")),
    "readinto": lambda response: _by_readinto(response),
    "lines": lambda response: b"".join(response),
}


def _by_readinto(response: Any) -> bytes:
    taken = bytearray()
    view = bytearray(3)
    while count := response.readinto(view):
        taken += view[:count]
    return bytes(taken)


#: Headers and body, and what is missing of the body where it is cut: None if nobody can tell.
BODIES: dict[str, tuple[str, str]] = {
    "length": ("> Content-Length: 10", "| one\\ntwo\\nwe"),
    "chunks": (
        "> Transfer-Encoding: chunked",
        "| 5\\r\\none\\nt\\r\\n5\\r\\nwo\\nwe\\r\\n0\\r\\n\\r\\n",
    ),
    "no length": ("> Connection: close", "| one\\ntwo\\nwe"),
}
WHOLE = b"one\ntwo\nwe"


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("body", BODIES)
def test_a_body_is_read_whole(scripted: Any, own: Any, tls: Any, body: str, read: str) -> None:
    header, data = BODIES[body]
    server = scripted(own, "TLS", *HELLO, header, "> ", data, "hang up")
    with connected(server.port, tls) as connection:
        connection.request("GET", "/")
        assert READS[read](connection.getresponse()) == WHOLE


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("body", ["length", "chunks"])
def test_a_body_that_shows_its_end_needs_no_close_notify(
    scripted: Any, own: Any, tls: Any, body: str, read: str
) -> None:
    header, data = BODIES[body]
    server = scripted(own, "TLS", *HELLO, header, "> ", data, "cut")
    with connected(server.port, tls) as connection:
        connection.request("GET", "/")
        assert READS[read](connection.getresponse()) == WHOLE


CUT_BODIES: dict[str, tuple[str, str, int | None]] = {
    "length": ("> Content-Length: 20", "| one\\ntwo\\nwe", 10),
    "within a chunk": (
        "> Transfer-Encoding: chunked",
        "| 5\\r\\none\\nt\\r\\na\\r\\nwo\\nwe",
        None,
    ),
    "between chunks": ("> Transfer-Encoding: chunked", "| a\\r\\none\\ntwo\\nwe\\r\\n", None),
    "within the length of a chunk": (
        "> Transfer-Encoding: chunked",
        "| a\\r\\none\\ntwo\\nwe\\r\\n0",
        None,
    ),
    "no length": ("> Connection: close", "| one\\ntwo\\nwe", None),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("body", CUT_BODIES)
def test_a_body_that_is_cut_is_incomplete(
    scripted: Any, own: Any, tls: Any, body: str, read: str
) -> None:
    header, data, missing = CUT_BODIES[body]
    server = scripted(own, "TLS", *HELLO, header, "> ", data, "cut")
    with connected(server.port, tls) as connection:
        connection.request("GET", "/")
        response = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as caught:
            READS[read](response)
        assert isinstance(caught.value.__cause__, polytls.RaggedEOF)
        if read == "read":
            assert caught.value.partial == WHOLE
            assert caught.value.expected == missing
        # It stays so.
        with pytest.raises(http.client.IncompleteRead):
            response.read()


@pytest.mark.parametrize("read", READS)
def test_a_body_that_is_shorter_than_its_length_is_incomplete(
    scripted: Any, own: Any, tls: Any, read: str
) -> None:
    """Whoever ends the connection in order: `http.client` tells by `read()` only."""
    header, data, _ = CUT_BODIES["length"]
    server = scripted(own, "TLS", *HELLO, header, "> ", data, "hang up")
    with connected(server.port, tls) as connection:
        connection.request("GET", "/")
        with pytest.raises(http.client.IncompleteRead):
            READS[read](connection.getresponse())


@pytest.mark.parametrize("read", READS)
def test_a_cut_is_accepted_where_that_is_asked_for(
    scripted: Any, own: Any, tls: Any, read: str
) -> None:
    header, data = BODIES["no length"]
    server = scripted(own, "TLS", *HELLO, header, "> ", data, "cut")
    with connected(server.port, tls, accept_truncated_end=True) as connection:
        connection.request("GET", "/")
        assert READS[read](connection.getresponse()) == WHOLE


@pytest.mark.parametrize("body", [body for body in CUT_BODIES if body != "no length"])
def test_what_is_certainly_missing_is_never_accepted(
    scripted: Any, own: Any, tls: Any, body: str
) -> None:
    header, data, _ = CUT_BODIES[body]
    server = scripted(own, "TLS", *HELLO, header, "> ", data, "cut")
    with connected(server.port, tls, accept_truncated_end=True) as connection:
        connection.request("GET", "/")
        with pytest.raises(http.client.IncompleteRead):
            connection.getresponse().read()


def test_a_response_that_is_late_is_not_gone_on_with(scripted: Any, own: Any, tls: Any) -> None:
    """What came of it before may be lost: `socket.SocketIO` refuses it as well."""
    server = scripted(own, "TLS", *HELLO, "> Content-Length: 20", "> ", "| one\\ntwo", "<<")
    with connected(server.port, tls) as connection:
        connection.request("GET", "/")
        response = connection.getresponse()
        connection.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            response.read()
        with pytest.raises(OSError, match="has timed out"):
            response.read()


def test_an_idle_connection_that_the_server_has_cut_is_disconnected(
    scripted: Any, own: Any, tls: Any
) -> None:
    server = scripted(own, "TLS", *HELLO, "> Content-Length: 5", "> ", "| hello", "< GET", "cut")
    with connected(server.port, tls) as connection:
        connection.request("GET", "/")
        connection.getresponse().read()
        connection.request("GET", "/")
        with pytest.raises(http.client.RemoteDisconnected) as caught:
            connection.getresponse()
        assert isinstance(caught.value.__cause__, polytls.RaggedEOF)


@pytest.mark.parametrize("end", ["cut", "hang up"])
@pytest.mark.parametrize(
    "steps", [["| HTTP/1.1 200 O"], ["> HTTP/1.1 200 OK", "| Set-Cookie: a=b"]]
)
def test_headers_that_are_cut_are_no_response(
    scripted: Any, own: Any, tls: Any, steps: list[str], end: str
) -> None:
    server = scripted(own, "TLS", "< GET", "<<", *steps, end)
    with connected(server.port, tls) as connection:
        connection.request("GET", "/")
        with pytest.raises(http.client.IncompleteRead) as caught:
            connection.getresponse()
        assert isinstance(caught.value.__cause__, polytls.RaggedEOF) == (end == "cut")
        assert connection.sock is None


# --- failures before the request ---


def test_a_refused_certificate_leaves_no_connection_to_send_over(
    scripted: Any, lab: Any, tls: Any
) -> None:
    server = scripted(lab.server(lab.chain("another.example")), "TLS", "< GET")
    with connected(server.port, tls) as connection:
        for _ in range(2):
            with pytest.raises(polytls.CertificateVerificationError, match="localhost"):
                connection.request("GET", "/", headers={"Authorization": "secret"})
            assert connection.sock is None
    server.close()
    assert server.heard == []


@pytest.mark.parametrize("tls", [1, "context", polytls.implementation()])
def test_other_things_are_no_contexts(tls: Any) -> None:
    with pytest.raises(TypeError, match="tls must be a client context or"):
        HTTPSConnection(HOST, tls=tls)


def test_a_configuration_makes_a_context(scripted: Any, own: Any, ca: Any) -> None:
    server = scripted(own, "TLS", *HELLO, "> Content-Length: 0", "> ")
    tls = polytls.TLSClientConfiguration(trust_store=ca.trust_store())
    with connected(server.port, tls) as connection:
        connection.request("GET", "/")
        assert connection.getresponse().status == 200


def test_without_tls_the_system_is_trusted_by_one_context_for_all(scripted: Any, own: Any) -> None:
    server = scripted(own, "TLS")
    with connected(server.port, None) as connection, connected(server.port, None) as another:
        assert connection._tls_context is another._tls_context
        with pytest.raises(polytls.CertificateVerificationError) as caught:
            connection.request("GET", "/")
        assert caught.value.reason is polytls.VerificationFailure.UNKNOWN_ISSUER


class OnlyBuffers:
    """A context as PEP 748 has it, and no more."""

    def __init__(self, context: Any) -> None:
        self.configuration = context.configuration
        self.connect = context.connect
        self.create_buffer = context.create_buffer


def test_a_context_that_only_makes_buffers_will_do(lab: Any, tls: Any) -> None:
    own = OnlyBuffers(lab.server(lab.chain(HOST)))
    with HTTPSServer((HOST, 0), Echo, tls=own) as server:  # type: ignore[arg-type]
        handling = threading.Thread(target=server.handle_request)
        handling.start()
        assert posted(server.server_port, OnlyBuffers(tls), b"here") == b"here"
        handling.join()


# --- proxies ---


def relay(server: Any) -> None:
    """Carry bytes between a proxy's client and the target of CONNECT, to the end of either."""
    host, _, port = server.heard[-1].split(" ")[1].rpartition(":")
    with socket.create_connection((host, int(port))) as target:
        back = threading.Thread(target=_pump, args=(target, server.side))
        back.start()
        _pump(server.side, target)
        back.join()


def _pump(source: Any, sink: Any) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


CONNECT = ("< CONNECT", "<<", "> HTTP/1.1 200 go on", "> Via: us", "> ")


@pytest.fixture
def target(scripted: Any, own: Any) -> Any:
    return scripted(own, "TLS", *HELLO, "> Content-Length: 5", "> ", "| hello")


def test_a_tunnel_leads_through_a_proxy(scripted: Any, target: Any, tls: Any) -> None:
    proxy = scripted(None, *CONNECT, relay)
    with connected(proxy.port, tls) as connection:
        connection.set_tunnel(HOST, target.port)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"
    assert proxy.heard[0].startswith(f"CONNECT {HOST}:{target.port} ")


def test_a_tunnel_leads_through_an_https_proxy(
    scripted: Any, own: Any, target: Any, tls: Any
) -> None:
    proxy = scripted(own, "TLS", *CONNECT, relay)
    with connected(proxy.port, tls, proxy_tls=tls) as connection:
        connection.set_tunnel(HOST, target.port)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"


def test_an_https_proxy_is_verified_before_it_is_asked(scripted: Any, lab: Any, tls: Any) -> None:
    proxy = scripted(lab.server(lab.chain("another.example")), "TLS", *CONNECT)
    with connected(proxy.port, tls, proxy_tls=tls) as connection:
        connection.set_tunnel("inner.example", headers={"Proxy-Authorization": "secret"})
        with pytest.raises(polytls.CertificateVerificationError) as caught:
            connection.request("GET", "/")
        assert caught.value.hostname == HOST
        assert connection.sock is None
    assert proxy.heard == []


def test_who_is_behind_the_proxy_is_verified(scripted: Any, target: Any, tls: Any) -> None:
    proxy = scripted(None, *CONNECT, relay)
    with connected(proxy.port, tls) as connection:
        connection.set_tunnel("127.0.0.1", target.port)
        with pytest.raises(polytls.CertificateVerificationError) as caught:
            connection.request("GET", "/")
        assert caught.value.hostname == "127.0.0.1"
        assert connection.sock is None
    assert target.heard == []


def test_what_a_proxy_says_behind_its_answer_is_refused(scripted: Any, tls: Any) -> None:
    proxy = scripted(None, "< CONNECT", "<<", "| HTTP/1.1 200 go on\\r\\n\\r\\nHTTP/1.1 200 OK")
    with connected(proxy.port, tls) as connection:
        connection.set_tunnel("inner.example", 443)
        with pytest.raises(polytls.PeerMisbehaved, match="sent plaintext before TLS started"):
            connection.request("GET", "/")
        assert connection.sock is None


@pytest.mark.parametrize("steps", [["> HTTP/1.1 407 no", "> "], ["cut"], ["| HTTP/1.1 2", "cut"]])
def test_a_tunnel_that_is_not_there_is_not_used(scripted: Any, tls: Any, steps: list[str]) -> None:
    proxy = scripted(None, "< CONNECT", "<<", *steps)
    with connected(proxy.port, tls) as connection:
        connection.set_tunnel("inner.example", 443)
        for _ in range(2):
            with pytest.raises((OSError, http.client.HTTPException)):
                connection.request("GET", "/", headers={"Authorization": "secret"})
            assert connection.sock is None
    proxy.close()
    assert all(line.startswith("CONNECT") for line in proxy.heard)


# --- urllib ---


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    polytls.net.urllib._shared_opener.cache_clear()


def opened(url: str, **given: Any) -> bytes:
    with polytls.net.urllib.urlopen(url, timeout=PATIENCE, **given) as response:
        body: bytes = response.read()
        return body


def test_urls_are_opened(target: Any, tls: Any) -> None:
    assert opened(f"https://{HOST}:{target.port}/", tls=tls) == b"hello"


@pytest.mark.parametrize("secure", [False, True])
def test_proxies_of_the_environment_are_used(
    scripted: Any, own: Any, target: Any, tls: Any, monkeypatch: Any, secure: bool
) -> None:
    proxy = scripted(own, *(["TLS"] if secure else []), *CONNECT, relay)
    scheme = "https" if secure else "http"
    monkeypatch.setenv("https_proxy", f"{scheme}://user:secret@{HOST}:{proxy.port}")
    assert opened(f"https://{HOST}:{target.port}/", tls=tls) == b"hello"
    assert proxy.heard[0].startswith(f"CONNECT {HOST}:{target.port} ")
    monkeypatch.setenv("no_proxy", HOST)
    assert opened(f"https://{HOST}:{target.port}/", tls=tls) == b"hello"
    assert len(proxy.heard) == 1


def test_plain_urls_go_through_an_https_proxy(
    scripted: Any, own: Any, tls: Any, monkeypatch: Any
) -> None:
    proxy = scripted(own, "TLS", *HELLO, "> Content-Length: 5", "> ", "| hello")
    monkeypatch.setenv("http_proxy", f"https://{HOST}:{proxy.port}")
    assert opened("http://plain.example/page", tls=tls) == b"hello"
    assert proxy.heard[0].startswith("GET http://plain.example/page ")


def test_a_proxy_of_another_kind_is_refused(tls: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("https_proxy", f"socks5://{HOST}:1")
    with pytest.raises(urllib.error.URLError, match="unsupported scheme: socks5:"):
        opened(f"https://{HOST}/", tls=tls)


def test_urllibs_error_has_the_reason(scripted: Any, own: Any) -> None:
    server = scripted(own, "TLS")
    with pytest.raises(urllib.error.URLError) as caught:
        opened(f"https://{HOST}:{server.port}/")
    assert isinstance(caught.value.reason, polytls.CertificateVerificationError)
    assert caught.value.__cause__ is caught.value.reason


def test_a_body_of_urllibs_may_be_cut_where_that_is_asked_for(
    scripted: Any, own: Any, tls: Any
) -> None:
    header, data = BODIES["no length"]
    server = scripted(own, "TLS", *HELLO, header, "> ", data, "cut")
    with pytest.raises(http.client.IncompleteRead):
        opened(f"https://{HOST}:{server.port}/", tls=tls)
    assert opened(f"https://{HOST}:{server.port}/", tls=tls, accept_truncated_end=True) == WHOLE


def test_an_opener_has_one_handler_for_https(tls: Any) -> None:
    def handlers(opener: Any) -> list[type]:
        return [type(handler) for handler in opener.handle_open["https"]]

    ours = polytls.net.urllib.HTTPSHandler
    for opener in (
        polytls.net.urllib.build_opener(tls=tls),
        polytls.net.urllib.build_opener(ours(tls=tls)),
        polytls.net.urllib.build_opener(ours),
    ):
        assert handlers(opener) == [ours]
    with pytest.raises(ValueError, match="to the HTTPSHandler"):
        polytls.net.urllib.build_opener(ours, tls=tls)


# --- servers ---


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/fail":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"half of it")
            raise ValueError("the handler fails")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(params=[HTTPSServer, ThreadingHTTPSServer])
def serving(request: Any, own: Any) -> Iterator[Any]:
    """Each kind of server, and its port."""
    with request.param((HOST, 0), Echo, tls=own) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def posted(port: int, tls: Any, body: bytes, path: str = "/") -> bytes:
    with connected(port, tls) as connection:
        connection.request("POST", path, body)
        return connection.getresponse().read()


def test_a_server_answers(serving: Any, tls: Any) -> None:
    for _ in range(3):
        assert posted(serving.server_port, tls, b"x" * 100_000) == b"x" * 100_000


def logged(caplog: Any) -> str:
    """The first line in the log."""
    deadline = time.monotonic() + PATIENCE
    while not caplog.messages:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    line: str = caplog.messages[0]
    return line


def test_a_client_that_stalls_holds_up_nobody(serving: Any, tls: Any) -> None:
    with socket.create_connection((HOST, serving.server_port)):
        assert posted(serving.server_port, tls, b"here") == b"here"


def test_a_handshake_has_its_time(serving: Any, tls: Any, caplog: Any) -> None:
    caplog.set_level("INFO", "polytls.net.socketserver")
    serving.handshake_timeout = 0.1
    with socket.create_connection((HOST, serving.server_port)) as stalled:
        stalled.settimeout(PATIENCE)
        assert stalled.recv(100) == b""
    assert "timed out" in logged(caplog)


def test_a_failed_handshake_is_a_line_in_the_log(
    serving: Any, tls: Any, caplog: Any, capsys: Any
) -> None:
    caplog.set_level("INFO", "polytls.net.socketserver")
    with pytest.raises(polytls.CertificateVerificationError):
        posted(serving.server_port, None, b"")
    assert posted(serving.server_port, tls, b"here") == b"here"
    assert "the handshake of ('127.0.0.1', " in logged(caplog)
    assert "Traceback" not in capsys.readouterr().err


def test_an_answer_that_the_handler_breaks_off_is_incomplete(
    serving: Any, tls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.StringIO()
    monkeypatch.setattr("sys.stderr", printed)
    with pytest.raises(http.client.IncompleteRead) as caught:
        posted(serving.server_port, tls, b"", "/fail")
    assert caught.value.partial == b"half of it"
    deadline = time.monotonic() + PATIENCE
    while not printed.getvalue().endswith("-" * 40 + "\n"):
        assert time.monotonic() < deadline, printed.getvalue()
        time.sleep(0.01)
    assert "ValueError: the handler fails" in printed.getvalue()


def test_one_request_can_be_handled(own: Any, tls: Any) -> None:
    with HTTPSServer((HOST, 0), Echo, tls=own) as server:
        bodies: list[bytes] = []
        asking = threading.Thread(
            target=lambda: bodies.append(posted(server.server_port, tls, b"once"))
        )
        asking.start()
        server.handle_request()
        asking.join()
    assert bodies == [b"once"]


def test_a_server_needs_a_servers_context(tls: Any) -> None:
    with pytest.raises(TypeError, match="tls must be a server context or"):
        HTTPSServer((HOST, 0), Echo, tls=tls)


def test_clients_that_misbehave_do_not_stop_a_server(own: Any, tls: Any) -> None:
    with ThreadingHTTPSServer((HOST, 0), Echo, tls=own) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        with misbehaving((HOST, server.server_port), tls):
            assert posted(server.server_port, tls, b"here") == b"here"
        server.shutdown()
        thread.join()


class Line(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"hello " + self.rfile.readline())


@pytest.mark.parametrize("kind", [TCPServer, ThreadingTCPServer])
def test_servers_of_other_protocols_run_over_tls(own: Any, tls: Any, kind: Any) -> None:
    with kind((HOST, 0), Line, tls=own) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        for name in (b"a\n", b"b\n"):
            with tls.connect((HOST, server.server_address[1])) as connection:
                connection.sendall(name)
                with connection.makefile("rb") as answer:
                    assert answer.read() == b"hello " + name
        server.shutdown()
        serving.join()


# --- XML-RPC ---


@pytest.mark.parametrize("uri", ["http://localhost/", "localhost", "ftp://localhost/"])
def test_xmlrpc_is_https_only(tls: Any, uri: str) -> None:
    with pytest.raises(ValueError, match="uri must begin with https:"):
        ServerProxy(uri, tls=tls)


def test_xmlrpc_keeps_its_connection(scripted: Any, own: Any, tls: Any) -> None:
    body = xmlrpc.client.dumps((7,), methodresponse=True)
    answer = ("> HTTP/1.1 200 OK", f"> Content-Length: {len(body)}", "> ")
    send = lambda server: server.side.sendall(body.encode())  # noqa: E731 - a step
    call = ("< POST /RPC2", "<<", "<body", *answer, send)
    server = scripted(own, "TLS", *call, *call)
    with ServerProxy(f"https://{HOST}:{server.port}/RPC2", tls=tls) as proxy:
        assert [proxy.seven(), proxy.seven()] == [7, 7]
    server.close()
    assert server.errors == [None]


def test_xmlrpc_takes_tls_once(tls: Any) -> None:
    with pytest.raises(ValueError, match="give tls to the transport"):
        ServerProxy("https://localhost/", SafeTransport(tls=tls), tls=tls)
