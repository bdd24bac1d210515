"""OpenSSL's names of suites and groups.

Suites are read from the running library, never from a table: which there are depends on its
version and on how it was built.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ... import _native

__all__ = ["GROUPS", "Suite", "suites"]


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite of the running library."""

    #: Its IANA number.
    number: int
    #: OpenSSL's name for it.
    name: str
    #: Whether it is one of TLS 1.3.
    is_tls13: bool
    #: Whether a server can agree on it: finite-field Diffie-Hellman wants parameters, and `ssl`
    #: takes them from files alone (SSLContext.load_dh_params).
    can_be_served: bool


#: What can be asked for by number: all that authenticates the server by a certificate and
#: encrypts. Anonymous and NULL suites would undo verification; PSK and SRP need what `ssl` lacks.
_ALL: Final = "ALL:COMPLEMENTOFALL:!aNULL:!eNULL:!PSK:!SRP"

#: Bits that a suite must have at OpenSSL's security levels (SSL_CTX_set_security_level(3)).
_LEVELS: Final = (0, 80, 112, 128, 192, 256)


def suites(context: ssl.SSLContext | None = None) -> tuple[Suite, ...]:
    """Return the suites that `context` has enabled, the preferred first.

    None: those that can be enabled for TLS 1.2, and those of TLS 1.3 that are enabled. Suites that
    no connection of ours can agree on are left out: OpenSSL's own list, which Debian's Python takes
    as it is, has those with pre-shared keys too.
    """
    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers(_ALL)
    bits = _LEVELS[min(context.security_level, len(_LEVELS) - 1)]
    return tuple(
        # The low half of OpenSSL's id is the number on the wire (SSL_CIPHER_get_id(3)).
        Suite(
            suite["id"] & 0xFFFF,
            suite["name"],
            suite["protocol"] == "TLSv1.3",
            suite.get("kea") != "kx-dhe",
        )
        for suite in context.get_ciphers()
        if suite["strength_bits"] >= bits and _has_certificate(suite)
    )


def _has_certificate(suite: Mapping[str, Any]) -> bool:
    """Whether a server proves itself by a certificate, as in all that `_ALL` takes."""
    return not (
        suite["auth"] in ("auth-null", "auth-psk", "auth-srp")
        or suite["kea"] == "kx-srp"
        or suite["kea"].endswith("-psk")
    )


#: Names of groups by their numbers, in the order of OpenSSL's own preference.
GROUPS: Final = {number: name for name, number in _native.numbers("openssl_groups").items()}
