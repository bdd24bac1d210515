"""One direction ends and the other goes on: `shutdown`, and half-closed connections."""

from __future__ import annotations

import errno
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from polytls import TLSError, TLSVersion, WantReadError, WantWriteError
from polytls.testing.conformance.lab import PATIENCE, Whole, fill
from polytls.testing.conformance.selection import needs

pytestmark = needs("shutdown")

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3

#: How long a thread gets to begin waiting.
SOON = 0.1

only_tls_1_3 = pytest.mark.parametrize("version", [V13], ids=["TLSv1.3"])


def at_its_end(plain: socket.socket) -> bool:
    """Whether the transport has ended, as far as is known now."""
    return bool(select.select([plain], [], [], 0)[0]) and plain.recv(1, socket.MSG_PEEK) == b""


# --- SHUT_WR ---


def test_shut_wr_sends_close_notify_and_no_fin(one: Any) -> None:
    ours, peer = one
    ours.send(b"last words")
    assert ours.shutdown(socket.SHUT_WR) is None
    assert peer.read(10) == b"last words"
    assert peer.drive(peer.buffer.read, 1) == b""
    assert not at_its_end(peer.plain)
    assert ours.fileno() != -1


@only_tls_1_3
def test_after_shut_wr_the_peers_data_still_comes(one: Any) -> None:
    ours, peer = one
    ours.shutdown(socket.SHUT_WR)
    assert peer.drive(peer.buffer.read, 1) == b""
    peer.drive(peer.buffer.write, b"still here")
    assert ours.recv(100) == b"still here"
    peer.say_goodbye()
    assert ours.recv(100) == b""
    ours.close()


def test_after_shut_wr_nothing_can_be_sent(one: Any) -> None:
    ours, _ = one
    ours.shutdown(socket.SHUT_WR)
    for call in (ours.send, ours.sendall):
        with pytest.raises(TLSError):
            call(b"too late")


def test_a_second_time_is_no_error_and_says_nothing_more(one: Any) -> None:
    ours, peer = one
    for _ in range(3):
        ours.shutdown(socket.SHUT_WR)
    ours.shutdown(socket.SHUT_RDWR)
    ours.shutdown(socket.SHUT_RDWR)
    assert peer.drive(peer.buffer.read, 1) == b""
    assert peer.plain.recv(100) == b""


@only_tls_1_3
def test_a_request_is_ended_before_it_is_answered(
    ends: Any, threads: ThreadPoolExecutor, rng: Any
) -> None:
    client, accepted = ends
    data = rng.randbytes(500_000)

    def answer() -> None:
        request = bytearray()
        while piece := accepted.recv(65536):
            request += piece
        accepted.sendall(request[::-1])
        accepted.shutdown(socket.SHUT_WR)

    answering = threads.submit(answer)
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    response = bytearray()
    while piece := client.recv(65536):
        response += piece
    answering.result(PATIENCE)
    assert response == Whole(data[::-1])
    client.close()
    accepted.close()


def test_close_after_shut_wr_says_nothing_more(one: Any) -> None:
    ours, peer = one
    ours.shutdown(socket.SHUT_WR)
    ours.close()
    assert ours.fileno() == -1
    assert peer.drive(peer.buffer.read, 1) == b""
    # No second close_notify.
    assert peer.plain.recv(100) == b""


def test_a_non_blocking_shut_wr_says_that_it_could_not_be_sent_and_it_follows(
    ends: Any,
) -> None:
    client, accepted = ends
    client.setblocking(False)
    taken = fill(client)
    with pytest.raises(WantWriteError):
        client.shutdown(socket.SHUT_WR)
    with pytest.raises(TLSError) as caught:
        client.send(b"x")
    assert type(caught.value) is not WantReadError
    count = 0
    while data := accepted.recv(1 << 20):
        count += len(data)
        # Any call sends what waits.
        with suppress(WantReadError, WantWriteError):
            client.recv(1)
    assert count == taken


# --- SHUT_RD ---


def test_after_shut_rd_there_is_nothing_to_receive_and_sending_goes_on(one: Any) -> None:
    ours, peer = one
    peer.drive(peer.buffer.write, b"nobody wants this")
    assert ours.recv(1) == b"n"
    assert ours.shutdown(socket.SHUT_RD) is None
    room = bytearray(8)
    for _ in range(2):
        assert ours.recv(100) == b""
        assert ours.recv_into(room) == 0
    ours.sendall(b"but this")
    assert peer.read(8) == b"but this"


def test_shut_rd_wakes_a_thread_that_waits(ends: Any, threads: ThreadPoolExecutor) -> None:
    client, accepted = ends
    receiving = threads.submit(accepted.recv, 100)
    # It waits by then. If it should not, it finds the same.
    threading.Event().wait(SOON)
    accepted.shutdown(socket.SHUT_RD)
    assert receiving.result(PATIENCE) == b""
    accepted.sendall(b"goes on")
    assert client.recv(100) == b"goes on"


# --- SHUT_RDWR ---


def test_shut_rdwr_says_goodbye_and_ends_the_transport(one: Any) -> None:
    ours, peer = one
    descriptor = ours.fileno()
    ours.send(b"last words")
    ours.shutdown(socket.SHUT_RDWR)
    assert ours.recv(100) == b""
    with pytest.raises(OSError, match=r"."):
        ours.send(b"too late")
    assert ours.fileno() == descriptor
    assert peer.read(10) == b"last words"
    assert peer.drive(peer.buffer.read, 1) == b""
    assert peer.plain.recv(1) == b""
    ours.close(force=True)


def test_shut_rdwr_wakes_a_thread_that_waits(ends: Any, threads: ThreadPoolExecutor) -> None:
    _, accepted = ends
    receiving = threads.submit(accepted.recv, 100)
    threading.Event().wait(SOON)
    accepted.shutdown(socket.SHUT_RDWR)
    assert receiving.result(PATIENCE) == b""


# --- what cannot be shut down ---


def test_what_is_no_direction_is_refused(lab: Any, ends: Any) -> None:
    client, accepted = ends
    for how, error in ((7, ValueError), (-1, ValueError), ("1", TypeError), (None, TypeError)):
        with pytest.raises(error):
            client.shutdown(how)
        with lab.server().connect(("127.0.0.1", 0)) as listener, pytest.raises(error):
            listener.shutdown(how)
    client.send(b"as before")
    assert accepted.recv(100) == b"as before"


def test_a_closed_socket_says_that_it_is_closed(lab: Any, ends: Any) -> None:
    for side in (ends[0], lab.server().connect(("127.0.0.1", 0))):
        side.close(force=True)
        with pytest.raises(OSError, match="closed") as caught:
            side.shutdown(socket.SHUT_WR)
        assert caught.value.errno == errno.EBADF


def test_without_a_peer_or_a_handshake_there_is_nothing_to_shut_down(lab: Any) -> None:
    with lab.server().connect(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with socket.create_connection(listener.getsockname()):
            select.select([listener], [], [], PATIENCE)
            with listener.accept()[0] as unfinished:
                for side in (listener, unfinished):
                    for how in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
                        with pytest.raises(OSError, match=r".") as caught:
                            side.shutdown(how)
                        assert caught.value.errno == errno.ENOTCONN
