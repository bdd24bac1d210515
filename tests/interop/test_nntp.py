"""`polytls.net.nntp` with INN: an article is posted by STARTTLS and read by NNTPS; up to 3.12."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import polytls
from interop.mail_servers import expired, free_port
from interop.test_net import PATIENCE, wait_for
from polytls.testing import CertificateAuthority

if sys.version_info >= (3, 13):
    pytest.skip("nntplib is not in Python 3.13 and later (PEP 594)", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from polytls.net.nntp import NNTP, NNTP_SSL

pytestmark = [
    pytest.mark.peers(driver=True),
    pytest.mark.skipif(os.geteuid() != 0, reason="INN is started by root, and runs as news"),
]

#: The name that the server's certificate has, and that clients dial.
HOST = "localhost"

#: Where tools/install-peers.sh puts it.
NEWS = Path("/usr/local/lib/news")

SETTINGS = """\
    mta: "/bin/true %s"
    domain: example
    fromhost: news.example
    pathhost: news.example
    hismethod: hisv6
    ovmethod: tradindexed
    enableoverview: true
    pathnews: {news}
    pathbin: {news}/bin
    patharticles: {folder}/articles
    pathdb: {folder}/db
    pathetc: {folder}/etc
    pathincoming: {folder}/incoming
    pathlog: {folder}/log
    pathoverview: {folder}/overview
    pathrun: {folder}/run
    pathspool: {folder}
    pathtmp: {folder}/tmp
    tlscertfile: {folder}/cert.pem
    tlskeyfile: {folder}/key.pem
    nnrpdloadlimit: 0
"""

FILES = {
    "etc/readers.conf": """\
        auth all { hosts: "*" default: "<all>" }
        access all { users: "<all>" newsgroups: "*" access: RPA }
    """,
    "etc/storage.conf": "method tradspool { newsgroups: * class: 0 }\n",
    "etc/expire.ctl": "*:1:1:1\n",
    "etc/incoming.conf": "",
    "etc/newsfeeds": "ME:!*::\nLOG:*:Tl:\n",
    "db/active": "".join(
        f"{group} 0000000000 0000000001 {flag}\n"
        for group, flag in zip(
            ("control", "control.cancel", "junk", "local.test"), "nnny", strict=True
        )
    ),
    "db/active.times": "",
    "db/history": "",
    "db/newsgroups": "",
}

ARTICLE = (
    b"From: me@news.example\r\nNewsgroups: local.test\r\nSubject: hello\r\n"
    b"Message-ID: <1@news.example>\r\n\r\n" + b"hello\r\n" * 20_000
)


class News(NamedTuple):
    """The ports of a server that is read and posted to."""

    starttls: int
    implicit: int


@pytest.fixture
def news(start: Any, folder: Path, files: Any, presented: Any) -> Iterator[News]:
    """INN with one group; the folder is the server's own."""
    if not (NEWS / "bin" / "nnrpd").exists():
        pytest.fail("INN is missing here; tools/install-peers.sh installs it")
    for source, copy in zip(files(presented(HOST)), ("cert.pem", "key.pem"), strict=True):
        shutil.copy(source, folder / copy)
    # It refuses a key that others may read.
    (folder / "key.pem").chmod(0o640)
    for name in ("articles", "db", "etc", "incoming", "log", "overview", "run", "tmp"):
        (folder / name).mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(textwrap.dedent(text))
    (folder / "inn.conf").write_text(textwrap.dedent(SETTINGS).format(news=NEWS, folder=folder))
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, "news", "news")
    environment = (f"INNCONF={folder / 'inn.conf'}", f"LD_LIBRARY_PATH={NEWS}")

    def run(program: str, *arguments: str) -> Any:
        return start("env", *environment, str(NEWS / "bin" / program), *arguments)

    # The history of what it has had: it gives its files away once it has made them.
    making = run("makedbz", "-i", "-o")
    assert making.wait() == 0
    for path in (folder / "db").iterdir():
        shutil.chown(path, "news", "news")
    feeds, ports = free_port(), News(free_port(), free_port())
    innd = run("innd", "-f", "-P", str(feeds))
    wait_for(feeds)
    run("nnrpd", "-D", "-f", "-n", "-p", str(ports.starttls))
    run("nnrpd", "-D", "-f", "-n", "-S", "-p", str(ports.implicit))
    for port in ports:
        wait_for(port)
    yield ports
    # Asked to end, it takes its time.
    innd.kill()


def test_an_article_is_posted_by_starttls_and_read_by_nntps(
    lab: Any, news: News, version: Any
) -> None:
    tls = lab.client(version=version)
    with NNTP(HOST, news.starttls, timeout=PATIENCE) as posting:
        assert "STARTTLS" in posting.getcapabilities()
        posting.starttls(tls)
        assert posting.sock.info.version is version
        # It was asked again.
        assert "STARTTLS" not in posting.getcapabilities()
        assert posting.post(ARTICLE.splitlines(True)).startswith("240")
    deadline = time.monotonic() + PATIENCE
    while True:
        # What comes is seen by connections that begin after it.
        with NNTP_SSL(HOST, news.implicit, timeout=PATIENCE, tls=tls) as reading:
            _, count, first, _, _ = reading.group("local.test")
            if count:
                assert reading.sock.info.version is version
                _, article = reading.article(first)
                assert article.message_id == "<1@news.example>"
                assert article.lines[-20_000:] == [b"hello"] * 20_000
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_news_server_that_cannot_be_trusted_is_refused(lab: Any, news: News) -> None:
    """By an address that its certificate does not have, and with authorities of others."""
    strangers = lab.client(trust_store=CertificateAuthority().trust_store())

    def starttls(host: str, tls: Any) -> None:
        with NNTP(host, news.starttls, timeout=PATIENCE) as client:
            client.starttls(tls)

    def implicit(host: str, tls: Any) -> None:
        NNTP_SSL(host, news.implicit, timeout=PATIENCE, tls=tls)

    uses: list[Callable[[str, Any], None]] = [starttls, implicit]
    for use in uses:
        for host, tls, reason in (
            (HOST, strangers, polytls.VerificationFailure.UNKNOWN_ISSUER),
            ("127.0.0.1", lab.client(), polytls.VerificationFailure.HOSTNAME_MISMATCH),
        ):
            with pytest.raises(polytls.CertificateVerificationError) as caught:
                use(host, tls)
            assert caught.value.reason is reason


@expired
def test_a_news_server_whose_certificate_has_expired_is_refused(lab: Any, news: News) -> None:
    with NNTP(HOST, news.starttls, timeout=PATIENCE) as client:
        with pytest.raises(polytls.CertificateVerificationError, match="expired") as caught:
            client.starttls(lab.client())
        assert caught.value.reason is polytls.VerificationFailure.EXPIRED
    with pytest.raises(polytls.CertificateVerificationError, match="expired"):
        NNTP_SSL(HOST, news.implicit, timeout=PATIENCE, tls=lab.client())
