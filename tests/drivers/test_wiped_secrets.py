"""Once a socket is closed, none of our memory holds what its records were protected by.

A process makes a connection, tells its secrets by the key log, and closes both ends. Its heap is
searched from outside before and after that. What rustls leaves behind is told in SECURITY.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="memory can be read from outside on Linux alone"
)

#: Both ends in one thread, so that all is on one heap.
CHILD = """
import gc, socket, sys, warnings
import polytls
from polytls.testing import CertificateAuthority

warnings.simplefilter("ignore")
version = polytls.TLSVersion(sys.argv[1])
versions = {"lowest_supported_version": version, "highest_supported_version": version}
ca = CertificateAuthority()
tls = polytls.implementation("rustls")
client = tls.client_context(polytls.TLSClientConfiguration(
    trust_store=ca.trust_store(), key_log=lambda line: print(line, flush=True), **versions))
server = tls.server_context(polytls.TLSServerConfiguration([ca.issue("localhost")], **versions))
here, there = socket.socketpair()
for each in (here, there):
    each.setblocking(False)
ends = [client.wrap_socket(here, "localhost"), server.wrap_socket(there)]
waiting = list(ends)
while waiting:
    for end in list(waiting):
        try:
            end.do_handshake()
        except polytls.WantReadError:
            continue
        waiting.remove(end)
ends[0].sendall(b"data")
ends[1].settimeout(10)
assert ends[1].recv(4) == b"data"
exported = [end.export_keying_material("EXPORTER-test", None, 32) for end in ends]
assert exported[0] == exported[1]
print("open", flush=True)
sys.stdin.readline()
for end in ends:
    end.close(force=True)
    assert end.info.version is version
gc.collect()
for end in ends:
    try:
        end.export_keying_material("EXPORTER-test", None, 32)
    except polytls.TLSError as error:
        assert "export before closing" in str(error)
    else:
        raise AssertionError("there are keys yet")
print("closed", flush=True)
sys.stdin.readline()
"""


def heap(pid: int) -> bytes:
    """All that is on a process's heap."""
    found = b""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if line.endswith("[heap]"):
                start, end = (int(each, 16) for each in re.findall(r"[0-9a-f]+", line)[:2])
                memory.seek(start)
                found += memory.read(end - start)
    return found


def lines(child: subprocess.Popen[str], last: str) -> Iterator[str]:
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == last:
            return
        yield line
    raise AssertionError(f"the child ended before it was {last}")


def copies(version: str) -> tuple[dict[str, int], dict[str, int]]:
    """How often each secret is on the heap, before the connection is closed and after."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, version],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        try:
            secrets = {
                label: bytes.fromhex(secret)
                for label, _, secret in map(str.split, lines(child, "open"))
            }
            before = heap(child.pid)
            child.stdin.write("\n")
            child.stdin.flush()
            assert list(lines(child, "closed")) == []
            after = heap(child.pid)
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.wait(30) == 0
        finally:
            child.kill()
    return (
        {label: before.count(secret) for label, secret in secrets.items()},
        {label: after.count(secret) for label, secret in secrets.items()},
    )


@pytest.mark.parametrize(
    ("version", "labels"),
    [
        (
            "TLSv1.3",
            ("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET"),
        ),
        ("TLSv1.2", ("CLIENT_RANDOM",)),
    ],
)
def test_secrets_that_are_in_use_are_wiped_at_closing(
    version: str, labels: tuple[str, ...]
) -> None:
    before, after = copies(version)
    for label in labels:
        assert after[label] < before[label], (label, before, after)
