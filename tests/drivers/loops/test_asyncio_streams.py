"""asyncio's streams over TLS: data, ends, flow control and facts, on each loop."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import polytls.asyncio
from polytls import (
    ClientAuthentication,
    NextProtocol,
    RaggedEOF,
    SupportsInfo,
    TLSVersion,
)
from polytls.testing.conformance.lab import Lab


@pytest.mark.parametrize("size", [1, 16384, 16385, 1 << 20])
def test_data_arrives_as_it_was_sent(
    size: int, run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab, version: TLSVersion
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server(version=version)) as address:
            reader, writer = await dial(address)
            data = random.Random(size).randbytes(size)
            sent = asyncio.create_task(send(writer, data))
            assert await reader.readexactly(size) == data
            await sent
            await leave(writer)

    async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    run(main)


def test_one_huge_write_arrives_and_the_rest_is_flushed_by_close(
    run: Any, serve: Any, dial: Any, leave: Any, lab: Lab
) -> None:
    data = random.Random(7).randbytes(24 << 20)

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await leave(writer)

    async def main() -> None:
        async with serve(pour, lab.server()) as address:
            reader, writer = await dial(address)
            assert await reader.read() == data
            await leave(writer)

    run(main)


def test_many_small_writes_keep_their_order(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server()) as address:
            reader, writer = await dial(address)
            lines = [b"%d\n" % number for number in range(3000)]
            for line in lines[:1500]:
                writer.write(line)
            writer.writelines(lines[1500:])
            assert [await reader.readline() for _ in lines] == lines
            await leave(writer)

    run(main)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_is_written_may_change_at_once(
    kind: Any, run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server()) as address:
            reader, writer = await dial(address)
            data = bytearray(b"a" * 100_000)
            writer.write(kind(data))
            data[:] = b"b" * len(data)
            assert await reader.readexactly(100_000) == b"a" * 100_000
            await leave(writer)

    run(main)


def test_the_writer_waits_for_a_peer_that_does_not_read(
    run: Any, serve: Any, dial: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        go_on = asyncio.Event()
        counted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await go_on.wait()
            count = 0
            while data := await reader.read(1 << 18):
                count += len(data)
            counted.set_result(count)
            await leave(writer)

        async with serve(slow, lab.server()) as address:
            _, writer = await dial(address)
            written = 0
            with suppress(TimeoutError):
                # The system takes some megabytes; then `drain` has to wait.
                async with asyncio.timeout(1):
                    while written < 256 << 20:
                        writer.write(bytes(1 << 18))
                        written += 1 << 18
                        await writer.drain()
            assert written < 256 << 20
            assert writer.transport.get_write_buffer_size() > 0
            go_on.set()
            await writer.drain()
            await leave(writer)
            assert await counted == written

    run(main)


def test_one_direction_can_end_in_tls_1_3(
    run: Any, serve: Any, dial: Any, leave: Any, lab: Lab
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.read()
        writer.write(question.upper())
        await leave(writer)

    async def main() -> None:
        async with serve(answer, lab.server()) as address:
            reader, writer = await dial(address)
            assert writer.can_write_eof()
            writer.write(b"question")
            writer.write_eof()
            writer.write_eof()
            with pytest.raises(RuntimeError, match="after write_eof"):
                writer.write(b"more")
            assert await reader.read() == b"QUESTION"
            await leave(writer)

    run(main)


def test_one_direction_cannot_end_in_tls_1_2(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server(version=TLSVersion.TLSv1_2)) as address:
            reader, writer = await dial(address)
            assert not writer.can_write_eof()
            with pytest.raises(NotImplementedError):
                writer.write_eof()
            writer.write(b"still")
            assert await reader.readexactly(5) == b"still"
            await leave(writer)

    run(main)


def test_an_end_in_order_is_the_end_of_the_stream(
    run: Any, serve: Any, dial: Any, leave: Any, lab: Lab, version: TLSVersion
) -> None:
    async def brief(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"last words")
        await leave(writer)

    async def main() -> None:
        async with serve(brief, lab.server(version=version)) as address:
            reader, writer = await dial(address)
            assert await reader.read() == b"last words"
            assert reader.at_eof()
            writer.close()
            await writer.wait_closed()

    run(main)


def test_a_ragged_end_is_an_error_after_the_data(
    run: Any, by_hand: Any, dial: Any, leave: Any, lab: Lab, version: TLSVersion
) -> None:
    async def cut(peer: Any) -> None:
        await peer.handshake()
        await peer.write(b"first half")

    async def main() -> None:
        async with by_hand(cut, lab.server(version=version).create_buffer()) as address:
            reader, writer = await dial(address)
            assert await reader.readexactly(10) == b"first half"
            with pytest.raises(RaggedEOF):
                await reader.read()
            await leave(writer)

    run(main)


def test_a_truncated_end_that_is_accepted_is_the_end_of_the_stream(
    run: Any, by_hand: Any, dial: Any, leave: Any, lab: Lab, version: TLSVersion
) -> None:
    async def cut(peer: Any) -> None:
        await peer.handshake()
        await peer.write(b"all there was")

    async def main() -> None:
        async with by_hand(cut, lab.server(version=version).create_buffer()) as address:
            reader, writer = await dial(address, accept_truncated_end=True)
            assert await reader.read() == b"all there was"
            assert reader.at_eof()
            await leave(writer)

    run(main)


def test_a_server_accepts_truncated_ends_where_it_was_told_to(
    run: Any, serve: Any, hand: Any, leave: Any, lab: Lab, version: TLSVersion
) -> None:
    came: list[bytes] = []

    async def takes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read())
        writer.write(b"thanks")
        await leave(writer)

    async def main() -> None:
        server = lab.server(version=version)
        async with serve(takes, server, accept_truncated_end=True) as address:
            peer = await hand(address, lab.client(version=version).create_buffer(lab.host))
            await peer.handshake()
            await peer.write(b"all there was")
            peer.cut_off()
            assert await peer.read() == b"thanks"
            await leave(peer.writer)
        assert came == [b"all there was"]

    run(main)


def test_it_is_refused_without_tls_and_as_what_it_is_not(run: Any, lab: Lab) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="accept_truncated_end is only meaningful with tls"):
            await polytls.asyncio.open_connection("127.0.0.1", 1, accept_truncated_end=True)
        with pytest.raises(TypeError, match="accept_truncated_end"):
            await polytls.asyncio.start_server(
                lambda *_: None, "127.0.0.1", 0, tls=lab.server(), accept_truncated_end=1
            )

    run(main)


def test_a_reset_stays_a_reset(run: Any, by_hand: Any, dial: Any, leave: Any, lab: Lab) -> None:
    async def cut(peer: Any) -> None:
        await peer.handshake()
        await peer.read()
        peer.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
        )
        peer.reset()

    async def main() -> None:
        async with by_hand(cut, lab.server().create_buffer()) as address:
            reader, writer = await dial(address)
            writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            await leave(writer)

    run(main)


def test_facts_are_there_and_stay_after_the_end(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        protocols = [NextProtocol.H2]
        async with serve(echo, lab.server(inner_protocols=protocols)) as address:
            _, writer = await dial(address, lab.client(inner_protocols=protocols))
            assert writer.get_extra_info("peername") == address
            assert writer.get_extra_info("sockname")[0] == address[0]
            assert writer.get_extra_info("socket").fileno() >= 0
            assert writer.get_extra_info("nothing", 7) == 7
            assert isinstance(writer.get_extra_info("tls_buffer"), SupportsInfo)
            info = writer.get_extra_info("tls")
            assert info.implementation == lab.implementation.name
            assert (info.version, info.alpn) == (TLSVersion.TLSv1_3, NextProtocol.H2)
            assert info.server_name == lab.host
            await leave(writer)
            assert writer.get_extra_info("tls") == info

    run(main)


def test_a_server_knows_its_client(run: Any, serve: Any, dial: Any, leave: Any, lab: Lab) -> None:
    identity = lab.chain("client.example")
    assert identity.leaf[0].buffer is not None

    async def main() -> None:
        seen: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.set_result(writer.get_extra_info("tls").peer_chain)
            await leave(writer)

        server = lab.server(
            trust_store=lab.ca.trust_store(), client_authentication=ClientAuthentication.REQUIRED
        )
        async with serve(look, server) as address:
            reader, writer = await dial(address, lab.client(certificate_chain=identity))
            assert await reader.read() == b""
            # OpenSSL sends the root along.
            assert (await seen)[0] == identity.leaf[0].buffer
            await leave(writer)

    run(main)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
def test_unix_sockets_carry_it_too(
    run: Any, echo: Any, leave: Any, lab: Lab, tmp_path: Path
) -> None:
    path = tmp_path / "tls.socket"

    async def main() -> None:
        server = await polytls.asyncio.start_unix_server(echo, path, tls=lab.server())
        reader, writer = await polytls.asyncio.open_unix_connection(
            path, tls=lab.client(), server_hostname=lab.host
        )
        writer.write(b"local")
        assert await reader.readexactly(5) == b"local"
        await leave(writer)
        server.close()
        await server.wait_closed()

    run(main)


def test_without_a_context_there_is_no_tls(run: Any, serve: Any, echo: Any, leave: Any) -> None:
    async def main() -> None:
        async with serve(echo, None) as address:
            reader, writer = await polytls.asyncio.open_connection(*address)
            assert writer.get_extra_info("tls") is None
            writer.write(b"plain")
            assert await reader.readexactly(5) == b"plain"
            await leave(writer)

    run(main)


def test_the_host_is_the_name_to_verify(
    run: Any, serve: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server(lab.chain("127.0.0.1"))) as address:
            _, writer = await polytls.asyncio.open_connection(*address, tls=lab.client())
            await leave(writer)

    run(main)


def test_arguments_that_are_wrong_are_named(run: Any, echo: Any, lab: Lab) -> None:
    opens, starts = polytls.asyncio.open_connection, polytls.asyncio.start_server
    cases: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (opens, {"server_hostname": "x"}, ValueError, "server_hostname is only meaningful"),
        (opens, {"tls": lab.client(), "tls_handshake_timeout": 0}, ValueError, "positive"),
        (opens, {"tls": lab.client(), "tls_shutdown_timeout": -1}, ValueError, "positive"),
        (opens, {"tls_handshake_timeout": 1}, ValueError, "only meaningful with tls"),
        (opens, {"tls": lab.client(), "host": None}, ValueError, "server_hostname is required"),
        (opens, {"tls": lab.server()}, TypeError, "client context"),
        (opens, {"tls": True}, TypeError, "expected a ClientContext"),
        (opens, {"tls": lab.client(), "server_hostname": ""}, ValueError, "server_hostname"),
        (starts, {"tls": lab.client()}, TypeError, "server context"),
        (starts, {"tls": True}, TypeError, "expected a ClientContext"),
        (starts, {"tls_shutdown_timeout": 1}, ValueError, "only meaningful with tls"),
        (opens, {"ssl": True}, TypeError, "^use tls instead of ssl$"),
        (opens, {"tls": lab.client(), "ssl": True}, TypeError, "^use tls instead of ssl$"),
        (starts, {"ssl": True, "tls": lab.server()}, TypeError, "^use tls instead of ssl$"),
        (starts, {"ssl_handshake_timeout": 1}, TypeError, "^use tls_handshake_timeout instead"),
    ]

    async def main() -> None:
        for function, given, kind, message in cases:
            where = {"host": "127.0.0.1", "port": 1, **given}
            arguments = [echo] if function is starts else []
            with pytest.raises(kind, match=message):
                await function(*arguments, **where)

    run(main)


@pytest.mark.parametrize("blocks", [False, True], ids=["at once", "asking a verifier"])
def test_a_session_is_named_for_another_connection(
    run: Any,
    serve: Any,
    dial: Any,
    echo: Any,
    leave: Any,
    lab: Lab,
    version: TLSVersion,
    blocks: bool,
) -> None:
    asked: list[threading.Thread] = []
    given = {"peer_verifier": lambda _: asked.append(threading.current_thread())} if blocks else {}

    async def main() -> None:
        tls = lab.client(version=version, **given)
        async with serve(echo, lab.server(lab.chain(lab.host, "other.example"))) as address:
            reader, writer = await dial(address, tls)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            session = writer.get_extra_info("tls_session")
            for _ in range(3):
                resumed_reader, resumed = await dial(address, tls, session=session)
                assert resumed.get_extra_info("tls").resumed is True
                assert resumed.get_extra_info("tls_session") == session
                resumed.write(b"hello")
                assert await resumed_reader.readexactly(5) == b"hello"
                await leave(resumed)
            with pytest.raises(ValueError, match=r"^session: "):
                await dial(address, tls, session=session, server_hostname="stranger.example")
            with pytest.raises(ValueError, match=r"^session: "):
                await dial(address, lab.client(), session=session)
            await leave(writer)

    run(main)
    assert bool(asked) is blocks
    assert threading.main_thread() not in asked


def test_a_session_without_tls_is_refused(run: Any, lab: Lab) -> None:
    async def main() -> None:
        session: Any = lab.connect().client.session
        with pytest.raises(ValueError, match="only meaningful with tls"):
            await polytls.asyncio.open_connection("127.0.0.1", 1, session=session)

    run(main)
