"""OpenSSL's names of cipher suites and groups.

Cipher suites come from the running library, never from a table: they depend on its version and how
it was built.
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
    #: Whether it is a TLS 1.3 suite.
    is_tls13: bool
    #: Whether a server can negotiate it: finite-field Diffie-Hellman needs parameters, which `ssl`
    #: reads only from files (SSLContext.load_dh_params).
    can_be_served: bool


#: What can be selected by number: everything that authenticates the server with a certificate and
#: encrypts. Anonymous and NULL suites would defeat verification; PSK and SRP need features that
#: `ssl` does not have.
_ALL: Final = "ALL:COMPLEMENTOFALL:!aNULL:!eNULL:!PSK:!SRP"

#: Key bits that a suite must have at OpenSSL's security levels (SSL_CTX_set_security_level(3)).
_LEVELS: Final = (0, 80, 112, 128, 192, 256)


def suites(context: ssl.SSLContext | None = None) -> tuple[Suite, ...]:
    """Return the cipher suites that `context` has enabled, in order of preference.

    None: those that can be enabled for TLS 1.2, and those of TLS 1.3 that are enabled. Suites that
    none of our connections can negotiate are skipped: OpenSSL's own list, which Debian's Python
    uses unchanged, has those with pre-shared keys too.
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
    """Whether the server authenticates with a certificate, as in everything that `_ALL` selects."""
    return not (
        suite["auth"] in ("auth-null", "auth-psk", "auth-srp")
        or suite["kea"] == "kx-srp"
        or suite["kea"].endswith("-psk")
    )


#: Names of groups by number, in OpenSSL's own order of preference.
GROUPS: Final = {number: name for name, number in _native.numbers("openssl_groups").items()}
