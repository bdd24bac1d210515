"""Clients of databases and directories, against the servers that Debian has."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from place import PATIENCE, Place, library

from polytls import compat


@library("redis", doors=(2,), sides=1, needs="redis-server")
def _(place: Place) -> None:
    """It makes its context by itself, and takes none."""
    import redis

    with redis.Redis(host="localhost", port=redis_server(place), **of_redis(place)) as client:
        assert client.set("name", "value")
        assert client.get("name") == b"value"


@library("redis on asyncio", doors=(2,), sides=1, needs="redis-server")
def _(place: Place) -> None:
    import redis.asyncio

    async def talk() -> None:
        port = redis_server(place)
        async with redis.asyncio.Redis(host="localhost", port=port, **of_redis(place)) as client:
            assert await client.set("name", "value")
            assert await client.get("name") == b"value"

    asyncio.run(talk())


def of_redis(place: Place) -> dict[str, Any]:
    return {"ssl": True, "ssl_ca_certs": place.ca}


def redis_server(place: Place) -> int:
    port = place.free_port()
    place.start(
        place.find("redis-server"),
        *("--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", ""),
        *("--tls-cert-file", place.certificate, "--tls-key-file", place.key),
        *("--tls-ca-cert-file", place.ca, "--tls-auth-clients", "no"),
        port=port,
    )
    return port


def postgresql(place: Place) -> int:
    """Start PostgreSQL, which speaks nothing but TLS; return its port."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        place.find("postgres")
    data = place.folder / "data"
    data.mkdir()
    user = place.given_to("postgres")
    options = ("--auth=trust", "--username=polytls", "--no-sync")
    place.run(str(programs[-1] / "initdb"), "-D", str(data), *options, user=user)
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
    port = place.free_port()
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": place.folder,
        "ssl": "on",
        "ssl_cert_file": place.certificate,
        "ssl_key_file": place.key,
        "fsync": "off",
    }
    given = (f"--{name}={value}" for name, value in settings.items())
    place.start(str(programs[-1] / "postgres"), "-D", str(data), *given, port=port, user=user)
    # It listens before it has started.
    probe = (str(programs[-1] / "pg_isready"), "--quiet", f"--port={port}", "--host=127.0.0.1")
    deadline = time.monotonic() + PATIENCE
    while subprocess.run(probe, check=False).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return port


ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


@library("asyncpg", sides=1, needs="postgresql")
def _(place: Place) -> None:
    import asyncpg

    async def talk(port: int) -> None:
        if place.door == 1:
            given: dict[str, Any] = {"ssl": place.client()}
            query = ""
        else:
            given = {}
            query = f"?sslmode=verify-full&sslrootcert={place.ca}"
        dsn = f"postgresql://polytls@localhost:{port}/postgres{query}"
        connection = await asyncpg.connect(dsn, timeout=20, **given)
        assert await connection.fetchval(ENCRYPTED)
        rows = await connection.fetch("select generate_series(1, 10000)")
        assert len(rows) == 10_000
        await connection.close()

    asyncio.run(talk(postgresql(place)))


@library("psycopg", doors=(), needs="postgresql")
def _(place: Place) -> None:
    """libpq, in C, links OpenSSL itself: `ssl` is not asked, so neither door is there."""
    import psycopg

    port = postgresql(place)
    given = f"user=polytls dbname=postgres sslmode=verify-full sslrootcert={place.ca}"
    with psycopg.connect(f"host=localhost port={port} {given}") as connection:
        assert connection.execute(ENCRYPTED).fetchone() == (True,)


