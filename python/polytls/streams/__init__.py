"""TLS over anything: sockets made of any implementation's buffer and any byte stream (`wrap`).

They are also the sockets of implementations that only have buffers (`connect`, `listen`). The core
(crates/io) drives all of them, and has the rules: which calls may run at the same time, how a call
waits, how a connection ends. These modules have what only Python knows: the underlying stream
(`carrier`), what was there before TLS (`upgrade`) and is there after it (`unwrapped`), and the
parts of a socket that are best written in Python (`connection`).
"""

from .connect import HANDSHAKE_LIMIT, HANDSHAKE_TIMEOUT, connect, listen
from .connection import ExtendedSocket, StreamSocket
from .unwrapped import UnwrappedSocket, UnwrappedStream
from .upgrade import begins_hello, server_below, wrap

__all__ = [
    "HANDSHAKE_LIMIT",
    "HANDSHAKE_TIMEOUT",
    "ExtendedSocket",
    "StreamSocket",
    "UnwrappedSocket",
    "UnwrappedStream",
    "begins_hello",
    "connect",
    "listen",
    "server_below",
    "wrap",
]
