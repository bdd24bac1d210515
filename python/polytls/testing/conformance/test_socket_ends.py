"""The ends of a connection over a socket: orderly, forced, ragged; and what is left afterwards."""

from __future__ import annotations

import errno
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from polytls import RaggedEOF, TLSError, TLSVersion, WantReadError
from polytls.testing.conformance.lab import PATIENCE, Whole, same_error
from polytls.testing.conformance.raw_peer import RawPeer


def finished(task: Future[Any]) -> Any:
    return task.result(PATIENCE)


# --- close_notify ---


def test_close_says_goodbye_and_does_not_wait_for_the_peers(one: Any) -> None:
    ours, peer = one
    ours.send(b"last words")
    ours.close()
    assert ours.fileno() == -1
    assert peer.drive(peer.buffer.read, 100) == b"last words"
    assert peer.drive(peer.buffer.read, 100) == b""
    assert peer.plain.recv(100) == b""


def test_both_may_close_at_once(ends: Any, threads: ThreadPoolExecutor) -> None:
    start = threading.Barrier(2)

    def close(side: Any) -> None:
        start.wait(PATIENCE)
        side.close()

    for task in [threads.submit(close, side) for side in ends]:
        finished(task)


def test_close_discards_data_that_comes_late(one: Any) -> None:
    ours, peer = one
    ours.send(b"last words")
    peer.drive(peer.buffer.write, b"nobody wants this")
    ours.close()
    assert peer.read(10) == b"last words"
    assert peer.drive(peer.buffer.read, 100) == b""


def test_a_forced_close_waits_for_nobody_and_still_says_goodbye(one: Any) -> None:
    ours, peer = one
    ours.send(b"last words")
    ours.close(force=True)
    assert ours.fileno() == -1
    assert peer.drive(peer.buffer.read, 100) == b"last words"
    assert peer.drive(peer.buffer.read, 100) == b""


def test_leaving_a_with_statement_says_goodbye(one: Any) -> None:
    ours, peer = one
    with ours as same:
        assert same is ours
        ours.send(b"last words")
    assert ours.fileno() == -1
    assert peer.drive(peer.buffer.read, 100) == b"last words"
    assert peer.drive(peer.buffer.read, 100) == b""


def test_an_exception_passes_through_a_with_statement(ends: Any) -> None:
    client, accepted = ends
    with pytest.raises(ZeroDivisionError), client:
        _ = 1 / 0
    assert client.fileno() == -1
    assert accepted.recv(1) == b""


def test_data_before_the_end_is_delivered_and_then_the_end_for_ever(
    ends: Any, threads: ThreadPoolExecutor, rng: Any
) -> None:
    client, accepted = ends
    data = rng.randbytes(100_000)
    client.sendall(data)
    closing = threads.submit(client.close)
    received = b""
    while piece := accepted.recv(1000):
        received += piece
    assert received == Whole(data)
    room = bytearray(8)
    for _ in range(3):
        assert accepted.recv(100) == b""
        assert accepted.recv_into(room) == 0
    accepted.close()
    finished(closing)


def test_after_the_peers_close_notify_only_tls_1_3_goes_on_writing(one: Any) -> None:
    ours, peer = one
    peer.say_goodbye()
    assert ours.recv(100) == b""
    if ours.negotiated_tls_version is TLSVersion.TLSv1_3:
        ours.sendall(b"still here")
        assert peer.drive(peer.buffer.read, 100) == b"still here"
        ours.close()
        assert peer.drive(peer.buffer.read, 100) == b""
    else:
        # RFC 5246 7.2.1: the answer is a close_notify, at once.
        assert peer.drive(peer.buffer.read, 100) == b""
        with pytest.raises(TLSError):
            ours.send(b"too late")
        ours.close()


def test_bytes_behind_close_notify_are_no_data(one: Any) -> None:
    ours, peer = one
    with pytest.raises(WantReadError):
        peer.buffer.shutdown()
    peer.plain.sendall(peer.take() + b"\x17\x03\x03\x00\x05hello")
    assert ours.recv(100) == b""
    assert ours.recv(100) == b""


def test_closing_again_does_nothing(ends: Any) -> None:
    client, _ = ends
    client.close(force=True)
    for force in (False, True):
        assert client.close(force=force) is None


# --- without close_notify ---


