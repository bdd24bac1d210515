"""The examples of docs/asyncio.md and docs/anyio.md run, as they stand there."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
import trio

from misdeeds import misbehaving
from pages import ROOT, programs
from polytls import ClientAuthentication
from polytls.testing.conformance.lab import PATIENCE, Lab
from polytls.testing.conformance.raw_peer import reset


def examples(page: str) -> dict[str, Any]:
    """The names that the programs of a page define."""
    names: dict[str, Any] = {}
    for program in programs(ROOT / "docs" / page).values():
        exec(compile(program.code, page, "exec"), names)
    return names


@asynccontextmanager
async def misbehaviour(port: int, client: Any) -> AsyncIterator[None]:
    """`misbehaving` in a thread, while the loop serves."""
    with ThreadPoolExecutor(1) as thread, ExitStack() as doing:
        began = thread.submit(doing.enter_context, misbehaving(("127.0.0.1", port), client))
        while not began.done():
            await anyio.sleep(0.01)
        began.result()
        yield


@pytest.fixture
def local(lab: Lab) -> Any:
    """What a certificate has to be issued for here."""
    return partial(lab.server, lab.chain("localhost"))


def port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def stop(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()
    # Handlers whose clients have gone have a few steps to go.
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0.001)


def resolved(port: Any) -> list[Any]:
    """ "localhost" as one address, so that a free port is free on all of them."""
    where = ("127.0.0.1", int(port or 0))
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)]


@pytest.fixture(autouse=True)
def one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(self: Any, host: Any, port: Any, **_: Any) -> Any:
        return resolved(port)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


class Resolver(trio.abc.HostnameResolver):
    """The same for trio, whose own leaves a thread behind for a while."""

    async def getaddrinfo(self, host: Any, port: Any, *_: Any) -> Any:
        return resolved(port)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


def run(main: Any) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE):
            await main()

    asyncio.run(limited())


def test_https_by_hand(lab: Lab, local: Any) -> None:
    page = examples("asyncio.md")

    async def main() -> None:
        server = await page["serve_hello"](0, local())
        async with misbehaviour(port_of(server), lab.client()):
            answer = await page["get"]("localhost", port_of(server), "/", lab.client())
        assert answer.endswith(b"\r\n\r\nhello over TLSv1.3\n")
        await stop(server)

    run(main)


def test_a_service_that_knows_its_clients(lab: Lab, local: Any) -> None:
    page = examples("asyncio.md")
    identity = lab.chain("client.example")

    async def main() -> None:
        tls = local(
            trust_store=lab.ca.trust_store(), client_authentication=ClientAuthentication.REQUIRED
        )
        opened = page["polytls"].asyncio
        server = await opened.start_server(page["who_are_you"], "localhost", 0, tls=tls)
        client = lab.client(certificate_chain=identity)
        async with misbehaviour(port_of(server), client):
            reader, writer = await opened.open_connection("localhost", port_of(server), tls=client)
            leaf = identity.leaf[0].buffer
            assert (await reader.read()).strip().decode() == hashlib.sha256(leaf).hexdigest()
            writer.close()
            await writer.wait_closed()
        await stop(server)

    run(main)


def test_starttls(lab: Lab, local: Any) -> None:
    page = examples("asyncio.md")

    async def main() -> None:
        server = await page["serve_starttls"](0, local())
        address = ("127.0.0.1", port_of(server))
        silent = [await asyncio.open_connection(*address) for _ in range(3)]
        for said in (b"", b"STARTTLS", b"STARTTLS\r\n", b"STARTTLS\r\nEHLO\r\n", bytes(100_000)):
            with socket.create_connection(address) as plain:
                plain.sendall(said)
                reset(plain)
        answer = await page["secured"]("localhost", port_of(server), lab.client())
        assert answer == b"250 EHLO me\r\n"
        for _, writer in silent:
            writer.close()
        await stop(server)

    run(main)


def test_a_proxy_that_ends_tls(lab: Lab, local: Any) -> None:
    page = examples("asyncio.md")

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    async def main() -> None:
        backend = await asyncio.start_server(shout, "localhost", 0)
        proxy = await page["serve_proxy"](0, local(), ("localhost", port_of(backend)))
        async with misbehaviour(port_of(proxy), lab.client()):
            reader, writer = await page["polytls"].asyncio.open_connection(
                "localhost", port_of(proxy), tls=lab.client()
            )
            writer.write(b"question" * 50_000)
            writer.write_eof()
            assert await reader.read() == b"QUESTION" * 50_000
            writer.close()
            await writer.wait_closed()
        await stop(backend)
        reader, writer = await page["polytls"].asyncio.open_connection(
            "localhost", port_of(proxy), tls=lab.client()
        )
        assert await reader.read() == b""  # The backend has gone; the proxy has not.
        writer.close()
        await writer.wait_closed()
        await stop(proxy)

    run(main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio(backend: str, lab: Lab, local: Any) -> None:
    page = examples("anyio.md")

    async def main() -> None:
        if backend == "trio":
            trio.socket.set_custom_hostname_resolver(Resolver())
        with anyio.fail_after(PATIENCE):
            listener = await page["secured"](local(), 0)
            async with listener, anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, page["answer"])
                port = listener.listener.extra(anyio.abc.SocketAttribute.local_port)
                async with misbehaviour(port, lab.client()):
                    answer = await page["ask"]("localhost", port, b"hello", lab.client())
                assert answer == b"hello over TLSv1.3"
                tasks.cancel_scope.cancel()

    anyio.run(main, backend=backend)
