"""Mail servers of the system, as fixtures: Postfix and Dovecot.

Each runs from a folder of its own, with no file of the system's configuration, and is ended by the
test. They share their mailboxes, so that a mail that one was handed is read from the other.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

__all__ = [
    "Mailboxes",
    "Submission",
    "asks",
    "credentials",
    "expired",
    "folder",
    "free_port",
    "mail",
    "mailboxes",
    "presented",
    "smtp",
    "strict",
]

#: For tests of servers whose certificate has expired, or that ask clients for one.
expired = pytest.mark.parametrize("presented", ["expired"], indirect=True)
strict = pytest.mark.parametrize("asks", [True], indirect=True, ids=["asks for certificates"])

LONG_AGO = datetime.now(UTC) - timedelta(days=20)


class Submission(NamedTuple):
    """The ports of a server that takes mail."""

    starttls: int
    implicit: int


class Mailboxes(NamedTuple):
    """The ports of a server that mail is read from."""

    imap: int
    pop3: int
    imaps: int
    pop3s: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that servers can enter, whoever they run as."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def presented(request: pytest.FixtureRequest, lab: Any) -> Callable[..., Any]:
    """A function that makes the chain of a server; `expired` makes it one of the past."""
    if getattr(request, "param", None) == "expired":
        return lambda *names: lab.ca.issue(*(names or (lab.host,)), not_before=LONG_AGO)
    return lab.chain  # type: ignore[no-any-return]


@pytest.fixture
def asks(request: pytest.FixtureRequest) -> bool:
    """Whether servers ask for certificates of the authority; `strict` makes it so."""
    return bool(getattr(request, "param", False))


@pytest.fixture
def credentials(
    presented: Callable[..., Any], files: Any, folder: Path, ca_file: str
) -> tuple[Path, Path]:
    """Our certificate and its key, in `folder`, beside the authority's certificate."""
    shutil.copy(ca_file, folder / "ca.pem")
    for source, name in zip(files(presented()), ("cert.pem", "key.pem"), strict=True):
        shutil.copy(source, folder / name)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def smtp(
    start: Any, folder: Path, mail: Path, credentials: tuple[Path, Path], asks: bool
) -> Iterator[Submission]:
    """A Postfix that takes mail for anybody at server.example; `mailboxes` has it as that of me."""
    queue, configuration = folder / "queue", folder / "configuration"
    ports = Submission(free_port(), free_port())
    owner, keeper = pwd.getpwnam("postfix").pw_uid, pwd.getpwnam("mail")
    queues = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming")
    for name in (*queues, "private", "saved", "trace"):
        (queue / name).mkdir(parents=True, mode=0o700)
        os.chown(queue / name, owner, -1)
    for name, mode in (("public", 0o710), ("maildrop", 0o730)):
        (queue / name).mkdir()
        shutil.chown(queue / name, owner, "postdrop")
        (queue / name).chmod(mode)
    (queue / "pid").mkdir()
    (folder / "data").mkdir()
    os.chown(folder / "data", owner, -1)
    configuration.mkdir()
    certificate, key = credentials
    (configuration / "main.cf").write_text(
        textwrap.dedent(f"""\
        compatibility_level = 3.6
        queue_directory = {queue}
        data_directory = {folder / "data"}
        daemon_directory = {postfix_daemons()}
        mail_owner = postfix
        setgid_group = postdrop
        maillog_file = {folder / "log"}
        maillog_file_prefixes = {folder}
        myhostname = server.example
        mydestination =
        virtual_transport = virtual
        virtual_mailbox_domains = server.example
        virtual_mailbox_base = {mail}
        virtual_mailbox_maps = static:me/
        virtual_mailbox_limit = 0
        virtual_minimum_uid = 1
        virtual_uid_maps = static:{keeper.pw_uid}
        virtual_gid_maps = static:{keeper.pw_gid}
        inet_interfaces = 127.0.0.1
        inet_protocols = ipv4
        smtpd_peername_lookup = no
        smtpd_tls_security_level = encrypt
        smtpd_tls_cert_file = {certificate}
        smtpd_tls_key_file = {key}
        smtpd_tls_CAfile = {folder / "ca.pem"}
        smtpd_tls_req_ccert = {"yes" if asks else "no"}
        local_recipient_maps =
        alias_maps =
        alias_database =
        """)
    )
    (configuration / "master.cf").write_text(
        textwrap.dedent(f"""\
        {ports.starttls} inet n - n - - smtpd
        {ports.implicit} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
        postlog unix-dgram n - n - 1 postlogd
        tlsmgr unix - - n 1000? 1 tlsmgr
        rewrite unix - - n - - trivial-rewrite
        cleanup unix n - n - 0 cleanup
        qmgr unix n - n 300 1 qmgr
        anvil unix - - n - 1 anvil
        bounce unix - - n - 0 bounce
        defer unix - - n - 0 bounce
        trace unix - - n - 0 bounce
        virtual unix - n n - - virtual
        """)
    )
    start(str(Path(postfix_daemons()) / "master"), "-c", str(configuration), "-d")
    yield ports
    # What it has taken is delivered before it is ended, and the folder is removed.
    deadline = time.monotonic() + 20
    while any(any((queue / name).iterdir()) for name in ("maildrop", "incoming", "active")):
        assert time.monotonic() < deadline, "a mail is not delivered"
        time.sleep(0.02)


def postfix_daemons() -> str:
    for folder in ("/usr/lib/postfix/sbin", "/usr/libexec/postfix"):
        if Path(folder, "master").exists():
            return folder
    pytest.fail("postfix is missing here; tools/install-peers.sh installs it")


@pytest.fixture
def mail(folder: Path) -> Path:
    """The folder of all mailboxes."""
    made = folder / "mail"
    made.mkdir()
    shutil.chown(made, "mail", "mail")
    return made


@pytest.fixture
def mailboxes(
    start: Any, folder: Path, mail: Path, credentials: tuple[Path, Path], asks: bool
) -> Mailboxes:
    """A Dovecot for IMAP and POP3, with a mailbox for anybody who knows «secret»."""
    ports = Mailboxes(*(free_port() for _ in range(4)))
    certificate, key = credentials
    (folder / "dovecot.conf").write_text(
        textwrap.dedent(f"""\
        base_dir = {folder / "run"}
        state_dir = {folder / "state"}
        log_path = {folder / "log"}
        protocols = imap pop3
        listen = 127.0.0.1
        ssl = required
        ssl_cert = <{certificate}
        ssl_key = <{key}
        ssl_ca = <{folder / "ca.pem"}
        ssl_require_crl = no
        ssl_verify_client_cert = {"yes" if asks else "no"}
        auth_ssl_require_client_cert = {"yes" if asks else "no"}
        mail_location = maildir:{mail}/%u
        first_valid_uid = 1
        passdb {{
          driver = static
          args = password=secret
        }}
        userdb {{
          driver = static
          args = uid=mail gid=mail home={mail}/%u
        }}
        service imap-login {{
          chroot =
          inet_listener imap {{
            port = {ports.imap}
          }}
          inet_listener imaps {{
            port = {ports.imaps}
            ssl = yes
          }}
        }}
        service pop3-login {{
          chroot =
          inet_listener pop3 {{
            port = {ports.pop3}
          }}
          inet_listener pop3s {{
            port = {ports.pop3s}
            ssl = yes
          }}
        }}
        """)
    )
    start("dovecot", "-c", str(folder / "dovecot.conf"), "-F")
    return ports
