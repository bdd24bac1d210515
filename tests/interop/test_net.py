"""`polytls.net` with real servers: nginx and Apache, squid before them, Postfix and Dovecot.

FTP's are in `test_ftps`. Each server runs from a folder of its own, with no file of the system's
configuration, and is ended by the test.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import poplib
import random
import resource
import shutil
import smtplib
import socket
import textwrap
import time
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import polytls
from interop.mail_servers import Mailboxes, Submission, expired, free_port, strict
from polytls.net.http import HTTPSConnection
from polytls.net.imap import IMAP4, IMAP4_SSL
from polytls.net.pop import POP3, POP3_SSL
from polytls.net.smtp import SMTP, SMTP_SSL
from polytls.net.urllib import ProxyHandler, build_opener
from polytls.testing import CertificateAuthority

pytestmark = pytest.mark.peers(driver=True)

#: What nothing in these tests may take, in seconds.
PATIENCE = 30.0

#: The name that the web servers' certificate has, and that clients dial.
HOST = "localhost"

#: Whether a gigabyte is moved, and 10,000 connections are made, which takes its time.
SOAK = "POLYTLS_SOAK" in os.environ


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        assert time.monotonic() < deadline, "nobody listens"
        time.sleep(0.02)


# --- web servers ---


class Web(NamedTuple):
    """A web server: its port, another one where it asks for certificates, and what it serves."""

    name: str
    port: int
    strict: int
    root: Path


NGINX = """\
    daemon off;
    master_process off;
    pid {folder}/pid;
    error_log stderr;
    events {{ worker_connections 512; }}
    http {{
        access_log off;
        client_body_temp_path {folder}/body;
        proxy_temp_path {folder}/proxy;
        fastcgi_temp_path {folder}/fastcgi;
        uwsgi_temp_path {folder}/uwsgi;
        scgi_temp_path {folder}/scgi;
        default_type application/octet-stream;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        ssl_session_cache builtin:20000;
        root {root};
        gzip on;
        gzip_http_version 1.0;
        gzip_types application/octet-stream;
        client_max_body_size 0;
        server {{
            listen 127.0.0.1:{port} ssl;
            location /up {{ dav_methods PUT; }}
        }}
        server {{
            listen 127.0.0.1:{strict} ssl;
            ssl_client_certificate {folder}/ca.pem;
            ssl_verify_client on;
        }}
    }}
"""

APACHE = """\
    ServerRoot {folder}
    ServerName localhost
    PidFile {folder}/pid
    ErrorLog /dev/stderr
    DefaultRuntimeDir {folder}
    LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
    LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
    LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
    LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
    LoadModule filter_module /usr/lib/apache2/modules/mod_filter.so
    LoadModule deflate_module /usr/lib/apache2/modules/mod_deflate.so
    LoadModule dav_module /usr/lib/apache2/modules/mod_dav.so
    LoadModule dav_fs_module /usr/lib/apache2/modules/mod_dav_fs.so
    User nobody
    Group nogroup
    Listen 127.0.0.1:{port}
    Listen 127.0.0.1:{strict}
    DocumentRoot {root}
    DavLockDB {folder}/locks/db
    SetOutputFilter DEFLATE
    SSLSessionCache shmcb:{folder}/sessions(512000)
    SSLEngine on
    SSLCertificateFile {folder}/cert.pem
    SSLCertificateKeyFile {folder}/key.pem
    <Directory {root}/up>
        Dav on
    </Directory>
    <VirtualHost 127.0.0.1:{port}>
        SSLEngine on
    </VirtualHost>
    <VirtualHost 127.0.0.1:{strict}>
        SSLEngine on
        SSLVerifyClient require
        SSLCACertificateFile {folder}/ca.pem
    </VirtualHost>
