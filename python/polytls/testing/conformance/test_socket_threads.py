"""Sockets shared by threads: closing in one wakes those that wait in others."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from polytls import TLSVersion, WantWriteError
from polytls.testing.conformance.lab import PATIENCE, fill

# Linux alone tells from outside whether a thread waits. Elsewhere the call may only just have
# begun; what it must do is the same.
_CLOCK = getattr(time, "pthread_getcpuclockid", None)


class Waiting:
    """A call in a thread of its own, which waits for something by now."""

    def __init__(self, threads: ThreadPoolExecutor, call: Callable[..., Any], *given: Any) -> None:
        begun = threading.Event()

        def run() -> Any:
            self.thread = threading.get_ident()
            begun.set()
            return call(*given)

        self.task: Future[Any] = threads.submit(run)
        assert begun.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while _CLOCK and not self.task.done() and not self._idle():
            assert time.monotonic() < deadline

    def _idle(self) -> bool:
        clock = _CLOCK(self.thread)
        before = time.clock_gettime_ns(clock)
        # This thread gives up the GIL meanwhile; who does not run then, waits.
        time.sleep(0.02)
        return time.clock_gettime_ns(clock) == before

    def is_told_that_it_is_closed(self) -> None:
        error = self.task.exception(PATIENCE)
        assert type(error) is OSError
        assert error.errno == errno.EBADF


@pytest.fixture
def ends(lab: Any, version: TLSVersion, threads: ThreadPoolExecutor) -> Iterator[tuple[Any, Any]]:
    """A client's socket and the one accepted for it; their calls wait for ever."""
    with ExitStack() as closing:
        listener = closing.enter_context(lab.server().connect(("127.0.0.1", 0)))
        listener.settimeout(PATIENCE)
        accepting = threads.submit(listener.accept)
        client = lab.client(version=version).connect(
            listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
        )
        closing.callback(client.close, force=True)
        accepted, _ = accepting.result()
        closing.callback(accepted.close, force=True)
        client.settimeout(None)
        yield client, accepted


@pytest.mark.parametrize("call", ["recv", "recv_into"])
def test_closing_a_connection_wakes_who_receives(
    ends: Any, threads: ThreadPoolExecutor, call: str
) -> None:
    client, _ = ends
    given = 100 if call == "recv" else bytearray(100)
    waiting = [Waiting(threads, getattr(client, call), given) for _ in range(3)]
    client.close(force=True)
    for one in waiting:
        one.is_told_that_it_is_closed()


@pytest.mark.parametrize("call", ["send", "sendall"])
def test_closing_a_connection_wakes_who_sends(
    ends: Any, threads: ThreadPoolExecutor, call: str
) -> None:
    client, _ = ends
    client.setblocking(False)
    fill(client)
    client.settimeout(None)
    waiting = Waiting(threads, getattr(client, call), b"more")
    # The second one closes although nothing can be sent.
    client.setblocking(False)
    with suppress(WantWriteError):
        client.close(force=True)
    client.close(force=True)
    waiting.is_told_that_it_is_closed()


def test_a_forced_close_waits_for_no_peer_that_takes_nothing_from_another_thread(
    ends: Any, threads: ThreadPoolExecutor
) -> None:
    client, _ = ends
    waiting = Waiting(threads, client.sendall, bytes(64 << 20))
    client.close(force=True)  # It would say that it timed out.
    assert client.fileno() == -1
    waiting.is_told_that_it_is_closed()


def test_closing_a_listener_wakes_who_accepts(lab: Any, threads: ThreadPoolExecutor) -> None:
    with lab.server().connect(("127.0.0.1", 0)) as listener:
        waiting = [Waiting(threads, listener.accept) for _ in range(3)]
        # One whose handshake is under way.
        with socket.create_connection(listener.getsockname()) as stalling:
            listener.close()
            for one in waiting:
                one.is_told_that_it_is_closed()
            stalling.settimeout(PATIENCE)
            with suppress(ConnectionResetError):
                assert stalling.recv(1) == b""


def test_a_thread_that_waits_to_receive_does_not_hold_up_one_that_sends(
    ends: Any, threads: ThreadPoolExecutor
) -> None:
    client, accepted = ends
    waiting = Waiting(threads, client.recv, 100)
    for number in range(50):
        client.sendall(b"%03d" % number)
        assert accepted.recv(100) == b"%03d" % number
    assert not waiting.task.done()
    accepted.send(b"enough")
    assert waiting.task.result(PATIENCE) == b"enough"


def test_facts_can_be_asked_for_while_others_wait(ends: Any, threads: ThreadPoolExecutor) -> None:
    client, accepted = ends
    waiting = Waiting(threads, client.recv, 100)
    assert client.info.version is client.negotiated_tls_version
    assert client.getpeername() == accepted.getsockname()
    assert client.fileno() > 0
    assert client.pending() == client.outgoing_bytes_buffered() == 0
    # For calls that begin later: this one goes on.
    client.settimeout(0.001)
    assert not waiting.task.done()
    accepted.send(b"here")
    assert waiting.task.result(PATIENCE) == b"here"


def test_a_context_is_shared_by_threads(lab: Any, threads: ThreadPoolExecutor) -> None:
    context = lab.client()

    def fetch() -> bytes:
        with context.connect(
            listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
        ) as client:
            return client.recv(100)

    with lab.server().connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        fetching = [threads.submit(fetch) for _ in range(20)]
        for _ in fetching:
            with listener.accept()[0] as accepted:
                accepted.send(b"hello")
        assert {task.result() for task in fetching} == {b"hello"}
