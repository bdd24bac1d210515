"""TLS on a connection that exists: both ways, with what was left over, and within TLS itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

import polytls.asyncio
from polytls import (
    CertificateVerificationError,
    NotTLSError,
    PeerMisbehaved,
    TLSError,
    TLSVersion,
    WantReadError,
)
from polytls.testing.conformance.lab import Lab


@pytest.fixture
def starttls(lab: Lab, leave: Any) -> Any:
    """A server that speaks a line of plaintext, begins TLS when asked to, and echoes then."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"hello\n")
            assert await reader.readline() == b"starttls\n"
            writer.write(b"go on\n")
            await polytls.asyncio.start_tls_streams(reader, writer, lab.server())
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError as error:
            failures.append(error)
        await leave(writer)

    failures: list[OSError] = []
    handler.failures = failures  # type: ignore[attr-defined]
    return handler


async def greeted(address: tuple[str, int]) -> Any:
    reader, writer = await asyncio.open_connection(*address)
    assert await reader.readline() == b"hello\n"
    return reader, writer


def test_streams_go_on_over_tls(run: Any, serve: Any, starttls: Any, leave: Any, lab: Lab) -> None:
    data = bytes(range(256)) * 4000

    async def main() -> None:
        async with serve(starttls, None) as address:
            reader, writer = await greeted(address)
            writer.write(b"starttls\n")
            assert await reader.readline() == b"go on\n"
            await polytls.asyncio.start_tls_streams(
                reader, writer, lab.client(), server_hostname=lab.host
            )
            assert writer.get_extra_info("tls").server_name == lab.host
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == data
            await leave(writer)

    run(main)
    assert starttls.failures == []


def test_what_came_with_the_last_plaintext_is_the_beginning_of_tls(
    run: Any, serve: Any, starttls: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(starttls, None) as address:
            reader, writer = await greeted(address)
            buffer = lab.client().create_buffer(lab.host)
            with pytest.raises(WantReadError):
                buffer.do_handshake()
            # A client that does not wait for the answer; servers may allow that.
            writer.write(b"starttls\n" + buffer.process_outgoing(1 << 20))
            assert await reader.readline() == b"go on\n"
            while buffer.negotiated_tls_version is None:
                buffer.process_incoming(await reader.read(1 << 16))
                try:
                    buffer.do_handshake()
                except WantReadError:
                    continue
            buffer.write(b"early bird")
            writer.write(buffer.process_outgoing(1 << 20))
            got = b""
            while got != b"early bird":
                buffer.process_incoming(await reader.read(1 << 16))
                try:
                    got += buffer.read(100)
                except WantReadError:
                    continue
            await leave(writer)

    run(main)


@pytest.mark.parametrize("when", ["read already", "in the system"])
def test_a_client_refuses_what_was_sent_before_tls(
    when: str, run: Any, serve: Any, leave: Any, lab: Lab
) -> None:
    async def inject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"go on\nand more")
        await writer.drain()
        with suppress(ConnectionResetError):  # Where it left something unread.
            assert await reader.read() == b""
        await leave(writer)

    async def main() -> None:
        async with serve(inject, None) as address:
            reader, writer = await asyncio.open_connection(*address)
            if when == "in the system":
                writer.transport.pause_reading()
                await asyncio.sleep(0.05)
            else:
                assert await reader.readline() == b"go on\n"
            with pytest.raises(PeerMisbehaved, match="plaintext"):
                await polytls.asyncio.start_tls_streams(
                    reader, writer, lab.client(), server_hostname=lab.host
                )
            await leave(writer)

    run(main)


def test_a_server_refuses_what_cannot_begin_a_handshake(
    run: Any, serve: Any, starttls: Any, leave: Any
) -> None:
    async def main() -> None:
        async with serve(starttls, None) as address:
            reader, writer = await greeted(address)
            writer.write(b"starttls\nquit\n" + b"x" * 100)
            await reader.read()
            await leave(writer)

    run(main)
    (error,) = starttls.failures
    assert isinstance(error, NotTLSError)