"""

WEB: dict[str, tuple[str, Callable[[str], tuple[str, ...]]]] = {
    "nginx": (NGINX, lambda path: ("nginx", "-c", path)),
    "apache2": (APACHE, lambda path: ("apache2", "-f", path, "-DFOREGROUND")),
}


@pytest.fixture(params=WEB)
def web(
    request: pytest.FixtureRequest,
    start: Any,
    folder: Path,
    files: Any,
    presented: Any,
    ca_file: str,
) -> Web:
    """Each web server, with a certificate for HOST."""
    name = request.param
    settings, command = WEB[name]
    for source, copy in zip(files(presented(HOST)), ("cert.pem", "key.pem"), strict=True):
        shutil.copy(source, folder / copy)
    shutil.copy(ca_file, folder / "ca.pem")
    root = folder / "root"
    (root / "up").mkdir(parents=True)
    (folder / "locks").mkdir()
    for each in (root / "up", folder / "locks"):
        shutil.chown(each, "nobody", "nogroup")
        each.chmod(0o777)
    (root / "file").write_bytes(random.Random(1).randbytes(800_000))
    (root / "small").write_bytes(b"x" * 1024)
    path = folder / "web.conf"
    served = Web(name, free_port(), free_port(), root)
    path.write_text(
        textwrap.dedent(settings).format(
            folder=folder, root=root, port=served.port, strict=served.strict
        )
    )
    start(*command(str(path)))
    wait_for(served.port)
    return served


@contextmanager
def connected(port: int, tls: Any, **given: Any) -> Iterator[HTTPSConnection]:
    connection = HTTPSConnection(HOST, port, PATIENCE, tls=tls, **given)
    try:
        yield connection
    finally:
        connection.close()


def test_files_come_over_one_connection(lab: Any, web: Web, version: Any) -> None:
    with connected(web.port, lab.client(version=version)) as connection:
        for _ in range(3):
            connection.request("GET", "/file")
            response = connection.getresponse()
            assert response.read() == (web.root / "file").read_bytes()
            # In chunks, as its length is not known before.
            connection.request("GET", "/file", headers={"Accept-Encoding": "gzip"})
            response = connection.getresponse()
            assert response.chunked
            assert gzip.decompress(response.read()) == (web.root / "file").read_bytes()
        assert connection.sock.info.version is version


def test_a_body_that_the_connection_ends_is_whole(lab: Any, web: Web, version: Any) -> None:
    """HTTP/1.0, without a length: both servers send close_notify."""
    with connected(web.port, lab.client(version=version)) as connection:
        connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"
        headers = {"Host": HOST, "Accept-Encoding": "gzip"}
        connection.request("GET", "/file", headers=headers)
        response = connection.getresponse()
        assert (response.length, response.chunked) == (None, False)
        assert gzip.decompress(response.read()) == (web.root / "file").read_bytes()


@pytest.mark.soak
def test_much_goes_up_and_down_and_memory_stays_flat(lab: Any, web: Web, rng: Any) -> None:
    piece = rng.randbytes(1 << 20)
    number = 1024 if SOAK else 48

    class Pieces(io.RawIOBase):
        left = number

        def read(self, amount: int = -1) -> bytes:
            self.left -= 1
            return piece if self.left >= 0 else b""

    tls = lab.client()
    sent = hashlib.sha256()
    for _ in range(number):
        sent.update(piece)
    headers = {"Content-Length": str(number * len(piece))}
    # The first of each takes what stays: what is imported, and spare buffers.
    with connected(web.port, tls) as connection:
        connection.request("GET", "/file")
        connection.getresponse().read()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        connection.request("PUT", "/up/file", Pieces(), headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (201, 204)
        connection.request("GET", "/up/file")
        response = connection.getresponse()
        received = hashlib.sha256()
        while data := response.read(65536):
            received.update(data)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert received.digest() == sent.digest()
    assert grown < 16 << 10  # In KiB.


@pytest.mark.soak
def test_connections_of_a_pool_are_resumed(lab: Any, web: Web, version: Any) -> None:
    tls = lab.client(version=version)
    number, workers = (10_000 if SOAK else 1_200), 50
    opener = build_opener(ProxyHandler({}), tls=tls)

    def fetch(_: int) -> int:
        with opener.open(f"https://{HOST}:{web.port}/small", timeout=PATIENCE) as response:
            return len(response.read())

    with ThreadPoolExecutor(workers) as pool:
        assert set(pool.map(fetch, range(number))) == {1024}
    assert tls.statistics.resumed >= number * 0.95


def test_a_web_server_that_cannot_be_trusted_is_refused(lab: Any, web: Web) -> None:
    strangers = lab.client(trust_store=CertificateAuthority().trust_store())
    with connected(web.port, strangers) as connection:
        with pytest.raises(polytls.CertificateVerificationError) as caught:
            connection.request("GET", "/file")
        assert caught.value.reason is polytls.VerificationFailure.UNKNOWN_ISSUER
    with pytest.raises(urllib.error.URLError) as wrapped:
        build_opener(tls=lab.client()).open(f"https://127.0.0.1:{web.port}/", timeout=PATIENCE)
    assert isinstance(wrapped.value.reason, polytls.CertificateVerificationError)
    assert wrapped.value.reason.reason is polytls.VerificationFailure.HOSTNAME_MISMATCH


@expired
def test_a_web_server_whose_certificate_has_expired_is_refused(lab: Any, web: Web) -> None:
    tls = lab.client()
    with connected(web.port, tls) as connection:
        with pytest.raises(polytls.CertificateVerificationError, match="expired") as caught:
            connection.request("GET", "/file")
        assert caught.value.reason is polytls.VerificationFailure.EXPIRED
    opener = build_opener(ProxyHandler({}), tls=tls)
    with pytest.raises(urllib.error.URLError, match="expired"):
        opener.open(f"https://{HOST}:{web.port}/", timeout=PATIENCE)


def asked(connection: HTTPSConnection) -> bytes:
    connection.request("GET", "/small")
    return connection.getresponse().read()


def test_a_web_server_asks_for_a_certificate(lab: Any, web: Web, version: Any) -> None:
    shown = lab.client(version=version, certificate_chain=lab.chain("client.example"))
    with connected(web.strict, shown) as connection:
        assert asked(connection) == b"x" * 1024
    with connected(web.strict, lab.client(version=version)) as connection:
        if web.name == "nginx":
            # It refuses over HTTP.
            connection.request("GET", "/small")
            assert connection.getresponse().status == 400
        else:
            with pytest.raises(polytls.AlertReceived):
                asked(connection)
    stranger = CertificateAuthority().issue("client.example")
    shown = lab.client(version=version, certificate_chain=stranger)
    with connected(web.strict, shown) as connection:
        if web.name == "nginx":
            connection.request("GET", "/small")
            assert connection.getresponse().status == 400
        else:
            with pytest.raises(polytls.PeerRejectedCertificate):
                asked(connection)


def test_plain_http_is_told_apart(lab: Any, web: Web, start: Any, folder: Path) -> None:
    """A port without TLS answers in HTTP."""
    path = folder / "plain.conf"
    port = free_port()
    text = (folder / "web.conf").read_text()
    for old, new in ((f":{web.port}", f":{port}"), (f":{web.strict}", f":{free_port()}")):
        text = text.replace(old, new)
    text = text.replace(" ssl;", ";").replace("SSLEngine on", "SSLEngine off")
    path.write_text(text.replace(f"{folder}/pid", f"{folder}/pid2"))
    start(*WEB[web.name][1](str(path)))
    wait_for(port)
    with (
        connected(port, lab.client()) as connection,
        pytest.raises(polytls.NotTLSError, match="HTTP"),
    ):
        connection.request("GET", "/file")


# --- proxies ---

SQUID = """\
    http_port 127.0.0.1:{plain}
    https_port 127.0.0.1:{secure} tls-cert={folder}/cert.pem tls-key={folder}/key.pem
    http_access allow all
    pid_filename {folder}/squid.pid
    cache deny all
    access_log none
    cache_log /dev/stderr
    netdb_filename none
    coredump_dir {folder}
    shutdown_lifetime 0 seconds
    visible_hostname localhost
    pinger_enable off
