"""Buffers at work: what they take, what they give, and where they say that it is enough."""

from __future__ import annotations

import array
import contextlib
import ctypes
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from polytls import TLSVersion, WantReadError, WantWriteError
from polytls.testing import Pair
from polytls.testing.conformance.lab import Whole

DATA = b"the quick brown fox jumps over the lazy dog"


class _Structure(ctypes.Structure):
    _fields_ = (("text", ctypes.c_char * 4),)


def feed(pair: Pair, data: bytes) -> None:
    """Bring `data` to the client's buffer, unread."""
    view = memoryview(data)
    while view:
        view = view[pair.server.write(view) :]
        pair.transfer()


# --- any split of the byte stream ---


def in_pieces_of(size: int) -> Callable[[bytes], Iterator[bytes]]:
    return lambda data: (data[start : start + size] for start in range(0, len(data), size))


def at_random(rng: random.Random) -> Callable[[bytes], Iterator[bytes]]:
    def split(data: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(data):
            end = start + rng.choice((1, 2, 4, 5, 6, 100, 1000, 20_000))
            yield data[start:end]
            start = end

    return split


@pytest.mark.parametrize("size", [1, 2, 5, 1448])
def test_a_connection_works_however_its_bytes_are_cut(
    lab: Any, version: TLSVersion, size: int
) -> None:
    pair = lab.connect(
        lab.client(version=version, certificate_chain=lab.chain("client")),
        lab.server(trust_store=lab.ca.trust_store()),
        split=in_pieces_of(size),
    )
    for side in (pair.client, pair.server):
        for data in (b"x", DATA, DATA * 1000):
            assert pair.send(side, data) == Whole(data)


def test_a_connection_works_cut_at_random(
    lab: Any, version: TLSVersion, rng: random.Random
) -> None:
    for _ in range(10):
        pair = lab.connect(lab.client(version=version), split=at_random(rng))
        for side in (pair.client, pair.server):
            data = rng.randbytes(rng.randrange(1, 100_000))
            assert pair.send(side, data) == Whole(data)


@pytest.mark.parametrize("amount", [1, 7, 4096])
def test_outgoing_bytes_may_be_taken_in_any_pieces(
    lab: Any, version: TLSVersion, amount: int
) -> None:
    pair = lab.pair(lab.client(version=version))
    for _ in range(4):
        for source, target in ((pair.client, pair.server), (pair.server, pair.client)):
            with contextlib.suppress(WantReadError):
                source.do_handshake()
            while piece := source.process_outgoing(amount):
                assert len(piece) <= amount
                target.process_incoming(piece)
    assert pair.client.cipher() is pair.server.cipher() is not None


# --- read ---


def test_read_gives_up_to_so_many_bytes(connected: Pair) -> None:
    feed(connected, DATA)
    assert connected.client.read(0) == b""
    pieces = [connected.client.read(10) for _ in range(5)]
    assert [type(piece) for piece in pieces] == [bytes] * 5
    assert [len(piece) for piece in pieces] == [10, 10, 10, 10, 3]
    assert b"".join(pieces) == DATA
    with pytest.raises(WantReadError):
        connected.client.read(10)
    feed(connected, DATA)
    assert connected.client.read(amt=10**9) == DATA


def test_read_fills_a_buffer_with_what_fits(connected: Pair) -> None:
    feed(connected, DATA)
    buffer = bytearray(b"-" * 8)
    assert connected.client.read(0, buffer) == 0
    assert connected.client.read(10, bytearray()) == 0
    assert connected.client.read(3, buffer) == 3
    assert buffer == b"the-----"
    assert connected.client.read(100, buffer=buffer) == 8
    assert buffer == b" quick b"
    assert connected.client.read(amt=100, buffer=memoryview(buffer)[2:5]) == 3
    assert buffer == b" qrowk b"
    words = array.array("I", [0, 0])
    assert connected.client.read(100, words) == 8
    assert words.tobytes() == b"n fox ju"
    assert connected.client.read(100, memoryview(words)[1:]) == 4
    assert words.tobytes() == b"n fomps "
    assert connected.client.read(100) == b"over the lazy dog"
    with pytest.raises(WantReadError):
        connected.client.read(100, buffer)
    assert buffer == b" qrowk b"


def test_read_crosses_records(connected: Pair) -> None:
    for _ in range(3):
        feed(connected, DATA)
    assert connected.client.read(2 * len(DATA) + 1) == DATA * 2 + b"t"
    assert connected.client.read(1000) == DATA[1:]


@pytest.mark.parametrize(
    "memory",
    [
        ctypes.create_string_buffer(4),
        (ctypes.c_uint16 * 2)(),
        ctypes.c_uint32(),
        _Structure(),
        memoryview(bytearray(4)).cast("I", []),
        memoryview(bytearray(4)).cast("B", (2, 2)),
    ],
    ids=["string", "array", "number", "structure", "0-D", "2-D"],
)
def test_read_fills_any_simple_writable_memory(connected: Pair, memory: Any) -> None:
    feed(connected, DATA)
    assert connected.client.read(100, memory) == 4
    assert bytes(memoryview(memory).cast("B")) == DATA[:4]
    assert connected.client.read(100) == DATA[4:]


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ((-1,), ValueError, "amt"),
        ((-1, bytearray(4)), ValueError, "amt"),
        (("1",), TypeError, "amt"),
        ((None,), TypeError, "amt"),
        ((1.0,), TypeError, "amt"),
        ((4, b"1234"), TypeError, "buffer"),
        ((4, memoryview(b"1234")), TypeError, "buffer"),
        ((4, "1234"), TypeError, "buffer"),
        ((4, 4), TypeError, "buffer"),
        ((4, memoryview(bytearray(8))[::2]), BufferError, "buffer"),
    ],
)
def test_read_refuses_what_it_cannot_do_and_loses_nothing(
    connected: Pair, arguments: tuple[Any, ...], error: type[Exception], named: str
) -> None:
    feed(connected, DATA)
    with pytest.raises(error, match=named):
        connected.client.read(*arguments)
    assert connected.client.read(100) == DATA


