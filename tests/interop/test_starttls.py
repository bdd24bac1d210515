"""STARTTLS by hand: Postfix for SMTP, Dovecot for IMAP and POP3, stunnel before a proxy.

Both mail servers change to users of their own, which only root may do (`mail_servers`).
"""

from __future__ import annotations

import os
import socket
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interop.mail_servers import free_port
from polytls import CertificateVerificationError, VerificationFailure
from polytls.testing import CertificateAuthority

pytestmark = pytest.mark.peers(driver=True)

#: What nothing in these tests may take, in seconds.
PATIENCE = 30.0

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mail servers are started by root")


class Lines:
    """A dialogue in lines over a socket, plain or not."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.unread = b""

    def line(self) -> bytes:
        while b"\r\n" not in self.unread:
            data = self.sock.recv(65536)
            assert data, f"the end after {self.unread!r}"
            self.unread += data
        line, _, self.unread = self.unread.partition(b"\r\n")
        return line

    def exactly(self, length: int) -> bytes:
        while len(self.unread) < length:
            data = self.sock.recv(65536)
            assert data
            self.unread += data
        found, self.unread = self.unread[:length], self.unread[length:]
        return found

    def say(self, text: bytes) -> None:
        self.sock.sendall(text + b"\r\n")

    def reply(self, text: bytes | None = None) -> list[bytes]:
        """Say `text`; a reply of SMTP, whose last line has a space behind its number."""
        if text is not None:
            self.say(text)
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return lines

    def tagged(self, text: bytes) -> list[bytes]:
        """Say `text`; a reply of IMAP, to the line that has our tag."""
        self.say(b"a " + text)
        lines = [self.line()]
        while not lines[-1].startswith(b"a "):
            lines.append(self.line())
        assert lines[-1].startswith(b"a OK"), lines
        return lines

    def upgrade(self, context: Any, name: str) -> Lines:
        """Begin TLS; what follows goes through it."""
        return Lines(context.wrap_socket(self.sock, name, leftover=self.unread))

    def end(self) -> None:
        """The server has closed in order, and so do we."""
        assert self.unread == b""
        assert self.sock.recv(1) == b""
        self.sock.close()
        assert self.sock.fileno() == -1


def dial(port: int) -> socket.socket:
    """Connect, as soon as somebody listens."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


# --- mail ---


@as_root
def test_mail_is_handed_to_postfix(lab: Any, smtp: Any, version: Any) -> None:
    plain = Lines(dial(smtp.starttls))
    assert plain.reply()[0].startswith(b"220 ")
    assert b"250-STARTTLS" in plain.reply(b"EHLO client.example")
    assert plain.reply(b"MAIL FROM:<>")[0].startswith(b"530 ")
    assert plain.reply(b"STARTTLS")[0].startswith(b"220 ")
    dialogue = plain.upgrade(lab.client(version=version), lab.host)
    assert dialogue.sock.negotiated_tls_version is version
    extensions = dialogue.reply(b"EHLO client.example")
    assert extensions[0].startswith(b"250-server.example")
    assert b"250-STARTTLS" not in extensions
    for _ in range(2):
        assert dialogue.reply(b"MAIL FROM:<me@server.example>")[0].startswith(b"250 ")
        assert dialogue.reply(b"RCPT TO:<you@server.example>")[0].startswith(b"250 ")
        assert dialogue.reply(b"DATA")[0].startswith(b"354 ")
        dialogue.sock.sendall(b"Subject: hello\r\n\r\n" + (b"x" * 70 + b"\r\n") * 15_000)
        assert dialogue.reply(b".")[0].startswith(b"250 ")
    assert dialogue.reply(b"QUIT")[0].startswith(b"221 ")
    dialogue.end()


