"""Peers that do not speak TLS, or speak it wrongly: an error for each, no panic and no wait.

The contract for whatever comes in: it is accepted, or one of the errors that blame the peer, the
certificate or the transport is raised.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    AlertReceived,
    CertificateVerificationError,
    NotTLSError,
    PeerIncompatible,
    PeerMisbehaved,
    PeerRejectedCertificate,
    RaggedEOF,
    TLSVersion,
    WantReadError,
)
from polytls.testing import Pair
from polytls.testing.conformance.sealing import ALERT, HANDSHAKE, record
from polytls.testing.conformance.sealing import DATA as APPLICATION_DATA

DATA = b"the quick brown fox jumps over the lazy dog"

#: What a peer's bytes may lead to.
REMOTE = (
    AlertReceived,
    CertificateVerificationError,
    PeerIncompatible,
    PeerMisbehaved,
    RaggedEOF,
    WantReadError,
)


@pytest.fixture(params=["client", "server"])
def fresh(request: pytest.FixtureRequest, lab: Any) -> Any:
    """A side whose handshake has just begun."""
    return lab.begun(request.param)


def told(side: Any, data: bytes) -> BaseException:
    """The error that `side` finds in `data`, the same for each kind of call."""
    side.process_incoming(data)
    with pytest.raises(REMOTE) as caught:
        side.do_handshake()
    for call in (lambda: side.read(1), lambda: side.write(b"x"), side.do_handshake):
        with pytest.raises(type(caught.value)):
            call()
    return caught.value


# --- not TLS at all ---


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "plain HTTP"),
        (b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n", "plain HTTP"),
        (b"POST /form HTTP/1.1\r\n\r\n", "plain HTTP"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", "plain HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"220 mail.example ESMTP\r\n", "STARTTLS"),
        (b"* OK IMAP4rev1 ready\r\n", "STARTTLS"),
        (b"+OK POP3 ready\r\n", "STLS"),
        (b"<!DOCTYPE html><html></html>", "not speak TLS"),
        (b"\x00\x00\x00\x18\x04\x00\x00\x00\x00\x00", "not speak TLS"),
        (b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", "not speak TLS"),
    ],
    ids=lambda value: value.split(b" ")[0].decode("latin-1")[:8] if type(value) is bytes else "",
)
def test_what_is_not_tls_is_named(fresh: Any, greeting: bytes, said: str) -> None:
    error = told(fresh, greeting)
    assert type(error) is NotTLSError
    assert said in str(error)
    assert "\r" not in str(error)


def test_a_greeting_in_small_pieces_is_named_too(fresh: Any) -> None:
    for byte in b"HTTP":
        fresh.process_incoming(bytes([byte]))
        with pytest.raises(WantReadError):
            fresh.do_handshake()
    assert type(told(fresh, b"/1.1 200 OK")) is NotTLSError


def test_plain_text_after_the_handshake_is_misconduct_and_not_another_protocol(
    connected: Pair,
) -> None:
    connected.client.process_incoming(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(PeerMisbehaved) as caught:
        connected.client.read(100)
    assert type(caught.value) is PeerMisbehaved


# --- TLS, wrongly ---


@pytest.mark.parametrize(
    "data",
    [
        record(HANDSHAKE, b"", length=0xFFFF),
        record(HANDSHAKE, b"", length=16_384 + 2048 + 1),
        record(HANDSHAKE, b"\x01\x00\x00\x04abcd"),
        record(HANDSHAKE, b"\x02\x00\x00\x04abcd"),
        record(HANDSHAKE, b"\xff\x00\x00\x00"),
        record(HANDSHAKE, b"\x01\xff\xff\xff" + b"x" * 1000),
        record(APPLICATION_DATA, b"too early"),
        record(ALERT, b""),
        record(ALERT, b"\x02"),
        record(HANDSHAKE, b"\x0b\x00\x00\x00"),
        b"\x16\x02\x00\x00\x01x",
        b"\x15\xff\x00\x00\x01x",
    ],
    ids=[
        "longest length",
        "length above the limit",
        "bad ClientHello",
        "bad ServerHello",
        "unknown message",
        "huge message",
        "data too early",
        "empty alert",
        "half an alert",
        "message out of order",
        "SSL 2",
        "wrong major version",
    ],
)
def test_wrong_records_in_the_handshake_are_misconduct(fresh: Any, data: bytes) -> None:
    error = told(fresh, data)
    assert isinstance(error, PeerMisbehaved)


@pytest.mark.parametrize("number", [40, 47, 70, 80, 120])
def test_a_fatal_alert_in_the_handshake_is_told_by_its_number(fresh: Any, number: int) -> None:
    error = told(fresh, record(ALERT, bytes([2, number])))
    assert type(error) is AlertReceived
    assert error.alert is AlertDescription(number)
    assert AlertDescription(number).name in str(error)


@pytest.mark.parametrize("number", [42, 43, 44, 45, 46, 48, 116])
def test_an_alert_about_our_certificate_says_so(fresh: Any, number: int) -> None:
    error = told(fresh, record(ALERT, bytes([2, number])))
    assert type(error) is PeerRejectedCertificate
    assert error.alert is AlertDescription(number)


def test_an_alert_without_a_name_stays_a_number(fresh: Any) -> None:
    error = told(fresh, record(ALERT, b"\x02\xc8"))
    assert type(error) is AlertReceived
    assert type(error.alert) is int
    assert error.alert == 200


@pytest.mark.parametrize(
    "data",
    [
        record(APPLICATION_DATA, b"", length=0xFFFF),
        record(APPLICATION_DATA, b"", length=16_384 + 2048 + 1),
        record(APPLICATION_DATA, bytes(16_384 + 2048)),
        record(APPLICATION_DATA, b""),
        record(APPLICATION_DATA, b"short"),
        record(HANDSHAKE, b"\x00\x00\x00\x00"),
        record(99, b"data"),
        record(APPLICATION_DATA, bytes(100), version=0x0203),
    ],
    ids=[
        "longest length",
        "length above the limit",
        "longest record",
        "empty",
        "too short",
        "in the clear",
        "unknown kind",
        "wrong version",
    ],
)
@pytest.mark.parametrize("side", ["client", "server"])
def test_wrong_records_after_the_handshake_are_misconduct_and_answered_with_an_alert(
    lab: Any, connected: Pair, side: str, data: bytes
) -> None:
    victim = getattr(connected, side)
    victim.process_incoming(data)
    for _ in range(2):
        with pytest.raises(PeerMisbehaved):
            victim.read(100)
    assert lab.outgoing(victim)


@pytest.mark.parametrize("position", [0, 1, 5, 20, -1])
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_flipped_bit_is_found_after_earlier_data_was_delivered(
    lab: Any, connected: Pair, side: str, position: int
) -> None:
    victim = getattr(connected, side)
    sender = connected.server if side == "client" else connected.client
    sender.write(DATA)
    stream = bytearray(lab.outgoing(sender))
    sender.write(DATA)
    second = bytearray(lab.outgoing(sender))
    second[position] ^= 0x40
    sender.write(DATA)
    victim.process_incoming(stream + second + lab.outgoing(sender))
    assert victim.read(1000) == DATA
    for _ in range(2):
        with pytest.raises(PeerMisbehaved):
            victim.read(1000)


def test_records_that_were_swapped_left_out_or_repeated_are_found(lab: Any) -> None:
    for order in ([1, 0], [1], [0, 0], [0, 2]):
        pair = lab.connect()
        assert lab.drain(pair.client) == b""
        records = []
        for _ in range(3):
            pair.server.write(DATA)
            records.append(lab.outgoing(pair.server))
        pair.client.process_incoming(b"".join(records[index] for index in order))
        if order[0] == 0:
            assert pair.client.read(1000) == DATA
        with pytest.raises(PeerMisbehaved):
            pair.client.read(1000)


def test_what_came_before_the_handshake_was_begun_is_looked_at(lab: Any) -> None:
    client = lab.client().create_buffer(lab.host)
    client.process_incoming(record(ALERT, b"\x02\x28"))
    with pytest.raises(AlertReceived) as caught:
        client.do_handshake()
    assert caught.value.alert is AlertDescription.handshake_failure


# --- whatever comes ---


def judged(side: Any, data: bytes) -> type[BaseException] | None:
    """What `side` makes of `data` and the end of the transport; None if it found no fault."""
    with contextlib.suppress(WantReadError):
        side.do_handshake()
    side.process_incoming(data)
    side.process_incoming(b"")
    try:
        side.do_handshake()
    except REMOTE as error:
        return type(error)
    return None


@pytest.mark.parametrize("side", ["client", "server"])
def test_random_bytes_are_never_accepted(lab: Any, rng: random.Random, side: str) -> None:
    client, server = lab.client(), lab.server()
    seen = set()
    for round_ in range(150):
        data = rng.randbytes(rng.randrange(1, 700))
        if round_ % 3 == 1:
            data = record(rng.choice((20, 21, 22, 23)), data)
        elif round_ % 3 == 2:
            kind = rng.choice((1, 2, 4, 8, 11, 20))
            data = record(HANDSHAKE, bytes([kind]) + len(data).to_bytes(3, "big") + data)
        victim = getattr(lab.pair(client, server), side)
        seen.add(judged(victim, data))
    # A transport that has ended is not waited for.
    assert not {None, WantReadError} & seen
    assert {NotTLSError, PeerMisbehaved} <= seen


class Damage:
    """Does one kind of damage to one flight of a handshake."""

    def __init__(self, rng: random.Random, kind: str) -> None:
        self.rng, self.kind = rng, kind
        self.flights_before = rng.randrange(3)

    def __call__(self, data: bytes) -> Iterator[bytes]:
        self.flights_before -= 1
        yield self.done(bytearray(data)) if self.flights_before == -1 else data

    def done(self, data: bytearray) -> bytes:
        # Not to the version in a header, which no receiver needs to look at.
        at = self.rng.choice([0, *range(3, len(data))])
        match self.kind:
            case "flip":
                data[at] ^= 1 << self.rng.randrange(8)
            case "cut out":
                del data[at]
            case "insert":
                data.insert(at, self.rng.randrange(256))
            case "repeat":
                data[at:at] = data[: at + 1]
        return bytes(data)


@pytest.mark.parametrize("damage", ["flip", "cut out", "insert", "repeat"])
def test_a_damaged_handshake_fails_with_an_error_or_waits(
    lab: Any, version: TLSVersion, rng: random.Random, damage: str
) -> None:
    client, server = lab.client(version=version, sessions=None), lab.server(sessions=None)
    done, rounds = 0, 60
    for _ in range(rounds):
        pair = lab.pair(client, server, split=Damage(rng, damage))
        outcome = lab.settle(pair)
        for error in (outcome.client, outcome.server):
            assert error is None or isinstance(error, REMOTE)
        done += None not in (pair.client.cipher(), pair.server.cipher())
    # Headers apart, every byte of a handshake is authenticated.
    assert done < rounds / 10


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_message_that_never_ends_is_given_up(lab: Any, side: str) -> None:
    """One announced as 16 MiB, in small records: memory for all of it is never taken."""
    victim = lab.begun(side)
    kind = b"\x02" if side == "client" else b"\x01"
    piece = record(HANDSHAKE, bytes(16_000))
    victim.process_incoming(record(HANDSHAKE, kind + b"\xff\xff\xff"))
    outcomes = []
    while len(piece) * len(outcomes) < (1 << 20) and outcomes[-1:] != [PeerMisbehaved]:
        victim.process_incoming(piece)
        with pytest.raises((WantReadError, PeerMisbehaved)) as caught:
            victim.do_handshake()
        outcomes.append(type(caught.value))
    assert outcomes[-1] is PeerMisbehaved


def test_change_cipher_spec_after_the_handshake_is_misconduct(connected: Pair) -> None:
    connected.client.process_incoming(record(20, b"\x01") * 100)
    with pytest.raises(PeerMisbehaved):
        connected.client.read(100)
