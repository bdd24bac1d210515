"""Reading from sockets: into large buffers, and where the socket waits without an end."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import threading
import time
from typing import Any

import pytest

from .conftest import threaded

NAME = "server.example"
RECORD = 16_384
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def pair(request: pytest.FixtureRequest, files: Any, sockets: Any) -> Any:
    """The client's socket and the server's, which wait without an end."""
    near, far = sockets
    client, server = files.client_context(), files.server_context()
    client.maximum_version = request.param
    near.settimeout(None)
    far.settimeout(None)
    serve = threaded(lambda: server.wrap_socket(far, server_side=True))
    ours = client.wrap_socket(near, server_hostname=NAME)
    with ours, serve() as theirs:
        yield ours, theirs


def test_a_large_buffer_takes_many_records_and_nothing_behind_is_changed(pair: Any) -> None:
    client, server = pair
    data = os.urandom(5 * RECORD + 100)
    server.sendall(data)
    into = bytearray(b"\xaa" * (16 * RECORD))
    came = client.recv_into(into)
    assert came > RECORD
    while came < len(data):
        came += client.recv_into(memoryview(into)[came:])
    assert into[:came] == data
    assert into[came:] == b"\xaa" * (len(into) - came)


def test_no_more_is_read_than_was_asked_for(pair: Any) -> None:
    client, server = pair
    data = os.urandom(6 * RECORD)
    server.sendall(data)
    into = bytearray(b"\xaa" * (8 * RECORD))
    assert 0 < client.recv_into(into, 3 * RECORD + 7) <= 3 * RECORD + 7
    assert into[3 * RECORD + 7 :] == b"\xaa" * (len(into) - 3 * RECORD - 7)


def test_what_the_buffer_has_no_room_for_is_left_for_a_selector(pair: Any) -> None:
    client, server = pair
    server.sendall(bytes(4 * RECORD))
    into = bytearray(2 * RECORD + 100)
    left = 4 * RECORD
    while left:
        if not client.pending():
            assert select.select([client], [], [], 5)[0]
        left -= client.recv_into(into)
    assert not select.select([client], [], [], 0)[0]


def test_the_end_behind_long_records_leaves_what_follows_it(pair: Any) -> None:
    client, server = pair

    def serve() -> None:
        server.sendall(bytes(5 * RECORD))
        plain = server.unwrap()
        plain.sendall(b"at once")
        plain.close()

    done = threaded(serve)
    into, came = bytearray(32 * RECORD), 0
    while count := client.recv_into(into):
        came += count
    assert came == 5 * RECORD
    plain = client.unwrap()
    assert plain.recv(100) == b"at once"
    plain.close()
    done()


def test_a_forged_record_behind_a_long_one_is_told_after_it(files: Any, sockets: Any) -> None:
    near, far = sockets
    serve = threaded(lambda: files.server_context().wrap_socket(far, server_side=True))
    with files.client_context().wrap_socket(near, server_hostname=NAME) as ours:
        theirs = serve()
        theirs.sendall(bytes(2 * RECORD))
        raw = socket.socket(fileno=os.dup(theirs.fileno()))
        raw.sendall(b"\x17\x03\x03\x40\x11" + bytes(RECORD + 17))
        into, came = bytearray(16 * RECORD), 0

        def read() -> None:
            nonlocal came
            while True:
                came += ours.recv_into(into)

        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            read()
        assert came == 2 * RECORD
        raw.close()
        theirs.close()


def test_threads_that_read_at_once_get_every_byte_once(pair: Any) -> None:
    client, server = pair
    total, number = 600 * 1000, 3
    found: list[bytes] = []

    def read() -> None:
        while data := client.recv(1000):
            found.append(data)

    readers = [threaded(read) for _ in range(number)]
    for _ in range(total // 1000):
        server.sendall(os.urandom(4) * 250)
    server.close()
    for reader in readers:
        reader()
    assert sum(map(len, found)) == total
    assert all(data == data[:4] * 250 for data in found)


def test_one_thread_waits_to_read_while_another_writes(pair: Any) -> None:
    client, server = pair
    read = threaded(lambda: client.recv(100))
    time.sleep(0.05)
    client.sendall(b"question")
    assert server.recv(100) == b"question"
    server.sendall(b"answer")
    assert read() == b"answer"


class Stopped(Exception):
    """Raised by a signal's handler."""


@pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="signal.setitimer is not there on Windows"
)
@pytest.mark.parametrize("raises", [True, False])
def test_a_signal_reaches_a_read_that_waits(pair: Any, raises: bool) -> None:
    client, server = pair
    came = threading.Event()

    def handle(*_: Any) -> None:
        came.set()
        if raises:
            raise Stopped
        server.sendall(b"late")

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1 if raises else 0)
    try:
        if raises:
            with pytest.raises(Stopped):
                client.recv(1)
        else:
            assert client.recv(10) == b"late"
        assert came.is_set()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    server.sendall(b"after")
    assert client.recv(10) == b"after"


@pytest.mark.parametrize("sizes", [[1, 2, 3], [5000] * 3, [RECORD] * 5, [100, RECORD, 100, RECORD]])
@pytest.mark.parametrize("amount", [1, 100, RECORD, 1 << 20])
def test_records_in_memory_come_in_order_whatever_is_asked_for(
    memory: Any, sizes: list[int], amount: int
) -> None:
    pair = memory().handshake()
    data = b""
    for size in sizes:
        part = os.urandom(size)
        pair.server.write(part)
        data += part
    came = b""
    while pair.to_client.pending + pair.client.pending() > 0:
        try:
            came += pair.client.read(amount if amount > 1 else 1 + len(came) % 3000)
        except ssl.SSLWantReadError:
            break
    assert came == data


def test_records_before_an_end_in_memory_come_in_order(memory: Any) -> None:
    pair = memory().handshake()
    for part in (b"one", b"two", b"three"):
        pair.server.write(part)
    pair.to_client.write_eof()
    came = b""
    while len(came) < len(b"onetwothree"):
        came += pair.client.read(4)
    assert came == b"onetwothree"
    with pytest.raises(ssl.SSLEOFError):
        pair.client.read(100)


def test_data_that_comes_with_the_last_of_the_handshake_is_read(files: Any) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = files.client_context().wrap_bio(to_client, to_server, server_hostname=NAME)
    server = files.server_context().wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    client.do_handshake()
    client.write(b"at once")
    client.write(bytes(RECORD))
    server.do_handshake()
    assert to_server.pending + server.pending() > 0
    came = b""
    while len(came) < len(b"at once") + RECORD:
        came += server.read(100)
    assert came == b"at once" + bytes(RECORD)
    with pytest.raises(ssl.SSLWantReadError):
        server.read(1)
