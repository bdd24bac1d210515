"""Cases of HTTP: `http.client` over each library, and urllib3, requests and httpx over those with
an `ssl.SSLContext`, to the server of `server`, which speaks enough of it for that."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

from .credentials import HOST
from .floors import Run
from .loopback import connected_server, on_client_core, tcp
from .peers import Contexts, Library, Setting, imported
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


#: What gets the body at a path, and what closes all connections.
_Getter = tuple[Callable[[str], bytes], Callable[[], None]]


def _urllib3(contexts: Contexts, port: int) -> _Getter:
    module = imported("urllib3")
    pool = module.HTTPSConnectionPool(
        "127.0.0.1", port, ssl_context=contexts.shaped(), server_hostname=HOST, assert_hostname=HOST
    )

    def get(path: str) -> bytes:
        body: bytes = pool.request("GET", path).data
        return body

    return get, pool.close


def _requests(contexts: Contexts, port: int) -> _Getter:
    """The same of requests, which gives contexts to its adapters alone."""
    module, context = imported("requests"), contexts.shaped()

    class Adapter(module.adapters.HTTPAdapter):  # type: ignore[misc, name-defined]
        def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
            names = {"server_hostname": HOST, "assert_hostname": HOST}
            super().init_poolmanager(*arguments, ssl_context=context, **names, **more)

    session = module.Session()
    session.trust_env = False
    session.mount("https://", Adapter())

    def get(path: str) -> bytes:
        body: bytes = session.get(f"https://127.0.0.1:{port}{path}").content
        return body

    return get, session.close


def _httpx(contexts: Contexts, port: int) -> _Getter:
    module = imported("httpx")
    client = module.Client(verify=contexts.shaped(), trust_env=False)
    named = {"sni_hostname": HOST}

    def get(path: str) -> bytes:
        body: bytes = client.get(f"https://127.0.0.1:{port}{path}", extensions=named).content
        return body

    return get, client.close


def _client(
    make: Callable[[Contexts, int], _Getter],
    amount: int = _SMALL,
    each: float = 1.0,
    *,
    kept: bool = True,
) -> Callable[[Bench, Library], Sample]:
    def prepare(bench: Bench, library: Library) -> Sample:
        bench.contexts(library, Setting()).shaped()  # raises Unable before a server is started
        server = connected_server(bench, library)
        # Kept connections are closed at the end, others with the client that each is made for.
        get, close = make(server.contexts, server.answering)
        bench.stack.callback(lambda: close())
        path = f"/{amount}"

        def run(count: int) -> float:
            nonlocal get, close
            took = 0.0
            for _ in range(count):
                if not kept:
                    close()
                    get, close = make(server.contexts, server.answering)
                began = time.perf_counter()
                body = get(path)
                took += time.perf_counter() - began
            assert len(body) == amount
            return took

        most = {} if kept else {"most": _CONNECTIONS}
        with bench.cores.on(-2):
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
    Case("urllib3, requests 1 KiB", "1/s", _client(_urllib3)),
    Case("urllib3, connections 1 KiB", "1/s", _client(_urllib3, kept=False)),
    Case("urllib3, download 10 MiB", "MB/s", _client(_urllib3, _LARGE, _LARGE / 1e6)),
    Case("requests, requests 1 KiB", "1/s", _client(_requests)),
    Case("httpx, requests 1 KiB", "1/s", _client(_httpx)),
    Case("httpx, connections 1 KiB", "1/s", _client(_httpx, kept=False)),
    Case("httpx, download 10 MiB", "MB/s", _client(_httpx, _LARGE, _LARGE / 1e6)),
]