# --- write ---


@pytest.mark.parametrize(
    "data",
    [
        DATA,
        bytearray(DATA),
        memoryview(DATA),
        memoryview(bytearray(DATA))[4:9],
        memoryview(DATA).cast("B", (1, len(DATA))),
        memoryview(DATA[:1]).cast("B", ()),
        array.array("I", [1, 2, 3]),
        (ctypes.c_uint16 * 3)(1, 2, 3),
        ctypes.c_uint32(7),
        _Structure(b"data"),
        b"",
        bytearray(),
    ],
    ids=[
        "bytes",
        "bytearray",
        "memoryview",
        "slice",
        "2-D",
        "0-D",
        "array",
        "ctypes array",
        "ctypes number",
        "ctypes structure",
        "nothing",
        "nothing mutable",
    ],
)
def test_write_takes_any_contiguous_bytes(connected: Pair, data: Any) -> None:
    expected = memoryview(data).tobytes()
    assert connected.client.write(data) == len(expected)
    assert (connected.client.outgoing_bytes_buffered() > 0) is bool(expected)
    assert connected.client.write(buf=DATA) == len(DATA)
    connected.transfer()
    assert connected.server.read(1000) == expected + DATA


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("text", TypeError),
        (None, TypeError),
        (5, TypeError),
        ([1, 2], TypeError),
        (memoryview(DATA)[::2], BufferError),
    ],
)
def test_what_is_no_contiguous_bytes_is_refused(
    connected: Pair, wrong: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"^buf "):
        connected.client.write(wrong)
    with pytest.raises(error, match=r"^data_from_network "):
        connected.client.process_incoming(wrong)
    assert connected.client.outgoing_bytes_buffered() == 0
    assert connected.client.incoming_bytes_buffered() == 0


def test_a_later_change_of_what_was_written_is_not_seen(connected: Pair) -> None:
    data = bytearray(DATA * 1000)
    taken = connected.client.write(data)
    assert taken == len(data)
    data[:] = bytes(taken)
    connected.transfer()
    assert connected.server.read(taken) == Whole(DATA * 1000)


def test_write_takes_less_at_the_limit_then_asks_to_be_drained(
    connected: Pair, rng: random.Random
) -> None:
    data = rng.randbytes(4_000_000)
    taken = connected.client.write(data)
    assert 16_384 <= taken < len(data)
    full = connected.client.outgoing_bytes_buffered()
    assert taken < full < len(data)
    with pytest.raises(WantWriteError):
        connected.client.write(b"more")
    assert connected.client.outgoing_bytes_buffered() == full
    connected.transfer()
    received = bytearray(connected.server.read(len(data)))
    while taken < len(data):
        taken += connected.client.write(data[taken : taken + 100_000])
        connected.transfer()
        received += connected.server.read(len(data))
    assert received == Whole(data)


# --- process_incoming, process_outgoing and the counters ---