@as_root
def test_a_postfix_that_cannot_be_trusted_is_refused_and_serves_others(
    lab: Any, smtp: Any, version: Any
) -> None:
    strangers = CertificateAuthority().trust_store()
    for given, name, reason in (
        ({"trust_store": strangers}, lab.host, VerificationFailure.UNKNOWN_ISSUER),
        ({}, "other.example", VerificationFailure.HOSTNAME_MISMATCH),
    ):
        plain = Lines(dial(smtp.starttls))
        plain.reply()
        plain.reply(b"EHLO client.example")
        plain.reply(b"STARTTLS")
        with pytest.raises(CertificateVerificationError) as caught:
            plain.upgrade(lab.client(version=version, **given), name)
        assert caught.value.reason is reason
        assert plain.sock.fileno() == -1
    test_mail_is_handed_to_postfix(lab, smtp, version)


@as_root
def test_mail_goes_to_dovecot_and_comes_back_by_imap_and_pop3(
    lab: Any, mailboxes: Any, version: Any
) -> None:
    message = b"Subject: hello\r\n\r\n" + (b"y" * 70 + b"\r\n") * 15_000
    context = lab.client(version=version)

    plain = Lines(dial(mailboxes.imap))
    assert plain.line().startswith(b"* OK")
    assert b"STARTTLS" in plain.tagged(b"CAPABILITY")[0]
    plain.tagged(b"STARTTLS")
    imap = plain.upgrade(context, lab.host)
    assert imap.sock.negotiated_tls_version is version
    imap.tagged(b"LOGIN me secret")
    imap.say(b"a APPEND INBOX {%d}" % len(message))
    assert imap.line().startswith(b"+ ")
    imap.say(message)
    assert imap.line().startswith(b"a OK")
    imap.tagged(b"SELECT INBOX")
    imap.say(b"a FETCH 1 (BODY.PEEK[])")
    assert imap.line() == b"* 1 FETCH (BODY[] {%d}" % len(message)
    assert imap.exactly(len(message)) == message
    assert imap.line() == b")"
    while not imap.line().startswith(b"a OK"):
        pass
    imap.tagged(b"LOGOUT")
    imap.end()

    plain = Lines(dial(mailboxes.pop3))
    assert plain.line().startswith(b"+OK")
    assert plain.reply(b"STLS")[0].startswith(b"+OK")
    pop3 = plain.upgrade(context, lab.host)
    assert pop3.sock.negotiated_tls_version is version
    for command in (b"USER me", b"PASS secret"):
        assert pop3.reply(command)[0].startswith(b"+OK")
    assert pop3.reply(b"RETR 1")[0].startswith(b"+OK")
    assert pop3.exactly(len(message)) == message
    while pop3.line() != b".":
        pass
    assert pop3.reply(b"QUIT")[0].startswith(b"+OK")
    pop3.end()


# --- a proxy behind stunnel ---


def test_tls_in_tls_goes_through_stunnel(
    lab: Any,
    start: Any,
    serve: Any,
    folder: Path,
    credentials: tuple[Path, Path],
    connect_proxy: Callable[..., Any],
    version: Any,
    rng: Any,
) -> None:
    proxy, port, served = (
        connect_proxy(),
        free_port(),
        serve(lab.server(lab.chain("inner.example"))),
    )
    certificate, key = credentials
    (folder / "stunnel.conf").write_text(
        textwrap.dedent(f"""\
        foreground = yes
        pid =
        [proxy]
        accept = 127.0.0.1:{port}
        connect = 127.0.0.1:{proxy.address[1]}
        cert = {certificate}
        key = {key}
        """)
    )
    start("stunnel4", str(folder / "stunnel.conf"))
    context = lab.client(version=version)
    outer = Lines(context.wrap_socket(dial(port), lab.host))
    outer.say(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % served.port)
    assert outer.line() == b"HTTP/1.1 200 OK"
    assert outer.line() == b""
    with context.wrap_socket(outer.sock, "inner.example", leftover=outer.unread) as inner:
        assert inner.info.server_name == "inner.example"
        data = rng.randbytes(100_000)
        for _ in range(5):
            inner.sendall(data)
            assert Lines(inner).exactly(len(data)) == data
