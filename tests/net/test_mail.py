"""What mail clients do besides what the table of faults holds."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

import polytls
from polytls.net.imap import IMAP4, IMAP4_SSL
from polytls.net.pop import POP3_SSL
from polytls.net.smtp import LMTP, SMTP, SMTP_SSL

PATIENCE = 20.0
HOST = "localhost"

STARTTLS = ("> 220 localhost", "< ehlo", "> 250-localhost", "> 250 starttls", "< STARTTLS")


def test_a_host_that_is_connected_to_later_is_the_one_that_is_verified(
    scripted: Any, own: Any, tls: Any
) -> None:
    server = scripted(own, *STARTTLS, "> 220 go", "TLS", "< ehlo", "> 250 localhost")
    smtp = SMTP(local_hostname="here", timeout=PATIENCE)
    smtp.connect(f"{HOST}:{server.port}")
    assert smtp.starttls(tls=tls)[0] == 220
    assert smtp.sock.info.server_name == HOST
    smtp.close()


def test_a_host_that_is_connected_to_later_is_verified_from_the_start(
    scripted: Any, own: Any, tls: Any
) -> None:
    server = scripted(own, "TLS", "> 220 localhost")
    smtp = SMTP_SSL(local_hostname="here", timeout=PATIENCE, tls=tls)
    assert smtp.connect(HOST, server.port) == (220, b"localhost")
    smtp.close()


def test_another_name_can_be_verified(scripted: Any, lab: Any, tls: Any) -> None:
    context = lab.server(lab.chain("mail.example"))
    server = scripted(context, *STARTTLS, "> 220 go", "TLS", "< ehlo", "> 250 localhost")
    smtp = SMTP(HOST, server.port, "here", PATIENCE)
    assert smtp.starttls(tls=tls, server_hostname="mail.example")[0] == 220
    smtp.close()


def test_lmtp_runs_over_a_unix_socket(own: Any, tls: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "lmtp")

    def serve() -> None:
        side: Any = listener.accept()[0]
        with side, side.makefile("rwb", 0) as lines:
            lines.write(b"220 localhost\r\n")
            assert lines.readline() == b"lhlo here\r\n"
            lines.write(b"250-localhost\r\n250 STARTTLS\r\n")
            assert lines.readline() == b"STARTTLS\r\n"
            lines.write(b"220 go ahead\r\n")
            with own.wrap_socket(side) as secured, secured.makefile("rwb", 0) as lines:
                assert lines.readline() == b"lhlo here\r\n"
                lines.write(b"250 localhost\r\n")
                lines.readline()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        serving = threading.Thread(target=serve)
        serving.start()
        lmtp = LMTP(path, local_hostname="here", timeout=PATIENCE)
        assert lmtp.starttls(tls=tls, server_hostname=HOST)[0] == 220
        lmtp.close()
        serving.join()


def test_preauth_keeps_nobody_in_plaintext(scripted: Any, own: Any, tls: Any) -> None:
    """Somebody on the path may greet with it: the client would log in, and fetch, in plaintext."""
    server = scripted(
        own,
        "> * PREAUTH hello",
        "< CAPABILITY",
        "> * CAPABILITY IMAP4rev1 STARTTLS",
        "> {tag} OK done",
        "< LOGOUT",
        "> * BYE",
        "> {tag} OK bye",
    )
    with (
        IMAP4(HOST, server.port, PATIENCE) as imap,
        pytest.raises(imaplib.IMAP4.error, match="greeted with PREAUTH"),
    ):
        imap.starttls(tls)
    server.close()
    assert server.errors == [None]


def test_what_was_said_in_plaintext_is_forgotten(scripted: Any, own: Any, tls: Any) -> None:
    server = scripted(
        own,
        "> * OK hello",
        "< CAPABILITY",
        "> * CAPABILITY IMAP4rev1 STARTTLS",
        "> {tag} OK done",
        "< STARTTLS",
        "> * 1 EXISTS",
        "> * OK [ALERT] send your password to evil.example",
        "> {tag} OK go ahead",
        "TLS",
        "< CAPABILITY",
        "> * CAPABILITY IMAP4rev1",
        "> {tag} OK done",
    )
    imap = IMAP4(HOST, server.port, PATIENCE)
    imap.starttls(tls)
    assert "EXISTS" not in imap.untagged_responses
    assert "ALERT" not in imap.untagged_responses
    imap.shutdown()


def test_a_connection_that_is_tls_already_begins_none(scripted: Any, own: Any, tls: Any) -> None:
    smtps = scripted(own, "TLS", "> 220 localhost")
    smtp = SMTP_SSL(HOST, smtps.port, "here", PATIENCE, tls=tls)
    with pytest.raises(smtplib.SMTPNotSupportedError, match="already uses TLS"):
        smtp.starttls()
    smtp.close()
    pops = scripted(own, "TLS", "> +OK hello")
    pop = POP3_SSL(HOST, pops.port, PATIENCE, tls=tls)
    with pytest.raises(poplib.error_proto, match="already established"):
        pop.stls()
    pop.close()
    greeting = ("> * OK hello", "< CAPABILITY", "> * CAPABILITY IMAP4rev1", "> {tag} OK done")
    imaps = scripted(own, "TLS", *greeting)
    imap = IMAP4_SSL(HOST, imaps.port, PATIENCE, tls=tls)
    with pytest.raises(imaplib.IMAP4.abort, match="already established"):
        imap.starttls()
    imap.shutdown()


def test_a_handshake_has_the_time_of_the_connection(scripted: Any, own: Any, tls: Any) -> None:
    server = scripted(own, lambda server: server.side.recv(65536), "<<")
    with pytest.raises(TimeoutError):
        SMTP_SSL(HOST, server.port, "here", 0.2, tls=tls)


def test_a_mail_is_delivered(scripted: Any, own: Any, tls: Any) -> None:
    server = scripted(
        own,
        *STARTTLS,
        "> 220 go ahead",
        "TLS",
        "< ehlo",
        "> 250-localhost",
        "> 250 AUTH PLAIN",
        "< AUTH PLAIN",
        "> 235 in",
        "< mail from",
        "> 250 fine",
        "< rcpt to",
        "> 250 fine",
        "< data",
        "> 354 go ahead",
        "<<",
        "< hello",
        "< .",
        "> 250 fine",
        "< quit",
        "> 221 bye",
    )
    with SMTP(HOST, server.port, "here", PATIENCE) as smtp:
        smtp.starttls(tls=tls)
        smtp.login("me", "secret")
        assert smtp.sendmail("me@here", ["you@there"], "Subject: x\r\n\r\nhello") == {}
    server.close()
    assert server.errors == [None]


def test_a_refused_certificate_explains_itself(scripted: Any, lab: Any, tls: Any) -> None:
    server = scripted(lab.server(lab.chain("another.example")), *STARTTLS, "> 220 go", "TLS")
    smtp = SMTP(HOST, server.port, "here", PATIENCE)
    with pytest.raises(polytls.CertificateVerificationError) as caught:
        smtp.starttls(tls=tls)
    assert "another.example" in caught.value.explain()
    assert smtp.sock is None
