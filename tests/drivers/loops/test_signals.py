"""A signal's handler that asks its connection amid a call hears something, and the call goes on.

Python runs such handlers in the main thread between any two instructions, so also while a driver
or a buffer is in the middle of its work. (The loop itself calls those of `add_signal_handler`.
One of `signal.signal` must not write to a transport, as asyncio says.)
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from polytls import TLSError
from polytls.anyio import TLSAttribute, TLSStream
from polytls.testing.conformance.lab import PATIENCE, Lab, Whole

from .over_anyio import dialled, listening

DATA = bytes(range(256)) * (1 << 14)

#: What is asked, of asyncio's transport and of anyio's stream.
ASKED_OF_TRANSPORT: dict[str, Callable[[Any], object]] = {
    "pending": lambda transport: transport.pending(),
    "get_write_buffer_size": lambda transport: transport.get_write_buffer_size(),
    "facts": lambda transport: transport.get_extra_info("tls"),
    "session": lambda transport: transport.get_extra_info("tls_session"),
    "certificate": lambda transport: transport.get_extra_info("tls_buffer").getpeercert(),
}
ASKED_OF_STREAM: dict[str, Callable[[Any], object]] = {
    "facts": lambda stream: stream.extra(TLSAttribute.info),
    "session": lambda stream: stream.extra(TLSAttribute.session),
    "pending": lambda stream: stream.extra(TLSAttribute.buffer).pending(),
    "certificate": lambda stream: stream.extra(TLSAttribute.buffer).getpeercert(),
}


@contextmanager
def asking(ask: Callable[[], object]) -> Iterator[list[str]]:
    """Signals every millisecond whose handler asks; gives what was wrong, "" for an answer."""
    heard: list[str] = []

    def hear(*_: Any) -> None:
        try:
            ask()
        except TLSError as error:
            heard.append(str(error))
        else:
            heard.append("")

    before = signal.signal(signal.SIGALRM, hear)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        yield heard
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def assert_heard(heard: list[str]) -> None:
    """An answer, or that it cannot be given now: what was interrupted has what an answer takes."""
    assert heard
    assert all(not said or "signal" in said for said in heard)


@pytest.mark.parametrize("asked", ASKED_OF_TRANSPORT)
def test_of_asyncios_transports(
    asked: str, run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server()) as address:
            reader, writer = await dial(address)

            async def send() -> None:
                for start in range(0, len(DATA), 1 << 18):
                    writer.write(DATA[start : start + (1 << 18)])
                    await writer.drain()

            with asking(lambda: ASKED_OF_TRANSPORT[asked](writer.transport)) as heard:
                sending = asyncio.create_task(send())
                assert await reader.readexactly(len(DATA)) == Whole(DATA)
                await sending
            assert_heard(heard)
            await leave(writer)

    run(main)


@pytest.mark.parametrize("asked", ASKED_OF_STREAM)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_of_anyios_streams(backend: str, asked: str, lab: Lab) -> None:
    async def echo(stream: TLSStream) -> None:
        async with stream:
            async for data in stream:
                await stream.send(data)

    async def main() -> None:
        received = bytearray()
        with anyio.fail_after(PATIENCE):
            async with listening(lab, echo) as port, await dialled(lab, port) as stream:
                with asking(lambda: ASKED_OF_STREAM[asked](stream)) as heard:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(stream.send, DATA)
                        while len(received) < len(DATA):
                            received += await stream.receive()
                assert received == Whole(DATA)
                assert_heard(heard)

    anyio.run(main, backend=backend)