def test_a_failure_closes_the_connection_and_tells_the_protocol(
    run: Any, serve: Any, starttls: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(starttls, None) as address:
            reader, writer = await greeted(address)
            writer.write(b"starttls\n")
            assert await reader.readline() == b"go on\n"
            with pytest.raises(CertificateVerificationError):
                await polytls.asyncio.start_tls_streams(
                    reader, writer, lab.client(), server_hostname="other.example"
                )
            with pytest.raises(CertificateVerificationError):
                await reader.read()
            assert writer.is_closing()
            with pytest.raises(CertificateVerificationError):
                await writer.wait_closed()

    run(main)


def test_it_can_be_cancelled(run: Any, serve: Any, lab: Lab, leave: Any) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            pass
        await leave(writer)

    async def main() -> None:
        async with serve(silent, None) as address:
            reader, writer = await asyncio.open_connection(*address)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await polytls.asyncio.start_tls_streams(
                        reader, writer, lab.client(), server_hostname=lab.host
                    )
            await leave(writer)

    run(main)


@pytest.mark.parametrize("depth", [2, 3])
def test_tls_can_be_carried_by_tls(
    depth: int, run: Any, serve: Any, dial: Any, leave: Any, lab: Lab
) -> None:
    data = bytes(range(256)) * 2000

    async def wrapped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(depth - 1):
            assert await reader.readline() == b"again\n"
            await polytls.asyncio.start_tls_streams(reader, writer, lab.server())
        writer.write((await reader.readexactly(len(data)))[::-1])
        assert await reader.read() == b""
        await leave(writer)

    async def main() -> None:
        async with serve(wrapped, lab.server()) as address:
            reader, writer = await dial(address)
            for _ in range(depth - 1):
                writer.write(b"again\n")
                await polytls.asyncio.start_tls_streams(
                    reader, writer, lab.client(), server_hostname=lab.host
                )
            writer.write(data)
            assert await reader.readexactly(len(data)) == data[::-1]
            assert writer.get_extra_info("peername") == address
            writer.close()
            await writer.wait_closed()

    run(main)


def test_what_is_refused_is_refused_before_anything_happens(
    run: Any, serve: Any, echo: Any, dial: Any, leave: Any, lab: Lab
) -> None:
    start = polytls.asyncio.start_tls
    client, server = lab.client(), lab.server()
    cases: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (client, {}, ValueError, "server_hostname is required"),
        (client, {"server_hostname": "x", "server_side": True}, ValueError, "server_side"),
        (server, {"server_side": False}, ValueError, "server_side"),
        (server, {"server_hostname": "x"}, ValueError, "client context"),
        (True, {}, TypeError, "expected a ClientContext"),
        (server, {"tls_handshake_timeout": 0}, ValueError, "positive"),
    ]

    async def main() -> None:
        async with serve(echo, None) as address:
            reader, writer = await asyncio.open_connection(*address)
            protocol = writer.transport.get_protocol()
            for tls, given, kind, message in cases:
                with pytest.raises(kind, match=message):
                    await start(writer.transport, protocol, tls, **given)
            with pytest.raises(TypeError, match="not a stream"):
                await start(asyncio.BaseTransport(), protocol, server)
            writer.write(b"unharmed")
            assert await reader.readexactly(8) == b"unharmed"
            await leave(writer)
            with pytest.raises(ConnectionResetError, match="closed"):
                await start(writer.transport, protocol, server)

    run(main)


def test_streams_that_were_not_upgraded_have_lost_nothing(
    run: Any, serve: Any, leave: Any, lab: Lab
) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"first\nsecond\n")
        assert await reader.readline() == b"third\n"
        await leave(writer)

    async def main() -> None:
        async with serve(speak, None) as address:
            reader, writer = await asyncio.open_connection(*address)
            assert await reader.readline() == b"first\n"
            wrong: list[tuple[Any, type[Exception]]] = [(lab.client(), ValueError), (7, TypeError)]
            for tls, kind in wrong:
                with pytest.raises(kind):
                    await polytls.asyncio.start_tls_streams(reader, writer, tls)
            assert await reader.readline() == b"second\n"
            writer.write(b"third\n")
            assert await reader.read() == b""
            await leave(writer)

    run(main)


def test_a_plaintext_answer_is_told_apart(run: Any, serve: Any, leave: Any, lab: Lab) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(b"500 what do you mean?\r\n")
        await reader.read()
        await leave(writer)

    async def main() -> None:
        async with serve(plain, None) as address:
            reader, writer = await asyncio.open_connection(*address)
            with pytest.raises(TLSError):
                await polytls.asyncio.start_tls_streams(
                    reader, writer, lab.client(), server_hostname=lab.host
                )
            await leave(writer)

    run(main)


def test_a_session_is_named_where_a_connection_becomes_tls(
    run: Any, serve: Any, leave: Any, lab: Lab, version: TLSVersion
) -> None:
    tls = lab.client(version=version, peer_verifier=lambda _: None)
    server = lab.server()

    async def echo_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"starttls\n"
        writer.write(b"go on\n")
        await polytls.asyncio.start_tls_streams(reader, writer, server)
        writer.write(await reader.readline())
        await leave(writer)

    async def visit(address: tuple[str, int], **given: Any) -> Any:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"starttls\n")
        assert await reader.readline() == b"go on\n"
        given.setdefault("server_hostname", lab.host)
        try:
            await polytls.asyncio.start_tls_streams(reader, writer, tls, **given)
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
            return writer.get_extra_info("tls").resumed, writer.get_extra_info("tls_session")
        finally:
            await leave(writer)

    async def main() -> None:
        async with serve(echo_once, None) as address:
            _, session = await visit(address)
            assert await visit(address, session=session) == (True, session)

    run(main)


def test_a_session_that_must_not_be_resumed_leaves_the_streams_in_plaintext(
    run: Any, serve: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    tls = lab.client(peer_verifier=lambda _: None)
    session: Any = lab.connect(tls).client.session

    async def main() -> None:
        async with serve(echo, None) as address:
            reader, writer = await asyncio.open_connection(*address)
            with pytest.raises(ValueError, match=r"^session: "):
                await polytls.asyncio.start_tls_streams(
                    reader, writer, tls, server_hostname="stranger.example", session=session
                )
            writer.write(b"still in plaintext\n")
            assert await reader.readline() == b"still in plaintext\n"
            await leave(writer)

    run(main)
