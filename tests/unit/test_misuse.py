"""Mistakes of people who come from `ssl`, or guess, are told at once, with what to use instead."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

import polytls
from polytls import (
    Certificate,
    PrivateKey,
    SigningChain,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TrustStore,
)
from polytls.testing.conformance.lab import Lab

Client, Server = TLSClientConfiguration, TLSServerConfiguration


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda: Client(lowest_supported_version=ssl.TLSVersion.TLSv1_2),
            "lowest_supported_version must be TLSVersion, not ssl.TLSVersion "
            "(use polytls.TLSVersion.TLSv1_2)",
        ),
        (
            lambda: Client(highest_supported_version="TLSv1.3"),
            "highest_supported_version must be TLSVersion, not str "
            "(use polytls.TLSVersion.TLSv1_3)",
        ),
        (
            lambda: Server(client_authentication=ssl.CERT_REQUIRED),
            "client_authentication must be ClientAuthentication, not ssl.VerifyMode "
            "(use polytls.ClientAuthentication.REQUIRED)",
        ),
        (
            lambda: Client(inner_protocols=["h2"]),
            "inner_protocols[0] must be NextProtocol or bytes, not str "
            "(use polytls.NextProtocol.H2)",
        ),
        (
            lambda: Client(ciphers=["TLS_AES_128_GCM_SHA256"]),
            "ciphers[0] must be CipherSuite or int, not str "
            "(use polytls.CipherSuite.TLS_AES_128_GCM_SHA256)",
        ),
        (
            lambda: Client(inner_protocols=["h3"]),
            "inner_protocols[0] must be NextProtocol or bytes, not str",
        ),
        (
            lambda: Client(trust_store=ssl.create_default_context()),
            "trust_store must be TrustStore, not ssl.SSLContext",
        ),
        (
            lambda: TrustStore.system([]),
            "system: 1 argument is given by position; it takes nothing by position; "
            "give extra, crls, ",
        ),
        (
            lambda: PrivateKey.from_file("key.pem", "password"),
            "from_file: 2 arguments are given by position; it takes path by position",
        ),
        (lambda: Certificate.from_file(), "from_file: path must be given"),
        (
            lambda: SigningChain((Certificate(b"c"), None), [], b"staple"),
            "SigningChain: 3 arguments are given by position; it takes leaf, chain by position; "
            "give ocsp_response by name",
        ),
        (lambda: Client(alpn=[]), "TLSClientConfiguration: there is no argument alpn; it takes "),
        (lambda: Client(None, certificate_chain=None), "certificate_chain is given twice"),
    ],
)
def test_values_say_what_they_take(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(TypeError, match=re.escape(told)):
        call()


def test_contexts_say_how_they_are_called(lab: Lab) -> None:
    client, server = lab.client(), lab.server()
    address = ("localhost", 443)
    with socket.socket() as plain:
        for call, told in [
            (
                lambda: client.connect("localhost", 443),
                "connect: 2 arguments are given by position; it takes address by position; give ",
            ),
            (
                lambda: client.connect(address, 5),
                "connect: 2 arguments are given by position; it takes address by position; give ",
            ),
            (
                lambda: server.connect(address, 5),
                "connect: 2 arguments are given by position; it takes address by position; give ",
            ),
            (lambda: client.wrap_socket(plain), "wrap_socket: server_hostname must be given"),
            (
                lambda: server.wrap_socket(plain, server_side=True),
                "wrap_socket: there is no argument server_side; it takes sock, ",
            ),
            (lambda: client.create_buffer(), "create_buffer: server_hostname must be given"),
            (
                lambda: server.create_buffer("localhost"),
                "create_buffer: 1 argument is given by position; it takes nothing by position",
            ),
            (lambda: type(client)(), f"{type(client).__name__}: configuration must be given"),
        ]:
            with pytest.raises(TypeError, match=f"^{re.escape(told)}"):
                call()


def test_an_error_inside_a_call_is_its_own(lab: Lab) -> None:
    with pytest.raises(TypeError, match=r"^address must be a \(host, port\) pair$"):
        lab.client().connect("localhost:443")


@pytest.mark.parametrize("kind", ["client", "server"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wrap_bio", "use polytls.asyncio"),
        ("set_alpn_protocols", "inner_protocols="),
        ("load_verify_locations", "trust_store="),
        ("minimum_version", "lowest_supported_version="),
        ("verify_mode", "client_authentication="),
    ],
)
def test_contexts_have_nothing_of_ssls_and_say_what_they_have(
    lab: Lab, kind: str, name: str, told: str
) -> None:
    context = getattr(lab, kind)()
    with pytest.raises(AttributeError, match=f"not an ssl.SSLContext, which has .*{name}.*{told}"):
        getattr(context, name)
    with pytest.raises(AttributeError, match=f"not an ssl.SSLContext, which has .*{name}.*{told}"):
        setattr(context, name, None)
    assert not hasattr(context, name)
    assert getattr(context, name, None) is None


def test_all_that_an_ssl_context_has_is_answered(lab: Lab) -> None:
    context = lab.client()
    names = [name for name in dir(ssl.SSLContext) if not name.startswith("_")]
    assert len(names) > 20
    for name in names:
        if not hasattr(context, name):
            with pytest.raises(AttributeError, match=r"not an ssl\.SSLContext"):
                getattr(context, name)


def test_other_attributes_that_are_not_there_are_told_as_ever(lab: Lab) -> None:
    context = lab.client()
    with pytest.raises(AttributeError, match=r"Context' object has no attribute 'nonsense'$"):
        context.nonsense  # noqa: B018
    with pytest.raises(AttributeError, match="nonsense"):
        context.nonsense = 1
    assert context.__class__ is type(context)
    assert isinstance(context, polytls.ClientContext)


#: What asyncio is told.
LOOPS = r"with asyncio and uvloop use polytls\.asyncio"


async def serve(_reader: Any, writer: Any) -> None:
    writer.close()


def test_asyncio_is_refused_our_contexts_as_ssl_before_it_serves(lab: Lab, tmp_path: Any) -> None:
    server, client = lab.server(), lab.client()
    path = str(tmp_path / "socket")

    async def main() -> None:
        for serving in (
            lambda: asyncio.start_server(serve, "127.0.0.1", 0, ssl=server),
            lambda: asyncio.start_unix_server(serve, path, ssl=server),
        ):
            with pytest.raises(TypeError, match=LOOPS):
                await serving()
        # Not open_connection, which does not close its socket when it is refused.
        with (
            socket.create_server(("127.0.0.1", 0)) as listening,
            socket.create_connection(listening.getsockname()) as plain,
            pytest.raises(TypeError, match=LOOPS),
        ):
            await asyncio.open_connection(sock=plain, ssl=client, server_hostname="a")

    asyncio.run(main())
