"""TLS over anything: sockets made of any implementation's buffer and any byte stream (`wrap`).

They are also the sockets of implementations that have buffers only (`connect`, `listen`). All of
them are driven by the core (crates/io), which has the rules: who may call what when, how a call
waits, how a connection ends. What is here is what only Python knows: of the stream below
(`carrier`), of what was there before TLS (`upgrade`) and is there after it (`unwrapped`), and what
is best said in Python of a socket (`connection`).
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
