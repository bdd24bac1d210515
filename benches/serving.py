"""Cases of a server: uvicorn, in a process of its own, serves 1 KiB to wrk, a client in C.

wrk has OpenSSL, and does a full handshake for each connection. What is measured is the server: it
has a core of its own, and is the slower side.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any

from .credentials import Credentials
from .loopback import on_client_core, tcp
from .peers import Library, Setting, Unable
from .peers.plain import PlainTcp
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


@dataclass
class _Server(AbstractContextManager["_Server"]):
    process: subprocess.Popen[str]
    port: int

    @classmethod
    def start(cls, bench: Bench, library: Library) -> _Server:
        process = subprocess.Popen(
            [sys.executable, "-m", "benches", "--application", library.name],
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        bench.cores.pin(process.pid, -1)
        process.stdin.write(bench.credentials.to_json() + "\n")
        process.stdin.flush()
        said = process.stdout.readline().strip()
        if not said.isdecimal():
            process.communicate()
            raise Unable(said) if said else RuntimeError(f"uvicorn over {library.name} failed")
        return cls(process, int(said))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.communicate()


def _started(bench: Bench, library: Library) -> _Server:
    """One for each library and run."""
    key = ("application", library.name)
    if key not in bench.kept:
        bench.kept[key] = bench.stack.enter_context(_Server.start(bench, library))
    server = bench.kept[key]
    assert isinstance(server, _Server)
    return server


def _requests(url: str, seconds: int, *, kept: bool) -> float:
    """How many requests a second wrk had answered; raises RuntimeError if some failed."""
    more = [] if kept else ["-H", "Connection: close"]
    command = ["wrk", "-t1", f"-c{_AT_ONCE}", f"-d{seconds}s", *more, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = re.search(r"^Requests/sec: +([\d.]+)$", done.stdout, re.MULTILINE)
    if told is None or "Non-2xx" in done.stdout or re.search(r"errors: .*[1-9]", done.stdout):
        raise RuntimeError(f"wrk: {done.stdout}{done.stderr}")
    return float(told[1])


def _case(*, kept: bool) -> Callable[[Bench, Library], Sample]:
    def prepare(bench: Bench, library: Library) -> Sample:
        if shutil.which("wrk") is None:
            raise Unable("there is no wrk: install it (Debian: apt-get install wrk)")
        server = _started(bench, library)
        scheme = "http" if isinstance(library, PlainTcp) else "https"
        url = f"{scheme}://127.0.0.1:{server.port}/"
        # It takes whole seconds.
        seconds = max(1, ceil(bench.target))
        sample = on_client_core(bench, lambda: _requests(url, seconds, kept=kept))
        if bench.target:
            sample()
        return sample

    return prepare


_KEPT, _NEW = _case(kept=True), _case(kept=False)

CASES: list[Case] = [
    Case("uvicorn, requests 1 KiB", "1/s", _KEPT, floor=tcp(_KEPT), rounds=5),
    Case("uvicorn, connections 1 KiB", "1/s", _NEW, floor=tcp(_NEW), rounds=5),
]
