"""OpenSSL's names of cipher suites, read from the running library."""

from __future__ import annotations

from functools import cache
from typing import Final

from .base import BASE, C

__all__ = ["CURVES", "described"]

#: Groups by the names that `SSLContext.set_ecdh_curve` takes (openssl/obj_mac.h).
CURVES: Final = {
    "prime256v1": 0x0017,
    "secp256r1": 0x0017,
    "P-256": 0x0017,
    "secp384r1": 0x0018,
    "P-384": 0x0018,
    "secp521r1": 0x0019,
    "P-521": 0x0019,
    "X25519": 0x001D,
    "X448": 0x001E,
}


@cache
def _known() -> dict[int, tuple[str, str, int]]:
    context = C(BASE.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL")
    return {
        suite["id"] & 0xFFFF: (
            suite["name"],
            "TLSv1.3" if suite["protocol"] == "TLSv1.3" else "TLSv1.2",
            suite["strength_bits"],
        )
        for suite in context.get_ciphers()
    }


def described(number: int) -> tuple[str, str, int]:
    """Return name, protocol and bits of a suite, as `SSLSocket.cipher` tells them."""
    return _known().get(number, (f"{number:#06x}", "TLSv1.2", 0))
