"""Each client against servers that are right, wrong, or cut off at each step.

What becomes of it is the same for all: `Client.ended` is what the standard module raises where a
connection ends, and anything else is raised as it is.
"""

from __future__ import annotations

import ftplib
import http.client
import imaplib
import poplib
import smtplib
import sys
import urllib.error
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import polytls
import polytls.net.ftp
import polytls.net.http
import polytls.net.imap
import polytls.net.pop
import polytls.net.smtp
import polytls.net.urllib
import polytls.net.xmlrpc
from polytls import (
    AlertReceived,
    CertificateVerificationError,
    NotTLSError,
    PeerMisbehaved,
    PeerRejectedCertificate,
    RaggedEOF,
    VerificationFailure,
)
from polytls.testing import CertificateAuthority

PATIENCE = 20.0
HOST = "localhost"


@dataclass(frozen=True)
class Client:
    """A way to use one of the modules."""

    #: Returns what came of it.
    use: Callable[[int, Any], Any]
    result: Any
    #: What it raises where the connection ends, or fails after the handshake.
    ended: type[BaseException]
    #: Steps of the server: in plaintext, over TLS, and at the end.
    before: tuple[str, ...]
    after: tuple[str, ...]
    bye: tuple[str, ...] = ()
    #: The server's answers instead of the last steps of `before`, and what is raised for them.
    stripped: tuple[tuple[str, ...], type[BaseException], str] | None = None
    refused: tuple[tuple[str, ...], type[BaseException], str] | None = None
    #: What errors of the handshake come in, and what `ended` does not stand for.
    wrapped_by: type[BaseException] | None = None
    only_ends: bool = False


def https(port: int, tls: Any) -> Any:
    connection = polytls.net.http.HTTPSConnection(HOST, port, PATIENCE, tls=tls)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    finally:
        connection.close()


def urllib_(port: int, tls: Any) -> Any:
    opener = polytls.net.urllib.build_opener(polytls.net.urllib.ProxyHandler({}), tls=tls)
    with opener.open(f"https://{HOST}:{port}/", timeout=PATIENCE) as response:
        return response.read()


def xmlrpc_(port: int, tls: Any) -> Any:
    with polytls.net.xmlrpc.ServerProxy(f"https://{HOST}:{port}/", tls=tls) as proxy:
        return proxy.greet()


def smtps(port: int, tls: Any) -> Any:
    with polytls.net.smtp.SMTP_SSL(HOST, port, "here", PATIENCE, tls=tls) as smtp:
        return smtp.noop()


def smtp(port: int, tls: Any, kind: Any = polytls.net.smtp.SMTP) -> Any:
    with kind(HOST, port, "here", timeout=PATIENCE) as smtp:
        assert smtp.starttls(tls=tls) == (220, b"go ahead")
        assert smtp.has_extn("after")
        assert not smtp.has_extn("before")
        return smtp.noop()


def lmtp(port: int, tls: Any) -> Any:
    return smtp(port, tls, polytls.net.smtp.LMTP)


def imaps(port: int, tls: Any) -> Any:
    with polytls.net.imap.IMAP4_SSL(HOST, port, PATIENCE, tls=tls) as imap:
        return imap.noop()


def imap(port: int, tls: Any) -> Any:
    with polytls.net.imap.IMAP4(HOST, port, PATIENCE) as imap:
        assert imap.starttls(tls)[0] == "OK"
        assert "AFTER" in imap.capabilities
        assert "BEFORE" not in imap.capabilities
        return imap.noop()


def pops(port: int, tls: Any) -> Any:
    pop = polytls.net.pop.POP3_SSL(HOST, port, PATIENCE, tls=tls)
    try:
        result = pop.stat()
        pop.quit()
        return result
    finally:
        pop.close()


def pop(port: int, tls: Any) -> Any:
    pop = polytls.net.pop.POP3(HOST, port, PATIENCE)
    try:
        assert pop.stls(tls) == b"+OK go ahead"
        result = pop.stat()
        pop.quit()
        return result
    finally:
        pop.close()


