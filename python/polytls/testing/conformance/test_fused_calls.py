"""Calls that do two steps in one: `open` takes in and reads, `seal` writes and drains."""

from __future__ import annotations

import random
from typing import Any

import pytest

from polytls import (
    PeerMisbehaved,
    RaggedEOF,
    SupportsOpen,
    SupportsSeal,
    TLSError,
    TLSVersion,
    WantReadError,
    WantWriteError,
)
from polytls.testing import Pair
from polytls.testing.conformance.lab import Whole, same_error
from polytls.testing.conformance.selection import needs

pytestmark = needs("fused calls")

DATA = b"the quick brown fox jumps over the lazy dog"
MUCH = 1_000_000


def opened(side: Any, data: bytes | None, amount: int = 1 << 20) -> bytes:
    """All that comes of `data` and of what was there."""
    found = bytearray()
    piece = side.open(data, amount)
    while piece is not None:
        assert type(piece) is bytes
        assert 0 < len(piece) <= amount, "the peer has sent close_notify"
        found += piece
        piece = side.open(None, amount)
    return bytes(found)


def test_buffers_offer_both(connected: Pair) -> None:
    for side in (connected.client, connected.server):
        assert isinstance(side, SupportsOpen)
        assert isinstance(side, SupportsSeal)


# --- data ---


@needs("key update")
def test_the_answer_to_a_change_of_keys_goes_with_what_is_sealed(connected: Pair) -> None:
    client: Any = connected.client
    server: Any = connected.server
    if client.negotiated_tls_version is TLSVersion.TLSv1_2:
        with pytest.raises(TLSError):
            client.update_keys()
        return
    for source, target in ((client, server), (server, client)):
        for data in (DATA, b"z" * MUCH):
            source.update_keys()
            # Nobody else has written in between: the answer is still to be sent.
            assert opened(target, source.seal(b"asks")) == b"asks"
            assert opened(source, target.seal(data)) == data
            assert opened(target, source.seal(data)) == data


