"""polytls against `ssl`, in memory, in one run: `make bench`.

Both sides of every connection run in this process, on one core; the two libraries take turns round
by round, and what is printed is the median of each and their ratio. Machines are noisy: only the
ratios mean anything.

Same for both: TLS 1.3, AES-256-GCM, X25519, one ECDSA P-256 certificate, verification on. `ssl`
cannot choose its group before CPython 3.15, so handshakes are measured with the group that both
agree on when the certificate and the key exchange of OpenSSL 3 are left alone: X25519. Handshakes
are full ones: no sessions, and `info.resumed is False` is asserted.
"""

from __future__ import annotations

import argparse
import gc
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import polytls
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

SUITE = polytls.CipherSuite.TLS_AES_256_GCM_SHA384
CHUNK = 65536


class Side(Protocol):
    """One side of a connection in memory, as the measured loops use it."""

    write: Callable[[memoryview], int]
    incoming: Callable[[bytes], object]
    outgoing: Callable[[], bytes]

    def handshake(self) -> bool: ...
    def read_into(self, buffer: bytearray) -> int: ...
    def read(self, amount: int) -> bytes: ...


class PolytlsSide:
    """polytls through PEP 748's methods."""

    def __init__(self, buffer: polytls.TLSBuffer) -> None:
        self.buffer = buffer
        self.write: Callable[[memoryview], int] = buffer.write
        self.incoming: Callable[[bytes], object] = buffer.process_incoming
        self.outgoing: Callable[[], bytes] = partial(buffer.process_outgoing, 1 << 30)
        self._read = buffer.read

    def handshake(self) -> bool:
        try:
            self.buffer.do_handshake()
        except polytls.WantReadError:
            return False
        return True

    def read_into(self, buffer: bytearray) -> int:
        return self._read(len(buffer), buffer)  # type: ignore[return-value]

    def read(self, amount: int) -> bytes:
        return self._read(amount)  # type: ignore[return-value]


