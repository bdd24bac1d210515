"""What the peer has acknowledged, as the drivers ask for it."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from polytls.delivery import naps, unacknowledged

COUNTS = sys.platform in ("linux", "darwin")
PATIENCE = 30.0


def soon(here: socket.socket, wanted: int) -> None:
    """Wait until so much is unacknowledged."""
    deadline = time.monotonic() + PATIENCE
    while unacknowledged(here, after_fin=True) != wanted:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as there:
        here = socket.create_connection(there.getsockname())
        return here, there.accept()[0]


@pytest.mark.skipif(not COUNTS, reason="this system does not tell how much is unacknowledged")
def test_what_the_peer_has_no_room_for_is_unacknowledged_until_it_reads() -> None:
    here, there = tcp_pair()
    with here, there:
        assert unacknowledged(here) == 0
        here.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                here.send(bytes(65536))
        assert unacknowledged(here)
        here.shutdown(socket.SHUT_WR)
        while there.recv(1 << 20):
            pass
        soon(here, 0)


@pytest.mark.skipif(sys.platform != "win32", reason="other systems count")
def test_windows_tells_after_the_fin_whether_there_is_something() -> None:
    here, there = tcp_pair()
    with here, there:
        here.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                here.send(bytes(65536))
        assert unacknowledged(here) is None
        here.shutdown(socket.SHUT_WR)
        soon(here, (1 << 64) - 1)
        while there.recv(1 << 20):
            pass
        soon(here, 0)


@pytest.mark.skipif(not COUNTS, reason="this system has no local sockets")
def test_what_was_sent_over_a_local_socket_has_arrived() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(b"unread")
        assert unacknowledged(here) == 0


def test_of_what_is_no_open_socket_nothing_is_known(tmp_path: Path) -> None:
    closed = socket.socket()
    closed.close()
    with (tmp_path / "file").open("wb") as file:
        for given in (None, closed, file, object()):
            assert unacknowledged(given) is None  # type: ignore[arg-type]


def test_naps_grow_and_stay_short() -> None:
    first = list(islice(naps(), 20))
    assert first == sorted(first)
    assert 0 < first[0] <= first[-1] <= 0.05
