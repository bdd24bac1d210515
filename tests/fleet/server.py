"""One server process of a fleet: `test_fleet.py` runs it, and tells it what to be.

Every connection gets the number of the process that serves it. The word `next` on standard input
exchanges the ticket keys for the next that were given; each change is answered with `ready`.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import threading
from typing import Any

import polytls

#: What one client may take, in seconds.
PATIENCE = 20.0


def serve(listener: socket.socket, context: Any) -> None:
    """Serve one client after another, for ever, by the context that is current."""
    while True:
        accepted, _ = listener.accept()
        accepted.settimeout(PATIENCE)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context().wrap_socket(accepted) as connection:
            connection.sendall(b"%d\n" % os.getpid())
            connection.recv(1)


def ready() -> None:
    """Say so in one piece, as forks share the pipe."""
    os.write(1, b"ready\n")


def main() -> None:
    given = pickle.load(sys.stdin.buffer)
    tls = polytls.implementation("rustls")
    configuration = polytls.TLSServerConfiguration([given["chain"]])
    contexts = [
        tls.server_context(configuration.replace(ticket_keys=keys)) for keys in given["keys"]
    ]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", given["port"]))
    listener.listen(128)
    for _ in range(given["forks"]):
        if os.fork() == 0:
            break
    threading.Thread(target=serve, args=(listener, lambda: contexts[0]), daemon=True).start()
    ready()
    while sys.stdin.buffer.readline() == b"next\n":
        del contexts[0]
        ready()


if __name__ == "__main__":
    main()
