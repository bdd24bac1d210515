"""Transports and protocols: what asyncio's documentation says of them holds over TLS."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

import polytls.asyncio
from polytls import (
    AlertReceived,
    PeerMisbehaved,
    RaggedEOF,
    TLSBuffer,
    TLSServerConfiguration,
    TLSVersion,
    WantReadError,
)
from polytls.asyncio.protocol import TLSProtocol
from polytls.testing.conformance.lab import Lab


async def connected(address: tuple[str, int], lab: Lab, factory: Any, **given: Any) -> Any:
    """A client's transport and protocol."""
    given.setdefault("tls", lab.client())
    return await polytls.asyncio.create_connection(
        factory, *address, server_hostname=lab.host, **given
    )


class Below(asyncio.Transport):
    """A transport that hands over what it is told to, and keeps what it is given."""

    def __init__(self, peer: TLSBuffer) -> None:
        super().__init__()
        self.peer = peer
        self.paused = False

    def write(self, data: Any) -> None:
        self.peer.process_incoming(data)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass

    def hand_over(self, protocol: Any, data: bytes) -> None:
        """In pieces as large as they can be."""
        while data:
            room = protocol.get_buffer(-1)
            piece, data = data[: len(room)], data[len(room) :]
            room[: len(piece)] = piece
            protocol.buffer_updated(len(piece))


def seal(peer: TLSBuffer, plaintext: bytes) -> bytes:
    sealed, view = b"", memoryview(plaintext)
    while view:
        view = view[peer.write(view) :]
        sealed += peer.process_outgoing(1 << 30)
    return sealed


@pytest.fixture
def over_below(lab: Lab, recorder: Any, version: TLSVersion) -> Any:
    """Connect over a `Below`, and give both, the protocol on it, and the application's."""

    def connected_over() -> Any:
        peer = lab.server(version=version).create_buffer()
        below, app = Below(peer), recorder()
        client = lab.client(version=version).create_buffer(lab.host)
        connection: Any = TLSProtocol(asyncio.get_running_loop(), app, client, 60, 5)
        connection.connection_made(below)
        while app.transport is None:
            with suppress(WantReadError):
                peer.do_handshake()
            below.hand_over(connection, peer.process_outgoing(1 << 30))
        with suppress(WantReadError):
            peer.do_handshake()
        return below, connection, app

    return connected_over


def test_what_came_before_a_reset_is_handed_over_before_it(run: Any, over_below: Any) -> None:
    async def main() -> None:
        below, connection, app = over_below()
        # All of this within one event, as it were: the loop has no turn in between.
        below.hand_over(connection, seal(below.peer, b"the last"))
        assert not app.data
        connection.connection_lost(ConnectionResetError("reset"))
        assert app.data == b"the last"
        assert isinstance(await app.lost, ConnectionResetError)

    run(main)


def test_what_comes_before_it_can_be_taken_is_handed_over_in_order(
    run: Any, over_below: Any
) -> None:
    data = b"".join(number.to_bytes(4, "big") for number in range(100_000))

    async def main() -> None:
        below, connection, app = over_below()
        peer = below.peer
        # All of this comes before the loop has had a turn, and more than any buffer takes at once.
        below.hand_over(connection, seal(peer, data))
        assert not app.data
        await app.until(lambda: len(app.data) == len(data))
        app.transport.pause_reading()
        assert below.paused
        below.hand_over(connection, seal(peer, data))
        await asyncio.sleep(0)
        assert len(app.data) == len(data)
        app.transport.resume_reading()
        await app.until(lambda: len(app.data) == 2 * len(data))
        assert app.data == 2 * data
        app.transport.abort()
        connection.connection_lost(None)

    run(main)


def test_protocols_are_told_in_order(
    run: Any, serve: Any, echo: Any, recorder: Any, lab: Lab, version: TLSVersion
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server(version=version)) as address:
            transport, protocol = await connected(address, lab, recorder)
            assert protocol.said == ["made"]
            assert protocol.transport is transport
            assert transport.get_protocol() is protocol
            transport.write(b"x" * 5000)
            await protocol.until(lambda: len(protocol.data) == 5000)
            transport.close()
            assert transport.is_closing()
            transport.close()
            assert await protocol.lost is None
            assert protocol.said == ["made", "data", "lost"]

    run(main)