def ftp(port: int, tls: Any) -> Any:
    with polytls.net.ftp.FTP_TLS(timeout=PATIENCE, tls=tls) as ftp:
        ftp.connect(HOST, port)
        return ftp.login()


def nntps(port: int, tls: Any) -> Any:
    from polytls.net.nntp import NNTP_SSL

    with NNTP_SSL(HOST, port, timeout=PATIENCE, tls=tls) as nntp:
        assert nntp.tls_on
        return nntp.date()[0]


def nntp(port: int, tls: Any) -> Any:
    from polytls.net.nntp import NNTP

    with NNTP(HOST, port, timeout=PATIENCE) as nntp:
        nntp.starttls(tls)
        assert nntp.tls_on
        assert "AFTER" in nntp.getcapabilities()
        assert "STARTTLS" not in nntp.getcapabilities()
        return nntp.date()[0]


GREETED = xmlrpc.client.dumps(("hello",), methodresponse=True).replace("\n", "\\n")
ANSWER = ("> HTTP/1.1 200 OK", "> Content-Length: 5", "> ", "| hello")
EHLO = ("< ehlo", "> 250-localhost", "> 250-before", "> 250 starttls")
EHLO_AFTER = ("< ehlo", "> 250-localhost", "> 250 after")
NOOP = ("< noop", "> 250 fine")
LHLO = ("< lhlo", *EHLO[1:])
CAPABILITY = ("< CAPABILITY", "> * CAPABILITY IMAP4rev1 STARTTLS BEFORE", "> {tag} OK done")
CAPABILITY_AFTER = ("< CAPABILITY", "> * CAPABILITY IMAP4rev1 AFTER", "> {tag} OK done")
IMAP_NOOP = ("< NOOP", "> {tag} OK fine")
LOGOUT = ("< LOGOUT", "> * BYE", "> {tag} OK bye")
CAPA = ("< CAPA", "> +OK", "> STLS", "> .")
STAT = ("< STAT", "> +OK 1 2345")
CAPABILITIES = ("< CAPABILITIES", "> 101 these", "> VERSION 2", "> STARTTLS", "> .")
CAPABILITIES_AFTER = ("< CAPABILITIES", "> 101 these", "> VERSION 2", "> AFTER", "> .")
DATE = ("< DATE", "> 111 20260102030405")

