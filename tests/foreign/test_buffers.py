"""Third parties' buffers under the core's connections: what a connection makes of what they do."""

from __future__ import annotations

import gc
import signal
import threading
import traceback
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from foreign.wrapped import HOST, a_pair, client_context
from polytls import (
    NotTLSError,
    PeerMisbehaved,
    RaggedEOF,
    TLSError,
    TLSVersion,
    WantReadError,
    WantWriteError,
    _native,
)
from polytls.testing.conformance.driven import Wrapped

VERSIONS = [TLSVersion.TLSv1_2, TLSVersion.TLSv1_3]
#: More than one record.
MUCH = bytes(range(256)) * 400


class Odd(Exception):
    """Of this test's own implementation; its constructor does not take what it was made of."""

    def __init__(self, *, number: int) -> None:
        super().__init__(f"number {number}")
        self.number = number


class Plain(Exception):
    """The same, with nothing odd about it."""


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


# --- what it does right ---


@pytest.mark.parametrize("version", VERSIONS)
def test_data_goes_both_ways_and_both_directions_close(version: TLSVersion) -> None:
    pair, wrapped = a_pair(version)
    pair.handshake()
    assert pair.client.negotiated_tls_version is version
    assert pair.client.cipher() == wrapped.cipher() == pair.server.cipher()
    assert pair.client.getpeercert() == wrapped.getpeercert()
    assert pair.client.info.version is version
    assert pair.client.context is wrapped.context
    assert pair.send(pair.client, MUCH) == MUCH
    assert pair.send(pair.server, MUCH) == MUCH
    with pytest.raises(WantReadError):
        pair.client.shutdown()
    with pytest.raises(TLSError, match="shut down"):
        pair.client.write(b"more")
    pair.transfer()
    assert pair.server.read(1) == b""
    pair.server.shutdown()
    pair.transfer()
    pair.client.shutdown()
    assert pair.client.read(1) == b""


def test_its_own_buffers_are_returned_as_they_are() -> None:
    buffer = client_context().create_buffer(HOST)
    assert _native.connection_of(buffer) is buffer


