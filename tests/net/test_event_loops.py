"""`asyncio`'s calls for plain sockets: with a TLS socket they raise where a plain one would wait.

They could not do it right: what a non-blocking `send` has taken goes out with later calls, and
asyncio makes none. `polytls.asyncio` is for event loops. Also: selectors and `pending`.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import polytls

PATIENCE = 20.0
HOST = "localhost"


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


def test_receiving_raises_where_nothing_has_come(sides: tuple[Any, Any]) -> None:
    client, _ = sides

    async def receive() -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(polytls.WantReadError):
                await loop.sock_recv(client, 100)
            with pytest.raises(polytls.WantReadError):
                await loop.sock_recv_into(client, bytearray(100))

    asyncio.run(receive())


def test_sending_goes_on_or_raises(sides: tuple[Any, Any]) -> None:
    client, server = sides
    server.setblocking(True)
    taken: list[bytes] = []

    def take() -> None:
        while data := server.recv(65536):
            taken.append(data)

    async def send() -> bool:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            try:
                await loop.sock_sendall(client, bytes(3_000_000))
            except polytls.WantWriteError:
                return False
            with pytest.raises(polytls.WantReadError):
                await loop.sock_recv(client, 100)
        return True

    taking = threading.Thread(target=take)
    taking.start()
    all_taken = asyncio.run(send())
    client.setblocking(True)
    client.shutdown(socket.SHUT_WR)
    taking.join()
    total = sum(map(len, taken))
    assert total == 3_000_000 if all_taken else total < 3_000_000


def test_accepting_raises_where_nobody_has_come(own: Any) -> None:
    with own.connect((HOST, 0)) as listener:
        listener.setblocking(False)

        async def accept() -> None:
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(polytls.WantReadError):
                    await asyncio.get_running_loop().sock_accept(listener)

        asyncio.run(accept())


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