"""


@pytest.fixture
def squid(start: Any, folder: Path, web: Web) -> Any:
    """The ports of a squid, plain and secure, beside the web server."""
    ports = free_port(), free_port()
    path = folder / "squid.conf"
    # It runs as a user of its own, who reads the key.
    (folder / "key.pem").chmod(0o644)
    settings = textwrap.dedent(SQUID).format(folder=folder, plain=ports[0], secure=ports[1])
    path.write_text(settings)
    start("squid", "-N", "-f", str(path))
    wait_for(ports[1])
    return ports


@pytest.mark.parametrize("web", ["nginx"], indirect=True)
@pytest.mark.parametrize("secure", [False, True], ids=["HTTP proxy", "HTTPS proxy"])
def test_requests_go_through_squid(
    lab: Any, web: Web, squid: Any, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = lab.client()
    proxy = squid[secure]
    with connected(proxy, tls, proxy_tls=tls if secure else None) as connection:
        connection.set_tunnel(HOST, web.port)
        for _ in range(2):
            connection.request("GET", "/file")
            assert connection.getresponse().read() == (web.root / "file").read_bytes()
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", f"{'https' if secure else 'http'}://{HOST}:{proxy}")
    with build_opener(tls=tls).open(f"https://{HOST}:{web.port}/small", timeout=PATIENCE) as got:
        assert got.read() == b"x" * 1024
    # Who is behind it is verified by the name that was asked for.
    with connected(proxy, tls, proxy_tls=tls if secure else None) as connection:
        connection.set_tunnel("127.0.0.1", web.port)
        with pytest.raises(polytls.CertificateVerificationError) as caught:
            connection.request("GET", "/file")
        assert caught.value.hostname == "127.0.0.1"
    # And one that squid cannot reach is no connection.
    with connected(proxy, tls, proxy_tls=tls if secure else None) as connection:
        connection.set_tunnel(HOST, free_port())
        with pytest.raises(OSError, match="Tunnel connection failed: 503"):
            connection.request("GET", "/file")


# --- mail ---

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mail servers are started by root")


@pytest.fixture
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every host is this one: certificates have another name than loopback's."""
    real = socket.create_connection
    monkeypatch.setattr(
        socket,
        "create_connection",
        lambda address, *given, **named: real(("127.0.0.1", address[1]), *given, **named),
    )


