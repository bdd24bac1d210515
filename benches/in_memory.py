"""Cases with both sides of a connection in this process: no network, one core."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from .floors import Run
from .loops import Link, Way, bulk, handshakes, making, ping_pong
from .peers import Groups, Library, Setting, Unable
from .peers.pep748 import Pep748
from .rounds import Bench, Case, Sample, check_hellos

__all__ = ["CASES", "at_once"]

#: The largest record (RFC 8446 section 5.1).
_RECORD = 16384
_SIZES = {"1,400 B": 1400, "16 KiB": _RECORD, "256 KiB": 16 * _RECORD}


def _linked(bench: Bench, library: Library) -> Link:
    """A connection that works and is what was meant."""
    link = Link.make(bench.contexts(library, Setting()))
    link.settle()
    link.client.check(resumed=False)
    link.prove()
    return link


def _bulk(piece: int, way: Way) -> Callable[[Bench, Library], Sample]:
    def prepare(bench: Bench, library: Library) -> Sample:
        return bench.rate(bulk(_linked(bench, library), piece, way), piece / 1e6)

    return prepare


def _aead(piece: int) -> tuple[str, Callable[[Bench], Sample]]:
    size = min(piece, _RECORD)
    return "AEAD", lambda bench: bench.rate(bench.floors.aead(size), size / 1e6)


def _ping_pong(way: Way) -> Callable[[Bench, Library], Sample]:
    def prepare(bench: Bench, library: Library) -> Sample:
        return bench.rate(ping_pong(_linked(bench, library), 100, way))

    return prepare


def _handshake_run(bench: Bench, library: Library, setting: Setting, *, resumed: bool) -> Run:
    contexts = bench.contexts(library, setting)
    if resumed:
        # The first one fetches tickets.
        first = Link.make(contexts)
        first.settle()
        contexts.remember(first.client)
    check = partial(check_hellos, setting=setting, resumed=resumed)
    return handshakes(contexts, check, resumed=resumed)


def _handshakes(groups: Groups, *, resumed: bool) -> Callable[[Bench, Library], Sample]:
    def prepare(bench: Bench, library: Library) -> Sample:
        setting = Setting(groups, sessions=resumed)
        return bench.rate(_handshake_run(bench, library, setting, resumed=resumed))

    return prepare


def _token(bench: Bench, library: Library) -> Sample:
    """How many times as many with a key in SoftHSM as with the same key in memory."""
    if not isinstance(library, Pep748):
        raise Unable("it takes no keys in tokens")
    settings = Setting(), Setting(token=bench.token())
    memory, token = (
        bench.rate(_handshake_run(bench, library, setting, resumed=False)) for setting in settings
    )
    return lambda: token() / memory()


def _rustls(groups: Groups, kind: str) -> tuple[str, Callable[[Bench], Sample]]:
    return "rustls alone", lambda bench: bench.rate(bench.floors.handshakes(groups, kind))


def _making(bench: Bench, library: Library) -> Sample:
    per_second = bench.rate(making(bench.contexts(library, Setting())))
    return lambda: 1e6 / per_second()


def _two_threads(work: Callable[[Bench, Library], Run]) -> Callable[[Bench, Library], Sample]:
    """How many times as much two threads do: two connections one after the other, then at once."""

    def prepare(bench: Bench, library: Library) -> Sample:
        if bench.cores.count < 2:
            raise Unable("there is one core")
        runs = [work(bench, library), work(bench, library)]
        count = 1
        while runs[0](count) + runs[1](count) < bench.target:
            count *= 2

        def sample() -> float:
            apart = sum(run(count) for run in runs)
            with bench.cores.released():
                return apart / at_once(runs, count)

        return sample

    return prepare


def _rust_alone(request: str) -> tuple[str, Callable[[Bench], Sample]]:
    """What this machine gives two threads that share nothing, not even an interpreter."""

    def prepare(bench: Bench) -> Sample:
        alone, together = bench.floors.two_threads(request)
        count = 1
        while 2 * alone(count) < bench.target:
            count *= 2
        return lambda: 2 * alone(count) / together(count)

    return "Rust alone", prepare


def at_once(runs: list[Run], count: int) -> float:
    """The seconds until the last of them is done, each on a thread of its own."""
    together = threading.Barrier(len(runs) + 1)
    failed: list[BaseException] = []

    def work(run: Run) -> None:
        together.wait()
        try:
            run(count)
        except BaseException as error:  # told by the thread that waits
            failed.append(error)

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    together.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if failed:
        raise failed[0]
    return took


def _bulk_run(bench: Bench, library: Library) -> Run:
    return bulk(_linked(bench, library), _SIZES["256 KiB"], "methods")


def _full_run(bench: Bench, library: Library) -> Run:
    return _handshake_run(bench, library, Setting("default"), resumed=False)


CASES: list[Case] = [
    *(
        Case(f"bulk {size}, {way}", "MB/s", _bulk(piece, way), floor=_aead(piece), one_core=True)
        for way in ("methods", "fused")
        for size, piece in _SIZES.items()
    ),
    Case("ping-pong 100 B, methods", "1/s", _ping_pong("methods"), one_core=True),
    Case("ping-pong 100 B, fused", "1/s", _ping_pong("fused"), one_core=True),
    *(
        Case(
            f"{kind} handshakes, {'X25519' if groups == 'x25519' else 'default group'}",
            "1/s",
            _handshakes(groups, resumed=kind == "resumed"),
            floor=_rustls(groups, kind),
            one_core=True,
        )
        for kind in ("full", "resumed")
        for groups in ("x25519", "default")
    ),
    Case("full handshakes, key in SoftHSM", "times", _token, one_core=True),
    Case("making a pair of buffers", "us", _making, more=False, one_core=True),
    Case(
        "two threads, bulk 256 KiB",
        "times",
        _two_threads(_bulk_run),
        floor=_rust_alone("aead 16384"),
    ),
    Case(
        "two threads, full handshakes",
        "times",
        _two_threads(_full_run),
        floor=_rust_alone("handshake default full"),
    ),
]