@pytest.mark.parametrize("keep_open", [False, True])
def test_the_peers_end_is_told_and_the_result_decides(
    keep_open: bool, run: Any, by_hand: Any, recorder: Any, lab: Lab, version: TLSVersion
) -> None:
    async def end(peer: Any) -> None:
        await peer.handshake()
        await peer.write(b"data")
        await peer.say_goodbye()
        expected = b"late" if keep_open and version is TLSVersion.TLSv1_3 else b""
        assert await peer.read() == expected
        assert await peer.read() == b""

    async def main() -> None:
        async with by_hand(end, lab.server(version=version).create_buffer()) as address:
            transport, protocol = await connected(
                address, lab, lambda: recorder(keep_open=keep_open)
            )
            await protocol.until(lambda: "eof" in protocol.said)
            if keep_open and version is TLSVersion.TLSv1_3:
                assert not transport.is_closing()
                transport.write(b"late")
                transport.write_eof()
            # In TLS 1.2 it was the end of both.
            assert await protocol.lost is None
            assert protocol.said == ["made", "data", "eof", "lost"]
            assert protocol.data == b"data"

    run(main)


def test_a_ragged_end_is_told_after_the_data(
    run: Any, by_hand: Any, recorder: Any, lab: Lab, version: TLSVersion
) -> None:
    async def cut(peer: Any) -> None:
        await peer.handshake()
        await peer.write(b"half")

    async def main() -> None:
        async with by_hand(cut, lab.server(version=version).create_buffer()) as address:
            _, protocol = await connected(address, lab, recorder)
            assert isinstance(await protocol.lost, RaggedEOF)
            assert protocol.said == ["made", "data", "lost"]

    run(main)


@pytest.mark.parametrize("keep_open", [False, True])
def test_a_truncated_end_that_is_accepted_is_told_as_an_end(
    keep_open: bool, run: Any, by_hand: Any, recorder: Any, lab: Lab, version: TLSVersion
) -> None:
    async def cut(peer: Any) -> None:
        await peer.handshake()
        await peer.write(b"half")
        peer.cut_off()
        if keep_open:
            assert await peer.read() == b"late"
        await peer.reader.read()  # To the end.

    async def main() -> None:
        async with by_hand(cut, lab.server(version=version).create_buffer()) as address:
            factory = lambda: recorder(keep_open=keep_open)  # noqa: E731
            given = {"accept_truncated_end": True}
            transport, protocol = await connected(address, lab, factory, **given)
            await protocol.until(lambda: "eof" in protocol.said)
            if keep_open:
                transport.write(b"late")
                transport.close()
            assert await protocol.lost is None
            assert protocol.said == ["made", "data", "eof", "lost"]
            assert protocol.data == b"half"

    run(main)


def test_an_end_within_a_record_is_an_error_whatever_is_accepted(
    run: Any, by_hand: Any, recorder: Any, lab: Lab, version: TLSVersion
) -> None:
    async def cut(peer: Any) -> None:
        await peer.handshake()
        await peer.write(b"half")
        peer.writer.write(b"\x17\x03\x03\x01\x00")

    async def main() -> None:
        async with by_hand(cut, lab.server(version=version).create_buffer()) as address:
            _, protocol = await connected(address, lab, recorder, accept_truncated_end=True)
            assert isinstance(await protocol.lost, RaggedEOF)
            assert protocol.said == ["made", "data", "lost"]

    run(main)


def test_a_forged_record_ends_the_connection_after_the_data_before_it(
    run: Any, by_hand: Any, recorder: Any, lab: Lab
) -> None:
    async def forge(peer: Any) -> None:
        await peer.handshake()
        await peer.write(b"good")
        peer.writer.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(AlertReceived):
            await peer.read()

    async def main() -> None:
        async with by_hand(forge, lab.server().create_buffer()) as address:
            transport, protocol = await connected(address, lab, recorder)
            assert isinstance(await protocol.lost, PeerMisbehaved)
            assert protocol.data == b"good"
            transport.write(b"dropped")
            assert transport.get_write_buffer_size() == 0

    run(main)


def test_who_pauses_reading_gets_nothing_and_holds_the_peer_back(
    run: Any, serve: Any, recorder: Any, leave: Any, lab: Lab
) -> None:
    total = 32 << 20

    async def main() -> None:
        written = 0

        async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            while written < total:
                writer.write(bytes(1 << 16))
                await writer.drain()
                written += 1 << 16
            await leave(writer)

        async with serve(pour, lab.server()) as address:
            transport, protocol = await connected(address, lab, recorder)
            await protocol.until(lambda: bool(protocol.data))
            transport.pause_reading()
            transport.pause_reading()
            assert not transport.is_reading()
            seen, sent = len(protocol.data), -1
            while sent != written:  # Until the system's buffers are full.
                sent = written
                await asyncio.sleep(0.2)
            assert len(protocol.data) == seen
            assert written < total
            transport.resume_reading()
            transport.resume_reading()
            assert transport.is_reading()
            await protocol.lost
            assert len(protocol.data) == total

    run(main)


