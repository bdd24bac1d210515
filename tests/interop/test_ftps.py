"""FTPS: vsftpd and ProFTPD, where data connections have to resume the control connection's session,
and Pure-FTPd, where they may.

The client is `polytls.net.ftp`. Each server runs from a folder of its own, with no file
of the system's configuration, and is ended by the test. Both change to users of their own, which
only root may do.
"""

from __future__ import annotations

import ftplib
import hashlib
import io
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from interop.mail_servers import expired, strict
from polytls import (
    CertificateVerificationError,
    RaggedEOF,
    TLSError,
    TLSVersion,
    VerificationFailure,
)
from polytls.net.ftp import FTP_TLS
from polytls.testing import CertificateAuthority

pytestmark = [
    pytest.mark.peers(driver=True),
    pytest.mark.skipif(os.geteuid() != 0, reason="FTP servers are started by root"),
]

#: What nothing in these tests may take, in seconds.
PATIENCE = 30.0

#: Whether a gigabyte is moved, which takes its time.
SOAK = "POLYTLS_SOAK" in os.environ

#: The name that the server's certificate has, and that the client dials.
HOST = "localhost"

#: Settings of vsftpd; session reuse is required by default.
VSFTPD = """\
    listen=YES
    background=NO
    listen_address=127.0.0.1
    listen_port={port}
    anonymous_enable=YES
    no_anon_password=YES
    anon_root={folder}/root
    write_enable=YES
    anon_upload_enable=YES
    ssl_enable=YES
    allow_anon_ssl=YES
    force_anon_logins_ssl=YES
    force_anon_data_ssl=YES
    ssl_ciphers=HIGH
    rsa_cert_file={folder}/cert.pem
    rsa_private_key_file={folder}/key.pem
    ca_certs_file={folder}/ca.pem
    require_cert={asks}
    validate_cert={asks}
    secure_chroot_dir={folder}/empty
    seccomp_sandbox=NO
    isolate=NO
    isolate_network=NO
"""

#: Settings of ProFTPD; session reuse is required by default.
PROFTPD = """\
    ModulePath /usr/lib/proftpd
    LoadModule mod_tls.c
    ServerType standalone
    DefaultAddress 127.0.0.1
    Port {port}
    UseIPv6 off
    UseReverseDNS off
    User nobody
    Group nogroup
    DelayEngine off
    WtmpLog off
    TransferLog none
    PidFile {folder}/pid
    ScoreboardFile {folder}/scoreboard
    SystemLog {folder}/log
    TLSEngine on
    TLSRequired on
    TLSProtocol TLSv1.2 TLSv1.3
    TLSECCertificateFile {folder}/cert.pem
    TLSECCertificateKeyFile {folder}/key.pem
    TLSCACertificateFile {folder}/ca.pem
    TLSVerifyClient {asks}
    <Anonymous {folder}/root>
      User ftp
      Group nogroup
      UserAlias anonymous ftp
      RequireValidShell off
    </Anonymous>
"""

#: Options of Pure-FTPd, which has no such file; it does not ask for session reuse.
PURE_FTPD = (
    *("pure-ftpd", "-S", "127.0.0.1,{port}", "-g", "{folder}/pid", "-l", "puredb:{folder}/users"),
    *("-u", "1", "-H", "-Y", "3", "-2", "{folder}/cert.pem,{folder}/key.pem"),
)

#: The settings of each, and its command.
SERVERS = {
    "vsftpd": (VSFTPD, ("vsftpd", "{folder}/settings")),
    "ProFTPD": (PROFTPD, ("proftpd", "-n", "-q", "-c", "{folder}/settings")),
    "Pure-FTPd": ("", PURE_FTPD),
}

#: The user that Pure-FTPd knows, whose home is the folder that the others give to anybody.
USER = ("joe", "secret")


#: How each is told not to ask clients for certificates, or to. Pure-FTPd has no such setting.
ASKS = {"vsftpd": ("NO", "YES"), "ProFTPD": ("off", "on"), "Pure-FTPd": ("", "")}


@pytest.fixture
def folder(presented: Any, files: Any, ca_file: str) -> Iterator[Path]:
    """A folder that servers can enter, whoever they run as; what they serve is in `root`."""
    # ProFTPD's children end a moment after it, and may still write there.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        path = Path(name)
        path.chmod(0o755)
        shutil.copy(ca_file, path / "ca.pem")
        for source, copy in zip(files(presented(HOST)), ("cert.pem", "key.pem"), strict=True):
            shutil.copy(source, path / copy)
        (path / "empty").mkdir()
        (path / "root" / "incoming").mkdir(parents=True)
        (path / "root" / "incoming").chmod(0o777)
        (path / "root" / "file").write_bytes(b"content" * 10_000)
        yield path


