"""`polytls.net.uvicorn`: HTTP and WebSocket, and what applications learn of the client."""

from __future__ import annotations

import asyncio
import inspect
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
import websockets.sync.client

import polytls
from polytls import ClientAuthentication, NextProtocol, compat
from polytls.net.http import HTTPSConnection
from polytls.net.uvicorn import Config, Server, _name, run
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

PATIENCE = 20.0
HOST = "localhost"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it was told of the connection."""
    told = json.dumps({"scheme": scope["scheme"], "tls": scope.get("extensions", {}).get("tls")})
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": told})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})
        await send({"type": "websocket.close"})
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body or told.encode()})


@contextmanager
def serving(tls: Any, **settings: Any) -> Iterator[int]:
    config = Config(
        app, tls=tls, host="127.0.0.1", port=0, log_level="error", lifespan="off", **settings
    )
    server = Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


@pytest.fixture(scope="module", autouse=True)
def _once(ca: CertificateAuthority) -> None:
    """uvicorn's first server of a process opens /dev/null for good."""
    server = polytls.TLSServerConfiguration([ca.issue(HOST)])
    with serving(server):
        pass


def get(port: int, tls: Any, body: bytes | None = None) -> bytes:
    connection = HTTPSConnection(HOST, port, timeout=PATIENCE, tls=tls)
    try:
        for _ in range(2):  # The second over the same connection.
            connection.request("POST" if body else "GET", "/", body)
            answer = connection.getresponse().read()
    finally:
        connection.close()
    return answer


HTTP = pytest.mark.parametrize("http", ["h11", "httptools"])


@HTTP
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_requests_are_those_of_https(own: Any, tls: Any, http: str, loop: str) -> None:
    with serving(own, http=http, loop=loop) as port:
        told = json.loads(get(port, tls))
        assert told["scheme"] == "https"
        assert told["tls"] == {
            "server_cert": None,
            "client_cert_chain": [],
            "client_cert_name": None,
            "client_cert_error": None,
            "tls_version": 0x0304,
            "cipher_suite": told["tls"]["cipher_suite"],
        }
        assert polytls.CipherSuite(told["tls"]["cipher_suite"]).name.startswith("TLS_")
        large = bytes(range(256)) * 20_000
        assert get(port, tls, large) == large


def test_the_clients_certificate_reaches_the_application(
    lab: Any, ca: CertificateAuthority
) -> None:
    server = lab.server(
        lab.chain(HOST),
        trust_store=ca.trust_store(),
        client_authentication=ClientAuthentication.OPTIONAL,
    )
    chain = ca.issue("alice.example", common_name='Alice, "A" + B=C; O=Admin')
    alice = lab.client(certificate_chain=chain)
    with serving(server) as port:
        certificates = [
            pem("CERTIFICATE", each.buffer or b"").decode()
            for each in (chain.leaf[0], *chain.chain)
        ]
        for resumed in (False, True):
            told = json.loads(get(port, alice))["tls"]
            # OpenSSL's clients add what their store has, and its tickets keep the leaf alone.
            presented = told["client_cert_chain"]
            count = 1 if resumed else len(certificates)
            assert presented[:count] == certificates[:count]
            # What is in it cannot pass for another part of the name.
            assert told["client_cert_name"] == 'CN=Alice\\, \\"A\\" \\+ B=C\\; O=Admin'
        assert json.loads(get(port, lab.client()))["tls"]["client_cert_chain"] == []


def test_websockets_are_secure_ones_and_know_the_client(lab: Any, ca: CertificateAuthority) -> None:
    server = lab.server(lab.chain(HOST), trust_store=ca.trust_store())
    client = lab.client(certificate_chain=ca.issue("bob.example", common_name="Bob"))
    if not hasattr(client, "_engine"):
        pytest.skip("its contexts have no face of ssl")
    face = compat.of(client)
    with (
        serving(server) as port,
        websockets.sync.client.connect(f"wss://{HOST}:{port}", ssl=face, proxy=None) as connection,
    ):
        told = json.loads(connection.recv(PATIENCE))
        assert told["scheme"] == "wss"
        assert told["tls"]["client_cert_name"] == "CN=Bob"
        connection.send("hello")
        assert connection.recv(PATIENCE) == "hello"


def test_a_client_without_a_certificate_is_refused_where_one_is_required(
    lab: Any, ca: CertificateAuthority
) -> None:
    server = lab.server(lab.chain(HOST), trust_store=ca.trust_store())
    with serving(server) as port, pytest.raises(OSError, match=r"."):
        get(port, lab.client())


def test_what_the_context_says_is_what_is_negotiated(lab: Any) -> None:
    server = lab.server(lab.chain(HOST), inner_protocols=[NextProtocol.HTTP1])
    client = lab.client(inner_protocols=[NextProtocol.H2, NextProtocol.HTTP1])
    with serving(server) as port:
        connection = HTTPSConnection(HOST, port, timeout=PATIENCE, tls=client)
        connection.request("GET", "/")
        assert connection.sock.negotiated_protocol() is NextProtocol.HTTP1
        connection.getresponse().read()
        connection.close()


def test_names_are_written_as_rfc_4514_has_them() -> None:
    # Its section 4, and what has to be escaped.
    assert (
        _name(
            (
                (("domainComponent", "net"),),
                (("domainComponent", "example"),),
                (("organizationalUnitName", "Sales"), ("commonName", "J.  Smith")),
            )
        )
        == "OU=Sales+CN=J.  Smith,DC=example,DC=net"
    )
    for value, written in {
        "#1": "\\#1",
        " a ": "\\ a\\ ",
        " ": "\\ ",
        "a\\b": "a\\\\b",
        "a\0b": "a\\00b",
        "Lučić": "Lučić",
    }.items():
        assert _name(((("commonName", value),),)) == f"CN={written}"


def test_arguments_that_would_be_another_tls_are_refused(own: Any, tls: Any) -> None:
    with pytest.raises(TypeError, match="ssl_certfile"):
        run(app, tls=own, ssl_certfile="cert.pem")
    with pytest.raises(TypeError, match="server context"):
        run(app, tls=tls)
    with pytest.raises(ValueError, match="workers"):
        run(app, tls=own, workers=2)


def test_the_face_serves_without_the_extension_in_one_line(own: Any, tls: Any) -> None:
    """`ssl_context_factory` is uvicorn's own door, for who needs no client's certificate."""
    if "ssl_context_factory" not in inspect.signature(uvicorn.Config).parameters:
        pytest.skip("uvicorn has ssl_context_factory from 0.47 on")
    if not hasattr(own, "_engine"):
        pytest.skip("its contexts have no face of ssl")
    face = compat.of(own)
    assert isinstance(face, ssl.SSLContext)
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_level="error",
        lifespan="off",
        ssl_context_factory=lambda _config, _default: face,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    assert json.loads(get(port, tls)) == {"scheme": "https", "tls": None}
    server.should_exit = True
    thread.join(PATIENCE)