class SslSide:
    """The standard library's SSLObject between two MemoryBIOs."""

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(
            self._in,
            self._out,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        self.write: Callable[[memoryview], int] = self.object.write
        self.incoming: Callable[[bytes], object] = self._in.write
        self.outgoing: Callable[[], bytes] = self._out.read
        self._read = self.object.read

    def handshake(self) -> bool:
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read_into(self, buffer: bytearray) -> int:
        return self._read(len(buffer), buffer)  # type: ignore[return-value]

    def read(self, amount: int) -> bytes:
        return self._read(amount)


class Library(Protocol):
    """Makes pairs of sides."""

    def pair(self) -> tuple[Side, Side]: ...


class Polytls:
    def __init__(self, name: str, ca: CertificateAuthority, chain: polytls.SigningChain) -> None:
        implementation = polytls.implementation(name)
        common: dict[str, object] = {"sessions": None, "groups": ["x25519"]}
        capabilities = implementation.capabilities
        # Elsewhere it is OpenSSL's first choice; `check` makes sure.
        if capabilities is not None and capabilities.cipher_choice == "exact":
            common["ciphers"] = [SUITE]
        self.server = implementation.server_context(
            polytls.TLSServerConfiguration(certificate_chain=[chain], **common)  # type: ignore[arg-type]
        )
        self.client = implementation.client_context(
            polytls.TLSClientConfiguration(trust_store=ca.trust_store(), **common)  # type: ignore[arg-type]
        )

    def pair(self) -> tuple[Side, Side]:
        client = PolytlsSide(self.client.create_buffer("localhost"))
        return client, PolytlsSide(self.server.create_buffer())


class Ssl:
    def __init__(self, ca: CertificateAuthority, chain: polytls.SigningChain) -> None:
        certificate, key = chain.leaf
        assert certificate.buffer is not None
        assert key is not None
        assert key.buffer is not None
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(pem("CERTIFICATE", certificate.buffer) + pem("PRIVATE KEY", key.buffer))
            file.flush()
            self.server.load_cert_chain(file.name)
        self.server.num_tickets = 0
        self.client = ssl.create_default_context(cadata=ca.certificate_pem.decode())
        for context in (self.server, self.client):
            context.minimum_version = ssl.TLSVersion.TLSv1_3

    def pair(self) -> tuple[Side, Side]:
        return SslSide(self.client, "localhost"), SslSide(self.server, None)


def connect(library: Library) -> tuple[Side, Side]:
    client, server = library.pair()
    done = False
    while not done:
        done = client.handshake()
        server.incoming(client.outgoing())
        done = server.handshake() and done
        data = server.outgoing()
        if data:
            client.incoming(data)
    return client, server


def check(client: Side) -> None:
    """The measured connection is the one that was meant."""
    if isinstance(client, PolytlsSide):
        info = client.buffer.info  # type: ignore[attr-defined]
        assert info.resumed is False
        assert (info.version, info.cipher) == (polytls.TLSVersion.TLSv1_3, SUITE)
        assert info.group == polytls.NamedGroup.x25519
    elif isinstance(client, SslSide):
        assert not client.object.session_reused
        cipher = client.object.cipher()
        assert cipher is not None
        assert cipher[:2] == ("TLS_AES_256_GCM_SHA384", "TLSv1.3")


def bulk(library: Library, piece: int, total: int) -> float:
    """MB/s of one direction, `piece` bytes a write."""
    client, server = connect(library)
    check(client)
    data = memoryview(bytes(piece))
    into = bytearray(piece)
    want = (ssl.SSLWantReadError, polytls.WantReadError)
    began = time.perf_counter()
    for _ in range(total // piece):
        sent = 0
        while sent < piece:
            sent += client.write(data[sent:])
            server.incoming(client.outgoing())
            try:
                received = 0
                while received < piece:
                    received += server.read_into(into)
            except want:
                continue
    return total / (time.perf_counter() - began) / 1e6


def ping_pong(library: Library, rounds: int) -> float:
    """Round trips per second of 100 bytes."""
    client, server = connect(library)
    check(client)
    message = memoryview(bytes(100))
    began = time.perf_counter()
    for _ in range(rounds):
        client.write(message)
        server.incoming(client.outgoing())
        server.write(memoryview(server.read(100)))
        client.incoming(server.outgoing())
        client.read(100)
    return rounds / (time.perf_counter() - began)


def handshakes(library: Library, count: int) -> float:
    """Full handshakes per second, both sides."""
    began = time.perf_counter()
    for _ in range(count):
        check(connect(library)[0])
    return count / (time.perf_counter() - began)


def resident() -> int:
    """Resident memory of this process in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def memory(library: Library, pairs: int) -> float:
    """KiB of resident memory for each idle, fresh pair."""
    warm = [connect(library) for _ in range(50)]
    gc.collect()
    before = resident()
    kept = [connect(library) for _ in range(pairs)]
    gc.collect()
    used = (resident() - before) / pairs / 1024
    del warm, kept
    return used


def creation(library: Library, count: int) -> float:
    """Microseconds to make a pair of buffers, with no handshake."""
    began = time.perf_counter()
    for _ in range(count):
        library.pair()
    return (time.perf_counter() - began) / count * 1e6


MEASURES: dict[str, tuple[str, float | None, bool, Callable[[Library], float]]] = {
    # name: unit, mark as a ratio to ssl if there is one, whether more is better, how
    "bulk, 16 KiB": ("MB/s", 1.4, True, lambda library: bulk(library, 16384, 64 << 20)),
    "bulk, 256 KiB": ("MB/s", 1.4, True, lambda library: bulk(library, 262144, 128 << 20)),
    "ping-pong, 100 B": ("1/s", 1.5, True, lambda library: ping_pong(library, 20000)),
    "full handshakes, X25519": ("1/s", 2.0, True, lambda library: handshakes(library, 300)),
    "making a pair of buffers": ("us", None, False, lambda library: creation(library, 2000)),
    "memory per idle pair": ("KiB", 1.0, False, lambda library: memory(library, 1000)),
}


def libraries(names: list[str]) -> dict[str, Library]:
    ca = CertificateAuthority()
    chain = ca.issue("localhost")
    return {"ssl": Ssl(ca, chain), **{name: Polytls(name, ca, chain) for name in names}}


def measure_alone(measure: str, name: str) -> float:
    """In a process of its own: memory that others freed would be counted as free."""
    command = [sys.executable, __file__, "--alone", measure, "--implementation", name]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(run.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--implementation", action="append", default=[])
    parser.add_argument("--only", default="", help="measures whose name contains this")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true", help="exit 1 below a mark")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.implementation or ["rustls"]
    if arguments.alone:
        found = libraries([name for name in names if name != "ssl"])
        print(MEASURES[arguments.alone][3](found[names[0]]))
        return 0
    found = libraries(names)
    print(f"{sys.version.split()[0]}, {ssl.OPENSSL_VERSION}", end="")
    for name in names:
        print(f", {polytls.implementation(name).version}", end="")
    print(f"; medians of {arguments.rounds} interleaved rounds\n")
    print(
        f"{'':26}{'':6}{'ssl':>10}"
        + "".join(f"{name:>12}{'ratio':>8}" for name in names)
        + f"{'mark':>8}"
    )
    results: dict[str, dict[str, float]] = {}
    missed = 0
    for measure, (unit, mark, more, run) in MEASURES.items():
        if arguments.only not in measure:
            continue
        alone = unit == "KiB"
        figures: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(1 if alone else arguments.rounds):
            for name, library in found.items():
                gc.collect()
                figures[name].append(measure_alone(measure, name) if alone else run(library))
        medians = {name: statistics.median(values) for name, values in figures.items()}
        results[measure] = medians
        line = f"{measure:26}{unit:6}{medians['ssl']:10.1f}"
        for name in names:
            ratio = medians[name] / medians["ssl"]
            met = mark is None or (ratio >= mark if more else ratio <= mark)
            missed += not met
            line += f"{medians[name]:12.1f}{ratio:7.2f}{' ' if met else '!'}"
        told = "" if mark is None else f"{'>=' if more else '<=':>5}{mark:4.1f}"
        print(f"{line}{told}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))
    return 1 if arguments.check and missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
