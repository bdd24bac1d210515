"""Pins and verifiers under asyncio: they decide there, too, and not on the loop's thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from polytls import (
    CertificateVerificationError,
    PresentedPeer,
    TLSError,
    TrustStore,
    VerificationFailure,
)
from polytls.testing.conformance.lab import Lab


def test_a_client_accepts_the_server_that_is_pinned_alone(
    run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    async def main() -> None:
        pinned, other = lab.ca.issue(lab.host), lab.ca.issue(lab.host)
        client = lab.client(trust_store=TrustStore.pinned(certificates=[pinned.leaf[0]]))
        async with serve(echo, lab.server(pinned)) as address:
            reader, writer = await dial(address, client)
            writer.write(b"data")
            assert await reader.readexactly(4) == b"data"
            await leave(writer)
        async with serve(echo, lab.server(other)) as address:
            with pytest.raises(CertificateVerificationError) as caught:
                await dial(address, client)
            assert caught.value.reason is VerificationFailure.PIN_MISMATCH

    run(main)


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_verifier_has_its_say_in_another_thread(
    side: str, run: Any, serve: Any, dial: Any, echo: Any, leave: Any, lab: Lab
) -> None:
    threads: list[int] = []
    verdict: list[BaseException] = []

    def verify(_: PresentedPeer) -> None:
        threads.append(threading.get_ident())
        if verdict:
            raise verdict[0]

    given: dict[str, Any] = {"peer_verifier": verify}

    async def main() -> None:
        async def failure() -> Exception:
            try:
                reader, writer = await dial(address, client)
            except (TLSError, OSError) as error:
                return error
            writer.write(b"data")
            try:
                raise AssertionError(await reader.readexactly(4))
            except (TLSError, OSError, EOFError) as error:
                return error
            finally:
                await leave(writer)

        client = lab.client(
            certificate_chain=lab.chain("client.example"), **(given if side == "client" else {})
        )
        server = lab.server(trust_store=lab.ca.trust_store(), **(given if side == "server" else {}))
        async with serve(echo, server) as address:
            reader, writer = await dial(address, client)
            writer.write(b"data")
            assert await reader.readexactly(4) == b"data"
            await leave(writer)
            verdict.append(LookupError("not this one"))
            error = await failure()
            if side == "client":
                assert isinstance(error, CertificateVerificationError)
                assert error.__cause__ is verdict[0]

    run(main)
    assert len(threads) == 2
    assert threading.get_ident() not in threads
