"""Cases of HTTP: `http.client` over each library, to the server of `server`, which speaks enough of
it for that."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPConnection

from .floors import Run
from .loopback import connected_server, on_client_core, tcp
from .peers import Library
from .rounds import Bench, Case, Sample

__all__ = ["CASES"]

_SMALL = 1024
_LARGE = 10 << 20
#: Connections of one measurement: each leaves its port unusable for a while.
_CONNECTIONS = 1000


def _get(connection: HTTPConnection, amount: int, *, kept: bool) -> Run:
    """So many bodies of `amount` bytes, over one connection or over one each."""

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            connection.request("GET", f"/{amount}")
            body = connection.getresponse().read()
            if not kept:
                connection.close()
        took = time.perf_counter() - began
        assert len(body) == amount
        return took

    return run


def _case(
    amount: int, each: float = 1.0, *, kept: bool = True
) -> Callable[[Bench, Library], Sample]:
    def prepare(bench: Bench, library: Library) -> Sample:
        server = connected_server(bench, library)
        with bench.cores.on(-2):
            connection = server.contexts.http(server.answering)
            bench.stack.callback(connection.close)
            run = _get(connection, amount, kept=kept)
            most = {} if kept else {"most": _CONNECTIONS}
            sample = bench.rate(run, each, **most)
        return on_client_core(bench, sample)

    return prepare


_KEPT = _case(_SMALL)
_NEW = _case(_SMALL, kept=False)
_DOWNLOAD = _case(_LARGE, _LARGE / 1e6)

CASES: list[Case] = [
    Case("http.client, requests 1 KiB", "1/s", _KEPT, floor=tcp(_KEPT)),
    Case("http.client, connections 1 KiB", "1/s", _NEW, floor=tcp(_NEW)),
    Case("http.client, download 10 MiB", "MB/s", _DOWNLOAD, floor=tcp(_DOWNLOAD)),
]
