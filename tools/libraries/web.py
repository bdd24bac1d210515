"""Clients of HTTP, WebSocket and streams, against servers in this process."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from place import BODY, Place, library, request


@library("urllib.request")
def _(place: Place) -> None:
    assert request(place, place.https()) == BODY


@library("urllib3")
def _(place: Place) -> None:
    import urllib3

    url = place.https()
    given = {"ssl_context": place.client()} if place.door == 1 else {"ca_certs": place.ca}
    with urllib3.PoolManager(**given) as pool:
        assert [pool.request("GET", url).data for _ in range(3)] == [BODY] * 3


def adapted(context: Any) -> Any:
    """A session of requests whose connections are of a context: docs/ssl.md has it."""
    import requests
    import requests.adapters

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **more: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **more)

    session = requests.Session()
    session.mount("https://", Adapter())
    return session


@library("requests")
def _(place: Place) -> None:
    import requests

    url = place.https()
    if place.door == 1:
        with adapted(place.client()) as session:
            assert session.get(url).content == BODY
    else:
        assert requests.get(url, verify=place.ca, timeout=20).content == BODY
        refused = ""
        try:
            requests.get(url, timeout=20)
        except requests.exceptions.SSLError as error:
            refused = str(error)
        assert "CERTIFICATE_VERIFY_FAILED" in refused


@library("requests, compat.of(context)", doors=(1,))
def _(place: Place) -> None:
    import polytls
    from polytls import compat

    store = polytls.TrustStore.from_file(place.ca)
    configuration = polytls.TLSClientConfiguration(trust_store=store)
    client = polytls.implementation().client_context(configuration)
    with adapted(compat.of(client)) as session:
        assert session.get(place.https()).content == BODY


@library("httpx")
def _(place: Place) -> None:
    import httpx

    assert httpx.get(place.https(), verify=place.client()).content == BODY


async def get_by_httpx(place: Place, url: str) -> None:
    import httpx

    async with httpx.AsyncClient(verify=place.client()) as client:
        assert (await client.get(url)).content == BODY


@library("httpx on asyncio")
def _(place: Place) -> None:
    asyncio.run(get_by_httpx(place, place.https()))


@library("httpx on trio")
def _(place: Place) -> None:
    import trio

    trio.run(get_by_httpx, place, place.https())


@library("httpx over HTTP/2, hypercorn")
def _(place: Place) -> None:
    import httpx
    from serving import hypercorn

    async def get() -> None:
        async with (
            hypercorn(place) as url,
            httpx.AsyncClient(verify=place.client(), http2=True) as client,
        ):
            answers = await asyncio.gather(*(client.get(url) for _ in range(5)))
            assert {answer.content for answer in answers} == {BODY}
            assert {answer.http_version for answer in answers} == {"HTTP/2"}
            answer = await asyncio.to_thread(waiting, url)
            assert (answer.content, answer.http_version) == (BODY, "HTTP/2")

    def waiting(url: str) -> httpx.Response:
        with httpx.Client(verify=place.client(), http2=True) as client:
            return client.get(url)

    asyncio.run(get())


@library("httpcore")
def _(place: Place) -> None:
    """Its pools that wait and those that do not: HTTP/1.1, and HTTP/2 with hypercorn."""
    import httpcore
    from serving import hypercorn

    def waiting(url: str) -> httpcore.Response:
        with httpcore.ConnectionPool(ssl_context=place.client(), http2=True) as pool:
            return pool.request("GET", url)

    async def get(url: str) -> httpcore.Response:
        async with httpcore.AsyncConnectionPool(ssl_context=place.client(), http2=True) as pool:
            return await pool.request("GET", url)

    async def get_both(url: str, version: bytes) -> None:
        for answer in (await get(url), await asyncio.to_thread(waiting, url)):
            assert answer.content == BODY
            assert answer.extensions["http_version"] == version

    async def get_all() -> None:
        await get_both(place.https(), b"HTTP/1.1")
        async with hypercorn(place) as url:
            await get_both(url, b"HTTP/2")

    asyncio.run(get_all())


@library("aiohttp, client and server")
def _(place: Place) -> None:
    import aiohttp
    from aiohttp import web

    async def answer(asked: web.Request) -> web.Response:
        assert asked.secure
        return web.Response(body=BODY)

    async def talk() -> None:
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=place.server())
        await site.start()
        url = f"https://localhost:{runner.addresses[0][1]}/"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, ssl=place.client()) as answered,
        ):
            assert await answered.read() == BODY
        await runner.cleanup()

    asyncio.run(talk())


@library("tornado, client and server")
def _(place: Place) -> None:
    import tornado.httpclient
    import tornado.httpserver
    import tornado.netutil
    import tornado.web

    class Page(tornado.web.RequestHandler):
        def get(self) -> None:
            self.write(BODY)

    async def talk() -> None:
        files = {"certfile": place.certificate, "keyfile": place.key}
        options = place.server() if place.door == 1 else files
        app = tornado.web.Application([("/", Page)])
        served = tornado.httpserver.HTTPServer(app, ssl_options=options)
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        served.add_sockets(sockets)
        url = f"https://localhost:{sockets[0].getsockname()[1]}/"
        asked = {"ssl_options": place.client()} if place.door == 1 else {"ca_certs": place.ca}
        answer = await tornado.httpclient.AsyncHTTPClient().fetch(url, **asked)
        assert answer.body == BODY
        served.stop()

    asyncio.run(talk())


async def over_websocket(place: Place, url: str, *protocols: str) -> str | None:
    """Have a message echoed by a server of WebSocket; return the protocol that was agreed on."""
    from websockets.asyncio.client import connect

    uri = url.replace("https:", "wss:")
    async with connect(uri, ssl=place.client(*protocols), proxy=None) as connection:
        await connection.send(BODY)
        assert await connection.recv(decode=False) == BODY
        secured = connection.transport.get_extra_info("ssl_object")
        agreed: str | None = secured.selected_alpn_protocol()
        return agreed


@library("websockets on asyncio")
def _(place: Place) -> None:
    from websockets.asyncio.server import serve

    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def talk() -> None:
        async with serve(echo, "127.0.0.1", 0, ssl=place.server("http/1.1")) as served:
            url = f"https://localhost:{next(iter(served.sockets)).getsockname()[1]}"
            assert await over_websocket(place, url, "h2", "http/1.1") == "http/1.1"

    asyncio.run(talk())


@library("websockets on threads")
def _(place: Place) -> None:
    from websockets.sync.client import connect
    from websockets.sync.server import serve

    def echo(connection: Any) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0, ssl=place.server("http/1.1")) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        uri = f"wss://localhost:{served.socket.getsockname()[1]}"
        with connect(uri, ssl=place.client("h2", "http/1.1"), proxy=None) as connection:
            connection.send(BODY)
            assert connection.recv(decode=False) == BODY
            assert connection.socket.selected_alpn_protocol() == "http/1.1"
        served.shutdown()


async def streams(place: Place) -> None:
    """Both sides by asyncio's streams: on whichever loop runs."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    served = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=place.server())
    port = served.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("localhost", port, ssl=place.client())
    for _ in range(20):
        writer.write(BODY)
        assert await reader.readexactly(len(BODY)) == BODY
    writer.close()
    await writer.wait_closed()
    served.close()


