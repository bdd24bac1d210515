"""`polytls inspect --starttls` with servers of the system: one for each protocol that Debian has a
server for. The dialogues themselves are tested in tests/inspect.

Each server runs from a folder of its own, with no file of the system's configuration, and is ended
by the test. Most of them change to users of their own, which only root may do.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import polytls
from interop.mail_servers import free_port
from polytls.cli import main
from polytls.testing import CertificateAuthority

pytestmark = [
    pytest.mark.peers(driver=True),
    pytest.mark.skipif(os.geteuid() != 0, reason="the servers are started by root"),
]

#: What nothing in these tests may take, in seconds.
PATIENCE = 30.0

#: The name that the servers' certificate has.
HOST = "server.example"


class Place:
    """Where a server runs."""

    def __init__(self, folder: Path, start: Callable[..., Any]) -> None:
        self.folder = folder
        self.start = start
        self.port = free_port()

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    def given_to(self, user: str) -> None:
        """Give all files to a user."""
        for path in (self.folder, *self.folder.rglob("*")):
            shutil.chown(path, user, pwd.getpwnam(user).pw_gid)

    def run(self, *command: str) -> None:
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL)

    def wait(self) -> None:
        """Wait until it listens."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.05)

    def as_user(self, user: str, *command: str) -> tuple[str, ...]:
        return ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command)


def dovecot(place: Place, protocol: str, login: str) -> None:
    settings = f"""\
        base_dir = {place.folder / "run"}
        state_dir = {place.folder / "state"}
        log_path = {place.folder / "log"}
        protocols = {protocol}
        listen = 127.0.0.1
        ssl = yes
        ssl_cert = <{place.folder / "cert.pem"}
        ssl_key = <{place.folder / "key.pem"}
        passdb {{
          driver = static
          args = password=secret
        }}
        service {login} {{
          chroot =
          inet_listener {protocol} {{
            port = {place.port}
          }}
        }}
    """
    place.start("dovecot", "-c", place.write("dovecot.conf", settings), "-F")


def lmtp(place: Place) -> None:
    dovecot(place, "lmtp", "lmtp")


def sieve(place: Place) -> None:
    dovecot(place, "sieve", "managesieve-login")


def ftp(place: Place) -> None:
    (place.folder / "empty").mkdir()
    settings = f"""\
        listen=YES
        background=NO
        listen_address=127.0.0.1
        listen_port={place.port}
        ssl_enable=YES
        ssl_ciphers=HIGH
        rsa_cert_file={place.folder}/cert.pem
        rsa_private_key_file={place.folder}/key.pem
        secure_chroot_dir={place.folder}/empty
        seccomp_sandbox=NO
        isolate=NO
        isolate_network=NO
    """
    place.start("vsftpd", place.write("settings", settings))


def ldap(place: Place) -> None:
    (place.folder / "data").mkdir()
    settings = f"""\
        include /etc/ldap/schema/core.schema
        modulepath /usr/lib/ldap
        moduleload back_mdb
        TLSCertificateFile {place.folder}/cert.pem
        TLSCertificateKeyFile {place.folder}/key.pem
        database mdb
        suffix "dc=example"
        directory {place.folder}/data
    """
    path = place.write("slapd.conf", settings)
    place.start("slapd", "-h", f"ldap://127.0.0.1:{place.port}", "-d", "0", "-f", path)


def xmpp(place: Place) -> None:
    settings = f"""\
        interfaces = {{ "127.0.0.1" }}
        c2s_ports = {{ {place.port} }}
        s2s_ports = {{}}
        modules_enabled = {{ "tls" }}
        modules_disabled = {{ "s2s" }}
        data_path = "{place.folder}/data"
        pidfile = "{place.folder}/pid"
        log = {{ info = "{place.folder}/log" }}
        ssl = {{ certificate = "{place.folder}/cert.pem", key = "{place.folder}/key.pem" }}
        VirtualHost "{HOST}"
    """
    (place.folder / "data").mkdir()
    path = place.write("prosody.cfg.lua", settings)
    place.given_to("prosody")
    place.start(*place.as_user("prosody", "prosody", "--config", path, "-F"))