CLIENTS = {
    "http": Client(
        https, b"hello", http.client.HTTPException, (), ("< GET", "<<", *ANSWER), only_ends=True
    ),
    "urllib": Client(
        urllib_,
        b"hello",
        http.client.HTTPException,
        (),
        ("< GET", "<<", *ANSWER),
        wrapped_by=urllib.error.URLError,
        only_ends=True,
    ),
    "xmlrpc": Client(
        xmlrpc_,
        "hello",
        http.client.HTTPException,
        (),
        (
            "< POST",
            "<<",
            "<body",
            "> HTTP/1.1 200 OK",
            f"> Content-Length: {len(GREETED) - GREETED.count(chr(92))}",
            "> ",
            f"| {GREETED}",
        ),
        only_ends=True,
    ),
    "smtps": Client(
        smtps,
        (250, b"fine"),
        smtplib.SMTPServerDisconnected,
        (),
        ("> 220 localhost", *NOOP),
        ("< quit", "> 221 bye"),
    ),
    "smtp": Client(
        smtp,
        (250, b"fine"),
        smtplib.SMTPServerDisconnected,
        ("> 220 localhost", *EHLO, "< STARTTLS", "> 220 go ahead"),
        (*EHLO_AFTER, *NOOP),
        ("< quit", "> 221 bye"),
        (
            ("> 220 localhost", "< ehlo", "> 250-localhost", "> 250 before"),
            smtplib.SMTPNotSupportedError,
            "STARTTLS extension not supported",
        ),
        (
            ("> 220 localhost", *EHLO, "< STARTTLS", "> 454 not now"),
            smtplib.SMTPResponseException,
            "454",
        ),
    ),
    "lmtp": Client(
        lmtp,
        (250, b"fine"),
        smtplib.SMTPServerDisconnected,
        ("> 220 localhost", *LHLO, "< STARTTLS", "> 220 go ahead"),
        ("< lhlo", *EHLO_AFTER[1:], *NOOP),
        ("< quit", "> 221 bye"),
        (
            ("> 220 localhost", "< lhlo", "> 250-localhost", "> 250 before"),
            smtplib.SMTPNotSupportedError,
            "STARTTLS extension not supported",
        ),
        (
            ("> 220 localhost", *LHLO, "< STARTTLS", "> 454 not now"),
            smtplib.SMTPResponseException,
            "454",
        ),
    ),
    "imaps": Client(
        imaps,
        ("OK", [b"fine"]),
        imaplib.IMAP4.abort,
        (),
        ("> * OK hello", *CAPABILITY_AFTER, *IMAP_NOOP),
        LOGOUT,
    ),
    "imap": Client(
        imap,
        ("OK", [b"fine"]),
        imaplib.IMAP4.abort,
        ("> * OK hello", *CAPABILITY, "< STARTTLS", "> {tag} OK go ahead"),
        (*CAPABILITY_AFTER, *IMAP_NOOP),
        LOGOUT,
        (
            ("> * OK hello", "< CAPABILITY", "> * CAPABILITY IMAP4rev1", "> {tag} OK done"),
            imaplib.IMAP4.abort,
            "TLS not supported by server",
        ),
        (
            ("> * OK hello", *CAPABILITY, "< STARTTLS", "> {tag} NO not now"),
            imaplib.IMAP4.error,
            "Couldn't establish TLS session",
        ),
    ),
    "pops": Client(
        pops, (1, 2345), poplib.error_proto, (), ("> +OK hello", *STAT), ("< QUIT", "> +OK bye")
    ),
    "pop": Client(
        pop,
        (1, 2345),
        poplib.error_proto,
        ("> +OK hello", *CAPA, "< STLS", "> +OK go ahead"),
        STAT,
        ("< QUIT", "> +OK bye"),
        (
            ("> +OK hello", "< CAPA", "> +OK", "> UIDL", "> ."),
            poplib.error_proto,
            "STLS not supported by server",
        ),
        (("> +OK hello", *CAPA, "< STLS", "> -ERR not now"), poplib.error_proto, "not now"),
    ),
    "ftp": Client(
        ftp,
        "230 in",
        EOFError,
        ("> 220 hello", "< AUTH TLS", "> 234 go ahead"),
        ("< USER anonymous", "> 230 in"),
        ("< QUIT", "> 221 bye"),
        refused=(("> 220 hello", "< AUTH TLS", "> 500 what?"), ftplib.error_perm, "500 what?"),
        only_ends=True,
    ),
    "nntps": Client(
        nntps,
        "111 20260102030405",
        EOFError,
        (),
        ("> 200 hello", *CAPABILITIES_AFTER, *DATE),
        ("< QUIT", "> 205 bye"),
        only_ends=True,
    ),
    "nntp": Client(
        nntp,
        "111 20260102030405",
        EOFError,
        ("> 200 hello", *CAPABILITIES, "< STARTTLS", "> 382 go ahead"),
        (*CAPABILITIES_AFTER, *DATE),
        ("< QUIT", "> 205 bye"),
        refused=(
            ("> 200 hello", *CAPABILITIES, "< STARTTLS", "> 580 not now"),
            Exception,
            "580 not now",
        ),
        only_ends=True,
    ),
}
if sys.version_info >= (3, 13):
    del CLIENTS["nntps"], CLIENTS["nntp"]

UPGRADES = [name for name, client in CLIENTS.items() if client.before]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    """Each client."""
    return CLIENTS[request.param]


@pytest.fixture(params=UPGRADES)
def upgrading(request: pytest.FixtureRequest) -> Client:
    """Each client that begins in plaintext."""
    return CLIENTS[request.param]


def fails(client: Client, port: int, tls: Any, kind: type[Exception]) -> Any:
    """The error that a client's handshake fails with."""
    with pytest.raises(client.wrapped_by or kind) as caught:
        client.use(port, tls)
    error = caught.value
    if client.wrapped_by is not None:
        assert error.__cause__ is not None
        error = error.__cause__
    assert type(error) is kind, repr(error)
    return error


