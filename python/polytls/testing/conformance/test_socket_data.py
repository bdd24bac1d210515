"""Data over sockets: what each of the sending and receiving calls takes and gives."""

from __future__ import annotations

import array
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polytls.testing.conformance.lab import PATIENCE, Whole

MIB = 1 << 20


def received(side: Any, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = side.recv(length - len(data))
        assert piece, f"the end after {len(data)} of {length} bytes"
        data += piece
    return bytes(data)


def digest_of(side: Any, length: int) -> str:
    """The hash of the next `length` bytes, received piece by piece into memory of ours."""
    digest, room = hashlib.sha256(), bytearray(100_000)
    while length:
        count = side.recv_into(room, min(length, len(room)))
        assert count
        digest.update(memoryview(room)[:count])
        length -= count
    return digest.hexdigest()


# --- recv ---


def test_recv_gives_what_is_there_up_to_the_size_asked_for(ends: Any) -> None:
    client, accepted = ends
    client.send(b"0123456789")
    assert accepted.recv(1) == b"0"
    assert accepted.recv(4) == b"1234"
    assert accepted.pending() == 5
    assert accepted.recv(1 << 40) == b"56789"
    assert accepted.pending() == 0


def test_recv_of_nothing_gives_nothing_and_takes_nothing(ends: Any) -> None:
    client, accepted = ends
    # There is nothing to wait for.
    assert accepted.recv(0) == b""
    client.send(b"data")
    assert accepted.recv(0) == b""
    assert accepted.recv(4) == b"data"


@pytest.mark.parametrize(
    ("size", "error", "told"),
    [
        (-1, ValueError, "bufsize"),
        ("1", TypeError, "bufsize"),
        (None, TypeError, "bufsize"),
        (1.5, TypeError, "bufsize"),
    ],
)
def test_recv_refuses_what_is_no_size(
    ends: Any, size: Any, error: type[Exception], told: str
) -> None:
    client, accepted = ends
    client.send(b"data")
    with pytest.raises(error, match=told):
        accepted.recv(size)
    assert accepted.recv(4) == b"data"


# --- recv_into ---


def test_recv_into_fills_the_memory_it_is_given(ends: Any) -> None:
    client, accepted = ends
    room = bytearray(b"........")
    client.send(b"0123456789")
    assert accepted.recv_into(room) == 8
    assert room == b"01234567"
    assert accepted.recv_into(room) == 2
    assert room == b"89234567"


def test_recv_into_takes_no_more_than_nbytes(ends: Any) -> None:
    client, accepted = ends
    room = bytearray(b"........")
    client.send(b"0123456789")
    assert accepted.recv_into(room, 3) == 3
    assert room == b"012....."
    assert accepted.recv_into(memoryview(room)[6:]) == 2
    assert room == b"012...34"
    # Zero is as many as fit, as for plain sockets.
    assert accepted.recv_into(room, 0) == 5
    assert room == b"56789.34"


def test_recv_into_takes_any_writable_buffer(ends: Any) -> None:
    client, accepted = ends
    numbers = array.array("I", [0, 0, 0])
    client.send(bytes(range(12)))
    assert accepted.recv_into(numbers) == 12
    assert numbers.tobytes() == bytes(range(12))
    client.send(b"abcdefgh")
    square = memoryview(bytearray(8)).cast("B", (2, 4))
    assert accepted.recv_into(square) == 8
    assert square.tobytes() == b"abcdefgh"


def test_recv_into_nothing_gives_nothing_and_takes_nothing(ends: Any) -> None:
    client, accepted = ends
    assert accepted.recv_into(bytearray()) == 0
    client.send(b"data")
    assert accepted.recv_into(bytearray()) == 0
    assert accepted.recv(4) == b"data"


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ((b"read-only",), TypeError, "buffer"),
        ((memoryview(b"read-only"),), TypeError, "buffer"),
        (("text",), TypeError, "buffer"),
        ((None,), TypeError, "buffer"),
        ((8,), TypeError, "buffer"),
        ((memoryview(bytearray(8))[::2],), BufferError, "buffer"),
        ((bytearray(4), -1), ValueError, "nbytes"),
        ((bytearray(4), 5), ValueError, "nbytes"),
        ((bytearray(4), "4"), TypeError, "nbytes"),
    ],
)
def test_recv_into_refuses_what_it_cannot_fill(
    ends: Any, given: tuple[Any, ...], error: type[Exception], told: str
) -> None:
    client, accepted = ends
    client.send(b"data")
    with pytest.raises(error, match=told):
        accepted.recv_into(*given)
    assert accepted.recv(4) == b"data"


