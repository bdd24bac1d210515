"""Where early data is refused, and what a server of rustls's takes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

import polytls.anyio
import polytls.asyncio
from polytls import (
    ClientAuthentication,
    ConfigurationError,
    SupportsEarlyData,
    TicketKeys,
    TLSClientConfiguration,
    TLSServerConfiguration,
    WantReadError,
    implementation,
    streams,
)
from polytls.reload import ReloadingServerContext
from polytls.testing import CertificateAuthority, Pair, tie

RUSTLS = implementation("rustls")
AUTHORITY = CertificateAuthority()
CHAIN = AUTHORITY.issue("server.example")
TRUST = AUTHORITY.trust_store()


def client(**given: Any) -> Any:
    configuration = TLSClientConfiguration(trust_store=TRUST, early_data=True, **given)
    return RUSTLS.client_context(configuration)


def server(**given: Any) -> Any:
    return RUSTLS.server_context(TLSServerConfiguration([CHAIN], **({"early_data": True} | given)))


def remember(ours: Any, theirs: Any) -> None:
    """One connection, whose tickets the client takes in."""
    pair = tie(ours.create_buffer("server.example"), theirs.create_buffer())
    pair.transfer()
    with pytest.raises(WantReadError):
        pair.client.read(1)


def test_rustls_takes_16_kib() -> None:
    ours, theirs = client(), server()
    remember(ours, theirs)
    buffer = ours.create_buffer("server.example")
    assert isinstance(buffer, SupportsEarlyData)
    assert buffer.write_early_data(bytes(10_000)) == 10_000
    assert buffer.write_early_data(bytes(10_000)) == 6_384


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ticket_keys": TicketKeys.from_secret(bytes(32))}, "accept a replay"),
        ({"trust_store": TRUST}, "before the client is verified"),
        (
            {"trust_store": TRUST, "client_authentication": ClientAuthentication.OPTIONAL},
            "before the client is verified",
        ),
        ({"sessions": None}, "requires resumption"),
    ],
)
def test_a_server_says_what_does_not_go_with_it(given: dict[str, Any], said: str) -> None:
    configuration = TLSServerConfiguration([CHAIN], early_data=True, **given)
    for refuse in (RUSTLS.validate_config, RUSTLS.server_context):
        with pytest.raises(ConfigurationError, match=said) as refused:
            refuse(configuration)
        assert (refused.value.field, refused.value.implementation) == ("early_data", "rustls")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"peer_verifier": lambda _: None}, "before peer_verifier"),
        ({"sessions": None}, "requires resumption"),
    ],
)
def test_a_client_says_what_does_not_go_with_it(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        client(**given)
    assert refused.value.field == "early_data"


def test_client_authentication_that_is_off_goes_with_it() -> None:
    assert server(trust_store=TRUST, client_authentication=ClientAuthentication.NONE)


def test_event_loops_refuse_a_servers_context_that_takes_it() -> None:
    context = server()

    async def asyncio_server() -> None:
        await polytls.asyncio.start_server(lambda *_: None, "127.0.0.1", 0, tls=context)

    async def anyio_stream() -> None:
        nothing: Any = None
        await polytls.anyio.TLSStream.wrap(nothing, context)

    async def anyio_listener() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener:
            polytls.anyio.TLSListener(listener, context)

    for work in (asyncio_server, anyio_stream, anyio_listener):
        with pytest.raises(ConfigurationError, match="no way to read it") as refused:
            asyncio.run(work())
        assert refused.value.field == "early_data"


def test_a_replaced_identity_takes_none_of_the_sessions_before() -> None:
    ours = client()
    reloading = ReloadingServerContext(RUSTLS, TLSServerConfiguration([CHAIN], early_data=True))
    accepted = []
    for replaces in (False, False, True, False):
        if replaces:
            reloading.replace([AUTHORITY.issue("server.example")])
        buffer: Any = ours.create_buffer("server.example")
        buffer.write_early_data(b"early")
        pair = Pair(buffer, reloading.create_buffer())
        pair.handshake()
        pair.transfer()
        with pytest.raises(WantReadError):
            buffer.read(1)
        accepted.append((buffer.info.resumed, buffer.info.early_data))
    assert accepted == [(False, None), (True, True), (False, False), (True, True)]


def test_a_server_remembers_no_more_sessions_than_it_was_told_to() -> None:
    theirs = server(sessions=polytls.SessionCache(capacity=1))
    clients = [client() for _ in range(2)]
    for ours in clients:
        remember(ours, theirs)
    taken = []
    for ours in reversed(clients):
        buffer: Any = ours.create_buffer("server.example")
        assert buffer.write_early_data(b"early") == 5
        tie(buffer, theirs.create_buffer())
        taken.append(buffer.info.early_data)
    assert taken == [True, False]


def test_a_stream_below_that_has_none_says_so() -> None:
    stdlib = implementation("stdlib")
    context = stdlib.client_context(TLSClientConfiguration(trust_store=TRUST))

    class Nowhere:
        def recv(self, _size: int) -> bytes:
            return b""

        def send(self, data: bytes) -> int:
            return len(data)

        def close(self) -> None:
            pass

    buffer = context.create_buffer("server.example")
    with streams.wrap(Nowhere(), buffer, do_handshake_on_connect=False) as made:
        assert not isinstance(made, SupportsEarlyData)