def postgres(place: Place) -> None:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.fail("postgresql is missing here; tools/install-peers.sh installs it")
    data = str(place.folder / "data")
    place.given_to("postgres")
    initdb = (str(programs[-1] / "initdb"), "-D", data, "--auth=trust", "--no-sync")
    place.run(*place.as_user("postgres", *initdb))
    settings = {
        "port": place.port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": place.folder,
        "ssl": "on",
        "ssl_cert_file": place.folder / "cert.pem",
        "ssl_key_file": place.folder / "key.pem",
        "fsync": "off",
    }
    given = (f"--{name}={value}" for name, value in settings.items())
    place.start(
        *place.as_user("postgres", str(programs[-1] / "postgres"), "-D", data, *given),
    )


def mysql(place: Place) -> None:
    data = place.folder / "data"
    data.mkdir()
    place.given_to("mysql")
    install = ("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db")
    place.run(*place.as_user("mysql", *install))
    options = {
        "datadir": data,
        "tmpdir": place.folder,
        "port": place.port,
        "bind-address": "127.0.0.1",
        "socket": place.folder / "socket",
        "pid-file": place.folder / "pid",
        "ssl-cert": place.folder / "cert.pem",
        "ssl-key": place.folder / "key.pem",
    }
    given = (f"--{name}={value}" for name, value in options.items())
    place.start(*place.as_user("mysql", "mariadbd", "--no-defaults", *given))


SERVERS = {
    "lmtp": lmtp,
    "sieve": sieve,
    "ftp": ftp,
    "ldap": ldap,
    "xmpp": xmpp,
    "postgres": postgres,
    "mysql": mysql,
}


@pytest.mark.parametrize("service", SERVERS)
def test_a_service_is_inspected_behind_its_starttls(
    service: str,
    folder: Path,
    start: Callable[..., Any],
    files: Any,
    ca: CertificateAuthority,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/local/sbin", prepend=os.pathsep)
    for source, name in zip(files(ca.issue(HOST)), ("cert.pem", "key.pem"), strict=True):
        shutil.copy(source, folder / name)
    (folder / "key.pem").chmod(0o600)
    place = Place(folder, start)
    SERVERS[service](place)
    place.wait()
    options = ("--starttls", service, "--server-hostname", HOST, "--ca", ca_file, "--json")
    for name in polytls.implementations():
        command = ["inspect", f"127.0.0.1:{place.port}", *options, "--implementation", name]
        code = main(command)
        (result,) = json.loads(capsys.readouterr().out)["results"]
        assert code == 0, result["verdict"]
        assert result["target"]["starttls"] == service
        assert result["timings"]["starttls"] > 0
        assert result["chain"][0]["dns_names"] == [HOST]


# --- proxies ---


def squid(place: Place) -> str:
    settings = f"""\
        http_port 127.0.0.1:{place.port}
        http_access allow all
        pid_filename {place.folder}/squid.pid
        cache deny all
        access_log none
        cache_log /dev/stderr
        netdb_filename none
        coredump_dir {place.folder}
        shutdown_lifetime 0 seconds
        visible_hostname localhost
        pinger_enable off
    """
    place.start("squid", "-N", "-f", place.write("squid.conf", settings))
    return "http://"


def microsocks(place: Place) -> str:
    who = ("-u", "joe", "-P", "secret")
    place.start("microsocks", "-i", "127.0.0.1", "-p", str(place.port), *who)
    return "socks5://joe:secret@"


@pytest.mark.parametrize("run", [squid, microsocks])
def test_a_server_is_inspected_through_a_proxy(
    run: Callable[[Place], str],
    folder: Path,
    start: Callable[..., Any],
    serve: Any,
    ca: CertificateAuthority,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/local/sbin", prepend=os.pathsep)
    configuration = polytls.TLSServerConfiguration([ca.issue(HOST)])
    served = serve(polytls.implementation("rustls").server_context(configuration))
    place = Place(folder, start)
    proxy = f"{run(place)}127.0.0.1:{place.port}"
    place.wait()
    options = ("--server-hostname", HOST, "--ca", ca_file, "--proxy", proxy, "--json")
    for name in polytls.implementations():
        given = (*options, "--implementation", name, "--enumerate", "versions")
        code = main(["inspect", f"127.0.0.1:{served.port}", *given])
        (result,) = json.loads(capsys.readouterr().out)["results"]
        assert code == 0, result["verdict"]
        assert result["timings"]["proxy"] > 0
        assert [each["accepted"] for each in result["offers"]] == [True, True, False, False, False]
    closed = free_port()
    assert main(["inspect", f"127.0.0.1:{closed}", *options]) == 3
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["verdict"]["reason"] == "proxy"
