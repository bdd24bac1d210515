"""Connections that meet a fault at each byte: the handshake, a short exchange and its end.

Both ends are ours. At every offset, in either direction, the network cuts the connection, resets
it, or brings a byte late and alone. After that each end has got what the other sent, or the
beginning of it and one of the errors below. There is no wait for what will not come, no byte too
many, and no end that looks orderly but was not.

`make test` walks every offset with cuts and resets, and every few with bytes that come late. With
POLYTLS_SOAK, which `make soak` sets, all walk every offset.
"""

from __future__ import annotations

import os
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Self

import pytest

from polytls import NamedGroup, RaggedEOF, TLSVersion

PATIENCE: Final = 30.0

REQUEST: Final = b"the request, of one record"
RESPONSE: Final = b"the response, which is of another one"

#: Every how many offsets a fault is placed.
STRIDES: Final = {"cut": 1, "reset": 1, "split": 7, "delay": 61}
WHOLE: Final = "POLYTLS_SOAK" in os.environ

#: What an end of the network's making may be told as.
ERRORS: Final = (RaggedEOF, BrokenPipeError, ConnectionResetError)


@dataclass
class End:
    """How a connection ended for one side, where `error` is None in order."""

    received: bytes = b""
    #: The handshake is done.
    connected: bool = False
    error: OSError | None = None


def receive(side: Any, end: End, length: int) -> None:
    while len(end.received) < length:
        piece = side.recv(100)
        assert piece, "the end looks orderly, and is not"
        end.received += piece


class Walk:
    """Connections of one implementation and version through one proxy."""

    def __init__(self, lab: Any, version: TLSVersion, proxied: Any, threads: Any) -> None:
        # The shortest of handshakes: one group, no tickets.
        few: dict[str, Any] = {"sessions": None, "groups": [NamedGroup.secp256r1]}
        self._context = lab.client(version=version, **few)
        self._host = lab.host
        self._threads = threads
        self._listener = lab.server(**few).connect(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.proxy = proxied(self._listener.getsockname())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def connect(self, fault: Any) -> dict[str, End]:
        """How a connection that meets `fault` ends for both sides."""
        self.proxy.next(fault)
        serving = self._threads.submit(self._serve)
        client = self._dial()
        ends = {"client": client, "server": serving.result(PATIENCE)}
        self.proxy.wait()
        return ends

    def _dial(self) -> End:
        end = End()
        try:
            with self._context.connect(
                self.proxy.address, server_hostname=self._host, timeout=PATIENCE
            ) as side:
                end.connected = True
                side.sendall(REQUEST)
                receive(side, end, len(RESPONSE))
                # Closing asks for delivery only; the peer's end is read to tell it from a cut.
                side.shutdown(socket.SHUT_WR)
                assert side.recv(1) == b""
        except OSError as error:
            end.error = error
        return end

    def _serve(self) -> End:
        end = End()
        assert select.select([self._listener], [], [], PATIENCE)[0], "no client came"
        try:
            with self._listener.accept()[0] as side:
                side.settimeout(PATIENCE)
                side.do_handshake()
                end.connected = True
                receive(side, end, len(REQUEST))
                side.sendall(RESPONSE)
                assert side.recv(1) == b""
        except OSError as error:
            end.error = error
        return end


def check(fault: Any, met: bool, ends: dict[str, End]) -> None:
    """Hold the outcomes against what may come of `fault`."""
    harmless = not met or fault.kind in ("split", "delay")
    for name, whole in (("client", RESPONSE), ("server", REQUEST)):
        end = ends[name]
        told = f"{fault}: {name}: {end}"
        assert whole.startswith(end.received), told
        if end.error is None:
            assert end.received == whole, told
            # Whoever misses a byte misses a part of close_notify at the least.
            assert harmless or fault.source == name, told
        else:
            assert not harmless, told
            assert type(end.error) in ERRORS, told
            if isinstance(end.error, RaggedEOF):
                assert end.error.during_handshake is not end.connected, told


@pytest.mark.soak
@pytest.mark.parametrize("source", ["client", "server"])
@pytest.mark.parametrize("kind", STRIDES)
def test_whatever_byte_it_happens_at_the_outcome_is_documented(
    lab: Any,
    version: TLSVersion,
    proxied: Any,
    threads: ThreadPoolExecutor,
    fault: Any,
    outside: Any,
    kind: str,
    source: str,
) -> None:
    with Walk(lab, version, proxied, threads) as walk:
        check(None, False, walk.connect(None))
        length = walk.proxy.passed[source]
        before = outside()
        # Signatures differ in length: an offset behind the last byte is met by none.
        for at in range(0, length + 1, 1 if WHOLE else STRIDES[kind]):
            placed = fault(kind, source, at)
            ends = walk.connect(placed)
            assert walk.proxy.met or at > length - 10
            check(placed, walk.proxy.met, ends)
            assert outside() == before, placed
