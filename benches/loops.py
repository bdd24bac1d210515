"""The measured loops over two sides in memory: the same statements for every library."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .floors import Run
from .peers import Contexts, Fused, Open, Seal, Side

__all__ = ["Link", "Way", "bulk", "handshakes", "making", "ping_pong"]

#: How data moves: the PEP's methods alone, or calls that do two of them at once.
Way: TypeAlias = Literal["methods", "fused"]


@dataclass(frozen=True)
class Link:
    """Two sides whose handshake is done."""

    client: Side
    server: Side
    #: The server's first flight, for `wire`.
    flight: bytes

    @classmethod
    def make(cls, contexts: Contexts) -> Link:
        """A new connection; what the server sent last (tickets) waits unread at the client."""
        client, server = contexts.pair()
        flight = b""
        done = False
        while not done:
            done = client.handshake()
            server.incoming(client.outgoing())
            done = server.handshake() and done
            data = server.outgoing()
            if data:
                flight = flight or data
                client.incoming(data)
        return cls(client, server, flight)

    def fused(self) -> tuple[Fused, Fused] | None:
        """Both sides' fused calls."""
        client, server = self.client.fused(), self.server.fused()
        return (client, server) if client and server else None

    def settle(self) -> None:
        """Let the client take the tickets that wait for it."""
        try:
            self.client.read(1)
        except self.client.want:
            return
        raise AssertionError("data came that nobody sent")

    def carry(self, data: bytes, *, to_client: bool = False) -> bytes:
        """Send data across and return what arrived."""
        sender, receiver = self.client, self.server
        if to_client:
            sender, receiver = receiver, sender
        arrived = bytearray()
        into = bytearray(len(data))
        view = memoryview(data)
        while view:
            view = view[sender.write(view) :]
            receiver.incoming(sender.outgoing())
            try:
                while len(arrived) < len(data):
                    arrived += into[: receiver.read_into(into)]
            except receiver.want:
                continue
        return bytes(arrived)

    def prove(self) -> None:
        """What one side sends arrives at the other, both ways."""
        data = os.urandom(40_000)
        assert self.carry(data) == data
        assert self.carry(data, to_client=True) == data


def bulk(link: Link, piece: int, way: Way) -> Run:
    """Client to server, `piece` bytes a write, into one buffer of the same size."""
    if way == "methods" or not (fused := link.fused()):
        return _bulk_methods(link, piece)
    client, server = fused
    return _bulk_fused(client[0], server[1], piece)


def _bulk_methods(link: Link, piece: int) -> Run:
    write, outgoing = link.client.write, link.client.outgoing
    incoming, read_into, want = link.server.incoming, link.server.read_into, link.server.want
    data = memoryview(os.urandom(piece))
    into = bytearray(piece)

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            sent = 0
            while sent < piece:
                sent += write(data[sent:])
                incoming(outgoing())
                received = 0
                try:
                    while received < piece:
                        received += read_into(into)
                except want:
                    continue
        return time.perf_counter() - began

    return run


def _bulk_fused(seal: Seal, unseal: Open, piece: int) -> Run:
    data = memoryview(os.urandom(piece))
    into = bytearray(piece)

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            received = unseal(seal(data), piece, into)
            assert received is not None
            while received < piece:
                more = unseal(None, piece, into)
                assert more is not None
                received += more
        return time.perf_counter() - began

    return run


def ping_pong(link: Link, size: int, way: Way) -> Run:
    """There and back, `size` bytes each way."""
    if way == "methods" or not (fused := link.fused()):
        return _ping_pong_methods(link, size)
    return _ping_pong_fused(*fused, size)


def _ping_pong_methods(link: Link, size: int) -> Run:
    client, server = link.client, link.server
    message = memoryview(os.urandom(size))

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            client.write(message)
            server.incoming(client.outgoing())
            server.write(memoryview(server.read(size)))
            client.incoming(server.outgoing())
            answer = client.read(size)
        took = time.perf_counter() - began
        assert answer == message
        return took

    return run


def _ping_pong_fused(client: Fused, server: Fused, size: int) -> Run:
    client_seal, client_open = client
    server_seal, server_open = server
    message = memoryview(os.urandom(size))
    into = bytearray(size)
    view = memoryview(into)

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            server_open(client_seal(message), size, into)
            client_open(server_seal(view), size, into)
        took = time.perf_counter() - began
        assert into == message
        return took

    return run


def making(contexts: Contexts) -> Run:
    """Pairs of sides, with no handshake."""

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            contexts.pair()
        return time.perf_counter() - began

    return run


def handshakes(contexts: Contexts, check: Callable[[list[bytes]], None], *, resumed: bool) -> Run:
    """Handshakes, both sides; with `resumed`, the client takes its tickets in each as well.

    `check` is given the server's first flight of each.
    """

    def run(count: int) -> float:
        flights = []
        began = time.perf_counter()
        for _ in range(count):
            link = Link.make(contexts)
            flights.append(link.flight)
            if resumed:
                link.settle()
                contexts.remember(link.client)
        took = time.perf_counter() - began
        check(flights)
        link.client.check(resumed=resumed)
        return took

    return run
