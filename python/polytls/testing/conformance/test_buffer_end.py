"""How connections end: close_notify in either direction, and transports that end without it."""

from __future__ import annotations

from typing import Any

import pytest

from polytls import (
    CertificateVerificationError,
    PeerMisbehaved,
    RaggedEOF,
    TLSError,
    TLSVersion,
    WantReadError,
)
from polytls.testing import Pair
from polytls.testing.conformance.lab import same_error

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3

DATA = b"the quick brown fox jumps over the lazy dog"


@pytest.fixture(params=["client", "server"])
def sides(request: pytest.FixtureRequest, connected: Pair) -> tuple[Any, Any]:
    """The one that closes, and the other."""
    both = (connected.client, connected.server)
    return both if request.param == "client" else both[::-1]


def carry(pair: Pair) -> None:
    while pair.transfer():
        pass


# --- close_notify ---


def test_closing_takes_close_notify_in_both_directions(
    connected: Pair, sides: tuple[Any, Any]
) -> None:
    one, other = sides
    with pytest.raises(WantReadError):
        one.shutdown()
    carry(connected)
    assert other.read(10) == b""
    assert other.shutdown() is None
    carry(connected)
    assert one.shutdown() is None
    for side in sides:
        for _ in range(2):
            assert side.read(10) == b""
            assert side.read(10, bytearray(10)) == 0
            assert side.shutdown() is None


def test_close_notify_is_sent_once(connected: Pair, sides: tuple[Any, Any]) -> None:
    one, _ = sides
    with pytest.raises(WantReadError):
        one.shutdown()
    queued = one.outgoing_bytes_buffered()
    assert queued > 0
    for _ in range(3):
        with pytest.raises(WantReadError):
            one.shutdown()
    assert one.outgoing_bytes_buffered() == queued


def test_data_before_close_notify_is_delivered_first(
    connected: Pair, sides: tuple[Any, Any]
) -> None:
    one, other = sides
    one.write(DATA)
    with pytest.raises(WantReadError):
        one.shutdown()
    carry(connected)
    assert other.read(10) == DATA[:10]
    assert other.read(1000) == DATA[10:]
    assert other.read(1000) == b""


def test_reading_goes_on_after_shutdown_and_writing_does_not(
    connected: Pair, sides: tuple[Any, Any]
) -> None:
    one, other = sides
    other.write(DATA)
    with pytest.raises(WantReadError):
        one.shutdown()
    with pytest.raises(TLSError, match="shut down") as caught:
        one.write(b"more")
    assert type(caught.value) is TLSError
    carry(connected)
    # Data that is unread stands before the peer's close_notify: shutdown waits for it to be read.
    with pytest.raises(WantReadError):
        one.shutdown()
    assert one.read(1000) == DATA
    with pytest.raises(TLSError, match="shut down"):
        one.write(b"")
    with pytest.raises(WantReadError):
        one.read(1)


@pytest.mark.parametrize("end", ["close_notify", "ragged"])
def test_shutdown_says_that_data_is_unread_once_nothing_more_can_come(
    connected: Pair, sides: tuple[Any, Any], end: str
) -> None:
    one, other = sides
    for _ in range(3):
        other.write(DATA)
    if end == "close_notify":
        with pytest.raises(WantReadError):
            other.shutdown()
    carry(connected)
    if end == "ragged":
        one.process_incoming(b"")
    assert one.read(1) == DATA[:1]
    for _ in range(2):
        with pytest.raises(TLSError, match="read") as caught:
            one.shutdown()
        # No network can help.
        assert type(caught.value) is TLSError
    assert one.outgoing_bytes_buffered() > 0
    assert one.read(1000) == (DATA * 3)[1:]
    if end == "close_notify":
        assert one.read(1000) == b""
        assert one.shutdown() is None
    else:
        with pytest.raises(RaggedEOF):
            one.shutdown()


def test_in_tls_1_3_each_direction_closes_on_its_own(lab: Any) -> None:
    pair = lab.connect(lab.client(version=V13))
    with pytest.raises(WantReadError):
        pair.client.shutdown()
    carry(pair)
    assert pair.server.read(100) == b""
    assert pair.server.outgoing_bytes_buffered() == 0
    for _ in range(3):
        assert pair.server.write(DATA) == len(DATA)
    carry(pair)
    assert pair.client.read(1000) == DATA * 3
    with pytest.raises(WantReadError):
        pair.client.shutdown()
    assert pair.server.shutdown() is None
    carry(pair)
    assert pair.client.shutdown() is None
    assert pair.client.read(100) == b""


