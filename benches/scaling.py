"""Whether costs stay flat: `--scaling`. Costs that grow with size are quadratic somewhere.

Each table has a row for each size, and a column for each library; flat columns are good ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .loops import Link
from .peers import Library, Setting
from .resident import in_a_fresh_process
from .rounds import Bench

__all__ = ["Table", "tables"]

_KIB, _MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Table:
    """One cost over sizes."""

    name: str
    unit: str
    #: For each size, the cost for each library.
    rows: dict[str, dict[str, float]]


def tables(bench: Bench, libraries: list[Library]) -> list[Table]:
    """Measure all; what is smallest only where the target is 0."""
    small = not bench.target
    totals = [_KIB, 16 * _KIB, _MIB, 64 * _MIB, 1024 * _MIB][: 2 if small else None]
    writes = [_KIB, 16 * _KIB, _MIB, 16 * _MIB, 128 * _MIB][: 2 if small else None]
    splits = [1, 10, 100, 1400, 16 * _KIB, 256 * _KIB, 4 * _MIB][4 if small else 0 :]
    pairs = [10, 100, 1000, 10_000][: 1 if small else None]
    split_total = _KIB if small else 4 * _MIB

    def table(
        name: str,
        unit: str,
        sizes: list[int],
        cost: Callable[[Bench, Library, int], float],
        of: Callable[[int], str],
    ) -> Table:
        return Table(
            name,
            unit,
            {of(size): {it.name: cost(bench, it, size) for it in libraries} for size in sizes},
        )

    return [
        table("all bytes of a connection, by their number", "ns/B", totals, _moving, _bytes),
        table("one write, by its size", "ns/B", writes, _writing, _bytes),
        table(
            f"reading {_bytes(split_total)}, by the size of what process_incoming is given",
            "ns/B",
            splits,
            partial(_splitting, total=split_total),
            _bytes,
        ),
        table("memory of idle pairs, by their number", "KiB", pairs, _keeping, str),
        table("a handshake, by the number of idle pairs", "us", pairs, _meeting, str),
    ]


def _bytes(size: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (_MIB, "MiB"), (_KIB, "KiB")):
        if size % unit == 0:
            return f"{size // unit:,} {name}"
    return f"{size:,} B"


def _link(bench: Bench, library: Library) -> Link:
    link = Link.make(bench.contexts(library, Setting()))
    link.settle()
    link.prove()
    return link


def _best(times: int, once: Callable[[], float]) -> float:
    """The least of so many: small things are measured often."""
    return min(once() for _ in range(times))


def _read_all(link: Link, into: bytearray, received: int, total: int) -> int:
    try:
        while received < total:
            received += link.server.read_into(into)
    except link.server.want:
        return received
    return received


def _moving(bench: Bench, library: Library, total: int) -> float:
    link = _link(bench, library)
    piece = min(total, 256 * _KIB)
    data, into = memoryview(os.urandom(piece)), bytearray(piece)

    def once() -> float:
        received = 0
        began = time.perf_counter()
        while received < total:
            sent = link.client.write(data[: total - received])
            link.server.incoming(link.client.outgoing())
            want = received + sent
            received = _read_all(link, into, received, want)
            assert received == want
        return (time.perf_counter() - began) * 1e9 / total

    return _best(1 if total > 64 * _MIB else 5, once)


def _writing(bench: Bench, library: Library, size: int) -> float:
    link = _link(bench, library)
    data, into = os.urandom(size), bytearray(min(size, _MIB))

    def once() -> float:
        received = 0
        view = memoryview(data)
        began = time.perf_counter()
        while received < size:
            view = view[link.client.write(view) :]
            link.server.incoming(link.client.outgoing())
            received = _read_all(link, into, received, size)
        return (time.perf_counter() - began) * 1e9 / size

    return _best(1 if size > 16 * _MIB else 5, once)


def _splitting(bench: Bench, library: Library, split: int, *, total: int) -> float:
    link = _link(bench, library)
    data, into = os.urandom(total), bytearray(256 * _KIB)

    def once() -> float:
        view = memoryview(data)
        flights = []
        while view:
            view = view[link.client.write(view) :]
            flights.append(link.client.outgoing())
        ciphertext = b"".join(flights)
        pieces = [ciphertext[i : i + split] for i in range(0, len(ciphertext), split)]
        received = 0
        began = time.perf_counter()
        for piece in pieces:
            link.server.incoming(piece)
            received = _read_all(link, into, received, total)
        took = time.perf_counter() - began
        assert received == total
        return took * 1e9 / total

    return _best(1 if split < 100 else 3, once)


def _keeping(_bench: Bench, library: Library, pairs: int) -> float:
    return in_a_fresh_process(library, pairs, moved=False)


def _meeting(bench: Bench, library: Library, pairs: int) -> float:
    contexts = bench.contexts(library, Setting())
    kept = [Link.make(contexts) for _ in range(pairs)]
    count = 20 if bench.target else 1

    def once() -> float:
        began = time.perf_counter()
        for _ in range(count):
            Link.make(contexts)
        return (time.perf_counter() - began) / count * 1e6

    found = _best(5, once)
    del kept
    return found
