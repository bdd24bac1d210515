"""Cases of a server: uvicorn, in a process of its own, serves 1 KiB to wrk, a client in C.

wrk has OpenSSL, and does a full handshake for each connection. What is measured is the server: it
has a core of its own, and is the slower side.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from math import ceil
from typing import Any

from .credentials import Credentials
from .loopback import on_client_core, tcp
from .peers import Library, Setting, Unable
from .peers.plain import PlainTcp
from .programs import Child, installed
from .rounds import Bench, Case, Sample

__all__ = ["CASES", "serve_application"]

_BODY = bytes(1024)
#: Connections at a time.
_AT_ONCE = 8
#: Seconds until a server must have started.
_PATIENCE = 20


async def _application(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    headers = [(b"content-length", b"%d" % len(_BODY))]
    if (b"connection", b"close") in scope["headers"]:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _BODY})


def serve_application(library: Library, setting: Setting) -> None:
    """The server's process: print the port, or why there is none; end with standard input."""
    contexts = library.contexts(Credentials.from_json(sys.stdin.readline()), setting)
    settings = {"host": "127.0.0.1", "port": 0, "lifespan": "off", "log_level": "error"}
    try:
        server = contexts.uvicorn(_application, settings)
    except Unable as reason:
        print(reason, flush=True)
        return
    threading.Thread(target=server.run, daemon=True).start()
    deadline = time.monotonic() + _PATIENCE
    while not server.started:
        if time.monotonic() > deadline:
            raise RuntimeError("uvicorn did not start")
        time.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    sys.stdin.read()
    os._exit(0)


def _started(bench: Bench, library: Library) -> int:
    """The port of the server: one for each library and run."""

    def start() -> int:
        arguments = ("--application", library.name)
        server = bench.stack.enter_context(Child(bench.cores, bench.credentials, *arguments))
        if not server.said.isdecimal():
            raise (
                Unable(server.said)
                if server.said
                else RuntimeError(f"uvicorn over {library.name} failed")
            )
        return int(server.said)

    return bench.once(("application", library.name), start)


def _requests(wrk: str, url: str, seconds: int, *, kept: bool) -> float:
    """How many requests a second wrk had answered; raises RuntimeError if some failed."""
    more = [] if kept else ["-H", "Connection: close"]
    command = [wrk, "-t1", f"-c{_AT_ONCE}", f"-d{seconds}s", *more, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = re.search(r"^Requests/sec: +([\d.]+)$", done.stdout, re.MULTILINE)
    if told is None or "Non-2xx" in done.stdout or re.search(r"errors: .*[1-9]", done.stdout):
        raise RuntimeError(f"wrk: {done.stdout}{done.stderr}")
    return float(told[1])


def _case(*, kept: bool) -> Callable[[Bench, Library], Sample]:
    def prepare(bench: Bench, library: Library) -> Sample:
        wrk, port = installed("wrk", "wrk"), _started(bench, library)
        scheme = "http" if isinstance(library, PlainTcp) else "https"
        url = f"{scheme}://127.0.0.1:{port}/"
        # It takes whole seconds.
        seconds = max(1, ceil(bench.target))
        sample = on_client_core(bench, lambda: _requests(wrk, url, seconds, kept=kept))
        if bench.target:
            sample()
        return sample

    return prepare


_KEPT, _NEW = _case(kept=True), _case(kept=False)

CASES: list[Case] = [
    Case("uvicorn, requests 1 KiB", "1/s", _KEPT, floor=tcp(_KEPT), rounds=5),
    Case("uvicorn, connections 1 KiB", "1/s", _NEW, floor=tcp(_NEW), rounds=5),
]
