"""TLS over whatever carries bytes: sockets, TLS of either implementation, pipes, channels."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

import polytls
from polytls import NotTLSError, PeerMisbehaved, RaggedEOF, TLSError, WantReadError, WantWriteError
from polytls.streams import StreamSocket, wrap
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.lab import HOST, PATIENCE, Lab

LABS = {name: polytls.implementation(name) for name in ("rustls", "stdlib")}


@pytest.fixture(scope="module")
def labs(ca: CertificateAuthority) -> dict[str, Lab]:
    """What makes contexts and buffers of each implementation."""
    return {name: Lab(made, ca) for name, made in LABS.items()}


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that are joined at the end of the test."""
    with ThreadPoolExecutor() as executor:
        yield executor


@contextmanager
def tied() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname())
        other = listening.accept()[0]
    with one, other:
        for each in (one, other):
            each.settimeout(PATIENCE)
        yield one, other


@contextmanager
def dropped(*sides: Any) -> Iterator[None]:
    """Close all in the end, with force: over a channel an orderly end waits for the peer's."""
    with ExitStack() as closing:
        for side in sides:
            closing.callback(side.close, force=True)
        yield


def exchange(one: Any, other: Any, size: int) -> None:
    """Send `size` random bytes each way, at the same time, in pieces of all sizes."""
    failures: list[BaseException] = []

    def guarded(work: Callable[..., None], *given: Any) -> threading.Thread:
        def run() -> None:
            try:
                work(*given)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def send(side: Any, data: bytes) -> None:
        sizes = random.Random(len(data))
        view = memoryview(data)
        while view:
            piece = sizes.choice((1, 100, 1 << 14, (1 << 14) + 1, 200_000))
            side.sendall(view[:piece])
            view = view[piece:]

    def receive(side: Any, data: bytes) -> None:
        received = bytearray()
        while len(received) < len(data):
            piece = side.recv(70_000)
            assert piece, f"the end after {len(received)} bytes"
            received += piece
        assert received == data

    there, back = random.Random(1).randbytes(size), random.Random(2).randbytes(size)
    works = [
        guarded(send, one, there),
        guarded(receive, other, there),
        guarded(send, other, back),
        guarded(receive, one, back),
    ]
    for work in works:
        work.join(2 * PATIENCE)
    assert not failures
    assert not any(work.is_alive() for work in works)


def shake(
    threads: ThreadPoolExecutor, client: Any, server: Any, lab: Lab, **given: Any
) -> tuple[StreamSocket, StreamSocket]:
    """TLS of `lab` over both ends of a stream."""
    accepting = threads.submit(wrap, server, lab.server().create_buffer(), **given)
    connected = wrap(client, lab.client().create_buffer(HOST), **given)
    return connected, accepting.result(PATIENCE)


# --- TLS in TLS ---


@pytest.mark.parametrize("outer", LABS)
@pytest.mark.parametrize("inner", LABS)
def test_tls_in_tls_carries_much_both_ways_at_once(
    labs: dict[str, Lab], threads: ThreadPoolExecutor, outer: str, inner: str
) -> None:
    with labs[outer].server().connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        accepting = threads.submit(listener.accept)
        client = (
            labs[outer]
            .client()
            .connect(listener.getsockname(), server_hostname=HOST, timeout=PATIENCE)
        )
        server = accepting.result(PATIENCE)[0]
        server.settimeout(PATIENCE)
    one, other = shake(threads, client, server, labs[inner])
    with one, other:
        assert one.getpeername() == other.getsockname()
        assert one.info.implementation == inner
        assert one.fileno() == client.fileno()
        exchange(one, other, 3_000_000)
        # A selector sees nothing of what the lower one has opened: it must not be waited for.
        other.sendall(bytes(40_000))
        received = 0
        while received < 40_000:
            received += len(one.recv(1000))
    assert client.fileno() == server.fileno() == -1