def test_an_end_waits_for_who_has_paused(run: Any, by_hand: Any, recorder: Any, lab: Lab) -> None:
    class Reluctant(recorder):  # type: ignore[misc]
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    async def cut(peer: Any) -> None:
        await peer.handshake()
        await peer.write(b"a" * 3000)
        await peer.write(b"b" * 3000)

    async def main() -> None:
        async with by_hand(cut, lab.server().create_buffer()) as address:
            transport, protocol = await connected(address, lab, Reluctant)
            while not protocol.lost.done():
                before = len(protocol.data)
                await asyncio.sleep(0.01)
                assert protocol.lost.done() or len(protocol.data) == before or before == 0
                transport.resume_reading()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert isinstance(await protocol.lost, RaggedEOF)
            assert protocol.data == b"a" * 3000 + b"b" * 3000

    run(main)


def test_watermarks_pause_and_resume_the_protocol(
    run: Any, by_hand: Any, recorder: Any, lab: Lab
) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def slow(peer: Any) -> None:
            await peer.handshake()
            await go_on.wait()
            while await peer.read(1 << 18):
                pass

        async with by_hand(slow, lab.server().create_buffer()) as address:
            transport, protocol = await connected(address, lab, recorder)
            transport.set_write_buffer_limits(high=100_000, low=20_000)
            assert transport.get_write_buffer_limits() == (20_000, 100_000)
            while "pause" not in protocol.said:
                transport.write(bytes(1 << 18))
                await asyncio.sleep(0)
            assert transport.get_write_buffer_size() > 100_000
            go_on.set()
            await protocol.until(lambda: "resume" in protocol.said)
            assert transport.get_write_buffer_size() <= 20_000
            transport.close()
            assert await protocol.lost is None

    run(main)


def test_answers_do_not_pile_up_for_a_peer_that_takes_none(
    run: Any, by_hand: Any, recorder: Any, lab: Lab
) -> None:
    """It changes its keys again and again, and asks for ours: one will do, or it is done with."""

    async def main() -> None:
        full = asyncio.Event()

        async def asks(peer: Any) -> None:
            await peer.handshake()
            await full.wait()
            with suppress(OSError):
                for _ in range(100):
                    for _ in range(300):
                        peer.buffer.update_keys()
                        peer.buffer.write(b"x")
                    await peer.flush()
                while await peer.read(1 << 18):
                    pass

        # `ssl` cannot ask.
        asking = polytls.implementation("rustls").server_context(
            TLSServerConfiguration([lab.chain()])
        )
        async with by_hand(asks, asking.create_buffer()) as address:
            transport, protocol = await connected(address, lab, recorder)
            while transport.get_write_buffer_size() < 1 << 20:
                transport.write(bytes(1 << 18))
                await asyncio.sleep(0.01)  # What is between here and there fills up first.
            waiting = transport.get_write_buffer_size()
            full.set()
            await protocol.until(lambda: protocol.lost.done() or len(protocol.data) == 30_000)
            if protocol.lost.done():
                assert isinstance(await protocol.lost, PeerMisbehaved)
            else:
                assert transport.get_write_buffer_size() <= waiting + 100
                transport.close()
                assert await protocol.lost is None

    run(main)


def test_a_write_has_to_be_of_bytes(
    run: Any, serve: Any, echo: Any, recorder: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server()) as address:
            transport, protocol = await connected(address, lab, recorder)
            with pytest.raises(TypeError, match="bytes-like"):
                transport.write("text")
            transport.write(b"")
            transport.close()
            transport.write(b"dropped")
            await protocol.lost
            assert protocol.data == b""

    run(main)


def test_another_protocol_can_take_over(
    run: Any, serve: Any, echo: Any, recorder: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server()) as address:
            transport, first = await connected(address, lab, recorder)
            transport.write(b"first")
            await first.until(lambda: bytes(first.data) == b"first")
            second = asyncio.StreamReaderProtocol(reader := asyncio.StreamReader())
            transport.set_protocol(second)
            transport.write(b"second")
            assert await reader.readexactly(6) == b"second"
            third = recorder()
            transport.set_protocol(third)
            transport.write(b"third")
            await third.until(lambda: bytes(third.data) == b"third")
            transport.close()
            assert await third.lost is None
            assert first.said == ["made", "data"]

    run(main)


