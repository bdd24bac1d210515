"""Lists of configurations for Encrypted ClientHello (RFC 9849 4), without private keys."""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["AES_128_GCM", "COVER", "ECH", "HKDF_SHA256", "KEY", "LIST", "config", "vector"]

#: The name that the outer ClientHello asks for.
COVER: Final = "cover.example"
#: The extension, and the version of configurations.
ECH: Final = 0xFE0D
#: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM (RFC 9180 7).
X25519, HKDF_SHA256, AES_128_GCM = 0x20, 1, 1
#: A key of X25519 whose private half is not known.
KEY: Final = bytes(range(1, 33))


def vector(content: bytes, width: int = 2) -> bytes:
    """Return `content` with its length in `width` bytes before it."""
    return len(content).to_bytes(width) + content


def config(
    public_name: bytes = COVER.encode(),
    *,
    version: int = ECH,
    kem: int = X25519,
    aead: int = AES_128_GCM,
    key: bytes = KEY,
    extensions: bytes = b"",
) -> bytes:
    """Return a configuration; a list is the `vector` of one or more."""
    suites = struct.pack("!HH", HKDF_SHA256, aead)
    contents = struct.pack("!BH", 7, kem) + vector(key) + vector(suites) + b"\0"
    contents += vector(public_name, 1) + vector(extensions)
    return version.to_bytes(2) + vector(contents)


LIST: Final = vector(config())
