"""tshark reads what our connections carry, given their key log, and nothing without it."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from polytls import TLSVersion
from polytls.insecure import SecurityWarning

pytestmark = pytest.mark.peers

#: What nothing in these tests may take, in seconds.
PATIENCE = 60.0

#: What goes each way; it must not be found in the capture itself.
REQUEST, RESPONSE = b"the-secret-question " * 40, b"the-secret-answer " * 2000


class Tap:
    """Stands between a client and a server, and keeps what goes either way in its order."""

    def __init__(self, port: int) -> None:
        self.pieces: list[tuple[bool, bytes]] = []
        self._lock = threading.Lock()
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def run(self, threads: ThreadPoolExecutor) -> None:
        with self._listener:
            client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._port))
        with client, server:
            there = threads.submit(self._carry, client, server, True)
            self._carry(server, client, False)
            there.result(PATIENCE)

    def _carry(self, source: socket.socket, target: socket.socket, from_client: bool) -> None:
        with suppress(OSError):  # Who has read enough may just go.
            while data := source.recv(16384):
                with self._lock:
                    self.pieces.append((from_client, data))
                target.sendall(data)
        with suppress(OSError):  # Both have gone.
            target.shutdown(socket.SHUT_WR)

    def capture(self) -> bytes:
        """What was carried as a capture: IPv4 packets without a link layer (LINKTYPE_RAW, 101)."""
        out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)]
        ends = {True: ("10.0.0.1", 40000), False: ("10.0.0.2", 443)}
        sequence = {True: 1000, False: 2000}

        def packet(from_client: bool, flags: int, data: bytes) -> None:
            (source, source_port), (target, target_port) = ends[from_client], ends[not from_client]
            tcp = struct.pack(
                "!HHIIBBHHH",
                *(source_port, target_port, sequence[from_client], sequence[not from_client]),
                *(5 << 4, flags, 65535, 0, 0),
            )
            length = 20 + len(tcp) + len(data)
            addresses = socket.inet_aton(source) + socket.inet_aton(target)
            ip = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, 6, 0) + addresses
            stamp = len(out)
            out.append(struct.pack("<IIII", 0, stamp, length, length) + ip + tcp + data)
            sequence[from_client] += len(data) + (1 if flags & 2 else 0)

        packet(True, 0x02, b"")
        packet(False, 0x12, b"")
        for from_client, data in self.pieces:
            packet(from_client, 0x18, data)
        return b"".join(out)


def shown(capture: Path, *options: str) -> bytes:
    """The plaintext that tshark finds in a capture, as hexadecimal digits."""
    path = shutil.which("tshark")
    if path is None:
        pytest.fail("tshark is missing here; tools/install-peers.sh installs it")
    done = subprocess.run(
        [path, "-n", "-r", str(capture), *options, "-q", "-z", "follow,tls,raw,0"],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    return done.stdout.replace(b"\n", b"").replace(b"\t", b"")


@pytest.mark.parametrize("side", ["client", "server"])
def test_tshark_reads_our_connections_with_the_key_log_of_either_side_alone(
    lab: Any,
    threads: ThreadPoolExecutor,
    serve: Any,
    tmp_path: Path,
    version: TLSVersion,
    side: str,
) -> None:
    log = tmp_path / "keys"
    with pytest.warns(SecurityWarning, match="key_log"):
        ours = getattr(lab, side)(version=version, key_log=log)
    client = ours if side == "client" else lab.client(version=version)
    server = ours if side == "server" else lab.server()

    def answer(connection: Any) -> None:
        got = b""
        while len(got) < len(REQUEST):
            got += connection.recv(65536)
        connection.sendall(RESPONSE)
        connection.recv(1)

    tap = Tap(serve(server, answer).port)
    running = threads.submit(tap.run, threads)
    with client.connect(("127.0.0.1", tap.port), server_hostname=lab.host) as connection:
        connection.sendall(REQUEST)
        got = b""
        while len(got) < len(RESPONSE):
            got += connection.recv(65536)
    running.result(PATIENCE)
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(tap.capture())
    assert REQUEST not in capture.read_bytes()
    read = shown(capture, "-o", f"tls.keylog_file:{log}")
    assert REQUEST.hex().encode() in read
    assert RESPONSE.hex().encode() in read
    assert REQUEST.hex().encode() not in shown(capture)
