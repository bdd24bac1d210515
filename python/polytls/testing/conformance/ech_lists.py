"""Lists of configurations for Encrypted ClientHello (RFC 9849 4), without private keys."""

from __future__ import annotations

from typing import Any, Final

from polytls.testing import ech
from polytls.testing.ech import AES_128_GCM, ECH, HKDF_SHA256, vector

__all__ = ["AES_128_GCM", "COVER", "ECH", "HKDF_SHA256", "KEY", "LIST", "config", "vector"]

#: The name that the outer ClientHello asks for.
COVER: Final = "cover.example"
#: A key of X25519 whose private half is not known.
KEY: Final = bytes(range(1, 33))


def config(public_name: bytes = COVER.encode(), **given: Any) -> bytes:
    """Return a configuration; a list is the `vector` of one or more."""
    return ech.config(public_name, **{"key": KEY, **given})


LIST: Final = vector(config())
