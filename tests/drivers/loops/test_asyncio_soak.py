"""Many connections at once, some of them cancelled or reset at random: nothing is lost or left.

Short by default; `make soak` (POLYTLS_SOAK=1) has 1,000 connections and 100,000 messages.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import random
import resource
import sys
from pathlib import Path
from typing import Any

import pytest

from polytls.asyncio.protocol import TLSProtocol
from polytls.asyncio.transport import TLSTransport
from polytls.testing.conformance.lab import Lab

LONG = "POLYTLS_SOAK" in os.environ
CONNECTIONS, MESSAGES = (1000, 100_000) if LONG else (40, 2000)
#: Of the memory at half time, at the end. OpenSSL's buffers come and go with each message, so that
#: the heap of `ssl` takes long to settle: asyncio's own TLS comes to 1.09 in the same test.
MOST_GROWTH = {"rustls": 1.05, "stdlib": 1.12}


@pytest.fixture(autouse=True)
def enough_descriptors() -> Any:
    """Both ends of each connection, and some for those that are on their way out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 4 * CONNECTIONS
    if hard != resource.RLIM_INFINITY:
        assert hard >= needed, f"ulimit -Hn is {hard}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


#: CPython before these loses an `ssl` session each time one is looked at (gh-116810).
SESSIONS_LEAK = sys.version_info < (3, 12, 8) or (3, 13) <= sys.version_info < (3, 13, 1)


def resident() -> int:
    """Resident memory of this process in pages; 0 where it is not told.

    Without garbage, and without what malloc keeps for later, which comes and goes with the load.
    """
    gc.collect()
    if sys.platform != "linux":
        return 0
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc has it.
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1])


def alive() -> int:
    """How many connections there are."""
    gc.collect()
    return sum(isinstance(each, TLSProtocol | TLSTransport) for each in gc.get_objects())


@pytest.mark.soak
def test_nothing_is_lost_or_left(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab, rng: random.Random
) -> None:
    loses = SESSIONS_LEAK and lab.implementation.name == "stdlib"
    client = lab.client(**({"sessions": None} if loses else {}))
    before = alive()
    answered = broken = 0
    memory: list[int] = []

    def count() -> None:
        nonlocal answered
        answered += 1
        # The end, too, while all connections are there.
        if answered in (MESSAGES // 2, MESSAGES):
            memory.append(resident())

    async def talk(address: tuple[str, int]) -> None:
        """One connection, until it is broken or all is done."""
        reader, writer = await dial(address, client)
        try:
            while answered < MESSAGES:
                data = rng.randbytes(rng.randrange(1, 4000))
                writer.write(data)
                await writer.drain()
                assert await reader.readexactly(len(data)) == data
                count()
                if rng.random() < 0.005:
                    writer.transport.abort()
                    return
        finally:
            await leave(writer)

    async def keep_talking(address: tuple[str, int]) -> None:
        nonlocal broken
        while answered < MESSAGES:
            try:
                # Cut off anywhere, in the handshake too.
                async with asyncio.timeout(rng.random() if rng.random() < 0.2 else None):
                    await talk(address)
            except TimeoutError:
                broken += 1

    async def main() -> None:
        limits = {"tls_handshake_timeout": 600, "backlog": CONNECTIONS}
        async with (
            serve(echo, lab.server(), **limits) as address,
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(CONNECTIONS):
                tasks.create_task(keep_talking(address))

    run(main, patience=600)
    assert answered >= MESSAGES
    assert alive() == before
    if LONG:
        assert resident() <= memory[0]
        half, end = memory
        assert broken
        assert end <= half * MOST_GROWTH[lab.implementation.name], (
            f"{half} pages at half time, {end} at the end"
        )
