"""The table at the end of `polytls demo`: each implementation as client against each as server.

A connection in memory for every version that both have, with a request and a response.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from .. import registry
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..constants import TLSVersion
from ..interfaces import ClientContext, ServerContext, TLSImplementation
from ..testing import CertificateAuthority, tie
from .words import width, wrapped

__all__ = ["show"]

_COLUMN: Final = 24
_HOST: Final = "localhost"
_VERSIONS: Final = {"1.3": TLSVersion.TLSv1_3, "1.2": TLSVersion.TLSv1_2}

_Implementation = TLSImplementation[ClientContext, ServerContext]


def show(ca: CertificateAuthority) -> tuple[int, int]:
    """Print the table; return how many connections went as expected, and of how many.

    Where only one implementation can be used there is nothing to show.
    """
    names = registry.implementations()
    if len(names) < 2:
        return 0, 0
    cells = {(client, server): _cell(client, server, ca) for client in names for server in names}
    for servers in _blocks(names):
        print(f"\n{_row('client to server', servers)}")
        for client in names:
            print(_row(client, [_shown(cells[client, server]) for server in servers]))
    for (client, server), outcomes in cells.items():
        for version, fault in outcomes.items():
            if fault is not None:
                told = f"NOT AS EXPECTED: {client} to {server}, TLS {version}: {fault}"
                print(*wrapped(told, 4), sep="\n")
    faults = [fault for outcomes in cells.values() for fault in outcomes.values()]
    return faults.count(None), len(faults)


def _cell(client: str, server: str, ca: CertificateAuthority) -> dict[str, str | None]:
    """What went wrong in each version that both have; None for nothing."""
    sides = registry.implementation(client), registry.implementation(server)
    return {
        label: _fault(*sides, version, ca)
        for label, version in _VERSIONS.items()
        if all(_has(version, side) for side in sides)
    }


def _has(version: TLSVersion, implementation: _Implementation) -> bool:
    can = implementation.capabilities
    return can is None or version in can.versions


def _fault(
    client: _Implementation, server: _Implementation, version: TLSVersion, ca: CertificateAuthority
) -> str | None:
    try:
        as_client = client.client_context(
            TLSClientConfiguration(
                trust_store=ca.trust_store(),
                lowest_supported_version=version,
                highest_supported_version=version,
            )
        )
        as_server = server.server_context(
            TLSServerConfiguration(
                certificate_chain=[ca.issue(_HOST)],
                lowest_supported_version=version,
                highest_supported_version=version,
            )
        )
        pair = tie(as_client.create_buffer(_HOST), as_server.create_buffer())
        for sender, data in ((pair.client, b"request"), (pair.server, b"response")):
            if pair.send(sender, data) != data:
                return "the data did not arrive"
            if sender.negotiated_tls_version is not version:
                return f"{sender.negotiated_tls_version} was negotiated"
    except Exception as error:  # Whatever an implementation raises, it is this cell's alone.
        return f"{type(error).__name__}: {error}"
    return None


def _shown(outcomes: dict[str, str | None]) -> str:
    told = ", ".join(
        f"{version} {'ok' if fault is None else 'FAILED'}" for version, fault in outcomes.items()
    )
    return told or "no common version"


def _blocks(servers: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many columns at a time as fit beside the clients' names."""
    most = max(width() // _COLUMN - 1, 1)
    for first in range(0, len(servers), most):
        yield servers[first : first + most]


def _row(head: str, cells: Sequence[str]) -> str:
    return "".join(f"{text[: _COLUMN - 1]:{_COLUMN}}" for text in (head, *cells)).rstrip()
