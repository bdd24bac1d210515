"""Server processes behind one port of loopback: of polytls, and of nginx."""

from __future__ import annotations

import pickle
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polytls

from ..credentials import Credentials
from ..machine import cpu_seconds
from ..peers import Unable
from ..programs import ROOT, installed
from .worker import Given

__all__ = ["Fleet", "Workers", "nginx", "nginx_version", "workers"]

#: What a start or an end may take, in seconds.
_PATIENCE = 20.0


@dataclass(frozen=True)
class Fleet:
    """Processes that serve one port."""

    port: int
    #: Their numbers.
    processes: list[int]

    def cpu_seconds(self) -> float:
        """What all have used since they were started."""
        return sum(map(cpu_seconds, self.processes))


@dataclass(frozen=True)
class Workers(Fleet):
    """Processes of polytls: see `worker`."""

    started: list[subprocess.Popen[bytes]]

    def exchange(self, index: int) -> None:
        """Have one process go on to its next ticket keys."""
        process = self.started[index]
        assert process.stdin
        process.stdin.write(b"next\n")
        process.stdin.flush()
        self.await_ready(index)

    def await_ready(self, index: int) -> None:
        """Wait until a process says that it is ready; raises RuntimeError if it has ended."""
        output = self.started[index].stdout
        assert output
        if output.readline() != b"ready\n":
            raise RuntimeError("a server of the fleet has ended: see its error above")


@contextmanager
def _shared_port() -> Iterator[int]:
    """A port that sockets with SO_REUSEPORT can listen on, and no others."""
    if sys.platform != "linux":
        raise Unable("needs Linux, which alone spreads connections over sockets that share a port")
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))  # It does not listen, so nothing comes here.
        yield reserved.getsockname()[1]


@contextmanager
def workers(
    implementation: str,
    chain: polytls.SigningChain,
    keys: list[list[polytls.TicketKeys | None]],
    forks: int = 0,
) -> Iterator[Workers]:
    """A process for each list of ticket keys; `forks`: how often each one forks."""
    with _shared_port() as port:
        started: list[subprocess.Popen[bytes]] = []
        try:
            for own in keys:
                process = subprocess.Popen(
                    [sys.executable, "-m", "benches.fleet.worker"],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                started.append(process)
                assert process.stdin
                pickle.dump(Given(implementation, chain, port, own, forks), process.stdin)
                process.stdin.flush()
            fleet = Workers(port, [process.pid for process in started], started)
            for index in range(len(started)):
                for _ in range(forks + 1):
                    fleet.await_ready(index)
            yield fleet
        finally:
            for process in started:
                # They end with their input, the forks too.
                process.communicate(timeout=_PATIENCE)


def nginx_version() -> str:
    """Its version, and that of its OpenSSL; raises Unable."""
    command = [installed("nginx", "nginx-light"), "-V"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    version, *lines = told.splitlines()
    openssl = next(line for line in lines if "OpenSSL" in line)
    return f"{version.rpartition('/')[2]}, {openssl.removeprefix('built with ')}"


#: Tickets are under the key of a file, as without one each worker's parent makes one at its start.
_CONFIGURATION = """
daemon off;
error_log stderr;
pid {folder}/pid;
worker_processes {count};
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    keepalive_timeout 0;
    server {{
        listen 127.0.0.1:{port} ssl reuseport backlog=128;
        ssl_certificate {folder}/chain.pem;
        ssl_certificate_key {folder}/chain.pem;
        ssl_protocols TLSv1.3;
        ssl_session_ticket_key {folder}/ticket.key;
        ssl_session_timeout 12h;
        location / {{
            return 200 "$pid\\n";
        }}
    }}
}}
"""


@contextmanager
def nginx(count: int, credentials: Credentials) -> Iterator[Fleet]:
    """The same of nginx: `count` workers, whose responses are their numbers; raises Unable."""
    program = installed("nginx", "nginx-light")
    with TemporaryDirectory() as name, _shared_port() as port:
        folder = Path(name)
        configuration = folder / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(folder=folder, count=count, port=port))
        chain = folder / "chain.pem"
        chain.touch(0o600)
        chain.write_text(credentials.certificate + credentials.key)
        ticket = folder / "ticket.key"
        ticket.touch(0o600)
        ticket.write_bytes(secrets.token_bytes(80))
        command = [program, "-p", name, "-c", str(configuration), "-e", "stderr"]
        process = subprocess.Popen(command)
        try:
            yield Fleet(port, _workers_of(process, count))
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def _workers_of(process: subprocess.Popen[bytes], count: int) -> list[int]:
    """The processes that nginx has started, once there are so many."""
    deadline = time.monotonic() + _PATIENCE
    while len(children := _children(process.pid)) < count:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("nginx did not start: see its error above")
        time.sleep(0.01)
    return children


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # The process has ended.
            continue
        # The name of the program, in parentheses, may have spaces: proc_pid_stat(5).
        _state, its_parent, *_ = text.rpartition(")")[2].split()
        if int(its_parent) == parent:
            found.append(int(stat.parent.name))
    return found
