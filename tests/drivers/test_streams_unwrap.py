"""Not a byte is lost where plaintext and TLS meet: leftovers, unwrapping, what it gives back."""

from __future__ import annotations

import os
import random
import selectors
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import polytls
from polytls import RaggedEOF, TLSError, WantReadError
from polytls.streams import UnwrappedSocket, UnwrappedStream, wrap
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.lab import HOST, PATIENCE, Lab

NAMES = ("rustls", "stdlib")

#: What follows TLS, and is none.
PLAIN = b"\x17\x03\x03 226 back in the clear\r\n" + random.Random(3).randbytes(3000)


@pytest.fixture(scope="module")
def labs(ca: CertificateAuthority) -> dict[str, Lab]:
    """What makes contexts and buffers of each implementation."""
    return {name: Lab(polytls.implementation(name), ca) for name in NAMES}


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that are joined at the end of the test."""
    with ThreadPoolExecutor() as executor:
        yield executor


class Recorded:
    """A peer whose whole conversation is known beforehand: a stream that gives what it was made of.

    `cuts` says in which pieces it arrives. What is sent to it goes to `said`.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.said = bytearray()
        self.closed = False

    def recv(self, bufsize: int) -> bytes:
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if len(piece) > bufsize:
            self.pieces.insert(0, piece[bufsize:])
        return piece[:bufsize]

    def send(self, data: bytes) -> int:
        self.said += data
        return len(data)

    def close(self) -> None:
        self.closed = True