def ends(client: Client, port: int, tls: Any, cause: type[Exception]) -> None:
    """Hold that a client takes the connection for ended, and names the cause."""
    with pytest.raises(client.ended) as caught:
        client.use(port, tls)
    assert type(caught.value.__cause__) is cause, repr(caught.value.__cause__)


def hello_then(*steps: Any) -> tuple[Any, ...]:
    """Steps of a server that reads ClientHello, and does not answer in TLS."""
    return lambda server: server.side.recv(65536), *steps


# --- good ---


def test_a_good_server_is_used(client: Client, scripted: Any, own: Any, tls: Any) -> None:
    server = scripted(own, *client.before, "TLS", *client.after, *client.bye)
    assert client.use(server.port, tls) == client.result
    server.close()
    assert server.errors == [None]


def test_connections_share_sessions(client: Client, scripted: Any, lab: Any, own: Any) -> None:
    tls = lab.client()
    server = scripted(own, *client.before, "TLS", *client.after, *client.bye)
    for _ in range(3):
        assert client.use(server.port, tls) == client.result
    server.close()
    assert server.errors == [None] * 3
    assert tls.statistics.resumed == 2


def test_a_client_shows_its_certificate(
    client: Client, scripted: Any, lab: Any, version: Any
) -> None:
    own = lab.server(lab.chain(HOST), trust_store=lab.ca.trust_store())
    tls = lab.client(version=version, certificate_chain=lab.chain("client.example"))
    server = scripted(own, *client.before, "TLS", *client.after, *client.bye)
    assert client.use(server.port, tls) == client.result


# --- refused by us ---

LONG_AGO = datetime.now(UTC) - timedelta(days=20)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (VerificationFailure.HOSTNAME_MISMATCH, "localhost"),
        (VerificationFailure.UNKNOWN_ISSUER, "issue"),
        (VerificationFailure.EXPIRED, "expired"),
    ],
)
def test_a_bad_certificate_is_refused(
    client: Client, scripted: Any, lab: Any, tls: Any, reason: VerificationFailure, said: str
) -> None:
    chain = {
        VerificationFailure.HOSTNAME_MISMATCH: lambda: lab.chain("another.example"),
        VerificationFailure.UNKNOWN_ISSUER: lambda: CertificateAuthority().issue(HOST),
        VerificationFailure.EXPIRED: lambda: lab.ca.issue(HOST, not_before=LONG_AGO),
    }[reason]()
    server = scripted(lab.server(chain), *client.before, "TLS", "<<")
    heard = [step for step in client.before if step.startswith("< ")]
    error = fails(client, server.port, tls, CertificateVerificationError)
    assert error.reason is reason
    assert error.hostname == HOST
    assert said in str(error)
    server.close()
    assert len(server.heard) == len(heard)
    assert isinstance(server.errors[0], AlertReceived)


# --- refused by the server ---


@pytest.mark.parametrize("shown", [False, True], ids=["none", "a stranger's"])
def test_that_our_certificate_is_refused_is_told(
    client: Client, scripted: Any, lab: Any, version: Any, shown: bool
) -> None:
    own = lab.server(lab.chain(HOST), trust_store=lab.ca.trust_store())
    stranger = CertificateAuthority().issue("client.example")
    tls = lab.client(version=version, certificate_chain=stranger if shown else None)
    server = scripted(own, *client.before, "TLS", "<<")
    if version is polytls.TLSVersion.TLSv1_2:
        # Without a certificate it is a handshake_failure (RFC 5246 7.4.6).
        fails(client, server.port, tls, PeerRejectedCertificate if shown else AlertReceived)
    elif client.only_ends:
        # In TLS 1.3 the handshake is done by then (RFC 8446 4.4.2.4).
        with pytest.raises(PeerRejectedCertificate):
            client.use(server.port, tls)
    else:
        ends(client, server.port, tls, PeerRejectedCertificate)


# --- no TLS ---


def test_a_server_that_answers_in_plaintext_is_told_apart(
    client: Client, scripted: Any, own: Any, tls: Any
) -> None:
    server = scripted(own, *client.before, *hello_then("> 220 what do you mean?", "<<"))
    error = fails(client, server.port, tls, NotTLSError)
    assert "220 what" in str(error) or "TLS" in str(error)


