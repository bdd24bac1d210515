"""What was accepted is delivered, or told, whichever way a connection over a socket ends.

Delivered means acknowledged by the peer's TCP. A socket that is closed with something unread, or
that receives something afterwards, answers with a reset, and that destroys what is on its way.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from polytls import TLSError, TLSVersion, WantReadError, WantWriteError
from polytls.testing.conformance.lab import PATIENCE, Lab, Whole, give_up
from polytls.testing.conformance.raw_peer import RawPeer
from polytls.testing.conformance.selection import needs

#: What the peer's system keeps of what the peer has not read, at most.
ROOM = 8192
#: More than that and what our own system keeps.
MUCH = 300_000
#: How long `close` waits at most, in seconds, and what that must not exceed on a busy machine.
LIMIT, LATE = 5.0, 15.0
SHORT = 0.2


@dataclass
class Narrow:
    """A socket whose peer has little room, and has not said all that comes with its handshake."""

    ours: Any
    peer: RawPeer
    #: What the peer says later: the tickets of a TLS 1.3 server, or data that nobody asked for.
    late: bytes

    def read_slowly(self) -> bytes:
        """Be a peer that reads slowly, says `late` on the way, and reads to the end."""
        for _ in range(5):
            time.sleep(0.02)
            self.peer.buffer.process_incoming(self.peer.plain.recv(4096))
        self.peer.plain.sendall(self.late)
        data = bytearray()
        while piece := self.peer.drive(self.peer.buffer.read, 65536):
            data += piece
        return bytes(data)


def handshake(peer: RawPeer, *, serves: bool, version: TLSVersion) -> bytes:
    """Do the peer's side; return what it may say later."""
    while True:
        try:
            peer.buffer.do_handshake()
        except WantReadError:
            peer.flush()
            peer.buffer.process_incoming(peer.plain.recv(65536))
        else:
            break
    if serves and version is TLSVersion.TLSv1_3:
        return peer.take()
    peer.flush()
    peer.buffer.write(b"late")
    return peer.take()


@pytest.fixture(params=["client", "server"])
def narrow(
    request: pytest.FixtureRequest, lab: Lab, version: TLSVersion, threads: ThreadPoolExecutor
) -> Iterator[Narrow]:
    """A socket on either side, and a raw peer of it."""
    with ExitStack() as closing:
        if request.param == "client":
            there = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
            there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
            connecting = threads.submit(
                lab.client(version=version).connect,
                there.getsockname(),
                server_hostname=lab.host,
                timeout=PATIENCE,
            )
            plain = closing.enter_context(there.accept()[0])
            peer = RawPeer(lab.server().create_buffer(), plain)
            late = handshake(peer, serves=True, version=version)
            ours = connecting.result(PATIENCE)
        else:
            listener = closing.enter_context(lab.server().connect(("127.0.0.1", 0)))
            listener.settimeout(PATIENCE)
            accepting = threads.submit(listener.accept)
            plain = closing.enter_context(socket.socket())
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
            plain.connect(listener.getsockname())
            peer = RawPeer(lab.client(version=version).create_buffer(lab.host), plain)
            late = handshake(peer, serves=False, version=version)
            ours = accepting.result(PATIENCE)[0]
        closing.callback(give_up, ours)
        ours.settimeout(PATIENCE)
        yield Narrow(ours, peer, late)


# --- all of it arrives ---


def close(ours: Any) -> None:
    ours.close()


def leave(ours: Any) -> None:
    with ours:
        pass


def force_after_shut_wr(ours: Any) -> None:
    ours.shutdown(socket.SHUT_WR)
    ours.close(force=True)


def close_after_shut_rdwr(ours: Any) -> None:
    ours.shutdown(socket.SHUT_RDWR)
    ours.close()


def close_after_shut_rd(ours: Any) -> None:
    ours.shutdown(socket.SHUT_RD)
    ours.close()


def close_the_last_file(ours: Any) -> None:
    with ours.makefile("rb"):
        ours.close()


@pytest.mark.parametrize(
    "end",
    [
        close,
        leave,
        pytest.param(force_after_shut_wr, marks=needs("shutdown")),
        pytest.param(close_after_shut_rd, marks=needs("shutdown")),
        pytest.param(close_after_shut_rdwr, marks=needs("shutdown")),
        pytest.param(close_the_last_file, marks=needs("makefile")),
    ],
    ids=lambda end: end.__name__,
)
def test_all_that_was_sent_arrives_whichever_way_it_ends(
    narrow: Narrow, threads: ThreadPoolExecutor, rng: Any, end: Callable[[Any], None]
) -> None:
    data = rng.randbytes(MUCH)
    narrow.ours.sendall(data)
    reading = threads.submit(narrow.read_slowly)
    end(narrow.ours)
    assert narrow.ours.fileno() == -1
    assert reading.result(PATIENCE) == Whole(data)


