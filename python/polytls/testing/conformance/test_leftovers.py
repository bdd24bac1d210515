"""Connections whose handshakes ask the application: nothing of them stays, however it answers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.leftovers import CALLBACKS, RAISED, Census, tolerating
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.upgrade import tied

LOOPBACK = ("127.0.0.1", 0)

NEEDED = {
    "verifier": ("client authentication", "peer verifier"),
    "signer": ("client authentication", "signers"),
    "key log": ("key log",),
}


def each_case(function: Any) -> Any:
    """For each callback, on each side, with each outcome."""
    callbacks = [
        pytest.param(make, id=name, marks=needs(*NEEDED[name])) for name, make in CALLBACKS.items()
    ]
    for mark in (
        pytest.mark.parametrize("callback", callbacks),
        pytest.mark.parametrize("side", ["client", "server"]),
        pytest.mark.parametrize("raised", RAISED.values(), ids=RAISED),
    ):
        function = mark(function)
    return function


@each_case
def test_buffers_leave_nothing(
    lab: Any, census: Census, callback: Any, side: str, raised: Any
) -> None:
    client, server = callback(lab, side, raised)

    def attempt() -> None:
        pair = lab.pair(client, server)
        session = census.session(pair.client, pair.server)
        with tolerating(raised):
            pair.handshake()
        # A failed connection says so again.
        with tolerating(raised):
            pair.handshake()
        del session

    census.assert_nothing_stays(attempt)


@each_case
def test_sockets_and_listeners_leave_nothing(
    lab: Any, census: Census, threads: Any, callback: Any, side: str, raised: Any
) -> None:
    client, server = callback(lab, side, raised)

    def accept(listener: Any) -> None:
        session = census.session(listener)
        with tolerating(raised):
            accepted, _ = listener.accept()
            session.connection = accepted
            with accepted, tolerating(raised):
                accepted.settimeout(PATIENCE)
                accepted.recv(1)

    def attempt() -> None:
        session = census.session()
        with server.connect(LOOPBACK) as listener:
            listener.settimeout(PATIENCE)
            accepting = threads.submit(accept, listener)
            with tolerating(raised):
                connected = client.connect(
                    listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
                )
                session.connection = connected
                with connected, tolerating(raised):
                    connected.sendall(b"x")
                    connected.recv(1)
        accepting.result(PATIENCE)

    census.assert_nothing_stays(attempt)


@needs("wrap_socket")
@each_case
def test_wrapped_sockets_leave_nothing(
    lab: Any, census: Census, threads: Any, callback: Any, side: str, raised: Any
) -> None:
    client, server = callback(lab, side, raised)

    def wrap(context: Any, plain: Any, **given: Any) -> None:
        with context.wrap_socket(plain, do_handshake_on_connect=False, **given) as over:
            session = census.session(over)
            with tolerating(raised):
                over.do_handshake()
            # A failed connection says so again.
            with tolerating(raised):
                over.do_handshake()
            del session

    def attempt() -> None:
        with ExitStack() as closing:
            plain, other = closing.enter_context(tied())
            wrapping = threads.submit(wrap, client, plain, server_hostname=lab.host)
            wrap(server, other)
            wrapping.result(PATIENCE)

    census.assert_nothing_stays(attempt)