def test_three_layers_of_tls(labs: dict[str, Lab], threads: ThreadPoolExecutor) -> None:
    with tied() as plain, ExitStack() as closing:
        pair: tuple[Any, Any] = plain
        for name in ("stdlib", "rustls", "stdlib"):
            pair = shake(threads, *pair, labs[name])
        for side in pair:
            closing.enter_context(side)
        exchange(*pair, 500_000)


@pytest.mark.parametrize("inner", LABS)
def test_tls_runs_over_the_ssl_modules_own_sockets(
    labs: dict[str, Lab], threads: ThreadPoolExecutor, ca: CertificateAuthority, inner: str
) -> None:
    client = ssl.create_default_context(cadata=ca.certificate_pem.decode())
    with tied() as (one, other):
        accepting = threads.submit(wrap, other, labs["stdlib"].server().create_buffer())
        with client.wrap_socket(one, server_hostname=HOST) as below:
            lower = accepting.result(PATIENCE)
            ours, theirs = shake(threads, below, lower, labs[inner])
            with ours, theirs:
                exchange(ours, theirs, 1_000_000)
                ours.setblocking(False)
                with pytest.raises(WantReadError):
                    ours.recv(1)


def test_what_the_lower_one_has_taken_and_not_sent_is_sent_by_a_call_that_only_reads(
    labs: dict[str, Lab], threads: ThreadPoolExecutor
) -> None:
    with tied() as (one, other):
        for each in (one, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lower = shake(threads, one, other, labs["stdlib"])
        ours, theirs = shake(threads, *lower, labs["rustls"])
        with ours, theirs:
            ours.setblocking(False)
            sent = 0
            with suppress(WantWriteError):
                while True:
                    sent += ours.send(bytes(50_000))
            assert ours.outgoing_bytes_buffered() > 0

            def answer() -> None:
                left = sent
                while left:
                    left -= len(theirs.recv(65536))
                theirs.sendall(b"all of it")

            ours.settimeout(PATIENCE)
            answering = threads.submit(answer)
            assert ours.recv(100) == b"all of it"
            answering.result(PATIENCE)
            assert ours.outgoing_bytes_buffered() == 0


@pytest.mark.parametrize("outer", LABS)
@pytest.mark.parametrize("inner", LABS)
def test_inner_tls_ends_and_outer_tls_goes_on(
    labs: dict[str, Lab], threads: ThreadPoolExecutor, outer: str, inner: str
) -> None:
    with tied() as plain:
        lower = shake(threads, *plain, labs[outer])
        upper = shake(threads, *lower, labs[inner])
        upper[0].sendall(b"last")
        assert upper[1].recv(100) == b"last"
        unwrapping = threads.submit(upper[0].unwrap)
        assert upper[1].recv(100) == b""
        given = upper[1].unwrap(), unwrapping.result(PATIENCE)
        assert given == (lower[1], lower[0])
        with lower[0], lower[1]:
            assert lower[0].gettimeout() == PATIENCE
            exchange(*lower, 100_000)


# --- streams without a descriptor ---


class PipeEnds:
    """What has to be there, and no more: calls block, and there is no time."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self.closed = False

    def recv(self, bufsize: int) -> bytes:
        return os.read(self._reading, bufsize)

    def send(self, data: bytes) -> int:
        assert type(data) is bytes
        return os.write(self._writing, data)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._reading)
            os.close(self._writing)


def pipes() -> tuple[PipeEnds, PipeEnds]:
    (first, second), (third, fourth) = os.pipe(), os.pipe()
    return PipeEnds(first, fourth), PipeEnds(third, second)


class Channel:
    """As paramiko's: a window that closes, `settimeout`, and a descriptor that tells of reading."""

    WINDOW = 20_000

    def __init__(self) -> None:
        self.other: Channel = self
        self.closed = self.ended = False
        self._timeout: float | None = None
        self._changed = threading.Condition()
        self._arrived: deque[bytes] = deque()
        self._pipe = os.pipe()

    def fileno(self) -> int:
        return self._pipe[0]

    def settimeout(self, value: float | None) -> None:
        self._timeout = value

    def gettimeout(self) -> float | None:
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        self._timeout = None if flag else 0.0

    def recv(self, bufsize: int) -> bytes:
        with self._changed:
            if not self._changed.wait_for(lambda: self._arrived or self.ended, self._timeout):
                raise TimeoutError
            if not self._arrived:
                return b""
            data = self._arrived.popleft()
            if len(data) > bufsize:
                self._arrived.appendleft(data[bufsize:])
            self._changed.notify_all()
            return data[:bufsize]

    def send(self, data: bytes) -> int:
        other = self.other
        with other._changed:
            room = Channel.WINDOW - sum(map(len, other._arrived))
            if room <= 0 and not other._changed.wait_for(
                lambda: other.ended or sum(map(len, other._arrived)) < Channel.WINDOW, self._timeout
            ):
                raise TimeoutError
            if self.closed or other.closed:
                return 0
            room = Channel.WINDOW - sum(map(len, other._arrived))
            other._arrived.append(bytes(data[:room]))
            other._changed.notify_all()
            return len(data[:room])

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            for each in self._pipe:
                os.close(each)
            for channel in (self, self.other):
                with channel._changed:
                    channel.ended = True
                    channel._changed.notify_all()


def channels() -> tuple[Channel, Channel]:
    one, other = Channel(), Channel()
    one.other, other.other = other, one
    return one, other


def socketpair() -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    one.settimeout(PATIENCE)
    other.settimeout(PATIENCE)
    return one, other


STREAMS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "pipes": pipes,
    "channels": channels,
    "socketpair": socketpair,
}
each_stream = pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
each_lab = pytest.mark.parametrize("name", LABS)


