"""Servers of HTTP, asked by the standard library."""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from place import BODY, PATIENCE, Place, library, request

from polytls import compat


async def app(scope: Any, receive: Any, send: Any) -> None:
    """What uvicorn and hypercorn serve."""
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "websocket":
        assert scope["scheme"] == "wss"
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "bytes": message["bytes"]})
        await send({"type": "websocket.close"})
        return
    assert scope["scheme"] == "https"
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": BODY})


def uvicorn(place: Place, served_app: Any) -> str:
    """Serve an app by uvicorn in a thread; return the address."""
    import uvicorn

    class Config(uvicorn.Config):
        def load(self) -> None:
            super().load()
            if place.door == 1:
                self.ssl = place.server()

    config = Config(
        served_app,
        host="127.0.0.1",
        port=0,
        log_level="error",
        lifespan="off",
        ssl_certfile=place.certificate,
        ssl_keyfile=place.key,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    deadline = time.monotonic() + PATIENCE
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return f"https://localhost:{server.servers[0].sockets[0].getsockname()[1]}/"


@library("uvicorn")
def _(place: Place) -> None:
    assert request(place, uvicorn(place, app)) == BODY


@library("uvicorn, WebSocket")
def _(place: Place) -> None:
    from web import over_websocket

    asyncio.run(over_websocket(place, uvicorn(place, app), "http/1.1"))


@asynccontextmanager
async def hypercorn(place: Place) -> AsyncIterator[str]:
    """Serve the app by hypercorn in this loop; give the address."""
    import hypercorn.asyncio
    import hypercorn.config

    class Config(hypercorn.config.Config):
        def create_ssl_context(self) -> Any:
            if place.door == 1:
                return place.server(*self.alpn_protocols)
            return super().create_ssl_context()

    config = Config()
    port = place.free_port()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile, config.keyfile = place.certificate, place.key
    config.errorlog = None
    ended = asyncio.Event()
    serving = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=ended.wait))
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            _, probe = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        else:
            probe.close()
            break
    yield f"https://localhost:{port}/"
    ended.set()
    await asyncio.wait_for(serving, PATIENCE)


@library("hypercorn")
def _(place: Place) -> None:
    async def get() -> None:
        async with hypercorn(place) as url:
            assert await asyncio.to_thread(request, place, url) == BODY

    asyncio.run(get())


@library("hypercorn, WebSocket")
def _(place: Place) -> None:
    """The server has HTTP/2 and HTTP/1.1, of which a client of WebSocket offers the second."""
    from web import over_websocket

    async def talk() -> None:
        async with hypercorn(place) as url:
            assert await over_websocket(place, url, "http/1.1") == "http/1.1"

    asyncio.run(talk())


@library("gunicorn", sides=1)
def _(place: Place) -> None:
    """It serves in processes of its own, so the page tells what they are served by."""
    place.write(
        "page.py",
        textwrap.dedent("""
            import json
            from polytls import compat

            def app(environment, start):
                assert environment["wsgi.url_scheme"] == "https"
                start("200 OK", [("Content-Type", "application/json")])
                return [json.dumps(compat.report()).encode()]
        """),
    )
    port = place.free_port()
    settings = f"""
        bind = "127.0.0.1:{port}"
        certfile, keyfile = {place.certificate!r}, {place.key!r}
    """
    if place.door == 1:
        settings += """
        def ssl_context(config, default_ssl_context_factory):
            import ssl
            from polytls import compat
            context = compat.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(config.certfile, config.keyfile)
            return context
        """
    place.write("settings.py", textwrap.dedent(settings))
    run = ("-m", "polytls", "run") if place.door == 2 else ()
    command = (sys.executable, *run, "-m", "gunicorn", "-c", "settings.py", "page:app")
    place.start(*command, port=port)
    report = json.loads(request(place, f"https://localhost:{port}/"))
    assert report["polytls"] >= 1, report
    assert report["openssl"] == 0, report
    assert report["installed"] is (place.door == 2)


@library("Flask")
def _(place: Place) -> None:
    """By the server of its own, as `app.run(ssl_context=...)` starts it."""
    import flask
    import werkzeug.serving

    served_app = flask.Flask("page")

    @served_app.get("/")
    def page() -> bytes:
        assert flask.request.is_secure
        return BODY

    given = place.server() if place.door == 1 else (place.certificate, place.key)
    served = werkzeug.serving.make_server("127.0.0.1", 0, served_app, ssl_context=given)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    assert request(place, f"https://localhost:{served.server_port}/") == BODY
    served.shutdown()


@library("Django, pages and mail")
def _(place: Place) -> None:
    """It has no TLS of its own for pages; its mail does."""
    import django
    import django.conf
    import django.core.asgi
    import django.core.mail
    import django.core.mail.backends.smtp
    import django.http
    import django.urls
    from messages import mailbox

    def page(asked: Any) -> Any:
        assert asked.is_secure()
        return django.http.HttpResponse(BODY)

    urls = type(sys)("urls")
    urls.urlpatterns = [django.urls.path("", page)]  # type: ignore[attr-defined]
    sys.modules["urls"] = urls
    mails, port = mailbox(place, starttls=True)
    django.conf.settings.configure(
        ALLOWED_HOSTS=["localhost"],
        ROOT_URLCONF="urls",
        MIDDLEWARE=[],
        EMAIL_HOST="localhost",
        EMAIL_PORT=port,
        EMAIL_USE_TLS=True,
    )
    django.setup()
    assert request(place, uvicorn(place, django.core.asgi.get_asgi_application())) == BODY

    class Backend(django.core.mail.backends.smtp.EmailBackend):
        @property
        def ssl_context(self) -> Any:
            return place.client()

    before = compat.report()["polytls"]
    message = django.core.mail.EmailMessage("hello", "text", "me@localhost", ["you@localhost"])
    assert Backend().send_messages([message]) == 1
    assert b"Subject: hello" in mails[0]
    assert compat.report()["polytls"] == before + 2
