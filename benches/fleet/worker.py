"""One server process of a fleet: `servers` runs it, and tells it what to be.

Each connection takes one request of HTTP, and is answered with the number of the process that
serves it. The word `next` on standard input exchanges the ticket keys for the next that were given;
each change is answered with `ready`. The process, with its forks, ends with standard input.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import polytls
from polytls.reload import ReloadingServerContext

__all__ = ["Given"]

#: What one client may take, in seconds.
_PATIENCE = 20.0


@dataclass
class Given:
    """What one process is told, as a pickle on standard input."""

    implementation: str
    chain: polytls.SigningChain
    port: int
    #: The ticket keys that it begins with, and those that follow; None: of its own.
    keys: list[polytls.TicketKeys | None]
    #: How often it forks.
    forks: int = 0


def _listener(context: Any, port: int) -> Callable[[], polytls.Connection]:
    """A listener of polytls; returns what accepts, handshake done."""
    listener = context.connect(("127.0.0.1", port), reuse_port=True)

    def accept() -> polytls.Connection:
        connection: polytls.Connection = listener.accept()[0]
        connection.settimeout(_PATIENCE)
        return connection

    return accept


def _serve(accept: Callable[[], polytls.Connection]) -> None:
    """Serve one client after another, for ever."""
    while True:
        try:
            with accept() as connection:
                _answer(connection)
        except OSError as error:
            print("a client failed:", error, file=sys.stderr, flush=True)


def _answer(connection: polytls.Connection) -> None:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        more = connection.recv(4096)
        if not more:
            return
        request += more
    body = b"%d\n" % os.getpid()
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(head + body)


def _ready() -> None:
    """Say so in one piece, as forks share the pipe."""
    os.write(1, b"ready\n")


def main() -> None:
    """Serve until standard input ends."""
    given: Given = pickle.load(sys.stdin.buffer)  # noqa: S301 # of the process that runs it
    tls = polytls.implementation(given.implementation)
    configuration = polytls.TLSServerConfiguration([given.chain])
    first, *following = given.keys
    make = partial(ReloadingServerContext, tls) if following else tls.server_context
    context: Any = make(configuration.replace(ticket_keys=first))
    accept = _listener(context, given.port)
    for _ in range(given.forks):
        if sys.platform == "win32":
            raise OSError("Windows does not fork")
        if os.fork() == 0:
            break
    threading.Thread(target=_serve, args=(accept,), daemon=True).start()
    _ready()
    while sys.stdin.buffer.readline() == b"next\n":
        context.replace(ticket_keys=following.pop(0))
        _ready()


if __name__ == "__main__":
    main()
