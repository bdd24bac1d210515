"""Handshakes under asyncio: how they fail, run out of time and are cancelled, and what is left."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest

import polytls.asyncio
from polytls import (
    AlertReceived,
    CertificateVerificationError,
    ClientAuthentication,
    ConfigurationError,
    ECHRejected,
    NotTLSError,
    PeerRejectedCertificate,
    RaggedEOF,
    TLSError,
    TLSVersion,
    VerificationFailure,
)
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.ech_lists import COVER, LIST
from polytls.testing.conformance.lab import Lab


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server without TLS that answers nothing."""
    with suppress(OSError):
        while await reader.read(1 << 16):
            pass
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def hang_up_amid(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1 << 16)
    writer.close()


async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1 << 16)
    writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("server", "kind"),
    [(hang_up, OSError), (hang_up_amid, RaggedEOF), (speak_http, NotTLSError)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_server_that_does_not_do_tls_is_an_error_of_the_client(
    server: Any, kind: type[OSError], run: Any, serve: Any, dial: Any
) -> None:
    async def main() -> None:
        async with serve(server, None) as address:
            with pytest.raises(kind):
                await dial(address)

    run(main)


def test_a_certificate_that_is_refused_is_explained_on_both_sides(
    run: Any, by_hand: Any, dial: Any, lab: Lab, version: TLSVersion
) -> None:
    async def refused(peer: Any) -> None:
        with pytest.raises(AlertReceived):
            await peer.read()  # Does the handshake.

    async def main() -> None:
        buffer = lab.server(version=version).create_buffer()
        async with by_hand(refused, buffer) as address:
            with pytest.raises(CertificateVerificationError) as caught:
                await dial(address, server_hostname="other.example")
            assert caught.value.reason is VerificationFailure.HOSTNAME_MISMATCH
        buffer = lab.server(version=version).create_buffer()
        async with by_hand(refused, buffer) as address:
            stranger = lab.client(trust_store=CertificateAuthority().trust_store())
            with pytest.raises(CertificateVerificationError) as caught:
                await dial(address, stranger)
            assert caught.value.reason is VerificationFailure.UNKNOWN_ISSUER

    run(main)


def test_a_client_without_a_certificate_hears_that_it_was_refused(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab, version: TLSVersion
) -> None:
    async def talk(address: tuple[str, int]) -> None:
        # In TLS 1.3 the handshake is done on this side when the server judges.
        reader, writer = await dial(address)
        try:
            writer.write(b"x" * 1000)
            await reader.read()
        finally:
            await leave(writer)

    async def main() -> None:
        server = lab.server(
            version=version,
            trust_store=lab.ca.trust_store(),
            client_authentication=ClientAuthentication.REQUIRED,
        )
        async with serve(echo, server) as address:
            # OpenSSL says handshake_failure in TLS 1.2, as RFC 5246 7.4.6 has it.
            kind = PeerRejectedCertificate if version is TLSVersion.TLSv1_3 else AlertReceived
            with pytest.raises(kind):
                await talk(address)

    run(main)


def test_clients_that_fail_disturb_nobody(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server()) as address:
            silent = await asyncio.open_connection(*address)
            rude = await asyncio.open_connection(*address)
            rude[1].write(b"GET / HTTP/1.0\r\n\r\n")
            gone = await asyncio.open_connection(*address)
            gone[1].transport.abort()
            half = await asyncio.open_connection(*address)
            half[1].write(b"\x16\x03\x01")
            half[1].write_eof()
            with pytest.raises(TLSError):
                await dial(address, server_hostname="other.example")
            reader, writer = await dial(address)
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"
            await leave(writer)
            for _, other in (silent, rude, gone, half):
                await leave(other)

    run(main)


def test_a_server_that_is_silent_runs_the_client_out_of_time(
    run: Any, serve: Any, dial: Any
) -> None:
    async def main() -> None:
        async with serve(swallow, None) as address:
            with pytest.raises(TimeoutError, match=r"handshake .* 0\.05 seconds"):
                await dial(address, tls_handshake_timeout=0.05)

    run(main)


def test_a_client_that_is_silent_is_dropped_by_the_server(
    run: Any, serve: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        async with serve(echo, lab.server(), tls_handshake_timeout=0.05) as address:
            reader, writer = await asyncio.open_connection(*address)
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            await leave(writer)

    run(main)


@pytest.mark.parametrize("delay", [0, 0.001, 0.02])
def test_a_connect_can_be_cancelled_anywhere(
    delay: float, run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        for context in (None, lab.server()):
            async with serve(swallow if context is None else echo, context) as address:
                connecting = asyncio.create_task(dial(address))
                await asyncio.sleep(delay)
                connecting.cancel()
                with suppress(asyncio.CancelledError):
                    _, writer = await connecting
                    await leave(writer)  # It was quicker.
                # By the end of the next one, that one has been accepted: a server of CPython's
                # loses what it is accepting when it closes.
                reader, writer = await asyncio.open_connection(*address)
                writer.write_eof()
                await reader.read()
                await leave(writer)

    run(main)


def test_a_server_may_close_amid_handshakes_and_connections(
    run: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        server = await polytls.asyncio.start_server(echo, "127.0.0.1", 0, tls=lab.server())
        address = server.sockets[0].getsockname()[:2]
        reader, writer = await dial(address)
        half = await asyncio.open_connection(*address)
        half[1].write(b"\x16\x03\x01")
        await half[1].drain()
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        server.close()
        writer.write(b"after")
        assert await reader.readexactly(5) == b"after"
        with pytest.raises(OSError):  # noqa: PT011 - whichever the system has for it
            await dial(address)
        await leave(writer)
        await leave(half[1])
        await server.wait_closed()

    run(main)


# --- steps that may take long ---


class Slow:
    """A context whose handshakes may block; it tells which threads they ran in."""

    handshake_may_block = True

    def __init__(self, context: Any) -> None:
        self.inner = context
        self.configuration = context.configuration
        self.threads: set[int] = set()
        self.blocked = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def connect(self, address: Any) -> Any:
        raise NotImplementedError

    def create_buffer(self, *name: str) -> Any:
        return SlowBuffer(self, self.inner.create_buffer(*name))


class SlowBuffer:
    def __init__(self, context: Slow, buffer: Any) -> None:
        self.context, self.buffer = context, buffer

    def do_handshake(self) -> None:
        self.context.threads.add(threading.get_ident())
        self.context.blocked.set()
        assert self.context.go_on.wait(30)
        self.buffer.do_handshake()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.buffer, name)


def test_steps_that_may_block_run_in_another_thread(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        server, client = Slow(lab.server()), Slow(lab.client())
        async with serve(echo, server) as address:
            reader, writer = await dial(address, client)
            writer.write(b"x" * 100_000)
            assert len(await reader.readexactly(100_000)) == 100_000
            await leave(writer)
            with pytest.raises(CertificateVerificationError):
                await dial(address, client, server_hostname="other.example")
        for context in (server, client):
            assert context.threads
            assert threading.get_ident() not in context.threads

    run(main)


def test_the_loop_goes_on_while_a_step_blocks(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        slow = Slow(lab.client())
        slow.go_on.clear()
        async with serve(echo, lab.server()) as address:
            connecting = asyncio.create_task(dial(address, slow))
            try:
                await asyncio.to_thread(slow.blocked.wait, 30)
                reader, writer = await dial(address)
                writer.write(b"meanwhile")
                assert await reader.readexactly(9) == b"meanwhile"
                await leave(writer)
                assert not connecting.done()
            finally:
                slow.go_on.set()
            _, writer = await connecting
            await leave(writer)

    run(main)


@pytest.mark.parametrize("how", ["cancel", "time out", "hang up"])
def test_who_gives_up_while_a_step_blocks_need_not_wait_for_it(
    how: str, run: Any, serve: Any, dial: Any, echo: Any, lab: Lab
) -> None:
    async def main() -> None:
        slow = Slow(lab.client())
        slow.go_on.clear()
        given = {"tls_handshake_timeout": 0.05} if how == "time out" else {}
        kinds = {"cancel": asyncio.CancelledError, "time out": TimeoutError, "hang up": OSError}
        try:
            async with serve(hang_up if how == "hang up" else echo, None) as address:
                connecting = asyncio.create_task(dial(address, slow, **given))
                await asyncio.to_thread(slow.blocked.wait, 30)
                if how == "cancel":
                    connecting.cancel()
                if how == "hang up":
                    slow.go_on.set()
                with pytest.raises(kinds[how]):
                    await connecting
                assert slow.go_on.is_set() is (how == "hang up")
        finally:
            slow.go_on.set()

    run(main)


def test_an_encrypted_client_hello_that_is_rejected_is_an_error(
    run: Any, serve: Any, echo: Any, dial: Any, leave: Any, lab: Lab
) -> None:
    expected: type[TLSError] = ConfigurationError
    if lab.implementation.capabilities.ech:
        expected = ECHRejected

    async def main() -> None:
        tls = lab.client()
        async with serve(echo, lab.server(lab.chain(COVER))) as address:
            with pytest.raises(expected):
                await dial(address, tls, ech=LIST)
        async with serve(echo, None) as address:
            reader, writer = await asyncio.open_connection(*address)
            with pytest.raises(ConfigurationError, match="ech: "):
                await polytls.asyncio.start_tls_streams(
                    reader, writer, tls, server_hostname=lab.host, ech=b"malformed"
                )
            await leave(writer)
        with pytest.raises(ValueError, match=r"^ech is only meaningful with tls"):
            await polytls.asyncio.open_connection("127.0.0.1", 1, ech=LIST)

    run(main)