def test_memory_that_is_received_into_can_change_its_size_again_afterwards(ends: Any) -> None:
    client, accepted = ends
    room = bytearray(4)
    client.send(b"data")
    accepted.recv_into(room)
    room += b" and more"
    assert room == b"data and more"


# --- send, sendall ---


@pytest.mark.parametrize(
    "data",
    [
        b"data",
        bytearray(b"data"),
        memoryview(b"-data-")[1:5],
        array.array("B", b"data"),
        memoryview(b"data").cast("B", (2, 2)),
    ],
    ids=["bytes", "bytearray", "memoryview", "array", "matrix"],
)
def test_any_buffer_can_be_sent(ends: Any, data: Any) -> None:
    client, accepted = ends
    assert client.send(data) == 4
    assert received(accepted, 4) == b"data"
    assert accepted.sendall(data) is None
    assert received(client, 4) == b"data"


def test_nothing_can_be_sent(ends: Any) -> None:
    client, accepted = ends
    assert client.send(b"") == 0
    assert client.sendall(b"") is None
    client.send(b"after")
    assert accepted.recv(100) == b"after"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("text", TypeError),
        (None, TypeError),
        (5, TypeError),
        ([1, 2], TypeError),
        (memoryview(b"data")[::2], BufferError),
    ],
)
def test_what_is_no_buffer_cannot_be_sent(ends: Any, data: Any, error: type[Exception]) -> None:
    client, accepted = ends
    with pytest.raises(error, match="bytes"):
        client.send(data)
    with pytest.raises(error, match="data"):
        client.sendall(data)
    client.send(b"fine")
    assert accepted.recv(100) == b"fine"


def test_send_says_how_much_it_took_and_the_rest_can_be_sent_after_it(ends: Any, rng: Any) -> None:
    client, accepted = ends
    data = rng.randbytes(3 * MIB)
    with ThreadPoolExecutor() as threads:
        receiving = threads.submit(received, accepted, len(data))
        view = memoryview(data)
        while view:
            count = client.send(view)
            assert 0 < count <= len(view)
            view = view[count:]
        assert receiving.result() == Whole(data)


def test_each_message_arrives_without_being_pushed(ends: Any) -> None:
    client, accepted = ends
    for number in range(200):
        message = b"%d" % number
        client.sendall(message)
        assert accepted.recv(100) == message
        accepted.sendall(message)
        assert client.recv(100) == message


# --- much data ---


def test_much_data_arrives_unchanged_in_both_directions_in_turn(ends: Any, rng: Any) -> None:
    client, accepted = ends
    data = rng.randbytes(5 * MIB + 7)
    expected = hashlib.sha256(data).hexdigest()
    with ThreadPoolExecutor() as threads:
        for sender, receiver in ((client, accepted), (accepted, client)):
            receiving = threads.submit(digest_of, receiver, len(data))
            sender.sendall(data)
            assert receiving.result() == expected


def test_one_thread_reads_while_another_writes_on_each_side(ends: Any, rng: Any) -> None:
    data = {side: rng.randbytes(20 * MIB) for side in ("client", "accepted")}
    client, accepted = ends
    start = threading.Barrier(4)

    def send(side: Any, what: bytes) -> None:
        start.wait(PATIENCE)
        view = memoryview(what)
        for at in range(0, len(what), 300_000):
            side.sendall(view[at : at + 300_000])

    def receive(side: Any, length: int) -> str:
        start.wait(PATIENCE)
        return digest_of(side, length)

    with ThreadPoolExecutor(4) as threads:
        working = [
            threads.submit(send, client, data["client"]),
            threads.submit(send, accepted, data["accepted"]),
        ]
        at_client = threads.submit(receive, client, len(data["accepted"]))
        at_server = threads.submit(receive, accepted, len(data["client"]))
        assert at_client.result() == hashlib.sha256(data["accepted"]).hexdigest()
        assert at_server.result() == hashlib.sha256(data["client"]).hexdigest()
        for task in working:
            task.result()


def test_two_writers_and_two_readers_lose_nothing(ends: Any) -> None:
    client, accepted = ends
    count, size = 400, 64

    def send(letter: bytes) -> None:
        for _ in range(count):
            client.sendall(letter * size)

    def receive() -> bytes:
        data = bytearray()
        while piece := accepted.recv(1000):
            data += piece
        return bytes(data)

    with ThreadPoolExecutor(4) as threads:
        receiving = [threads.submit(receive) for _ in range(2)]
        for task in [threads.submit(send, letter) for letter in (b"a", b"b")]:
            task.result()
        client.close(force=True)
        data = b"".join(task.result() for task in receiving)
    assert len(data) == 2 * count * size
    assert data.count(b"a") == data.count(b"b") == count * size
