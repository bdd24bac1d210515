"""List the TLS implementations and what they support, or why they cannot be used here."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Iterator
from enum import IntEnum

from .. import registry
from ..capabilities import Capabilities
from .words import width

__all__ = ["add_arguments", "run"]

_INDENT = 26


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print the version-independent capabilities as a Markdown table",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print every implementation, the default first, and then those that cannot be used."""
    if arguments.markdown:
        print("\n".join(_table()))
        return 0
    for number, name in enumerate(registry.implementations()):
        implementation = registry.implementation(name)
        default = " (default)" if number == 0 else ""
        print(f"{name}{default}: {implementation.version or 'version unknown'}")
        if implementation.capabilities is not None:
            for what, value in _facts(implementation.capabilities):
                print(_line(what, value))
    for reason in registry.unusable().values():
        print(textwrap.fill(str(reason), width(), subsequent_indent="  "))
    return 0


def _facts(can: Capabilities) -> Iterator[tuple[str, str]]:
    yield "versions", _list(version.value for version in can.versions)
    yield "trust from", _list(sorted(can.trust_sources))
    yield "certificates from", _list(sorted(can.certificate_sources))
    yield "keys from", _list(sorted(can.key_sources))
    yield "cipher suites", _list(map(_name, can.cipher_suites))
    yield "cipher choice", can.cipher_choice
    yield "groups", _list(map(_name, can.groups))
    yield "signature schemes", _list(map(_name, can.signature_schemes))
    yield "channel bindings", _list(sorted(can.channel_bindings))
    flags = _flags(can)
    yield "can", _list(what for what, able in flags.items() if able)
    yield "cannot", _list(what for what, able in flags.items() if not able)


def _flags(can: Capabilities) -> dict[str, bool]:
    return {
        "client authentication": can.client_authentication,
        "certificate selection by SNI": can.sni_selection,
        "resumption": can.resumption,
        "keying material exporter": can.exporter,
        "key log": can.key_log,
        "OCSP stapling": can.ocsp_stapling,
        "verification of OCSP staples": can.staple_verification,
        "alternative client chains": can.client_chain_selection,
        "shared ticket keys": can.ticket_keys,
        "CRLs": can.crl,
        "trusted leaf certificates": can.peers,
        "custom verification": can.peer_verifier,
        "named sessions": can.named_sessions,
        "early data": can.early_data,
        "Encrypted ClientHello": can.ech,
        "Encrypted ClientHello on servers": can.ech_keys,
        "certificate compression": can.certificate_compression,
        "choice of the longest record": can.max_fragment,
        "a clock for tests": can.clock,
        "choice of signature schemes": bool(can.signature_schemes),
        "choice of CA names": can.certificate_authorities,
        "events": can.events,
    }


def _table() -> Iterator[str]:
    """A column for each implementation, without what changes with its version."""
    columns: dict[str, dict[str, str]] = {}
    for name in registry.implementations():
        can = registry.implementation(name).capabilities
        if can is not None:
            columns[name] = {
                what: value
                for what, value in _facts(can)
                if what not in ("cipher suites", "groups", "signature schemes", "can", "cannot")
            } | {what: "yes" if able else "no" for what, able in _flags(can).items()}
    yield f"| | {' | '.join(columns)} |"
    yield f"| --- |{' --- |' * len(columns)}"
    for what in next(iter(columns.values()), {}):
        yield f"| {what} | {' | '.join(column[what] for column in columns.values())} |"


def _list(items: Iterable[str]) -> str:
    return ", ".join(items) or "none"


def _name(number: int) -> str:
    return number.name if isinstance(number, IntEnum) else f"0x{number:04X}"


def _line(what: str, value: str) -> str:
    return textwrap.fill(
        value,
        width(),
        initial_indent=f"  {what:{_INDENT - 2}}",
        subsequent_indent=" " * _INDENT,
    )