@each_stream
@each_lab
def test_any_stream_carries_much_both_ways_at_once(
    labs: dict[str, Lab], threads: ThreadPoolExecutor, make: Any, name: str
) -> None:
    one, other = shake(threads, *make(), labs[name])
    with dropped(one, other):
        exchange(one, other, 1_000_000)


@each_stream
def test_data_comes_before_the_end_and_the_end_is_orderly(
    labs: dict[str, Lab], threads: ThreadPoolExecutor, make: Any
) -> None:
    below = make()
    one, other = shake(threads, *below, labs["stdlib"])
    one.sendall(b"last words")
    closing = threads.submit(one.close)
    assert other.recv(100) == b"last words"
    assert other.recv(100) == b""
    other.close()
    closing.result(PATIENCE)
    for side in below:
        assert side.fileno() == -1 if isinstance(side, socket.socket) else side.closed


@each_stream
def test_the_end_of_the_stream_without_goodbye_is_told(
    labs: dict[str, Lab], threads: ThreadPoolExecutor, make: Any
) -> None:
    below = make()
    one, other = shake(threads, *below, labs["stdlib"])
    with one, dropped(other):
        other.sendall(b"data")
        if make is socketpair:
            os.close(other.detach())
        else:
            below[1].close()
        assert one.recv(100) == b"data"
        with pytest.raises(RaggedEOF):
            one.recv(100)


def test_over_a_channel_the_peers_end_tells_that_all_was_delivered(
    labs: dict[str, Lab], threads: ThreadPoolExecutor
) -> None:
    below = channels()
    for channel in below:
        channel.settimeout(PATIENCE)
    one, other = shake(threads, *below, labs["stdlib"])
    one.sendall(b"last words")
    closing = threads.submit(one.close)
    assert other.recv(100) == b"last words"
    assert other.recv(100) == b""
    assert not closing.done()
    # It has nothing to say.
    other.close()
    closing.result(PATIENCE)


def test_over_a_channel_a_peer_that_does_not_end_is_told_by_a_timeout(
    labs: dict[str, Lab], threads: ThreadPoolExecutor
) -> None:
    below = channels()
    for channel in below:
        channel.settimeout(PATIENCE)
    one, other = shake(threads, *below, labs["stdlib"])
    with dropped(one, other):
        one.sendall(b"last words")
        one.settimeout(0.05)
        with pytest.raises(TimeoutError, match="bytes"):
            one.close()
        assert below[0].closed


