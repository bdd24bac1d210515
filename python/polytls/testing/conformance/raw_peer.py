"""The other side of a socket under test: a buffer over a plain socket, which a case can break."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from polytls import WantReadError
from polytls.testing import Pair

from .lab import PATIENCE, Lab, Outcome

__all__ = ["RawPeer", "reset", "settle_with_another_signature"]


class RawPeer:
    """A buffer over a plain socket. It sends and receives what the case says, when it says so."""

    def __init__(self, buffer: Any, plain: socket.socket) -> None:
        self.buffer = buffer
        self.plain = plain
        plain.settimeout(PATIENCE)

    def drive(self, call: Callable[..., Any], *given: Any) -> Any:
        """Repeat `call` until it has what it needs from the network."""
        while True:
            try:
                result = call(*given)
            except WantReadError:
                self.flush()
                self.buffer.process_incoming(self.plain.recv(65536))
            else:
                self.flush()
                return result

    def read(self, length: int) -> bytes:
        """Return so many bytes of data, whatever the pieces are that they come in."""
        data = b""
        while len(data) < length:
            piece = self.drive(self.buffer.read, length - len(data))
            assert piece, f"the end after {len(data)} of {length} bytes"
            data += piece
        return data

    def flush(self) -> None:
        """Send what waits."""
        if waiting := self.take():
            self.plain.sendall(waiting)

    def take(self) -> bytes:
        """What would go out to the network now."""
        return bytes(self.buffer.process_outgoing(self.buffer.outgoing_bytes_buffered()))

    def goodbye(self) -> bytes:
        """A close_notify of ours, unsent."""
        try:
            self.buffer.shutdown()
        except WantReadError:
            return self.take()
        return self.take()

    def say_goodbye(self) -> None:
        """Send close_notify."""
        self.plain.sendall(self.goodbye())

    def reset(self) -> None:
        """End the connection with a reset instead of a FIN."""
        reset(self.plain)


def reset(plain: socket.socket) -> None:
    """Close `plain` so that its peer gets a reset instead of a FIN."""
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


def _with_another_signature(flight: bytes) -> bytes:
    """Return a TLS 1.2 server's first flight with another signature of the handshake.

    The signature ends ServerKeyExchange, behind which ServerHelloDone comes (RFC 5246 7.4.3), in
    the same record or in one of its own.
    """
    forged = bytearray(flight)
    end = forged.rindex(b"\x0e\0\0\0")
    if forged[:end].endswith(b"\x16\x03\x03\0\x04"):
        end -= 5
    forged[end - 1] ^= 1
    return bytes(forged)


def settle_with_another_signature(lab: Lab, pair: Pair) -> Outcome:
    """Settle a handshake of TLS 1.2 whose server's signature becomes another one on its way."""
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    pair.server.process_incoming(lab.outgoing(pair.client))
    with pytest.raises(WantReadError):
        pair.server.do_handshake()
    pair.client.process_incoming(_with_another_signature(lab.outgoing(pair.server)))
    return lab.settle(pair)
