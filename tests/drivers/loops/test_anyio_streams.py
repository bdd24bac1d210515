"""anyio's streams over TLS, on asyncio and trio: its contract, and TLS within TLS."""

from __future__ import annotations

import math
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from anyio.abc import AnyByteStream, ByteStream, SocketAttribute
from anyio.streams.stapled import StapledObjectStream

from polytls import (
    CertificateVerificationError,
    ClientAuthentication,
    ConfigurationError,
    ECHRejected,
    NotTLSError,
    PeerMisbehaved,
    PeerRejectedCertificate,
    RaggedEOF,
    TLSError,
    TLSVersion,
)
from polytls.anyio import TLSAttribute, TLSListener, TLSStream
from polytls.testing.conformance.ech_lists import COVER, LIST
from polytls.testing.conformance.lab import PATIENCE, Lab

from .over_anyio import dialled, listening

Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine on each backend."""

    async def limited(main: Any) -> None:
        with anyio.fail_after(PATIENCE):
            await main()

    return lambda main: anyio.run(limited, main, backend=request.param)


def wire() -> tuple[AnyByteStream, AnyByteStream]:
    """Two ends of a connection in memory."""
    there = anyio.create_memory_object_stream[bytes](math.inf)
    back = anyio.create_memory_object_stream[bytes](math.inf)
    return StapledObjectStream(there[0], back[1]), StapledObjectStream(back[0], there[1])


@asynccontextmanager
async def connected(
    lab: Lab, *, version: TLSVersion | None = None, ends: Any = None, **given: Any
) -> AsyncIterator[tuple[TLSStream, TLSStream]]:
    """A client and a server with their handshake done; closed by force at the end.

    `given`: for the client's end.
    """
    below = ends or wire()
    made: list[TLSStream] = []

    async def serve() -> None:
        made.append(await TLSStream.wrap(below[1], lab.server(version=version)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        client = await TLSStream.wrap(below[0], lab.client(), server_hostname=lab.host, **given)
    try:
        yield client, made[0]
    finally:
        for end in (client, made[0]):
            await anyio.aclose_forcefully(end)


async def receive_exactly(stream: ByteStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await stream.receive()
    return data


@pytest.mark.parametrize("size", [1, 16385, 3 << 20])
def test_data_arrives_as_it_was_sent(run: Run, lab: Lab, version: TLSVersion, size: int) -> None:
    async def main() -> None:
        data = bytes(range(251)) * (size // 251 + 1)
        async with connected(lab, version=version) as (client, server):
            for one, other in ((client, server), (server, client)):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(one.send, data)
                    assert await receive_exactly(other, len(data)) == data

    run(main)


def test_a_receive_gives_what_was_asked_for_at_most(run: Run, lab: Lab) -> None:
    async def main() -> None:
        async with connected(lab) as (client, server):
            await client.send(b"abcdef")
            assert await server.receive(4) == b"abcd"
            assert await server.receive(4) == b"ef"
            with pytest.raises(ValueError, match="max_bytes"):
                await server.receive(0)

    run(main)


def test_one_direction_can_end_in_tls_1_3(run: Run, lab: Lab) -> None:
    async def main() -> None:
        async with connected(lab) as (client, server):
            await client.send(b"question")
            await client.send_eof()
            await client.send_eof()
            assert await server.receive() == b"question"
            for _ in range(2):
                with pytest.raises(anyio.EndOfStream):
                    await server.receive()
            await server.send(b"answer")
            assert await client.receive() == b"answer"
            with pytest.raises(anyio.ClosedResourceError):
                await client.send(b"more")

    run(main)


def test_one_direction_cannot_end_in_tls_1_2(run: Run, lab: Lab) -> None:
    async def main() -> None:
        async with connected(lab, version=TLSVersion.TLSv1_2) as (client, server):
            with pytest.raises(NotImplementedError):
                await client.send_eof()
            await client.send(b"still")
            assert await server.receive() == b"still"

    run(main)


def test_both_say_goodbye(run: Run, lab: Lab, version: TLSVersion) -> None:
    async def main() -> None:
        async with connected(lab, version=version) as (client, server):
            await client.send(b"last words")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.aclose)
                assert await server.receive() == b"last words"
                with pytest.raises(anyio.EndOfStream):
                    await server.receive()
                await server.aclose()
            await client.aclose()
            for end in (client, server):
                for call in (end.receive, lambda end=end: end.send(b"x")):
                    with pytest.raises(anyio.ClosedResourceError):
                        await call()

    run(main)


def test_a_ragged_end_is_a_broken_stream(run: Run, lab: Lab, version: TLSVersion) -> None:
    async def main() -> None:
        async with connected(lab, version=version) as (client, server):
            await server.send(b"half")
            await server.transport_stream.aclose()
            assert await client.receive() == b"half"
            for _ in range(2):
                with pytest.raises(anyio.BrokenResourceError) as caught:
                    await client.receive()
                assert isinstance(caught.value.__cause__, RaggedEOF)

    run(main)


def test_a_truncated_end_that_is_accepted_is_the_end(
    run: Run, lab: Lab, version: TLSVersion
) -> None:
    async def main() -> None:
        given = {"accept_truncated_end": True}
        async with connected(lab, version=version, **given) as (client, server):
            await server.send(b"all there was")
            await server.transport_stream.send_eof()
            assert await client.receive() == b"all there was"
            for _ in range(2):
                with pytest.raises(anyio.EndOfStream):
                    await client.receive()
            await client.send(b"thanks")
            assert await server.receive() == b"thanks"

    run(main)


def test_a_reset_that_a_send_was_told_of_is_no_end(run: Run, lab: Lab) -> None:
    async def resets(stream: TLSStream) -> None:
        await stream.send(b"part")
        below = stream.extra(SocketAttribute.raw_socket)
        below.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.transport_stream.aclose()

    async def send_on(client: TLSStream) -> None:
        while True:
            await client.send(b"more")
            await anyio.sleep(0.01)

    async def main() -> None:
        async with listening(lab, resets) as port:
            client = await dialled(lab, port, accept_truncated_end=True)
            assert await client.receive() == b"part"
            with pytest.raises(anyio.BrokenResourceError):
                await send_on(client)
            with pytest.raises(anyio.BrokenResourceError):
                await client.receive()
            await anyio.aclose_forcefully(client)

    run(main)


def test_an_end_within_a_record_breaks_the_stream_whatever_is_accepted(run: Run, lab: Lab) -> None:
    async def main() -> None:
        async with connected(lab, accept_truncated_end=True) as (client, server):
            await server.transport_stream.send(b"\x17\x03\x03\x01\x00")
            await server.transport_stream.aclose()
            with pytest.raises(anyio.BrokenResourceError) as caught:
                await client.receive()
            assert isinstance(caught.value.__cause__, RaggedEOF)

    run(main)


def test_a_listener_accepts_truncated_ends_where_it_was_told_to(run: Run, lab: Lab) -> None:
    came: list[bytes] = []

    async def takes(stream: TLSStream) -> None:
        async with stream:
            came.extend([data async for data in stream])

    async def main() -> None:
        async with listening(lab, takes, accept_truncated_end=True) as port:
            client = await dialled(lab, port)
            await client.send(b"all there was")
            await client.transport_stream.aclose()
            while not came:
                await anyio.sleep(0.001)
        assert came == [b"all there was"]

    run(main)


def test_a_forged_record_breaks_the_stream_and_tells_the_peer(run: Run, lab: Lab) -> None:
    async def main() -> None:
        async with connected(lab) as (client, server):
            await server.transport_stream.send(b"\x17\x03\x03\x00\x20" + bytes(32))
            for call in (client.receive, lambda: client.send(b"x")):
                with pytest.raises(anyio.BrokenResourceError) as caught:
                    await call()
                assert isinstance(caught.value.__cause__, PeerMisbehaved)
            with pytest.raises(anyio.BrokenResourceError) as caught:
                await server.receive()
            assert isinstance(caught.value.__cause__, TLSError)

    run(main)


def test_a_cancelled_receive_loses_nothing(run: Run, lab: Lab) -> None:
    async def main() -> None:
        async with connected(lab) as (client, server):
            for _ in range(5):
                with anyio.move_on_after(0.005):
                    await client.receive()
                await server.send(b"kept")
                assert await client.receive() == b"kept"

    run(main)


def test_a_send_that_is_cancelled_on_its_way_breaks_sending_alone(run: Run, lab: Lab) -> None:
    class Stuck(ByteStream):
        """Stops taking anything when it is told to."""

        def __init__(self, below: Any) -> None:
            self.below, self.stuck = below, False

        async def receive(self, max_bytes: int = 65536) -> bytes:
            data: bytes = await self.below.receive()
            return data

        async def send(self, item: bytes) -> None:
            if self.stuck:
                await anyio.sleep_forever()
            await self.below.send(item)

        async def send_eof(self) -> None:
            await self.below.send_eof()

        async def aclose(self) -> None:
            await self.below.aclose()

    async def main() -> None:
        one, other = wire()
        stuck = Stuck(one)
        async with connected(lab, ends=(stuck, other)) as (client, server):
            stuck.stuck = True
            with anyio.move_on_after(0.01) as scope:
                await client.send(b"x")
            assert scope.cancelled_caught
            with pytest.raises(anyio.BrokenResourceError):
                await client.send(b"y")
            await server.send(b"still")
            assert await client.receive() == b"still"

    run(main)


def test_two_tasks_cannot_do_the_same(run: Run, lab: Lab) -> None:
    async def main() -> None:
        async with connected(lab) as (client, _), anyio.create_task_group() as tasks:
            tasks.start_soon(client.receive)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError):
                await client.receive()
            await client.send(b"the other direction is free")
            tasks.cancel_scope.cancel()

    run(main)


def test_closing_wakes_a_task_that_receives(run: Run, lab: Lab) -> None:
    async def main() -> None:
        outcome: list[type[BaseException]] = []

        async def wait(stream: TLSStream) -> None:
            try:
                await stream.receive()
            except Exception as error:
                outcome.append(type(error))

        async def greet(stream: TLSStream) -> None:
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
            await stream.aclose()

        async with listening(lab, greet) as port, anyio.create_task_group() as tasks:
            client = await dialled(lab, port)
            tasks.start_soon(wait, client)
            await anyio.wait_all_tasks_blocked()
            await client.aclose()
        assert outcome == [anyio.ClosedResourceError]

    run(main)


@pytest.mark.parametrize("depth", [2, 3])
def test_tls_can_be_carried_by_tls(run: Run, lab: Lab, depth: int) -> None:
    async def main() -> None:
        async def nest(ends: Any, left: int) -> None:
            async with connected(lab, ends=ends) as (client, server):
                if left:
                    await nest((client, server), left - 1)
                    return
                await client.send(b"x" * 100_000)
                assert await receive_exactly(server, 100_000) == b"x" * 100_000

        await nest(wire(), depth - 1)

    run(main)


# --- the handshake ---


def test_a_refused_certificate_is_raised_and_the_peer_is_told(run: Run, lab: Lab) -> None:
    async def main() -> None:
        one, other = wire()
        refused: list[BaseException] = []

        async def serve() -> None:
            try:
                server = await TLSStream.wrap(other, lab.server())
                await server.receive()
            except (TLSError, anyio.BrokenResourceError) as error:
                refused.append(error)
                await other.aclose()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            with pytest.raises(CertificateVerificationError):
                await TLSStream.wrap(one, lab.client(), server_hostname="other.example")
        assert len(refused) == 1
        with pytest.raises(anyio.ClosedResourceError):
            await one.send(b"x")

    run(main)


def test_what_came_before_is_used_by_a_server_and_refused_by_a_client(run: Run, lab: Lab) -> None:
    async def main() -> None:
        one, other = wire()
        with pytest.raises(PeerMisbehaved, match="plaintext"):
            await TLSStream.wrap(one, lab.client(), server_hostname=lab.host, leftover=b"x")
        with pytest.raises(NotTLSError):
            await TLSStream.wrap(other, lab.server(), leftover=b"quit\n" * 10)

    run(main)


def test_a_handshake_that_is_cancelled_leaves_nothing_open(run: Run, lab: Lab) -> None:
    async def main() -> None:
        one, other = wire()
        with anyio.move_on_after(0.01) as scope:
            await TLSStream.wrap(one, lab.client(), server_hostname=lab.host)
        assert scope.cancelled_caught
        # The ClientHello, unless it was cancelled before that; and the end.
        assert len([sent async for sent in other]) <= 1
        await other.aclose()

    run(main)


def test_arguments_that_are_wrong_leave_the_stream_alone(run: Run, lab: Lab) -> None:
    cases: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (lab.client(), {}, ValueError, "server_hostname is required"),
        (lab.server(), {"server_hostname": "x"}, ValueError, "only meaningful"),
        (True, {}, TypeError, "expected a ClientContext"),
    ]

    async def main() -> None:
        one, other = wire()
        for tls, given, kind, message in cases:
            with pytest.raises(kind, match=message):
                await TLSStream.wrap(one, tls, **given)
        await one.send(b"unharmed")
        assert await other.receive() == b"unharmed"
        with pytest.raises(TypeError, match="server context"):
            TLSListener(None, lab.client())  # type: ignore[arg-type]
        for end in (one, other):
            await end.aclose()

    run(main)


# --- over sockets ---


async def echo(stream: TLSStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send(data)


def test_a_listener_serves_and_clients_that_fail_disturb_nobody(run: Run, lab: Lab) -> None:
    async def main() -> None:
        async with listening(lab, echo) as port:
            rude = await anyio.connect_tcp("127.0.0.1", port)
            await rude.send(b"GET / HTTP/1.0\r\n\r\n")
            gone = await anyio.connect_tcp("127.0.0.1", port)
            await gone.aclose()
            with pytest.raises(CertificateVerificationError):
                await dialled(lab, port, server_hostname="other.example")
            async with await dialled(lab, port) as client:
                await client.send(b"x" * 100_000)
                assert await receive_exactly(client, 100_000) == b"x" * 100_000
                assert client.extra(TLSAttribute.info).server_name == lab.host
                assert client.extra(TLSAttribute.buffer).negotiated_tls_version is not None
                assert client.extra(SocketAttribute.remote_port) == port
            await rude.aclose()

    run(main)


def test_a_client_that_is_silent_is_dropped(run: Run, lab: Lab) -> None:
    async def main() -> None:
        async with listening(lab, echo, handshake_timeout=0.05) as port:
            silent = await anyio.connect_tcp("127.0.0.1", port)
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await silent.receive()
            await silent.aclose()

    run(main)


@pytest.mark.parametrize("size", [100, 8 << 20])
@pytest.mark.parametrize("receives", [False, True])
def test_who_only_sends_hears_that_its_certificate_was_refused(
    run: Run, lab: Lab, size: int, receives: bool
) -> None:
    async def main() -> None:
        server = lab.server(
            version=TLSVersion.TLSv1_3,
            trust_store=lab.ca.trust_store(),
            client_authentication=ClientAuthentication.REQUIRED,
        )
        outcomes: list[Any] = []

        async def receive(client: TLSStream) -> None:
            with pytest.raises(anyio.BrokenResourceError) as caught:
                await client.receive()
            outcomes.append(caught.value.__cause__)

        async with listening(lab, echo, tls=server) as port, anyio.create_task_group() as tasks:
            client = await dialled(lab, port)
            if receives:
                tasks.start_soon(receive, client)
            while len(outcomes) < 2 + receives:
                # The first ones go out before the server has judged.
                try:
                    await client.send(bytes(size))
                except anyio.BrokenResourceError as error:
                    outcomes.append(error.__cause__)
            with anyio.CancelScope(shield=True):
                await client.aclose()
        assert [type(each) for each in outcomes] == [PeerRejectedCertificate] * (2 + receives)

    run(main)


def test_what_came_while_a_client_sent_is_there_to_be_received(run: Run, lab: Lab) -> None:
    async def greet(stream: TLSStream) -> None:
        await stream.send(b"welcome" * 10_000)
        async with stream:
            await receive_exactly(stream, 300)
            await stream.send(b"done")

    async def main() -> None:
        async with listening(lab, greet) as port, await dialled(lab, port) as client:
            for _ in range(3):
                await anyio.sleep(0.01)
                await client.send(bytes(100))
            assert await receive_exactly(client, 70_004) == b"welcome" * 10_000 + b"done"

    run(main)


@pytest.mark.parametrize("blocks", [False, True], ids=["at once", "asking a verifier"])
def test_a_session_is_named_for_another_connection(
    request: pytest.FixtureRequest, run: Run, lab: Lab, version: TLSVersion, blocks: bool
) -> None:
    if blocks and request.node.callspec.params["run"] == "trio":
        pytest.skip("trio keeps its worker threads for ten seconds, longer than a test may")
    asked: list[threading.Thread] = []
    given: Any = {"peer_verifier": lambda _: asked.append(threading.current_thread())}
    tls = lab.client(version=version, **(given if blocks else {}))

    async def echo(stream: TLSStream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async def visit(port: int, **given: Any) -> Any:
        async with await dialled(lab, port, tls=tls, **given) as stream:
            await stream.send(b"hello")
            assert await stream.receive() == b"hello"
            return stream.extra(TLSAttribute.info).resumed, stream.extra(TLSAttribute.session)

    async def main() -> None:
        async with listening(lab, echo) as port:
            _, session = await visit(port)
            for _ in range(3):
                assert await visit(port, session=session) == (True, session)
            given = {"server_hostname": "stranger.example", "session": session}
            below, there = wire()
            async with below, there:
                with pytest.raises(ValueError, match=r"^session: "):
                    await TLSStream.wrap(below, tls, **given)
                await below.send(b"not taken")
                assert await there.receive() == b"not taken"

    run(main)
    assert bool(asked) is blocks
    assert threading.main_thread() not in asked


def test_an_encrypted_client_hello_that_is_rejected_is_an_error(run: Run, lab: Lab) -> None:
    expected: type[TLSError] = ConfigurationError
    if lab.implementation.capabilities.ech:
        expected = ECHRejected

    async def serve(below: AnyByteStream) -> None:
        # The client is gone before or after the server has what it needs.
        with suppress(anyio.BrokenResourceError, TLSError):
            await TLSStream.wrap(below, lab.server(lab.chain(COVER)))

    async def main() -> None:
        one, other = wire()
        async with one, other, anyio.create_task_group() as tasks:
            tasks.start_soon(serve, other)
            with pytest.raises(expected):
                await TLSStream.wrap(one, lab.client(), server_hostname=lab.host, ech=LIST)
            await one.aclose()
        one, other = wire()
        async with one, other:
            with pytest.raises(ValueError, match=r"^ech is only meaningful with a client"):
                await TLSStream.wrap(other, lab.server(), ech=LIST)

    run(main)
