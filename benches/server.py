"""The other process of the loopback cases: one library's server, until its standard input ends.

It prints two ports. Connections to the first are served by a thread each: the client asks for
something, in nine bytes (`Request`), and gets it, until it hangs up. Connections to the second are
counted: one thread accepts each and waits for its end. For each further line of standard input it
prints how many of those it has served, and how many failed.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from .credentials import Credentials
from .peers import Contexts, Library, Listener, Setting

__all__ = ["ECHO", "SEND", "Request", "receive_exactly", "serve"]

#: Send so many bytes; send back what comes, so many times 100 bytes.
SEND, ECHO = b"S", b"E"
MESSAGE = 100
_PIECE = bytes(256 * 1024)


class Request(NamedTuple):
    """What a client asks for."""

    kind: bytes
    amount: int

    def to_bytes(self) -> bytes:
        return struct.pack(">cQ", *self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Request:
        return cls(*struct.unpack(">cQ", data))


@dataclass
class Tally:
    """Of connections that are counted."""

    served: int = 0
    failed: int = 0


def receive_exactly(connection: Any, count: int) -> bytes:
    """Exactly `count` bytes; raises EOFError where there are fewer."""
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError("the peer hung up")
        data += more
    return data


def serve(library: Library, setting: Setting) -> None:
    """Serve until standard input ends."""
    contexts = library.contexts(Credentials.from_json(sys.stdin.readline()), setting)
    answering, counting = contexts.listen(), contexts.listen()
    tally = Tally()
    for work in (
        partial(_in_threads, contexts, answering),
        partial(_one_by_one, contexts, counting, tally),
    ):
        threading.Thread(target=work, daemon=True).start()
    print(answering.port, counting.port, flush=True)
    for _ in sys.stdin:
        print(tally.served, tally.failed, flush=True)
    # The threads are in the middle of waiting; there is nothing to tidy up for.
    os._exit(0)


def _in_threads(contexts: Contexts, listener: Listener) -> None:
    while True:
        arguments = (contexts, listener.accept())
        threading.Thread(target=_answer, args=arguments, daemon=True).start()


def _answer(contexts: Contexts, connection: Any) -> None:
    gone: tuple[type[BaseException], ...] = (EOFError, *contexts.ended)
    try:
        while True:
            request = Request.from_bytes(receive_exactly(connection, 9))
            if request.kind == SEND:
                _send(connection, request.amount)
            else:
                _echo(connection, request.amount)
    except gone:
        contexts.close(connection)


def _send(connection: Any, count: int) -> None:
    view = memoryview(_PIECE)
    while count:
        piece = min(count, len(view))
        connection.sendall(view[:piece])
        count -= piece


def _echo(connection: Any, count: int) -> None:
    for _ in range(count):
        connection.sendall(receive_exactly(connection, MESSAGE))


def _one_by_one(contexts: Contexts, listener: Listener, tally: Tally) -> None:
    while True:
        try:
            connection = listener.accept()
        except contexts.ended:
            tally.failed += 1
            continue
        # A client may be gone before its tickets came: the connection was there all the same.
        with suppress(*contexts.ended):
            connection.recv(MESSAGE)
        contexts.close(connection)
        tally.served += 1