def test_in_tls_1_2_close_notify_is_answered_and_writing_is_over(lab: Any) -> None:
    pair = lab.connect(lab.client(version=V12))
    with pytest.raises(WantReadError):
        pair.client.shutdown()
    carry(pair)
    assert pair.server.outgoing_bytes_buffered() == 0
    assert pair.server.read(100) == b""
    assert pair.server.outgoing_bytes_buffered() > 0
    with pytest.raises(TLSError, match="shut down"):
        pair.server.write(DATA)
    carry(pair)
    assert pair.client.shutdown() is None
    assert pair.server.shutdown() is None
    assert pair.client.outgoing_bytes_buffered() == pair.server.outgoing_bytes_buffered() == 0


def test_both_may_close_at_once(connected: Pair) -> None:
    for side in (connected.client, connected.server):
        with pytest.raises(WantReadError):
            side.shutdown()
    carry(connected)
    for side in (connected.client, connected.server):
        assert side.shutdown() is None
        assert side.read(1) == b""
        assert side.outgoing_bytes_buffered() == 0


def test_there_is_nothing_to_shut_down_before_the_handshake(lab: Any, version: TLSVersion) -> None:
    pair = lab.pair(lab.client(version=version))
    for side in (pair.client, pair.server):
        with pytest.raises(TLSError, match="handshake") as caught:
            side.shutdown()
        assert type(caught.value) is TLSError
        assert side.outgoing_bytes_buffered() == 0
    # It was the caller's mistake, and did no harm.
    pair.handshake()
    assert pair.send(pair.client, DATA) == DATA


def test_the_facts_are_still_there_after_the_end(connected: Pair, version: TLSVersion) -> None:
    certificate = connected.client.getpeercert()
    connected.client.process_incoming(b"")
    with pytest.raises(RaggedEOF):
        connected.client.read(1)
    assert connected.client.negotiated_tls_version is version
    assert connected.client.getpeercert() == certificate is not None


def test_bytes_behind_close_notify_are_not_touched(
    lab: Any, connected: Pair, sides: tuple[Any, Any]
) -> None:
    one, other = sides
    one.write(DATA)
    with pytest.raises(WantReadError):
        one.shutdown()
    other.process_incoming(lab.outgoing(one) + b"QUIT\r\n")
    assert other.read(1000) == DATA
    for _ in range(2):
        assert other.read(1000) == b""
        assert other.incoming_bytes_buffered() == len(b"QUIT\r\n")


def test_the_transports_end_after_close_notify_is_no_error(
    connected: Pair, sides: tuple[Any, Any]
) -> None:
    one, other = sides
    with pytest.raises(WantReadError):
        one.shutdown()
    carry(connected)
    other.process_incoming(b"")
    for _ in range(3):
        assert other.read(1000) == b""
    assert other.shutdown() is None


# --- ragged ends ---


def test_a_ragged_end_is_told_after_all_data_before_it_and_for_ever(
    connected: Pair, sides: tuple[Any, Any]
) -> None:
    one, other = sides
    one.write(DATA)
    carry(connected)
    other.process_incoming(b"")
    assert other.read(10) == DATA[:10]
    assert other.read(1000) == DATA[10:]
    errors = []
    for arguments in ((100,), (100, bytearray(4)), (1,)):
        with pytest.raises(RaggedEOF) as caught:
            other.read(*arguments)
        errors.append(caught.value)
    assert errors[0].during_handshake is False
    assert same_error(errors[0], errors[1])
    assert same_error(errors[0], errors[2])
    with pytest.raises(RaggedEOF):
        other.shutdown()


