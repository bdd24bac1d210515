"""Libraries that know nothing but `ssl.SSLContext`, each over loopback with polytls under it.

    tools/libraries.py      a table; 0 if every connection was polytls's

Door 1 hands a context in, door 2 is `compat.install()`. `make test-libraries` installs the
libraries (requirements/libraries.txt) beside the built wheel, and runs this.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import redis.asyncio
import requests
import requests.adapters
import tornado.httpclient
import trio
import urllib3
import uvicorn
import websockets.asyncio.client
import websockets.asyncio.server

import polytls
from polytls import compat
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

BODY = b"x" * 30_000


class Place:
    """Certificates, and a uvicorn to ask."""

    def __init__(self, door: int) -> None:
        self.door = door
        self.made: Any = compat if door == 1 else ssl
        folder = Path(tempfile.mkdtemp())
        authority = CertificateAuthority()
        certificate, key = authority.issue("localhost", "127.0.0.1").leaf
        self.ca, self.chain = str(folder / "ca.pem"), str(folder / "chain.pem")
        Path(self.ca).write_bytes(authority.certificate_pem)
        Path(self.chain).write_bytes(
            pem("CERTIFICATE", certificate.buffer or b"")
            + pem("PRIVATE KEY", (key and key.buffer) or b"")
        )
        settings = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_level="error",
            lifespan="off",
            ssl_certfile=self.chain,
        )
        settings.load()
        if door == 1:
            settings.ssl = self.server()
        served = uvicorn.Server(settings)
        threading.Thread(target=served.run, daemon=True).start()
        while not served.started:
            time.sleep(0.05)
        self.url = f"https://localhost:{served.servers[0].sockets[0].getsockname()[1]}/"

    def client(self) -> Any:
        return self.made.create_default_context(cafile=self.ca)

    def server(self) -> Any:
        context = self.made.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain)
        return context


async def app(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": BODY})


def of_urllib(place: Place) -> bytes:
    with urllib.request.urlopen(place.url, context=place.client()) as answer:  # noqa: S310
        found: bytes = answer.read()
    return found


def of_urllib3(place: Place) -> bytes:
    return urllib3.PoolManager(ssl_context=place.client()).request("GET", place.url).data


def of_requests(place: Place, context: Any = None) -> bytes:
    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *given: Any, **more: Any) -> None:
            super().init_poolmanager(*given, ssl_context=context or place.client(), **more)

    with requests.Session() as session:
        session.mount("https://", Adapter())
        return session.get(place.url).content


def of_requests_pep748(place: Place) -> bytes:
    store = polytls.TrustStore.from_file(place.ca)
    client = polytls.implementation().client_context(
        polytls.TLSClientConfiguration(trust_store=store)
    )
    return of_requests(place, compat.of(client))


def of_httpx(place: Place) -> bytes:
    return httpx.get(place.url, verify=place.client()).content


async def get_by_httpx(place: Place) -> bytes:
    async with httpx.AsyncClient(verify=place.client()) as client:
        return (await client.get(place.url)).content


def of_httpx_asyncio(place: Place) -> bytes:
    return asyncio.run(get_by_httpx(place))


def of_httpx_trio(place: Place) -> bytes:
    return trio.run(get_by_httpx, place)


def of_aiohttp(place: Place) -> bytes:
    async def get() -> bytes:
        async with (
            aiohttp.ClientSession() as session,
            session.get(place.url, ssl=place.client()) as answer,
        ):
            return await answer.read()

    return asyncio.run(get())


def of_tornado(place: Place) -> bytes:
    async def get() -> bytes:
        client = tornado.httpclient.AsyncHTTPClient()
        return (await client.fetch(place.url, ssl_options=place.client())).body

    return asyncio.run(get())


def of_websockets(place: Place) -> bytes:
    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def talk() -> bytes:
        serve, connect = websockets.asyncio.server.serve, websockets.asyncio.client.connect
        async with serve(echo, "127.0.0.1", 0, ssl=place.server()) as served:
            port = next(iter(served.sockets)).getsockname()[1]
            uri = f"wss://localhost:{port}"
            async with connect(uri, ssl=place.client(), proxy=None) as connection:
                await connection.send(BODY)
                return bytes(await connection.recv(decode=False))

    return asyncio.run(talk())


def of_redis(place: Place) -> bytes:
    """Only door 2: it makes its own context."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2])
            writer.write(b"+PONG\r\n" if words[0] == b"PING" else b"+OK\r\n")

    async def ping() -> bytes:
        served = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=place.server())
        port = served.sockets[0].getsockname()[1]
        client = redis.asyncio.Redis(
            host="localhost", port=port, ssl=True, ssl_ca_certs=place.ca, protocol=2
        )
        answered = await client.ping()
        await client.aclose()
        served.close()
        return BODY if answered else b""

    return asyncio.run(ping())


#: Each with the doors that it has.
LIBRARIES: dict[str, tuple[Callable[[Place], bytes], tuple[int, ...]]] = {
    "urllib": (of_urllib, (1, 2)),
    "urllib3": (of_urllib3, (1, 2)),
    "requests": (of_requests, (1, 2)),
    "requests, of(context)": (of_requests_pep748, (1,)),
    "httpx": (of_httpx, (1, 2)),
    "httpx on asyncio": (of_httpx_asyncio, (1, 2)),
    "httpx on trio": (of_httpx_trio, (1, 2)),
    "aiohttp": (of_aiohttp, (1, 2)),
    "tornado": (of_tornado, (1, 2)),
    "websockets": (of_websockets, (1, 2)),
    "redis": (of_redis, (2,)),
}


def main() -> int:
    """Run all of them; return the exit code."""
    wrong = False
    for door in (1, 2):
        if door == 2:
            compat.install()
        place = Place(door)
        for name, (call, doors) in LIBRARIES.items():
            if door not in doors:
                continue
            before = compat.report()
            try:
                outcome = "ok" if call(place) == BODY else "another answer"
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"
            after = compat.report()
            made = after["polytls"] - before["polytls"]
            # Both sides of a connection, which may be kept alive from an earlier request.
            right = outcome == "ok" and made >= 2 and after["openssl"] == before["openssl"]
            wrong = wrong or not right
            print(f"door {door}  {name:24} {outcome}, {made} connections", flush=True)
    return int(wrong)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # uvicorn's threads serve for ever.
    os._exit(code)
