"""How connections end under asyncio: data is delivered, or an error is told."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

import polytls.asyncio
from polytls import AlertReceived, SupportsExporter, TLSError, TLSVersion
from polytls.asyncio import endings
from polytls.delivery import unacknowledged
from polytls.testing.conformance.lab import PATIENCE, Lab, Whole

from .conftest import LOOPS, Recorder

#: More than a connection takes that was made by `held_back`.
MUCH = 4 << 20


async def connected(address: tuple[str, int], lab: Lab, **given: Any) -> Any:
    """A client's transport and protocol, whose socket takes little at a time."""
    transport, protocol = await polytls.asyncio.create_connection(
        Recorder, *address, tls=lab.client(), server_hostname=lab.host, **given
    )
    small(transport, socket.SO_SNDBUF)
    return transport, protocol


def small(end: Any, option: int) -> None:
    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 1 << 16)


@pytest.fixture
def hold_back() -> Callable[[Any], Any]:
    """Do the handshake as a peer that then reads nothing by itself, and has little room."""

    async def holding(peer: Any) -> None:
        small(peer.writer, socket.SO_RCVBUF)
        await peer.handshake()
        peer.writer.transport.pause_reading()

    return holding


def abort_with_reset(peer: Any) -> None:
    peer.writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
    )
    peer.reset()


# --- what is delivered ---


