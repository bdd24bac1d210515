"""The measured loops over two sides in memory: the same statements for every library."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .floors import Run
from .peers import Contexts, Side

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
    return (_bulk_methods if way == "methods" else _bulk_fused)(link, piece)


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


def _bulk_fused(link: Link, piece: int) -> Run:
    seal, _ = link.client.fused()
    _, unseal = link.server.fused()
    data = memoryview(os.urandom(piece))
    into = bytearray(piece)

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            sent = received = 0
            while sent < piece:
                taken, ciphertext = seal(data[sent:])
                sent += taken
                received += unseal(ciphertext, into)
                while received < sent:
                    received += unseal(b"", into)
        return time.perf_counter() - began

    return run


def ping_pong(link: Link, size: int, way: Way) -> Run:
    """There and back, `size` bytes each way."""
    return (_ping_pong_methods if way == "methods" else _ping_pong_fused)(link, size)


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


def _ping_pong_fused(link: Link, size: int) -> Run:
    client_seal, client_open = link.client.fused()
    server_seal, server_open = link.server.fused()
    message = memoryview(os.urandom(size))
    into = bytearray(size)

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            _, ciphertext = client_seal(message)
            server_open(ciphertext, into)
            _, ciphertext = server_seal(memoryview(into))
            client_open(ciphertext, into)
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