def test_an_upload_is_whole(lab: Lab, threads: ThreadPoolExecutor, rng: Any) -> None:
    """As FTP uploads: a connection that only writes, to a server that says its tickets late."""
    data = rng.randbytes(3_000_000)
    with socket.create_server(("127.0.0.1", 0)) as there:

        def serve() -> bytes:
            with there.accept()[0] as plain:
                peer = RawPeer(lab.server().create_buffer(), plain)
                late = handshake(peer, serves=True, version=TLSVersion.TLSv1_3)
                return Narrow(None, peer, late).read_slowly()

        serving = threads.submit(serve)
        with lab.client(version=TLSVersion.TLSv1_3).connect(
            there.getsockname(), server_hostname=lab.host, timeout=PATIENCE
        ) as upload:
            for start in range(0, len(data), 8192):
                upload.sendall(data[start : start + 8192])
        assert serving.result(PATIENCE) == Whole(data)


def test_a_thread_that_waits_to_receive_does_not_cost_data(
    narrow: Narrow, threads: ThreadPoolExecutor, rng: Any
) -> None:
    data = rng.randbytes(MUCH)

    def receive() -> None:
        with suppress(OSError):
            while narrow.ours.recv(65536):
                pass

    receiving = threads.submit(receive)
    narrow.ours.sendall(data)
    reading = threads.submit(narrow.read_slowly)
    narrow.ours.close()
    assert reading.result(PATIENCE) == Whole(data)
    receiving.result(PATIENCE)


def test_close_reads_out_what_keeps_the_peer_from_reading(
    narrow: Narrow, threads: ThreadPoolExecutor, rng: Any
) -> None:
    data = rng.randbytes(MUCH)
    narrow.ours.sendall(data)

    def talk_and_then_read() -> bytes:
        for _ in range(100):
            narrow.peer.drive(narrow.peer.buffer.write, bytes(50_000))
        return narrow.read_slowly()

    narrow.peer.plain.sendall(narrow.late)
    narrow.late = b""
    reading = threads.submit(talk_and_then_read)
    narrow.ours.close()
    assert reading.result(PATIENCE) == Whole(data)


# --- or it is told ---


def test_a_reset_of_what_was_not_delivered_is_an_error(
    narrow: Narrow, threads: ThreadPoolExecutor
) -> None:
    narrow.ours.sendall(bytes(MUCH))
    closing = threads.submit(narrow.ours.close)
    time.sleep(SHORT)
    assert not closing.done()
    narrow.peer.reset()
    with pytest.raises(ConnectionError) as caught:
        closing.result(PATIENCE)
    assert not isinstance(caught.value, TLSError)
    assert narrow.ours.fileno() == -1


@pytest.mark.parametrize("end", [close, leave], ids=lambda end: end.__name__)
def test_a_peer_that_takes_too_long_is_told_by_a_timeout(
    narrow: Narrow, end: Callable[[Any], None]
) -> None:
    narrow.ours.sendall(bytes(MUCH))
    narrow.ours.settimeout(SHORT)
    with pytest.raises(TimeoutError, match="bytes"):
        end(narrow.ours)
    assert narrow.ours.fileno() == -1


@pytest.mark.parametrize("version", [TLSVersion.TLSv1_3], ids=["TLSv1.3"])
@pytest.mark.parametrize("narrow", ["client"], indirect=True)
@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_close_waits_five_seconds_at_most(narrow: Narrow, timeout: float | None) -> None:
    narrow.ours.sendall(bytes(MUCH))
    narrow.ours.settimeout(timeout)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        narrow.ours.close()
    assert LIMIT - 0.1 <= time.monotonic() - start < LATE
    assert narrow.ours.fileno() == -1


def test_an_exception_waits_for_nothing(narrow: Narrow) -> None:
    narrow.ours.sendall(bytes(MUCH))
    with pytest.raises(ZeroDivisionError), narrow.ours:
        _ = 1 / 0
    assert narrow.ours.fileno() == -1


def test_leaving_never_waits_on_a_non_blocking_socket_and_tells_what_was_not_taken(
    narrow: Narrow,
) -> None:
    ours = narrow.ours
    ours.setblocking(False)
    with suppress(WantWriteError):
        while True:
            ours.send(bytes(65536))
    with pytest.raises(TimeoutError, match="bytes"):
        leave(ours)
    assert ours.fileno() == -1


def test_what_the_system_has_taken_arrives_after_leaving_a_non_blocking_socket(one: Any) -> None:
    ours, peer = one
    ours.setblocking(False)
    with ours:
        ours.sendall(b"last words")
    assert ours.fileno() == -1
    assert peer.read(10) == b"last words"
    assert peer.drive(peer.buffer.read, 1) == b""


# --- and nothing else matters ---


def exchange(ours: Any, peer: RawPeer) -> None:
    """A request and its answer."""
    ours.sendall(b"request")
    assert peer.read(7) == b"request"
    peer.drive(peer.buffer.write, b"answer")
    assert ours.recv(6) == b"answer"


@pytest.mark.parametrize("how", ["end", "reset", "silence"])
@pytest.mark.parametrize("end", [close, leave], ids=lambda end: end.__name__)
def test_after_a_complete_exchange_it_does_not_matter_how_the_peer_goes(
    one: Any, how: str, end: Callable[[Any], None]
) -> None:
    ours, peer = one
    exchange(ours, peer)
    if how == "end":
        peer.plain.close()
    elif how == "reset":
        peer.reset()
    end(ours)
    assert ours.fileno() == -1


