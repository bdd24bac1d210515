"""Connections in memory: two buffers tied together, with no socket in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import WantReadError
from ..interfaces import TLSBuffer

__all__ = ["Pair", "tie"]

#: How to cut what goes over the wire: from the bytes to the pieces they arrive in.
Split = Callable[[bytes], Iterator[bytes]]


def _whole(data: bytes) -> Iterator[bytes]:
    yield data


@dataclass
class Pair:
    """A client's and a server's buffer, and the wire between them.

    `split` cuts what is on the wire into the pieces in which it arrives; by default it arrives
    whole.
    """

    client: TLSBuffer
    server: TLSBuffer
    split: Split = _whole

    def transfer(self) -> int:
        """Carry all that waits on either side over to the other; return how many bytes."""
        return self._carry(self.client, self.server) + self._carry(self.server, self.client)

    def handshake(self) -> None:
        """Drive both sides until both are done.

        Raises what either side finds, after its alert was carried over.
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
                raise RuntimeError("both sides wait for each other")

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

    def _carry(self, source: TLSBuffer, target: TLSBuffer) -> int:
        data = source.process_outgoing(source.outgoing_bytes_buffered())
        for piece in self.split(data) if data else ():
            target.process_incoming(piece)
        return len(data)


def tie(client: TLSBuffer, server: TLSBuffer, split: Split = _whole) -> Pair:
    """Return the two as a pair with its handshake done.

    Raises what either side finds.
    """
    pair = Pair(client, server, split)
    pair.handshake()
    return pair
