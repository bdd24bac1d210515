"""Streams whose handshakes ask the application: nothing of them stays, however it answers."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import polytls
from polytls.streams import wrap
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.leftovers import CALLBACKS, RAISED, Census, tolerating


class Channel:
    """A byte stream that is no socket, and has no descriptor to wait for."""

    def __init__(self, plain: socket.socket) -> None:
        self.recv, self.send, self.close = plain.recv, plain.send, plain.close


@pytest.mark.parametrize("stream", [Channel, lambda plain: plain], ids=["channel", "socket"])
@pytest.mark.parametrize("raised", RAISED.values(), ids=RAISED)
@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_streams_leave_nothing(
    lab: Any,
    census: Census,
    threads: ThreadPoolExecutor,
    callback: str,
    side: str,
    raised: Any,
    stream: Any,
) -> None:
    refused = {"stdlib": ("key log", "signer")}
    if callback in refused.get(lab.implementation.name, ()):
        with pytest.raises(polytls.ConfigurationError):
            CALLBACKS[callback](lab, side, raised)
        return
    client, server = CALLBACKS[callback](lab, side, raised)

    def talk(plain: socket.socket, make_buffer: Any) -> None:
        with plain, wrap(stream(plain), make_buffer(), do_handshake_on_connect=False) as over:
            session = census.session(over)
            with tolerating(raised):
                over.do_handshake()
            # A failed connection says so again.
            with tolerating(raised):
                over.do_handshake()
            del session

    def attempt() -> None:
        one, other = socket.socketpair()
        talking = threads.submit(talk, one, lambda: client.create_buffer(lab.host))
        talk(other, server.create_buffer)
        talking.result(PATIENCE)

    census.assert_nothing_stays(attempt)