@library("asyncio streams")
def _(place: Place) -> None:
    asyncio.run(streams(place))


@library("uvloop")
def _(place: Place) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(streams(place))


@library("trio")
def _(place: Place) -> None:
    import trio

    async def echo(stream: Any) -> None:
        async with stream:
            async for data in stream:
                await stream.send_all(data)

    async def talk() -> None:
        async with trio.open_nursery() as nursery:
            served = await nursery.start(trio.serve_ssl_over_tcp, echo, 0, place.server())
            port = served[0].transport_listener.socket.getsockname()[1]
            context = place.client()
            stream = await trio.open_ssl_over_tcp_stream("localhost", port, ssl_context=context)
            await stream.send_all(BODY)
            found = b""
            while len(found) < len(BODY):
                found += await stream.receive_some()
            assert found == BODY
            await stream.aclose()
            nursery.cancel_scope.cancel()

    trio.run(talk)


def over_anyio(place: Place, backend: str) -> None:
    import anyio
    from anyio.streams.tls import TLSListener

    async def echo(stream: Any) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async def talk() -> None:
        plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with anyio.create_task_group() as group:
            group.start_soon(TLSListener(plain, place.server()).serve, echo)
            port = plain.listeners[0].extra(anyio.abc.SocketAttribute.local_port)
            context = place.client()
            stream = await anyio.connect_tcp("localhost", port, tls=True, ssl_context=context)
            await stream.send(b"hello")
            assert await stream.receive() == b"hello"
            await stream.aclose()
            group.cancel_scope.cancel()

    anyio.run(talk, backend=backend)


@library("anyio on asyncio")
def _(place: Place) -> None:
    over_anyio(place, "asyncio")


@library("anyio on trio")
def _(place: Place) -> None:
    over_anyio(place, "trio")


@library("gevent")
def _(place: Place) -> None:
    """Both sides are greenlets of one thread: a call that blocked would never end."""
    import gevent

    url = place.https()
    jobs = [gevent.spawn(request, place, url) for _ in range(5)]
    assert [job.get(timeout=20) for job in jobs] == [BODY] * 5


@library("eventlet")
def _(place: Place) -> None:
    """As gevent's."""
    import eventlet

    url = place.https()
    jobs = [eventlet.spawn(request, place, url) for _ in range(5)]
    with eventlet.Timeout(20):
        assert [job.wait() for job in jobs] == [BODY] * 5


@library("google-auth, over requests")
def _(place: Place) -> None:
    import google.auth.credentials
    import google.auth.transport.requests

    url = place.https()
    credentials = google.auth.credentials.AnonymousCredentials()
    with google.auth.transport.requests.AuthorizedSession(credentials) as session:
        if place.door == 1:
            session.mount("https://", adapted(place.client()).get_adapter(url))
        else:
            session.verify = place.ca
        assert session.get(url).content == BODY


@library("botocore", doors=(2,))
def _(place: Place) -> None:
    import botocore.session

    listing = b"<ListAllMyBucketsResult><Buckets><Bucket><Name>one</Name></Bucket></Buckets>"
    url = place.https({"/": ("application/xml", listing + b"</ListAllMyBucketsResult>")})
    client = botocore.session.get_session().create_client(
        "s3",
        "eu-north-1",
        endpoint_url=url,
        verify=place.ca,
        aws_access_key_id="name",
        aws_secret_access_key="secret",
    )
    assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["one"]
