"""TLS ends and the connection goes on in plaintext: `unwrap`, and not a byte lost."""

from __future__ import annotations

import errno
import selectors
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polytls import RaggedEOF, TLSError, WantReadError, WantWriteError
from polytls.testing.conformance.lab import PATIENCE, Whole
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.upgrade import Upgrade

pytestmark = needs("unwrap")

#: The timeout that is waited for.
SHORT = 0.2


def answered(ours: Any, peer: Any, threads: ThreadPoolExecutor, behind: bytes = b"") -> Any:
    """Unwrap `ours`; the peer answers with close_notify, and `behind` in the same segment."""
    unwrapping = threads.submit(ours.unwrap)
    assert peer.drive(peer.buffer.read, 1) == b""
    peer.plain.sendall(peer.goodbye() + behind)
    return unwrapping.result(PATIENCE)


def exactly(plain: Any, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = plain.recv(length - len(data))
        assert piece, f"the end after {len(data)} of {length} bytes"
        data += piece
    return data


def test_unwrap_gives_the_plain_socket_back(one: Any, threads: ThreadPoolExecutor) -> None:
    ours, peer = one
    here, there, descriptor = ours.getsockname(), ours.getpeername(), ours.fileno()
    with answered(ours, peer, threads) as plain:
        assert ours.fileno() == -1
        assert isinstance(plain, socket.socket)
        assert (plain.getsockname(), plain.getpeername()) == (here, there)
        assert plain.fileno() == descriptor
        assert plain.gettimeout() == PATIENCE
        plain.sendall(b"in the clear")
        assert exactly(peer.plain, 12) == b"in the clear"
        peer.plain.sendall(b"so be it")
        assert exactly(plain, 8) == b"so be it"
        with pytest.raises(OSError, match="closed") as caught:
            ours.recv(1)
        assert caught.value.errno == errno.EBADF


def test_the_timeout_is_kept(one: Any, threads: ThreadPoolExecutor) -> None:
    ours, peer = one
    ours.settimeout(12.5)
    with answered(ours, peer, threads) as plain:
        assert plain.gettimeout() == 12.5


@pytest.mark.parametrize("by", ["recv", "recv_into", "makefile"])
def test_plaintext_right_behind_close_notify_is_not_lost(
    one: Any, threads: ThreadPoolExecutor, by: str
) -> None:
    ours, peer = one
    with answered(ours, peer, threads, b"220 plain again\r\n") as plain:
        peer.plain.sendall(b"221 and on\r\n")
        if by == "recv":
            assert plain.recv(4) == b"220 "
            assert exactly(plain, 25) == b"plain again\r\n221 and on\r\n"
        elif by == "recv_into":
            room = bytearray(4)
            assert plain.recv_into(room) == 4
            assert room == b"220 "
            assert exactly(plain, 25) == b"plain again\r\n221 and on\r\n"
        else:
            with plain.makefile("rb") as file:
                assert file.readline() == b"220 plain again\r\n"
                assert file.readline() == b"221 and on\r\n"
        plain.sendall(b"fine")
        assert exactly(peer.plain, 4) == b"fine"
        peer.plain.shutdown(socket.SHUT_WR)
        assert plain.recv(1) == b""


def test_much_plaintext_behind_close_notify_arrives_unchanged(
    one: Any, threads: ThreadPoolExecutor, rng: Any
) -> None:
    ours, peer = one
    data = rng.randbytes(1_000_000)
    unwrapping = threads.submit(ours.unwrap)
    assert peer.drive(peer.buffer.read, 1) == b""
    sending = threads.submit(peer.plain.sendall, peer.goodbye() + data)
    with unwrapping.result(PATIENCE) as plain:
        assert exactly(plain, len(data)) == Whole(data)
    sending.result(PATIENCE)


def test_plaintext_that_looks_like_a_record_is_plaintext(
    one: Any, threads: ThreadPoolExecutor
) -> None:
    ours, peer = one
    record = b"\x17\x03\x03\x00\x20" + bytes(32)
    with answered(ours, peer, threads, record) as plain:
        assert exactly(plain, len(record)) == record


def test_the_peer_may_end_tls_first(one: Any) -> None:
    ours, peer = one
    peer.plain.sendall(peer.goodbye() + b"already plain")
    assert ours.recv(1) == b""
    with ours.unwrap() as plain:
        assert exactly(plain, 13) == b"already plain"
        assert peer.drive(peer.buffer.read, 1) == b""
        plain.sendall(b"me too")
        assert exactly(peer.plain, 6) == b"me too"


def test_both_may_unwrap_at_once(ends: Any, threads: ThreadPoolExecutor) -> None:
    first, second = (threads.submit(side.unwrap) for side in ends)
    with first.result(PATIENCE) as one, second.result(PATIENCE) as other:
        one.sendall(b"ping")
        assert exactly(other, 4) == b"ping"
        other.sendall(b"pong")
        assert exactly(one, 4) == b"pong"


def test_data_that_was_not_received_is_an_error_and_is_not_discarded(
    one: Any, threads: ThreadPoolExecutor
) -> None:
    ours, peer = one
    peer.drive(peer.buffer.write, b"data")
    assert ours.recv(2) == b"da"
    with pytest.raises(TLSError) as caught:
        ours.unwrap()
    assert type(caught.value) is TLSError
    assert ours.fileno() != -1
    assert ours.recv(100) == b"ta"
    with answered(ours, peer, threads) as plain:
        plain.sendall(b"plain")
        assert exactly(peer.plain, 5) == b"plain"


def test_data_that_comes_before_the_answer_is_an_error_and_is_not_discarded(
    one: Any, threads: ThreadPoolExecutor
) -> None:
    ours, peer = one
    unwrapping = threads.submit(ours.unwrap)
    peer.buffer.write(b"late words")
    peer.plain.sendall(peer.take())
    # In TLS 1.2 nothing may come behind an answer (RFC 5246 7.2.1): the data goes before it.
    assert peer.drive(peer.buffer.read, 1) == b""
    peer.plain.sendall(peer.goodbye() + b"plain")
    error = unwrapping.exception(PATIENCE)
    assert type(error) is TLSError
    assert ours.recv(100) == b"late words"
    with ours.unwrap() as plain:
        assert exactly(plain, 5) == b"plain"


def test_unwrap_waits_no_longer_than_the_timeout_and_can_be_repeated(
    one: Any, threads: ThreadPoolExecutor
) -> None:
    ours, peer = one
    ours.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        ours.unwrap()
    assert ours.fileno() != -1
    ours.settimeout(PATIENCE)
    assert peer.drive(peer.buffer.read, 1) == b""
    peer.plain.sendall(peer.goodbye() + b"at last")
    with ours.unwrap() as plain:
        assert exactly(plain, 7) == b"at last"


def test_a_non_blocking_unwrap_raises_until_the_answer_is_there(one: Any) -> None:
    ours, peer = one
    ours.setblocking(False)
    for _ in range(2):
        with pytest.raises(WantReadError):
            ours.unwrap()
        assert ours.fileno() != -1
    assert peer.drive(peer.buffer.read, 1) == b""
    peer.plain.sendall(peer.goodbye() + b"plain")
    with selectors.DefaultSelector() as selector:
        selector.register(ours, selectors.EVENT_READ)
        while True:
            assert selector.select(PATIENCE), "nothing came"
            try:
                plain = ours.unwrap()
                break
            except (WantReadError, WantWriteError):
                continue
    with plain:
        assert plain.gettimeout() == 0.0
        plain.settimeout(PATIENCE)
        assert exactly(plain, 5) == b"plain"
        plain.setblocking(False)
        with pytest.raises(BlockingIOError):
            plain.recv(1)


def test_a_peer_that_goes_away_instead_is_told_as_such(
    one: Any, threads: ThreadPoolExecutor
) -> None:
    ours, peer = one
    unwrapping = threads.submit(ours.unwrap)
    if peer.buffer.negotiated_tls_version.value == "TLSv1.3":
        assert peer.drive(peer.buffer.read, 1) == b""
    else:
        # A buffer of TLS 1.2 would answer by itself.
        assert peer.plain.recv(65536)
    peer.plain.shutdown(socket.SHUT_WR)
    assert type(unwrapping.exception(PATIENCE)) is RaggedEOF
    assert ours.fileno() != -1
    ours.close(force=True)
    assert ours.fileno() == -1


def test_a_closed_socket_and_a_listener_cannot_be_unwrapped(lab: Any, ends: Any) -> None:
    client, _ = ends
    client.close(force=True)
    with lab.server().connect(("127.0.0.1", 0)) as listener:
        for side, number in ((client, errno.EBADF), (listener, errno.EINVAL)):
            with pytest.raises(OSError, match=r".") as caught:
                side.unwrap()
            assert caught.value.errno == number


@needs("wrap_socket")
def test_a_connection_can_be_wrapped_and_unwrapped_in_turn(upgrade: Upgrade) -> None:
    for _ in range(3):
        ours, peer = upgrade.go(), upgrade.peer
        ours.sendall(b"secret")
        assert peer.read(6) == b"secret"
        plain = answered(ours, peer, upgrade.threads)
        plain.sendall(b"plain")
        assert exactly(peer.plain, 5) == b"plain"
        upgrade.again(plain)


@needs("wrap_socket")
def test_a_stream_that_was_wrapped_is_given_back(lab: Any, threads: ThreadPoolExecutor) -> None:
    class Stream:
        """A socket that does not say so."""

        def __init__(self, plain: socket.socket) -> None:
            self.recv, self.send, self.close = plain.recv, plain.send, plain.close

    one, other = socket.socketpair()
    with one, other:
        stream = Stream(one)
        accepting = threads.submit(lab.server().wrap_socket, other)
        client = lab.client().wrap_socket(stream, lab.host)
        accepted = accepting.result(PATIENCE)
        unwrapping = threads.submit(accepted.unwrap)
        assert client.recv(1) == b""
        assert client.unwrap() is stream
        with unwrapping.result(PATIENCE) as plain:
            stream.send(b"plain")
            assert plain.recv(100) == b"plain"
