"""Listeners whose handshakes ask the application: a verifier or a signer that takes long holds up
its own connection, and no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from polytls import ConnectionEvent, PresentedPeer, TLSError
from polytls.testing.conformance.elsewhere import elsewhere
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.selection import needs

LOOPBACK = ("127.0.0.1", 0)

#: Where Linux lists the threads of a process.
TASKS = Path("/proc/self/task")


class Held:
    """The first call of it lasts until it is released, the others do not."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun = threading.Event()
        self.released = threading.Event()
        #: The system's number of the thread that it is called in first.
        self.thread = 0
        #: What `accept` will return.
        self.accepting: Any = None
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.calls += 1
            first = self.calls == 1
        if first:
            self.thread = threading.get_native_id()
            self.begun.set()
            assert self.released.wait(PATIENCE)


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    try:
        yield made
    finally:
        made.released.set()


def verifying(lab: Any, held: Callable[[], None]) -> tuple[Any, Any]:
    """A client's and a server's context, whose verifier is held."""

    def verify(_: PresentedPeer) -> None:
        held()

    server = lab.server(trust_store=lab.ca.trust_store(), peer_verifier=verify)
    return lab.client(certificate_chain=lab.chain("client.example")), server


def traced(lab: Any, held: Callable[[], None]) -> tuple[Any, Any]:
    """A client's and a server's context, whose listener is held by the end of a handshake."""

    def listen(event: ConnectionEvent) -> None:
        if event.kind == "established":
            held()

    return lab.client(), lab.server(on_event=listen)


def signing(lab: Any, held: Callable[[], None]) -> tuple[Any, Any]:
    """A client's and a server's context, whose signer is held."""

    chain = lab.chain()
    signer = lab.signer(chain.leaf[1])

    def sign(data: bytes, algorithm: Any) -> bytes:
        held()
        made: bytes = signer.sign(data, algorithm)
        return made

    return lab.client(), lab.server(elsewhere(lab, chain, sign)[0])


each_callback = pytest.mark.parametrize(
    "contexts",
    [
        pytest.param(
            verifying, id="verifier", marks=needs("client authentication", "peer verifier")
        ),
        pytest.param(signing, id="signer", marks=needs("signers")),
    ],
)
#: A listener decides nothing, so that what it raises is only reported (`test_events`).
each_slow_callback = pytest.mark.parametrize(
    "contexts",
    [
        pytest.param(
            verifying, id="verifier", marks=needs("client authentication", "peer verifier")
        ),
        pytest.param(signing, id="signer", marks=needs("signers")),
        pytest.param(traced, id="listener", marks=needs("events")),
    ],
)


@contextmanager
def first_one_held(
    lab: Any, held: Held, contexts: Any, threads: Any, **options: Any
) -> Iterator[tuple[Any, Any, Any]]:
    """A listener that a thread accepts from while the callback is busy with a client.

    Gives a client's context, the listener, and the future of the first client.
    """
    client, server = contexts(lab, held)
    with server.connect(LOOPBACK, **options) as listener:
        listener.settimeout(PATIENCE)
        connecting = threads.submit(connect, lab, client, listener)
        held.accepting = threads.submit(listener.accept)
        assert held.begun.wait(PATIENCE)
        yield client, listener, connecting


def connect(lab: Any, client: Any, listener: Any) -> Any:
    return client.connect(listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE)


def exchange(connected: Any, accepted: Any) -> None:
    accepted.settimeout(PATIENCE)
    connected.sendall(b"request")
    assert accepted.recv(100) == b"request"


@each_slow_callback
def test_others_get_through_while_one_is_held(
    lab: Any, held: Held, contexts: Any, threads: Any
) -> None:
    with (
        ExitStack() as closing,
        first_one_held(lab, held, contexts, threads) as (client, listener, slow),
    ):
        accepting = held.accepting
        for _ in range(3):
            connected = closing.enter_context(connect(lab, client, listener))
            accepted, address = accepting.result(PATIENCE)
            closing.enter_context(accepted)
            assert address == connected.getsockname()
            exchange(connected, accepted)
            accepting = threads.submit(listener.accept)
        assert held.calls == 4
        # It comes as soon as it may.
        held.released.set()
        accepted, address = accepting.result(PATIENCE)
        closing.enter_context(accepted)
        connected = closing.enter_context(slow.result(PATIENCE))
        assert address == connected.getsockname()
        exchange(connected, accepted)
        assert listener.failed_handshakes == 0


@needs("handshake_timeout")
@each_slow_callback
def test_a_client_that_is_held_for_too_long_has_failed(
    lab: Any, held: Held, contexts: Any, threads: Any
) -> None:
    limit = 0.5
    with first_one_held(lab, held, contexts, threads, handshake_timeout=limit) as (
        _,
        listener,
        slow,
    ):
        time.sleep(2 * limit)
        held.released.set()
        until(lambda: listener.failed_handshakes == 1)
        assert_ends(slow)
        assert not held.accepting.done()
        listener.close()
        with pytest.raises(OSError, match="closed"):
            held.accepting.result(PATIENCE)


@each_slow_callback
def test_closing_the_listener_waits_for_no_callback(
    lab: Any, held: Held, contexts: Any, threads: Any
) -> None:
    with first_one_held(lab, held, contexts, threads) as (_, listener, slow):
        listener.close()
        with pytest.raises(OSError, match="closed"):
            held.accepting.result(PATIENCE)
        assert not held.released.is_set()
        held.released.set()
        assert_ends(slow)
        if TASKS.exists():
            until(lambda: not (TASKS / str(held.thread)).exists())


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
@each_callback
def test_what_would_end_a_thread_is_told_as_pythons_and_ends_one_handshake(
    lab: Any,
    contexts: Any,
    raised: type[BaseException],
    threads: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A thread of the listener's has no caller to raise it to, and accept goes on with others.
    interruption = raised("now")
    told: list[Any] = []
    monkeypatch.setattr("threading.excepthook", lambda what: told.append(what))
    calls: list[int] = []

    def once() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise interruption

    client, server = contexts(lab, once)
    with server.connect(LOOPBACK) as listener, ExitStack() as closing:
        listener.settimeout(PATIENCE)
        accepting = threads.submit(listener.accept)
        assert_ends(threads.submit(connect, lab, client, listener))
        until(lambda: listener.failed_handshakes == 1)
        until(lambda: bool(told))
        connected = closing.enter_context(connect(lab, client, listener))
        accepted = closing.enter_context(accepting.result(PATIENCE)[0])
        exchange(connected, accepted)
        assert listener.failed_handshakes == 1
    (what,) = told
    assert what.exc_type is raised
    assert what.exc_value is interruption


def until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def assert_ends(slow: Any) -> None:
    """The client's connection ends, in its handshake or behind it, with no data."""
    with suppress(TLSError, OSError), slow.result(PATIENCE) as connected:
        connected.settimeout(PATIENCE)
        assert connected.recv(1) == b""
