"""Records that handlers send over TLS, and those that they do not send without."""

from __future__ import annotations

import logging
import pickle
import struct
from typing import Any

import pytest

import polytls
from polytls.net.logging import HTTPHandler, SMTPHandler, SocketHandler

HOST = "localhost"

MAIL = (
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
    "< it happened",
    "< .",
    "> 250 fine",
    "< quit",
    "> 221 bye",
)


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """What handlers could not do."""
    import sys

    failed: list[BaseException | None] = []
    monkeypatch.setattr(
        logging.Handler, "handleError", lambda self, record: failed.append(sys.exc_info()[1])
    )
    return failed


def emit(handler: logging.Handler, times: int = 1) -> None:
    record = logging.LogRecord("name", logging.ERROR, __file__, 1, "it %s", ("happened",), None)
    try:
        for _ in range(times):
            handler.handle(record)
    finally:
        handler.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_records_go_to_https(
    scripted: Any, own: Any, tls: Any, failures: list[Any], method: str
) -> None:
    request = (f"< {method} /log", "<<", *(["<body"] if method == "POST" else []))
    server = scripted(own, "TLS", *request, "> HTTP/1.1 204 OK", "> ")
    emit(HTTPHandler(f"{HOST}:{server.port}", "/log", method, tls=tls), 2)
    server.close()
    assert failures == []
    assert server.errors == [None, None]


def test_records_go_by_mail_over_tls(
    scripted: Any, own: Any, tls: Any, failures: list[Any]
) -> None:
    server = scripted(own, "TLS", "> 220 localhost", *MAIL)
    address = (HOST, server.port)
    emit(SMTPHandler(address, "me", "you", "x", ("me", "secret"), implicit=True, tls=tls))
    server.close()
    assert (failures, server.errors) == ([], [None])


def test_records_go_by_mail_after_starttls(
    scripted: Any, own: Any, tls: Any, failures: list[Any]
) -> None:
    offer = ("> 220 localhost", "< ehlo", "> 250-localhost", "> 250 starttls")
    server = scripted(own, *offer, "< STARTTLS", "> 220 go ahead", "TLS", *MAIL)
    emit(SMTPHandler((HOST, server.port), "me", "you", "x", ("me", "secret"), tls=tls))
    server.close()
    assert (failures, server.errors) == ([], [None])


def test_no_record_goes_by_mail_in_plaintext(
    scripted: Any, own: Any, tls: Any, failures: list[Any]
) -> None:
    server = scripted(own, "> 220 localhost", "< ehlo", "> 250 localhost", "<<")
    emit(SMTPHandler((HOST, server.port), "me", "you", "x", tls=tls))
    server.close()
    assert "STARTTLS extension not supported" in str(failures[0])
    assert len(server.heard) == 1


def read_record(server: Any) -> None:
    data = bytearray()
    while len(data) < 4 or len(data) < 4 + struct.unpack(">L", data[:4])[0]:
        data += server.side.recv(4096)
    server.heard.append(pickle.loads(data[4:])["msg"])


def test_records_go_over_a_socket(scripted: Any, own: Any, tls: Any, failures: list[Any]) -> None:
    server = scripted(own, "TLS", read_record)
    emit(SocketHandler(HOST, server.port, tls=tls))
    server.close()
    assert (failures, server.errors, server.heard) == ([], [None], ["it happened"])


def test_a_socket_with_the_wrong_server_is_told(
    scripted: Any, lab: Any, tls: Any, failures: list[Any]
) -> None:
    server = scripted(lab.server(lab.chain("another.example")), "TLS", read_record)
    emit(SocketHandler(HOST, server.port, tls=tls), 2)
    server.close()
    # The second record comes before another attempt is due.
    assert [type(error) for error in failures] == [polytls.CertificateVerificationError]
    assert server.heard == []


def test_a_path_has_no_name_to_verify(tls: Any) -> None:
    with pytest.raises(ValueError, match="server_hostname is required"):
        SocketHandler("/run/log", None, tls=tls)