@pytest.mark.parametrize("size", [1, 100, 16_383, 16_384, 16_385, 65_536, MUCH])
def test_what_is_sealed_is_opened(connected: Pair, rng: random.Random, size: int) -> None:
    client: Any = connected.client
    server: Any = connected.server
    for source, target in ((client, server), (server, client)):
        data = rng.randbytes(size)
        sealed = source.seal(data)
        assert type(sealed) is bytes
        assert source.outgoing_bytes_buffered() == 0
        assert len(data) < len(sealed) < len(data) + 40 * (1 + size // 16_384)
        assert opened(target, sealed) == Whole(data)
        assert target.incoming_bytes_buffered() == 0


@pytest.mark.parametrize("size", [1, 100, 16_383, 16_384, 16_385, 65_536])
@pytest.mark.parametrize("room", [-1, 0, 1, 100])
def test_a_buffer_is_filled_as_far_as_was_asked_for(
    connected: Pair, rng: random.Random, size: int, room: int
) -> None:
    client: Any = connected.client
    server: Any = connected.server
    data = rng.randbytes(size)
    fits = min(size, size + room)
    for memory in (bytearray(b"-" * (size + room)), memoryview(bytearray(b"-" * (size + room)))):
        count = server.open(client.seal(data), size + 1000, memory)
        assert count == fits
        assert memory[:fits] == Whole(data[:fits])
        assert opened(server, None) == Whole(data[fits:])
    # What is not asked for is not touched.
    more = bytearray(b"-" * (size + 1000))
    assert server.open(client.seal(data), size, more) == size
    assert more == Whole(data + b"-" * 1000)
    assert server.open(None, size, more) is None
    assert more == Whole(data + b"-" * 1000)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_both_take_any_bytes_and_keep_none_of_the_callers(connected: Pair, kind: Any) -> None:
    client: Any = connected.client
    server: Any = connected.server
    plaintext = bytearray(DATA * 1000)
    sealed = bytearray(client.seal(kind(plaintext)))
    plaintext[:] = bytes(len(plaintext))
    # Of the last record something is missing, so a part of what comes has to be kept.
    missing = bytes(sealed[-1:])
    came = bytearray(sealed[:-1])
    first = server.open(kind(came), 100)
    came[:] = bytes(len(came))
    assert first + opened(server, None) + opened(server, missing) == Whole(DATA * 1000)


def test_they_go_together_with_the_single_calls(connected: Pair) -> None:
    client: Any = connected.client
    server: Any = connected.server
    client.write(b"one ")
    sealed = client.seal(b"two ")
    client.write(b"three ")
    sealed += client.seal(b"")
    assert client.seal(b"") == b""
    server.process_incoming(sealed[:50])
    assert server.open(sealed[50:], 3) == b"one"
    assert server.read(5) == b" two "
    client.write(b"four")
    assert opened(server, client.process_outgoing(1000)) == b"three four"


def test_any_split_and_any_amount_will_do(connected: Pair, rng: random.Random) -> None:
    client: Any = connected.client
    server: Any = connected.server
    data = rng.randbytes(400_000)
    wire = bytearray()
    start = 0
    while start < len(data):
        end = start + rng.choice((1, 2, 100, 5000, 16_384, 40_000))
        wire += client.seal(data[start:end])
        start = end
    received = bytearray()
    memory = bytearray(30_000)
    while wire:
        cut = rng.choice((1, 3, 5, 6, 100, 1000, 16_384, 50_000))
        piece: bytes | None = bytes(wire[:cut])
        del wire[:cut]
        for _ in range(rng.choice((1, 1, 1, 1000))):
            amount = rng.choice((1, 100, 16_384, 16_385, 30_000))
            if rng.choice((True, False)):
                found = server.open(piece, amount)
            else:
                count = server.open(piece, amount, memory)
                found = None if count is None else memory[:count]
            piece = None
            if found is None:
                break
            received += found
    received += opened(server, None)
    assert received == Whole(data)


def test_nothing_to_read_is_none_and_no_error(connected: Pair) -> None:
    client: Any = connected.client
    server: Any = connected.server
    assert server.open(None, 100) is None
    assert server.open(None, 100, bytearray(100)) is None
    sealed = client.seal(DATA)
    for byte in sealed[:-1]:
        assert server.open(bytes([byte]), 100) is None
    assert server.open(sealed[-1:], 100) == DATA
    with pytest.raises(WantReadError):
        server.read(1)


def test_an_amount_of_nothing_only_takes_in(connected: Pair) -> None:
    client: Any = connected.client
    server: Any = connected.server
    sealed = client.seal(DATA)
    assert server.open(sealed[:20], 0) == b""
    assert server.open(sealed[20:], 100, bytearray()) == 0
    assert server.incoming_bytes_buffered() == len(sealed)
    assert server.open(None, 100) == DATA


# --- limits ---


def test_open_refuses_whole_at_the_limit_and_takes_after_reading(connected: Pair) -> None:
    client: Any = connected.client
    server: Any = connected.server
    sealed = client.seal(bytes(MUCH))
    assert server.open(sealed, 0) == b""
    more = client.seal(DATA)
    for _ in range(2):
        with pytest.raises(WantReadError):
            server.open(more, 100)
        assert server.incoming_bytes_buffered() == len(sealed)
    assert opened(server, None) == bytes(MUCH)
    assert opened(server, more) == DATA


def test_seal_goes_beyond_the_outgoing_limit(connected: Pair) -> None:
    client: Any = connected.client
    server: Any = connected.server
    written = client.write(bytes(MUCH))
    with pytest.raises(WantWriteError):
        client.write(DATA)
    sealed = client.seal(DATA)
    assert client.outgoing_bytes_buffered() == 0
    assert opened(server, sealed) == Whole(bytes(written) + DATA)


# --- the handshake ---


def test_they_drive_the_handshake_and_take_nothing(lab: Any, version: TLSVersion) -> None:
    pair = lab.pair(lab.client(version=version))
    client: Any = pair.client
    server: Any = pair.server
    assert server.open(None, 100) is None
    assert client.open(None, 100) is None
    with pytest.raises(WantReadError):
        client.seal(DATA)
    with pytest.raises(WantReadError):
        server.seal(DATA)
    came = {client: b"", server: b""}
    while came[client] or came[server] or client.outgoing_bytes_buffered():
        for one, other in ((client, server), (server, client)):
            came[other] = lab.outgoing(one)
            if came[other]:
                assert other.open(came[other], 100) is None
    assert client.cipher() is server.cipher() is not None
    assert opened(server, client.seal(DATA)) == DATA
    assert opened(client, server.seal(DATA)) == DATA


def test_data_right_behind_the_handshake_is_read_by_the_same_call(
    lab: Any, version: TLSVersion
) -> None:
    pair = lab.pair(lab.client(version=version))
    client: Any = pair.client
    server: Any = pair.server
    sealed = b""
    while not sealed:
        client.open(lab.outgoing(server) or None, 0)
        try:
            sealed = client.seal(DATA)
        except WantReadError:
            assert server.open(lab.outgoing(client) or None, 100) is None
    # In TLS 1.3 with the client's last flight before it.
    assert opened(server, sealed) == DATA


# --- ends and errors ---


def test_close_notify_ends_reading_for_ever_after_all_data(connected: Pair) -> None:
    client: Any = connected.client
    server: Any = connected.server
    sealed = client.seal(DATA)
    with pytest.raises(WantReadError):
        client.shutdown()
    sealed += client.process_outgoing(1000)
    assert server.open(sealed, 10) == DATA[:10]
    assert server.open(None, 100) == DATA[10:]
    for _ in range(2):
        assert server.open(None, 100) == b""
        assert server.open(None, 100, bytearray(5)) == 0
    with pytest.raises(TLSError):
        client.seal(DATA)
    assert client.outgoing_bytes_buffered() == 0


def test_a_ragged_end_is_told_after_all_data_and_for_ever(connected: Pair) -> None:
    client: Any = connected.client
    server: Any = connected.server
    assert server.open(client.seal(DATA), 0) == b""
    assert server.open(b"", 100) == DATA
    for end in (b"", None, bytearray()):
        with pytest.raises(RaggedEOF):
            server.open(end, 100)
    with pytest.raises(ValueError, match="data_from_network"):
        server.open(b"more", 100)


def test_a_forged_record_is_told_after_the_data_before_it(connected: Pair) -> None:
    client: Any = connected.client
    server: Any = connected.server
    sealed = client.seal(DATA)
    forged = bytearray(client.seal(b"\x7f" * 1000))
    forged[-1] ^= 1
    behind = client.seal(b"never")
    memory = bytearray(100_000)
    assert server.open(sealed + forged + behind, 100_000, memory) == len(DATA)
    assert memory[len(DATA) :].count(0x7F) == 0, "nothing of what was forged is left"
    with pytest.raises(PeerMisbehaved) as first:
        server.open(None, 100)
    for call in (server.open, server.read):
        with pytest.raises(PeerMisbehaved) as again:
            call(None, 100) if call == server.open else call(100)
        assert same_error(first.value, again.value)
    with pytest.raises(PeerMisbehaved) as again:
        server.seal(DATA)
    assert same_error(first.value, again.value)
    alert = server.process_outgoing(1000)
    with pytest.raises(TLSError):
        client.open(alert, 100)


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        (("text", 1), TypeError, "data_from_network"),
        ((5, 1), TypeError, "data_from_network"),
        ((memoryview(DATA)[::2], 1), BufferError, "data_from_network"),
        ((DATA, -1), ValueError, "amt"),
        ((DATA, None), TypeError, "amt"),
        ((DATA, 1, b"1234"), TypeError, "buffer"),
        ((DATA, 1, memoryview(bytearray(8))[::2]), BufferError, "buffer"),
    ],
)
def test_open_refuses_what_it_cannot_do_and_takes_nothing(
    connected: Pair, arguments: tuple[Any, ...], error: type[Exception], named: str
) -> None:
    client: Any = connected.client
    server: Any = connected.server
    with pytest.raises(error, match=named):
        server.open(*arguments)
    assert server.incoming_bytes_buffered() == 0
    assert opened(server, client.seal(DATA)) == DATA


def test_open_refuses_to_write_to_what_it_reads(connected: Pair) -> None:
    client: Any = connected.client
    server: Any = connected.server
    sealed = client.seal(DATA)
    size = len(sealed)
    memory = bytearray(sealed + bytes(100))
    view = memoryview(memory)
    for data, buffer in ((memory, memory), (view[:size], view[size - 1 :]), (view[:1], memory)):
        with pytest.raises(ValueError, match="buffer"):
            server.open(data, 100, buffer)
    assert server.incoming_bytes_buffered() == 0
    assert server.open(view[:size], 100, view[size:]) == len(DATA)
    assert memory[size:].startswith(DATA)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [("text", TypeError), (None, TypeError), (memoryview(DATA)[::2], BufferError)],
)
def test_seal_refuses_what_is_no_contiguous_bytes(
    connected: Pair, wrong: Any, error: type[Exception]
) -> None:
    client: Any = connected.client
    client.write(DATA)
    waiting = client.outgoing_bytes_buffered()
    with pytest.raises(error, match=r"^buf "):
        client.seal(wrong)
    assert client.outgoing_bytes_buffered() == waiting
