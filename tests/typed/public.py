"""What a type checker knows of the public API; `make lint` has mypy and pyright read this file."""

# pyright: strict

from __future__ import annotations

import asyncio
import socket
from typing import Any, TypeAlias, assert_type

import polytls
import polytls.asyncio
from polytls import insecure
from polytls.engines.openssl import OpensslClientContext
from polytls.engines.rustls import (
    RustlsClientContext,
    RustlsInsecureClientContext,
    RustlsServerContext,
)
from polytls.engines.stdlib import (
    StdlibClientContext,
    StdlibInsecureServerContext,
    StdlibServerContext,
)
from polytls.testing import Pair, tie

Rustls: TypeAlias = polytls.TLSImplementation[RustlsClientContext, RustlsServerContext]
Other: TypeAlias = polytls.TLSImplementation[polytls.ClientContext, polytls.ServerContext]
ADDRESS = ("localhost", 443)


def names_lead_to_classes(name: str, maybe: str | None) -> None:
    assert_type(polytls.implementation(), Rustls)
    assert_type(polytls.implementation(None), Rustls)
    assert_type(polytls.implementation("rustls"), Rustls)
    assert_type(polytls.implementation("openssl").client_context, type[OpensslClientContext])
    assert_type(polytls.implementation("stdlib").client_context, type[StdlibClientContext])
    assert_type(polytls.implementation(name), Other)
    assert_type(polytls.implementation(maybe), Other)
    assert_type(
        insecure.implementation().insecure_client_context, type[RustlsInsecureClientContext]
    )
    assert_type(
        insecure.implementation("stdlib").insecure_server_context,
        type[StdlibInsecureServerContext],
    )
    assert_type(
        insecure.implementation(name).insecure_client_context,
        type[insecure.InsecureClientContext],
    )


def connections_have_all_that_the_pages_show(connection: polytls.Connection) -> None:
    with connection:
        connection.settimeout(1)
        connection.sendall(b"data")
        assert_type(connection.info, polytls.ConnectionInfo)
        assert_type(connection.session, polytls.TLSSession | None)
        assert_type(connection.recv(1), bytes)


def listeners_too(listener: polytls.Listener) -> None:
    with listener:
        assert_type(listener.accept()[0], polytls.Connection)
        assert_type(listener.failed_handshakes, int)


def contexts_make_such(
    client: RustlsClientContext | StdlibClientContext,
    server: RustlsServerContext | StdlibServerContext,
    plain: socket.socket,
) -> None:
    connections_have_all_that_the_pages_show(client.connect(ADDRESS, timeout=5))
    connections_have_all_that_the_pages_show(client.wrap_socket(plain, "localhost"))
    session = client.create_buffer("localhost").session
    assert_type(session, polytls.TLSSession | None)
    client.connect(ADDRESS, session=session)
    client.wrap_socket(plain, "localhost", session=session)
    client.create_buffer("localhost", session=session)
    connections_have_all_that_the_pages_show(server.wrap_socket(plain))
    connections_have_all_that_the_pages_show(server.connect(ADDRESS).accept()[0])
    listeners_too(server.connect(ADDRESS))
    assert_type(client.create_buffer("localhost").info, polytls.ConnectionInfo)
    assert_type(server.create_buffer().info, polytls.ConnectionInfo)


def what_is_written_to_the_pep_takes_them(
    client: RustlsClientContext | StdlibClientContext, server: polytls.ServerContext
) -> tuple[polytls.ClientContext, polytls.TLSSocket, polytls.TLSBuffer]:
    assert_type(server.connect(ADDRESS).accept()[0], polytls.TLSSocket)
    return client, client.connect(ADDRESS), client.create_buffer("localhost")


def so_do_insecure_contexts(
    client: RustlsInsecureClientContext, server: StdlibInsecureServerContext
) -> tuple[insecure.InsecureClientContext, insecure.InsecureServerContext]:
    return client, server


def pairs_in_memory_keep_the_types_of_their_sides(
    client: RustlsClientContext, server: polytls.ServerContext
) -> Pair:
    known = tie(server.create_buffer(), server.create_buffer())
    pair = tie(client.create_buffer("localhost"), server.create_buffer())
    assert_type(pair.client.channel_binding("tls-exporter"), bytes)
    assert_type(pair.server, polytls.TLSBuffer)
    return known


async def event_loops_take_them(client: RustlsClientContext, server: StdlibServerContext) -> None:
    await polytls.asyncio.open_connection("localhost", 443, tls=client)
    await polytls.asyncio.start_server(served, "localhost", 443, tls=server)


async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    client = polytls.implementation().client_context(polytls.TLSClientConfiguration())
    await polytls.asyncio.start_tls_streams(reader, writer, client, server_hostname="localhost")


def implementations_of_any_kind_are_accepted(
    implementation: polytls.TLSImplementation[Any, Any],
) -> Other:
    return polytls.implementation() if implementation.name else implementation
