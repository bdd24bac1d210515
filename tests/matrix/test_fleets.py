"""Servers of different libraries with one secret: a ticket of another library's is not resumed, and
does no harm."""

from __future__ import annotations

from itertools import permutations
from typing import Any, Final

import pytest

import polytls
from polytls import (
    ConfigurationError,
    TicketKeys,
    TLSClientConfiguration,
    TLSServerConfiguration,
    TLSVersion,
    WantReadError,
)
from polytls.testing import CertificateAuthority, tie

HOST: Final = "localhost"
CA: Final = CertificateAuthority()
CHAIN: Final = CA.issue(HOST)
NAMES: Final = polytls.implementations()


def server_of(name: str) -> Any:
    return polytls.implementation(name).server_context(
        TLSServerConfiguration(
            certificate_chain=[CHAIN], ticket_keys=TicketKeys.from_secret(b"s" * 32)
        )
    )


def _with_ticket_keys() -> dict[str, Any]:
    """A server's context of each library that takes ticket keys."""
    contexts = {}
    for name in NAMES:
        try:
            contexts[name] = server_of(name)
        except ConfigurationError as refused:
            if refused.field != "ticket_keys":
                raise
    return contexts


SERVERS: Final = _with_ticket_keys()


@pytest.mark.parametrize(("one", "other"), list(permutations(SERVERS, 2)))
@pytest.mark.parametrize("client", NAMES)
def test_tickets_of_another_library_are_not_resumed_and_nothing_fails(
    client: str, one: str, other: str, version: TLSVersion
) -> None:
    context = polytls.implementation(client).client_context(
        TLSClientConfiguration(
            trust_store=CA.trust_store(),
            lowest_supported_version=version,
            highest_supported_version=version,
        )
    )

    def resumed(server: Any) -> bool:
        pair = tie(context.create_buffer(HOST), server.create_buffer())
        with pytest.raises(WantReadError):  # The tickets of TLS 1.3 come after the handshake.
            pair.client.read(1)
        assert pair.send(pair.client, b"request") == b"request"
        assert pair.send(pair.server, b"response") == b"response"
        told: bool = pair.server.info.resumed
        assert pair.client.info.resumed is told
        return told

    visits = (SERVERS[one], server_of(one), SERVERS[other], server_of(other), SERVERS[one])
    assert [resumed(server) for server in visits] == [False, True, False, True, False]