def test_plaintext_behind_the_answer_is_refused(
    upgrading: Client, scripted: Any, own: Any, tls: Any
) -> None:
    *before, answer = upgrading.before
    injected = [*before, f"| {answer[2:]}\\r\\n250 injected\\r\\n", "<<"]
    if "{tag}" in answer:
        text = answer[2:] + "\r\n* CAPABILITY IMAP4rev1 INJECTED\r\n"
        injected[-2] = lambda server: server.side.sendall(
            text.replace("{tag}", server.tag).encode()
        )
    server = scripted(own, *injected)
    error = fails(upgrading, server.port, tls, PeerMisbehaved)
    assert "before TLS started" in str(error)


# FTP and NNTP ask whatever is offered, and are told no.
@pytest.mark.parametrize("name", [name for name in UPGRADES if CLIENTS[name].stripped])
def test_an_upgrade_that_is_not_offered_is_not_done_without(
    name: str, scripted: Any, own: Any, tls: Any
) -> None:
    upgrading = CLIENTS[name]
    assert upgrading.stripped is not None
    steps, kind, said = upgrading.stripped
    server = scripted(own, *steps, *upgrading.bye)
    with pytest.raises(kind, match=said):
        upgrading.use(server.port, tls)
    server.close()
    allowed = {step[2:].upper() for step in (*steps, *upgrading.bye) if step.startswith("< ")}
    assert all(any(word in line.upper() for word in allowed) for line in server.heard)


def test_an_upgrade_that_is_refused_is_not_done_without(
    upgrading: Client, scripted: Any, own: Any, tls: Any
) -> None:
    assert upgrading.refused is not None
    steps, kind, said = upgrading.refused
    server = scripted(own, *steps, *upgrading.bye)
    with pytest.raises(kind, match=said):
        upgrading.use(server.port, tls)
    server.close()
    allowed = {step[2:].upper() for step in (*steps, *upgrading.bye) if step.startswith("< ")}
    assert all(any(word in line.upper() for word in allowed) for line in server.heard)


# --- cut off ---

CUTS_IN_PLAINTEXT = [(name, at) for name in UPGRADES for at in range(len(CLIENTS[name].before))]
CUTS_IN_TLS = [(name, at) for name in CLIENTS for at in range(len(CLIENTS[name].after))]


@pytest.mark.parametrize(("name", "at"), CUTS_IN_PLAINTEXT)
def test_a_server_that_goes_before_tls_is_an_error(
    name: str, at: int, scripted: Any, own: Any, tls: Any
) -> None:
    client = CLIENTS[name]
    server = scripted(own, *client.before[:at], "cut")
    with pytest.raises((client.ended, ConnectionError)):
        client.use(server.port, tls)


def test_a_server_that_goes_within_the_handshake_is_an_error(
    client: Client, scripted: Any, own: Any, tls: Any
) -> None:
    server = scripted(own, *client.before, *hello_then("cut"))
    assert fails(client, server.port, tls, RaggedEOF).during_handshake


@pytest.mark.parametrize(("name", "at"), CUTS_IN_TLS)
def test_a_server_that_is_cut_off_is_an_error(
    name: str, at: int, scripted: Any, own: Any, tls: Any
) -> None:
    client = CLIENTS[name]
    server = scripted(own, *client.before, "TLS", *client.after[:at], "cut")
    with pytest.raises((client.ended, ConnectionError)) as caught:
        client.use(server.port, tls)
    # With something unread, closing sends a reset. Mail has one exception for all of that.
    if client.ended in (smtplib.SMTPServerDisconnected, imaplib.IMAP4.abort, poplib.error_proto):
        assert isinstance(caught.value, client.ended)
    # Nor does closing say more than reading did, that the request has not arrived.
    if name in ("http", "urllib"):
        assert not isinstance(caught.value, BrokenPipeError)
    if not isinstance(caught.value, ConnectionError):
        assert isinstance(caught.value.__cause__, RaggedEOF | ConnectionError)
