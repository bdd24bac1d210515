"""The first steps of an implementation's sockets: where one fails, no other socket does better."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from threading import Thread
from typing import Any

import pytest

from polytls import TLSSocket
from polytls.testing.conformance.basics import fail, has_all_of, told
from polytls.testing.conformance.lab import Lab


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> None:
    """Nothing is asked here: a call that does not return is what a case tells."""


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def closed_at_the_end(closing: ExitStack, made: Any) -> Any:
    def close() -> None:
        with suppress(Exception):  # A case tells.
            made.close(force=True)

    closing.callback(close)
    return made


def listening(lab: Lab, closing: ExitStack) -> Any:
    server = lab.server()
    made = told("connect(address) of a server", server.connect, ("127.0.0.1", 0))
    return closed_at_the_end(closing, made)


def connected(lab: Lab, closing: ExitStack) -> tuple[Any, Any]:
    """A client's socket and the one accepted for it."""
    listener = listening(lab, closing)
    address = told("getsockname() of a listener", listener.getsockname)
    coming: Future[Any] = Future()

    def accept() -> None:
        try:
            coming.set_result(listener.accept())
        except BaseException as error:
            coming.set_exception(error)

    Thread(target=accept, daemon=True).start()
    # The server's name is no address that a client could connect to.
    client = lab.client()
    ours = told("connect(address) of a client", client.connect, address, server_hostname=lab.host)
    closed_at_the_end(closing, ours)
    accepted = told("accept() of a listener", coming.result)
    if not (isinstance(accepted, tuple) and len(accepted) == 2):
        fail(f"accept() returned {accepted!r}: it has to return a socket and the client's address")
    return ours, closed_at_the_end(closing, accepted[0])


def test_a_server_listens(lab: Lab, closing: ExitStack) -> None:
    listener = listening(lab, closing)
    has_all_of("what connect(address) of a server returned", listener, TLSSocket)
    address = told("getsockname() of a listener", listener.getsockname)
    if not (isinstance(address, tuple) and len(address) == 2 and address[1]):
        fail(f"getsockname() of a listener returned {address!r}: it has to return host and port")


def test_a_client_connects_and_is_accepted(lab: Lab, closing: ExitStack) -> None:
    ours, accepted = connected(lab, closing)
    has_all_of("what connect(address) of a client returned", ours, TLSSocket)
    has_all_of("the socket that accept() returned", accepted, TLSSocket)


def test_data_goes_both_ways_and_the_end_comes(lab: Lab, closing: ExitStack) -> None:
    ours, accepted = connected(lab, closing)
    for one, other in ((ours, accepted), (accepted, ours)):
        taken = told("send(b'hello')", one.send, b"hello")
        if taken != 5:
            fail(f"send(b'hello') returned {taken!r}: it has to return how many bytes it took, 5")
        data = told("recv(100)", other.recv, 100)
        if data != b"hello":
            fail(f"the peer of who sent b'hello' receives {data!r}")
    told("close() of a client", ours.close)
    data = told("recv(100) behind the peer's close_notify", accepted.recv, 100)
    if data != b"":
        fail(f"recv(100) behind the peer's close_notify returned {data!r}: it has to return b''")
    told("close() of a server", accepted.close)