class Answering(Recorded):
    """A client that does its handshake, sends data and close_notify at once, and then `PLAIN`."""

    def __init__(self, client: Any, data: bytes, cuts: list[int]) -> None:
        super().__init__([])
        self.client, self.data, self.cuts = client, data, cuts
        self.over = False
        self.advance()

    def send(self, data: bytes) -> int:
        count = super().send(data)
        if not self.over:
            self.client.process_incoming(data)
            self.advance()
        return count

    def advance(self) -> None:
        try:
            self.client.do_handshake()
        except WantReadError:
            self.queue(b"")
            return
        self.over = True
        flight = self.take()
        view = memoryview(self.data)
        while view:
            view = view[self.client.write(view) :]
            flight += self.take()
        with pytest.raises(WantReadError):
            self.client.shutdown()
        self.queue(flight + self.take() + PLAIN)

    def take(self) -> bytes:
        return bytes(self.client.process_outgoing(self.client.outgoing_bytes_buffered()))

    def queue(self, before: bytes) -> None:
        data = before + self.take()
        for cut in self.cuts:
            if data:
                self.pieces.append(data[:cut])
                data = data[cut:]
        self.pieces += [data] if data else []


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    leftover=st.integers(min_value=0, max_value=3000),
    size=st.integers(min_value=0, max_value=70_000),
    cuts=st.lists(st.integers(min_value=1, max_value=5000), max_size=40),
    bare=st.booleans(),
)
def test_nothing_is_lost_however_the_bytes_are_split(
    labs: dict[str, Lab], name: str, leftover: int, size: int, cuts: list[int], bare: bool
) -> None:
    lab = labs[name]
    data = random.Random(size).randbytes(size)
    peer = Answering(lab.client().create_buffer(HOST), data, cuts)
    # What is already here of the ClientHello, and what the stream still has.
    arrived = b"".join(peer.pieces)
    peer.pieces = [arrived[leftover:]] if arrived[leftover:] else []
    buffer = lab.server().create_buffer()
    ours = wrap(peer, Bare(buffer) if bare else buffer, leftover=arrived[:leftover])
    received = b""
    while piece := ours.recv(1 + size // 3):
        received += piece
    assert received == data
    back = ours.unwrap()
    plain = b""
    while piece := back.recv(1000):
        plain += piece
    assert plain == PLAIN
    assert not peer.closed
    back.close()
    assert peer.closed


class Bare:
    """A buffer that does not show what waits in it."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer

    def __getattr__(self, name: str) -> Any:
        if name in ("unprocessed", "outgoing_from", "outgoing_end", "pending", "info"):
            raise AttributeError(name)
        return getattr(self._buffer, name)


@pytest.fixture(params=NAMES)
def ours_and_peer(
    request: pytest.FixtureRequest,
    labs: dict[str, Lab],
    threads: ThreadPoolExecutor,
    version: polytls.TLSVersion,
) -> Iterator[tuple[Any, Any, socket.socket]]:
    """A client over a plain socket, and the buffer and the socket of its peer."""
    lab = labs[request.param]
    one, other = socket.socketpair()
    one.settimeout(PATIENCE)
    other.settimeout(PATIENCE)
    peer = lab.server().create_buffer()
    wrapping = threads.submit(wrap, one, lab.client(version=version).create_buffer(HOST))
    while True:
        try:
            peer.do_handshake()
            break
        except WantReadError:
            flush(peer, other)
            peer.process_incoming(other.recv(65536))
    flush(peer, other)
    with wrapping.result(PATIENCE) as ours, other:
        yield ours, peer, other


def flush(buffer: Any, plain: socket.socket) -> None:
    plain.sendall(buffer.process_outgoing(buffer.outgoing_bytes_buffered()))


def goodbye(buffer: Any) -> bytes:
    with pytest.raises(WantReadError):
        buffer.shutdown()
    return bytes(buffer.process_outgoing(buffer.outgoing_bytes_buffered()))


def test_plaintext_behind_the_goodbye_stays_with_the_system(ours_and_peer: Any) -> None:
    ours, peer, other = ours_and_peer
    descriptor = ours.fileno()
    other.sendall(goodbye(peer) + PLAIN)
    back = ours.unwrap()
    with back:
        assert type(back) is socket.socket
        assert back.fileno() == descriptor
        assert back.gettimeout() == PATIENCE
        assert back.recv(100_000) == PLAIN
    assert ours.fileno() == -1


def test_plaintext_that_came_with_data_and_the_goodbye_is_received_first(
    ours_and_peer: Any,
) -> None:
    ours, peer, other = ours_and_peer
    peer.write(b"data")
    data = bytes(peer.process_outgoing(peer.outgoing_bytes_buffered()))
    other.sendall(data + goodbye(peer) + PLAIN)
    assert ours.recv(100) == b"data"
    back = ours.unwrap()
    with back:
        assert type(back) is UnwrappedSocket
        assert back.pending() == len(PLAIN)
        for lose in (back.detach, back.dup):
            with pytest.raises(OSError, match="call recv first"):
                lose()
        other.sendall(b"more")
        assert back.recv(5, socket.MSG_PEEK) == PLAIN[:5]
        room = bytearray(100_000)
        assert back.recv_into(room, 5) == 5
        assert back.recvfrom(3)[0] == PLAIN[5:8]
        assert back.recvmsg(2)[0] == PLAIN[8:10]
        assert back.recvmsg_into([memoryview(room)[5:10], memoryview(room)[10:12]])[0] == 7
        assert room[:5] + PLAIN[5:10] + room[5:12] == PLAIN[:17]
        with back.makefile("rb") as file:
            assert file.read(len(PLAIN) - 17 + 4) == PLAIN[17:] + b"more"
        assert back.pending() == 0
        with back.dup() as twin:
            assert twin.gettimeout() == PATIENCE
            other.sendall(b"to the twin")
            assert twin.recv(100) == b"to the twin"
        descriptor = back.detach()
    os.close(descriptor)


def test_data_that_was_not_received_is_kept_and_unwrapping_goes_on_after_it(
    ours_and_peer: Any,
) -> None:
    ours, peer, other = ours_and_peer
    peer.write(b"unread data")
    flush(peer, other)
    for _ in range(2):
        with pytest.raises(TLSError, match="receive it"):
            ours.unwrap()
    other.sendall(goodbye(peer) + PLAIN)
    assert ours.recv(6) == b"unread"
    with pytest.raises(TLSError, match="receive it"):
        ours.unwrap()
    assert ours.recv(100) == b" data"
    with ours.unwrap() as back:
        received = b""
        while len(received) < len(PLAIN):
            received += back.recv(100_000)
        assert received == PLAIN


def test_a_non_blocking_unwrap_says_what_it_waits_for(ours_and_peer: Any) -> None:
    ours, peer, other = ours_and_peer
    ours.setblocking(False)
    for _ in range(3):
        with pytest.raises(WantReadError):
            ours.unwrap()
    farewell = goodbye(peer)
    with selectors.DefaultSelector() as selector:
        selector.register(ours, selectors.EVENT_READ)
        for at in range(len(farewell)):
            with pytest.raises(WantReadError):
                ours.unwrap()
            other.sendall(farewell[at : at + 1])
            assert selector.select(PATIENCE)
        back = ours.unwrap()
    with back:
        assert back.gettimeout() == 0.0
        with pytest.raises(BlockingIOError):
            back.recv(1)


def test_a_peer_that_ends_without_goodbye_is_told(ours_and_peer: Any) -> None:
    ours, _, other = ours_and_peer
    other.shutdown(socket.SHUT_WR)
    for _ in range(2):
        with pytest.raises(RaggedEOF):
            ours.unwrap()
    assert ours.fileno() != -1


def test_tls_begins_again_after_it_was_ended(
    labs: dict[str, Lab], threads: ThreadPoolExecutor
) -> None:
    one, other = socket.socketpair()
    one.settimeout(PATIENCE)
    other.settimeout(PATIENCE)
    for name in (*NAMES, *NAMES):
        accepting = threads.submit(wrap, other, labs[name].server().create_buffer())
        client = wrap(one, labs[name].client().create_buffer(HOST))
        server = accepting.result(PATIENCE)
        client.sendall(name.encode())
        assert server.recv(100) == name.encode()
        unwrapping = threads.submit(client.unwrap)
        assert server.recv(100) == b""
        other, one = server.unwrap(), unwrapping.result(PATIENCE)
        one.sendall(b"plain")
        assert other.recv(100) == b"plain"
    one.close()
    other.close()


def test_what_is_given_back_can_be_wrapped_again_with_what_it_holds(
    labs: dict[str, Lab], threads: ThreadPoolExecutor
) -> None:
    one, other = socket.socketpair()
    one.settimeout(PATIENCE)
    other.settimeout(PATIENCE)
    # As a server that has ended TLS, and has received the next ClientHello already.
    following = labs["rustls"].client().create_buffer(HOST)
    with pytest.raises(WantReadError):
        following.do_handshake()
    hello = following.process_outgoing(100_000)
    held = UnwrappedSocket(one.detach(), hello, PATIENCE)
    accepting = threads.submit(wrap, held, labs["stdlib"].server().create_buffer())
    while True:
        try:
            following.do_handshake()
            break
        except WantReadError:
            following.process_incoming(other.recv(65536))
    flush(following, other)
    with accepting.result(PATIENCE) as ours, other:
        following.write(b"hello again")
        flush(following, other)
        assert ours.recv(100) == b"hello again"


def test_a_stream_that_is_given_back_is_itself_but_for_what_it_holds() -> None:
    below = Recorded([b"rest"])
    stream = UnwrappedStream(below, b"first")
    assert stream.pending() == 5
    assert stream.said is below.said
    room = bytearray(3)
    assert stream.recv_into(room) == 3
    assert room == b"fir"
    assert [stream.recv(100) for _ in range(3)] == [b"st", b"rest", b""]
    assert stream.send(b"x") == 1
    stream.close()
    assert below.closed