def test_an_end_without_close_notify_is_told_after_all_data_and_for_ever(one: Any) -> None:
    ours, peer = one
    peer.drive(peer.buffer.write, b"0123456789")
    peer.plain.shutdown(socket.SHUT_WR)
    assert ours.recv(4) == b"0123"
    assert ours.recv(100) == b"456789"
    with pytest.raises(RaggedEOF) as first:
        ours.recv(100)
    assert first.value.during_handshake is False
    with pytest.raises(RaggedEOF) as again:
        ours.recv_into(bytearray(10))
    assert same_error(first.value, again.value)


def test_an_end_within_a_record_is_ragged(one: Any) -> None:
    ours, peer = one
    peer.buffer.write(b"whole")
    whole = peer.take()
    peer.buffer.write(b"cut short")
    peer.plain.sendall(whole + peer.take()[:-1])
    peer.plain.shutdown(socket.SHUT_WR)
    assert ours.recv(100) == b"whole"
    with pytest.raises(RaggedEOF):
        ours.recv(100)


def test_a_reset_stays_a_reset(one: Any) -> None:
    ours, peer = one
    peer.reset()
    for _ in range(2):
        with pytest.raises(ConnectionResetError) as caught:
            ours.recv(100)
        assert caught.value.errno == errno.ECONNRESET


@pytest.mark.parametrize("how", ["end", "reset"])
def test_the_descriptor_is_closed_even_if_the_peer_has_gone(one: Any, how: str) -> None:
    ours, peer = one
    if how == "end":
        peer.plain.shutdown(socket.SHUT_WR)
    else:
        peer.reset()
    ours.close()
    assert ours.fileno() == -1
    assert ours.close() is None


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_forced_close_does_not_mind_that_the_peer_has_gone(one: Any, how: str) -> None:
    ours, peer = one
    if how == "end":
        peer.plain.close()
    else:
        peer.reset()
    ours.close(force=True)
    assert ours.fileno() == -1


def test_a_forged_record_is_told_for_ever_and_the_peer_is_told_why(one: Any) -> None:
    ours, peer = one
    peer.drive(peer.buffer.write, b"good")
    peer.plain.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
    assert ours.recv(100) == b"good"
    with pytest.raises(TLSError) as first:
        ours.recv(100)
    for call, given in ((ours.recv, 100), (ours.send, b"x"), (ours.sendall, b"x")):
        with pytest.raises(TLSError) as again:
            call(given)
        assert same_error(first.value, again.value)
    with pytest.raises(TLSError) as told:
        peer.drive(peer.buffer.read, 100)
    assert told.value.alert.name == "bad_record_mac"


# --- after close ---


def test_calls_on_a_closed_socket_say_that_it_is_closed(ends: Any) -> None:
    client, _ = ends
    client.close(force=True)
    assert client.fileno() == -1
    for call in (
        lambda: client.recv(1),
        lambda: client.recv(0),
        lambda: client.recv_into(bytearray(1)),
        lambda: client.send(b"x"),
        lambda: client.send(b""),
        lambda: client.sendall(b"x"),
        lambda: client.do_handshake(),
        lambda: client.getsockname(),
    ):
        with pytest.raises(OSError, match="closed") as caught:
            call()
        assert caught.value.errno == errno.EBADF
        assert not isinstance(caught.value, TLSError)


def test_what_was_negotiated_is_known_after_the_close(ends: Any, version: TLSVersion) -> None:
    for side in ends:
        before = (side.info, side.cipher(), side.getpeercert())
        side.close(force=True)
        assert (side.info, side.cipher(), side.getpeercert()) == before
        assert side.negotiated_tls_version is version
        assert side.pending() == side.outgoing_bytes_buffered() == 0


def test_the_descriptor_is_the_sockets_own(ends: Any) -> None:
    client, _ = ends
    with socket.socket(fileno=client.fileno()) as borrowed:
        assert borrowed.getsockname() == client.getsockname()
        assert borrowed.detach() == client.fileno()


def test_a_socket_that_is_dropped_closes_its_descriptor_without_goodbye(lab: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there, ThreadPoolExecutor() as threads:
        buffer = lab.server(sessions=None).create_buffer()
        address = there.getsockname()
        connecting = threads.submit(lab.client().connect, address, server_hostname=lab.host)
        with there.accept()[0] as plain:
            peer = RawPeer(buffer, plain)
            peer.drive(buffer.do_handshake)
            finished(connecting)
            with pytest.warns(ResourceWarning, match="unclosed") as kept:
                del connecting
            with pytest.raises(RaggedEOF):
                peer.drive(buffer.read, 100)
            # A warning that is kept has the socket: its descriptor is closed all the same.
            assert [warning.source.fileno() for warning in kept] == [-1]
