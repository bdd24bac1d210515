"""Sockets over third parties' buffers: what their exceptions and interruptions do to these."""

from __future__ import annotations

import gc
import signal
import socket
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from foreign.wrapped import HOST, client_context, server_context
from polytls import TLSError, WantReadError
from polytls.streams import connect, listen, wrap
from polytls.testing.conformance.driven import Wrapped

PATIENCE = 30.0
LOOPBACK = ("127.0.0.1", 0, 0, 0)


class Strange(Exception):
    """Of nobody but these tests."""


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as executor:
        yield executor


@pytest.fixture
def alarm() -> Iterator[Any]:
    before = signal.getsignal(signal.SIGALRM)
    yield lambda handler: signal.signal(signal.SIGALRM, handler)
    signal.signal(signal.SIGALRM, before)


def a_pair(threads: ThreadPoolExecutor, kind: type[Wrapped]) -> tuple[Any, Any, Any]:
    """A client over a buffer of `kind`, the server's socket, and the buffer."""
    made = []

    def make() -> Any:
        made.append(kind(context.create_buffer(HOST)))
        return made[-1]

    context = client_context()
    with server_context().connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        accepting = threads.submit(listener.accept)
        address = (*listener.getsockname(), 0, 0)
        client = connect([address], context, make, PATIENCE)
        server, _ = accepting.result(PATIENCE)
    server.settimeout(PATIENCE)
    return client, server, made[-1]


@pytest.mark.parametrize("method", ["read", "write"])
def test_an_exception_is_raised_as_it_is_and_then_again_in_copies(
    threads: ThreadPoolExecutor, method: str
) -> None:
    client, server, wrapped = a_pair(threads, Wrapped)
    error = Strange("why")

    def fail(*_: Any) -> Any:
        raise error

    setattr(wrapped, method, fail)
    with server, client:
        server.sendall(b"data")
        with pytest.raises(Strange) as raised:
            client.recv(1) if method == "read" else client.send(b"data")
        assert raised.value is error
        for call in (lambda: client.recv(1), lambda: client.send(b"data")):
            with pytest.raises(Strange) as again:
                call()
            assert again.value is not error
            assert again.value.args == error.args


def test_a_context_that_makes_no_buffer_is_heard(threads: ThreadPoolExecutor) -> None:
    error = Strange("no buffer")

    def fail() -> Any:
        raise error

    context = server_context()
    with server_context().connect(("127.0.0.1", 0)) as listener:
        address = (*listener.getsockname(), 0, 0)
        with pytest.raises(Strange) as raised:
            connect([address], client_context(), fail, PATIENCE)
        assert raised.value is error
    given: Any = {"implementation": "mine", "timeout": PATIENCE}
    with listen([LOOPBACK], context, fail, **given) as listener:
        with socket.create_connection(listener.getsockname()), pytest.raises(Strange) as raised:
            listener.accept()
        assert raised.value is error
        assert "mine" in repr(listener)


def test_what_interrupts_sending_is_raised_and_the_stream_stays_whole(
    threads: ThreadPoolExecutor,
) -> None:
    class Interrupted(Wrapped):
        left = 1000
        after = False

        def write(self, buf: Any) -> int:
            self.left -= 1
            if self.left == 0 and not self.after:
                raise KeyboardInterrupt
            taken: int = self.inner.write(buf)
            if self.left == 0:
                raise KeyboardInterrupt
            return taken

    for after in (False, True):
        client, server, wrapped = a_pair(threads, Interrupted)
        pieces = [bytes([number]) * 16384 for number in range(32)]
        with server, client:
            wrapped.left, wrapped.after = 10, after

            def receive(server: Any = server) -> bytes:
                received = bytearray()
                while piece := server.recv(65536):
                    received += piece
                return bytes(received)

            receiving = threads.submit(receive)
            with pytest.raises(KeyboardInterrupt):
                client.sendall(b"".join(pieces))
            client.sendall(b"the end")
            client.shutdown(socket.SHUT_WR)
            received = receiving.result(PATIENCE)
        # A beginning of what was to be sent, with no gap, and once.
        assert received.endswith(b"the end")
        body = received[: -len(b"the end")]
        assert body == b"".join(pieces)[: len(body)]
        assert len(body) >= 10 * 16384


def test_a_signal_handler_that_uses_the_connection_amid_a_send_gets_an_error(
    threads: ThreadPoolExecutor, alarm: Any
) -> None:
    class Rings(Wrapped):
        rings = False

        def write(self, buf: Any) -> int:
            if self.rings:
                signal.raise_signal(signal.SIGALRM)
            taken: int = self.inner.write(buf)
            return taken

    heard = []

    def hear(*_: Any) -> None:
        for call in (lambda: client.send(b"within"), client.cipher, client.close):
            with pytest.raises(TLSError, match="signal handler") as raised:
                call()
            heard.append(raised.value)

    client, server, wrapped = a_pair(threads, Rings)
    with server, client:
        alarm(hear)
        wrapped.rings = True
        client.sendall(b"data")
        wrapped.rings = False
        assert len(heard) == 3
        assert server.recv(100) == b"data"


def test_a_handshake_over_a_plain_socket_and_facts_of_the_buffer(
    threads: ThreadPoolExecutor,
) -> None:
    one, other = socket.socketpair()
    context = server_context()
    accepting = threads.submit(wrap, other, Wrapped(context.create_buffer()), timeout=PATIENCE)
    wrapped = Wrapped(client_context().create_buffer(HOST))
    with wrap(one, wrapped, timeout=PATIENCE) as client, accepting.result(PATIENCE) as server:
        assert server.context is context
        assert client.getpeercert() == wrapped.getpeercert()
        assert client.info.cipher == client.cipher() == server.cipher()
        assert client.session is None
        client.sendall(b"data")
        assert server.recv(100) == b"data"
        server.setblocking(False)
        with pytest.raises(WantReadError):
            server.recv(1)
        server.setblocking(True)


def test_the_collector_sees_through_sockets_and_listeners(threads: ThreadPoolExecutor) -> None:
    class Cyclic(Wrapped):
        socket: Any = None

    class Maker:
        listener: Any = None

        def __call__(self) -> Any:
            raise AssertionError("nobody connects")

    client, server, wrapped = a_pair(threads, Cyclic)
    wrapped.socket = client
    server.close(force=True)
    client.close(force=True)
    maker = Maker()
    maker.listener = listen(
        [LOOPBACK], server_context(), maker, implementation="mine", timeout=PATIENCE
    )
    maker.listener.close()
    gone = [weakref.ref(wrapped), weakref.ref(maker)]
    del client, server, wrapped, maker
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