@as_root
@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "implicit TLS"])
def test_a_mail_goes_through_postfix_and_is_read_by_imap_and_pop3(
    lab: Any,
    smtp: Submission,
    mailboxes: Mailboxes,
    version: Any,
    implicit: bool,
    on_loopback: None,
) -> None:
    for port in (*smtp, *mailboxes):
        wait_for(port)
    tls, host = lab.client(version=version), lab.host
    message = EmailMessage()
    message["From"] = message["To"] = "me@server.example"
    message.set_content("hello\n" * 20_000)

    with (
        SMTP_SSL(host, smtp.implicit, "here", PATIENCE, tls=tls)
        if implicit
        else SMTP(host, smtp.starttls, "here", PATIENCE)
    ) as sending:
        if not implicit:
            assert sending.starttls(tls=tls)[0] == 220
            assert not sending.has_extn("starttls")
        assert sending.sock.info.version is version
        assert sending.send_message(message) == {}

    imap = (
        IMAP4_SSL(host, mailboxes.imaps, PATIENCE, tls=tls)
        if implicit
        else IMAP4(host, mailboxes.imap, PATIENCE)
    )
    with imap:
        if not implicit:
            assert "STARTTLS" in imap.capabilities
            imap.starttls(tls)
        assert "STARTTLS" not in imap.capabilities
        imap.login("me", "secret")
        deadline = time.monotonic() + PATIENCE
        while imap.select()[1] != [b"1"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found = imap.fetch("1", "(BODY.PEEK[])")[1][0]
        assert isinstance(found, tuple)
        assert found[1].replace(b"\r\n", b"\n").endswith(b"hello\n" * 20_000)

    pop = (
        POP3_SSL(host, mailboxes.pop3s, PATIENCE, tls=tls)
        if implicit
        else POP3(host, mailboxes.pop3, PATIENCE)
    )
    if not implicit:
        assert pop.stls(tls).startswith(b"+OK")
    pop.user("me")
    pop.pass_("secret")
    lines = pop.retr(1)[1]
    assert lines[-20_000:] == [b"hello"] * 20_000
    pop.quit()


def mail_clients(host: str, smtp: Submission, mailboxes: Mailboxes) -> dict[str, Any]:
    """Each way to begin TLS: a function of a context that returns a client, after the handshake."""

    def starttls(tls: Any) -> Any:
        client = SMTP(host, smtp.starttls, "here", PATIENCE)
        with closed_unless_done(client):
            client.starttls(tls=tls)
        return client

    def imap(tls: Any) -> Any:
        client = IMAP4(host, mailboxes.imap, PATIENCE)
        with closed_unless_done(client):
            client.starttls(tls)
        return client

    def pop(tls: Any) -> Any:
        client = POP3(host, mailboxes.pop3, PATIENCE)
        with closed_unless_done(client):
            client.stls(tls)
        return client

    return {
        "SMTP, STARTTLS": starttls,
        "IMAP, STARTTLS": imap,
        "POP3, STLS": pop,
        "SMTP": lambda tls: SMTP_SSL(host, smtp.implicit, "here", PATIENCE, tls=tls),
        "IMAP": lambda tls: IMAP4_SSL(host, mailboxes.imaps, PATIENCE, tls=tls),
        "POP3": lambda tls: POP3_SSL(host, mailboxes.pop3s, PATIENCE, tls=tls),
    }


@contextmanager
def closed_unless_done(client: Any) -> Iterator[None]:
    try:
        yield
    except BaseException:
        closed(client)
        raise


def closed(client: Any) -> None:
    """Close a client, whatever has become of its connection."""
    with suppress(OSError, IMAP4.error):
        client.shutdown() if isinstance(client, IMAP4) else client.close()


@as_root
def test_mail_servers_that_cannot_be_trusted_are_refused(
    lab: Any, smtp: Submission, mailboxes: Mailboxes
) -> None:
    """By an address that their certificate does not have, and with authorities of others."""
    strangers = lab.client(trust_store=CertificateAuthority().trust_store())
    for port in (*smtp, *mailboxes):
        wait_for(port)
    for use in mail_clients("127.0.0.1", smtp, mailboxes).values():
        for tls, reason in (
            (strangers, polytls.VerificationFailure.UNKNOWN_ISSUER),
            (lab.client(), polytls.VerificationFailure.HOSTNAME_MISMATCH),
        ):
            with pytest.raises(polytls.CertificateVerificationError) as caught:
                use(tls)
            assert caught.value.reason is reason


@as_root
@expired
def test_mail_servers_whose_certificate_has_expired_are_refused(
    lab: Any, smtp: Submission, mailboxes: Mailboxes, on_loopback: None
) -> None:
    for port in (*smtp, *mailboxes):
        wait_for(port)
    for use in mail_clients(lab.host, smtp, mailboxes).values():
        with pytest.raises(polytls.CertificateVerificationError, match="expired") as caught:
            use(lab.client())
        assert caught.value.reason is polytls.VerificationFailure.EXPIRED


@as_root
def test_mail_servers_that_begin_in_plaintext_are_told_apart(
    lab: Any, smtp: Submission, mailboxes: Mailboxes
) -> None:
    """TLS from the start, to the ports that are for STARTTLS."""
    ports = Submission(smtp.starttls, smtp.starttls)
    boxes = mailboxes._replace(imaps=mailboxes.imap, pop3s=mailboxes.pop3)
    for port in (*ports, *boxes):
        wait_for(port)
    uses = mail_clients("127.0.0.1", ports, boxes)
    for name in ("SMTP", "IMAP", "POP3"):
        with pytest.raises(polytls.NotTLSError):
            uses[name](lab.client())


@as_root
@strict
def test_mail_servers_ask_for_a_certificate(
    lab: Any, smtp: Submission, mailboxes: Mailboxes, version: Any, on_loopback: None
) -> None:
    """Both say no in their own protocols: Postfix hangs up, Dovecot lets nobody log in."""
    for port in (*smtp, *mailboxes):
        wait_for(port)
    shown = lab.client(version=version, certificate_chain=lab.chain("client.example"))
    stranger = CertificateAuthority().issue("client.example")
    refused = [
        lab.client(version=version),
        lab.client(version=version, certificate_chain=stranger),
    ]
    for use in mail_clients(lab.host, smtp, mailboxes).values():
        for tls in (shown, *refused):
            with (
                nullcontext()
                if tls is shown
                else pytest.raises(
                    (smtplib.SMTPException, IMAP4.error, poplib.error_proto),
                    match=r"(?i)certificate|connection unexpectedly closed|server not connected",
                )
            ):
                client = use(tls)
                try:
                    log_in(client)
                finally:
                    closed(client)


def log_in(client: Any) -> None:
    """The first thing that a server may refuse to those who have shown no certificate."""
    if isinstance(client, SMTP):
        assert client.noop()[0] == 250
    elif isinstance(client, IMAP4):
        client.login("me", "secret")
    else:
        client.user("me")
        client.pass_("secret")
