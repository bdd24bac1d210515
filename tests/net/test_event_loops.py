"""`asyncio`'s calls for plain sockets, and selectors with `pending`.

A TLS socket passes for a plain one there: what would block is a BlockingIOError, and `send` says
how much of the data was taken. `polytls.asyncio` is for event loops all the same: it buffers
nothing, and closes in order.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import polytls

PATIENCE = 20.0
HOST = "localhost"


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def timed() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await work()

    return asyncio.run(timed())


@pytest.fixture
def sides(own: Any, tls: Any) -> Iterator[tuple[Any, Any]]:
    """A client and a server that are connected; neither waits."""
    with own.connect((HOST, 0)) as listener:
        accepted: list[Any] = []
        accepting = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
        accepting.start()
        client = tls.connect((HOST, listener.getsockname()[1]))
        accepting.join()
    server = accepted[0]
    for side in (client, server):
        side.setblocking(False)
    yield client, server
    for side in (client, server):
        side.close(force=True)


def test_receiving_waits_for_what_comes(sides: tuple[Any, Any]) -> None:
    client, server = sides

    async def receive() -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(loop.sock_recv(client, 3))
        # The session tickets wake it, and are nothing to receive.
        await asyncio.sleep(0.05)
        assert not first.done()
        server.send(b"first second")
        assert await first == b"fir"
        # What has been decrypted already is found, though the descriptor has nothing.
        assert await loop.sock_recv(client, 3) == b"st "
        into = bytearray(100)
        assert await loop.sock_recv_into(client, into) == 6
        assert into[:6] == b"second"
        second = asyncio.create_task(loop.sock_recv_into(client, into))
        await asyncio.sleep(0.05)
        server.send(b"third")
        assert await second == 5

    run(receive)


def test_all_that_is_sent_arrives_though_the_peer_is_slow(sides: tuple[Any, Any]) -> None:
    client, server = sides
    data = bytes(range(256)) * 40_000

    async def take() -> bytes:
        loop = asyncio.get_running_loop()
        received = bytearray()
        while len(received) < len(data) + 4:
            if len(received) % 7 == 0:
                await asyncio.sleep(0.001)
            received += await loop.sock_recv(server, 300_000)
        return bytes(received)

    async def exchange() -> None:
        loop = asyncio.get_running_loop()
        taking = asyncio.create_task(take())
        await loop.sock_sendall(client, data)
        await loop.sock_sendall(client, b"end.")
        assert client.outgoing_bytes_buffered() == 0
        assert await taking == data + b"end."

    run(exchange)


def test_clients_are_accepted_and_served(own: Any, tls: Any) -> None:
    with own.connect((HOST, 0)) as listener:
        listener.setblocking(False)
        address = (HOST, listener.getsockname()[1])

        def visit() -> bytes:
            with tls.connect(address, timeout=PATIENCE) as client:
                client.sendall(b"hello")
                got: bytes = client.recv(100)
                return got

        async def serve() -> None:
            loop = asyncio.get_running_loop()
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await asyncio.sleep(0.05)
            assert not accepting.done()
            visiting = asyncio.create_task(asyncio.to_thread(visit))
            connection, _ = await accepting
            connection.setblocking(False)
            # This does the handshake, too.
            await loop.sock_sendall(connection, await loop.sock_recv(connection, 100))
            assert await visiting == b"hello"
            connection.close(force=True)

        run(serve)


def test_a_file_does_not_go_out_as_plaintext(sides: tuple[Any, Any], tmp_path: Path) -> None:
    client, server = sides
    file = tmp_path / "secret"
    file.write_bytes(b"secret" * 1000)

    async def send() -> None:
        loop = asyncio.get_running_loop()
        for fallback in (True, False):
            with file.open("rb") as opened, pytest.raises(TypeError, match="plaintext"):
                await loop.sock_sendfile(client, opened, fallback=fallback)
        # Nothing was sent: the connection goes on.
        await loop.sock_sendall(client, b"next")
        assert await loop.sock_recv(server, 100) == b"next"

    run(send)


def test_datagrams_are_refused(sides: tuple[Any, Any]) -> None:
    client, _ = sides

    async def receive() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(AttributeError):
            await loop.sock_recvfrom(client, 100)
        with pytest.raises(AttributeError):
            await loop.sock_sendto(client, b"data", (HOST, 1))

    run(receive)


def test_a_selector_and_pending_find_all_data(sides: tuple[Any, Any]) -> None:
    """A selector sees the descriptor only: what has been decrypted already is told by `pending`."""
    client, server = sides
    server.send(b"x" * 1000)
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        got = bytearray()
        while len(got) < 1000:
            assert client.pending() or selector.select(PATIENCE)
            try:
                got += client.recv(10)
            except polytls.WantReadError:
                # A session ticket, say.
                assert not client.pending()
    assert got == b"x" * 1000


def test_files_over_a_socket_that_does_not_wait_say_that_there_is_nothing(
    sides: tuple[Any, Any],
) -> None:
    client, server = sides
    with client.makefile("rb", 0) as file:
        assert file.read(10) is None
        server.send(b"data")
        server.setblocking(True)
        server.shutdown(socket.SHUT_WR)
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            got, ended = b"", False
            while not ended:
                assert selector.select(PATIENCE)
                # To the end of what is there: the peer's end may have come with the data.
                while (piece := file.read(10)) is not None and not ended:
                    got += piece
                    ended = not piece
    assert got == b"data"