def test_incoming_bytes_are_refused_whole_at_the_limit_and_taken_after_reading(
    lab: Any, connected: Pair, rng: random.Random
) -> None:
    data = rng.randbytes(1_000_000)
    sealed, written = bytearray(), 0
    while written < len(data):
        written += connected.server.write(data[written:])
        sealed += lab.outgoing(connected.server)
    pieces = [bytes(sealed[start : start + 9999]) for start in range(0, len(sealed), 9999)]
    pieces.reverse()
    received = bytearray()
    while pieces:
        stored = connected.client.incoming_bytes_buffered()
        try:
            connected.client.process_incoming(pieces[-1])
        except WantReadError:
            assert stored == connected.client.incoming_bytes_buffered() > 65_536
            progress = connected.client.read(100_000)
            assert progress
            received += progress
        else:
            assert connected.client.incoming_bytes_buffered() == stored + len(pieces.pop())
    assert received, "the limit was never reached"
    received += lab.drain(connected.client)
    assert received == Whole(data)


def test_below_the_limit_any_amount_is_taken_at_once(
    lab: Any, connected: Pair, rng: random.Random
) -> None:
    data = rng.randbytes(1_000_000)
    sealed, written = bytearray(), 0
    while written < len(data):
        written += connected.server.write(data[written:])
        sealed += lab.outgoing(connected.server)
    connected.client.process_incoming(sealed)
    assert connected.client.incoming_bytes_buffered() == len(sealed)
    with pytest.raises(WantReadError):
        connected.client.process_incoming(b"x")
    assert connected.client.incoming_bytes_buffered() == len(sealed)
    assert lab.drain(connected.client) == Whole(data)
    assert connected.client.incoming_bytes_buffered() == 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_process_incoming_takes_any_buffer_and_keeps_a_copy(connected: Pair, kind: Any) -> None:
    connected.server.write(DATA)
    sealed = bytearray(connected.server.process_outgoing(1000))
    connected.client.process_incoming(data_from_network=kind(sealed))
    assert connected.client.incoming_bytes_buffered() == len(sealed)
    sealed[:] = bytes(len(sealed))
    assert connected.client.read(100) == DATA
    assert connected.client.incoming_bytes_buffered() == 0


def test_process_outgoing_gives_each_byte_once(connected: Pair) -> None:
    connected.server.write(DATA)
    waiting = connected.server.outgoing_bytes_buffered()
    assert waiting > len(DATA)
    assert connected.server.process_outgoing(0) == b""
    first = connected.server.process_outgoing(amount_bytes_for_network=5)
    assert type(first) is bytes
    assert len(first) == 5
    assert connected.server.outgoing_bytes_buffered() == waiting - 5
    rest = connected.server.process_outgoing(10**9)
    assert len(rest) == waiting - 5
    assert connected.server.outgoing_bytes_buffered() == 0
    assert connected.server.process_outgoing(100) == b""
    connected.client.process_incoming(first + rest)
    assert connected.client.read(100) == DATA


@pytest.mark.parametrize(("wrong", "error"), [(-1, ValueError), ("1", TypeError)])
def test_process_outgoing_refuses_what_is_no_amount(
    connected: Pair, wrong: Any, error: type[Exception]
) -> None:
    connected.server.write(DATA)
    before = connected.server.outgoing_bytes_buffered()
    with pytest.raises(error, match="amount_bytes_for_network"):
        connected.server.process_outgoing(wrong)
    assert connected.server.outgoing_bytes_buffered() == before


def test_pending_tells_what_can_be_read_without_the_network(connected: Pair) -> None:
    assert connected.client.pending() == 0
    feed(connected, DATA)
    assert connected.client.read(3) == b"the"
    assert connected.client.pending() == len(DATA) - 3
    assert connected.client.read(100) == DATA[3:]
    assert connected.client.pending() == 0


def test_nothing_is_written_or_read_before_the_handshake(lab: Any, version: TLSVersion) -> None:
    pair = lab.pair(lab.client(version=version))
    for side in (pair.client, pair.server):
        assert side.incoming_bytes_buffered() == side.outgoing_bytes_buffered() == 0
        with pytest.raises(WantReadError):
            side.read(1)
        with pytest.raises(WantReadError):
            side.write(DATA)
    # What they did was to begin the handshake; going on in the same way finishes it.
    assert pair.client.outgoing_bytes_buffered() > 0
    for _ in range(3):
        pair.transfer()
        for side in (pair.client, pair.server):
            with pytest.raises(WantReadError):
                side.read(1)
    pair.transfer()
    assert pair.send(pair.client, DATA) == DATA
    assert pair.send(pair.server, DATA) == DATA
    assert DATA not in lab.outgoing(pair.client)


def test_a_handshake_that_is_done_stays_done(connected: Pair) -> None:
    for _ in range(2):
        for side in (connected.client, connected.server):
            assert side.do_handshake() is None
            assert side.outgoing_bytes_buffered() == 0
