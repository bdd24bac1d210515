"""What a client asks a server of the benchmark for, in nine bytes."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

__all__ = ["ECHO", "MESSAGE", "PIECE", "REQUEST", "SEND", "Request", "receive_exactly"]

#: Send so many bytes; send back so many messages, as they come.
SEND, ECHO = b"S", b"E"
#: The bytes of a message.
MESSAGE = 100
#: What is sent.
PIECE = memoryview(bytes(256 * 1024))


#: The bytes of a request.
REQUEST = 9


class Request(NamedTuple):
    """What a client asks for."""

    kind: bytes
    amount: int

    def to_bytes(self) -> bytes:
        return struct.pack(">cQ", *self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Request:
        return cls(*struct.unpack(">cQ", data))


def receive_exactly(connection: Any, count: int) -> bytes:
    """Exactly `count` bytes; raises EOFError where there are fewer."""
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError("the peer hung up")
        data += more
    return data