def test_another_protocol_can_take_over_in_the_middle_of_what_came(
    run: Any, by_hand: Any, recorder: Any, lab: Lab
) -> None:
    class First(recorder):  # type: ignore[misc]
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.set_protocol(second)

    async def speak(peer: Any) -> None:
        await peer.handshake()
        for piece in (b"a" * 1000, b"b" * 300_000):
            peer.buffer.write(piece)
        await peer.flush()
        await peer.say_goodbye()
        await peer.read()

    async def main() -> None:
        nonlocal second
        async with by_hand(speak, lab.server().create_buffer()) as address:
            reader = asyncio.StreamReader(limit=1 << 20)
            second = asyncio.StreamReaderProtocol(reader)
            transport, first = await connected(address, lab, First)
            rest = await reader.read()
            assert first.data
            assert (bytes(first.data) + rest).count(b"a") == 1000
            assert len(first.data) + len(rest) > 1000
            transport.close()

    second: Any = None
    run(main)


def test_abort_ends_at_once_and_drops_what_waits(
    run: Any, by_hand: Any, recorder: Any, lab: Lab
) -> None:
    async def unread(peer: Any) -> None:
        await peer.handshake()
        await done.wait()

    async def main() -> None:
        nonlocal done
        done = asyncio.Event()
        async with by_hand(unread, lab.server().create_buffer()) as address:
            transport, protocol = await connected(address, lab, recorder)
            transport.write(bytes(32 << 20))
            transport.abort()
            assert transport.is_closing()
            assert await protocol.lost is None
            assert transport.get_write_buffer_size() == 0
            transport.abort()
            transport.close()
            transport.write(b"x")
            done.set()

    done: asyncio.Event
    run(main)


@pytest.mark.parametrize("call", ["connection_made", "data_received", "eof_received"])
def test_a_protocol_that_raises_is_reported_once_and_dropped(
    call: str, run: Any, by_hand: Any, recorder: Any, lab: Lab
) -> None:
    class Failing(recorder):  # type: ignore[misc]
        pass

    def fail(*_: Any) -> None:
        raise ZeroDivisionError(call)

    setattr(Failing, call, fail)
    complaints: list[dict[str, Any]] = []

    async def speak(peer: Any) -> None:
        await peer.handshake()
        with suppress(ConnectionError):
            await peer.write(b"data")
            await peer.say_goodbye()
            await peer.reader.read()

    async def main() -> None:
        made: list[Any] = []

        def factory() -> Any:
            made.append(Failing())
            return made[0]

        async with by_hand(speak, lab.server().create_buffer()) as address:
            if call == "connection_made":
                with pytest.raises(ZeroDivisionError):
                    await connected(address, lab, factory)
            else:
                await connected(address, lab, factory)
            assert isinstance(await made[0].lost, ZeroDivisionError)

    run(main, complaints=complaints)
    assert [type(each["exception"]) for each in complaints] == [ZeroDivisionError]


def test_a_protocol_may_close_or_abort_from_within_its_calls(
    run: Any, serve: Any, echo: Any, recorder: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server()) as address:
            for call in ("connection_made", "data_received"):
                for act in ("close", "abort"):

                    class Leaving(recorder):  # type: ignore[misc]
                        pass

                    def leave(self: Any, what: Any, call: str = call, act: str = act) -> None:
                        getattr(recorder, call)(self, what)
                        getattr(self.transport, act)()

                    setattr(Leaving, call, leave)
                    transport, protocol = await connected(address, lab, Leaving)
                    transport.write(b"x")
                    assert await protocol.lost is None

    run(main)


def test_a_protocol_may_write_much_as_soon_as_it_is_connected(
    run: Any, serve: Any, echo: Any, recorder: Any, lab: Lab
) -> None:
    class Eager(recorder):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.set_write_buffer_limits(0)
            transport.write(bytes(8_000_000))

    async def main() -> None:
        async with serve(echo, lab.server()) as address:
            transport, protocol = await connected(address, lab, Eager)
            await protocol.until(lambda: len(protocol.data) == 8_000_000)
            assert protocol.said.count("pause") == protocol.said.count("resume") > 0
            transport.close()
            assert await protocol.lost is None

    run(main)


def test_nothing_is_held_for_connections_that_wait(
    run: Any, serve: Any, echo: Any, recorder: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server()) as address:
            both = [await connected(address, lab, recorder) for _ in range(5)]
            for transport, protocol in both:
                transport.write(b"x" * 1000)
                await protocol.until(lambda protocol=protocol: len(protocol.data) == 1000)
            assert [transport._connection._scratch for transport, _ in both] == [None] * 5
            for transport, protocol in both:
                transport.close()
                await protocol.lost

    run(main)
