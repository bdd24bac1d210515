"""FTP's data connections, and its control connection after CCC."""

from __future__ import annotations

import ftplib
import io
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

import polytls
from polytls.net.ftp import FTP_TLS

PATIENCE = 20.0
HOST = "localhost"

GREETING = ("> 220 hello", "< AUTH TLS", "> 234 go ahead", "TLS", "< USER anonymous", "> 230 in")
PROT_P = ("< PBSZ 0", "> 200 fine", "< PROT P", "> 200 private")
QUIT = ("< QUIT", "> 221 bye")


def transfer(
    carry: Callable[[Any], Any],
    seen: list[Any],
    context: Any = None,
    *,
    liar: str = "10,9,8,7",
) -> Callable[[Any], None]:
    """A step that does a transfer: PASV, the command, the data; `seen` gets what `info` says."""

    def step(server: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            server._do("< PASV")
            # The address is one that nobody is to go to.
            server._do(f"> 227 entering ({liar},{port >> 8},{port & 255})")
            server._do("< ")
            data, _ = listener.accept()
        data.settimeout(PATIENCE)
        server._do("> 150 here it comes")
        try:
            secured = (context or server.context).wrap_socket(data)
        except polytls.TLSError as error:
            seen.append(error)
            return
        seen.append(secured.info)
        carry(secured)
        if secured.fileno() >= 0:
            secured.close()
        server._do("> 226 done")

    return step


def logged_in(port: int, tls: Any) -> FTP_TLS:
    ftp = FTP_TLS(timeout=PATIENCE, tls=tls)
    ftp.connect(HOST, port)
    ftp.login()
    ftp.prot_p()
    return ftp


TYPE_I = ("< TYPE I", "> 200 fine")
TYPE_A = ("< TYPE A", "> 200 fine")


def test_data_connections_resume_the_control_connection(
    scripted: Any, own: Any, tls: Any, version: Any, lab: Any
) -> None:
    seen: list[Any] = []
    uploaded = bytearray()

    def take(data: Any) -> None:
        while piece := data.recv(65536):
            uploaded.extend(piece)

    server = scripted(
        own,
        *GREETING,
        *PROT_P,
        *TYPE_I,
        transfer(lambda data: data.sendall(b"x" * 100_000), seen),
        *TYPE_I,
        transfer(take, seen),
        *TYPE_A,
        transfer(lambda data: data.sendall(b"one\r\ntwo\r\n"), seen),
        *QUIT,
    )
    with logged_in(server.port, lab.client(version=version)) as ftp:
        taken = io.BytesIO()
        ftp.retrbinary("RETR file", taken.write)
        assert taken.getvalue() == b"x" * 100_000
        ftp.storbinary("STOR file", io.BytesIO(b"y" * 100_000))
        assert ftp.nlst() == ["one", "two"]
    server.close()
    assert server.errors == [None]
    assert uploaded == b"y" * 100_000
    assert [info.resumed for info in seen] == [True] * 3
    assert {info.server_name for info in seen} == {HOST}


def test_a_data_connection_verifies_the_host_of_the_control_connection(
    scripted: Any, own: Any, tls: Any, lab: Any
) -> None:
    """Not the address that PASV gave, which a certificate could be had for."""
    seen: list[Any] = []
    another = lab.server(lab.chain("127.0.0.1"))
    server = scripted(
        own,
        *GREETING,
        *PROT_P,
        *TYPE_I,
        transfer(lambda data: None, seen, another, liar="127,0,0,1"),
    )
    ftp = logged_in(server.port, tls)
    with pytest.raises(polytls.CertificateVerificationError) as caught:
        ftp.retrbinary("RETR file", lambda _: None)
    assert caught.value.hostname == HOST
    ftp.close()


@pytest.mark.parametrize("lines", [False, True])
def test_data_that_is_cut_off_is_an_error(scripted: Any, own: Any, tls: Any, lines: bool) -> None:
    def cut(data: Any) -> None:
        data.sendall(b"half a \r\n")
        os.close(data.detach())

    kind = TYPE_A if lines else TYPE_I
    step = (*kind, transfer(cut, []))
    server = scripted(own, *GREETING, *PROT_P, *step, *GREETING, *PROT_P, *step, *QUIT)
    server.steps = [*GREETING, *PROT_P, *step, *QUIT]
    taken: list[Any] = []

    def retrieve(ftp: FTP_TLS, **given: Any) -> None:
        if lines:
            ftp.retrlines("LIST", taken.append, **given)
        else:
            ftp.retrbinary("RETR file", taken.append, **given)

    ftp = logged_in(server.port, tls)
    with pytest.raises(polytls.RaggedEOF):
        retrieve(ftp)
    assert taken == (["half a "] if lines else [b"half a \r\n"])
    ftp.close()
    with logged_in(server.port, tls) as ftp:
        retrieve(ftp, accept_truncated_end=True)
    assert len(taken) == 2


def test_a_server_that_does_not_protect_data_is_an_error(scripted: Any, own: Any, tls: Any) -> None:
    server = scripted(own, *GREETING, "< PBSZ 0", "> 200 fine", "< PROT P", "> 536 no", *QUIT)
    with FTP_TLS(timeout=PATIENCE, tls=tls) as ftp:
        ftp.connect(HOST, server.port)
        ftp.login()
        with pytest.raises(ftplib.error_perm, match="536"):
            ftp.prot_p()


def test_data_is_protected_after_the_control_connection_only(
    scripted: Any, own: Any, tls: Any
) -> None:
    server = scripted(own, "> 220 hello", *QUIT)
    with FTP_TLS(timeout=PATIENCE, tls=tls) as ftp:
        ftp.connect(HOST, server.port)
        with pytest.raises(ValueError, match="secure the control connection first"):
            ftp.prot_p()


def test_the_control_connection_is_cleared(scripted: Any, own: Any, tls: Any) -> None:
    seen: list[Any] = []

    def unwrap(server: Any) -> None:
        server.side = server.side.unwrap()

    server = scripted(
        own,
        *GREETING,
        *PROT_P,
        "< CCC",
        "> 200 clear",
        unwrap,
        *TYPE_I,
        transfer(lambda data: data.sendall(b"secret"), seen),
        *QUIT,
    )
    with logged_in(server.port, tls) as ftp:
        ftp.ccc()
        with pytest.raises(ValueError, match="not using TLS"):
            ftp.ccc()
        taken = io.BytesIO()
        ftp.retrbinary("RETR file", taken.write)
        assert taken.getvalue() == b"secret"
    server.close()
    assert server.errors == [None]
    assert seen[0].resumed


def test_a_transfer_is_aborted(scripted: Any, own: Any, tls: Any) -> None:
    server = scripted(own, *GREETING, "< ABOR", "> 226 aborted", "< ABOR", "> 500 what?", *QUIT)
    with FTP_TLS(timeout=PATIENCE, tls=tls) as ftp:
        ftp.connect(HOST, server.port)
        ftp.login()
        assert ftp.abort() == "226 aborted"
        with pytest.raises(ftplib.error_proto):
            ftp.abort()


def test_tls_begins_once(scripted: Any, own: Any, tls: Any) -> None:
    server = scripted(own, *GREETING, *QUIT)
    with FTP_TLS(timeout=PATIENCE, tls=tls) as ftp:
        ftp.connect(HOST, server.port)
        ftp.login()
        with pytest.raises(ValueError, match="Already using TLS"):
            ftp.auth()