@pytest.mark.parametrize("kept", [1, 4, 5, 6, -1])
def test_a_record_that_was_cut_short_is_a_ragged_end(
    lab: Any, connected: Pair, sides: tuple[Any, Any], kept: int
) -> None:
    one, other = sides
    one.write(DATA)
    carry(connected)
    one.write(DATA)
    other.process_incoming(lab.outgoing(one)[:kept])
    other.process_incoming(b"")
    assert other.read(1000) == DATA
    for _ in range(2):
        with pytest.raises(RaggedEOF) as caught:
            other.read(1000)
        assert caught.value.during_handshake is False


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.9, 1])
@pytest.mark.parametrize("call", ["do_handshake", "read", "write"])
@pytest.mark.parametrize("side", ["client", "server"])
def test_an_end_inside_the_handshake_says_so(
    lab: Any, version: TLSVersion, side: str, call: str, share: float
) -> None:
    pair = lab.pair(lab.client(version=version))
    for each in (pair.client, pair.server):
        with pytest.raises(WantReadError):
            each.do_handshake()
        if each is pair.client:
            hello = lab.outgoing(pair.client)
            pair.server.process_incoming(hello if side == "client" else hello[:1])
    # Up to all but the last byte of what this side waits for.
    if side == "client":
        with pytest.raises(WantReadError):
            pair.server.do_handshake()
        expected, receiver, done = lab.outgoing(pair.server), pair.client, 0
    else:
        expected, receiver, done = hello, pair.server, 1
    cut = min(max(done, int(share * len(expected))), len(expected) - 1)
    if cut > done:
        receiver.process_incoming(expected[done:cut])
    receiver.process_incoming(b"")
    arguments = {"do_handshake": (), "read": (1,), "write": (DATA,)}
    errors = []
    for name in (call, call, *arguments):
        with pytest.raises(RaggedEOF, match="handshake") as caught:
            getattr(receiver, name)(*arguments[name])
        errors.append(caught.value)
    assert all(error.during_handshake is True for error in errors)
    assert all(same_error(errors[0], error) for error in errors[1:])


def test_the_end_of_the_transport_may_be_told_twice_but_nothing_may_follow(
    connected: Pair,
) -> None:
    for nothing in (b"", bytearray(), memoryview(b"")):
        connected.client.process_incoming(nothing)
    for _ in range(2):
        with pytest.raises(ValueError, match="data_from_network"):
            connected.client.process_incoming(b"x")
    assert connected.client.incoming_bytes_buffered() == 0
    connected.client.process_incoming(b"")


# --- after fatal errors ---


def everything(side: Any) -> list[TLSError]:
    """What each call says that a fatal error is latched for."""
    errors = []
    for call, arguments in (
        (side.do_handshake, ()),
        (side.read, (100,)),
        (side.read, (100, bytearray(10))),
        (side.write, (DATA,)),
        (side.shutdown, ()),
    ):
        with pytest.raises(TLSError) as caught:
            call(*arguments)
        errors.append(caught.value)
    return errors


def test_a_refused_certificate_is_told_by_every_later_call(lab: Any, version: TLSVersion) -> None:
    pair = lab.pair(lab.client(version=version), name="other.example")
    first = lab.settle(pair).client
    assert type(first) is CertificateVerificationError
    assert first.hostname == "other.example"
    for error in everything(pair.client) + everything(pair.client):
        assert same_error(first, error)


def test_an_alert_is_told_by_every_later_call_and_not_answered(
    lab: Any, version: TLSVersion
) -> None:
    pair = lab.pair(lab.client(version=version), name="other.example")
    first = lab.settle(pair).server
    for error in everything(pair.server):
        assert same_error(first, error)
    assert pair.server.outgoing_bytes_buffered() == 0


def test_the_alert_can_be_drained_after_the_error(lab: Any, version: TLSVersion) -> None:
    pair = lab.pair(lab.client(version=version), name="other.example")
    for side in (pair.client, pair.server):
        with pytest.raises(WantReadError):
            side.do_handshake()
        pair.transfer()
    with pytest.raises(CertificateVerificationError):
        pair.client.do_handshake()
    everything(pair.client)
    alert = pair.client.process_outgoing(3)
    alert += pair.client.process_outgoing(1000)
    assert len(alert) > 6
    assert pair.client.process_outgoing(1000) == b""
    # It may still be fed, and says no more than before.
    pair.client.process_incoming(b"whatever")
    pair.client.process_incoming(b"")
    assert {type(error) for error in everything(pair.client)} == {CertificateVerificationError}


def test_misconduct_is_told_after_earlier_data_and_by_every_later_call(
    lab: Any, connected: Pair, sides: tuple[Any, Any]
) -> None:
    one, other = sides
    one.write(DATA)
    good = lab.outgoing(one)
    one.write(DATA)
    forged = bytearray(lab.outgoing(one))
    forged[-1] ^= 1
    other.process_incoming(good + forged)
    buffer = bytearray(20)
    assert other.read(5) == DATA[:5]
    assert other.read(20, buffer) == 20
    assert other.read(1000) == DATA[25:]
    errors = everything(other)
    with pytest.raises(PeerMisbehaved) as caught:
        other.read(1, destination := bytearray(b"untouched"))
    assert destination == b"untouched"
    for error in errors:
        assert same_error(caught.value, error)
    alert = lab.outgoing(other)
    assert len(alert) > 6
    one.process_incoming(alert)
    with pytest.raises(TLSError, match="bad_record_mac"):
        one.read(1)
