"""Mail, and brokers of messages."""

from __future__ import annotations

import asyncio
import threading
import time
from email.message import EmailMessage
from typing import Any

from place import PATIENCE, Place, library

from polytls import compat


def mailbox(place: Place, *, starttls: bool) -> tuple[list[bytes], int]:
    """Start aiosmtpd in a thread; return the mails that it will have got, and its port."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import SMTP

    mails: list[bytes] = []

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            assert session.ssl is not None or not starttls
            mails.append(envelope.content)
            return "250 taken"

    class Encrypted(Controller):
        def factory(self) -> Any:
            if starttls:
                return SMTP(self.handler, tls_context=place.server(), require_starttls=True)
            return super().factory()

    port = place.free_port()
    given = {} if starttls else {"ssl_context": place.server()}
    server = Encrypted(Handler(), hostname="127.0.0.1", port=port, **given)
    server.start()
    place.closing.callback(server.stop)
    return mails, port


def letter() -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "hello", "me@localhost", "you@localhost"
    message.set_content("text\n" * 5_000)
    return message


@library("aiosmtpd")
def _(place: Place) -> None:
    """STARTTLS and TLS from the beginning; the standard library sends."""
    import smtplib

    mails, port = mailbox(place, starttls=True)
    with smtplib.SMTP("localhost", port, timeout=20) as client:
        client.starttls(context=place.client())
        client.send_message(letter())
    assert compat.report()["polytls"] == 2
    more, port = mailbox(place, starttls=False)
    with smtplib.SMTP_SSL("localhost", port, timeout=20, context=place.client()) as client:
        client.send_message(letter())
    assert [b"Subject: hello" in mail for mail in mails + more] == [True, True]


@library("aiosmtplib")
def _(place: Place) -> None:
    import aiosmtplib

    mails, port = mailbox(place, starttls=True)
    if place.door == 1:
        given: dict[str, Any] = {"tls_context": place.client()}
    else:
        given = {"cert_bundle": place.ca}
    sending = aiosmtplib.send(letter(), hostname="localhost", port=port, start_tls=True, **given)
    asyncio.run(sending)
    assert b"Subject: hello" in mails[0]


@library("aioftp, client and server")
def _(place: Place) -> None:
    """The connection for commands and those for data."""
    import aioftp

    async def talk() -> None:
        (place.folder / "served").mkdir()
        place.write("served/file", b"x" * 300_000)
        user = aioftp.User(base_path=place.folder / "served")
        server = aioftp.Server([user], ssl=place.server())
        await server.start("127.0.0.1", 0)
        context = aioftp.Client.context("localhost", server.address[1], ssl=place.client())
        async with context as client:
            await client.download("file", place.folder / "fetched", write_into=True)
        await server.close()

    asyncio.run(talk())
    assert (place.folder / "fetched").read_bytes() == b"x" * 300_000
    assert compat.report()["polytls"] >= 4


@library("paho-mqtt", sides=1, needs="mosquitto")
def _(place: Place) -> None:
    import paho.mqtt.client

    port = place.free_port()
    settings = f"""user root
listener {port} 127.0.0.1
certfile {place.certificate}
keyfile {place.key}
allow_anonymous true
"""
    path = place.write("mosquitto.conf", settings)
    place.start(place.find("mosquitto"), "-c", path, port=port)
    client = paho.mqtt.client.Client(paho.mqtt.client.CallbackAPIVersion.VERSION2)
    came: list[bytes] = []
    done = threading.Event()

    def take(_: Any, __: Any, message: Any) -> None:
        came.append(message.payload)
        done.set()

    client.on_connect = lambda *_: client.subscribe("topic", qos=1)
    client.on_subscribe = lambda *_: client.publish("topic", b"x" * 100_000, qos=1)
    client.on_message = take
    if place.door == 1:
        client.tls_set_context(place.client())
    else:
        client.tls_set(ca_certs=place.ca)
    client.connect("localhost", port)
    client.loop_start()
    assert done.wait(20)
    client.disconnect()
    client.loop_stop()
    assert came == [b"x" * 100_000]


def rabbitmq(place: Place, port: int, settings: str, *plugins: str) -> None:
    """Start RabbitMQ, which listens on the port by what `settings` say."""
    settings += f"""
listeners.tcp = none
ssl_options.cacertfile = {place.ca}
ssl_options.certfile = {place.certificate}
ssl_options.keyfile = {place.key}
ssl_options.verify = verify_none
"""
    place.write("rabbitmq.conf", settings)
    place.write("plugins", f"[{','.join(plugins)}].")
    names = place.free_port()
    variables = {
        "HOME": str(place.folder),
        "RABBITMQ_NODENAME": f"polytls{port}@localhost",
        "RABBITMQ_MNESIA_BASE": str(place.folder / "data"),
        "RABBITMQ_LOG_BASE": str(place.folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(place.folder / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(place.folder / "plugins"),
        "RABBITMQ_DIST_PORT": str(place.free_port()),
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    # Erlang's table of names: it would start one by itself, and leave it running.
    place.start(place.find("epmd"), port=names, **variables)
    place.start("/usr/lib/rabbitmq/bin/rabbitmq-server", port=port, **variables)


@library("pika", sides=1, needs="rabbitmq-server")
def _(place: Place) -> None:
    import pika

    port = place.free_port()
    rabbitmq(place, port, f"listeners.ssl.default = 127.0.0.1:{port}")
    options = pika.SSLOptions(place.client(), "localhost")
    given = pika.ConnectionParameters("localhost", port, ssl_options=options)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection = pika.BlockingConnection(given)
            break
        except pika.exceptions.AMQPConnectionError:
            # It listens before it has started.
            assert time.monotonic() < deadline
            time.sleep(0.5)
    channel = connection.channel()
    channel.queue_declare("queue")
    channel.basic_publish("", "queue", b"x" * 100_000)
    _, _, body = channel.basic_get("queue", auto_ack=True)
    assert body == b"x" * 100_000
    connection.close()


@library("stomp.py", doors=(2,), sides=1, needs="rabbitmq-server")
def _(place: Place) -> None:
    """Its sockets do not wait: it calls `send` from a selector, and `recv` until it raises."""
    import stomp

    port, amqp = place.free_port(), place.free_port()
    settings = f"""
listeners.ssl.default = 127.0.0.1:{amqp}
stomp.listeners.tcp = none
stomp.listeners.ssl.default = 127.0.0.1:{port}"""
    rabbitmq(place, port, settings, "rabbitmq_stomp")
    done = threading.Event()
    bodies: list[str] = []

    class Listener(stomp.ConnectionListener):  # type: ignore[misc]
        def on_message(self, frame: Any) -> None:
            bodies.append(frame.body)
            done.set()

    peer = ("localhost", port)
    connection = stomp.Connection12([peer], try_loopback_connect=False, vhost="/")
    connection.set_ssl([peer], ca_certs=place.ca)
    connection.set_listener("", Listener())
    connection.connect("guest", "guest", wait=True)
    connection.subscribe("/queue/one", id="1")
    connection.send("/queue/one", "x" * 100_000)
    assert done.wait(20)
    connection.disconnect()
    assert bodies == ["x" * 100_000]
