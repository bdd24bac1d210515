"""List the TLS implementations that can be used here, and what they can do."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Iterator

from .. import registry
from ..capabilities import Capabilities
from ..constants import CipherSuite, NamedGroup, known

__all__ = ["add_arguments", "run"]

_WIDTH = 100
_INDENT = 26


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options: none."""


def run(_arguments: argparse.Namespace) -> int:
    """Print every implementation, the default first."""
    for number, name in enumerate(registry.implementations()):
        implementation = registry.implementation(name)
        default = " (default)" if number == 0 else ""
        print(f"{name}{default}: {implementation.version or 'version unknown'}")
        if implementation.capabilities is not None:
            for what, value in _facts(implementation.capabilities):
                print(_line(what, value))
    return 0


def _facts(can: Capabilities) -> Iterator[tuple[str, str]]:
    yield "versions", _list(version.value for version in can.versions)
    yield "trust from", _list(sorted(can.trust_sources))
    yield "certificates from", _list(sorted(can.certificate_sources))
    yield "keys from", _list(sorted(can.key_sources))
    yield "cipher suites", _list(_name(known(CipherSuite, suite)) for suite in can.cipher_suites)
    yield "cipher choice", can.cipher_choice
    yield "groups", _list(_name(known(NamedGroup, group)) for group in can.groups)
    flags = {
        "client authentication": can.client_authentication,
        "choice of chain by name": can.sni_selection,
        "resumption": can.resumption,
        "keying material exporter": can.exporter,
        "key log": can.key_log,
        "revocation lists": can.crl,
        "early data": can.early_data,
        "encrypted client hello": can.ech,
    }
    yield "can", _list(what for what, able in flags.items() if able)
    yield "cannot", _list(what for what, able in flags.items() if not able)


def _list(items: Iterable[str]) -> str:
    return ", ".join(items) or "none"


def _name(number: CipherSuite | NamedGroup | int) -> str:
    return number.name if isinstance(number, CipherSuite | NamedGroup) else f"0x{number:04X}"


def _line(what: str, value: str) -> str:
    return textwrap.fill(
        value,
        _WIDTH,
        initial_indent=f"  {what:{_INDENT - 2}}",
        subsequent_indent=" " * _INDENT,
    )