def test_a_ragged_end_that_was_told_before_is_not_told_again(one: Any) -> None:
    ours, peer = one
    exchange(ours, peer)
    peer.plain.close()
    with pytest.raises(TLSError):
        ours.recv(1)
    ours.close()


@pytest.mark.parametrize("sends", [False, True])
def test_a_peer_that_streams_for_ever_is_not_read_for_its_own_sake(
    one: Any, threads: ThreadPoolExecutor, sends: bool
) -> None:
    ours, peer = one

    def stream() -> None:
        with suppress(OSError):  # The end of it.
            while True:
                peer.drive(peer.buffer.write, bytes(50_000))

    streaming = threads.submit(stream)
    assert ours.recv(1)
    if sends:
        ours.sendall(b"enough")
    ours.close()
    assert ours.fileno() == -1
    streaming.result(PATIENCE)


def test_connections_that_are_kept_alive_close_at_once(
    lab: Lab, threads: ThreadPoolExecutor
) -> None:
    client = lab.client()
    with ExitStack() as closing, lab.server().connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        idle = []
        for _ in range(50):
            accepting = threads.submit(listener.accept)
            made = client.connect(
                listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
            )
            closing.callback(give_up, made)
            accepted, _ = accepting.result(PATIENCE)
            closing.callback(give_up, accepted)
            idle.append(made)
        start = time.monotonic()
        for each in idle:
            each.close()
        # One that waits for its peer's goodbye takes this long.
        assert time.monotonic() - start < LIMIT


def test_silent_clients_do_not_hold_up_a_server_that_serves_one_at_a_time(
    lab: Lab, threads: ThreadPoolExecutor
) -> None:
    client, served = lab.client(), 5
    with ExitStack() as closing, lab.server().connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def serve() -> float:
            start = time.monotonic()
            for _ in range(served):
                with listener.accept()[0] as connection:
                    connection.settimeout(PATIENCE)
                    connection.sendall(b"hello")
            return time.monotonic() - start

        serving = threads.submit(serve)
        for _ in range(served):
            silent = client.connect(
                listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
            )
            closing.callback(give_up, silent)
        assert serving.result(PATIENCE) < LIMIT


class Rendezvous:
    """One end of a stream that keeps nothing: `send` returns when the other end has received."""

    def __init__(self) -> None:
        self.other = self
        self._changed = threading.Condition()
        self._coming = b""
        self._ended = False

    def recv(self, bufsize: int) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._coming or self._ended, PATIENCE)
            data, self._coming = self._coming[:bufsize], self._coming[bufsize:]
            self._changed.notify_all()
            return data

    def send(self, data: bytes) -> int:
        other = self.other
        with other._changed:
            other._coming = bytes(data)
            other._changed.notify_all()
            other._changed.wait_for(lambda: not other._coming or other._ended, PATIENCE)
            return len(data) - len(other._coming)

    sendall = send

    def settimeout(self, value: float | None) -> None:
        """There is no such thing. For RawPeer alone; ours is not to find it."""

    def close(self) -> None:
        for end in (self, self.other):
            with end._changed:
                end._ended = True
                end._changed.notify_all()


class Timeless:
    """A stream with what has to be there, and no more."""

    def __init__(self, stream: Rendezvous) -> None:
        self.recv, self.send, self.close = stream.recv, stream.send, stream.close


@needs("wrap_socket")
def test_a_servers_handshake_does_not_wait_until_the_client_takes_tickets(
    lab: Lab, threads: ThreadPoolExecutor, version: TLSVersion
) -> None:
    here, there = Rendezvous(), Rendezvous()
    here.other, there.other = there, here
    peer = RawPeer(lab.client(version=version).create_buffer(lab.host), there)  # type: ignore[arg-type]
    with ExitStack() as closing:
        closing.callback(here.close)
        wrapping = threads.submit(lab.server().wrap_socket, Timeless(here))
        peer.drive(peer.buffer.do_handshake)
        # Nobody receives here before the request is sent.
        peer.buffer.write(b"request")
        asking = threads.submit(peer.flush)
        ours = wrapping.result(PATIENCE)
        closing.callback(ours.close, force=True)
        closing.callback(here.close)
        assert ours.recv(7) == b"request"
        asking.result(PATIENCE)
        answering = threads.submit(ours.sendall, b"answer")
        assert peer.read(6) == b"answer"
        answering.result(PATIENCE)


@needs("makefile")
def test_a_file_that_is_closed_last_tells_what_was_not_delivered(narrow: Narrow) -> None:
    narrow.ours.sendall(bytes(MUCH))
    narrow.ours.settimeout(SHORT)
    file = narrow.ours.makefile("rb")
    narrow.ours.close()
    with pytest.raises(TimeoutError, match="bytes"):
        file.close()
    assert narrow.ours.fileno() == -1