@pytest.mark.parametrize("make", [pipes, channels])
def test_tls_in_tls_over_a_stream_without_a_descriptor(
    labs: dict[str, Lab], threads: ThreadPoolExecutor, make: Any
) -> None:
    pair = shake(threads, *make(), labs["stdlib"])
    one, other = shake(threads, *pair, labs["rustls"])
    with dropped(one, other):
        assert one.fileno() == -1
        exchange(one, other, 300_000)


def test_a_channel_gives_timeouts(labs: dict[str, Lab], threads: ThreadPoolExecutor) -> None:
    below = channels()
    for channel in below:
        channel.settimeout(PATIENCE)
    one, other = shake(threads, *below, labs["stdlib"])
    with dropped(one, other):
        assert one.gettimeout() == PATIENCE
        one.settimeout(0.05)
        with pytest.raises(TimeoutError) as caught:
            one.recv(1)
        assert not isinstance(caught.value, TLSError)
        with pytest.raises(TimeoutError):
            one.sendall(bytes(1_000_000))
        # What was taken goes out with later calls.
        one.settimeout(PATIENCE)
        reading = threads.submit(lambda: other.recv(10))
        assert reading.result(PATIENCE)
        # A thread that waits for long does not lend its time to one that waits shortly.
        waiting = threads.submit(one.recv, 1)
        other.settimeout(0.05)
        other.sendall(b"x")
        assert waiting.result(PATIENCE) == b"x"


def test_a_handshake_over_a_channel_keeps_to_its_time(labs: dict[str, Lab]) -> None:
    one, other = channels()
    with pytest.raises(TimeoutError):
        wrap(one, labs["stdlib"].client().create_buffer(HOST), timeout=0.05)
    assert one.closed
    other.close()


@pytest.mark.parametrize(("make", "value"), [(pipes, 0.0), (pipes, 5.0), (channels, 0.0)])
def test_what_a_stream_cannot_do_is_refused_and_the_stream_left_alone(
    labs: dict[str, Lab], threads: ThreadPoolExecutor, make: Any, value: float
) -> None:
    below = make()
    with pytest.raises(ValueError, match="timeout"):
        wrap(below[0], labs["stdlib"].client().create_buffer(HOST), timeout=value)
    assert not below[0].closed
    one, other = shake(threads, *below, labs["stdlib"])
    with dropped(one, other):
        with pytest.raises(ValueError, match="timeout"):
            one.settimeout(value)
        if not value:
            with pytest.raises(ValueError, match="timeout"):
                one.setblocking(False)
        assert one.gettimeout() is None
        assert one.getblocking() is True
        exchange(one, other, 1000)


def test_facts_of_a_socket_are_missing_where_there_is_none(
    labs: dict[str, Lab], threads: ThreadPoolExecutor
) -> None:
    one, other = shake(threads, *pipes(), labs["stdlib"])
    with one, other:
        assert one.fileno() == -1
        assert (one.family, one.type, one.proto) == (socket.AF_UNSPEC, socket.SOCK_STREAM, 0)
        for call in (
            one.getsockname,
            one.getpeername,
            one.detach,
            lambda: one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
        ):
            with pytest.raises(OSError, match="underlying stream") as caught:
                call()
            assert not isinstance(caught.value, TLSError)
        assert "without an address" in repr(one)
        assert isinstance(one, polytls.SupportsSocketOptions)


def test_closing_wakes_a_thread_that_waits_in_a_channel(
    labs: dict[str, Lab], threads: ThreadPoolExecutor
) -> None:
    one, other = shake(threads, *channels(), labs["stdlib"])
    with other:
        waiting = threads.submit(one.recv, 1)
        one.close(force=True)
        with pytest.raises(OSError, match="closed"):
            waiting.result(PATIENCE)


def test_files_go_over_any_stream(labs: dict[str, Lab], threads: ThreadPoolExecutor) -> None:
    one, other = shake(threads, *pipes(), labs["stdlib"])
    with one, other, one.makefile("rw", newline="\n") as here, other.makefile("rw") as there:
        for number in range(100):
            here.write(f"line {number}\n")
        here.flush()
        assert [there.readline() for _ in range(100)] == [f"line {n}\n" for n in range(100)]