def test_close_from_a_server_that_sends_for_ever_is_quick_and_no_error(
    run: Any, serve: Any, lab: Lab, version: TLSVersion
) -> None:
    async def main() -> None:
        sent = 0

        async def for_ever(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            with suppress(OSError):
                while True:
                    writer.write(bytes(1 << 18))
                    await writer.drain()
                    sent += 1 << 18
            writer.transport.abort()

        async with serve(for_ever, lab.server(version=version)) as address:
            transport, protocol = await connected(address, lab)
            transport.write(b"go on")
            await protocol.until(lambda: len(protocol.data) > MUCH)
            before = sent
            transport.close()
            assert await protocol.lost is None
            assert sent - before < 256 << 20

    run(main)


def test_close_waits_until_the_peer_has_everything_and_for_nothing_else(
    run: Any, by_hand: Any, hold_back: Any, lab: Lab, version: TLSVersion
) -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def late(peer: Any) -> None:
            await hold_back(peer)
            await closed.wait()
            await peer.write(b"nobody wants this any more" * 1000)
            peer.writer.transport.resume_reading()
            got = bytearray()
            while data := await peer.read():
                got += data
            assert got == Whole(bytes(MUCH))
            # The peer's close_notify never comes.
            assert await protocol.lost is None

        async with by_hand(late, lab.server(version=version).create_buffer()) as address:
            transport, protocol = await connected(address, lab)
            transport.write(bytes(MUCH))
            transport.close()
            await asyncio.sleep(0.05)
            assert not protocol.lost.done()
            closed.set()
            assert await protocol.lost is None
            assert protocol.said == ["made", "pause", "resume", "lost"]

    run(main)


def test_connections_whose_peers_are_dead_close_at_once(
    run: Any, lab: Lab, serve: Any, version: TLSVersion
) -> None:
    async def main() -> None:
        async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()
            await over.wait()
            writer.transport.abort()

        over = asyncio.Event()
        async with serve(silent, lab.server(version=version)) as address:
            ends = [await connected(address, lab) for _ in range(50)]
            for transport, _ in ends:
                transport.write(b"a request that was answered long ago")
            await asyncio.sleep(0.1)
            for transport, _ in ends:
                transport.close()
            # A few rounds of the loop, not a timeout.
            for _ in range(10):
                await asyncio.sleep(0)
            assert [protocol.lost.result() for _, protocol in ends] == [None] * 50
            over.set()

    run(main)


def test_data_that_a_peer_does_not_take_is_an_error_that_says_how_much(
    run: Any, by_hand: Any, hold_back: Any, lab: Lab, version: TLSVersion
) -> None:
    async def main() -> None:
        over = asyncio.Event()

        async def never(peer: Any) -> None:
            await hold_back(peer)
            await over.wait()

        async with by_hand(never, lab.server(version=version).create_buffer()) as address:
            transport, protocol = await connected(address, lab, tls_shutdown_timeout=0.1)
            transport.write(bytes(MUCH))
            transport.close()
            error = await protocol.lost
            assert isinstance(error, TimeoutError)
            assert "0.1 seconds after close()" in str(error)
            assert "bytes may be lost" in str(error)
            over.set()

    run(main)


def test_close_takes_as_long_as_data_goes_out(run: Any, by_hand: Any, lab: Lab) -> None:
    async def slow(peer: Any) -> None:
        small(peer.writer, socket.SO_RCVBUF)
        await peer.handshake()
        count = 0
        while data := await peer.read():
            count += len(data)
            await asyncio.sleep(0.02)
        assert count == MUCH

    async def main() -> None:
        async with by_hand(slow, lab.server().create_buffer()) as address:
            transport, protocol = await connected(address, lab, tls_shutdown_timeout=0.5)
            transport.write(bytes(MUCH))
            transport.close()
            assert await protocol.lost is None

    run(main)


@pytest.mark.parametrize("ends", ["in order", "just so", "with a reset"])
@pytest.mark.parametrize("delivered", [True, False])
def test_however_the_peer_ends_it_is_an_error_only_if_data_is_lost(
    ends: str, delivered: bool, run: Any, by_hand: Any, hold_back: Any, lab: Lab
) -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def end(peer: Any) -> None:
            await hold_back(peer)
            if delivered:
                peer.writer.transport.resume_reading()
                while await peer.read():
                    pass
                await asyncio.sleep(0.1)  # An acknowledgement may be late.
            await closed.wait()
            if ends == "in order":
                await peer.say_goodbye()
            if ends == "with a reset":
                abort_with_reset(peer)

        async with by_hand(end, lab.server().create_buffer()) as address:
            transport, protocol = await connected(address, lab)
            transport.write(bytes(MUCH))
            transport.close()
            closed.set()
            error = await protocol.lost
            assert error is None if delivered else isinstance(error, ConnectionError)

    run(main)


def test_a_reset_behind_the_peers_end_is_heard_of(
    run: Any, by_hand: Any, hold_back: Any, lab: Lab
) -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def end(peer: Any) -> None:
            await hold_back(peer)
            await peer.say_goodbye()
            peer.writer.write_eof()
            await closed.wait()
            abort_with_reset(peer)

        async with by_hand(end, lab.server().create_buffer()) as address:
            transport, protocol = await connected(address, lab, tls_shutdown_timeout=10 * PATIENCE)
            protocol.keep_open = True
            await protocol.until(lambda: "eof" in protocol.said)
            # The system has taken all of it, the peer has not.
            known = transport.get_extra_info("socket")
            while not unacknowledged(known):
                transport.write(bytes(8192))
                await asyncio.sleep(0.005)
                if unacknowledged(known):
                    await asyncio.sleep(0.3)  # It may be late alone.
            assert not transport.get_write_buffer_size()
            transport.close()
            await asyncio.sleep(0.05)
            assert not protocol.lost.done()
            closed.set()
            assert isinstance(await protocol.lost, ConnectionError)

    run(main)


def test_an_alert_that_keeps_data_from_being_delivered_is_told(
    run: Any, by_hand: Any, hold_back: Any, lab: Lab
) -> None:
    async def main() -> None:
        ready, closed = asyncio.Event(), asyncio.Event()

        async def refuse(peer: Any) -> None:
            await hold_back(peer)
            ready.set()
            await closed.wait()
            peer.buffer.process_incoming(b"\x17\x03\x03\x00\x20" + bytes(32))
            with pytest.raises(polytls.TLSError):
                peer.buffer.read(1)
            await peer.flush()
            await protocol.lost

        async with by_hand(refuse, lab.server().create_buffer()) as address:
            transport, protocol = await connected(address, lab)
            await ready.wait()
            transport.write(bytes(MUCH))
            transport.close()
            closed.set()
            assert isinstance(await protocol.lost, AlertReceived)

    run(main)


def test_tls_within_tls_is_delivered_as_well(
    run: Any, serve: Any, dial: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def inner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await polytls.asyncio.start_tls_streams(reader, writer, lab.server())
            got.set_result(await reader.read())
            await leave(writer)

        async with serve(inner, lab.server()) as address:
            reader, writer = await dial(address)
            await polytls.asyncio.start_tls_streams(
                reader, writer, lab.client(), server_hostname=lab.host
            )
            writer.write(bytes(MUCH))
            writer.close()
            await writer.wait_closed()
            assert await got == Whole(bytes(MUCH))

    run(main)


# --- in the background ---


@asynccontextmanager
async def many_ends(
    lab: Lab, serve: Any, count: int, **given: Any
) -> AsyncIterator[list[tuple[Any, Any]]]:
    """Connections whose peers take nothing until the end of the block."""
    over = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        small(writer, socket.SO_RCVBUF)
        writer.transport.pause_reading()
        await over.wait()
        writer.transport.abort()

    async with serve(silent, lab.server()) as address:
        yield [await connected(address, lab, **given) for _ in range(count)]
        over.set()


def test_the_oldest_gives_way_where_too_many_are_being_closed(
    run: Any, serve: Any, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "MOST", 3)

    async def main() -> None:
        async with many_ends(lab, serve, 5, tls_shutdown_timeout=10 * PATIENCE) as ends:
            for transport, _ in ends:
                transport.write(bytes(MUCH))
                transport.close()
            for _, protocol in ends[:2]:
                error = await protocol.lost
                assert isinstance(error, TimeoutError)
                assert "too many connections" in str(error)
            assert not any(protocol.lost.done() for _, protocol in ends[2:])
            for transport, _ in ends[2:]:
                transport.abort()

    run(main)


@pytest.fixture
def reader(lab: Lab) -> Iterator[tuple[Any, threading.Event, bytearray]]:
    """A server in a thread: its address, an event before which it reads nothing, what it has read.

    It reads from one connection, and takes others.
    """
    begin, got = threading.Event(), bytearray()

    def read() -> None:
        with ExitStack() as closing:
            for _ in range(2):
                connection = closing.enter_context(listener.accept()[0])
                connection.settimeout(PATIENCE)
            begin.wait(PATIENCE)
            with suppress(OSError):
                while data := connection.recv(1 << 16):
                    got.extend(data)

    with lab.server().connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        thread = threading.Thread(target=read)
        thread.start()
        yield listener.getsockname()[:2], begin, got
        begin.set()
        thread.join(PATIENCE)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_ends_when_what_was_written_is_delivered(lab: Lab, reader: Any, loop: str) -> None:
    """Who closes and does not wait has closed all the same."""
    address, begin, got = reader

    async def main() -> None:
        (await connected(address, lab))[0].close()
        transport, _ = await connected(address, lab)
        transport.write(bytes(MUCH))
        transport.close()
        begin.set()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())
    deadline = time.monotonic() + PATIENCE
    while len(got) < MUCH and time.monotonic() < deadline:
        time.sleep(0.01)
    assert got == Whole(bytes(MUCH))


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_does_not_wait_for_ever_at_its_end(
    lab: Lab, reader: Any, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "CLOSE_TIMEOUT", 0.1)
    address, _, _ = reader
    protocols: list[Any] = []

    async def main() -> None:
        for _ in range(2):
            transport, protocol = await connected(address, lab, tls_shutdown_timeout=10 * PATIENCE)
            transport.write(bytes(MUCH))
            transport.close()
            protocols.append(protocol)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())
    for protocol in protocols:
        error = protocol.lost.result()
        assert isinstance(error, TimeoutError)
        assert "the event loop ended" in str(error)


