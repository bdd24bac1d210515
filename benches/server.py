"""The other process of the loopback cases: one library's server, until its standard input ends.

It prints its ports. Connections to the first are served by a thread each: the client asks for
something, in nine bytes (`Request`) or by a GET of HTTP, and gets it, until it hangs up.
Connections to the second are counted: one thread accepts each and waits for its end. Then come
those of event loops (`asynchronous`). For each further line of standard input it prints how many
connections it has counted, and how many failed.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from .asynchronous import LOOPS, serve_in_thread
from .credentials import Credentials
from .peers import Contexts, Library, Listener, Setting
from .requests import MESSAGE, PIECE, REQUEST, SEND, Request, receive_exactly

__all__ = ["serve"]

#: What a request of HTTP begins with; no `Request` does.
GET = b"GET /"


@dataclass
class Tally:
    """Of connections that are counted."""

    served: int = 0
    failed: int = 0


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
    looping = [serve_in_thread(contexts, name) for name in LOOPS]
    print(answering.port, counting.port, *looping, flush=True)
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
            asked = receive_exactly(connection, REQUEST)
            if asked.startswith(GET):
                _respond(connection, asked)
                continue
            request = Request.from_bytes(asked)
            if request.kind == SEND:
                _send(connection, request.amount)
            else:
                _echo(connection, request.amount)
    except gone:
        contexts.close(connection)


def _send(connection: Any, count: int) -> None:
    while count:
        piece = min(count, len(PIECE))
        connection.sendall(PIECE[:piece])
        count -= piece


def _respond(connection: Any, head: bytes) -> None:
    """Answer a request of HTTP, whose path is how many bytes it wants."""
    while not head.endswith(b"\r\n\r\n"):
        more = connection.recv(4096)
        if not more:
            raise EOFError("the peer hung up")
        head += more
    amount = int(head[len(GET) : head.index(b" ", len(GET))])
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % amount
    # In one piece if it is short, as any server would.
    piece = min(amount, len(PIECE) // 4)
    connection.sendall(answer + PIECE[:piece])
    _send(connection, amount - piece)


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