def make_user(folder: Path) -> None:
    """Make USER, as Pure-FTPd keeps users."""
    program = shutil.which("pure-pw")
    if program is None:
        pytest.fail("pure-pw is missing here; tools/install-peers.sh installs it")
    name, password = USER
    home = ("-u", "nobody", "-g", "nogroup", "-d", str(folder / "root"))
    passwords = str(folder / "passwords")
    subprocess.run(
        [program, "useradd", name, "-f", passwords, *home],
        input=f"{password}\n{password}\n",
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run([program, "mkdb", str(folder / "users"), "-f", passwords], check=True)


@pytest.fixture(params=SERVERS)
def port(request: pytest.FixtureRequest, start: Any, folder: Path, asks: bool) -> int:
    """The port of each server."""
    settings, command = SERVERS[request.param]
    if asks and ASKS[request.param] == ("", ""):
        pytest.skip("it has no setting that asks for certificates")
    if request.param == "Pure-FTPd":
        make_user(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / "settings").write_text(
        textwrap.dedent(settings).format(folder=folder, port=port, asks=ASKS[request.param][asks])
    )
    start(*(each.format(folder=folder, port=port) for each in command))
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return port
        assert time.monotonic() < deadline, "nobody listens"
        time.sleep(0.02)


@contextmanager
def logged_in(made: Callable[..., Any], context: Any, port: int) -> Iterator[Any]:
    ftp = made(timeout=PATIENCE, tls=context)
    ftp.connect(HOST, port)
    ftp.login(*(USER if "Pure-FTPd" in ftp.getwelcome() else ()))
    ftp.prot_p()
    try:
        yield ftp
    finally:
        # vsftpd ends without close_notify.
        with suppress(RaggedEOF):
            ftp.close()


def test_downloads_uploads_and_listings_resume_the_control_connection(
    lab: Any, port: int, folder: Path, version: TLSVersion
) -> None:
    resumed: list[bool] = []

    class Watched(FTP_TLS):
        def ntransfercmd(self, *given: Any) -> Any:
            data, size = super().ntransfercmd(*given)
            resumed.append(data.info.resumed)
            return data, size

    with logged_in(Watched, lab.client(version=version), port) as ftp:
        # Pure-FTPd gives no tickets in TLS 1.3.
        resumes = "Pure-FTPd" not in ftp.getwelcome() or version is TLSVersion.TLSv1_2
        assert ftp.sock.info.version is version
        taken = io.BytesIO()
        ftp.retrbinary("RETR file", taken.write)
        assert taken.getvalue() == (folder / "root" / "file").read_bytes()
        for number in range(50):
            ftp.storbinary(f"STOR incoming/{number}", io.BytesIO(b"%d" % number * 5000))
        assert set(ftp.nlst()) - {".", ".."} == {"file", "incoming"}
    assert resumed == [resumes] * 52
    for number in range(50):
        path = folder / "root" / "incoming" / str(number)
        assert path.read_bytes() == b"%d" % number * 5000


@pytest.mark.soak
def test_much_goes_up_and_down_and_memory_stays_flat(
    lab: Any, port: int, folder: Path, rng: Any
) -> None:
    piece = rng.randbytes(1 << 20)
    big, copy = folder / "root" / "big", folder / "root" / "incoming" / "copy"
    sent, received = hashlib.sha256(), hashlib.sha256()
    with big.open("wb") as file:
        for _ in range(1024 if SOAK else 32):
            file.write(piece)
            sent.update(piece)
    with logged_in(FTP_TLS, lab.client(), port) as ftp:
        # The first takes what stays.
        ftp.retrbinary("RETR file", lambda _: None)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ftp.retrbinary("RETR big", received.update, 65536)
        with big.open("rb") as file:
            ftp.storbinary("STOR incoming/copy", file, 65536)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert received.digest() == sent.digest()
    with copy.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == sent.digest()
    assert grown < 16 << 10  # In KiB.


def test_without_the_session_the_server_takes_no_data_connection(
    lab: Any, port: int, version: TLSVersion
) -> None:
    with logged_in(FTP_TLS, lab.client(version=version, sessions=None), port) as ftp:
        asks = "Pure-FTPd" not in ftp.getwelcome()
        with pytest.raises(ftplib.Error) if asks else nullcontext():
            ftp.retrbinary("RETR file", lambda _: None)


def test_another_server_is_refused(lab: Any, port: int, version: TLSVersion) -> None:
    """On the control connection, before there is a password."""
    strangers = CertificateAuthority().trust_store()
    for host, given in (("127.0.0.1", {}), (HOST, {"trust_store": strangers})):
        ftp = FTP_TLS(timeout=PATIENCE, tls=lab.client(version=version, **given))
        ftp.connect(host, port)
        with pytest.raises(CertificateVerificationError) as caught:
            ftp.login("me", "secret")
        assert caught.value.hostname == host
        assert ftp.sock is None


@expired
def test_a_server_whose_certificate_has_expired_is_refused(
    lab: Any, port: int, version: TLSVersion
) -> None:
    ftp = FTP_TLS(timeout=PATIENCE, tls=lab.client(version=version))
    ftp.connect(HOST, port)
    with pytest.raises(CertificateVerificationError, match="expired") as caught:
        ftp.login("me", "secret")
    assert caught.value.reason is VerificationFailure.EXPIRED
    assert ftp.sock is None


@strict
def test_a_server_asks_for_a_certificate(lab: Any, port: int, version: TLSVersion) -> None:
    """On both connections; in TLS 1.3 a client learns that it was refused when it reads."""
    shown = lab.client(version=version, certificate_chain=lab.chain("client.example"))
    with logged_in(FTP_TLS, shown, port) as ftp:
        taken = io.BytesIO()
        ftp.retrbinary("RETR file", taken.write)
        assert taken.getvalue() == b"content" * 10_000
    stranger = CertificateAuthority().issue("client.example")
    for given in ({}, {"certificate_chain": stranger}):
        ftp = FTP_TLS(timeout=PATIENCE, tls=lab.client(version=version, **given))
        ftp.connect(HOST, port)
        with pytest.raises((TLSError, EOFError)):
            ftp.login()
        with suppress(OSError):
            ftp.close()


def test_plaintext_returns_with_ccc(lab: Any, port: int, version: TLSVersion) -> None:
    """vsftpd knows no CCC; the others allow it or say no, and go on."""
    with logged_in(FTP_TLS, lab.client(version=version), port) as ftp:
        try:
            ftp.ccc()
        except ftplib.error_perm:
            assert ftp.sock.info.version is version
        else:
            assert type(ftp.sock) is socket.socket
        assert ftp.pwd() == "/"