# --- buffers that have the PEP's methods and no more ---


class BareBuffer:
    """A third party's buffer: nothing optional, and it can be told from no other."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer
        for name in (
            "read",
            "write",
            "do_handshake",
            "cipher",
            "negotiated_protocol",
            "shutdown",
            "process_incoming",
            "incoming_bytes_buffered",
            "process_outgoing",
            "outgoing_bytes_buffered",
            "getpeercert",
        ):
            setattr(self, name, getattr(buffer, name))

    @property
    def context(self) -> Any:
        return self._buffer.context

    @property
    def negotiated_tls_version(self) -> Any:
        return self._buffer.negotiated_tls_version


@each_stream
@each_lab
def test_a_buffer_with_nothing_optional_is_enough(
    labs: dict[str, Lab], threads: ThreadPoolExecutor, make: Any, name: str
) -> None:
    lab = labs[name]
    below = make()
    accepting = threads.submit(wrap, below[1], BareBuffer(lab.server().create_buffer()))
    one = wrap(below[0], BareBuffer(lab.client().create_buffer(HOST)))
    other = accepting.result(PATIENCE)
    with one, other:
        exchange(one, other, 300_000)
        assert one.info.implementation == ""
        other.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""
        unwrapping = threads.submit(other.unwrap)
        back = one.unwrap()
        there = unwrapping.result(PATIENCE)
        back.send(b"plain")
        assert there.recv(100) == b"plain"
        back.close()
        there.close()


# --- what came before ---


@each_stream
def test_a_client_refuses_what_is_there_before_it_speaks(labs: dict[str, Lab], make: Any) -> None:
    one, other = make()
    if make is pipes:  # It cannot look without waiting: the caller has to have looked.
        with pytest.raises(PeerMisbehaved):
            wrap(one, labs["stdlib"].client().create_buffer(HOST), leftover=b"220 injected\r\n")
    else:
        other.send(b"220 injected\r\n")
        with pytest.raises(PeerMisbehaved):
            wrap(one, labs["stdlib"].client().create_buffer(HOST))
    assert one.fileno() == -1 if isinstance(one, socket.socket) else one.closed
    other.close()


def test_a_client_refuses_what_an_outer_tls_has_received(
    labs: dict[str, Lab], threads: ThreadPoolExecutor
) -> None:
    with tied() as plain:
        lower = shake(threads, *plain, labs["stdlib"])
        lower[1].sendall(b"200 and more")
        assert lower[0].recv(4) == b"200 "
        assert lower[0].pending() == 8
        with pytest.raises(PeerMisbehaved):
            wrap(lower[0], labs["rustls"].client().create_buffer(HOST))
        assert lower[0].fileno() == -1
        with contextlib.suppress(OSError):
            lower[1].close(force=True)


@pytest.mark.parametrize(
    "leftover",
    [b"\x15", b"\x16\x02", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x00\x05\x02", b"GET / HTTP/1.1"],
)
def test_a_server_refuses_what_begins_no_client_hello(
    labs: dict[str, Lab], leftover: bytes
) -> None:
    one, other = pipes()
    with pytest.raises(NotTLSError, match=leftover[:8].hex(" ")):
        wrap(one, labs["stdlib"].server().create_buffer(), leftover=leftover)
    assert one.closed
    other.close()


@pytest.mark.parametrize("wrong", [7, None, b"bytes", object()])
def test_what_is_no_stream_is_refused(labs: dict[str, Lab], wrong: Any) -> None:
    with pytest.raises(TypeError, match="sock must have recv, send and close"):
        wrap(wrong, labs["stdlib"].client().create_buffer(HOST))


def test_datagrams_are_refused(labs: dict[str, Lab]) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        with pytest.raises(ValueError, match="stream socket"):
            wrap(one, labs["stdlib"].client().create_buffer(HOST))
        one.send(b"still here")
        assert other.recv(100) == b"still here"