@library("PyMySQL", sides=1, needs="mariadb-server")
def _(place: Place) -> None:
    import pymysql

    data = place.folder / "data"
    data.mkdir()
    user = place.given_to("mysql")
    place.run(
        place.find("mariadb-install-db", "mysql_install_db"),
        *("--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"),
        "--skip-test-db",
        user=user,
    )
    port = place.free_port()
    place.start(
        place.find("mariadbd", "mysqld"),
        *("--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1"),
        *(f"--socket={place.folder / 'socket'}", f"--pid-file={place.folder / 'pid'}"),
        *(f"--ssl-cert={place.certificate}", f"--ssl-key={place.key}"),
        "--require-secure-transport=ON",
        port=port,
        user=user,
    )
    given: Any = place.client() if place.door == 1 else {"ca": place.ca}
    who: Any = {"user": "root", "database": "mysql"}
    connection = pymysql.connect(host="localhost", port=port, ssl=given, **who)
    with connection, connection.cursor() as cursor:
        cursor.execute("show status like 'Ssl_version'")
        assert cursor.fetchone() == ("Ssl_version", "TLSv1.3")
        cursor.execute("select seq from seq_1_to_10000")
        assert len(cursor.fetchall()) == 10_000


@library("PyMongo", doors=(2,))
def _(place: Place) -> None:
    """Debian has no MongoDB: a peer that knows «hello» and «ping» stands for it.

    Where pyOpenSSL is installed it takes that.
    """
    sys.modules["OpenSSL"] = None  # type: ignore[assignment]
    import bson
    import pymongo

    context = place.server()
    listener = socket.create_server(("127.0.0.1", 0))
    facts = {
        "ok": 1.0,
        "ismaster": True,
        "isWritablePrimary": True,
        "helloOk": True,
        "minWireVersion": 0,
        "maxWireVersion": 25,
        "maxBsonObjectSize": 16 << 20,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
    }

    def answer(stream: Any) -> bool:
        header = stream.read(16)
        if len(header) < 16:
            return False
        length, identity, _, operation = struct.unpack("<iiii", header)
        stream.read(length - 16)
        document = bson.encode(facts)
        if operation == 2013:  # OP_MSG: flags, and one section that is the document
            kind, body = 2013, b"\0\0\0\0\0" + document
        else:  # OP_QUERY, answered by OP_REPLY: flags, cursor, from where, how many
            kind, body = 1, struct.pack("<iqii", 8, 0, 0, 1) + document
        stream.write(struct.pack("<iiii", 16 + len(body), 1, identity, kind) + body)
        stream.flush()
        return True

    def serve(plain: socket.socket) -> None:
        with (
            suppress(OSError, ssl.SSLError),
            context.wrap_socket(plain, server_side=True) as sock,
            sock.makefile("rwb") as stream,
        ):
            while answer(stream):
                pass

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port = listener.getsockname()[1]
    client: Any = pymongo.MongoClient("localhost", port, tls=True, tlsCAFile=place.ca)
    with client:
        assert client.admin.command("ping")["ok"] == 1.0


@library("ldap3", doors=(2,), sides=2, needs="slapd")
def _(place: Place) -> None:
    """LDAP over TLS, and StartTLS; its `Tls` takes files and options, no context."""
    import ldap3

    port, plain = place.free_port(), place.free_port()
    (place.folder / "data").mkdir()
    place.write(
        "slapd.conf",
        textwrap.dedent(f"""
            include /etc/ldap/schema/core.schema
            modulepath /usr/lib/ldap
            moduleload back_mdb
            TLSCACertificateFile {place.ca}
            TLSCertificateFile {place.certificate}
            TLSCertificateKeyFile {place.key}
            database mdb
            suffix "dc=example"
            rootdn "cn=admin,dc=example"
            rootpw secret
            directory {place.folder / "data"}
        """),
    )
    place.start(
        place.find("slapd"),
        *("-h", f"ldaps://127.0.0.1:{port} ldap://127.0.0.1:{plain}", "-d", "0"),
        *("-f", str(place.folder / "slapd.conf")),
        port=port,
    )
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=place.ca, valid_names=["localhost"])
    who = {"user": "cn=admin,dc=example", "password": "secret"}
    server = ldap3.Server("localhost", port=port, use_ssl=True, tls=tls)
    with ldap3.Connection(server, **who) as connection:
        assert connection.bound
    assert compat.report()["polytls"] == 1
    server = ldap3.Server("localhost", port=plain, tls=tls)
    connection = ldap3.Connection(server, **who)
    connection.open()
    assert connection.start_tls()
    assert connection.bind()
    connection.unbind()