def test_it_is_shown_one_record_at_a_time_in_bytes_that_stay() -> None:
    shown: list[Any] = []

    class Watching(Wrapped):
        def process_incoming(self, data: Any) -> None:
            shown.append(data)
            self.inner.process_incoming(data)

    pair, _ = a_pair(kind=Watching)
    pair.handshake()
    assert pair.send(pair.server, b"behind the tickets") == b"behind the tickets"
    del shown[:]
    assert pair.send(pair.server, MUCH) == MUCH
    assert len(shown) == -(-len(MUCH) // 16384)
    assert all(type(record) is bytes for record in shown)
    assert all(len(record) == 5 + int.from_bytes(record[3:5], "big") for record in shown)


def test_the_end_of_the_transport_is_the_connections_affair() -> None:
    pair, wrapped = a_pair()
    pair.handshake()
    pair.server.write(b"before it")
    pair.transfer()
    pair.client.process_incoming(b"")
    assert pair.client.read(100) == b"before it"
    for _ in range(2):
        with pytest.raises(RaggedEOF):
            pair.client.read(100)
    with pytest.raises(WantReadError):
        wrapped.read(100)


def test_plain_http_is_told_apart() -> None:
    pair, _ = a_pair()
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    pair.client.process_incoming(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    for _ in range(2):
        with pytest.raises(NotTLSError, match="plain HTTP"):
            pair.client.do_handshake()


def test_a_record_that_cannot_be_ends_the_connection_with_an_alert() -> None:
    pair, _ = a_pair()
    pair.handshake()
    pair.client.process_incoming(b"\x17\x03\x03\xff\xff")
    for _ in range(2):
        with pytest.raises(PeerMisbehaved, match="too large"):
            pair.client.read(1)
    assert pair.client.outgoing_bytes_buffered() > 0


@pytest.mark.parametrize("most", [1, 100])
def test_short_writes_are_completed(most: int) -> None:
    class Short(Wrapped):
        def write(self, buf: Any) -> int:
            taken: int = self.inner.write(memoryview(buf)[:most])
            return taken

    pair, _ = a_pair(kind=Short)
    pair.handshake()
    assert pair.client.write(b"a" * 300) == 300
    pair.transfer()
    assert pair.server.read(300) == b"a" * 300


def test_wants_are_outcomes() -> None:
    class Wanting(Wrapped):
        def __init__(self, inner: Any) -> None:
            super().__init__(inner)
            self.refuses: list[type[TLSError]] = []

        def write(self, buf: Any) -> int:
            if self.refuses:
                raise self.refuses.pop(0)
            taken: int = self.inner.write(memoryview(buf)[:10])
            return taken

    pair, wrapped = a_pair(kind=Wanting)
    pair.handshake()
    wrapped.refuses = [WantReadError]  # type: ignore[attr-defined]
    with pytest.raises(WantReadError):
        pair.client.write(b"first")
    assert pair.client.write(b"second") == 6
    # What was taken over before it wanted something is sealed as soon as it can be.
    real = wrapped.inner.write

    def once(buf: Any) -> int:
        wrapped.refuses = [WantReadError]  # type: ignore[attr-defined]
        taken: int = real(buf)
        return taken

    wrapped.inner = _With(wrapped.inner, write=once)
    assert pair.client.write(b"0123456789abcdef") == 16
    wrapped.inner = wrapped.inner.inner
    assert pair.client.write(b" third") == 6
    pair.transfer()
    assert pair.server.read(100) == b"second0123456789abcdef third"
    assert not pair.client.outgoing_bytes_buffered()
    # With nothing to be sent there is nothing to wait for.
    wrapped.refuses = [WantWriteError]  # type: ignore[attr-defined]
    with pytest.raises(TLSError, match=r"Wanting\.write\(\).*nothing to send.*breaks PEP 748"):
        pair.client.write(b"more")


class _With:
    """An object with other methods."""

    def __init__(self, inner: Any, **methods: Any) -> None:
        self.inner = inner
        self.__dict__ |= methods

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


# --- what it does wrong ---


@pytest.mark.parametrize(
    ("method", "returns", "found"),
    [
        ("write", -1, "returned -1, which must be 0 to 5"),
        ("write", 6, "returned 6, which must be 0 to 5"),
        ("write", 1 << 70, "which must be 0 to 5"),
        ("write", None, "returned NoneType, expected int"),
        ("write", 2.0, "returned float, expected int"),
        ("write", 0, "accepted nothing"),
        ("outgoing_bytes_buffered", -1, "returned -1"),
        ("process_outgoing", "text", "returned str, expected bytes"),
        ("process_outgoing", b"", "returned nothing, though"),
        ("process_outgoing", bytes(1 << 20), "returned 1048576 bytes where"),
        ("read", 5, "returned int, expected bytes"),
        ("read", None, "returned NoneType, expected bytes"),
        ("read", bytes(16385), "returned 16385 bytes where 16384 were asked for"),
        ("read", b"a" * 16384, "more plaintext than it got ciphertext"),
        ("negotiated_tls_version", None, "neither TLSv1_2 nor TLSv1_3"),
    ],
)
def test_what_cannot_be_is_the_authors_error_and_told_again(
    method: str, returns: Any, found: str
) -> None:
    pair, wrapped = a_pair()
    early = method == "negotiated_tls_version"
    if early:
        wrapped.__dict__[method] = returns
    else:
        pair.handshake()
        wrapped.__dict__[method] = lambda *_: returns

    def call() -> None:
        if early:
            pair.handshake()
        elif method == "read":
            pair.server.write(b"data!")
            pair.transfer()
            pair.client.read(100)
        else:
            pair.client.write(b"data!")

    for _ in range(2):
        with pytest.raises(
            TLSError,
            match=rf"internal error: polytls\.testing\.conformance\.driven\.Wrapped.*{found}",
        ):
            call()


def test_a_buffer_that_takes_no_record_is_told_so() -> None:
    class Full(Wrapped):
        def process_incoming(self, data: Any) -> None:
            raise WantReadError

    pair, _ = a_pair(kind=Full)
    with pytest.raises(TLSError, match=r"Full\.process_incoming\(\) accepts no record"):
        pair.handshake()


def test_a_buffer_that_uses_its_own_connection_gets_an_error() -> None:
    class Curious(Wrapped):
        connection: Any = None

        def read(self, *given: Any) -> Any:
            self.connection.read(1)

    pair, wrapped = a_pair(kind=Curious)
    pair.handshake()
    wrapped.connection = pair.client  # type: ignore[attr-defined]
    pair.server.write(b"data")
    pair.transfer()
    for _ in range(2):
        with pytest.raises(TLSError, match="cannot use the connection that called it"):
            pair.client.read(1)


# --- its exceptions ---


def _failing(error: BaseException) -> Any:
    class Failing(Wrapped):
        fails = False

        def read(self, *given: Any) -> Any:
            if self.fails:
                raise error
            return self.inner.read(*given)

    pair, wrapped = a_pair(kind=Failing)
    pair.handshake()
    wrapped.fails = True  # type: ignore[attr-defined]
    pair.server.write(b"data")
    pair.transfer()
    return pair


@pytest.mark.parametrize("error", [Plain("why", 7), Odd(number=7), PeerMisbehaved("its own")])
def test_an_exception_is_raised_as_it_is_and_then_again_in_copies(error: Exception) -> None:
    error.fact = 5  # type: ignore[attr-defined]
    error.__cause__ = ValueError("behind it")
    pair = _failing(error)
    with pytest.raises(type(error)) as raised:
        pair.client.read(1)
    assert raised.value is error
    depths = set()
    for _ in range(3):
        with pytest.raises(type(error)) as again:
            pair.client.write(b"more")
        assert (again.value.args, again.value.fact) == (error.args, 5)  # type: ignore[attr-defined]
        assert again.value.__cause__ is error.__cause__
        assert (again.value is error) is isinstance(error, Odd)
        depths.add(len(traceback.extract_tb(again.value.__traceback__)))
    # No traceback grows, and none holds the frames of the first call.
    assert len(depths) == 1


def test_a_failed_connection_holds_no_frames() -> None:
    class Held:
        pass

    def fail() -> weakref.ref[Held]:
        held = Held()
        with pytest.raises(Plain):
            pair.client.read(1)
        return weakref.ref(held)

    pair, wrapped = a_pair()
    pair.handshake()

    def read(*_: Any) -> Any:
        raise Plain("why")

    wrapped.__dict__["read"] = read
    pair.server.write(b"data")
    pair.transfer()
    held = fail()
    assert held() is None
    with pytest.raises(Plain):
        pair.client.read(1)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_is_no_exception_is_raised_once_and_nothing_is_lost(error: BaseException) -> None:
    class Cut(Wrapped):
        """Is cut short in every method, once before and once after it did what it is to do."""

        cuts: Any = {}  # noqa: RUF012 - each test has its own

        def __getattr__(self, name: str) -> Any:
            found = super().__getattr__(name)
            if name not in self.cuts:
                return found
            before = self.cuts[name]

            def call(*given: Any) -> Any:
                del self.cuts[name]
                if not before:
                    with suppress(WantReadError):
                        found(*given)
                raise error

            return call

    for name, after in [
        ("process_incoming", False),
        ("process_incoming", True),
        ("read", False),
        ("write", False),
        ("write", True),
        ("outgoing_bytes_buffered", False),
        ("process_outgoing", False),
        ("shutdown", False),
        ("shutdown", True),
    ]:
        pair, wrapped = a_pair(kind=Cut)
        pair.handshake()
        assert pair.send(pair.server, b"behind the tickets") == b"behind the tickets"
        pair.server.write(b"to be read")
        pair.transfer()
        wrapped.cuts = {name: not after}  # type: ignore[attr-defined]
        reads = name in ("process_incoming", "read")
        calls = {"shutdown": pair.client.shutdown}
        call = calls.get(name, partial(pair.client.write, b"to be written"))
        with pytest.raises(type(error)) as raised:
            (partial(pair.client.read, 100) if reads else call)()
        assert raised.value is error, name
        assert pair.client.read(100) == b"to be read", name
        with pytest.raises(WantReadError):
            pair.client.read(1)
        pair.transfer()
        if not reads:
            expected = b"" if name == "shutdown" else b"to be written"
            assert pair.server.read(100) == expected, (name, after)


@pytest.mark.parametrize("number", range(2, 7))
def test_a_read_of_many_records_that_is_cut_short_leaves_them_all(number: int) -> None:
    class Cut(Wrapped):
        calls = -1000

        def read(self, *given: Any) -> Any:
            self.calls += 1
            if self.calls == number:
                raise KeyboardInterrupt
            return self.inner.read(*given)

    pair, wrapped = a_pair(kind=Cut)
    pair.handshake()
    assert pair.send(pair.server, b"behind the tickets") == b"behind the tickets"
    data = [b"first ", b"second ", b"third"]
    for piece in data:
        pair.server.write(piece)
    pair.transfer()
    wrapped.calls = 0  # type: ignore[attr-defined]
    room = bytearray(100)
    with pytest.raises(KeyboardInterrupt):
        pair.client.read(100, room)
    found = b""
    with suppress(WantReadError):
        while True:
            found += pair.client.read(100)
    assert found == b"".join(data)
    assert pair.send(pair.client, b"goes on") == b"goes on"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_handshake_that_is_cut_short_goes_on(when: str) -> None:
    class Cut(Wrapped):
        cut = False

        def do_handshake(self) -> None:
            if when == "before" and self.inner.incoming_bytes_buffered() and not self.cut:
                self.cut = True
                raise KeyboardInterrupt
            self.inner.do_handshake()
            if not self.cut:
                self.cut = True
                raise KeyboardInterrupt

    pair, _ = a_pair(kind=Cut)
    interrupted = 0
    while True:
        try:
            pair.handshake()
        except KeyboardInterrupt:
            interrupted += 1
        else:
            break
    assert interrupted == 1
    assert pair.send(pair.client, b"data") == b"data"


def test_what_was_given_to_nobody_ends_the_connection() -> None:
    class Loses(Wrapped):
        loses = False

        def process_outgoing(self, amount: int) -> bytes:
            given: bytes = self.inner.process_outgoing(amount)
            if self.loses:
                raise KeyboardInterrupt
            return given

    pair, wrapped = a_pair(kind=Loses)
    pair.handshake()
    wrapped.loses = True  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        pair.client.write(b"data")
    for _ in range(2):
        with pytest.raises(TLSError, match="internal error"):
            pair.client.write(b"data")


# --- signals, threads, garbage ---


@pytest.fixture
def alarm() -> Iterator[Any]:
    before = signal.getsignal(signal.SIGALRM)
    yield lambda handler: signal.signal(signal.SIGALRM, handler)
    signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_that_calls_the_connection_gets_an_error_and_the_call_goes_on(
    alarm: Any,
) -> None:
    class Rings(Wrapped):
        rings = False

        def write(self, buf: Any) -> int:
            if self.rings:
                signal.raise_signal(signal.SIGALRM)
            taken: int = self.inner.write(buf)
            return taken

    heard = []

    def handler(*_: Any) -> None:
        for call in (lambda: pair.client.write(b"within"), pair.client.cipher):
            with pytest.raises(TLSError, match="signal handler") as raised:
                call()
            heard.append(raised.value)

    pair, wrapped = a_pair(kind=Rings)
    pair.handshake()
    alarm(handler)
    wrapped.rings = True  # type: ignore[attr-defined]
    assert pair.client.write(b"data") == 4
    wrapped.rings = False  # type: ignore[attr-defined]
    assert len(heard) == 2
    pair.transfer()
    assert pair.server.read(100) == b"data"


def test_two_threads_take_turns_and_nobody_else_calls_the_buffer() -> None:
    class Alone(Wrapped):
        busy = 0
        met = False

        def __getattr__(self, name: str) -> Any:
            found = super().__getattr__(name)
            if not callable(found):
                return found

            def call(*given: Any) -> Any:
                self.busy += 1
                self.met |= self.busy > 1
                threading.Event().wait(0.0002)
                try:
                    return found(*given)
                finally:
                    self.busy -= 1

            return call

    pair, wrapped = a_pair(kind=Alone)
    pair.handshake()
    rounds = 50

    def write() -> None:
        for _ in range(rounds):
            pair.client.write(b"a")

    def read() -> int:
        got = 0
        for _ in range(rounds):
            pair.client.cipher()
            got += len(pair.client.read(1))
        return got

    for _ in range(rounds):
        pair.server.write(b"b")
    pair.transfer()
    with ThreadPoolExecutor(3) as threads:
        writing, more = threads.submit(write), threads.submit(write)
        assert threads.submit(read).result(30) == rounds
        writing.result(30)
        more.result(30)
    assert not wrapped.met  # type: ignore[attr-defined]
    pair.transfer()
    assert pair.server.read(1000) == b"a" * 2 * rounds


def test_a_collection_under_a_call_frees_nothing_that_is_used() -> None:
    class Collecting(Wrapped):
        def __init__(self, inner: Any) -> None:
            super().__init__(inner)
            self.myself = self

        def write(self, buf: Any) -> int:
            gc.collect()
            taken: int = self.inner.write(buf)
            gc.collect()
            return taken

    pair, _ = a_pair(kind=Collecting)
    pair.handshake()
    pair.client.write(b"data")
    pair.transfer()
    assert pair.server.read(100) == b"data"


def test_the_collector_sees_through_the_connection() -> None:
    class Cyclic(Wrapped):
        connection: Any = None

    def make(*, fails: bool) -> weakref.ref[Any]:
        pair, wrapped = a_pair(kind=Cyclic)
        pair.handshake()
        wrapped.connection = pair.client  # type: ignore[attr-defined]
        if fails:
            error = Plain("of the connection", pair.client)

            def read(*_: Any) -> Any:
                raise error

            wrapped.__dict__["read"] = read
            pair.server.write(b"data")
            pair.transfer()
            with pytest.raises(Plain):
                pair.client.read(1)
        return weakref.ref(wrapped)

    for fails in (False, True):
        gone = make(fails=fails)
        gc.collect()
        assert gone() is None, fails