# --- streams that nobody closes ---


def test_a_handler_that_returns_without_closing_ends_the_connection(
    run: Any, serve: Any, dial: Any, lab: Lab, version: TLSVersion
) -> None:
    async def forgetful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())

    async def main() -> None:
        async with serve(forgetful, lab.server(version=version)) as address:
            reader, writer = await dial(address)
            writer.write(b"hello\n")
            with pytest.warns(ResourceWarning, match="unclosed"):
                assert await reader.read() == b"hello\n"
            writer.close()
            await writer.wait_closed()

    run(main)


def test_a_handler_may_leave_its_streams_to_others(
    run: Any, serve: Any, dial: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        given: list[Any] = []

        def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            given.extend((reader, writer))

        async with serve(keep, lab.server()) as address:
            reader, writer = await dial(address)
            writer.write(b"hello\n")
            while not given:
                await asyncio.sleep(0.001)
            assert await given[0].readline() == b"hello\n"
            given[1].write(b"and hello to you")
            assert await reader.readexactly(16) == b"and hello to you"
            await leave(given.pop())
            await leave(writer)

    run(main)


def test_of_a_connection_that_is_over_facts_stay_known_and_nothing_else(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab, version: TLSVersion
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server(version=version)) as address:
            _, writer = await dial(address)
            await leave(writer)
            transport = writer.transport
            assert transport.get_extra_info("tls").version is version
            buffer = transport.get_extra_info("tls_buffer")
            for call in (lambda: buffer.read(1), lambda: buffer.write(b"late"), buffer.shutdown):
                with pytest.raises(TLSError, match="aborted"):
                    call()
            assert buffer.outgoing_bytes_buffered() == 0
            if isinstance(buffer, SupportsExporter):
                with pytest.raises(TLSError, match="aborted"):
                    buffer.export_keying_material("EXPORTER-test", None, 32)

    run(main)
