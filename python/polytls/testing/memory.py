"""Connections in memory: two buffers connected to each other, without a socket."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic

from ..errors import WantReadError
from ..interfaces import TLSBuffer

if TYPE_CHECKING:
    # Type variables with defaults need Python 3.13.
    from typing_extensions import TypeVar

    _Client = TypeVar("_Client", bound=TLSBuffer, default=TLSBuffer)
    _Server = TypeVar("_Server", bound=TLSBuffer, default=TLSBuffer)
else:
    from typing import TypeVar

    _Client, _Server = TypeVar("_Client"), TypeVar("_Server")

__all__ = ["Pair", "tie"]

#: How to cut the data on the wire: from the bytes to the pieces in which they arrive.
Split = Callable[[bytes], Iterator[bytes]]


def _whole(data: bytes) -> Iterator[bytes]:
    yield data


@dataclass
class Pair(Generic[_Client, _Server]):
    """A client's and a server's buffer, and the wire between them.

    `split` cuts the data on the wire into the pieces in which it arrives; by default it arrives
    whole. Data that a side refuses, because its buffer is full, stays on the wire.
    """

    client: _Client
    server: _Server
    split: Split = _whole
    _to_server: deque[bytes] = field(default_factory=deque, repr=False)
    _to_client: deque[bytes] = field(default_factory=deque, repr=False)

    def transfer(self) -> int:
        """Carry waiting data from each side to the other; return how many bytes arrived."""
        there = self._carry(self.client, self._to_server, self.server)
        return there + self._carry(self.server, self._to_client, self.client)

    def handshake(self) -> None:
        """Drive both sides until their handshakes are complete.

        Raises the error of either side, after its alert was carried over.
        """
        while True:
            waiting = 0
            for side in (self.client, self.server):
                try:
                    side.do_handshake()
                except WantReadError:
                    waiting += 1
                except BaseException:
                    self.transfer()
                    raise
            carried = self.transfer()
            if not waiting and not carried:
                return
            if waiting and not carried:
                raise RuntimeError("deadlock: both sides are waiting for data")

    def send(self, sender: TLSBuffer, data: bytes) -> bytes:
        """Send `data` from one side, and return what the other side reads."""
        receiver = self.server if sender is self.client else self.client
        received = bytearray()
        view = memoryview(data)
        while len(received) < len(data):
            if view:
                view = view[sender.write(view) :]
            self.transfer()
            try:
                while len(received) < len(data):
                    received += receiver.read(65536)  # type: ignore[arg-type]
            except WantReadError:
                continue
        return bytes(received)

    def _carry(self, source: TLSBuffer, wire: deque[bytes], target: TLSBuffer) -> int:
        if data := source.process_outgoing(source.outgoing_bytes_buffered()):
            wire.extend(self.split(data))
        arrived = 0
        while wire:
            try:
                target.process_incoming(wire[0])
            except WantReadError:
                break
            arrived += len(wire.popleft())
        return arrived


def tie(client: _Client, server: _Server, split: Split = _whole) -> Pair[_Client, _Server]:
    """Return the two as a pair whose handshake is complete.

    Raises the error of either side.
    """
    pair = Pair(client, server, split)
    pair.handshake()
    return pair
